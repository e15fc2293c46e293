/* SPDX-License-Identifier: Apache-2.0 */
/* The far ends of a session's connections: what came there, and how they close. */
#include "run.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int *far_end(struct run *r, int side)
{
	int *const ends[SIDES] = { &r->h.client, &r->h.server, &r->h.former };

	return ends[side];
}

/* There is another server: what the one before received and nobody looked at stays with it. */
static void notice_new_server(struct run *r)
{
	struct octets swapped = r->from_proxy[FORMER];

	if (r->servers_seen == r->h.n_connections)
		return;
	if (r->servers_seen + 1 < r->h.n_connections || swapped.len > 0)
		fail(r, "servers received what the transcript does not show");
	r->servers_seen = r->h.n_connections;
	swapped.len = 0;
	r->from_proxy[FORMER] = r->from_proxy[SERVER];
	r->from_proxy[SERVER] = swapped;
	r->eof[FORMER] = r->eof[SERVER];
	r->eof[SERVER] = false;
	tls_peer_free(&r->tls[FORMER]);
	r->tls[FORMER] = r->tls[SERVER];
	r->tls[SERVER] = NULL;
}

static ssize_t read_side(struct run *r, int side, void *buf, size_t size)
{
	ssize_t n;

	if (r->tls[side] == NULL)
		return read(*far_end(r, side), buf, size);
	switch (tls_peer_step(r->tls[side])) {
	case TLS_PEER_DONE:
		return tls_peer_read(r->tls[side], buf, size);
	case TLS_PEER_FAILED:	/* an alert may come, or nothing */
		while ((n = read(*far_end(r, side), buf, size)) > 0)
			;
		return n;
	default:
		errno = EAGAIN;
		return -1;
	}
}

ssize_t write_side(struct run *r, int side, const void *buf, size_t size)
{
	if (r->tls[side] == NULL)
		return send(*far_end(r, side), buf, size, MSG_NOSIGNAL);
	return tls_peer_write(r->tls[side], buf, size);
}

/* What the far end of one side received so far. */
void collect(struct run *r, int side)
{
	int fd = *far_end(r, side);
	struct octets *o = &r->from_proxy[side];

	while (fd >= 0) {
		ssize_t n;

		if (o->len + 65536 > OCTETS_MAX)
			return;
		n = read_side(r, side, o->data + o->len, 65536);
		if (n == 0)
			r->eof[side] = true;
		if (n < 0 && errno != EAGAIN)
			r->eof[side] = true;
		if (n <= 0)
			return;
		o->len += (size_t)n;
	}
}

/* Changes with all that moved. */
static size_t received(const struct run *r)
{
	size_t n = 0;

	for (int side = 0; side < SIDES; side++) {
		n += r->from_proxy[side].len;
		if (r->tls[side] != NULL)
			n += tls_peer_progress(r->tls[side]);
	}
	return n;
}

void settle(struct run *r)
{
	for (;;) {
		size_t before = received(r);

		harness_settle(&r->h);
		notice_new_server(r);
		for (int side = 0; side < SIDES; side++)
			collect(r, side);
		if (before == received(r))
			return;
	}
}

void close_side(struct run *r, int side)
{
	settle(r);
	if (side == CLIENT)
		harness_close_client(&r->h);
	else
		harness_close_server(&r->h);
	settle(r);
}

/* With TLS: close_notify, and the socket stays open. */
void shut_down_side(struct run *r, int side)
{
	if (r->tls[side] != NULL)
		tls_peer_close_notify(r->tls[side]);
	else
		shutdown(*far_end(r, side), SHUT_WR);
	settle(r);
}


void check_cut_off(struct run *r, int side)
{
	settle(r);
	if (r->from_proxy[side].len > 0) {
		fail(r, "the %s received more", side_names[side]);
		show("has", slice_of(r->from_proxy[side].data, r->from_proxy[side].len));
	}
	if (!r->eof[side])
		fail(r, "the connection of the %s is still open", side_names[side]);
}

/*
 * The server was cut off in the middle of a message. How much of it had arrived depends on the
 * segments; that it had an end does not.
 */
void check_lost(struct run *r)
{
	struct octets *o = &r->from_proxy[SERVER];

	settle(r);
	if ((o->len >= 3 && memcmp(o->data, ".\r\n", 3) == 0) || memmem(o->data, o->len, "\r\n.\r\n", 5) != NULL) {
		fail(r, "the server received the end of a message");
		show("has", slice_of(o->data, o->len));
	}
	o->len = 0;
	check_cut_off(r, 1);
}
