/* SPDX-License-Identifier: Apache-2.0 */
#include "io_test.h"

#include "io/relay.h"
#include "io/stream.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * client_far --- client [relay] server --- server_far. Two more coroutines play the ends: each
 * writes its octets in random pieces and reads and checks the other's.
 */
struct end {
	int fd;
	size_t writes, written;		/* octets to write; done */
	size_t expects, read;		/* octets to come; came */
	unsigned seed, kind;
	size_t piece_max;
	size_t bulk;			/* not 0: after so many octets, slowly in small pieces */
	int64_t pause_ms;		/* between tries of one that gets nowhere; 0 = 1 */
	bool slow, resets, saw_eof, failed, stays;
};

struct scene {
	struct loop *loop;
	struct stream *client, *server;
	struct end client_far, server_far;
	struct relay_options options;
	struct relay_counts counts;
	bool fault_server;
	int result;
	int64_t took_ms;
	unsigned descriptors;
};

static uint8_t octet(unsigned kind, size_t i)
{
	return (uint8_t)(i * 13 + i / 253 + kind * 101);
}

static void tcp_pair(int fd[2])
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t size = sizeof(sa);
	int l = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(l, (struct sockaddr *)&sa, size), 0);
	assert_int_equal(listen(l, 1), 0);
	assert_int_equal(getsockname(l, (struct sockaddr *)&sa, &size), 0);
	fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fd[0], (struct sockaddr *)&sa, size), 0);
	set_nonblocking(fd[0]);
	fd[1] = accept4(l, NULL, NULL, SOCK_NONBLOCK);
	assert_true(fd[1] >= 0);
	close(l);
}

static void scene_open(struct scene *s, struct loop *loop, bool tcp)
{
	int c[2], d[2];

	memset(s, 0, sizeof(*s));
	s->descriptors = open_descriptors();
	s->loop = loop;
	if (tcp) {
		tcp_pair(c);
		tcp_pair(d);
	} else {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, c), 0);
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, d), 0);
	}
	s->client = stream_open(loop, c[0]);
	s->server = stream_open(loop, d[0]);
	s->client_far = (struct end){ .fd = c[1], .seed = 1, .kind = 1, .piece_max = 3000 };
	s->server_far = (struct end){ .fd = d[1], .seed = 2, .kind = 2, .piece_max = 3000 };
	s->options.half_close = true;
	s->result = 99;
}

static void scene_close(struct scene *s)
{
	stream_close(&s->client);
	stream_close(&s->server);
	if (s->client_far.fd >= 0)
		close(s->client_far.fd);
	if (s->server_far.fd >= 0)
		close(s->server_far.fd);
	assert_int_equal(stream_pool_in_use(s->loop), 0);
}

static void end_writes(struct end *e)
{
	static uint8_t piece[65536];
	size_t len = 1 + (size_t)rand_r(&e->seed) % e->piece_max;
	ssize_t n;

	if (e->bulk > 0 && e->written >= e->bulk) {
		len = 1 + len % 100;
		e->slow = true;
	}
	if (len > e->writes - e->written)
		len = e->writes - e->written;
	for (size_t i = 0; i < len; i++)
		piece[i] = octet(e->kind, e->written + i);
	n = send(e->fd, piece, len, MSG_NOSIGNAL);
	if (n > 0)
		e->written += (size_t)n;
	else if (errno != EAGAIN)
		e->failed = true;
	if (e->written == e->writes && !e->stays && !e->resets)
		shutdown(e->fd, SHUT_WR);
}

static void end_reads(struct end *e)
{
	static uint8_t piece[65536];
	ssize_t n = read(e->fd, piece, e->slow ? 1000 : sizeof(piece));

	for (ssize_t i = 0; i < n; i++) {
		if (piece[i] != octet(3 - e->kind, e->read++))
			fail_msg("octet %zu differs", e->read - 1);
	}
	if (n == 0)
		e->saw_eof = true;
	if (n < 0 && errno != EAGAIN)
		e->failed = true;
}

static void end_run(void *arg)
{
	struct end *e = arg;
	int err = 0;

	if (e->writes == 0 && !e->stays && !e->resets)
		shutdown(e->fd, SHUT_WR);
	while (err == 0 && !e->failed && !(e->saw_eof && e->written == e->writes)) {
		size_t before = e->written + e->read;

		if (e->written < e->writes)
			end_writes(e);
		if (!e->saw_eof)
			end_reads(e);
		if (e->resets && e->written == e->writes && e->read >= e->expects) {
			struct linger l = { 1, 0 };

			setsockopt(e->fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
			break;
		}
		err = e->written + e->read > before && !e->slow ? co_yield() :
			co_sleep(co_now() + (e->pause_ms > 0 ? e->pause_ms : 1));
		if (e->stays && e->written == e->writes && e->read >= e->expects)
			return;
	}
	if (!e->stays) {
		close(e->fd);
		e->fd = -1;
	}
}

static void relay_run_(void *arg)
{
	struct scene *s = arg;
	int64_t start = co_now();

	s->result = relay_run(s->client, s->server, &s->options, &s->counts, &s->fault_server);
	s->took_ms = co_now() - start;
	stream_close(&s->client);
	stream_close(&s->server);
}

static void scene_play(struct scene *s)
{
	assert_non_null(co_spawn(s->loop, relay_run_, s));
	assert_non_null(co_spawn(s->loop, end_run, &s->client_far));
	assert_non_null(co_spawn(s->loop, end_run, &s->server_far));
	loop_run(s->loop);
	assert_int_equal(loop_coroutines(s->loop), 0);
}

static struct virtual_clock clock_;
static struct loop *loop;
static struct scene scene;

static int setup(void **state)
{
	virtual_clock_init(&clock_);
	loop = loop_create(&clock_.clock);
	scene_open(&scene, loop, false);
	return 0;
}

static int setup_tcp(void **state)
{
	loop = loop_create(&clock_system);
	scene_open(&scene, loop, true);
	return 0;
}

static int teardown(void **state)
{
	unsigned descriptors = scene.descriptors;

	scene_close(&scene);
	assert_true(open_descriptors() <= descriptors + 8 * 2);		/* pipes kept warm */
	loop_free(&loop);
	assert_int_equal(open_descriptors() + 1, descriptors);
	return 0;
}

static void expect_counts(size_t to_server, size_t to_client)
{
	assert_int_equal(scene.counts.to_server, to_server);
	assert_int_equal(scene.counts.to_client, to_client);
	assert_int_equal(scene.server_far.read, to_server);
	assert_int_equal(scene.client_far.read, to_client);
}

/* Octets. */

static void random_sizes_both_ways(void **state)
{
	scene.client_far.writes = 1234567;
	scene.server_far.writes = 2345678;
	scene_play(&scene);
	assert_int_equal(scene.result, 0);
	expect_counts(1234567, 2345678);
	assert_true(scene.client_far.saw_eof && scene.server_far.saw_eof);
}

static void slow_readers(void **state)
{
	scene.client_far.writes = 400000;
	scene.server_far.writes = 700000;
	scene.client_far.piece_max = scene.server_far.piece_max = 65536;
	scene.client_far.slow = scene.server_far.slow = true;
	scene_play(&scene);
	assert_int_equal(scene.result, 0);
	expect_counts(400000, 700000);
}

static void small_buffers(void **state)
{
	scene.options.buffer_octets = 100;
	scene.client_far.writes = 5050;
	scene.client_far.piece_max = 50;
	scene_play(&scene);
	assert_int_equal(scene.result, 0);
	expect_counts(5050, 0);
	assert_true(scene.counts.reads_to_server >= 51);
}

/* Bulk is spliced: far fewer reads than copying would need, and exact. */
static void bulk_is_spliced(void **state)
{
	scene.client_far.writes = 20 * 1024 * 1024 + 17;
	scene.server_far.writes = 3 * 1024 * 1024 + 1;
	scene.client_far.piece_max = scene.server_far.piece_max = 65536;
	scene.options.buffer_octets = 1500;
	scene_play(&scene);
	assert_int_equal(scene.result, 0);
	expect_counts(20 * 1024 * 1024 + 17, 3 * 1024 * 1024 + 1);
	assert_true(scene.counts.reads_to_server < scene.counts.to_server / 6000);
}

/* After the bulk come small pieces: back to copying, the pipe is free for others. */
static void bulk_and_then_small(void **state)
{
	scene.client_far.writes = 2005000;
	scene.client_far.bulk = 2000000;
	scene.client_far.piece_max = 65536;
	scene_play(&scene);
	assert_int_equal(scene.result, 0);
	expect_counts(2005000, 0);
}

static void what_was_buffered_goes_first(void **state)
{
	uint8_t first[300];

	for (size_t i = 0; i < sizeof(first); i++)
		first[i] = octet(1, i);
	/* 100 octets queued for the server, 200 read from the client already. */
	assert_int_equal(stream_write(scene.server, slice_of(first, 100), DEADLINE_NEVER), 0);
	assert_int_equal(write(scene.client_far.fd, first + 100, 200), 200);
	loop_turn(loop, 0);
	assert_int_equal(stream_fill_now(scene.client), 200);
	scene.client_far.written = 300;
	scene.client_far.writes = 5000;
	scene_play(&scene);
	assert_int_equal(scene.result, 0);
	assert_int_equal(scene.server_far.read, 5000);
	assert_int_equal(scene.counts.to_server, 4900);
}

/* Ends. */

static void half_close_is_kept(void **state)
{
	scene.client_far.writes = 10;		/* ends at once; the server goes on for long */
	scene.server_far.writes = 100000;
	scene.server_far.slow = true;
	scene.server_far.piece_max = 1000;
	scene_play(&scene);
	assert_int_equal(scene.result, 0);
	expect_counts(10, 100000);
	assert_true(scene.took_ms > 50);
}

static void without_half_close_one_end_ends_both(void **state)
{
	scene.options.half_close = false;
	scene.client_far.writes = 5000;
	scene.server_far.stays = true;		/* would never end */
	scene.server_far.expects = 5000;
	scene_play(&scene);
	assert_int_equal(scene.result, 0);
	expect_counts(5000, 0);
}

/* The other side does not take what it should: not forever. */
static void draining_is_bounded(void **state)
{
	scene.options.half_close = false;
	scene.client_far.stays = true;		/* does not read */
	scene.client_far.writes = 1;
	scene.server_far.writes = 600000;
	scene.server_far.pause_ms = 100;
	scene.server_far.piece_max = 65536;
	scene.server_far.stays = true;
	scene.client_far.expects = 0;
	assert_non_null(co_spawn(loop, end_run, &scene.server_far));
	assert_non_null(co_spawn(loop, relay_run_, &scene));
	loop_turn(loop, 0);
	for (int i = 0; i < 30; i++)
		loop_turn(loop, 1);
	assert_int_equal(shutdown(scene.client_far.fd, SHUT_WR), 0);
	while (scene.result == 99)
		loop_turn(loop, 1000);
	assert_int_equal(scene.result, -ETIMEDOUT);
	assert_true(scene.took_ms >= RELAY_DRAIN_MS);
	scene.server_far.writes = scene.server_far.written;
	loop_run(loop);
}

static void the_failing_side_is_named(void **state)
{
	scene.client_far.stays = true;
	scene.server_far.resets = true;
	scene.server_far.writes = 5;
	scene_play(&scene);
	assert_int_equal(scene.result, -ECONNRESET);
	assert_true(scene.fault_server);
}

/* The server half-closed, so nobody reads from it any more; then it is gone. */
static void a_reset_after_the_end_of_file_is_noticed(void **state)
{
	struct linger l = { 1, 0 };

	scene.client_far.stays = true;
	assert_non_null(co_spawn(loop, relay_run_, &scene));
	assert_int_equal(shutdown(scene.server_far.fd, SHUT_WR), 0);
	for (int i = 0; i < 10; i++)
		loop_turn(loop, 1);
	assert_int_equal(scene.result, 99);
	setsockopt(scene.server_far.fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(scene.server_far.fd);
	scene.server_far.fd = -1;
	loop_run(loop);
	assert_int_equal(scene.result, -EPIPE);
	assert_true(scene.fault_server);
}

static void the_failing_client_is_named(void **state)
{
	scene.server_far.stays = true;
	scene.client_far.resets = true;
	scene.client_far.writes = 5;
	scene_play(&scene);
	assert_int_equal(scene.result, -ECONNRESET);
	assert_false(scene.fault_server);
}

/* Limits. */

static void idle_time(void **state)
{
	scene.client_far.writes = 100;
	scene.client_far.piece_max = 10;
	scene.client_far.slow = true;
	scene.client_far.stays = scene.server_far.stays = true;
	scene.server_far.expects = 100;
	scene.options.idle_ms = 500;
	scene_play(&scene);
	assert_int_equal(scene.result, -ETIMEDOUT);
	expect_counts(100, 0);
	assert_true(scene.took_ms > 510 && scene.took_ms < 700);	/* from the last octet on */
}

static void total_time(void **state)
{
	scene.client_far.writes = 1000000;
	scene.client_far.piece_max = 10;
	scene.client_far.slow = true;
	scene.options.idle_ms = 100;
	scene.options.total_ms = 1000;
	scene_play(&scene);
	assert_int_equal(scene.result, -ETIMEDOUT);
	assert_int_equal(scene.took_ms, 1000);
}

static void exactly_the_limit_passes(void **state)
{
	scene.options.max_to_server = scene.client_far.writes = 50000;
	scene.options.max_to_client = scene.server_far.writes = 2000000;
	scene.server_far.piece_max = 65536;
	scene_play(&scene);
	assert_int_equal(scene.result, 0);
	expect_counts(50000, 2000000);
}

static void one_over_the_limit_does_not(void **state)
{
	scene.options.max_to_server = 50000;
	scene.client_far.writes = 50001;
	scene.client_far.stays = true;
	scene.server_far.stays = true;
	scene.server_far.expects = 50000;
	scene_play(&scene);
	assert_int_equal(scene.result, -EDQUOT);
	expect_counts(50000, 0);
}

static void one_over_the_limit_while_splicing(void **state)
{
	scene.options.max_to_client = 2000000;
	scene.server_far.writes = 2000001;
	scene.server_far.piece_max = 65536;
	scene.server_far.stays = true;
	scene.client_far.stays = true;
	scene.client_far.expects = 2000000;
	scene_play(&scene);
	assert_int_equal(scene.result, -EDQUOT);
	expect_counts(0, 2000000);
}

static void discarding(void **state)
{
	scene.options.discard_to_server = true;
	scene.client_far.writes = 100000;
	scene.server_far.writes = 100;
	scene_play(&scene);
	assert_int_equal(scene.result, 0);
	assert_int_equal(scene.counts.to_server, 100000);
	assert_int_equal(scene.server_far.read, 0);
	assert_int_equal(scene.client_far.read, 100);
}

/* What comes in bulk and can't be spliced is read in large pieces, unless somebody counts them. */
static void reads_in_bulk(void **state)
{
	scene.options.discard_to_server = true;
	scene.client_far.writes = 1 << 20;
	scene.client_far.piece_max = 65536;
	scene_play(&scene);
	assert_int_equal(scene.result, 0);
	assert_int_equal(scene.counts.to_server, 1 << 20);
	assert_true(scene.counts.reads_to_server < (1 << 20) / STREAM_CHUNK);
}

static void counted_reads_in_bulk(void **state)
{
	scene.options.discard_to_server = true;
	scene.options.buffer_octets = STREAM_CHUNK;
	scene.client_far.writes = 1 << 20;
	scene.client_far.piece_max = 65536;
	scene_play(&scene);
	assert_true(scene.counts.reads_to_server >= (1 << 20) / STREAM_CHUNK);
}

/* Even what is thrown away is limited. */
static void discarding_has_a_limit(void **state)
{
	scene.options.discard_to_server = true;
	scene.options.max_to_server = 1000;
	scene.client_far.writes = 100000;
	scene.client_far.stays = scene.server_far.stays = true;
	scene_play(&scene);
	assert_int_equal(scene.result, -EDQUOT);
	assert_int_equal(scene.server_far.read, 0);
}

/* The interval hook. */

struct hook {
	unsigned calls, ends_at;
	uint64_t last_reads;
	unsigned every;
	int64_t last_ms;
};

static int on_interval(void *arg, const struct relay_counts *counts)
{
	struct hook *h = arg;
	uint64_t reads = counts->reads_to_client + counts->reads_to_server;

	h->calls++;
	if (h->every > 0)
		assert_true(reads >= h->last_reads + h->every && reads <= h->last_reads + h->every + 1);
	h->last_reads = reads;
	h->last_ms = co_now();
	return h->calls == h->ends_at ? -EACCES : 0;
}

static void hook_by_reads(void **state)
{
	struct hook h = { .every = 5 };

	scene.options.on_interval = on_interval;
	scene.options.arg = &h;
	scene.options.interval_reads = 5;
	scene.client_far.writes = scene.server_far.writes = 20000;
	scene.client_far.piece_max = 500;
	scene_play(&scene);
	assert_int_equal(scene.result, 0);
	assert_true(h.calls >= 4);
}

static void hook_by_time_may_end_it(void **state)
{
	struct hook h = { .ends_at = 3 };

	scene.options.on_interval = on_interval;
	scene.options.arg = &h;
	scene.options.interval_ms = 200;
	scene.options.idle_ms = 5000;
	scene.client_far.stays = scene.server_far.stays = true;
	scene_play(&scene);
	assert_int_equal(scene.result, -EACCES);
	assert_int_equal(h.calls, 3);
	assert_int_equal(scene.took_ms, 600);
}

/* Torture. */

static void torture_prepare(void *arg, struct loop *torture_loop)
{
	scene_open(arg, torture_loop, false);
}

static void torture_run(void *arg)
{
	struct scene *s = arg;
	struct co *ends[2];

	s->client_far.writes = 300000;
	s->server_far.writes = 250000;
	s->client_far.piece_max = s->server_far.piece_max = 65536;
	s->client_far.slow = true;
	s->options.idle_ms = 1000;
	ends[0] = co_spawn_joined(s->loop, end_run, &s->client_far);
	ends[1] = co_spawn_joined(s->loop, end_run, &s->server_far);
	relay_run_(s);
	co_join(&ends[0]);
	co_join(&ends[1]);
}

static void torture_check(void *arg, bool canceled)
{
	struct scene *s = arg;

	assert_true(canceled || s->result == 0);
	scene_close(s);
}

static void canceled_anywhere_nothing_leaks(void **state)
{
	assert_true(cancel_at_every_wait(torture_prepare, torture_run, torture_check, &scene) > 50);
}

#define ON_VIRTUAL_TIME(t) cmocka_unit_test_setup_teardown(t, setup, teardown)
#define ON_TCP(t) { #t " over tcp", t, setup_tcp, teardown, NULL }

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_VIRTUAL_TIME(random_sizes_both_ways),
		ON_TCP(random_sizes_both_ways),
		ON_VIRTUAL_TIME(slow_readers),
		ON_VIRTUAL_TIME(small_buffers),
		ON_TCP(bulk_is_spliced),
		ON_VIRTUAL_TIME(bulk_and_then_small),
		ON_TCP(bulk_and_then_small),
		ON_VIRTUAL_TIME(what_was_buffered_goes_first),
		ON_VIRTUAL_TIME(half_close_is_kept),
		ON_VIRTUAL_TIME(without_half_close_one_end_ends_both),
		ON_TCP(without_half_close_one_end_ends_both),
		ON_VIRTUAL_TIME(draining_is_bounded),
		ON_TCP(the_failing_side_is_named),
		ON_TCP(the_failing_client_is_named),
		ON_TCP(a_reset_after_the_end_of_file_is_noticed),
		ON_VIRTUAL_TIME(idle_time),
		ON_VIRTUAL_TIME(total_time),
		ON_VIRTUAL_TIME(exactly_the_limit_passes),
		ON_TCP(exactly_the_limit_passes),
		ON_VIRTUAL_TIME(one_over_the_limit_does_not),
		ON_VIRTUAL_TIME(one_over_the_limit_while_splicing),
		ON_TCP(one_over_the_limit_while_splicing),
		ON_VIRTUAL_TIME(discarding),
		ON_VIRTUAL_TIME(discarding_has_a_limit),
		ON_VIRTUAL_TIME(reads_in_bulk),
		ON_VIRTUAL_TIME(counted_reads_in_bulk),
		ON_VIRTUAL_TIME(hook_by_reads),
		ON_VIRTUAL_TIME(hook_by_time_may_end_it),
		cmocka_unit_test(canceled_anywhere_nothing_leaks),
	};

	return cmocka_run_group_tests_name("io: relay", tests, NULL, NULL);
}
