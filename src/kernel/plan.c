/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the policy to the plan: for each family and transport all rules as cases, sorted by what
 * they score and drawn together into levels. The first condition that matches a flow then has
 * the fate of the flow's best match.
 *
 * With very many rules that would be too many conditions for each new connection. User space
 * decides about TCP that it is delivered once more, and refuses what it must: so denials may be
 * left to it, and conditions of what it serves may be wider than the rules'. What is no TCP and
 * dropped may be more, too: forwarded it would be dropped all the same. Forwarding can't be
 * widened; a policy with too much of that is refused.
 */
#include "kernel/plan_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define EXACT_MAX KERNEL_SERVES_MAX	/* conditions of one family and transport; beyond, denials are simplified */

/* How exact denials are, from the best to the simplest. */
enum precision {
	PRECISE,
	PRECISE_BEHIND_SERVED,	/* those that stand before something served go to user space */
	COARSE,			/* TCP: all go to user space; else all are dropped, with more that nobody serves */
	PRECISIONS
};

static const uint8_t families[] = { AF_INET, AF_INET6 };
static const enum intercept_transport transports[] = { TRANSPORT_TCP, TRANSPORT_UDP, TRANSPORT_OTHER };

struct maker {
	const struct policy *policy;
	const struct zone_names *names;
	struct pools pools;
	struct fates fates;
	struct case_maker cases;
	struct intercept *out;
	size_t n_out, size_out, n_spans;
	size_t first_out;		/* of this family and transport */
};

static int by_level(const void *a, const void *b)
{
	const struct rule_case *x = a, *y = b;

	return (x->level > y->level) - (x->level < y->level);
}

static int too_many_targets(struct maker *m)
{
	return pools_excess(&m->pools, KERNEL_TARGETS_MAX, "addresses that PFServices forward to", "fewer DirectedRouters of PFServices");
}

static int too_many_conditions(struct maker *m)
{
	static const char *const protocols[] = { "TCP", "UDP", "other protocols" };
	char what[80];

	snprintf(what, sizeof(what), "conditions for %s over %s", protocols[m->cases.transport],
		 m->cases.family == AF_INET ? "IPv4" : "IPv6");
	return pools_excess(&m->pools, KERNEL_CHAIN_MAX, what,
			    "rules of PFServices that differ in one condition only, which are joined, or wider ones (zones, subnets)");
}

static int find_target(struct maker *m, struct kernel_plan *plan, const struct endpoint *target)
{
	struct endpoint *all = (struct endpoint *)(uintptr_t)plan->targets;

	if (target->ip.family == AF_UNSPEC)
		return -1;
	if (all == NULL)
		all = arena_array(m->pools.arena, KERNEL_TARGETS_MAX, sizeof(*all));
	if (all == NULL)
		return -ENOMEM;
	plan->targets = all;
	for (size_t i = 0; i < plan->n_targets; i++)
		if (endpoint_equal(&all[i], target))
			return (int)i;
	if (plan->n_targets == KERNEL_TARGETS_MAX)
		return too_many_targets(m);
	all[plan->n_targets] = *target;
	return (int)plan->n_targets++;
}

static struct intercept *next_out(struct maker *m)
{
	if (m->n_out == m->size_out) {
		size_t size = m->size_out == 0 ? 256 : m->size_out * 2;
		struct intercept *bigger = arena_array(m->pools.scratch, size, sizeof(*bigger));

		if (bigger == NULL)
			return NULL;
		if (m->n_out > 0)
			memcpy(bigger, m->out, m->n_out * sizeof(*bigger));
		m->out = bigger;
		m->size_out = size;
	}
	return &m->out[m->n_out++];
}

static struct intercept intercept_of(const struct maker *m, const struct draft *d, const struct kernel_fate *fate, int target)
{
	struct intercept c = { .action = fate->action, .family = m->cases.family, .transport = (uint8_t)m->cases.transport,
			       .deny = fate->deny, .log = fate->log, .masquerade = fate->masquerade, .target = target,
			       .src = d->key[KEY_SRC], .dst = d->key[KEY_DST] };

	for (int k = 0; k < DIM_COUNT; k++)
		if (d->key[k] >= 0)
			c.dims[k] = m->pools.spans[d->key[k]];
	return c;
}

static size_t spans_of(const struct intercept *c)
{
	size_t n = 0;

	for (int k = 0; k < DIM_COUNT; k++)
		n += c->dims[k].n;
	return n;
}

static int emit(struct maker *m, const struct drafts *d, const struct kernel_fate *fate, struct kernel_plan *plan)
{
	int target = find_target(m, plan, &fate->target);

	if (target < -1)
		return target;
	for (size_t i = 0; i < d->n; i++) {
		struct intercept *c;

		if (m->n_out - m->first_out == KERNEL_CHAIN_MAX)
			return too_many_conditions(m);
		c = next_out(m);
		if (c == NULL)
			return -ENOMEM;
		*c = intercept_of(m, &d->v[i], fate, target);
		m->n_spans += spans_of(c);
		if (m->n_spans > KERNEL_SPANS_MAX)
			return pools_excess(&m->pools, KERNEL_SPANS_MAX, "ranges of ports, protocols and the like", "wider ones");
	}
	return 0;
}

/* One level, its conditions joined. may_widen: what is served, or else dropped, may be more than the rules match. */
static int emit_level(struct maker *m, const struct rule_case *v, size_t n, bool may_widen, struct kernel_plan *plan)
{
	const struct kernel_fate *fate = &m->fates.v[v[0].fate];
	struct drafts d = { NULL, 0, 0 };
	int err = 0;

	for (size_t i = 0; err == 0 && i < n; i++)
		err = drafts_add(&d, m->pools.scratch, &v[i].draft);
	if (err == 0)
		err = drafts_merge(&d, &m->pools);
	if (err == 0 && may_widen && (fate->action == INTERCEPT_SERVE || m->cases.transport != TRANSPORT_TCP))
		err = drafts_limit(&d, &m->pools, KERNEL_SERVES_MAX, &plan->widened);
	return err < 0 ? err : emit(m, &d, fate, plan);
}

static int emit_levels(struct maker *m, const struct rule_cases *cases, bool may_widen, struct kernel_plan *plan)
{
	size_t end;
	int err = 0;

	for (size_t i = 0; err == 0 && i < cases->n; i = end) {
		for (end = i + 1; end < cases->n && cases->v[end].level == cases->v[i].level; end++)
			;
		err = emit_level(m, &cases->v[i], end - i, may_widen, plan);
	}
	return err;
}

static int collect_cases(struct maker *m, struct rule_cases *out)
{
	int err = 0;

	for (size_t i = 0; err == 0 && i < m->policy->n_rules; i++) {
		const struct rule *r = &m->policy->rules[i];
		struct kernel_fate fate = kernel_fate_of(r->service, m->cases.family, m->cases.transport);
		int number = fates_add(&m->fates, &fate);

		if (number == -E2BIG)
			number = too_many_targets(m);
		err = number < 0 ? number : rule_cases_add(&m->cases, r, (uint32_t)number, out);
	}
	rule_cases_sort(out);
	return err;
}

/* Fewer fates; the cases are still sorted. */
static int simplify(struct maker *m, struct rule_cases *cases, enum precision precision)
{
	const struct kernel_fate serve = { .action = INTERCEPT_SERVE }, drop = { .action = INTERCEPT_REFUSE, .log = true };
	bool tcp = m->cases.transport == TRANSPORT_TCP;
	int fate = fates_add(&m->fates, tcp ? &serve : &drop);
	bool served_behind = !tcp || precision == COARSE;

	if (fate < 0)
		return fate;
	for (size_t i = cases->n; i-- > 0;) {
		struct rule_case *c = &cases->v[i];
		uint8_t action = m->fates.v[c->fate].action;

		served_behind = served_behind || action == INTERCEPT_SERVE;
		if (action == INTERCEPT_REFUSE && served_behind)
			c->fate = (uint32_t)fate;
	}
	return 0;
}

static bool forwards_any(const struct maker *m, const struct rule_cases *cases)
{
	for (size_t i = 0; i < cases->n; i++)
		if (m->fates.v[cases->v[i].fate].action == INTERCEPT_FORWARD)
			return true;
	return false;
}

/* All conditions of one family and transport, as exact as room allows. */
static int make_transport(struct maker *m, struct kernel_plan *plan)
{
	struct rule_cases cases = { NULL, 0, 0 };
	size_t n_spans = m->n_spans;
	bool forwards, widened = plan->widened, tcp = m->cases.transport == TRANSPORT_TCP;
	int err;

	m->first_out = m->n_out;
	err = collect_cases(m, &cases);
	forwards = forwards_any(m, &cases);
	for (enum precision precision = PRECISE; err == 0 && precision < PRECISIONS; precision++) {
		bool last = precision == COARSE;
		struct levels levels;

		if (precision != PRECISE) {
			rule_cases_sort(&cases);
			err = simplify(m, &cases, precision);
		}
		if (err == 0)
			err = rule_cases_level(&cases, &m->pools, &levels);
		if (err < 0 || (!last && levels.n > EXACT_MAX))
			continue;
		if (cases.n > 0)
			qsort(cases.v, cases.n, sizeof(*cases.v), by_level);
		m->n_out = m->first_out;
		m->n_spans = n_spans;
		plan->widened = widened;
		err = emit_levels(m, &cases, (last || (tcp && precision != PRECISE)) && !forwards, plan);
		if (err == 0 && (last || m->n_out - m->first_out <= EXACT_MAX))
			return 0;
		if (err == -E2BIG && !last) {
			err = 0;
			m->pools.excess.what[0] = '\0';
		}
	}
	return err;
}

static int make_family(struct maker *m, uint8_t family, struct kernel_plan *plan)
{
	struct zone_space *zones;
	int err = zone_space_make(m->policy, m->names, family, m->pools.scratch, &zones);

	if (err < 0)
		return err;
	m->cases.zones = zones;
	m->cases.zone_sets = arena_array(m->pools.scratch, m->policy->n_zones, sizeof(*m->cases.zone_sets));
	if (m->cases.zone_sets == NULL)
		return -ENOMEM;
	m->cases.family = family;
	for (size_t i = 0; err == 0 && i < ARRAY_LEN(transports); i++) {
		m->cases.transport = transports[i];
		arena_reset(m->cases.keep);
		err = make_transport(m, plan);
	}
	return err;
}

/* Unions leave behind sets that nothing uses any more: number the used ones anew. */
static int keep_used_sets(struct maker *m, struct kernel_plan *out)
{
	int32_t *numbers = arena_array(m->pools.scratch, m->pools.n_sets + 1, sizeof(*numbers));
	struct address_set *sets = arena_array(m->pools.arena, m->pools.n_sets + 1, sizeof(*sets));
	size_t n = 0;

	if (numbers == NULL || sets == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_out; i++) {
		int32_t *uses[] = { &m->out[i].src, &m->out[i].dst };

		for (size_t k = 0; k < ARRAY_LEN(uses); k++) {
			if (*uses[k] < 0)
				continue;
			if (numbers[*uses[k]] == 0) {
				sets[n] = m->pools.sets[*uses[k]];
				numbers[*uses[k]] = (int32_t)++n;
			}
			*uses[k] = numbers[*uses[k]] - 1;
		}
	}
	out->sets = sets;
	out->n_sets = n;
	return 0;
}

static int collect_grants(struct maker *m, struct grants *out)
{
	int err = 0;

	for (size_t i = 0; err == 0 && i < m->policy->n_rules; i++) {
		const struct rule *r = &m->policy->rules[i];
		struct kernel_fate fate = kernel_fate_of(r->service, m->cases.family, m->cases.transport);
		int number = fate.action == INTERCEPT_FORWARD ? fates_add(&m->fates, &fate) : -1;

		if (fate.action == INTERCEPT_FORWARD)
			err = number < 0 ? number : grants_add(out, &m->cases, r, (uint32_t)number);
	}
	return err;
}

/* Before all else, so that they are the same, and have the same numbers, whatever addresses there are. */
static int make_grants(struct maker *m, struct kernel_plan *plan)
{
	struct grants all = { .n = 0 };
	struct intercept *v;
	size_t n_spans = 0;
	int err = 0;

	for (size_t i = 0; err == 0 && i < ARRAY_LEN(families) * ARRAY_LEN(transports); i++) {
		m->cases.family = families[i / ARRAY_LEN(transports)];
		m->cases.transport = transports[i % ARRAY_LEN(transports)];
		err = collect_grants(m, &all);
		all.cases = (struct rule_cases){ .n = 0 };
		arena_reset(m->cases.keep);
	}
	v = arena_array(m->pools.arena, all.n, sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	for (size_t i = 0; err == 0 && i < all.n; i++) {
		const struct kernel_fate *fate = &m->fates.v[all.v[i].fate];
		int target = find_target(m, plan, &fate->target);
		struct draft draft;

		err = target < -1 ? target : grant_join(&all.v[i], &m->pools, &draft);
		m->cases.family = all.v[i].family;
		m->cases.transport = all.v[i].transport;
		if (err != 0)
			break;
		v[i] = intercept_of(m, &draft, fate, target);
		n_spans += spans_of(&v[i]);
		if (n_spans > KERNEL_SPANS_MAX)
			err = pools_excess(&m->pools, KERNEL_SPANS_MAX, "ranges of ports, protocols and the like", "wider ones");
	}
	plan->grants = v;
	plan->n_grants = all.n;
	return err;
}

int kernel_plan_make(const struct policy *policy, const struct zone_names *names, struct arena *arena, struct kernel_plan *out)
{
	struct arena *scratch = arena_child(arena, SIZE_MAX, 0);
	struct maker m = { .policy = policy, .names = names };
	struct kernel_plan plan = { .changing = policy->n_hostnames > 0 };
	int err = -ENOMEM;

	if (scratch == NULL)
		return -ENOMEM;
	if (pools_init(&m.pools, arena, scratch) < 0 || fates_init(&m.fates, scratch) < 0)
		goto done;
	m.cases.pools = &m.pools;
	m.cases.keep = arena_child(scratch, SIZE_MAX, 0);
	m.cases.scratch = arena_child(scratch, SIZE_MAX, 0);
	if (m.cases.keep == NULL || m.cases.scratch == NULL)
		goto done;
	err = plan.changing ? make_grants(&m, &plan) : 0;
	for (size_t i = 0; err == 0 && i < ARRAY_LEN(families); i++)
		err = make_family(&m, families[i], &plan);
	if (err == -E2BIG && m.pools.excess.what[0] == '\0')
		pools_excess(&m.pools, KERNEL_RANGES_MAX, "ranges of addresses in one place", "wider subnets in zones and rules");
	if (err == -E2BIG)
		*out = (struct kernel_plan){ .excess = m.pools.excess };
	if (err == 0)
		err = keep_used_sets(&m, &plan);
	if (err == 0) {
		struct intercept *all = arena_array(arena, m.n_out, sizeof(*all));

		err = all == NULL ? -ENOMEM : 0;
		if (all != NULL && m.n_out > 0)
			memcpy(all, m.out, m.n_out * sizeof(*all));
		plan.intercepts = all;
	}
	if (err == 0) {
		plan.n_intercepts = m.n_out;
		plan.names = m.pools.names;
		plan.n_names = m.pools.n_names;
		*out = plan;
	}
done:
	arena_free(&scratch);
	return err;
}
