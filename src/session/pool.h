/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Idle connections to servers, kept for a session that would open the very same: a worker has one
 * pool, bounded in every direction. What is in it is watched: any octet, an end or an error closes
 * the connection, and so do its age and its idle time. Whoever puts a connection in promises that
 * nobody owes anything on it; whoever takes it out is the next one to speak.
 *
 * A connection without a doubt about it is the only kind there is here: whatever is refused, or
 * does not fit any more, is closed by who noticed, and a new connection costs only time.
 *
 * Nothing here waits. A pool belongs to one generation, since its services do.
 */
#ifndef SALLYPORT_SESSION_POOL_H
#define SALLYPORT_SESSION_POOL_H

#include "base/arena.h"
#include "io/stream.h"
#include "session/connect.h"
#include "session/secure.h"

#define POOL_MAX 128u		/* connections of a worker; their descriptors are set aside (server/worker/worker.c) */
#define POOL_NOTE_MAX 2048u	/* octets that the protocol remembers of one */

struct pool;

/* What a connection was opened for. It serves only sessions that would open the same. */
struct pool_key {
	const struct service *service;
	struct connect_request how;
	struct leg_identity leg;
	struct secure_identity secure;	/* of one that is kept: lives as long as its tls_arena */
};
bool pool_key_equal(const struct pool_key *a, const struct pool_key *b);

/*
 * Could any other session ever have the same key, and does it hurt nobody that the connection
 * stays? Not with a source port that somebody asked for by number (it would be taken when he
 * comes back), and not with a PROXY header (it names one connection of one client).
 */
bool pool_key_may_repeat(const struct pool_key *key);

/* A connection, with what is known of it. */
struct pooled {
	struct stream *stream;		/* owned */
	int64_t opened_ms;		/* monotonic */
	unsigned sessions;		/* that it has served */
	unsigned messages;		/* whatever the protocol calls so */
	struct slice note;		/* the protocol's, at most POOL_NOTE_MAX octets: what every session must know */
	struct slice goodbye;		/* said when it is closed unused; static; may be empty */
	struct arena *tls_arena;	/* of a leg with TLS: owned, and so is what was learned in its handshake; else NULL */
	struct tls_handshake *tls;
};

struct pool_limits {
	unsigned idle_max;		/* connections of this service to this target; the one idle for longest goes */
	int64_t idle_ms, age_ms;	/* from now; since opened_ms */
};

struct pool_counts {
	unsigned idle;			/* in the pool now */
	uint64_t kept, reused, closed;	/* put in; taken out; closed in it */
};

struct pool *pool_create(struct loop *loop);	/* NULL: no memory */
void pool_free(struct pool **poolp);		/* closes all */

bool pool_takes(const struct pool *pool);	/* not shut */

/* Close all, and refuse what comes from now on: the generation ends. Accepts NULL. */
void pool_shut(struct pool *pool);

/*
 * Keep a connection; the note is copied. 0: stream and tls_arena are the pool's, and NULL in *c. Else
 * they still are the caller's: -ENOTCONN (not quiet: octets in one direction, an end, an error);
 * -ESHUTDOWN; -EMSGSIZE (the note); -ESTALE (too old, or limits without room); -EADDRINUSE (the
 * key may not repeat); -ENOMEM.
 */
int pool_put(struct pool *pool, const struct pool_key *key, struct pooled *c, const struct pool_limits *limits) MUST_CHECK;

/*
 * The connection that was put in last of those with this key. Its note lives on arena, its octets
 * count anew. 0 and *out; -ENOENT; -ENOMEM.
 */
int pool_take(struct pool *pool, const struct pool_key *key, struct arena *arena, struct pooled *out) MUST_CHECK;

const struct pool_counts *pool_counts(const struct pool *pool);
/* fn is called when they changed; it must not use the pool. */
void pool_on_change(struct pool *pool, void (*fn)(void *arg), void *arg);

#endif
