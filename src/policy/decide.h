/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decision in slow motion: how one rule fares against one flow. `explain` shows this;
 * policy_decide() finds the best rule through an index (rule_index.h).
 *
 * A rule matches when each group of its dimensions matches; a group without conditions matches
 * with score 0. Three groups are alternatives of their dimensions: incoming interface (iface,
 * ifgroup, reqid), source address (subnet, zone), destination address (subnet, interface,
 * interface group, zone). Scores are compared position by position, in the order of the enum.
 */
#ifndef SALLYPORT_POLICY_DECIDE_H
#define SALLYPORT_POLICY_DECIDE_H

#include "policy/policy.h"

enum score_position {
	SCORE_INCOMING,		/* group 1 + name 2 + reqid 4 */
	SCORE_PROTO,		/* 1 */
	SCORE_ICMP_TYPE,	/* 1 */
	SCORE_ICMP_CODE,	/* 1 */
	SCORE_SRC_PORT,		/* single port 2, range 1; the best of the ranges that contain it */
	SCORE_DST_PORT,
	SCORE_SRC,		/* (prefix length + 1) * 32 + zone depth */
	SCORE_DST,		/* (prefix length + 1) * 128 + (group 1 + name 2) * 32 + zone depth */
	SCORE_COUNT
};

struct rule_score {
	uint16_t at[SCORE_COUNT];
};

/* A flow with its zones looked up. */
struct zoned_flow {
	const struct flow *flow;
	const struct zone *src_zone, *dst_zone;		/* NULL = none */
};

struct zoned_flow flow_with_zones(const struct policy *policy, const struct zone_names *names, const struct flow *flow);

/* true: *out is the score. false: *failed is the first group, in the order above, that does not
 * match. */
bool rule_matches(const struct rule *rule, const struct zoned_flow *zoned, struct rule_score *out,
		  enum score_position *failed);

/* < 0, 0, > 0; *where is the position that decided, if they differ. */
int rule_score_compare(const struct rule_score *a, const struct rule_score *b, enum score_position *where);

/* The deepest listed zone that covers zone; NULL: none. */
const struct zone *zone_best_listed(const struct zone *const *zones, size_t n, const struct zone *zone);

#endif
