/* SPDX-License-Identifier: Apache-2.0 */
/* The leader's children: how a worker is started, missed, and started again. */
#include "base/log.h"
#include "server/leader/leader.h"
#include "server/privileges.h"
#include "server/worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 10000
#define HEALTHY_MS 10000		/* a worker that lived so long starts again at once */
#define LOG_PIPE_OCTETS (512 * 1024)	/* what fits until the supervisor reads again, else lines are dropped */

static uint32_t session_records(void)
{
	struct rlimit limit = { 1024, 1024 };

	(void)getrlimit(RLIMIT_NOFILE, &limit);
	return limit.rlim_cur / 2 < STATS_SESSIONS_MAX ? (uint32_t)(limit.rlim_cur / 2) : STATS_SESSIONS_MAX;
}

/* A worker's log and statistics belong to its slot; the supervisor gets the readers' ends. */
static int create_channel(struct leader *l, struct leader_worker *w)
{
	struct message m = { .type = MSG_CHANNEL, .slot = w->slot, .n_fds = 2 };
	int log[2], err;

	err = stats_create(&w->stats, w->slot, l->setup->generation, (uint32_t)l->policy->n_services,
			   session_records());
	if (err != 0)
		return err;
	for (size_t i = 0; i < l->policy->n_services; i++) {
		const struct service *service = &l->policy->services[i];
		struct stats_service *record = &w->stats.services[i];

		stats_text(record->name, sizeof(record->name), service->name);
		stats_text(record->proxy, sizeof(record->proxy), service->proxy != NULL ? service->proxy->type->name : "");
	}
	if (pipe2(log, O_CLOEXEC) != 0)
		return -errno;
	(void)fcntl(log[1], F_SETPIPE_SZ, LOG_PIPE_OCTETS);
	w->log = log[1];
	m.fds[0] = log[0];
	m.fds[1] = w->stats.fd;
	leader_tell_supervisor(l, &m);
	close(log[0]);
	return 0;
}

int leader_workers_create(struct leader *l)
{
	unsigned n = l->setup->options->workers;
	int err = 0;

	l->workers = calloc(n, sizeof(*l->workers));
	l->service_sessions = mmap(NULL, (l->policy->n_services + 1) * sizeof(*l->service_sessions),
				   PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (l->workers == NULL || l->service_sessions == MAP_FAILED)
		return -ENOMEM;
	for (unsigned i = 0; err == 0 && i < n; i++) {
		l->workers[i] = (struct leader_worker){ .leader = l, .slot = i, .sock = -1, .log = -1 };
		err = create_channel(l, &l->workers[i]);
	}
	return err;
}

/* In the child: keep what a worker needs, let go of everything else, run. */
static int be_worker(struct leader_worker *w, int sock, pid_t leader_pid)
{
	struct leader *l = w->leader;
	const struct worker_setup setup = {
		.policy = l->policy,
		.slot = w->slot,
		.generation = l->setup->generation,
		.leader = sock,
		.stats = w->stats,
		.service_sessions = l->service_sessions,
		.listeners = l->listeners,
		.listener_fds = l->listener_fds,
		.n_listeners = l->n_listeners,
		.can_forge = l->can_forge,
		.tls = l->tls,
		.tls_keys = l->tls_keys,
		.names = l->names,
	};
	int *keep = calloc(l->n_listeners + 1, sizeof(*keep));
	sigset_t none;

	privileges_die_with(leader_pid);
	explicit_bzero(l->setup->ratchet, sizeof(*l->setup->ratchet));	/* it is in the contexts, which step it */
	if (keep == NULL || privileges_reduce(l->can_forge ? l->keep : l->keep & ~KEEP_NET_RAW) != 0)
		return 1;
	(void)dup2(w->log, STDERR_FILENO);
	memcpy(keep, l->listener_fds, l->n_listeners * sizeof(*keep));
	keep[l->n_listeners] = sock;
	privileges_close_others(keep, l->n_listeners + 1);
	free(keep);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	log_set_fd(STDERR_FILENO);
	return worker_run(&setup);
}

static void on_worker(void *arg, int fd, short revents);

int leader_worker_start(struct leader_worker *w)
{
	struct leader *l = w->leader;
	struct message m = { .type = MSG_WORKER, .slot = w->slot };
	pid_t self = getpid(), pid;
	int pair[2], err = message_pair(pair);

	if (err != 0)
		return err;
	pid = fork();
	if (pid == 0)
		exit(be_worker(w, pair[1], self));
	err = pid < 0 ? -errno : poller_add(&l->poller, pair[0], POLLIN, on_worker, w);
	close(pair[1]);
	if (err != 0) {
		close(pair[0]);
		if (pid > 0)
			kill(pid, SIGKILL);
		return err;
	}
	w->pid = pid;
	w->sock = pair[0];
	w->started_ms = poller_now();
	w->answered = l->awaited == MSG_PAUSED;		/* it is born paused */
	m.number = (uint32_t)pid;
	leader_tell_supervisor(l, &m);
	leader_keeper_connect(w);
	return 0;
}

static void restart(void *arg)
{
	struct leader_worker *w = arg;

	if (w->leader->phase == LEADER_DRAINING || leader_worker_start(w) == 0)
		return;
	poller_timer_set(&w->leader->poller, &w->restart, BACKOFF_MAX_MS);
}

/* Its sessions are gone; so must be what they counted for. */
static void forget_sessions(struct leader_worker *w)
{
	struct leader *l = w->leader;

	for (uint32_t i = 0; i < l->policy->n_services; i++)
		if (w->stats.services[i].running > 0)
			__atomic_fetch_sub(&l->service_sessions[i], w->stats.services[i].running, __ATOMIC_RELAXED);
	stats_clear_sessions(&w->stats);
}

static void schedule_restart(struct leader_worker *w)
{
	int64_t lived_ms = poller_now() - w->started_ms;

	if (lived_ms >= HEALTHY_MS)
		w->backoff_ms = 0;
	else
		w->backoff_ms = w->backoff_ms == 0 ? BACKOFF_FIRST_MS :
				w->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : w->backoff_ms * 2;
	w->restart.fn = restart;
	w->restart.arg = w;
	poller_timer_set(&w->leader->poller, &w->restart, w->backoff_ms);
}

void leader_worker_ended(struct leader_worker *w, int status)
{
	struct leader *l = w->leader;
	struct message m = { .type = MSG_WORKER, .slot = w->slot, .value = status };
	bool expected = l->phase == LEADER_DRAINING && WIFEXITED(status) && WEXITSTATUS(status) == 0;

	poller_remove(&l->poller, w->sock);
	poller_timer_clear(&l->poller, &w->keys_again);
	poller_timer_clear(&l->poller, &w->lookout_again);
	close(w->sock);
	w->sock = -1;
	w->pid = 0;
	if (!expected)
		log_event(LOG_CORE_ERROR, 0, slice_cstr("nosession"), "A worker ended unexpectedly; its sessions are lost",
			  F_INT("slot", w->slot), F_INT("sessions", w->stats.head->sessions),
			  F_TEXT("how", WIFSIGNALED(status) ? strsignal(WTERMSIG(status)) : "exit"),
			  F_INT("status", WIFEXITED(status) ? WEXITSTATUS(status) : 0));
	forget_sessions(w);
	leader_tell_supervisor(l, &m);
	if (l->phase != LEADER_DRAINING)
		schedule_restart(w);
}

bool leader_workers_answered(const struct leader *l)
{
	for (unsigned i = 0; i < l->setup->options->workers; i++)
		if (l->workers[i].pid != 0 && !l->workers[i].answered)
			return false;
	return true;
}

unsigned leader_workers_running(const struct leader *l)
{
	unsigned n = 0;

	for (unsigned i = 0; l->workers != NULL && i < l->setup->options->workers; i++)
		n += l->workers[i].pid != 0;
	return n;
}

void leader_workers_tell(struct leader *l, const struct message *m)
{
	for (unsigned i = 0; i < l->setup->options->workers; i++) {
		const struct leader_worker *w = &l->workers[i];

		/* A worker that reads nothing is broken; it is missed when it ends. */
		if (w->pid != 0 && message_send(w->sock, m) != 0)
			kill(w->pid, SIGKILL);
	}
}

static void worker_said(struct leader_worker *w, struct message *m)
{
	struct leader *l = w->leader;

	switch (m->type) {
	case MSG_READY:
		if (l->phase == LEADER_ACCEPTING &&	/* one that was started again */
		    message_send_simple(w->sock, MSG_ACCEPT, w->slot, 0, 0) != 0)
			kill(w->pid, SIGKILL);
		break;
	case MSG_HOST_WANTED:
		leader_host_wanted(w, m->value == 1);
		break;
	case MSG_KEYS_WANTED:
		leader_keeper_wanted(w);
		break;
	case MSG_LOOKOUT_WANTED:
		leader_lookout_wanted(w);
		break;
	case MSG_SESSION_STOPPED:
		leader_tell_supervisor(l, m);
		break;
	default:
		break;
	}
	if (m->type == l->awaited) {
		w->answered = true;
		leader_check_awaited(l);
	}
}

static void on_worker(void *arg, int fd, short revents)
{
	struct leader_worker *w = arg;
	struct message m;
	int n = message_receive(fd, &m, &w->leader->room);

	if (n == 1) {
		worker_said(w, &m);
		message_close_fds(&m);
	} else if (n != -EAGAIN) {
		/* It is ending, or out of its mind; either way SIGCHLD tells the rest. */
		poller_events(&w->leader->poller, fd, 0);
		poller_remove(&w->leader->poller, fd);
		if (n < 0)
			kill(w->pid, SIGKILL);
	}
}
