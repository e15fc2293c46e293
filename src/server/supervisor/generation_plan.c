/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a generation wants of the kernel: how its plan is read, loaded, and followed when its zones have other
 * addresses by their host names.
 */
#include "kernel/host.h"
#include "server/leader/leader.h"
#include "server/problems_text.h"
#include "server/supervisor/supervisor_priv.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define PLAN_FILE_MAX (64u << 20)
#define PLAN_ARENA_MAX (512u << 20)
#define RULES_MAX (256u << 20)
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

	rules_change_stop(s);
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

/* ---- following host names ---- */

void generation_adopt_plan(struct generation *g, struct arena **arena, const struct kernel_plan *plan)
{
	arena_free(&g->arena);
	g->arena = *arena;
	*arena = NULL;
	g->plan = *plan;
}

/* A leader is not privileged: what it says after it loaded its policy is of that policy, with other addresses, or nothing. */
static bool is_of_policy(const struct generation *g, const struct kernel_plan *plan, const struct plan_head *head)
{
	return strcmp(head->fingerprint, g->head.fingerprint) == 0 && kernel_plan_may_become(&g->plan, plan);
}

/* What it says may be of no use, and takes time all the same. */
static int64_t pause_before(const struct generation *g)
{
	const struct supervisor *s = g->supervisor;
	int64_t now_ms = poller_now(), own_ms = pace_wait(&g->looks, now_ms);
	int64_t kernels_ms = s->ruling == g ? pace_wait(&s->change.pace, now_ms) : 0;

	return own_ms > kernels_ms ? own_ms : kernels_ms;
}

static void take_changed(void *arg)
{
	struct generation *g = arg;
	struct supervisor *s = g->supervisor;
	struct arena *arena = NULL;
	struct kernel_plan plan;
	struct plan_head head;
	int file = g->plan_changed, err;

	if (file < 0 || (s->ruling == g && rules_change_runs(s)))
		return;			/* it is looked at when that has ended */
	g->plan_changed = -1;
	g->looks = (struct pace){ .pause_ms = RULES_PAUSE_MS, .times = RULES_PAUSE_TIMES };
	pace_begin(&g->looks, poller_now());
	err = generation_read_plan(file, &arena, &plan, &head);
	if (err == 0 && !is_of_policy(g, &plan, &head)) {
		arena_free(&arena);
		err = -EPERM;
	}
	if (err == 0 && s->ruling == g) {
		rules_change_begin(s, g, file, arena, &plan);
		return;
	}
	pace_end(&g->looks, poller_now());
	if (err == -ENOMEM) {		/* the leader takes it for delivered */
		g->plan_changed = file;
		generation_look_at_plan(g, RULES_RETRY_MS);
		return;
	}
	close(file);
	if (err == 0)
		generation_adopt_plan(g, &arena, &plan);
	else
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "The kernel rules stay behind the addresses of host names",
			  F_TEXT("error", err == -EPERM ? "the leader's plan is of another policy than it loaded" :
				 "the leader's plan is not usable"), F_INT("generation", g->number));
}

void generation_look_at_plan(struct generation *g, int64_t wait_ms)
{
	g->plan_again.fn = take_changed;
	g->plan_again.arg = g;
	poller_timer_set(&g->supervisor->poller, &g->plan_again, wait_ms);
}

void generation_plan_changed(struct generation *g, struct message *m)
{
	struct supervisor *s = g->supervisor;

	if (m->n_fds != 1 || !s->kernel || g->state < GENERATION_STARTING || g->state > GENERATION_CURRENT)
		return;
	if (g->plan_changed >= 0)
		close(g->plan_changed);
	g->plan_changed = m->fds[0];
	m->n_fds = 0;
	if (g->plan_again.at_ms == 0)
		generation_look_at_plan(g, pause_before(g));
}
