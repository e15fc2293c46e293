/* SPDX-License-Identifier: Apache-2.0 */
/* What a session leaves in the log about each sender, recipient and message. */
#include "proxy/smtp/counters.h"
#include "proxy/smtp/smtp_priv.h"

void smtp_account_sender(struct smtp *s, const struct smtp_pending *p, const struct smtp_reply *reply)
{
	bool fine = smtp_code_is_positive(reply->code);

	proxy_log(s->proxy, fine ? LOG_SMTP_INFO : LOG_SMTP_ERROR, fine ? 4 : 3,
		  fine ? "Sender accepted by the server" : "Sender refused by the server", F_OCTETS("sender", p->mailbox),
		  F_INT("response", reply->code), F_OCTETS("response_param", reply->text));
}

void smtp_account_recipient(struct smtp *s, const struct smtp_pending *p, const struct smtp_reply *reply)
{
	bool fine = smtp_code_is_positive(reply->code);

	proxy_log(s->proxy, fine ? LOG_SMTP_INFO : LOG_SMTP_ERROR, fine ? 4 : 3,
		  fine ? "Recipient accepted by the server" : "Recipient refused by the server",
		  F_OCTETS("recipient", p->mailbox), F_INT("response", reply->code), F_OCTETS("response_param", reply->text));
}

static bool is_id_octet(uint8_t c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '_' || c == '.';
}

static struct slice word_behind(struct slice text, struct slice key)
{
	for (size_t i = 0; i + key.len <= text.len; i++) {
		struct slice word = slice_skip(text, i + key.len);
		size_t n = 0;

		if (ascii_lower(text.ptr[i]) != key.ptr[0] || !slice_starts_with_nocase(slice_skip(text, i), key))
			continue;
		while (n < word.len && n < 64 && is_id_octet(word.ptr[n]))
			n++;
		return slice_take(word, n);
	}
	return slice_of(NULL, 0);
}

/*
 * "2.0.0 Ok: queued as 4F1B2" (Postfix), "OK id=1a-b-c" (Exim), "2.0.0 30Ab Message accepted for
 * delivery" (sendmail, OpenSMTPD). Empty: it says none.
 */
struct slice smtp_queue_id(struct slice text)
{
	static const struct slice keys[] = { SLICE_INIT("queued as "), SLICE_INIT("id=") };
	struct slice id = { NULL, 0 }, rest;

	for (size_t i = 0; i < ARRAY_LEN(keys) && id.len == 0; i++)
		id = word_behind(text, keys[i]);
	if (id.len > 0)
		return id;
	rest = slice_starts_with(text, SLICE("2.0.0 ")) ? slice_skip(text, 6) : text;
	id = slice_take(rest, slice_index(rest, ' '));
	if (!slice_starts_with_nocase(slice_skip(rest, id.len), SLICE(" Message accepted")))
		id.len = 0;
	return id;
}

static void write_line(struct smtp *s, struct slice sender, struct slice recipients, uint64_t octets, unsigned code,
		       struct slice text, bool success)
{
	char digits[4];

	proxy_log(s->proxy, LOG_SMTP_ACCOUNTING, 4, "Accounting", F_OCTETS("sender", sender),
		  F_OCTETS("recipient", recipients), F_OCTETS("response", smtp_code_text(code, digits)),
		  F_OCTETS("response_param", text), F_TEXT("result", success ? "success" : "failure"),
		  F_INT("size", octets), F_OCTETS("queue_id", success ? smtp_queue_id(text) : slice_of(NULL, 0)));
}

void smtp_account_message(struct smtp *s, unsigned code, struct slice text, bool success)
{
	s->final_owed = s->chunks_open = false;
	s->accounted = true;
	smtp_count_message(s, code, success);
	smtp_record_write(s, success ? SMTP_RESULT_ACCEPTED : code == 421 ? SMTP_RESULT_ABORTED : SMTP_RESULT_REFUSED, code, text);
	write_line(s, s->sender, s->recipients, s->body_octets, code, text, success);
}

/* mail: a command that has no reply; NULL: that of the transaction. */
static void account_lost(struct smtp *s, const struct smtp_pending *mail)
{
	struct slice text = s->farewell.len > 0 ? s->farewell : SLICE("Server lost");

	if (mail == NULL) {
		smtp_account_message(s, 421, text, false);
		return;
	}
	smtp_count_message(s, 421, false);
	smtp_record_unanswered(s, mail, 421, text);
	write_line(s, mail->mailbox, slice_of(NULL, 0), 0, 421, text, false);
}

/* Did the client itself give up the message before? */
static bool gives_up(const struct smtp_pending *p)
{
	return p->verb->on_reply == smtp_on_rset || p->verb->on_reply == smtp_on_hello || p->verb->on_reply == smtp_on_quit;
}

void smtp_account_lost(struct smtp *s)
{
	const struct smtp_pending *mail = NULL;
	bool open = s->transaction != NULL && !s->accounted;

	for (const struct smtp_pending *p = s->head; p != NULL; p = p->next) {
		bool next = p->verb == &smtp_verbs[SMTP_MAIL];

		if (p->local)
			continue;
		if (open && (next || smtp_is_final(p)))
			account_lost(s, mail);
		open = next || (open && !smtp_is_final(p) && !gives_up(p));
		mail = next ? p : mail;
	}
	if (open)
		account_lost(s, mail);
}
