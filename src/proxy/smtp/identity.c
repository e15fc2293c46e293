/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose connection this is, said in the protocol itself: by us to the server (send_xclient), and
 * by clients that the policy trusts to us (accept_xclient_zones).
 *
 * To the server: EHLO of our own, to see what it takes; XCLIENT; the greeting that follows, since
 * the server begins anew then; and only now the client's EHLO or HELO. No reply is owed to
 * anybody meanwhile, so this is a conversation in straight lines beside the queue. A server that
 * can't be told gets nothing at all: it would take the client for this host, which it may trust.
 *
 * A leg of the pool (reuse.c) may have been told an earlier client: this is the first that is said
 * on it, all attributes of then are said anew, and if anything is wrong with it a fresh leg is told.
 */
#include "proxy/smtp/smtp_priv.h"
#include "proxy/smtp/xclient.h"

#include <errno.h>

/* ---- to the server ---- */

/* SMTP_LEG_LOST, or the session ended. */
static co_waits int leg_failed(struct smtp *s, const char *reason, int err)
{
	err = smtp_server_lost(s, reason, err);
	return err < 0 ? err : SMTP_LEG_LOST;
}

static co_waits int server_failed(struct smtp *s, int err)
{
	if (err == -ECANCELED)
		return err;
	return leg_failed(s, err == -ETIMEDOUT ? "timeout" : "server-closed", err == -EPIPE ? 0 : err);
}

co_waits int smtp_hear_server(struct smtp *s, deadline_t due, struct smtp_reply *reply)
{
	struct smtp_reply_limits limits = smtp_reply_limits_of(s);
	struct stream *server = s->proxy->server;
	struct smtp_reply_parser parser = { 0 };
	enum smtp_reply_result result;

	while ((result = smtp_reply_parse(&parser, stream_peek(server), &limits, reply)) == SMTP_REPLY_MORE) {
		ssize_t n = stream_fill(server, due);

		if (n <= 0)
			return server_failed(s, n == 0 ? -EPIPE : (int)n);
	}
	if (result != SMTP_REPLY_OK) {
		proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "Invalid reply of the server",
			  F_TEXT("reason", smtp_reply_reasons[result]), F_OCTETS("line", slice_take(reply->bad_line, 128)));
		return leg_failed(s, smtp_reply_reasons[result], 0);
	}
	return stream_peek(server).len > reply->raw.len ? leg_failed(s, "unexpected-reply", 0) : 0;
}

co_waits int smtp_ask_server(struct smtp *s, struct slice verb, struct slice param, struct smtp_reply *reply)
{
	const struct slice pieces[] = { verb, param, SLICE("\r\n") };
	deadline_t due = smtp_reuse_due(s, smtp_due(s));
	int err = 0;

	for (size_t i = 0; err == 0 && i < ARRAY_LEN(pieces); i++)
		err = stream_write(s->proxy->server, pieces[i], due);
	return err < 0 ? server_failed(s, err) : smtp_hear_server(s, due, reply);
}

static unsigned offered_by(const struct smtp *s, const struct smtp_reply *reply)
{
	struct smtp_reply_limits limits = smtp_reply_limits_of(s);
	unsigned offered = 0;
	struct slice line;
	size_t pos = 0;
	bool last, first = true;

	while (smtp_reply_next_line(reply, &limits, &pos, &line, &last)) {
		if (!first)
			offered |= smtp_xclient_offered(line);
		first = false;
	}
	return offered;
}

static co_waits int look_for_offer(struct smtp *s, struct slice helo, unsigned *offered)
{
	struct smtp_reply reply = { .code = 0 };
	int err = smtp_ask_server(s, SLICE("EHLO "), helo, &reply);

	if (err != 0)
		return err;
	*offered = smtp_code_is_positive(reply.code) ? offered_by(s, &reply) : 0;
	stream_consume(s->proxy->server, reply.raw.len);
	/* What it was told and does not take any more would stay the earlier client's. */
	if ((*offered & SMTP_XCLIENT_ADDR) != 0 && (s->reuse.told & ~*offered) == 0)
		return 0;
	if (s->reuse.untested)
		return leg_failed(s, "xclient-not-offered", 0);
	proxy_log(s->proxy, LOG_SMTP_ERROR, 2, "The server does not take the client's address by XCLIENT from this firewall",
		  F_INT("response", reply.code));
	return smtp_fail(s, FAULT_SERVER, "xclient-not-offered", 0);
}

/* The server's answer is its greeting of the client: one that takes no mail from it says so. */
static co_waits int refused_by_server(struct smtp *s, const struct smtp_reply *reply)
{
	const struct smtp_pending greeting = { .verb = &smtp_verbs[SMTP_GREETING] };
	struct slice text = reply->text;
	char digits[4];
	int err;

	if (s->reuse.untested)
		return leg_failed(s, "xclient-refused", 0);
	proxy_log(s->proxy, LOG_SMTP_ERROR, 2, "The server refused XCLIENT",
		  F_OCTETS("response", smtp_code_text(reply->code, digits)), F_OCTETS("response_param", reply->text));
	if (reply->code != 554)
		return smtp_fail(s, FAULT_SERVER, "xclient-refused", 0);
	(void)smtp_banner(s, &greeting, reply->code, &text);
	err = smtp_write_reply(s, reply->code, text);
	return err < 0 ? err : smtp_end(s, FAULT_SERVER, "client-refused", 0);
}

/* 0; SMTP_LEG_LOST; negative. */
static co_waits int announce(struct smtp *s, const struct smtp_verb *verb, struct slice helo)
{
	struct smtp_xclient what = { .client = *proxy_client_address(s->proxy), .wanted = *proxy_client_wanted(s->proxy),
				     .name = s->client_name, .helo = helo,
				     .protocol = verb == &smtp_verbs[SMTP_EHLO] ? SLICE("ESMTP") : SLICE("SMTP") };
	struct smtp_reply reply = { .code = 0 };
	char command[SMTP_XCLIENT_LINE_MAX];
	unsigned offered = 0;
	int err = look_for_offer(s, helo, &offered);

	if (err != 0)
		return err;
	s->reuse.told |= offered;
	err = smtp_ask_server(s, slice_of(command, smtp_xclient_write(offered, &what, command)), slice_of("", 0), &reply);
	if (err != 0)
		return err;
	if (reply.code != 220)
		return refused_by_server(s, &reply);
	stream_consume(s->proxy->server, reply.raw.len);
	return 0;
}

co_waits int smtp_announce_client(struct smtp *s, const struct smtp_verb *verb, struct slice helo)
{
	const char *before = s->proxy->doing;
	int err = SMTP_LEG_LOST;

	if (!s->config->send_xclient || s->announced)
		return 0;
	s->proxy->doing = "telling the server who the client is";
	/* An untested leg may be lost already. */
	if (s->proxy->server != NULL)
		err = announce(s, verb, helo);
	if (err == SMTP_LEG_LOST) {
		err = smtp_reuse_replace(s);
		if (err == 0)
			err = smtp_secure_server(s, helo);
		if (err == 0)
			err = announce(s, verb, helo);
	}
	if (err != 0)
		return err < 0 ? err : smtp_fail(s, FAULT_SERVER, "server-lost", 0);
	s->announced = true;
	s->reuse.untested = false;
	s->proxy->doing = before;
	return 0;
}

bool smtp_may_precede_hello(const struct smtp *s, const struct smtp_verb *verb)
{
	static const enum smtp_verb_id harmless[] = { SMTP_HELO, SMTP_EHLO, SMTP_RSET, SMTP_NOOP, SMTP_QUIT, SMTP_HELP };

	bool owes_tls = smtp_needs_server_tls(s) ||
			(s->reuse.untested && smtp_starttls_is_ours(s));	/* its replacement would begin in plain text */

	if ((!s->config->send_xclient || s->announced) && !owes_tls)
		return true;
	for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
		if (verb == &smtp_verbs[harmless[i]])
			return true;
	return false;
}

/* ---- from clients ---- */

bool smtp_may_announce(const struct smtp *s)
{
	const struct string_list *names = &s->config->accept_xclient_zones;

	for (const struct zone *zone = proxy_client_zone(s->proxy); zone != NULL; zone = zone->parent)
		for (size_t i = 0; i < names->count; i++)
			if (slice_is(names->items[i], zone->name))
				return true;
	return false;
}

/*
 * The server leg may carry the old identity in its source address or PROXY header, and is in the
 * middle of a conversation anyway: it is made anew. Its greeting answers the command.
 */
static co_waits int reconnect(struct smtp *s)
{
	struct stream *server = s->proxy->server;

	if (server != NULL && (stream_write(server, SLICE("QUIT\r\n"), smtp_due(s)) < 0 || stream_push(server) < 0))
		proxy_log(s->proxy, LOG_SMTP_DEBUG, 6, "The server was gone before it was left");
	proxy_close_server(s->proxy);
	return smtp_connect(s);
}

co_waits int smtp_take_xclient(struct smtp *s, struct slice param)
{
	const struct smtp_verb *verb = &smtp_verbs[SMTP_XCLIENT];
	struct smtp_xclient what;
	const char *why = NULL;

	if ((s->state & (SMTP_STATE_INITIAL | SMTP_STATE_EHLO)) == 0)
		return smtp_queue_reply(s, verb, 503, SLICE("5.5.1 Mail transaction in progress"));
	if (s->client_name_room == NULL)
		s->client_name_room = arena_alloc(s->proxy->arena, SMTP_XCLIENT_VALUE_MAX);
	if (s->client_name_room == NULL)
		return -ENOMEM;
	if (smtp_xclient_parse(param, s->client_name_room, &what, &why) < 0) {
		s->client_name = slice_of(NULL, 0);	/* its room may have been written to */
		proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "Invalid XCLIENT", F_TEXT("reason", why), F_OCTETS("param", param));
		return smtp_queue_reply(s, verb, 501, slice_cstr(why));
	}
	s->client_name = what.name;
	proxy_set_client(s->proxy, &what.client, &what.wanted);
	s->client_named = !stream_is_encrypted(s->proxy->client);
	smtp_begin_anew(s);
	return reconnect(s);
}
