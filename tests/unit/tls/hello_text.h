/* SPDX-License-Identifier: Apache-2.0 */
/* Writing a ClientHello octet by octet. */
#ifndef TESTS_UNIT_TLS_HELLO_TEXT_H
#define TESTS_UNIT_TLS_HELLO_TEXT_H

#include "base/slice.h"

struct text {
	uint8_t octets[200000];
	size_t n;
};

static inline void put(struct text *t, size_t octets, size_t value)
{
	while (octets-- > 0)
		t->octets[t->n++] = (uint8_t)(value >> (8 * octets));
}

static inline void put_octets(struct text *t, const void *octets, size_t n)
{
	memcpy(t->octets + t->n, octets, n);
	t->n += n;
}

static inline void put_extension(struct text *t, size_t type, const void *octets, size_t n)
{
	put(t, 2, type);
	put(t, 2, n);
	put_octets(t, octets, n);
}

static inline void put_name(struct text *t, const void *name, size_t n)
{
	put(t, 2, 0);
	put(t, 2, n + 5);
	put(t, 2, n + 3);
	put(t, 1, 0);
	put(t, 2, n);
	put_octets(t, name, n);
}

static inline void begin(struct text *t, const uint16_t *ciphers, size_t n)
{
	t->n = 0;
	put(t, 2, 0x0303);
	for (int i = 0; i < 32; i++)
		put(t, 1, 7);
	put(t, 1, 0);
	put(t, 2, 2 * n);
	for (size_t i = 0; i < n; i++)
		put(t, 2, ciphers[i]);
	put(t, 2, 0x0100);
}

static inline size_t begin_extensions(struct text *t)
{
	put(t, 2, 0);
	return t->n;
}

static inline void end_extensions(struct text *t, size_t from)
{
	size_t end = t->n;

	t->n = from - 2;
	put(t, 2, end - from);
	t->n = end;
}

static inline struct slice whole(const struct text *t)
{
	return slice_of(t->octets, t->n);
}

#endif
