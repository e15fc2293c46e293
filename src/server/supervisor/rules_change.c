/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel's rules while they follow the addresses of host names. DNS says how often that happens, and a large set takes nft
 * seconds; so it runs beside the supervisor, one run at a time, with pauses that grow with what it costs. Whoever loads a
 * policy does not wait for it: the run is ended, and the whole table loaded.
 */
#include "server/supervisor/supervisor_priv.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define LIMIT_MS 30000
#define RULES_MAX (256u << 20)
#define NOSESSION slice_cstr("nosession")

/* Nothing runs, and nothing is kept of it. */
static void let_go(struct rules_change *c)
{
	arena_free(&c->arena);
	if (c->file >= 0)
		close(c->file);
	c->file = -1;
	c->generation = NULL;
}

/* The kernel has it. */
static void adopt(struct supervisor *s)
{
	struct rules_change *c = &s->change;

	if (c->generation != NULL) {
		s->rules_doubtful = false;
		generation_adopt_plan(c->generation, &c->arena, &c->plan);
		log_event(LOG_CORE_INFO, 3, NOSESSION, "The kernel rules follow the addresses of host names",
			  F_INT("generation", c->generation->number));
	}
	let_go(c);
}

/* It is tried again, if nothing newer has come. */
static void put_back(struct supervisor *s)
{
	struct rules_change *c = &s->change;
	int64_t wait_ms = pace_wait(&c->pace, poller_now());

	if (c->generation != NULL && c->generation->plan_changed < 0) {
		c->generation->plan_changed = c->file;
		c->file = -1;
	}
	if (c->generation != NULL)
		generation_look_at_plan(c->generation, wait_ms > RULES_RETRY_MS ? wait_ms : RULES_RETRY_MS);
	let_go(c);
}

static void fail(struct supervisor *s, const char *why)
{
	log_event(LOG_CORE_ERROR, 0, NOSESSION, "The kernel rules stay behind the addresses of host names", F_TEXT("error", why),
		  F_INT("generation", s->change.generation != NULL ? s->change.generation->number : 0));
	put_back(s);
}

static void on_words(void *arg, int fd, short revents)
{
	struct supervisor *s = arg;

	if (!kernel_load_hear(&s->change.run))
		poller_remove(&s->poller, fd);	/* SIGCHLD tells the rest */
}

static void on_limit(void *arg)
{
	struct supervisor *s = arg;

	kill(s->change.run.pid, SIGKILL);
}

/* Elements of sets where that is all, and the kernel surely has the others; else the whole table. Either way in one transaction. */
static void run(struct supervisor *s)
{
	struct rules_change *c = &s->change;
	struct buffer rules = BUFFER_INIT(RULES_MAX);
	int err = 0;

	if (!c->whole && kernel_plan_render_update(&c->generation->plan, &c->plan, &rules) != 0)
		c->whole = true;
	if (c->whole)
		kernel_plan_render(&c->plan, s->port4, s->port6, &rules);
	if (!c->whole && !rules.broken && rules.len == 0) {
		buffer_release(&rules);
		adopt(s);
		return;
	}
	err = rules.broken ? -ENOMEM : kernel_load_begin(buffer_slice(&rules), &c->run);
	buffer_release(&rules);
	if (err != 0) {
		fail(s, strerror(-err));
		return;
	}
	s->rules_doubtful = true;
	c->limit.fn = on_limit;
	c->limit.arg = s;
	poller_timer_set(&s->poller, &c->limit, LIMIT_MS);
	if (poller_add(&s->poller, c->run.words_fd, POLLIN, on_words, s) != 0)
		kill(c->run.pid, SIGKILL);
}

void rules_change_begin(struct supervisor *s, struct generation *g, int file, struct arena *arena, const struct kernel_plan *plan)
{
	struct rules_change *c = &s->change;

	c->generation = g;
	c->file = file;
	c->arena = arena;
	c->plan = *plan;
	c->whole = s->rules_doubtful;
	c->pace.pause_ms = RULES_PAUSE_MS;
	c->pace.times = RULES_PAUSE_TIMES;
	pace_begin(&c->pace, poller_now());
	run(s);
}

bool rules_change_runs(const struct supervisor *s)
{
	return s->change.run.pid != 0;
}

static void stop_watching(struct supervisor *s)
{
	poller_remove(&s->poller, s->change.run.words_fd);
	poller_timer_clear(&s->poller, &s->change.limit);
}

void rules_change_ended(struct supervisor *s, int status)
{
	struct rules_change *c = &s->change;
	char why[512] = "";
	int err;

	stop_watching(s);
	err = kernel_load_end(&c->run, status, why, sizeof(why));
	if (err == 0 && c->whole)
		err = kernel_route_add(why, sizeof(why));
	pace_end(&c->pace, poller_now());
	if (err == 0) {
		adopt(s);
	} else if (!c->whole && c->generation != NULL) {
		c->whole = true;
		run(s);
	} else {
		fail(s, why);
	}
	if (!rules_change_runs(s) && s->ruling != NULL && s->ruling->plan_changed >= 0 && s->ruling->plan_again.at_ms == 0)
		generation_look_at_plan(s->ruling, pace_wait(&c->pace, poller_now()));
}

void rules_change_stop(struct supervisor *s)
{
	struct rules_change *c = &s->change;
	int status = 0;

	if (!rules_change_runs(s))
		return;
	kill(c->run.pid, SIGKILL);
	while (waitpid(c->run.pid, &status, 0) < 0 && errno == EINTR)
		continue;
	stop_watching(s);
	(void)!kernel_load_end(&c->run, status, NULL, 0);
	put_back(s);
}

void rules_change_forget(struct supervisor *s, const struct generation *g)
{
	if (s->change.generation == g)
		s->change.generation = NULL;
}
