/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fast way through a body. Almost all of it is ordinary: octets that are none of NUL, CR and
 * LF, and line ends that are whole. That can be seen for 64 octets at a time, from the positions
 * of CR and LF as bits of a word: shifted by one, the CRs must be the LFs. Whatever is not so,
 * and lines that could be the lone dot, is left to the scanner in body.c, which alone says what a
 * body is; without SSE2 everything is.
 */
#include "proxy/smtp/body.h"

#ifdef __SSE2__
#include <emmintrin.h>

#define BLOCK 64u

/* Bit n: octet n of the 64 is c. */
static inline uint64_t places_of(__m128i a, __m128i b, __m128i c, __m128i d, char octet)
{
	__m128i wanted = _mm_set1_epi8(octet);
	uint64_t low = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(a, wanted)) |
		       (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(b, wanted)) << 16;
	uint64_t high = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(c, wanted)) |
			(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(d, wanted)) << 16;

	return low | high << 32;
}

static inline bool has_nul(__m128i a, __m128i b, __m128i c, __m128i d)
{
	__m128i least = _mm_min_epu8(_mm_min_epu8(a, b), _mm_min_epu8(c, d));

	return _mm_movemask_epi8(_mm_cmpeq_epi8(least, _mm_setzero_si128())) != 0;
}

/* Stuffed dots among the starts of lines. Negative: one of the lines may be a lone dot; the last
 * octet of the block may be its. */
static inline int count_stuffed(const uint8_t *block, uint64_t starts)
{
	int n = 0;

	for (; starts != 0; starts &= starts - 1) {
		unsigned at = (unsigned)__builtin_ctzll(starts);

		if (block[at] != '.')
			continue;
		if (at == BLOCK - 1 || block[at + 1] == '\r')
			return -1;
		n++;
	}
	return n;
}

size_t smtp_body_skip(struct smtp_body_scan *scan, struct slice octets)
{
	const uint8_t *p = octets.ptr;
	/* Bits of the block before: did it end with CR, with LF, and did that CR start a line? */
	uint64_t cr_before = 0, at_start = !scan->in_line, cr_at_start = 0;

	for (size_t blocks = octets.len / BLOCK; blocks > 0; blocks--) {
		const __m128i *v = (const void *)p;
		__m128i a = _mm_loadu_si128(v), b = _mm_loadu_si128(v + 1);
		__m128i c = _mm_loadu_si128(v + 2), d = _mm_loadu_si128(v + 3);
		uint64_t cr = places_of(a, b, c, d, '\r'), lf = places_of(a, b, c, d, '\n');
		uint64_t starts = lf << 1 | at_start;
		int stuffed = count_stuffed(p, starts);

		if (lf != (cr << 1 | cr_before) || has_nul(a, b, c, d) || stuffed < 0)
			break;
		scan->stuffed += (unsigned)stuffed;
		cr_before = cr >> 63;
		cr_at_start = starts >> 63;
		at_start = lf >> 63;
		p += BLOCK;
	}
	/* What follows a CR decides about it. */
	scan->in_line = cr_before != 0 ? cr_at_start == 0 : at_start == 0;
	return (size_t)(p - octets.ptr) - cr_before;
}

#else

size_t smtp_body_skip(struct smtp_body_scan *scan, struct slice octets)
{
	return 0;
}

#endif
