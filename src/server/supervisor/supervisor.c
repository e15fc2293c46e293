/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "kernel/host.h"
#include "server/supervisor/supervisor_priv.h"
#include "server/problems_text.h"
#include "server/worker/worker.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STOP_GRACE_MS 12000	/* from the end of the drain to SIGKILL */
#define NOSESSION slice_cstr("nosession")

static_assert(STOP_GRACE_MS > WORKER_KILL_GRACE_MS, "a worker gives up first, then its leader on it");

int64_t wall_ms(void)
{
	return clock_system.wall_ms(&clock_system);
}

/* ---- the end ---- */

static void kill_all(struct supervisor *s)
{
	for (struct generation *g = s->generations; g != NULL; g = g->next)
		generation_kill(g);
}

static void on_stop_limit(void *arg)
{
	kill_all(arg);
}

void supervisor_stop(struct supervisor *s, bool open)
{
	int64_t limit_ms = s->options->stop_drain_s * 1000LL;

	s->stop_open = s->stop_open || open;
	if (s->stopping) {		/* asked a second time: at once */
		kill_all(s);
		return;
	}
	s->stopping = true;
	poller_timer_clear(&s->poller, &s->files_changed);
	poller_timer_clear(&s->poller, &s->recover);
	s->recover.fn = on_stop_limit;
	s->recover.arg = s;
	poller_timer_set(&s->poller, &s->recover, limit_ms + STOP_GRACE_MS);
	for (struct generation *g = s->generations; g != NULL; g = g->next) {
		if (g->state == GENERATION_CURRENT || g->state == GENERATION_DRAINING)
			generation_drain(g, limit_ms, true);
		else
			generation_kill(g);
	}
	s->upcoming = NULL;
	listeners_close_all(s);		/* nobody shall wait in a queue that nobody empties */
	if (s->ready_said)
		log_event(LOG_CORE_INFO, 0, NOSESSION, "Stopping; sessions may end by themselves for a while",
			  F_INT("limit_s", s->options->stop_drain_s));
	control_link_status(s);
	supervisor_check_over(s);
}

void supervisor_check_over(struct supervisor *s)
{
	if (s->stopping && s->generations == NULL)
		s->over = true;
}

/* What is left in the kernel after us. */
static void leave_kernel(struct supervisor *s)
{
	char why[512] = "";

	if (s->stop_open) {
		if (s->kernel && kernel_clear(why, sizeof(why)) != 0) {
			log_event(LOG_CORE_ERROR, 0, NOSESSION, "The kernel rules cannot be removed", F_TEXT("error", why));
			s->exit_status = EXIT_REFUSED;
		} else if (s->kernel) {
			log_event(LOG_CORE_INFO, 0, NOSESSION, "The kernel rules are removed: nothing holds connections back");
		}
	} else if (s->kernel && s->ready_said) {
		log_event(LOG_CORE_INFO, 0, NOSESSION,
			  "The kernel rules stay and drop what they would have delivered; "
			  "'sallyport ctl stop --open' removes them");
	}
}

/* ---- log ---- */

void supervisor_set_log(struct supervisor *s, int verbosity, const char *spec)
{
	struct message m = { .type = MSG_LOG };

	if (verbosity < 0 || verbosity > 10 || log_set_spec(verbosity, spec, NULL) != 0)
		return;
	s->verbosity = verbosity;
	if (spec != s->logspec)
		snprintf(s->logspec, sizeof(s->logspec), "%s", spec);
	m.number = (uint32_t)verbosity;
	m.body = slice_cstr(s->logspec);
	for (struct generation *g = s->generations; g != NULL; g = g->next)
		if (g->state != GENERATION_ENDING && message_send(g->sock, &m) != 0)
			generation_kill(g);
	lookout_link_log(s, &m);
	log_event(LOG_CORE_INFO, 0, NOSESSION, "Log levels changed", F_INT("verbose_level", verbosity),
		  F_TEXT("logspec", s->logspec));
	control_link_status(s);
}

/* ---- children and signals ---- */

pid_t supervisor_fork(struct supervisor *s, int *sock)
{
	int pair[2], err = message_pair(pair);
	sigset_t none;
	pid_t pid;

	if (err != 0)
		return err;
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		err = -errno;
		close(pair[0]);
		close(pair[1]);
		return err;
	}
	if (pid == 0) {
		int null = open("/dev/null", O_RDONLY | O_CLOEXEC);

		/* The terminal, or whatever root reads from, is not for what runs unprivileged. */
		if (null < 0 || dup2(null, STDIN_FILENO) < 0)
			_exit(EXIT_REFUSED);
		sigemptyset(&none);
		(void)sigprocmask(SIG_SETMASK, &none, NULL);
		close(pair[0]);
		*sock = pair[1];
		return 0;
	}
	close(pair[1]);
	*sock = pair[0];
	return pid;
}

static void reap(struct supervisor *s)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct generation *g = s->generations;

		if (pid == s->control.pid) {
			control_link_ended(s);
			continue;
		}
		if (pid == s->change.run.pid) {
			rules_change_ended(s, status);
			continue;
		}
		if (pid == s->lookout.child.pid) {
			lookout_link_ended(s);
			continue;
		}
		while (g != NULL && g->pid != pid)
			g = g->next;
		if (g != NULL)
			generation_ended(g, status);
	}
}

static void on_signal(void *arg, int fd, short revents)
{
	struct supervisor *s = arg;
	struct signalfd_siginfo info;

	while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
		switch (info.ssi_signo) {
		case SIGCHLD:
			reap(s);
			break;
		case SIGTERM:
		case SIGINT:
			supervisor_stop(s, false);
			break;
		case SIGHUP:
			generation_reload(s, 0);
			break;
		case SIGUSR1:
			supervisor_set_log(s, s->verbosity + 1, s->logspec);
			break;
		case SIGUSR2:
			supervisor_set_log(s, s->verbosity - 1, s->logspec);
			break;
		default:
			break;
		}
}

static int watch_signals(struct supervisor *s)
{
	static const int wanted[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2 };
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		sigaddset(&set, wanted[i]);
	(void)signal(SIGPIPE, SIG_IGN);
	if (sigprocmask(SIG_SETMASK, &set, NULL) != 0)
		return -errno;
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->signals < 0)
		return -errno;
	return poller_add(&s->poller, s->signals, POLLIN, on_signal, s);
}

/* ---- start ---- */

static int refuse(const char *what, int err)
{
	fprintf(stderr, "sallyport: %s: %s\n", what, strerror(-err));
	return EXIT_REFUSED;
}

static int choose_user(struct supervisor *s)
{
	const char *name = s->options->user;
	int err = privileges_user(name, &s->user);

	if (err == 0) {
		if (s->user.change && name == NULL && strcmp(s->user.name, "nobody") == 0)
			log_event(LOG_CORE_INFO, 1, NOSESSION, "There is no user 'sallyport': using 'nobody'; "
				  "a user of its own is better (--user)");
		return 0;
	}
	if (err == -EPERM)
		fprintf(stderr, "sallyport: --user needs root\n");
	else if (err == -EINVAL)
		fprintf(stderr, "sallyport: --user must not be root: what carries traffic runs unprivileged\n");
	else
		fprintf(stderr, "sallyport: there is no user '%s'\n", name != NULL ? name : "nobody");
	return EXIT_REFUSED;
}

static void feature_off(const char *feature, const char *why)
{
	log_event(LOG_CORE_INFO, 1, NOSESSION, "Off", F_TEXT("feature", feature), F_TEXT("reason", why));
}

/* What this run can do, and why not more. */
static void choose_features(struct supervisor *s)
{
	bool admin = privileges_have_net_admin(), raw = privileges_have_net_raw();
	const char *why = s->options->no_kernel ? "--no-kernel" : "it needs root (CAP_NET_ADMIN)";

	s->kernel = !s->options->no_kernel && admin;
	s->can_forge = s->kernel && raw;
	if (!s->kernel) {
		feature_off("kernel rules: only connections to this host's own addresses are served", why);
		feature_off("forged source addresses: servers see this host's address", why);
	} else if (!s->can_forge) {
		feature_off("forged source addresses: servers see this host's address", "no CAP_NET_RAW");
	}
	if (geteuid() != 0)
		feature_off("ports below 1024", "they need root");
}

static int check_kernel(struct supervisor *s)
{
	struct arena *arena = arena_create(1u << 20, 0);
	struct buffer text = BUFFER_INIT(1u << 16);
	struct policy_problems problems;
	pid_t other;
	int status = 0;

	if (arena == NULL)
		return EXIT_REFUSED;
	s->lock = netns_lock(&other);
	if (s->lock < 0) {
		if (s->lock == -EBUSY)
			fprintf(stderr, "sallyport: the supervisor with process id %d has the kernel rules of this network "
				"namespace. One serves all instances: name them all with --instance, or stop it with "
				"'sallyport ctl stop'.\n", (int)other);
		else
			(void)refuse("the lock of this network namespace", s->lock);
		status = EXIT_REFUSED;
	} else {
		problems_init(&problems, arena);
		kernel_check_host(&problems);
		problems_log_warnings(&problems);
		problems_text(&problems, &text);
		if (problems.n_errors > 0) {
			fprintf(stderr, "%.*s", (int)text.len, (const char *)text.data);
			status = EXIT_REFUSED;
		}
	}
	buffer_release(&text);
	arena_free(&arena);
	return status;
}

static int open_control(struct supervisor *s)
{
	pid_t other = 0;
	int fd;

	if (s->options->control != NULL && strlen(s->options->control) < sizeof(s->control_path))
		memcpy(s->control_path, s->options->control, strlen(s->options->control) + 1);
	else if (s->options->control != NULL || control_path_usual(s->control_path, sizeof(s->control_path)) != 0)
		return refuse("the control socket's path", -ENAMETOOLONG);
	fd = control_listen(s->control_path, &other);
	if (fd == -EADDRINUSE) {
		fprintf(stderr, "sallyport: the supervisor with process id %d already uses %s. Stop it with 'sallyport ctl "
			"stop', or give this one another --control.\n", (int)other, s->control_path);
		return EXIT_REFUSED;
	}
	if (fd < 0)
		return refuse(s->control_path, fd);
	s->control_listener = fd;
	fd = control_link_start(s);
	return fd == 0 ? 0 : refuse("the control process", fd);
}

/* All generations have the same one, so that a client's ticket is good with the next one, too. */
static void step_ratchet(void *arg)
{
	struct supervisor *s = arg;

	tls_ratchet_step(&s->ratchet, time(NULL));
	poller_timer_set(&s->poller, &s->ratchet_step, TLS_EPOCH_SECONDS * 1000LL);
}

static int start_ratchet(struct supervisor *s)
{
	s->ratchet_step.fn = step_ratchet;
	s->ratchet_step.arg = s;
	poller_timer_set(&s->poller, &s->ratchet_step, TLS_EPOCH_SECONDS * 1000LL);
	return tls_ratchet_start(&s->ratchet, time(NULL));
}

static int start(struct supervisor *s)
{
	const char *bad = NULL;
	struct rlimit limit;
	int status, err;

	if (log_open(STDERR_FILENO, s->options->log_format, s->verbosity, s->logspec, &bad) != 0) {
		fprintf(stderr, "sallyport: --logspec is not understood%s%s\n", bad != NULL ? " from here: " : "",
			bad != NULL ? bad : "");
		return 2;
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		(void)setrlimit(RLIMIT_NOFILE, &limit);
	}
	status = choose_user(s);
	if (status != 0)
		return status;
	choose_features(s);
	status = s->kernel ? check_kernel(s) : 0;
	if (status != 0)
		return status;
	err = watch_signals(s);
	if (err != 0)
		return refuse("signals", err);
	err = start_ratchet(s);
	if (err != 0)
		return refuse("random numbers", err);
	s->pump = log_pump_create(&s->poller, STDERR_FILENO);
	if (s->pump == NULL)
		return refuse("memory", -ENOMEM);
	status = open_control(s);
	if (status != 0)
		return status;
	err = generation_start(s);
	return err == 0 ? 0 : refuse("the first generation", err);
}

int supervisor_run(const struct run_options *options)
{
	struct supervisor *s = calloc(1, sizeof(*s));
	int status;

	if (s == NULL)
		return EXIT_REFUSED;
	s->options = options;
	s->lock = s->control_listener = s->signals = s->change.file = -1;
	control_link_init(s);
	lookout_link_init(s);
	s->next_generation = 1;
	s->pid = getpid();
	s->verbosity = options->verbosity;
	s->start_wall_ms = wall_ms();
	snprintf(s->logspec, sizeof(s->logspec), "%s", options->logspec);
	poller_init(&s->poller);
	status = start(s);
	while (status == 0 && !s->over)
		poller_turn(&s->poller);
	rules_change_stop(s);
	if (status == 0) {
		leave_kernel(s);
		status = s->exit_status;
	}
	if (s->pump != NULL)
		log_pump_flush(s->pump, 1000);
	log_pump_free(&s->pump);
	listeners_close_all(s);
	control_link_close(s);
	lookout_link_close(s);
	free(s);
	return status;
}
