/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Protocol lines of both sides. A line ends with CRLF and nothing else; a CR or LF that stands
 * alone, and NUL, are how one peer is made to see other lines than the next (smuggling), so
 * they are told apart from everything that is merely wrong. Pure functions on slices.
 */
#ifndef SALLYPORT_PROXY_SMTP_LINE_H
#define SALLYPORT_PROXY_SMTP_LINE_H

#include "base/slice.h"

enum smtp_line {
	SMTP_LINE_OK,
	SMTP_LINE_MORE,		/* no whole line yet, and nothing wrong so far */
	SMTP_LINE_BARE_CR,
	SMTP_LINE_BARE_LF,
	SMTP_LINE_NUL,
	SMTP_LINE_TOO_LONG,	/* over max octets without an end */
	SMTP_LINE_COUNT
};
extern const char *const smtp_line_names[SMTP_LINE_COUNT];	/* "bare-cr": reasons in logs */

/*
 * The first line in octets. On OK *line is without its end, which *used includes. require_crlf
 * false: LF alone ends a line too (a CR that stands alone never does). max: octets of the line,
 * its end not counted.
 */
enum smtp_line smtp_line_take(struct slice octets, bool require_crlf, size_t max, struct slice *line,
			      size_t *used);

/* Nothing but the space and ASCII that can be seen: what almost all lines are, and quickly known to be. */
bool smtp_is_printable(struct slice s);
/* A control octet other than TAB, or DEL. */
bool smtp_has_control(struct slice s);
bool smtp_has_8bit(struct slice s);

/*
 * Of octets that a client sent and nobody took apart, what may stand in a log: nothing behind an
 * AUTH that starts a line, since a password may follow.
 */
struct slice smtp_loggable(struct slice s);

/* May s be put on a protocol line? No CR, no LF, no NUL. */
bool smtp_is_line_safe(struct slice s);

#endif
