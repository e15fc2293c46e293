/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that make a plan share; nobody else includes it. */
#ifndef SALLYPORT_KERNEL_PLAN_PRIV_H
#define SALLYPORT_KERNEL_PLAN_PRIV_H

#include "base/hash.h"
#include "kernel/plan.h"

/* Content that many intercepts share is kept once and known by its number; -1 = any. */
struct pools {
	struct arena *arena;		/* of the plan */
	struct arena *scratch;		/* until the plan is made */
	struct address_set *sets;	size_t n_sets, size_sets;
	struct spans *spans;		size_t n_spans, size_spans;
	char (*names)[IFNAME_MAX];	size_t n_names, size_names;
	struct hash *set_numbers, *span_numbers, *name_numbers;
	size_t n_ranges;		/* of all sets, against KERNEL_RANGES_MAX */
	struct kernel_excess excess;	/* behind -E2BIG */
};

/* A policy has too much of that. -E2BIG. */
int pools_excess(struct pools *p, size_t max, const char *what, const char *remedy);

int pools_init(struct pools *p, struct arena *arena, struct arena *scratch);

/* The number of that content (>= 0), -ENOMEM or -E2BIG. The arrays are sorted in place and
 * neighbours joined; n > 0. */
int pools_set(struct pools *p, struct address_range *ranges, size_t n);
int pools_spans(struct pools *p, struct span *spans, size_t n);
int pools_name(struct pools *p, const char *name);
/* The union of two numbers, -1 (any) swallowing all. */
int pools_set_union(struct pools *p, const int32_t *numbers, size_t n, int32_t *out);
int pools_spans_union(struct pools *p, const int32_t *numbers, size_t n, int32_t *out);
/* What is in both. -ENODATA: nothing. */
int pools_set_intersection(struct pools *p, int32_t a, int32_t b, int32_t *out);

/* An intercept while it is made: everything by number. */
enum { KEY_SRC = DIM_COUNT, KEY_DST, KEY_COUNT };
struct draft {
	int32_t key[KEY_COUNT];
};

struct drafts {
	struct draft *v;
	size_t n, size;
};

int drafts_add(struct drafts *d, struct arena *scratch, const struct draft *draft);

/* Join drafts that differ in one dimension only. 0 or an error of the pools. */
int drafts_merge(struct drafts *d, struct pools *p);
/* Make at most max of them, and as many again for lo, by widening; *widened: that was needed. */
int drafts_limit(struct drafts *d, struct pools *p, size_t max, bool *widened);

/* Which addresses are in which zone: longest prefix first, as ranges. */
struct zone_space;
int zone_space_make(const struct policy *policy, const struct zone_names *names, uint8_t family, struct arena *scratch, struct zone_space **out);
/* Append the ranges of a zone and its administrative descendants. */
struct range_list {
	struct address_range *v;
	size_t n, size;
};
int range_list_add(struct range_list *list, struct arena *scratch, const struct address_range *range);
int zone_space_collect(const struct zone_space *space, const struct zone *zone, struct arena *scratch, struct range_list *list);

void render_range(struct buffer *out, const struct address_range *r);	/* as nft takes it */
void prefix_range(const struct ip_prefix *prefix, struct address_range *out);
int ip_compare(const struct ip_addr *a, const struct ip_addr *b);	/* one family */
bool ip_next(struct ip_addr *ip);	/* false: there is none */
bool ip_previous(struct ip_addr *ip);
bool range_is_all(const struct address_range *range);

/* --- find.c */

bool intercept_names_loopback(const struct kernel_plan *plan, const struct intercept *c);

/* --- fates.c */

#define FATES_MAX (2 * KERNEL_TARGETS_MAX + 64)	/* each target with and without masquerading, and the rest */

struct fates {
	struct kernel_fate *v;
	size_t n;
};

int fates_init(struct fates *f, struct arena *scratch);
int fates_add(struct fates *f, const struct kernel_fate *fate);	/* its number, or -E2BIG: FATES_MAX */

/* --- cases.c */

/* One way in which a rule matches, with the one score that it has then. */
struct rule_case {
	struct draft draft;
	uint64_t score;			/* the larger wins */
	const struct rule *rule;
	uint32_t fate;
	uint32_t level;
};

struct rule_cases {
	struct rule_case *v;
	size_t n, size;
};

struct option {			/* of one part of a rule */
	struct draft draft;
	uint64_t score;
};

struct options {
	struct option *v;
	size_t n, size;
};

struct case_maker {
	struct pools *pools;
	struct arena *keep;		/* of the cases */
	struct arena *scratch;		/* empty between rules */
	const struct zone_space *zones;	/* of the family */
	int32_t *zone_sets;		/* by zone index, private to cases.c; zeroed */
	uint8_t family;
	enum intercept_transport transport;
};

/* All cases of this family and transport; none is fine. 0 or an error of the pools. */
int rule_cases_add(struct case_maker *m, const struct rule *r, uint32_t fate, struct rule_cases *to);

/* --- grants.c */

/* Rules of one fate, family and transport, without their addresses. */
struct grant {
	uint8_t family, transport;
	uint32_t fate;
	struct drafts rules;
};

struct grants {
	struct grant *v;
	size_t n;
	struct rule_cases cases;	/* room for those of one rule, on the case maker's keep */
};

int grants_add(struct grants *all, struct case_maker *m, const struct rule *r, uint32_t fate);	/* 0 or an error of the pools */
int grant_join(const struct grant *g, struct pools *p, struct draft *out);	/* each dimension by itself */
bool kernel_plan_grants(const struct kernel_plan *plan, const struct intercept *c);

/* --- order.c */

struct levels {
	const uint32_t *fates;		/* of each level */
	size_t n;
};

/* The best match first. */
void rule_cases_sort(struct rule_cases *cases);
/* Give each of the sorted cases its level: of the levels that have a case which matches a flow, the
 * first one's fate is the best match's. 0 or -ENOMEM. */
int rule_cases_level(struct rule_cases *cases, const struct pools *p, struct levels *out);

#endif
