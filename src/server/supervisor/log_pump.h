/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Everybody's log lines, from their pipes to the supervisor's standard error. It waits a moment
 * between readings of a busy source, so that lines come in many at a time; and when nobody reads standard error
 * it keeps what it has and stops reading, so that the writers count what they drop instead of us waiting.
 * What cannot be written at all, or not before the end, is counted and reported.
 */
#ifndef SALLYPORT_SERVER_SUPERVISOR_LOG_PUMP_H
#define SALLYPORT_SERVER_SUPERVISOR_LOG_PUMP_H

#include "server/poller.h"

struct log_pump;

struct log_pump *log_pump_create(struct poller *poller, int out);	/* NULL: no memory, no room in poller */
int log_pump_add(struct log_pump *p, int fd) MUST_CHECK;	/* takes fd over; ends with its end of file */
/* Write what is there now; at the end of the process, for at most max_ms. */
void log_pump_flush(struct log_pump *p, int max_ms);
void log_pump_free(struct log_pump **pp);

#endif
