/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stricter than many servers on purpose: every address that two parsers could split in two ways
 * is an address that passes the relay check of one and is delivered by the other. Control
 * octets, empty labels, unknown address literals and unterminated quotes are refused; characters
 * outside of ASCII where the transaction has them (RFC 6531), but none that software takes for a
 * piece of an address's syntax. What is quoted without need loses its quotes, so that one mailbox
 * has one spelling.
 */
#include "proxy/smtp/address.h"

#include "base/addr.h"
#include "base/utf8.h"
#include "proxy/smtp/line.h"

const char *const smtp_address_flaw_texts[SMTP_ADDRESS_FLAW_COUNT] = {
	[SMTP_ADDRESS_OK] = "fine",
	[SMTP_ADDRESS_LOCAL_PART] = "Invalid local part in address",
	[SMTP_ADDRESS_NO_AT] = "Invalid address, no domain after the local part",
	[SMTP_ADDRESS_DOMAIN] = "Invalid domain in address",
	[SMTP_ADDRESS_NO_BRACKET] = "Path does not start with '<'",
	[SMTP_ADDRESS_ROUTE] = "Invalid source route in path",
	[SMTP_ADDRESS_ROUTE_REFUSED] = "Source route in path",
	[SMTP_ADDRESS_EMPTY] = "Empty path",
	[SMTP_ADDRESS_BRACKETS] = "Angle brackets of the path do not match",
	[SMTP_ADDRESS_TOO_LONG] = "Address too long",
	[SMTP_ADDRESS_NO_MEMORY] = "No memory for the address",
};

/* What an octet may be a part of. */
enum {
	IN_ATOM = 1,	/* atext of RFC 5322 (RFC 5321, 4.1.2: Atom = 1*atext) */
	IN_LABEL = 2,	/* the underscore is no letter of host names but is common in HELO arguments */
	IN_BOTH = 3,
};

static const uint8_t octet_class[256] = {
	['0' ... '9'] = IN_BOTH, ['A' ... 'Z'] = IN_BOTH, ['a' ... 'z'] = IN_BOTH, ['-'] = IN_BOTH, ['_'] = IN_BOTH,
	['!'] = IN_ATOM, ['#' ... '\''] = IN_ATOM, ['*' ... '+'] = IN_ATOM, ['/'] = IN_ATOM, ['='] = IN_ATOM, ['?'] = IN_ATOM,
	['^'] = IN_ATOM, ['`'] = IN_ATOM, ['{' ... '~'] = IN_ATOM,
};

static bool is_atext(uint8_t c)
{
	return (octet_class[c] & IN_ATOM) != 0;
}

static bool is_label_octet(uint8_t c)
{
	return (octet_class[c] & IN_LABEL) != 0;
}

/*
 * UTF8-non-ascii (RFC 6531, 3.3) at the start of s: its octets; 0: none that an address may have.
 * Controls, separators and marks that turn what is shown around make two addresses look like one;
 * full stops, "@" and the like of other widths are what compatibility mappings make ASCII of.
 */
static size_t utf8_length(struct slice s)
{
	static const struct { uint32_t first, last; } never[] = {
		{ 0x80, 0xa0 }, { 0xad, 0xad }, { 0x61c, 0x61c }, { 0x1680, 0x1680 }, { 0x180e, 0x180e }, { 0x2000, 0x200b },
		{ 0x200e, 0x200f }, { 0x2024, 0x2026 }, { 0x2028, 0x202f }, { 0x205f, 0x206f }, { 0x3000, 0x3002 }, { 0xd800, 0xf8ff },
		{ 0xfdd0, 0xfdef }, { 0xfe50, 0xfe6f }, { 0xfeff, 0xfeff }, { 0xff01, 0xff5e }, { 0xff61, 0xff61 }, { 0xfff0, 0xffff },
		{ 0xe0000, 0x10ffff },
	};
	uint32_t c;
	size_t n = s.len > 0 && s.ptr[0] >= 0x80 ? utf8_decode(s, &c) : 0;

	for (size_t i = 0; n > 0 && i < ARRAY_LEN(never); i++)
		if (c >= never[i].first && c <= never[i].last)
			return 0;
	return n > 0 && (c & 0xfffe) != 0xfffe ? n : 0;
}

bool smtp_is_address_text(struct slice text)
{
	while (text.len > 0) {
		size_t n = text.ptr[0] < 0x80 ? 1 : utf8_length(text);

		if (n == 0)
			return false;
		text = slice_skip(text, n);
	}
	return true;
}

/* Octets of the atom at the start of s. */
static size_t atom_length(struct slice s, bool utf8)
{
	size_t n = 0, character;

	while (n < s.len) {
		if (is_atext(s.ptr[n]))
			n++;
		else if (utf8 && (character = utf8_length(slice_skip(s, n))) > 0)
			n += character;
		else
			break;
	}
	return n;
}

size_t smtp_atom_length(struct slice text)
{
	return atom_length(text, false);
}

/* Dot-string = Atom *("." Atom). Its length; 0: none, or a dot without an atom. */
static size_t dot_string_length(struct slice s, bool utf8)
{
	size_t n = 0;

	for (;;) {
		size_t atom = atom_length(slice_skip(s, n), utf8);

		if (atom == 0)
			return 0;
		n += atom;
		if (n == s.len || s.ptr[n] != '.')
			return n;
		n++;
	}
}

/* Quoted-string = DQUOTE *(qtextSMTP / "\" %d32-126) DQUOTE. 0: not one, or not ended. */
static size_t quoted_string_length(struct slice s, bool utf8)
{
	size_t n = 1, character;

	while (n < s.len) {
		if (s.ptr[n] == '"')
			return n + 1;
		if (utf8 && (character = utf8_length(slice_skip(s, n))) > 0) {
			n += character;
			continue;
		}
		if (s.ptr[n] == '\\')
			n++;
		if (n == s.len || s.ptr[n] < 0x20 || s.ptr[n] > 0x7e)
			return 0;
		n++;
	}
	return 0;
}

static size_t local_part_length(struct slice s, bool utf8)
{
	if (s.len > 0 && s.ptr[0] == '"')
		return quoted_string_length(s, utf8);
	return dot_string_length(s, utf8);
}

/*
 * The one spelling of a quoted string: no backslash before what needs none, no quotes around what
 * could stand without (RFC 5321, 4.1.2). Writes at most quoted.len octets; how many.
 */
static size_t unquote(struct slice quoted, bool utf8, uint8_t *out)
{
	struct slice inside = slice_take(slice_skip(quoted, 1), quoted.len - 2);
	size_t n = 0;

	for (size_t i = 0; i < inside.len; i++) {
		if (inside.ptr[i] == '\\')
			i++;
		out[n++] = inside.ptr[i];
	}
	if (n > 0 && dot_string_length(slice_of(out, n), utf8) == n)
		return n;
	n = 0;
	out[n++] = '"';
	for (size_t i = 0; i < inside.len; i++) {
		if (inside.ptr[i] == '\\')
			i++;
		if (inside.ptr[i] == '"' || inside.ptr[i] == '\\')
			out[n++] = '\\';
		out[n++] = inside.ptr[i];
	}
	out[n++] = '"';
	return n;
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

/*
 * Domain = sub-domain *("." sub-domain). Labels are not empty, have 63 octets, no hyphen at the
 * ends. A U-label (RFC 5890, 2.3.2.1) is as long as its ASCII form, which may have 63 octets
 * where it has more.
 */
static size_t name_length(struct slice s, bool utf8)
{
	size_t n = 0, label, character, longest;

	for (;;) {
		label = n;
		longest = 63;
		while (n < s.len) {
			if (is_label_octet(s.ptr[n])) {
				n++;
			} else if (utf8 && (character = utf8_length(slice_skip(s, n))) > 0) {
				n += character;
				longest = 4 * 63;
			} else {
				break;
			}
		}
		if (n == label || n - label > longest || s.ptr[label] == '-' || s.ptr[n - 1] == '-')
			return 0;
		if (n == s.len || s.ptr[n] != '.')
			return n <= SMTP_DOMAIN_MAX ? n : 0;
		n++;
	}
}

static size_t domain_length(struct slice text, bool utf8)
{
	if (text.len == 0)
		return 0;
	if (text.ptr[0] == '[')
		return literal_length(text);
	if (text.ptr[0] == '#')
		return number_length(slice_take(text, SMTP_DOMAIN_MAX + 1)) <= SMTP_DOMAIN_MAX ? number_length(text) : 0;
	return name_length(slice_take(text, SMTP_DOMAIN_MAX + 1), utf8);
}

size_t smtp_domain_length(struct slice text)
{
	return domain_length(text, false);
}

bool smtp_is_domain(struct slice text)
{
	return text.len > 0 && smtp_domain_length(text) == text.len;
}

/* A-d-l = At-domain *("," At-domain), then ":". Cuts it off *s. */
static bool skip_source_route(struct slice *s, bool utf8)
{
	for (;;) {
		size_t n;

		if (s->len == 0 || s->ptr[0] != '@')
			return false;
		*s = slice_skip(*s, 1);
		n = domain_length(*s, utf8);
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

/* local "@" domain, local in its one spelling. */
static enum smtp_address_flaw join(struct slice local, struct slice domain, bool utf8, struct arena *arena, struct smtp_path *out)
{
	uint8_t *text = arena_alloc(arena, local.len + 1 + domain.len);
	size_t n = local.len;

	if (text == NULL)
		return SMTP_ADDRESS_NO_MEMORY;
	if (local.ptr[0] == '"')
		n = unquote(local, utf8, text);
	else
		memcpy(text, local.ptr, n);
	out->local = slice_of(text, n);
	if (domain.len > 0) {
		text[n++] = '@';
		memcpy(text + n, domain.ptr, domain.len);
	}
	out->domain = slice_of(text + n, domain.len);
	out->mailbox = slice_of(text, n + domain.len);
	return SMTP_ADDRESS_OK;
}

static enum smtp_address_flaw finish_without_domain(unsigned flags, struct slice append_domain, struct arena *arena,
						    struct smtp_path *out)
{
	bool utf8 = (flags & SMTP_PATH_UTF8) != 0;
	struct smtp_path alone = *out;

	if (join(out->local, slice_of(NULL, 0), utf8, arena, &alone) != SMTP_ADDRESS_OK)
		return SMTP_ADDRESS_NO_MEMORY;
	if ((flags & SMTP_PATH_POSTMASTER) != 0 && slice_equal_nocase(alone.local, SLICE("postmaster"))) {
		*out = alone;
		return SMTP_ADDRESS_OK;
	}
	if (append_domain.len == 0)
		return SMTP_ADDRESS_NO_AT;
	return smtp_is_domain(append_domain) ? join(out->local, append_domain, utf8, arena, out) : SMTP_ADDRESS_DOMAIN;
}

/* Mailbox = Local-part "@" ( Domain / address-literal ); cuts it off *s. */
static enum smtp_address_flaw parse_mailbox(struct slice *s, unsigned flags, struct slice append_domain,
					    struct arena *arena, struct smtp_path *out)
{
	bool utf8 = (flags & SMTP_PATH_UTF8) != 0;
	struct slice start = *s;
	size_t local = local_part_length(*s, utf8), domain;

	if (local == 0 || local > SMTP_LOCAL_PART_MAX)
		return local == 0 ? SMTP_ADDRESS_LOCAL_PART : SMTP_ADDRESS_TOO_LONG;
	out->local = slice_take(*s, local);
	*s = slice_skip(*s, local);
	if (s->len == 0 || s->ptr[0] != '@')
		return finish_without_domain(flags, append_domain, arena, out);
	*s = slice_skip(*s, 1);
	domain = domain_length(*s, utf8);
	if (domain == 0)
		return SMTP_ADDRESS_DOMAIN;
	out->domain = slice_take(*s, domain);
	out->mailbox = slice_take(start, local + 1 + domain);
	*s = slice_skip(*s, domain);
	return out->local.ptr[0] == '"' ? join(out->local, out->domain, utf8, arena, out) : SMTP_ADDRESS_OK;
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
		if (!skip_source_route(&s, (flags & SMTP_PATH_UTF8) != 0))
			return SMTP_ADDRESS_ROUTE;
		if ((flags & SMTP_PATH_NO_ROUTE) != 0)
			return SMTP_ADDRESS_ROUTE_REFUSED;
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
	path.utf8 = smtp_has_8bit(path.mailbox);
	*out = path;
	return SMTP_ADDRESS_OK;
}
