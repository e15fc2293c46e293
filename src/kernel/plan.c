/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the policy to the plan. The kernel can't take the best-match decision itself (its score
 * depends on which of a rule's alternatives matched), but it can tell two things exactly: could
 * any proxied rule match this flow, and does a denying rule win whatever else matches. The first
 * goes to user space, which decides for good; the second is refused on the spot. What is
 * neither, but denied, goes to user space too if it is TCP, and is dropped if it is not.
 */
#include "kernel/plan_priv.h"

#include <errno.h>

#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ICMP6 58

/* How much work it may be to find the order of rules pair by pair; beyond, user space decides. */
#define ORDERED_MAX 512
#define PAIRS_MAX 200000

/* A rule as a refusal of some transport; order decides between those that answer differently. */
struct refusal {
	const struct rule *rule;
	uint8_t deny;
	bool log;
	bool doubtful;		/* the winner depends on the flow */
	bool early;		/* wins over every served rule */
	bool placed;
};

struct maker {
	const struct policy *policy;
	struct pools pools;
	uint8_t family;
	enum intercept_transport transport;
	struct zone_space *zones;
	struct refusal *refusals;
	size_t n_refusals;
	struct intercept *out;
	size_t n_out;
};

static int add_spans(struct maker *m, struct draft *draft, enum intercept_dim dim, struct span *spans, size_t n)
{
	int number;

	if (n == 0) {
		draft->key[dim] = -1;
		return 0;
	}
	number = pools_spans(&m->pools, spans, n);
	if (number < 0)
		return number;
	draft->key[dim] = number;
	return 0;
}

static int add_numbers(struct maker *m, struct draft *draft, enum intercept_dim dim, const uint32_t *v, size_t n)
{
	struct span *spans = arena_array(m->pools.scratch, n, sizeof(*spans));

	if (spans == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		spans[i] = (struct span){ v[i], v[i] };
	return add_spans(m, draft, dim, spans, n);
}

static int add_octets(struct maker *m, struct draft *draft, enum intercept_dim dim, const uint8_t *v, size_t n)
{
	uint32_t wide[256];
	size_t used = 0;
	bool seen[256] = { false };

	for (size_t i = 0; i < n; i++) {
		if (!seen[v[i]])
			wide[used++] = v[i];
		seen[v[i]] = true;
	}
	return add_numbers(m, draft, dim, wide, used);
}

static int add_names(struct maker *m, struct draft *draft, enum intercept_dim dim, const char *const *v, size_t n)
{
	struct span *spans = arena_array(m->pools.scratch, n, sizeof(*spans));

	if (spans == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		int number = pools_name(&m->pools, v[i]);

		if (number < 0)
			return number;
		spans[i] = (struct span){ (uint32_t)number, (uint32_t)number };
	}
	return add_spans(m, draft, dim, spans, n);
}

static int add_ports(struct maker *m, struct draft *draft, enum intercept_dim dim, const struct port_range *v, size_t n)
{
	struct span *spans = arena_array(m->pools.scratch, n, sizeof(*spans));
	size_t used = 0;

	if (spans == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (v[i].first <= v[i].last)
			spans[used++] = (struct span){ v[i].first, v[i].last };
	if (n > 0 && used == 0)
		return -ENODATA;
	return add_spans(m, draft, dim, spans, used);
}

/* Subnets or zones. -ENODATA: given, but nothing of this family. */
static int add_addresses(struct maker *m, struct draft *draft, int key, const struct ip_prefix *subnets, size_t n_subnets,
			 const struct zone *const *zones, size_t n_zones)
{
	struct range_list list = { NULL, 0, 0 };
	struct address_range range;
	int err = 0;

	draft->key[key] = -1;
	if (n_subnets == 0 && n_zones == 0)
		return 0;
	for (size_t i = 0; err == 0 && i < n_subnets; i++) {
		if (subnets[i].ip.family != m->family)
			continue;
		prefix_range(&subnets[i], &range);
		err = range_list_add(&list, m->pools.scratch, &range);
	}
	for (size_t i = 0; err == 0 && i < n_zones; i++)
		err = zone_space_collect(m->zones, zones[i], m->pools.scratch, &list);
	if (err < 0)
		return err;
	if (list.n == 0)
		return -ENODATA;
	err = pools_set(&m->pools, list.v, list.n);
	if (err < -1)
		return err;
	draft->key[key] = err;
	return 0;
}

static bool has_octet(const uint8_t *v, size_t n, uint8_t octet)
{
	for (size_t i = 0; i < n; i++)
		if (v[i] == octet)
			return true;
	return false;
}

static bool ports_allow_none(const struct port_range *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (v[i].first == 0)
			return true;
	return n == 0;
}

/* Protocols other than TCP and UDP; they count as having port 0. */
static int add_other_protocol(struct maker *m, struct draft *draft, const struct rule *r)
{
	uint8_t icmp = m->family == AF_INET ? PROTO_ICMP : PROTO_ICMP6, rest[256];
	size_t n = 0;

	if (!ports_allow_none(r->src_ports, r->n_src_ports) || !ports_allow_none(r->dst_ports, r->n_dst_ports))
		return -ENODATA;
	for (size_t i = 0; i < r->n_protocols; i++)
		if (r->protocols[i] != PROTO_TCP && r->protocols[i] != PROTO_UDP && !has_octet(rest, n, r->protocols[i]))
			rest[n++] = r->protocols[i];
	if (r->n_protocols > 0 && n == 0)
		return -ENODATA;
	if (r->n_icmp_types > 0 || r->n_icmp_codes > 0) {
		int err;

		if (n > 0 && !has_octet(rest, n, icmp))
			return -ENODATA;
		rest[0] = icmp;
		n = 1;
		err = add_octets(m, draft, DIM_ICMP_TYPE, r->icmp_types, r->n_icmp_types);
		if (err == 0)
			err = add_octets(m, draft, DIM_ICMP_CODE, r->icmp_codes, r->n_icmp_codes);
		if (err < 0)
			return err;
	}
	return n > 0 ? add_octets(m, draft, DIM_PROTOCOL, rest, n) : 0;
}

static int add_transport(struct maker *m, struct draft *draft, const struct rule *r)
{
	uint8_t protocol = m->transport == TRANSPORT_TCP ? PROTO_TCP : PROTO_UDP;
	int err;

	if (m->transport == TRANSPORT_OTHER)
		return add_other_protocol(m, draft, r);
	if ((r->n_protocols > 0 && !has_octet(r->protocols, r->n_protocols, protocol)) ||
	    r->n_icmp_types > 0 || r->n_icmp_codes > 0)
		return -ENODATA;
	err = add_ports(m, draft, DIM_SRC_PORT, r->src_ports, r->n_src_ports);
	if (err == 0)
		err = add_ports(m, draft, DIM_DST_PORT, r->dst_ports, r->n_dst_ports);
	return err;
}

/* The destination's alternatives, each a draft of its own. */
static int add_destinations(struct maker *m, const struct draft *base, const struct rule *r, struct drafts *to)
{
	struct draft draft = *base;
	int err = 0;

	if (r->n_dst_ifaces == 0 && r->n_dst_ifgroups == 0) {
		err = add_addresses(m, &draft, KEY_DST, r->dst_subnets, r->n_dst_subnets, r->dst_zones, r->n_dst_zones);
		return err < 0 ? err : drafts_add(to, m->pools.scratch, &draft);
	}
	if (r->n_dst_subnets > 0 || r->n_dst_zones > 0) {
		err = add_addresses(m, &draft, KEY_DST, r->dst_subnets, r->n_dst_subnets, r->dst_zones, r->n_dst_zones);
		if (err == 0)
			err = drafts_add(to, m->pools.scratch, &draft);
		if (err == -ENODATA)
			err = 0;
		draft = *base;
	}
	if (err == 0 && r->n_dst_ifaces > 0) {
		err = add_names(m, &draft, DIM_DST_IFACE, r->dst_ifaces, r->n_dst_ifaces);
		if (err == 0)
			err = drafts_add(to, m->pools.scratch, &draft);
		draft = *base;
	}
	if (err == 0 && r->n_dst_ifgroups > 0) {
		err = add_numbers(m, &draft, DIM_DST_IFGROUP, r->dst_ifgroups, r->n_dst_ifgroups);
		if (err == 0)
			err = drafts_add(to, m->pools.scratch, &draft);
	}
	return err;
}

/* The ways a packet may come in, likewise. */
static int add_incoming(struct maker *m, const struct draft *base, const struct rule *r, struct drafts *to)
{
	struct draft draft = *base;
	int err = 0;

	if (r->n_ifaces == 0 && r->n_ifgroups == 0 && r->n_reqids == 0)
		return add_destinations(m, base, r, to);
	if (r->n_ifaces > 0) {
		err = add_names(m, &draft, DIM_IFACE, r->ifaces, r->n_ifaces);
		if (err == 0)
			err = add_destinations(m, &draft, r, to);
		draft = *base;
	}
	if (err == 0 && r->n_ifgroups > 0) {
		err = add_numbers(m, &draft, DIM_IFGROUP, r->ifgroups, r->n_ifgroups);
		if (err == 0)
			err = add_destinations(m, &draft, r, to);
		draft = *base;
	}
	if (err == 0 && r->n_reqids > 0) {
		err = add_numbers(m, &draft, DIM_REQID, r->reqids, r->n_reqids);
		if (err == 0)
			err = add_destinations(m, &draft, r, to);
	}
	return err;
}

/* Everything of this family and transport that the rule matches; nothing is fine. */
static int expand_rule(struct maker *m, const struct rule *r, struct drafts *to)
{
	struct draft draft;
	int err;

	for (int i = 0; i < KEY_COUNT; i++)
		draft.key[i] = -1;
	err = add_transport(m, &draft, r);
	if (err == 0)
		err = add_addresses(m, &draft, KEY_SRC, r->src_subnets, r->n_src_subnets, r->src_zones, r->n_src_zones);
	if (err == 0)
		err = add_incoming(m, &draft, r, to);
	return err == -ENODATA ? 0 : err;
}

static int emit(struct maker *m, const struct drafts *d, enum intercept_action action, uint8_t deny, bool log)
{
	for (size_t i = 0; i < d->n; i++) {
		struct intercept *c;

		if (m->n_out == KERNEL_INTERCEPTS_MAX)
			return -E2BIG;
		c = &m->out[m->n_out++];
		*c = (struct intercept){ .action = (uint8_t)action, .family = m->family,
					 .transport = (uint8_t)m->transport, .deny = deny, .log = log,
					 .src = d->v[i].key[KEY_SRC], .dst = d->v[i].key[KEY_DST] };
		for (int k = 0; k < DIM_COUNT; k++)
			if (d->v[i].key[k] >= 0)
				c->dims[k] = m->pools.spans[d->v[i].key[k]];
	}
	return 0;
}

static bool answers_differ(const struct refusal *a, const struct refusal *b)
{
	return a->deny != b->deny || a->log != b->log;
}

static int collect_refusals(struct maker *m)
{
	m->n_refusals = 0;
	m->refusals = arena_array(m->pools.scratch, m->policy->n_rules, sizeof(*m->refusals));
	if (m->refusals == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < m->policy->n_rules; i++) {
		const struct rule *r = &m->policy->rules[i];
		const struct service *s = r->service;

		if (s->kind == SERVICE_DENY)
			m->refusals[m->n_refusals++] = (struct refusal){
				.rule = r, .log = s->deny_logging,
				.deny = m->family == AF_INET ? s->deny_ipv4 : s->deny_ipv6 };
		else if (s->kind == SERVICE_PROXY && m->transport != TRANSPORT_TCP)
			m->refusals[m->n_refusals++] = (struct refusal){ .rule = r, .log = true };
	}
	return 0;
}

/* Where two that answer differently may both match, the order must be known. */
static void find_doubts(struct maker *m)
{
	bool uniform = true;

	for (size_t i = 1; i < m->n_refusals; i++)
		uniform = uniform && !answers_differ(&m->refusals[0], &m->refusals[i]);
	if (uniform)
		return;
	for (size_t i = 0; i < m->n_refusals; i++)
		for (size_t k = i + 1; k < m->n_refusals; k++) {
			struct refusal *a = &m->refusals[i], *b = &m->refusals[k];

			if (m->n_refusals > ORDERED_MAX ||
			    (answers_differ(a, b) && !precedence_disjoint(a->rule, b->rule) &&
			     precedence_compare(a->rule, b->rule, m->family) == 0))
				a->doubtful = b->doubtful = true;
		}
}

/* Does it win over everything that user space must decide? */
static bool wins_over_served(const struct maker *m, const struct refusal *refusal)
{
	if (m->n_refusals * m->policy->n_rules > PAIRS_MAX)
		return false;
	for (size_t i = 0; i < m->policy->n_rules; i++) {
		const struct rule *r = &m->policy->rules[i];

		if (r->service->kind == SERVICE_PROXY && !precedence_disjoint(refusal->rule, r) &&
		    precedence_compare(refusal->rule, r, m->family) <= 0)
			return false;
	}
	for (size_t i = 0; i < m->n_refusals; i++)
		if (m->refusals[i].doubtful && !precedence_disjoint(refusal->rule, m->refusals[i].rule) &&
		    precedence_compare(refusal->rule, m->refusals[i].rule, m->family) <= 0)
			return false;
	return true;
}

/* Loses it to a refusal that stands behind the served ones, and answers in another way? */
static bool loses_to_late(const struct maker *m, const struct refusal *refusal)
{
	for (size_t i = 0; i < m->n_refusals; i++) {
		const struct refusal *late = &m->refusals[i];

		if (!late->early && answers_differ(refusal, late) && !precedence_disjoint(refusal->rule, late->rule) &&
		    precedence_compare(refusal->rule, late->rule, m->family) <= 0)
			return true;
	}
	return false;
}

/*
 * Which refusals may stand before what is served: those that win over all of it, and over every
 * refusal that has to stand behind. Taking one back can take others with it, so look again.
 */
static void choose_early(struct maker *m)
{
	bool again = m->n_refusals <= ORDERED_MAX;	/* with more, all answer alike or all are in doubt */

	for (size_t i = 0; i < m->n_refusals; i++)
		m->refusals[i].early = !m->refusals[i].doubtful && wins_over_served(m, &m->refusals[i]);
	while (again) {
		again = false;
		for (size_t i = 0; i < m->n_refusals; i++)
			if (m->refusals[i].early && loses_to_late(m, &m->refusals[i])) {
				m->refusals[i].early = false;
				again = true;
			}
	}
}

static bool is_beaten(const struct maker *m, size_t i)
{
	for (size_t k = 0; k < m->n_refusals; k++)
		if (k != i && !m->refusals[k].placed && m->refusals[k].early == m->refusals[i].early &&
		    answers_differ(&m->refusals[k], &m->refusals[i]) &&
		    precedence_compare(m->refusals[k].rule, m->refusals[i].rule, m->family) > 0)
			return true;
	return false;
}

static int emit_refusal(struct maker *m, const struct refusal *refusal)
{
	struct drafts d = { NULL, 0, 0 };
	int err = expand_rule(m, refusal->rule, &d);

	return err < 0 ? err : emit(m, &d, INTERCEPT_REFUSE, refusal->deny, refusal->log);
}

/* Those that answer alike need no order among themselves: joined, they are few. */
static int emit_uniform(struct maker *m, bool early)
{
	struct drafts d = { NULL, 0, 0 };
	const struct refusal *like = NULL;
	int err = 0;

	for (size_t i = 0; err == 0 && i < m->n_refusals; i++)
		if (m->refusals[i].early == early && !m->refusals[i].placed) {
			like = &m->refusals[i];
			err = expand_rule(m, like->rule, &d);
			m->refusals[i].placed = true;
		}
	if (err == 0)
		err = drafts_merge(&d, &m->pools);
	return err < 0 || like == NULL ? err : emit(m, &d, INTERCEPT_REFUSE, like->deny, like->log);
}

static int emit_refusals(struct maker *m, bool early)
{
	const struct refusal *first = NULL;
	bool uniform = true, again = true;
	int err = 0;

	for (size_t i = 0; i < m->n_refusals; i++)
		if (m->refusals[i].early == early && !m->refusals[i].placed) {
			first = first == NULL ? &m->refusals[i] : first;
			uniform = uniform && !answers_differ(first, &m->refusals[i]);
		}
	if (uniform)
		return emit_uniform(m, early);
	/* Winners first. Precedence is transitive, so each round finds one. */
	while (err == 0 && again) {
		again = false;
		for (size_t i = 0; err == 0 && i < m->n_refusals; i++) {
			struct refusal *r = &m->refusals[i];

			if (r->placed || r->early != early || is_beaten(m, i))
				continue;
			err = emit_refusal(m, r);
			r->placed = again = true;
		}
	}
	return err;
}

static int emit_served(struct maker *m, bool *widened)
{
	struct drafts d = { NULL, 0, 0 };
	int err = 0;

	for (size_t i = 0; err == 0 && i < m->policy->n_rules; i++)
		if (m->policy->rules[i].service->kind == SERVICE_PROXY)
			err = expand_rule(m, &m->policy->rules[i], &d);
	for (size_t i = 0; err == 0 && i < m->n_refusals; i++)
		if (m->refusals[i].doubtful) {
			err = expand_rule(m, m->refusals[i].rule, &d);
			m->refusals[i].placed = true;
		}
	if (err == 0)
		err = drafts_merge(&d, &m->pools);
	if (err == 0)
		err = drafts_limit(&d, &m->pools, KERNEL_SERVES_MAX, widened);
	return err < 0 ? err : emit(m, &d, INTERCEPT_SERVE, 0, false);
}

static int make_tcp(struct maker *m, bool *widened)
{
	int err = collect_refusals(m);

	if (err < 0)
		return err;
	find_doubts(m);
	choose_early(m);
	err = emit_refusals(m, true);
	if (err == 0)
		err = emit_served(m, widened);
	if (err == 0)
		err = emit_refusals(m, false);
	return err;
}

static int make_other(struct maker *m)
{
	int err = collect_refusals(m);

	if (err < 0)
		return err;
	find_doubts(m);
	for (size_t i = 0; i < m->n_refusals; i++)
		if (m->refusals[i].doubtful)
			m->refusals[i].deny = 0;	/* denied either way: silently */
	return emit_refusals(m, false);
}

static int make_family(struct maker *m, uint8_t family, bool *widened)
{
	int err = zone_space_make(m->policy, family, m->pools.scratch, &m->zones);

	m->family = family;
	m->transport = TRANSPORT_TCP;
	if (err == 0)
		err = make_tcp(m, widened);
	m->transport = TRANSPORT_UDP;
	if (err == 0)
		err = make_other(m);
	m->transport = TRANSPORT_OTHER;
	if (err == 0)
		err = make_other(m);
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

int kernel_plan_make(const struct policy *policy, struct arena *arena, struct kernel_plan *out)
{
	struct arena *scratch = arena_child(arena, SIZE_MAX, 0);
	struct maker m = { .policy = policy };
	struct kernel_plan plan = { 0 };
	int err = -ENOMEM;

	if (scratch == NULL)
		return -ENOMEM;
	m.out = arena_array(scratch, KERNEL_INTERCEPTS_MAX, sizeof(*m.out));
	if (m.out == NULL || pools_init(&m.pools, arena, scratch) < 0)
		goto done;
	err = make_family(&m, AF_INET, &plan.widened);
	if (err == 0)
		err = make_family(&m, AF_INET6, &plan.widened);
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
