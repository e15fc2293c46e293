/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of this folder share: virtual time, descriptors counted, cancel at every wait. */
#ifndef TESTS_UNIT_IO_IO_TEST_H
#define TESTS_UNIT_IO_IO_TEST_H

#include "io/co.h"
#include "io/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct virtual_clock {
	struct clock clock;
	int64_t now;
	unsigned advances;
};

void virtual_clock_init(struct virtual_clock *v);

unsigned open_descriptors(void);
void set_nonblocking(int fd);

/*
 * Run fn(arg) as a coroutine of a fresh loop on virtual time, again and again: the first time
 * undisturbed, then canceled at its first wait, at its second, ... until it ends before that. Each
 * time prepare(arg, loop) comes first and check(arg, canceled) last; no coroutine, buffer or descriptor
 * may be left. The waits of other coroutines that fn starts count too; each is canceled at its own.
 * Returns the number of waits.
 */
unsigned cancel_at_every_wait(void (*prepare)(void *arg, struct loop *), co_fn fn, void (*check)(void *arg, bool canceled),
			      void *arg);

#endif
