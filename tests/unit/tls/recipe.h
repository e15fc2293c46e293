/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates for tests, out of a few words, also such as no honest CA would make. */
#ifndef SALLYPORT_TESTS_RECIPE_H
#define SALLYPORT_TESTS_RECIPE_H

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stdint.h>

#define RECIPE_EXTENSIONS 8

struct recipe {
	const char *common_name;		/* NULL: no subject */
	int64_t not_before, not_after;		/* wall seconds */
	EVP_PKEY *key;				/* its own */
	X509 *issuer;				/* NULL: self-signed */
	EVP_PKEY *issuer_key;
	const char *digest;			/* NULL: SHA-256 */
	/* As in OpenSSL's configuration files: { "subjectAltName", "DNS:a.example" }, "critical," in front where wanted. A
	 * name with dots is an OID, its value "DER:" and hex. */
	const char *extensions[RECIPE_EXTENSIONS][2];
};

/* All of them end the process when something is wrong. */
EVP_PKEY *recipe_key(const char *kind);		/* "RSA-2048", a curve ("P-256"), "ED25519" */
X509 *recipe_make(const struct recipe *recipe);
/* Signed again after a change. */
void recipe_sign(X509 *certificate, const struct recipe *recipe);
/* An extension of any octets. */
void recipe_add_raw(X509 *certificate, const char *oid, bool critical, const void *octets, int len);

#endif
