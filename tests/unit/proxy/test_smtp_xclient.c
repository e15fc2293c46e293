/* SPDX-License-Identifier: Apache-2.0 */
/* XCLIENT: what is written reads back; what is not exactly right is refused. */
#include "proxy/smtp/xclient.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define ALL (SMTP_XCLIENT_NAME | SMTP_XCLIENT_ADDR | SMTP_XCLIENT_PORT | SMTP_XCLIENT_PROTO | SMTP_XCLIENT_HELO | \
	     SMTP_XCLIENT_LOGIN | SMTP_XCLIENT_DESTADDR | SMTP_XCLIENT_DESTPORT)

static struct endpoint at(const char *text)
{
	struct endpoint e = { .ip = { .family = AF_UNSPEC } };

	if (text[0] != '\0')
		assert_int_equal(endpoint_parse(slice_cstr(text), &e), 0);
	return e;
}

static void offers(void **state)
{
	static const struct { const char *line; unsigned offered; } rows[] = {
		{ "XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT", ALL },
		{ "xclient addr", SMTP_XCLIENT_ADDR },
		{ "XCLIENT ADDR SOMETHING NAME", SMTP_XCLIENT_ADDR | SMTP_XCLIENT_NAME },
		{ "XCLIENT  ADDR", SMTP_XCLIENT_ADDR },
		{ "XCLIENT", 0 }, { "XCLIENT ADDRESS", 0 }, { "XFORWARD ADDR", 0 }, { "XCLIENTADDR", 0 }, { "", 0 }, { "ADDR", 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		assert_int_equal(smtp_xclient_offered(slice_cstr(rows[i].line)), rows[i].offered);
}

static void written(void **state)
{
	static const struct { unsigned offered; const char *client, *wanted, *name, *helo, *line; } rows[] = {
		{ ALL, "10.0.0.1:40000", "10.9.9.1:25", "", "client.example",
		  "XCLIENT ADDR=10.0.0.1 PORT=40000 DESTADDR=10.9.9.1 DESTPORT=25 PROTO=ESMTP LOGIN=[UNAVAILABLE] "
		  "NAME=[UNAVAILABLE] HELO=client.example" },
		{ SMTP_XCLIENT_ADDR, "[2001:db8::7]:1", "", "", "x", "XCLIENT ADDR=IPV6:2001:db8::7" },
		{ SMTP_XCLIENT_ADDR | SMTP_XCLIENT_PORT | SMTP_XCLIENT_DESTADDR | SMTP_XCLIENT_DESTPORT, "10.0.0.1", "", "", "x",
		  "XCLIENT ADDR=10.0.0.1 PORT=[UNAVAILABLE] DESTADDR=[UNAVAILABLE] DESTPORT=[UNAVAILABLE]" },
		{ SMTP_XCLIENT_NAME | SMTP_XCLIENT_HELO, "10.0.0.1", "", "a.example", "[x+y=z ]", "XCLIENT NAME=a.example HELO=[x+2By+3Dz+20]" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		const struct smtp_xclient what = { at(rows[i].client), at(rows[i].wanted), slice_cstr(rows[i].name),
						   slice_cstr(rows[i].helo), SLICE("ESMTP") };
		char buf[SMTP_XCLIENT_LINE_MAX];
		size_t n = smtp_xclient_write(rows[i].offered, &what, buf);

		assert_true(slice_is(slice_of(buf, n), rows[i].line));
	}
}

/* Whatever the names are, the line fits, and what identifies the client is whole. */
static void written_within_limits(void **state)
{
	static const char octets[] = { 'x', '+', ' ', '\x7f' };
	static char name[400];

	for (size_t k = 0; k < ARRAY_LEN(octets); k++)
		for (size_t n = 0; n < sizeof(name); n++)
			for (unsigned both = 0; both < 2; both++) {
				struct smtp_xclient what = { .client = at("[1111:2222:3333:4444:5555:6666:7777:8888]:65535"),
							     .wanted = at("[1111:2222:3333:4444:5555:6666:7777:8888]:65535"),
							     .protocol = SLICE("ESMTP") };
				char *buf = malloc(SMTP_XCLIENT_LINE_MAX);
				struct slice line;

				memset(name, octets[k], sizeof(name));
				what.name = slice_of(name, n);
				what.helo = slice_of(name, both ? n : 1);
				line = slice_of(buf, smtp_xclient_write(ALL, &what, buf));
				assert_true(line.len <= SMTP_XCLIENT_LINE_MAX);
				assert_true(slice_starts_with(line, SLICE("XCLIENT ADDR=IPV6:1111:2222:3333:4444:5555:6666:7777:8888 PORT=65535 ")));
				assert_non_null(memmem(line.ptr, line.len, " HELO=", 6));
				free(buf);
			}
}

struct row {
	const char *param, *why;	/* why NULL: it is right, and: */
	const char *client, *wanted, *name;
};

static const struct row rows[] = {
	{ "ADDR=10.0.0.1", NULL, "10.0.0.1", "", "" },
	{ "addr=10.0.0.1 port=25", NULL, "10.0.0.1:25", "", "" },
	{ "NAME=mail.example ADDR=IPV6:2001:db8::7 PORT=65535 DESTADDR=10.9.9.1 DESTPORT=25", NULL, "[2001:db8::7]:65535",
	  "10.9.9.1:25", "mail.example" },
	{ "ADDR=ipv6:::1  NAME=[unavailable]", NULL, "[::1]", "", "" },
	{ "ADDR=IPV6:::ffff:10.0.0.1", NULL, "10.0.0.1", "", "" },
	{ "ADDR=IPV6+3A2001:db8+3A+3A7 NAME=a+2Eexample", NULL, "[2001:db8::7]", "", "a.example" },
	{ "ADDR=10.0.0.1 PORT=[UNAVAILABLE] NAME=[TEMPUNAVAIL] DESTADDR=[UNAVAILABLE]", NULL, "10.0.0.1", "", "" },
	{ "", "needs ADDR", NULL, NULL, NULL },
	{ "NAME=mail.example", "needs ADDR", NULL, NULL, NULL },
	{ "ADDR=[UNAVAILABLE]", "ADDR is no address", NULL, NULL, NULL },
	{ "ADDR=", "ADDR is no address", NULL, NULL, NULL },
	{ "ADDR=10.0.0", "ADDR is no address", NULL, NULL, NULL },
	{ "ADDR=2001:db8::7", "ADDR is no address", NULL, NULL, NULL },
	{ "ADDR=IPV6:10.0.0.1", "ADDR is no address", NULL, NULL, NULL },
	{ "ADDR=0.0.0.0", "ADDR is no address", NULL, NULL, NULL },
	{ "ADDR=224.0.0.1", "ADDR is no address", NULL, NULL, NULL },
	{ "ADDR=IPV6:ff02::1", "ADDR is no address", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1+00", "ADDR is no address", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1+0D+0A", "ADDR is no address", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1 ADDR=10.0.0.2", "given twice", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1 addr=10.0.0.1", "given twice", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1 PORT=0", "PORT is no port", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1 PORT=65536", "PORT is no port", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1 PORT=000025", "PORT is no port", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1 PORT=+32", NULL, "10.0.0.1:2", "", "" },	/* "2", quoted: right */
	{ "ADDR=10.0.0.1 PORT=+3", "PORT is no port", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1 PORT=+3g", "PORT is no port", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1 NAME=a+2eb", "NAME is no host name", NULL, NULL, NULL },		/* hexchar is upper case */
	{ "ADDR=10.0.0.1 NAME=a=b", "NAME is no host name", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1 NAME=a)+20by+20c", "NAME is no host name", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1 NAME=a+0D+0Ab", "NAME is no host name", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1 NAME=", "NAME is no host name", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1 DESTADDR=x", "DESTADDR is no address", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1 DESTPORT=x", "DESTPORT is no port", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1 HELO=x", "Unknown XCLIENT attribute", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1 PROTO=ESMTP", "Unknown XCLIENT attribute", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1 LOGIN=admin", "Unknown XCLIENT attribute", NULL, NULL, NULL },
	{ "ADDR=10.0.0.1 ADDRESS=x", "Unknown XCLIENT attribute", NULL, NULL, NULL },
	{ "ADDR 10.0.0.1", "Unknown XCLIENT attribute", NULL, NULL, NULL },
	{ "=10.0.0.1", "Unknown XCLIENT attribute", NULL, NULL, NULL },
};

static void parsed(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct smtp_xclient out = { .client.port = 4711 };
		char room[SMTP_XCLIENT_VALUE_MAX];
		const char *why = "";
		int err = smtp_xclient_parse(slice_cstr(rows[i].param), room, &out, &why);

		if (rows[i].client == NULL) {
			assert_int_equal(err, -EBADMSG);
			assert_non_null(strstr(why, rows[i].why));
			assert_int_equal(out.client.port, 4711);
		} else {
			const struct endpoint client = at(rows[i].client), wanted = at(rows[i].wanted);

			assert_int_equal(err, 0);
			assert_true(endpoint_equal(&out.client, &client));
			assert_true(endpoint_equal(&out.wanted, &wanted));
			assert_true(slice_is(out.name, rows[i].name));
		}
	}
}

static void longest_name(void **state)
{
	char param[400] = "ADDR=10.0.0.1 NAME=", room[SMTP_XCLIENT_VALUE_MAX];
	size_t start = strlen(param);
	struct smtp_xclient out;
	const char *why;

	for (size_t i = start; i < sizeof(param); i++)
		param[i] = i % 50 == 0 ? '.' : 'x';
	assert_int_equal(smtp_xclient_parse(slice_of(param, start + SMTP_XCLIENT_VALUE_MAX), room, &out, &why), 0);
	assert_int_equal(out.name.len, SMTP_XCLIENT_VALUE_MAX);
	assert_int_equal(smtp_xclient_parse(slice_of(param, start + SMTP_XCLIENT_VALUE_MAX + 1), room, &out, &why), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(offers), cmocka_unit_test(written), cmocka_unit_test(written_within_limits),
		cmocka_unit_test(parsed), cmocka_unit_test(longest_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
