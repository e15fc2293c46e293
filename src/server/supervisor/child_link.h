/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process of the supervisor's that is there all the time: forked with a socket, its log read, listened to, and started
 * again when it ends, at once when it lived for long, else with growing pauses. (Leaders come and go with policies and are not.)
 */
#ifndef SALLYPORT_SERVER_SUPERVISOR_CHILD_LINK_H
#define SALLYPORT_SERVER_SUPERVISOR_CHILD_LINK_H

#include "server/message.h"
#include "server/poller.h"

#include <sys/types.h>

struct supervisor;

struct child_kind {
	const char *ended, *not_started;	/* what is logged then */
	/* In the child, whose standard error is its log, and which has all descriptors of the supervisor. Returns its exit status. */
	int (*be)(struct supervisor *s, int sock);
	void (*begins)(struct supervisor *s);	/* it is there: what it has to be told first */
	void (*says)(struct supervisor *s, struct message *m);	/* descriptors in it that stay are taken over */
};

struct child_link {
	const struct child_kind *kind;
	struct supervisor *supervisor;
	pid_t pid;				/* 0 = not running */
	int sock;				/* -1 = none */
	int64_t started_ms, backoff_ms;
	struct poller_timer restart;
};

void child_link_init(struct child_link *c, const struct child_kind *kind, struct supervisor *s);
int child_link_start(struct child_link *c) MUST_CHECK;	/* 0 or -errno; then it is not there */
void child_link_restart(struct child_link *c);		/* the same; where it fails that is logged, and tried again */
void child_link_ended(struct child_link *c);		/* its process was reaped */
void child_link_kill(struct child_link *c);		/* it can't be believed, or reads nothing; another one will come */
void child_link_close(struct child_link *c);		/* in the end: it ends when it sees that */

#endif
