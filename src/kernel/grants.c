/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a policy lets the kernel forward, whatever addresses its zones have at the time: for each translation the ports,
 * protocols and interfaces of all rules that lead to it. A plan is made anew when host names have other addresses, by a
 * process that is not privileged; it may come to other conditions, but not to such as forward what the loaded policy never does.
 */
#include "kernel/plan_priv.h"

#include <errno.h>

static bool is_for(const struct grant *g, uint8_t family, enum intercept_transport transport, uint32_t fate)
{
	return g->family == family && g->transport == transport && g->fate == fate;
}

static struct grant *grant_of(struct grants *all, struct arena *scratch, uint8_t family, enum intercept_transport transport, uint32_t fate)
{
	for (size_t i = all->n; i-- > 0;)
		if (is_for(&all->v[i], family, transport, fate))
			return &all->v[i];
	if (all->v == NULL)
		all->v = arena_array(scratch, KERNEL_GRANTS_MAX, sizeof(*all->v));
	if (all->v == NULL || all->n == KERNEL_GRANTS_MAX)
		return NULL;
	all->v[all->n] = (struct grant){ .family = family, .transport = (uint8_t)transport, .fate = fate };
	return &all->v[all->n++];
}

/* The rule without its addresses; where the destination's alone may do, its interfaces say nothing. */
static struct rule anywhere(const struct rule *r)
{
	struct rule out = *r;

	if (r->n_dst_subnets > 0 || r->n_dst_zones > 0)
		out.n_dst_ifaces = out.n_dst_ifgroups = 0;
	out.n_src_subnets = out.n_src_zones = out.n_dst_subnets = out.n_dst_zones = 0;
	return out;
}

int grants_add(struct grants *all, struct case_maker *m, const struct rule *r, uint32_t fate)
{
	const struct rule any = anywhere(r);
	struct rule_cases *cases = &all->cases;
	struct grant *g;
	int err;

	cases->n = 0;
	err = rule_cases_add(m, &any, fate, cases);
	if (err < 0 || cases->n == 0)
		return err;
	g = grant_of(all, m->pools->scratch, m->family, m->transport, fate);
	if (g == NULL)
		return all->v == NULL ? -ENOMEM : pools_excess(m->pools, KERNEL_GRANTS_MAX, "different ways to forward",
							       "fewer PFServices");
	for (size_t i = 0; err == 0 && i < cases->n; i++)
		err = drafts_add(&g->rules, m->pools->scratch, &cases->v[i].draft);
	return err;
}

int grant_join(const struct grant *g, struct pools *p, struct draft *out)
{
	int32_t *numbers = arena_array(p->scratch, g->rules.n, sizeof(*numbers));
	int err = 0;

	if (numbers == NULL)
		return -ENOMEM;
	for (int key = 0; err == 0 && key < KEY_COUNT; key++) {
		out->key[key] = -1;
		for (size_t i = 0; i < g->rules.n; i++)
			numbers[i] = g->rules.v[i].key[key];
		if (key < DIM_COUNT)
			err = pools_spans_union(p, numbers, g->rules.n, &out->key[key]);
	}
	return err;
}

/* ---- held against it ---- */

static bool span_within(const struct span *one, const struct spans *all)
{
	size_t low = 0, high = all->n;

	while (low < high) {		/* the first that does not end before it begins */
		size_t middle = low + (high - low) / 2;

		if (all->spans[middle].last < one->first)
			low = middle + 1;
		else
			high = middle;
	}
	return low < all->n && all->spans[low].first <= one->first && all->spans[low].last >= one->last;
}

static bool spans_within(const struct spans *few, const struct spans *all)
{
	if (all->n == 0)
		return true;
	for (size_t i = 0; i < few->n; i++)
		if (!span_within(&few->spans[i], all))
			return false;
	return few->n > 0;
}

static bool same_fate(const struct intercept *a, const struct intercept *b)
{
	return a->family == b->family && a->transport == b->transport && a->target == b->target && a->masquerade == b->masquerade;
}

static bool dims_within(const struct intercept *few, const struct intercept *all)
{
	for (int k = 0; k < DIM_COUNT; k++)
		if (!spans_within(&few->dims[k], &all->dims[k]))
			return false;
	return true;
}

/* There is one for each fate; of a plan that has more only the first counts. */
bool kernel_plan_grants(const struct kernel_plan *plan, const struct intercept *c)
{
	for (size_t i = 0; i < plan->n_grants; i++)
		if (same_fate(&plan->grants[i], c))
			return dims_within(c, &plan->grants[i]);
	return false;
}

static bool names_equal(const struct kernel_plan *a, const struct kernel_plan *b, const struct spans *s)
{
	for (size_t i = 0; i < s->n; i++)
		for (uint32_t k = s->spans[i].first; k <= s->spans[i].last; k++)
			if (strcmp(a->names[k], b->names[k]) != 0)
				return false;
	return true;
}

static bool same_grant(const struct kernel_plan *a, const struct kernel_plan *b, size_t i)
{
	const struct intercept *x = &a->grants[i], *y = &b->grants[i];

	return same_fate(x, y) && dims_within(x, y) && dims_within(y, x) &&
	       (x->target < 0 || endpoint_equal(&a->targets[x->target], &b->targets[y->target])) &&
	       names_equal(a, b, &x->dims[DIM_IFACE]) && names_equal(a, b, &x->dims[DIM_DST_IFACE]);
}

bool kernel_plan_may_become(const struct kernel_plan *loaded, const struct kernel_plan *next)
{
	if (!loaded->changing || !next->changing || loaded->n_grants != next->n_grants || next->n_listens > 0)
		return false;
	for (size_t i = 0; i < next->n_grants; i++)
		if (!same_grant(loaded, next, i))
			return false;
	return true;
}
