/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole sessions: client and server both say what the fuzzer wants. A model that knows nothing
 * of the proxy's code watches both far ends (smtp_model.h) and holds these to be true always:
 *
 * - the origin receives only whole, well-formed commands that the policy permits, in an order
 *   that its own replies allow, and nothing while it owes no reply to what it said unasked;
 * - what it receives of a message is what the client sent of it, octet for octet, and its end
 *   only if the client sent that and it came by no more hops than are permitted;
 * - it holds exactly the recipients that the client was told it holds;
 * - the client gets a positive reply to a message only if the origin gave one;
 * - where a connection to the origin serves several clients in a row, nothing of one of them is on
 *   it any more when the next one uses it, and no reply that was for one reaches another;
 * - STARTTLS happens only where it may, and where it must: what was said in plain text before it, by whomever,
 *   is forgotten, what is said in plain text behind it is never heard (smtp_model_tls.c), and the
 *   proxy says nothing in plain text any more (far_end.h).
 *
 * Input: one octet that chooses the configuration (smtp_session_config.c), with its highest bit connections
 * that serve several clients; then actions: a letter, and for C, S, X and Y a length octet and so many octets.
 *
 *	C, S	the client, the server sends; through TLS, once it has it
 *	A	the server answers what it owes, as a good one would
 *	c, s	the client, the server closes
 *	t, T	the client, the server begins its handshake, if it was told to, or said so, and did not yet
 *	l, L	the same, and knows no TLS 1.3
 *	U	the server begins its with a certificate that nobody trusts
 *	X, Y	the client, the server sends beneath its TLS what is none
 *	z, Z	the client, the server says close_notify
 *	w	time passes
 *	N	the next client comes, if the session is over
 */
#include "far_end.h"
#include "fuzz.h"
#include "smtp_model.h"
#include "smtp_session_config.h"

#define CLIENTS_MAX 4

/* FORMER: the server of the connection before the last. */
enum side { CLIENT, SERVER, FORMER, SIDES };

struct run {
	struct harness *h;
	struct model *m;
	unsigned connections;		/* that the model knows of */
	unsigned clients;
	struct far_end rooms[SIDES], *ends[SIDES];	/* they stay where they are, whatever side they become */
};

static int descriptor_of(const struct run *r, enum side side)
{
	const int descriptors[SIDES] = { [CLIENT] = r->h->client, [SERVER] = r->h->server, [FORMER] = r->h->former };

	return descriptors[side];
}

/* ---- listening ---- */

/* TLS begins where the model says so. */
static void follow_tls(struct run *r, enum side side)
{
	struct far_end *e = r->ends[side];

	if (side == CLIENT ? model_client_expects_tls(r->m) : model_origin_expects_tls(r->m, side == FORMER))
		far_end_expect_tls(e);
	if (!far_end_becomes_secure(e))
		return;
	if (side == CLIENT)
		model_client_secured(r->m);
	else
		model_origin_secured(r->m, side == FORMER, e->kind != FAR_END_UNKNOWN_SERVER);
}

static void listen_to(struct run *r, enum side side)
{
	static uint8_t buf[16384];
	size_t n;

	for (;;) {
		follow_tls(r, side);
		n = far_end_receive(r->ends[side], descriptor_of(r, side), buf, sizeof(buf));
		if (n == 0)
			return;
		if (side == CLIENT)
			model_client_received(r->m, slice_of(buf, n));
		else
			model_origin_received(r->m, side == FORMER, slice_of(buf, n));
	}
}

static void notice_new_leg(struct run *r)
{
	struct far_end *former = r->ends[FORMER];

	if (r->connections == r->h->n_connections)
		return;
	FUZZ_CHECK(r->connections + 1 == r->h->n_connections);
	r->connections++;
	far_end_release(former);
	r->ends[FORMER] = r->ends[SERVER];
	r->ends[SERVER] = former;
	model_new_leg(r->m);
}

static uint64_t progress(const struct run *r)
{
	uint64_t sum = 0;

	for (enum side side = CLIENT; side < SIDES; side++)
		sum += far_end_progress(r->ends[side]);
	return sum;
}

/* What the origin received counts before what the client heard of it, and what came on an older connection first. */
static void listen_to_all(struct run *r)
{
	harness_settle(r->h);
	notice_new_leg(r);
	listen_to(r, FORMER);
	listen_to(r, SERVER);
	listen_to(r, CLIENT);
}

/* Let things happen. */
static void watch(struct run *r)
{
	uint64_t before;

	listen_to_all(r);
	do {
		before = progress(r);
		listen_to_all(r);
	} while (before != progress(r));
	model_settled(r->m);
}

/* ---- acting ---- */

static void send_as(struct run *r, enum side side, struct slice octets)
{
	struct far_end *e = r->ends[side];

	/* In place of a handshake only what is none for sure. */
	if (!far_end_can_speak(e) || (e->tls_is_next && e->tls == NULL && !far_end_is_no_tls(octets)))
		return;
	if (side == CLIENT)
		model_client_sends(r->m, octets);
	else
		model_server_sends(r->m, side == FORMER, octets);
	far_end_send(e, descriptor_of(r, side), octets);
}

static void answer(struct run *r, enum side side)
{
	char answers[3072];
	size_t n;

	if (!far_end_can_speak(r->ends[side]))
		return;
	n = model_server_answers(r->m, side == FORMER, answers, sizeof(answers));
	far_end_send(r->ends[side], descriptor_of(r, side), slice_of(answers, n));
}

static void disturb(struct run *r, enum side side, struct slice octets)
{
	if (!far_end_disturb(r->ends[side], descriptor_of(r, side), octets))
		return;
	if (side == CLIENT)
		model_client_breaks_tls(r->m);
	else
		model_server_breaks_tls(r->m, side == FORMER);
}

/* ---- connections ---- */

static void close_client(struct run *r)
{
	model_client_closed(r->m);
	far_end_release(r->ends[CLIENT]);
	harness_close_client(r->h);
}

static void close_server(struct run *r, enum side side)
{
	if (side != SERVER)
		return;
	far_end_release(r->ends[SERVER]);
	harness_close_server(r->h);
}

static void check_end(const struct harness *h)
{
	FUZZ_CHECK(h->ended && h->fault != FAULT_OWN && h->fault != FAULT_RESOURCE);
}

static void connect_client(struct run *r)
{
	far_end_release(r->ends[CLIENT]);
	FUZZ_CHECK(harness_connect(r->h, "10.0.0.1") == 0);
}

/* Only behind the session before. */
static void connect_next(struct run *r)
{
	if (!r->h->ended || r->clients == CLIENTS_MAX)
		return;
	check_end(r->h);
	r->clients++;
	model_next_client(r->m);
	connect_client(r);
}

static void act(struct run *r, uint8_t what, struct slice octets)
{
	enum side server = harness_uses_former(r->h) ? FORMER : SERVER;

	switch (what) {
	case 'C':
		if (!r->h->ended)
			send_as(r, CLIENT, octets);
		break;
	case 'S': send_as(r, server, octets); break;
	case 'A': answer(r, server); break;
	case 'c': close_client(r); break;
	case 's': close_server(r, server); break;
	case 't': far_end_begin_tls(r->ends[CLIENT], r->h->client, FAR_END_CLIENT); break;
	case 'l': far_end_begin_tls(r->ends[CLIENT], r->h->client, FAR_END_CLIENT_12); break;
	case 'L': far_end_begin_tls(r->ends[server], descriptor_of(r, server), FAR_END_SERVER_12); break;
	case 'T': far_end_begin_tls(r->ends[server], descriptor_of(r, server), FAR_END_SERVER); break;
	case 'U': far_end_begin_tls(r->ends[server], descriptor_of(r, server), FAR_END_UNKNOWN_SERVER); break;
	case 'X': disturb(r, CLIENT, octets); break;
	case 'Y': disturb(r, server, octets); break;
	case 'z': far_end_close_notify(r->ends[CLIENT]); break;
	case 'Z': far_end_close_notify(r->ends[server]); break;
	case 'w': r->h->now_ms += 200000; break;
	case 'N': connect_next(r); break;
	}
	watch(r);
}

static void play(struct run *r, struct slice rest)
{
	while (rest.len > 0) {
		uint8_t what = rest.ptr[0];
		size_t n = 0;

		rest = slice_skip(rest, 1);
		if (what != 0 && strchr("CSXY", what) != NULL && rest.len > 0) {
			n = rest.ptr[0];
			rest = slice_skip(rest, 1);
		}
		act(r, what, slice_take(rest, n));
		rest = slice_skip(rest, n);
	}
}

static void run(struct harness *h, const struct model_rules *rules, struct slice actions)
{
	struct run r = { .h = h, .m = model_create(rules), .clients = 1, .connections = h->n_connections };

	for (enum side side = CLIENT; side < SIDES; side++) {
		r.ends[side] = &r.rooms[side];
		far_end_open(r.ends[side]);
	}
	connect_client(&r);
	watch(&r);
	play(&r, actions);
	close_client(&r);
	watch(&r);
	for (enum side side = CLIENT; side < SIDES; side++)
		far_end_release(r.ends[side]);
	harness_end(h);
	check_end(h);
	model_free(r.m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool quiet;
	size_t which = size > 0 ? (data[0] & 0x7fu) % smtp_session_configs() : 0;

	if (!quiet)
		log_open(2, LOG_FORMAT_TEXT, 0, "*.*:-1", NULL);
	quiet = true;
	if (size == 0 || size > 16384)
		return 0;
	run(smtp_session_harness(which, data[0] >= 0x80), smtp_session_rules(which), slice_of(data + 1, size - 1));
	return 0;
}
