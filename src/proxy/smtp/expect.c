/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Does a reply fit what it answers? By the standard, and by what the proxy knows of the transaction on either
 * side, before any policy is asked.
 */
#include "proxy/smtp/smtp_priv.h"

static co_waits int violation(struct smtp *s, const struct smtp_pending *p, const struct smtp_reply *reply, const char *what,
			      const char *reason)
{
	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, what, F_OCTETS("request", p->name), F_INT("response", reply->code));
	return smtp_fail(s, FAULT_SERVER, reason, 0);
}

static co_waits int check_by_verb(struct smtp *s, struct smtp_pending *p, const struct smtp_reply *reply)
{
	if (!smtp_verb_takes(p->verb, reply->code))
		return violation(s, p, reply, "The reply does not fit the command", "reply-class");
	if (p->verb == &smtp_verbs[SMTP_BDAT] && s->state == SMTP_STATE_FAILED && smtp_code_is_positive(reply->code))
		return violation(s, p, reply, "The server takes a part of a message behind one that it refused", "chunk-after-refusal");
	if (smtp_is_auth(p))
		return smtp_auth_judge(s, p, reply);
	return p->verb == &smtp_verbs[SMTP_STARTTLS] ? smtp_starttls_judge(s, reply) : 0;
}

static void account_reply(struct smtp *s, const struct smtp_pending *p, const struct smtp_reply *reply)
{
	char digits[4];

	proxy_log(s->proxy, LOG_SMTP_RESPONSE, 7, "Response parsed",
		  F_OCTETS("response", smtp_code_text(reply->code, digits)),
		  F_OCTETS("param", reply->code == 334 ? SLICE("(not shown)") : reply->text));
	if (p->verb == &smtp_verbs[SMTP_MAIL])
		smtp_account_sender(s, p, reply);
	else if (p->verb == &smtp_verbs[SMTP_RCPT])
		smtp_account_recipient(s, p, reply);
}

/* To a command of ours, of which the client knows nothing. */
static co_waits int hear_silent(struct smtp *s, struct smtp_pending *p, const struct smtp_reply *reply)
{
	if (smtp_is_auth(p)) {
		if (reply->code == 421)
			return smtp_fail(s, FAULT_SERVER, "server-closing", 0);
		smtp_on_auth(s, p, reply->code);
		smtp_queue_pop(s);
		return 0;
	}
	if (!smtp_code_is_positive(reply->code))
		return smtp_fail(s, FAULT_SERVER, p->verb == &smtp_verbs[SMTP_RSET] ? "reset-refused" : "greeting-refused", 0);
	s->diverged = s->in_message = false;
	smtp_queue_pop(s);
	return smtp_reuse_send_held(s, reply);
}

static bool goes_on(const struct smtp_pending *p, unsigned code)
{
	return code == 354 || (p->verb == &smtp_verbs[SMTP_RCPT] && smtp_code_is_positive(code));
}

/* Both sides in the same transaction, or in none. 1: the client was told no. */
static co_waits int check_transaction(struct smtp *s, struct smtp_pending *p, const struct smtp_reply *reply)
{
	if (smtp_leaves_doubt(s, p, reply->code))
		return violation(s, p, reply, "The server does not end its transaction", "reset-refused");
	if (s->diverged && (smtp_code_is_positive(reply->code) || reply->code == 354)) {
		int err = smtp_answer_diverged(s, p, reply->code);

		if (err != 0)
			return err;
	}
	if (s->transaction != NULL || !goes_on(p, reply->code))
		return 0;
	proxy_drop_server(s->proxy);
	return violation(s, p, reply, "The server goes on with a transaction that it refused", "reply-class");
}

co_waits int smtp_expect(struct smtp *s, struct smtp_pending *p, const struct smtp_reply *reply)
{
	int err = check_by_verb(s, p, reply);

	if (err < 0)
		return err;
	account_reply(s, p, reply);
	if (p->silent) {
		err = hear_silent(s, p, reply);
		return err < 0 ? err : 1;
	}
	err = check_transaction(s, p, reply);
	if (err > 0)
		smtp_queue_pop(s);
	return err;
}
