/* SPDX-License-Identifier: Apache-2.0 */
/* A worker: one thread, one event loop, the sessions of one slot of a generation. */
#ifndef SALLYPORT_SERVER_WORKER_H
#define SALLYPORT_SERVER_WORKER_H

#include "policy/policy.h"
#include "server/message.h"
#include "server/run_options.h"
#include "server/statistics.h"
#include "session/proxy.h"
#include "tls/tls.h"

#define WORKER_CALLBACK_TIMEOUT_MS 5000
/* From cancelled waits to the end of the process: what the end of a session may wait for (the
 * proxy's goodbye, the policy's shutdown()), and some. */
#define WORKER_CANCEL_GRACE_MS (PROXY_GOODBYE_MS + WORKER_CALLBACK_TIMEOUT_MS + 1000)
#define WORKER_KILL_GRACE_MS (WORKER_CANCEL_GRACE_MS + 1000)	/* after the drain's limit, its leader kills it */

/* What the leader hands to a worker that it forks. */
struct worker_setup {
	const struct policy *policy;
	uint32_t slot, generation;
	int leader;				/* message socket */
	struct stats stats;			/* mapped; this worker is its one writer from now on */
	uint32_t *service_sessions;		/* shared by the workers, for max_instances */
	const struct listener_record *listeners;
	const int *listener_fds;
	size_t n_listeners;
	bool can_forge;
	struct tls *tls;			/* NULL: the policy has no encryptions */
	struct tls_keys *tls_keys;
	struct zone_names *names;		/* the leader's, copied by the fork; NULL: none */
};

/* Runs until told to end. Returns the process's exit status. */
int worker_run(const struct worker_setup *setup);

#endif
