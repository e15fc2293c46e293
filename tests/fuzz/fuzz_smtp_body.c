/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The scanner against the definition: the message ends at the first CRLF "." CRLF (the line
 * before the first one counts as ended), and all before it must be free of NUL and of CR and LF
 * that stand alone. In any pieces.
 */
#include "fuzz.h"
#include "proxy/smtp/body.h"

/* Octet by octet, as one would write it on paper. */
static enum smtp_body define(struct slice s, size_t *end)
{
	size_t line = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '\0')
			return SMTP_BODY_NUL;
		if (s.ptr[i] == '\n')
			return SMTP_BODY_BARE_LF;
		if (s.ptr[i] != '\r')
			continue;
		if (i + 1 == s.len)
			break;
		if (s.ptr[i + 1] != '\n')
			return SMTP_BODY_BARE_CR;
		if (i - line == 1 && s.ptr[line] == '.') {
			*end = i + 2;
			return SMTP_BODY_END;
		}
		i++;
		line = i + 1;
	}
	return SMTP_BODY_MORE;
}

/* Dots at the start of lines, but for the lone one at the end. */
static uint64_t stuffed_dots(struct slice whole)
{
	uint64_t n = 0;

	for (size_t i = 0; i + 3 < whole.len; i++)
		n += whole.ptr[i] == '.' && (i == 0 || whole.ptr[i - 1] == '\n');
	return n;
}

static enum smtp_body scan_pieces(struct slice s, size_t step, size_t *done)
{
	struct smtp_body_scan scan = { .in_line = false };
	enum smtp_body result = SMTP_BODY_MORE;
	size_t have = 0;

	*done = 0;
	while (result == SMTP_BODY_MORE && have < s.len) {
		size_t n;

		have = have + step < s.len ? have + step : s.len;
		result = smtp_body_scan(&scan, slice_of(s.ptr + *done, have - *done), &n);
		FUZZ_CHECK(n <= have - *done);
		*done += n;
		FUZZ_CHECK(result != SMTP_BODY_MORE || have - *done <= 2);
	}
	FUZZ_CHECK(result != SMTP_BODY_END || scan.stuffed == stuffed_dots(slice_take(s, *done)));
	return result;
}

static void check_normalized(struct slice s, bool lf_client)
{
	struct smtp_body_scan scan = { .lf_client = lf_client, .last_line_lf = lf_client }, strict = { .in_line = false };
	struct buffer out = BUFFER_INIT(1u << 22);
	size_t used, forward;
	enum smtp_body result = smtp_body_normalize(&scan, s, &used, &out), again;

	FUZZ_CHECK(used <= s.len && !out.broken);
	again = smtp_body_scan(&strict, buffer_slice(&out), &forward);
	/* What goes out is a strict body, and it ends where and only where the message ends. */
	FUZZ_CHECK(again == (result == SMTP_BODY_END ? SMTP_BODY_END : SMTP_BODY_MORE));
	FUZZ_CHECK(forward == out.len);
	buffer_release(&out);
}

static enum smtp_body define_chunk(struct slice s, bool *after_cr)
{
	for (size_t i = 0; i < s.len; i++) {
		bool behind_cr = i > 0 && s.ptr[i - 1] == '\r';

		if (behind_cr != (s.ptr[i] == '\n'))
			return behind_cr ? SMTP_BODY_BARE_CR : SMTP_BODY_BARE_LF;
		if (s.ptr[i] == '\0')
			return SMTP_BODY_NUL;
	}
	*after_cr = s.len > 0 && s.ptr[s.len - 1] == '\r';
	return SMTP_BODY_MORE;
}

/* A chunk has no end to find; what is wrong in it is the same, in any pieces. */
static void check_chunk(struct slice s, size_t step)
{
	enum smtp_body result = SMTP_BODY_MORE, defined;
	bool after_cr = false, defined_cr = false;

	for (size_t at = 0; at < s.len && result == SMTP_BODY_MORE; at += step)
		result = smtp_body_scan_chunk(&after_cr, slice_take(slice_skip(s, at), step));
	defined = define_chunk(s, &defined_cr);
	FUZZ_CHECK(result == defined && (result != SMTP_BODY_MORE || after_cr == defined_cr));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice s = slice_of(data + (size > 0), size - (size > 0));
	size_t end = 0, done;
	enum smtp_body defined;

	if (size == 0)
		return 0;
	defined = define(s, &end);
	check_chunk(s, s.len + 1);
	for (size_t step = 1; step < 20; step = step < 4 ? step + 1 : step * 2) {
		check_chunk(s, step);
		FUZZ_CHECK(scan_pieces(s, step, &done) == defined);
		FUZZ_CHECK(defined != SMTP_BODY_END || done == end);
	}
	FUZZ_CHECK(scan_pieces(s, s.len + 1, &done) == defined);
	check_normalized(s, (data[0] & 1) != 0);
	return 0;
}
