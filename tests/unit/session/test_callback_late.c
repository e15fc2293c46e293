/* SPDX-License-Identifier: Apache-2.0 */
/* Late calls, and servers that do not answer. */
#include "callback_test.h"

#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void expect_adopted(struct server_end *end)
{
	char buf[256], room[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { buf, sizeof(buf) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	for (;;) {
		ssize_t n;

		msg.msg_control = room;
		msg.msg_controllen = sizeof(room);
		n = recvmsg(end->control, &msg, MSG_DONTWAIT);
		assert_true(n > 0);
		if (msg.msg_controllen != 0)
			break;
	}
	close(end->talks[0]);
	memcpy(&end->talks[0], CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	turn(0);
}

static void test_a_late_call_costs_its_conversation(void **state)
{
	struct caller *c = start(0, 1, 1000);
	char buf[1];
	int fd = called();

	turn(1001);
	assert_int_equal(c->err, -ETIMEDOUT);
	assert_int_equal(recv(fd, buf, 1, MSG_DONTWAIT), 0);
	expect(w.end.control, "hello");
	expect(w.end.control, "ping");		/* it ran for a second: is the server well? */
	expect(w.end.control, "forget");	/* of the instance that the thread may still use */
	expect(w.end.control, "retire");
	pong(1);
	turn(300);
	assert_int_equal(w.renewals, 1);
	start(0, 1, 1000);
	say(called(), "{\"op\":\"done\",\"result\":1}");
	assert_int_equal(c->err, 0);
}

static void test_a_new_conversation_takes_the_place(void **state)
{
	int first, second;

	start(0, 1, 1000);
	first = called();
	turn(1001);
	assert_int_equal(w.callers[0].err, -ETIMEDOUT);
	if (first == w.end.talks[1]) {		/* keep the live one at [1] */
		w.end.talks[1] = w.end.talks[0];
		w.end.talks[0] = first;
	}
	expect_adopted(&w.end);
	start(0, 1, 1000);
	first = called();
	start(1, 1, 1000);
	second = called();
	assert_int_not_equal(first, second);
	say(first, "{\"op\":\"done\",\"result\":1}");
	say(second, "{\"op\":\"done\",\"result\":2}");
	assert_int_equal(w.callers[0].result.number, 1);
	assert_int_equal(w.callers[1].result.number, 2);
}

static void test_a_session_gets_a_new_instance_after_a_late_call(void **state)
{
	json_t *json;
	int64_t number;

	start(0, 1, 1000);
	json = hear(speaking());
	number = json_integer_value(json_object_get(json, "session"));
	json_decref(json);
	turn(1001);
	pong(ping_number());
	start(0, 1, 1000);
	json = hear(speaking());
	assert_int_not_equal(json_integer_value(json_object_get(json, "session")), number);
	assert_non_null(json_object_get(json, "session_info"));
	json_decref(json);
}

static void test_a_stuck_server_is_killed(void **state)
{
	start(0, 1, 1000);
	called();
	turn(1001);
	assert_int_equal(w.callers[0].err, -ETIMEDOUT);
	turn(950);
	assert_int_equal(w.kills, 0);
	turn(60);
	assert_int_equal(w.kills, 1);
	assert_int_equal(callback_host_counts(w.host).stuck, 1);
	close_end(&w.end);
	w.end = connect_server();
	start(0, 1, 1000);
	say(called(), "{\"op\":\"done\",\"result\":1}");
	assert_int_equal(w.callers[0].err, 0);
}

static void test_a_stuck_server_is_found_before_its_call_is_late(void **state)
{
	start(0, 1, 5000);
	called();
	for (int i = 0; i < 30 && w.kills == 0; i++)
		turn(100);
	assert_int_equal(w.kills, 1);
	assert_int_equal(w.callers[0].err, -EPIPE);
	assert_int_equal(callback_host_counts(w.host).lost, 1);
}

static void test_a_server_that_answers_may_take_its_time(void **state)
{
	start(0, 1, 5000);
	called();
	for (int i = 0; i < 48; i++) {
		int64_t number;

		turn(100);
		number = ping_number();
		if (number >= 0)
			pong(number);
	}
	assert_false(w.callers[0].done);
	assert_int_equal(w.renewals, 1);
}

/* A process that only waits, or only computes. */
static pid_t fork_server_process(bool busy)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid != 0)
		return pid;
	while (busy)
		sched_yield();
	for (;;)
		pause();
}

static int64_t cpu_ms(pid_t pid)
{
	clockid_t used;
	struct timespec t;

	assert_int_equal(clock_getcpuclockid(pid, &used), 0);
	assert_int_equal(clock_gettime(used, &t), 0);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void say_serving(pid_t pid)
{
	char text[64];

	snprintf(text, sizeof(text), "{\"op\":\"serving\",\"pid\":%d}", (int)pid);
	say(w.end.control, text);
}

static void end_process(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_a_server_without_processor_time_is_given_longer(void **state)
{
	pid_t pid = fork_server_process(false);

	say_serving(pid);
	start(0, 1, 1000);
	called();
	turn(1001);
	assert_int_equal(w.callers[0].err, -ETIMEDOUT);
	for (int i = 0; i < 35; i++)
		turn(100);
	assert_int_equal(w.kills, 0);
	for (int i = 0; i < 10; i++)
		turn(100);
	assert_int_equal(w.kills, 1);
	end_process(pid);
}

static void test_a_server_that_computes_and_does_not_answer_is_stuck(void **state)
{
	pid_t pid = fork_server_process(true);
	int64_t before;

	say_serving(pid);
	start(0, 1, 1000);
	called();
	turn(1001);
	before = cpu_ms(pid);
	while (cpu_ms(pid) < before + 600)
		sched_yield();
	turn(1010);
	assert_int_equal(w.kills, 1);
	end_process(pid);
}

static void test_what_a_stuck_server_has_not_read_is_asked_again(void **state)
{
	int fd;

	start(0, 1, 5000);
	called();			/* read, then it hangs */
	start(1, 2, 5000);
	assert_true(speaking() >= 0);	/* not read */
	for (int i = 0; i < 30 && w.kills == 0; i++)
		turn(100);
	assert_int_equal(w.callers[0].err, -EPIPE);
	assert_false(w.callers[1].done);
	close_end(&w.end);
	w.end = connect_server();
	turn(0);
	fd = called();
	say(fd, "{\"op\":\"done\",\"result\":8}");
	assert_int_equal(w.callers[1].err, 0);
	assert_int_equal(w.callers[1].result.number, 8);
}

static void test_a_server_that_dies(void **state)
{
	start(0, 1, 5000);
	called();
	start(1, 1, 5000);
	called();
	start(2, 1, 5000);
	close_end(&w.end);
	turn(0);
	assert_int_equal(w.callers[0].err, -EPIPE);
	assert_int_equal(w.callers[1].err, -EPIPE);
	assert_false(w.callers[2].done);
	assert_int_equal(w.renewals, 2);
	assert_int_equal(w.kills, 0);
	w.end = connect_server();
	turn(0);
	say(called(), "{\"op\":\"done\",\"result\":1}");
	assert_int_equal(w.callers[2].err, 0);
}

static void test_what_a_dead_server_has_not_read_is_asked_again(void **state)
{
	start(0, 1, 5000);
	called();
	start(1, 2, 5000);
	assert_true(speaking() >= 0);	/* not read */
	for (int i = 0; i < N_TALKS; i++)	/* the kernel closes one after the other, the control connection last */
		close(w.end.talks[i]);
	turn(0);
	close(w.end.control);
	turn(0);
	assert_int_equal(w.callers[0].err, -EPIPE);
	assert_false(w.callers[1].done);
	w.end = connect_server();
	turn(0);
	say(called(), "{\"op\":\"done\",\"result\":8}");
	assert_int_equal(w.callers[1].result.number, 8);
	assert_int_equal(w.kills, 0);
}

static void test_four_threads_that_hang_replace_the_server(void **state)
{
	struct server_end old;
	int fd;

	for (int i = 0; i < 4; i++) {
		assert_int_equal(w.renewals, 1);
		start(0, 1, 200);
		fd = called();
		turn(201);
		assert_int_equal(w.callers[0].err, -ETIMEDOUT);
		if (fd == w.end.talks[1]) {
			w.end.talks[1] = w.end.talks[0];
			w.end.talks[0] = fd;
		}
		expect_adopted(&w.end);
		pong(i + 1);
	}
	assert_int_equal(w.renewals, 2);
	assert_int_equal(w.kills, 0);
	start(1, 1, 3000);		/* still served by the old one, and left to end there */
	fd = called();
	old = w.end;
	w.end = connect_server();
	start(2, 1, 3000);
	say(called(), "{\"op\":\"done\",\"result\":2}");
	assert_int_equal(w.callers[2].result.number, 2);
	say(fd, "{\"op\":\"done\",\"result\":1}");
	assert_int_equal(w.callers[1].result.number, 1);
	turn(0);
	assert_null(hear(fd));		/* then it is let go */
	close_end(&old);
}

static void test_threads_that_end_do_not_count(void **state)
{
	for (int i = 0; i < 8; i++) {
		int fd;
		char text[64];

		start(0, 1, 200);
		fd = called();
		turn(201);
		if (fd == w.end.talks[1]) {
			w.end.talks[1] = w.end.talks[0];
			w.end.talks[0] = fd;
		}
		expect_adopted(&w.end);
		pong(i + 1);
		for (int n = 1; n < 12; n++) {	/* whichever it was */
			snprintf(text, sizeof(text), "{\"op\":\"ended\",\"connection\":%d}", n);
			say(w.end.control, text);
		}
	}
	assert_int_equal(w.renewals, 1);
}

static void test_cancelled_call(void **state)
{
	start(0, 1, 5000);
	called();
	co_cancel(w.callers[0].co);
	turn(0);
	assert_int_equal(w.callers[0].err, -ECANCELED);
	pong(ping_number());
	start(1, 1, 5000);
	say(called(), "{\"op\":\"done\",\"result\":1}");
	assert_int_equal(w.callers[1].err, 0);
}

static void test_nonsense_on_the_control_connection(void **state)
{
	static const char *const rows[] = {
		"{", "{\"op\":\"done\"}", "{\"op\":\"pong\"}", "{\"op\":\"ended\",\"connection\":-1}",
		"{\"op\":\"log\",\"tag\":\"a;b\",\"level\":1,\"message\":\"x\"}", "{\"op\":\"log\",\"tag\":\"a\",\"level\":1}",
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		start(0, 1, 1000);
		called();
		say(w.end.control, rows[i]);
		assert_int_equal(w.callers[0].err, -EPIPE);
		assert_int_equal(w.renewals, 2 + i);
		close_end(&w.end);
		w.end = connect_server();
		turn(0);
	}
	say(w.end.control, "{\"op\":\"log\",\"tag\":\"core.stderr\",\"level\":3,\"message\":\"fine\"}");
	say(w.end.control, "{\"op\":\"ended\",\"connection\":77}");
	assert_int_equal(w.renewals, 1 + ARRAY_LEN(rows));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_late_call_costs_its_conversation),
		CASE(test_a_new_conversation_takes_the_place),
		CASE(test_a_session_gets_a_new_instance_after_a_late_call),
		CASE(test_a_stuck_server_is_killed),
		CASE(test_a_stuck_server_is_found_before_its_call_is_late),
		CASE(test_a_server_that_answers_may_take_its_time),
		CASE(test_a_server_without_processor_time_is_given_longer),
		CASE(test_a_server_that_computes_and_does_not_answer_is_stuck),
		CASE(test_what_a_stuck_server_has_not_read_is_asked_again),
		CASE(test_a_server_that_dies),
		CASE(test_what_a_dead_server_has_not_read_is_asked_again),
		CASE(test_four_threads_that_hang_replace_the_server),
		CASE(test_threads_that_end_do_not_count),
		CASE(test_cancelled_call),
		CASE(test_nonsense_on_the_control_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
