/* SPDX-License-Identifier: Apache-2.0 */
/* How many lines a flood of refused connections leaves, and that each is logged or counted. */
#include "session/refusals.h"
#include "base/log.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static int64_t now_ms;
static int log_fds[2];

static int64_t read_clock(struct clock *clock)
{
	return now_ms;
}

static struct clock virtual_clock = { .monotonic_ms = read_clock, .wall_ms = read_clock };

static struct loop *start(struct refusals *r)
{
	struct loop *loop = loop_create(&virtual_clock);

	now_ms = 1000;
	memset(r, 0, sizeof(*r));
	assert_non_null(loop);
	assert_int_equal(pipe2(log_fds, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(log_open(log_fds[1], LOG_FORMAT_TEXT, 3, "", NULL), 0);
	loop_turn(loop, 0);
	return loop;
}

static void end(struct loop *loop)
{
	loop_free(&loop);
	close(log_fds[0]);
	close(log_fds[1]);
}

static void pass(struct loop *loop, int64_t ms)
{
	now_ms += ms;
	loop_turn(loop, 0);
}

/* Of n refusals now, how many get a line; *told is what these say of others. */
static unsigned lines(struct refusals *r, struct loop *loop, enum refusal why, unsigned n, uint64_t *told)
{
	unsigned logged = 0;
	uint64_t left_out;

	for (unsigned i = 0; i < n; i++)
		if (refusals_may_log(r, loop, why, &left_out)) {
			logged++;
			*told += left_out;
		}
	return logged;
}

/* What the log says since the last time. */
static const char *logged(void)
{
	static char text[4096];
	ssize_t n = read(log_fds[0], text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void each_reason_has_room_of_its_own(void **state)
{
	struct refusals r;
	struct loop *loop = start(&r);
	uint64_t told = 0;

	assert_int_equal(lines(&r, loop, REFUSAL_NO_RULE, 1000, &told), 50);
	assert_int_equal(lines(&r, loop, REFUSAL_LIMIT, 3, &told), 3);
	assert_int_equal(lines(&r, loop, REFUSAL_NO_HEADER, 60, &told), 50);
	assert_int_equal(told, 0);
	/* More with time, ten a second; the first tells what the others were. */
	pass(loop, 250);
	assert_int_equal(lines(&r, loop, REFUSAL_NO_RULE, 1000, &told), 2);
	assert_int_equal(told, 950);
	pass(loop, 100);
	assert_int_equal(lines(&r, loop, REFUSAL_NO_RULE, 1, &told), 1);
	assert_int_equal(told, 950 + 998);
	refusals_finish(&r);
	end(loop);
}

static void what_is_left_out_is_told_without_another(void **state)
{
	struct refusals r;
	struct loop *loop = start(&r);
	uint64_t told = 0;

	lines(&r, loop, REFUSAL_NO_RULE, 57, &told);
	lines(&r, loop, REFUSAL_LIMIT, 52, &told);
	pass(loop, 4900);
	assert_string_equal(logged(), "");
	pass(loop, 200);
	assert_non_null(strstr(logged(), "reason='no rule matches', left_out='7'"));
	/* Once; and again when there is something new. */
	pass(loop, 20000);
	assert_string_equal(logged(), "");
	lines(&r, loop, REFUSAL_LIMIT, 55, &told);
	assert_int_equal(told, 0);
	pass(loop, 5100);
	assert_non_null(strstr(logged(), "limit of sessions', left_out='5'"));
	refusals_finish(&r);
	assert_string_equal(logged(), "");
	end(loop);
}

static void the_end_tells_the_rest(void **state)
{
	struct refusals r;
	struct loop *loop = start(&r);
	uint64_t told = 0;

	lines(&r, loop, REFUSAL_DENIED, 51, &told);
	refusals_finish(&r);
	assert_non_null(strstr(logged(), "reason='the policy denies it', left_out='1'"));
	pass(loop, 10000);		/* and its timer is gone */
	assert_string_equal(logged(), "");
	end(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_reason_has_room_of_its_own),
		cmocka_unit_test(what_is_left_out_is_told_without_another),
		cmocka_unit_test(the_end_tells_the_rest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
