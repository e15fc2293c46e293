/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker shows of itself: fixed records in a sealed memory file, written by that worker
 * alone with plain stores, read by others without asking it. Each record has a sequence count
 * that is odd while it is being written; a reader copies, compares the counts, bounds its tries
 * and checks what it got. Counters stand alone: each is one aligned word, so that counting is an
 * increment, and a reader may find some a moment older than others. A worker that starts again in the same slot, or in the next
 * generation, goes on counting where its predecessor was.
 */
#ifndef SALLYPORT_SERVER_STATISTICS_H
#define SALLYPORT_SERVER_STATISTICS_H

#include "base/addr.h"
#include "base/attributes.h"
#include "policy/counter.h"

#define STATS_NAME_MAX 128u		/* octets of a service's name, with NUL; longer ones are cut */
#define STATS_SERVICES_MAX 65536u
#define STATS_SESSIONS_MAX 32768u	/* a worker */
#define STATS_VERDICTS 7u
#define STATS_OCTETS 4u

struct stats_head {
	char magic[8];			/* "SPSTATS2" */
	uint32_t n_services, n_sessions;	/* records that follow */
	uint32_t slot, generation;
	uint32_t seq;
	uint32_t pid;			/* 0 = not running */
	uint32_t sessions, sessions_max;	/* running; the most at once */
	uint32_t sessions_used;		/* records that were ever in use: readers look no further */
	uint32_t servers_idle;		/* server connections kept for later sessions, now */
	uint32_t arrivals;		/* connections that may become sessions yet */
	uint32_t reserved;
	uint64_t servers_kept, servers_reused;	/* so far: kept; taken by a later session */
	uint64_t accepted, refused;	/* connections; those that got no session */
	uint64_t log_dropped;		/* lines */
	int64_t start_wall_ms;
};

struct stats_service {
	uint32_t seq;
	uint32_t running, running_max;
	uint32_t reserved;
	char name[STATS_NAME_MAX];
	uint64_t started;		/* = the next session's number */
	int64_t last_started_wall_ms;
	uint64_t verdicts[STATS_VERDICTS];
	uint64_t octets[STATS_OCTETS];	/* of ended sessions: enum session_octets */
	char proxy[16];			/* the type, which knows what counters mean; empty: none */
};

struct stats_session {
	uint32_t seq;
	uint32_t in_use;
	uint32_t service;
	uint32_t rule;
	struct endpoint client, client_local, server, server_local;
	struct endpoint peer;		/* who connected: the client, or one who speaks for it */
	char client_from[16];		/* who says who the client is: client_from_names */
	char id[128], doing[48], client_zone[48], server_zone[48], proxy[16], proxy_class[48];
	int64_t start_wall_ms;
	uint64_t octets[STATS_OCTETS];
};

/* The file, mapped. */
struct stats {
	int fd;
	size_t size;
	uint32_t n_services, n_sessions;	/* as mapped; whatever the head says by now */
	struct stats_head *head;
	struct stats_service *services;
	struct stats_session *sessions;
	uint64_t *counters;		/* COUNTERS_MAX a service */
};

/* A new file of that shape, sealed against changes of its size, mapped for writing. 0 or -errno. */
int stats_create(struct stats *st, uint32_t slot, uint32_t generation, uint32_t n_services,
		 uint32_t n_sessions) MUST_CHECK;
/* Map somebody's file for reading. fd is taken over on success. 0; -EBADMSG (not such a file, or
 * one that could change its size under us); -errno. */
int stats_open(struct stats *st, int fd) MUST_CHECK;
void stats_close(struct stats *st);

/* Writers put changes between these. */
static inline void stats_write_begin(uint32_t *seq)
{
	__atomic_store_n(seq, *seq + 1, __ATOMIC_RELAXED);
	__atomic_thread_fence(__ATOMIC_RELEASE);
}

static inline void stats_write_end(uint32_t *seq)
{
	__atomic_store_n(seq, *seq + 1, __ATOMIC_RELEASE);
}

/* Consistent copies, text terminated. false: it did not hold still, or the index is wrong. */
bool stats_read_head(const struct stats *st, struct stats_head *out);
bool stats_read_service(const struct stats *st, uint32_t index, struct stats_service *out);
/* The counters of a service; false: the index is wrong. */
bool stats_read_counters(const struct stats *st, uint32_t index, uint64_t out[COUNTERS_MAX]);
bool stats_read_session(const struct stats *st, uint32_t index, struct stats_session *out);

/* Go on counting where another file's writer was: session numbers, by the services' names. */
void stats_inherit(struct stats *st, const struct stats *from);

/* The writer died: no sessions are running any more. */
void stats_clear_sessions(struct stats *st);

/* Text into a record's field, cut and padded with NULs. */
void stats_text(char *dst, size_t size, const char *text);

#endif
