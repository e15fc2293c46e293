/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's sessions as records of its statistics: who takes which record, what goes in. */
#ifndef SALLYPORT_SERVER_WORKER_SESSION_RECORDS_H
#define SALLYPORT_SERVER_WORKER_SESSION_RECORDS_H

#include "server/statistics.h"
#include "session/pool.h"
#include "session/session.h"

#include <sys/types.h>

struct session_records {
	struct stats stats;
	uint32_t *free_slots;		/* a stack; lowest numbers first */
	uint32_t n_free;
	const struct policy *policy;
	uint64_t kept_before, reused_before;	/* by the worker that was in this slot */
};

int session_records_init(struct session_records *r, const struct stats *stats, const struct policy *policy) MUST_CHECK;
void session_records_release(struct session_records *r);

void session_records_running(struct session_records *r, pid_t pid);	/* 0 = ended */
void session_records_accepted(struct session_records *r);
void session_records_refused(struct session_records *r);
void session_records_arrivals(struct session_records *r, unsigned n);	/* that wait for a PROXY header, now */
void session_records_log_dropped(struct session_records *r, uint64_t lines);
void session_records_pool(struct session_records *r, const struct pool_counts *counts);

/* The session's record is session->slot; none when all are taken. */
void session_records_start(struct session_records *r, struct session *s);
void session_records_update(struct session *s);
void session_records_end(struct session_records *r, struct session *s);

#endif
