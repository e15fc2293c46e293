/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines and their arguments: what is accepted, and how it is written out again. */
#include "proxy/smtp/auth.h"
#include "proxy/smtp/command.h"
#include "proxy/smtp/extension.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

struct line_case {
	struct slice line;
	int result;
	const char *name, *param;
	enum smtp_verb_id verb;		/* SMTP_VERB_COUNT: unknown */
};

static const struct line_case lines[] = {
	{ SLICE_INIT("NOOP"), 0, "NOOP", "", SMTP_NOOP },
	{ SLICE_INIT("noop  x y "), 0, "NOOP", "x y ", SMTP_NOOP },
	{ SLICE_INIT("mAiL From:<>"), 0, "MAIL", "From:<>", SMTP_MAIL },
	{ SLICE_INIT("XFOO-1 a"), 0, "XFOO-1", "a", SMTP_VERB_COUNT },
	{ SLICE_INIT("Null"), 0, "NULL", "", SMTP_VERB_COUNT },
	{ SLICE_INIT("abcdefghijklmnopqrstuvwxyzabcdef"), 0, "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF", "", SMTP_VERB_COUNT },
	{ SLICE_INIT("abcdefghijklmnopqrstuvwxyzabcdefg"), -EBADMSG, NULL, NULL, 0 },
	{ SLICE_INIT(""), -EBADMSG, NULL, NULL, 0 },
	{ SLICE_INIT(" NOOP"), -EBADMSG, NULL, NULL, 0 },
	{ SLICE_INIT("D.A,T1A"), -EBADMSG, NULL, NULL, 0 },
	{ SLICE_INIT("1NOOP"), -EBADMSG, NULL, NULL, 0 },
	{ SLICE_INIT("-NOOP"), -EBADMSG, NULL, NULL, 0 },
	{ SLICE_INIT("NOOP\tx"), -EBADMSG, NULL, NULL, 0 },
	{ SLICE_INIT("NOOP x\ty"), -EBADMSG, NULL, NULL, 0 },
	{ SLICE_INIT("NOOP \x01"), -EBADMSG, NULL, NULL, 0 },
	{ SLICE_INIT("NOOP \x7f"), -EBADMSG, NULL, NULL, 0 },
	{ SLICE_INIT("NOOP \x80"), -EBADMSG, NULL, NULL, 0 },
	{ SLICE_INIT("NOOP \xc3\xa4"), 0, "NOOP", "\xc3\xa4", SMTP_NOOP },	/* for who may have it to decide */
	{ SLICE_INIT("N\xc3\xa4OP"), -EBADMSG, NULL, NULL, 0 },
	{ SLICE_INIT("NOOP \xc3"), -EBADMSG, NULL, NULL, 0 },
	{ SLICE_INIT("NOOP \xc2\x85"), -EBADMSG, NULL, NULL, 0 },
	{ SLICE_INIT("NOOP \xe2\x80\xae"), -EBADMSG, NULL, NULL, 0 },
};

static void test_lines(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
		struct smtp_command c;
		const struct smtp_verb *verb = lines[i].verb == SMTP_VERB_COUNT ? &smtp_unknown_verb : &smtp_verbs[lines[i].verb];

		assert_int_equal(smtp_command_parse(lines[i].line, &c), lines[i].result);
		if (lines[i].result < 0)
			continue;
		assert_true(slice_is(smtp_command_name(&c), lines[i].name));
		assert_true(slice_is(c.param, lines[i].param));
		assert_ptr_equal(c.verb, verb);
	}
}

struct argument_case {
	enum smtp_verb_id verb;
	const char *param;
	unsigned extensions;
	int result;
	const char *text;
};

static const struct argument_case arguments[] = {
	{ SMTP_HELO, "client.example", 0, 0, "client.example" },
	{ SMTP_HELO, "[10.0.0.1]", 0, 0, "[10.0.0.1]" },
	{ SMTP_HELO, "", 0, -EBADMSG, NULL },
	{ SMTP_HELO, "a b", 0, -EBADMSG, NULL },
	{ SMTP_HELO, "a ", 0, -EBADMSG, NULL },
	{ SMTP_MAIL, "from: <u@d>", 0, 0, "From:<u@d>" },
	{ SMTP_MAIL, "FROM:<>", 0, 0, "From:<>" },
	{ SMTP_MAIL, "From:<@a:u@d>", 0, 0, "From:<u@d>" },
	{ SMTP_MAIL, "From :<u@d>", 0, -EBADMSG, NULL },
	{ SMTP_MAIL, "To:<u@d>", 0, -EBADMSG, NULL },
	{ SMTP_MAIL, "", 0, -EBADMSG, NULL },
	{ SMTP_MAIL, "From:", 0, -EBADMSG, NULL },
	{ SMTP_MAIL, "From:<u@d> size=0100", SMTP_EXT_SIZE, 0, "From:<u@d> SIZE=100" },
	{ SMTP_MAIL, "From:<u@d>  BODY=8bitmime   SIZE=5 ", SMTP_EXT_SIZE | SMTP_EXT_8BITMIME, 0, "From:<u@d> SIZE=5 BODY=8BITMIME" },
	{ SMTP_MAIL, "From:<u@d> BODY=7BIT", SMTP_EXT_8BITMIME, 0, "From:<u@d> BODY=7BIT" },
	{ SMTP_MAIL, "From:<u@d> SIZE=5", 0, -EBADMSG, NULL },
	{ SMTP_MAIL, "From:<u@d> SIZE=", SMTP_EXT_SIZE, -EBADMSG, NULL },
	{ SMTP_MAIL, "From:<u@d> SIZE", SMTP_EXT_SIZE, -EBADMSG, NULL },
	{ SMTP_MAIL, "From:<u@d> SIZE=-1", SMTP_EXT_SIZE, -EBADMSG, NULL },
	{ SMTP_MAIL, "From:<u@d> SIZE=1 SIZE=2", SMTP_EXT_SIZE, -EBADMSG, NULL },
	{ SMTP_MAIL, "From:<u@d> SIZE=99999999999999999999", SMTP_EXT_SIZE, -EBADMSG, NULL },
	{ SMTP_MAIL, "From:<u@d> SIZE=18446744073709551615", SMTP_EXT_SIZE, 0, "From:<u@d> SIZE=18446744073709551615" },
	{ SMTP_MAIL, "From:<u@d>SIZE=1", SMTP_EXT_SIZE, -EBADMSG, NULL },
	{ SMTP_MAIL, "From:<u@d> BODY=BINARYMIME", SMTP_EXT_8BITMIME, -EBADMSG, NULL },
	{ SMTP_MAIL, "From:<u@d> BODY=8BITMIME", 0, -EBADMSG, NULL },
	{ SMTP_MAIL, "From:<u@d> AUTH=<>", SMTP_EXT_BITS & ~SMTP_EXT_AUTH, -EBADMSG, NULL },
	{ SMTP_MAIL, "From:<u@d> NOTIFY=NEVER", SMTP_EXT_BITS, -EBADMSG, NULL },
	{ SMTP_MAIL, "From:<\xc3\xa4@d> SMTPUTF8", SMTP_EXT_SMTPUTF8, 0, "From:<\xc3\xa4@d> SMTPUTF8" },
	{ SMTP_MAIL, "From:<u@\xc3\xa4.d> smtputf8", SMTP_EXT_SMTPUTF8, 0, "From:<u@\xc3\xa4.d> SMTPUTF8" },
	{ SMTP_MAIL, "From:<u@d> SMTPUTF8", SMTP_EXT_SMTPUTF8, 0, "From:<u@d> SMTPUTF8" },
	{ SMTP_MAIL, "From:<\xc3\xa4@d>", SMTP_EXT_SMTPUTF8, -EBADMSG, NULL },
	{ SMTP_MAIL, "From:<\xc3\xa4@d> SMTPUTF8", SMTP_EXT_BITS & ~SMTP_EXT_SMTPUTF8, -EBADMSG, NULL },
	{ SMTP_RCPT, "To:<\xc3\xa4@d>", SMTP_EXT_SMTPUTF8, -EBADMSG, NULL },
	{ SMTP_VRFY, "someone", 0, 0, "someone" },
	{ SMTP_VRFY, "", 0, -EBADMSG, NULL },
	{ SMTP_VRFY, "  ", 0, -EBADMSG, NULL },
	{ SMTP_EXPN, "list smtputf8", SMTP_EXT_SMTPUTF8, 0, "list smtputf8" },
	{ SMTP_VRFY, "\xc3\xa4 SMTPUTF8", SMTP_EXT_SMTPUTF8, 0, "\xc3\xa4 SMTPUTF8" },
	{ SMTP_VRFY, "\xc3\xa4 SMTPUTF8", 0, -EBADMSG, NULL },
	{ SMTP_VRFY, "\xc3\xa4", SMTP_EXT_SMTPUTF8, -EBADMSG, NULL },
	{ SMTP_RCPT, "to:   <u@d>", 0, 0, "To:<u@d>" },
	{ SMTP_RCPT, "To:<postMaster>", 0, 0, "To:<postMaster>" },
	{ SMTP_RCPT, "To:<>", 0, -EBADMSG, NULL },
	{ SMTP_RCPT, "To:<u@d> ", 0, -EBADMSG, NULL },
	{ SMTP_RCPT, "To:<u@d> NOTIFY=NEVER", SMTP_EXT_BITS & ~SMTP_EXT_DSN, -EBADMSG, NULL },
	{ SMTP_RCPT, "From:<u@d>", 0, -EBADMSG, NULL },
	{ SMTP_RCPT, "To:<u@d> SIZE=1", SMTP_EXT_BITS, -EBADMSG, NULL },
	{ SMTP_RCPT, "To:<u@d> notify=never ", SMTP_EXT_DSN, 0, "To:<u@d> NOTIFY=NEVER" },
	{ SMTP_DATA, "", 0, 0, "" },
	{ SMTP_DATA, "x", 0, -EBADMSG, NULL },
	{ SMTP_RSET, "x", 0, -EBADMSG, NULL },
	{ SMTP_QUIT, " ", 0, -EBADMSG, NULL },
	{ SMTP_MAIL, "From:<u@d> BODY=binaryMIME", SMTP_EXT_BINARYMIME, 0, "From:<u@d> BODY=BINARYMIME" },
	{ SMTP_AUTH, "plain", 0, 0, "PLAIN" },
	{ SMTP_AUTH, "Scram-SHA-256  bixhPWI=", 0, 0, "SCRAM-SHA-256" },
	{ SMTP_AUTH, "EXTERNAL =", 0, 0, "EXTERNAL" },
	{ SMTP_AUTH, "12345678901234567890", 0, 0, "12345678901234567890" },
	{ SMTP_AUTH, "123456789012345678901", 0, -EBADMSG, NULL },
	{ SMTP_AUTH, "", 0, -EBADMSG, NULL },
	{ SMTP_AUTH, "PLAIN AGEAYg", 0, -EBADMSG, NULL },
	{ SMTP_AUTH, "PLAIN AGEAYg= =", 0, -EBADMSG, NULL },
	{ SMTP_AUTH, "PLAIN *", 0, -EBADMSG, NULL },
	{ SMTP_AUTH, "PLAIN AGEAYg== x", 0, -EBADMSG, NULL },
	{ SMTP_AUTH, "PL+AIN", 0, -EBADMSG, NULL },
	{ SMTP_BDAT, "0", SMTP_EXT_CHUNKING, 0, "0" },
	{ SMTP_BDAT, "0012", SMTP_EXT_CHUNKING, 0, "12" },
	{ SMTP_BDAT, "7  lAsT ", SMTP_EXT_CHUNKING, 0, "7 LAST" },
	{ SMTP_BDAT, "9223372036854775807 LAST", SMTP_EXT_CHUNKING, 0, "9223372036854775807 LAST" },
	{ SMTP_BDAT, "9223372036854775808", SMTP_EXT_CHUNKING, -EBADMSG, NULL },
	{ SMTP_BDAT, "18446744073709551616", SMTP_EXT_CHUNKING, -EBADMSG, NULL },
	{ SMTP_BDAT, "99999999999999999999999", SMTP_EXT_CHUNKING, -EBADMSG, NULL },
	{ SMTP_BDAT, "000000000000000000001", SMTP_EXT_CHUNKING, -EBADMSG, NULL },
	{ SMTP_BDAT, "", SMTP_EXT_CHUNKING, -EBADMSG, NULL },
	{ SMTP_BDAT, "-1", SMTP_EXT_CHUNKING, -EBADMSG, NULL },
	{ SMTP_BDAT, "+1", SMTP_EXT_CHUNKING, -EBADMSG, NULL },
	{ SMTP_BDAT, "0x10", SMTP_EXT_CHUNKING, -EBADMSG, NULL },
	{ SMTP_BDAT, "LAST", SMTP_EXT_CHUNKING, -EBADMSG, NULL },
	{ SMTP_BDAT, "5LAST", SMTP_EXT_CHUNKING, -EBADMSG, NULL },
	{ SMTP_BDAT, "5 LAST LAST", SMTP_EXT_CHUNKING, -EBADMSG, NULL },
	{ SMTP_BDAT, "5 LASTLY", SMTP_EXT_CHUNKING, -EBADMSG, NULL },
	{ SMTP_BDAT, "5 6", SMTP_EXT_CHUNKING, -EBADMSG, NULL },
	{ SMTP_BDAT, "5 LAST", 0, -EBADMSG, NULL },
	{ SMTP_ETRN, "example.com", SMTP_EXT_ETRN, 0, "example.com" },
	{ SMTP_ETRN, "@example.com", SMTP_EXT_ETRN, 0, "@example.com" },
	{ SMTP_ETRN, "#queue-1._", SMTP_EXT_ETRN, 0, "#queue-1._" },
	{ SMTP_ETRN, "#q/1", SMTP_EXT_ETRN, -EBADMSG, NULL },
	{ SMTP_ETRN, "#", SMTP_EXT_ETRN, -EBADMSG, NULL },
	{ SMTP_ETRN, "", SMTP_EXT_ETRN, -EBADMSG, NULL },
	{ SMTP_ETRN, "example.com", 0, -EBADMSG, NULL },
};

static void test_arguments(void **state)
{
	struct arena *arena = arena_create(1 << 20, 0);

	for (size_t i = 0; i < ARRAY_LEN(arguments); i++) {
		const struct argument_case *c = &arguments[i];
		struct smtp_syntax syntax = { .active_extensions = c->extensions, .source_routes = true };
		struct smtp_argument out = { .has_path = false };
		struct smtp_flaw flaw = { 0 };
		int result = smtp_verbs[c->verb].parse(&syntax, slice_cstr(c->param), arena, &out, &flaw);

		if (result != c->result || (result == 0 && !slice_is(out.text, c->text)))
			fail_msg("%s %s: %d %.*s", smtp_verbs[c->verb].name, c->param, result, SLICE_ARG(out.text));
		if (result < 0)
			assert_true(flaw.text != NULL && flaw.key != NULL);
	}
	arena_free(&arena);
}

static void test_base64(void **state)
{
	static const struct { const char *text; bool is; } cases[] = {
		{ "", true }, { "AAAA", true }, { "AAA=", true }, { "AA==", true }, { "a+/9BCD=", true },
		{ "A", false }, { "AA", false }, { "AAA", false }, { "AAAAA", false }, { "=", false }, { "====", false }, { "A===", false },
		{ "AA=A", false }, { "AA==AAAA", false }, { "AA A", false }, { "AA\tA", false }, { "AA-_", false }, { "*", false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		if (smtp_is_base64(slice_cstr(cases[i].text)) != cases[i].is)
			fail_msg("%s", cases[i].text);
}

static void test_mechanisms(void **state)
{
	const struct slice list = SLICE("PLAIN SCRAM-SHA-256");

	assert_true(smtp_has_mechanism(list, SLICE("plain")));
	assert_true(smtp_has_mechanism(list, SLICE("Scram-Sha-256")));
	assert_false(smtp_has_mechanism(list, SLICE("SCRAM-SHA-25")));
	assert_false(smtp_has_mechanism(list, SLICE("LAIN")));
	assert_false(smtp_has_mechanism(list, SLICE("PLAIN SCRAM-SHA-256")));
	assert_false(smtp_has_mechanism(list, SLICE("")));
	assert_false(smtp_has_mechanism(SLICE(""), SLICE("PLAIN")));
}

static void test_codes(void **state)
{
	assert_true(smtp_verb_takes(&smtp_verbs[SMTP_AUTH], 235));
	assert_true(smtp_verb_takes(&smtp_verbs[SMTP_AUTH], 334));
	assert_true(smtp_verb_takes(&smtp_verbs[SMTP_SASL], 535));
	assert_false(smtp_verb_takes(&smtp_verbs[SMTP_AUTH], 250));
	assert_false(smtp_verb_takes(&smtp_verbs[SMTP_AUTH], 354));
	assert_false(smtp_verb_takes(&smtp_verbs[SMTP_BDAT], 334));
	assert_true(smtp_verb_takes(&smtp_verbs[SMTP_MAIL], 250));
	assert_true(smtp_verb_takes(&smtp_verbs[SMTP_MAIL], 421));
	assert_false(smtp_verb_takes(&smtp_verbs[SMTP_MAIL], 354));
	assert_true(smtp_verb_takes(&smtp_verbs[SMTP_DATA], 354));
	assert_false(smtp_verb_takes(&smtp_verbs[SMTP_DATA], 250));
	assert_false(smtp_verb_takes(&smtp_verbs[SMTP_DATA], 334));
	assert_false(smtp_verb_takes(&smtp_verbs[SMTP_BODY], 354));
	assert_false(smtp_verb_takes(&smtp_unknown_verb, 334));
}

static void test_keywords(void **state)
{
	static const struct { const char *line, *keyword; } cases[] = {
		{ "size 1000", "SIZE" }, { "AUTH=LOGIN", "AUTH" }, { "X-FOO a", "X-FOO" }, { "8BITMIME", "8BITMIME" },
		{ "", "" }, { "-A", "" }, { "A_B", "" }, { " SIZE", "" }, { "SI\tZE", "" },
	};
	char buf[SMTP_KEYWORD_MAX];

	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_true(slice_is(smtp_extension_keyword(slice_cstr(cases[i].line), buf), cases[i].keyword));
	assert_true(smtp_extension_named(SLICE("SIZE"))->spoken);
	assert_true(smtp_extension_named(SLICE("CHUNKING"))->spoken);
	assert_true(smtp_extension_named(SLICE("STARTTLS"))->spoken);
	assert_false(smtp_extension_named(SLICE("BURL"))->spoken);
	assert_null(smtp_extension_named(SLICE("X-FOO")));
}

/* A source route is dropped, or refused where the policy says so. */
static void test_source_route(void **state)
{
	struct arena *arena = arena_create(1 << 20, 0);
	struct smtp_syntax syntax = { .source_routes = false };
	struct smtp_argument out;
	struct smtp_flaw flaw = { 0 };

	assert_int_equal(smtp_parse_rcpt(&syntax, SLICE("To:<@a:u@d>"), arena, &out, &flaw), -EBADMSG);
	assert_string_equal(flaw.text, "Source route in path");
	assert_int_equal(smtp_parse_rcpt(&syntax, SLICE("To:<u@d>"), arena, &out, &flaw), 0);
	arena_free(&arena);
}

static void test_allowances(void **state)
{
	assert_int_equal(smtp_extension_allowance(0, false), 0);
	assert_int_equal(smtp_extension_allowance(SMTP_EXT_SIZE | SMTP_EXT_8BITMIME, false), 26 + 17);
	assert_int_equal(smtp_extension_allowance(SMTP_EXT_SIZE | SMTP_EXT_8BITMIME, true), 0);
	assert_int_equal(smtp_extension_allowance(SMTP_EXT_DSN, false), 107);
	assert_int_equal(smtp_extension_allowance(SMTP_EXT_DSN, true), 500);
}

/* What a client gets of a server's offer, cut to our own limits. */
static void test_offers(void **state)
{
	static const struct { const char *keyword, *line, *arguments; uint64_t size, recipients; const char *out; } cases[] = {
		{ "SIZE", "size 10", "10", 0, 1, "size 10" }, { "SIZE", "SIZE", "", 0, 1, "SIZE" },
		{ "SIZE", "SIZE 0", "0", 0, 1, "SIZE 0" }, { "SIZE", "SIZE x", "x", 0, 1, "SIZE" },
		{ "SIZE", "SIZE 10", "10", 11, 1, "SIZE 10" }, { "SIZE", "SIZE 11", "11", 10, 1, "SIZE 10" },
		{ "SIZE", "SIZE", "", 10, 1, "SIZE 10" }, { "SIZE", "SIZE 0", "0", 10, 1, "SIZE 10" },
		{ "SIZE", "SIZE -1", "-1", 10, 1, "SIZE 10" },
		{ "SIZE", "SIZE 99999999999999999999", "99999999999999999999", 0, 1, "SIZE" },
		{ "LIMITS", "LIMITS", "", 0, 7, "LIMITS RCPTMAX=7" },
		{ "LIMITS", "LIMITS", "RCPTMAX=999999 MAILMAX=999999 RCPTDOMAINMAX=999999", 0, 1000000,
		  "LIMITS MAILMAX=999999 RCPTMAX=999999 RCPTDOMAINMAX=999999" },
		{ "LIMITS", "LIMITS", "RCPTMAX=6 rcptmax=5", 0, 7, "LIMITS RCPTMAX=5" },
		{ "LIMITS", "LIMITS", "RCPTMAX=1000000 MAILMAX=-1 = =1 RCPTDOMAINMAX", 0, 7, "LIMITS RCPTMAX=7" },
		{ "LIMITS", "LIMITS", "MAILMAX=5", 0, 1000000, "LIMITS MAILMAX=5" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct smtp_own_limits own = { cases[i].size, cases[i].recipients };
		const struct smtp_extension *e = smtp_extension_named(slice_cstr(cases[i].keyword));
		char buf[SMTP_OFFER_MAX];
		struct slice out = e->offer(&own, slice_cstr(cases[i].line), slice_cstr(cases[i].arguments), buf);

		if (!slice_is(out, cases[i].out))
			fail_msg("%s %s: %.*s", cases[i].line, cases[i].arguments, SLICE_ARG(out));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_arguments),
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_mechanisms),
		cmocka_unit_test(test_codes),
		cmocka_unit_test(test_keywords),
		cmocka_unit_test(test_source_route),
		cmocka_unit_test(test_allowances),
		cmocka_unit_test(test_offers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
