/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that wait for a conversation; configuration per session, and numbers that one server gave. */
#include "callback_test.h"

/* --- the queue */

static void test_calls_queue_in_order(void **state)
{
	int fds[2];

	start(0, 1, 1000);
	fds[0] = called();
	start(1, 1, 1000);
	fds[1] = called();
	start(2, 1, 1000);
	start(3, 1, 1000);
	assert_int_equal(speaking(), -1);
	say(fds[1], "{\"op\":\"done\",\"result\":1}");
	assert_true(w.callers[1].done);
	assert_int_equal(called(), fds[1]);
	say(fds[1], "{\"op\":\"done\",\"result\":2}");
	assert_true(w.callers[2].done);
	assert_false(w.callers[3].done);
	say(called(), "{\"op\":\"done\",\"result\":3}");
	assert_int_equal(w.callers[3].result.number, 3);
	say(fds[0], "{\"op\":\"done\",\"result\":0}");
	assert_int_equal(w.callers[0].err, 0);
}

static void test_waiting_in_the_queue_has_a_deadline(void **state)
{
	start(0, 1, 4000);
	called();
	start(1, 1, 4000);
	called();
	start(2, 1, 300);
	turn(301);
	assert_int_equal(w.callers[2].err, -ETIMEDOUT);
	assert_false(w.callers[0].done);
	assert_int_equal(callback_host_counts(w.host).late, 1);
}

static void test_calls_wait_for_the_server(void **state)
{
	start(0, 1, 1000);
	turn(900);
	assert_false(w.callers[0].done);
	w.end = connect_server();
	turn(0);
	say(called(), "{\"op\":\"done\",\"result\":1}");
	assert_int_equal(w.callers[0].err, 0);
	assert_int_equal(w.renewals, 1);
}

static void test_no_server_ever(void **state)
{
	start(0, 1, 1000);
	turn(1001);
	assert_int_equal(w.callers[0].err, -ETIMEDOUT);
	assert_int_equal(w.renewals, 1);
	turn(10000);
	start(0, 1, 1000);		/* the wish may have got lost: it is said again */
	assert_int_equal(w.renewals, 2);
	turn(1001);
	assert_int_equal(w.callers[0].err, -ETIMEDOUT);
}

static void test_a_server_that_cannot_be_used(void **state)
{
	int fd = dup(STDIN_FILENO);

	assert_int_equal(callback_host_connect(w.host, &fd, 1), -EINVAL);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	start(0, 1, 1000);
	assert_int_equal(w.renewals, 2);
	w.end = connect_server();
	turn(0);
	say(called(), "{\"op\":\"done\",\"result\":1}");
	assert_int_equal(w.callers[0].err, 0);
}

/* --- configuration per session, and numbers that one server gave */

static void test_configuration(void **state)
{
	struct caller *c = &w.callers[0];
	const struct toy_config *config;
	const struct table_entry *entry;
	int fd;

	c->method = "config";
	start(0, -1, 1000);
	fd = speaking();
	expect(fd, "hook");
	say(fd, "{\"op\":\"done\",\"result\":null,\"attributes\":{\"limit\":99},\"tables\":{\"request\":["
		"{\"key\":[\"MAIL\"],\"action\":6,\"call\":{\"callback\":12}}]},"
		"\"hooks\":{\"check\":{\"callback\":13}}}");
	assert_int_equal(c->err, 0);
	assert_ptr_equal(c->session.own_config.type, &toy);
	config = c->session.own_config.block;
	assert_int_equal(config->limit, 99);
	assert_int_equal(config->check.callback, 13);
	entry = table_find(config->request, SLICE("MAIL"), slice_of(NULL, 0));
	assert_int_equal(entry->call.callback, 12);
}

static void test_own_numbers_end_with_their_server(void **state)
{
	start(0, 1, 1000);
	say(called(), "{\"op\":\"done\",\"result\":1}");
	start(0, 12, 1000);
	say(called(), "{\"op\":\"done\",\"result\":1}");
	assert_int_equal(w.callers[0].err, 0);
	close_end(&w.end);
	turn(0);
	w.end = connect_server();
	start(0, 12, 1000);
	assert_int_equal(w.callers[0].err, -EREMOTEIO);
	assert_int_equal(speaking(), -1);
	start(0, 1, 1000);
	say(called(), "{\"op\":\"done\",\"result\":1}");
	assert_int_equal(w.callers[0].err, 0);
}

static void test_forget(void **state)
{
	start(0, 1, 1000);
	say(called(), "{\"op\":\"done\",\"result\":1}");
	expect(w.end.control, "hello");
	toy_host->forget(toy_host, &w.callers[0].session.proxy);
	toy_host->forget(toy_host, &w.callers[1].session.proxy);	/* never called anything */
	expect(w.end.control, "forget");
	assert_null(hear(w.end.control));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_calls_queue_in_order),
		CASE(test_waiting_in_the_queue_has_a_deadline),
		cmocka_unit_test_setup_teardown(test_calls_wait_for_the_server, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_server_ever, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_server_that_cannot_be_used, set_up, tear_down),
		CASE(test_configuration),
		CASE(test_own_numbers_end_with_their_server),
		CASE(test_forget),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
