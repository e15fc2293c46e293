/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop of a worker: epoll, timers and the run queue of its coroutines. One per
 * thread. Descriptors are watched edge triggered and registered once; readiness is remembered
 * in the watch until somebody meets EAGAIN.
 */
#ifndef SALLYPORT_IO_LOOP_H
#define SALLYPORT_IO_LOOP_H

#include "base/clock.h"
#include "base/heap.h"

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct co;

#define LOOP_READ 1u
#define LOOP_WRITE 2u
#define LOOP_HUP 4u	/* the peer will send no more, or the connection failed: reading tells; never cleared */
#define LOOP_GONE 8u	/* the connection is over in both directions; never cleared */

/* A watched descriptor; part of its owner, at a fixed address while registered. */
struct loop_watch {
	int fd;
	unsigned ready;			/* LOOP_* remembered; the user clears READ or WRITE on EAGAIN */
	struct co *waiter;		/* woken when a bit of ready becomes set; NULL = none */
	void (*on_ready)(struct loop_watch *);	/* instead of a waiter, from the loop; or NULL */
};

struct loop_timer {
	struct heap_node node;
	void (*on_expire)(struct loop_timer *);
};

/*
 * NULL: errno says why. From then on the process ignores SIGPIPE: a peer that went away is an
 * error number of the call. A process creates its loop after it forked.
 */
struct loop *loop_create(struct clock *clock);
void loop_free(struct loop **loopp);		/* no coroutine may be left */

/*
 * Run until loop_stop, or until nothing is left that could ever happen: no coroutine can run, no
 * timer is set, no descriptor is watched. On virtual time nobody else is expected to act, so
 * there a watched descriptor that is not ready does not count.
 */
void loop_run(struct loop *loop);
/* One turn; waits in the kernel at most max_wait_ms. For tests, fuzzers and virtual time. */
void loop_turn(struct loop *loop, int max_wait_ms);
void loop_stop(struct loop *loop);
int64_t loop_now(const struct loop *loop);	/* monotonic ms of this turn */
int64_t loop_wall_ms(const struct loop *loop);
unsigned loop_coroutines(const struct loop *loop);

/* Edge triggered, both directions. 0 or -errno. Removing tolerates an unregistered watch. */
int loop_watch_add(struct loop *loop, struct loop_watch *watch) MUST_CHECK;
/* Level triggered and readable only, optionally EPOLLEXCLUSIVE: listeners. */
int loop_watch_listen(struct loop *loop, struct loop_watch *watch, bool exclusive) MUST_CHECK;
void loop_watch_remove(struct loop *loop, struct loop_watch *watch);
/* Close a registered watch's descriptor, which ends the registration too, if no other process
 * holds a copy of it. */
void loop_watch_close(struct loop *loop, struct loop_watch *watch);

/* For torture tests: fn(arg, co) is called each time that co is about to wait. */
void loop_on_wait(struct loop *loop, void (*fn)(void *arg, struct co *co), void *arg);

int loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t at_ms) MUST_CHECK;	/* moves it when set */
void loop_timer_clear(struct loop *loop, struct loop_timer *timer);

#endif
