/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stricter than many servers on purpose: every address that two parsers could split in two ways
 * is an address that passes the relay check of one and is delivered by the other. Control and
 * 8-bit octets, empty labels, unknown address literals and unterminated quotes are refused.
 */
#include "proxy/smtp/address.h"

#include "base/addr.h"

const char *const smtp_address_flaw_texts[SMTP_ADDRESS_FLAW_COUNT] = {
	[SMTP_ADDRESS_OK] = "fine",
	[SMTP_ADDRESS_LOCAL_PART] = "Invalid local part in address",
	[SMTP_ADDRESS_NO_AT] = "Invalid address, no domain after the local part",
	[SMTP_ADDRESS_DOMAIN] = "Invalid domain in address",
	[SMTP_ADDRESS_NO_BRACKET] = "Path does not start with '<'",
	[SMTP_ADDRESS_ROUTE] = "Invalid source route in path",
	[SMTP_ADDRESS_EMPTY] = "Empty path",
	[SMTP_ADDRESS_BRACKETS] = "Angle brackets of the path do not match",
	[SMTP_ADDRESS_TOO_LONG] = "Address too long",
	[SMTP_ADDRESS_NO_MEMORY] = "No memory for the address",
};

/* atext of RFC 5322 (RFC 5321, 4.1.2: Atom = 1*atext). */
static bool is_atext(uint8_t c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c) || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool is_label_octet(uint8_t c)
{
	/* The underscore is no letter of host names but is common in HELO arguments. */
	return ascii_is_alpha(c) || ascii_is_digit(c) || c == '-' || c == '_';
}

/* Dot-string = Atom *("." Atom). Its length; 0: none, or a dot without an atom. */
static size_t dot_string_length(struct slice s)
{
	size_t n = 0, atom;

	for (;;) {
		for (atom = n; n < s.len && is_atext(s.ptr[n]); n++)
			;
		if (n == atom)
			return 0;
		if (n == s.len || s.ptr[n] != '.')
			return n;
		n++;
	}
}

/* Quoted-string = DQUOTE *(qtextSMTP / "\" %d32-126) DQUOTE. 0: not one, or not ended. */
static size_t quoted_string_length(struct slice s)
{
	for (size_t n = 1; n < s.len; n++) {
		if (s.ptr[n] == '"')
			return n + 1;
		if (s.ptr[n] == '\\')
			n++;
		if (n == s.len || s.ptr[n] < 0x20 || s.ptr[n] > 0x7e)
			return 0;
	}
	return 0;
}

static size_t local_part_length(struct slice s)
{
	if (s.len > 0 && s.ptr[0] == '"')
		return quoted_string_length(s);
	return dot_string_length(s);
}

/* address-literal = "[" ( IPv4 / "IPv6:" IPv6 ) "]". No other tag was ever registered. */
static size_t literal_length(struct slice s)
{
	size_t end = slice_index(slice_take(s, SMTP_DOMAIN_MAX), ']');
	struct slice inside;
	struct ip_addr ip;
	bool v6;

	if (end >= s.len || end == SMTP_DOMAIN_MAX)
		return 0;
	inside = slice_skip(slice_take(s, end), 1);
	v6 = slice_starts_with_nocase(inside, SLICE("IPv6:"));
	if (v6)
		inside = slice_skip(inside, 5);
	if (ip_parse(inside, &ip) < 0 || ip.family != (v6 ? AF_INET6 : AF_INET))
		return 0;
	return end + 1;
}

/* "#" 1*DIGIT: a host by its number, from RFC 821. */
static size_t number_length(struct slice s)
{
	size_t n = 1;

	while (n < s.len && ascii_is_digit(s.ptr[n]))
		n++;
	return n > 1 ? n : 0;
}

/* Domain = sub-domain *("." sub-domain). Labels are not empty, have 63 octets, no hyphen at the ends. */
static size_t name_length(struct slice s)
{
	size_t n = 0, label;

	for (;;) {
		for (label = n; n < s.len && is_label_octet(s.ptr[n]); n++)
			;
		if (n == label || n - label > 63 || s.ptr[label] == '-' || s.ptr[n - 1] == '-')
			return 0;
		if (n == s.len || s.ptr[n] != '.')
			return n <= SMTP_DOMAIN_MAX ? n : 0;
		n++;
	}
}

size_t smtp_domain_length(struct slice text)
{
	if (text.len == 0)
		return 0;
	if (text.ptr[0] == '[')
		return literal_length(text);
	if (text.ptr[0] == '#')
		return number_length(slice_take(text, SMTP_DOMAIN_MAX + 1)) <= SMTP_DOMAIN_MAX ? number_length(text) : 0;
	return name_length(slice_take(text, SMTP_DOMAIN_MAX + 1));
}

bool smtp_is_domain(struct slice text)
{
	return text.len > 0 && smtp_domain_length(text) == text.len;
}

/* A-d-l = At-domain *("," At-domain), then ":". Cuts it off *s. */
static bool skip_source_route(struct slice *s)
{
	for (;;) {
		size_t n;

		if (s->len == 0 || s->ptr[0] != '@')
			return false;
		*s = slice_skip(*s, 1);
		n = smtp_domain_length(*s);
		if (n == 0 || n >= s->len)
			return false;
		*s = slice_skip(*s, n);
		if (s->ptr[0] == ':') {
			*s = slice_skip(*s, 1);
			return true;
		}
		if (s->ptr[0] != ',')
			return false;
		*s = slice_skip(*s, 1);
	}
}

static enum smtp_address_flaw append(struct slice local, struct slice domain, struct arena *arena, struct smtp_path *out)
{
	uint8_t *text;

	if (!smtp_is_domain(domain))
		return SMTP_ADDRESS_DOMAIN;
	text = arena_alloc(arena, local.len + 1 + domain.len);
	if (text == NULL)
		return SMTP_ADDRESS_NO_MEMORY;
	memcpy(text, local.ptr, local.len);
	text[local.len] = '@';
	memcpy(text + local.len + 1, domain.ptr, domain.len);
	out->mailbox = slice_of(text, local.len + 1 + domain.len);
	out->local = slice_take(out->mailbox, local.len);
	out->domain = slice_skip(out->mailbox, local.len + 1);
	return SMTP_ADDRESS_OK;
}

/* Mailbox = Local-part "@" ( Domain / address-literal ); cuts it off *s. */
static enum smtp_address_flaw parse_mailbox(struct slice *s, unsigned flags, struct slice append_domain,
					    struct arena *arena, struct smtp_path *out)
{
	struct slice start = *s;
	size_t local = local_part_length(*s), domain;

	if (local == 0 || local > SMTP_LOCAL_PART_MAX)
		return local == 0 ? SMTP_ADDRESS_LOCAL_PART : SMTP_ADDRESS_TOO_LONG;
	out->local = slice_take(*s, local);
	*s = slice_skip(*s, local);
	if (s->len > 0 && s->ptr[0] == '@') {
		*s = slice_skip(*s, 1);
		domain = smtp_domain_length(*s);
		if (domain == 0)
			return SMTP_ADDRESS_DOMAIN;
		out->domain = slice_take(*s, domain);
		out->mailbox = slice_take(start, local + 1 + domain);
		*s = slice_skip(*s, domain);
		return SMTP_ADDRESS_OK;
	}
	if ((flags & SMTP_PATH_POSTMASTER) != 0 && slice_equal_nocase(out->local, SLICE("postmaster"))) {
		out->domain = slice_of(NULL, 0);
		out->mailbox = out->local;
		return SMTP_ADDRESS_OK;
	}
	return append_domain.len > 0 ? append(out->local, append_domain, arena, out) : SMTP_ADDRESS_NO_AT;
}

enum smtp_address_flaw smtp_path_parse(struct slice text, unsigned flags, struct slice append_domain,
				       struct arena *arena, struct smtp_path *out)
{
	struct smtp_path path = { 0 };
	enum smtp_address_flaw flaw;
	struct slice s = text, start;
	bool bracket;

	while (s.len > 0 && s.ptr[0] == ' ')
		s = slice_skip(s, 1);
	start = s;
	bracket = s.len > 0 && s.ptr[0] == '<';
	if (bracket)
		s = slice_skip(s, 1);
	else if ((flags & SMTP_PATH_BARE) == 0)
		return SMTP_ADDRESS_NO_BRACKET;
	if (bracket && s.len > 0 && s.ptr[0] == '>') {
		if ((flags & SMTP_PATH_MAY_BE_EMPTY) == 0)
			return SMTP_ADDRESS_EMPTY;
		path.rest = slice_skip(s, 1);
		*out = path;
		return SMTP_ADDRESS_OK;
	}
	if (s.len == 0)
		return SMTP_ADDRESS_EMPTY;
	if (s.ptr[0] == '@') {
		if (!skip_source_route(&s))
			return SMTP_ADDRESS_ROUTE;
		path.routed = true;
	}
	flaw = parse_mailbox(&s, flags, append_domain, arena, &path);
	if (flaw != SMTP_ADDRESS_OK)
		return flaw;
	if (bracket != (s.len > 0 && s.ptr[0] == '>'))
		return SMTP_ADDRESS_BRACKETS;
	if (bracket)
		s = slice_skip(s, 1);
	/* The limit counts what came and what goes out: neither side sees a path over it. */
	if ((size_t)(s.ptr - start.ptr) > SMTP_PATH_MAX || path.mailbox.len + 2 > SMTP_PATH_MAX)
		return SMTP_ADDRESS_TOO_LONG;
	path.rest = s;
	*out = path;
	return SMTP_ADDRESS_OK;
}
