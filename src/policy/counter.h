/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is counted of the sessions of a service: rows of tables, from which come `ctl stats` and the
 * reference pages. Counting is an increment of the session's counters[], which a worker has in its
 * statistics memory (server/statistics.h); it costs neither a lock nor a call.
 */
#ifndef SALLYPORT_POLICY_COUNTER_H
#define SALLYPORT_POLICY_COUNTER_H

#include <stddef.h>

struct proxy_type;

struct counter {
	const char *name;		/* "recipients_accepted" */
	const char *doc;		/* what it counts, for the reference page */
};

#define COUNTERS_MAX 24u		/* of a service */

/* What every protocol has. Numbers of a protocol's own counters begin behind these. */
enum {
	COUNT_VIOLATIONS, COUNT_SERVERS_OPENED, COUNT_SERVERS_REUSED,
	COUNTERS_COMMON
};

/* The counter with this number; NULL: there are no more. type may be NULL: only the common ones. */
const struct counter *counter_of(const struct proxy_type *type, size_t number);

#endif
