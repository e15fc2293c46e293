/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include <time.h>

static int64_t read_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);		/* can't fail for these clocks */
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static int64_t system_monotonic_ms(struct clock *clock)
{
	return read_ms(CLOCK_MONOTONIC);
}

static int64_t system_wall_ms(struct clock *clock)
{
	return read_ms(CLOCK_REALTIME);
}

struct clock clock_system = { .monotonic_ms = system_monotonic_ms, .wall_ms = system_wall_ms };
