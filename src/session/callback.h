/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy code, as a worker reaches it: the struct policy_host that talks to the host server of
 * the worker's slot (docs/policy-document.md, "The callback conversation").
 *
 * A few conversations are shared by all sessions; a session takes one for its outermost call,
 * first come, first served, and waits for it under the call's own deadline. Beside them runs a
 * control connection on which the server proves that it still executes Python code:
 *
 *   - A late call costs its conversation: it is closed, the server is told to end the thread,
 *     and another conversation takes its place. When four threads do not end, the server is
 *     replaced without harm to the calls that still run on it.
 *   - A server that answers no ping (within a second when a call is late; within half of the
 *     callbacks' time limit else) is killed and replaced, but given up to four times as long while
 *     the machine gives it no processor time. What it had not read yet is asked again of its
 *     successor; all other calls in flight fail with -EPIPE.
 *
 * Nothing that comes from the server is trusted more than the policy's own declarations: values
 * are checked by the proxy's tables, sizes and nesting are bounded.
 */
#ifndef SALLYPORT_SESSION_CALLBACK_H
#define SALLYPORT_SESSION_CALLBACK_H

#include "session/session.h"

struct callback_host;

#define CALLBACK_CONVERSATIONS_MAX 16	/* of one server */
#define CALLBACK_CONVERSATIONS 8	/* what is usual */
#define CALLBACK_PACKET_MAX (128u * 1024u)	/* octets of one packet */
#define CALLBACK_NESTING_MAX 16		/* calls that wait for each other on one conversation */

struct callback_options {
	struct loop *loop;
	const struct policy *policy;
	int64_t timeout_ms;		/* of one call, for the pings; > 0 */
	/*
	 * Ask for a server. Its connections come through callback_host_connect, some time, or
	 * never: calls wait for them until their own deadlines. kill: the one before is stuck, and
	 * has to be killed at once; else it ends by itself when its control connection does.
	 */
	void (*renew)(void *arg, bool kill);
	void *arg;
};

/* What happened since the start. */
struct callback_counts {
	uint64_t calls;			/* outermost ones */
	uint64_t raised, late;		/* of these */
	uint64_t lost;			/* calls that a server took with it */
	uint64_t servers;		/* that were connected */
	uint64_t stuck;			/* servers that were killed because they did not answer */
};

/* Asks for the first server. NULL: errno. */
struct callback_host *callback_host_create(const struct callback_options *options);

/* For session_env.host. */
struct policy_host *callback_host_port(struct callback_host *h);

/*
 * A new server: fds[0] is its control connection, the rest (1 to CALLBACK_CONVERSATIONS_MAX) are
 * conversations; sockets of type SOCK_SEQPACKET. They are owned from then on, in any case. The
 * server before is let go. 0; -EINVAL; -ENOMEM; -errno.
 */
int callback_host_connect(struct callback_host *h, const int *fds, size_t n_fds);

/* The wanted log lines changed (log_set_spec): tell the server. */
void callback_host_log_changed(struct callback_host *h);

struct callback_counts callback_host_counts(const struct callback_host *h);

/* No session may be left. Sets *hp to NULL; accepts NULL in it. */
void callback_host_free(struct callback_host **hp);

#endif
