/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMTP replies (RFC 5321, 4.2). A reply is what the grammar allows and nothing else: where it is
 * not clear where a reply of a lying server ends, nobody may guess. Pure functions on slices.
 */
#ifndef SALLYPORT_PROXY_SMTP_REPLY_H
#define SALLYPORT_PROXY_SMTP_REPLY_H

#include "base/slice.h"

#define SMTP_REPLY_LINES_MAX 128
#define SMTP_REPLY_OCTETS_MAX (12u * 1024u)	/* fits into a stream's buffer, behind other replies */

enum smtp_reply_result {
	SMTP_REPLY_OK,
	SMTP_REPLY_MORE,
	/* The rest is BAD, for one reason or another. */
	SMTP_REPLY_BARE_CR,
	SMTP_REPLY_BARE_LF,
	SMTP_REPLY_CONTROL,		/* NUL or another control octet */
	SMTP_REPLY_LINE_TOO_LONG,
	SMTP_REPLY_SHORT,		/* less than a code */
	SMTP_REPLY_NOT_NUMERIC,		/* not 200..599 */
	SMTP_REPLY_SEPARATOR,		/* no space, hyphen or end behind the code */
	SMTP_REPLY_CODE_CHANGED,
	SMTP_REPLY_TOO_MANY_LINES,
	SMTP_REPLY_TOO_LONG,
	SMTP_REPLY_RESULT_COUNT
};
extern const char *const smtp_reply_reasons[SMTP_REPLY_RESULT_COUNT];	/* "reply-code-changed" */

struct smtp_reply_limits {
	size_t line_max;		/* octets of a line, its end not counted */
	size_t buffer_line_max;		/* of a line that is cut to line_max */
	bool cut_long_lines;
	bool require_crlf;
};

struct smtp_reply {
	unsigned code;			/* 200..599 */
	unsigned n_lines;		/* >= 1 */
	struct slice raw;		/* the reply's octets as received */
	struct slice text;		/* of the first line */
	struct slice bad_line;		/* when BAD: the line, for the log */
	bool canonical;			/* raw is what may be written out as it is */
	bool cut;			/* a line was longer than line_max */
};

/*
 * Parser state, zeroed before each reply: how far the octets are known to be whole lines, so
 * that a reply that comes in drops is not read again from its start each time.
 */
struct smtp_reply_parser {
	size_t done;			/* octets */
	struct smtp_reply reply;
};

/* octets start with the reply, and with the same octets in each call until the result is not
 * MORE. On OK *out; reply.raw.len octets are used up. */
enum smtp_reply_result smtp_reply_parse(struct smtp_reply_parser *parser, struct slice octets,
					const struct smtp_reply_limits *limits, struct smtp_reply *out);

/* The lines of a parsed reply: text without code, separator and end. *pos starts at 0. */
bool smtp_reply_next_line(const struct smtp_reply *reply, const struct smtp_reply_limits *limits, size_t *pos,
			  struct slice *text, bool *last);

static inline bool smtp_code_is_positive(unsigned code)
{
	return code >= 200 && code < 300;
}

/* Three digits 200..599, second digit 0..5 as the grammar has it. */
bool smtp_code_parse(struct slice text, unsigned *code);

#endif
