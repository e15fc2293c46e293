/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/smtp/command.h"

#include "proxy/smtp/extension.h"
#include "proxy/smtp/line.h"

#include <errno.h>
#include <stdio.h>

#define GREETED (SMTP_STATE_EHLO | SMTP_STATE_MAIL | SMTP_STATE_RCPT)
#define DATA_REPLIES (SMTP_REPLIES_354 | SMTP_REPLIES_45)

/*
 * HELO and EHLO are legal inside a transaction and reset it (RFC 5321, 4.1.4). RSET and QUIT are
 * legal before HELO, but RSET leaves that state as it is.
 */
const struct smtp_verb smtp_verbs[SMTP_VERB_COUNT] = {
	[SMTP_GREETING] = { .name = "Null", .group = SMTP_GROUP_ALONE, .replies = SMTP_REPLIES_NORMAL, .internal = true },
	[SMTP_HELO] = { .name = "HELO", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_ALONE, .replies = SMTP_REPLIES_NORMAL,
			.built_in = true, .parse = smtp_parse_helo, .on_reply = smtp_on_hello },
	[SMTP_EHLO] = { .name = "EHLO", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_ALONE, .replies = SMTP_REPLIES_NORMAL,
			.built_in = true, .parse = smtp_parse_helo, .on_reply = smtp_on_hello },
	[SMTP_MAIL] = { .name = "MAIL", .states = SMTP_STATE_EHLO, .group = SMTP_GROUP_ANY, .replies = SMTP_REPLIES_NORMAL,
			.built_in = true, .parse = smtp_parse_mail, .on_reply = smtp_on_mail },
	[SMTP_RCPT] = { .name = "RCPT", .states = SMTP_STATE_MAIL | SMTP_STATE_RCPT, .group = SMTP_GROUP_ANY,
			.replies = SMTP_REPLIES_NORMAL, .built_in = true, .parse = smtp_parse_rcpt, .on_reply = smtp_on_rcpt },
	[SMTP_DATA] = { .name = "DATA", .states = SMTP_STATE_RCPT, .group = SMTP_GROUP_LAST, .replies = DATA_REPLIES,
			.built_in = true, .parse = smtp_parse_data, .on_reply = smtp_on_data },
	[SMTP_BODY] = { .name = "DATA", .group = SMTP_GROUP_ANY, .replies = SMTP_REPLIES_NORMAL, .internal = true,
			.on_reply = smtp_on_body },
	[SMTP_RSET] = { .name = "RSET", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_ANY, .replies = SMTP_REPLIES_NORMAL,
			.built_in = true, .parse = smtp_parse_none, .on_reply = smtp_on_rset },
	[SMTP_NOOP] = { .name = "NOOP", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_LAST, .replies = SMTP_REPLIES_NORMAL },
	[SMTP_QUIT] = { .name = "QUIT", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_LAST, .replies = SMTP_REPLIES_NORMAL,
			.built_in = true, .parse = smtp_parse_none, .on_reply = smtp_on_quit },
	[SMTP_ETRN] = { .name = "ETRN", .states = SMTP_STATE_EHLO, .group = SMTP_GROUP_ALONE, .replies = SMTP_REPLIES_NORMAL,
			.built_in = true, .parse = smtp_parse_etrn },
	[SMTP_VRFY] = { .name = "VRFY", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_LAST, .replies = SMTP_REPLIES_NORMAL },
	[SMTP_EXPN] = { .name = "EXPN", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_LAST, .replies = SMTP_REPLIES_NORMAL },
	[SMTP_HELP] = { .name = "HELP", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_LAST, .replies = SMTP_REPLIES_NORMAL },
	[SMTP_AUTH] = { .name = "AUTH", .states = SMTP_STATE_ANY, .built_in = true, .refused = true },
	[SMTP_STARTTLS] = { .name = "STARTTLS", .states = SMTP_STATE_ANY, .built_in = true, .refused = true },
	[SMTP_BDAT] = { .name = "BDAT", .states = SMTP_STATE_ANY, .refused = true },
	[SMTP_TURN] = { .name = "TURN", .states = SMTP_STATE_ANY, .refused = true },
	[SMTP_ATRN] = { .name = "ATRN", .states = SMTP_STATE_ANY, .refused = true },
	[SMTP_XCLIENT] = { .name = "XCLIENT", .states = SMTP_STATE_ANY, .refused = true },
	[SMTP_XFORWARD] = { .name = "XFORWARD", .states = SMTP_STATE_ANY, .refused = true },
	[SMTP_ADDR] = { .name = "ADDR", .states = SMTP_STATE_ANY, .refused = true },
};

const struct smtp_verb smtp_unknown_verb = {
	.name = "?", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_ALONE, .replies = SMTP_REPLIES_NORMAL,
};

const struct smtp_verb *smtp_verb_named(struct slice name)
{
	for (size_t i = 0; i < SMTP_VERB_COUNT; i++)
		if (!smtp_verbs[i].internal && slice_is(name, smtp_verbs[i].name))
			return &smtp_verbs[i];
	return &smtp_unknown_verb;
}

bool smtp_verb_takes(const struct smtp_verb *verb, unsigned code)
{
	if (smtp_code_is_positive(code))
		return (verb->replies & SMTP_REPLIES_2) != 0;
	if (code == 354)
		return (verb->replies & SMTP_REPLIES_354) != 0;
	return code >= 400 && (verb->replies & SMTP_REPLIES_45) != 0;
}

int smtp_command_parse(struct slice line, struct smtp_command *out)
{
	struct smtp_command c = { 0 };
	size_t n = 0;

	/* TAB is no separator here; RFC 5321 knows only the space. */
	if (smtp_has_control(line) || slice_index(line, '\t') < line.len || smtp_has_8bit(line))
		return -EBADMSG;
	while (n < line.len && line.ptr[n] != ' ') {
		uint8_t octet = line.ptr[n];

		if (!ascii_is_alpha(octet) && (n == 0 || (!ascii_is_digit(octet) && octet != '-')))
			return -EBADMSG;
		if (n == SMTP_VERB_MAX)
			return -EBADMSG;
		c.name_octets[n++] = (char)ascii_upper(octet);
	}
	if (n == 0)
		return -EBADMSG;
	c.name_length = n;
	while (n < line.len && line.ptr[n] == ' ')
		n++;
	c.param = slice_skip(line, n);
	c.verb = smtp_verb_named(smtp_command_name(&c));
	*out = c;
	return 0;
}

static int refuse(struct smtp_flaw *flaw, const char *text, const char *key)
{
	*flaw = (struct smtp_flaw){ .text = text, .key = key };
	return -EBADMSG;
}

static int refuse_path(struct smtp_flaw *flaw, enum smtp_address_flaw why)
{
	if (why == SMTP_ADDRESS_NO_MEMORY)
		return -ENOMEM;
	return refuse(flaw, smtp_address_flaw_texts[why], "path");
}

int smtp_parse_none(const struct smtp_syntax *syntax, struct slice param, struct arena *arena,
		    struct smtp_argument *out, struct smtp_flaw *flaw)
{
	return param.len == 0 ? 0 : refuse(flaw, "Command takes no parameter", "param");
}

int smtp_parse_data(const struct smtp_syntax *syntax, struct slice param, struct arena *arena,
		    struct smtp_argument *out, struct smtp_flaw *flaw)
{
	if (param.len == 0)
		return 0;
	refuse(flaw, "Command takes no parameter", "param");
	flaw->code = 501;
	flaw->reply = "5.5.4 DATA takes no parameter";
	return -EBADMSG;
}

int smtp_parse_helo(const struct smtp_syntax *syntax, struct slice param, struct arena *arena,
		    struct smtp_argument *out, struct smtp_flaw *flaw)
{
	if (!smtp_is_domain(param))
		return refuse(flaw, "Invalid domain in HELO or EHLO", "param");
	out->text = param;
	return 0;
}

/* ETRN: "@domain" / "#queue" / domain (RFC 1985) */
int smtp_parse_etrn(const struct smtp_syntax *syntax, struct slice param, struct arena *arena,
		    struct smtp_argument *out, struct smtp_flaw *flaw)
{
	struct slice name = param;

	out->text = param;
	if ((syntax->active_extensions & SMTP_EXT_ETRN) == 0)
		return refuse(flaw, "ETRN is not offered", "param");
	if (param.len > 1 && param.ptr[0] == '#') {
		for (size_t i = 1; i < param.len; i++)
			if (!ascii_is_alpha(param.ptr[i]) && !ascii_is_digit(param.ptr[i]) &&
			    memchr("-._", param.ptr[i], 3) == NULL)
				return refuse(flaw, "Invalid queue in ETRN", "param");
		return 0;
	}
	if (param.len > 0 && param.ptr[0] == '@')
		name = slice_skip(param, 1);
	return smtp_is_domain(name) ? 0 : refuse(flaw, "Invalid domain in ETRN", "param");
}

static int parse_path_argument(const struct smtp_syntax *syntax, struct slice prefix, unsigned flags, struct slice param,
			       struct arena *arena, struct smtp_argument *out, struct smtp_flaw *flaw)
{
	enum smtp_address_flaw why;

	if (!slice_starts_with_nocase(param, prefix))
		return refuse(flaw, "Invalid address, no FROM: or TO:", "path");
	if (syntax->bare_paths)
		flags |= SMTP_PATH_BARE;
	why = smtp_path_parse(slice_skip(param, prefix.len), flags, syntax->append_domain, arena, &out->path);
	if (why != SMTP_ADDRESS_OK)
		return refuse_path(flaw, why);
	out->has_path = true;
	return 0;
}

/* SIZE=size-value (RFC 1870): 1*20DIGIT */
static int parse_size(const struct smtp_syntax *syntax, struct slice value, struct smtp_argument *out,
		      struct smtp_flaw *flaw)
{
	if ((syntax->active_extensions & SMTP_EXT_SIZE) == 0 || out->has_size)
		return refuse(flaw, "SIZE is not offered, or given twice", "extensions");
	if (slice_parse_u64(value, UINT64_MAX, &out->size) < 0)
		return refuse(flaw, "Invalid SIZE", "extensions");
	out->has_size = true;
	return 0;
}

/* BODY=7BIT / BODY=8BITMIME (RFC 6152) */
static int parse_body(const struct smtp_syntax *syntax, struct slice value, const char **body, struct smtp_flaw *flaw)
{
	if ((syntax->active_extensions & SMTP_EXT_8BITMIME) == 0 || *body != NULL)
		return refuse(flaw, "BODY is not offered, or given twice", "extensions");
	if (slice_equal_nocase(value, SLICE("7BIT")))
		*body = " BODY=7BIT";
	else if (slice_equal_nocase(value, SLICE("8BITMIME")))
		*body = " BODY=8BITMIME";
	else
		return refuse(flaw, "Invalid BODY", "extensions");
	return 0;
}

/* Mail-parameters = *(SP esmtp-keyword ["=" esmtp-value]); what is not known is refused. */
static int parse_mail_parameters(const struct smtp_syntax *syntax, struct slice rest, struct smtp_argument *out,
				 const char **body, struct smtp_flaw *flaw)
{
	while (rest.len > 0) {
		struct slice item, keyword, value;
		int err;

		if (rest.ptr[0] != ' ')
			return refuse(flaw, "No space before the parameters", "extensions");
		while (rest.len > 0 && rest.ptr[0] == ' ')
			rest = slice_skip(rest, 1);
		item = slice_take(rest, slice_index(rest, ' '));
		rest = slice_skip(rest, item.len);
		keyword = slice_take(item, slice_index(item, '='));
		value = slice_skip(item, keyword.len + 1);
		if (item.len == 0)
			break;
		if (slice_equal_nocase(keyword, SLICE("SIZE")))
			err = parse_size(syntax, value, out, flaw);
		else if (slice_equal_nocase(keyword, SLICE("BODY")))
			err = parse_body(syntax, value, body, flaw);
		else
			err = refuse(flaw, "Unknown parameter of MAIL", "extensions");
		if (err < 0)
			return err;
	}
	return 0;
}

static uint8_t *put(uint8_t *at, struct slice s)
{
	if (s.len > 0)
		memcpy(at, s.ptr, s.len);
	return at + s.len;
}

/* start, mailbox, ">" and parameters: a copy each, since this runs for every sender and recipient. */
static int join(struct arena *arena, const char *start, struct slice mailbox, struct slice first, struct slice second,
		struct slice *out)
{
	size_t n = strlen(start) + mailbox.len + 1 + first.len + second.len;
	uint8_t *text = arena_alloc(arena, n), *at = text;

	if (text == NULL)
		return -ENOMEM;
	at = put(put(at, slice_cstr(start)), mailbox);
	*at++ = '>';
	put(put(at, first), second);
	*out = slice_of(text, n);
	return 0;
}

int smtp_parse_mail(const struct smtp_syntax *syntax, struct slice param, struct arena *arena,
		    struct smtp_argument *out, struct smtp_flaw *flaw)
{
	char size[32];
	const char *body = NULL;
	int n = 0, err = parse_path_argument(syntax, SLICE("FROM:"), SMTP_PATH_MAY_BE_EMPTY, param, arena, out, flaw);

	if (err == 0)
		err = parse_mail_parameters(syntax, out->path.rest, out, &body, flaw);
	if (err < 0)
		return err;
	if (out->has_size)
		n = snprintf(size, sizeof(size), " SIZE=%llu", (unsigned long long)out->size);
	return join(arena, "From:<", out->path.mailbox, slice_of(size, (size_t)n), slice_cstr(body), &out->text);
}

int smtp_parse_rcpt(const struct smtp_syntax *syntax, struct slice param, struct arena *arena,
		    struct smtp_argument *out, struct smtp_flaw *flaw)
{
	int err = parse_path_argument(syntax, SLICE("TO:"), SMTP_PATH_POSTMASTER, param, arena, out, flaw);

	if (err < 0)
		return err;
	if (out->path.rest.len > 0)
		return refuse(flaw, "RCPT takes no parameters", "path");
	return join(arena, "To:<", out->path.mailbox, slice_of(NULL, 0), slice_of(NULL, 0), &out->text);
}
