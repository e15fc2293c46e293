/* SPDX-License-Identifier: Apache-2.0 */
/* The supervisor's side of the lookout: its process, started when it is first needed, and what goes to and fro. */
#include "server/confine.h"
#include "server/lookout/lookout.h"
#include "server/supervisor/supervisor_priv.h"

#include <unistd.h>

#define SNAPSHOTS_PAUSE_MS 500		/* between those that leaders get, however many there are */
#define NOSESSION slice_cstr("nosession")

/* It reads what anybody may write to it, so keys that the others' user can read are not for it. */
static int drop_privileges(struct supervisor *s)
{
	struct unprivileged apart;
	int err = privileges_user_apart("lookout", &s->user, &apart);

	if (err == 0)
		err = privileges_drop(&apart, 0, s->pid);
	return err;
}

static int be_lookout(struct supervisor *s, int sock)
{
	const struct lookout_setup setup = { .options = s->options, .supervisor = sock };
	int confined;

	privileges_close_others(&sock, 1);
	(void)setsid();
	if (drop_privileges(s) != 0 || log_open(STDERR_FILENO, s->options->log_format, s->verbosity, s->logspec, NULL) != 0)
		return EXIT_REFUSED;
	confined = confine_to_reading();
	if (confined != 0 && s->lookout.child.started_ms == 0)
		log_event(LOG_CORE_INFO, 1, NOSESSION, "The lookout is not confined to reading",
			  F_TEXT("error", strerror(-confined)));
	return lookout_run(&setup);
}

static bool tell_owed(struct supervisor *s)
{
	struct message m = { .type = MSG_SNAPSHOT, .n_fds = 1 };
	bool owed = false;

	m.fds[0] = s->lookout.snapshot;
	for (struct generation *g = s->generations; g != NULL; g = g->next) {
		if (g->snapshot_owed && g->state != GENERATION_ENDING)
			g->snapshot_owed = message_send(g->sock, &m) != 0;
		owed = owed || (g->snapshot_owed && g->state != GENERATION_ENDING);
	}
	return owed;
}

/*
 * Leaders get the newest snapshot, with pauses, and one that does not take it gets that one or a newer one later:
 * however a lookout behaves, it costs no generation.
 */
static void tell_leaders(void *arg)
{
	struct supervisor *s = arg;
	struct lookout_link *k = &s->lookout;
	int64_t wait_ms = pace_wait(&k->told, poller_now());

	if (k->snapshot < 0 || k->again.at_ms != 0)
		return;
	if (wait_ms == 0) {
		bool owed = tell_owed(s);

		k->told.pause_ms = SNAPSHOTS_PAUSE_MS;
		pace_end(&k->told, poller_now());
		if (!owed)
			return;
		wait_ms = SNAPSHOTS_PAUSE_MS;
	}
	k->again.fn = tell_leaders;
	k->again.arg = s;
	poller_timer_set(&s->poller, &k->again, wait_ms);
}

/* For whoever decides by it; nobody here reads it. */
static void take_snapshot(struct supervisor *s, struct message *m)
{
	if (m->n_fds != 1)
		return;
	if (s->lookout.snapshot >= 0)
		close(s->lookout.snapshot);
	s->lookout.snapshot = m->fds[0];
	m->n_fds = 0;
	for (struct generation *g = s->generations; g != NULL; g = g->next)
		g->snapshot_owed = g->names >= 0;
	tell_leaders(s);
	control_link_names(s);
}

static void said(struct supervisor *s, struct message *m)
{
	if (m->type == MSG_SNAPSHOT)
		take_snapshot(s, m);
}

static void tell(struct supervisor *s, const struct message *m)
{
	if (s->lookout.child.pid != 0 && message_send(s->lookout.child.sock, m) != 0)
		child_link_kill(&s->lookout.child);	/* it reads nothing */
}

static void tell_wish(struct supervisor *s, const struct generation *g)
{
	struct message m = { .type = MSG_NAMES, .number = g->number, .n_fds = 1 };

	m.fds[0] = g->names;
	if (g->names >= 0)
		tell(s, &m);
}

/* A new lookout learns what is wanted, then what the one before knew of that. */
static void begins(struct supervisor *s)
{
	struct message m = { .type = MSG_SNAPSHOT, .n_fds = 1 };

	for (const struct generation *g = s->generations; g != NULL; g = g->next)
		tell_wish(s, g);
	m.fds[0] = s->lookout.snapshot;
	if (s->lookout.snapshot >= 0)
		tell(s, &m);
	control_link_status(s);
}

static const struct child_kind lookout_process = {
	.ended = "The lookout ended; it is started again",
	.not_started = "The lookout cannot be started",
	.be = be_lookout, .begins = begins, .says = said,
};

void lookout_link_init(struct supervisor *s)
{
	child_link_init(&s->lookout.child, &lookout_process, s);
	s->lookout.snapshot = -1;
}

/* It is needed: from now on there is one. */
static void need(struct supervisor *s)
{
	if (s->lookout.needed || s->stopping)
		return;
	s->lookout.needed = true;
	child_link_restart(&s->lookout.child);
}

/* Where there is no lookout, or one that has much to read, the descriptor is closed and the worker asks again. */
void lookout_link_peer(struct supervisor *s, const struct generation *g, struct message *m)
{
	if (m->n_fds != 1 || m->slot >= s->options->workers)
		return;
	m->number = g->number;
	need(s);
	if (s->lookout.child.pid != 0)
		(void)!message_send(s->lookout.child.sock, m);
}

void lookout_link_names(struct supervisor *s, struct generation *g, struct message *m)
{
	if (m->n_fds != 1 || g->names >= 0)
		return;
	g->names = m->fds[0];
	m->n_fds = 0;
	if (s->lookout.needed)
		tell_wish(s, g);
	else
		need(s);
	g->snapshot_owed = true;
	tell_leaders(s);
}

void lookout_link_gone(struct supervisor *s, const struct generation *g)
{
	if (g->names >= 0)
		tell(s, &(struct message){ .type = MSG_NAMES_GONE, .number = g->number });
}

void lookout_link_log(struct supervisor *s, const struct message *m)
{
	tell(s, m);
}

void lookout_link_ended(struct supervisor *s)
{
	child_link_ended(&s->lookout.child);
	control_link_status(s);
}

void lookout_link_close(struct supervisor *s)
{
	child_link_close(&s->lookout.child);
}
