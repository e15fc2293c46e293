/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor's own look at a plan before it becomes text that root loads: nothing of what
 * an unprivileged process says is believed. Names become tokens of the rule set, so only the
 * octets that interface names are made of get through.
 */
#include "kernel/plan_priv.h"

#include <errno.h>

static bool name_is_plain(const char name[IFNAME_MAX])
{
	size_t len = strnlen(name, IFNAME_MAX);

	if (len == 0 || len == IFNAME_MAX || (len == 1 && name[0] == '.') || (len == 2 && memcmp(name, "..", 2) == 0))
		return false;
	for (size_t i = 0; i < len; i++) {
		uint8_t c = (uint8_t)name[i];

		/* The kernel takes more; '*' is a wildcard to nft, quotes and blanks would end the token. */
		if (!ascii_is_alpha(c) && !ascii_is_digit(c) && memchr("._-@:+", c, 6) == NULL)
			return false;
	}
	return true;
}

static bool set_is_sound(const struct address_set *set)
{
	if ((set->family != AF_INET && set->family != AF_INET6) || set->n_ranges == 0)
		return false;
	for (size_t i = 0; i < set->n_ranges; i++) {
		const struct address_range *r = &set->ranges[i];

		if (r->first.family != set->family || r->last.family != set->family ||
		    ip_compare(&r->first, &r->last) > 0)
			return false;
		if (i > 0 && ip_compare(&set->ranges[i - 1].last, &r->first) >= 0)
			return false;
	}
	return true;
}

static bool spans_are_sound(const struct spans *s, uint32_t max)
{
	for (size_t i = 0; i < s->n; i++) {
		if (s->spans[i].first > s->spans[i].last || s->spans[i].last > max)
			return false;
		if (i > 0 && s->spans[i - 1].last >= s->spans[i].first)
			return false;
	}
	return true;
}

static bool set_fits(const struct kernel_plan *plan, const struct intercept *c, int32_t set)
{
	return set == -1 || (set >= 0 && (size_t)set < plan->n_sets && plan->sets[set].family == c->family);
}

static bool dims_are_sound(const struct kernel_plan *plan, const struct intercept *c)
{
	const uint32_t names = (uint32_t)plan->n_names;
	const uint32_t max[DIM_COUNT] = {
		[DIM_IFACE] = names - 1, [DIM_IFGROUP] = INT32_MAX, [DIM_REQID] = UINT32_MAX,
		[DIM_PROTOCOL] = 255, [DIM_ICMP_TYPE] = 255, [DIM_ICMP_CODE] = 255,
		[DIM_SRC_PORT] = 65535, [DIM_DST_PORT] = 65535,
		[DIM_DST_IFACE] = names - 1, [DIM_DST_IFGROUP] = INT32_MAX,
	};

	if (names == 0 && (c->dims[DIM_IFACE].n > 0 || c->dims[DIM_DST_IFACE].n > 0))
		return false;
	for (int i = 0; i < DIM_COUNT; i++)
		if (!spans_are_sound(&c->dims[i], max[i]))
			return false;
	return true;
}

/* TCP and UDP have rules of their own; an "other" that names them would be one too many. */
static bool protocols_are_other(const struct intercept *c)
{
	for (size_t i = 0; i < c->dims[DIM_PROTOCOL].n; i++) {
		const struct span *s = &c->dims[DIM_PROTOCOL].spans[i];

		if ((s->first <= 6 && s->last >= 6) || (s->first <= 17 && s->last >= 17))
			return false;
	}
	return true;
}

static bool is_icmp_only(const struct intercept *c)
{
	const struct spans *p = &c->dims[DIM_PROTOCOL];
	uint32_t icmp = c->family == AF_INET ? 1 : 58;

	return p->n == 1 && p->spans[0].first == icmp && p->spans[0].last == icmp;
}

/* Only TCP and UDP have ports to translate: with one, another protocol would be a rule that nft refuses. */
static bool target_fits(const struct kernel_plan *plan, const struct intercept *c)
{
	return c->target == -1 || (c->target >= 0 && (size_t)c->target < plan->n_targets &&
				   plan->targets[c->target].ip.family == c->family &&
				   (c->transport != TRANSPORT_OTHER || plan->targets[c->target].port == 0));
}

static bool intercept_is_sound(const struct kernel_plan *plan, const struct intercept *c)
{
	if ((c->family != AF_INET && c->family != AF_INET6) || c->transport > TRANSPORT_OTHER ||
	    c->action > INTERCEPT_FORWARD || c->deny > (c->family == AF_INET ? 8 : 5))
		return false;
	if (c->action == INTERCEPT_SERVE && c->transport != TRANSPORT_TCP)
		return false;
	if (c->action != INTERCEPT_REFUSE && (c->deny != 0 || c->log))
		return false;
	/* nft would make it a rule that other packets do not meet at all. */
	if (c->deny == DENY_TCP_RESET && c->transport != TRANSPORT_TCP)
		return false;
	if (!target_fits(plan, c) || (c->action != INTERCEPT_FORWARD && (c->masquerade || c->target != -1)))
		return false;
	if (!set_fits(plan, c, c->src) || !set_fits(plan, c, c->dst) || !dims_are_sound(plan, c))
		return false;
	if (c->transport == TRANSPORT_OTHER)
		return c->dims[DIM_SRC_PORT].n == 0 && c->dims[DIM_DST_PORT].n == 0 && protocols_are_other(c) &&
		       ((c->dims[DIM_ICMP_TYPE].n == 0 && c->dims[DIM_ICMP_CODE].n == 0) || is_icmp_only(c));
	return c->dims[DIM_PROTOCOL].n == 0 && c->dims[DIM_ICMP_TYPE].n == 0 && c->dims[DIM_ICMP_CODE].n == 0;
}

static bool grants_are_sound(const struct kernel_plan *plan)
{
	size_t n_spans = 0;

	for (size_t i = 0; i < plan->n_grants; i++) {
		const struct intercept *c = &plan->grants[i];

		for (int k = 0; k < DIM_COUNT; k++)
			n_spans += c->dims[k].n;
		if (n_spans > KERNEL_SPANS_MAX || c->action != INTERCEPT_FORWARD || c->src != -1 || c->dst != -1 || !intercept_is_sound(plan, c))
			return false;
	}
	return plan->changing || plan->n_grants == 0;
}

int kernel_plan_check(const struct kernel_plan *plan)
{
	size_t n_ranges = 0, n_spans = 0, chains[2][TRANSPORT_OTHER + 1] = { 0 };

	if (plan->n_intercepts > KERNEL_INTERCEPTS_MAX || plan->n_names > KERNEL_NAMES_MAX ||
	    plan->n_listens > KERNEL_LISTENS_MAX || plan->n_sets > KERNEL_RANGES_MAX ||
	    plan->n_targets > KERNEL_TARGETS_MAX || plan->n_grants > KERNEL_GRANTS_MAX)
		return -EINVAL;
	for (size_t i = 0; i < plan->n_targets; i++)
		if (ip_bits(&plan->targets[i].ip) == 0)
			return -EINVAL;
	for (size_t i = 0; i < plan->n_names; i++)
		if (!name_is_plain(plan->names[i]))
			return -EINVAL;
	for (size_t i = 0; i < plan->n_sets; i++) {
		n_ranges += plan->sets[i].n_ranges;
		if (n_ranges > KERNEL_RANGES_MAX || !set_is_sound(&plan->sets[i]))
			return -EINVAL;
	}
	if (!grants_are_sound(plan))
		return -EINVAL;
	for (size_t i = 0; i < plan->n_intercepts; i++) {
		const struct intercept *c = &plan->intercepts[i];

		for (int k = 0; k < DIM_COUNT; k++)
			n_spans += c->dims[k].n;
		if (n_spans > KERNEL_SPANS_MAX || !intercept_is_sound(plan, c))
			return -EINVAL;
		if (++chains[c->family == AF_INET6][c->transport] > KERNEL_CHAIN_MAX)
			return -EINVAL;
		if (plan->changing && c->action == INTERCEPT_FORWARD && !kernel_plan_grants(plan, c))
			return -EINVAL;
	}
	for (size_t i = 0; i < plan->n_listens; i++)
		if (ip_bits(&plan->listens[i].at.ip) == 0 || plan->listens[i].at.port == 0)
			return -EINVAL;
	return 0;
}
