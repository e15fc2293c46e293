/* SPDX-License-Identifier: Apache-2.0 */
/* Paths and domains: what is accepted comes out canonical; what two parsers could read in two ways is refused. */
#include "proxy/smtp/address.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define EMPTY SMTP_PATH_MAY_BE_EMPTY
#define BARE SMTP_PATH_BARE
#define PM SMTP_PATH_POSTMASTER
#define UTF8 SMTP_PATH_UTF8

struct path_case {
	const char *in;
	unsigned flags;
	const char *append;
	enum smtp_address_flaw flaw;
	const char *mailbox, *domain, *rest;
};

#define A63 "aaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff12345"
#define LABEL63 "aaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffff1234"

static const struct path_case path_cases[] = {
	/* The reference results of the policy language. */
	{ "<u@d>", 0, "", SMTP_ADDRESS_OK, "u@d", "d", "" },
	{ "<>", EMPTY, "", SMTP_ADDRESS_OK, "", "", "" },
	{ "<@h1,@h2,@h3:u@d>", 0, "", SMTP_ADDRESS_OK, "u@d", "d", "" },
	{ "<\"first last\"@[1.2.3.4]>", 0, "", SMTP_ADDRESS_OK, "\"first last\"@[1.2.3.4]", "[1.2.3.4]", "" },
	{ "<u@#123456>", 0, "", SMTP_ADDRESS_OK, "u@#123456", "#123456", "" },
	{ "<@:u@d>", 0, "", SMTP_ADDRESS_ROUTE, NULL, NULL, NULL },
	{ "<@h1@u@d>", 0, "", SMTP_ADDRESS_ROUTE, NULL, NULL, NULL },
	{ "<@h1\"u@d>", 0, "", SMTP_ADDRESS_ROUTE, NULL, NULL, NULL },
	{ "<@h1:;u@d>", 0, "", SMTP_ADDRESS_LOCAL_PART, NULL, NULL, NULL },
	{ "<@h1,u@d>", 0, "", SMTP_ADDRESS_ROUTE, NULL, NULL, NULL },
	{ "<u@d", 0, "", SMTP_ADDRESS_BRACKETS, NULL, NULL, NULL },
	{ "u@d>", 0, "", SMTP_ADDRESS_NO_BRACKET, NULL, NULL, NULL },
	{ "u@d", 0, "", SMTP_ADDRESS_NO_BRACKET, NULL, NULL, NULL },
	{ "<ud>", 0, "", SMTP_ADDRESS_NO_AT, NULL, NULL, NULL },
	{ "<u@#123z>", 0, "", SMTP_ADDRESS_BRACKETS, NULL, NULL, NULL },
	/* Without angle brackets, where a policy permits it. */
	{ "u@d", BARE, "", SMTP_ADDRESS_OK, "u@d", "d", "" },
	{ "<u@d>", BARE, "", SMTP_ADDRESS_OK, "u@d", "d", "" },
	{ "u@d>", BARE, "", SMTP_ADDRESS_BRACKETS, NULL, NULL, NULL },
	{ "<u@d", BARE, "", SMTP_ADDRESS_BRACKETS, NULL, NULL, NULL },
	{ "u@d SIZE=1", BARE, "", SMTP_ADDRESS_OK, "u@d", "d", " SIZE=1" },
	/* Spaces before, anything behind. */
	{ "   <u@d> x", 0, "", SMTP_ADDRESS_OK, "u@d", "d", " x" },
	{ "<u@d>x", 0, "", SMTP_ADDRESS_OK, "u@d", "d", "x" },
	{ "\t<u@d>", 0, "", SMTP_ADDRESS_NO_BRACKET, NULL, NULL, NULL },
	{ "", 0, "", SMTP_ADDRESS_NO_BRACKET, NULL, NULL, NULL },
	{ "<", 0, "", SMTP_ADDRESS_EMPTY, NULL, NULL, NULL },
	{ "<>", 0, "", SMTP_ADDRESS_EMPTY, NULL, NULL, NULL },
	/* No domain. */
	{ "<u>", 0, "example.com", SMTP_ADDRESS_OK, "u@example.com", "example.com", "" },
	{ "<u>", 0, "exa mple", SMTP_ADDRESS_DOMAIN, NULL, NULL, NULL },
	{ "<Postmaster>", PM, "", SMTP_ADDRESS_OK, "Postmaster", "", "" },
	{ "<Postmaster>", 0, "", SMTP_ADDRESS_NO_AT, NULL, NULL, NULL },
	{ "<postmasters>", PM, "", SMTP_ADDRESS_NO_AT, NULL, NULL, NULL },
	/* Local parts. */
	{ "<a.b+c/d=e%f!g@d>", 0, "", SMTP_ADDRESS_OK, "a.b+c/d=e%f!g@d", "d", "" },
	{ "<a..b@d>", 0, "", SMTP_ADDRESS_LOCAL_PART, NULL, NULL, NULL },
	{ "<.a@d>", 0, "", SMTP_ADDRESS_LOCAL_PART, NULL, NULL, NULL },
	{ "<a.@d>", 0, "", SMTP_ADDRESS_LOCAL_PART, NULL, NULL, NULL },
	{ "<@d>", 0, "", SMTP_ADDRESS_ROUTE, NULL, NULL, NULL },
	{ "<\"a@b\"@d>", 0, "", SMTP_ADDRESS_OK, "\"a@b\"@d", "d", "" },
	{ "<\"a\\\"b\"@d>", 0, "", SMTP_ADDRESS_OK, "\"a\\\"b\"@d", "d", "" },
	{ "<\"a>@d>", 0, "", SMTP_ADDRESS_LOCAL_PART, NULL, NULL, NULL },
	{ "<\"a\\", 0, "", SMTP_ADDRESS_LOCAL_PART, NULL, NULL, NULL },
	{ "<\"", 0, "", SMTP_ADDRESS_LOCAL_PART, NULL, NULL, NULL },
	{ "<a b@d>", 0, "", SMTP_ADDRESS_NO_AT, NULL, NULL, NULL },
	{ "<\xc3\xa9@d>", 0, "", SMTP_ADDRESS_LOCAL_PART, NULL, NULL, NULL },
	{ "<\"\xc3\xa9\"@d>", 0, "", SMTP_ADDRESS_LOCAL_PART, NULL, NULL, NULL },
	{ "<a\x01@d>", 0, "", SMTP_ADDRESS_NO_AT, NULL, NULL, NULL },
	{ "<\"a\tb\"@d>", 0, "", SMTP_ADDRESS_LOCAL_PART, NULL, NULL, NULL },
	{ "<a@b@d>", 0, "", SMTP_ADDRESS_BRACKETS, NULL, NULL, NULL },
	{ "<" A63 "@d>", 0, "", SMTP_ADDRESS_OK, A63 "@d", "d", "" },
	{ "<x" A63 "@d>", 0, "", SMTP_ADDRESS_TOO_LONG, NULL, NULL, NULL },
	/* One spelling: quotes and backslashes only where they must be. */
	{ "<\"u\"@d>", 0, "", SMTP_ADDRESS_OK, "u@d", "d", "" },
	{ "<\"\\u.v\"@d> x", 0, "", SMTP_ADDRESS_OK, "u.v@d", "d", " x" },
	{ "<\"u.\"@d>", 0, "", SMTP_ADDRESS_OK, "\"u.\"@d", "d", "" },
	{ "<\"\"@d>", 0, "", SMTP_ADDRESS_OK, "\"\"@d", "d", "" },
	{ "<\"\\a\\\\\\ \\\"\"@d>", 0, "", SMTP_ADDRESS_OK, "\"a\\\\ \\\"\"@d", "d", "" },
	{ "<\"u\">", 0, "d", SMTP_ADDRESS_OK, "u@d", "d", "" },
	{ "<\"postmaster\">", PM, "", SMTP_ADDRESS_OK, "postmaster", "", "" },
	/* Beyond ASCII. */
	{ "<\xc3\xa9.\xe4\xbd\xa0@d>", UTF8, "", SMTP_ADDRESS_OK, "\xc3\xa9.\xe4\xbd\xa0@d", "d", "" },
	{ "<\"\xc3\xa9\"@d>", UTF8, "", SMTP_ADDRESS_OK, "\xc3\xa9@d", "d", "" },
	{ "<\"\xc3\xa9 \"@d>", UTF8, "", SMTP_ADDRESS_OK, "\"\xc3\xa9 \"@d", "d", "" },
	{ "<u@\xc3\xa9.example>", UTF8, "", SMTP_ADDRESS_OK, "u@\xc3\xa9.example", "\xc3\xa9.example", "" },
	{ "<@\xc3\xa9.example:u@d>", UTF8, "", SMTP_ADDRESS_OK, "u@d", "d", "" },
	{ "<u@\xc3\xa9.example>", 0, "", SMTP_ADDRESS_DOMAIN, NULL, NULL, NULL },
	{ "<\xc3@d>", UTF8, "", SMTP_ADDRESS_LOCAL_PART, NULL, NULL, NULL },
	{ "<u\xc0\xae@d>", UTF8, "", SMTP_ADDRESS_NO_AT, NULL, NULL, NULL },
	{ "<\"\\\xc3\xa9\"@d>", UTF8, "", SMTP_ADDRESS_LOCAL_PART, NULL, NULL, NULL },
	{ "<u\xef\xbc\xa0@d>", UTF8, "", SMTP_ADDRESS_NO_AT, NULL, NULL, NULL },		/* fullwidth @ */
	{ "<u@a\xe3\x80\x82" "d>", UTF8, "", SMTP_ADDRESS_BRACKETS, NULL, NULL, NULL },	/* ideographic full stop */
	{ "<u@a\xef\xbc\x8e" "d>", UTF8, "", SMTP_ADDRESS_BRACKETS, NULL, NULL, NULL },	/* fullwidth full stop */
	{ "<\xe2\x80\xaeu@d>", UTF8, "", SMTP_ADDRESS_LOCAL_PART, NULL, NULL, NULL },		/* right-to-left override */
	{ "<\xc2\x85@d>", UTF8, "", SMTP_ADDRESS_LOCAL_PART, NULL, NULL, NULL },
	/* Domains. */
	{ "<u@a.b-c.d>", 0, "", SMTP_ADDRESS_OK, "u@a.b-c.d", "a.b-c.d", "" },
	{ "<u@d.>", 0, "", SMTP_ADDRESS_DOMAIN, NULL, NULL, NULL },
	{ "<u@a..d>", 0, "", SMTP_ADDRESS_DOMAIN, NULL, NULL, NULL },
	{ "<u@.d>", 0, "", SMTP_ADDRESS_DOMAIN, NULL, NULL, NULL },
	{ "<u@-d>", 0, "", SMTP_ADDRESS_DOMAIN, NULL, NULL, NULL },
	{ "<u@d->", 0, "", SMTP_ADDRESS_DOMAIN, NULL, NULL, NULL },
	{ "<u@>", 0, "", SMTP_ADDRESS_DOMAIN, NULL, NULL, NULL },
	{ "<u@" LABEL63 ">", 0, "", SMTP_ADDRESS_OK, "u@" LABEL63, LABEL63, "" },
	{ "<u@x" LABEL63 ">", 0, "", SMTP_ADDRESS_DOMAIN, NULL, NULL, NULL },
	{ "<u@[IPv6:::1]>", 0, "", SMTP_ADDRESS_OK, "u@[IPv6:::1]", "[IPv6:::1]", "" },
	{ "<u@[ipv6:2001:db8::1]>", 0, "", SMTP_ADDRESS_OK, "u@[ipv6:2001:db8::1]", "[ipv6:2001:db8::1]", "" },
	{ "<u@[::1]>", 0, "", SMTP_ADDRESS_DOMAIN, NULL, NULL, NULL },
	{ "<u@[IPv6:1.2.3.4]>", 0, "", SMTP_ADDRESS_DOMAIN, NULL, NULL, NULL },
	{ "<u@[1.2.3]>", 0, "", SMTP_ADDRESS_DOMAIN, NULL, NULL, NULL },
	{ "<u@[1.2.3.4>", 0, "", SMTP_ADDRESS_DOMAIN, NULL, NULL, NULL },
	{ "<u@[tag:text]>", 0, "", SMTP_ADDRESS_DOMAIN, NULL, NULL, NULL },
	{ "<u@#>", 0, "", SMTP_ADDRESS_DOMAIN, NULL, NULL, NULL },
	{ "<u@d\xff>", 0, "", SMTP_ADDRESS_BRACKETS, NULL, NULL, NULL },
	{ "<@h1:u@d>", SMTP_PATH_NO_ROUTE, "", SMTP_ADDRESS_ROUTE_REFUSED, NULL, NULL, NULL },
	/* A source route counts against the limit of a path. */
	{ "<@" LABEL63 ",@" LABEL63 ",@" LABEL63 ",@" LABEL63 ":u@d>", 0, "", SMTP_ADDRESS_TOO_LONG, NULL, NULL, NULL },
};

static void check_path(struct arena *arena, const struct path_case *c)
{
	struct smtp_path path = { .routed = false };
	enum smtp_address_flaw flaw;

	flaw = smtp_path_parse(slice_cstr(c->in), c->flags, slice_cstr(c->append), arena, &path);
	if (flaw != c->flaw)
		fail_msg("%s: %s instead of %s", c->in, smtp_address_flaw_texts[flaw], smtp_address_flaw_texts[c->flaw]);
	if (flaw != SMTP_ADDRESS_OK)
		return;
	if (!slice_is(path.mailbox, c->mailbox) || !slice_is(path.domain, c->domain) || !slice_is(path.rest, c->rest))
		fail_msg("%s: mailbox %.*s domain %.*s rest %.*s", c->in, SLICE_ARG(path.mailbox), SLICE_ARG(path.domain),
			 SLICE_ARG(path.rest));
}

static void test_paths(void **state)
{
	struct arena *arena = arena_create(1 << 20, 0);

	for (size_t i = 0; i < ARRAY_LEN(path_cases); i++)
		check_path(arena, &path_cases[i]);
	arena_free(&arena);
}

/* Cut at every octet, at the very end of its memory: never read beyond, never called whole too early. */
static void test_truncation(void **state)
{
	struct arena *arena = arena_create(1 << 20, 0);

	for (size_t i = 0; i < ARRAY_LEN(path_cases); i++) {
		size_t whole = strlen(path_cases[i].in);

		if (path_cases[i].in[0] != '<' || path_cases[i].rest == NULL || path_cases[i].rest[0] != '\0')
			continue;
		for (size_t n = 0; n < whole; n++) {
			uint8_t *exact = test_malloc(n + 1);
			struct smtp_path path;

			memcpy(exact + 1, path_cases[i].in, n);
			assert_int_not_equal(smtp_path_parse(slice_of(exact + 1, n), path_cases[i].flags,
							     slice_cstr(path_cases[i].append), arena, &path),
					     SMTP_ADDRESS_OK);
			test_free(exact);
		}
	}
	arena_free(&arena);
}

static void test_domains(void **state)
{
	static const char *const good[] = { "a", "a.b", "1.2.3.4", "host_1.example", "[1.2.3.4]", "[IPv6:fe80::1]", "#1" };
	static const char *const bad[] = { "", ".", "a.", ".a", "a..b", "a b", "a\t", "-", "[]", "[a]", "#", "#a", "a]", "[1.2.3.4",
					   "[1.2.3.4]x", "a/b", "a\x7f", "\xc3\xa4" };

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_true(smtp_is_domain(slice_cstr(good[i])));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		if (smtp_is_domain(slice_cstr(bad[i])))
			fail_msg("'%s' is no domain", bad[i]);
	assert_false(smtp_is_domain(slice_of("a\0b", 3)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_paths),
		cmocka_unit_test(test_truncation),
		cmocka_unit_test(test_domains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
