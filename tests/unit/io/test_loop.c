/* SPDX-License-Identifier: Apache-2.0 */
#include "io_test.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct virtual_clock clock_;
static struct loop *loop;

static int setup(void **state)
{
	virtual_clock_init(&clock_);
	loop = loop_create(&clock_.clock);
	return loop == NULL;
}

static int setup_real(void **state)
{
	loop = loop_create(&clock_system);
	return loop == NULL;
}

static int teardown(void **state)
{
	loop_free(&loop);
	return 0;
}

struct bell {
	struct loop_timer timer;
	int64_t at, rung;
	struct bell *clears, *sets;
};

static int64_t last_rung;
static unsigned n_rung;

static void ring(struct loop_timer *timer)
{
	struct bell *b = (struct bell *)timer;

	assert_true(b->at <= loop_now(loop));
	assert_true(b->at >= last_rung);
	assert_int_equal(b->rung, 0);
	last_rung = b->at;
	b->rung = loop_now(loop);
	n_rung++;
	if (b->clears != NULL)
		loop_timer_clear(loop, &b->clears->timer);
	if (b->sets != NULL)
		assert_int_equal(loop_timer_set(loop, &b->sets->timer, b->sets->at), 0);
}

static void timers_come_in_order(void **state)
{
	enum { N = 2000 };
	struct bell *bells = calloc(N, sizeof(*bells));
	unsigned seed = 7;

	last_rung = n_rung = 0;
	for (unsigned i = 0; i < N; i++) {
		bells[i].timer.on_expire = ring;
		bells[i].at = 1000 + rand_r(&seed) % 5000;
		assert_int_equal(loop_timer_set(loop, &bells[i].timer, bells[i].at), 0);
	}
	for (unsigned i = 0; i < N; i += 3) {		/* move a third, clear some */
		bells[i].at = 3000 + rand_r(&seed) % 100;
		assert_int_equal(loop_timer_set(loop, &bells[i].timer, bells[i].at), 0);
	}
	for (unsigned i = 1; i < N; i += 10) {
		loop_timer_clear(loop, &bells[i].timer);
		loop_timer_clear(loop, &bells[i].timer);
	}
	loop_run(loop);
	for (unsigned i = 0; i < N; i++)
		assert_int_equal(bells[i].rung, i % 10 == 1 && i % 3 != 0 ? 0 : i % 10 == 1 ? 0 : bells[i].at);
	assert_int_equal(n_rung, N - N / 10);
	free(bells);
}

static void timers_may_change_timers(void **state)
{
	struct bell b[4] = { 0 };

	last_rung = n_rung = 0;
	for (int i = 0; i < 4; i++) {
		b[i].timer.on_expire = ring;
		b[i].at = 1100 + 10 * i;
	}
	b[0].clears = &b[1];		/* both due at the same turn */
	b[0].sets = &b[3];
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_timer_set(loop, &b[i].timer, b[i].at), 0);
	clock_.now = 1200;
	loop_turn(loop, 0);
	assert_int_equal(n_rung, 3);
	assert_int_equal(b[1].rung, 0);
	assert_int_equal(b[3].rung, 1200);
}

static void virtual_time_stops_at_the_limit(void **state)
{
	struct bell b = { .timer.on_expire = ring, .at = 5000 };

	last_rung = n_rung = 0;
	assert_int_equal(loop_timer_set(loop, &b.timer, b.at), 0);
	loop_turn(loop, 100);
	assert_int_equal(loop_now(loop), 1100);
	assert_int_equal(n_rung, 0);
	loop_turn(loop, 3900);
	assert_int_equal(n_rung, 1);
	assert_int_equal(loop_wall_ms(loop), 1700000000000 + 5000);
}

static void real_time_is_waited_for(void **state)
{
	struct bell b = { .timer.on_expire = ring };

	last_rung = n_rung = 0;
	b.at = loop_now(loop) + 30;
	assert_int_equal(loop_timer_set(loop, &b.timer, b.at), 0);
	loop_run(loop);
	assert_true(b.rung >= b.at && b.rung < b.at + 5000);
}

/* Watches. */

struct sight {
	struct loop_watch watch;
	unsigned calls;
	struct sight *removes;
};

static void seen(struct loop_watch *watch)
{
	struct sight *s = (struct sight *)watch;

	s->calls++;
	if (s->removes != NULL)
		loop_watch_remove(loop, &s->removes->watch);
}

static void readiness_is_remembered(void **state)
{
	struct loop_watch w = { 0 };
	char c;
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	w.fd = fd[0];
	assert_int_equal(loop_watch_add(loop, &w), 0);
	assert_int_equal(loop_watch_add(loop, &w), -EEXIST);
	loop_turn(loop, 0);
	assert_int_equal(w.ready, LOOP_WRITE);
	assert_int_equal(write(fd[1], "ab", 2), 2);
	loop_turn(loop, 0);
	assert_int_equal(w.ready, LOOP_READ | LOOP_WRITE);
	w.ready = 0;
	loop_turn(loop, 0);
	assert_int_equal(w.ready, 0);		/* an edge comes once */
	assert_int_equal(read(fd[0], &c, 1), 1);
	assert_int_equal(shutdown(fd[1], SHUT_WR), 0);
	loop_turn(loop, 0);
	assert_int_equal(w.ready, LOOP_READ | LOOP_WRITE | LOOP_HUP);
	assert_int_equal(shutdown(fd[0], SHUT_WR), 0);
	loop_turn(loop, 0);
	assert_int_equal(w.ready, LOOP_READ | LOOP_WRITE | LOOP_HUP | LOOP_GONE);
	loop_watch_remove(loop, &w);
	loop_watch_remove(loop, &w);
	close(fd[0]);
	close(fd[1]);
}

static void a_removed_watch_gets_no_call(void **state)
{
	struct sight s[2] = { { .watch.on_ready = seen }, { .watch.on_ready = seen } };
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	for (int i = 0; i < 2; i++) {
		s[i].watch.fd = fd[i];
		s[i].removes = &s[1 - i];
		assert_int_equal(loop_watch_add(loop, &s[i].watch), 0);
	}
	loop_turn(loop, 0);
	assert_int_equal(s[0].calls + s[1].calls, 1);
	for (int i = 0; i < 2; i++) {
		loop_watch_remove(loop, &s[i].watch);
		close(fd[i]);
	}
}

static void wait_run(void *arg)
{
	struct loop_watch *w = arg;

	w->waiter = co_current();
	while ((w->ready & LOOP_READ) == 0)
		assert_int_equal(co_wait(DEADLINE_NEVER), 0);
	w->waiter = NULL;
	loop_watch_remove(loop, w);
}

static void the_waiter_is_woken(void **state)
{
	struct loop_watch w = { 0 };
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	w.fd = fd[0];
	assert_int_equal(loop_watch_add(loop, &w), 0);
	assert_non_null(co_spawn(loop, wait_run, &w));
	loop_run(loop);				/* virtual time: nobody else will write */
	assert_int_equal(loop_coroutines(loop), 1);
	assert_int_equal(write(fd[1], "x", 1), 1);
	loop_run(loop);
	assert_int_equal(loop_coroutines(loop), 0);
	close(fd[0]);
	close(fd[1]);
}

static void stop_run(void *arg)
{
	loop_stop(loop);
	assert_int_equal(co_sleep(2000), 0);
	*(bool *)arg = true;
}

static void stop_ends_the_run(void **state)
{
	bool ended = false;

	co_spawn(loop, stop_run, &ended);
	loop_run(loop);
	assert_false(ended);
	loop_run(loop);
	assert_true(ended);
}

static void nothing_to_do_returns(void **state)
{
	loop_run(loop);
}

static void watches_may_fail(void **state)
{
	struct loop_watch w = { .fd = -1 };

	assert_int_equal(loop_watch_add(loop, &w), -EBADF);
	loop_watch_remove(loop, &w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(timers_come_in_order, setup, teardown),
		cmocka_unit_test_setup_teardown(timers_may_change_timers, setup, teardown),
		cmocka_unit_test_setup_teardown(virtual_time_stops_at_the_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(real_time_is_waited_for, setup_real, teardown),
		cmocka_unit_test_setup_teardown(readiness_is_remembered, setup, teardown),
		cmocka_unit_test_setup_teardown(a_removed_watch_gets_no_call, setup, teardown),
		cmocka_unit_test_setup_teardown(the_waiter_is_woken, setup, teardown),
		cmocka_unit_test_setup_teardown(stop_ends_the_run, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_to_do_returns, setup_real, teardown),
		cmocka_unit_test_setup_teardown(watches_may_fail, setup, teardown),
	};

	return cmocka_run_group_tests_name("io: loop", tests, NULL, NULL);
}
