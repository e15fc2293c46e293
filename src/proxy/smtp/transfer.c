/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message, from 354 to the lone dot. Its octets go on as they came, straight out of the read
 * buffer (body.h says why that is right). Whatever goes wrong, the server never sees the end of
 * a message that did not come to its end: its connection is closed instead.
 */
#include "io/loop.h"
#include "proxy/smtp/body.h"
#include "proxy/smtp/line.h"
#include "proxy/smtp/smtp_priv.h"

#include <errno.h>

#define NORMALIZED_MAX (2 * STREAM_LARGE_CHUNK + 64)	/* LF becomes CRLF: at most twice the octets */

struct transfer {
	struct smtp_body_scan scan;
	struct smtp_hops hops;
	struct buffer normalized;	/* require_crlf FALSE only */
	const char *lost;		/* why the server is gone; the rest of the message is dropped */
	int error;
	enum fault fault;		/* whose fault that is, and what the client is told at the end */
	unsigned code;
	const char *text;
	uint64_t lost_at;		/* body_octets */
};

/* The server is gone or talks out of turn: the client learns it at the end of its message. */
static void lose_server(struct smtp *s, struct transfer *t, const char *why, int err)
{
	if (t->lost != NULL)
		return;
	t->lost = why;
	t->lost_at = s->body_octets;
	t->error = err;
	t->fault = FAULT_SERVER;
	t->code = 421;
	t->text = "4.3.0 Server lost, message not accepted, closing transmission channel";
	proxy_log(s->proxy, LOG_SMTP_ERROR, 2, "Server lost in the middle of a message", F_TEXT("reason", why),
		  F_TEXT("error", err < 0 ? strerror(-err) : ""));
	proxy_drop_server(s->proxy);
	s->in_message = false;
}

/* The message is one that may not be: the server never sees its end, the client is told behind it. */
static void refuse_message(struct smtp *s, struct transfer *t, const char *why, unsigned code, const char *text)
{
	if (t->lost != NULL)
		return;
	t->lost = why;
	t->lost_at = s->body_octets;
	t->fault = FAULT_CLIENT;
	t->code = code;
	t->text = text;
	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "Message refused", F_TEXT("reason", why), F_INT("octets", s->body_octets));
	proxy_drop_server(s->proxy);
	s->in_message = false;
}

bool smtp_is_looping(const struct smtp *s, struct smtp_hops *hops, struct slice octets)
{
	uint64_t most = (uint64_t)s->config->max_received_hops;

	if (most == 0)
		return false;
	smtp_hops_scan(hops, octets);
	return hops->count > most;
}

/*
 * Octets that are about to go on. The size is that of RFC 1870, 6.1: line ends count, the dots of
 * the transfer and the final line do not.
 */
static void check_message(struct smtp *s, struct transfer *t, struct slice octets, enum smtp_body result)
{
	const struct smtp_config *c = s->config;
	uint64_t size = s->body_octets - t->scan.stuffed - (result == SMTP_BODY_END ? 3 : 0);

	if (c->max_message_size > 0 && size > (uint64_t)c->max_message_size)
		refuse_message(s, t, "message-too-large", 552, "5.3.4 Message size exceeds the limit, closing transmission channel");
	else if (smtp_is_looping(s, &t->hops, octets))
		refuse_message(s, t, SMTP_LOOP_REASON, 554, SMTP_LOOP_TEXT);
	else if (c->require_8bitmime && s->mail.body != SMTP_TYPE_8BITMIME && !s->mail.utf8 && smtp_has_8bit(octets))
		refuse_message(s, t, "body-8bit", 554, "5.6.1 Message has 8-bit octets without BODY=8BITMIME, closing transmission channel");
}

static co_waits int send_on(struct smtp *s, struct transfer *t, struct slice octets)
{
	int err;

	if (t->lost != NULL || octets.len == 0)
		return 0;
	s->proxy->doing = "sending a message to the server";
	err = stream_write_through(s->proxy->server, octets, smtp_due_in(s, s->config->timeout_data_block_ms));
	if (err == -ECANCELED)
		return err;
	if (err < 0)
		lose_server(s, t, err == -ETIMEDOUT ? "timeout" : "server-closed", err);
	return 0;
}

/* Octets of the server before the end of the message answer nothing. */
static void hear_server(struct smtp *s, struct transfer *t)
{
	ssize_t n = stream_fill_now(s->proxy->server);

	if (n == 0)
		return;
	if (n > 0)
		proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "The server replied before the end of the message",
			  F_OCTETS("line", slice_take(stream_peek(s->proxy->server), 128)));
	lose_server(s, t, n > 0 ? "early-reply" : "server-closed", n == -EPIPE || n > 0 ? 0 : (int)n);
}

co_waits int smtp_client_lost(struct smtp *s, const char *why, int err)
{
	proxy_drop_server(s->proxy);
	s->in_message = false;
	proxy_log(s->proxy, LOG_SMTP_ERROR, 2, "Client lost in the middle of a message", F_TEXT("reason", why));
	if (s->chunk.reply != NULL && s->head == s->chunk.reply) {
		s->body_octets = s->chunks_octets;
		smtp_record_chunk(s, s->head);
	}
	s->final_owed = s->chunks_open = false;
	s->client_gone = err != 0 && err != -ETIMEDOUT;
	err = smtp_fail(s, FAULT_CLIENT, why, err);
	if (s->transaction != NULL)
		smtp_account_message(s, 421, slice_of(NULL, 0), false);
	return err;
}

/* 0: there is more. */
static co_waits int wait_for_client(struct smtp *s, struct transfer *t)
{
	deadline_t due = smtp_due_in(s, s->config->timeout_data_block_ms);

	for (;;) {
		struct stream_wait set[2] = { { .stream = s->proxy->client, .want = LOOP_READ },
					      { .stream = s->proxy->server, .want = LOOP_READ } };
		deadline_t start = co_now();
		ssize_t n = 0;
		int err;

		s->proxy->doing = "receiving a message from the client";
		err = streams_wait(set, ARRAY_LEN(set), smtp_rate_due(s, due));
		if (err == -ETIMEDOUT && due <= co_now())
			return smtp_client_lost(s, smtp_due_reason(s, false), err);
		if (err < 0 && err != -ETIMEDOUT)
			return err;
		if (err > 0 && set[1].got != 0 && s->proxy->server != NULL)
			hear_server(s, t);
		if (err > 0 && set[0].got != 0)
			n = stream_fill_now(s->proxy->client);
		if (!smtp_rate_is_fine(s, co_now() - start))
			return smtp_client_lost(s, "too-slow", -ETIMEDOUT);
		if (n > 0)
			return 0;
		if (n < 0)
			return smtp_client_lost(s, "client-closed", n == -EPIPE ? 0 : (int)n);
	}
}

/* The octets that are there, as far as they may go on. */
static co_waits int pass_buffered(struct smtp *s, struct transfer *t, enum smtp_body *result)
{
	struct slice buffered = stream_peek(s->proxy->client);
	size_t used;
	int err = 0;

	if (s->config->require_crlf) {
		*result = smtp_body_scan(&t->scan, buffered, &used);
		s->body_octets += used;
		check_message(s, t, slice_take(buffered, used), *result);
		if (*result <= SMTP_BODY_END)
			err = send_on(s, t, slice_take(buffered, used));
	} else {
		*result = smtp_body_normalize(&t->scan, buffered, &used, &t->normalized);
		if (t->normalized.broken)
			return -ENOMEM;
		s->body_octets += t->normalized.len;
		check_message(s, t, buffer_slice(&t->normalized), *result);
		if (*result <= SMTP_BODY_END)
			err = send_on(s, t, buffer_slice(&t->normalized));
		buffer_clear(&t->normalized);
	}
	stream_consume(s->proxy->client, used);
	return err;
}

static int refuse_body(struct smtp *s, enum smtp_body flaw)
{
	static const char text[] = "5.6.0 Message refused: its lines must end with CRLF, closing transmission channel";

	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "Message body refused", F_TEXT("reason", smtp_body_reasons[flaw]),
		  F_INT("offset", s->body_octets));
	if (s->proxy->server != NULL)
		proxy_drop_server(s->proxy);
	s->in_message = false;
	s->linger = true;
	smtp_account_message(s, 550, SLICE("Message body refused"), false);
	return smtp_queue_goodbye(s, 550, text, FAULT_CLIENT, smtp_body_reasons[flaw]);
}

static int message_is_lost(struct smtp *s, const struct transfer *t)
{
	smtp_account_message(s, t->code, t->fault == FAULT_SERVER ? SLICE("Server lost") : SLICE("Message refused"), false);
	s->linger = t->fault == FAULT_CLIENT;
	return smtp_queue_goodbye(s, t->code, t->text, t->fault, t->lost);
}

/* The whole message is with the server; its reply is owed. */
static int expect_final_reply(struct smtp *s)
{
	struct smtp_pending *p;

	s->in_message = false;
	smtp_record_phase(s, SMTP_PHASE_BODY, false);
	smtp_record_phase(s, SMTP_PHASE_FINAL, true);
	s->state = s->assumed = SMTP_STATE_EHLO;
	p = smtp_queue_add(s, &smtp_verbs[SMTP_BODY]);
	if (p == NULL)
		return -ENOMEM;
	s->final_owed = true;
	s->blocked = !s->pipelining || !smtp_is_batchable(s, p->verb);
	return 0;
}

/* In front of the message, and in one segment with its start. */
static co_waits int write_header(struct smtp *s, struct transfer *t, struct slice header)
{
	int err = stream_write(s->proxy->server, header, smtp_due(s));

	if (err < 0 && err != -ECANCELED) {
		lose_server(s, t, err == -ETIMEDOUT ? "timeout" : "server-closed", err);
		err = 0;
	}
	return err;
}

static co_waits int transfer(struct smtp *s, struct transfer *t)
{
	enum smtp_body result = SMTP_BODY_MORE;
	struct slice header = { NULL, 0 };
	int err = stream_flush(s->proxy->client, smtp_due(s));

	if (err < 0 && err != -ECANCELED)
		return smtp_client_lost(s, err == -ETIMEDOUT ? "timeout" : "client-closed", err);
	if (err == 0 && s->config->add_received_header)
		err = smtp_trace_header(s, &header);
	if (err == 0 && header.len > 0)
		err = write_header(s, t, header);
	while (err == 0) {
		err = pass_buffered(s, t, &result);
		if (err < 0 || result != SMTP_BODY_MORE)
			break;
		if (t->fault == FAULT_CLIENT && s->body_octets - t->lost_at > SMTP_SWALLOW_OCTETS)
			return message_is_lost(s, t);
		err = wait_for_client(s, t);
	}
	if (err < 0)
		return err;
	if (result != SMTP_BODY_END)
		return refuse_body(s, result);
	return t->lost != NULL ? message_is_lost(s, t) : expect_final_reply(s);
}

co_waits int smtp_transfer(struct smtp *s)
{
	struct transfer t = { .normalized = BUFFER_INIT(NORMALIZED_MAX), .hops = { .stuffed = true } };
	int err;

	t.scan.lf_client = t.scan.last_line_lf = s->data_by_lf;
	s->transfer = false;
	smtp_rate_start(s);
	s->body_octets = 0;
	err = transfer(s, &t);
	buffer_release(&t.normalized);
	return err;
}
