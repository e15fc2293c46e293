/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/smtp/param.h"

#include "base/utf8.h"
#include "proxy/smtp/command.h"
#include "proxy/smtp/extension.h"

#include <errno.h>
#include <stdio.h>

/* A value under way, and what is known so far of the other parameters. */
struct value {
	const struct smtp_syntax *syntax;
	struct arena *arena;
	struct smtp_mail_options *options;
	struct slice in;
	struct slice out;		/* canonical */
};

/* 0; -EBADMSG; -ENOMEM */
typedef int (*value_fn)(struct value *v);

static int canonical(struct value *v, struct slice text)
{
	v->out = text;
	return 0;
}

static int copy_upper(struct value *v)
{
	uint8_t *text = arena_alloc(v->arena, v->in.len);

	if (text == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < v->in.len; i++)
		text[i] = ascii_upper(v->in.ptr[i]);
	return canonical(v, slice_of(text, v->in.len));
}

/* A number without leading zeros, between what stands before and behind it. */
static int canonical_number(struct value *v, const char *before, uint64_t number, const char *behind)
{
	char text[48];
	int n = snprintf(text, sizeof(text), "%s%llu%s", before, (unsigned long long)number, behind);

	v->out = arena_copy(v->arena, slice_of(text, (size_t)n));
	return v->out.ptr == NULL ? -ENOMEM : 0;
}

/* size-value = 1*20DIGIT (RFC 1870, 6) */
static int parse_size(struct value *v)
{
	if (slice_parse_u64(v->in, UINT64_MAX, &v->options->size) < 0)
		return -EBADMSG;
	v->options->has_size = true;
	return canonical_number(v, "", v->options->size, "");
}

/* body-value = "7BIT" / "8BITMIME" (RFC 6152) / "BINARYMIME" (RFC 3030), each with its extension. */
static int parse_body(struct value *v)
{
	static const struct { const char *name; unsigned extension; enum smtp_body_type type; } types[] = {
		{ "7BIT", SMTP_EXT_8BITMIME, SMTP_TYPE_7BIT },
		{ "8BITMIME", SMTP_EXT_8BITMIME, SMTP_TYPE_8BITMIME },
		{ "BINARYMIME", SMTP_EXT_BINARYMIME, SMTP_TYPE_BINARYMIME },
	};

	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		if (!slice_equal_nocase(v->in, slice_cstr(types[i].name)))
			continue;
		if ((v->syntax->active_extensions & types[i].extension) == 0)
			return -EBADMSG;
		v->options->body = types[i].type;
		return canonical(v, slice_cstr(types[i].name));
	}
	return -EBADMSG;
}

static int parse_smtputf8(struct value *v)
{
	v->options->utf8 = true;
	return canonical(v, slice_of(NULL, 0));
}

static int hex_digit(uint8_t c)
{
	return ascii_is_digit(c) ? c - '0' : ascii_upper(c) >= 'A' && ascii_upper(c) <= 'F' ? ascii_upper(c) - 'A' + 10 : -1;
}

/*
 * xtext = *( xchar / hexchar ) (RFC 3461, 4); what it encodes must be printable: it ends up in
 * headers of reports. utf8: characters may also stand as they are (RFC 6533, 3).
 */
static int parse_xtext(struct value *v, struct slice in, bool utf8)
{
	uint8_t *out;
	uint32_t c;

	if (in.len == 0)
		return -EBADMSG;
	out = arena_alloc(v->arena, in.len);
	if (out == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < in.len; i++) {
		int high, low;

		out[i] = in.ptr[i];
		if (in.ptr[i] >= 0x80 && utf8) {
			size_t n = utf8_decode(slice_skip(in, i), &c);

			if (n == 0 || c < 0xa0)
				return -EBADMSG;
			memcpy(out + i, in.ptr + i, n);
			i += n - 1;
		} else if (in.ptr[i] == '+') {
			if (in.len - i < 3)
				return -EBADMSG;
			high = hex_digit(in.ptr[i + 1]);
			low = hex_digit(in.ptr[i + 2]);
			if (high < 0 || low < 0 || high * 16 + low < 0x20 || high * 16 + low > 0x7e)
				return -EBADMSG;
			out[i + 1] = ascii_upper(in.ptr[i + 1]);
			out[i + 2] = ascii_upper(in.ptr[i + 2]);
			i += 2;
		} else if (in.ptr[i] < 0x21 || in.ptr[i] > 0x7e || in.ptr[i] == '=') {
			return -EBADMSG;
		}
	}
	return canonical(v, slice_of(out, in.len));
}

/*
 * AUTH=<> or an xtext (RFC 4954, 5). Who submitted a message is believed of those who showed who
 * they are; what others say of it is dropped.
 */
static int parse_auth(struct value *v)
{
	int err = slice_is(v->in, "<>") ? canonical(v, v->in) : parse_xtext(v, v->in, false);

	if (err == 0 && !v->syntax->client_authenticated)
		return canonical(v, SLICE("<>"));
	return err;
}

/* ret-value = "FULL" / "HDRS" (RFC 3461, 4.3) */
static int parse_ret(struct value *v)
{
	if (!slice_equal_nocase(v->in, SLICE("FULL")) && !slice_equal_nocase(v->in, SLICE("HDRS")))
		return -EBADMSG;
	return copy_upper(v);
}

static int parse_envid(struct value *v)
{
	return v->in.len > SMTP_ENVID_MAX ? -EBADMSG : parse_xtext(v, v->in, false);
}

/* notify-esmtp-value = "NEVER" / 1#( "SUCCESS" / "FAILURE" / "DELAY" ) (RFC 3461, 4.1) */
static int parse_notify(struct value *v)
{
	static const char *const names[] = { "SUCCESS", "FAILURE", "DELAY" };
	static const char *const texts[] = {
		NULL, "SUCCESS", "FAILURE", "SUCCESS,FAILURE", "DELAY", "SUCCESS,DELAY", "FAILURE,DELAY", "SUCCESS,FAILURE,DELAY",
	};
	struct slice rest = v->in;
	unsigned set = 0;

	if (slice_equal_nocase(rest, SLICE("NEVER")))
		return canonical(v, SLICE("NEVER"));
	for (;;) {
		struct slice word = slice_take(rest, slice_index(rest, ','));
		unsigned bit = 0;

		for (unsigned i = 0; i < ARRAY_LEN(names); i++)
			if (slice_equal_nocase(word, slice_cstr(names[i])))
				bit = 1u << i;
		if (bit == 0 || (set & bit) != 0)
			return -EBADMSG;
		set |= bit;
		if (word.len == rest.len)
			return canonical(v, slice_cstr(texts[set]));
		rest = slice_skip(rest, word.len + 1);
	}
}

/*
 * original-recipient-address = addr-type ";" xtext (RFC 3461, 4.2). The type "utf-8" has raw
 * characters where the transaction may have them (RFC 6533, 3).
 */
static int parse_orcpt(struct value *v)
{
	size_t n = slice_index(v->in, ';');
	struct slice type = slice_take(v->in, n);
	uint8_t *whole;
	int err;

	if (v->in.len > SMTP_ORCPT_MAX || n == 0 || n == v->in.len || smtp_atom_length(type) != n)
		return -EBADMSG;
	err = parse_xtext(v, slice_skip(v->in, n + 1), v->syntax->utf8 && slice_equal_nocase(type, SLICE("utf-8")));
	if (err < 0)
		return err;
	whole = arena_alloc(v->arena, v->in.len);
	if (whole == NULL)
		return -ENOMEM;
	memcpy(whole, v->in.ptr, n + 1);
	memcpy(whole + n + 1, v->out.ptr, v->out.len);
	return canonical(v, slice_of(whole, v->in.len));
}

/*
 * by-value = by-time ";" by-mode [by-trace] (RFC 2852, 4): up to nine digits with a sign, "N" or
 * "R", "T". To return a message that is late already makes no sense.
 */
static int parse_by(struct value *v)
{
	static const char *const modes[] = { ";N", ";R", ";NT", ";RT" };
	size_t n = slice_index(v->in, ';');
	struct slice digits = slice_take(v->in, n), mode = slice_skip(v->in, n);
	bool negative = digits.len > 0 && digits.ptr[0] == '-';
	uint64_t seconds;

	if (digits.len > 0 && (negative || digits.ptr[0] == '+'))
		digits = slice_skip(digits, 1);
	if (slice_parse_u64(digits, 999999999, &seconds) < 0)
		return -EBADMSG;
	for (unsigned i = 0; i < ARRAY_LEN(modes); i++) {
		if (!slice_equal_nocase(mode, slice_cstr(modes[i])))
			continue;
		if (i % 2 == 1 && (negative || seconds == 0))
			return -EBADMSG;
		return canonical_number(v, negative && seconds > 0 ? "-" : "", seconds, modes[i]);
	}
	return -EBADMSG;
}

/* future-release-integer = 1*9DIGIT (RFC 4865, 4.1) */
static int parse_holdfor(struct value *v)
{
	uint64_t seconds;

	if (slice_parse_u64(v->in, 999999999, &seconds) < 0)
		return -EBADMSG;
	return canonical_number(v, "", seconds, "");
}

/* A time in UTC as RFC 3339 writes it: 2030-12-31T23:59:60Z. */
static int parse_holduntil(struct value *v)
{
	static const char shape[] = "0000-00-00T00:00:00Z";
	static const struct { unsigned at, min, max; } parts[] = { { 5, 1, 12 }, { 8, 1, 31 }, { 11, 0, 23 }, { 14, 0, 59 }, { 17, 0, 60 } };

	if (v->in.len != sizeof(shape) - 1)
		return -EBADMSG;
	for (size_t i = 0; i < v->in.len; i++)
		if (shape[i] == '0' ? !ascii_is_digit(v->in.ptr[i]) : ascii_upper(v->in.ptr[i]) != (uint8_t)shape[i])
			return -EBADMSG;
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		unsigned part = (unsigned)(v->in.ptr[parts[i].at] - '0') * 10 + (unsigned)(v->in.ptr[parts[i].at + 1] - '0');

		if (part < parts[i].min || part > parts[i].max)
			return -EBADMSG;
	}
	return copy_upper(v);
}

/* priority-value = (["-"] NZDIGIT) / "0" (RFC 6710, 8) */
static int parse_priority(struct value *v)
{
	struct slice digit = v->in.len == 2 && v->in.ptr[0] == '-' ? slice_skip(v->in, 1) : v->in;

	if (digit.len != 1 || !ascii_is_digit(digit.ptr[0]) || (digit.ptr[0] == '0' && v->in.len == 2))
		return -EBADMSG;
	return canonical(v, v->in);
}

/* mtrk-parameter = certifier [":" 1*9DIGIT], the certifier base64 (RFC 3885, 3) */
static int parse_mtrk(struct value *v)
{
	size_t n = slice_index(v->in, ':'), pad = 0;
	uint64_t seconds;

	if (n == 0 || n % 4 != 0 || (n < v->in.len && slice_parse_u64(slice_skip(v->in, n + 1), 999999999, &seconds) < 0))
		return -EBADMSG;
	while (pad < 2 && v->in.ptr[n - 1 - pad] == '=')
		pad++;
	for (size_t i = 0; i + pad < n; i++)
		if (!ascii_is_alpha(v->in.ptr[i]) && !ascii_is_digit(v->in.ptr[i]) && v->in.ptr[i] != '+' && v->in.ptr[i] != '/')
			return -EBADMSG;
	return canonical(v, v->in);
}

enum { PARAM_SIZE, PARAM_BODY, PARAM_SMTPUTF8, PARAM_AUTH, PARAM_RET, PARAM_ENVID, PARAM_BY, PARAM_HOLDFOR, PARAM_HOLDUNTIL,
       PARAM_MT_PRIORITY, PARAM_MTRK, PARAM_NOTIFY, PARAM_ORCPT, PARAM_COUNT };

static const struct parameter {
	const char *keyword;
	bool rcpt;
	unsigned extensions;		/* one of them must have been offered */
	bool has_value;
	value_fn parse;
} parameters[PARAM_COUNT] = {
	/*                     keyword        RCPT   extension                                value  grammar */
	[PARAM_SIZE]        = { "SIZE",        false, SMTP_EXT_SIZE,                           true,  parse_size },
	[PARAM_BODY]        = { "BODY",        false, SMTP_EXT_8BITMIME | SMTP_EXT_BINARYMIME, true,  parse_body },
	[PARAM_SMTPUTF8]    = { "SMTPUTF8",    false, SMTP_EXT_SMTPUTF8,                       false, parse_smtputf8 },
	[PARAM_AUTH]        = { "AUTH",        false, SMTP_EXT_AUTH,                           true,  parse_auth },
	[PARAM_RET]         = { "RET",         false, SMTP_EXT_DSN,                            true,  parse_ret },
	[PARAM_ENVID]       = { "ENVID",       false, SMTP_EXT_DSN,                            true,  parse_envid },
	[PARAM_BY]          = { "BY",          false, SMTP_EXT_DELIVERBY,                      true,  parse_by },
	[PARAM_HOLDFOR]     = { "HOLDFOR",     false, SMTP_EXT_FUTURERELEASE,                  true,  parse_holdfor },
	[PARAM_HOLDUNTIL]   = { "HOLDUNTIL",   false, SMTP_EXT_FUTURERELEASE,                  true,  parse_holduntil },
	[PARAM_MT_PRIORITY] = { "MT-PRIORITY", false, SMTP_EXT_MT_PRIORITY,                    true,  parse_priority },
	[PARAM_MTRK]        = { "MTRK",        false, SMTP_EXT_MTRK,                           true,  parse_mtrk },
	[PARAM_NOTIFY]      = { "NOTIFY",      true,  SMTP_EXT_DSN,                            true,  parse_notify },
	[PARAM_ORCPT]       = { "ORCPT",       true,  SMTP_EXT_DSN,                            true,  parse_orcpt },
};

/* The parameters of one command, by row. */
struct given {
	bool here[PARAM_COUNT];
	struct slice values[PARAM_COUNT];
};

static int refuse(struct smtp_flaw *flaw, const char *text, unsigned code, const char *reply)
{
	*flaw = (struct smtp_flaw){ .text = text, .key = "extensions", .code = code, .reply = reply };
	return -EBADMSG;
}

static int refuse_value(struct smtp_flaw *flaw, const char *text)
{
	return refuse(flaw, text, 501, "5.5.4 Syntax error in a parameter");
}

static int parse_one(struct value *v, bool rcpt, struct slice item, struct given *given, struct smtp_flaw *flaw)
{
	struct slice keyword = slice_take(item, slice_index(item, '='));
	bool has_value = keyword.len < item.len;
	size_t i = 0;
	int err;

	while (i < PARAM_COUNT && (parameters[i].rcpt != rcpt || !slice_equal_nocase(keyword, slice_cstr(parameters[i].keyword))))
		i++;
	/* RFC 5321, 4.1.1.11: 555 */
	if (i == PARAM_COUNT || (v->syntax->active_extensions & parameters[i].extensions) == 0)
		return refuse(flaw, "Parameter not known or not offered", 555, "5.5.4 Parameter not recognized");
	if (given->here[i])
		return refuse_value(flaw, "Parameter given twice");
	if (has_value != parameters[i].has_value)
		return refuse_value(flaw, has_value ? "Parameter takes no value" : "Parameter without its value");
	v->in = slice_skip(item, keyword.len + 1);
	err = parameters[i].parse(v);
	if (err < 0)
		return err == -EBADMSG ? refuse_value(flaw, "Invalid value of a parameter") : err;
	given->here[i] = true;
	given->values[i] = v->out;
	return 0;
}

static int check_together(const struct given *given, struct smtp_flaw *flaw)
{
	if (given->here[PARAM_HOLDFOR] && given->here[PARAM_HOLDUNTIL])	/* RFC 4865, 4.1 */
		return refuse_value(flaw, "HOLDFOR and HOLDUNTIL exclude each other");
	if (given->here[PARAM_MTRK] && !given->here[PARAM_ENVID])	/* RFC 3885, 3.1 */
		return refuse_value(flaw, "MTRK without ENVID");
	return 0;
}

static uint8_t *put(uint8_t *at, struct slice s)
{
	if (s.len > 0)
		memcpy(at, s.ptr, s.len);
	return at + s.len;
}

static int write_out(const struct given *given, struct arena *arena, struct slice *text)
{
	size_t n = 0;
	uint8_t *start, *at;

	for (size_t i = 0; i < PARAM_COUNT; i++)
		if (given->here[i])
			n += 1 + strlen(parameters[i].keyword) + parameters[i].has_value + given->values[i].len;
	start = at = arena_alloc(arena, n);
	if (start == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < PARAM_COUNT; i++) {
		if (!given->here[i])
			continue;
		*at++ = ' ';
		at = put(at, slice_cstr(parameters[i].keyword));
		if (parameters[i].has_value)
			*at++ = '=';
		at = put(at, given->values[i]);
	}
	*text = slice_of(start, n);
	return 0;
}

int smtp_parameters_parse(const struct smtp_syntax *syntax, bool rcpt, struct slice rest, struct arena *arena,
			  struct smtp_mail_options *options, struct slice *text, struct smtp_flaw *flaw)
{
	struct value v = { .syntax = syntax, .arena = arena, .options = options };
	struct given given = { .here = { false } };
	bool any = false;
	int err = 0;

	while (err == 0 && rest.len > 0) {
		struct slice item;

		if (rest.ptr[0] != ' ') {
			*flaw = (struct smtp_flaw){ .text = "No space before the parameters", .key = "extensions" };
			return -EBADMSG;
		}
		while (rest.len > 0 && rest.ptr[0] == ' ')
			rest = slice_skip(rest, 1);
		item = slice_take(rest, slice_index(rest, ' '));
		rest = slice_skip(rest, item.len);
		if (item.len == 0)
			break;
		any = true;
		err = parse_one(&v, rcpt, item, &given, flaw);
	}
	if (err == 0)
		err = check_together(&given, flaw);
	if (err == 0 && any)
		err = write_out(&given, arena, text);
	return err;
}
