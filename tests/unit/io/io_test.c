/* SPDX-License-Identifier: Apache-2.0 */
#include "io_test.h"


#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>

static int64_t virtual_now(struct clock *clock)
{
	return ((struct virtual_clock *)clock)->now;
}

static int64_t virtual_wall(struct clock *clock)
{
	return 1700000000000 + virtual_now(clock);
}

static void virtual_advance(struct clock *clock, int64_t to)
{
	struct virtual_clock *v = (struct virtual_clock *)clock;

	assert_true(to > v->now);
	v->now = to;
	v->advances++;
}

void virtual_clock_init(struct virtual_clock *v)
{
	*v = (struct virtual_clock){ .clock = { virtual_now, virtual_wall, virtual_advance }, .now = 1000 };
}

unsigned open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir) != NULL)
		n++;
	closedir(dir);
	return n;
}

void set_nonblocking(int fd)
{
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
}

struct torture {
	unsigned waits, cancel_at;
	bool canceled;
};

static void on_wait(void *arg, struct co *co)
{
	struct torture *t = arg;

	if (++t->waits != t->cancel_at)
		return;
	t->canceled = true;
	co_cancel(co);
}

unsigned cancel_at_every_wait(void (*prepare)(void *arg, struct loop *), co_fn fn, void (*check)(void *arg, bool canceled),
			      void *arg)
{
	unsigned before = open_descriptors();
	struct torture t;
	unsigned n = 0;

	do {
		struct virtual_clock v;
		struct loop *loop;

		virtual_clock_init(&v);
		loop = loop_create(&v.clock);
		assert_non_null(loop);
		t = (struct torture){ .cancel_at = n++ };
		loop_on_wait(loop, on_wait, &t);
		prepare(arg, loop);
		assert_non_null(co_spawn(loop, fn, arg));
		loop_run(loop);
		assert_int_equal(loop_coroutines(loop), 0);
		check(arg, t.canceled);
		loop_free(&loop);
		assert_int_equal(open_descriptors(), before);
	} while (n == 1 || t.canceled);
	return t.waits;
}
