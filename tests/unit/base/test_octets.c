/* SPDX-License-Identifier: Apache-2.0 */
#include "base/octets.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void test_there_and_back(void **state)
{
	const struct ip_addr four = { AF_INET, { 192, 0, 2, 1 } }, six = { AF_INET6, { 0x20, 1, 0xd, 0xb8, [15] = 9 } };
	struct buffer out = BUFFER_INIT(256);
	struct octets_reader r;
	struct ip_addr ip;

	octets_put_number(&out, 0x8877665544332211, 8);
	octets_put_number(&out, 0xfedc, 2);
	octets_put_address(&out, &four);
	octets_put_address(&out, &six);
	assert_int_equal(out.len, 8 + 2 + 4 + 16);
	assert_int_equal(out.data[0], 0x11);
	for (size_t n = 0; n <= out.len; n++) {
		r = (struct octets_reader){ slice_take(buffer_slice(&out), n), false };
		assert_int_equal(octets_number(&r, 8), n >= 8 ? 0x8877665544332211 : 0);
		assert_int_equal(octets_number(&r, 2), n >= 10 ? 0xfedc : 0);
		octets_address(&r, AF_INET, &ip);
		assert_int_equal(ip_equal(&ip, &four), n >= 14);
		octets_address(&r, AF_INET6, &ip);
		assert_int_equal(ip_equal(&ip, &six), n >= 30);
		assert_int_equal(r.bad, n < out.len);
		assert_int_equal(octets_take(&r, 0).len, 0);
		assert_int_equal(r.bad, n < out.len);
		assert_int_equal(octets_number(&r, 1), 0);	/* and what was too much once is so for ever */
		assert_true(r.bad);
	}
	buffer_release(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
