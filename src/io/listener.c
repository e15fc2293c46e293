/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accepting. The socket is level triggered, so nothing is lost by stopping early. How many are
 * taken a turn follows the load: one while connections come singly, which saves the accept that
 * would only say EAGAIN, doubling while there were more.
 *
 * Of the workers that wait, the kernel always wakes the one that came first, so that one after
 * the other all connections would be the same worker's; hence each goes to the end of that line
 * after some connections.
 */
#include "io/listener.h"

#include "base/log.h"
#include "io/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#define BATCH_MAX 16u
#define TURN 8u			/* connections, then it is another worker's turn */
#define PAUSE_MS 100		/* after descriptors ran out */

struct listener {
	struct loop_watch watch;
	struct loop_timer timer;	/* when a pause ends */
	struct loop *loop;
	listener_fn on_connection;
	void *arg;
	unsigned batch, taken;
	bool armed, exhausted;
	bool busy, freed;		/* inside on_ready; freed there */
};

/* Moves the timer, which is set all the time, if only to never: so there is always room for it. */
static void set_timer(struct listener *l, int64_t at_ms)
{
	int err = loop_timer_set(l->loop, &l->timer, at_ms);

	assert(err == 0);
	(void)err;
}

static void pause_accepting(struct listener *l, int err)
{
	if (!l->exhausted)
		log_event(LOG_CORE_ERROR, 1, SLICE(""), "No descriptors or memory left for connections; accepting pauses",
			  F_TEXT("error", strerror(err)));
	l->exhausted = true;
	set_timer(l, loop_now(l->loop) + PAUSE_MS);
	loop_watch_remove(l->loop, &l->watch);
}

/* One connection. false: no more for now. */
static bool accept_one(struct listener *l)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t size = sizeof(sa);
	struct endpoint peer = { 0 };
	int fd = accept4(l->watch.fd, (struct sockaddr *)&sa, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
			pause_accepting(l, errno);
		/* Anything else was the connection's trouble (accept(2)), or there is none. */
		return errno == ECONNABORTED || errno == EINTR;
	}
	l->exhausted = false;
	if (endpoint_from_sockaddr(&sa, &peer) < 0)
		peer = (struct endpoint){ 0 };
	l->on_connection(l->arg, fd, &peer);
	return true;
}

static void watch_again(struct listener *l)
{
	int err = loop_watch_listen(l->loop, &l->watch, true);

	if (err < 0)
		pause_accepting(l, -err);
}

static void on_ready(struct loop_watch *watch)
{
	struct listener *l = (struct listener *)watch;
	unsigned n = 0;

	l->busy = true;
	while (l->armed && n < l->batch && accept_one(l))
		n++;
	l->busy = false;
	l->taken += n;
	if (l->taken >= TURN && l->armed && !l->exhausted) {
		l->taken = 0;
		loop_watch_remove(l->loop, &l->watch);
		watch_again(l);
	}
	if (n < l->batch)
		l->batch = l->batch > 1 ? l->batch / 2 : 1;
	else
		l->batch = l->batch < BATCH_MAX ? 2 * l->batch : BATCH_MAX;
	if (l->freed)
		free(l);
}

/* Descriptors may be there again. */
static void on_expire(struct loop_timer *timer)
{
	struct listener *l = (struct listener *)((char *)timer - offsetof(struct listener, timer));

	set_timer(l, DEADLINE_NEVER);
	watch_again(l);
}

struct listener *listener_create(struct loop *loop, int fd, listener_fn on_connection, void *arg)
{
	struct listener *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->watch.fd = fd;
	l->watch.on_ready = on_ready;
	l->timer.on_expire = on_expire;
	l->loop = loop;
	l->on_connection = on_connection;
	l->arg = arg;
	l->batch = 1;
	if (loop_timer_set(loop, &l->timer, DEADLINE_NEVER) != 0) {
		free(l);
		errno = ENOMEM;
		return NULL;
	}
	return l;
}

void listener_arm(struct listener *l)
{
	if (l->armed)
		return;
	l->armed = true;
	watch_again(l);
}

void listener_disarm(struct listener *l)
{
	if (!l->armed)
		return;
	l->armed = false;
	set_timer(l, DEADLINE_NEVER);
	loop_watch_remove(l->loop, &l->watch);
}

void listener_free(struct listener **lp)
{
	struct listener *l = *lp;

	if (l == NULL)
		return;
	*lp = NULL;
	listener_disarm(l);
	loop_timer_clear(l->loop, &l->timer);
	if (l->busy)
		l->freed = true;
	else
		free(l);
}
