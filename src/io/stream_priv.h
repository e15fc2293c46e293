/* SPDX-License-Identifier: Apache-2.0 */
/* The insides of a stream, for the relay and the connector. */
#ifndef SALLYPORT_IO_STREAM_PRIV_H
#define SALLYPORT_IO_STREAM_PRIV_H

#include "io/loop_priv.h"
#include "io/stream.h"

/* A borrowed chunk and what is in it; chunk is NULL while there is nothing. */
struct stream_buffer {
	uint8_t *chunk;
	unsigned start, end, size;
};

struct stream {
	struct loop_watch watch;	/* the descriptor */
	struct loop *loop;
	const struct transport_ops *ops;
	void *self;
	struct stream_buffer in, out;
	unsigned read_want, write_want;	/* the readiness that lets the transport's call go on */
	int read_error, write_error;
	bool eof, fresh;		/* fresh: octets came that no fill has reported yet */
	bool bulk;			/* the last read filled its buffer */
	bool committed;			/* the transport began to send octets that are not queued: the same must follow */
	uint64_t octets_in, octets_out;
	struct stream_idler *idler;	/* while nobody converses on it */
	/* In the list of the coroutine that queued the octets of out. */
	struct co *writer;
	struct stream *next_unsent, **prev_unsent;
};

extern const struct transport_ops transport_plain;	/* self is the descriptor's number */

static inline size_t buffered(const struct stream_buffer *b)
{
	return b->end - b->start;
}

/* As stream_open; ready says what may be tried at once. */
struct stream *stream_open_ready(struct loop *loop, int fd, unsigned ready);

/* Read once, at most max octets, if the descriptor was seen ready. Returns octets read; 0 at end
 * of file; -EAGAIN; -ENOBUFS (no room); -ENOMEM; -errno remembered. */
ssize_t stream_read_some(struct stream *s, size_t max) MUST_CHECK;

/* Send what is queued, then extra, as much as goes without waiting. Returns octets of extra that
 * went, or -errno remembered. */
ssize_t stream_send_some(struct stream *s, struct slice extra) MUST_CHECK;

/* A transport's call returned -errno for good: remember it. */
void stream_read_failed(struct stream *s, int err);
void stream_write_failed(struct stream *s, int err);

void stream_unlink_unsent(struct stream *s);

/* Send what the running coroutine queued on any stream, as far as it goes: before it waits for
 * something else than a stream. */
void streams_push_unsent(void);

/* Nobody is going to repeat octets that the transport began to send. */
static inline void stream_abandon_write(struct stream *s, int err)
{
	if (s->committed)
		stream_write_failed(s, err);
}

/* Could a call go on? */
static inline bool stream_can_read(const struct stream *s)
{
	return (s->watch.ready & s->read_want) != 0;
}

static inline bool stream_can_write(const struct stream *s)
{
	return (s->watch.ready & s->write_want) != 0;
}

/* Let co be woken by news of s; NULL ends that. */
void stream_set_waiter(struct stream *s, struct co *co);

/* Wait for news of s (anything new about its descriptor), sending meanwhile what this coroutine
 * queued on any stream. 0, -ETIMEDOUT, -ECANCELED. */
co_waits int stream_wait_news(struct stream *s, deadline_t deadline) MUST_CHECK;

#endif
