/* SPDX-License-Identifier: Apache-2.0 */
/* Domains in ASCII: what is one name gives one text, what is not clear gives none. */
#include "proxy/smtp/idna.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define U63 "\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc"
#define A50 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct {
	struct slice in;
	int result;
	const char *out;
} cases[] = {
	{ SLICE_INIT("example.com"), 0, "example.com" },
	{ SLICE_INIT("Example.COM"), 0, "Example.COM" },	/* ASCII is left alone */
	{ SLICE_INIT("[1.2.3.4]"), 0, "[1.2.3.4]" },
	{ SLICE_INIT(""), 0, "" },
	{ SLICE_INIT("b\xc3\xbc" "cher.example"), 0, "xn--bcher-kva.example" },
	{ SLICE_INIT("B\xc3\x9c" "CHER.Example"), 0, "xn--bcher-kva.example" },
	{ SLICE_INIT("bu\xcc\x88" "cher.example"), 0, "xn--bcher-kva.example" },
	{ SLICE_INIT("mx.xn--bcher-kva.b\xc3\xbc" "cher"), 0, "mx.xn--bcher-kva.xn--bcher-kva" },
	{ SLICE_INIT("stra\xc3\x9f" "e.example"), -EBADMSG, NULL },		/* "ss" for some */
	{ SLICE_INIT("\xcf\x83\xcf\x82.example"), -EBADMSG, NULL },		/* a final sigma, too */
	{ SLICE_INIT("b\xfc" "cher.example"), -EBADMSG, NULL },
	{ SLICE_INIT("b\xc3\xbc" "cher..example"), -EBADMSG, NULL },
	{ SLICE_INIT("\xcc\x88" "a.example"), -EBADMSG, NULL },			/* a mark without its letter */
	{ SLICE_INIT("\xc3\xbc\0.example"), -EBADMSG, NULL },
	{ SLICE_INIT("\xc3\xbc" A50 U63 ".example"), -EBADMSG, NULL },		/* over 63 octets as an A-label */
};

static void test_to_ascii(void **state)
{
	struct arena *arena = arena_create(1 << 16, 0);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct slice out = { NULL, 0 };
		int result = smtp_domain_to_ascii(cases[i].in, arena, &out);

		if (result != cases[i].result || (result == 0 && !slice_is(out, cases[i].out)))
			fail_msg("case %zu: %d %.*s", i, result, SLICE_ARG(out));
	}
	arena_free(&arena);
}

/* Cut anywhere it is a name or none, and never the whole one's text. */
static void test_truncation(void **state)
{
	static const struct slice whole = SLICE_INIT("b\xc3\xbc" "cher.example");
	struct arena *arena = arena_create(1 << 16, 0);

	for (size_t n = 1; n < whole.len; n++) {
		uint8_t *exact = test_malloc(n);
		struct slice out = { NULL, 0 };

		memcpy(exact, whole.ptr, n);
		if (smtp_domain_to_ascii(slice_of(exact, n), arena, &out) == 0)
			assert_false(slice_is(out, "xn--bcher-kva.example"));
		test_free(exact);
	}
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_to_ascii),
		cmocka_unit_test(test_truncation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
