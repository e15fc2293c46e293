/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages in chunks: BDAT (RFC 3030). The octets behind a BDAT line come without a go-ahead and
 * without an end mark, so one rule stands over all others: whatever becomes of the command, exactly
 * the announced octets are taken off the stream before the next line is read as a command. Where
 * the announcement can't be understood, or is too long to drop, the session ends.
 *
 * Chunks go on to the server as they come, straight out of the read buffer. BDAT needs no
 * go-ahead, so a client may send a whole message behind RCPTs whose replies it has not seen, and
 * the server would deliver it whatever the policy makes of those replies. Therefore the last octet
 * of a message is held back until all earlier replies are there: until then it can still be
 * undone, by closing the server's connection.
 */
#include "proxy/smtp/line.h"
#include "proxy/smtp/smtp_priv.h"

#include <errno.h>

bool smtp_chunk_must_wait(const struct smtp *s, uint64_t octets, bool last)
{
	bool header = s->config->add_received_header && s->assumed == SMTP_STATE_RCPT;

	/* An empty last chunk has no octet that could be held back. */
	return s->head != NULL && (header || (last && octets == 0));
}

bool smtp_announces_chunk(struct slice line)
{
	const struct slice verb = SLICE("BDAT");

	return slice_starts_with_nocase(line, verb) && (line.len == verb.len || !ascii_is_alpha(line.ptr[verb.len]));
}

int smtp_refuse_chunk_line(struct smtp *s, struct slice line)
{
	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "BDAT without a size that can be right",
		  F_OCTETS("line", smtp_shown_line(s, slice_take(line, 64))));
	s->linger = true;
	return smtp_queue_goodbye(s, 501, "5.5.4 Syntax: BDAT size [LAST], closing transmission channel", FAULT_CLIENT,
				  "chunk-size");
}

/* The trace header is the start of the first chunk, which gets longer by it. */
co_waits int smtp_chunk_prepare(struct smtp *s, struct smtp_argument *argument)
{
	uint64_t whole;
	char *text;
	int err = 0;

	if (s->assumed != SMTP_STATE_RCPT)
		return 0;
	s->chunks_octets = 0;
	smtp_rate_start(s);
	s->chunk_cr = false;
	s->chunk_hops = (struct smtp_hops){ .stuffed = false };
	if (s->config->add_received_header)
		err = smtp_trace_header(s, &argument->chunk_start);
	if (err < 0 || argument->chunk_start.len == 0)
		return err;
	whole = argument->chunk_octets + argument->chunk_start.len;
	text = arena_printf(s->batch, "%llu%s", (unsigned long long)whole,
			    argument->chunk_last ? " LAST" : "");
	if (text == NULL)
		return -ENOMEM;
	argument->text = slice_cstr(text);
	return 0;
}

void smtp_chunk_begin(struct smtp *s, uint64_t octets, bool last)
{
	struct smtp_pending *p = smtp_queue_last(s);

	if (p->local && !p->closes && octets > SMTP_DISCARD_MAX)
		smtp_pending_close(s, p, FAULT_CLIENT, "chunk-too-large");
	if (p->closes) {
		s->linger = true;
		return;
	}
	s->chunk = (struct smtp_chunk){ .reply = p, .left = octets, .last = last, .forward = !p->local };
	s->client_due = deadline_in(s->config->timeout_data_block_ms);
	if (!p->local)
		s->in_message = true;
	else if (s->assumed == SMTP_STATE_RCPT || s->assumed == SMTP_STATE_CHUNKS)
		s->assumed = SMTP_STATE_FAILED;
}

bool smtp_chunk_wants_more(const struct smtp *s)
{
	return s->chunk.reply != NULL && s->chunk.left > stream_peek(s->proxy->client).len;
}

void smtp_chunk_lose_server(struct smtp *s, const char *why, int err)
{
	struct smtp_pending *p = s->head;

	/* The first reply that can't come any more. */
	while (p->local && p != s->chunk.reply)
		p = p->next;
	proxy_log(s->proxy, LOG_SMTP_ERROR, 2, "Server lost in the middle of a message", F_TEXT("reason", why),
		  F_TEXT("error", err < 0 ? strerror(-err) : ""));
	proxy_drop_server(s->proxy);
	s->in_message = false;
	smtp_pending_say_goodbye(s, p, 421, "4.3.0 Server lost, message not accepted, closing transmission channel",
				 FAULT_SERVER, why);
	s->chunk.reply = p;
	s->chunk.forward = false;
	if (s->chunk.left > SMTP_DISCARD_MAX) {
		s->chunk = (struct smtp_chunk){ .reply = NULL };
		s->linger = true;
	}
}

/* Replies to earlier commands may still come, so the server stays until this one's turn. */
static void refuse_chunk(struct smtp *s, unsigned code, const char *text, const char *reason)
{
	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "Message body refused", F_TEXT("reason", reason),
		  F_INT("offset", s->chunks_octets));
	smtp_pending_say_goodbye(s, s->chunk.reply, code, text, FAULT_CLIENT, reason);
	s->chunk = (struct smtp_chunk){ .reply = NULL };
	s->in_message = true;
	s->linger = true;
}

static int chunk_cut(struct smtp *s)
{
	return s->chunk.forward ? smtp_client_lost(s, "client-closed", 0) : smtp_fail(s, FAULT_CLIENT, "client-closed", 0);
}

static void finish_chunk(struct smtp *s)
{
	if (s->chunk.forward && s->chunk.last) {
		s->in_message = false;
		s->final_owed = s->state != SMTP_STATE_FAILED;
		s->body_octets = s->chunks_octets;
	}
	s->server_due = smtp_reply_due(s, s->head);
	s->chunk.reply->sent = co_now();
	s->chunk = (struct smtp_chunk){ .reply = NULL };
}

/* May the message go on with them? false: it is refused. */
static bool check_octets(struct smtp *s, struct slice octets, bool end_of_message)
{
	enum smtp_body flaw;

	if (smtp_is_looping(s, &s->chunk_hops, octets)) {
		refuse_chunk(s, 554, SMTP_LOOP_TEXT, SMTP_LOOP_REASON);
		return false;
	}
	if (s->assumed_mail.body == SMTP_TYPE_BINARYMIME)
		return true;
	flaw = smtp_body_scan_chunk(&s->chunk_cr, octets);
	if (flaw == SMTP_BODY_MORE && end_of_message && s->chunk_cr)
		flaw = SMTP_BODY_BARE_CR;
	if (flaw != SMTP_BODY_MORE) {
		refuse_chunk(s, 550, "5.6.0 Message refused: its lines must end with CRLF, closing transmission channel",
			     smtp_body_reasons[flaw]);
		return false;
	}
	if (s->config->require_8bitmime && s->assumed_mail.body != SMTP_TYPE_8BITMIME && !s->assumed_mail.utf8 && smtp_has_8bit(octets)) {
		refuse_chunk(s, 554, "5.6.1 Message has 8-bit octets without BODY=8BITMIME, closing transmission channel",
			     "body-8bit");
		return false;
	}
	return true;
}

/* octets: of the chunk. whole: with them it is with the server. */
static co_waits int forward_octets(struct smtp *s, struct slice octets, bool whole)
{
	int err = 0;

	if (!check_octets(s, octets, whole && s->chunk.last))
		return 0;
	s->proxy->doing = "sending a message to the server";
	if (octets.len > 0)
		err = stream_write_through(s->proxy->server, octets, smtp_due_in(s, s->config->timeout_data_block_ms));
	if (err < 0 && err != -ECANCELED) {
		smtp_chunk_lose_server(s, err == -ETIMEDOUT ? "timeout" : "server-closed", err);
		err = 0;
	}
	return err;
}

co_waits int smtp_chunk_pass(struct smtp *s)
{
	struct stream *client = s->proxy->client;
	struct slice octets = stream_peek(client);
	bool whole;
	int err = 0;

	if (octets.len > s->chunk.left)
		octets.len = (size_t)s->chunk.left;
	whole = octets.len == s->chunk.left;
	if (s->chunk.forward && s->chunk.last && whole) {
		if (s->head != s->chunk.reply) {
			octets.len--;
			whole = false;
		} else if (s->diverged) {
			proxy_drop_server(s->proxy);
			return smtp_fail(s, FAULT_POLICY, "diverged", 0);
		}
	}
	if (s->chunk.forward)
		err = forward_octets(s, octets, whole);
	if (err < 0 || s->chunk.reply == NULL)
		return err;
	stream_consume(client, octets.len);
	s->chunk.left -= octets.len;
	s->chunks_octets += octets.len;
	if (whole)
		finish_chunk(s);
	else if (s->client_eof && stream_peek(client).len == 0)
		return chunk_cut(s);
	return 0;
}

void smtp_on_chunk(struct smtp *s, struct smtp_pending *p, unsigned code)
{
	if (p->chunk_last) {
		s->state = SMTP_STATE_EHLO;
		return;
	}
	s->body_octets += p->chunk_octets;
	if (smtp_code_is_positive(code)) {
		s->state = SMTP_STATE_CHUNKS;
		s->in_message = s->chunks_open = true;
	} else if (s->state == SMTP_STATE_MAIL || s->state == SMTP_STATE_RCPT || s->state == SMTP_STATE_CHUNKS) {
		s->state = SMTP_STATE_FAILED;
	}
}

void smtp_chunk_answered(struct smtp *s, const struct smtp_pending *p)
{
	if (p->octets > 0 && s->state != SMTP_STATE_FAILED && s->transaction != NULL) {
		s->body_octets = s->chunks_octets;
		smtp_account_message(s, p->code, p->text, false);
	}
	if (s->state == SMTP_STATE_RCPT || s->state == SMTP_STATE_CHUNKS)
		s->state = SMTP_STATE_FAILED;
}
