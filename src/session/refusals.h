/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log lines of which anybody can cause any number: those of connections that get no session. For each reason some
 * at once, then some each second; so a flood of one kind does not hide the others. What is left out is counted, and
 * the count told by the next line of the kind, or a little later by one of its own.
 */
#ifndef SALLYPORT_SESSION_REFUSALS_H
#define SALLYPORT_SESSION_REFUSALS_H

#include "io/loop.h"

enum refusal {
	REFUSAL_NO_RULE, REFUSAL_DENIED, REFUSAL_FORWARDS, REFUSAL_LIMIT, REFUSAL_NO_HEADER, REFUSAL_RESOURCES, REFUSALS
};
extern const char *const refusal_reasons[REFUSALS];

struct line_limit {
	int64_t since_ms;		/* up to when room was given */
	unsigned room;			/* lines that may still be written */
	uint64_t left_out;		/* since the last one that was */
};

struct refusals {			/* starts as zeros */
	struct line_limit limits[REFUSALS];
	struct loop_timer tell;		/* set while something is left out */
	bool telling;
	struct loop *loop;
};

/* May a line be written now? *left_out: how many were not since the last one; the line says so. */
bool refusals_may_log(struct refusals *r, struct loop *loop, enum refusal why, uint64_t *left_out);
/* Tell what was left out so far; at the latest before the loop is freed, which must not have the timer then. */
void refusals_finish(struct refusals *r);

#endif
