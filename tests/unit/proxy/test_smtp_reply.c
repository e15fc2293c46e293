/* SPDX-License-Identifier: Apache-2.0 */
/* Replies: a lying server must not make it unclear where a reply ends or what it says. */
#include "proxy/smtp/line.h"
#include "proxy/smtp/reply.h"

#include "base/attributes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct smtp_reply_limits strict = { 512, 4096, false, true };
static const struct smtp_reply_limits lenient = { 20, 4096, true, false };

struct reply_case {
	struct slice in;
	const struct smtp_reply_limits *limits;
	enum smtp_reply_result result;
	unsigned code, n_lines;
	const char *text;
	bool canonical;
	size_t used;
};

#define OK(in, limits, code, lines, text, canonical) \
	{ SLICE_INIT(in), limits, SMTP_REPLY_OK, code, lines, text, canonical, sizeof(in) - 1 }
#define NOT(in, limits, result) { SLICE_INIT(in), limits, result, 0, 0, NULL, false, 0 }

static const struct reply_case cases[] = {
	OK("250 ok\r\n", &strict, 250, 1, "ok", true),
	OK("250\r\n", &strict, 250, 1, "", true),
	OK("250 \r\n", &strict, 250, 1, "", false),
	OK("250-a\r\n250-b\r\n250 c\r\n", &strict, 250, 3, "a", true),
	OK("250-\r\n250\r\n", &strict, 250, 2, "", true),
	OK("354 go\tahead\r\n", &strict, 354, 1, "go\tahead", true),
	OK("220 \xc3\xa4\r\n", &strict, 220, 1, "\xc3\xa4", true),
	OK("559 x\r\n", &strict, 559, 1, "x", true),
	NOT("", &strict, SMTP_REPLY_MORE),
	NOT("250-a\r\n", &strict, SMTP_REPLY_MORE),
	NOT("250 ok\r", &strict, SMTP_REPLY_MORE),
	NOT("25\r\n", &strict, SMTP_REPLY_SHORT),
	NOT("\r\n", &strict, SMTP_REPLY_SHORT),
	NOT("25x ok\r\n", &strict, SMTP_REPLY_NOT_NUMERIC),
	NOT("199 ok\r\n", &strict, SMTP_REPLY_NOT_NUMERIC),
	NOT("600 ok\r\n", &strict, SMTP_REPLY_NOT_NUMERIC),
	NOT("260 ok\r\n", &strict, SMTP_REPLY_NOT_NUMERIC),
	NOT("-50 ok\r\n", &strict, SMTP_REPLY_NOT_NUMERIC),
	NOT("250ok\r\n", &strict, SMTP_REPLY_SEPARATOR),
	NOT("2500 ok\r\n", &strict, SMTP_REPLY_SEPARATOR),
	NOT("250\tok\r\n", &strict, SMTP_REPLY_SEPARATOR),
	NOT("250-a\r\n251 b\r\n", &strict, SMTP_REPLY_CODE_CHANGED),
	NOT("250-a\r\nHELLO\r\n", &strict, SMTP_REPLY_NOT_NUMERIC),
	NOT("250 ok\n", &strict, SMTP_REPLY_BARE_LF),
	NOT("250-ok\n250 x\r\n", &strict, SMTP_REPLY_BARE_LF),
	NOT("250 o\rk\r\n", &strict, SMTP_REPLY_BARE_CR),
	NOT("250 o\0k\r\n", &strict, SMTP_REPLY_CONTROL),
	NOT("250 o\x1bk\r\n", &strict, SMTP_REPLY_CONTROL),
	NOT("250 o\x7fk\r\n", &strict, SMTP_REPLY_CONTROL),
	OK("250 ok\n", &lenient, 250, 1, "ok", false),
	OK("250 0123456789012345678901234\r\n", &lenient, 250, 1, "0123456789012345", false),
	NOT("250 o\rk\n", &lenient, SMTP_REPLY_BARE_CR),
};

static void check(const struct reply_case *c)
{
	struct smtp_reply_parser parser = { 0 };
	struct smtp_reply reply = { 0 };
	enum smtp_reply_result result = smtp_reply_parse(&parser, c->in, c->limits, &reply);

	if (result != c->result)
		fail_msg("%.*s: %s instead of %s", SLICE_ARG(c->in), smtp_reply_reasons[result], smtp_reply_reasons[c->result]);
	if (result != SMTP_REPLY_OK)
		return;
	assert_int_equal(reply.code, c->code);
	assert_int_equal(reply.n_lines, c->n_lines);
	assert_int_equal(reply.canonical, c->canonical);
	assert_int_equal(reply.raw.len, c->used);
	assert_true(slice_is(reply.text, c->text));
}

static void test_replies(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		check(&cases[i]);
}

/* Octet by octet with one parser: MORE before the end, then exactly what came out at once. */
static void test_in_drops(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct smtp_reply_parser parser = { 0 };
		struct smtp_reply reply = { 0 };
		enum smtp_reply_result result = SMTP_REPLY_MORE;

		for (size_t n = 0; n <= cases[i].in.len && result == SMTP_REPLY_MORE; n++) {
			uint8_t *exact = malloc(n + 1);

			memcpy(exact, cases[i].in.ptr, n);
			result = smtp_reply_parse(&parser, slice_of(exact, n), cases[i].limits, &reply);
			if (result == SMTP_REPLY_OK)
				assert_int_equal(n, cases[i].used);
			free(exact);
		}
		assert_int_equal(result, cases[i].result);
	}
}

static void test_line_limit(void **state)
{
	for (int over = 0; over <= 1; over++) {
		char text[600] = "250 ";
		struct smtp_reply_parser parser = { 0 };
		struct smtp_reply reply;
		size_t n = 512 + (size_t)over;

		memset(text + 4, 'x', n - 4);
		memcpy(text + n, "\r\n", 2);
		assert_int_equal(smtp_reply_parse(&parser, slice_of(text, n + 2), &strict, &reply),
				 over ? SMTP_REPLY_LINE_TOO_LONG : SMTP_REPLY_OK);
	}
}

static void test_number_of_lines(void **state)
{
	for (unsigned lines = SMTP_REPLY_LINES_MAX; lines <= SMTP_REPLY_LINES_MAX + 1; lines++) {
		char text[8 * (SMTP_REPLY_LINES_MAX + 2)];
		size_t n = 0;
		struct smtp_reply_parser parser = { 0 };
		struct smtp_reply reply;

		for (unsigned i = 1; i < lines; i++) {
			memcpy(text + n, "250-a\r\n", 7);
			n += 7;
		}
		memcpy(text + n, "250 a\r\n", 7);
		assert_int_equal(smtp_reply_parse(&parser, slice_of(text, n + 7), &strict, &reply),
				 lines > SMTP_REPLY_LINES_MAX ? SMTP_REPLY_TOO_MANY_LINES : SMTP_REPLY_OK);
	}
}

static void test_octets_limit(void **state)
{
	static char text[64 * 1024];
	struct smtp_reply_parser parser = { 0 };
	struct smtp_reply reply;
	size_t n = 0;

	while (n + 512 < SMTP_REPLY_OCTETS_MAX + 1024) {
		memset(text + n, 'x', 500);
		memcpy(text + n, "250-", 4);
		memcpy(text + n + 500, "\r\n", 2);
		n += 502;
	}
	assert_int_equal(smtp_reply_parse(&parser, slice_of(text, n), &strict, &reply), SMTP_REPLY_TOO_LONG);
}

static void test_next_line(void **state)
{
	struct smtp_reply_parser parser = { 0 };
	struct smtp_reply reply;
	struct slice text;
	size_t pos = 0;
	bool last;

	assert_int_equal(smtp_reply_parse(&parser, SLICE("250-a\r\n250-\r\n250 c\r\n250 next\r\n"), &strict, &reply),
			 SMTP_REPLY_OK);
	assert_true(smtp_reply_next_line(&reply, &strict, &pos, &text, &last) && slice_is(text, "a") && !last);
	assert_true(smtp_reply_next_line(&reply, &strict, &pos, &text, &last) && slice_is(text, "") && !last);
	assert_true(smtp_reply_next_line(&reply, &strict, &pos, &text, &last) && slice_is(text, "c") && last);
	assert_false(smtp_reply_next_line(&reply, &strict, &pos, &text, &last));
}

struct line_case {
	struct slice in;
	bool require_crlf;
	size_t max;
	enum smtp_line result;
	const char *line;
	size_t used;
};

static const struct line_case line_cases[] = {
	{ SLICE_INIT("NOOP\r\nx"), true, 10, SMTP_LINE_OK, "NOOP", 6 },
	{ SLICE_INIT("\r\n"), true, 10, SMTP_LINE_OK, "", 2 },
	{ SLICE_INIT("NOOP\nx"), true, 10, SMTP_LINE_BARE_LF, NULL, 0 },
	{ SLICE_INIT("NOOP\nx"), false, 10, SMTP_LINE_OK, "NOOP", 5 },
	{ SLICE_INIT("\n"), true, 10, SMTP_LINE_BARE_LF, NULL, 0 },
	{ SLICE_INIT("NO\rOP\r\n"), true, 10, SMTP_LINE_BARE_CR, NULL, 0 },
	{ SLICE_INIT("NO\rOP\n"), false, 10, SMTP_LINE_BARE_CR, NULL, 0 },
	{ SLICE_INIT("NOOP\r\r\n"), true, 10, SMTP_LINE_BARE_CR, NULL, 0 },
	{ SLICE_INIT("NO\rO"), true, 10, SMTP_LINE_BARE_CR, NULL, 0 },
	{ SLICE_INIT("NOOP\r"), true, 10, SMTP_LINE_MORE, NULL, 0 },
	{ SLICE_INIT(""), true, 10, SMTP_LINE_MORE, NULL, 0 },
	{ SLICE_INIT("NO\0OP\r\n"), true, 10, SMTP_LINE_NUL, NULL, 0 },
	{ SLICE_INIT("NO\0"), true, 10, SMTP_LINE_NUL, NULL, 0 },
	{ SLICE_INIT("1234\r\n"), true, 4, SMTP_LINE_OK, "1234", 6 },
	{ SLICE_INIT("1234\r"), true, 4, SMTP_LINE_MORE, NULL, 0 },
	{ SLICE_INIT("12345\r\n"), true, 4, SMTP_LINE_TOO_LONG, NULL, 0 },
	{ SLICE_INIT("12345"), true, 4, SMTP_LINE_TOO_LONG, NULL, 0 },
	{ SLICE_INIT("1234\rX"), true, 4, SMTP_LINE_TOO_LONG, NULL, 0 },
	{ SLICE_INIT("1\r345678\r\n"), true, 4, SMTP_LINE_BARE_CR, NULL, 0 },
};

static void test_lines(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(line_cases); i++) {
		const struct line_case *c = &line_cases[i];
		struct slice line = { NULL, 0 };
		enum smtp_line result = SMTP_LINE_MORE;
		size_t used = 0;

		result = smtp_line_take(c->in, c->require_crlf, c->max, &line, &used);
		if (result != c->result)
			fail_msg("%zu: %s instead of %s", i, smtp_line_names[result], smtp_line_names[c->result]);
		if (result == SMTP_LINE_OK)
			assert_true(slice_is(line, c->line) && used == c->used);
		/* However few octets come at once, the verdict is the same. */
		result = SMTP_LINE_MORE;
		for (size_t n = 0; n <= c->in.len && result == SMTP_LINE_MORE; n++)
			result = smtp_line_take(slice_take(c->in, n), c->require_crlf, c->max, &line, &used);
		assert_int_equal(result, c->result);
	}
}

/* Each octet at each place of texts of all lengths up to three vectors. */
static void test_controls(void **state)
{
	uint8_t text[48];

	for (size_t len = 1; len <= sizeof(text); len++)
		for (size_t place = 0; place < len; place++)
			for (unsigned octet = 0; octet < 256; octet++) {
				struct slice s = slice_of(text, len);

				memset(text, place % 2 == 0 ? 'a' : '\t', sizeof(text));
				text[place] = (uint8_t)octet;
				assert_int_equal(smtp_has_control(s), (octet < 0x20 && octet != '\t') || octet == 0x7f);
				memset(text, 'a', sizeof(text));
				text[place] = (uint8_t)octet;
				assert_int_equal(smtp_is_printable(s), octet >= 0x20 && octet < 0x7f);
				assert_int_equal(smtp_has_8bit(s), octet >= 0x80);
			}
	assert_false(smtp_has_control(slice_of(NULL, 0)));
	assert_true(smtp_is_printable(slice_of(NULL, 0)));
	assert_false(smtp_has_8bit(slice_of(NULL, 0)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_in_drops),
		cmocka_unit_test(test_line_limit),
		cmocka_unit_test(test_number_of_lines),
		cmocka_unit_test(test_octets_limit),
		cmocka_unit_test(test_next_line),
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_controls),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
