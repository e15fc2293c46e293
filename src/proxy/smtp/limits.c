/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/smtp/limits.h"

#include "proxy/smtp/smtp_priv.h"

#include <errno.h>

#define MAX(member) offsetof(struct smtp_config, member)

/* Where its ceiling is, why the session ends, and what the client is told. */
static const struct {
	size_t max;
	const char *reason, *reply;
} limits[SMTP_LIMIT_COUNT] = {
	[SMTP_LIMIT_COMMANDS] = { MAX(max_commands), "too-many-commands",
				  "4.7.0 Too many commands, closing transmission channel" },
	[SMTP_LIMIT_IDLE_COMMANDS] = { MAX(max_idle_commands), "too-many-idle-commands",
				       "4.7.0 Too many commands without mail, closing transmission channel" },
	[SMTP_LIMIT_ERRORS] = { MAX(max_errors), "too-many-errors",
				"4.7.0 Too many errors, closing transmission channel" },
	[SMTP_LIMIT_MESSAGES] = { MAX(max_messages), "too-many-messages",
				  "4.7.0 Too many messages in one session, closing transmission channel" },
	[SMTP_LIMIT_RECIPIENTS] = { MAX(max_session_recipients), "too-many-session-recipients",
				    "4.7.0 Too many recipients in one session, closing transmission channel" },
};

static int64_t max_of(const struct smtp *s, enum smtp_limit limit)
{
	int64_t max;

	memcpy(&max, (const uint8_t *)s->config + limits[limit].max, sizeof(max));
	return max;
}

void smtp_usage_start(struct smtp *s)
{
	s->usage.session_due = deadline_in(s->config->max_session_time_ms);
}

void smtp_use(struct smtp *s, enum smtp_limit limit)
{
	if (s->usage.used[limit] < UINT32_MAX)
		s->usage.used[limit]++;
}

void smtp_use_reply(struct smtp *s, unsigned code)
{
	if (code >= 500)
		smtp_use(s, SMTP_LIMIT_ERRORS);
}

void smtp_use_message(struct smtp *s)
{
	s->usage.used[SMTP_LIMIT_ERRORS] = s->usage.used[SMTP_LIMIT_IDLE_COMMANDS] = 0;
}

bool smtp_is_used_up(const struct smtp *s, enum smtp_limit limit)
{
	return s->usage.used[limit] >= max_of(s, limit);
}

static int check(struct smtp *s, enum smtp_limit limit)
{
	int err;

	if (!smtp_is_used_up(s, limit))
		return 0;
	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 3, "The session used up what it may", F_TEXT("limit", limits[limit].reason),
		  F_INT("max", max_of(s, limit)));
	s->linger = true;
	err = smtp_queue_goodbye(s, 421, limits[limit].reply, FAULT_CLIENT, limits[limit].reason);
	return err < 0 ? err : 1;
}

int smtp_check_session_limits(struct smtp *s)
{
	int over = check(s, SMTP_LIMIT_ERRORS);

	return over != 0 ? over : check(s, SMTP_LIMIT_COMMANDS);
}

int smtp_check_verb_limits(struct smtp *s, const struct smtp_verb *verb)
{
	int over = 0;

	if (verb->idle) {
		over = check(s, SMTP_LIMIT_IDLE_COMMANDS);
		smtp_use(s, SMTP_LIMIT_IDLE_COMMANDS);
	} else if (verb == &smtp_verbs[SMTP_MAIL]) {
		over = check(s, SMTP_LIMIT_MESSAGES);
		if (over == 0)
			over = check(s, SMTP_LIMIT_RECIPIENTS);
	}
	return over;
}

deadline_t smtp_due_in(const struct smtp *s, int64_t ms)
{
	return deadline_min(deadline_in(ms), s->usage.session_due);
}

deadline_t smtp_client_due(const struct smtp *s)
{
	deadline_t due = deadline_min(s->client_due, s->usage.session_due);

	return s->usage.line_due != 0 ? deadline_min(due, s->usage.line_due) : due;
}

deadline_t smtp_reply_due(const struct smtp *s, const struct smtp_pending *p)
{
	const struct smtp_config *c = s->config;

	if (p->verb == &smtp_verbs[SMTP_GREETING])
		return smtp_due_in(s, c->timeout_greeting_ms);
	return smtp_due_in(s, smtp_is_final(p) ? c->timeout_final_ms : c->timeout_command_ms);
}

const char *smtp_due_reason(const struct smtp *s, bool for_client)
{
	if (s->usage.session_due <= co_now())
		return "session-too-long";
	if (for_client && s->usage.line_due != 0 && s->usage.line_due <= co_now() && co_now() < s->client_due)
		return "command-too-slow";
	return "timeout";
}

void smtp_rate_start(struct smtp *s)
{
	s->rate = (struct smtp_rate){ .octets = stream_octets_in(s->proxy->client) };
}

deadline_t smtp_rate_due(const struct smtp *s, deadline_t due)
{
	return deadline_min(due, co_now() + SMTP_RATE_WINDOW_MS - s->rate.waited_ms);
}

bool smtp_rate_is_fine(struct smtp *s, int64_t waited_ms)
{
	uint64_t wanted = (uint64_t)s->config->min_data_rate * (SMTP_RATE_WINDOW_MS / 1000);

	s->rate.waited_ms += waited_ms;
	if (s->rate.waited_ms < SMTP_RATE_WINDOW_MS)
		return true;
	if (stream_octets_in(s->proxy->client) - s->rate.octets < wanted)
		return false;
	smtp_rate_start(s);
	return true;
}
