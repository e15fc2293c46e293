/* SPDX-License-Identifier: Apache-2.0 */
#include "callback_test.h"

/* --- time, and the leader */

int64_t now_ms;

static int64_t read_clock(struct clock *clock)
{
	return now_ms;
}

static struct clock virtual_clock = { .monotonic_ms = read_clock, .wall_ms = read_clock };

struct world w;
int null_fd = -1;

static void renew(void *arg, bool kill)
{
	w.renewals++;
	w.kills += kill;
}

void turn(int64_t ms)
{
	now_ms += ms;
	for (int i = 0; i < 8; i++)
		loop_turn(w.loop, 0);
}

struct server_end connect_server(void)
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

void close_end(struct server_end *end)
{
	close(end->control);
	for (int i = 0; i < N_TALKS; i++)
		close(end->talks[i]);
}

int set_up(void **state)
{
	memset(&w, 0, sizeof(w));
	now_ms = 1000;
	if (null_fd < 0)
		null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
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

int set_up_connected(void **state)
{
	set_up(state);
	w.end = connect_server();
	turn(0);
	return 0;
}

int tear_down(void **state)
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

struct caller *start(int i, int32_t callback, int64_t limit_ms)
{
	struct caller *c = &w.callers[i];

	assert_true(c->co == NULL || c->done);
	c->callback = callback;
	c->limit_ms = limit_ms;
	c->done = false;
	c->err = 1;
	c->result = (struct call_value){ .kind = CALL_NONE };
	c->co = c->session.co = co_spawn(w.loop, caller_main, c);
	assert_non_null(c->co);
	turn(0);
	return c;
}

/* --- the host's part */

json_t *hear(int fd)
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

void expect(int fd, const char *op)
{
	json_t *json = hear(fd);

	assert_non_null(json);
	assert_string_equal(json_string_value(json_object_get(json, "op")), op);
	json_decref(json);
}

void say_octets(int fd, const void *octets, size_t n)
{
	assert_int_equal(send(fd, octets, n, MSG_NOSIGNAL), n);
	turn(0);
}

void say(int fd, const char *text)
{
	say_octets(fd, text, strlen(text));
}

/* The conversation that has a packet; -1: none. */
int speaking(void)
{
	char c;

	for (int i = 0; i < N_TALKS; i++)
		if (recv(w.end.talks[i], &c, 1, MSG_DONTWAIT | MSG_PEEK) > 0)
			return w.end.talks[i];
	return -1;
}

int called(void)
{
	int fd = speaking();

	assert_true(fd >= 0);
	expect(fd, "call");
	return fd;
}

int64_t ping_number(void)
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

void pong(int64_t number)
{
	char text[64];

	snprintf(text, sizeof(text), "{\"op\":\"pong\",\"number\":%d}", (int)number);
	say(w.end.control, text);
}

const struct toy_run *run_of(int i)
{
	return w.callers[i].session.proxy.run;
}
