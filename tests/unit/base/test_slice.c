/* SPDX-License-Identifier: Apache-2.0 */
#include "base/attributes.h"
#include "base/slice.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_parse_u64(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		int result;
		uint64_t value;
	} cases[] = {
		{ "0", 10, 0, 0 },
		{ "10", 10, 0, 10 },
		{ "11", 10, -ERANGE, 0 },
		{ "0010", 10, 0, 10 },
		{ "18446744073709551615", UINT64_MAX, 0, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, -ERANGE, 0 },
		{ "99999999999999999999", UINT64_MAX, -ERANGE, 0 },
		{ "000000000000000000001", UINT64_MAX, -EINVAL, 0 },	/* 21 digits */
		{ "", 10, -EINVAL, 0 },
		{ "+1", 10, -EINVAL, 0 },
		{ "-1", 10, -EINVAL, 0 },
		{ " 1", 10, -EINVAL, 0 },
		{ "1 ", 10, -EINVAL, 0 },
		{ "0x1", 10, -EINVAL, 0 },
		{ "99999999999999999999x", UINT64_MAX, -EINVAL, 0 },
		{ "1a", 0, -EINVAL, 0 },	/* not digits wins over too large */
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint64_t out = 77;

		assert_int_equal(slice_parse_u64(slice_cstr(cases[i].text), cases[i].max, &out), cases[i].result);
		assert_int_equal(out, cases[i].result == 0 ? cases[i].value : 77);
	}
}

static void test_take_and_skip(void **state)
{
	struct slice s = SLICE("abc"), none = { NULL, 0 };

	assert_true(slice_is(slice_take(s, 2), "ab"));
	assert_true(slice_is(slice_take(s, 4), "abc"));
	assert_true(slice_is(slice_skip(s, 1), "bc"));
	assert_int_equal(slice_skip(s, 3).len, 0);
	assert_int_equal(slice_skip(s, SIZE_MAX).len, 0);
	assert_int_equal(slice_take(none, 1).len, 0);
	assert_int_equal(slice_skip(none, 1).len, 0);
}

static void test_compare(void **state)
{
	static const struct {
		const char *a, *b;
		bool equal, nocase, starts, starts_nocase, ends_nocase;
	} cases[] = {
		{ "", "", true, true, true, true, true },
		{ "a", "", false, false, true, true, true },
		{ "", "a", false, false, false, false, false },
		{ "MAIL", "mail", false, true, false, true, true },
		{ "MAIL FROM", "mail", false, false, false, true, false },
		{ "MAIL FROM", "MAIL", false, false, true, true, false },
		{ "example.COM", ".com", false, false, false, false, true },
		{ "mai", "mail", false, false, false, false, false },
		/* letters only: @ and `, [ and { differ in the same bit */
		{ "@[", "`{", false, false, false, false, false },
		{ "\xc3", "\xe3", false, false, false, false, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct slice a = slice_cstr(cases[i].a), b = slice_cstr(cases[i].b);

		assert_int_equal(slice_equal(a, b), cases[i].equal);
		assert_int_equal(slice_equal_nocase(a, b), cases[i].nocase);
		assert_int_equal(slice_starts_with(a, b), cases[i].starts);
		assert_int_equal(slice_starts_with_nocase(a, b), cases[i].starts_nocase);
		assert_int_equal(slice_ends_with_nocase(a, b), cases[i].ends_nocase);
	}
}

static void test_index_and_trim(void **state)
{
	struct slice none = { NULL, 0 };

	assert_int_equal(slice_index(SLICE("a:b:"), ':'), 1);
	assert_int_equal(slice_index(SLICE("ab"), ':'), 2);
	assert_int_equal(slice_index(SLICE("a\0b"), '\0'), 1);
	assert_int_equal(slice_index(none, ':'), 0);
	assert_true(slice_is(slice_trim_spaces(SLICE("  a b ")), "a b"));
	assert_true(slice_is(slice_trim_spaces(SLICE("\ta ")), "\ta"));
	assert_int_equal(slice_trim_spaces(SLICE("   ")).len, 0);
	assert_int_equal(slice_trim_spaces(none).len, 0);
}

static void test_to_cstr(void **state)
{
	char text[4] = "xyz";

	assert_int_equal(slice_to_cstr(SLICE("abcd"), text, sizeof(text)), -ENOSPC);
	assert_int_equal(slice_to_cstr(SLICE("a\0b"), text, sizeof(text)), -EINVAL);
	assert_int_equal(slice_to_cstr(SLICE("a"), text, 0), -ENOSPC);
	assert_string_equal(text, "xyz");
	assert_int_equal(slice_to_cstr(SLICE("abc"), text, sizeof(text)), 0);
	assert_string_equal(text, "abc");
	assert_int_equal(slice_to_cstr((struct slice){ NULL, 0 }, text, 1), 0);
	assert_string_equal(text, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_u64),	cmocka_unit_test(test_take_and_skip),
		cmocka_unit_test(test_compare),		cmocka_unit_test(test_index_and_trim),
		cmocka_unit_test(test_to_cstr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
