/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a generation wants of the kernel: how its plan is read, loaded, and followed when its zones have other
 * addresses by their host names.
 */
#include "kernel/host.h"
#include "server/leader.h"
#include "server/problems_text.h"
#include "server/supervisor_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define PLAN_FILE_MAX (64u << 20)
#define PLAN_ARENA_MAX (512u << 20)
#define RULES_MAX (256u << 20)
#define CHANGES_PAUSE_MS 500		/* from one change of addresses to the next */
#define RETRY_MS 5000			/* until a change that the kernel did not take is tried again */
#define PROBLEMS_OCTETS 16384u
#define NOSESSION slice_cstr("nosession")

int generation_read_plan(int fd, struct arena **arena, struct kernel_plan *plan, struct plan_head *head)
{
	uint8_t *octets;
	size_t len;
	int err = message_file_read(fd, PLAN_FILE_MAX, &octets, &len);

	if (err != 0)
		return err;
	err = -EINVAL;
	*arena = arena_create(PLAN_ARENA_MAX, 0);
	if (*arena != NULL && len >= sizeof(*head)) {
		memcpy(head, octets, sizeof(*head));
		head->fingerprint[sizeof(head->fingerprint) - 1] = '\0';
		head->fingerprint_without_files[sizeof(head->fingerprint_without_files) - 1] = '\0';
		if (head->plan_octets == len - sizeof(*head))
			err = kernel_plan_unpack(slice_of(octets + sizeof(*head), len - sizeof(*head)), *arena, plan);
	}
	free(octets);
	if (err != 0)
		arena_free(arena);
	return err;
}

int generation_load_rules(struct supervisor *s, const struct kernel_plan *plan, char *why, size_t size)
{
	struct buffer rules = BUFFER_INIT(RULES_MAX);
	int err;

	kernel_plan_render(plan, s->port4, s->port6, &rules);
	err = rules.broken ? -ENOMEM : kernel_load(buffer_slice(&rules), why, size);
	buffer_release(&rules);
	if (err == 0)
		err = kernel_route_add(why, size);
	s->rules_doubtful = err != 0;
	return err;
}

void generation_check_forwarding(const struct generation *g)
{
	struct arena *arena = arena_create(PROBLEMS_OCTETS, 0);
	struct policy_problems problems;

	if (arena == NULL)
		return;
	problems_init(&problems, arena);
	kernel_check_forwarding(&g->plan, &problems);
	problems_log_warnings(&problems);
	arena_free(&arena);
}

/* Elements of sets where that is all, and the kernel surely has the others; else the whole table. Either way in one transaction. */
static int follow(struct supervisor *s, const struct kernel_plan *from, const struct kernel_plan *to, char *why, size_t size)
{
	struct buffer changes = BUFFER_INIT(RULES_MAX);
	int err = s->rules_doubtful ? -ENOTSUP : kernel_plan_render_update(from, to, &changes);
	bool whole = err != 0 || changes.broken;

	if (!whole && changes.len > 0)
		whole = kernel_load(buffer_slice(&changes), why, size) != 0;
	buffer_release(&changes);
	return whole ? generation_load_rules(s, to, why, size) : 0;
}

static void take_changed(void *arg);

static void look_later(struct generation *g, int64_t wait_ms)
{
	g->plan_again.fn = take_changed;
	g->plan_again.arg = g;
	poller_timer_set(&g->supervisor->poller, &g->plan_again, wait_ms);
}

static void take_changed(void *arg)
{
	struct generation *g = arg;
	struct arena *arena = NULL;
	struct kernel_plan plan;
	struct plan_head head;
	char why[512] = "it is of no use";
	int err = generation_read_plan(g->plan_changed, &arena, &plan, &head);
	bool readable = err == 0;

	if (err == 0 && g->supervisor->ruling == g)
		err = follow(g->supervisor, &g->plan, &plan, why, sizeof(why));
	g->plan_changed_ms = poller_now();
	if (err != 0 && readable) {
		look_later(g, RETRY_MS);
	} else {
		close(g->plan_changed);
		g->plan_changed = -1;
	}
	if (err != 0) {
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "The kernel rules stay behind the addresses of host names",
			  F_TEXT("error", why), F_INT("generation", g->number));
		arena_free(&arena);
		return;
	}
	arena_free(&g->arena);
	g->arena = arena;
	g->plan = plan;
	log_event(LOG_CORE_INFO, 3, NOSESSION, "The kernel rules follow the addresses of host names", F_INT("generation", g->number));
}

void generation_plan_changed(struct generation *g, struct message *m)
{
	struct supervisor *s = g->supervisor;
	int64_t wait_ms = g->plan_changed_ms + CHANGES_PAUSE_MS - poller_now();

	if (m->n_fds != 1 || !s->kernel || g->state < GENERATION_STARTING || g->state > GENERATION_CURRENT)
		return;
	if (g->plan_changed >= 0)
		close(g->plan_changed);
	g->plan_changed = m->fds[0];
	m->n_fds = 0;
	if (g->plan_again.at_ms != 0)
		return;
	look_later(g, g->plan_changed_ms == 0 || wait_ms < 0 ? 0 : wait_ms);
}
