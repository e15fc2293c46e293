/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ordinary listeners, where the kernel redirects nothing: a rule can be served on the addresses
 * of its destination that are this host's. An exact address gets a listener of its own; a wider
 * condition (a prefix, a zone, host names, an interface, none at all) one on the wildcard address,
 * and the decision sorts out what came in. A rule that names no port can't be served.
 */
#include "kernel/plan_priv.h"

#include <errno.h>

#define PORTS_MAX 64	/* listeners that one range of ports may ask for */

struct listens {
	const struct policy *policy;
	const struct ip_addr *local;
	size_t n_local;
	struct policy_problems *problems;
	struct listen_address *v;
	size_t n;
	const struct rule *rule;	/* being served */
	bool wild4, wild6;		/* what it asks for */
	bool full;
};

static bool is_loopback(const struct ip_addr *ip)
{
	static const uint8_t loopback6[16] = { [15] = 1 };

	return ip->family == AF_INET ? ip->octets[0] == 127 : memcmp(ip->octets, loopback6, 16) == 0;
}

static bool is_local(const struct listens *l, const struct ip_addr *ip)
{
	if (is_loopback(ip))
		return true;
	for (size_t i = 0; i < l->n_local; i++)
		if (ip_equal(&l->local[i], ip))
			return true;
	return false;
}

static bool prefix_is_local(const struct listens *l, const struct ip_prefix *prefix)
{
	struct ip_addr loopback = { .family = prefix->ip.family };

	loopback.octets[loopback.family == AF_INET ? 0 : 15] = loopback.family == AF_INET ? 127 : 1;
	if (loopback.family == AF_INET)
		loopback.octets[3] = 1;
	if (ip_in_prefix(&loopback, prefix))
		return true;
	for (size_t i = 0; i < l->n_local; i++)
		if (ip_in_prefix(&l->local[i], prefix))
			return true;
	/* 127.0.0.2 and the like are this host's too. */
	return prefix->ip.family == AF_INET && prefix->bits >= 8 && prefix->ip.octets[0] == 127;
}

static bool has_family(const struct listens *l, uint8_t family)
{
	for (size_t i = 0; i < l->n_local; i++)
		if (l->local[i].family == family)
			return true;
	return family == AF_INET;
}

static void not_served(struct listens *l, const char *hint, const char *why)
{
	problems_add(l->problems, PROBLEM_WARNING, l->rule->place, hint,
		     "rule %u (service '%s') is not served without kernel rules: %s",
		     (unsigned)l->rule->id, l->rule->service->name, why);
}

static void add_listen(struct listens *l, const struct ip_addr *ip, uint16_t port)
{
	for (size_t i = 0; i < l->n; i++)
		if (ip_equal(&l->v[i].at.ip, ip) && l->v[i].at.port == port)
			return;
	if (l->n == KERNEL_LISTENS_MAX) {
		l->full = true;
		return;
	}
	l->v[l->n++].at = (struct endpoint){ *ip, port };
}

static void add_address(struct listens *l, const struct ip_addr *ip)
{
	for (size_t i = 0; i < l->rule->n_dst_ports; i++)
		for (unsigned p = l->rule->dst_ports[i].first; p <= l->rule->dst_ports[i].last; p++)
			if (p != 0)
				add_listen(l, ip, (uint16_t)p);
}

/* Addresses of one prefix of the rule's condition. true: some of them are this host's. */
static bool add_prefix(struct listens *l, const struct ip_prefix *prefix)
{
	if (prefix->bits == ip_bits(&prefix->ip)) {
		if (!is_local(l, &prefix->ip))
			return false;
		add_address(l, &prefix->ip);
		return true;
	}
	if (!prefix_is_local(l, prefix))
		return false;
	if (prefix->ip.family == AF_INET)
		l->wild4 = true;
	else
		l->wild6 = true;
	return true;
}

static bool add_zones(struct listens *l)
{
	bool any = false;

	for (size_t i = 0; i < l->policy->n_zones; i++) {
		const struct zone *zone = &l->policy->zones[i];
		bool within = false;

		for (size_t k = 0; k < l->rule->n_dst_zones; k++)
			within = within || zone_is_within(zone, l->rule->dst_zones[k]);
		for (size_t k = 0; within && k < zone->n_prefixes; k++)
			any = add_prefix(l, &zone->prefixes[k]) || any;
		/* Addresses by name come and go. */
		if (within && zone->n_hostnames > 0) {
			l->wild4 = has_family(l, AF_INET);
			l->wild6 = has_family(l, AF_INET6);
			any = true;
		}
	}
	return any;
}

static bool add_destination(struct listens *l)
{
	const struct rule *r = l->rule;
	bool any = false;

	l->wild4 = l->wild6 = false;
	if (r->n_dst_ifaces > 0 || r->n_dst_ifgroups > 0 || (r->n_dst_subnets == 0 && r->n_dst_zones == 0)) {
		l->wild4 = has_family(l, AF_INET);
		l->wild6 = has_family(l, AF_INET6);
		any = true;
	}
	for (size_t i = 0; i < r->n_dst_subnets; i++)
		any = add_prefix(l, &r->dst_subnets[i]) || any;
	return add_zones(l) || any;
}

static bool ports_are_few(const struct rule *r)
{
	unsigned n = 0;

	for (size_t i = 0; i < r->n_dst_ports; i++)
		if (r->dst_ports[i].first <= r->dst_ports[i].last)
			n += (unsigned)(r->dst_ports[i].last - r->dst_ports[i].first) + 1;
	return n <= PORTS_MAX;
}

static void serve_rule(struct listens *l)
{
	const struct rule *r = l->rule;
	const struct ip_addr any4 = { .family = AF_INET }, any6 = { .family = AF_INET6 };

	if (r->n_dst_ports == 0) {
		not_served(l, "give it a dst_port, or run as root with kernel rules", "it names no port to listen on");
	} else if (!ports_are_few(r)) {
		not_served(l, "name at most 64 ports, or run as root with kernel rules", "it names too many ports to listen on");
	} else if (!add_destination(l)) {
		not_served(l, "use an address of this host, or run as root with kernel rules",
			   "none of this host's addresses is in its destination condition");
	} else {
		if (l->wild4)
			add_address(l, &any4);
		if (l->wild6)
			add_address(l, &any6);
	}
}

static bool is_wildcard(const struct ip_addr *ip)
{
	static const uint8_t zero[16];

	return memcmp(ip->octets, zero, sizeof(zero)) == 0;
}

/* The wildcard takes the port on every address: beside it no other can be bound. */
static void drop_covered(struct listens *l)
{
	size_t kept = 0, n_wild = 0;

	/* Wildcards to the front, so that each of the others can be held against them. */
	for (size_t i = 0; i < l->n; i++)
		if (is_wildcard(&l->v[i].at.ip)) {
			struct listen_address wild = l->v[i];

			l->v[i] = l->v[n_wild];
			l->v[n_wild++] = wild;
		}
	for (size_t i = 0; i < l->n; i++) {
		bool covered = false;

		for (size_t k = 0; i >= n_wild && k < n_wild; k++)
			covered = covered || (l->v[k].at.port == l->v[i].at.port &&
					      l->v[k].at.ip.family == l->v[i].at.ip.family);
		if (!covered)
			l->v[kept++] = l->v[i];
	}
	l->n = kept;
}

static bool rule_wants_tcp(const struct rule *r)
{
	bool tcp = r->n_protocols == 0;

	for (size_t i = 0; i < r->n_protocols; i++)
		tcp = tcp || r->protocols[i] == 6;
	return tcp && r->n_icmp_types == 0 && r->n_icmp_codes == 0;
}

int kernel_plan_listens(const struct policy *policy, const struct ip_addr *local, size_t n_local,
			struct arena *arena, struct policy_problems *problems, struct kernel_plan *out)
{
	struct listens l = { .policy = policy, .local = local, .n_local = n_local, .problems = problems };

	l.v = arena_array(arena, KERNEL_LISTENS_MAX, sizeof(*l.v));
	if (l.v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < policy->n_rules; i++) {
		l.rule = &policy->rules[i];
		if (l.rule->service->kind == SERVICE_PF)
			not_served(&l, "run as root with kernel rules", "the kernel would forward it");
		if (l.rule->service->kind == SERVICE_PROXY && rule_wants_tcp(l.rule)) {
			serve_rule(&l);
			if (l.full)
				not_served(&l, "name fewer addresses and ports", "there are too many listeners already");
			l.full = false;
		}
	}
	drop_covered(&l);
	*out = (struct kernel_plan){ .listens = l.v, .n_listens = l.n };
	return 0;
}
