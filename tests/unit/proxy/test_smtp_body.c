/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a message. Each body is scanned at once, in two pieces at every place, and octet by
 * octet: the verdict and the octets that go out must be the same.
 */
#include "proxy/smtp/body.h"

#include "base/attributes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

struct body_case {
	struct slice in;
	enum smtp_body result;
	size_t length;			/* END: octets up to and with the dot line */
};

static const struct body_case cases[] = {
	{ SLICE_INIT(".\r\n"), SMTP_BODY_END, 3 },
	{ SLICE_INIT("a\r\n.\r\nQUIT\r\n"), SMTP_BODY_END, 6 },
	{ SLICE_INIT("\r\n.\r\n"), SMTP_BODY_END, 5 },
	{ SLICE_INIT("\r\n\r\n\r\n.\r\n"), SMTP_BODY_END, 9 },
	{ SLICE_INIT("..\r\n.\r\n"), SMTP_BODY_END, 7 },
	{ SLICE_INIT("..a\r\n..\r\n...\r\n.\r\n"), SMTP_BODY_END, 17 },
	{ SLICE_INIT(".a\r\n.\r\n"), SMTP_BODY_END, 7 },
	{ SLICE_INIT("a.\r\n.\r\n"), SMTP_BODY_END, 7 },
	{ SLICE_INIT("a\r\n.\r\n.\r\n"), SMTP_BODY_END, 6 },
	{ SLICE_INIT("\xff\xfe\t\x01\r\n.\r\n"), SMTP_BODY_END, 9 },
	{ SLICE_INIT(""), SMTP_BODY_MORE, 0 },
	{ SLICE_INIT("."), SMTP_BODY_MORE, 0 },
	{ SLICE_INIT(".\r"), SMTP_BODY_MORE, 0 },
	{ SLICE_INIT("a\r\n."), SMTP_BODY_MORE, 3 },
	{ SLICE_INIT("a\r\n.\r"), SMTP_BODY_MORE, 3 },
	{ SLICE_INIT("a\r"), SMTP_BODY_MORE, 1 },
	{ SLICE_INIT("a.\r\n"), SMTP_BODY_MORE, 4 },
	/* The forms by which one message is made two. */
	{ SLICE_INIT("a\n.\n"), SMTP_BODY_BARE_LF, 0 },
	{ SLICE_INIT("a\n.\r\n"), SMTP_BODY_BARE_LF, 0 },
	{ SLICE_INIT("a\r\n.\n"), SMTP_BODY_BARE_LF, 0 },
	{ SLICE_INIT(".\n"), SMTP_BODY_BARE_LF, 0 },
	{ SLICE_INIT("\n"), SMTP_BODY_BARE_LF, 0 },
	{ SLICE_INIT("a\r.\r"), SMTP_BODY_BARE_CR, 0 },
	{ SLICE_INIT("a\r.\r\n"), SMTP_BODY_BARE_CR, 0 },
	{ SLICE_INIT("a\r\n.\r\r\n"), SMTP_BODY_BARE_CR, 0 },
	{ SLICE_INIT("a\r\n.\rQUIT\r\n"), SMTP_BODY_BARE_CR, 0 },
	{ SLICE_INIT("a\r\r\n.\r\n"), SMTP_BODY_BARE_CR, 0 },
	{ SLICE_INIT("a\r\n\0.\r\n"), SMTP_BODY_NUL, 0 },
	{ SLICE_INIT("a\r\n.\0\r\n"), SMTP_BODY_NUL, 0 },
	{ SLICE_INIT("\0"), SMTP_BODY_NUL, 0 },
	{ SLICE_INIT("a\r\0\n.\r\n"), SMTP_BODY_BARE_CR, 0 },
	{ SLICE_INIT(".\r\0"), SMTP_BODY_BARE_CR, 0 },
	/* The first fault decides, whatever stands behind it. */
	{ SLICE_INIT("a\nb\0"), SMTP_BODY_BARE_LF, 0 },
	{ SLICE_INIT("a\0b\n"), SMTP_BODY_NUL, 0 },
	{ SLICE_INIT("a\r\n.\r\n\0\n"), SMTP_BODY_END, 6 },
};

/* Lines of a whole transfer that start with a dot, but the last. */
static uint64_t stuffed_dots(struct slice whole)
{
	uint64_t n = 0;

	for (size_t i = 0; i + 3 < whole.len; i++)
		n += whole.ptr[i] == '.' && (i == 0 || whole.ptr[i - 1] == '\n');
	return n;
}

/* Feed in as a session does: what is not forwarded comes again, with more behind it. */
static enum smtp_body feed(struct slice in, size_t step, size_t first, size_t *forwarded)
{
	struct smtp_body_scan scan = { .in_line = false };
	enum smtp_body result = SMTP_BODY_MORE;
	size_t done = 0, have = first;

	for (;;) {
		size_t n, window = have < in.len ? have : in.len;
		uint8_t *exact = malloc(window - done + 1);

		memcpy(exact, in.ptr + done, window - done);
		result = smtp_body_scan(&scan, slice_of(exact, window - done), &n);
		free(exact);
		assert_true(n <= window - done);
		done += n;
		if (result != SMTP_BODY_MORE || window == in.len)
			break;
		have += step;
	}
	*forwarded = done;
	if (result == SMTP_BODY_END)
		assert_int_equal(scan.stuffed, stuffed_dots(slice_take(in, done)));
	return result;
}

static void check(const struct body_case *c, size_t step, size_t first)
{
	size_t forwarded;
	enum smtp_body result = feed(c->in, step, first, &forwarded);

	if (result != c->result)
		fail_msg("case %td, first %zu, step %zu: %s instead of %s", c - cases, first, step,
			 smtp_body_reasons[result], smtp_body_reasons[c->result]);
	if (result == SMTP_BODY_END || result == SMTP_BODY_MORE)
		assert_int_equal(forwarded, c->length);
}

static void test_scan(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		check(&cases[i], 1000, 1000);
		check(&cases[i], 1, 0);
		for (size_t cut = 0; cut <= cases[i].in.len; cut++)
			check(&cases[i], 1000, cut);
	}
}

/* Ordinary lines of length octets in all, the last one whole or not. */
static void fill(uint8_t *text, size_t length, bool in_line)
{
	memset(text, 'x', length);
	for (size_t i = 7; i + 6 < length; i += 4 + i % 31)
		memcpy(text + i, i % 3 == 0 ? "\r\n\r\n" : "\r\n..", 4);
	memcpy(text + length - 2, in_line ? "ab" : "\r\n", 2);
}

/*
 * What is looked at 64 octets at a time says the same as octet by octet, wherever in those 64
 * octets something stands, and with more behind it.
 */
static void test_blocks(void **state)
{
	uint8_t text[512];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		for (size_t length = 2; length < 200; length++) {
			for (unsigned behind = 0; behind < 4; behind++) {
				struct slice in = slice_of(text, length + cases[i].in.len + (behind & 1) * 130);
				size_t at_once, singly, cut;
				enum smtp_body result;

				fill(text, length, (behind & 2) != 0);
				memcpy(text + length, cases[i].in.ptr, cases[i].in.len);
				memset(text + length + cases[i].in.len, 'y', 130);
				result = feed(in, 1, 0, &singly);
				assert_int_equal(feed(in, 1000, 1000, &at_once), result);
				assert_int_equal(at_once, singly);
				assert_int_equal(feed(in, 1000, length, &cut), result);
				assert_int_equal(cut, singly);
			}
		}
	}
}

/* Most of an ordinary body takes the fast way, where there is one, and no line that may be the end does. */
static void test_skip(void **state)
{
	static const char *const may_end[] = { ".\r\n", ".\r", "." };
	uint8_t text[192];

	for (size_t i = 0; i < ARRAY_LEN(may_end); i++) {
		for (size_t length = 66; length + 3 < sizeof(text); length++) {
			struct slice end = slice_cstr(may_end[i]);
			struct smtp_body_scan scan = { .in_line = false };
			size_t n;

			memset(text, 'x', sizeof(text));
			memcpy(text + 40, "\r\n..", 4);
			memcpy(text + length - 2, "\r\n", 2);
			memcpy(text + length, end.ptr, end.len);
			n = smtp_body_skip(&scan, slice_of(text, length + end.len));
			assert_true(n <= length);
#ifdef __x86_64__
			if (__builtin_cpu_supports("avx2")) {
				assert_true(n >= 63);
				assert_int_equal(scan.stuffed, 1);
			}
#endif
			assert_int_equal(scan.in_line, n != 0 && n != length);
		}
	}
}

/* Never may the final dot line go out before all of it was read. */
static void test_end_is_held_back(void **state)
{
	static const struct slice whole = SLICE_INIT("text\r\n..\r\n.\r\n");

	for (size_t n = 0; n < whole.len; n++) {
		struct smtp_body_scan scan = { .in_line = false };
		size_t forward;

		assert_int_equal(smtp_body_scan(&scan, slice_take(whole, n), &forward), SMTP_BODY_MORE);
		assert_true(forward <= whole.len - 3);
	}
}

struct normal_case {
	struct slice in;
	bool lf_client;
	enum smtp_body result;
	const char *out;
};

static const struct normal_case normal_cases[] = {
	{ SLICE_INIT("a\r\n.\r\n"), false, SMTP_BODY_END, "a\r\n.\r\n" },
	{ SLICE_INIT("a\nb\r\n.\r\n"), false, SMTP_BODY_END, "a\r\nb\r\n.\r\n" },
	{ SLICE_INIT("..\r\n.x\n..y\r\n.\r\n"), false, SMTP_BODY_END, "..\r\nx\r\n..y\r\n.\r\n" },
	{ SLICE_INIT(".\r\n"), false, SMTP_BODY_END, ".\r\n" },
	{ SLICE_INIT(".\n"), true, SMTP_BODY_END, ".\r\n" },
	{ SLICE_INIT("a\n.\n"), true, SMTP_BODY_END, "a\r\n.\r\n" },
	{ SLICE_INIT("a\n.\n"), false, SMTP_BODY_AMBIGUOUS_END, NULL },
	{ SLICE_INIT("a\n.\r\n"), false, SMTP_BODY_AMBIGUOUS_END, NULL },
	{ SLICE_INIT("a\r\n.\n"), false, SMTP_BODY_AMBIGUOUS_END, NULL },
	{ SLICE_INIT("a\n.\r\n"), true, SMTP_BODY_AMBIGUOUS_END, NULL },
	{ SLICE_INIT("a\r\n.\n"), true, SMTP_BODY_AMBIGUOUS_END, NULL },
	{ SLICE_INIT("a\rb\n"), false, SMTP_BODY_BARE_CR, NULL },
	{ SLICE_INIT("a\r.\r"), true, SMTP_BODY_BARE_CR, NULL },
	{ SLICE_INIT("a\0b\n"), true, SMTP_BODY_NUL, NULL },
	{ SLICE_INIT("a\n.\n.\n"), true, SMTP_BODY_END, "a\r\n.\r\n" },
};

static void check_normal(const struct normal_case *c, size_t step)
{
	struct smtp_body_scan scan = { .lf_client = c->lf_client, .last_line_lf = c->lf_client };
	struct buffer out = BUFFER_INIT(1 << 16);
	enum smtp_body result = SMTP_BODY_MORE;
	size_t done = 0, have = 0;

	while (result == SMTP_BODY_MORE && have < c->in.len) {
		size_t used;

		have = have + step < c->in.len ? have + step : c->in.len;
		result = smtp_body_normalize(&scan, slice_of(c->in.ptr + done, have - done), &used, &out);
		done += used;
	}
	if (result != c->result)
		fail_msg("case %td: %s instead of %s", c - normal_cases, smtp_body_reasons[result],
			 smtp_body_reasons[c->result]);
	if (c->out != NULL) {
		assert_true(slice_is(buffer_slice(&out), c->out));
		assert_int_equal(scan.stuffed, stuffed_dots(buffer_slice(&out)));
	}
	buffer_release(&out);
}

static void test_normalize(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(normal_cases); i++) {
		check_normal(&normal_cases[i], 1000);
		check_normal(&normal_cases[i], 1);
	}
}

struct chunk_case {
	struct slice in;
	enum smtp_body result;
	bool after_cr;			/* MORE: it ends with a CR whose LF is to come */
};

static const struct chunk_case chunk_cases[] = {
	{ SLICE_INIT(""), SMTP_BODY_MORE, false },
	{ SLICE_INIT("a"), SMTP_BODY_MORE, false },
	{ SLICE_INIT("a\r\n.\r\nQUIT\r\n"), SMTP_BODY_MORE, false },
	{ SLICE_INIT("\r\n\r\n"), SMTP_BODY_MORE, false },
	{ SLICE_INIT("\xff\t\x01\r\n."), SMTP_BODY_MORE, false },
	{ SLICE_INIT("\r"), SMTP_BODY_MORE, true },
	{ SLICE_INIT("a\r\nb\r"), SMTP_BODY_MORE, true },
	{ SLICE_INIT("\n"), SMTP_BODY_BARE_LF, false },
	{ SLICE_INIT("a\r\n.\n"), SMTP_BODY_BARE_LF, false },
	{ SLICE_INIT("a\r\n\nb"), SMTP_BODY_BARE_LF, false },
	{ SLICE_INIT("a\r.\r\n"), SMTP_BODY_BARE_CR, false },
	{ SLICE_INIT("\r\r\n"), SMTP_BODY_BARE_CR, false },
	{ SLICE_INIT("a\rb"), SMTP_BODY_BARE_CR, false },
	{ SLICE_INIT("a\r\0\n"), SMTP_BODY_BARE_CR, false },
	{ SLICE_INIT("\0"), SMTP_BODY_NUL, false },
	{ SLICE_INIT("a\r\n\0"), SMTP_BODY_NUL, false },
	{ SLICE_INIT("a\0\n"), SMTP_BODY_NUL, false },
	{ SLICE_INIT("a\n\0"), SMTP_BODY_BARE_LF, false },
};

static void test_chunk(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(chunk_cases); i++) {
		const struct chunk_case *c = &chunk_cases[i];

		/* step 0: at once; else pieces of that size, with empty ones between them. */
		for (size_t step = 0; step <= c->in.len; step++) {
			enum smtp_body result = SMTP_BODY_MORE;
			size_t n = step == 0 ? c->in.len : step;
			bool after_cr = false;

			for (size_t at = 0; at < c->in.len && result == SMTP_BODY_MORE; at += n) {
				assert_int_equal(smtp_body_scan_chunk(&after_cr, slice_of(c->in.ptr + at, 0)), SMTP_BODY_MORE);
				result = smtp_body_scan_chunk(&after_cr, slice_take(slice_skip(c->in, at), n));
			}
			if (result != c->result || (result == SMTP_BODY_MORE && after_cr != c->after_cr))
				fail_msg("case %zu, step %zu: %s, after_cr %d", i, step, smtp_body_reasons[result], after_cr);
		}
	}
}

/* A line is too long or not, whatever stands behind it in the same buffer. */
static void test_normalize_long_lines(void **state)
{
	static uint8_t text[SMTP_BODY_LINE_MAX + 1000];
	static const size_t ends[] = { SMTP_BODY_LINE_MAX - 1, SMTP_BODY_LINE_MAX };

	for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
		for (size_t behind = 0; behind < sizeof(text) - ends[i]; behind += 333) {
			struct smtp_body_scan scan = { .lf_client = false };
			struct buffer out = BUFFER_INIT(1 << 16);
			bool fits = ends[i] < SMTP_BODY_LINE_MAX;
			size_t used;

			memset(text, 'x', sizeof(text));
			text[ends[i]] = '\n';
			assert_int_equal(smtp_body_normalize(&scan, slice_of(text, ends[i] + 1 + behind), &used, &out),
					 fits ? SMTP_BODY_MORE : SMTP_BODY_LINE_TOO_LONG);
			assert_int_equal(used, fits ? ends[i] + 1 : 0);
			buffer_release(&out);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_skip),
		cmocka_unit_test(test_end_is_held_back),
		cmocka_unit_test(test_normalize),
		cmocka_unit_test(test_chunk),
		cmocka_unit_test(test_normalize_long_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
