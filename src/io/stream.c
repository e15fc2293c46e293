/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams: buffers over a transport, everything that needs no waiting. A system call is made only
 * when the descriptor was last seen ready. On a plain socket a read that got less than it asked
 * for has emptied the socket, and a write that placed less than it had has filled it (epoll(7),
 * "edge-triggered"): the next edge tells when to go on, and the call that would only say EAGAIN
 * is saved. The end of file is not missed, since EPOLLRDHUP is remembered and keeps us reading.
 */
#include "io/stream_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define REST_MAX 64u	/* so few octets are moved rather than let them shorten the next read */

/* Opening and closing. */

struct stream *stream_open_ready(struct loop *loop, int fd, unsigned ready)
{
	struct stream *s = calloc(1, sizeof(*s));
	int err;

	if (s == NULL)
		return NULL;
	s->loop = loop;
	s->ops = &transport_plain;
	s->self = (void *)(intptr_t)fd;
	s->read_want = LOOP_READ;
	s->write_want = LOOP_WRITE;
	s->watch.fd = fd;
	s->watch.ready = ready;
	err = loop_watch_add(loop, &s->watch);
	if (err < 0) {
		free(s);
		errno = -err;
		return NULL;
	}
	return s;
}

/* The first turn of the loop tells whether there is something to read: trying before would
 * mostly say EAGAIN. */
struct stream *stream_open(struct loop *loop, int fd)
{
	return stream_open_ready(loop, fd, LOOP_WRITE);
}

static int borrow(struct stream *s, struct stream_buffer *b, bool large)
{
	*b = (struct stream_buffer){ 0 };
	if (large) {
		b->chunk = slab_get(&s->loop->large_chunks);
		b->size = STREAM_LARGE_CHUNK;
	}
	if (b->chunk == NULL) {
		b->chunk = slab_get(&s->loop->chunks);
		b->size = STREAM_CHUNK;
	}
	return b->chunk == NULL ? -ENOMEM : 0;
}

static void give_back(struct stream *s, struct stream_buffer *b)
{
	if (b->chunk != NULL)
		slab_put(b->size == STREAM_CHUNK ? &s->loop->chunks : &s->loop->large_chunks, b->chunk);
	*b = (struct stream_buffer){ 0 };
}

/* Nothing was cut off: a transport with an end of its own may say so, as a socket does by itself. */
static bool ends_well(const struct stream *s)
{
	return s->ops->encrypts && s->write_error == 0 && s->read_error == 0 && buffered(&s->out) == 0 && !s->committed;
}

static void close_stream(struct stream *s, bool reset)
{
	unsigned want;

	assert(s->watch.waiter == NULL);
	if (!reset && ends_well(s))
		(void)s->ops->shutdown_write(s->self, &want);
	s->ops->close(s->self);
	give_back(s, &s->in);
	give_back(s, &s->out);
	stream_unlink_unsent(s);
	loop_watch_close(s->loop, &s->watch);
	free(s);
}

void stream_close(struct stream **sp)
{
	struct stream *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	close_stream(s, false);
}

void stream_reset(struct stream **sp)
{
	struct linger at_once = { .l_onoff = 1, .l_linger = 0 };
	struct stream *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	(void)setsockopt(s->watch.fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	close_stream(s, true);
}

int stream_set_transport(struct stream *s, const struct transport_ops *ops, void *self)
{
	if (s->in.chunk != NULL || s->out.chunk != NULL)
		return -EBUSY;
	s->ops->close(s->self);
	s->ops = ops;
	s->self = self;
	s->read_want = LOOP_READ;
	s->write_want = LOOP_WRITE;
	/* It may hold octets that the socket will not tell of: a handshake reads ahead, perhaps before the loop's first
	 * turn called the stream readable at all. */
	s->watch.ready |= LOOP_READ;
	return 0;
}

/* Failures. */

void stream_read_failed(struct stream *s, int err)
{
	s->read_error = err;
}

void stream_write_failed(struct stream *s, int err)
{
	s->write_error = err;
	s->committed = false;
	give_back(s, &s->out);
	stream_unlink_unsent(s);
}

int stream_error(const struct stream *s)
{
	return s->read_error != 0 ? s->read_error : s->write_error;
}

/* Reading. */

static void move_to_front(struct stream_buffer *b)
{
	memmove(b->chunk, b->chunk + b->start, buffered(b));
	b->end -= b->start;
	b->start = 0;
}

/* Make room behind the octets, moving them only when there is none. */
static int make_room(struct stream *s)
{
	struct stream_buffer *b = &s->in;

	if (b->chunk == NULL)
		return borrow(s, b, s->bulk);
	if (b->end < b->size)
		return 0;
	if (b->start == 0)
		return -ENOBUFS;
	move_to_front(b);
	return 0;
}

static ssize_t note_read(struct stream *s, ssize_t n, size_t asked, unsigned want)
{
	if (n > 0) {
		assert((size_t)n <= asked);
		s->in.end += (unsigned)n;
		s->octets_in += (uint64_t)n;
		s->fresh = true;
		s->read_want = LOOP_READ;
		s->bulk = s->in.end == s->in.size;
		if (s->ops->splices && (size_t)n < asked && (s->watch.ready & LOOP_HUP) == 0)
			s->watch.ready &= ~LOOP_READ;
		return n;
	}
	if (buffered(&s->in) == 0)
		give_back(s, &s->in);
	if (n == 0) {
		s->eof = true;
	} else if (n == -EAGAIN) {
		s->read_want = want;
		s->watch.ready &= ~want;
	} else {
		stream_read_failed(s, (int)n);
	}
	return n;
}

ssize_t stream_read_some(struct stream *s, size_t max)
{
	unsigned want = LOOP_READ;
	size_t room;
	ssize_t n;
	int err;

	if (s->read_error != 0)
		return s->read_error;
	if (s->eof)
		return s->write_error;
	if (!stream_can_read(s))
		return -EAGAIN;
	err = make_room(s);
	if (err < 0)
		return err;
	room = s->in.size - s->in.end;
	if (room > max)
		room = max;
	n = s->ops->read(s->self, s->in.chunk + s->in.end, room, &want);
	n = note_read(s, n, room, want);
	return n == 0 ? s->write_error : n;
}

ssize_t stream_fill_now(struct stream *s)
{
	ssize_t n = s->fresh ? 1 : stream_read_some(s, SIZE_MAX);

	if (n == 0)
		return -EPIPE;
	if (n < 0)
		return n == -EAGAIN ? 0 : n;
	s->fresh = false;
	return (ssize_t)buffered(&s->in);
}

struct slice stream_peek(const struct stream *s)
{
	return slice_of(s->in.chunk == NULL ? NULL : s->in.chunk + s->in.start, buffered(&s->in));
}

/* Few octets are left far behind: to the front, and into a large buffer where bulk comes. */
static void move_rest(struct stream *s)
{
	struct stream_buffer old = s->in;

	if (!s->bulk || old.size != STREAM_CHUNK || borrow(s, &s->in, true) < 0) {
		s->in = old;
		move_to_front(&s->in);
		return;
	}
	memcpy(s->in.chunk, old.chunk + old.start, buffered(&old));
	s->in.end = (unsigned)buffered(&old);
	give_back(s, &old);
}

void stream_consume(struct stream *s, size_t n)
{
	assert(n <= buffered(&s->in));
	if (n == 0)
		return;
	s->fresh = false;		/* who consumes has looked */
	s->in.start += (unsigned)n;
	if (buffered(&s->in) == 0)
		give_back(s, &s->in);
	else if (buffered(&s->in) <= REST_MAX && s->in.start >= s->in.size / 2)
		move_rest(s);
}

bool stream_at_eof(const struct stream *s)
{
	return s->eof;
}

/* Writing. */

static void link_unsent(struct stream *s)
{
	struct co *co = co_current();

	if (s->writer != NULL || co == NULL)
		return;
	s->writer = co;
	s->next_unsent = co->unsent;
	s->prev_unsent = &co->unsent;
	if (s->next_unsent != NULL)
		s->next_unsent->prev_unsent = &s->next_unsent;
	co->unsent = s;
}

void stream_unlink_unsent(struct stream *s)
{
	if (s->writer == NULL)
		return;
	/* Somebody else sent the octets, while the one who queued them waits for that too. */
	if (s->writer != co_current() && s->watch.waiter == s->writer) {
		s->watch.waiter = NULL;
		co_wake(s->writer);
	}
	*s->prev_unsent = s->next_unsent;
	if (s->next_unsent != NULL)
		s->next_unsent->prev_unsent = s->prev_unsent;
	s->writer = NULL;
	s->next_unsent = NULL;
	s->prev_unsent = NULL;
}

void streams_disown(struct co *co)
{
	while (co->unsent != NULL)
		stream_unlink_unsent(co->unsent);
}

size_t stream_unsent(const struct stream *s)
{
	return buffered(&s->out);
}

/* Queue all of the pieces, or nothing: -ENOSPC when there is no room. */
static int queue(struct stream *s, const struct slice *parts, size_t n)
{
	struct stream_buffer *b = &s->out;
	size_t all = 0;

	for (size_t i = 0; i < n; i++)
		all += parts[i].len;
	if (all > STREAM_CHUNK - buffered(b))
		return -ENOSPC;
	if (all == 0)
		return 0;
	if (b->chunk == NULL && borrow(s, b, false) < 0)
		return -ENOMEM;
	if (all > STREAM_CHUNK - b->end)
		move_to_front(b);
	for (size_t i = 0; i < n; i++) {
		if (parts[i].len > 0)	/* an empty slice may have no pointer, which memcpy must not see */
			memcpy(b->chunk + b->end, parts[i].ptr, parts[i].len);
		b->end += (unsigned)parts[i].len;
	}
	link_unsent(s);
	return 0;
}

/* n octets went out of what was queued and then of extra; returns how many of extra. */
static size_t note_sent(struct stream *s, size_t n)
{
	size_t of_queue = buffered(&s->out);

	s->octets_out += n;
	s->write_want = LOOP_WRITE;
	s->committed = false;
	if (n < of_queue) {
		s->out.start += (unsigned)n;
		return 0;
	}
	give_back(s, &s->out);
	stream_unlink_unsent(s);
	return n - of_queue;
}

static ssize_t send_once(struct stream *s, struct slice extra, unsigned *want)
{
	struct iovec iov[2];
	int n = 0;

	if (buffered(&s->out) > 0)
		iov[n++] = (struct iovec){ s->out.chunk + s->out.start, buffered(&s->out) };
	if (extra.len > 0)
		iov[n++] = (struct iovec){ (void *)extra.ptr, extra.len };
	return s->ops->writev(s->self, iov, n, want);
}

ssize_t stream_send_some(struct stream *s, struct slice extra)
{
	size_t all, went = 0;

	if (s->write_error != 0)
		return s->write_error;
	while ((all = buffered(&s->out) + extra.len - went) > 0 && stream_can_write(s)) {
		unsigned want = LOOP_WRITE;
		ssize_t n = send_once(s, slice_skip(extra, went), &want);

		if (n == -EAGAIN) {
			s->write_want = want;
			s->watch.ready &= ~want;
			s->committed = s->ops->encrypts && buffered(&s->out) == 0;
			break;
		}
		if (n < 0) {
			stream_write_failed(s, (int)n);
			return n;
		}
		if (s->ops->splices && (size_t)n < all)
			s->watch.ready &= ~LOOP_WRITE;
		went += note_sent(s, (size_t)n);
	}
	return (ssize_t)went;
}

int stream_push(struct stream *s)
{
	ssize_t n;

	if (buffered(&s->out) == 0)
		return s->write_error;
	n = stream_send_some(s, slice_of(NULL, 0));
	return n < 0 ? (int)n : 0;
}

/* Waiting for the socket to take octets. A failure after some of them were taken leaves the
 * peer with a fragment, so nothing more may follow it. */
static co_waits int write_rest(struct stream *s, struct slice octets, bool through, deadline_t deadline)
{
	size_t went = 0;

	for (;;) {
		struct slice rest = slice_skip(octets, went);
		ssize_t n;
		int err = through || rest.len > STREAM_CHUNK - buffered(&s->out) ? -ENOSPC : queue(s, &rest, 1);

		if (err == -ENOSPC) {
			n = stream_send_some(s, rest);
			if (n < 0)
				return (int)n;
			co_spend((size_t)n);
			went += (size_t)n;
			if (went == octets.len && (!through || buffered(&s->out) == 0))
				return 0;
			if (!through && octets.len - went <= STREAM_CHUNK - buffered(&s->out))
				continue;
			err = stream_wait_news(s, deadline);
		} else if (err == 0) {
			return 0;
		}
		if (err < 0) {
			if (went > 0)
				stream_write_failed(s, err);
			stream_abandon_write(s, err);
			return err;
		}
	}
}

int stream_write(struct stream *s, struct slice octets, deadline_t deadline)
{
	int err;

	if (s->write_error != 0)
		return s->write_error;
	if (octets.len <= STREAM_CHUNK - buffered(&s->out))
		return queue(s, &octets, 1);
	err = co_breathe();
	return err < 0 ? err : write_rest(s, octets, false, deadline);
}

int stream_write_parts(struct stream *s, const struct slice *parts, size_t n, deadline_t deadline)
{
	int err = s->write_error != 0 ? s->write_error : queue(s, parts, n);

	if (err != -ENOSPC || s->write_error != 0)
		return err;
	err = 0;
	for (size_t i = 0; i < n && err == 0; i++) {
		err = stream_write(s, parts[i], deadline);
		if (err < 0 && i > 0)
			stream_write_failed(s, err);	/* nothing may follow a fragment */
	}
	return err;
}

int stream_write_through(struct stream *s, struct slice octets, deadline_t deadline)
{
	int err;

	if (s->write_error != 0)
		return s->write_error;
	err = co_breathe();
	return err < 0 ? err : write_rest(s, octets, true, deadline);
}

int stream_flush(struct stream *s, deadline_t deadline)
{
	if (s->write_error != 0)
		return s->write_error;
	return buffered(&s->out) == 0 ? 0 : write_rest(s, slice_of(NULL, 0), true, deadline);
}

/* What is known. */

uint64_t stream_octets_in(const struct stream *s)
{
	return s->octets_in;
}

uint64_t stream_octets_out(const struct stream *s)
{
	return s->octets_out;
}

int stream_fd(const struct stream *s)
{
	return s->watch.fd;
}

bool stream_is_encrypted(const struct stream *s)
{
	return s->ops->encrypts;
}

static int address(int fd, int (*ask)(int, struct sockaddr *, socklen_t *), struct endpoint *out)
{
	struct sockaddr_storage sa = { 0 };
	socklen_t size = sizeof(sa);

	if (ask(fd, (struct sockaddr *)&sa, &size) < 0)
		return -errno;
	return endpoint_from_sockaddr(&sa, out);
}

static int ask_local(int fd, struct sockaddr *sa, socklen_t *size)
{
	return getsockname(fd, sa, size);
}

static int ask_peer(int fd, struct sockaddr *sa, socklen_t *size)
{
	return getpeername(fd, sa, size);
}

int stream_local(const struct stream *s, struct endpoint *out)
{
	return address(s->watch.fd, ask_local, out);
}

int stream_peer(const struct stream *s, struct endpoint *out)
{
	return address(s->watch.fd, ask_peer, out);
}

size_t stream_pool_in_use(const struct loop *loop)
{
	return loop->chunks.in_use + loop->large_chunks.in_use;
}
