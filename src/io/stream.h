/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream: one side's byte channel, over a transport (a plain socket; TLS fits in at the same
 * place without a proxy noticing), with a read buffer and a write buffer that are borrowed from
 * the worker's pool and given back when empty. An idle stream holds only its struct. Who filled a
 * read buffer with one read gets a large one next, as long as there are any.
 *
 * Reading: stream_fill() waits for more octets; stream_peek() shows what is buffered;
 * stream_consume() drops what was dealt with. What was peeked stays valid until the next
 * fill, consume or close.
 *
 * Writing: stream_write() queues (and writes through once a chunk is full), stream_flush()
 * waits until everything is with the kernel. Queued octets are sent when flushed, or when the
 * coroutine that queued them is about to wait in stream_fill or a write, on this or on any other
 * stream; so a proxy that waits for one side never sits on octets for the other. (streams_wait
 * sends nothing by itself.)
 *
 * A failure of the transport is remembered for its direction: later calls return it again, and
 * what had been queued is dropped. After a failed write, reading still delivers what the peer had
 * sent before (a server's last reply); where the file then ends, fill returns the write's error.
 * A write that timed out or was canceled after part of its octets were taken counts as failed; TLS takes
 * octets when it is first tried, so there each such write that was not queued does.
 * Timeouts and cancels of other calls leave the stream as it was.
 */
#ifndef SALLYPORT_IO_STREAM_H
#define SALLYPORT_IO_STREAM_H

#include "base/addr.h"
#include "base/attributes.h"
#include "base/clock.h"
#include "base/slice.h"

#include <sys/types.h>
#include <sys/uio.h>

struct stream;
struct loop;
struct loop_watch;

#define STREAM_CHUNK (16u * 1024u)	/* octets of a borrowed buffer */
#define STREAM_LARGE_CHUNK (128u * 1024u)	/* of a read buffer while octets come in bulk */

/*
 * What carries the octets. Calls never block: they return octets moved, 0 for end of file
 * (read only), or -errno, with -EAGAIN meaning "not now" and *want saying which readiness of
 * the descriptor (LOOP_READ or LOOP_WRITE) to wait for, since a TLS read may want to write.
 */
struct transport_ops {
	const char *name;
	ssize_t (*read)(void *self, void *buf, size_t size, unsigned *want);
	ssize_t (*writev)(void *self, const struct iovec *iov, int n, unsigned *want);
	int (*shutdown_write)(void *self, unsigned *want);	/* 0 or -errno */
	void (*close)(void *self);				/* frees self, not the descriptor */
	bool splices;						/* the descriptor carries the plain octets */
	bool encrypts;						/* nobody on the way can read them; a writev that said
								 * -EAGAIN began to send, and wants the same octets again */
};

/* A stream on a connected, non-blocking socket, which it owns from then on; no other process may
 * hold a copy. A TCP socket has TCP_NODELAY: we send whole messages, and holding one back for more
 * would only delay it. NULL: errno; the descriptor is then still the caller's. */
struct stream *stream_open(struct loop *loop, int fd);

/* Put another transport on top (STARTTLS); self is owned. Refused with -EBUSY while octets are
 * buffered in either direction: plaintext must not cross the switch. */
int stream_set_transport(struct stream *s, const struct transport_ops *ops, void *self) MUST_CHECK;

/* Close at once; unsent octets are lost. Where none are, TLS tells the peer that this is the end (as far as that goes
 * without waiting). Closing with *reset* sends RST, and nothing before it. Accepts NULL in it. */
void stream_close(struct stream **sp);
void stream_reset(struct stream **sp);

/*
 * Wait for more octets than are buffered now. WAITS.
 * Returns the number buffered (> 0); 0 at end of file with nothing new; -ETIMEDOUT; -ECANCELED;
 * -ENOBUFS (the buffer is full: the caller's limits are too wide); -errno of the transport.
 */
co_waits ssize_t stream_fill(struct stream *s, deadline_t deadline) MUST_CHECK;

/* The same, with at most max octets more: what follows them is left where it is, for another transport. */
co_waits ssize_t stream_fill_most(struct stream *s, size_t max, deadline_t deadline) MUST_CHECK;

/* Like stream_fill, but reads only what is there, as far as the loop's last turn could see:
 * 0 = nothing now, -EPIPE = end of file. */
ssize_t stream_fill_now(struct stream *s) MUST_CHECK;

struct slice stream_peek(const struct stream *s);
void stream_consume(struct stream *s, size_t n);
bool stream_at_eof(const struct stream *s);		/* end of file seen, buffer may still hold octets */

/* Queue octets; they are copied. WAITS only when a chunk is full. 0 or -errno as above. */
co_waits int stream_write(struct stream *s, struct slice octets, deadline_t deadline) MUST_CHECK;
/* The same of several pieces, one behind the other. Where only the first of them could be written, nothing can be any more. WAITS likewise. */
co_waits int stream_write_parts(struct stream *s, const struct slice *parts, size_t n, deadline_t deadline) MUST_CHECK;
/* Send queued octets, then these, without copying them; returns when all are with the kernel. */
co_waits int stream_write_through(struct stream *s, struct slice octets, deadline_t deadline) MUST_CHECK;
co_waits int stream_flush(struct stream *s, deadline_t deadline) MUST_CHECK;
size_t stream_unsent(const struct stream *s);
/* Send what can be sent without waiting. 0 (all sent, or more is waiting) or -errno. */
int stream_push(struct stream *s) MUST_CHECK;

/* Half close after all queued octets. WAITS. */
co_waits int stream_shutdown_write(struct stream *s, deadline_t deadline) MUST_CHECK;

/*
 * Wait for one of several streams. Fill in stream and want (LOOP_READ, LOOP_WRITE or both);
 * got says what can be done without EAGAIN now (LOOP_READ also at end of file or error, and
 * when octets are buffered that were not there at the last fill). WAITS.
 * Returns the number of entries with got != 0; -ETIMEDOUT; -ECANCELED. NULL streams are skipped.
 */
struct stream_wait {
	struct stream *stream;
	unsigned want, got;
};
co_waits int streams_wait(struct stream_wait *set, size_t n, deadline_t deadline) MUST_CHECK;

/*
 * Wait until the peer has hung up, or half closed; what it sent before stays where it is. WAITS.
 * 0; -ETIMEDOUT; -ECANCELED.
 */
co_waits int stream_wait_hangup(struct stream *s, deadline_t deadline) MUST_CHECK;

uint64_t stream_octets_in(const struct stream *s);	/* since opening, or since stream_count_anew */
uint64_t stream_octets_out(const struct stream *s);
int stream_fd(const struct stream *s);
bool stream_is_encrypted(const struct stream *s);
int stream_error(const struct stream *s);		/* remembered -errno, 0 = fine */

void stream_count_anew(struct stream *s);		/* a connection that serves another session */

/* Nothing buffered in either direction, no failure, no end of file, and nothing to read right now
 * (the transport is asked). */
bool stream_is_quiet(struct stream *s);

/*
 * Nobody converses on a quiet stream for a while: on_news is called from the loop when there is
 * something to read, an end, or an error; it may close the stream. NULL ends that.
 */
struct stream_idler {
	void (*on_news)(struct stream_idler *);
};
void stream_set_idle(struct stream *s, struct stream_idler *idler);

/* What sockets know. -errno on failure. */
int stream_local(const struct stream *s, struct endpoint *out);
int stream_peer(const struct stream *s, struct endpoint *out);

/* Bounds of the worker's pool of chunks: returned by all streams together when idle. */
size_t stream_pool_in_use(const struct loop *loop);	/* chunks of either size */

#endif
