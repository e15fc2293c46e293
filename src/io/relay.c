/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One coroutine moves both directions and waits for news of either stream. A message that passes
 * costs one read and one write: nothing is read while something waits to be written, nothing is
 * called that was not seen ready, and the octets go out from the buffer they were read into.
 */
#include "io/relay_priv.h"

#include <errno.h>

struct relay {
	struct stream *client, *server;
	const struct relay_options *options;
	struct relay_counts *counts;
	struct relay_direction to_client, to_server;
	deadline_t idle_at, total_at, interval_at;
	uint64_t interval_reads_at;	/* the sum of both directions' reads */
};

/* Copying. */

static int copy_in(struct relay_direction *d)
{
	ssize_t n = stream_read_some(d->from, d->streak >= 2 ? d->bulk_octets : d->buffer_octets);

	if (n == -EAGAIN)
		return 0;
	if (n < 0) {
		d->failed = d->from;
		return (int)n;
	}
	if (n == 0) {
		d->eof = true;
		return 1;
	}
	(*d->reads)++;
	co_spend((size_t)n);
	d->streak = (size_t)n >= d->buffer_octets ? d->streak + 1 : 0;
	return 1;
}

static int copy_out(struct relay_direction *d)
{
	struct slice octets = stream_peek(d->from);
	size_t queued = stream_unsent(d->to);
	ssize_t n;

	octets = slice_take(octets, relay_allowed(d) < octets.len ? (size_t)relay_allowed(d) : octets.len);
	n = stream_send_some(d->to, d->discard ? slice_of(NULL, 0) : octets);
	if (n < 0) {
		d->failed = d->to;
		return (int)n;
	}
	if (d->discard)
		n = (ssize_t)octets.len;
	stream_consume(d->from, (size_t)n);
	*d->octets += (uint64_t)n;
	return n > 0 || stream_unsent(d->to) < queued;
}

int relay_copy(struct relay_direction *d)
{
	int moved = 0, err;

	if (stream_peek(d->from).len == 0 && stream_unsent(d->to) == 0) {
		if (d->eof)
			return 0;
		if (d->streak >= 2 && !d->discard && d->from->ops->splices && d->to->ops->splices &&
		    relay_allowed(d) > 0) {
			relay_splice_begin(d);
			if (relay_splices(d))
				return 1;
		}
		moved = copy_in(d);
		if (moved < 0)
			return moved;
	}
	if (stream_peek(d->from).len > 0 && relay_allowed(d) == 0)
		return -EDQUOT;
	err = copy_out(d);
	return err == 0 ? moved : err;
}

/* A direction. */

static bool is_drained(const struct relay_direction *d)
{
	return stream_peek(d->from).len == 0 && stream_unsent(d->to) == 0 && d->in_pipe == 0;
}

/* At its end: pass the end on, or make the other direction end too. */
static co_waits int end_direction(struct relay *r, struct relay_direction *d, struct relay_direction *other)
{
	int err;

	if (relay_splices(d))
		relay_splice_end(d);
	d->done = true;
	if (!r->options->half_close) {
		deadline_t last = co_now() + RELAY_DRAIN_MS;

		other->eof = true;
		r->total_at = deadline_min(r->total_at, last);
		return 1;
	}
	err = stream_shutdown_write(d->to, deadline_min(r->idle_at, r->total_at));
	if (err < 0) {
		d->failed = d->to;
		return err;
	}
	return 1;
}

/* Nothing is left to read from the receiver that would tell that it has gone, so look. */
static bool is_pointless(struct relay_direction *d, const struct relay_direction *other)
{
	return !d->done && other->eof && (d->to->watch.ready & LOOP_GONE) != 0;
}

static int fail_pointless(struct relay_direction *d)
{
	int err = 0;
	socklen_t size = sizeof(err);

	if (getsockopt(d->to->watch.fd, SOL_SOCKET, SO_ERROR, &err, &size) < 0 || err == 0)
		err = EPIPE;
	d->failed = d->to;
	stream_write_failed(d->to, -err);
	return -err;
}

static co_waits int move_direction(struct relay *r, struct relay_direction *d, struct relay_direction *other)
{
	int moved;

	if (d->done)
		return 0;
	moved = relay_splices(d) ? relay_splice(d) : relay_copy(d);
	if (moved >= 0 && d->eof && is_drained(d))
		return end_direction(r, d, other);
	if (moved == 0 && is_pointless(d, other))
		return fail_pointless(d);
	return moved;
}

/* The conversation. */

static uint64_t reads(const struct relay *r)
{
	return r->counts->reads_to_client + r->counts->reads_to_server;
}

static co_waits int call_interval(struct relay *r)
{
	const struct relay_options *o = r->options;
	bool due = (o->interval_reads > 0 && reads(r) >= r->interval_reads_at) || co_now() >= r->interval_at;

	if (!due)
		return 0;
	r->interval_reads_at = reads(r) + o->interval_reads;
	if (o->interval_ms > 0)
		r->interval_at = co_now() + o->interval_ms;
	return o->on_interval(o->arg, r->counts);
}

static co_waits int wait_for_news(struct relay *r)
{
	struct co *self = co_current();
	int err;

	stream_set_waiter(r->client, self);
	stream_set_waiter(r->server, self);
	err = co_wait(deadline_min(deadline_min(r->idle_at, r->total_at), r->interval_at));
	stream_set_waiter(r->client, NULL);
	stream_set_waiter(r->server, NULL);
	return err;
}

/* One round of both directions. 0 = go on; 1 = ended; or -errno. */
static co_waits int round_trip(struct relay *r)
{
	int to_server, to_client, err = co_canceled() ? -ECANCELED : co_breathe();

	if (err < 0)
		return err;
	to_server = move_direction(r, &r->to_server, &r->to_client);
	if (to_server < 0)
		return to_server;
	to_client = move_direction(r, &r->to_client, &r->to_server);
	if (to_client < 0)
		return to_client;
	if (r->to_server.done && r->to_client.done)
		return 1;
	if (r->options->on_interval != NULL) {
		err = call_interval(r);
		if (err != 0)
			return err;
	}
	if (to_server != 0 || to_client != 0) {
		r->idle_at = deadline_in(r->options->idle_ms);
		return co_now() >= r->total_at ? -ETIMEDOUT : 0;
	}
	err = wait_for_news(r);
	if (err == -ETIMEDOUT && co_now() < r->idle_at && co_now() < r->total_at)
		err = 0;		/* only the interval is over */
	return err;
}

static struct relay_direction direction(struct stream *from, struct stream *to, const struct relay_options *o)
{
	size_t size = o->buffer_octets;

	return (struct relay_direction){
		.from = from,
		.to = to,
		.buffer_octets = size == 0 || size > STREAM_CHUNK ? STREAM_CHUNK : size,
		.bulk_octets = size == 0 ? STREAM_LARGE_CHUNK : size < STREAM_CHUNK ? size : STREAM_CHUNK,
		.pipe = { { -1, -1 } },
	};
}

static void relay_init(struct relay *r, const struct relay_options *o)
{
	r->to_client = direction(r->server, r->client, o);
	r->to_client.discard = o->discard_to_client;
	r->to_client.max = o->max_to_client;
	r->to_client.octets = &r->counts->to_client;
	r->to_client.reads = &r->counts->reads_to_client;
	r->to_server = direction(r->client, r->server, o);
	r->to_server.discard = o->discard_to_server;
	r->to_server.max = o->max_to_server;
	r->to_server.octets = &r->counts->to_server;
	r->to_server.reads = &r->counts->reads_to_server;
	r->idle_at = deadline_in(o->idle_ms);
	r->total_at = deadline_in(o->total_ms);
	r->interval_at = o->on_interval != NULL ? deadline_in(o->interval_ms) : DEADLINE_NEVER;
	r->interval_reads_at = o->interval_reads;
}

int relay_run(struct stream *client, struct stream *server, const struct relay_options *options,
	      struct relay_counts *counts, bool *fault_server)
{
	struct relay r = { .client = client, .server = server, .options = options, .counts = counts };
	int err;

	*counts = (struct relay_counts){ 0 };
	relay_init(&r, options);
	do
		err = round_trip(&r);
	while (err == 0);
	relay_splice_end(&r.to_client);
	relay_splice_end(&r.to_server);
	if (err < 0) {
		stream_abandon_write(client, err);
		stream_abandon_write(server, err);
	}
	*fault_server = r.to_client.failed == server || r.to_server.failed == server;
	return r.to_client.done && r.to_server.done && err == 1 ? 0 : err;
}
