/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time. Deadlines are points on the monotonic clock, so that a sequence of waits shares one
 * limit. The clock is a port: tests and fuzzers run sessions on virtual time.
 */
#ifndef SALLYPORT_BASE_CLOCK_H
#define SALLYPORT_BASE_CLOCK_H

#include <stdint.h>

typedef int64_t deadline_t;			/* monotonic milliseconds */
#define DEADLINE_NEVER INT64_MAX		/* only where a second limit surrounds the wait */

struct clock {
	int64_t (*monotonic_ms)(struct clock *);
	int64_t (*wall_ms)(struct clock *);	/* milliseconds since 1970-01-01T00:00:00Z */
	/* Virtual time only, else NULL: an event loop on this clock never sleeps; when nothing can
	 * run and no descriptor is ready it moves the clock to the next timer. */
	void (*advance)(struct clock *, int64_t to_monotonic_ms);
};

extern struct clock clock_system;

#endif
