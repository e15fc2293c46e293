/* SPDX-License-Identifier: Apache-2.0 */
/* What a host must not send. */
#include "callback_test.h"

static void test_malformed_packets_end_the_conversation(void **state)
{
	static const char *const rows[] = {
		"", "x", "{", "null", "[]", "{}", "{\"op\":7}", "{\"op\":\"call\"}", "{\"op\":\"value\"}", "{\"op\":\"pong\"}",
		"{\"op\":\"done\",\"op\":\"done\"}", "{\"op\":\"done\"} x", "{\"op\":\"up\"}",
		"{\"op\":\"up\",\"function\":7}", "{\"op\":\"up\",\"function\":\"toy.add_one\",\"args\":{}}",
		"{\"op\":\"up\",\"function\":\"toy.add_one\",\"args\":[[1]]}",
		"{\"op\":\"up\",\"function\":\"toy.add_one\",\"args\":[1,2,3,4,5,6,7,8,9]}",
		"{\"op\":\"log\",\"tag\":\"a b\",\"level\":3,\"message\":\"x\"}", "{\"op\":\"log\",\"tag\":\"a\",\"message\":\"x\"}",
		"{\"op\":\"log\",\"tag\":\"a\",\"level\":3}",
	};

	for (size_t i = 1; i < ARRAY_LEN(rows); i++) {
		struct caller *c = start(0, 1, 1000);
		char buf[1];
		int fd = called();

		say(fd, rows[i]);
		assert_true(c->done);
		assert_int_equal(c->err, -EBADMSG);
		assert_int_equal(recv(fd, buf, 1, MSG_DONTWAIT), 0);	/* closed */
		pong(ping_number());
		tear_down(state);
		set_up_connected(state);
	}
}

static void test_an_answer_too_many_is_not_the_next_answer(void **state)
{
	struct caller *c = start(0, 1, 1000);
	int fd = called();

	say(fd, "{\"op\":\"done\",\"result\":1}");
	say(fd, "{\"op\":\"done\",\"result\":2}");
	for (int i = 0; i < 4; i++) {
		start(0, 1, 1000);
		say(called(), "{\"op\":\"done\",\"result\":3}");
		assert_int_equal(c->err, 0);
		assert_int_equal(c->result.number, 3);
	}
}

static void test_oversized_packets(void **state)
{
	size_t size = CALLBACK_PACKET_MAX + 1;
	char *packet = malloc(size);
	struct caller *c = start(0, 1, 1000);
	int fd = called();

	assert_non_null(packet);
	memset(packet, ' ', size);
	memcpy(packet, "{\"op\":\"done\",\"result\":1}", 24);
	say_octets(fd, packet, size);
	assert_int_equal(c->err, -EBADMSG);
	start(1, 1, 1000);
	say_octets(called(), packet, size - 1);
	assert_int_equal(w.callers[1].err, 0);
	free(packet);
}

static void test_an_argument_over_the_limit_is_refused_here(void **state)
{
	static uint8_t octets[CALLBACK_PACKET_MAX];
	struct caller *c = &w.callers[0];

	memset(octets, 'x', sizeof(octets));
	c->arg = (struct call_value){ .kind = CALL_OCTETS, .octets = { octets, sizeof(octets) } };
	start(0, 1, 1000);
	assert_int_equal(c->err, -EMSGSIZE);
	assert_int_equal(speaking(), -1);
	c->arg.octets.len = 10;
	start(0, 1, 1000);
	say(called(), "{\"op\":\"done\",\"result\":1}");
	assert_int_equal(c->err, 0);
}

static void test_log_lines_do_not_keep_a_call_alive(void **state)
{
	struct caller *c = start(0, 1, 1000);
	int fd = called();

	for (int i = 0; i < 200 && !c->done; i++) {
		now_ms += 10;
		say(fd, "{\"op\":\"log\",\"tag\":\"core.policy\",\"level\":3,\"message\":\"x\"}");
	}
	assert_true(c->done);
	assert_int_equal(c->err, -ETIMEDOUT);
}

/* Nobody looks for what is missing, unless told. */
static void test_log_lines_left_out_are_counted(void **state)
{
	struct caller *c;
	char text[1000];
	int fd, log[2];
	ssize_t n;

	assert_int_equal(pipe2(log, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(log_open(log[1], LOG_FORMAT_TEXT, 3, "", NULL), 0);
	for (int left_out = 0; left_out <= 3; left_out += 3) {
		c = start(0, 1, 1000);
		fd = called();
		for (int i = 0; i < 2000 + left_out; i++)	/* which nobody wants to see here */
			say(fd, "{\"op\":\"log\",\"tag\":\"core.policy\",\"level\":9,\"message\":\"x\"}");
		say(fd, "{\"op\":\"done\",\"result\":1}");
		assert_true(c->done);
		assert_int_equal(c->err, 0);
		n = read(log[0], text, sizeof(text) - 1);
		assert_int_equal(n > 0, left_out > 0);
	}
	text[n] = '\0';
	assert_non_null(strstr(text, "core.policy(2): "));
	assert_non_null(strstr(text, "; count='3'\n"));
	log_set_fd(null_fd);
	close(log[0]);
	close(log[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_malformed_packets_end_the_conversation),
		CASE(test_an_answer_too_many_is_not_the_next_answer),
		CASE(test_oversized_packets),
		CASE(test_an_argument_over_the_limit_is_refused_here),
		CASE(test_log_lines_do_not_keep_a_call_alive),
		CASE(test_log_lines_left_out_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
