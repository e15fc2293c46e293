/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the server's octets to replies that the client gets: parsed, judged by what may answer
 * that command, by the policy, and by what the client was already told.
 */
#include "proxy/smtp/counters.h"
#include "proxy/smtp/line.h"
#include "proxy/smtp/smtp_priv.h"

#include <errno.h>
#include <stdio.h>

struct smtp_reply_limits smtp_reply_limits_of(const struct smtp *s)
{
	struct smtp_reply_limits limits = {
		.line_max = (size_t)s->config->max_response_length,
		.buffer_line_max = (size_t)s->config->max_line_length,
		.cut_long_lines = s->config->permit_long_responses,
		.require_crlf = s->config->require_crlf,
	};

	/* "334 " and a line of the exchange, which nothing may be cut from */
	if (s->head != NULL && smtp_is_auth(s->head)) {
		size_t line_max = (size_t)s->config->max_auth_request_length + 4;

		limits.line_max = limits.line_max > line_max ? limits.line_max : line_max;
		limits.cut_long_lines = false;
	}
	return limits;
}

static co_waits int client_write(struct smtp *s, const struct slice *parts, size_t n)
{
	int err = stream_write_parts(s->proxy->client, parts, n, smtp_due(s));

	if (err < 0 && err != -ECANCELED) {
		s->client_gone = true;
		return smtp_end(s, FAULT_CLIENT, err == -ETIMEDOUT ? "timeout" : "client-closed", err);
	}
	return err;
}

static co_waits int write_line(struct smtp *s, unsigned code, char separator, struct slice text)
{
	char start[4];
	struct slice parts[] = { smtp_code_text(code, start), text, SLICE("\r\n") };

	start[3] = separator;
	if (text.len > 0 || separator != ' ')
		parts[0].len = sizeof(start);
	return client_write(s, parts, ARRAY_LEN(parts));
}

co_waits int smtp_write_reply(struct smtp *s, unsigned code, struct slice text)
{
	return write_line(s, code, ' ', text);
}

/* The next line that goes out; filter: of an EHLO reply. buf: for a line that is not the server's. */
static bool next_line(struct smtp *s, const struct smtp_reply *reply, const struct smtp_reply_limits *limits, bool filter,
		      size_t *pos, char buf[SMTP_OFFER_MAX], struct slice *text)
{
	bool last, first = *pos == 0;

	while (smtp_reply_next_line(reply, limits, pos, text, &last)) {
		if (first || !filter || smtp_offer(s, *text, buf, text))
			return true;
	}
	return false;
}

/* Line by line in canonical form, one line behind, since only the last one has no hyphen. */
static co_waits int write_lines(struct smtp *s, const struct smtp_reply *reply, unsigned code, struct slice first, bool filter)
{
	struct smtp_reply_limits limits = smtp_reply_limits_of(s);
	char bufs[2][SMTP_OFFER_MAX];
	struct slice line, ahead;
	size_t pos = 0;
	unsigned which = 0, own = 0;
	int err = 0;

	if (filter)
		smtp_note_extensions(s, reply);
	if (!next_line(s, reply, &limits, filter, &pos, bufs[0], &line))
		return 0;
	line = first;
	while (err == 0) {
		bool more = next_line(s, reply, &limits, filter, &pos, bufs[which], &ahead);

		if (!more && filter)
			more = smtp_own_offer(s, &own, &ahead);
		err = write_line(s, code, more ? '-' : ' ', line);
		if (!more)
			break;
		line = ahead;
		which = !which;
	}
	return err;
}

/* A client that talks before it is its turn: its octets could be meant for somebody else. */
co_waits int smtp_refuse_early_input(struct smtp *s)
{
	int err;

	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "The client sent before it was its turn",
		  F_OCTETS("line", smtp_shown_line(s, slice_take(stream_peek(s->proxy->client), 64))));
	s->linger = true;
	err = smtp_write_reply(s, 554, SLICE("5.5.0 SMTP synchronization error, closing transmission channel"));
	return err < 0 ? err : smtp_end(s, FAULT_CLIENT, "early-input", 0);
}

static co_waits int check_client_is_silent(struct smtp *s, unsigned code)
{
	bool no_body = s->head->verb == &smtp_verbs[SMTP_DATA] && code != 354;
	ssize_t n;

	/* Behind a DATA that is refused nobody can tell lines of a message from commands. */
	if (s->config->permit_early_input && !smtp_is_auth(s->head) && s->head->verb != &smtp_verbs[SMTP_STARTTLS] && !no_body)
		return 0;
	n = stream_fill_now(s->proxy->client);
	if (n < 0 && stream_peek(s->proxy->client).len == 0) {
		s->client_gone = n != -EPIPE;
		if (!s->client_gone && code != 354)	/* it may listen yet; what it is owed is no go-ahead */
			return 0;
		if (s->head->verb == &smtp_verbs[SMTP_DATA] && s->proxy->server != NULL)
			proxy_drop_server(s->proxy);
		return smtp_fail(s, FAULT_CLIENT, "client-closed", n == -EPIPE ? 0 : (int)n);
	}
	if (stream_peek(s->proxy->client).len == 0)
		return 0;
	if (s->head->verb == &smtp_verbs[SMTP_DATA] && s->proxy->server != NULL)
		proxy_drop_server(s->proxy);
	return smtp_refuse_early_input(s);
}

/* 421 was its reply to the head of the queue. */
static int end_with_server(struct smtp *s, const struct smtp_reply *reply)
{
	s->farewell = arena_copy(s->proxy->arena, reply->text);
	smtp_queue_pop(s);
	return smtp_end(s, FAULT_SERVER, "server-closing", 0);
}

static co_waits int refuse_reply(struct smtp *s, struct smtp_pending *p, const struct smtp_reply *reply, enum smtp_decision decision)
{
	bool final = smtp_is_final(p), dead = s->state == SMTP_STATE_FAILED;
	struct slice text;
	unsigned code;
	int err;

	if (p->verb == &smtp_verbs[SMTP_BDAT]) {
		smtp_on_chunk(s, p, reply->code);
		smtp_record_told(s, p, reply->code, reply->text);
	}
	if (!dead && (final || s->state == SMTP_STATE_FAILED)) {
		smtp_record_phase(s, SMTP_PHASE_FINAL, false);
		smtp_account_message(s, reply->code, reply->text, false);
	}
	if (reply->code == 354)
		proxy_drop_server(s->proxy);
	if (decision == SMTP_ABORT)
		return smtp_fail(s, FAULT_POLICY, "policy-abort", 0);
	/* The server has the message; the usual 500 would be a permanent lie about it. */
	if (final && slice_is(s->error_code, "500"))
		return smtp_fail(s, FAULT_POLICY, "final-reply-refused", 0);
	if (smtp_is_auth(p))
		smtp_on_auth(s, p, reply->code);
	code = smtp_error_reply(s, p->verb, &text);
	smtp_use_reply(s, code);
	smtp_record_told(s, p, code, text);
	if (smtp_code_is_positive(reply->code)) {
		smtp_count_refused(s, p);
		smtp_forget_transaction(s, p);
	}
	if (final) {
		smtp_end_transaction(s);
		s->state = SMTP_STATE_EHLO;
	}
	err = p->verb == &smtp_verbs[SMTP_DATA] ? check_client_is_silent(s, code) : 0;
	if (err == 0)
		err = smtp_tarpit(s, code);
	if (err == 0)
		err = smtp_write_reply(s, code, text);
	if (err < 0)
		return err;
	if (reply->code == 421)
		return end_with_server(s, reply);
	/* A server that said goodbye has nothing more to hear, whatever the policy thinks of it. */
	if (p->verb == &smtp_verbs[SMTP_QUIT] && smtp_code_is_positive(reply->code))
		return smtp_end(s, FAULT_NONE, "quit", 0);
	if (reply->code == 354 || s->error_abort)
		return smtp_end(s, FAULT_POLICY, "policy-abort", 0);
	/* Nothing makes a server forget who the client is. */
	if (reply->code == 235)
		return smtp_end(s, FAULT_POLICY, "diverged", 0);
	smtp_queue_pop(s);
	return reply->code == 334 ? smtp_auth_cancel(s) : 0;
}

/* Nothing may be waiting that answers no command: it would be taken for the next one's reply. */
static co_waits int check_no_extra(struct smtp *s)
{
	/* Nor while the octets of a refused chunk come in: its reply, which is ours, is then all that is owed. */
	bool owed = s->head != NULL && !(s->head->local && s->head == s->chunk.reply);

	if (owed || s->proxy->server == NULL || stream_peek(s->proxy->server).len == 0)
		return 0;
	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "The server sends more than replies",
		  F_OCTETS("line", slice_take(stream_peek(s->proxy->server), 64)));
	return smtp_server_lost(s, "unexpected-reply", 0);
}

/* Nothing may come behind these before their reply. */
static bool must_be_silent(const struct smtp_pending *p)
{
	return p->verb == &smtp_verbs[SMTP_GREETING] || p->verb == &smtp_verbs[SMTP_DATA] ||
	       p->verb == &smtp_verbs[SMTP_STARTTLS] || smtp_is_auth(p);
}

/* The server said yes or no to a whole message, or no to a part of one. */
static void account_message(struct smtp *s, const struct smtp_reply *reply)
{
	char digits[4];

	if (!smtp_code_is_positive(reply->code))
		proxy_log(s->proxy, LOG_SMTP_RESPONSE, 4, "The server refused the message",
			  F_OCTETS("response", smtp_code_text(reply->code, digits)), F_OCTETS("response_param", reply->text));
	if (smtp_code_is_positive(reply->code))
		smtp_use_message(s);
	smtp_record_phase(s, SMTP_PHASE_FINAL, false);
	smtp_account_message(s, reply->code, reply->text, smtp_code_is_positive(reply->code));
}

static co_waits int relay_reply(struct smtp *s, struct smtp_pending *p, const struct smtp_reply *reply, unsigned code,
				struct slice text)
{
	bool filter = (p->verb == &smtp_verbs[SMTP_EHLO] || p->fell_back) && smtp_code_is_positive(reply->code);
	bool dead = s->state == SMTP_STATE_FAILED;
	int err;

	if (must_be_silent(p)) {
		err = check_client_is_silent(s, code);
		if (err < 0)
			return err;
	}
	if (p->verb != &smtp_verbs[SMTP_GREETING] && reply->code != 354 && !smtp_is_auth(p))
		smtp_use_reply(s, code);
	if (filter)
		s->pipelining = false;
	if (p->verb->on_reply != NULL)
		p->verb->on_reply(s, p, code);
	smtp_record_told(s, p, code, text);
	if (!dead && (smtp_is_final(p) || s->state == SMTP_STATE_FAILED))
		account_message(s, reply);
	if (smtp_is_final(p))
		smtp_end_transaction(s);
	if (s->ending)		/* no memory for it */
		return -ECONNABORTED;
	err = smtp_tarpit(s, code);
	if (err < 0)
		return err;
	if (p->verb == &smtp_verbs[SMTP_GREETING] && s->config->banner.len > 0)
		err = smtp_write_reply(s, code, text);	/* no further lines of the server's */
	else if (reply->canonical && !filter && code == reply->code && slice_equal(text, reply->text))
		err = client_write(s, &reply->raw, 1);
	else
		err = write_lines(s, reply, code, text, filter);
	if (err < 0)
		return err;
	if (p->verb == &smtp_verbs[SMTP_QUIT])
		return smtp_end(s, FAULT_NONE, "quit", 0);
	if (reply->code == 421)
		return end_with_server(s, reply);
	/* Turned from yes to no by policy code, which answered "accept". */
	if (smtp_code_is_positive(reply->code) && !smtp_code_is_positive(code))
		smtp_forget_transaction(s, p);
	smtp_queue_pop(s);
	return 0;
}

/* One side would speak TLS and the other not. */
static bool parts_sides(const struct smtp_pending *p, const struct smtp_reply *reply, unsigned code, enum smtp_decision decision)
{
	return p->verb == &smtp_verbs[SMTP_STARTTLS] && (reply->code == 220) != (decision == SMTP_PASS && code == 220);
}

/* A reply that may be one, as the policy wants it. */
static co_waits int judge_reply(struct smtp *s, struct smtp_pending *p, const struct smtp_reply *reply)
{
	struct slice text = reply->text;
	unsigned code = reply->code;
	enum smtp_decision decision;
	int err;

	p->code = reply->code;
	(void)smtp_banner(s, p, code, &text);
	s->response_code = smtp_code_text(reply->code, s->code_text);
	s->response_param = reply->code == 334 ? slice_of("", 0) : text;
	s->request_cmd = p->name;
	s->request_param = p->param;
	smtp_hello_show(s, p->verb);
	err = smtp_decide_response(s, p, &code, &text, &decision);
	smtp_hello_hide(s);
	if (err < 0)
		return err;
	if (reply->code == 334)		/* which policy code was not shown */
		text = reply->text;
	if (decision == SMTP_PASS && p->verb == &smtp_verbs[SMTP_HELO] && reply->n_lines > 1) {
		proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "Response refused", F_OCTETS("request", p->name), F_INT("response", code));
		decision = SMTP_REFUSE;
	}
	if (parts_sides(p, reply, code, decision))
		return smtp_fail(s, FAULT_POLICY, "diverged", 0);
	return decision == SMTP_PASS ? relay_reply(s, p, reply, code, text) : refuse_reply(s, p, reply, decision);
}

/* The reply to the head of the queue is whole. */
static co_waits int handle_reply(struct smtp *s, const struct smtp_reply *reply)
{
	struct smtp_pending *p = s->head;
	int err = smtp_reuse_hear(s, p, reply);

	if (err == 0)
		err = smtp_expect(s, p, reply);
	if (err == 0)
		err = smtp_fall_back_to_helo(s, p, reply);
	if (err == 0)
		return judge_reply(s, p, reply);
	return err < 0 ? err : 0;
}

static co_waits int answer_locally(struct smtp *s)
{
	struct smtp_pending *p = s->head;
	bool starttls = p->verb == &smtp_verbs[SMTP_STARTTLS] && p->code == 220;
	bool silent = (p->verb == &smtp_verbs[SMTP_DATA] && !p->closes) || starttls;
	int err = silent ? check_client_is_silent(s, p->code) : 0;

	if (err == 0)
		err = smtp_tarpit(s, p->code);
	smtp_record_told(s, p, p->code, p->text);
	if (err == 0)
		err = smtp_write_reply(s, p->code, p->text);
	if (err < 0)
		return err;
	if (p->verb == &smtp_verbs[SMTP_BDAT])
		smtp_chunk_answered(s, p);
	if (starttls)
		smtp_on_starttls(s, p, p->code);
	if (p->closes)
		return smtp_end(s, p->fault, p->reason, 0);
	smtp_queue_pop(s);
	return 0;
}

static struct slice server_octets(const struct smtp *s)
{
	return s->proxy->server != NULL ? stream_peek(s->proxy->server) : slice_of(NULL, 0);
}

static co_waits int answer_from_server(struct smtp *s, bool *done)
{
	struct smtp_reply_limits limits = smtp_reply_limits_of(s);
	struct slice replay = s->reuse.replay, octets = replay.len > 0 ? replay : server_octets(s);
	struct smtp_reply reply = { .code = 0 };
	enum smtp_reply_result result;
	unsigned leg = s->reuse.legs;
	int err;

	*done = true;
	if (octets.len == 0)
		return 0;
	if (s->head == s->chunk.reply) {
		smtp_chunk_lose_server(s, "early-reply", 0);
		return 0;
	}
	result = smtp_reply_parse(&s->parser, octets, &limits, &reply);
	if (result == SMTP_REPLY_MORE)
		return 0;
	*done = false;
	if (result != SMTP_REPLY_OK) {
		proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "Invalid reply of the server",
			  F_TEXT("reason", smtp_reply_reasons[result]),
			  F_OCTETS("line", smtp_is_auth(s->head) ? SLICE("(not shown)") : slice_take(reply.bad_line, 128)));
		return smtp_server_lost(s, smtp_reply_reasons[result], 0);
	}
	if (reply.cut)
		proxy_log(s->proxy, LOG_SMTP_VIOLATION, 3, "Reply line cut", F_INT("max_response_length", limits.line_max));
	s->parser = (struct smtp_reply_parser){ 0 };
	err = handle_reply(s, &reply);
	/* What the reply pointed to ends here; the server may be gone. */
	s->response_code = s->response_param = slice_of(NULL, 0);
	if (replay.len > 0)
		s->reuse.replay = slice_of(NULL, 0);
	else if (s->proxy->server != NULL && s->reuse.legs == leg)
		stream_consume(s->proxy->server, reply.raw.len);
	return err;
}

co_waits int smtp_answer(struct smtp *s)
{
	bool done = false;
	int err = 0;

	while (err == 0 && !done && s->head != NULL && !s->ending && !s->transfer) {
		if (!s->head->local)
			err = answer_from_server(s, &done);
		else if (smtp_answer_is_ready(s))
			err = answer_locally(s);
		else
			done = true;
	}
	if (err == 0 && s->switching != SMTP_NO_SWITCH)
		return 0;
	if (err == 0 && !s->ending && !s->transfer)
		err = check_no_extra(s);
	/* Only now: what the server said before is no answer to this RSET. */
	if (err == 0 && !s->ending && !s->transfer && s->head == NULL && s->diverged)
		err = smtp_reset_server(s);
	if (err == 0 && s->transfer && stream_peek(s->proxy->server).len > 0)
		err = smtp_fail(s, FAULT_SERVER, "unexpected-reply", 0);
	return err;
}
