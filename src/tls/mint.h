/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates made on the fly (key bridging): what a peer on one side showed, mimicked for the
 * other side and signed by a CA of the policy.
 *
 * The original comes from a peer, so it is judged as such: what we can't parse, or would not say
 * ourselves, is refused and not copied. What is copied is written anew from what was parsed.
 * docs/reference/key-bridging.md has the rules, field by field; mint_leaf.c has them in code.
 *
 * What was made is kept: in memory (each worker's own), and in a directory that all processes
 * share, also those of other generations.
 */
#ifndef SALLYPORT_TLS_MINT_H
#define SALLYPORT_TLS_MINT_H

#include "base/attributes.h"
#include "base/slice.h"

#include <openssl/x509.h>

#define MINT_MEMORY_MAX 1024u			/* certificates kept in memory, where the setup says 0 */
#define MINT_DISK_MAX 4096u			/* and in the directory */
#define MINT_ORIGINAL_MAX (32u * 1024u)		/* octets (DER) of an original; larger ones are refused */
#define MINT_DAYS_MAX 398			/* from notBefore to notAfter: clients refuse more */

struct mint;

/* keys of CAs sign, perhaps in another process: their provider must know the signature's ALGORITHM_ID. */
struct mint_ca {
	X509 *certificate;
	STACK_OF(X509) *chain;			/* what certified it, in order; may be NULL */
	EVP_PKEY *key;
};
struct mint_setup {
	EVP_PKEY *leaf_key;			/* of every leaf; may be public only, since it signs nothing here */
	struct mint_ca trusted, untrusted;
	const char *cache_directory;		/* NULL: memory only */
	const char *const *extensions;		/* short names, or numbers with dots */
	size_t n_extensions;
	size_t memory_max, disk_max;		/* 0: as above */
};

/*
 * One for each bridge, before the workers are forked. Everything in setup is borrowed for the call only (OpenSSL's
 * objects by references of the mint's own). 0; -ENOMEM; -EINVAL: *why says in words what the bridge can't work with. A
 * directory that can't be used is no error: it is logged, and the mint works without.
 */
int mint_create(const struct mint_setup *setup, struct mint **out, const char **why) MUST_CHECK;

/* Who keeps one over a wait, during which it may be replaced, holds a reference. free: gives one back. */
struct mint *mint_hold(struct mint *mint);
void mint_free(struct mint **mint);

/* Is this the name of an extension that can be on the list? Others make mint_create fail. */
bool mint_knows_extension(const char *name);

/*
 * The leaf that mimics original (DER); trusted says which CA signs. now is wall time, seconds. A reference of the
 * caller's own. Signing WAITS where the CA's key is in the key process; files of the cache are read and written on the
 * way, and locks of the directory are tried and never waited for. NULL: *why says what is wrong (in words).
 */
co_waits X509 *mint_certificate(struct mint *mint, struct slice original, bool trusted, int64_t now, const char **why);

/* What is sent behind such a leaf: the CA's certificate and its chain, without a root. Borrowed; may be empty. */
STACK_OF(X509) *mint_chain(const struct mint *mint, bool trusted);

#endif
