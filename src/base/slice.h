/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Octets as they come from the network: a pointer and a length, passed by value. Never
 * NUL-terminated, never patched in place. A slice owns nothing; whoever hands one out says
 * what it lives as long as.
 */
#ifndef SALLYPORT_BASE_SLICE_H
#define SALLYPORT_BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
	const uint8_t *ptr;	/* may be NULL when len is 0 */
	size_t len;		/* octets */
};

/* A string literal as a slice, without its NUL; the second form is for static tables. */
#define SLICE(lit) ((struct slice)SLICE_INIT(lit))
#define SLICE_INIT(lit) { (const uint8_t *)("" lit), sizeof(lit) - 1 }

/* For printf-like formatting of *trusted* text: printf("%.*s", SLICE_ARG(s)). */
#define SLICE_ARG(s) (int)(s).len, (const char *)(s).ptr

static inline struct slice slice_of(const void *ptr, size_t len)
{
	return (struct slice){ ptr, len };
}

static inline struct slice slice_cstr(const char *text)
{
	return (struct slice){ (const uint8_t *)text, text == NULL ? 0 : strlen(text) };
}

/* The first n octets (all when there are fewer), and what follows them. */
static inline struct slice slice_take(struct slice s, size_t n)
{
	return (struct slice){ s.ptr, n < s.len ? n : s.len };
}

static inline struct slice slice_skip(struct slice s, size_t n)
{
	return n < s.len ? (struct slice){ s.ptr + n, s.len - n } : (struct slice){ s.ptr, 0 };
}

static inline bool slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || a.ptr == b.ptr || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool slice_is(struct slice s, const char *text)
{
	return slice_equal(s, slice_cstr(text));
}

/* ASCII only, independent of the locale. */
static inline uint8_t ascii_lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

static inline uint8_t ascii_upper(uint8_t c)
{
	return c >= 'a' && c <= 'z' ? (uint8_t)(c & ~0x20) : c;
}

static inline bool ascii_is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static inline bool ascii_is_alpha(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

bool slice_equal_nocase(struct slice a, struct slice b);
bool slice_starts_with(struct slice s, struct slice prefix);
bool slice_starts_with_nocase(struct slice s, struct slice prefix);
bool slice_ends_with_nocase(struct slice s, struct slice suffix);

/* Index of the first c, or s.len when there is none. */
size_t slice_index(struct slice s, uint8_t c);

/* Cut off spaces (only 0x20) at both ends. */
struct slice slice_trim_spaces(struct slice s);

/*
 * Decimal digits only, no sign, no blanks, at least one and at most 20 of them.
 * Returns 0; -EINVAL (not digits); -ERANGE (more than max).
 */
int slice_parse_u64(struct slice s, uint64_t max, uint64_t *out) __attribute__((warn_unused_result));

/* A C string for a library call. Returns 0; -EINVAL (a NUL inside); -ENOSPC. */
int slice_to_cstr(struct slice s, char *dst, size_t size) __attribute__((warn_unused_result));

#endif
