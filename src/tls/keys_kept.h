/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of a policy whose keeper has loaded them (tls/keeper_file.h): the keeper tells either
 * their public halves, and they sign over a connection to it, or all of them.
 */
#ifndef SALLYPORT_TLS_KEYS_KEPT_H
#define SALLYPORT_TLS_KEYS_KEPT_H

#include "tls/keeper_file.h"
#include "tls/keys.h"

struct loop;

/*
 * From the records of all keys. What the keeper found wrong are problems. 0; -EINVAL with errors
 * in problems; -EBADMSG: these are no such records; -ENOMEM; -ENOTSUP: the library has no providers.
 */
int tls_keys_kept(const struct policy *policy, struct slice records, struct policy_problems *problems,
		  struct tls_keys **out) MUST_CHECK;

/* As keys_remote_connect. fd is taken over, also when nothing is asked over it. */
int tls_keys_connect(struct tls_keys *keys, struct loop *loop, int fd, void (*lost)(void *arg, int err), void *arg)
	MUST_CHECK;

/* A key of a KEEPER_KEY_* record, which the caller frees. 0; -EINVAL; -ENOMEM. */
int tls_keys_read(struct tls_keys *keys, const struct keeper_record *record, EVP_PKEY **out) MUST_CHECK;
/* From now on that one is the key at index (there is one of that number); taken over, and the caller gets the one before. */
EVP_PKEY *tls_keys_exchange(struct tls_keys *keys, uint32_t index, EVP_PKEY *key) MUST_CHECK;

#endif
