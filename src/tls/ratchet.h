/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The secret from which the keys of session tickets are made. It belongs to an hour; that of the
 * next hour is made from it, and never that of the one before. Whoever has it steps it by the wall
 * clock alone, so that processes that never talk come to the same keys. It is that of the oldest
 * hour whose tickets are still good: new ones are made with the next hour's.
 */
#ifndef SALLYPORT_TLS_RATCHET_H
#define SALLYPORT_TLS_RATCHET_H

#include "base/attributes.h"

#include <stdint.h>

#define TLS_EPOCH_SECONDS 3600

struct tls_ratchet {
	int64_t epoch;			/* hours since 1970 */
	uint8_t secret[32];
};

/* A first state, of random octets, at that wall time (seconds). 0, -EIO: there is no randomness. */
int tls_ratchet_start(struct tls_ratchet *ratchet, int64_t now) MUST_CHECK;

/* On to the hour before now's. A clock that goes back changes nothing; nor does one that jumps years ahead,
 * and then there are no tickets. */
void tls_ratchet_step(struct tls_ratchet *ratchet, int64_t now);

/* The secret of the next hour, and 32 octets made from one of an hour for a purpose. */
void tls_ratchet_next(const uint8_t secret[32], uint8_t out[32]);
void tls_ratchet_expand(const uint8_t secret[32], const uint8_t context[32], uint8_t purpose, uint8_t out[32]);

#endif
