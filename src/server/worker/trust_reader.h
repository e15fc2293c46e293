/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's CAs, CRLs and pins that changed, parsed while its sessions go on. OpenSSL takes a tenth of a second for
 * each MiB of a CRL and can't be interrupted, so this is done on a thread of its own, which knows nothing of the worker: it gets a
 * memory file, and gives what was made of it. One at a time, at a lower priority than sessions; there is no thread
 * when there is nothing to read.
 */
#ifndef SALLYPORT_SERVER_WORKER_TRUST_READER_H
#define SALLYPORT_SERVER_WORKER_TRUST_READER_H

#include "base/attributes.h"
#include "tls/trust.h"

struct loop;
struct trust_reader;

/*
 * From the loop, for each file that was added and not superseded, in the order in which they came. err: -errno of reading it;
 * else trust has what is in it, to be taken or left: what it has afterwards is cleared on a thread as well.
 */
typedef void (*trust_read_fn)(void *arg, int err, uint32_t context, struct tls_trust *trust);

int trust_reader_create(struct loop *loop, trust_read_fn done, void *arg, struct trust_reader **out) MUST_CHECK;	/* 0 or -errno */
/* Waits for its thread. Nobody is called any more. */
void trust_reader_free(struct trust_reader **reader);

/* A KEEPER_TRUST record for that context, in a sealed memory file, taken over. One for the same context that
 * has not been begun is superseded, so as many wait as there are contexts. 0; -ENOMEM. */
int trust_reader_add(struct trust_reader *reader, uint32_t context, int fd) MUST_CHECK;

#endif
