/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Server sessions that serve several clients, one after the other (reuse_server_sessions).
 *
 * At its start a session takes a server leg that an earlier one left, if there is one that it would
 * open the very same (session/pool.h). The client gets the greeting that the server gave when the leg
 * was opened; then its own EHLO or HELO goes to the server, which makes the server forget what was
 * before (RFC 5321, 4.1.4) and tells anew what it can do. Until the server has answered that, the leg
 * is untested: whatever is wrong with it, it is replaced by a fresh one, of which the client sees
 * nothing. Only EHLO and HELO are ever said twice, and a client that begins with something else gets
 * a fresh leg for it, so that no command runs under an earlier client's name.
 *
 * At its end a session leaves its leg to the next if nothing about it is in doubt: see doubt().
 * What a leg is told by a command that is not in LEAVES_CLEAN (AUTH, a client's STARTTLS, whatever a
 * policy lets through) stays with it, so such a leg is never left to others.
 *
 * A leg on which the proxy itself said STARTTLS is left with its TLS, and taken by sessions that would
 * say it just the same. One that replaces it begins in plain text: there it is said again, before
 * anything of the client's.
 *
 * XCLIENT of our own (send_xclient) stays, too, but can be said anew: the leg is left with the
 * attributes that it was told, and whoever takes it tells it all of them again, of its own client,
 * before anything else (smtp_announce_client). Where that does not go well the leg is replaced.
 */
#include "proxy/smtp/smtp_priv.h"
#include "session/pool.h"

#include <assert.h>
#include <errno.h>

#define ANSWER_MS 15000		/* an untested leg must answer in this time */
#define RESET_MS 2000		/* and a left one its RSET */

static_assert(SMTP_GOODBYE_MS + RESET_MS <= PROXY_GOODBYE_MS, "the end of a session is waited for");
#define GOODBYE SLICE("QUIT\r\n")

#define BIT(id) (UINT64_C(1) << (id))
static_assert(SMTP_VERB_COUNT <= 64, "a bit for each verb");

/* Verbs behind which a server is as it was, at the latest with the next EHLO. */
#define LEAVES_CLEAN (BIT(SMTP_GREETING) | BIT(SMTP_HELO) | BIT(SMTP_EHLO) | BIT(SMTP_MAIL) | BIT(SMTP_RCPT) | BIT(SMTP_DATA) | \
		      BIT(SMTP_BODY) | BIT(SMTP_BDAT) | BIT(SMTP_RSET) | BIT(SMTP_NOOP) | BIT(SMTP_ETRN) | BIT(SMTP_VRFY) | \
		      BIT(SMTP_EXPN) | BIT(SMTP_HELP))

/* What can come first to a server has neither secrets nor chunks. */
static const struct smtp_argument nothing_more;

static bool leaves_clean(const struct smtp_pending *p)
{
	size_t id = (size_t)(p->verb - smtp_verbs);

	return p->verb != &smtp_unknown_verb && (LEAVES_CLEAN & BIT(id)) != 0 &&
	       (p->name.len == 0 || slice_is(p->name, p->verb->name));
}

static bool is_hello(const struct smtp_pending *p)
{
	return !p->local && (p->verb == &smtp_verbs[SMTP_HELO] || p->verb == &smtp_verbs[SMTP_EHLO]);
}

static_assert(SMTP_GREETING_KEPT_MAX + 1 <= POOL_NOTE_MAX, "the pool takes the note");

static struct slice note_of(const struct smtp *s)
{
	const struct smtp_reuse *r = &s->reuse;

	if (r->greeting.len == 0)
		return slice_of(NULL, 0);
	r->note[0] = (uint8_t)r->told;
	return slice_of(r->note, r->greeting.len + 1);
}

static struct server_keep keep_of(const struct smtp *s)
{
	return (struct server_keep){
		.idle_max = (unsigned)s->config->reuse_max_idle,
		.messages_max = (unsigned)s->config->reuse_max_messages,
		.idle_ms = s->config->reuse_idle_timeout_ms,
		.age_ms = s->config->reuse_max_age_ms,
		.messages = s->reuse.messages,
		.note = note_of(s),
		.goodbye = GOODBYE,
	};
}

/* The greeting, where note_of() finds it. */
static int keep_note(struct smtp *s, struct slice greeting)
{
	struct smtp_reuse *r = &s->reuse;

	r->greeting = slice_of(NULL, 0);
	r->note = arena_alloc(s->proxy->arena, greeting.len + 1);
	if (r->note == NULL)
		return -ENOMEM;
	memcpy(r->note + 1, greeting.ptr, greeting.len);
	r->greeting = slice_of(r->note + 1, greeting.len);
	return 0;
}

int smtp_reuse_start(struct smtp *s)
{
	struct smtp_reuse *r = &s->reuse;
	struct slice note = { NULL, 0 };

	*r = (struct smtp_reuse){ .legs = r->legs + 1 };
	if (!s->config->reuse_server_sessions || proxy_reuse_server(s->proxy, smtp_starttls_is_ours(s), &note) != 0)
		return -ENOENT;
	/* The policy may decide anew in each session: a leg that speaks for another is not for one that is silent. */
	if (note.len < 2 || (note.ptr[0] != 0 && !s->config->send_xclient) || keep_note(s, slice_skip(note, 1)) < 0) {
		proxy_drop_server(s->proxy);
		return -ENOENT;
	}
	r->told = note.ptr[0];
	r->replay = r->greeting;
	r->untested = true;
	proxy_log(s->proxy, LOG_SMTP_DEBUG, 6, "Server session taken from the pool", F_OCTETS("greeting", r->greeting));
	return 0;
}

/* ---- an untested leg ---- */

/* Nothing but a hello may be under way: that can be said again. */
static bool may_replace(const struct smtp *s)
{
	for (const struct smtp_pending *p = s->head; p != NULL; p = p->next)
		if (!p->local && !is_hello(p) && p->verb != &smtp_verbs[SMTP_GREETING])	/* that one is told already */
			return false;
	return s->reuse.untested && !s->ending;
}

static co_waits int connect_fresh(struct smtp *s)
{
	int err;

	s->reuse.untested = false;
	s->reuse.told = 0;
	s->reuse.legs++;
	err = proxy_connect_server(s->proxy);
	if (err == 0 || err == -ECANCELED)
		return err;
	return smtp_fail(s, FAULT_SERVER, "server-lost", err);
}

/* The same where STARTTLS is ours to say: a hello goes out behind it. */
static co_waits int open_fresh_with_tls(struct smtp *s)
{
	struct smtp_pending *p = s->head;
	int err = smtp_reuse_replace(s);

	if (err == 0 && is_hello(p))
		err = smtp_secure_server(s, p->param);
	if (err < 0)
		return err;
	s->server_due = smtp_reply_due(s, p);
	return smtp_write_command(s, p, &nothing_more);
}

/* A fresh leg; what the head of the queue says goes out behind its greeting. */
static co_waits int open_fresh(struct smtp *s)
{
	struct smtp_pending *p;
	int err;

	if (smtp_starttls_is_ours(s))
		return open_fresh_with_tls(s);
	err = connect_fresh(s);
	if (err < 0)
		return err;
	p = smtp_queue_put_first(s, &smtp_verbs[SMTP_GREETING]);
	if (p == NULL)
		return -ENOMEM;
	p->silent = true;
	s->reuse.held = true;
	s->blocked = true;
	return 0;
}

co_waits int smtp_server_lost(struct smtp *s, const char *reason, int err)
{
	if (!may_replace(s))
		return smtp_fail(s, FAULT_SERVER, reason, err);
	proxy_log(s->proxy, LOG_SMTP_DEBUG, 6, "Server session of the pool is of no use", F_TEXT("reason", reason));
	proxy_drop_server(s->proxy);
	s->parser = (struct smtp_reply_parser){ 0 };
	return s->head != NULL && is_hello(s->head) ? open_fresh(s) : 0;
}

deadline_t smtp_reuse_due(const struct smtp *s, deadline_t due)
{
	return s->reuse.untested ? deadline_min(due, deadline_in(ANSWER_MS)) : due;
}

co_waits int smtp_reuse_send(struct smtp *s, struct smtp_pending *p)
{
	const struct server_keep keep = keep_of(s);

	if (s->proxy->server != NULL && is_hello(p)) {
		s->server_due = smtp_reuse_due(s, s->server_due);
		return smtp_write_command(s, p, &nothing_more);
	}
	/* It was not touched, so it goes back as it came. */
	if (s->proxy->server != NULL && proxy_keep_server(s->proxy, &keep) != 0)
		proxy_drop_server(s->proxy);
	return open_fresh(s);
}

co_waits int smtp_reuse_send_held(struct smtp *s, const struct smtp_reply *greeting)
{
	if (!s->reuse.held)
		return 0;
	/* What is behind it can't be the reply to a command that was not sent. */
	if (stream_peek(s->proxy->server).len > greeting->raw.len)
		return smtp_fail(s, FAULT_SERVER, "unexpected-reply", 0);
	s->reuse.held = false;
	return smtp_write_command(s, s->head, &nothing_more);
}

/* ---- what the server says ---- */

/* The client was told the greeting of an earlier leg to the same server. */
static bool greeting_differs(const struct smtp *s, const struct smtp_reply *reply)
{
	return !slice_starts_with(reply->raw, slice_take(s->reuse.greeting, 3));
}

static void remember_greeting(struct smtp *s, const struct smtp_reply *reply)
{
	s->reuse.greeting = slice_of(NULL, 0);
	if (smtp_code_is_positive(reply->code) && reply->raw.len <= SMTP_GREETING_KEPT_MAX)
		(void)!keep_note(s, reply->raw);	/* without it the leg is for nobody else */
}

co_waits int smtp_reuse_replace(struct smtp *s)
{
	struct smtp_reply reply = { .code = 0 };
	int err = connect_fresh(s);

	if (err == 0)
		err = smtp_hear_server(s, smtp_due_in(s, s->config->timeout_greeting_ms), &reply);
	if (err < 0)
		return err;
	if (!smtp_code_is_positive(reply.code))
		return smtp_fail(s, FAULT_SERVER, "greeting-refused", 0);
	if (greeting_differs(s, &reply))
		return smtp_fail(s, FAULT_SERVER, "greeting-differs", 0);
	remember_greeting(s, &reply);
	stream_consume(s->proxy->server, reply.raw.len);
	return 0;
}

co_waits int smtp_reuse_exchange(struct smtp *s)
{
	if (stream_write(s->proxy->server, GOODBYE, 0) == 0)
		(void)!stream_push(s->proxy->server);
	proxy_close_server(s->proxy);
	s->reuse = (struct smtp_reuse){ .legs = s->reuse.legs };
	return smtp_reuse_replace(s);
}

co_waits int smtp_reuse_hear(struct smtp *s, const struct smtp_pending *p, const struct smtp_reply *reply)
{
	struct smtp_reuse *r = &s->reuse;
	bool fine = smtp_code_is_positive(reply->code);
	int err;

	if (!s->config->reuse_server_sessions || r->replay.len > 0)
		return 0;
	if (r->untested && !fine && is_hello(p)) {
		err = smtp_server_lost(s, "reply-to-hello", 0);
		return err < 0 ? err : 1;
	}
	r->untested = false;
	r->spoiled = r->spoiled || !leaves_clean(p) || reply->code == 421;
	if (p->verb == &smtp_verbs[SMTP_GREETING] && p->silent && greeting_differs(s, reply))
		return smtp_fail(s, FAULT_SERVER, "greeting-differs", 0);
	if (p->verb == &smtp_verbs[SMTP_GREETING])
		remember_greeting(s, reply);
	r->messages += smtp_is_final(p);
	if (smtp_is_final(p) && fine)
		r->refusals = 0;
	else
		r->refusals += reply->code >= 400;
	return 0;
}

/* ---- the end ---- */

/*
 * What the leg was used for, and why nobody else may have it therefore; NULL: nothing against it.
 * Refusals since the last message that was accepted are in the way because servers count them, and
 * slow down or end sessions that have many: the next client is not to pay for them.
 */
static const char *used_for(const struct smtp *s)
{
	const struct smtp_reuse *r = &s->reuse;
	const struct server_keep keep = keep_of(s);

	if (r->spoiled)
		return "a command changed it";
	if (r->refusals > 0)
		return "it refused something";
	if (r->greeting.len == 0)
		return "its greeting is not remembered";
	return proxy_may_keep_server(s->proxy, &keep) ? NULL : "it is of no use for others, or used up";
}

/* And what it is in the middle of. */
static const char *doubt(const struct smtp *s)
{
	const struct smtp_pending *p = s->head;

	if (s->proxy->server == NULL)
		return "it is closed";
	if (p != NULL && !p->local && !(s->reuse.untested && p->verb == &smtp_verbs[SMTP_GREETING]))
		return "a reply is owed";
	if (s->in_message || s->transfer || s->final_owed || s->diverged || s->chunk.reply != NULL)
		return "it is in the middle of something";
	return used_for(s);
}

/* What is owed yet is judged when it is there. */
bool smtp_reuse_answers_quit(struct smtp *s, struct slice name)
{
	const struct table_entry *entry;

	if (!s->config->reuse_server_sessions || !slice_is(name, "QUIT"))
		return false;
	entry = table_find(proxy_table(s->proxy, &smtp_tables[1]), SLICE("QUIT"), SLICE("221"));
	if (entry == NULL || entry->action != SMTP_RSP_ACCEPT)
		return false;
	return s->proxy->server == NULL || used_for(s) == NULL;
}

/* An open transaction must not wait in the pool. */
static co_waits const char *reset(struct smtp *s)
{
	struct stream *server = s->proxy->server;
	struct smtp_reply_limits limits = smtp_reply_limits_of(s);
	deadline_t until = deadline_in(RESET_MS);
	struct smtp_reply reply;
	enum smtp_reply_result result;

	s->proxy->doing = "resetting the server session";
	/* The client has its last reply and need not wait for this. */
	if (!s->client_gone)
		(void)!stream_shutdown_write(s->proxy->client, until);
	if (stream_write(server, SLICE("RSET\r\n"), until) != 0)
		return "it is closed";
	for (;;) {
		result = smtp_reply_parse(&s->parser, stream_peek(server), &limits, &reply);
		if (result != SMTP_REPLY_MORE)
			break;
		if (stream_fill(server, until) <= 0)
			return "it does not answer RSET";
	}
	if (result != SMTP_REPLY_OK || reply.code != 250 || reply.raw.len != stream_peek(server).len)
		return "its answer to RSET";
	stream_consume(server, reply.raw.len);
	return NULL;
}

/* Both said goodbye, or the client just left: anything else is a reason to look at both sides. */
static bool ended_well(const struct proxy *proxy)
{
	return (proxy->fault == FAULT_NONE || proxy->fault == FAULT_CLIENT) && proxy->reason != NULL &&
	       (strcmp(proxy->reason, "quit") == 0 || strcmp(proxy->reason, "client-closed") == 0);
}

co_waits void smtp_reuse_leave(struct smtp *s)
{
	const struct server_keep keep = keep_of(s);
	const char *why;
	bool well = ended_well(s->proxy);

	if (!s->config->reuse_server_sessions || s->proxy->server == NULL)
		return;
	why = well ? doubt(s) : "the session ended otherwise";
	if (why == NULL && (s->state & (SMTP_STATE_INITIAL | SMTP_STATE_EHLO)) == 0) {
		why = reset(s);
		well = why == NULL;	/* nobody knows what it would take for what */
	}
	if (why == NULL && proxy_keep_server(s->proxy, &keep) == 0) {
		proxy_log(s->proxy, LOG_SMTP_DEBUG, 6, "Server session left to the pool", F_INT("messages", s->reuse.messages));
		return;
	}
	proxy_log(s->proxy, LOG_SMTP_DEBUG, 6, "Server session not left to the pool",
		  F_TEXT("reason", why != NULL ? why : "the pool does not take it"));
	/* The client's QUIT was answered here: then the server is told, too, but nobody waits for it. */
	if (s->reuse.quit && well && !s->in_message && stream_peek(s->proxy->server).len == 0 &&
	    stream_write(s->proxy->server, GOODBYE, 0) == 0)
		(void)!stream_push(s->proxy->server);
}
