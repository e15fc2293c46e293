/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/smtp/counters.h"
#include "proxy/smtp/smtp_priv.h"

#define ROW(id) [SMTP_COUNT_##id - COUNTERS_COMMON]

const struct counter smtp_counters[SMTP_COUNT_END - COUNTERS_COMMON] = {
	ROW(COMMANDS) = { "commands", "Commands that clients sent." },
	ROW(COMMANDS_REFUSED) = { "commands_refused", "Commands, and lines that were none, that were refused here: by the policy or as invalid." },
	ROW(MESSAGES_ACCEPTED) = { "messages_accepted", "Messages that a server took." },
	ROW(MESSAGES_REFUSED) = { "messages_refused", "Refusals for good (5xx) of a message: of MAIL, DATA, a chunk, or all of it, also by the policy when the server took it." },
	ROW(MESSAGES_TEMPFAILED) = { "messages_tempfailed", "The same for now (4xx), and messages that were cut off." },
	ROW(RECIPIENTS_ACCEPTED) = { "recipients_accepted", "Recipients that were accepted." },
	ROW(RECIPIENTS_REFUSED) = { "recipients_refused", "Recipients that were refused, here or by a server." },
	ROW(MESSAGE_OCTETS) = { "message_octets", "Octets of the messages that a server took, as it got them." },
	ROW(AUTH_OK) = { "auth_ok", "AUTH exchanges that succeeded." },
	ROW(AUTH_FAILED) = { "auth_failed", "AUTH exchanges that failed." },
};

static void count(struct smtp *s, enum smtp_count what)
{
	s->proxy->counters[what]++;
}

void smtp_count_refused(struct smtp *s, const struct smtp_pending *p)
{
	if (p->verb != &smtp_verbs[SMTP_GREETING] && p->verb != &smtp_verbs[SMTP_BODY] && p->verb != &smtp_verbs[SMTP_SASL])
		count(s, SMTP_COUNT_COMMANDS_REFUSED);
}

static void count_failure(struct smtp *s, unsigned code)
{
	count(s, code / 100 == 4 ? SMTP_COUNT_MESSAGES_TEMPFAILED : SMTP_COUNT_MESSAGES_REFUSED);
}

/* Of a message of which the server has nothing, so that there is nothing to account. */
static bool is_first_chunk_refused(const struct smtp *s, const struct smtp_pending *p)
{
	return p->verb == &smtp_verbs[SMTP_BDAT] && p->local && p->octets == 0 && !s->chunks_open;
}

/* A server that leaves loses the message, which is accounted then (smtp_account_lost), whatever its client was told. */
static bool is_refusal(const struct smtp_pending *data, unsigned code)
{
	return code >= 400 && (data->local || data->code != 421);
}

void smtp_count_told(struct smtp *s, const struct smtp_pending *p, unsigned code)
{
	bool fine = smtp_code_is_positive(code);

	if (p->local && code >= 400)
		smtp_count_refused(s, p);
	if (p->verb == &smtp_verbs[SMTP_RCPT])
		count(s, fine ? SMTP_COUNT_RECIPIENTS_ACCEPTED : SMTP_COUNT_RECIPIENTS_REFUSED);
	else if ((p->verb == &smtp_verbs[SMTP_MAIL] && !fine) || (p->verb == &smtp_verbs[SMTP_DATA] && is_refusal(p, code)) ||
		 is_first_chunk_refused(s, p))
		count_failure(s, code);
}

void smtp_count_message(struct smtp *s, unsigned code, bool accepted)
{
	if (!accepted) {
		count_failure(s, code);
		return;
	}
	count(s, SMTP_COUNT_MESSAGES_ACCEPTED);
	s->proxy->counters[SMTP_COUNT_MESSAGE_OCTETS] += s->body_octets;
}
