/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of idle server connections: who may take which, its bounds, and everything that closes one. */
#include "../io/io_test.h"

#include "session/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* The linker leads the library's calls here (--wrap). */
void *__real_calloc(size_t n, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);

static unsigned calls, fail_at;		/* 0 = none */

void *__wrap_calloc(size_t n, size_t size)
{
	return ++calls == fail_at ? NULL : __real_calloc(n, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	return ++calls == fail_at ? NULL : __real_reallocarray(p, n, size);
}

static const struct service services[2];
static const struct pool_limits wide = { .idle_max = 100, .idle_ms = 10000, .age_ms = 100000 };

struct scene {
	struct virtual_clock clock;
	struct loop *loop;
	struct pool *pool;
	struct arena *arena;
	unsigned fds, changes;
};

static void on_change(void *arg)
{
	((struct scene *)arg)->changes++;
}

static void begin(struct scene *s)
{
	memset(s, 0, sizeof(*s));
	s->fds = open_descriptors();
	virtual_clock_init(&s->clock);
	s->loop = loop_create(&s->clock.clock);
	s->pool = pool_create(s->loop);
	s->arena = arena_create(1 << 20, 0);
	assert_non_null(s->loop);
	assert_non_null(s->pool);
	assert_non_null(s->arena);
	pool_on_change(s->pool, on_change, s);
}

static void end(struct scene *s)
{
	pool_free(&s->pool);
	loop_free(&s->loop);
	arena_free(&s->arena);
	assert_int_equal(open_descriptors(), s->fds);
}

static struct endpoint at(const char *text)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse(slice_cstr(text), &e), 0);
	return e;
}

static struct pool_key key_to(const char *target)
{
	return (struct pool_key){ .service = &services[0], .how = { .remote = at(target) } };
}

/* A connection, and its far end. */
static struct pooled connection(struct scene *s, int *far)
{
	struct pooled c = { .opened_ms = loop_now(s->loop), .sessions = 1, .messages = 2, .note = SLICE("220 hi\r\n"),
			    .goodbye = SLICE("QUIT\r\n") };
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
	c.stream = stream_open(s->loop, pair[0]);
	assert_non_null(c.stream);
	*far = pair[1];
	loop_turn(s->loop, 0);
	return c;
}

static int put(struct scene *s, const char *target, const struct pool_limits *limits, int *far)
{
	struct pool_key key = key_to(target);
	struct pooled c = connection(s, far);
	int err = pool_put(s->pool, &key, &c, limits);

	assert_int_equal(c.stream == NULL, err == 0);
	stream_close(&c.stream);
	return err;
}

static int take(struct scene *s, const char *target, struct pooled *out)
{
	struct pool_key key = key_to(target);

	return pool_take(s->pool, &key, s->arena, out);
}

/* What the far end got until its connection was closed. */
static void check_closed(int far, const char *want)
{
	char got[64] = "";
	size_t len = 0;
	ssize_t n;

	while ((n = read(far, got + len, sizeof(got) - 1 - len)) > 0)
		len += (size_t)n;
	assert_true(n == 0 || errno == ECONNRESET);	/* with octets unread */
	assert_string_equal(got, want);
	close(far);
}

static bool is_open(int far)
{
	char c;

	return read(far, &c, 1) < 0 && errno == EAGAIN;
}

static void put_and_take(void **state)
{
	struct scene s;
	struct pooled out;
	int first, second;

	begin(&s);
	assert_int_equal(put(&s, "10.0.0.1:25", &wide, &first), 0);
	assert_int_equal(put(&s, "10.0.0.1:25", &wide, &second), 0);
	assert_int_equal(pool_counts(s.pool)->idle, 2);
	assert_int_equal(take(&s, "10.0.0.1:26", &out), -ENOENT);
	assert_int_equal(take(&s, "10.0.0.2:25", &out), -ENOENT);
	assert_int_equal(take(&s, "10.0.0.1:25", &out), 0);
	assert_true(slice_is(out.note, "220 hi\r\n"));
	assert_int_equal(out.sessions, 1);
	assert_int_equal(out.messages, 2);
	assert_true(is_open(second));
	stream_close(&out.stream);
	check_closed(second, "");		/* the last in is the first out */
	assert_true(is_open(first));
	assert_int_equal(take(&s, "10.0.0.1:25", &out), 0);
	/* It is nobody's but the taker's now: octets and time close it no more. */
	assert_int_equal(write(first, "x", 1), 1);
	s.clock.now += 1000000;
	loop_turn(s.loop, 0);
	assert_int_equal(stream_fill_now(out.stream), 1);
	assert_int_equal(stream_octets_in(out.stream), 1);
	stream_close(&out.stream);
	close(first);
	assert_int_equal(take(&s, "10.0.0.1:25", &out), -ENOENT);
	assert_int_equal(pool_counts(s.pool)->kept, 2);
	assert_int_equal(pool_counts(s.pool)->reused, 2);
	assert_int_equal(pool_counts(s.pool)->closed, 0);
	assert_int_equal(s.changes, 4);
	end(&s);
}

/* Octets that an earlier session read and wrote are not the next one's. */
static void octets_count_anew(void **state)
{
	struct scene s;
	struct pool_key key = key_to("10.0.0.1:25");
	struct pooled c, out;
	int far;

	begin(&s);
	c = connection(&s, &far);
	assert_int_equal(write(far, "hello", 5), 5);
	loop_turn(s.loop, 0);
	assert_int_equal(stream_fill_now(c.stream), 5);
	stream_consume(c.stream, 5);
	assert_int_equal(pool_put(s.pool, &key, &c, &wide), 0);
	assert_int_equal(pool_take(s.pool, &key, s.arena, &out), 0);
	assert_int_equal(stream_octets_in(out.stream), 0);
	assert_int_equal(stream_octets_out(out.stream), 0);
	stream_close(&out.stream);
	close(far);
	end(&s);
}

/* Every part of the key counts. */
static void keys(void **state)
{
	const struct pool_key base = { .service = &services[0], .how = { .remote = at("10.0.0.1:25"), .local = at("10.1.0.1"),
				       .bind = BIND_ADDRESS, .transparent = true, .mark = 7, .tos = 1, .keepalive = true },
				       .leg = { .source = at("10.1.0.1") } };
	struct pool_key other[13];

	for (size_t i = 0; i < ARRAY_LEN(other); i++)
		other[i] = base;
	assert_true(pool_key_equal(&base, &other[0]));
	other[0].service = &services[1];
	other[1].how.remote = at("10.0.0.2:25");
	other[2].how.remote.port = 26;
	other[3].how.local = at("10.1.0.2");
	other[4].how.bind = BIND_NONE;
	other[5].how.transparent = false;
	other[6].how.mark = 8;
	other[7].how.tos = 2;
	other[8].how.keepalive = false;
	other[9].leg.source = at("10.1.0.2");
	other[10].leg.proxy_protocol = 1;
	other[11].leg.header_src = at("10.1.0.1:9");
	other[12].secure.state = 1;
	for (size_t i = 0; i < ARRAY_LEN(other); i++) {
		assert_false(pool_key_equal(&base, &other[i]));
		assert_false(pool_key_equal(&other[i], &base));
	}
}

static void keys_that_repeat(void **state)
{
	static const struct { enum bind_style bind; uint8_t header; bool may; } rows[] = {
		{ BIND_NONE, 0, true }, { BIND_ADDRESS, 0, true }, { BIND_EXACT, 0, false }, { BIND_LOOSE, 0, false },
		{ BIND_RANDOM, 0, false }, { BIND_NONE, 1, false }, { BIND_NONE, 2, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pool_key key = { .how.bind = rows[i].bind, .leg.proxy_protocol = rows[i].header };

		assert_int_equal(pool_key_may_repeat(&key), rows[i].may);
	}
}

static void too_many_to_one_target(void **state)
{
	const struct pool_limits two = { .idle_max = 2, .idle_ms = 1000, .age_ms = 1000 };
	struct scene s;
	int far[4];

	begin(&s);
	assert_int_equal(put(&s, "10.0.0.2:25", &two, &far[3]), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(put(&s, "10.0.0.1:25", &two, &far[i]), 0);
	check_closed(far[0], "QUIT\r\n");
	assert_true(is_open(far[1]));
	assert_true(is_open(far[2]));
	assert_true(is_open(far[3]));		/* another target's place */
	assert_int_equal(pool_counts(s.pool)->idle, 3);
	pool_shut(s.pool);
	for (int i = 1; i < 4; i++)
		check_closed(far[i], "QUIT\r\n");
	assert_int_equal(pool_counts(s.pool)->closed, 4);
	end(&s);
}

static void too_many_at_all(void **state)
{
	struct scene s;
	int far[POOL_MAX + 1];

	begin(&s);
	for (unsigned i = 0; i <= POOL_MAX; i++) {
		char target[32];

		snprintf(target, sizeof(target), "10.0.%u.%u:25", i / 250, i % 250 + 1);
		assert_int_equal(put(&s, target, &wide, &far[i]), 0);
		assert_true(pool_counts(s.pool)->idle <= POOL_MAX);
	}
	check_closed(far[0], "QUIT\r\n");
	assert_true(is_open(far[1]));
	pool_free(&s.pool);
	for (unsigned i = 1; i <= POOL_MAX; i++)
		check_closed(far[i], "QUIT\r\n");
	end(&s);
}

static void ages(void **state)
{
	const struct pool_limits limits = { .idle_max = 9, .idle_ms = 100, .age_ms = 250 };
	struct pool_key key = key_to("10.0.0.1:25");
	struct scene s;
	struct pooled c;
	int far;

	begin(&s);
	/* unused for too long */
	assert_int_equal(put(&s, "10.0.0.1:25", &limits, &far), 0);
	s.clock.now += 99;
	loop_turn(s.loop, 0);
	assert_true(is_open(far));
	s.clock.now += 1;
	loop_turn(s.loop, 0);
	check_closed(far, "QUIT\r\n");
	/* too old, though not unused for long */
	c = connection(&s, &far);
	s.clock.now += 200;
	loop_turn(s.loop, 0);
	assert_int_equal(pool_put(s.pool, &key, &c, &limits), 0);
	s.clock.now += 49;
	loop_turn(s.loop, 0);
	assert_true(is_open(far));
	s.clock.now += 1;
	loop_turn(s.loop, 0);
	check_closed(far, "QUIT\r\n");
	/* too old to be put in */
	c = connection(&s, &far);
	s.clock.now += 250;
	loop_turn(s.loop, 0);
	assert_int_equal(pool_put(s.pool, &key, &c, &limits), -ESTALE);
	stream_close(&c.stream);
	close(far);
	end(&s);
}

static void say_something(int far) { assert_int_equal(write(far, "421 bye\r\n", 9), 9); }
static void half_close(int far) { assert_int_equal(shutdown(far, SHUT_WR), 0); }
static void full_close(int far) { assert_int_equal(shutdown(far, SHUT_RDWR), 0); }

/* Whatever an idle server does closes its connection: noticed by the loop, or by who would take it. */
static void servers_that_move(void **state)
{
	static void (*const moves[])(int far) = { say_something, half_close, full_close };
	struct pooled out;

	for (size_t i = 0; i < ARRAY_LEN(moves) * 2; i++) {
		struct scene s;
		int far;

		begin(&s);
		assert_int_equal(put(&s, "10.0.0.1:25", &wide, &far), 0);
		moves[i / 2](far);
		if (i % 2 == 0)
			loop_turn(s.loop, 0);
		else
			assert_int_equal(take(&s, "10.0.0.1:25", &out), -ENOENT);
		assert_int_equal(pool_counts(s.pool)->idle, 0);
		assert_int_equal(pool_counts(s.pool)->closed, 1);
		check_closed(far, "");
		end(&s);
	}
}

/* A server that moved does not stand before one that did not. */
static void next_best(void **state)
{
	struct scene s;
	struct pooled out;
	int far[2];

	begin(&s);
	assert_int_equal(put(&s, "10.0.0.1:25", &wide, &far[0]), 0);
	assert_int_equal(put(&s, "10.0.0.1:25", &wide, &far[1]), 0);
	half_close(far[1]);
	assert_int_equal(take(&s, "10.0.0.1:25", &out), 0);
	check_closed(far[1], "");
	assert_true(is_open(far[0]));
	stream_close(&out.stream);
	close(far[0]);
	end(&s);
}

static void queue_octets(void *arg)
{
	assert_int_equal(stream_write(arg, SLICE("x"), 0), 0);
}

static void refusals(void **state)
{
	static const uint8_t octets[POOL_NOTE_MAX + 1];
	const struct pool_limits none = { .idle_max = 0, .idle_ms = 100, .age_ms = 100 };
	struct pool_key key = key_to("10.0.0.1:25"), exact = key, header = key;
	struct pooled c;
	struct scene s;
	int far;

	begin(&s);
	exact.how.bind = BIND_EXACT;
	header.leg.proxy_protocol = 2;
	c = connection(&s, &far);
	assert_int_equal(pool_put(s.pool, &exact, &c, &wide), -EADDRINUSE);
	assert_int_equal(pool_put(s.pool, &header, &c, &wide), -EADDRINUSE);
	assert_int_equal(pool_put(s.pool, &key, &c, &none), -ESTALE);
	c.note = slice_of(octets, sizeof(octets));
	assert_int_equal(pool_put(s.pool, &key, &c, &wide), -EMSGSIZE);
	c.note.len--;
	assert_int_equal(pool_put(s.pool, &key, &c, &wide), 0);
	pool_shut(s.pool);
	check_closed(far, "QUIT\r\n");
	assert_int_equal(put(&s, "10.0.0.1:25", &wide, &far), -ESHUTDOWN);
	close(far);
	end(&s);
	/* octets that wait in one direction or the other */
	for (int i = 0; i < 4; i++) {
		begin(&s);
		c = connection(&s, &far);
		if (i < 2)
			say_something(far);
		if (i == 0) {
			loop_turn(s.loop, 0);
			assert_int_equal(stream_fill_now(c.stream), 9);
		} else if (i == 2) {
			half_close(far);
		} else if (i == 3) {
			assert_non_null(co_spawn(s.loop, queue_octets, c.stream));
			loop_turn(s.loop, 0);
			assert_int_equal(stream_unsent(c.stream), 1);
		}
		assert_int_equal(pool_put(s.pool, &key, &c, &wide), -ENOTCONN);
		assert_non_null(c.stream);
		stream_close(&c.stream);
		close(far);
		end(&s);
	}
}

/* Each allocation of putting and taking fails in turn: then the connection stays whose it was. */
static void no_memory(void **state)
{
	struct pool_key key = key_to("10.0.0.1:25");
	unsigned failed = 0;

	for (unsigned at_call = 1; at_call < 20; at_call++) {
		struct scene s;
		struct pooled c, out;
		int far, err;

		begin(&s);
		c = connection(&s, &far);
		calls = 0;
		fail_at = at_call;
		err = pool_put(s.pool, &key, &c, &wide);
		fail_at = 0;
		if (err != 0) {
			assert_true(err == -ENOMEM || err == -ENOTCONN);	/* it could not be asked */
			failed++;
		} else {
			assert_int_equal(pool_take(s.pool, &key, s.arena, &out), 0);
			c.stream = out.stream;
		}
		stream_close(&c.stream);
		close(far);
		end(&s);
	}
	assert_true(failed >= 2);	/* the entry, the timers */
}

/* No room for the note: the connection stays where it was. */
static void no_room_to_take(void **state)
{
	struct pool_key key = key_to("10.0.0.1:25");
	struct arena *tight = arena_create(64, 0);
	struct scene s;
	struct pooled out;
	int far;

	begin(&s);
	assert_int_equal(put(&s, "10.0.0.1:25", &wide, &far), 0);
	while (arena_alloc(tight, 16) != NULL)
		;
	assert_int_equal(pool_take(s.pool, &key, tight, &out), -ENOMEM);
	assert_int_equal(pool_counts(s.pool)->idle, 1);
	pool_shut(s.pool);
	check_closed(far, "QUIT\r\n");
	end(&s);
	arena_free(&tight);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(put_and_take), cmocka_unit_test(octets_count_anew), cmocka_unit_test(keys),
		cmocka_unit_test(keys_that_repeat), cmocka_unit_test(too_many_to_one_target), cmocka_unit_test(too_many_at_all),
		cmocka_unit_test(ages), cmocka_unit_test(servers_that_move), cmocka_unit_test(next_best), cmocka_unit_test(refusals),
		cmocka_unit_test(no_memory), cmocka_unit_test(no_room_to_take),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
