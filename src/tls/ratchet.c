/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/ratchet.h"

#include <assert.h>
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>

#define STEPS_MAX (5 * 366 * 24)	/* of hours, at once */

int tls_ratchet_start(struct tls_ratchet *ratchet, int64_t now)
{
	if (RAND_priv_bytes(ratchet->secret, sizeof(ratchet->secret)) != 1)
		return -EIO;
	ratchet->epoch = now / TLS_EPOCH_SECONDS - 1;
	return 0;
}

/* HKDF-Expand (RFC 5869, 2.3) of one block; the secret is a uniform key already. */
static void expand(const uint8_t secret[32], const uint8_t *info, size_t n, uint8_t out[32])
{
	unsigned size = 32;
	uint8_t text[64];

	assert(n < sizeof(text));
	memcpy(text, info, n);
	text[n] = 1;
	if (HMAC(EVP_sha256(), secret, 32, text, n + 1, out, &size) == NULL)
		abort();		/* SHA-256 is always there */
}

void tls_ratchet_next(const uint8_t secret[32], uint8_t out[32])
{
	static const uint8_t info[] = "next hour";

	expand(secret, info, sizeof(info), out);
}

void tls_ratchet_expand(const uint8_t secret[32], const uint8_t context[32], uint8_t purpose, uint8_t out[32])
{
	uint8_t info[33];

	memcpy(info, context, 32);
	info[32] = purpose;
	expand(secret, info, sizeof(info), out);
}

void tls_ratchet_step(struct tls_ratchet *ratchet, int64_t now)
{
	int64_t oldest = now / TLS_EPOCH_SECONDS - 1;
	uint8_t next[32];

	if (oldest - ratchet->epoch > STEPS_MAX)
		return;
	for (; ratchet->epoch < oldest; ratchet->epoch++) {
		tls_ratchet_next(ratchet->secret, next);
		memcpy(ratchet->secret, next, sizeof(next));
	}
	OPENSSL_cleanse(next, sizeof(next));
}
