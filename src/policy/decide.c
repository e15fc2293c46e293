/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How one rule fares against a flow, and the best match of all. Where ranges of one port list overlap, the best-scoring range that
 * contains the port counts, whatever order they were listed in: the original stopped at the
 * first hit, so that a wide range hid an exact port.
 */
#include "policy/rule_index.h"

#define PROTO_ICMP 1
#define PROTO_TCP 6
#define PROTO_UDP 17
#define PROTO_ICMP6 58

/* A group that has conditions of which none matches. */
#define NO_MATCH (-1)

struct zoned_flow flow_with_zones(const struct policy *policy, const struct zone_names *names, const struct flow *flow)
{
	return (struct zoned_flow){ flow, policy_zone_of(policy, names, &flow->src.ip), policy_zone_of(policy, names, &flow->dst.ip) };
}

static bool lists_name(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static bool lists_number(const uint32_t *numbers, size_t n, int64_t number)
{
	for (size_t i = 0; i < n; i++)
		if (numbers[i] == number)
			return true;
	return false;
}

static bool lists_octet(const uint8_t *numbers, size_t n, int number)
{
	for (size_t i = 0; i < n; i++)
		if (numbers[i] == number)
			return true;
	return false;
}

static int score_incoming(const struct rule *r, const struct zoned_flow *z)
{
	const struct flow *f = z->flow;
	int score = 0;

	if (r->n_ifaces + r->n_ifgroups + r->n_reqids == 0)
		return 0;
	if (f->iface[0] == '\0' && f->ifgroup < 0)
		return NO_MATCH;	/* not even with reqid: it came in through no interface */
	if (f->ifgroup >= 0 && lists_number(r->ifgroups, r->n_ifgroups, f->ifgroup))
		score += 1;
	if (f->iface[0] != '\0' && lists_name(r->ifaces, r->n_ifaces, f->iface))
		score += 2;
	if (f->reqid >= 0 && lists_number(r->reqids, r->n_reqids, f->reqid))
		score += 4;
	return score > 0 ? score : NO_MATCH;
}

static int score_listed(const uint8_t *numbers, size_t n, int number)
{
	if (n == 0)
		return 0;
	return lists_octet(numbers, n, number) ? 1 : NO_MATCH;
}

static int score_proto(const struct rule *r, const struct zoned_flow *z)
{
	return score_listed(r->protocols, r->n_protocols, z->flow->protocol);
}

static bool is_icmp(const struct flow *f)
{
	return f->protocol == PROTO_ICMP || f->protocol == PROTO_ICMP6;
}

static int score_icmp_type(const struct rule *r, const struct zoned_flow *z)
{
	return score_listed(r->icmp_types, r->n_icmp_types, is_icmp(z->flow) ? z->flow->icmp_type : -1);
}

static int score_icmp_code(const struct rule *r, const struct zoned_flow *z)
{
	return score_listed(r->icmp_codes, r->n_icmp_codes, is_icmp(z->flow) ? z->flow->icmp_code : -1);
}

/* Protocols without ports count as port 0. */
static uint16_t port_of(const struct flow *f, uint16_t port)
{
	return f->protocol == PROTO_TCP || f->protocol == PROTO_UDP ? port : 0;
}

static int score_port(const struct port_range *ranges, size_t n, uint16_t port)
{
	int best = NO_MATCH;

	if (n == 0)
		return 0;
	for (size_t i = 0; i < n && best < 2; i++)
		if (port >= ranges[i].first && port <= ranges[i].last)
			best = ranges[i].first == ranges[i].last ? 2 : 1;
	return best;
}

static int score_src_port(const struct rule *r, const struct zoned_flow *z)
{
	return score_port(r->src_ports, r->n_src_ports, port_of(z->flow, z->flow->src.port));
}

static int score_dst_port(const struct rule *r, const struct zoned_flow *z)
{
	return score_port(r->dst_ports, r->n_dst_ports, port_of(z->flow, z->flow->dst.port));
}

/* Prefix length + 1 of the longest that contains ip; 0 = none. */
static int longest_prefix(const struct ip_prefix *prefixes, size_t n, const struct ip_addr *ip)
{
	int best = 0;

	for (size_t i = 0; i < n; i++)
		if (prefixes[i].bits >= best && prefixes[i].ip.family == ip->family && ip_in_prefix(ip, &prefixes[i]))
			best = prefixes[i].bits + 1;
	return best;
}

const struct zone *zone_best_listed(const struct zone *const *zones, size_t n, const struct zone *zone)
{
	const struct zone *best = NULL;

	for (size_t i = 0; i < n; i++)
		if ((best == NULL || zones[i]->depth > best->depth) && zone_is_within(zone, zones[i]))
			best = zones[i];
	return best;
}

static int score_src(const struct rule *r, const struct zoned_flow *z)
{
	const struct zone *zone;
	int score;

	if (r->n_src_subnets + r->n_src_zones == 0)
		return 0;
	score = 32 * longest_prefix(r->src_subnets, r->n_src_subnets, &z->flow->src.ip);
	zone = zone_best_listed(r->src_zones, r->n_src_zones, z->src_zone);
	if (zone != NULL)
		score += zone->depth;
	return score > 0 ? score : NO_MATCH;
}

static int score_dst(const struct rule *r, const struct zoned_flow *z)
{
	const struct flow *f = z->flow;
	const struct zone *zone;
	int score;

	if (r->n_dst_subnets + r->n_dst_zones + r->n_dst_ifaces + r->n_dst_ifgroups == 0)
		return 0;
	score = 128 * longest_prefix(r->dst_subnets, r->n_dst_subnets, &f->dst.ip);
	if (f->dst_ifgroup >= 0 && lists_number(r->dst_ifgroups, r->n_dst_ifgroups, f->dst_ifgroup))
		score += 32;
	if (f->dst_iface[0] != '\0' && lists_name(r->dst_ifaces, r->n_dst_ifaces, f->dst_iface))
		score += 64;
	zone = zone_best_listed(r->dst_zones, r->n_dst_zones, z->dst_zone);
	if (zone != NULL)
		score += zone->depth;
	return score > 0 ? score : NO_MATCH;
}

bool rule_matches(const struct rule *rule, const struct zoned_flow *zoned, struct rule_score *out,
		  enum score_position *failed)
{
	static int (*const scores[SCORE_COUNT])(const struct rule *, const struct zoned_flow *) = {
		score_incoming, score_proto, score_icmp_type, score_icmp_code,
		score_src_port, score_dst_port, score_src, score_dst,
	};

	for (unsigned i = 0; i < SCORE_COUNT; i++) {
		int score = scores[i](rule, zoned);

		if (score == NO_MATCH) {
			*failed = (enum score_position)i;
			return false;
		}
		out->at[i] = (uint16_t)score;
	}
	return true;
}

int rule_score_compare(const struct rule_score *a, const struct rule_score *b, enum score_position *where)
{
	for (unsigned i = 0; i < SCORE_COUNT; i++) {
		if (a->at[i] == b->at[i])
			continue;
		*where = (enum score_position)i;
		return a->at[i] < b->at[i] ? -1 : 1;
	}
	return 0;
}

/* A rule that matches, against the best so far; ties go to the lower id. */
static void consider(struct decision *d, struct rule_score *best, const struct rule *rule, const struct rule_score *score)
{
	enum score_position where;
	int order = d->rule == NULL ? 1 : rule_score_compare(score, best, &where);

	if (order > 0) {
		d->rule = rule;
		d->tie = NULL;
		*best = *score;
	} else if (order == 0 && (rule->id < d->rule->id || (rule->id == d->rule->id && rule < d->rule))) {
		d->tie = d->rule;
		d->rule = rule;
	} else if (order == 0 && d->tie == NULL) {
		d->tie = rule;
	}
}

/* Rules with too many cases for the index. */
static void consider_wide_rules(const struct policy *policy, const struct zoned_flow *zoned, struct decision *d)
{
	struct rule_score best = { { 0 } }, score;
	enum score_position where;
	size_t n;
	const struct rule *const *wide = rule_index_wide(policy->rule_index, &n);

	if (n > 0 && d->rule != NULL)
		(void)rule_matches(d->rule, zoned, &best, &where);
	for (size_t i = 0; i < n; i++)
		if (rule_matches(wide[i], zoned, &score, &where))
			consider(d, &best, wide[i], &score);
}

void policy_decide(const struct policy *policy, const struct zone_names *names, const struct flow *flow, struct decision *out)
{
	const struct zoned_flow zoned = flow_with_zones(policy, names, flow);

	*out = (struct decision){ .src_zone = zoned.src_zone, .dst_zone = zoned.dst_zone };
	rule_index_find(policy->rule_index, &zoned, out);
	consider_wide_rules(policy, &zoned, out);
	out->service = out->rule == NULL ? NULL : out->rule->service;
}
