/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Greeting, EHLO and HELO: what the client gets to know of the server. Of its extensions those
 * that are permitted and policed, cut to the proxy's own limits; of its name what the policy
 * leaves of it.
 */
#include "proxy/smtp/smtp_priv.h"
#include "proxy/smtp/xclient.h"

#include <assert.h>
#include <errno.h>

static_assert(SMTP_HELO_MAX >= SMTP_DOMAIN_MAX, "room for what smtp_parse_helo accepts");

static struct slice protocol_after(const struct smtp_verb *verb)
{
	return verb == &smtp_verbs[SMTP_EHLO] ? SLICE("ESMTP") : SLICE("SMTP");
}

void smtp_hello_show(struct smtp *s, const struct smtp_verb *verb)
{
	if (verb->on_reply != smtp_on_hello)
		return;
	s->helo_string = s->hello_said;
	s->protocol = protocol_after(verb);
}

void smtp_hello_hide(struct smtp *s)
{
	s->helo_string = s->hello.name;
	s->protocol = s->hello.protocol;
}

void smtp_hello_accept(struct smtp *s, const struct smtp_verb *verb)
{
	memcpy(s->hello.octets, s->hello_said.ptr, s->hello_said.len);
	s->hello.name = slice_of(s->hello.octets, s->hello_said.len);
	s->hello.protocol = protocol_after(verb);
	smtp_hello_hide(s);
}

void smtp_hello_forget(struct smtp *s)
{
	s->hello.name = s->hello.protocol = slice_of(NULL, 0);
	smtp_hello_hide(s);
}

void smtp_forget_offers(struct smtp *s)
{
	s->active_extensions = 0;
	smtp_auth_forget_offer(s);
	s->pipelining = false;
}

void smtp_note_extensions(struct smtp *s, const struct smtp_reply *reply)
{
	struct smtp_reply_limits limits = smtp_reply_limits_of(s);
	char buf[SMTP_KEYWORD_MAX];
	struct slice line;
	unsigned bits = 0;
	size_t pos = 0;
	bool last, first = true;

	while (smtp_reply_next_line(reply, &limits, &pos, &line, &last)) {
		const struct smtp_extension *extension = first ? NULL : smtp_extension_named(smtp_extension_keyword(line, buf));

		bits |= extension != NULL ? extension->bit : 0;
		first = false;
	}
	s->server_extensions = bits;
	s->pipelining = (bits & SMTP_EXT_PIPELINING) != 0;
}

bool smtp_offer(struct smtp *s, struct slice line, char buf[SMTP_OFFER_MAX], struct slice *out)
{
	const struct smtp_own_limits own = { (uint64_t)s->config->max_message_size, (uint64_t)s->config->max_recipients };
	char keyword_buf[SMTP_KEYWORD_MAX];
	struct slice keyword = smtp_extension_keyword(line, keyword_buf);
	const struct smtp_extension *extension = smtp_extension_named(keyword);

	if (!smtp_extension_permitted(s, keyword))
		return false;
	if (slice_is(keyword, "STARTTLS") && !smtp_starttls_forwards(s))
		return false;
	/* BINARYMIME is nothing without BDAT. */
	if (slice_is(keyword, "BINARYMIME") &&
	    ((s->server_extensions & SMTP_EXT_CHUNKING) == 0 || !smtp_extension_permitted(s, SLICE("CHUNKING"))))
		return false;
	*out = line;
	if (slice_is(keyword, "AUTH") && !smtp_auth_offer(s, line, buf, out))
		return false;
	if (extension != NULL)
		s->active_extensions |= extension->bit;
	if (extension != NULL && extension->offer != NULL)
		*out = extension->offer(&own, line, slice_trim_spaces(slice_skip(line, keyword.len)), buf);
	return true;
}

bool smtp_own_offer(struct smtp *s, unsigned *n, struct slice *line)
{
	const struct {
		bool is_offered;
		struct slice line;
	} own[] = { { s->may_announce, SLICE(SMTP_XCLIENT_OFFER) }, { smtp_starttls_is_offered(s), SLICE("STARTTLS") } };

	while (*n < ARRAY_LEN(own)) {
		*line = own[*n].line;
		if (own[(*n)++].is_offered)
			return true;
	}
	return false;
}

bool smtp_banner(const struct smtp *s, const struct smtp_pending *p, unsigned code, struct slice *text)
{
	struct slice banner = s->config->banner;
	bool greeting = p->verb == &smtp_verbs[SMTP_GREETING];
	bool hello = p->verb == &smtp_verbs[SMTP_HELO] || p->verb == &smtp_verbs[SMTP_EHLO];

	if (banner.len == 0 || !(greeting || (hello && smtp_code_is_positive(code))))
		return false;
	/* Both start with the host's name (RFC 5321, 4.2); a refusal of the server's tells no more. */
	*text = greeting && smtp_code_is_positive(code) ? banner : slice_take(banner, slice_index(banner, ' '));
	return true;
}

/* A policy that wants to see HELO, or refuses it, does not get one that no client said. */
static bool may_fall_back(const struct smtp *s, const struct smtp_pending *p, unsigned code)
{
	const struct table_entry *entry;

	if (p->verb != &smtp_verbs[SMTP_EHLO] || (code != 500 && code != 502 && code != 504))
		return false;
	entry = table_find(proxy_table(s->proxy, &smtp_tables[0]), SLICE("HELO"), SLICE(""));
	return entry != NULL && entry->action == SMTP_REQ_ACCEPT;
}

co_waits int smtp_fall_back_to_helo(struct smtp *s, struct smtp_pending *p, const struct smtp_reply *reply)
{
	struct slice pieces[] = { SLICE("HELO "), p->param, SLICE("\r\n") };
	int err = 0;

	if (!may_fall_back(s, p, reply->code))
		return 0;
	/* What is behind the refusal can't be the reply to a command that was not sent. */
	if (stream_peek(s->proxy->server).len > reply->raw.len)
		return smtp_fail(s, FAULT_SERVER, "unexpected-reply", 0);
	proxy_log(s->proxy, LOG_SMTP_DEBUG, 6, "The server does not know EHLO, saying HELO", F_INT("response", reply->code));
	p->verb = &smtp_verbs[SMTP_HELO];
	p->name = slice_cstr(p->verb->name);
	p->fell_back = true;
	s->server_due = smtp_due(s);
	for (size_t i = 0; err == 0 && i < ARRAY_LEN(pieces); i++)
		err = stream_write(s->proxy->server, pieces[i], smtp_due(s));
	if (err == 0)
		return 1;
	return err == -ECANCELED ? err : smtp_fail(s, FAULT_SERVER, "server-closed", err);
}
