/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper: the one process of a generation that has the private keys. It signs for workers, one
 * request a worker and turn, so that one that floods takes no more than its share; a worker that
 * does not read its replies loses its connection. Nobody's traffic gets here.
 *
 * It is forked by the leader, as unprivileged as that, can't be traced, and leaves no core.
 */
#ifndef SALLYPORT_SERVER_KEEPER_H
#define SALLYPORT_SERVER_KEEPER_H

#include "policy/policy.h"

struct keeper_setup {
	const struct policy *policy;
	int leader;			/* message socket */
	int secrets;			/* sealed memory file; -1 = none */
	int certificates;		/* memory file for what is shown of them; -1 = none */
	bool give;			/* workers are to have the keys themselves */
	bool again;			/* the one before ended */
};

/* Runs until told to end. Returns the process's exit status. */
int keeper_run(const struct keeper_setup *setup);

#endif
