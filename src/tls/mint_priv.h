/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the mint know of each other: the rules (mint_leaf.c) and the directory (mint_cache.c). */
#ifndef SALLYPORT_TLS_MINT_PRIV_H
#define SALLYPORT_TLS_MINT_PRIV_H

#include "tls/mint.h"

/* How a certificate of ours is made, whatever the original. */
struct mint_rules {
	EVP_PKEY *leaf_key;
	ASN1_OCTET_STRING *leaf_key_id;		/* its subjectKeyIdentifier */
	ASN1_OBJECT **extensions;		/* those that are copied */
	size_t n_extensions;
};

struct mint_authority {
	X509 *certificate;
	EVP_PKEY *key;
	const EVP_MD *digest;			/* that goes with the key; NULL: the key's kind has its own */
	STACK_OF(X509) *chain;			/* sent behind the leaf */
};

/* Wall time, seconds; both ends belong to it. */
struct mint_times {
	int64_t not_before, not_after;
};

/* The certificate's, or -EINVAL: they can't be read. */
int mint_times_of(const X509 *certificate, struct mint_times *out) MUST_CHECK;

/* What a leaf gets that is made now: not more than MINT_DAYS_MAX, within the original's. */
struct mint_times mint_times_capped(struct mint_times original, int64_t now);

/* Can a leaf that was made earlier still stand for the original: is it as valid, expired, or not yet valid? */
bool mint_times_fit(struct mint_times original, struct mint_times leaf, int64_t now);

/* All but the signature. NULL: *why. */
X509 *mint_leaf_make(const struct mint_rules *rules, const struct mint_authority *authority, X509 *original,
		     struct mint_times times, const char **why);

/* Signed, and read back from its octets, so that what is sent is what was judged. NULL: *why. */
co_waits X509 *mint_leaf_sign(X509 *made, const struct mint_authority *authority, const char **why);

/* Put on the leaf what the list takes over of the original's extensions. 0; -EINVAL, -ENOMEM: *why (mint_extension.c). */
int mint_extensions_copy(const struct mint_rules *rules, X509 *original, X509 *leaf, const char **why) MUST_CHECK;
bool mint_name_is_sound(const X509_NAME *name);

/* Is a certificate from elsewhere what would be made now, but for serial and validity, and signed by the authority? */
bool mint_leaf_is(X509 *certificate, X509 *made, const struct mint_authority *authority);

/* The directory. A name is "trusted-" or "untrusted-" and 64 hex digits. */
#define MINT_NAME_MAX sizeof("untrusted-" "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")

struct mint_cache;

/* 0; -ENOMEM; -errno of the directory. */
int mint_cache_open(const char *directory, size_t max, struct mint_cache **out) MUST_CHECK;
void mint_cache_close(struct mint_cache **cache);

/* The certificate of that name, if it was made for that original (PEM); *present: there is a file, whatever is in it. */
X509 *mint_cache_read(const struct mint_cache *cache, const char *name, struct slice original_pem, bool *present);

/*
 * Whoever changes files holds the lock. It is tried, not waited for: who does not get it (NULL) can still add what is
 * not there, which needs none. Closing the descriptor gives it back.
 */
int mint_cache_lock(const struct mint_cache *cache);	/* a descriptor, or -1 */

/* Both files, each whole or not at all. 0; -EEXIST (without replace); -errno. */
int mint_cache_write(struct mint_cache *cache, const char *name, X509 *leaf, struct slice original_pem,
		     bool replace) MUST_CHECK;

/* With the lock: now and then, when enough was written, throw out what is too old or too much. */
void mint_cache_tidy(struct mint_cache *cache);

#endif
