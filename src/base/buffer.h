/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A growing run of octets with a ceiling. Appending over the ceiling, or without memory, marks
 * the buffer broken and changes nothing else, so a writer may check once at the end.
 */
#ifndef SALLYPORT_BASE_BUFFER_H
#define SALLYPORT_BASE_BUFFER_H

#include "base/slice.h"

#include <stdarg.h>

struct buffer {
	uint8_t *data;
	size_t len, size, ceiling;	/* octets */
	bool broken;
};

#define BUFFER_INIT(max) { .ceiling = (max) }

void buffer_append(struct buffer *b, struct slice s);
void buffer_append_octet(struct buffer *b, uint8_t c);
void buffer_printf(struct buffer *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buffer_consume(struct buffer *b, size_t n);	/* drop the first n octets */
void buffer_clear(struct buffer *b);			/* empty and whole, memory kept */
void buffer_release(struct buffer *b);			/* empty and whole, memory given back */

static inline struct slice buffer_slice(const struct buffer *b)
{
	return slice_of(b->data, b->len);
}

#endif
