/* SPDX-License-Identifier: Apache-2.0 */
#include "server/supervisor/child_link.h"

#include "base/log.h"
#include "server/supervisor/supervisor_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 10000
#define HEALTHY_MS 10000		/* one that lived so long is replaced at once */
#define NOSESSION slice_cstr("nosession")

void child_link_init(struct child_link *c, const struct child_kind *kind, struct supervisor *s)
{
	*c = (struct child_link){ .kind = kind, .supervisor = s, .sock = -1 };
}

static void on_child(void *arg, int fd, short revents)
{
	struct child_link *c = arg;
	struct message m;
	int n = message_receive(fd, &m, &c->supervisor->room);

	if (n == -EAGAIN)
		return;
	if (n == 1) {
		c->kind->says(c->supervisor, &m);
		message_close_fds(&m);
		return;
	}
	/* Nothing more is believed, also of one that has hung up and lives on; SIGCHLD tells the rest. */
	poller_remove(&c->supervisor->poller, fd);
	child_link_kill(c);
}

static int become(struct child_link *c, int log)
{
	explicit_bzero(&c->supervisor->ratchet, sizeof(c->supervisor->ratchet));
	(void)dup2(log, STDERR_FILENO);
	(void)dup2(STDERR_FILENO, STDOUT_FILENO);
	return c->kind->be(c->supervisor, c->sock);
}

int child_link_start(struct child_link *c)
{
	struct supervisor *s = c->supervisor;
	int log[2], err, log_err;

	if (pipe2(log, O_CLOEXEC) != 0)
		return -errno;
	c->pid = supervisor_fork(s, &c->sock);
	if (c->pid == 0)
		exit(become(c, log[1]));
	close(log[1]);
	log_err = log_pump_add(s->pump, log[0]);
	if (c->pid < 0) {
		err = (int)c->pid;
		c->pid = 0;
		c->sock = -1;
		return err;
	}
	c->started_ms = poller_now();
	if (log_err != 0 || poller_add(&s->poller, c->sock, POLLIN, on_child, c) != 0)
		child_link_kill(c);	/* SIGCHLD leads to the next try */
	c->kind->begins(s);
	return 0;
}

static void start_later(struct child_link *c);

void child_link_restart(struct child_link *c)
{
	int err = c->supervisor->stopping ? 0 : child_link_start(c);

	if (err == 0)
		return;
	log_event(LOG_CORE_ERROR, 0, NOSESSION, c->kind->not_started, F_TEXT("error", strerror(-err)));
	start_later(c);
}

static void restart(void *arg)
{
	child_link_restart(arg);
}

static void start_later(struct child_link *c)
{
	if (poller_now() - c->started_ms >= HEALTHY_MS)
		c->backoff_ms = 0;
	c->backoff_ms = c->backoff_ms == 0 ? BACKOFF_FIRST_MS :
			c->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : c->backoff_ms * 2;
	c->restart.fn = restart;
	c->restart.arg = c;
	poller_timer_set(&c->supervisor->poller, &c->restart, c->backoff_ms);
}

void child_link_ended(struct child_link *c)
{
	poller_remove(&c->supervisor->poller, c->sock);
	if (c->sock >= 0)
		close(c->sock);
	c->sock = -1;
	c->pid = 0;
	if (c->supervisor->stopping)
		return;
	log_event(LOG_CORE_ERROR, 0, NOSESSION, c->kind->ended);
	start_later(c);
}

void child_link_kill(struct child_link *c)
{
	if (c->pid > 0)
		kill(c->pid, SIGKILL);
}

void child_link_close(struct child_link *c)
{
	if (c->sock >= 0)
		close(c->sock);
	c->sock = -1;
}
