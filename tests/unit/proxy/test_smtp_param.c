/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters of MAIL and RCPT: what is accepted goes out in one spelling, everything else is refused. */
#include "proxy/smtp/command.h"
#include "proxy/smtp/extension.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define ALL SMTP_EXT_BITS
#define RCPT true
#define MAIL false
#define X10 "1234567890"
#define X50 X10 X10 X10 X10 X10
#define X100 X50 X50

struct param_case {
	bool rcpt;
	const char *in;
	unsigned extensions;
	unsigned code;			/* 0: accepted; 500: the usual refusal */
	const char *out;
};

static const struct param_case cases[] = {
	{ MAIL, "", ALL, 0, "" },
	{ MAIL, " ", ALL, 0, "" },
	{ MAIL, "SIZE=1", ALL, 500, NULL },
	/* Which verb, which extension, once. */
	{ MAIL, " X-FOO=1", ALL, 555, NULL },
	{ MAIL, " =", ALL, 555, NULL },
	{ MAIL, " =1", ALL, 555, NULL },
	{ MAIL, " SIZ=1", ALL, 555, NULL },
	{ MAIL, " SIZEX=1", ALL, 555, NULL },
	{ RCPT, " SIZE=1", ALL, 555, NULL },
	{ RCPT, " RET=FULL", ALL, 555, NULL },
	{ MAIL, " NOTIFY=NEVER", ALL, 555, NULL },
	{ MAIL, " SIZE=1", ALL & ~SMTP_EXT_SIZE, 555, NULL },
	{ MAIL, " BODY=7BIT", ALL & ~(SMTP_EXT_8BITMIME | SMTP_EXT_BINARYMIME), 555, NULL },
	{ MAIL, " SMTPUTF8", ALL & ~SMTP_EXT_SMTPUTF8, 555, NULL },
	{ MAIL, " AUTH=<>", ALL & ~SMTP_EXT_AUTH, 555, NULL },
	{ MAIL, " RET=FULL", ALL & ~SMTP_EXT_DSN, 555, NULL },
	{ MAIL, " ENVID=x", ALL & ~SMTP_EXT_DSN, 555, NULL },
	{ MAIL, " BY=1;N", ALL & ~SMTP_EXT_DELIVERBY, 555, NULL },
	{ MAIL, " HOLDFOR=1", ALL & ~SMTP_EXT_FUTURERELEASE, 555, NULL },
	{ MAIL, " MT-PRIORITY=1", ALL & ~SMTP_EXT_MT_PRIORITY, 555, NULL },
	{ MAIL, " ENVID=x MTRK=YWJj", ALL & ~SMTP_EXT_MTRK, 555, NULL },
	{ RCPT, " NOTIFY=NEVER", ALL & ~SMTP_EXT_DSN, 555, NULL },
	{ RCPT, " ORCPT=rfc822;a", ALL & ~SMTP_EXT_DSN, 555, NULL },
	{ MAIL, " SIZE=1 RET=FULL SIZE=1", ALL, 501, NULL },
	{ MAIL, " SMTPUTF8 smtputf8", ALL, 501, NULL },
	{ RCPT, " NOTIFY=NEVER NOTIFY=DELAY", ALL, 501, NULL },
	{ MAIL, " RET=FULL  BODY=7BIT SIZE=1 ", ALL, 0, " SIZE=1 BODY=7BIT RET=FULL" },
	/* SIZE */
	{ MAIL, " size=00012", ALL, 0, " SIZE=12" },
	{ MAIL, " SIZE=18446744073709551615", ALL, 0, " SIZE=18446744073709551615" },
	{ MAIL, " SIZE=18446744073709551616", ALL, 501, NULL },
	{ MAIL, " SIZE", ALL, 501, NULL },
	{ MAIL, " SIZE=", ALL, 501, NULL },
	{ MAIL, " SIZE=-1", ALL, 501, NULL },
	{ MAIL, " SIZE=1=2", ALL, 501, NULL },
	/* BODY */
	{ MAIL, " BODY=8bitmime", ALL, 0, " BODY=8BITMIME" },
	{ MAIL, " BODY=binarymime", ALL, 0, " BODY=BINARYMIME" },
	{ MAIL, " BODY=BINARYMIME", SMTP_EXT_8BITMIME, 501, NULL },
	{ MAIL, " BODY=8BITMIME", SMTP_EXT_BINARYMIME, 501, NULL },
	{ MAIL, " BODY=9BIT", ALL, 501, NULL },
	{ MAIL, " BODY=", ALL, 501, NULL },
	/* SMTPUTF8 */
	{ MAIL, " smtpUtf8", ALL, 0, " SMTPUTF8" },
	{ MAIL, " SMTPUTF8=", ALL, 501, NULL },
	{ MAIL, " SMTPUTF8=1", ALL, 501, NULL },
	/* AUTH */
	{ MAIL, " AUTH=<>", ALL, 0, " AUTH=<>" },
	{ MAIL, " AUTH=a", ALL, 0, " AUTH=<>" },
	{ MAIL, " AUTH=", ALL, 501, NULL },
	{ MAIL, " AUTH=<x>", ALL, 0, " AUTH=<>" },
	{ MAIL, " AUTH=a+0", ALL, 501, NULL },
	/* DSN */
	{ MAIL, " ret=hdrs", ALL, 0, " RET=HDRS" },
	{ MAIL, " RET=ALL", ALL, 501, NULL },
	{ MAIL, " RET=FULL,HDRS", ALL, 501, NULL },
	{ MAIL, " ENVID=a+2b+3D", ALL, 0, " ENVID=a+2B+3D" },
	{ MAIL, " ENVID=" X100, ALL, 0, " ENVID=" X100 },
	{ MAIL, " ENVID=" X100 "1", ALL, 501, NULL },
	{ MAIL, " ENVID=a=b", ALL, 501, NULL },
	{ MAIL, " ENVID=a+", ALL, 501, NULL },
	{ MAIL, " ENVID=a+2", ALL, 501, NULL },
	{ MAIL, " ENVID=a+2g", ALL, 501, NULL },
	{ MAIL, " ENVID=a+0d+0aX:+20y", ALL, 501, NULL },	/* a header line in the report */
	{ MAIL, " ENVID=a+7f", ALL, 501, NULL },
	{ MAIL, " ENVID=\xc3\xa4", ALL, 501, NULL },
	{ RCPT, " notify=Never", ALL, 0, " NOTIFY=NEVER" },
	{ RCPT, " NOTIFY=delay,success,failure", ALL, 0, " NOTIFY=SUCCESS,FAILURE,DELAY" },
	{ RCPT, " NOTIFY=FAILURE", ALL, 0, " NOTIFY=FAILURE" },
	{ RCPT, " NOTIFY=", ALL, 501, NULL },
	{ RCPT, " NOTIFY=FAILURE,", ALL, 501, NULL },
	{ RCPT, " NOTIFY=,FAILURE", ALL, 501, NULL },
	{ RCPT, " NOTIFY=FAILURE,FAILURE", ALL, 501, NULL },
	{ RCPT, " NOTIFY=NEVER,DELAY", ALL, 501, NULL },
	{ RCPT, " NOTIFY=MAYBE", ALL, 501, NULL },
	{ RCPT, " ORCPT=rfc822;Bob+2bx@example.com NOTIFY=DELAY", ALL, 0, " NOTIFY=DELAY ORCPT=rfc822;Bob+2Bx@example.com" },
	{ RCPT, " ORCPT=rfc822;" X100 X100 X100 X100 X50 X10 X10 X10 X10 "123", ALL, 0,
	  " ORCPT=rfc822;" X100 X100 X100 X100 X50 X10 X10 X10 X10 "123" },
	{ RCPT, " ORCPT=rfc822;" X100 X100 X100 X100 X50 X10 X10 X10 X10 "1234", ALL, 501, NULL },
	{ RCPT, " ORCPT=rfc822;", ALL, 501, NULL },
	{ RCPT, " ORCPT=;a", ALL, 501, NULL },
	{ RCPT, " ORCPT=rfc822", ALL, 501, NULL },
	{ RCPT, " ORCPT=rfc(822;a", ALL, 501, NULL },
	{ RCPT, " ORCPT=rfc822;a+0A", ALL, 501, NULL },
	{ RCPT, " ORCPT=utf-8;\\x{FC}@d", ALL, 0, " ORCPT=utf-8;\\x{FC}@d" },
	{ RCPT, " ORCPT=utf-8;\xc3\xbc@d", ALL, 501, NULL },
	/* DELIVERBY */
	{ MAIL, " BY=+0120;nt", ALL, 0, " BY=120;NT" },
	{ MAIL, " BY=-120;N", ALL, 0, " BY=-120;N" },
	{ MAIL, " BY=-0;N", ALL, 0, " BY=0;N" },
	{ MAIL, " BY=999999999;R", ALL, 0, " BY=999999999;R" },
	{ MAIL, " BY=1000000000;R", ALL, 501, NULL },
	{ MAIL, " BY=0;R", ALL, 501, NULL },
	{ MAIL, " BY=-1;RT", ALL, 501, NULL },
	{ MAIL, " BY=1;X", ALL, 501, NULL },
	{ MAIL, " BY=1", ALL, 501, NULL },
	{ MAIL, " BY=+;N", ALL, 501, NULL },
	{ MAIL, " BY=;N", ALL, 501, NULL },
	{ MAIL, " BY=", ALL, 501, NULL },
	/* FUTURERELEASE */
	{ MAIL, " HOLDFOR=086400", ALL, 0, " HOLDFOR=86400" },
	{ MAIL, " HOLDFOR=1000000000", ALL, 501, NULL },
	{ MAIL, " HOLDFOR=1h", ALL, 501, NULL },
	{ MAIL, " HOLDUNTIL=2030-12-31t23:59:60z", ALL, 0, " HOLDUNTIL=2030-12-31T23:59:60Z" },
	{ MAIL, " HOLDUNTIL=2030-13-31T23:59:59Z", ALL, 501, NULL },
	{ MAIL, " HOLDUNTIL=2030-12-00T23:59:59Z", ALL, 501, NULL },
	{ MAIL, " HOLDUNTIL=2030-12-31T24:00:00Z", ALL, 501, NULL },
	{ MAIL, " HOLDUNTIL=2030-12-31T23:59:59", ALL, 501, NULL },
	{ MAIL, " HOLDUNTIL=2030-12-31T23:59:59Z HOLDFOR=1", ALL, 501, NULL },
	/* MT-PRIORITY */
	{ MAIL, " MT-PRIORITY=-9", ALL, 0, " MT-PRIORITY=-9" },
	{ MAIL, " MT-PRIORITY=0", ALL, 0, " MT-PRIORITY=0" },
	{ MAIL, " MT-PRIORITY=-0", ALL, 501, NULL },
	{ MAIL, " MT-PRIORITY=10", ALL, 501, NULL },
	{ MAIL, " MT-PRIORITY=+1", ALL, 501, NULL },
	{ MAIL, " MT-PRIORITY=-", ALL, 501, NULL },
	/* MTRK */
	{ MAIL, " MTRK=YWJjZA==:3600 ENVID=x", ALL, 0, " ENVID=x MTRK=YWJjZA==:3600" },
	{ MAIL, " MTRK=YWJj ENVID=x", ALL, 0, " ENVID=x MTRK=YWJj" },
	{ MAIL, " MTRK=YWJj", ALL, 501, NULL },
	{ MAIL, " MTRK=YWJ ENVID=x", ALL, 501, NULL },
	{ MAIL, " MTRK=Y=Jj ENVID=x", ALL, 501, NULL },
	{ MAIL, " MTRK=YWJj: ENVID=x", ALL, 501, NULL },
	{ MAIL, " MTRK=YWJj:1234567890 ENVID=x", ALL, 501, NULL },
	{ MAIL, " MTRK=:1 ENVID=x", ALL, 501, NULL },
};

static int parse(const struct smtp_syntax *syntax, bool rcpt, struct slice in, struct arena *arena, struct slice *out,
		 unsigned *code)
{
	struct smtp_mail_options options = { .has_size = false };
	struct smtp_flaw flaw = { 0 };
	int result = smtp_parameters_parse(syntax, rcpt, in, arena, &options, out, &flaw);

	assert_true(result == 0 || (result == -EBADMSG && flaw.text != NULL && flaw.key != NULL));
	*code = result == 0 ? 0 : flaw.code != 0 ? flaw.code : 500;
	assert_true(*code == 500 || *code == 0 || flaw.reply != NULL);
	return result;
}

static void test_parameters(void **state)
{
	struct arena *arena = arena_create(1 << 20, 0);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct param_case *c = &cases[i];
		struct smtp_syntax syntax = { .active_extensions = c->extensions };
		struct slice out = { NULL, 0 }, again = { NULL, 0 };
		unsigned code;

		parse(&syntax, c->rcpt, slice_cstr(c->in), arena, &out, &code);
		if (code != c->code || (code == 0 && !slice_is(out, c->out)))
			fail_msg("'%s': %u '%.*s'", c->in, code, SLICE_ARG(out));
		if (code != 0)
			continue;
		/* The canonical form is its own canonical form. */
		assert_int_equal(parse(&syntax, c->rcpt, out, arena, &again, &code), 0);
		assert_true(slice_equal(out, again));
	}
	arena_free(&arena);
}

/* Cut at every octet, at the very end of its memory. What is accepted must say the same to the next reader. */
static void test_truncation(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct smtp_syntax syntax = { .active_extensions = ALL };
		struct arena *arena = arena_create(1 << 20, 0);

		for (size_t n = 1; n < strlen(cases[i].in); n++) {
			uint8_t *exact = test_malloc(n);
			struct slice out = { NULL, 0 }, again = { NULL, 0 };
			unsigned code;

			memcpy(exact, cases[i].in, n);
			if (parse(&syntax, cases[i].rcpt, slice_of(exact, n), arena, &out, &code) == 0) {
				assert_int_equal(parse(&syntax, cases[i].rcpt, out, arena, &again, &code), 0);
				assert_true(slice_equal(out, again));
			}
			test_free(exact);
		}
		arena_free(&arena);
	}
}

/* Who showed who he is may say for whom he sends. */
static void test_authenticated(void **state)
{
	struct smtp_syntax syntax = { .active_extensions = ALL, .client_authenticated = true };
	struct arena *arena = arena_create(1 << 20, 0);
	struct slice out;
	unsigned code;

	assert_int_equal(parse(&syntax, false, SLICE(" AUTH=e+3dmc2@example.com"), arena, &out, &code), 0);
	assert_true(slice_is(out, " AUTH=e+3Dmc2@example.com"));
	assert_int_equal(parse(&syntax, false, SLICE(" AUTH=<>"), arena, &out, &code), 0);
	assert_true(slice_is(out, " AUTH=<>"));
	arena_free(&arena);
}

static void test_utf8(void **state)
{
	struct smtp_syntax syntax = { .active_extensions = ALL, .utf8 = true };
	struct arena *arena = arena_create(1 << 20, 0);
	struct slice out;
	unsigned code;

	assert_int_equal(parse(&syntax, true, SLICE(" ORCPT=utf-8;\xc3\xbc@d"), arena, &out, &code), 0);
	assert_true(slice_is(out, " ORCPT=utf-8;\xc3\xbc@d"));
	assert_int_equal(parse(&syntax, true, SLICE(" ORCPT=rfc822;\xc3\xbc@d"), arena, &out, &code), -EBADMSG);
	assert_int_equal(parse(&syntax, true, SLICE(" ORCPT=utf-8;\xc2\x85@d"), arena, &out, &code), -EBADMSG);
	assert_int_equal(parse(&syntax, true, SLICE(" ORCPT=utf-8;\xc3"), arena, &out, &code), -EBADMSG);
	arena_free(&arena);
}

static void test_options(void **state)
{
	struct smtp_syntax syntax = { .active_extensions = ALL };
	struct smtp_mail_options options = { .has_size = false };
	struct arena *arena = arena_create(1 << 20, 0);
	struct smtp_flaw flaw;
	struct slice out;

	assert_int_equal(smtp_parameters_parse(&syntax, false, SLICE(" BODY=BINARYMIME SIZE=7 SMTPUTF8"), arena, &options, &out,
					       &flaw), 0);
	assert_true(options.has_size && options.utf8);
	assert_int_equal(options.size, 7);
	assert_int_equal(options.body, SMTP_TYPE_BINARYMIME);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parameters), cmocka_unit_test(test_truncation), cmocka_unit_test(test_authenticated),
		cmocka_unit_test(test_utf8), cmocka_unit_test(test_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
