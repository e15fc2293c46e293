/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates made on the fly (key bridging): what a peer on one side showed, mimicked for the
 * other side and signed by a CA of the policy. Serial, validity and extensions: spec of
 * tls_bridge in docs/reference/encryption.md.
 */
#ifndef SALLYPORT_TLS_MINT_H
#define SALLYPORT_TLS_MINT_H

#include "policy/encryption.h"

#include <openssl/x509.h>

struct mint;

/* One for each bridge; ca keys and the leaf's key are borrowed. cache_directory as the policy says. 0; -ENOMEM. */
struct mint_ca {
	X509 *certificate;
	EVP_PKEY *key;
};
struct mint_setup {
	EVP_PKEY *leaf_key;			/* may be public only: it signs nothing here */
	struct mint_ca trusted, untrusted;
	const char *cache_directory;		/* NULL: memory only */
	const char *const *extensions;
	size_t n_extensions;
	size_t memory_max;			/* certificates kept in memory */
	size_t disk_max;			/* and in the directory */
};
int mint_create(const struct mint_setup *setup, struct mint **out) MUST_CHECK;
void mint_free(struct mint **mint);

/*
 * The leaf that mimics original; trusted says which CA signs. now is wall time, seconds. A reference of the caller's own.
 * Signing WAITS where the CA's key is in the key process; files of the cache are read and written on the way.
 * NULL: *why says what is wrong (in words).
 */
X509 *mint_certificate(struct mint *mint, X509 *original, bool trusted, int64_t now, const char **why);

#endif
