/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moving octets from socket to socket through a pipe, without copying them to this process. The
 * pipe is filled only when it is empty: then EAGAIN can only mean that the socket is.
 */
#include "io/relay_priv.h"

#include <errno.h>
#include <fcntl.h>

#define SPLICE_OCTETS (64u * 1024u)	/* what a new pipe holds */
#define SPLICE_SMALL 4096u		/* two such reads in a row: the bulk is over */

void relay_splice_begin(struct relay_direction *d)
{
	d->streak = 0;
	if (pipe_borrow(d->from->loop, &d->pipe) < 0)
		d->pipe = (struct pipe_pair){ { -1, -1 } };
}

void relay_splice_end(struct relay_direction *d)
{
	pipe_return(d->from->loop, &d->pipe, d->in_pipe == 0);
	d->in_pipe = 0;
	d->streak = 0;
}

static ssize_t move(int from, int to, size_t size)
{
	ssize_t n;

	do
		n = splice(from, NULL, to, NULL, size, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

static int fill_pipe(struct relay_direction *d)
{
	struct stream *from = d->from;
	uint64_t allowed = relay_allowed(d);
	ssize_t n;

	if (!stream_can_read(from))
		return 0;
	n = move(from->watch.fd, d->pipe.fd[1], allowed < SPLICE_OCTETS ? (size_t)allowed : SPLICE_OCTETS);
	if (n == -EAGAIN) {
		from->watch.ready &= ~LOOP_READ;
		return 0;
	}
	if (n < 0) {
		d->failed = from;
		stream_read_failed(from, (int)n);
		return (int)n;
	}
	if (n == 0) {
		from->eof = d->eof = true;
		return 1;
	}
	d->in_pipe = (size_t)n;
	d->streak = (size_t)n < SPLICE_SMALL ? d->streak + 1 : 0;
	from->octets_in += (uint64_t)n;
	(*d->reads)++;
	co_spend((size_t)n);
	return 1;
}

static int drain_pipe(struct relay_direction *d)
{
	struct stream *to = d->to;
	ssize_t n;

	if (!stream_can_write(to))
		return 0;
	n = move(d->pipe.fd[0], to->watch.fd, d->in_pipe);
	if (n == -EAGAIN) {
		to->watch.ready &= ~LOOP_WRITE;
		return 0;
	}
	if (n <= 0) {
		n = n == 0 ? -EIO : n;
		d->failed = to;
		stream_write_failed(to, (int)n);
		return (int)n;
	}
	d->in_pipe -= (size_t)n;
	to->octets_out += (uint64_t)n;
	*d->octets += (uint64_t)n;
	return 1;
}

int relay_splice(struct relay_direction *d)
{
	int moved = 0, err;

	if (d->in_pipe == 0 && !d->eof) {
		/* At the limit, copying sees whether there is more than is allowed. */
		if (d->streak >= 2 || relay_allowed(d) == 0) {
			relay_splice_end(d);
			return 1;
		}
		moved = fill_pipe(d);
		if (moved < 0)
			return moved;
	}
	if (d->in_pipe == 0)
		return moved;
	err = drain_pipe(d);
	return err == 0 ? moved : err;
}
