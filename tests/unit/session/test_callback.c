/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls to policy code against a host that the test plays: both ends of every socket are here,
 * time is virtual. What the host may send is tried as carefully as what it should send.
 */
#include "callback_toy.h"
#include "io/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

#define N_TALKS 2		/* conversations of a server in these tests */
#define N_CALLERS 4
#define TIMEOUT_MS TOY_TIMEOUT_MS

/* --- time, and the leader */

static int64_t now_ms;

static int64_t read_clock(struct clock *clock)
{
	return now_ms;
}

static struct clock virtual_clock = { .monotonic_ms = read_clock, .wall_ms = read_clock };

struct caller {
	struct session session;
	struct co *co;
	int32_t callback;
	const char *method;
	struct call_value arg;
	int64_t limit_ms;
	struct call_value result;
	int err;
	bool done;
};

struct server_end {
	int control, talks[N_TALKS];
};

static struct world {
	struct loop *loop;
	struct callback_host *host;
	struct arena *arena;
	struct policy policy;
	struct proxy_config config;
	struct service service;
	struct rule rule;
	struct session_env env;
	struct caller callers[N_CALLERS];
	unsigned renewals, kills;
	struct server_end end;
} w;

static int null_fd;			/* where log lines go */

static void renew(void *arg, bool kill)
{
	w.renewals++;
	w.kills += kill;
}

static void turn(int64_t ms)
{
	now_ms += ms;
	for (int i = 0; i < 8; i++)
		loop_turn(w.loop, 0);
}

static struct server_end connect_server(void)
{
	struct server_end end;
	int fds[1 + N_TALKS];

	for (int i = 0; i <= N_TALKS; i++) {
		int pair[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
		fds[i] = pair[0];
		*(i == 0 ? &end.control : &end.talks[i - 1]) = pair[1];
	}
	assert_int_equal(callback_host_connect(w.host, fds, 1 + N_TALKS), 0);
	return end;
}

static void close_end(struct server_end *end)
{
	close(end->control);
	for (int i = 0; i < N_TALKS; i++)
		close(end->talks[i]);
}

static int set_up(void **state)
{
	memset(&w, 0, sizeof(w));
	now_ms = 1000;
	assert_int_equal(log_open(null_fd, LOG_FORMAT_TEXT, 3, "", NULL), 0);
	w.loop = loop_create(&virtual_clock);
	w.arena = arena_create(1u << 24, 0);
	assert_non_null(w.loop);
	assert_non_null(w.arena);
	w.policy = (struct policy){ .n_callbacks = 10, .needs_host = true };
	assert_int_equal(proxy_config_defaults(&toy, w.arena, &w.config), 0);
	w.config.class_number = 5;
	w.config.class_name = "MyToy";
	w.service = (struct service){ .name = "toys", .proxy = &w.config };
	w.env = (struct session_env){ .loop = w.loop, .policy = &w.policy };
	w.host = callback_host_create(&(struct callback_options){
		.loop = w.loop, .policy = &w.policy, .timeout_ms = TIMEOUT_MS, .renew = renew });
	assert_non_null(w.host);
	w.env.host = toy_host = callback_host_port(w.host);
	assert_int_equal(w.renewals, 1);
	for (int i = 0; i < N_CALLERS; i++) {
		struct session *s = &w.callers[i].session;

		s->env = &w.env;
		s->service = &w.service;
		s->arena = w.arena;
		s->number = (uint64_t)i;
		s->flow.protocol = 6;
		assert_int_equal(endpoint_parse(SLICE("192.0.2.1:1025"), &s->client), 0);
		assert_int_equal(endpoint_parse(SLICE("198.51.100.1:25"), &s->client_local), 0);
		assert_int_equal(proxy_state_init(&s->state, &w.policy, &w.config, w.arena), 0);
		s->proxy = (struct proxy){ .type = &toy, .config = s->state.config, .run = s->state.run, .session = s,
					   .id = SLICE("svc/i/toys:0/i/toy"), .arena = w.arena };
	}
	return 0;
}

static int set_up_connected(void **state)
{
	set_up(state);
	w.end = connect_server();
	turn(0);
	return 0;
}

static int tear_down(void **state)
{
	for (int i = 0; i < N_CALLERS; i++) {
		if (w.callers[i].co != NULL && !w.callers[i].done)
			co_cancel(w.callers[i].co);
	}
	turn(0);
	for (int i = 0; i < N_CALLERS; i++)
		toy_host->forget(toy_host, &w.callers[i].session.proxy);
	callback_host_free(&w.host);
	if (w.end.control > 0)
		close_end(&w.end);
	loop_free(&w.loop);
	arena_free(&w.arena);
	return 0;
}

/* --- sessions */

static co_waits void caller_main(void *arg)
{
	struct caller *c = arg;
	bool has_arg = c->arg.kind != CALL_NONE;

	c->err = toy_host->call(toy_host, &c->session.proxy, c->callback, c->method, &c->arg, has_arg, &c->result,
				co_now() + c->limit_ms);
	c->done = true;
}

static struct caller *start(int i, int32_t callback, int64_t limit_ms)
{
	struct caller *c = &w.callers[i];

	assert_true(c->co == NULL || c->done);
	c->callback = callback;
	c->limit_ms = limit_ms;
	c->done = false;
	c->err = 1;
	c->result = (struct call_value){ .kind = CALL_NONE };
	c->co = co_spawn(w.loop, caller_main, c);
	assert_non_null(c->co);
	turn(0);
	return c;
}

/* --- the host's part */

static json_t *hear(int fd)
{
	static char buf[CALLBACK_PACKET_MAX];
	ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	json_t *json;

	if (n <= 0)
		return NULL;
	json = json_loadb(buf, (size_t)n, JSON_ALLOW_NUL, NULL);
	assert_non_null(json);
	return json;
}

static void expect(int fd, const char *op)
{
	json_t *json = hear(fd);

	assert_non_null(json);
	assert_string_equal(json_string_value(json_object_get(json, "op")), op);
	json_decref(json);
}

static void say_octets(int fd, const void *octets, size_t n)
{
	assert_int_equal(send(fd, octets, n, MSG_NOSIGNAL), n);
	turn(0);
}

static void say(int fd, const char *text)
{
	say_octets(fd, text, strlen(text));
}

/* The conversation that has a packet; -1: none. */
static int speaking(void)
{
	char c;

	for (int i = 0; i < N_TALKS; i++)
		if (recv(w.end.talks[i], &c, 1, MSG_DONTWAIT | MSG_PEEK) > 0)
			return w.end.talks[i];
	return -1;
}

static int called(void)
{
	int fd = speaking();

	assert_true(fd >= 0);
	expect(fd, "call");
	return fd;
}

static int64_t ping_number(void)
{
	json_t *json;

	while ((json = hear(w.end.control)) != NULL) {
		int64_t number = json_integer_value(json_object_get(json, "number"));
		bool is_ping = strcmp(json_string_value(json_object_get(json, "op")), "ping") == 0;

		json_decref(json);
		if (is_ping)
			return number;
	}
	return -1;
}

static void pong(int64_t number)
{
	char text[64];

	snprintf(text, sizeof(text), "{\"op\":\"pong\",\"number\":%d}", (int)number);
	say(w.end.control, text);
}

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

static const struct toy_run *run_of(int i)
{
	return w.callers[i].session.proxy.run;
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

/* --- what a host must not send */

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

/* --- late calls, and servers that do not answer */

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

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up_connected, tear_down)

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
		CASE(test_nested_call_on_the_same_conversation),
		CASE(test_nested_call_that_raises),
		CASE(test_nesting_is_bounded),
		CASE(test_late_inner_call_ends_the_outer_one),
		CASE(test_malformed_packets_end_the_conversation),
		CASE(test_an_answer_too_many_is_not_the_next_answer),
		CASE(test_oversized_packets),
		CASE(test_an_argument_over_the_limit_is_refused_here),
		CASE(test_log_lines_do_not_keep_a_call_alive),
		CASE(test_log_lines_left_out_are_counted),
		CASE(test_calls_queue_in_order),
		CASE(test_waiting_in_the_queue_has_a_deadline),
		cmocka_unit_test_setup_teardown(test_calls_wait_for_the_server, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_no_server_ever, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_a_server_that_cannot_be_used, set_up, tear_down),
		CASE(test_a_late_call_costs_its_conversation),
		CASE(test_a_new_conversation_takes_the_place),
		CASE(test_a_session_gets_a_new_instance_after_a_late_call),
		CASE(test_a_stuck_server_is_killed),
		CASE(test_a_stuck_server_is_found_before_its_call_is_late),
		CASE(test_a_server_that_answers_may_take_its_time),
		CASE(test_what_a_stuck_server_has_not_read_is_asked_again),
		CASE(test_a_server_that_dies),
		CASE(test_what_a_dead_server_has_not_read_is_asked_again),
		CASE(test_four_threads_that_hang_replace_the_server),
		CASE(test_threads_that_end_do_not_count),
		CASE(test_cancelled_call),
		CASE(test_nonsense_on_the_control_connection),
		CASE(test_configuration),
		CASE(test_own_numbers_end_with_their_server),
		CASE(test_forget),
	};

	null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
