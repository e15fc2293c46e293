/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is known of the addresses of host names: a snapshot, made by the lookout (server/lookout/lookout.h) and read by
 * whoever decides. Complete in itself; a newer one replaces it. As octets it goes from process to process in
 * sealed memory files, and is not believed: what comes out of names_unpack is in these bounds and in order.
 *
 * And what follows for a policy: the addresses that are in its zones by their host names.
 */
#ifndef SALLYPORT_POLICY_NAMES_H
#define SALLYPORT_POLICY_NAMES_H

#include "base/addr.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "policy/policy.h"

#define HOST_OCTETS_MAX 253u		/* of a host name */
#define POLICY_HOSTS_MAX 4096u		/* host names of a policy's zones */
#define SNAPSHOT_HOSTS_MAX (2 * POLICY_HOSTS_MAX)	/* of an old and a new policy at the same time */
#define HOST_ADDRESSES_MAX 64u		/* of one name, both families together */
#define SNAPSHOT_OCTETS_MAX (16u << 20)
#define MEMBERS_OCTETS_MAX (16u << 20)	/* of zone_names_pack */

enum host_state {
	HOST_PENDING,			/* not asked yet, or not answered */
	HOST_KNOWN,			/* as the last answer said, which may be: none */
	HOST_STALE,			/* asked again since, without an answer: as the last one said, if there ever was one */
	HOST_STATES
};
extern const char *const host_state_names[HOST_STATES];	/* "pending", "known", "stale" */

struct host_record {
	struct slice name;
	uint8_t state;			/* enum host_state */
	int64_t since_wall_ms;		/* these addresses, and this state */
	const struct ip_addr *addrs;	/* ascending */
	size_t n_addrs;
};

struct names_snapshot {
	const struct host_record *hosts;	/* ascending by name */
	size_t n_hosts;
};

/* Lower case letters, digits, '-', '_' and dots between labels of 1 to 63 octets; no address. */
bool host_name_is_plain(struct slice name);

/* Into out, whose ceiling should be SNAPSHOT_OCTETS_MAX; broken when there is no memory. */
void names_pack(const struct names_snapshot *s, struct buffer *out);
/* 0; -EINVAL; -ENOMEM. Names stay in octets. */
int names_unpack(struct slice octets, struct arena *arena, struct names_snapshot *out) MUST_CHECK;

const struct host_record *names_find(const struct names_snapshot *s, struct slice name);	/* NULL: none */

/* ---- for a policy ---- */

struct zone_member {
	struct ip_addr ip;
	uint32_t zone;			/* index in the policy */
};

/* An address that host names of two zones have: it is in neither. */
struct zone_conflict {
	struct ip_addr ip;
	const struct zone *a, *b;	/* the first two */
};

struct zone_names;

/*
 * The members that zones have by their host names. Where a zone has the very address in its static list that
 * one counts, and where two zones' names have an address none does. before: those of the same policy until now, or
 * NULL: of a host that is pending or not in the snapshot, which nobody has asked yet, what they had stays. 0; -ENOMEM.
 */
int zone_names_make(const struct policy *policy, const struct names_snapshot *snapshot, const struct zone_names *before,
		    struct zone_names **out) MUST_CHECK;
void zone_names_free(struct zone_names **zp);		/* accepts NULL in it */

/* As octets, for processes that were forked from this one and have the same policy. The buffer's ceiling should be
 * MEMBERS_OCTETS_MAX; broken when there is no memory. */
void zone_names_pack(const struct zone_names *names, struct buffer *out);
/* Those octets, mapped, are searched as they stand; it takes no time and hardly memory, and there are no conflicts in it. The
 * mapping is taken over, but not on failure. Whoever made them is trusted. 0; -EINVAL (not of this policy); -ENOMEM. */
int zone_names_map(const struct policy *policy, void *mapped, size_t octets, struct zone_names **out) MUST_CHECK;

/* By address, ascending. NULL names have none. */
const struct zone_member *zone_names_members(const struct zone_names *names, size_t *n);
const struct zone_conflict *zone_names_conflicts(const struct zone_names *names, size_t *n);
/* NULL: by no host name. */
const struct zone *zone_names_find(const struct zone_names *names, const struct ip_addr *ip);
/* Same members? Either may be NULL. */
bool zone_names_equal(const struct zone_names *a, const struct zone_names *b);

#endif
