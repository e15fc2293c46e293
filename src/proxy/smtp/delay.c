/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making clients wait: the greeting that comes late, so that those who don't wait for it show
 * themselves, and the error replies that come late to those who make many. Nothing is held for
 * such a wait but the session; what the client sends meanwhile stays with the kernel.
 */
#include "proxy/smtp/smtp_priv.h"

#include <errno.h>

#define TARPIT_SLICE_MS 1000	/* between looks whether the session is to stop */

static int client_left(struct smtp *s, int err)
{
	s->client_gone = true;
	return smtp_end(s, FAULT_CLIENT, "client-closed", err);
}

/* Before the server hears of the client at all. */
co_waits int smtp_delay_greeting(struct smtp *s)
{
	struct stream *client = s->proxy->client;
	deadline_t until = co_now() + s->config->greeting_delay_ms;
	ssize_t n;

	if (s->config->greeting_delay_ms == 0)
		return 0;
	s->proxy->doing = "delaying the greeting";
	s->proxy->idle = true;
	if (s->config->permit_early_input)
		n = stream_wait_hangup(client, until);
	else
		n = stream_peek(client).len > 0 ? 1 : stream_fill(client, until);
	s->proxy->idle = false;
	if (n == -ETIMEDOUT || (n == 0 && s->config->permit_early_input))
		return 0;
	if (n == -ECANCELED)
		return (int)n;
	return n > 0 ? smtp_refuse_early_input(s) : client_left(s, (int)n);
}

/*
 * A client that hangs up need not be waited for; whether it did is found out by whoever reads
 * or writes next. A session that is told to stop looks for that in between: a cancel would end it
 * with replies owed.
 */
co_waits int smtp_tarpit(struct smtp *s, unsigned code)
{
	const char *doing = s->proxy->doing;
	deadline_t until = smtp_due_in(s, s->config->tarpit_delay_ms);
	int err = -ETIMEDOUT;

	if (code < 500 || s->config->tarpit_delay_ms == 0 ||
	    s->usage.used[SMTP_LIMIT_ERRORS] <= s->config->tarpit_after || proxy_should_stop(s->proxy))
		return 0;
	s->proxy->doing = "delaying an error reply";
	while (err == -ETIMEDOUT && co_now() < until && !proxy_should_stop(s->proxy)) {
		deadline_t slice = co_now() + TARPIT_SLICE_MS;

		err = stream_wait_hangup(s->proxy->client, slice < until ? slice : until);
	}
	s->proxy->doing = doing;
	return err == -ETIMEDOUT ? 0 : err;
}
