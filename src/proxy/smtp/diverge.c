/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the policy refuses what the server accepted, the two sides would be in different
 * transactions. Before the go-ahead for a message the server is reset; after it, its connection
 * is closed without the final dot.
 */
#include "proxy/smtp/smtp_priv.h"

#include <errno.h>

/* The server took what the client was told it did not take. */
static void diverge(struct smtp *s)
{
	s->diverged = true;
	s->state = SMTP_STATE_EHLO;
	s->reset_by_us = true;
	smtp_end_transaction(s);
}

/*
 * The server did what the client was told it did not. A sender or recipient it must forget; where
 * it has dropped its transaction the client's is over, too.
 */
void smtp_forget_transaction(struct smtp *s, const struct smtp_pending *p)
{
	bool hello = p->verb->on_reply == smtp_on_hello, reset = hello || p->verb == &smtp_verbs[SMTP_RSET];

	if (p->verb == &smtp_verbs[SMTP_MAIL] || p->verb == &smtp_verbs[SMTP_RCPT] ||
	    (p->verb == &smtp_verbs[SMTP_BDAT] && !p->chunk_last)) {
		diverge(s);
	} else if (reset && s->state != SMTP_STATE_INITIAL) {
		s->state = SMTP_STATE_EHLO;
		s->reset_by_us = true;
		smtp_end_transaction(s);
		/* Its extensions are other ones now, or none: the client, who was refused, knows only of those before. */
		if (hello)
			smtp_forget_offers(s);
	}
}

/*
 * There is but one reply to RSET, 250 (RFC 5321, 4.1.1.5). A server that says anything else may have kept its
 * transaction or not, and what the client sent behind the RSET was judged as if it had not: its octets could
 * become a part of the message before. Where there was nothing to forget, nothing is in doubt.
 */
bool smtp_leaves_doubt(const struct smtp *s, const struct smtp_pending *p, unsigned code)
{
	bool open = s->diverged || (s->state & (SMTP_STATE_INITIAL | SMTP_STATE_EHLO)) == 0;

	return p->verb == &smtp_verbs[SMTP_RSET] && !smtp_code_is_positive(code) && code != 421 && open;
}

/* Once no reply is owed: make the server forget. */
co_waits int smtp_reset_server(struct smtp *s)
{
	struct smtp_pending *p = smtp_queue_add(s, &smtp_verbs[SMTP_RSET]);
	int err;

	if (p == NULL)
		return -ENOMEM;
	p->silent = true;
	s->blocked = true;
	err = stream_write(s->proxy->server, SLICE("RSET\r\n"), smtp_due(s));
	return err < 0 && err != -ECANCELED ? smtp_fail(s, FAULT_SERVER, "server-closed", err) : err;
}

/* Replies of a group whose transaction the policy ended in the middle: what the server accepts
 * now it must forget, so the client is told no. */
co_waits int smtp_answer_diverged(struct smtp *s, struct smtp_pending *p, unsigned code)
{
	int err;

	if (code == 354) {
		proxy_drop_server(s->proxy);
		return smtp_fail(s, FAULT_POLICY, "diverged", 0);
	}
	if (p->verb == &smtp_verbs[SMTP_RSET]) {
		s->diverged = false;
		return 0;
	}
	if (p->verb != &smtp_verbs[SMTP_RCPT] && p->verb != &smtp_verbs[SMTP_MAIL] && p->verb != &smtp_verbs[SMTP_BDAT])
		return 0;
	smtp_record_told(s, p, 451, SLICE(SMTP_RESET_TEXT));
	err = smtp_write_reply(s, 451, SLICE(SMTP_RESET_TEXT));
	return err < 0 ? err : 1;
}
