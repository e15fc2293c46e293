/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STARTTLS (RFC 3207): in the middle of a conversation both sides of a connection begin to speak
 * TLS, and forget what was said before.
 *
 *	client     server    the client's STARTTLS
 *	accept     off       answered here; the server hears nothing of it
 *	accept     force     the same; the server's connection has TLS from its first octet
 *	accept     forward   goes to the server; behind its 220 both connections get TLS, or with
 *	                     tls_passthrough are joined without a look at what passes
 *	off, force           502
 *
 * It is offered where it would be accepted: forwarded only if the server offers it, answered here
 * whatever the server offers. Where the server's connection is to be encrypted and no client's
 * STARTTLS can do it ("forward" with a client that has TLS already, by whatever way, or never gets
 * it) or is to be waited for (require_server_tls, or a server of which others say that it has TLS: DANE, MTA-STS), the
 * proxy says it to the server itself, before the client's EHLO or HELO; a server that does not take it gets no mail.
 *
 * What makes it dangerous is that octets sent in plain text, by anybody on the way, could be taken
 * for ones that came through TLS (CVE-2011-0411). So nothing may have come behind a STARTTLS when it
 * is answered, and nothing behind the server's 220; such a session ends before anybody is told to
 * go on. What comes later than that is no TLS, and fails the handshake.
 *
 * A failed handshake ends the session, and nothing more is said: the connection is neither one thing
 * nor the other.
 */
#include "io/relay.h"
#include "proxy/smtp/smtp_priv.h"

#include <errno.h>

#define PASSTHROUGH_OCTETS 2048u	/* of a buffer, a direction */

static bool is_encrypted(const struct stream *stream)
{
	return stream != NULL && stream_is_encrypted(stream);
}

enum starttls_way { WAY_NONE, WAY_OWN, WAY_FORWARD };

/* What a STARTTLS of the client would lead to now. */
static enum starttls_way way_of(const struct smtp *s)
{
	if (proxy_security(s->proxy, TLS_CLIENT) != TLS_ACCEPT_STARTTLS || is_encrypted(s->proxy->client))
		return WAY_NONE;
	/* The name that the client gave itself in plain text can't be taken back. */
	if (s->client_named)
		return WAY_NONE;
	if (proxy_security(s->proxy, TLS_SERVER) == TLS_FORWARD_STARTTLS && !is_encrypted(s->proxy->server))
		return WAY_FORWARD;
	return WAY_OWN;
}

bool smtp_starttls_forwards(const struct smtp *s)
{
	return way_of(s) == WAY_FORWARD;
}

bool smtp_starttls_is_offered(struct smtp *s)
{
	if (way_of(s) != WAY_OWN || !smtp_extension_permitted(s, SLICE("STARTTLS")))
		return false;
	s->active_extensions |= SMTP_EXT_STARTTLS;
	return true;
}

static int refuse(struct smtp *s, struct smtp_flaw *flaw, enum log_tag tag, int level, const char *why, unsigned code,
		  const char *reply)
{
	proxy_log(s->proxy, tag, level, why, F_TEXT("request", "STARTTLS"));
	*flaw = (struct smtp_flaw){ .key = "param", .code = code, .reply = reply };
	return -EBADMSG;
}

int smtp_starttls_check(struct smtp *s, struct smtp_flaw *flaw)
{
	bool accepts = proxy_security(s->proxy, TLS_CLIENT) == TLS_ACCEPT_STARTTLS;

	if (!accepts)
		return refuse(s, flaw, LOG_SMTP_POLICY, 4, "STARTTLS is not permitted", 502, "5.5.1 Command not implemented");
	if (is_encrypted(s->proxy->client))
		return refuse(s, flaw, LOG_SMTP_VIOLATION, 3, "STARTTLS on a connection that is encrypted", 503,
			      "5.5.1 TLS already active");
	/* The server could not be made to forget who the client is. */
	if (s->client_named || (s->client_authenticated && way_of(s) == WAY_OWN))
		return refuse(s, flaw, LOG_SMTP_VIOLATION, 3, "STARTTLS behind a name that was given in plain text", 503,
			      "5.5.1 Too late for STARTTLS");
	if (s->state != SMTP_STATE_EHLO)
		return refuse(s, flaw, LOG_SMTP_VIOLATION, 4, "STARTTLS is not permitted in this state", 503,
			      "5.5.1 Bad sequence of commands");
	if ((s->active_extensions & SMTP_EXT_STARTTLS) == 0)
		return refuse(s, flaw, LOG_SMTP_VIOLATION, 4, "STARTTLS was not offered", 502, "5.5.1 Command not implemented");
	return 0;
}

int smtp_parse_starttls(const struct smtp_syntax *syntax, struct slice param, struct arena *arena, struct smtp_argument *out,
			struct smtp_flaw *flaw)
{
	if (param.len == 0)
		return 0;
	*flaw = (struct smtp_flaw){ .text = "Command takes no parameter", .key = "param", .code = 501,
				    .reply = "5.5.4 STARTTLS takes no parameter" };
	return -EBADMSG;
}

bool smtp_tls_is_missing(const struct smtp *s, const struct smtp_verb *verb)
{
	static const enum smtp_verb_id harmless[] = { SMTP_HELO, SMTP_EHLO, SMTP_STARTTLS, SMTP_RSET, SMTP_NOOP, SMTP_QUIT, SMTP_HELP };

	if (!s->config->require_client_tls || is_encrypted(s->proxy->client))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(harmless); i++)
		if (verb == &smtp_verbs[harmless[i]])
			return false;
	return true;
}

int smtp_starttls_answer(struct smtp *s)
{
	proxy_log(s->proxy, LOG_SMTP_INFO, 3, "STARTTLS is answered here, for the client alone");
	s->blocked = true;
	return smtp_queue_reply(s, &smtp_verbs[SMTP_STARTTLS], 220, SLICE("2.0.0 Ready to start TLS"));
}

co_waits int smtp_starttls_judge(struct smtp *s, const struct smtp_reply *reply)
{
	if (reply->code != 220)
		return 0;
	proxy_log(s->proxy, LOG_SMTP_INFO, 3, "The server accepts STARTTLS");
	if (stream_peek(s->proxy->server).len <= reply->raw.len)
		return 0;
	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "The server sends plain text behind its reply to STARTTLS",
		  F_OCTETS("line", slice_take(slice_skip(stream_peek(s->proxy->server), reply->raw.len), 64)));
	return smtp_fail(s, FAULT_SERVER, "unexpected-reply", 0);
}

void smtp_on_starttls(struct smtp *s, struct smtp_pending *p, unsigned code)
{
	if (code == 220)
		s->switching = p->local ? SMTP_SWITCH_CLIENT : SMTP_SWITCH_BOTH;
}

/* ---- behind the 220 ---- */

static co_waits int pass_through(struct smtp *s)
{
	const struct relay_options options = { .idle_ms = s->config->timeout_ms, .buffer_octets = PASSTHROUGH_OCTETS };
	struct relay_counts counts = { 0 };
	bool fault_server = false;
	int err;

	proxy_log(s->proxy, LOG_SMTP_INFO, 3, "STARTTLS was accepted: octets are copied from here on without a look at them");
	s->proxy->doing = "copying between client and server (tls_passthrough)";
	err = relay_run(s->proxy->client, s->proxy->server, &options, &counts, &fault_server);
	s->client_gone = true;		/* no reply can follow */
	if (err == -ECANCELED)
		return err;
	if (err == 0 || err == -ETIMEDOUT)
		return smtp_end(s, FAULT_NONE, err == 0 ? "closed" : "timeout", err);
	return smtp_end(s, fault_server ? FAULT_SERVER : FAULT_CLIENT, "connection-lost", err);
}

/* RFC 3207, 4.2: what was learned in plain text is forgotten. */
static void forget(struct smtp *s, bool server_too)
{
	bool announced = s->announced;

	smtp_begin_anew(s);
	/* Who is behind the connection was no word of the client's; only a server that begins anew must hear it again. */
	s->announced = announced && !server_too;
	s->connected = true;
	s->auth.tried = false;
	s->client_due = deadline_in(s->config->timeout_command_ms);
}

/*
 * The router goes by the name that the client asked for in TLS. The server that it was greeted by is
 * left, and the client, which begins anew anyway, hears nothing of the other one's greeting.
 */
static co_waits int go_to_named_server(struct smtp *s)
{
	forget(s, true);
	return smtp_reuse_exchange(s);
}

co_waits int smtp_switch_to_tls(struct smtp *s)
{
	bool both = s->switching == SMTP_SWITCH_BOTH;
	int err;

	s->switching = SMTP_NO_SWITCH;
	if (both && s->config->tls_passthrough)
		return pass_through(s);
	err = both ? proxy_start_tls_both(s->proxy) : proxy_start_tls(s->proxy, TLS_CLIENT);
	if (err == 0 && proxy_server_is_stale(s->proxy))
		return go_to_named_server(s);
	if (err == 0) {
		forget(s, both);
		return 0;
	}
	s->client_gone = true;
	if (err == -ECANCELED)
		return err;
	proxy_log(s->proxy, LOG_SMTP_ERROR, 2, "TLS handshake failed behind STARTTLS", F_TEXT("error", strerror(-err)));
	return smtp_end(s, FAULT_OWN, "handshake", err);	/* whose fault it was has been told */
}

/* ---- our own, to the server ---- */

bool smtp_starttls_is_ours(const struct smtp *s)
{
	if (proxy_security(s->proxy, TLS_SERVER) != TLS_FORWARD_STARTTLS)
		return false;
	return s->config->require_server_tls || proxy_server_must_be_encrypted(s->proxy) ||
	       proxy_security(s->proxy, TLS_CLIENT) != TLS_ACCEPT_STARTTLS || is_encrypted(s->proxy->client);
}

bool smtp_needs_server_tls(const struct smtp *s)
{
	return smtp_starttls_is_ours(s) && !is_encrypted(s->proxy->server);
}

static bool names_starttls(const struct smtp *s, const struct smtp_reply *reply)
{
	struct smtp_reply_limits limits = smtp_reply_limits_of(s);
	char buf[SMTP_KEYWORD_MAX];
	bool last, first = true, found = false;
	struct slice line;
	size_t pos = 0;

	while (smtp_reply_next_line(reply, &limits, &pos, &line, &last)) {
		found = found || (!first && slice_is(smtp_extension_keyword(line, buf), "STARTTLS"));
		first = false;
	}
	return found;
}

static co_waits int give_up(struct smtp *s, const char *reason, unsigned code)
{
	proxy_log(s->proxy, LOG_SMTP_ERROR, 2, "The server does not take STARTTLS, without which it gets no mail",
		  F_TEXT("reason", reason), F_INT("response", code));
	return smtp_fail(s, FAULT_SERVER, reason, 0);
}

/* 0; SMTP_LEG_LOST; negative. */
static co_waits int say_starttls(struct smtp *s, struct slice helo)
{
	struct smtp_reply reply = { .code = 0 };
	bool offered;
	int err = smtp_ask_server(s, SLICE("EHLO "), helo, &reply);

	if (err != 0)
		return err;
	offered = smtp_code_is_positive(reply.code) && names_starttls(s, &reply);
	stream_consume(s->proxy->server, reply.raw.len);
	if (!offered)
		return give_up(s, "starttls-not-offered", reply.code);
	err = smtp_ask_server(s, SLICE("STARTTLS"), SLICE(""), &reply);
	if (err != 0)
		return err;
	if (reply.code != 220)
		return give_up(s, "starttls-refused", reply.code);
	stream_consume(s->proxy->server, reply.raw.len);
	err = proxy_start_tls(s->proxy, TLS_SERVER);
	if (err == 0 || err == -ECANCELED)
		return err;
	return smtp_fail(s, FAULT_OWN, "handshake", err);	/* as above */
}

co_waits int smtp_secure_server(struct smtp *s, struct slice helo)
{
	const char *before = s->proxy->doing;
	int err = SMTP_LEG_LOST;

	if (!smtp_needs_server_tls(s))
		return 0;
	s->proxy->doing = "asking the server for TLS";
	if (s->proxy->server != NULL)
		err = say_starttls(s, helo);
	if (err == SMTP_LEG_LOST) {
		err = smtp_reuse_replace(s);
		if (err == 0)
			err = say_starttls(s, helo);
	}
	if (err != 0)
		return err < 0 ? err : smtp_fail(s, FAULT_SERVER, "server-lost", 0);
	s->reuse.untested = false;
	s->proxy->doing = before;
	return 0;
}
