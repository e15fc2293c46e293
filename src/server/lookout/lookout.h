/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lookout: the process that asks the network on behalf of the policy. One a supervisor, whatever
 * generations come and go, so that what it knows outlives a reload; unprivileged, without
 * keys, secrets or policy. It has one thread, and one more for the resolver library. It is started when somebody first needs it, and again when it
 * ends; what workers have of it stays good meanwhile.
 *
 * Workers ask it over connections of their own (session/lookout_talk.h). A worker gets one by asking its leader
 * (MSG_LOOKOUT_WANTED), which makes a pair and sends one end to the worker (MSG_LOOKOUT), the other by way of the
 * supervisor to the lookout (MSG_LOOKOUT_PEER). Each has one; where there is no room, the oldest generation's go.
 */
#ifndef SALLYPORT_SERVER_LOOKOUT_H
#define SALLYPORT_SERVER_LOOKOUT_H

#include "server/run_options.h"

#define LOOKOUT_PEERS_MAX (2 * WORKERS_MAX)	/* workers' connections: room for the newest two generations */

struct lookout_setup {
	const struct run_options *options;
	int supervisor;			/* message socket */
};

/* Runs until the supervisor is gone. Returns the process's exit status. */
int lookout_run(const struct lookout_setup *setup);

#endif
