/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stapled OCSP response (RFC 6960; RFC 6066, 8): a CA's word that a certificate of ours is not revoked. It is shown with
 * the certificate that it is about, as long as it lasts: with another one, or too late, it makes clients hang up. Those of servers
 * are judged (stapled.c).
 */
#ifndef SALLYPORT_TLS_STAPLE_H
#define SALLYPORT_TLS_STAPLE_H

#include "base/attributes.h"
#include "base/slice.h"

#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

struct tls_staple;

/* DER. 0; -EINVAL: it is no successful response; -ENOMEM. */
int tls_staple_parse(struct slice der, struct tls_staple **out) MUST_CHECK;
void tls_staple_free(struct tls_staple **staple);

struct slice tls_staple_der(const struct tls_staple *staple);

enum tls_staple_answer {
	TLS_STAPLE_FITS,
	TLS_STAPLE_OTHER,		/* it is about other certificates */
	TLS_STAPLE_LATE,		/* its time is over, or has not come; *until is when it ended, wall seconds */
};

/* chain: what is sent behind the leaf; NULL: nothing. Without the issuer in it, the issuer's name and the serial number count alone. */
enum tls_staple_answer tls_staple_fits(const struct tls_staple *staple, X509 *leaf, STACK_OF(X509) *chain, int64_t now, int64_t *until);

enum tls_staple_status {
	TLS_STAPLE_SAYS_NOTHING,	/* it is none, is not signed by who may, is about others or too old, or the CA does not know it */
	TLS_STAPLE_SAYS_GOOD,		/* until *until, wall seconds; INT64_MAX: it does not say */
	TLS_STAPLE_SAYS_REVOKED,
};

/* A response that came with a chain that was verified, leaf first, by what is in the store. */
enum tls_staple_status tls_staple_judge(struct slice der, STACK_OF(X509) *chain, X509_STORE *store, int64_t now, int64_t *until);

#endif
