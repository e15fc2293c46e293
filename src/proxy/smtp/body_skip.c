/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The fast way through a body. Almost all of it is ordinary: octets that are none of NUL, CR and
 * LF, and line ends that are whole. That can be seen for 64 octets at a time, each beside the one
 * before it: LF stands behind CR and nowhere else, and a line seldom starts with a dot. Whatever is
 * not so, and lines that could be the lone dot, is left to the scanner in body.c, which alone says
 * what a body is. A processor without AVX2 leaves everything to it: with SSE2 it would be no faster.
 */
#include "proxy/smtp/body.h"

#ifdef __x86_64__
#include <immintrin.h>

#define BLOCK 64u
#define AVX2 __attribute__((target("avx2")))

/* What stands in some octets: not zero where it stands. */
struct found {
	__m256i broken;		/* an LF without its CR, a CR without its LF */
	__m256i dots;		/* at the start of a line */
};

/* 32 octets, and those that are one before them. */
AVX2 static inline struct found look(const uint8_t *p)
{
	__m256i here = _mm256_loadu_si256((const void *)p), before = _mm256_loadu_si256((const void *)(p - 1));
	__m256i cr = _mm256_set1_epi8('\r'), lf = _mm256_set1_epi8('\n'), dot = _mm256_set1_epi8('.');

	return (struct found){
		_mm256_xor_si256(_mm256_cmpeq_epi8(here, lf), _mm256_cmpeq_epi8(before, cr)),
		_mm256_and_si256(_mm256_cmpeq_epi8(here, dot), _mm256_cmpeq_epi8(before, lf)),
	};
}

AVX2 static inline __m256i nuls(const uint8_t *block)
{
	__m256i low = _mm256_loadu_si256((const void *)block), high = _mm256_loadu_si256((const void *)(block + 32));

	return _mm256_cmpeq_epi8(_mm256_min_epu8(low, high), _mm256_setzero_si256());
}

/* Stuffed dots in a block. Negative: one of its lines may be a lone dot; the last octet may be its. */
static int count_stuffed(const uint8_t *block)
{
	int n = 0;

	for (unsigned at = 0; at < BLOCK; at++) {
		if (block[at] != '.' || block[(int)at - 1] != '\n')
			continue;
		if (at == BLOCK - 1 || block[at + 1] == '\r')
			return -1;
		n++;
	}
	return n;
}

/* Has the block, behind an octet that is fine, only what is ordinary? */
AVX2 static inline bool is_ordinary(struct smtp_body_scan *scan, const uint8_t *block)
{
	struct found low = look(block), high = look(block + 32);
	__m256i broken = _mm256_or_si256(_mm256_or_si256(low.broken, high.broken), nuls(block));
	__m256i any = _mm256_or_si256(broken, _mm256_or_si256(low.dots, high.dots));
	int stuffed;

	if (_mm256_testz_si256(any, any))
		return true;
	stuffed = _mm256_testz_si256(broken, broken) ? count_stuffed(block) : -1;
	if (stuffed < 0)
		return false;
	scan->stuffed += (unsigned)stuffed;
	return true;
}

/* Behind the last block that is ordinary, and those before it. */
AVX2 static const uint8_t *skip_blocks(struct smtp_body_scan *scan, const uint8_t *p, size_t n)
{
	for (n /= BLOCK; n > 0 && is_ordinary(scan, p); n--)
		p += BLOCK;
	return p;
}

/* May octets go on with this one? The first has none before it that could be looked at. */
static bool starts_ordinary(const struct smtp_body_scan *scan, uint8_t first)
{
	return first != '\0' && first != '\r' && first != '\n' && (first != '.' || scan->in_line);
}

size_t smtp_body_skip(struct smtp_body_scan *scan, struct slice octets)
{
	const uint8_t *start = octets.ptr, *p;

	if (octets.len <= BLOCK || !starts_ordinary(scan, *start) || !__builtin_cpu_supports("avx2"))
		return 0;
	p = skip_blocks(scan, start + 1, octets.len - 1);
	/* What follows a CR decides about it. */
	if (p[-1] == '\r')
		p--;
	scan->in_line = p[-1] != '\n';
	return (size_t)(p - start);
}

#else

size_t smtp_body_skip(struct smtp_body_scan *scan, struct slice octets)
{
	return 0;
}

#endif
