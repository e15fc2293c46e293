/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's connection to the policy host; only for policies that have callbacks. */
#ifndef SALLYPORT_SERVER_WORKER_HOST_H
#define SALLYPORT_SERVER_WORKER_HOST_H

#include "server/message.h"
#include "session/session.h"

struct worker_host;

/* *out is NULL when the policy needs no host. leader is the message socket on which servers are
 * asked for (MSG_HOST_WANTED). 0 or -errno. */
int worker_host_create(struct loop *loop, const struct policy *policy, int leader, uint32_t slot,
		       int64_t timeout_ms, struct worker_host **out) MUST_CHECK;

struct policy_host *worker_host_port(struct worker_host *h);		/* NULL for NULL */

/* MSG_HOST_FDS: takes the descriptors over. */
void worker_host_connect(struct worker_host *h, struct message *m);

void worker_host_log_changed(struct worker_host *h);
void worker_host_free(struct worker_host **hp);

#endif
