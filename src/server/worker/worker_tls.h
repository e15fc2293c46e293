/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's contexts and keys: inherited from its leader, connected to the keeper, replaced when files change. */
#ifndef SALLYPORT_SERVER_WORKER_TLS_H
#define SALLYPORT_SERVER_WORKER_TLS_H

#include "server/message.h"
#include "tls/tls.h"

struct loop;
struct trust_reader;

struct worker_tls {
	struct loop *loop;
	struct tls *tls;		/* the leader's, copied by the fork; NULL: the policy has no encryptions */
	struct tls_keys *keys;
	int leader;			/* message socket, on which another connection is asked for */
	uint32_t slot;
	struct trust_reader *reader;
};

/* The fields above but the reader are set. 0 or -errno. */
int worker_tls_start(struct worker_tls *w) MUST_CHECK;
void worker_tls_stop(struct worker_tls *w);

void worker_tls_connect(struct worker_tls *w, struct message *m);	/* MSG_KEYS: takes the descriptor */
void worker_tls_update(struct worker_tls *w, const struct message *m);	/* MSG_KEEPER_UPDATE */
void worker_tls_believe(struct worker_tls *w, struct message *m);	/* MSG_KEEPER_TRUST: takes the descriptor */

#endif
