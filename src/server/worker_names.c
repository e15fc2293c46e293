/* SPDX-License-Identifier: Apache-2.0 */
#include "server/worker_names.h"

#include "base/log.h"

#include <errno.h>
#include <stdlib.h>

#define SNAPSHOT_ARENA_MAX (64u << 20)

void worker_names_take(const struct policy *policy, const struct message *m, struct zone_names **names)
{
	struct arena *arena = arena_create(SNAPSHOT_ARENA_MAX, 0);
	struct names_snapshot snapshot;
	struct zone_names *now = NULL;
	uint8_t *octets = NULL;
	size_t len;
	int err = arena == NULL ? -ENOMEM : m->n_fds != 1 ? -EBADMSG :
		  message_file_read(m->fds[0], SNAPSHOT_OCTETS_MAX, &octets, &len);

	if (err == 0)
		err = names_unpack(slice_of(octets, len), arena, &snapshot);
	if (err == 0)
		err = zone_names_make(policy, &snapshot, &now);
	if (err == 0) {
		zone_names_free(names);
		*names = now;
	} else {
		log_event(LOG_CORE_ERROR, 0, slice_cstr("nosession"), "Addresses of host names are of no use to a worker",
			  F_TEXT("error", strerror(-err)));
	}
	free(octets);
	arena_free(&arena);
}
