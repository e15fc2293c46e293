/* SPDX-License-Identifier: Apache-2.0 */
/* Policies of mail domains: what is one, and which hosts it lists. */
#include "tls/mta_sts.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define V "version: STSv1\n"
#define ID32 "abcdefghijABCDEFGHIJ012345678901"
#define NAME32 "n23456789012345678901234567890_2"
#define L63 "a23456789012345678901234567890123456789012345678901234567890123"

/* ---- the record ---- */

static void records(void **state)
{
	static const struct {
		struct slice txt;
		int result;
		const char *id;
	} rows[] = {
		{ SLICE_INIT("v=STSv1; id=20160831085700Z;"), 0, "20160831085700Z" },
		{ SLICE_INIT("v=STSv1;id=1"), 0, "1" },
		{ SLICE_INIT("v=STSv1; id=1"), 0, "1" },
		{ SLICE_INIT("v=STSv1;\tid=1 \t; \t"), 0, "1" },
		{ SLICE_INIT("v=STSv1; x=y; id=1;"), 0, "1" },
		{ SLICE_INIT("v=STSv1; id=1; x-1.a_b=!~;"), 0, "1" },
		{ SLICE_INIT("v=STSv1; id=1; " NAME32 "=y"), 0, "1" },
		{ SLICE_INIT("v=STSv1; id=" ID32 ";"), 0, ID32 },
		{ SLICE_INIT("v=STSv1; id=1; id=2;"), 0, "1" },
		/* About something else. */
		{ SLICE_INIT(""), -ENOENT, NULL },
		{ SLICE_INIT("v=spf1 -all"), -ENOENT, NULL },
		{ SLICE_INIT("v=STSv1"), -ENOENT, NULL },
		{ SLICE_INIT("v=STSv1 ;id=1"), -ENOENT, NULL },
		{ SLICE_INIT("v=STSv12;id=1"), -ENOENT, NULL },
		{ SLICE_INIT("V=STSv1;id=1"), -ENOENT, NULL },
		{ SLICE_INIT(" v=STSv1;id=1"), -ENOENT, NULL },
		{ SLICE_INIT("id=1;v=STSv1;"), -ENOENT, NULL },
		/* No record of this kind. */
		{ SLICE_INIT("v=STSv1;"), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;;id=1"), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;id=1;;"), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;id=1 "), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;id"), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;id="), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;id= 1"), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;id=1-2"), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;ID=1"), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;id=" ID32 "x"), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;id=1;id=1-2"), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;id=1;x"), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;id=1;_x=y"), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;id=1;x=a b"), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;id=1;x=a=b"), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;id=1;x" NAME32 "=y"), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;id=1\0;"), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;id=1;x=\303\241"), -EBADMSG, NULL },
		{ SLICE_INIT("v=STSv1;id=1\r\n"), -EBADMSG, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct slice id = SLICE_INIT("untouched");

		assert_int_equal(mta_sts_record_parse(rows[i].txt, &id), rows[i].result);
		assert_true(slice_is(id, rows[i].result == 0 ? rows[i].id : "untouched"));
	}
}

/* ---- the policy ---- */

struct row {
	struct slice octets;
	int result;			/* 0: then the rest counts */
	enum mta_sts_mode mode;
	uint32_t max_age_s;
	size_t n_mx;
};

static const struct row policies[] = {
	/* RFC 8461, 3.2 */
	{ SLICE_INIT("version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmx: backupmx.example.com\r\nmax_age: 604800\r\n"),
	  0, MTA_STS_ENFORCE, 604800, 3 },
	{ SLICE_INIT(V "mode: testing\nmx: a.example\nmax_age: 1"), 0, MTA_STS_TESTING, 1, 1 },
	{ SLICE_INIT("max_age:0\nmx:a\nmode:enforce\r\nversion:STSv1 \t\n"), 0, MTA_STS_ENFORCE, 0, 1 },
	{ SLICE_INIT(V "mode: none\nmax_age: 1\n"), 0, MTA_STS_NONE, 1, 0 },
	{ SLICE_INIT(V "mode: none\nmx: a.example\nmax_age: 1\n"), 0, MTA_STS_NONE, 1, 1 },
	{ SLICE_INIT(V "mode: \t testing \t\nmx: A-1.Example\nmax_age: 0031557600"), 0, MTA_STS_TESTING, 31557600, 1 },
	/* More than a year means a year. */
	{ SLICE_INIT(V "mode: enforce\nmx: a\nmax_age: 31557601"), 0, MTA_STS_ENFORCE, 31557600, 1 },
	{ SLICE_INIT(V "mode: enforce\nmx: a\nmax_age: 9999999999"), 0, MTA_STS_ENFORCE, 31557600, 1 },
	{ SLICE_INIT(V "mode: enforce\nmx: a\nmax_age: 19999999999"), -EBADMSG, 0, 0, 0 },
	/* What is there twice counts as it was first, except mx. */
	{ SLICE_INIT(V "mode: enforce\nmode: none\nmx: a\nmx: a\nmax_age: 5\nmax_age: 6\nversion: STSv2"), 0, MTA_STS_ENFORCE, 5, 2 },
	{ SLICE_INIT(V "mode: none\nmode: nonsense\nmax_age: 5\nmax_age: x"), 0, MTA_STS_NONE, 5, 0 },
	/* Unknown fields do not matter, if they are fields. */
	{ SLICE_INIT(V "mode: enforce\nx_1.y-z: a b:c, \303\241\nMode: none\nmx: a\nmax_age: 5\nmxx: *"), 0, MTA_STS_ENFORCE, 5, 1 },
	{ SLICE_INIT(V "mode: none\nmax_age: 5\n" NAME32 ": x"), 0, MTA_STS_NONE, 5, 0 },
	{ SLICE_INIT(V "mode: none\nmax_age: 5\nx" NAME32 ": x"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\nmax_age: 5\n-x: x"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\nmax_age: 5\nx: a\tb"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\nmax_age: 5\nx: \377"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\nmax_age: 5\nx: \0"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\nmax_age: 5\nx: \177"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\nmax_age: 5\nx:"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\nmax_age: 5\nx: \t"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\nmax_age: 5\nx"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\nmax_age: 5\n x: y"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\nmax_age: 5\nx : y"), -EBADMSG, 0, 0, 0 },
	/* Something is missing. */
	{ SLICE_INIT(""), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT("\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT("mode: none\nmax_age: 5\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "max_age: 5\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: enforce\nmx: a\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: enforce\nmax_age: 5\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: testing\nmax_age: 5\n"), -EBADMSG, 0, 0, 0 },
	/* Other words. */
	{ SLICE_INIT("version: STSv2\nmode: none\nmax_age: 5\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT("version: stsv1\nmode: none\nmax_age: 5\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT("version: STSv1;\nmode: none\nmax_age: 5\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: Enforce\nmx: a\nmax_age: 5\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: report\nmx: a\nmax_age: 5\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\nmax_age: -5\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\nmax_age: 5s\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\nmax_age: 1e5\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT("<html>\n" V "mode: none\nmax_age: 5\n"), -EBADMSG, 0, 0, 0 },
	/* Lines that somebody could read in another way. */
	{ SLICE_INIT(V "mode: none\rmax_age: 5\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\r\r\nmax_age: 5\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\nmax_age: 5\r"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\n\nmax_age: 5\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\nmax_age: 5\n\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT("\357\273\277" V "mode: none\nmax_age: 5\n"), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: none\0\nmax_age: 5\n"), -EBADMSG, 0, 0, 0 },
	/* Patterns. */
	{ SLICE_INIT(V "mode: enforce\nmax_age: 5\nmx: " L63 "." L63 "." L63 "." L63), -EBADMSG, 0, 0, 0 },
	{ SLICE_INIT(V "mode: enforce\nmax_age: 5\nmx: " L63 "." L63 "." L63), 0, MTA_STS_ENFORCE, 5, 1 },
	{ SLICE_INIT(V "mode: enforce\nmax_age: 5\nmx: x" L63 ".a"), -EBADMSG, 0, 0, 0 },
};

static void parsing(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
		const struct row *r = &policies[i];
		struct mta_sts p = { .n_mx = 77 };
		const char *why = NULL;

		assert_int_equal(mta_sts_parse(r->octets, &p, &why), r->result);
		assert_true((why != NULL) == (r->result != 0));
		if (r->result != 0) {
			assert_int_equal(p.n_mx, 77);
			continue;
		}
		assert_int_equal(p.mode, r->mode);
		assert_int_equal(p.max_age_s, r->max_age_s);
		assert_int_equal(p.n_mx, r->n_mx);
	}
}

static void wrong_patterns(void **state)
{
	static const char *const wrong[] = {
		"*", "*.", "*.*", "*.*.a", "a.*", "a.*.b", "m*.a", "*a.b", "*.a.", "a.", ".a", "a..b", "-a.b", "a-.b", "a.b-", "a b", "a_b.c", "a/b",
		"*.-a", "\303\241.example", "[192.0.2.1]", "a:b", "?.a", "**.a",
	};
	struct mta_sts p;
	const char *why;

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct buffer text = BUFFER_INIT(1024);

		buffer_printf(&text, V "mode: enforce\nmx: good.example\nmx: %s\nmax_age: 5\n", wrong[i]);
		assert_int_equal(mta_sts_parse(buffer_slice(&text), &p, &why), -EBADMSG);
		buffer_release(&text);
	}
}

/* A policy that was cut off anywhere is none, or one that says less of the hosts, but nothing else. */
static void truncated(void **state)
{
	static const struct slice whole = SLICE_INIT(V "max_age: 5\nmode: enforce\nmx: a.example\nmx: *.b.example\n");
	struct mta_sts p;
	const char *why;

	for (size_t n = 0; n < whole.len; n++) {
		uint8_t *copy = malloc(n + 1);	/* exactly so long, for the sanitizer */

		assert_non_null(copy);
		copy = realloc(copy, n > 0 ? n : 1);
		memcpy(copy, whole.ptr, n);
		if (mta_sts_parse(slice_of(copy, n), &p, &why) == 0)
			assert_true(p.mode == MTA_STS_ENFORCE && p.n_mx >= 1);
		free(copy);
	}
}

static void ceilings(void **state)
{
	struct buffer text = BUFFER_INIT(2 * MTA_STS_OCTETS_MAX);
	struct mta_sts p;
	const char *why;

	buffer_append(&text, SLICE(V "mode: enforce\nmax_age: 5\n"));
	for (size_t i = 0; i < MTA_STS_MX_MAX; i++)
		buffer_append(&text, SLICE("mx: *.example\n"));
	assert_int_equal(mta_sts_parse(buffer_slice(&text), &p, &why), 0);
	assert_int_equal(p.n_mx, MTA_STS_MX_MAX);
	buffer_append(&text, SLICE("mx: *.example\n"));
	assert_int_equal(mta_sts_parse(buffer_slice(&text), &p, &why), -EBADMSG);
	buffer_clear(&text);
	buffer_append(&text, SLICE(V "mode: none\nmax_age: 5\nx: "));
	while (text.len < MTA_STS_OCTETS_MAX)
		buffer_append_octet(&text, 'x');
	assert_int_equal(mta_sts_parse(buffer_slice(&text), &p, &why), 0);
	buffer_append_octet(&text, 'x');
	assert_int_equal(mta_sts_parse(buffer_slice(&text), &p, &why), -E2BIG);
	buffer_release(&text);
}

static void listed(void **state)
{
	static const struct slice octets = SLICE_INIT(V "mx: mail.example.com\nmode: enforce\r\nx: mx: no.example\nmx: *.Example.net\nmax_age: 5\n");
	static const struct {
		const char *host;
		bool listed;
	} rows[] = {
		{ "mail.example.com", true }, { "MAIL.example.COM", true }, { "mail.example.com.", true }, { "a.example.net", true },
		{ "a.EXAMPLE.net.", true }, { "xn--a-1.example.net", true },
		{ "", false }, { ".", false }, { "example.com", false }, { "a.mail.example.com", false }, { "amail.example.com", false },
		{ "mail.example.com..", false }, { "mail.example.comx", false }, { "example.net", false }, { ".example.net", false },
		{ "a.b.example.net", false }, { "aexample.net", false }, { "a.example.net.org", false }, { "*.example.net.", true },
		{ "no.example", false }, { "enforce", false },
	};
	struct mta_sts p;
	const char *why;

	assert_int_equal(mta_sts_parse(octets, &p, &why), 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(mta_sts_lists(&p, slice_cstr(rows[i].host)), rows[i].listed);
	/* A NUL ends nothing. */
	assert_false(mta_sts_lists(&p, SLICE("mail.example.com\0.evil.example")));
	assert_false(mta_sts_lists(&p, SLICE("mail.example.com\0")));
}

/* What is written says the same. */
static void written(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(policies); i++) {
		struct buffer text = BUFFER_INIT(MTA_STS_WRITTEN_MAX);
		struct mta_sts p, again;
		const char *why;

		if (policies[i].result != 0)
			continue;
		assert_int_equal(mta_sts_parse(policies[i].octets, &p, &why), 0);
		mta_sts_write(&p, &text);
		assert_false(text.broken);
		assert_int_equal(mta_sts_parse(buffer_slice(&text), &again, &why), 0);
		assert_true(again.mode == p.mode && again.max_age_s == p.max_age_s && again.n_mx == p.n_mx);
		buffer_release(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records), cmocka_unit_test(parsing), cmocka_unit_test(wrong_patterns), cmocka_unit_test(truncated),
		cmocka_unit_test(ceilings), cmocka_unit_test(listed), cmocka_unit_test(written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
