/* SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/worker_names.h"

#include "base/log.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#define AGAIN_MS 1000
#define NOSESSION slice_cstr("nosession")

static void show(struct worker_names *n, struct zone_names *now)
{
	zone_names_free(&n->now);
	n->now = now;
	*n->shown = now;
}

static int map(struct worker_names *n)
{
	struct zone_names *now = NULL;
	size_t octets;
	void *mapped;
	int err = message_file_map(n->file, MEMBERS_OCTETS_MAX, &mapped, &octets);

	if (err != 0)
		return err;
	err = zone_names_map(n->policy, mapped, octets, &now);
	if (err == 0)
		show(n, now);
	else
		munmap(mapped, octets);
	return err;
}

static void drop_file(struct worker_names *n)
{
	if (n->file >= 0)
		close(n->file);
	n->file = -1;
}

static void take(struct worker_names *n)
{
	int err = map(n);
	bool again = err == -ENOMEM &&
		     loop_timer_set(n->loop, &n->again, loop_now(n->loop) + AGAIN_MS) == 0;

	if (err != 0)
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "Addresses of host names are of no use to a worker",
			  F_TEXT("error", strerror(-err)), F_TEXT("then", again ? "it tries again" : "what it knew stays"));
	if (!again)
		drop_file(n);
}

static void on_again(struct loop_timer *timer)
{
	take((struct worker_names *)((char *)timer - offsetof(struct worker_names, again)));
}

void worker_names_take(struct worker_names *n, struct message *m)
{
	if (m->n_fds != 1)
		return;
	loop_timer_clear(n->loop, &n->again);
	drop_file(n);
	n->file = m->fds[0];
	m->n_fds = 0;
	take(n);
}

void worker_names_start(struct worker_names *n, struct loop *loop, const struct policy *policy, struct zone_names *inherited,
			const struct zone_names **shown)
{
	*n = (struct worker_names){ .loop = loop, .policy = policy, .now = inherited, .shown = shown, .file = -1,
				    .again.on_expire = on_again };
	*shown = inherited;
}

void worker_names_stop(struct worker_names *n)
{
	loop_timer_clear(n->loop, &n->again);
	drop_file(n);
	show(n, NULL);
}
