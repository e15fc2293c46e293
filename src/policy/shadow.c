/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A rule S takes everything from a rule R if S matches each flow that R matches, and its vector of
 * scores is not below R's there. Dimension by dimension, in the order of the vector: as long as none
 * before it decides, S must be at least as good; behind one where S is better for every flow, it only
 * has to match.
 *
 * Mostly none decides. Then whatever R lists S must list, too, so that R has to be compared only with
 * the rules that list one of its values, and that name the same dimensions. The few that can be better
 * for every flow ("broad": all addresses as a subnet, all ports) are compared with all.
 */
#include "policy/shadow.h"

#include "base/hash.h"
#include "policy/decide.h"

#include <errno.h>

#define WORK 200000000u			/* steps of comparing, well below a second */
#define VALUES_TRIED 32u		/* of R, for the one that the fewest list */

enum relation {
	MISSES,				/* S does not match somewhere where R does, as far as is known */
	COVERS,				/* it does, but may be worse */
	AT_LEAST,			/* and is nowhere worse */
	BETTER,				/* everywhere */
};

/* One of two rules, as the comparing needs it. */
struct facts {
	uint8_t named;			/* bit: enum score_position that has conditions */
	bool all_sources, all_targets;	/* by subnet, of both families */
	bool broad;
};

struct bucket {
	unsigned n;
	struct entry *first;
};

struct entry {
	struct entry *next;
	uint32_t rule;
};

struct search {
	const struct policy *policy;
	struct arena *arena;
	struct facts *facts;
	struct hash *values;		/* kind and value -> struct bucket of the rules that list it */
	struct bucket named[256];	/* by facts.named: rules of these dimensions */
	uint32_t *broad;
	size_t n_broad;
	uint64_t work;
};

/* ---- single dimensions ---- */

static bool take_work(struct search *x, size_t steps)
{
	if (x->work < steps + 1) {
		x->work = 0;
		return false;
	}
	x->work -= steps + 1;
	return true;
}

#define SUBSET(name, type, equal) \
	static bool name(struct search *x, const type *r, size_t n_r, const type *s, size_t n_s) \
	{ \
		for (size_t i = 0; i < n_r; i++) { \
			size_t j = 0; \
			while (j < n_s && !equal(r[i], s[j])) \
				j++; \
			if (!take_work(x, j) || j == n_s) \
				return false; \
		} \
		return true; \
	}

#define SAME(a, b) ((a) == (b))
#define SAME_TEXT(a, b) (strcmp((a), (b)) == 0)
#define SAME_PREFIX(a, b) \
	((a).bits == (b).bits && (a).ip.family == (b).ip.family && memcmp((a).ip.octets, (b).ip.octets, sizeof((a).ip.octets)) == 0)

SUBSET(octets_within, uint8_t, SAME)
SUBSET(numbers_within, uint32_t, SAME)
SUBSET(names_within, char *const, SAME_TEXT)
SUBSET(zones_listed, struct zone *const, SAME)
SUBSET(prefixes_listed, struct ip_prefix, SAME_PREFIX)

static enum relation compare_incoming(struct search *x, const struct rule *s, const struct rule *r)
{
	if (r->n_ifaces + r->n_ifgroups + r->n_reqids == 0)
		return s->n_ifaces + s->n_ifgroups + s->n_reqids == 0 ? AT_LEAST : MISSES;
	if (s->n_ifaces + s->n_ifgroups + s->n_reqids == 0)
		return COVERS;
	return names_within(x, r->ifaces, r->n_ifaces, s->ifaces, s->n_ifaces) &&
	       numbers_within(x, r->ifgroups, r->n_ifgroups, s->ifgroups, s->n_ifgroups) &&
	       numbers_within(x, r->reqids, r->n_reqids, s->reqids, s->n_reqids) ? AT_LEAST : MISSES;
}

static enum relation compare_listed(struct search *x, const uint8_t *s, size_t n_s, const uint8_t *r, size_t n_r)
{
	if (n_s == 0)
		return n_r == 0 ? AT_LEAST : COVERS;
	return n_r > 0 && octets_within(x, r, n_r, s, n_s) ? AT_LEAST : MISSES;
}

/* As the engine scores it: -1 no match. */
static int port_score(const struct port_range *ranges, size_t n, uint32_t port)
{
	int best = -1;

	for (size_t i = 0; i < n && best < 2; i++)
		if (port >= ranges[i].first && port <= ranges[i].last)
			best = ranges[i].first == ranges[i].last ? 2 : 1;
	return n == 0 ? 0 : best;
}

struct ports {
	const struct port_range *v;
	size_t n;
};

/* Scores change only where a range begins, or behind its end. relation: what is so far. */
static enum relation compare_at(struct ports s, struct ports r, uint32_t port, enum relation so_far)
{
	int of_r = port_score(r.v, r.n, port), of_s = port_score(s.v, s.n, port);

	if (port > 0xffff || of_r < 0)
		return so_far;
	if (of_s < 0 || so_far == MISSES)
		return MISSES;
	if (of_s < of_r || so_far == COVERS)
		return COVERS;
	return of_s == of_r ? AT_LEAST : so_far;
}

static enum relation compare_ports(struct search *x, struct ports s, struct ports r)
{
	enum relation relation = BETTER;

	if (s.n == 0)
		return r.n == 0 ? AT_LEAST : COVERS;
	if (!take_work(x, (s.n + r.n) * (s.n + r.n)))
		return MISSES;
	relation = compare_at(s, r, 0, relation);
	for (size_t i = 0; i < s.n && relation != MISSES; i++) {
		relation = compare_at(s, r, s.v[i].first, relation);
		relation = compare_at(s, r, s.v[i].last + 1u, relation);
	}
	for (size_t i = 0; i < r.n && relation != MISSES; i++) {
		relation = compare_at(s, r, r.v[i].first, relation);
		relation = compare_at(s, r, r.v[i].last + 1u, relation);
	}
	return relation;
}

/* ---- addresses ---- */

struct addresses {
	const struct ip_prefix *subnets;	size_t n_subnets;
	const struct zone *const *zones;	size_t n_zones;
	const char *const *ifaces;		size_t n_ifaces;
	const uint32_t *ifgroups;		size_t n_ifgroups;
	bool all;				/* by subnet */
};

static struct addresses sources_of(const struct rule *r, const struct facts *f)
{
	return (struct addresses){ .subnets = r->src_subnets, .n_subnets = r->n_src_subnets,
				   .zones = r->src_zones, .n_zones = r->n_src_zones, .all = f->all_sources };
}

static struct addresses targets_of(const struct rule *r, const struct facts *f)
{
	return (struct addresses){ .subnets = r->dst_subnets, .n_subnets = r->n_dst_subnets,
				   .zones = r->dst_zones, .n_zones = r->n_dst_zones,
				   .ifaces = r->dst_ifaces, .n_ifaces = r->n_dst_ifaces,
				   .ifgroups = r->dst_ifgroups, .n_ifgroups = r->n_dst_ifgroups, .all = f->all_targets };
}

static bool are_given(const struct addresses *a)
{
	return a->n_subnets + a->n_zones + a->n_ifaces + a->n_ifgroups > 0;
}

static bool prefix_within(const struct ip_prefix *p, const struct ip_prefix *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i].ip.family == p->ip.family && list[i].bits <= p->bits && ip_in_prefix(&p->ip, &list[i]))
			return true;
	return false;
}

/* Does S match wherever R does? */
static bool addresses_covered(struct search *x, const struct addresses *s, const struct addresses *r)
{
	for (size_t i = 0; i < r->n_subnets; i++)
		if (!take_work(x, s->n_subnets) || !prefix_within(&r->subnets[i], s->subnets, s->n_subnets))
			return false;
	if (s->all)
		return true;
	for (size_t i = 0; i < r->n_zones; i++)
		if (!take_work(x, s->n_zones) || !zone_is_within_any(r->zones[i], s->zones, s->n_zones))
			return false;
	return names_within(x, r->ifaces, r->n_ifaces, s->ifaces, s->n_ifaces) &&
	       numbers_within(x, r->ifgroups, r->n_ifgroups, s->ifgroups, s->n_ifgroups);
}

/* Whatever R lists S lists: then each part of its score is at least R's. */
static bool addresses_listed(struct search *x, const struct addresses *s, const struct addresses *r)
{
	return prefixes_listed(x, r->subnets, r->n_subnets, s->subnets, s->n_subnets) &&
	       zones_listed(x, r->zones, r->n_zones, s->zones, s->n_zones) &&
	       names_within(x, r->ifaces, r->n_ifaces, s->ifaces, s->n_ifaces) &&
	       numbers_within(x, r->ifgroups, r->n_ifgroups, s->ifgroups, s->n_ifgroups);
}

static enum relation compare_addresses(struct search *x, struct addresses s, struct addresses r)
{
	if (!are_given(&s))
		return are_given(&r) ? COVERS : AT_LEAST;
	/* A subnet, however large, is worth more than everything that is none. */
	if (s.all && r.n_subnets == 0)
		return BETTER;
	if (!are_given(&r))
		return MISSES;
	if (addresses_listed(x, &s, &r))
		return AT_LEAST;
	return addresses_covered(x, &s, &r) ? COVERS : MISSES;
}

/* ---- two rules ---- */

static enum relation compare(struct search *x, const struct rule *s, const struct rule *r, enum score_position where)
{
	const struct rule *all = x->policy->rules;

	switch (where) {
	case SCORE_INCOMING:
		return compare_incoming(x, s, r);
	case SCORE_PROTO:
		return compare_listed(x, s->protocols, s->n_protocols, r->protocols, r->n_protocols);
	case SCORE_ICMP_TYPE:
		return compare_listed(x, s->icmp_types, s->n_icmp_types, r->icmp_types, r->n_icmp_types);
	case SCORE_ICMP_CODE:
		return compare_listed(x, s->icmp_codes, s->n_icmp_codes, r->icmp_codes, r->n_icmp_codes);
	case SCORE_SRC_PORT:
		return compare_ports(x, (struct ports){ s->src_ports, s->n_src_ports }, (struct ports){ r->src_ports, r->n_src_ports });
	case SCORE_DST_PORT:
		return compare_ports(x, (struct ports){ s->dst_ports, s->n_dst_ports }, (struct ports){ r->dst_ports, r->n_dst_ports });
	case SCORE_SRC:
		return compare_addresses(x, sources_of(s, &x->facts[s - all]), sources_of(r, &x->facts[r - all]));
	default:
		return compare_addresses(x, targets_of(s, &x->facts[s - all]), targets_of(r, &x->facts[r - all]));
	}
}

static bool takes_all(struct search *x, const struct rule *s, const struct rule *r)
{
	bool better = false;

	if (s == r || !take_work(x, SCORE_COUNT))
		return false;
	for (unsigned i = 0; i < SCORE_COUNT; i++) {
		enum relation relation = compare(x, s, r, (enum score_position)i);

		if (relation == MISSES || (relation == COVERS && !better))
			return false;
		better = better || relation == BETTER;
	}
	return better || s->id < r->id || (s->id == r->id && s < r);
}

/* ---- finding whom to compare ---- */

static bool has_all(const struct ip_prefix *subnets, size_t n)
{
	bool four = false, six = false;

	for (size_t i = 0; i < n; i++) {
		four = four || (subnets[i].bits == 0 && subnets[i].ip.family == AF_INET);
		six = six || (subnets[i].bits == 0 && subnets[i].ip.family == AF_INET6);
	}
	return four && six;
}

/* Could they be better than "any port", or than a range? Only all ports, or single ones in a row. */
static bool ports_are_broad(const struct port_range *ranges, size_t n)
{
	uint32_t ports = 0;
	unsigned single = 0;

	for (size_t i = 0; i < n; i++) {
		ports += 1u + ranges[i].last - ranges[i].first;
		single += ranges[i].first == ranges[i].last;
	}
	return ports >= 0x10000 || single > 1;
}

static struct facts facts_of(const struct rule *r)
{
	struct facts f = { .all_sources = has_all(r->src_subnets, r->n_src_subnets),
			   .all_targets = has_all(r->dst_subnets, r->n_dst_subnets) };
	const size_t given[SCORE_COUNT] = {
		[SCORE_INCOMING] = r->n_ifaces + r->n_ifgroups + r->n_reqids, [SCORE_PROTO] = r->n_protocols,
		[SCORE_ICMP_TYPE] = r->n_icmp_types, [SCORE_ICMP_CODE] = r->n_icmp_codes,
		[SCORE_SRC_PORT] = r->n_src_ports, [SCORE_DST_PORT] = r->n_dst_ports,
		[SCORE_SRC] = r->n_src_subnets + r->n_src_zones,
		[SCORE_DST] = r->n_dst_subnets + r->n_dst_zones + r->n_dst_ifaces + r->n_dst_ifgroups,
	};

	for (unsigned i = 0; i < SCORE_COUNT; i++)
		f.named |= (uint8_t)((given[i] > 0) << i);
	f.broad = f.all_sources || f.all_targets || ports_are_broad(r->src_ports, r->n_src_ports) ||
		  ports_are_broad(r->dst_ports, r->n_dst_ports);
	return f;
}

/* value: one, behind an octet that says of what. Not 0 ends it. */
typedef int value_fn(struct search *x, struct slice value, void *arg);

static int each_prefix(struct search *x, uint8_t of, const struct ip_prefix *list, size_t n, value_fn *fn, void *arg)
{
	int err = 0;

	for (size_t i = 0; i < n && err == 0; i++) {
		uint8_t octets[3 + sizeof(list[i].ip.octets)] = { of, (uint8_t)list[i].ip.family, list[i].bits };

		memcpy(octets + 3, list[i].ip.octets, sizeof(list[i].ip.octets));
		err = fn(x, slice_of(octets, sizeof(octets)), arg);
	}
	return err;
}

static int one_number(struct search *x, uint8_t of, uint32_t number, value_fn *fn, void *arg)
{
	const uint8_t octets[] = { of, (uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8), (uint8_t)number };

	return fn(x, slice_of(octets, sizeof(octets)), arg);
}

static int each_zone(struct search *x, uint8_t of, const struct zone *const *list, size_t n, value_fn *fn, void *arg)
{
	int err = 0;

	for (size_t i = 0; i < n && err == 0; i++)
		err = one_number(x, of, list[i]->index, fn, arg);
	return err;
}

static int each_port(struct search *x, uint8_t of, const struct port_range *list, size_t n, value_fn *fn, void *arg)
{
	int err = 0;

	for (size_t i = 0; i < n && err == 0; i++)
		if (list[i].first == list[i].last)
			err = one_number(x, of, list[i].first, fn, arg);
	return err;
}

/* What a rule lists that another must list as well, if it takes everything and is not broad. */
static int each_value(struct search *x, const struct rule *r, value_fn *fn, void *arg)
{
	int err = each_prefix(x, 1, r->src_subnets, r->n_src_subnets, fn, arg);

	if (err == 0)
		err = each_prefix(x, 2, r->dst_subnets, r->n_dst_subnets, fn, arg);
	if (err == 0)
		err = each_zone(x, 3, r->src_zones, r->n_src_zones, fn, arg);
	if (err == 0)
		err = each_zone(x, 4, r->dst_zones, r->n_dst_zones, fn, arg);
	if (err == 0)
		err = each_port(x, 5, r->src_ports, r->n_src_ports, fn, arg);
	if (err == 0)
		err = each_port(x, 6, r->dst_ports, r->n_dst_ports, fn, arg);
	return err;
}

static int add_entry(struct search *x, struct bucket *bucket, uint32_t rule)
{
	struct entry *e = ARENA_NEW(x->arena, struct entry);

	if (e == NULL)
		return -ENOMEM;
	*e = (struct entry){ bucket->first, rule };
	bucket->first = e;
	bucket->n++;
	return 0;
}

static int note_value(struct search *x, struct slice value, void *arg)
{
	struct bucket *bucket = hash_get(x->values, value);

	if (bucket == NULL) {
		bucket = ARENA_NEW(x->arena, struct bucket);
		if (bucket == NULL || hash_put(x->values, value, bucket) < 0)
			return -ENOMEM;
	}
	return add_entry(x, bucket, *(const uint32_t *)arg);
}

static int prepare(struct search *x)
{
	size_t n = x->policy->n_rules;
	int err = 0;

	x->facts = arena_array(x->arena, n, sizeof(*x->facts));
	x->broad = arena_array(x->arena, n, sizeof(*x->broad));
	x->values = hash_create(x->arena, SIZE_MAX / 64);
	if (x->facts == NULL || x->broad == NULL || x->values == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < n && err == 0; i++) {
		const struct rule *r = &x->policy->rules[i];

		x->facts[i] = facts_of(r);
		if (x->facts[i].broad)
			x->broad[x->n_broad++] = i;
		err = add_entry(x, &x->named[x->facts[i].named], i);
		if (err == 0)
			err = each_value(x, r, note_value, &i);
	}
	return err;
}

struct choice {
	const struct bucket *best;
	unsigned tried;
};

static int choose(struct search *x, struct slice value, void *arg)
{
	struct choice *c = arg;
	const struct bucket *bucket = hash_get(x->values, value);

	if (c->best == NULL || bucket->n < c->best->n)
		c->best = bucket;
	return ++c->tried == VALUES_TRIED;
}

/* Of several the first of the policy. */
static const struct rule *find(struct search *x, uint32_t number)
{
	const struct rule *rules = x->policy->rules, *r = &rules[number], *found = NULL;
	struct choice c = { NULL, 0 };

	(void)each_value(x, r, choose, &c);
	if (c.best == NULL)
		c.best = &x->named[x->facts[number].named];
	for (const struct entry *e = c.best->first; e != NULL && take_work(x, 0); e = e->next)
		if (x->facts[e->rule].named == x->facts[number].named && takes_all(x, &rules[e->rule], r))
			found = &rules[e->rule];
	for (size_t i = 0; found == NULL && i < x->n_broad; i++)
		if (takes_all(x, &rules[x->broad[i]], r))
			found = &rules[x->broad[i]];
	return found;
}

static bool is_same(struct search *x, const struct rule *a, const struct rule *b)
{
	for (unsigned i = 0; i < SCORE_COUNT; i++)
		if (compare(x, a, b, (enum score_position)i) != AT_LEAST || compare(x, b, a, (enum score_position)i) != AT_LEAST)
			return false;
	return true;
}

const struct shadow *policy_shadows(const struct policy *policy, struct arena *arena, bool *whole)
{
	struct search *x = ARENA_NEW(arena, struct search);
	struct shadow *out = arena_array(arena, policy->n_rules, sizeof(*out));

	if (x == NULL || out == NULL)
		return NULL;
	x->policy = policy;
	x->arena = arena;
	x->work = WORK;
	if (prepare(x) < 0)
		return NULL;
	for (uint32_t i = 0; i < policy->n_rules; i++) {
		out[i].by = find(x, i);
		out[i].same = out[i].by != NULL && is_same(x, out[i].by, &policy->rules[i]);
	}
	*whole = x->work > 0;
	return out;
}
