/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The best match without looking at every rule. docs/decision-engine.md has the reasoning, the
 * worst case and the memory.
 *
 * A rule is a set of *cases*, each of which says exactly one thing in each dimension that it
 * names: one protocol, one port, one subnet, one zone. All cases with the same kinds of
 * conditions before the addresses have the same score there: such a *shape* is looked at as a
 * whole, the best first, and the first shape with a matching case has the winner. Within a shape
 * hash tables lead from the values of the flow to the cases, most valuable address first.
 *
 * Built once with the policy, then read only. Private to policy/.
 */
#ifndef SALLYPORT_POLICY_RULE_INDEX_H
#define SALLYPORT_POLICY_RULE_INDEX_H

#include "policy/decide.h"

/* A rule of more cases than this is not taken apart: it is compared with each flow. */
#define RULE_CASES_MAX 4096u
#define RULE_INDEX_CASES_MAX ((size_t)4 << 20)	/* of all rules; those that come after are not taken apart either */

struct rule_index;

/* All rules of the policy, whose zones are known. arena owns it. 0; -ENOMEM. */
int rule_index_build(const struct policy *policy, struct arena *arena, struct rule_index **out) MUST_CHECK;

/* The best of the rules that were taken apart, and another one with the same score: rule and tie
 * of out, NULL if there is none. */
void rule_index_find(const struct rule_index *index, const struct zoned_flow *zoned, struct decision *out);

/* The rules that were not. */
const struct rule *const *rule_index_wide(const struct rule_index *index, size_t *n);

/* What it came to: shown by tools. */
struct rule_index_size {
	size_t shapes, cases, wide_rules, octets;
};
struct rule_index_size rule_index_size(const struct rule_index *index);

#endif
