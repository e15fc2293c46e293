/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan says of a flow, as the rule set that is made of it would. */
#include "kernel/plan_priv.h"

#define PROTO_TCP 6
#define PROTO_UDP 17

enum intercept_transport kernel_transport(uint8_t protocol)
{
	return protocol == PROTO_TCP ? TRANSPORT_TCP : protocol == PROTO_UDP ? TRANSPORT_UDP : TRANSPORT_OTHER;
}

bool intercept_names_loopback(const struct kernel_plan *plan, const struct intercept *c)
{
	const enum intercept_dim dims[] = { DIM_IFACE, DIM_DST_IFACE };

	for (size_t d = 0; d < ARRAY_LEN(dims); d++) {
		const struct spans *s = &c->dims[dims[d]];

		for (size_t i = 0; i < s->n; i++)
			for (uint32_t k = s->spans[i].first; k <= s->spans[i].last; k++)
				if (strcmp(plan->names[k], "lo") == 0)
					return true;
	}
	return false;
}

static bool in_set(const struct kernel_plan *plan, int32_t set, const struct ip_addr *ip)
{
	const struct address_set *s;
	size_t low = 0, high;

	if (set < 0)
		return true;
	s = &plan->sets[set];
	high = s->n_ranges;
	while (low < high) {		/* the first that does not end before the address */
		size_t middle = low + (high - low) / 2;

		if (ip_compare(&s->ranges[middle].last, ip) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < s->n_ranges && ip_compare(&s->ranges[low].first, ip) <= 0;
}

/* -1: it is not known, or there is none. */
static bool in_spans(const struct spans *s, int64_t value)
{
	for (size_t i = 0; i < s->n; i++)
		if (value >= s->spans[i].first && value <= s->spans[i].last)
			return true;
	return s->n == 0;
}

static bool in_names(const struct kernel_plan *plan, const struct spans *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		for (uint32_t k = s->spans[i].first; k <= s->spans[i].last; k++)
			if (strcmp(plan->names[k], name) == 0)
				return true;
	return s->n == 0;
}

static bool intercept_matches(const struct kernel_plan *plan, const struct intercept *c, const struct flow *f)
{
	unsigned transport = kernel_transport(f->protocol);

	if (c->family != f->src.ip.family || c->transport != transport)
		return false;
	if (!in_set(plan, c->src, &f->src.ip) || !in_set(plan, c->dst, &f->dst.ip))
		return false;
	if (strcmp(f->iface, "lo") == 0 && !intercept_names_loopback(plan, c))
		return false;
	if (!in_names(plan, &c->dims[DIM_IFACE], f->iface) || !in_names(plan, &c->dims[DIM_DST_IFACE], f->dst_iface))
		return false;
	if (!in_spans(&c->dims[DIM_IFGROUP], f->ifgroup) || !in_spans(&c->dims[DIM_DST_IFGROUP], f->dst_ifgroup))
		return false;
	if (!in_spans(&c->dims[DIM_REQID], f->reqid) || !in_spans(&c->dims[DIM_PROTOCOL], f->protocol))
		return false;
	if (!in_spans(&c->dims[DIM_ICMP_TYPE], f->icmp_type) || !in_spans(&c->dims[DIM_ICMP_CODE], f->icmp_code))
		return false;
	return transport == TRANSPORT_OTHER ||
	       (in_spans(&c->dims[DIM_SRC_PORT], f->src.port) && in_spans(&c->dims[DIM_DST_PORT], f->dst.port));
}

const struct intercept *kernel_plan_find(const struct kernel_plan *plan, const struct flow *flow)
{
	for (size_t i = 0; i < plan->n_intercepts; i++)
		if (intercept_matches(plan, &plan->intercepts[i], flow))
			return &plan->intercepts[i];
	return NULL;
}
