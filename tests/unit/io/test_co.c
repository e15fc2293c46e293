/* SPDX-License-Identifier: Apache-2.0 */
#include "io_test.h"

#include <errno.h>
#include <fenv.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

static struct virtual_clock clock_;
static struct loop *loop;

static int setup(void **state)
{
	virtual_clock_init(&clock_);
	loop = loop_create(&clock_.clock);
	return loop == NULL;
}

static int teardown(void **state)
{
	assert_int_equal(loop_coroutines(loop), 0);
	loop_free(&loop);
	return 0;
}

/* Registers: many live values across switches, of both kinds. */

struct busy {
	unsigned seed, rounds;
	bool ok;
};

static void busy_run(void *arg)
{
	struct busy *b = arg;
	volatile unsigned seed = b->seed;
	unsigned long a = seed, c = a * 3, d = a * 5, e = a * 7, f = a * 11, g = a * 13, h = a * 17;
	double x = seed, y = x / 3, z = x / 7;
	int err = 0;

	for (unsigned i = 0; i < b->rounds && err == 0; i++) {
		err = co_yield();
		a += i, c += i, d += i, e += i, f += i, g += i, h += i;
		x += 0.5, y += 0.5, z += 0.5;
	}
	unsigned long s = (unsigned long)b->rounds * (b->rounds - 1) / 2;
	unsigned long n = b->seed;
	double half = 0.5 * b->rounds;
	b->ok = err == 0 && a == n + s && c == n * 3 + s && d == n * 5 + s && e == n * 7 + s && f == n * 11 + s &&
		g == n * 13 + s && h == n * 17 + s && x == n + half && y - ((double)n / 3 + half) < 1e-6 &&
		(double)n / 7 + half - z < 1e-6;
}

static void switches_keep_registers(void **state)
{
	enum { N = 3000 };
	struct busy *all = calloc(N, sizeof(*all));

	for (unsigned i = 0; i < N; i++) {
		all[i] = (struct busy){ .seed = i + 1, .rounds = 20 + i % 13 };
		assert_non_null(co_spawn(loop, busy_run, &all[i]));
	}
	assert_int_equal(loop_coroutines(loop), N);
	loop_run(loop);
	for (unsigned i = 0; i < N; i++)
		assert_true(all[i].ok);
	free(all);
}

/* Each coroutine has its rounding mode. */
static void rounding_run(void *arg)
{
	int *mode = arg, wanted = *mode;

	*mode = -1;
	assert_int_equal(fesetround(wanted), 0);
	for (int i = 0; i < 50; i++) {
		assert_int_equal(co_yield(), 0);
		assert_int_equal(fegetround(), wanted);
	}
	*mode = wanted;
	fesetround(FE_TONEAREST);
}

static void switches_keep_the_rounding_mode(void **state)
{
	int modes[] = { FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO, FE_TONEAREST };
	int before[] = { FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO, FE_TONEAREST };

	for (int i = 0; i < 4; i++)
		assert_non_null(co_spawn(loop, rounding_run, &modes[i]));
	loop_run(loop);
	assert_memory_equal(modes, before, sizeof(modes));
	assert_int_equal(fegetround(), FE_TONEAREST);
}

/* Deep stacks: recurse and wait at each level. */
static unsigned dig(unsigned depth)
{
	volatile char room[500];
	unsigned below = 0;

	memset((char *)room, (int)depth, sizeof(room));
	if (depth % 10 == 0)
		assert_int_equal(co_yield(), 0);
	if (depth > 0)
		below = dig(depth - 1);
	for (size_t i = 0; i < sizeof(room); i++)
		assert_int_equal((unsigned char)room[i], (unsigned char)depth);
	return below + 1;
}

static void dig_run(void *arg)
{
	*(unsigned *)arg = dig(100);
}

static void stacks_are_deep(void **state)
{
	unsigned depth[200] = { 0 };

	for (unsigned i = 0; i < 200; i++)
		assert_non_null(co_spawn(loop, dig_run, &depth[i]));
	loop_run(loop);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(depth[i], 101);
}

/* Overflow. */

__attribute__((noinline)) static unsigned overflow(volatile char *up, unsigned depth)
{
	volatile char room[900];

	memset((char *)room, (int)depth & 63, sizeof(room));
	if (depth == 0 || up[0] == 77)
		return 0;
	return overflow(room, depth - 1) + (unsigned)room[depth % sizeof(room)];
}

static void overflow_run(void *arg)
{
	volatile char start = 0;

	*(unsigned *)arg = overflow(&start, 70);	/* fits */
	*(unsigned *)arg += overflow(&start, 100000);
}

static void overflow_hits_the_guard(void **state)
{
	int fd[2], status;
	char text[200] = "";
	pid_t pid;

	assert_int_equal(pipe(fd), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct rlimit none = { 0, 0 };
		unsigned sum = 0;

		setrlimit(RLIMIT_CORE, &none);
		dup2(fd[1], STDERR_FILENO);
		signal(SIGSEGV, SIG_DFL);	/* not a sanitizer's */
		if (co_report_overflow() < 0 || co_spawn(loop, overflow_run, &sum) == NULL)
			_exit(9);
		loop_run(loop);
		_exit(8);
	}
	close(fd[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(read(fd[0], text, sizeof(text) - 1) > 0);
	close(fd[0]);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
	assert_non_null(strstr(text, "session stack overflowed"));
}

/* Another fault is not called an overflow. */
static void other_faults_are_not_overflows(void **state)
{
	int fd[2], status;
	char text[200] = "";
	pid_t pid;

	assert_int_equal(pipe(fd), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct rlimit none = { 0, 0 };

		setrlimit(RLIMIT_CORE, &none);
		dup2(fd[1], STDERR_FILENO);
		signal(SIGSEGV, SIG_DFL);
		if (co_report_overflow() < 0)
			_exit(9);
		raise(SIGSEGV);
		raise(SIGSEGV);
		_exit(8);
	}
	close(fd[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(read(fd[0], text, sizeof(text) - 1), 0);
	close(fd[0]);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSEGV);
}

/* Wake and wait. */

struct waiter {
	struct co *co;
	deadline_t deadline;
	int result[4];
	int n;
};

static void wait_run(void *arg)
{
	struct waiter *w = arg;
	int n = w->n;

	for (w->n = 0; w->n < n; w->n++)
		w->result[w->n] = co_wait(w->deadline);
}

static void a_wake_before_the_wait_counts(void **state)
{
	struct waiter w = { .deadline = 1500, .n = 2 };

	w.co = co_spawn(loop, wait_run, &w);
	co_wake(w.co);
	co_wake(w.co);		/* twice is once */
	loop_run(loop);
	assert_int_equal(w.result[0], 0);
	assert_int_equal(w.result[1], -ETIMEDOUT);
	assert_int_equal(loop_now(loop), 1500);
}

static void a_wake_ends_the_wait(void **state)
{
	struct waiter w = { .deadline = DEADLINE_NEVER, .n = 2 };

	w.co = co_spawn(loop, wait_run, &w);
	loop_turn(loop, 0);
	co_wake(w.co);
	co_wake(w.co);
	loop_turn(loop, 0);
	assert_int_equal(w.n, 1);
	co_wake(w.co);
	loop_turn(loop, 0);
	assert_int_equal(w.n, 2);
	assert_int_equal(w.result[0] | w.result[1], 0);
}

static void a_past_deadline_does_not_wait(void **state)
{
	struct waiter w = { .deadline = 1000, .n = 4 };

	w.co = co_spawn(loop, wait_run, &w);
	loop_turn(loop, 0);
	assert_int_equal(w.n, 4);
	assert_int_equal(w.result[3], -ETIMEDOUT);
}

/* The timer of an earlier, shorter wait must not end a later, longer one, nor the reverse. */
static void lazy_run(void *arg)
{
	struct waiter *w = arg;

	assert_int_equal(co_wait(1100), 0);
	assert_int_equal(co_wait(1300), -ETIMEDOUT);
	assert_int_equal(co_now(), 1300);
	assert_int_equal(co_wait(9000), 0);
	assert_int_equal(co_wait(1400), -ETIMEDOUT);
	assert_int_equal(co_now(), 1400);
	assert_int_equal(co_wait(1500), 0);
	assert_int_equal(co_wait(DEADLINE_NEVER), 0);
	assert_int_equal(co_now(), 2000);
	w->n = 7;
}

struct waker {
	struct waiter *w;
	deadline_t at[5];
};

static void waker_run(void *arg)
{
	struct waker *k = arg;

	for (int i = 0; k->at[i] != 0; i++) {
		assert_int_equal(co_sleep(k->at[i]), 0);
		co_wake(k->w->co);
	}
}

static void timers_of_earlier_waits_do_no_harm(void **state)
{
	struct waiter w = { 0 };
	struct waker k = { &w, { 1050, 1310, 1450, 2000 } };

	w.co = co_spawn(loop, lazy_run, &w);
	co_spawn(loop, waker_run, &k);
	loop_run(loop);
	assert_int_equal(w.n, 7);
}

static void sleep_run(void *arg)
{
	struct waiter *w = arg;

	w->result[0] = co_sleep(1200);
	assert_int_equal(co_now(), 1200);
	w->result[1] = co_wait(1300);	/* the wake that came while it slept */
	w->result[2] = co_wait(1300);
}

static void sleeping_keeps_a_wake_for_later(void **state)
{
	struct waiter w = { 0 };
	struct waker k = { &w, { 1100 } };

	w.co = co_spawn(loop, sleep_run, &w);
	co_spawn(loop, waker_run, &k);
	loop_run(loop);
	assert_int_equal(w.result[0], 0);
	assert_int_equal(w.result[1], 0);
	assert_int_equal(w.result[2], -ETIMEDOUT);
}

/* Cancel, shield. */

static void cancel_run(void *arg)
{
	struct waiter *w = arg;

	w->result[0] = co_wait(DEADLINE_NEVER);
	assert_int_equal(co_sleep(5000), -ECANCELED);
	assert_int_equal(co_yield(), -ECANCELED);
	assert_true(co_canceled());
	co_shield_begin();
	co_shield_begin();
	assert_false(co_canceled());
	w->result[1] = co_wait(1700);
	co_shield_end();
	w->result[2] = co_sleep(1800);
	co_shield_end();
	w->result[3] = co_wait(1900);
	assert_int_equal(co_now(), 1800);
	w->n = 1;
}

static void cancel_ends_this_and_later_waits(void **state)
{
	struct waiter w = { 0 };

	w.co = co_spawn(loop, cancel_run, &w);
	loop_turn(loop, 0);
	co_cancel(w.co);
	loop_run(loop);
	assert_int_equal(w.n, 1);
	assert_int_equal(w.result[0], -ECANCELED);
	assert_int_equal(w.result[1], -ETIMEDOUT);
	assert_int_equal(w.result[2], 0);
	assert_int_equal(w.result[3], -ECANCELED);
}

static void cancel_before_the_first_run(void **state)
{
	struct waiter w = { .n = 1, .deadline = DEADLINE_NEVER };

	w.co = co_spawn(loop, wait_run, &w);
	co_cancel(w.co);
	loop_run(loop);
	assert_int_equal(w.result[0], -ECANCELED);
}

/* Join. */

struct family {
	struct co *child;
	deadline_t child_until;
	int child_result;
	bool joined;
};

static void child_run(void *arg)
{
	struct family *f = arg;

	f->child_result = co_sleep(f->child_until);
}

static void parent_run(void *arg)
{
	struct family *f = arg;

	f->child = co_spawn_joined(loop, child_run, f);
	assert_non_null(f->child);
	if (f->child_until == 1)		/* the child is over before the parent asks */
		assert_int_equal(co_sleep(1100), 0);
	co_join(&f->child);
	assert_null(f->child);
	f->joined = true;
}

static void join_waits_for_the_end(void **state)
{
	struct family f[] = { { .child_until = 1300 }, { .child_until = 1 } };

	for (int i = 0; i < 2; i++) {
		f[i].child_result = 1;
		co_spawn(loop, parent_run, &f[i]);
		loop_run(loop);
		assert_true(f[i].joined);
		assert_int_equal(f[i].child_result, 0);
	}
}

static void cancel_of_a_joining_parent_reaches_the_child(void **state)
{
	struct family f = { .child_until = DEADLINE_NEVER };
	struct co *parent = co_spawn(loop, parent_run, &f);

	loop_turn(loop, 0);
	loop_turn(loop, 0);
	co_cancel(parent);
	loop_run(loop);
	assert_true(f.joined);
	assert_int_equal(f.child_result, -ECANCELED);
}

/* co_leaf. */

struct leaf {
	char *low, *high;	/* of the coroutine's stack, about */
	unsigned calls;
};

static void leaf_fn(void *arg)
{
	struct leaf *l = arg;
	char here;

	assert_false(&here > l->low - CO_STACK_SIZE && &here < l->low + CO_STACK_SIZE);
	assert_null(co_current());
	l->calls++;
	if (l->calls == 2)
		co_leaf(leaf_fn, l);
}

static void leaf_run(void *arg)
{
	struct leaf *l = arg;
	char here;
	struct co *self = co_current();

	l->low = &here;
	co_leaf(leaf_fn, l);
	co_leaf(leaf_fn, l);
	assert_ptr_equal(co_current(), self);
}

static void leaf_runs_on_the_main_stack(void **state)
{
	struct leaf l = { 0 };

	co_spawn(loop, leaf_run, &l);
	loop_run(loop);
	assert_int_equal(l.calls, 3);
}

/* Fairness: one that only yields does not keep others from running. */
static void yield_run(void *arg)
{
	unsigned *turns = arg;

	for (unsigned i = 0; i < 100; i++) {
		if (co_yield() == 0)
			turns[i]++;
	}
}

static void yielding_takes_turns(void **state)
{
	unsigned turns[100] = { 0 };

	for (int i = 0; i < 3; i++)
		co_spawn(loop, yield_run, turns);
	loop_turn(loop, 0);
	for (unsigned i = 0; i < 100; i++) {
		loop_turn(loop, 0);
		assert_int_equal(turns[i], 3);
	}
}

static void near_run(void *arg)
{
	void *gone = calloc(1, 200);

	co_keep_near(0, gone, 200);
	co_keep_near(1, (void *)~(uintptr_t)100, 300);	/* wraps around */
	free(gone);
	yield_run(arg);
	co_keep_near(0, NULL, 0);
	yield_run(arg);
}

static void what_is_near_may_be_gone(void **state)
{
	unsigned turns[100] = { 0 };

	for (int i = 0; i < 3; i++)
		co_spawn(loop, near_run, turns);
	loop_run(loop);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(turns[i], 6);
}

/* Memory falls after a peak. */
static unsigned long resident_kib(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	char line[200];
	unsigned long kib = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL) {
		if (sscanf(line, "Anonymous: %lu", &kib) == 1)
			break;
	}
	fclose(f);
	return kib;
}

static void touch_run(void *arg)
{
	dig(60);
	assert_int_equal(co_sleep(2000), 0);
}

static void memory_falls_after_a_peak(void **state)
{
	unsigned long before = resident_kib(), peak;

	if (RUNNING_ON_VALGRIND)
		return;		/* what it notes about each page stays */
	for (int i = 0; i < 1000; i++)
		co_spawn(loop, touch_run, NULL);
	for (int i = 0; i < 20; i++)
		loop_turn(loop, 0);
	peak = resident_kib();
	assert_true(peak > before + 1000 * 24);
	loop_run(loop);
	assert_true(resident_kib() < before + (peak - before) / 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(switches_keep_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(switches_keep_the_rounding_mode, setup, teardown),
		cmocka_unit_test_setup_teardown(stacks_are_deep, setup, teardown),
		cmocka_unit_test_setup_teardown(overflow_hits_the_guard, setup, teardown),
		cmocka_unit_test_setup_teardown(other_faults_are_not_overflows, setup, teardown),
		cmocka_unit_test_setup_teardown(a_wake_before_the_wait_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(a_wake_ends_the_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(a_past_deadline_does_not_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(timers_of_earlier_waits_do_no_harm, setup, teardown),
		cmocka_unit_test_setup_teardown(sleeping_keeps_a_wake_for_later, setup, teardown),
		cmocka_unit_test_setup_teardown(cancel_ends_this_and_later_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(cancel_before_the_first_run, setup, teardown),
		cmocka_unit_test_setup_teardown(join_waits_for_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(cancel_of_a_joining_parent_reaches_the_child, setup, teardown),
		cmocka_unit_test_setup_teardown(leaf_runs_on_the_main_stack, setup, teardown),
		cmocka_unit_test_setup_teardown(yielding_takes_turns, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_near_may_be_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(memory_falls_after_a_peak, setup, teardown),
	};

	return cmocka_run_group_tests_name("io: coroutines", tests, NULL, NULL);
}
