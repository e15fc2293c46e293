/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one session may use up: commands, errors, messages, recipients, time, and how slowly its
 * client may send. The ceilings stand in one table (limits.c), each with the attribute that moves
 * it. None of this costs a wait or a timer of its own: times are folded into the deadline of the
 * wait that is made anyway.
 */
#ifndef SALLYPORT_PROXY_SMTP_LIMITS_H
#define SALLYPORT_PROXY_SMTP_LIMITS_H

#include "base/attributes.h"
#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct smtp;
struct smtp_pending;
struct smtp_verb;

enum smtp_limit {
	SMTP_LIMIT_COMMANDS,
	SMTP_LIMIT_IDLE_COMMANDS,	/* in a row, with no message accepted between them */
	SMTP_LIMIT_ERRORS,		/* since the last message that was accepted */
	SMTP_LIMIT_MESSAGES,
	SMTP_LIMIT_RECIPIENTS,		/* of all messages together */
	SMTP_LIMIT_COUNT
};

struct smtp_usage {
	uint32_t used[SMTP_LIMIT_COUNT];
	deadline_t session_due;		/* the whole session */
	deadline_t line_due;		/* the command line whose start is there; 0: none is */
};

/* A rate is judged over this much time spent waiting for the client. */
#define SMTP_RATE_WINDOW_MS 300000

struct smtp_rate {
	int64_t waited_ms;		/* in this window */
	uint64_t octets;		/* that the client had sent when it began */
};

void smtp_usage_start(struct smtp *s);
/* One more of what is limited. */
void smtp_use(struct smtp *s, enum smtp_limit limit);
/* The client is told this about a command: permanent refusals are its errors. */
void smtp_use_reply(struct smtp *s, unsigned code);
/* A message was accepted: whoever sends mail may make mistakes in between. */
void smtp_use_message(struct smtp *s);
bool smtp_is_used_up(const struct smtp *s, enum smtp_limit limit);

/*
 * A whole command line is there: may the session still take one? 0; 1: no, and the goodbye that
 * says why is queued; -ENOMEM.
 */
int smtp_check_session_limits(struct smtp *s) MUST_CHECK;
int smtp_check_verb_limits(struct smtp *s, const struct smtp_verb *verb) MUST_CHECK;

/* Deadlines, none later than the end of the session's time. */
deadline_t smtp_due_in(const struct smtp *s, int64_t ms);
deadline_t smtp_client_due(const struct smtp *s);	/* of a wait for the next command */
deadline_t smtp_reply_due(const struct smtp *s, const struct smtp_pending *p);	/* of the server's reply */
/* Why a wait that timed out did: "timeout", or which limit it was. */
const char *smtp_due_reason(const struct smtp *s, bool for_client);

/*
 * The rate of a message's octets, from its start. Of a wait for them: a deadline not later than
 * due, and how long it took. false: the client is too slow.
 */
void smtp_rate_start(struct smtp *s);
deadline_t smtp_rate_due(const struct smtp *s, deadline_t due);
bool smtp_rate_is_fine(struct smtp *s, int64_t waited_ms);

#endif
