/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

#include <stdio.h>
#include <stdlib.h>

#define FIRST_SIZE 256u

/*
 * Make room for n octets more. One octet beyond the ceiling may be allocated: the NUL that
 * vsnprintf writes behind its text.
 */
static bool reserve(struct buffer *b, size_t n, size_t extra)
{
	size_t need, size;
	uint8_t *data;

	if (b->broken || b->len > b->ceiling || n > b->ceiling - b->len ||
	    __builtin_add_overflow(b->len + n, extra, &need)) {
		b->broken = true;
		return false;
	}
	if (need <= b->size)
		return true;
	size = b->size < FIRST_SIZE ? FIRST_SIZE : b->size;
	while (size < need && size <= SIZE_MAX / 2)
		size *= 2;
	if (size > b->ceiling)
		size = b->ceiling;
	if (size < need)
		size = need;
	data = realloc(b->data, size);
	if (data == NULL) {
		b->broken = true;
		return false;
	}
	b->data = data;
	b->size = size;
	return true;
}

void buffer_append(struct buffer *b, struct slice s)
{
	if (s.len == 0 || !reserve(b, s.len, 0))
		return;
	memcpy(b->data + b->len, s.ptr, s.len);
	b->len += s.len;
}

void buffer_append_octet(struct buffer *b, uint8_t c)
{
	if (!reserve(b, 1, 0))
		return;
	b->data[b->len++] = c;
}

void buffer_printf(struct buffer *b, const char *format, ...)
{
	va_list ap, again;
	int n;

	va_start(ap, format);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, format, ap);
	if (n < 0) {
		b->broken = true;
	} else if (reserve(b, (size_t)n, 1)) {
		vsnprintf((char *)b->data + b->len, (size_t)n + 1, format, again);
		b->len += (size_t)n;
	}
	va_end(again);
	va_end(ap);
}

void buffer_consume(struct buffer *b, size_t n)
{
	if (n >= b->len) {
		b->len = 0;
		return;
	}
	b->len -= n;
	memmove(b->data, b->data + n, b->len);
}

void buffer_clear(struct buffer *b)
{
	b->len = 0;
	b->broken = false;
}

void buffer_release(struct buffer *b)
{
	free(b->data);
	b->data = NULL;
	b->len = b->size = 0;
	b->broken = false;
}
