/* SPDX-License-Identifier: Apache-2.0 */
#include "far_end.h"

#include <openssl/tls1.h>
#include <sys/socket.h>
#include <unistd.h>

#define HELD_MAX (1u << 20)
#define RECORD_MAX (16384u + 256u)
#define HEAD_OCTETS 5u

void far_end_open(struct far_end *e)
{
	*e = (struct far_end){ .held = BUFFER_INIT(HELD_MAX) };
}

void far_end_release(struct far_end *e)
{
	tls_peer_free(&e->tls);
	buffer_release(&e->held);
	far_end_open(e);
}

/* change_cipher_spec, alert, handshake, application_data: 20 to 23; of version 3.x. */
static bool is_record_head(const uint8_t *head, size_t n)
{
	return head[0] >= 20 && head[0] <= 23 && (n < 2 || head[1] == 3);
}

static void see_records(void *arg, struct slice octets)
{
	struct tls_records *r = arg;

	while (octets.len > 0) {
		size_t n = r->left < octets.len ? r->left : octets.len;

		r->left -= n;
		octets = slice_skip(octets, n);
		if (octets.len == 0)
			return;
		r->head[r->n++] = octets.ptr[0];
		octets = slice_skip(octets, 1);
		FUZZ_CHECK(is_record_head(r->head, r->n));
		if (r->n < HEAD_OCTETS)
			continue;
		r->left = (size_t)r->head[3] * 256 + r->head[4];
		r->n = 0;
		FUZZ_CHECK(r->left <= RECORD_MAX);
	}
}

void far_end_expect_tls(struct far_end *e)
{
	e->tls_is_next = true;
}

static const struct {
	bool server;
	const char *certificate;	/* of pki.h */
	int version_max;		/* 0: any */
} kinds[FAR_END_KINDS] = {
	[FAR_END_CLIENT] = { false, NULL, 0 },
	[FAR_END_CLIENT_12] = { false, NULL, TLS1_2_VERSION },
	[FAR_END_SERVER] = { true, "good", 0 },
	[FAR_END_SERVER_12] = { true, "good", TLS1_2_VERSION },
	[FAR_END_UNKNOWN_SERVER] = { true, "unknown", 0 },
};

/* Made once: keys and certificates are the same for all runs. */
static struct ssl_ctx_st *context_of(enum far_end_kind kind)
{
	static struct ssl_ctx_st *contexts[FAR_END_KINDS];

	if (contexts[kind] == NULL)
		contexts[kind] = tls_peer_context(kinds[kind].server, kinds[kind].certificate, kinds[kind].version_max);
	return contexts[kind];
}

void far_end_begin_tls(struct far_end *e, int fd, enum far_end_kind kind)
{
	struct tls_peer_setup setup = {
		.fd = fd, .received = buffer_slice(&e->held), .server = kinds[kind].server, .on_octets = see_records, .arg = &e->records,
	};

	if (!e->tls_is_next || e->tls != NULL || fd < 0)
		return;
	setup.context = context_of(kind);
	e->kind = kind;
	e->tls = tls_peer_create(&setup);
	FUZZ_CHECK(e->tls != NULL);
	buffer_clear(&e->held);
}

static enum tls_peer_state state_of(const struct far_end *e)
{
	return e->tls != NULL ? tls_peer_step(e->tls) : TLS_PEER_BUSY;
}

bool far_end_becomes_secure(struct far_end *e)
{
	if (e->secured || state_of(e) != TLS_PEER_DONE)
		return false;
	e->secured = true;
	return true;
}

bool far_end_can_speak(const struct far_end *e)
{
	return !e->silent && (e->tls == NULL || e->secured);
}

void far_end_send(struct far_end *e, int fd, struct slice octets)
{
	if (fd < 0 || octets.len == 0)
		return;
	if (e->tls == NULL)
		(void)!send(fd, octets.ptr, octets.len, MSG_NOSIGNAL);
	else
		(void)!tls_peer_write(e->tls, octets.ptr, octets.len);
}

/* TLS that came before its time, or behind a handshake that failed. */
static void hold(struct far_end *e, int fd, uint8_t *buf, size_t size)
{
	ssize_t n;

	while ((n = read(fd, buf, size)) > 0) {
		see_records(&e->records, slice_of(buf, (size_t)n));
		buffer_append(&e->held, slice_of(buf, (size_t)n));
	}
}

size_t far_end_receive(struct far_end *e, int fd, uint8_t *buf, size_t size)
{
	ssize_t n = 0;

	if (fd < 0)
		return 0;
	if (!e->tls_is_next)
		n = read(fd, buf, size);
	else if (e->tls == NULL || state_of(e) == TLS_PEER_FAILED)
		hold(e, fd, buf, size);
	else if (e->secured)
		n = tls_peer_read(e->tls, buf, size);
	return n > 0 ? (size_t)n : 0;
}

bool far_end_is_no_tls(struct slice octets)
{
	return octets.len > 0 && octets.ptr[0] < 0x80 && !is_record_head(octets.ptr, 1);
}

bool far_end_disturb(struct far_end *e, int fd, struct slice octets)
{
	if (!e->secured || octets.len < HEAD_OCTETS || (!e->silent && !far_end_is_no_tls(octets)))
		return false;
	e->silent = true;
	if (fd >= 0)
		(void)!send(fd, octets.ptr, octets.len, MSG_NOSIGNAL);
	return true;
}

void far_end_close_notify(struct far_end *e)
{
	if (e->secured && !e->silent)
		tls_peer_close_notify(e->tls);
	e->silent = e->silent || e->secured;
}

uint64_t far_end_progress(const struct far_end *e)
{
	return (e->tls != NULL ? tls_peer_progress(e->tls) : 0) + e->held.len;
}
