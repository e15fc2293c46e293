/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker and the keeper, the process that holds the private keys, say to each other: one
 * request and one reply a signature, as packets of a SOCK_SEQPACKET connection. Several may be under way;
 * the number tells which reply is whose. Both ends are the same program, so numbers are the machine's.
 *
 * A key is named by the digest of its public half. So a keeper that was started again serves the
 * names that workers know, and after a key was replaced its old name means the old key or nothing.
 */
#ifndef SALLYPORT_TLS_KEY_TALK_H
#define SALLYPORT_TLS_KEY_TALK_H

#include "base/attributes.h"
#include "base/slice.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>

#define KEY_INPUT_MAX (16u * 1024u)	/* octets to be signed; a digest, but with Ed25519 and Ed448 the text itself */
#define KEY_SIGNATURE_MAX 1024u		/* octets: RSA with 8192 bits */
#define KEY_WINDOW 64u			/* requests of a worker without a reply; a socket's buffer holds as many replies */

struct key_request {
	uint32_t number;
	uint16_t scheme;
	uint16_t reserved;
	uint64_t key;
	/* what is to be signed follows */
};

struct key_reply {
	uint32_t number;
	int32_t result;			/* octets of the signature that follows, or -errno */
};

#define KEY_REQUEST_MAX (sizeof(struct key_request) + KEY_INPUT_MAX)
#define KEY_REPLY_MAX (sizeof(struct key_reply) + KEY_SIGNATURE_MAX)

/* What a key signs, by the policy: handshakes of these versions, certificates. */
enum key_use {
	KEY_FOR_OLD_TLS = 1,		/* 1.0, 1.1; and SHA-1 in 1.2, for clients of that time */
	KEY_FOR_TLS12 = 2,
	KEY_FOR_TLS13 = 4,
	KEY_FOR_CERTIFICATES = 8,
};

/*
 * A way to sign that TLS uses; nothing else is signed. Numbers are TLS's (RFC 8446, 4.2.3; RFC 5246,
 * 7.4.1.4.1); that of TLS 1.0 and 1.1, which had none, is from the range for private use.
 */
struct key_scheme {
	uint16_t number;
	const char *key_type;		/* "RSA", "EC", "ED25519", "ED448" */
	const char *digest, *digest_too;	/* names of the input's, which is a digest; NULL: the input is the text */
	const EVP_MD *(*md)(void);	/* the same */
	uint16_t digest_octets;
	bool pss;			/* RSA: PSS, salt as long as the digest; else PKCS#1 v1.5 */
	unsigned uses;			/* of enum key_use: where it occurs */
	struct slice algorithm;		/* AlgorithmIdentifier of certificates, DER; empty: certificates have none */
};

const struct key_scheme *key_scheme_numbered(uint16_t number);		/* NULL: there is none */
/* digest: as OpenSSL names it, or NULL. NULL: TLS does not sign so. */
const struct key_scheme *key_scheme_find(const char *key_type, const char *digest, bool pss);

/* Does a key with these uses sign so? */
bool key_scheme_fits(const struct key_scheme *scheme, const EVP_PKEY *key, unsigned uses);

/* The key's type as above; NULL: TLS has no use for it here. */
const char *key_type_of(const EVP_PKEY *key);

/* Of the public half, DER (SubjectPublicKeyInfo). */
uint64_t key_name(struct slice spki);
/* 0; -EINVAL: there is no public half to be had. */
int key_name_of(const EVP_PKEY *key, uint64_t *name) MUST_CHECK;

#endif
