/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Private keys, wherever they are. The rest of tls/ knows a key by its number in the policy and
 * signs with an EVP_PKEY; whether the key's octets are in this process (keys_local.c) or in the
 * key process (keys_remote.c), which a sign call then asks, does not show.
 */
#ifndef SALLYPORT_TLS_KEYS_H
#define SALLYPORT_TLS_KEYS_H

#include "policy/encryption.h"
#include "policy/policy.h"

#include <openssl/evp.h>

struct tls_keys;

/* The number of secrets and where each is: the policy host's, read from a sealed memory file. */
struct tls_secrets {
	const struct slice *items;		/* PEM texts and passphrases */
	size_t n;
};

/*
 * Load all keys of the policy into this process. What is wrong with one (unreadable, wrong
 * passphrase, no key in it, too short to be used) is a problem at the place of its declaration.
 * 0; -EINVAL with errors in problems; -ENOMEM.
 */
int tls_keys_load(const struct policy *policy, const struct tls_secrets *secrets, struct policy_problems *problems,
		  struct tls_keys **out) MUST_CHECK;

/* Borrowed, good until the keys are freed or the key is replaced; NULL: there is none of that number. With remote
 * keys, signing with it WAITS on the running coroutine, under a deadline, and fails outside of one. */
EVP_PKEY *tls_keys_get(const struct tls_keys *keys, const struct tls_key *key);

void tls_keys_free(struct tls_keys **keys);

#endif
