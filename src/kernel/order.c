/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From cases to levels. nftables takes the first condition that matches, the policy language the
 * best; cases sorted by score make the two one. But thousands of conditions one after the other
 * would cost each new connection dearly, so cases of one fate are drawn together into a level as
 * far as none of another fate that may match the same flow stands between: within a level the
 * order means nothing and conditions can be joined.
 */
#include "kernel/plan_priv.h"

#include <errno.h>
#include <stdlib.h>

#define REORDER_MAX 4096	/* cases; with more, finding what may pass what costs too much */
#define SEARCH_MAX 64		/* ranges of one set that are looked up in another */

static int by_precedence(const void *a, const void *b)
{
	const struct rule_case *x = a, *y = b;

	if (x->score != y->score)
		return x->score > y->score ? -1 : 1;
	if (x->rule->id != y->rule->id)
		return x->rule->id < y->rule->id ? -1 : 1;
	return (x->rule > y->rule) - (x->rule < y->rule);	/* of two instances: the first one stays */
}

void rule_cases_sort(struct rule_cases *cases)
{
	if (cases->n > 0)
		qsort(cases->v, cases->n, sizeof(*cases->v), by_precedence);
}

static bool spans_meet(const struct spans *a, const struct spans *b)
{
	size_t i = 0, k = 0;

	while (i < a->n && k < b->n) {
		if (a->spans[i].last < b->spans[k].first)
			i++;
		else if (b->spans[k].last < a->spans[i].first)
			k++;
		else
			return true;
	}
	return false;
}

/* Is some address of the range in the set? */
static bool range_meets(const struct address_range *range, const struct address_set *set)
{
	size_t low = 0, high = set->n_ranges;

	while (low < high) {		/* the first that does not end before the range begins */
		size_t middle = low + (high - low) / 2;

		if (ip_compare(&set->ranges[middle].last, &range->first) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < set->n_ranges && ip_compare(&set->ranges[low].first, &range->last) <= 0;
}

/* When in doubt they do. */
static bool sets_meet(const struct address_set *a, const struct address_set *b)
{
	const struct address_set *few = a->n_ranges <= b->n_ranges ? a : b, *many = few == a ? b : a;

	if (few->n_ranges > SEARCH_MAX)
		return true;
	for (size_t i = 0; i < few->n_ranges; i++)
		if (range_meets(&few->ranges[i], many))
			return true;
	return false;
}

static bool cases_meet(const struct pools *p, const struct draft *a, const struct draft *b)
{
	for (int key = 0; key < KEY_COUNT; key++) {
		int32_t x = a->key[key], y = b->key[key];
		bool meet;

		if (x < 0 || y < 0 || x == y)
			continue;
		if (key == KEY_SRC || key == KEY_DST)
			meet = sets_meet(&p->sets[x], &p->sets[y]);
		else
			meet = spans_meet(&p->spans[x], &p->spans[y]);
		if (!meet)
			return false;
	}
	return true;
}

/* The first level behind everything of another fate that case i must not pass. */
static uint32_t lowest_level(const struct rule_cases *cases, const struct pools *p, size_t i)
{
	const struct rule_case *v = cases->v;
	uint32_t lowest = 0;

	for (size_t k = 0; k < i; k++)
		if (v[k].fate != v[i].fate && v[k].level >= lowest && cases_meet(p, &v[k].draft, &v[i].draft))
			lowest = v[k].level + 1;
	return lowest;
}

int rule_cases_level(struct rule_cases *cases, const struct pools *p, struct levels *out)
{
	uint32_t *fates = arena_array(p->scratch, cases->n, sizeof(*fates));
	size_t n = 0;

	if (fates == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < cases->n; i++) {
		struct rule_case *c = &cases->v[i];
		uint32_t level;

		if (cases->n <= REORDER_MAX)
			level = lowest_level(cases, p, i);
		else
			level = n == 0 ? 0 : (uint32_t)n - 1;
		while (level < n && fates[level] != c->fate)
			level++;
		if (level == n)
			fates[n++] = c->fate;
		c->level = level;
	}
	*out = (struct levels){ fates, n };
	return 0;
}
