/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a generation, and the hand-over from one to the next:
 *
 *	loading   its leader reads the policy		-> plan
 *	starting  listeners are open, workers fork	-> ready
 *	ready     the old one stops accepting		-> paused
 *	taking    rules replaced, it may accept		-> accepting
 *	current   serves; the old one drains
 *
 * Until the last step the old generation can go on as if nothing had happened, and does so
 * whenever anything fails. New connections wait in the listen queues meanwhile.
 */
#include "kernel/host.h"
#include "server/leader/leader.h"
#include "server/supervisor/supervisor_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOAD_LIMIT_MS 120000
#define STEP_LIMIT_MS 10000		/* from one answer to the next */
#define RECOVER_FIRST_MS 100
#define RECOVER_MAX_MS 10000
#define PROBLEMS_MAX (1u << 20)
#define FILES_INTERVAL_MS 5000		/* from one reload for files of matchers to the next */
#define FILES_SPARE 3			/* generations that are left for other reloads */
#define NOSESSION slice_cstr("nosession")

const char *const generation_state_names[GENERATION_STATES] = {
	[GENERATION_LOADING] = "loading",
	[GENERATION_STARTING] = "starting",
	[GENERATION_READY] = "ready",
	[GENERATION_TAKING] = "taking over",
	[GENERATION_CURRENT] = "current",
	[GENERATION_DRAINING] = "draining",
	[GENERATION_ENDING] = "ending",
};

unsigned generations_live(const struct supervisor *s)
{
	unsigned n = 0;

	for (const struct generation *g = s->generations; g != NULL; g = g->next)
		n++;
	return n;
}

static void generation_free(struct generation *g)
{
	struct supervisor *s = g->supervisor;

	poller_timer_clear(&s->poller, &g->limit);
	poller_remove(&s->poller, g->sock);
	if (g->sock >= 0)
		close(g->sock);
	if (g->certificates >= 0)
		close(g->certificates);
	rules_change_forget(s, g);
	poller_timer_clear(&s->poller, &g->plan_again);
	if (g->plan_changed >= 0)
		close(g->plan_changed);
	if (g->names >= 0) {
		lookout_link_gone(s, g);
		close(g->names);
	}
	for (unsigned i = 0; g->stats_fds != NULL && i < s->options->workers; i++)
		if (g->stats_fds[i] >= 0)
			close(g->stats_fds[i]);
	for (struct generation **i = &s->generations; *i != NULL; i = &(*i)->next)
		if (*i == g) {
			*i = g->next;
			break;
		}
	if (s->current == g)
		s->current = NULL;
	if (s->upcoming == g)
		s->upcoming = NULL;
	if (s->ruling == g)
		s->ruling = NULL;
	arena_free(&g->arena);
	free(g->stats_fds);
	free(g->seen);
	free(g);
}

void generation_kill(struct generation *g)
{
	g->state = GENERATION_ENDING;
	poller_timer_clear(&g->supervisor->poller, &g->limit);
	if (g->pid != 0)
		kill(g->pid, SIGKILL);	/* its workers die with it */
}

static void fail(struct generation *g, int exit_status, const char *text);

/* One that does not take it is gone, or stuck; an upcoming one has somebody who waits for it. */
static void say(struct generation *g, enum message_type type, uint32_t number, int64_t value)
{
	if (message_send_simple(g->sock, type, 0, number, value) == 0)
		return;
	if (g == g->supervisor->upcoming)
		fail(g, EXIT_REFUSED, "the new generation does not read what it is told");
	else
		generation_kill(g);
}

void generation_drain(struct generation *g, int64_t limit_ms, bool ask_to_end)
{
	if (g->state == GENERATION_ENDING)
		return;
	poller_timer_clear(&g->supervisor->poller, &g->limit);
	g->state = GENERATION_DRAINING;
	say(g, MSG_DRAIN, ask_to_end, limit_ms);
}

/* ---- failing ---- */

/* What nobody reads as an answer goes to the log, line by line; at the start, as it is. */
static void report_failure(struct supervisor *s, const char *text)
{
	if (!s->ready_said) {
		fputs(text, stderr);
		if (text[0] != '\0' && text[strlen(text) - 1] != '\n')
			fputc('\n', stderr);
		return;
	}
	while (*text != '\0') {
		size_t n = strcspn(text, "\n");

		if (n > 0)
			log_event(LOG_CORE_ERROR, 0, NOSESSION, "Policy load failed",
				  F_OCTETS("problem", slice_of(text, n)));
		text += n + (text[n] == '\n');
	}
}

static void try_again_later(struct supervisor *s);

static void restore_rules(struct supervisor *s, struct generation *old);

/* The upcoming generation is no good. The old one goes on; without one, this is the end (at the
 * start) or something to try again. */
static void fail(struct generation *g, int exit_status, const char *text)
{
	struct supervisor *s = g->supervisor;
	bool was_upcoming = g == s->upcoming, had_taken = g->state == GENERATION_TAKING;

	generation_kill(g);
	if (!was_upcoming || s->stopping)
		return;
	s->upcoming = NULL;
	report_failure(s, text);
	s->reload_ok = false;
	s->reload_wall_ms = wall_ms();
	snprintf(s->reload_error, sizeof(s->reload_error), "%s", text);
	control_link_reply(s, s->reload_request, exit_status, text);
	s->reload_request = 0;
	if (s->current != NULL) {
		if (had_taken)
			restore_rules(s, s->current);
		log_event(LOG_CORE_INFO, 0, NOSESSION, "The policy stays as it was",
			  F_INT("generation", s->current->number));
		say(s->current, MSG_ACCEPT, 0, 0);	/* it may have been paused */
		listeners_close_unwanted(s, &s->current->plan);
		if (s->again) {
			s->again = false;
			generation_reload(s, 0);
		}
	} else if (!s->ready_said) {
		s->exit_status = exit_status;
		supervisor_stop(s, false);
	} else {
		try_again_later(s);
	}
	control_link_status(s);
}

static void on_limit(void *arg)
{
	struct generation *g = arg;

	fail(g, EXIT_REFUSED, g->state == GENERATION_LOADING ? "loading the policy took too long" :
	     "the new generation does not answer");
}

static void next_step(struct generation *g, enum generation_state state, int64_t limit_ms)
{
	g->state = state;
	g->limit.fn = on_limit;
	g->limit.arg = g;
	poller_timer_set(&g->supervisor->poller, &g->limit, limit_ms);
	control_link_status(g->supervisor);
}

static void recover(void *arg)
{
	struct supervisor *s = arg;

	if (!s->stopping && s->upcoming == NULL && s->current == NULL && generation_start(s) != 0)
		try_again_later(s);
}

/* Nobody serves: listeners and rules stay, connections wait in the queues. */
static void try_again_later(struct supervisor *s)
{
	s->recover_ms = s->recover_ms == 0 ? RECOVER_FIRST_MS :
			s->recover_ms * 2 > RECOVER_MAX_MS ? RECOVER_MAX_MS : s->recover_ms * 2;
	s->recover.fn = recover;
	s->recover.arg = s;
	poller_timer_set(&s->poller, &s->recover, s->recover_ms);
}

/* ---- the kernel's rules ---- */

static void restore_rules(struct supervisor *s, struct generation *old)
{
	char why[512] = "";

	s->ruling = old;
	if (s->kernel && generation_load_rules(s, &old->plan, why, sizeof(why)) != 0)
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "The kernel rules of the old policy cannot be restored",
			  F_TEXT("error", why));
}

/* ---- the steps ---- */

/* Both are ready, nobody accepts: the rules change, and the new one goes on where the old one
 * stopped counting. */
static void take_over(struct generation *g)
{
	struct supervisor *s = g->supervisor;
	char why[512] = "", text[640];

	if (s->kernel && generation_load_rules(s, &g->plan, why, sizeof(why)) != 0) {
		snprintf(text, sizeof(text), "the kernel rules cannot be loaded: %s", why);
		g->state = GENERATION_TAKING;	/* they may be half there: the old ones are loaded again */
		fail(g, EXIT_REFUSED, text);
		return;
	}
	s->ruling = g;
	if (s->kernel)
		generation_check_forwarding(g);
	for (unsigned i = 0; s->current != NULL && i < s->options->workers; i++) {
		struct message m = { .type = MSG_INHERIT, .slot = i, .n_fds = 1 };

		m.fds[0] = s->current->stats_fds[i];
		if (m.fds[0] >= 0 && message_send(g->sock, &m) != 0)
			log_event(LOG_CORE_ERROR, 1, NOSESSION, "Session numbers start again", F_INT("slot", i));
	}
	next_step(g, GENERATION_TAKING, STEP_LIMIT_MS);
	say(g, MSG_ACCEPT, 0, 0);
}

static void say_ready(struct supervisor *s)
{
	if (s->ready_said)
		return;
	s->ready_said = true;
	log_pump_flush(s->pump, 100);
	fputs("ready\n", stderr);
	if (s->options->ready_fd >= 0) {
		ssize_t ignored = write(s->options->ready_fd, "ready\n", 6);

		(void)ignored;
		close(s->options->ready_fd);
	}
}

static void become_current(struct generation *g)
{
	struct supervisor *s = g->supervisor;
	struct generation *old = s->current;

	poller_timer_clear(&s->poller, &g->limit);
	poller_timer_clear(&s->poller, &s->files_changed);	/* its leader knows since when it has them */
	g->state = GENERATION_CURRENT;
	s->current = g;
	s->upcoming = NULL;
	s->recover_ms = 0;
	s->reload_ok = true;
	s->reload_wall_ms = wall_ms();
	s->reload_error[0] = '\0';
	if (old != NULL)
		generation_drain(old, s->options->reload_drain_s * 1000LL, false);
	listeners_close_unwanted(s, &g->plan);
	log_event(LOG_CORE_INFO, 0, NOSESSION, "Policy loaded", F_TEXT("file", s->options->policy),
		  F_TEXT("fingerprint", g->head.fingerprint), F_INT("generation", g->number),
		  F_INT("services", g->head.n_services), F_INT("rules", g->head.n_rules));
	say_ready(s);
	control_link_reply(s, s->reload_request, EXIT_FINE, "");
	s->reload_request = 0;
	control_link_status(s);
	if (s->again) {
		s->again = false;
		generation_reload(s, 0);
	}
}

/*
 * A reload that nobody asked for takes the new files, and nothing else that somebody may be in the
 * middle of changing. false: it is over.
 */
static bool only_files_changed(struct generation *g)
{
	struct supervisor *s = g->supervisor;
	const struct plan_head *new = &g->head, *old = &s->current->head;

	if (strcmp(new->fingerprint_without_files, old->fingerprint_without_files) != 0) {
		fail(g, EXIT_NO, "files of matchers have changed, and more of the policy than that: reload it yourself");
		return false;
	}
	if (strcmp(new->fingerprint, old->fingerprint) != 0)
		return true;
	log_event(LOG_CORE_INFO, 3, NOSESSION, "The matchers are as they were");
	generation_kill(g);
	s->upcoming = NULL;
	control_link_status(s);
	return false;
}

static void on_plan(struct generation *g, struct message *m)
{
	struct supervisor *s = g->supervisor;
	struct endpoint which;
	char text[256], at[ENDPOINT_TEXT_MAX];
	int err;

	if (g->state != GENERATION_LOADING || m->n_fds != 1 || generation_read_plan(m->fds[0], &g->arena, &g->plan, &g->head) != 0) {
		fail(g, EXIT_REFUSED, "the leader's plan is not usable");
		return;
	}
	g->loaded_wall_ms = wall_ms();
	if (g->for_files && s->current != NULL && !only_files_changed(g))
		return;
	err = listeners_open(s, &g->plan, &which);
	if (err != 0) {
		snprintf(text, sizeof(text), "cannot listen on %s: %s%s", endpoint_text(&which, at), strerror(-err),
			 err == -EACCES ? " (ports below 1024 need root)" : "");
		fail(g, EXIT_REFUSED, text);
		return;
	}
	if (!s->kernel && g->plan.n_listens == 0)
		log_event(LOG_CORE_ERROR, 1, NOSESSION, "No rule can be served by an ordinary listener: nothing to do");
	err = listeners_send(s, g->sock);
	if (err != 0) {
		fail(g, EXIT_REFUSED, "the leader does not take its listeners");
		return;
	}
	next_step(g, GENERATION_STARTING, LOAD_LIMIT_MS);
	say(g, MSG_FORK, s->can_forge, 0);
}

static void on_failed(struct generation *g, struct message *m)
{
	uint8_t *text = NULL;
	size_t len;

	if (m->n_fds == 1 && message_file_read(m->fds[0], PROBLEMS_MAX, &text, &len) == 0)
		fail(g, m->number == EXIT_NO ? EXIT_NO : EXIT_REFUSED, (const char *)text);
	else
		fail(g, EXIT_REFUSED, "the policy cannot be loaded");
	free(text);
}

static void on_ready(struct generation *g)
{
	struct supervisor *s = g->supervisor;

	if (g->state != GENERATION_STARTING)
		return;
	if (s->current == NULL) {
		take_over(g);
		return;
	}
	next_step(g, GENERATION_READY, STEP_LIMIT_MS);
	say(s->current, MSG_PAUSE, 0, 0);
}

static void on_channel(struct generation *g, struct message *m)
{
	struct supervisor *s = g->supervisor;

	if (m->slot >= s->options->workers || m->n_fds != 2 || g->stats_fds[m->slot] >= 0)
		return;
	if (log_pump_add(s->pump, m->fds[0]) != 0)
		log_event(LOG_CORE_ERROR, 1, NOSESSION, "A worker's log cannot be read");
	g->stats_fds[m->slot] = m->fds[1];
	m->n_fds = 0;
	control_link_channel(s, g, m->slot);
}

static void on_certificates(struct generation *g, struct message *m)
{
	if (m->n_fds != 1 || g->certificates >= 0)
		return;
	g->certificates = m->fds[0];
	m->n_fds = 0;
	control_link_certificates(g->supervisor, g);
}

static void on_worker(struct generation *g, const struct message *m)
{
	if (m->slot >= g->supervisor->options->workers || m->number == 0)
		return;
	if (g->seen[m->slot])
		g->supervisor->worker_restarts++;
	g->seen[m->slot] = true;
	control_link_status(g->supervisor);
}

static void on_session_stopped(struct supervisor *s, const struct message *m)
{
	if (s->session_request == 0 || m->number != s->session_request)
		return;
	if (m->value != 0)
		s->session_found = true;
	if (s->session_answers > 0)
		s->session_answers--;
	if (!s->session_found && s->session_answers > 0)
		return;
	control_link_reply(s, s->session_request, s->session_found ? EXIT_FINE : EXIT_NO,
			   s->session_found ? "" : "there is no such session");
	s->session_request = 0;
}

/* ---- files of matchers ---- */

static void reload_for_files(void *arg)
{
	struct supervisor *s = arg;
	bool full = generations_live(s) + FILES_SPARE > GENERATIONS_MAX;
	int err;

	if (s->stopping || s->current == NULL)
		return;			/* whoever comes next reads them */
	if (s->upcoming != NULL || full) {
		if (full)
			log_event(LOG_CORE_INFO, 3, NOSESSION, "Changed files of matchers wait: old policies still have sessions",
				  F_INT("generations", generations_live(s)));
		poller_timer_set(&s->poller, &s->files_changed, FILES_INTERVAL_MS);
		return;
	}
	log_event(LOG_CORE_INFO, 0, NOSESSION, "Files of matchers have changed: reading them again");
	s->files_reloaded_ms = poller_now();
	err = generation_start(s);
	if (err == 0) {
		s->upcoming->for_files = true;
		return;
	}
	log_event(LOG_CORE_ERROR, 0, NOSESSION, "Reload failed", F_TEXT("error", strerror(-err)));
	poller_timer_set(&s->poller, &s->files_changed, FILES_INTERVAL_MS);
}

static void on_files_changed(struct supervisor *s)
{
	int64_t wait_ms = s->files_reloaded_ms + FILES_INTERVAL_MS - poller_now();

	if (s->files_changed.at_ms != 0)
		return;
	s->files_changed.fn = reload_for_files;
	s->files_changed.arg = s;
	poller_timer_set(&s->poller, &s->files_changed, s->files_reloaded_ms == 0 || wait_ms < 0 ? 0 : wait_ms);
}

static void leader_said(struct generation *g, struct message *m)
{
	struct supervisor *s = g->supervisor;

	if (g->state == GENERATION_ENDING)
		return;
	switch (m->type) {
	case MSG_PLAN:
		on_plan(g, m);
		break;
	case MSG_NAMES:
		lookout_link_names(s, g, m);
		break;
	case MSG_PLAN_CHANGED:
		generation_plan_changed(g, m);
		break;
	case MSG_FAILED:
		on_failed(g, m);
		break;
	case MSG_CHANNEL:
		on_channel(g, m);
		break;
	case MSG_CERTIFICATES:
		on_certificates(g, m);
		break;
	case MSG_WORKER:
		on_worker(g, m);
		break;
	case MSG_READY:
		on_ready(g);
		break;
	case MSG_PAUSED:
		if (g == s->current && s->upcoming != NULL && s->upcoming->state == GENERATION_READY)
			take_over(s->upcoming);
		break;
	case MSG_ACCEPTING:
		if (g->state == GENERATION_TAKING)
			become_current(g);
		break;
	case MSG_FILES_CHANGED:
		if (g == s->current)
			on_files_changed(s);
		break;
	case MSG_LOOKOUT_PEER:
		lookout_link_peer(s, g, m);
		break;
	case MSG_SESSION_STOPPED:
		on_session_stopped(s, m);
		break;
	default:
		break;
	}
}

static void on_leader(void *arg, int fd, short revents)
{
	struct generation *g = arg;
	struct supervisor *s = g->supervisor;
	struct message m;
	int n = message_receive(fd, &m, &s->room);

	if (n == -EAGAIN)
		return;
	if (n == 1) {
		leader_said(g, &m);
		message_close_fds(&m);
		return;
	}
	/* End of file, or not one of our records: nothing more is believed. SIGCHLD tells the rest. */
	poller_remove(&s->poller, fd);
	if (n < 0)
		generation_kill(g);
}

/* ---- start and end ---- */

static int be_leader(struct supervisor *s, int sock, uint32_t number, int log)
{
	const struct leader_setup setup = {
		.options = s->options,
		.supervisor = sock,
		.generation = number,
		.kernel = s->kernel,
		.verbosity = s->verbosity,
		.logspec = s->logspec,
		.ratchet = &s->ratchet,
	};
	const int keep[] = { sock };
	unsigned rights = s->can_forge ? KEEP_NET_RAW | KEEP_NET_BIND_SERVICE : KEEP_NET_BIND_SERVICE;

	(void)dup2(log, STDERR_FILENO);
	(void)dup2(STDERR_FILENO, STDOUT_FILENO);
	privileges_close_others(keep, 1);
	(void)setsid();		/* the terminal's signals are the supervisor's */
	if (privileges_drop(&s->user, rights, s->pid) != 0 ||
	    log_open(STDERR_FILENO, s->options->log_format, s->verbosity, s->logspec, NULL) != 0)
		return EXIT_REFUSED;
	return leader_run(&setup);
}

static struct generation *generation_create(struct supervisor *s)
{
	struct generation *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return NULL;
	g->supervisor = s;
	g->sock = g->certificates = g->names = g->plan_changed = -1;
	g->number = s->next_generation++;
	g->stats_fds = malloc(s->options->workers * sizeof(*g->stats_fds));
	g->seen = calloc(s->options->workers, sizeof(*g->seen));
	for (unsigned i = 0; g->stats_fds != NULL && i < s->options->workers; i++)
		g->stats_fds[i] = -1;
	g->next = s->generations;
	s->generations = g;
	if (g->stats_fds == NULL || g->seen == NULL) {
		generation_free(g);
		return NULL;
	}
	return g;
}

int generation_start(struct supervisor *s)
{
	struct generation *g = generation_create(s);
	int log[2], err;

	if (g == NULL)
		return -ENOMEM;
	if (pipe2(log, O_CLOEXEC) != 0) {
		err = -errno;
		generation_free(g);
		return err;
	}
	g->pid = supervisor_fork(s, &g->sock);
	if (g->pid == 0)
		exit(be_leader(s, g->sock, g->number, log[1]));
	close(log[1]);
	err = g->pid < 0 ? (int)g->pid : poller_add(&s->poller, g->sock, POLLIN, on_leader, g);
	if (log_pump_add(s->pump, log[0]) != 0 || err != 0) {
		if (g->pid > 0)
			generation_kill(g);
		else
			generation_free(g);
		return err != 0 ? err : -ENOMEM;
	}
	s->upcoming = g;
	next_step(g, GENERATION_LOADING, LOAD_LIMIT_MS);
	return 0;
}

void generation_reload(struct supervisor *s, uint32_t request)
{
	int err;

	/* One that nobody asked for gives way to one that somebody asks for, which reads the files as well. */
	if (s->upcoming != NULL && s->upcoming->for_files &&
	    (s->upcoming->state == GENERATION_LOADING || s->upcoming->state == GENERATION_STARTING)) {
		generation_kill(s->upcoming);
		s->upcoming = NULL;
	}
	if (s->stopping || s->upcoming != NULL) {
		if (request != 0)
			control_link_reply(s, request, EXIT_NO, s->stopping ? "stopping" : "a reload is under way");
		else
			s->again = !s->stopping;	/* a signal that came meanwhile must not be lost */
		return;
	}
	if (generations_live(s) >= GENERATIONS_MAX) {
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "Reload refused: too many old policies still have sessions",
			  F_INT("generations", generations_live(s)));
		control_link_reply(s, request, EXIT_REFUSED, "too many old policies still have sessions; "
				   "see `ctl status`, end sessions with `ctl stop-session`");
		return;
	}
	log_event(LOG_CORE_INFO, 0, NOSESSION, "Reloading the policy", F_TEXT("file", s->options->policy));
	s->reload_request = request;
	err = generation_start(s);
	if (err != 0) {
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "Reload failed", F_TEXT("error", strerror(-err)));
		control_link_reply(s, request, EXIT_REFUSED, strerror(-err));
		s->reload_request = 0;
	}
}

/* The leader's process is gone, and with it all of the generation. */
void generation_ended(struct generation *g, int status)
{
	struct supervisor *s = g->supervisor;
	struct message m;
	bool was_current = g == s->current, expected = g->state == GENERATION_DRAINING || g->state == GENERATION_ENDING;
	char text[128];

	g->pid = 0;
	/* What it said last may explain it. */
	while (g->state != GENERATION_ENDING && message_receive(g->sock, &m, &s->room) == 1) {
		leader_said(g, &m);
		message_close_fds(&m);
	}
	if (!expected && g->state != GENERATION_ENDING) {
		snprintf(text, sizeof(text), "the generation's leader ended unexpectedly (%s %d)",
			 WIFSIGNALED(status) ? "signal" : "status",
			 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
		if (g == s->upcoming)
			fail(g, EXIT_REFUSED, text);
		else
			log_event(LOG_CORE_ERROR, 0, NOSESSION, "All sessions of a generation are lost",
				  F_TEXT("reason", text), F_INT("generation", g->number));
	}
	generation_free(g);
	if (was_current && !s->stopping && s->upcoming == NULL)
		try_again_later(s);
	else if (was_current && !s->stopping && s->upcoming->state == GENERATION_READY)
		take_over(s->upcoming);		/* nobody is left to be paused */
	control_link_status(s);
	supervisor_check_over(s);
}
