/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule as cases. What a rule scores depends on which of its alternatives matched: a longer or
 * a shorter subnet, a subnet and a zone, a single port or a range. A case takes one of each kind
 * and so has one fixed score, and a rule's score for a flow is that of its best matching case:
 * sorted by score, the first case that matches a flow is the best match of the policy language.
 * Alternatives of equal score stay together as one set, so that most rules are one case.
 */
#include "kernel/plan_priv.h"

#include <errno.h>

#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ICMP6 58

#define CASES_MAX (1u << 20)

/* Where each score stands in the one number that is compared; the positions of policy/decide.h. */
enum { AT_DST = 0, AT_SRC = 15, AT_DST_PORT = 28, AT_SRC_PORT = 30, AT_CODE = 32, AT_TYPE, AT_PROTO, AT_INCOMING };

#define SRC_UNIT 32u		/* of a subnet's score, above the zone's depth */
#define DST_UNIT 128u
#define DEPTHS 32
#define ZONE_EMPTY (-2)		/* in place of a set's number: -1 is any address */

static int add_spans(struct case_maker *m, struct draft *draft, enum intercept_dim dim, struct span *spans, size_t n)
{
	int number = pools_spans(m->pools, spans, n);

	if (number < 0)
		return number;
	draft->key[dim] = number;
	return 0;
}

static int add_numbers(struct case_maker *m, struct draft *draft, enum intercept_dim dim, const uint32_t *v, size_t n)
{
	struct span *spans = arena_array(m->scratch, n, sizeof(*spans));

	if (spans == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		spans[i] = (struct span){ v[i], v[i] };
	return add_spans(m, draft, dim, spans, n);
}

static int add_octets(struct case_maker *m, struct draft *draft, enum intercept_dim dim, const uint8_t *v, size_t n)
{
	struct span *spans = arena_array(m->scratch, n, sizeof(*spans));

	if (spans == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		spans[i] = (struct span){ v[i], v[i] };
	return n == 0 ? 0 : add_spans(m, draft, dim, spans, n);
}

static int add_names(struct case_maker *m, struct draft *draft, enum intercept_dim dim, const char *const *v, size_t n)
{
	struct span *spans = arena_array(m->scratch, n, sizeof(*spans));

	if (spans == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		int number = pools_name(m->pools, v[i]);

		if (number < 0)
			return number;
		spans[i] = (struct span){ (uint32_t)number, (uint32_t)number };
	}
	return add_spans(m, draft, dim, spans, n);
}

static void draft_init(struct draft *draft)
{
	for (int i = 0; i < KEY_COUNT; i++)
		draft->key[i] = -1;
}

static int add_option(struct case_maker *m, struct options *to, const struct draft *draft, uint64_t score)
{
	if (to->n == to->size) {
		size_t size = to->size == 0 ? 2 : to->size * 2;
		struct option *v = arena_array(m->scratch, size, sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		if (to->n > 0)
			memcpy(v, to->v, to->n * sizeof(*v));
		to->v = v;
		to->size = size;
	}
	to->v[to->n++] = (struct option){ *draft, score };
	return 0;
}

/* The ways a packet may come in: each combination of group 1, name 2 and request id 4 that is given. */
static int add_incoming(struct case_maker *m, const struct rule *r, struct options *to)
{
	unsigned given = (r->n_ifgroups > 0 ? 1u : 0) | (r->n_ifaces > 0 ? 2u : 0) | (r->n_reqids > 0 ? 4u : 0);
	int err = 0;

	for (unsigned which = given == 0 ? 0 : 1; err == 0 && which <= given; which++) {
		struct draft draft;

		if ((which & ~given) != 0)
			continue;
		draft_init(&draft);
		if (which & 1)
			err = add_numbers(m, &draft, DIM_IFGROUP, r->ifgroups, r->n_ifgroups);
		if (err == 0 && (which & 2))
			err = add_names(m, &draft, DIM_IFACE, r->ifaces, r->n_ifaces);
		if (err == 0 && (which & 4))
			err = add_numbers(m, &draft, DIM_REQID, r->reqids, r->n_reqids);
		if (err == 0)
			err = add_option(m, to, &draft, (uint64_t)which << AT_INCOMING);
	}
	return err;
}

static bool has_octet(const uint8_t *v, size_t n, uint8_t octet)
{
	for (size_t i = 0; i < n; i++)
		if (v[i] == octet)
			return true;
	return false;
}

/* Protocols other than TCP and UDP. -ENODATA: the rule is not for them. */
static int add_other_protocol(struct case_maker *m, const struct rule *r, struct draft *draft)
{
	uint8_t icmp = m->family == AF_INET ? PROTO_ICMP : PROTO_ICMP6, rest[256];
	size_t n = 0;
	int err;

	for (size_t i = 0; i < r->n_protocols; i++)
		if (r->protocols[i] != PROTO_TCP && r->protocols[i] != PROTO_UDP && !has_octet(rest, n, r->protocols[i]))
			rest[n++] = r->protocols[i];
	if (r->n_protocols > 0 && n == 0)
		return -ENODATA;
	if (r->n_icmp_types == 0 && r->n_icmp_codes == 0)
		return add_octets(m, draft, DIM_PROTOCOL, rest, n);
	if (n > 0 && !has_octet(rest, n, icmp))
		return -ENODATA;
	err = add_octets(m, draft, DIM_PROTOCOL, &icmp, 1);
	if (err == 0)
		err = add_octets(m, draft, DIM_ICMP_TYPE, r->icmp_types, r->n_icmp_types);
	if (err == 0)
		err = add_octets(m, draft, DIM_ICMP_CODE, r->icmp_codes, r->n_icmp_codes);
	return err;
}

static int add_protocol(struct case_maker *m, const struct rule *r, struct options *to)
{
	uint8_t protocol = m->transport == TRANSPORT_TCP ? PROTO_TCP : PROTO_UDP;
	uint64_t score = (uint64_t)(r->n_protocols > 0) << AT_PROTO | (uint64_t)(r->n_icmp_types > 0) << AT_TYPE |
			 (uint64_t)(r->n_icmp_codes > 0) << AT_CODE;
	struct draft draft;
	int err = 0;

	draft_init(&draft);
	if (m->transport == TRANSPORT_OTHER)
		err = add_other_protocol(m, r, &draft);
	else if ((r->n_protocols > 0 && !has_octet(r->protocols, r->n_protocols, protocol)) ||
		 r->n_icmp_types > 0 || r->n_icmp_codes > 0)
		err = -ENODATA;
	return err < 0 ? err : add_option(m, to, &draft, score);
}

/* Single ports score 2, ranges 1. What has no ports counts as having port 0. */
static int add_ports(struct case_maker *m, enum intercept_dim dim, unsigned at, const struct port_range *v, size_t n,
		     struct options *to)
{
	struct span *spans = arena_array(m->scratch, n, sizeof(*spans));
	struct draft draft;
	int err = 0;

	draft_init(&draft);
	if (spans == NULL)
		return -ENOMEM;
	if (n == 0)
		return add_option(m, to, &draft, 0);
	for (unsigned score = 2; err == 0 && score >= 1; score--) {
		size_t used = 0;

		for (size_t i = 0; i < n; i++)
			if (v[i].first <= v[i].last && (v[i].first == v[i].last) == (score == 2) &&
			    (m->transport != TRANSPORT_OTHER || v[i].first == 0))
				spans[used++] = (struct span){ v[i].first, v[i].last };
		if (used > 0 && m->transport != TRANSPORT_OTHER)
			err = add_spans(m, &draft, dim, spans, used);
		if (err == 0 && used > 0)
			err = add_option(m, to, &draft, (uint64_t)score << at);
	}
	return err < 0 ? err : to->n == 0 ? -ENODATA : 0;
}

/* A set of addresses with what it is worth; any: no condition. */
struct worth {
	int32_t set;
	unsigned score;
};

/* The subnets of one length; -ENODATA: none of this family. */
static int subnets_of(struct case_maker *m, const struct ip_prefix *v, size_t n, unsigned bits, int32_t *set)
{
	struct range_list list = { NULL, 0, 0 };
	struct address_range range;
	int err = 0;

	for (size_t i = 0; err == 0 && i < n; i++) {
		if (v[i].ip.family != m->family || v[i].bits != bits)
			continue;
		prefix_range(&v[i], &range);
		err = range_list_add(&list, m->scratch, &range);
	}
	if (err < 0 || list.n == 0)
		return err < 0 ? err : -ENODATA;
	err = pools_set(m->pools, list.v, list.n);
	if (err < -1)
		return err;
	*set = err;
	return 0;
}

/* One zone with its descendants: many rules name the same. */
static int zone_set(struct case_maker *m, const struct zone *zone, int32_t *set)
{
	struct range_list list = { NULL, 0, 0 };
	int32_t *known = &m->zone_sets[zone->index];
	int err = 0;

	if (*known == 0) {
		err = zone_space_collect(m->zones, zone, m->scratch, &list);
		if (err == 0)
			err = list.n == 0 ? ZONE_EMPTY : pools_set(m->pools, list.v, list.n);
		if (err < ZONE_EMPTY)
			return err;
		*known = err - ZONE_EMPTY + 1;
	}
	*set = *known + ZONE_EMPTY - 1;
	return *set == ZONE_EMPTY ? -ENODATA : 0;
}

/* The zones of one depth; -ENODATA: no address of this family is in them. */
static int zones_of(struct case_maker *m, const struct zone *const *v, size_t n, unsigned depth, int32_t *set)
{
	int32_t *sets = arena_array(m->scratch, n, sizeof(*sets));
	size_t used = 0;

	if (sets == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		int err = v[i]->depth == depth ? zone_set(m, v[i], &sets[used]) : -ENODATA;

		if (err == 0)
			used++;
		else if (err != -ENODATA)
			return err;
	}
	*set = used > 0 ? sets[0] : -1;
	if (used == 0)
		return -ENODATA;
	return used == 1 ? 0 : pools_set_union(m->pools, sets, used, set);
}

/* Each length of subnets, each depth of zones: the kinds of addresses that the rule names. */
struct address_kinds {
	struct worth *subnets, *zones;
	size_t n_subnets, n_zones;
};

static int collect_kinds(struct case_maker *m, const struct ip_prefix *subnets, size_t n_subnets,
			 const struct zone *const *zones, size_t n_zones, unsigned unit, struct address_kinds *out)
{
	bool lengths[129] = { false }, depths[DEPTHS] = { false };

	out->subnets = arena_array(m->scratch, n_subnets < 129 ? n_subnets : 129, sizeof(*out->subnets));
	out->zones = arena_array(m->scratch, n_zones < DEPTHS ? n_zones : DEPTHS, sizeof(*out->zones));
	if (out->subnets == NULL || out->zones == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n_subnets; i++)
		lengths[subnets[i].bits] = true;
	for (size_t i = 0; i < n_zones; i++)
		depths[zones[i]->depth] = true;
	for (unsigned bits = 0; bits < ARRAY_LEN(lengths); bits++) {
		int err = lengths[bits] ? subnets_of(m, subnets, n_subnets, bits, &out->subnets[out->n_subnets].set) : -ENODATA;

		if (err == 0)
			out->subnets[out->n_subnets++].score = (bits + 1) * unit;
		else if (err != -ENODATA)
			return err;
	}
	for (unsigned depth = 0; depth < DEPTHS; depth++) {
		int err = depths[depth] ? zones_of(m, zones, n_zones, depth, &out->zones[out->n_zones].set) : -ENODATA;

		if (err == 0)
			out->zones[out->n_zones++].score = depth;
		else if (err != -ENODATA)
			return err;
	}
	return 0;
}

/* Both; -ENODATA: no address is in both. */
static int both(struct case_maker *m, const struct worth *a, const struct worth *b, struct worth *out)
{
	int err = 0;

	*out = a == NULL ? *b : *a;
	if (a != NULL && b != NULL) {
		out->score = a->score + b->score;
		err = pools_set_intersection(m->pools, a->set, b->set, &out->set);
	}
	return err;
}

/* interfaces: the combination of ifgroup 1 and iface 2 that the destination matches besides. */
static int add_destination_case(struct case_maker *m, const struct rule *r, unsigned interfaces, const struct worth *worth,
				struct options *to)
{
	struct draft draft;
	int err = 0;

	draft_init(&draft);
	draft.key[KEY_DST] = worth->set;
	if (interfaces & 1)
		err = add_numbers(m, &draft, DIM_DST_IFGROUP, r->dst_ifgroups, r->n_dst_ifgroups);
	if (err == 0 && (interfaces & 2))
		err = add_names(m, &draft, DIM_DST_IFACE, r->dst_ifaces, r->n_dst_ifaces);
	return err < 0 ? err : add_option(m, to, &draft, (uint64_t)(worth->score + interfaces * 32) << AT_DST);
}

static int add_source_case(struct case_maker *m, const struct worth *worth, struct options *to)
{
	struct draft draft;

	draft_init(&draft);
	draft.key[KEY_SRC] = worth->set;
	return add_option(m, to, &draft, (uint64_t)worth->score << AT_SRC);
}

/* Every pair of a length and a depth, each alone, and neither where something else is given. */
static int add_addresses(struct case_maker *m, const struct rule *r, bool destination, struct options *to)
{
	struct address_kinds kinds = { NULL, NULL, 0, 0 };
	const struct worth any = { -1, 0 };
	bool given = destination ? r->n_dst_subnets > 0 || r->n_dst_zones > 0 : r->n_src_subnets > 0 || r->n_src_zones > 0;
	unsigned interfaces = destination ? (r->n_dst_ifgroups > 0 ? 1u : 0) | (r->n_dst_ifaces > 0 ? 2u : 0) : 0;
	int err = destination ? collect_kinds(m, r->dst_subnets, r->n_dst_subnets, r->dst_zones, r->n_dst_zones, DST_UNIT, &kinds) :
				collect_kinds(m, r->src_subnets, r->n_src_subnets, r->src_zones, r->n_src_zones, SRC_UNIT, &kinds);

	for (size_t s = 0; err == 0 && s <= kinds.n_subnets; s++)
		for (size_t z = 0; err == 0 && z <= kinds.n_zones; z++) {
			const struct worth *subnet = s < kinds.n_subnets ? &kinds.subnets[s] : NULL;
			const struct worth *zone = z < kinds.n_zones ? &kinds.zones[z] : NULL;
			struct worth worth = any;
			bool neither = subnet == NULL && zone == NULL;

			if (!neither)
				err = both(m, subnet, zone, &worth);
			if (err == -ENODATA) {
				err = 0;
				continue;
			}
			for (unsigned which = 0; err == 0 && which <= interfaces; which++) {
				if ((which & ~interfaces) != 0 || (neither && which == 0 && (given || interfaces != 0)))
					continue;
				err = destination ? add_destination_case(m, r, which, &worth, to) : add_source_case(m, &worth, to);
			}
		}
	return err < 0 ? err : to->n == 0 ? -ENODATA : 0;
}

enum { PART_INCOMING, PART_PROTOCOL, PART_SRC_PORT, PART_DST_PORT, PART_SRC, PART_DST, PARTS };

static int add_case(struct rule_cases *to, struct case_maker *m, const struct rule_case *one)
{
	if (to->n == to->size) {
		size_t size = to->size == 0 ? 256 : to->size * 2;
		struct rule_case *v;

		if (size > CASES_MAX)
			return pools_excess(m->pools, CASES_MAX, "combinations of conditions of rules", "fewer alternatives in each rule");
		v = arena_array(m->keep, size, sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		if (to->n > 0)
			memcpy(v, to->v, to->n * sizeof(*v));
		to->v = v;
		to->size = size;
	}
	to->v[to->n++] = *one;
	return 0;
}

/* One of each part; the parts have no key in common. */
static int combine(struct case_maker *m, const struct options parts[PARTS], int part, const struct rule_case *base,
		   struct rule_cases *to)
{
	int err = 0;

	if (part == PARTS)
		return add_case(to, m, base);
	for (size_t i = 0; err == 0 && i < parts[part].n; i++) {
		struct rule_case more = *base;

		more.score += parts[part].v[i].score;
		for (int k = 0; k < KEY_COUNT; k++)
			if (parts[part].v[i].draft.key[k] >= 0)
				more.draft.key[k] = parts[part].v[i].draft.key[k];
		err = combine(m, parts, part + 1, &more, to);
	}
	return err;
}

int rule_cases_add(struct case_maker *m, const struct rule *r, uint32_t fate, struct rule_cases *to)
{
	struct rule_case base = { .rule = r, .fate = fate };
	struct options parts[PARTS];
	int err;

	memset(parts, 0, sizeof(parts));
	draft_init(&base.draft);
	err = add_protocol(m, r, &parts[PART_PROTOCOL]);
	if (err == 0)
		err = add_ports(m, DIM_SRC_PORT, AT_SRC_PORT, r->src_ports, r->n_src_ports, &parts[PART_SRC_PORT]);
	if (err == 0)
		err = add_ports(m, DIM_DST_PORT, AT_DST_PORT, r->dst_ports, r->n_dst_ports, &parts[PART_DST_PORT]);
	if (err == 0)
		err = add_addresses(m, r, false, &parts[PART_SRC]);
	if (err == 0)
		err = add_addresses(m, r, true, &parts[PART_DST]);
	if (err == 0)
		err = add_incoming(m, r, &parts[PART_INCOMING]);
	if (err == 0)
		err = combine(m, parts, 0, &base, to);
	arena_reset(m->scratch);
	return err == -ENODATA ? 0 : err;
}
