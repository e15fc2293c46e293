/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The message body between 354 and the lone dot (RFC 5321, 4.1.1.4 and 4.5.2). The only thing
 * that ends a message is CRLF "." CRLF. A CR or LF that stands alone, and NUL, are refused:
 * two servers that disagree about them see two different messages (SMTP smuggling).
 *
 * A valid body is already in canonical form, dot-stuffed by the client, so it goes out as the
 * octets that came in: the scanner says how many of the buffered octets may be forwarded.
 * What could still turn out to be the end of the message, or a violation, is held back, so
 * that the end is written only after it was read whole.
 */
#ifndef SALLYPORT_PROXY_SMTP_BODY_H
#define SALLYPORT_PROXY_SMTP_BODY_H

#include "base/buffer.h"

enum smtp_body {
	SMTP_BODY_MORE,		/* forward what is said, come back with more */
	SMTP_BODY_END,		/* what may be forwarded includes the final dot line */
	SMTP_BODY_BARE_CR,
	SMTP_BODY_BARE_LF,
	SMTP_BODY_NUL,
	SMTP_BODY_AMBIGUOUS_END,	/* a lone dot between line ends of different kinds */
	SMTP_BODY_LINE_TOO_LONG,	/* normalizing only, since it takes whole lines */
	SMTP_BODY_COUNT
};
extern const char *const smtp_body_reasons[SMTP_BODY_COUNT];	/* "body-bare-lf" */

#define SMTP_BODY_LINE_MAX 16383	/* octets of a line to normalize, with its end: any read buffer holds it */

struct smtp_body_scan {
	bool in_line;			/* the next octet does not start a line */
	uint64_t stuffed;		/* dots so far that are not the message's (RFC 5321, 4.5.2) */
	/* For smtp_body_normalize: */
	bool lf_client;			/* the client ends its commands with bare LF */
	bool last_line_lf;		/* how the line before ended */
};

/*
 * Strict. Zeroed scan: at the start of the body. octets continue where the last call's *forward
 * ended. Octets up to *forward are final also when the result is a violation.
 */
enum smtp_body smtp_body_scan(struct smtp_body_scan *scan, struct slice octets, size_t *forward);

/*
 * The fast part of smtp_body_scan. How many octets at the start are ordinary: whole line ends, no
 * NUL, no line that is or may become the lone dot; scan is then what it is behind them. It may
 * return less, and 0.
 */
size_t smtp_body_skip(struct smtp_body_scan *scan, struct slice octets);

/*
 * For clients that may end lines with bare LF (require_crlf FALSE): lines of the body, rewritten
 * to CRLF and stuffed again, are appended to out. The message ends with a lone dot whose line
 * end, and the one before it, are of the kind that the client's DATA command had; a dot between
 * mixed line ends is refused, since it would be an end for one reader and text for another.
 * *used octets are done with. out takes at most twice the octets per call.
 */
enum smtp_body smtp_body_normalize(struct smtp_body_scan *scan, struct slice octets, size_t *used,
				   struct buffer *out);

/*
 * A chunk of BDAT (RFC 3030), which has no end in it and no dots: only that every CR is followed by
 * LF, every LF preceded by CR, and no octet NUL. *after_cr carries over from piece to piece and from
 * chunk to chunk of a message (false at its start); true when the message ends: SMTP_BODY_BARE_CR is
 * the caller's to say. MORE: fine so far.
 */
enum smtp_body smtp_body_scan_chunk(bool *after_cr, struct slice octets);

#endif
