/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/smtp/line.h"

#include "base/attributes.h"
#include "base/word.h"

#ifdef __SSE2__
#include <emmintrin.h>
#endif

const char *const smtp_line_names[SMTP_LINE_COUNT] = {
	[SMTP_LINE_OK] = "ok",
	[SMTP_LINE_MORE] = "more",
	[SMTP_LINE_BARE_CR] = "bare-cr",
	[SMTP_LINE_BARE_LF] = "bare-lf",
	[SMTP_LINE_NUL] = "nul",
	[SMTP_LINE_TOO_LONG] = "line-too-long",
};

/*
 * What is wrong inside a line is judged in the order of its octets, so that the answer does not
 * depend on how many octets came at once.
 */
static enum smtp_line judge(struct slice s)
{
	size_t cr;

	if (smtp_is_printable(s))	/* almost all are */
		return SMTP_LINE_OK;
	cr = slice_index(s, '\r');
	if (slice_index(s, '\0') < cr)
		return SMTP_LINE_NUL;
	return cr < s.len ? SMTP_LINE_BARE_CR : SMTP_LINE_OK;
}

enum smtp_line smtp_line_take(struct slice octets, bool require_crlf, size_t max, struct slice *line,
			      size_t *used)
{
	struct slice window = slice_take(octets, max + 2);
	size_t lf = slice_index(window, '\n');
	struct slice text = slice_take(window, lf);
	bool ended = lf < window.len;
	bool cr_at_end = text.len > 0 && text.ptr[text.len - 1] == '\r';
	enum smtp_line verdict;

	if (cr_at_end)
		text.len--;
	verdict = judge(text);
	/* An octet too many makes it too long, unless something worse stands before that octet. */
	if (text.len > max)
		return judge(slice_take(text, max)) != SMTP_LINE_OK ? judge(slice_take(text, max)) : SMTP_LINE_TOO_LONG;
	if (verdict != SMTP_LINE_OK)
		return verdict;
	if (!ended)
		return SMTP_LINE_MORE;
	if (!cr_at_end && require_crlf)
		return SMTP_LINE_BARE_LF;
	*line = text;
	*used = lf + 1;
	return SMTP_LINE_OK;
}

static bool has_control(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if ((p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7f)
			return true;
	return false;
}

static inline bool is_printable_word(uint64_t word)
{
	return !word_has_8bit(word) && !word_has_below(word, ' ') && !word_has(word, 0x7f);
}

#ifdef __SSE2__

/* As signed numbers, octets of 0x80 and more are below the space, too. */
static inline __m128i unprintable(__m128i octets)
{
	return _mm_or_si128(_mm_cmplt_epi8(octets, _mm_set1_epi8(' ')), _mm_cmpeq_epi8(octets, _mm_set1_epi8(0x7f)));
}

/* At least a word. The last piece overlaps the one before. */
static bool is_printable_run(const uint8_t *p, size_t n)
{
	const uint8_t *last;
	__m128i found;

	if (n < sizeof(__m128i)) {
		found = _mm_loadl_epi64((const void *)p);
		found = unprintable(_mm_unpacklo_epi64(found, _mm_loadl_epi64((const void *)(p + n - WORD_OCTETS))));
		return _mm_movemask_epi8(found) == 0;
	}
	last = p + n - sizeof(__m128i);
	found = unprintable(_mm_loadu_si128((const void *)last));
	for (; p < last; p += sizeof(__m128i))
		found = _mm_or_si128(found, unprintable(_mm_loadu_si128((const void *)p)));
	return _mm_movemask_epi8(found) == 0;
}

#endif

bool smtp_is_printable(struct slice s)
{
	const uint8_t *p = s.ptr;
	size_t n = s.len;

#ifdef __SSE2__
	if (n >= WORD_OCTETS)
		return is_printable_run(p, n);
#endif
	for (; n >= WORD_OCTETS; p += WORD_OCTETS, n -= WORD_OCTETS)
		if (!is_printable_word(word_load(p)))
			return false;
	for (; n > 0; p++, n--)
		if (*p < ' ' || *p >= 0x7f)
			return false;
	return true;
}

bool smtp_has_control(struct slice s)
{
	for (; s.len >= WORD_OCTETS; s = slice_skip(s, WORD_OCTETS)) {
		uint64_t word = word_load(s.ptr);

		if ((word_has_below(word, 0x20) || word_has(word, 0x7f)) && has_control(s.ptr, WORD_OCTETS))
			return true;
	}
	return has_control(s.ptr, s.len);
}

bool smtp_has_8bit(struct slice s)
{
	for (; s.len >= WORD_OCTETS; s = slice_skip(s, WORD_OCTETS))
		if (word_has_8bit(word_load(s.ptr)))
			return true;
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] >= 0x80)
			return true;
	return false;
}

struct slice smtp_loggable(struct slice s)
{
	const struct slice verb = SLICE("AUTH");

	for (size_t i = 0; i < s.len; i++)
		if ((i == 0 || s.ptr[i - 1] == '\n' || s.ptr[i - 1] == '\r') && slice_starts_with_nocase(slice_skip(s, i), verb))
			return slice_take(s, i + verb.len);
	return s;
}

bool smtp_is_line_safe(struct slice s)
{
	return slice_index(s, '\r') == s.len && slice_index(s, '\n') == s.len && slice_index(s, '\0') == s.len;
}
