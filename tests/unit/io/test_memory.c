/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every allocation of a scenario fails in turn. Whatever it hits, the scenario ends by itself,
 * nothing is left open, and no coroutine remains. (Leaks are for the sanitizer build to find.)
 */
#include "io_test.h"

#include "io/listener.h"
#include "io/relay.h"
#include "io/stream.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* The linker leads the library's calls here (--wrap). */
void *__real_calloc(size_t n, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
void *__real_mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
int __real_pipe2(int fd[2], int flags);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
void *__wrap_mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset);
int __wrap_pipe2(int fd[2], int flags);

static unsigned calls, fail_at;		/* 0 = none */

static bool fails(void)
{
	return ++calls == fail_at;
}

void *__wrap_calloc(size_t n, size_t size)
{
	if (!fails())
		return __real_calloc(n, size);
	errno = ENOMEM;
	return NULL;
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
	if (!fails())
		return __real_reallocarray(p, n, size);
	errno = ENOMEM;
	return NULL;
}

void *__wrap_mmap64(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	if (!fails())
		return __real_mmap64(addr, length, prot, flags, fd, offset);
	errno = ENOMEM;
	return MAP_FAILED;
}

int __wrap_pipe2(int fd[2], int flags)
{
	if (!fails())
		return __real_pipe2(fd, flags);
	errno = EMFILE;
	return -1;
}

/* far[0] --- s[0] [relay] s[1] --- far[1]: the client's octets come back from the server. */
struct scene {
	struct loop *loop;
	struct stream *s[4];
	int result;
	size_t echoed;
	bool complete;
};

enum { OCTETS = 150000 };

static void client_run(void *arg)
{
	static const uint8_t octets[OCTETS];
	struct scene *s = arg;
	struct stream *mine = s->s[2];
	deadline_t until = co_now() + 1000;
	ssize_t n;

	if (stream_write(mine, SLICE("queued"), until) == 0 &&
	    stream_write_through(mine, slice_of(octets, OCTETS), until) == 0 &&
	    stream_shutdown_write(mine, until) == 0) {
		while ((n = stream_fill(mine, until)) > 0) {
			s->echoed += (size_t)n;
			stream_consume(mine, (size_t)n);
		}
		if (n == 0)
			return;
	}
	stream_reset(&s->s[2]);
}

static void server_run(void *arg)
{
	struct scene *s = arg;
	struct stream *mine = s->s[3];
	deadline_t until = co_now() + 1000;
	ssize_t n;
	int err = 0;

	while (err == 0 && (n = stream_fill(mine, until)) > 0) {
		err = stream_write(mine, stream_peek(mine), until);
		stream_consume(mine, (size_t)n);
	}
	if (err != 0 || n < 0 || stream_shutdown_write(mine, until) < 0)
		stream_reset(&s->s[3]);
}

static void relay_run_(void *arg)
{
	struct scene *s = arg;
	struct relay_options options = { .half_close = true, .idle_ms = 2000, .buffer_octets = 4096 };
	struct relay_counts counts;
	bool fault_server;

	s->result = relay_run(s->s[0], s->s[1], &options, &counts, &fault_server);
	stream_close(&s->s[0]);
	stream_close(&s->s[1]);
}

static bool open_streams(struct scene *s)
{
	bool all = true;

	for (int i = 0; i < 2; i++) {
		int fd[2];

		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
		s->s[i] = stream_open(s->loop, fd[0]);
		s->s[i + 2] = stream_open(s->loop, fd[1]);
		if (s->s[i] == NULL)
			close(fd[0]);
		if (s->s[i + 2] == NULL)
			close(fd[1]);
		all = all && s->s[i] != NULL && s->s[i + 2] != NULL;
	}
	return all;
}

static void play(struct scene *s)
{
	struct virtual_clock v;
	struct listener *l;
	bool started;

	*s = (struct scene){ .result = 99 };
	virtual_clock_init(&v);
	s->loop = loop_create(&v.clock);
	if (s->loop == NULL)
		return;
	l = listener_create(s->loop, -1, NULL, NULL);
	listener_free(&l);
	started = open_streams(s) && co_spawn(s->loop, client_run, s) != NULL &&
		  co_spawn(s->loop, server_run, s) != NULL && co_spawn(s->loop, relay_run_, s) != NULL;
	loop_run(s->loop);
	s->complete = started && s->result == 0 && s->echoed == OCTETS + 6;
	for (int i = 0; i < 4; i++)
		stream_close(&s->s[i]);
	assert_int_equal(loop_coroutines(s->loop), 0);
	assert_int_equal(stream_pool_in_use(s->loop), 0);
	loop_free(&s->loop);
}

static void each_allocation_fails_once(void **state)
{
	unsigned descriptors = open_descriptors(), failed = 0, n = 0;
	struct scene s;

	fail_at = 0;
	do {
		calls = 0;
		fail_at = ++n;
		play(&s);
		failed += !s.complete;
		assert_int_equal(open_descriptors(), descriptors);
	} while (calls >= fail_at);
	fail_at = 0;
	assert_true(s.complete);	/* the last one met no failure */
	assert_true(n > 10);
	assert_true(failed > 5);	/* some are survived: without a pipe it copies */
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(each_allocation_fails_once) };

	return cmocka_run_group_tests_name("io: memory", tests, NULL, NULL);
}
