/* SPDX-License-Identifier: Apache-2.0 */
/* Streams over TLS: bulk, full sockets, relays, ends. Our end towards a client writes or relays. */
#include "tls_test.h"

#include "io/relay.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct pair p;

/* Octets that show where they stand. */
static uint8_t octet_at(size_t i)
{
	return (uint8_t)(i * 2654435761u >> 13);
}

#define BULK (3u << 20)

static uint8_t *bulk;

static co_waits void write_bulk(struct end *e)
{
	size_t at = 0, piece = 1;

	while (at < BULK) {
		size_t n = BULK - at < piece ? BULK - at : piece;

		/* By turns queued, written through, and in pieces of every size. */
		if (piece % 3 == 0)
			assert_int_equal(stream_write_through(e->stream, slice_of(bulk + at, n), DEADLINE_NEVER), 0);
		else
			assert_int_equal(stream_write(e->stream, slice_of(bulk + at, n), DEADLINE_NEVER), 0);
		at += n;
		piece = piece * 5 % 70001 + 1;
	}
	assert_int_equal(stream_shutdown_write(e->stream, DEADLINE_NEVER), 0);
	assert_int_equal(stream_fill(e->stream, DEADLINE_NEVER), 0);
}

static size_t got;

static co_waits void read_bulk(struct end *e)
{
	ssize_t n;

	got = 0;
	while ((n = stream_fill(e->stream, DEADLINE_NEVER)) > 0) {
		struct slice s = stream_peek(e->stream);

		assert_true(got + s.len <= BULK);
		assert_memory_equal(s.ptr, bulk + got, s.len);
		got += s.len;
		stream_consume(e->stream, s.len);
		if (got % 7 == 0)
			assert_int_equal(co_sleep(co_now() + 1), 0);
	}
	assert_int_equal(n, 0);
	assert_int_equal(stream_shutdown_write(e->stream, DEADLINE_NEVER), 0);
}

static void small_socket(int fd)
{
	int size = 4096;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
}

static void moves_bulk(void **state)
{
	static const uint16_t versions[] = { 0x0301, 0x0303, 0x0304 };

	for (size_t i = 0; i < ARRAY_LEN(versions); i++) {
		world_setup(NULL);
		client_end()->options.version_min = client_end()->options.version_max = versions[i];
		server_end()->options.version_min = 0x0301;
		world_build();
		world_open(&p);
		small_socket(stream_fd(p.client.stream));
		p.client.then = write_bulk;
		p.server.then = read_bulk;
		pair_run(&p);
		assert_int_equal(got, BULK);
		assert_int_equal(stream_octets_out(p.client.stream), BULK);
		assert_int_equal(stream_octets_in(p.server.stream), BULK);
		pair_close(&p);
		world_teardown(NULL);
	}
}

/* Both directions full at the same time. */

static co_waits void both_ways(struct end *e)
{
	size_t at = 0;

	while (at < BULK) {
		struct stream_wait set = { e->stream, LOOP_READ | (at < BULK ? LOOP_WRITE : 0), 0 };
		size_t n = BULK - at < 9000 ? BULK - at : 9000;

		assert_int_equal(streams_wait(&set, 1, DEADLINE_NEVER), 1);
		if ((set.got & LOOP_READ) != 0) {
			assert_true(stream_fill_now(e->stream) >= 0);
			stream_consume(e->stream, stream_peek(e->stream).len);
		}
		if ((set.got & LOOP_WRITE) != 0 && stream_unsent(e->stream) == 0) {
			assert_int_equal(stream_write(e->stream, slice_of(bulk + at, n), DEADLINE_NEVER), 0);
			at += n;
		}
		assert_int_equal(stream_push(e->stream), 0);
	}
	while (stream_unsent(e->stream) > 0) {
		struct stream_wait set = { e->stream, LOOP_READ | LOOP_WRITE, 0 };

		assert_int_equal(streams_wait(&set, 1, DEADLINE_NEVER), 1);
		if ((set.got & LOOP_READ) != 0) {
			assert_true(stream_fill_now(e->stream) >= 0);
			stream_consume(e->stream, stream_peek(e->stream).len);
		}
		assert_int_equal(stream_push(e->stream), 0);
	}
	assert_int_equal(stream_shutdown_write(e->stream, DEADLINE_NEVER), 0);
	for (;;) {
		ssize_t n = stream_fill(e->stream, DEADLINE_NEVER);

		assert_true(n >= 0);
		if (n == 0)
			return;
		stream_consume(e->stream, (size_t)n);
	}
}

static void full_duplex(void **state)
{
	world_build();
	world_open(&p);
	small_socket(stream_fd(p.client.stream));
	small_socket(stream_fd(p.server.stream));
	p.client.then = p.server.then = both_ways;
	pair_run(&p);
	assert_int_equal(stream_octets_in(p.client.stream), BULK);
	assert_int_equal(stream_octets_in(p.server.stream), BULK);
	pair_close(&p);
}

/* A write that gives up may have begun to be sent: nothing else may follow it. */
static co_waits void give_up(struct end *e)
{
	static uint8_t filler[60000];
	int err = 0;

	while (err == 0)
		err = stream_write_through(e->stream, slice_of(filler, sizeof(filler)), co_now() + 10);
	assert_int_equal(err, -ETIMEDOUT);
	/* At once, before anything went: the same. */
	assert_int_equal(stream_error(e->stream), -ETIMEDOUT);
	assert_int_equal(stream_write(e->stream, SLICE("x"), DEADLINE_NEVER), -ETIMEDOUT);
}

static co_waits void give_up_single(struct end *e)
{
	int err = 0;

	while (err == 0)
		err = stream_write_through(e->stream, SLICE("x"), co_now() + 10);
	assert_int_equal(err, -ETIMEDOUT);
	assert_int_equal(stream_error(e->stream), -ETIMEDOUT);
}

static co_waits void wait_long(struct end *e)
{
	assert_int_equal(co_sleep(co_now() + 100000), 0);
}

static void timed_out_writes(void **state)
{
	void (*const rows[])(struct end *) = { give_up, give_up_single };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		world_setup(NULL);
		world_build();
		world_open(&p);
		small_socket(stream_fd(p.client.stream));
		p.client.then = rows[i];
		p.server.then = wait_long;
		pair_run(&p);
		pair_close(&p);
		world_teardown(NULL);
	}
}

/* Queued octets stay queued over a wait that ends early. */
static co_waits void queue_and_retry(struct end *e)
{
	static uint8_t filler[10000];
	size_t at = 0;
	int err = 0;

	while (err == 0) {
		memcpy(filler, bulk + at, sizeof(filler));
		err = stream_write(e->stream, slice_of(filler, sizeof(filler)), DEADLINE_NEVER);
		assert_int_equal(err, 0);
		at += sizeof(filler);
		memset(filler, 0, sizeof(filler));
		err = stream_flush(e->stream, co_now() + 1);
	}
	assert_int_equal(err, -ETIMEDOUT);
	while (at < BULK) {
		size_t n = BULK - at < 100 ? BULK - at : 100;

		assert_int_equal(stream_write(e->stream, slice_of(bulk + at, n), DEADLINE_NEVER), 0);
		at += n;
	}
	assert_int_equal(stream_shutdown_write(e->stream, DEADLINE_NEVER), 0);
	assert_int_equal(stream_fill(e->stream, DEADLINE_NEVER), 0);
}

static co_waits void read_late(struct end *e)
{
	assert_int_equal(co_sleep(co_now() + 100), 0);
	read_bulk(e);
}

static void queued_writes(void **state)
{
	world_build();
	world_open(&p);
	small_socket(stream_fd(p.client.stream));
	p.client.then = queue_and_retry;
	p.server.then = read_late;
	pair_run(&p);
	assert_int_equal(got, BULK);
	pair_close(&p);
}

/* Many records in one segment: each fill brings what is there, and nothing is forgotten. */
static co_waits void write_lines(struct end *e)
{
	for (int i = 0; i < 50; i++) {
		assert_int_equal(stream_write(e->stream, SLICE("line\r\n"), DEADLINE_NEVER), 0);
		assert_int_equal(stream_push(e->stream), 0);
	}
	assert_int_equal(stream_fill(e->stream, DEADLINE_NEVER), 3);
}

static co_waits void read_lines(struct end *e)
{
	size_t n = 0;

	while (n < 300) {
		struct stream_wait set = { e->stream, LOOP_READ, 0 };

		assert_int_equal(streams_wait(&set, 1, co_now() + 1000), 1);
		assert_true(stream_fill_now(e->stream) > 0);
		n += stream_peek(e->stream).len;
		stream_consume(e->stream, stream_peek(e->stream).len);
	}
	assert_int_equal(n, 300);
	assert_true(stream_is_quiet(e->stream));
	assert_int_equal(stream_write(e->stream, SLICE("end"), DEADLINE_NEVER), 0);
	assert_int_equal(stream_flush(e->stream, DEADLINE_NEVER), 0);
}

static void many_records(void **state)
{
	world_build();
	world_open(&p);
	p.client.then = write_lines;
	p.server.then = read_lines;
	pair_run(&p);
	pair_close(&p);
}

/* A relay between TLS and plain text. */

static struct stream *plain;
static int plain_far;
static struct relay_counts counts;
static int relay_result;

static co_waits void relay_there(struct end *e)
{
	struct relay_options options = { .half_close = true, .idle_ms = 60000 };
	bool fault_server;

	relay_result = relay_run(e->stream, plain, &options, &counts, &fault_server);
}

static co_waits void write_plain(void *arg)
{
	size_t at = 0;

	while (at < BULK) {
		ssize_t n = send(plain_far, bulk + at, BULK - at, MSG_NOSIGNAL);

		assert_true(n > 0 || errno == EAGAIN);
		if (n > 0)
			at += (size_t)n;
		else
			assert_int_equal(co_sleep(co_now() + 1), 0);
	}
	shutdown(plain_far, SHUT_WR);
}

static void relays(void **state)
{
	int fd[2];

	world_build();
	world_open(&p);
	small_socket(stream_fd(p.client.stream));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	plain = stream_open(p.loop, fd[0]);
	plain_far = fd[1];
	p.client.then = relay_there;
	p.server.then = read_bulk;
	assert_non_null(co_spawn(p.loop, write_plain, NULL));
	pair_run(&p);
	assert_int_equal(relay_result, 0);
	assert_int_equal(counts.to_client, BULK);
	assert_int_equal(got, BULK);
	stream_close(&plain);
	close(plain_far);
	pair_close(&p);
}

/* Ends. */

static int end_seen;

static co_waits void close_it(struct end *e)
{
	stream_close(&e->stream);
}

static co_waits void reset_it(struct end *e)
{
	stream_reset(&e->stream);
}

static co_waits void see_end(struct end *e)
{
	end_seen = (int)stream_fill(e->stream, DEADLINE_NEVER);
}

/* A close says that nothing was cut off, a reset does not. */
static void ends(void **state)
{
	static const struct { void (*how)(struct end *); int seen; } rows[] = { { close_it, 0 }, { reset_it, -EPROTO } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		world_setup(NULL);
		world_build();
		world_open(&p);
		p.client.then = rows[i].how;
		p.server.then = see_end;
		pair_run(&p);
		assert_int_equal(p.client.result, 0);
		assert_int_equal(p.server.result, 0);
		assert_int_equal(end_seen, rows[i].seen);
		pair_close(&p);
		world_teardown(NULL);
	}
}

static int create(void **state)
{
	bulk = malloc(BULK);
	assert_non_null(bulk);
	for (size_t i = 0; i < BULK; i++)
		bulk[i] = octet_at(i);
	return world_create(state);
}

static int removal(void **state)
{
	free(bulk);
	return world_remove(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(moves_bulk),
		cmocka_unit_test_setup_teardown(full_duplex, world_setup, world_teardown),
		cmocka_unit_test(timed_out_writes),
		cmocka_unit_test_setup_teardown(queued_writes, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(many_records, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(relays, world_setup, world_teardown),
		cmocka_unit_test(ends),
	};

	return cmocka_run_group_tests(tests, create, removal);
}
