/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/smtp/command.h"

#include "proxy/smtp/extension.h"
#include "proxy/smtp/line.h"

#include <errno.h>

#define GREETED (SMTP_STATE_EHLO | SMTP_STATE_MAIL | SMTP_STATE_RCPT)
#define DATA_REPLIES (SMTP_REPLIES_354 | SMTP_REPLIES_45)

/*
 * A policy that says nothing of VRFY, EXPN and HELP need not be asked: who exists is nobody's
 * business, and help is harmless (RFC 5321, 3.5.3 and 7.3).
 *
 * HELO and EHLO are legal inside a transaction and reset it (RFC 5321, 4.1.4). RSET and QUIT are
 * legal before HELO, but RSET leaves that state as it is.
 */
const struct smtp_verb smtp_verbs[SMTP_VERB_COUNT] = {
	[SMTP_GREETING] = { .name = "Null", .group = SMTP_GROUP_ALONE, .replies = SMTP_REPLIES_NORMAL, .usual = 220,
			    .internal = true },
	[SMTP_HELO] = { .name = "HELO", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_ALONE, .replies = SMTP_REPLIES_NORMAL,
			.usual = 250, .built_in = true, .idle = true, .parse = smtp_parse_helo, .on_reply = smtp_on_hello },
	[SMTP_EHLO] = { .name = "EHLO", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_ALONE, .replies = SMTP_REPLIES_NORMAL,
			.usual = 250, .built_in = true, .idle = true, .parse = smtp_parse_helo, .on_reply = smtp_on_hello },
	[SMTP_MAIL] = { .name = "MAIL", .states = SMTP_STATE_EHLO, .group = SMTP_GROUP_ANY, .replies = SMTP_REPLIES_NORMAL,
			.usual = 250, .built_in = true, .parse = smtp_parse_mail, .on_reply = smtp_on_mail,
			.utf8 = true },
	[SMTP_RCPT] = { .name = "RCPT", .states = SMTP_STATE_MAIL | SMTP_STATE_RCPT, .group = SMTP_GROUP_ANY,
			.replies = SMTP_REPLIES_NORMAL, .usual = 250, .built_in = true, .parse = smtp_parse_rcpt, .on_reply = smtp_on_rcpt,
			.utf8 = true },
	[SMTP_DATA] = { .name = "DATA", .states = SMTP_STATE_RCPT, .group = SMTP_GROUP_LAST, .replies = DATA_REPLIES,
			.usual = 354, .built_in = true, .parse = smtp_parse_data, .on_reply = smtp_on_data },
	[SMTP_BODY] = { .name = "DATA", .group = SMTP_GROUP_ANY, .replies = SMTP_REPLIES_NORMAL, .usual = 250, .internal = true,
			.on_reply = smtp_on_body },
	[SMTP_RSET] = { .name = "RSET", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_ANY, .replies = SMTP_REPLIES_NORMAL,
			.usual = 250, .built_in = true, .idle = true, .parse = smtp_parse_none, .on_reply = smtp_on_rset },
	[SMTP_NOOP] = { .name = "NOOP", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_LAST, .replies = SMTP_REPLIES_NORMAL,
			.idle = true },
	[SMTP_QUIT] = { .name = "QUIT", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_LAST, .replies = SMTP_REPLIES_NORMAL,
			.usual = 221, .built_in = true, .parse = smtp_parse_none, .on_reply = smtp_on_quit },
	[SMTP_ETRN] = { .name = "ETRN", .states = SMTP_STATE_EHLO, .group = SMTP_GROUP_ALONE, .replies = SMTP_REPLIES_NORMAL,
			.built_in = true, .idle = true, .parse = smtp_parse_etrn },
	[SMTP_VRFY] = { .name = "VRFY", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_LAST, .replies = SMTP_REPLIES_NORMAL,
			.idle = true, .unlisted_code = 252, .unlisted_text = "2.5.2 Send some mail, I'll try my best",
			.parse = smtp_parse_verify, .utf8 = true },
	[SMTP_EXPN] = { .name = "EXPN", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_LAST, .replies = SMTP_REPLIES_NORMAL,
			.idle = true, .unlisted_code = 502, .unlisted_text = "5.5.1 Command not implemented",
			.parse = smtp_parse_verify, .utf8 = true },
	[SMTP_HELP] = { .name = "HELP", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_LAST, .replies = SMTP_REPLIES_NORMAL,
			.idle = true, .unlisted_code = 214, .unlisted_text = "2.0.0 See RFC 5321" },
	[SMTP_AUTH] = { .name = "AUTH", .states = SMTP_STATE_EHLO, .group = SMTP_GROUP_ALONE, .replies = SMTP_REPLIES_AUTH,
			.built_in = true, .parse = smtp_parse_auth, .on_reply = smtp_on_auth },
	[SMTP_SASL] = { .name = "AUTH", .group = SMTP_GROUP_ALONE, .replies = SMTP_REPLIES_AUTH, .internal = true,
			.on_reply = smtp_on_auth },
	[SMTP_STARTTLS] = { .name = "STARTTLS", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_ALONE,
			    .replies = SMTP_REPLIES_220 | SMTP_REPLIES_45, .built_in = true, .idle = true,
			    .parse = smtp_parse_starttls, .on_reply = smtp_on_starttls },
	[SMTP_BDAT] = { .name = "BDAT", .states = SMTP_STATE_RCPT | SMTP_STATE_CHUNKS, .group = SMTP_GROUP_ANY,
			.replies = SMTP_REPLIES_NORMAL, .parse = smtp_parse_bdat, .on_reply = smtp_on_chunk },
	[SMTP_TURN] = { .name = "TURN", .states = SMTP_STATE_ANY, .refused = true },
	[SMTP_ATRN] = { .name = "ATRN", .states = SMTP_STATE_ANY, .refused = true },
	[SMTP_XCLIENT] = { .name = "XCLIENT", .states = SMTP_STATE_ANY, .refused = true },
	[SMTP_XFORWARD] = { .name = "XFORWARD", .states = SMTP_STATE_ANY, .refused = true },
	[SMTP_ADDR] = { .name = "ADDR", .states = SMTP_STATE_ANY, .refused = true },
};

const struct smtp_verb smtp_unknown_verb = {
	.name = "?", .states = SMTP_STATE_ANY, .group = SMTP_GROUP_ALONE, .replies = SMTP_REPLIES_NORMAL, .idle = true,
};

const struct smtp_verb *smtp_verb_named(struct slice name)
{
	for (size_t i = 0; i < SMTP_VERB_COUNT && name.len > 0; i++)
		if ((uint8_t)smtp_verbs[i].name[0] == name.ptr[0] && !smtp_verbs[i].internal && slice_is(name, smtp_verbs[i].name))
			return &smtp_verbs[i];
	return &smtp_unknown_verb;
}

bool smtp_verb_takes(const struct smtp_verb *verb, unsigned code)
{
	if (code == 235 && (verb->replies & SMTP_REPLIES_235) != 0)
		return true;
	if (code == 334)
		return (verb->replies & SMTP_REPLIES_334) != 0;
	if (code == 220 && (verb->replies & SMTP_REPLIES_220) != 0)
		return true;
	if (smtp_code_is_positive(code))
		return (verb->replies & SMTP_REPLIES_2) != 0;
	if (code == 354)
		return (verb->replies & SMTP_REPLIES_354) != 0;
	return code >= 400 && (verb->replies & SMTP_REPLIES_45) != 0;
}

/* TAB is no separator here; RFC 5321 knows only the space. */
static int check_octets(struct slice line, bool *utf8)
{
	*utf8 = false;
	if (smtp_is_printable(line))
		return 0;
	if (smtp_has_control(line) || slice_index(line, '\t') < line.len)
		return -EBADMSG;
	*utf8 = smtp_has_8bit(line);
	return *utf8 && !smtp_is_address_text(line) ? -EBADMSG : 0;
}

int smtp_command_parse(struct slice line, struct smtp_command *out)
{
	struct smtp_command c;
	size_t n = 0;

	if (check_octets(line, &c.utf8) < 0)
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

/* chunk-size [SP "LAST"]; chunk-size = 1*20DIGIT (RFC 3030, 2) */
int smtp_chunk_parse(struct slice param, uint64_t *octets, bool *last)
{
	struct slice size = slice_take(param, slice_index(param, ' '));
	struct slice rest = slice_trim_spaces(slice_skip(param, size.len));
	bool is_last = slice_equal_nocase(rest, SLICE("LAST"));

	if ((rest.len > 0 && !is_last) || slice_parse_u64(size, SMTP_CHUNK_MAX, octets) < 0)
		return -EBADMSG;
	*last = is_last;
	return 0;
}

int smtp_parse_bdat(const struct smtp_syntax *syntax, struct slice param, struct arena *arena,
		    struct smtp_argument *out, struct smtp_flaw *flaw)
{
	char *text;

	if (smtp_chunk_parse(param, &out->chunk_octets, &out->chunk_last) < 0)
		return refuse(flaw, "Invalid size of a chunk", "param");
	if ((syntax->active_extensions & SMTP_EXT_CHUNKING) == 0) {
		refuse(flaw, "BDAT is not offered", "param");
		flaw->code = 502;
		flaw->reply = "5.5.1 Command not implemented";
		return -EBADMSG;
	}
	text = arena_printf(arena, "%llu%s", (unsigned long long)out->chunk_octets, out->chunk_last ? " LAST" : "");
	if (text == NULL)
		return -ENOMEM;
	out->text = slice_cstr(text);
	return 0;
}

static int parse_path_argument(const struct smtp_syntax *syntax, struct slice prefix, unsigned flags, struct slice param,
			       struct arena *arena, struct smtp_argument *out, struct smtp_flaw *flaw)
{
	enum smtp_address_flaw why;

	if (!slice_starts_with_nocase(param, prefix))
		return refuse(flaw, "Invalid address, no FROM: or TO:", "path");
	if (syntax->bare_paths)
		flags |= SMTP_PATH_BARE;
	if (!syntax->source_routes)
		flags |= SMTP_PATH_NO_ROUTE;
	if ((syntax->active_extensions & SMTP_EXT_SMTPUTF8) != 0)
		flags |= SMTP_PATH_UTF8;
	why = smtp_path_parse(slice_skip(param, prefix.len), flags, syntax->append_domain, arena, &out->path);
	if (why != SMTP_ADDRESS_OK)
		return refuse_path(flaw, why);
	out->has_path = true;
	return 0;
}

static uint8_t *put(uint8_t *at, struct slice s)
{
	if (s.len > 0)
		memcpy(at, s.ptr, s.len);
	return at + s.len;
}

/* start, mailbox, ">" and parameters, all on the arena. */
static int join(struct arena *arena, struct slice start, struct slice parameters, struct smtp_argument *out)
{
	struct slice *mailbox = &out->path.mailbox;
	size_t n = start.len + mailbox->len + 1 + parameters.len;
	uint8_t *text = arena_alloc(arena, n), *at;

	if (text == NULL)
		return -ENOMEM;
	at = put(put(text, start), *mailbox);
	*at++ = '>';
	put(at, parameters);
	mailbox->ptr = text + start.len;
	out->text = slice_of(text, n);
	return 0;
}

/* RFC 6531, 3.5: 553 */
static int refuse_utf8(struct smtp_flaw *flaw)
{
	refuse(flaw, "Address is not ASCII, and SMTPUTF8 was not asked for", "path");
	flaw->code = 553;
	flaw->reply = "5.6.7 Address needs SMTPUTF8";
	return -EBADMSG;
}

int smtp_parse_mail(const struct smtp_syntax *syntax, struct slice param, struct arena *arena,
		    struct smtp_argument *out, struct smtp_flaw *flaw)
{
	struct slice parameters = { NULL, 0 };
	int err = parse_path_argument(syntax, SLICE("FROM:"), SMTP_PATH_MAY_BE_EMPTY, param, arena, out, flaw);

	if (err == 0)
		err = smtp_parameters_parse(syntax, false, out->path.rest, arena, &out->mail, &parameters, flaw);
	if (err < 0)
		return err;
	if (out->path.utf8 && !out->mail.utf8)
		return refuse_utf8(flaw);
	return join(arena, SLICE("From:<"), parameters, out);
}

int smtp_parse_rcpt(const struct smtp_syntax *syntax, struct slice param, struct arena *arena,
		    struct smtp_argument *out, struct smtp_flaw *flaw)
{
	struct slice parameters = { NULL, 0 };
	int err = parse_path_argument(syntax, SLICE("TO:"), SMTP_PATH_POSTMASTER, param, arena, out, flaw);

	if (err == 0 && out->path.rest.len > 0 && slice_trim_spaces(out->path.rest).len == 0)
		return refuse(flaw, "Spaces behind the path", "path");
	if (err == 0)
		err = smtp_parameters_parse(syntax, true, out->path.rest, arena, NULL, &parameters, flaw);
	if (err < 0)
		return err;
	if (out->path.utf8 && !syntax->utf8)
		return refuse_utf8(flaw);
	return join(arena, SLICE("To:<"), parameters, out);
}

/* VRFY and EXPN: String [SP "SMTPUTF8"] (RFC 5321, 4.1.1.6; RFC 6531, 3.7.4.2). */
int smtp_parse_verify(const struct smtp_syntax *syntax, struct slice param, struct arena *arena,
		      struct smtp_argument *out, struct smtp_flaw *flaw)
{
	struct slice name = slice_trim_spaces(param);

	if (name.len == 0) {
		refuse(flaw, "Command without its argument", "param");
		flaw->code = 501;
		flaw->reply = "5.5.4 Argument missing";
		return -EBADMSG;
	}
	if (smtp_has_8bit(name) && ((syntax->active_extensions & SMTP_EXT_SMTPUTF8) == 0 ||
				    !slice_ends_with_nocase(name, SLICE(" SMTPUTF8"))))
		return refuse_utf8(flaw);
	out->text = name;
	return 0;
}
