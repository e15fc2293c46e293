/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Eight octets at a time, in one word, whatever the order of its octets. The questions have exact
 * answers: the borrow of a subtraction that reaches the next octet comes from one that is looked for.
 */
#ifndef SALLYPORT_BASE_WORD_H
#define SALLYPORT_BASE_WORD_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define WORD_OCTETS sizeof(uint64_t)
#define WORD_OF(octet) (UINT64_C(0x0101010101010101) * (octet))

static inline uint64_t word_load(const void *octets)
{
	uint64_t word;

	memcpy(&word, octets, sizeof(word));
	return word;
}

static inline bool word_has_8bit(uint64_t word)
{
	return (word & WORD_OF(0x80)) != 0;
}

/* Below that octet, which is 0x80 at most? */
static inline bool word_has_below(uint64_t word, uint8_t octet)
{
	return ((word - WORD_OF(octet)) & ~word & WORD_OF(0x80)) != 0;
}

static inline bool word_has(uint64_t word, uint8_t octet)
{
	return word_has_below(word ^ WORD_OF(octet), 1);
}

#endif
