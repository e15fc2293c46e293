/* SPDX-License-Identifier: Apache-2.0 */
/* The control process's view of host names: the last snapshot, checked like everybody's. */
#include "server/control/control_priv.h"

#include <stdlib.h>

#define SNAPSHOT_ARENA_MAX (64u << 20)

void control_view_names(struct control_view *v, const struct message *m)
{
	struct arena *arena = arena_create(SNAPSHOT_ARENA_MAX, 0);
	uint8_t *octets = NULL;
	struct names_snapshot names;
	struct slice copy = { NULL, 0 };
	size_t len;

	if (arena != NULL && m->n_fds == 1 && message_file_read(m->fds[0], SNAPSHOT_OCTETS_MAX, &octets, &len) == 0)
		copy = arena_copy(arena, slice_of(octets, len));	/* where the names stay */
	free(octets);
	if (copy.ptr == NULL || names_unpack(copy, arena, &names) != 0) {
		arena_free(&arena);
		return;
	}
	arena_free(&v->names_arena);
	v->names_arena = arena;
	v->names = names;
}

static json_t *host_json(const struct host_record *h)
{
	json_t *addresses = json_array();
	char text[IP_TEXT_MAX];

	for (size_t i = 0; i < h->n_addrs; i++)
		json_array_append_new(addresses, json_string(ip_text(&h->addrs[i], text)));
	return json_pack("{s:o,s:s,s:I,s:o}", "host", json_stringn((const char *)h->name.ptr, h->name.len), "state",
			 host_state_names[h->state], "since_ms", (json_int_t)h->since_wall_ms, "addresses", addresses);
}

json_t *control_names(const struct control_view *v)
{
	json_t *all = json_array();

	for (size_t i = 0; v->names_arena != NULL && i < v->names.n_hosts; i++)
		json_array_append_new(all, host_json(&v->names.hosts[i]));
	return json_pack("{s:b,s:o}", "ok", 1, "names", all);
}
