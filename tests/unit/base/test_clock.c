/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <time.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_system_clock(void **state)
{
	int64_t before = clock_system.monotonic_ms(&clock_system);
	int64_t wall_s = (int64_t)time(NULL);
	int64_t wall_ms = clock_system.wall_ms(&clock_system);

	nanosleep(&(struct timespec){ .tv_nsec = 3000000 }, NULL);
	assert_true(clock_system.monotonic_ms(&clock_system) >= before + 2);
	assert_true(wall_ms / 1000 >= wall_s - 1);
	assert_true(wall_ms / 1000 <= wall_s + 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_system_clock) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
