/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SALLYPORT_TLS_KEEPER_KEYS_PRIV_H
#define SALLYPORT_TLS_KEEPER_KEYS_PRIV_H

#include "tls/keeper_keys.h"
#include "tls/key_ring.h"
#include "tls/keys.h"

#define KEEPER_DIGEST 32

struct keeper_chain {
	uint8_t digest[KEEPER_DIGEST];		/* of the certificates; 0: not known */
	int64_t from, to;			/* of the leaf, seconds; 0: not known */
	uint64_t key;				/* name of its key; 0: not known */
};

/* What the leader has not spoken about yet. */
struct keeper_offer {
	EVP_PKEY *key;				/* NULL: there is none, or that of the offer is the one in use */
	uint32_t key_index;
	bool has_chain;
	uint32_t certificate;
	struct keeper_chain chain;
};

struct keeper_keys {
	const struct policy *policy;
	bool give;
	struct arena *arena;
	struct tls_secrets secrets;
	struct key_ring *ring;
	EVP_PKEY **now;			/* by index; NULL: could not be loaded */
	struct keeper_chain *chains;	/* in use, by index of the certificate */
	struct keeper_offer offer;
};

/* The certificates that are in use are those of the policy. */
void keeper_keys_know(struct keeper_keys *k);

/* The key's record. 0; -ENOMEM. */
int keeper_keys_write(const struct keeper_keys *k, uint32_t index, EVP_PKEY *key, struct buffer *records) MUST_CHECK;

/* That one may be the key from now on; takes it over. 0; -EINVAL and -ENOMEM with a problem. */
int keeper_keys_offer(struct keeper_keys *k, uint32_t index, EVP_PKEY *key, struct policy_problems *problems) MUST_CHECK;

#endif
