/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process's connection to the keeper, and keys that sign over it. Made before the workers are
 * forked, so that contexts and certificates with these keys are shared; each worker then connects
 * its own. Signing outside of a coroutine, or in a process that never connects, fails.
 */
#ifndef SALLYPORT_TLS_KEYS_REMOTE_H
#define SALLYPORT_TLS_KEYS_REMOTE_H

#include "tls/key_talk.h"

#define KEYS_SIGN_MS 5000	/* for one signature, waiting for its turn or for another keeper included */
#define KEYS_QUEUE_MAX 1024u	/* coroutines that wait for their turn */

struct loop;
struct keys_remote;

int keys_remote_create(struct keys_remote **out) MUST_CHECK;	/* 0; -ENOMEM; -ENOTSUP */
/* After the last of its keys; nobody may be signing. */
void keys_remote_free(struct keys_remote **rp);

/* A key with this public half (DER), which the caller frees. 0; -EINVAL; -ENOMEM. */
int keys_remote_key(struct keys_remote *r, struct slice spki, EVP_PKEY **out) MUST_CHECK;

/*
 * Sign over this connection (SOCK_SEQPACKET, non-blocking) from now on; it is taken over, and
 * replaces the one before. lost is called from the loop when it breaks: signatures that are under way have failed,
 * those that wait for their turn go on waiting for another one. 0 or -errno.
 */
int keys_remote_connect(struct keys_remote *r, struct loop *loop, int fd, void (*lost)(void *arg, int err), void *arg)
	MUST_CHECK;

#endif
