/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of two rules wins whatever the flow is. The best match compares a vector of scores
 * position by position; each position's score lies in an interval that the rule's own
 * conditions fix. Where the first difference is one of intervals that do not touch, the order
 * of the two rules does not depend on the flow, and the kernel may decide.
 */
#include "kernel/plan_priv.h"

#define POSITIONS 8

struct interval { unsigned least, most; };

static struct interval given(size_t n)
{
	return n > 0 ? (struct interval){ 1, 1 } : (struct interval){ 0, 0 };
}

/* Alternatives of one group: at least the weakest matched, at most all together. */
static void add_alternative(struct interval *sum, size_t n, unsigned least, unsigned most)
{
	if (n == 0)
		return;
	sum->least = sum->most == 0 || least < sum->least ? least : sum->least;
	sum->most += most;
}

static struct interval ports(const struct port_range *v, size_t n)
{
	struct interval out = { n > 0 ? 2 : 0, n > 0 ? 1 : 0 };

	for (size_t i = 0; i < n; i++) {
		if (v[i].first == v[i].last)
			out.most = 2;
		else
			out.least = 1;
	}
	return out;
}

static void add_subnets(struct interval *sum, const struct ip_prefix *v, size_t n, uint8_t family, unsigned unit)
{
	unsigned least = 0, most = 0;
	size_t own = 0;

	for (size_t i = 0; i < n; i++) {
		unsigned score = (v[i].bits + 1u) * unit;

		if (v[i].ip.family != family)
			continue;
		least = own == 0 || score < least ? score : least;
		most = score > most ? score : most;
		own++;
	}
	add_alternative(sum, own, least, most);
}

static void add_zones(struct interval *sum, const struct zone *const *v, size_t n)
{
	unsigned least = 0, most = 0;

	for (size_t i = 0; i < n; i++) {
		least = i == 0 || v[i]->depth < least ? v[i]->depth : least;
		most = v[i]->depth > most ? v[i]->depth : most;
	}
	add_alternative(sum, n, least, most);
}

static void score_rule(const struct rule *r, uint8_t family, struct interval out[POSITIONS])
{
	memset(out, 0, POSITIONS * sizeof(*out));
	add_alternative(&out[0], r->n_ifgroups, 1, 1);
	add_alternative(&out[0], r->n_ifaces, 2, 2);
	add_alternative(&out[0], r->n_reqids, 4, 4);
	out[1] = given(r->n_protocols);
	out[2] = given(r->n_icmp_types);
	out[3] = given(r->n_icmp_codes);
	out[4] = ports(r->src_ports, r->n_src_ports);
	out[5] = ports(r->dst_ports, r->n_dst_ports);
	add_subnets(&out[6], r->src_subnets, r->n_src_subnets, family, 32);
	add_zones(&out[6], r->src_zones, r->n_src_zones);
	add_subnets(&out[7], r->dst_subnets, r->n_dst_subnets, family, 128);
	add_alternative(&out[7], r->n_dst_ifgroups, 32, 32);
	add_alternative(&out[7], r->n_dst_ifaces, 64, 64);
	add_zones(&out[7], r->dst_zones, r->n_dst_zones);
}

int precedence_compare(const struct rule *a, const struct rule *b, uint8_t family)
{
	struct interval x[POSITIONS], y[POSITIONS];

	score_rule(a, family, x);
	score_rule(b, family, y);
	for (size_t i = 0; i < POSITIONS; i++) {
		if (x[i].least > y[i].most)
			return 1;
		if (x[i].most < y[i].least)
			return -1;
		if (x[i].least != x[i].most || y[i].least != y[i].most)
			return 0;
	}
	if (a->id != b->id)
		return a->id < b->id ? 1 : -1;
	return 0;
}

static bool ports_disjoint(const struct port_range *a, size_t na, const struct port_range *b, size_t nb)
{
	if (na == 0 || nb == 0)
		return false;
	for (size_t i = 0; i < na; i++)
		for (size_t k = 0; k < nb; k++)
			if (a[i].first <= b[k].last && b[k].first <= a[i].last)
				return false;
	return true;
}

bool precedence_disjoint(const struct rule *a, const struct rule *b)
{
	return ports_disjoint(a->dst_ports, a->n_dst_ports, b->dst_ports, b->n_dst_ports) ||
	       ports_disjoint(a->src_ports, a->n_src_ports, b->src_ports, b->n_src_ports);
}
