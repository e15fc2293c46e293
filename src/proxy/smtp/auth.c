/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AUTH (RFC 4954). The proxy takes no part in who is who: it decides whether the client may try,
 * by which mechanism, and that both sides mean the same exchange. A line of it is base64, or "*"
 * from the client, and nothing else; where the two sides could come to different ends of it, the
 * server is made to cancel, or the session ends.
 *
 * Whatever passes here may be a password. Neither logs nor policy code get more of it than the
 * name of a mechanism that was offered, since anything else could be a password that was put in
 * the wrong place.
 */
#include "proxy/smtp/auth.h"

#include "proxy/smtp/counters.h"
#include "proxy/smtp/line.h"
#include "proxy/smtp/smtp_priv.h"

#include <assert.h>
#include <errno.h>

/* sasl-mech = 1*20mech-char; mech-char = UPPER / DIGIT / "-" / "_" (RFC 4422, 3.1) */
bool smtp_is_mechanism(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!ascii_is_alpha(s.ptr[i]) && !ascii_is_digit(s.ptr[i]) && s.ptr[i] != '-' && s.ptr[i] != '_')
			return false;
	return s.len >= 1 && s.len <= SMTP_MECHANISM_MAX;
}

bool smtp_is_base64(struct slice s)
{
	size_t pad = 0;

	while (pad < 2 && pad < s.len && s.ptr[s.len - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i + pad < s.len; i++)
		if (!ascii_is_alpha(s.ptr[i]) && !ascii_is_digit(s.ptr[i]) && s.ptr[i] != '+' && s.ptr[i] != '/')
			return false;
	return s.len % 4 == 0;
}

static struct slice next_word(struct slice *rest)
{
	struct slice word;

	while (rest->len > 0 && rest->ptr[0] == ' ')
		*rest = slice_skip(*rest, 1);
	word = slice_take(*rest, slice_index(*rest, ' '));
	*rest = slice_skip(*rest, word.len);
	return word;
}

bool smtp_has_mechanism(struct slice list, struct slice name)
{
	struct slice word;

	do {
		word = next_word(&list);
		if (word.len > 0 && slice_equal_nocase(word, name))
			return true;
	} while (word.len > 0);
	return false;
}

static int refuse(struct smtp_flaw *flaw, const char *text, unsigned code, const char *reply)
{
	*flaw = (struct smtp_flaw){ .text = text, .key = "param", .code = code, .reply = reply };
	return -EBADMSG;
}

/* AUTH SP sasl-mech [SP initial-response]; initial-response = base64 / "=" (RFC 4954, 8) */
int smtp_parse_auth(const struct smtp_syntax *syntax, struct slice param, struct arena *arena,
		    struct smtp_argument *out, struct smtp_flaw *flaw)
{
	struct slice rest = param, mechanism = next_word(&rest), initial = next_word(&rest);
	uint8_t *text;

	if (!smtp_is_mechanism(mechanism) || next_word(&rest).len > 0)
		return refuse(flaw, "Invalid parameter of AUTH", 501, "5.5.4 Syntax: AUTH mechanism [initial-response]");
	if (initial.len > 0 && !slice_is(initial, "=") && !smtp_is_base64(initial))
		return refuse(flaw, "Initial response of AUTH is no base64", 501, "5.5.2 Not base64");
	text = arena_alloc(arena, mechanism.len);
	if (text == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < mechanism.len; i++)
		text[i] = ascii_upper(mechanism.ptr[i]);
	out->text = slice_of(text, mechanism.len);
	out->secret = initial;
	return 0;
}

struct slice smtp_shown_line(const struct smtp *s, struct slice line)
{
	bool exchange = s->auth.tried || s->state == SMTP_STATE_AUTH;

	return exchange ? SLICE("(not shown)") : smtp_loggable(line);
}

static struct slice offered(const struct smtp *s)
{
	return slice_of(s->auth.offered, s->auth.offered_length);
}

struct slice smtp_auth_shown(const struct smtp *s, struct slice param)
{
	struct slice mechanism = next_word(&param);

	return smtp_has_mechanism(offered(s), mechanism) ? mechanism : SLICE("(not shown)");
}

static bool needs_tls(const struct smtp *s)
{
	return s->config->auth_requires_tls && !stream_is_encrypted(s->proxy->client);
}

int smtp_auth_check(const struct smtp *s, struct slice param, struct smtp_flaw *flaw)
{
	struct slice mechanism = next_word(&param);

	if (s->client_authenticated)
		return refuse(flaw, "AUTH behind one that succeeded", 503, "5.5.1 Already authenticated");
	if (needs_tls(s))
		return refuse(flaw, "AUTH on a connection that is not encrypted", 538,
			      "5.7.11 Encryption required for requested authentication mechanism");
	if ((s->active_extensions & SMTP_EXT_AUTH) == 0)
		return refuse(flaw, "AUTH is not offered", 502, "5.5.1 Command not implemented");
	if (smtp_is_mechanism(mechanism) && !smtp_has_mechanism(offered(s), mechanism))
		return refuse(flaw, "Mechanism of AUTH is not offered", 504, "5.5.4 Mechanism not permitted");
	return 0;
}

static bool is_permitted(const struct smtp_config *c, struct slice mechanism)
{
	for (size_t i = 0; i < c->permit_auth_mechanisms.count; i++)
		if (slice_equal_nocase(c->permit_auth_mechanisms.items[i], mechanism))
			return true;
	return c->permit_auth_mechanisms.count == 0;
}

/* Remember it as offered. false: there are more than anybody needs. */
static bool offer(struct smtp *s, struct slice mechanism)
{
	struct smtp_auth *a = &s->auth;

	if (smtp_has_mechanism(offered(s), mechanism))
		return true;
	if (a->offered_length + 1 + mechanism.len > sizeof(a->offered))
		return false;
	if (a->offered_length > 0)
		a->offered[a->offered_length++] = ' ';
	for (size_t i = 0; i < mechanism.len; i++)
		a->offered[a->offered_length++] = (char)ascii_upper(mechanism.ptr[i]);
	return true;
}

static_assert(SMTP_OFFER_MAX >= 5 + SMTP_MECHANISMS_MAX, "a line of EHLO with all mechanisms");

bool smtp_auth_offer(struct smtp *s, struct slice line, char buf[SMTP_OFFER_MAX], struct slice *out)
{
	const size_t keyword = strlen("AUTH");
	struct slice rest = slice_skip(line, keyword + 1), mechanism;
	size_t n = keyword + 1;

	if (needs_tls(s) || line.len <= keyword + 1)
		return false;
	memcpy(buf, "AUTH", keyword);
	buf[keyword] = (char)line.ptr[keyword];		/* the old form, of RFC 2554's drafts, has "=" here */
	while ((mechanism = next_word(&rest)).len > 0) {
		if (!smtp_is_mechanism(mechanism) || !is_permitted(s->config, mechanism) || n + 1 + mechanism.len > SMTP_OFFER_MAX ||
		    !offer(s, mechanism))
			continue;
		if (n > keyword + 1)
			buf[n++] = ' ';
		memcpy(buf + n, mechanism.ptr, mechanism.len);
		n += mechanism.len;
	}
	*out = slice_of(buf, n);
	return n > keyword + 1;
}

void smtp_auth_forget_offer(struct smtp *s)
{
	s->auth.offered_length = 0;
}

void smtp_on_auth(struct smtp *s, struct smtp_pending *p, unsigned code)
{
	if (code == 334) {
		s->state = SMTP_STATE_AUTH;
		return;
	}
	s->state = SMTP_STATE_EHLO;
	s->proxy->counters[code == 235 ? SMTP_COUNT_AUTH_OK : SMTP_COUNT_AUTH_FAILED]++;
	if (code == 235) {
		s->client_authenticated = true;
		s->auth.tried = false;
	} else {
		s->auth.failures++;
	}
}

/* The server's reply to a line of the exchange, before anybody gets to see it. */
int smtp_auth_judge(struct smtp *s, const struct smtp_pending *p, const struct smtp_reply *reply)
{
	if (p->cancels && reply->code < 400)
		return smtp_fail(s, FAULT_SERVER, "auth-not-cancelled", 0);
	if (reply->code != 334)
		return 0;
	if (reply->n_lines != 1 || !smtp_is_base64(reply->text)) {
		proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "The server's line of an AUTH exchange is no base64");
		return smtp_fail(s, FAULT_SERVER, "auth-challenge", 0);
	}
	if (++s->auth.steps <= (uint64_t)s->config->max_auth_steps)
		return 0;
	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "Too many steps in an AUTH exchange", F_INT("max", s->config->max_auth_steps));
	return smtp_fail(s, FAULT_SERVER, "auth-steps", 0);
}

static co_waits int send_line(struct smtp *s, struct slice line)
{
	int err = stream_write(s->proxy->server, line, smtp_due(s));

	if (err == 0)
		err = stream_write(s->proxy->server, SLICE("\r\n"), smtp_due(s));
	return err < 0 && err != -ECANCELED ? smtp_fail(s, FAULT_SERVER, "server-closed", err) : err;
}

static struct smtp_pending *expect_reply(struct smtp *s)
{
	struct smtp_pending *p = smtp_queue_add(s, &smtp_verbs[SMTP_SASL]);

	if (p != NULL)
		p->param = slice_of(s->auth.mechanism, s->auth.mechanism_length);
	s->blocked = true;
	return p;
}

co_waits int smtp_auth_cancel(struct smtp *s)
{
	struct smtp_pending *p = expect_reply(s);

	if (p == NULL)
		return -ENOMEM;
	p->silent = p->cancels = true;
	return send_line(s, SLICE("*"));
}

static int refuse_line(struct smtp *s, enum smtp_line flaw)
{
	bool too_long = flaw == SMTP_LINE_TOO_LONG;

	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, too_long ? "Line of an AUTH exchange too long" : "Line of the client is no SMTP line",
		  F_TEXT("reason", smtp_line_names[flaw]), F_INT("max", s->config->max_auth_request_length));
	s->linger = true;
	return smtp_queue_goodbye(s, 500, too_long ? "5.5.6 Authentication exchange line is too long, closing transmission channel" :
				  "5.5.2 Lines end with CRLF, closing transmission channel", FAULT_CLIENT, smtp_line_names[flaw]);
}

static co_waits int forward_line(struct smtp *s, struct slice line)
{
	struct smtp_pending *p = expect_reply(s);

	if (p == NULL)
		return -ENOMEM;
	p->cancels = slice_is(line, "*");
	proxy_log(s->proxy, LOG_SMTP_DEBUG, 6, "Copying a line of the AUTH exchange to the server");
	return send_line(s, line);
}

static co_waits int cancel_for_client(struct smtp *s)
{
	int err;

	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "The client's line of an AUTH exchange is no base64");
	err = smtp_auth_cancel(s);
	return err < 0 ? err : smtp_queue_reply(s, &smtp_verbs[SMTP_SASL], 501, SLICE("5.5.2 Not base64"));
}

co_waits int smtp_auth_take_line(struct smtp *s)
{
	struct slice line = { NULL, 0 };
	enum smtp_line result;
	size_t used = 0;
	int err;

	result = smtp_line_take(stream_peek(s->proxy->client), s->config->require_crlf,
				(size_t)s->config->max_auth_request_length, &line, &used);
	if (result == SMTP_LINE_MORE)
		return 0;
	if (result != SMTP_LINE_OK)
		return refuse_line(s, result);
	err = slice_is(line, "*") || smtp_is_base64(line) ? forward_line(s, line) : cancel_for_client(s);
	if (err == 0)
		stream_consume(s->proxy->client, used);
	return err < 0 ? err : 1;
}

void smtp_auth_start(struct smtp *s, struct slice mechanism)
{
	size_t n = mechanism.len < sizeof(s->auth.mechanism) ? mechanism.len : sizeof(s->auth.mechanism);

	memcpy(s->auth.mechanism, mechanism.ptr, n);
	s->auth.mechanism_length = n;
	s->auth.steps = 0;
}
