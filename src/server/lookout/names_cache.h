/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the lookout knows of host names: which ones the generations want, what was answered, when to ask again.
 * It asks nobody itself, and has no clock.
 *
 * An answer holds for its TTL, but not less than NAMES_TTL_MIN_S nor more than NAMES_TTL_MAX_S; that there are no
 * addresses for NAMES_NONE_S. A question that nobody answered is asked again with growing pauses, and what was
 * known stays until there is an answer, however long that takes.
 */
#ifndef SALLYPORT_SERVER_LOOKOUT_NAMES_CACHE_H
#define SALLYPORT_SERVER_LOOKOUT_NAMES_CACHE_H

#include "policy/names.h"

#define NAMES_TTL_MIN_S 5u
#define NAMES_TTL_MAX_S 3600u
#define NAMES_NONE_S 60u
#define NAMES_RETRY_FIRST_S 5u
#define NAMES_RETRY_MAX_S 60u
#define NAMES_UNDER_WAY_MAX 64u		/* questions at a time */
#define NAMES_FAMILY_MAX (HOST_ADDRESSES_MAX / 2)	/* addresses of one family */

struct names_cache;

/* A question under way, from names_cache_next until names_cache_answered or _failed. */
struct names_question {
	const char *name;
	int family;
};

struct names_cache *names_cache_create(void);		/* NULL: no memory */
void names_cache_free(struct names_cache **cp);		/* no question may be under way */

/* The names that a generation wants from now on; those that nobody wants any more are forgotten. None: it is gone.
 * How many are left out, since there are more than SNAPSHOT_HOSTS_MAX of all: of the oldest generations, never of the
 * newest two, which have POLICY_HOSTS_MAX each. -ENOMEM: some are missing. */
int names_cache_want(struct names_cache *c, uint32_t generation, const struct names_snapshot *hosts) MUST_CHECK;

/* What one before us knew: for each family taken where nothing is known yet, as stale. */
void names_cache_seed(struct names_cache *c, const struct names_snapshot *snapshot, int64_t now_wall_ms);

/* What is to be asked now; it is then under way. NULL: nothing, and *at_ms is when there may be something;
 * 0: not before an answer or another name. Times are monotonic. */
struct names_question *names_cache_next(struct names_cache *c, int64_t now_ms, int64_t *at_ms);

/* Ends the question. Ascending addresses of its family, at most NAMES_FAMILY_MAX. true: they are others than before. */
bool names_cache_answered(struct names_cache *c, struct names_question *q, const struct ip_addr *addrs, size_t n, uint32_t ttl_s,
			  int64_t now_ms, int64_t now_wall_ms);
/* Ends the question. true: until now it had an answer that was good, or none at all. */
bool names_cache_failed(struct names_cache *c, struct names_question *q, int64_t now_ms, int64_t now_wall_ms);

/* Changes of the snapshot so far. */
uint64_t names_cache_version(const struct names_cache *c);
bool names_cache_pending(const struct names_cache *c);	/* some name was never answered nor given up */
void names_cache_pack(const struct names_cache *c, struct buffer *out);

#endif
