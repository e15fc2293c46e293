/* SPDX-License-Identifier: Apache-2.0 */
/* What one end of an encryption believes: CAs, revocations, pinned certificates; and the CAs that it names to clients. */
#ifndef SALLYPORT_TLS_TRUST_H
#define SALLYPORT_TLS_TRUST_H

#include "policy/encryption.h"
#include "tls/directory.h"

#include <openssl/x509.h>

/* A certificate that is accepted from one peer whatever else is true, and the only one from it. */
struct tls_pin {
	char *name;			/* "192.0.2.1:25", "192.0.2.1" */
	struct slice der;		/* empty: the file has none, and nothing fits */
};

struct tls_trust {
	X509_STORE *store;		/* handshakes under way hold references of their own */
	STACK_OF(X509_NAME) *hints;
	struct tls_pin *pins;
	size_t n_pins;
	uint8_t digest[32];		/* of all of it */
};

/* Contents of a verifier's directories; those that it has none of are empty. */
struct tls_trust_sources {
	struct tls_directory ca, crl, hints, pins;
};

/* 0; -EINVAL: a directory can't be read, which is a problem at that place; -ENOMEM. */
int tls_trust_read(const struct tls_verifier *verifier, struct policy_place place, struct policy_problems *problems,
		   struct tls_trust_sources *out) MUST_CHECK;
void tls_trust_sources_free(struct tls_trust_sources *sources);

/* Single files that are not what they should be are skipped, with a warning: what they would have said is not believed.
 * 0; -ENOMEM. */
int tls_trust_build(const struct tls_trust_sources *sources, struct policy_place place, struct policy_problems *problems,
		    struct tls_trust *out) MUST_CHECK;
/* Another owner of the same: the store, which is large, is shared. 0; -ENOMEM. */
int tls_trust_share(const struct tls_trust *from, struct tls_trust *out) MUST_CHECK;
void tls_trust_clear(struct tls_trust *trust);

/* NULL: none of that name. */
const struct tls_pin *tls_trust_pin(const struct tls_trust *trust, const char *name);

#endif
