/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records as octets, from one of our processes to another: numbers of a fixed size, least significant octet first,
 * addresses as they stand. What is read is trusted in nothing.
 */
#ifndef SALLYPORT_BASE_OCTETS_H
#define SALLYPORT_BASE_OCTETS_H

#include "base/addr.h"
#include "base/buffer.h"

struct octets_reader {
	struct slice rest;
	bool bad;			/* there were fewer than asked for: everything from there on is zero, or empty */
};

/* The next n of them, where they stand. */
struct slice octets_take(struct octets_reader *r, size_t n);
uint64_t octets_number(struct octets_reader *r, size_t n);	/* at most 8 */
/* Of AF_INET 4 octets, else 16. */
void octets_address(struct octets_reader *r, uint8_t family, struct ip_addr *out);

void octets_put_number(struct buffer *out, uint64_t value, size_t n);	/* at most 8 */
void octets_put_address(struct buffer *out, const struct ip_addr *ip);	/* the family is up to the reader to know */

#endif
