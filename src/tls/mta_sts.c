/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/mta_sts.h"

#include "base/utf8.h"

#include <errno.h>

#define NAME_MAX_OCTETS 32u		/* of a field */
#define HOST_MAX 253u
#define LABEL_MAX 63u
#define AGE_DIGITS_MAX 10u

const char *const mta_sts_mode_names[MTA_STS_MODES] = {
	[MTA_STS_NONE] = "none", [MTA_STS_TESTING] = "testing", [MTA_STS_ENFORCE] = "enforce",
};

struct field {
	struct slice name, value;
};

static bool is_alnum(uint8_t c)
{
	return ascii_is_alpha(c) || ascii_is_digit(c);
}

static bool is_wsp(uint8_t c)
{
	return c == ' ' || c == '\t';
}

static struct slice skip_wsp(struct slice s)
{
	while (s.len > 0 && is_wsp(s.ptr[0]))
		s = slice_skip(s, 1);
	return s;
}

static struct slice trim_wsp(struct slice s)
{
	while (s.len > 0 && is_wsp(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

/* (ALPHA / DIGIT) *31(ALPHA / DIGIT / "_" / "-" / ".") */
static bool is_field_name(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_alnum(s.ptr[i]) && (i == 0 || (s.ptr[i] != '_' && s.ptr[i] != '-' && s.ptr[i] != '.')))
			return false;
	return s.len > 0 && s.len <= NAME_MAX_OCTETS;
}

/* Cuts "name" and "value" apart at the mark. */
static bool split(struct slice s, uint8_t mark, struct field *out)
{
	size_t at = slice_index(s, mark);

	out->name = slice_take(s, at);
	out->value = slice_skip(s, at + 1);
	return at < s.len && is_field_name(out->name) && out->value.len > 0;
}

/* ---- the record: sts-version 1*(*WSP ";" *WSP sts-field) [*WSP ";"] ---- */

/* 1*(%x21-3A / %x3C / %x3E-7E) */
static bool is_record_value(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] <= ' ' || s.ptr[i] > '~' || s.ptr[i] == '=' || s.ptr[i] == ';')
			return false;
	return true;
}

static bool is_id(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_alnum(s.ptr[i]))
			return false;
	return s.len > 0 && s.len <= MTA_STS_ID_MAX;
}

int mta_sts_record_parse(struct slice txt, struct slice *id)
{
	static const struct slice version = SLICE_INIT("v=STSv1;");
	struct slice rest = slice_skip(txt, version.len), found = { NULL, 0 };

	if (!slice_starts_with(txt, version))
		return -ENOENT;
	while (skip_wsp(rest).len > 0) {
		size_t end = slice_index(rest, ';');
		struct slice text = skip_wsp(slice_take(rest, end));
		struct field f;

		text = end < rest.len ? trim_wsp(text) : text;
		rest = slice_skip(rest, end + 1);
		if (!split(text, '=', &f) || !is_record_value(f.value))
			return -EBADMSG;
		if (!slice_is(f.name, "id"))
			continue;
		if (!is_id(f.value))
			return -EBADMSG;
		if (found.len == 0)
			found = f.value;
	}
	if (found.len == 0)
		return -EBADMSG;
	*id = found;
	return 0;
}

/* ---- the policy: fields, one a line ---- */

/* Printable, with spaces only (%x20) between; as UTF-8. */
static bool is_policy_value(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < ' ' || s.ptr[i] == 0x7f)
			return false;
	return utf8_is_valid(s);
}

/* Cuts the next line off *rest, ended by LF, CRLF, or nothing. */
static bool next_field(struct slice *rest, struct field *out)
{
	size_t end = slice_index(*rest, '\n');
	struct slice line = slice_take(*rest, end);

	if (end < rest->len && line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	*rest = slice_skip(*rest, end + 1);
	if (!split(trim_wsp(line), ':', out))
		return false;
	out->value = skip_wsp(out->value);
	return out->value.len > 0 && is_policy_value(out->value);
}

/* Labels of letters, digits and inner hyphens (RFC 5321, Domain). */
static bool is_domain(struct slice s)
{
	size_t label = 0;

	for (size_t i = 0; i < s.len; i++) {
		bool inner = label > 0 && i + 1 < s.len && s.ptr[i + 1] != '.';

		if (s.ptr[i] == '.' && label > 0 && i + 1 < s.len)
			label = 0;
		else if (label++ == LABEL_MAX || !(is_alnum(s.ptr[i]) || (s.ptr[i] == '-' && inner)))
			return false;
	}
	return s.len > 0 && s.len <= HOST_MAX;
}

/* ["*."] Domain */
static bool is_pattern(struct slice s)
{
	return is_domain(slice_starts_with(s, SLICE("*.")) ? slice_skip(s, 2) : s);
}

enum { SEEN_VERSION = 1, SEEN_MODE = 2, SEEN_AGE = 4, SEEN_ALL = 7 };

static const char *take_version(struct mta_sts *p, struct slice value)
{
	return slice_is(value, "STSv1") ? NULL : "the version is not STSv1";
}

static const char *take_mode(struct mta_sts *p, struct slice value)
{
	for (size_t i = 0; i < MTA_STS_MODES; i++)
		if (slice_is(value, mta_sts_mode_names[i])) {
			p->mode = (enum mta_sts_mode)i;
			return NULL;
		}
	return "the mode is none of enforce, testing, none";
}

static const char *take_age(struct mta_sts *p, struct slice value)
{
	uint64_t age;

	if (value.len > AGE_DIGITS_MAX || slice_parse_u64(value, UINT64_MAX, &age) != 0)
		return "max_age is no number of seconds";
	p->max_age_s = age < MTA_STS_AGE_MAX_S ? (uint32_t)age : MTA_STS_AGE_MAX_S;
	return NULL;
}

/* NULL, or what is wrong. Of fields that are there once the first counts, and what is in others does not matter. */
static const char *take(struct mta_sts *p, const struct field *f, unsigned *seen)
{
	static const struct {
		const char *name;
		unsigned bit;
		const char *(*take)(struct mta_sts *p, struct slice value);
	} fields[] = {
		{ "version", SEEN_VERSION, take_version }, { "mode", SEEN_MODE, take_mode }, { "max_age", SEEN_AGE, take_age },
	};

	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		if (slice_is(f->name, fields[i].name)) {
			bool again = (*seen & fields[i].bit) != 0;

			*seen |= fields[i].bit;
			return again ? NULL : fields[i].take(p, f->value);
		}
	if (!slice_is(f->name, "mx"))
		return NULL;
	if (!is_pattern(f->value))
		return "an mx is neither a host nor *. and a domain";
	return p->n_mx++ < MTA_STS_MX_MAX ? NULL : "there are too many mx";
}

static const char *flaw_of(struct mta_sts *p)
{
	struct slice rest = p->octets;
	unsigned seen = 0;

	do {
		struct field f;
		const char *flaw = next_field(&rest, &f) ? take(p, &f, &seen) : "a line is no field: name: value";

		if (flaw != NULL)
			return flaw;
	} while (rest.len > 0);
	if (seen != SEEN_ALL)
		return "version, mode or max_age is missing";
	return p->n_mx == 0 && p->mode != MTA_STS_NONE ? "there is no mx" : NULL;
}

int mta_sts_parse(struct slice octets, struct mta_sts *out, const char **why)
{
	struct mta_sts p = { .octets = octets };

	if (octets.len > MTA_STS_OCTETS_MAX) {
		*why = "it is too large";
		return -E2BIG;
	}
	*why = flaw_of(&p);
	if (*why != NULL)
		return -EBADMSG;
	*out = p;
	return 0;
}

static bool next_mx(struct slice *rest, struct slice *pattern)
{
	struct field f;

	while (rest->len > 0)
		if (next_field(rest, &f) && slice_is(f.name, "mx")) {
			*pattern = f.value;
			return true;
		}
	return false;
}

/* RFC 8461, 4.1: the wildcard stands for one whole label, the left-most. */
static bool fits(struct slice pattern, struct slice host)
{
	size_t label = slice_index(host, '.');

	if (!slice_starts_with(pattern, SLICE("*.")))
		return slice_equal_nocase(pattern, host);
	return label > 0 && label < host.len && slice_equal_nocase(slice_skip(pattern, 2), slice_skip(host, label + 1));
}

bool mta_sts_lists(const struct mta_sts *policy, struct slice host)
{
	struct slice rest = policy->octets, pattern;

	if (host.len > 0 && host.ptr[host.len - 1] == '.')
		host.len--;
	while (next_mx(&rest, &pattern))
		if (fits(pattern, host))
			return true;
	return false;
}

void mta_sts_write(const struct mta_sts *policy, struct buffer *out)
{
	struct slice rest = policy->octets, pattern;

	buffer_printf(out, "version: STSv1\nmode: %s\nmax_age: %u\n", mta_sts_mode_names[policy->mode], policy->max_age_s);
	while (next_mx(&rest, &pattern))
		buffer_printf(out, "mx: %.*s\n", SLICE_ARG(pattern));
}
