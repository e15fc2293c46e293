/* SPDX-License-Identifier: Apache-2.0 */
#include "server/pace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void test_pauses_grow_with_what_it_costs(void **state)
{
	struct pace p = { .pause_ms = 500, .times = 4 };

	assert_int_equal(pace_wait(&p, 1), 0);
	pace_begin(&p, 1000);
	pace_end(&p, 1010);
	assert_int_equal(pace_wait(&p, 1010), 500);
	assert_int_equal(pace_wait(&p, 1509), 1);
	assert_int_equal(pace_wait(&p, 1510), 0);
	assert_int_equal(pace_wait(&p, 99999), 0);
	pace_begin(&p, 2000);
	pace_end(&p, 5000);
	assert_int_equal(pace_wait(&p, 5000), 12000);
	pace_begin(&p, 17000);
	pace_end(&p, 17000);
	assert_int_equal(pace_wait(&p, 17000), 500);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pauses_grow_with_what_it_costs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
