/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Putting one log line together, in text or JSON (base/log.h shows both). Whoever reads the log
 * must be able to trust its lines, though half of what is in them was chosen by a peer.
 */
#ifndef SALLYPORT_BASE_LOG_LINE_H
#define SALLYPORT_BASE_LOG_LINE_H

#include "base/log.h"

struct log_line {
	enum log_format format;
	int64_t stamp_s;		/* the second that stamp is the text of; -1: none */
	char stamp[80];
	size_t len;			/* octets of text */
	char text[LOG_LINE_MAX];
};

/* A whole line with its line feed; replaces what was there. */
void log_line_compose(struct log_line *l, struct slice tag, int level, struct slice session, struct slice message,
		      const struct log_field *fields, size_t n_fields);

#endif
