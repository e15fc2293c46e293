/* SPDX-License-Identifier: Apache-2.0 */
/* What a call carries, what may come back, and native functions that policy code calls meanwhile. */
#include "callback_test.h"

/* --- what a call is */

static void test_call_carries_everything(void **state)
{
	struct caller *c = &w.callers[0];
	json_t *json, *info;
	int fd;

	c->arg = (struct call_value){ .kind = CALL_OCTETS, .octets = SLICE("a\0\xff\"") };
	start(0, 7, 1000);
	fd = speaking();
	json = hear(fd);
	assert_string_equal(json_string_value(json_object_get(json, "op")), "call");
	assert_int_equal(json_integer_value(json_object_get(json, "class")), 5);
	assert_int_equal(json_integer_value(json_object_get(json, "callback")), 7);
	assert_int_equal(json_string_length(json_array_get(json_object_get(json, "args"), 0)), 5);
	assert_memory_equal(json_string_value(json_array_get(json_object_get(json, "args"), 0)), "a\0\xc3\xbf\"", 5);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "attributes"), "count")), 0);
	info = json_object_get(json, "session_info");
	assert_string_equal(json_string_value(json_object_get(info, "id")), "svc/i/toys:0/i/toy");
	assert_string_equal(json_string_value(json_array_get(json_object_get(info, "client_address"), 0)), "192.0.2.1");
	assert_int_equal(json_integer_value(json_array_get(json_object_get(info, "client_address"), 1)), 1025);
	assert_true(json_is_null(json_object_get(info, "client_zone")));
	assert_true(json_is_null(json_object_get(info, "server_address")));
	json_decref(json);
	say(fd, "{\"op\":\"done\",\"result\":3}");
	assert_true(c->done);
	assert_int_equal(c->err, 0);
	assert_int_equal(c->result.kind, CALL_INT);
	assert_int_equal(c->result.number, 3);

	/* The next call of the session says what changed alone. */
	start(0, 7, 1000);
	json = hear(fd = speaking());
	assert_null(json_object_get(json, "session_info"));
	json_decref(json);
	say(fd, "{\"op\":\"done\",\"result\":null}");
	assert_int_equal(endpoint_parse(SLICE("203.0.113.1:25"), &c->session.server), 0);
	start(0, 7, 1000);
	json = hear(fd = speaking());
	info = json_object_get(json, "session_info");
	assert_string_equal(json_string_value(json_array_get(json_object_get(info, "server_address"), 0)), "203.0.113.1");
	json_decref(json);
	say(fd, "{\"op\":\"done\",\"result\":null}");
	assert_int_equal(c->err, 0);
}

static void test_results(void **state)
{
	static const struct {
		const char *text;
		int err, kind;
		int64_t number;
		const char *octets;
	} rows[] = {
		{ "null", 0, CALL_NONE, 0, NULL },
		{ "true", 0, CALL_INT, 1, NULL },
		{ "false", 0, CALL_INT, 0, NULL },
		{ "-9223372036854775808", 0, CALL_INT, INT64_MIN, NULL },
		{ "\"\"", 0, CALL_OCTETS, 0, "" },
		{ "\"\\u00ff \\u00c3\"", 0, CALL_OCTETS, 0, "\xff \xc3" },
		{ "\"\\u0100\"", -EBADMSG, 0, 0, NULL },
		{ "\"\xe2\x82\xac\"", -EBADMSG, 0, 0, NULL },
		{ "1.5", -EBADMSG, 0, 0, NULL },
		{ "[1]", -EBADMSG, 0, 0, NULL },
		{ "{}", -EBADMSG, 0, 0, NULL },
	};
	struct caller *c = &w.callers[0];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char packet[128];

		start(0, 1, 1000);
		snprintf(packet, sizeof(packet), "{\"op\":\"done\",\"result\":%s}", rows[i].text);
		say(called(), packet);
		assert_true(c->done);
		assert_int_equal(c->err, rows[i].err);
		if (c->err == 0)
			assert_int_equal(c->result.kind, rows[i].kind);
		if (c->err == 0 && rows[i].octets != NULL)
			assert_true(slice_is(c->result.octets, rows[i].octets));
		else if (c->err == 0)
			assert_int_equal(c->result.number, rows[i].number);
	}
	assert_int_equal(w.renewals, 1);	/* a wrong value is no reason to leave the server */
}

static void test_changes_are_taken_over(void **state)
{
	struct caller *c = start(0, 1, 1000);
	const struct table_entry *entry;
	const struct compiled_table *table;

	say(called(), "{\"op\":\"done\",\"result\":1,\"attributes\":{\"error_info\":\"no \\u00e9\",\"count\":7},"
		      "\"tables\":[{\"table\":\"request\",\"key\":[\"ETRN\"],\"action\":3,\"args\":[\"502\",\"no\"]}]}");
	assert_int_equal(c->err, 0);
	assert_true(slice_is(run_of(0)->error_info, "no \xe9"));
	assert_int_equal(run_of(0)->count, 7);
	table = proxy_state_table(&c->session.state, &toy_tables[0]);
	entry = table_find(table, SLICE("ETRN"), slice_of(NULL, 0));
	assert_non_null(entry);
	assert_int_equal(entry->action, 3);
	assert_true(slice_is(entry->args[0], "502"));
	/* Another session has the service's table. */
	assert_null(table_find(proxy_state_table(&w.callers[1].session.state, &toy_tables[0]), SLICE("ETRN"),
			       slice_of(NULL, 0)));
}

/* A session of any length, with policy code that says something else each time. */
static void test_many_calls_take_no_more_memory(void **state)
{
	struct caller *c = &w.callers[0];
	size_t used = 0;

	for (int i = 0; i < 20000; i++) {
		char packet[256], result[32];

		start(0, 1, 1000);
		snprintf(result, sizeof(result), "result %d", i);
		snprintf(packet, sizeof(packet), "{\"op\":\"done\",\"result\":\"%s\",\"attributes\":{\"error_info\":\"no %d\"},\"tables\":"
			 "[{\"table\":\"request\",\"key\":[\"ETRN\"],\"action\":3,\"args\":[\"502\",\"%d\"]}]}", result, i, i);
		say(called(), packet);
		assert_int_equal(c->err, 0);
		assert_true(slice_equal(c->result.octets, slice_cstr(result)));
		if (i == 100)
			used = arena_used(w.arena);
	}
	assert_int_equal(arena_used(w.arena), used);
}

static void test_refused_changes_change_nothing(void **state)
{
	static const char *const rows[] = {
		"{\"op\":\"done\",\"result\":1,\"attributes\":{\"count\":7,\"error_info\":\"a\\r\\nRCPT\"}}",
		"{\"op\":\"done\",\"result\":1,\"attributes\":{\"count\":7,\"error_info\":\"a\\n\"}}",
		"{\"op\":\"done\",\"result\":1,\"attributes\":{\"count\":7,\"error_info\":\"a\\u0000b\"}}",
		"{\"op\":\"done\",\"result\":1,\"attributes\":{\"count\":101}}",
		"{\"op\":\"done\",\"result\":1,\"attributes\":{\"count\":\"7\"}}",
		"{\"op\":\"done\",\"result\":1,\"attributes\":{\"limit\":7,\"count\":7}}",
		"{\"op\":\"done\",\"result\":1,\"attributes\":{\"nonsense\":7,\"count\":7}}",
		"{\"op\":\"done\",\"result\":1,\"attributes\":[7]}",
		"{\"op\":\"done\",\"result\":1,\"attributes\":{\"count\":7},\"tables\":[{\"table\":\"x\",\"key\":[\"A\"],\"action\":1}]}",
		"{\"op\":\"done\",\"result\":1,\"attributes\":{\"count\":7},\"tables\":[{\"table\":\"request\",\"key\":[\"A\"],\"action\":9}]}",
		"{\"op\":\"done\",\"result\":1,\"attributes\":{\"count\":7},\"tables\":[{\"table\":\"request\",\"key\":[],\"action\":1}]}",
		"{\"op\":\"done\",\"result\":1,\"attributes\":{\"count\":7},\"tables\":{}}",
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct caller *c = start(0, 1, 1000);

		say(called(), rows[i]);
		assert_true(c->done);
		assert_int_equal(c->err, -EBADMSG);
		assert_int_equal(run_of(0)->count, 0);
		assert_int_equal(run_of(0)->error_info.len, 0);
	}
}

static void test_raised_keeps_the_changes(void **state)
{
	struct caller *c = start(0, 1, 1000);

	say(called(), "{\"op\":\"raised\",\"message\":\"KeyError: 1\",\"traceback\":[\"Traceback\",\"KeyError: 1\"],"
		      "\"attributes\":{\"count\":5}}");
	assert_int_equal(c->err, -EREMOTEIO);
	assert_int_equal(run_of(0)->count, 5);
	assert_int_equal(callback_host_counts(w.host).raised, 1);
	start(0, 1, 1000);		/* and the conversation goes on */
	say(called(), "{\"op\":\"done\",\"result\":1}");
	assert_int_equal(c->err, 0);
}

/* --- native functions */

static void test_up_and_value(void **state)
{
	struct caller *c = start(0, 1, 1000);
	int fd = called();
	json_t *json;

	say(fd, "{\"op\":\"up\",\"function\":\"toy.add_one\",\"args\":[41],\"attributes\":{\"count\":2}}");
	assert_int_equal(run_of(0)->count, 2);
	json = hear(fd);
	assert_string_equal(json_string_value(json_object_get(json, "op")), "value");
	assert_int_equal(json_integer_value(json_object_get(json, "result")), 42);
	assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "attributes"), "count")), 2);
	json_decref(json);
	say(fd, "{\"op\":\"done\",\"result\":1}");
	assert_int_equal(c->err, 0);
}

static void test_up_that_is_refused_is_an_error_for_policy_code(void **state)
{
	static const char *const rows[] = {
		"{\"op\":\"up\",\"function\":\"toy.add_one\",\"args\":[]}",
		"{\"op\":\"up\",\"function\":\"toy.add_one\",\"args\":[\"x\"]}",
		"{\"op\":\"up\",\"function\":\"toy.addOne\",\"args\":[1]}",
		"{\"op\":\"up\",\"function\":\"toy.add\",\"args\":[1]}",
		"{\"op\":\"up\",\"function\":\"toy.add_one_more\",\"args\":[1]}",
		"{\"op\":\"up\",\"function\":\"toy.\",\"args\":[1]}",
		"{\"op\":\"up\",\"function\":\"to\",\"args\":[1]}",
		"{\"op\":\"up\",\"function\":\"\",\"args\":[1]}",
		"{\"op\":\"up\",\"function\":\"toy.check\",\"args\":[1]}",
		"{\"op\":\"up\",\"function\":\"session.set_server_address\",\"args\":[\"nowhere\",1]}",
		"{\"op\":\"up\",\"function\":\"session.set_server_address\",\"args\":[\"192.0.2.1\",65536]}",
		"{\"op\":\"up\",\"function\":\"session.set_target\",\"args\":[\"nowhere\",1]}",
		"{\"op\":\"up\",\"function\":\"session.set_target\",\"args\":[\"192.0.2.1\"]}",
		"{\"op\":\"up\",\"function\":\"session.destroy\",\"args\":[1]}",
		"{\"op\":\"up\",\"function\":\"policy.zone_of\",\"args\":[]}",
		"{\"op\":\"up\",\"function\":\"policy.zone_of\",\"args\":[\"nowhere\"]}",
	};
	struct caller *c = start(0, 1, 1000);
	int fd = called();

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		say(fd, rows[i]);
		expect(fd, "error");
	}
	say(fd, "{\"op\":\"done\",\"result\":1}");
	assert_int_equal(c->err, 0);
}

static void test_policy_code_sets_the_target(void **state)
{
	struct caller *c = start(0, 1, 1000);
	struct endpoint wish = { .port = 25 };
	int fd = called();

	assert_int_equal(ip_parse(SLICE("192.0.2.7"), &wish.ip), 0);
	/* As the protocol would: the router says no. */
	say(fd, "{\"op\":\"up\",\"function\":\"session.set_server_address\",\"args\":[\"192.0.2.6\",25]}");
	expect(fd, "value");
	assert_int_equal(c->session.target.at.ip.family, AF_UNSPEC);
	say(fd, "{\"op\":\"up\",\"function\":\"session.set_target\",\"args\":[\"192.0.2.7\",25]}");
	expect(fd, "value");
	assert_true(endpoint_equal(&c->session.target.at, &wish));
	assert_true(c->session.target.binding);
	/* And the protocol has no say any more, though the router would let it. */
	w.service.router.overrideable = true;
	say(fd, "{\"op\":\"up\",\"function\":\"session.set_server_address\",\"args\":[\"192.0.2.6\",25]}");
	expect(fd, "value");
	assert_true(endpoint_equal(&c->session.target.at, &wish));
	say(fd, "{\"op\":\"done\",\"result\":1}");
	assert_int_equal(c->err, 0);
}

static void test_an_address_in_no_zone(void **state)
{
	struct caller *c = start(0, 1, 1000);
	int fd = called();
	json_t *json;

	say(fd, "{\"op\":\"up\",\"function\":\"policy.zone_of\",\"args\":[\"192.0.2.7\"]}");
	json = hear(fd);
	assert_true(json_is_null(json_object_get(json, "result")));
	json_decref(json);
	say(fd, "{\"op\":\"done\",\"result\":1}");
	assert_int_equal(c->err, 0);
}

static void test_policy_code_ends_the_session(void **state)
{
	struct caller *c = start(0, 1, 1000);
	int fd = called();

	say(fd, "{\"op\":\"up\",\"function\":\"session.destroy\",\"args\":[]}");
	expect(fd, "value");
	assert_false(c->done);			/* the call itself goes on to its end */
	say(fd, "{\"op\":\"up\",\"function\":\"toy.add_one\",\"args\":[1]}");
	expect(fd, "value");
	say(fd, "{\"op\":\"done\",\"result\":1}");
	assert_true(c->done);
	assert_int_equal(c->err, -ECANCELED);
	assert_int_equal(c->session.proxy.fault, FAULT_POLICY);
	assert_string_equal(c->session.proxy.reason, "destroyed");
	start(1, 1, 1000);			/* the conversation serves others */
	say(called(), "{\"op\":\"done\",\"result\":1}");
	assert_int_equal(w.callers[1].err, 0);
	assert_int_equal(w.renewals, 1);
}

static void test_nested_call_on_the_same_conversation(void **state)
{
	struct caller *c = start(0, 1, 1000);
	int fd = called();
	json_t *json;

	say(fd, "{\"op\":\"up\",\"function\":\"toy.calls_back\",\"args\":[]}");
	json = hear(fd);
	assert_string_equal(json_string_value(json_object_get(json, "op")), "call");
	assert_int_equal(json_integer_value(json_object_get(json, "callback")), 3);
	json_decref(json);
	say(fd, "{\"op\":\"up\",\"function\":\"toy.add_one\",\"args\":[1]}");
	expect(fd, "value");
	say(fd, "{\"op\":\"done\",\"result\":5}");
	json = hear(fd);
	assert_string_equal(json_string_value(json_object_get(json, "op")), "value");
	assert_int_equal(json_integer_value(json_object_get(json, "result")), 105);
	json_decref(json);
	assert_false(c->done);
	say(fd, "{\"op\":\"done\",\"result\":9}");
	assert_int_equal(c->err, 0);
	assert_int_equal(c->result.number, 9);
}

static void test_nested_call_that_raises(void **state)
{
	struct caller *c = start(0, 1, 1000);
	int fd = called();

	say(fd, "{\"op\":\"up\",\"function\":\"toy.calls_back\",\"args\":[]}");
	expect(fd, "call");
	say(fd, "{\"op\":\"raised\",\"message\":\"no\"}");
	expect(fd, "error");
	say(fd, "{\"op\":\"done\",\"result\":9}");
	assert_int_equal(c->err, 0);
}

static void test_nesting_is_bounded(void **state)
{
	struct caller *c = start(0, 1, 1000);
	int fd = called(), depth = 1;

	for (; depth < 100; depth++) {
		json_t *json;
		bool is_call;

		say(fd, "{\"op\":\"up\",\"function\":\"toy.calls_back\",\"args\":[]}");
		json = hear(fd);
		is_call = strcmp(json_string_value(json_object_get(json, "op")), "call") == 0;
		json_decref(json);
		if (!is_call)
			break;
	}
	assert_int_equal(depth, CALLBACK_NESTING_MAX);
	for (; depth > 1; depth--) {
		say(fd, "{\"op\":\"done\",\"result\":1}");
		expect(fd, "value");
	}
	say(fd, "{\"op\":\"done\",\"result\":1}");
	assert_int_equal(c->err, 0);
}

static void test_late_inner_call_ends_the_outer_one(void **state)
{
	struct caller *c = start(0, 1, 1000);
	int fd = called();
	char buf[1];

	say(fd, "{\"op\":\"up\",\"function\":\"toy.calls_back\",\"args\":[]}");
	expect(fd, "call");
	turn(1001);			/* the deadline of the outer call is that of the inner one */
	assert_int_equal(c->err, -ETIMEDOUT);
	assert_int_equal(recv(fd, buf, 1, MSG_DONTWAIT), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_call_carries_everything),
		CASE(test_results),
		CASE(test_changes_are_taken_over),
		CASE(test_many_calls_take_no_more_memory),
		CASE(test_refused_changes_change_nothing),
		CASE(test_raised_keeps_the_changes),
		CASE(test_up_and_value),
		CASE(test_up_that_is_refused_is_an_error_for_policy_code),
		CASE(test_policy_code_sets_the_target),
		CASE(test_an_address_in_no_zone),
		CASE(test_policy_code_ends_the_session),
		CASE(test_nested_call_on_the_same_conversation),
		CASE(test_nested_call_that_raises),
		CASE(test_nesting_is_bounded),
		CASE(test_late_inner_call_ends_the_outer_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
