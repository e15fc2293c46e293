/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A handshake, on a coroutine of its own: the library's deep stack is given back with it, and its
 * callbacks may wait there. The library keeps an error queue for the thread; others use it while
 * this one waits, so it is emptied before each call and after each wait.
 */
#include "tls/tls_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <time.h>

/* The hello. */

/* Sees the messages; a client's first is its hello. */
static void on_message(int writing, int version, int type, const void *octets, size_t n, SSL *ssl, void *arg)
{
	struct tls_hand *hand = arg;
	struct slice message = slice_of(octets, n);

	if (writing || type != SSL3_RT_HANDSHAKE || hand->hello_seen || n < SSL3_HM_HEADER_LENGTH ||
	    message.ptr[0] != SSL3_MT_CLIENT_HELLO)
		return;
	hand->hello_seen = true;
	hand->hello_err = tls_facts_hello(hand, slice_skip(message, SSL3_HM_HEADER_LENGTH));
}

static int refuse(struct tls_hand *hand, int err, int alert, int *alert_out)
{
	if (hand->err == 0)
		hand->err = err;
	*alert_out = alert;
	return SSL_CLIENT_HELLO_ERROR;
}

static void rearm(struct tls_hand *hand)
{
	hand->until = deadline_min(hand->limit, deadline_in(hand->context->encryption->handshake_timeout_ms));
}

static co_waits int ask_hello(struct tls_hand *hand)
{
	const struct tls_asks *asks = &hand->h->asks;
	int err = 0;

	if (asks->hello != NULL) {
		err = asks->hello(asks->arg, &hand->h->facts);
		rearm(hand);		/* a server's handshake may have run meanwhile */
	}
	if (err == 0)
		err = tls_own_choose(hand);
	ERR_clear_error();
	return err;
}

/* Once, though the library comes here again behind a HelloRetryRequest. */
static co_waits int on_hello(SSL *ssl, int *alert, void *arg)
{
	struct tls_hand *hand = tls_link_of(ssl)->hand;
	int err;

	if (hand->hello_asked)
		return SSL_CLIENT_HELLO_SUCCESS;
	hand->hello_asked = true;
	SSL_set_msg_callback(ssl, NULL);
	if (!hand->hello_seen || hand->hello_err == -EBADMSG) {
		tls_say(hand, "the client's hello is malformed");
		hand->peer_fault = true;
		return refuse(hand, -EPROTO, SSL_AD_DECODE_ERROR, alert);
	}
	if (hand->hello_err < 0)
		return refuse(hand, hand->hello_err, SSL_AD_INTERNAL_ERROR, alert);
	err = ask_hello(hand);
	if (err == 0)
		return SSL_CLIENT_HELLO_SUCCESS;
	if (err != -ENOENT)
		return refuse(hand, err, err == -EACCES ? SSL_AD_ACCESS_DENIED : SSL_AD_INTERNAL_ERROR, alert);
	tls_say(hand, "there is no certificate for the name %.*s", SLICE_ARG(hand->h->facts.server_name));
	hand->peer_fault = true;
	return refuse(hand, -EACCES, SSL_AD_UNRECOGNIZED_NAME, alert);
}

/* Preparing. */

static int set_server_name(struct tls_hand *hand)
{
	char name[TLS_NAME_MAX + 1];
	struct ip_addr ip;

	if (hand->h->server_name.len == 0 || ip_parse(hand->h->server_name, &ip) == 0)
		return 0;	/* addresses are not sent (RFC 6066, 3) */
	if (tls_name_to_ascii(hand->h->server_name, name) < 0) {
		tls_say(hand, "%.*s is no name that a server can be asked for", SLICE_ARG(hand->h->server_name));
		return -EINVAL;
	}
	hand->h->facts.server_name = arena_copy(hand->h->arena, slice_cstr(name));
	return hand->h->facts.server_name.ptr != NULL && SSL_set_tlsext_host_name(hand->ssl, name) == 1 ? 0 : -ENOMEM;
}

static int prepare(struct tls_hand *hand)
{
	int err = tls_link_open(hand->context, stream_fd(hand->stream), &hand->link);

	if (err < 0)
		return err;
	hand->ssl = hand->link->ssl;
	hand->link->hand = hand;
	if (SSL_set1_verify_cert_store(hand->ssl, hand->context->trust.store) != 1)
		return -ENOMEM;
	if (hand->context->end == TLS_CLIENT) {
		SSL_set_accept_state(hand->ssl);
		SSL_set_msg_callback(hand->ssl, on_message);
		SSL_set_msg_callback_arg(hand->ssl, hand);
		return 0;
	}
	SSL_set_connect_state(hand->ssl);
	hand->chosen = hand->context->side->own.fallback;
	err = set_server_name(hand);
	if (err == 0 && hand->h->dane != NULL)
		err = tls_dane_offer(hand);
	if (err == 0)
		tls_resume_offer(hand);
	return err;
}

void tls_handshake_setup(struct tls_context *c)
{
	SSL_CTX_set_cert_cb(c->ctx, tls_own_install, NULL);
	if (c->end == TLS_CLIENT)
		SSL_CTX_set_client_hello_cb(c->ctx, on_hello, NULL);
}

/* Running. */

static co_waits int wait_for(struct tls_hand *hand, unsigned want)
{
	struct stream *s = hand->stream;
	int err = 0;

	s->watch.ready &= ~want;
	while (err == 0 && (s->watch.ready & want) == 0)
		err = stream_wait_news(s, hand->until);
	hand->waiting = err < 0;
	return err;
}

static co_waits int shake(struct tls_hand *hand)
{
	for (;;) {
		int r, error;

		ERR_clear_error();
		r = SSL_do_handshake(hand->ssl);
		if (r == 1)
			return 0;
		error = SSL_get_error(hand->ssl, r);
		if (hand->err < 0 || (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE))
			return tls_failure(hand, error);
		hand->err = wait_for(hand, error == SSL_ERROR_WANT_READ ? LOOP_READ : LOOP_WRITE);
		if (hand->err < 0)
			return tls_failure(hand, error);
	}
}

static co_waits int finish(struct tls_hand *hand)
{
	struct tls_link *link = hand->link;

	hand->err = tls_facts_done(hand);
	if (hand->err == 0 && hand->h->facts.resumed)
		hand->err = tls_verify_resumed(hand);
	if (hand->err == 0)
		hand->err = stream_set_transport(hand->stream, &transport_tls, link);
	if (hand->err < 0)
		return hand->err;
	SSL_set0_verify_cert_store(hand->ssl, NULL);	/* one that is replaced need not last as long as we do */
	link->verdict = tls_verdict_of(hand);
	link->hand = NULL;
	hand->link = NULL;
	return 0;
}

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

struct run {
	struct tls_hand hand;
	int result;
};

static co_waits void run(void *arg)
{
	struct run *r = arg;
	struct tls_hand *hand = &r->hand;
	int64_t begun = now_us();

	rearm(hand);
	hand->err = prepare(hand);
	r->result = hand->err < 0 ? tls_failure(hand, SSL_ERROR_NONE) : shake(hand);
	if (r->result == 0 && finish(hand) < 0)
		r->result = tls_failure(hand, SSL_ERROR_NONE);
	hand->h->facts.duration_us = (uint64_t)(now_us() - begun);
	hand->h->peer_fault = r->result < 0 && hand->peer_fault;
	tls_link_close(&hand->link);
	ERR_clear_error();
}

/* Octets in plain text behind the message that started TLS: somebody put them there, hoping that
 * they count as said under TLS (RFC 3207, 6; CVE-2011-0411). */
static int check_plain(struct stream *stream, struct tls_handshake *h)
{
	size_t n = stream_peek(stream).len;

	if (n > 0) {
		snprintf(h->error, sizeof(h->error), "%zu octets in plain text stand before the handshake", n);
		h->peer_fault = true;
		return -EPROTO;
	}
	if (stream_unsent(stream) == 0 && !stream_is_encrypted(stream))
		return 0;
	snprintf(h->error, sizeof(h->error), stream_is_encrypted(stream) ? "TLS is on already" :
		 "octets in plain text were not sent before the handshake");
	return -EBUSY;
}

uint64_t tls_state(const struct tls *tls, const struct encryption *encryption, enum tls_end end)
{
	return tls_context_of(tls, encryption, end)->tickets.changes;
}

co_waits int tls_handshake(const struct tls *tls, struct stream *stream, struct tls_handshake *h, deadline_t deadline)
{
	struct run r = { .hand = { .tls = tls, .h = h, .stream = stream, .limit = deadline, .believed_until = INT64_MAX } };
	struct co *child;
	int err;

	h->facts = (struct tls_facts){ 0 };
	h->error[0] = '\0';
	h->peer_fault = false;
	h->state = tls_state(tls, h->encryption, h->end);
	r.hand.context = tls_context_of(tls, h->encryption, h->end);
	err = r.hand.context->ctx == NULL ? -EINVAL : check_plain(stream, h);
	if (err == 0 && tls->n_handshakes[h->end] >= TLS_HANDSHAKES_MAX) {
		snprintf(h->error, sizeof(h->error), "%u handshakes with %s are under way already", TLS_HANDSHAKES_MAX,
			 h->end == TLS_CLIENT ? "clients" : "servers");
		err = -EBUSY;
	}
	if (err < 0)
		return err;
	streams_push_unsent();
	child = co_spawn_joined(co_loop(), run, &r);
	if (child == NULL)
		return -ENOMEM;
	r.hand.context->tls->n_handshakes[h->end]++;
	co_join(&child);
	r.hand.context->tls->n_handshakes[h->end]--;
	return r.result;
}
