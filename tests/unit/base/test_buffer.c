/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_append_up_to_the_ceiling(void **state)
{
	struct buffer b = BUFFER_INIT(1000);

	for (int i = 0; i < 100; i++)
		buffer_append(&b, SLICE("0123456789"));
	assert_false(b.broken);
	assert_int_equal(b.len, 1000);
	assert_true(b.size <= 1001);
	assert_memory_equal(b.data + 990, "0123456789", 10);
	buffer_append(&b, SLICE(""));
	assert_false(b.broken);
	buffer_append_octet(&b, 'x');
	assert_true(b.broken);
	assert_int_equal(b.len, 1000);
	buffer_clear(&b);
	assert_false(b.broken);
	assert_int_equal(b.len, 0);
	buffer_release(&b);
	assert_null(b.data);
}

static void test_broken_stays_broken(void **state)
{
	struct buffer b = BUFFER_INIT(5);

	buffer_append(&b, SLICE("abc"));
	buffer_append(&b, SLICE("def"));
	assert_true(b.broken);
	buffer_append(&b, SLICE("d"));	/* would fit, but would leave a gap in what was meant */
	buffer_printf(&b, "%d", 1);
	assert_true(slice_is(buffer_slice(&b), "abc"));
	buffer_release(&b);
}

static void test_printf(void **state)
{
	struct buffer b = BUFFER_INIT(300);

	buffer_printf(&b, "%s-%d", "a", 7);
	assert_true(slice_is(buffer_slice(&b), "a-7"));
	buffer_printf(&b, "%297s", "");
	assert_false(b.broken);
	assert_int_equal(b.len, 300);
	buffer_printf(&b, "%s", "");
	assert_false(b.broken);
	buffer_printf(&b, "%s", "x");
	assert_true(b.broken);
	assert_int_equal(b.len, 300);
	buffer_release(&b);
}

static void test_consume(void **state)
{
	struct buffer b = BUFFER_INIT(10);

	buffer_append(&b, SLICE("abcdef"));
	buffer_consume(&b, 0);
	buffer_consume(&b, 2);
	assert_true(slice_is(buffer_slice(&b), "cdef"));
	buffer_consume(&b, 5);
	assert_int_equal(b.len, 0);
	buffer_append(&b, SLICE("0123456789"));
	assert_false(b.broken);
	buffer_release(&b);
}

static void test_no_ceiling_means_nothing_fits(void **state)
{
	struct buffer b = { 0 };

	buffer_append(&b, SLICE(""));
	assert_false(b.broken);
	buffer_append_octet(&b, 'a');
	assert_true(b.broken);
	buffer_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append_up_to_the_ceiling), cmocka_unit_test(test_broken_stays_broken),
		cmocka_unit_test(test_printf), cmocka_unit_test(test_consume),
		cmocka_unit_test(test_no_ceiling_means_nothing_fits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
