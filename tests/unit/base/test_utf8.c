/* SPDX-License-Identifier: Apache-2.0 */
/* UTF-8: shortest forms, no surrogates, nothing cut. */
#include "base/attributes.h"
#include "base/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static const struct {
	struct slice text;
	size_t octets;			/* 0: malformed */
	uint32_t character;
} cases[] = {
	{ SLICE_INIT("a"), 1, 'a' },
	{ SLICE_INIT("\0"), 1, 0 },
	{ SLICE_INIT("\x7f"), 1, 0x7f },
	{ SLICE_INIT("\xc2\x80"), 2, 0x80 },
	{ SLICE_INIT("\xdf\xbf"), 2, 0x7ff },
	{ SLICE_INIT("\xe0\xa0\x80"), 3, 0x800 },
	{ SLICE_INIT("\xed\x9f\xbf"), 3, 0xd7ff },
	{ SLICE_INIT("\xee\x80\x80"), 3, 0xe000 },
	{ SLICE_INIT("\xef\xbf\xbf"), 3, 0xffff },
	{ SLICE_INIT("\xf0\x90\x80\x80"), 4, 0x10000 },
	{ SLICE_INIT("\xf4\x8f\xbf\xbf"), 4, 0x10ffff },
	{ SLICE_INIT(""), 0, 0 },
	{ SLICE_INIT("\x80"), 0, 0 },
	{ SLICE_INIT("\xbf"), 0, 0 },
	{ SLICE_INIT("\xc0\x80"), 0, 0 },
	{ SLICE_INIT("\xc1\xbf"), 0, 0 },
	{ SLICE_INIT("\xe0\x9f\xbf"), 0, 0 },
	{ SLICE_INIT("\xed\xa0\x80"), 0, 0 },
	{ SLICE_INIT("\xed\xbf\xbf"), 0, 0 },
	{ SLICE_INIT("\xf0\x8f\xbf\xbf"), 0, 0 },
	{ SLICE_INIT("\xf4\x90\x80\x80"), 0, 0 },
	{ SLICE_INIT("\xf5\x80\x80\x80"), 0, 0 },
	{ SLICE_INIT("\xff"), 0, 0 },
	{ SLICE_INIT("\xc3" "a"), 0, 0 },
	{ SLICE_INIT("\xe2\x82" "a"), 0, 0 },
};

static void test_decode(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint32_t c = 0;

		assert_int_equal(utf8_decode(cases[i].text, &c), cases[i].octets);
		assert_int_equal(c, cases[i].character);
		assert_int_equal(utf8_is_valid(cases[i].text), cases[i].octets > 0 || cases[i].text.len == 0);
	}
}

static void test_truncation(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (size_t n = 1; n < cases[i].octets; n++) {
			uint8_t *exact = test_malloc(n);

			memcpy(exact, cases[i].text.ptr, n);
			assert_false(utf8_is_valid(slice_of(exact, n)));
			test_free(exact);
		}
	assert_true(utf8_is_valid(SLICE("gr\xc3\xbc\xc3\x9f" "e \xf0\x9f\x93\xa7")));
	assert_false(utf8_is_valid(SLICE("gr\xc3\xbc\xc3")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decode),
		cmocka_unit_test(test_truncation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
