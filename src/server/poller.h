/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small poll() loop for the processes that carry no traffic: supervisor, leader, control.
 * Workers have io/loop.
 */
#ifndef SALLYPORT_SERVER_POLLER_H
#define SALLYPORT_SERVER_POLLER_H

#include "base/attributes.h"

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#define POLLER_FDS_MAX 1024	/* descriptors watched by one process */

typedef void (*poller_fn)(void *arg, int fd, short revents);

struct poller_entry {
	int fd;				/* -1: free */
	poller_fn fn;
	void *arg;
};

struct poller_timer {
	int64_t at_ms;			/* monotonic; 0 = not set */
	void (*fn)(void *arg);
	void *arg;
	struct poller_timer *next;
};

struct poller {
	struct pollfd fds[POLLER_FDS_MAX];	/* for poll(); fd -1: nothing is asked for */
	struct poller_entry entries[POLLER_FDS_MAX];
	unsigned n;
	struct poller_timer *timers;
};

void poller_init(struct poller *p);
int poller_add(struct poller *p, int fd, short events, poller_fn fn, void *arg) MUST_CHECK;	/* 0, -ENOSPC */
void poller_events(struct poller *p, int fd, short events);	/* 0: not called, not for a hang-up either */
void poller_remove(struct poller *p, int fd);		/* fine when it is not there */
void poller_timer_set(struct poller *p, struct poller_timer *timer, int64_t in_ms);
void poller_timer_clear(struct poller *p, struct poller_timer *timer);
int64_t poller_now(void);				/* monotonic ms */

/* Wait once and call what is due. Entries may be added and removed by what is called. */
void poller_turn(struct poller *p);

#endif
