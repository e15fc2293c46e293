/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker's zones have by their host names: inherited from its leader, replaced by what that makes of newer snapshots. */
#ifndef SALLYPORT_SERVER_WORKER_NAMES_H
#define SALLYPORT_SERVER_WORKER_NAMES_H

#include "io/loop.h"
#include "policy/names.h"
#include "server/message.h"

struct worker_names {
	struct loop *loop;
	const struct policy *policy;
	struct zone_names *now;			/* NULL: nothing */
	const struct zone_names **shown;	/* where sessions look; the same */
	int file;				/* of what could not be mapped yet; -1: none */
	struct loop_timer again;
};

void worker_names_start(struct worker_names *n, struct loop *loop, const struct policy *policy, struct zone_names *inherited,
			const struct zone_names **shown);
void worker_names_stop(struct worker_names *n);

/* MSG_MEMBERS; takes the descriptor. What can't be used for the moment is tried again; what never can changes nothing but the log. */
void worker_names_take(struct worker_names *n, struct message *m);

#endif
