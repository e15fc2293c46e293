/* SPDX-License-Identifier: Apache-2.0 */
#include "io_test.h"

#include "io/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct virtual_clock clock_;
static struct loop *loop;
static unsigned descriptors;
static int far;			/* the peer's end; -1 = closed */
static struct stream *near;

static int setup(void **state)
{
	int fd[2];

	descriptors = open_descriptors();
	virtual_clock_init(&clock_);
	loop = loop_create(&clock_.clock);
	if (loop == NULL || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) < 0)
		return 1;
	far = fd[1];
	near = stream_open(loop, fd[0]);
	return near == NULL;
}

static int teardown(void **state)
{
	stream_close(&near);
	if (far >= 0)
		close(far);
	assert_int_equal(loop_coroutines(loop), 0);
	assert_int_equal(stream_pool_in_use(loop), 0);
	loop_free(&loop);
	assert_int_equal(open_descriptors(), descriptors);
	return 0;
}

static void run(co_fn fn, void *arg)
{
	assert_non_null(co_spawn(loop, fn, arg));
	loop_run(loop);
}

static void far_writes(const char *text)
{
	assert_int_equal(write(far, text, strlen(text)), (ssize_t)strlen(text));
}

static void far_closes(void)
{
	close(far);
	far = -1;
}

#define assert_slice(s, text) \
	do { \
		struct slice s_ = (s); \
		assert_int_equal(s_.len, strlen(text)); \
		assert_memory_equal(s_.ptr, (text), s_.len); \
	} while (0)

/* Reading. */

static void fill_and_consume(void *arg)
{
	assert_int_equal(stream_peek(near).len, 0);
	assert_int_equal(stream_fill(near, DEADLINE_NEVER), 5);
	assert_slice(stream_peek(near), "hello");
	assert_int_equal(stream_pool_in_use(loop), 1);
	far_writes(" world");
	stream_consume(near, 2);
	assert_int_equal(stream_fill(near, DEADLINE_NEVER), 9);
	assert_slice(stream_peek(near), "llo world");
	stream_consume(near, 9);
	assert_int_equal(stream_pool_in_use(loop), 0);
	assert_int_equal(stream_fill(near, co_now() + 50), -ETIMEDOUT);
	assert_int_equal(stream_pool_in_use(loop), 0);
	assert_int_equal(stream_octets_in(near), 11);
	assert_int_equal(stream_error(near), 0);	/* late is not broken */
	far_writes("x");
	assert_int_equal(stream_fill(near, DEADLINE_NEVER), 1);
	*(bool *)arg = true;
}

static void reading(void **state)
{
	bool done = false;

	far_writes("hello");
	run(fill_and_consume, &done);
	assert_true(done);
}

static void end_of_file(void *arg)
{
	assert_int_equal(stream_fill(near, DEADLINE_NEVER), 4);
	assert_false(stream_at_eof(near));
	assert_int_equal(stream_fill(near, DEADLINE_NEVER), 0);
	assert_true(stream_at_eof(near));
	assert_slice(stream_peek(near), "last");
	assert_int_equal(stream_fill(near, DEADLINE_NEVER), 0);
	assert_int_equal(stream_fill_now(near), -EPIPE);
	stream_consume(near, 4);
	assert_int_equal(stream_fill(near, DEADLINE_NEVER), 0);
	*(bool *)arg = true;
}

static void eof_keeps_what_is_buffered(void **state)
{
	bool done = false;

	far_writes("last");
	far_closes();
	run(end_of_file, &done);
	assert_true(done);
}

/* The end of file arrives after a short read, while we wait. */
static void eof_while_waiting(void *arg)
{
	assert_int_equal(stream_fill(near, DEADLINE_NEVER), 2);
	assert_int_equal(stream_fill(near, DEADLINE_NEVER), 0);
	*(bool *)arg = true;
}

static void eof_wakes(void **state)
{
	bool done = false;

	far_writes("ab");
	run(eof_while_waiting, &done);
	assert_false(done);
	assert_int_equal(shutdown(far, SHUT_WR), 0);
	loop_run(loop);
	assert_true(done);
}

static void collect_single_octets(void *arg)
{
	char *text = arg;
	size_t n = 0;

	for (;;) {
		struct slice s;

		if (stream_fill(near, DEADLINE_NEVER) <= 0)
			break;
		s = stream_peek(near);
		memcpy(text + n, s.ptr, s.len);
		n += s.len;
		stream_consume(near, s.len);
	}
	text[n] = '\0';
}

static void write_single_octets(void *arg)
{
	for (int i = 0; i < 500; i++) {
		char c = (char)('a' + i % 26);

		assert_int_equal(write(far, &c, 1), 1);
		assert_int_equal(co_yield(), 0);
	}
	far_closes();
}

static void one_octet_at_a_time(void **state)
{
	char text[600];

	assert_non_null(co_spawn(loop, write_single_octets, NULL));
	run(collect_single_octets, text);
	assert_int_equal(strlen(text), 500);
	for (int i = 0; i < 500; i++)
		assert_int_equal(text[i], 'a' + i % 26);
}

static void fill_until_full(void *arg)
{
	ssize_t n;

	while ((n = stream_fill(near, DEADLINE_NEVER)) > 0)
		;
	assert_int_equal(n, -ENOBUFS);
	assert_int_equal(stream_peek(near).len, STREAM_CHUNK);
	assert_int_equal(stream_fill_now(near), -ENOBUFS);
	assert_int_equal(stream_error(near), 0);
	stream_consume(near, 1);	/* makes room: compacted, nothing lost */
	assert_int_equal(stream_fill(near, DEADLINE_NEVER), STREAM_CHUNK);
	for (size_t i = 0; i < STREAM_CHUNK; i++)
		assert_int_equal(stream_peek(near).ptr[i], (uint8_t)((i + 1) % 251));
	stream_consume(near, STREAM_CHUNK);
	*(bool *)arg = true;
}

static void a_full_buffer_is_an_error(void **state)
{
	static uint8_t text[STREAM_CHUNK + 1];
	bool done = false;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i % 251);
	assert_int_equal(write(far, text, 10000), 10000);
	assert_int_equal(write(far, text + 10000, sizeof(text) - 10000), sizeof(text) - 10000);
	run(fill_until_full, &done);
	assert_true(done);
}

/* Who sends in bulk is read in larger pieces, and what is left of one does not shorten the next read. */
static void read_in_bulk(void *arg)
{
	size_t done = 0, largest = 0;

	while (stream_fill(near, DEADLINE_NEVER) > 0) {
		struct slice octets = stream_peek(near);
		size_t n = octets.len > 3 ? octets.len - 3 : octets.len;

		for (size_t i = 0; i < n; i++)
			assert_int_equal(octets.ptr[i], (uint8_t)((done + i) % 251));
		if (octets.len > largest)
			largest = octets.len;
		done += n;
		stream_consume(near, n);
	}
	done += stream_peek(near).len;
	stream_consume(near, stream_peek(near).len);
	assert_int_equal(stream_pool_in_use(loop), 0);
	*(size_t *)arg = done;
	assert_true(largest > 2 * STREAM_CHUNK);
}

static void bulk_is_read_in_large_pieces(void **state)
{
	static uint8_t text[150000];
	int size = 4 * (int)sizeof(text);
	size_t done = 0;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i % 251);
	assert_int_equal(setsockopt(far, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	assert_int_equal(write(far, text, sizeof(text)), sizeof(text));
	far_closes();
	run(read_in_bulk, &done);
	assert_int_equal(done, sizeof(text));
}

static void fill_without_waiting(void *arg)
{
	assert_int_equal(stream_fill_now(near), 0);
	far_writes("abc");
	assert_int_equal(co_yield(), 0);
	assert_int_equal(stream_fill_now(near), 3);
	assert_int_equal(stream_fill_now(near), 0);
	stream_consume(near, 3);
	far_closes();
	assert_int_equal(co_yield(), 0);
	assert_int_equal(stream_fill_now(near), -EPIPE);
	*(bool *)arg = true;
}

static void fill_now(void **state)
{
	bool done = false;

	run(fill_without_waiting, &done);
	assert_true(done);
}

/* A peer that always has something to say lets others run. */
static void read_all(void *arg)
{
	while (stream_fill(near, DEADLINE_NEVER) > 0) {
		stream_consume(near, stream_peek(near).len);
		far_writes("again");
		if (*(int *)arg == 7) {
			far_closes();
			break;
		}
	}
}

static void count_to_seven(void *arg)
{
	int *n = arg;

	while (*n < 7) {
		assert_int_equal(co_yield(), 0);
		(*n)++;
	}
}

static void a_busy_peer_does_not_keep_others(void **state)
{
	int n = 0;

	far_writes("go");
	assert_non_null(co_spawn(loop, read_all, &n));
	run(count_to_seven, &n);
	assert_int_equal(n, 7);
}

/* Writing. */

static size_t far_reads(char *text, size_t size)
{
	ssize_t n = read(far, text, size - 1);

	if (n < 0)
		n = 0;
	text[n] = '\0';
	return (size_t)n;
}

static void queue_and_flush(void *arg)
{
	char text[100];

	assert_int_equal(stream_write(near, SLICE("one "), DEADLINE_NEVER), 0);
	assert_int_equal(stream_write(near, SLICE("two "), DEADLINE_NEVER), 0);
	assert_int_equal(stream_unsent(near), 8);
	assert_int_equal(far_reads(text, sizeof(text)), 0);
	assert_int_equal(stream_flush(near, DEADLINE_NEVER), 0);
	assert_int_equal(stream_unsent(near), 0);
	assert_int_equal(stream_pool_in_use(loop), 0);
	far_reads(text, sizeof(text));
	assert_string_equal(text, "one two ");
	assert_int_equal(stream_write(near, SLICE("three "), DEADLINE_NEVER), 0);
	assert_int_equal(stream_write_through(near, SLICE("four"), DEADLINE_NEVER), 0);
	far_reads(text, sizeof(text));
	assert_string_equal(text, "three four");
	assert_int_equal(stream_write(near, SLICE("five"), DEADLINE_NEVER), 0);
	assert_int_equal(stream_push(near), 0);
	far_reads(text, sizeof(text));
	assert_string_equal(text, "five");
	assert_int_equal(stream_octets_out(near), 22);
	assert_int_equal(stream_write(near, SLICE("bye"), DEADLINE_NEVER), 0);
	assert_int_equal(stream_shutdown_write(near, DEADLINE_NEVER), 0);
	far_reads(text, sizeof(text));
	assert_string_equal(text, "bye");
	assert_int_equal(read(far, text, 1), 0);
	*(bool *)arg = true;
}

static void writing(void **state)
{
	bool done = false;

	run(queue_and_flush, &done);
	assert_true(done);
}

/* Also where some of the pieces do not fit. */
static void write_pieces(void *arg)
{
	static char text[STREAM_CHUNK + 100], large[STREAM_CHUNK - 2];
	const struct slice few[] = { SLICE("one"), { NULL, 0 }, SLICE(" two") };
	const struct slice many[] = { SLICE("<"), SLICE("="), slice_of(large, sizeof(large)), { NULL, 0 }, SLICE(">") };

	assert_int_equal(stream_write_parts(near, few, ARRAY_LEN(few), DEADLINE_NEVER), 0);
	assert_int_equal(stream_unsent(near), 7);
	assert_int_equal(stream_write_parts(near, few, 0, DEADLINE_NEVER), 0);
	assert_int_equal(stream_flush(near, DEADLINE_NEVER), 0);
	far_reads(text, sizeof(text));
	assert_string_equal(text, "one two");
	memset(large, 'x', sizeof(large));
	assert_int_equal(stream_write_parts(near, many, ARRAY_LEN(many), DEADLINE_NEVER), 0);
	assert_int_equal(stream_flush(near, DEADLINE_NEVER), 0);
	assert_int_equal(far_reads(text, sizeof(text)), sizeof(large) + 3);
	assert_memory_equal(text, "<=xxx", 5);
	assert_string_equal(text + sizeof(large), "xx>");
	*(bool *)arg = true;
}

static void writing_pieces(void **state)
{
	bool done = false;

	run(write_pieces, &done);
	assert_true(done);
}

/* What is queued leaves before we wait for an answer, on this stream or on another. */
static void ask(void *arg)
{
	struct stream *other = arg;
	char text[20];

	assert_int_equal(stream_write(near, SLICE("question"), DEADLINE_NEVER), 0);
	assert_int_equal(stream_fill(near, co_now() + 10), -ETIMEDOUT);
	far_reads(text, sizeof(text));
	assert_string_equal(text, "question");
	assert_int_equal(stream_write(near, SLICE("other"), DEADLINE_NEVER), 0);
	assert_int_equal(stream_fill(other, co_now() + 10), -ETIMEDOUT);
	far_reads(text, sizeof(text));
	assert_string_equal(text, "other");
	assert_int_equal(stream_write(near, SLICE("not sent"), DEADLINE_NEVER), 0);
}

static void queued_octets_leave_before_a_wait(void **state)
{
	int fd[2];
	struct stream *other;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	other = stream_open(loop, fd[0]);
	run(ask, other);
	assert_int_equal(stream_unsent(near), 8);	/* its coroutine ended */
	stream_close(&other);
	close(fd[1]);
}

/* Back-pressure: the peer reads slowly; everything arrives once, in order. */

enum { BULK = 1000003 };

static uint8_t bulk_octet(size_t i)
{
	return (uint8_t)(i * 7 + i / 251);
}

static void write_bulk(void *arg)
{
	bool through = *(bool *)arg;
	uint8_t piece[900];
	size_t n = 0;

	while (n < BULK) {
		size_t len = 1 + (n * 31) % sizeof(piece);

		if (len > BULK - n)
			len = BULK - n;
		for (size_t i = 0; i < len; i++)
			piece[i] = bulk_octet(n + i);
		if (through && len % 2 == 0)
			assert_int_equal(stream_write_through(near, slice_of(piece, len), DEADLINE_NEVER), 0);
		else
			assert_int_equal(stream_write(near, slice_of(piece, len), DEADLINE_NEVER), 0);
		n += len;
	}
	assert_int_equal(stream_shutdown_write(near, DEADLINE_NEVER), 0);
}

static void read_bulk(void *arg)
{
	size_t *n = arg, size = 1;
	uint8_t buf[3500];

	for (;;) {
		ssize_t got = read(far, buf, size);

		if (got == 0)
			break;
		if (got < 0)
			assert_int_equal(errno, EAGAIN);
		for (ssize_t i = 0; i < got; i++)
			assert_int_equal(buf[i], bulk_octet((*n)++));
		size = size == sizeof(buf) ? 3000 : sizeof(buf);
		if (got < 0 || *n % 5 == 0)
			assert_int_equal(co_sleep(co_now() + 1), 0);
	}
}

static void back_pressure(void **state)
{
	for (int through = 0; through < 2; through++) {
		bool flag = through;
		size_t n = 0;

		assert_non_null(co_spawn(loop, read_bulk, &n));
		run(write_bulk, &flag);
		assert_int_equal(n, BULK);
		teardown(state);
		assert_int_equal(setup(state), 0);
	}
}

/* A peer that does not read: the write waits, times out, and stays broken. */
static void write_to_deaf_ear(void *arg)
{
	static const uint8_t much[300000];
	int err;

	do
		err = stream_write(near, slice_of(much, 1000), co_now() + 100);
	while (err == 0);
	assert_int_equal(err, -ETIMEDOUT);
	assert_int_equal(co_now(), 1100);
	assert_true(stream_unsent(near) > 0);
	assert_int_equal(stream_error(near), 0);	/* nothing of those octets was taken */
	assert_int_equal(stream_flush(near, co_now() + 100), -ETIMEDOUT);
	assert_int_equal(stream_error(near), 0);
	assert_true(read(far, (void *)(uintptr_t)arg, 100000) > 0);
	assert_true(read(far, (void *)(uintptr_t)arg, 100000) > 0);
	assert_int_equal(stream_write_through(near, slice_of(much, sizeof(much)), co_now() + 100), -ETIMEDOUT);
	assert_int_equal(stream_error(near), -ETIMEDOUT);	/* a fragment of them went */
	assert_int_equal(stream_unsent(near), 0);
	assert_int_equal(stream_write(near, SLICE("x"), DEADLINE_NEVER), -ETIMEDOUT);
	assert_int_equal(stream_flush(near, DEADLINE_NEVER), -ETIMEDOUT);
}

static void a_deaf_peer_times_out(void **state)
{
	char *sink = malloc(100000);

	run(write_to_deaf_ear, sink);
	free(sink);
}

/* The peer resets; what it said before is still read, then the error shows. */
static void write_to_the_gone(void *arg)
{
	assert_int_equal(stream_write_through(near, SLICE("hello"), DEADLINE_NEVER), -EPIPE);
	assert_int_equal(stream_error(near), -EPIPE);
	assert_int_equal(stream_write(near, SLICE("hello"), DEADLINE_NEVER), -EPIPE);
	assert_int_equal(stream_push(near), -EPIPE);
	assert_int_equal(stream_shutdown_write(near, DEADLINE_NEVER), -EPIPE);
	assert_int_equal(stream_fill(near, DEADLINE_NEVER), 9);
	assert_slice(stream_peek(near), "421 later");
	assert_int_equal(stream_fill(near, DEADLINE_NEVER), -EPIPE);
	assert_int_equal(stream_fill(near, DEADLINE_NEVER), -EPIPE);
	*(bool *)arg = true;
}

static void last_words_are_heard(void **state)
{
	bool done = false;

	far_writes("421 later");
	far_closes();
	run(write_to_the_gone, &done);
	assert_true(done);
}

static void read_reset(void *arg)
{
	assert_int_equal(stream_fill(near, DEADLINE_NEVER), -ECONNRESET);
	assert_int_equal(stream_fill(near, DEADLINE_NEVER), -ECONNRESET);
	assert_int_equal(stream_fill_now(near), -ECONNRESET);
	*(bool *)arg = true;
}

static void a_reset_is_remembered(void **state)
{
	bool done = false;

	/* A unix socket closed with unread data resets. */
	assert_int_equal(write(stream_fd(near), "unread", 6), 6);
	far_closes();
	run(read_reset, &done);
	assert_true(done);
}

/* streams_wait. */

struct pair {
	struct stream *s[2];
	int far[2];
	int step;
};

static void wait_for_two(void *arg)
{
	struct pair *p = arg;
	struct stream_wait set[3] = { { p->s[0], LOOP_READ, 9 }, { NULL, LOOP_READ, 9 }, { p->s[1], LOOP_READ, 9 } };

	assert_int_equal(streams_wait(set, 3, co_now() + 10), -ETIMEDOUT);
	p->step = 1;
	assert_int_equal(write(p->far[1], "b", 1), 1);
	assert_int_equal(streams_wait(set, 3, DEADLINE_NEVER), 1);
	assert_int_equal(set[0].got, 0);
	assert_int_equal(set[2].got, LOOP_READ);
	assert_int_equal(streams_wait(set, 3, DEADLINE_NEVER), 1);	/* not fetched yet */
	assert_int_equal(stream_fill(p->s[1], co_now() + 10), 1);
	assert_int_equal(streams_wait(set, 3, co_now() + 10), -ETIMEDOUT);	/* seen already */
	assert_int_equal(write(p->far[1], "c", 1), 1);
	close(p->far[0]);
	assert_int_equal(streams_wait(set, 3, DEADLINE_NEVER), 2);
	assert_int_equal(stream_fill(p->s[0], DEADLINE_NEVER), 0);
	assert_int_equal(stream_fill(p->s[1], DEADLINE_NEVER), 2);
	set[2].want = LOOP_READ | LOOP_WRITE;
	set[0].want = 0;
	assert_int_equal(streams_wait(set, 3, DEADLINE_NEVER), 1);
	assert_int_equal(set[2].got, LOOP_WRITE);
	assert_int_equal(set[0].got, 0);
	p->step = 2;
}

static void waiting_for_several(void **state)
{
	struct pair p = { 0 };

	for (int i = 0; i < 2; i++) {
		int fd[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
		p.s[i] = stream_open(loop, fd[0]);
		p.far[i] = fd[1];
	}
	run(wait_for_two, &p);
	assert_int_equal(p.step, 2);
	stream_close(&p.s[0]);
	stream_close(&p.s[1]);
	close(p.far[1]);
}

/* What was peeked stays where it is, also when streams_wait reads on. */
static void peek_and_wait(void *arg)
{
	struct stream_wait set = { near, LOOP_READ, 0 };
	struct slice s;

	assert_int_equal(stream_fill(near, DEADLINE_NEVER), 5);
	s = stream_peek(near);
	far_writes(" more");
	assert_int_equal(streams_wait(&set, 1, DEADLINE_NEVER), 1);
	assert_slice(s, "first");
	assert_slice(stream_peek(near), "first more");
	assert_int_equal(stream_fill(near, DEADLINE_NEVER), 10);
	*(bool *)arg = true;
}

static void peeked_octets_stay(void **state)
{
	bool done = false;

	far_writes("first");
	run(peek_and_wait, &done);
	assert_true(done);
}

/* Another transport: one that turns letters round, a few octets a call, and wants to write when
 * asked to read, as TLS may. */

struct rot {
	int fd;
	unsigned calls, closed;
	bool done;
};

static ssize_t rot_read(void *self, void *buf, size_t size, unsigned *want)
{
	struct rot *r = self;
	ssize_t n;

	if (r->calls++ == 0) {
		*want = LOOP_WRITE;
		return -EAGAIN;
	}
	n = read(r->fd, buf, size > 2 ? 2 : size);
	*want = LOOP_READ;
	for (ssize_t i = 0; i < n; i++)
		((char *)buf)[i] ^= 32;
	return n < 0 ? -errno : n;
}

static ssize_t rot_writev(void *self, const struct iovec *iov, int n, unsigned *want)
{
	struct rot *r = self;
	char c = (char)(*(const char *)iov->iov_base ^ 32);

	*want = LOOP_WRITE;
	return write(r->fd, &c, 1) < 0 ? -errno : 1;
}

static int rot_shutdown(void *self, unsigned *want)
{
	return shutdown(((struct rot *)self)->fd, SHUT_WR) < 0 ? -errno : 0;
}

static void rot_close(void *self)
{
	((struct rot *)self)->closed++;
}

static const struct transport_ops rot_ops = { "rot", rot_read, rot_writev, rot_shutdown, rot_close, false, true };

static void switch_transport(void *arg)
{
	struct rot *r = arg;
	char text[20];

	assert_int_equal(stream_write(near, SLICE("plain"), DEADLINE_NEVER), 0);
	assert_int_equal(stream_set_transport(near, &rot_ops, r), -EBUSY);
	assert_int_equal(stream_flush(near, DEADLINE_NEVER), 0);
	assert_int_equal(stream_fill(near, DEADLINE_NEVER), 8);
	assert_int_equal(stream_set_transport(near, &rot_ops, r), -EBUSY);
	stream_consume(near, 8);
	assert_false(stream_is_encrypted(near));
	assert_int_equal(stream_set_transport(near, &rot_ops, r), 0);
	assert_true(stream_is_encrypted(near));
	assert_int_equal(stream_write(near, SLICE("HELLO"), DEADLINE_NEVER), 0);
	assert_int_equal(stream_write_through(near, SLICE("YOU"), DEADLINE_NEVER), 0);
	far_reads(text, sizeof(text));
	assert_string_equal(text, "plainhelloyou");
	far_writes("abc");
	assert_int_equal(co_sleep(co_now() + 1), 0);	/* the edge that also says writable has been seen */
	assert_int_equal(stream_fill(near, co_now() + 10), -ETIMEDOUT);	/* wants to write first */
	assert_int_equal(r->calls, 1);
	/* The peer reads something: the kernel calls the descriptor writable again. */
	assert_int_equal(write(r->fd, "!", 1), 1);
	assert_int_equal(far_reads(text, sizeof(text)), 1);
	assert_int_equal(stream_fill(near, co_now() + 10), 2);
	assert_int_equal(stream_fill(near, co_now() + 10), 3);
	assert_slice(stream_peek(near), "ABC");
	r->done = true;
}

static void another_transport(void **state)
{
	struct rot r = { .fd = stream_fd(near) };

	far_writes("STARTTLS");
	run(switch_transport, &r);
	assert_true(r.done);
	stream_close(&near);
	assert_int_equal(r.closed, 1);
}

/* One that has octets already, since whoever made it read ahead: the socket has nothing to tell, and must not be waited for. */

static ssize_t held_read(void *self, void *buf, size_t size, unsigned *want)
{
	unsigned *held = self;

	*want = LOOP_READ;
	if (*held == 0)
		return -EAGAIN;
	*held = 0;
	memset(buf, 'x', 3);
	return 3;
}

static void held_close(void *self)
{
}

static const struct transport_ops held_ops = { "held", held_read, rot_writev, rot_shutdown, held_close, false, true };

static void read_held(void *arg)
{
	assert_int_equal(stream_set_transport(near, &held_ops, arg), 0);
	assert_int_equal(stream_fill(near, co_now() + 10), 3);
	assert_slice(stream_peek(near), "xxx");
	stream_consume(near, 3);
	assert_int_equal(stream_fill(near, co_now() + 10), -ETIMEDOUT);
}

static void transport_with_octets(void **state)
{
	unsigned held = 3;

	run(read_held, &held);
	assert_int_equal(held, 0);
}

/* Torture: a small conversation, canceled at each of its waits. */

struct talk {
	struct stream *s[2];
	bool complete;
};

static void answer_run(void *arg)
{
	struct stream *s = arg;
	ssize_t n;

	while ((n = stream_fill(s, DEADLINE_NEVER)) > 0) {
		if (stream_write(s, stream_peek(s), DEADLINE_NEVER) < 0)
			break;
		stream_consume(s, (size_t)n);
	}
	if (n == 0)
		(void)!stream_shutdown_write(s, DEADLINE_NEVER);
}

static void talk_run(void *arg)
{
	static const uint8_t much[150000];
	struct talk *t = arg;
	struct co *child;
	int fd[2];
	size_t got = 0;
	ssize_t n = 0;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	t->s[0] = stream_open(co_loop(), fd[0]);
	t->s[1] = stream_open(co_loop(), fd[1]);
	child = co_spawn_joined(co_loop(), answer_run, t->s[1]);
	assert_non_null(child);
	for (int i = 0; i < 3 && n >= 0; i++) {
		n = stream_write(t->s[0], SLICE("hello"), co_now() + 1000);
		if (n == 0)
			n = stream_fill(t->s[0], co_now() + 1000);
		stream_consume(t->s[0], stream_peek(t->s[0]).len);
	}
	if (n >= 0)
		n = stream_write_through(t->s[0], slice_of(much, sizeof(much)), co_now() + 1000);
	if (n >= 0)
		n = stream_shutdown_write(t->s[0], co_now() + 1000);
	while (n >= 0 && (n = stream_fill(t->s[0], co_now() + 1000)) > 0) {
		got += (size_t)n;
		stream_consume(t->s[0], (size_t)n);
	}
	if (n < 0)
		co_cancel(child);
	co_join(&child);
	stream_close(&t->s[0]);
	stream_close(&t->s[1]);
	t->complete = n == 0 && got == sizeof(much);
}

static void talk_prepare(void *arg, struct loop *torture_loop)
{
	memset(arg, 0, sizeof(struct talk));
}

static void talk_check(void *arg, bool canceled)
{
	struct talk *t = arg;

	assert_true(t->complete || canceled);
	assert_null(t->s[0]);
}

static void canceled_anywhere_nothing_leaks(void **state)
{
	struct talk t;

	assert_true(cancel_at_every_wait(talk_prepare, talk_run, talk_check, &t) >= 6);
}

static void opening_can_fail(void **state)
{
	int fd = open("/dev/null", O_RDONLY);

	assert_null(stream_open(loop, -1));
	assert_int_equal(errno, EBADF);
	assert_null(stream_open(loop, fd));		/* epoll refuses it; it is still ours */
	assert_int_equal(errno, EPERM);
	assert_int_equal(close(fd), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(reading, setup, teardown),
		cmocka_unit_test_setup_teardown(eof_keeps_what_is_buffered, setup, teardown),
		cmocka_unit_test_setup_teardown(eof_wakes, setup, teardown),
		cmocka_unit_test_setup_teardown(one_octet_at_a_time, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_buffer_is_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(bulk_is_read_in_large_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(fill_now, setup, teardown),
		cmocka_unit_test_setup_teardown(a_busy_peer_does_not_keep_others, setup, teardown),
		cmocka_unit_test_setup_teardown(writing, setup, teardown),
		cmocka_unit_test_setup_teardown(writing_pieces, setup, teardown),
		cmocka_unit_test_setup_teardown(queued_octets_leave_before_a_wait, setup, teardown),
		cmocka_unit_test_setup_teardown(back_pressure, setup, teardown),
		cmocka_unit_test_setup_teardown(a_deaf_peer_times_out, setup, teardown),
		cmocka_unit_test_setup_teardown(last_words_are_heard, setup, teardown),
		cmocka_unit_test_setup_teardown(a_reset_is_remembered, setup, teardown),
		cmocka_unit_test_setup_teardown(waiting_for_several, setup, teardown),
		cmocka_unit_test_setup_teardown(peeked_octets_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(another_transport, setup, teardown),
		cmocka_unit_test_setup_teardown(transport_with_octets, setup, teardown),
		cmocka_unit_test(canceled_anywhere_nothing_leaks),
		cmocka_unit_test_setup_teardown(opening_can_fail, setup, teardown),
	};

	return cmocka_run_group_tests_name("io: streams", tests, NULL, NULL);
}
