/* SPDX-License-Identifier: Apache-2.0 */
/* What SMTP counts (policy/counter.h). */
#ifndef SALLYPORT_PROXY_SMTP_COUNTERS_H
#define SALLYPORT_PROXY_SMTP_COUNTERS_H

#include "policy/counter.h"

#include <assert.h>
#include <stdbool.h>

enum smtp_count {
	SMTP_COUNT_COMMANDS = COUNTERS_COMMON,
	SMTP_COUNT_COMMANDS_REFUSED,
	SMTP_COUNT_MESSAGES_ACCEPTED, SMTP_COUNT_MESSAGES_REFUSED, SMTP_COUNT_MESSAGES_TEMPFAILED,
	SMTP_COUNT_RECIPIENTS_ACCEPTED, SMTP_COUNT_RECIPIENTS_REFUSED,
	SMTP_COUNT_MESSAGE_OCTETS,
	SMTP_COUNT_AUTH_OK, SMTP_COUNT_AUTH_FAILED,
	SMTP_COUNT_END
};

extern const struct counter smtp_counters[SMTP_COUNT_END - COUNTERS_COMMON];

struct smtp;
struct smtp_pending;

static_assert(SMTP_COUNT_END <= COUNTERS_MAX, "room for all");

/* The command was refused here, by a rule of ours or the policy's. */
void smtp_count_refused(struct smtp *s, const struct smtp_pending *p);
/* The client gets this reply to the command. */
void smtp_count_told(struct smtp *s, const struct smtp_pending *p, unsigned code);
/* A message that the client began to send has its end; code: the last word on it. */
void smtp_count_message(struct smtp *s, unsigned code, bool accepted);

#endif
