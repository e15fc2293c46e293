/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/smtp/reply.h"

#include "base/attributes.h"
#include "proxy/smtp/line.h"

const char *const smtp_reply_reasons[SMTP_REPLY_RESULT_COUNT] = {
	[SMTP_REPLY_OK] = "ok",
	[SMTP_REPLY_MORE] = "reply-cut",
	[SMTP_REPLY_BARE_CR] = "reply-bare-cr",
	[SMTP_REPLY_BARE_LF] = "reply-bare-lf",
	[SMTP_REPLY_CONTROL] = "reply-control",
	[SMTP_REPLY_LINE_TOO_LONG] = "reply-line-too-long",
	[SMTP_REPLY_SHORT] = "reply-too-short",
	[SMTP_REPLY_NOT_NUMERIC] = "reply-not-numeric",
	[SMTP_REPLY_SEPARATOR] = "reply-bad-separator",
	[SMTP_REPLY_CODE_CHANGED] = "reply-code-changed",
	[SMTP_REPLY_TOO_MANY_LINES] = "reply-too-many-lines",
	[SMTP_REPLY_TOO_LONG] = "reply-too-long",
};

static const enum smtp_reply_result of_line[SMTP_LINE_COUNT] = {
	[SMTP_LINE_OK] = SMTP_REPLY_OK,
	[SMTP_LINE_MORE] = SMTP_REPLY_MORE,
	[SMTP_LINE_BARE_CR] = SMTP_REPLY_BARE_CR,
	[SMTP_LINE_BARE_LF] = SMTP_REPLY_BARE_LF,
	[SMTP_LINE_NUL] = SMTP_REPLY_CONTROL,
	[SMTP_LINE_TOO_LONG] = SMTP_REPLY_LINE_TOO_LONG,
};

/* Reply-code = %x32-35 %x30-35 %x30-39 */
bool smtp_code_parse(struct slice text, unsigned *code)
{
	if (text.len != 3 || text.ptr[0] < '2' || text.ptr[0] > '5' || text.ptr[1] < '0' || text.ptr[1] > '5' ||
	    !ascii_is_digit(text.ptr[2]))
		return false;
	*code = (unsigned)(text.ptr[0] - '0') * 100 + (unsigned)(text.ptr[1] - '0') * 10 + (unsigned)(text.ptr[2] - '0');
	return true;
}

/* Without code, separator and what is cut. */
static struct slice line_text(struct slice line, const struct smtp_reply_limits *limits)
{
	return slice_skip(slice_take(line, limits->line_max), 4);
}

/* One line into the reply so far; *last: nothing follows it. */
static enum smtp_reply_result add_line(struct smtp_reply *reply, struct slice line,
				       const struct smtp_reply_limits *limits, bool *last)
{
	unsigned code;

	if (!smtp_is_printable(line) && smtp_has_control(line))
		return SMTP_REPLY_CONTROL;
	if (line.len < 3)
		return SMTP_REPLY_SHORT;
	if (!smtp_code_parse(slice_take(line, 3), &code))
		return SMTP_REPLY_NOT_NUMERIC;
	if (line.len > 3 && line.ptr[3] != ' ' && line.ptr[3] != '-')
		return SMTP_REPLY_SEPARATOR;
	if (reply->n_lines > 0 && code != reply->code)
		return SMTP_REPLY_CODE_CHANGED;
	if (reply->n_lines == SMTP_REPLY_LINES_MAX)
		return SMTP_REPLY_TOO_MANY_LINES;
	if (line.len > limits->line_max) {
		if (!limits->cut_long_lines)
			return SMTP_REPLY_LINE_TOO_LONG;
		reply->cut = true;
		reply->canonical = false;
	}
	if (line.len == 4 && line.ptr[3] == ' ')	/* a space without text is not repeated */
		reply->canonical = false;
	reply->code = code;
	reply->n_lines++;
	*last = line.len == 3 || line.ptr[3] == ' ';
	return SMTP_REPLY_OK;
}

enum smtp_reply_result smtp_reply_parse(struct smtp_reply_parser *parser, struct slice octets,
					const struct smtp_reply_limits *limits, struct smtp_reply *out)
{
	struct smtp_reply *reply = &parser->reply;
	size_t max = limits->cut_long_lines ? limits->buffer_line_max : limits->line_max;
	struct slice line = { NULL, 0 };
	bool last = false;

	if (parser->done == 0)
		*reply = (struct smtp_reply){ .canonical = true };
	while (!last) {
		size_t used = 0;
		enum smtp_reply_result result;

		result = of_line[smtp_line_take(slice_skip(octets, parser->done), limits->require_crlf, max, &line, &used)];
		if (result == SMTP_REPLY_OK)
			result = add_line(reply, line, limits, &last);
		else
			line = slice_take(slice_skip(octets, parser->done), max);
		if (result == SMTP_REPLY_MORE && octets.len >= SMTP_REPLY_OCTETS_MAX)
			result = SMTP_REPLY_TOO_LONG;
		if (result != SMTP_REPLY_OK) {
			out->bad_line = line;
			return result;
		}
		if (used != line.len + 2)
			reply->canonical = false;
		parser->done += used;
		if (parser->done > SMTP_REPLY_OCTETS_MAX)
			return SMTP_REPLY_TOO_LONG;
	}
	reply->raw = slice_take(octets, parser->done);
	if (reply->n_lines == 1)
		reply->text = line_text(line, limits);
	else
		(void)smtp_reply_next_line(reply, limits, &(size_t){ 0 }, &reply->text, &last);
	*out = *reply;
	return SMTP_REPLY_OK;
}

bool smtp_reply_next_line(const struct smtp_reply *reply, const struct smtp_reply_limits *limits, size_t *pos,
			  struct slice *text, bool *last)
{
	struct slice line = slice_skip(reply->raw, *pos);
	size_t lf = slice_index(line, '\n');

	if (lf == line.len)
		return false;
	*pos += lf + 1;
	line = slice_take(line, lf);
	if (line.len > 0 && line.ptr[line.len - 1] == '\r')
		line.len--;
	*last = *pos == reply->raw.len;
	*text = line_text(line, limits);
	return true;
}
