/* SPDX-License-Identifier: Apache-2.0 */
#include "server/leader/leader.h"
#include "base/clock.h"
#include "base/log.h"
#include "policy/names.h"
#include "server/leader/host.h"
#include "server/problems_text.h"
#include "server/worker/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROBLEMS_ARENA_MAX (4u << 20)
#define PROBLEMS_TEXT_MAX (1u << 20)
#define MESSAGES_MAX 64		/* of the supervisor, before others have their turn */
#define LOOK_MS 1000		/* how often files of matchers are looked at */
#define ANSWER_LIMIT_MS 5000	/* of a worker; the supervisor waits longer for us */

/* The one of this process. What workers inherit of it when they are forked stays reachable, so
 * that a leak checker at their end sees their own leaks alone. */
static struct leader *this_leader;

/* ---- to the supervisor ---- */

void leader_tell_supervisor(struct leader *l, const struct message *m)
{
	/* The supervisor reads what its children say; if it does not, it is gone. */
	if (message_send(l->setup->supervisor, m) != 0)
		_exit(1);
}

/* Everybody did what was asked (or is not there any more). */
void leader_check_awaited(struct leader *l)
{
	const struct message m = { .type = l->awaited };

	if (l->awaited == 0 || !leader_workers_answered(l))
		return;
	l->awaited = 0;
	poller_timer_clear(&l->poller, &l->answer_limit);
	if (l->phase == LEADER_FORKED)
		l->phase = LEADER_IDLE;
	leader_tell_supervisor(l, &m);
}

static int fail(struct leader *l, struct policy_problems *problems, int err)
{
	struct message m = { .type = MSG_FAILED, .number = err == -EINVAL ? 1 : 3, .n_fds = 1 };
	struct buffer text = BUFFER_INIT(PROBLEMS_TEXT_MAX);

	problems_text(problems, &text);
	if (err != -EINVAL)
		buffer_printf(&text, "%s: error: the policy cannot be loaded: %s\n", l->setup->options->policy,
			      strerror(-err));
	m.fds[0] = message_file(buffer_slice(&text));
	if (m.fds[0] < 0)
		m.n_fds = 0;
	leader_tell_supervisor(l, &m);
	buffer_release(&text);
	return 1;
}

/* ---- what the supervisor says ---- */

static void take_listeners(struct leader *l, struct message *m)
{
	size_t n = m->n_fds;
	struct listener_record *records;
	int *fds;

	if (m->body.len != n * sizeof(*records))
		return;
	records = realloc(l->listeners, (l->n_listeners + n + 1) * sizeof(*records));
	if (records != NULL)
		l->listeners = records;
	fds = realloc(l->listener_fds, (l->n_listeners + n + 1) * sizeof(*fds));
	if (fds != NULL)
		l->listener_fds = fds;
	if (records == NULL || fds == NULL)
		_exit(1);
	memcpy(l->listeners + l->n_listeners, m->body.ptr, m->body.len);
	memcpy(l->listener_fds + l->n_listeners, m->fds, n * sizeof(*fds));
	l->n_listeners += n;
	m->n_fds = 0;
}

static void fork_workers(struct leader *l, bool can_forge)
{
	l->can_forge = can_forge;
	l->phase = LEADER_FORKED;
	l->awaited = MSG_READY;
	for (unsigned i = 0; i < l->setup->options->workers; i++)
		if (leader_worker_start(&l->workers[i]) != 0)
			_exit(1);
}

static void inherit(struct leader *l, struct message *m)
{
	struct stats from;

	if (m->n_fds != 1 || m->slot >= l->setup->options->workers)
		return;
	if (l->workers[m->slot].pid != 0 && message_send(l->workers[m->slot].sock, m) != 0)
		kill(l->workers[m->slot].pid, SIGKILL);
	/* A worker that is not running just now finds the numbers in its file. */
	if (l->workers[m->slot].pid == 0 && stats_open(&from, m->fds[0]) == 0) {
		m->n_fds = 0;
		stats_inherit(&l->workers[m->slot].stats, &from);
		stats_close(&from);
	}
}

static void kill_worker(const struct leader_worker *w, const char *why)
{
	log_event(LOG_CORE_ERROR, 0, slice_cstr("nosession"), "A worker hangs and is killed",
		  F_INT("slot", w->slot), F_INT("pid", w->pid), F_TEXT("reason", why));
	kill(w->pid, SIGKILL);
}

/* One that hangs must not keep the others from a new policy. The next in its slot answers. */
static void on_answer_limit(void *arg)
{
	struct leader *l = arg;

	for (unsigned i = 0; i < l->setup->options->workers; i++)
		if (l->workers[i].pid != 0 && !l->workers[i].answered)
			kill_worker(&l->workers[i], "it does not answer");
}

/* Only what is asked here takes back that they answered; what they are told meanwhile doesn't. */
static void ask_workers(struct leader *l, const struct message *m, enum message_type answer)
{
	for (unsigned i = 0; i < l->setup->options->workers; i++)
		l->workers[i].answered = false;
	leader_workers_tell(l, m);
	l->awaited = answer;
	l->answer_limit.fn = on_answer_limit;
	l->answer_limit.arg = l;
	poller_timer_set(&l->poller, &l->answer_limit, ANSWER_LIMIT_MS);
	leader_check_awaited(l);
}

/* A worker's own limit ends nothing when the worker hangs: its generation would stay for ever. */
static void on_drain_limit(void *arg)
{
	struct leader *l = arg;

	for (unsigned i = 0; i < l->setup->options->workers; i++)
		if (l->workers[i].pid != 0)
			kill_worker(&l->workers[i], "it does not end");
}

static void limit_drain(struct leader *l, int64_t limit_ms)
{
	if (limit_ms < 0 || limit_ms > DRAIN_MAX_S * 1000LL)
		limit_ms = DRAIN_MAX_S * 1000LL;
	l->drain_limit.fn = on_drain_limit;
	l->drain_limit.arg = l;
	poller_timer_set(&l->poller, &l->drain_limit, limit_ms + WORKER_KILL_GRACE_MS);
}

static void drain(struct leader *l, const struct message *m)
{
	l->phase = LEADER_DRAINING;
	l->awaited = 0;
	poller_timer_clear(&l->poller, &l->answer_limit);
	poller_timer_clear(&l->poller, &l->look_at_files);
	limit_drain(l, m->value);
	for (size_t i = 0; i < l->n_listeners; i++)
		close(l->listener_fds[i]);
	l->n_listeners = 0;
	leader_workers_tell(l, m);
}

static void set_log(struct leader *l, const struct message *m)
{
	char spec[1024];

	if (slice_to_cstr(m->body, spec, sizeof(spec)) == 0)
		(void)log_set_spec((int)m->number, spec, NULL);
	if (l->workers != NULL)
		leader_workers_tell(l, m);
	leader_keeper_log_changed(l, m);
}

static void obey(struct leader *l, struct message *m)
{
	switch (m->type) {
	case MSG_LISTENERS:
		take_listeners(l, m);
		break;
	case MSG_FORK:
		fork_workers(l, m->number == 1);
		break;
	case MSG_INHERIT:
		inherit(l, m);
		break;
	case MSG_ACCEPT:
		l->phase = LEADER_ACCEPTING;
		ask_workers(l, m, MSG_ACCEPTING);
		break;
	case MSG_PAUSE:
		l->phase = LEADER_IDLE;
		ask_workers(l, m, MSG_PAUSED);
		break;
	case MSG_DRAIN:
		drain(l, m);
		break;
	case MSG_STOP_SESSION:
		leader_workers_tell(l, m);
		break;
	case MSG_SNAPSHOT:
		leader_names_take(l, m);
		break;
	case MSG_LOG:
		set_log(l, m);
		break;
	case MSG_QUIT:
		_exit(0);	/* the workers die with us */
	default:
		break;
	}
}

bool leader_hear_supervisor(struct leader *l)
{
	struct message m;
	int n = message_receive(l->setup->supervisor, &m, &l->room);

	if (n == -EAGAIN)
		return false;
	if (n <= 0)
		_exit(1);
	obey(l, &m);
	message_close_fds(&m);
	return true;
}

static void on_supervisor(void *arg, int fd, short revents)
{
	unsigned n = 0;

	while (n < MESSAGES_MAX && leader_hear_supervisor(arg))
		n++;
}

/* ---- files of matchers ---- */

static void look_at_files(void *arg)
{
	struct leader *l = arg;

	poller_timer_set(&l->poller, &l->look_at_files, LOOK_MS);
	if (l->phase == LEADER_ACCEPTING && file_watch_look(l->files, clock_system.wall_ms(&clock_system)))
		leader_tell_supervisor(l, &(struct message){ .type = MSG_FILES_CHANGED });
}

static void watch_files(struct leader *l)
{
	if (l->files == NULL)
		return;
	l->look_at_files.fn = look_at_files;
	l->look_at_files.arg = l;
	poller_timer_set(&l->poller, &l->look_at_files, LOOK_MS);
}

/* ---- children ---- */

static void child_ended(struct leader *l, pid_t pid, int status)
{
	for (unsigned i = 0; l->workers != NULL && i < l->setup->options->workers; i++) {
		struct leader_worker *w = &l->workers[i];

		if (w->pid != pid)
			continue;
		leader_worker_ended(w, status);
		if (l->phase == LEADER_FORKED)	/* one that can't even start: this generation is no good */
			_exit(1);
		leader_check_awaited(l);
		return;
	}
	leader_host_child_ended(l, pid, status);
}

static void on_signal(void *arg, int fd, short revents)
{
	struct leader *l = arg;
	struct signalfd_siginfo info;
	pid_t pid;
	int status;

	while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		continue;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		child_ended(l, pid, status);
}

static int watch(struct leader *l)
{
	sigset_t set;
	int err;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_SETMASK, &set, NULL);
	l->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (l->signals < 0)
		return -errno;
	err = poller_add(&l->poller, l->signals, POLLIN, on_signal, l);
	return err != 0 ? err : poller_add(&l->poller, l->setup->supervisor, POLLIN, on_supervisor, l);
}

/* ---- start ---- */

static int load(struct leader *l, struct policy_problems *problems)
{
	struct message m = { .type = MSG_PLAN, .n_fds = 1 };
	int err = leader_read_policy(l, problems);

	if (err != 0)
		return err;
	err = leader_keeper_load(l, problems);
	if (err != 0)
		return err;
	err = leader_names_load(l);
	if (err != 0)
		return err;
	m.fds[0] = leader_plan(l, problems);
	if (m.fds[0] < 0)
		return m.fds[0];
	problems_log_warnings(problems);
	leader_tell_supervisor(l, &m);
	close(m.fds[0]);
	return leader_workers_create(l);
}

static void release(struct leader *l)
{
	for (size_t i = 0; i < l->n_listeners; i++)
		close(l->listener_fds[i]);
	for (unsigned i = 0; l->workers != NULL && i < l->setup->options->workers; i++) {
		stats_close(&l->workers[i].stats);
		if (l->workers[i].log >= 0)
			close(l->workers[i].log);
	}
	host_free(&l->host);
	file_watch_free(&l->files);
	leader_keeper_free(l);
	zone_names_free(&l->names);
	if (l->snapshot >= 0)
		close(l->snapshot);
	if (l->secrets >= 0)
		close(l->secrets);
	arena_free(&l->arena);
	free(l->workers);
	free(l->listeners);
	free(l->listener_fds);
	free(l);
	this_leader = NULL;
}

static int lead(struct leader *l, struct policy_problems *problems)
{
	int err = load(l, problems);

	if (err == 0)
		err = watch(l);
	if (err != 0)
		return fail(l, problems, err);
	watch_files(l);
	while (l->phase != LEADER_DRAINING || leader_workers_running(l) > 0)
		poller_turn(&l->poller);
	return 0;
}

int leader_run(const struct leader_setup *setup)
{
	struct arena *arena = arena_create(PROBLEMS_ARENA_MAX, 0);
	struct policy_problems problems;
	int status;

	this_leader = calloc(1, sizeof(*this_leader));
	if (this_leader == NULL || arena == NULL)
		return 1;
	this_leader->setup = setup;
	this_leader->secrets = this_leader->snapshot = -1;
	poller_init(&this_leader->poller);
	problems_init(&problems, arena);
	status = lead(this_leader, &problems);
	release(this_leader);
	arena_free(&arena);
	return status;
}
