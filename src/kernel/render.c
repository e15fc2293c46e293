/* SPDX-License-Identifier: Apache-2.0 */
/* The conditions of a plan as text of nft: sets of addresses, and what stands before a verdict. */
#include "kernel/render_priv.h"

#include <stdio.h>

#define SET_INLINE_MAX 4	/* ranges that stand in the rule itself */

const char *render_family(uint8_t family)
{
	return family == AF_INET ? "ipv4" : "ipv6";
}

const char *render_transport(unsigned transport)
{
	static const char *const names[] = { "tcp", "udp", "other" };

	return names[transport];
}

/* The prefix length if the range is one prefix, else -1. */
static int range_bits(const struct address_range *r)
{
	int total = (int)ip_bits(&r->first);

	for (int bits = 0; bits <= total; bits++) {
		struct ip_prefix prefix = { r->first, (uint8_t)bits };
		struct address_range whole;

		prefix_range(&prefix, &whole);
		if (ip_equal(&whole.first, &r->first) && ip_equal(&whole.last, &r->last))
			return bits;
	}
	return -1;
}

void render_range(struct buffer *out, const struct address_range *r)
{
	char first[IP_TEXT_MAX], last[IP_TEXT_MAX];
	int bits = range_bits(r);

	ip_text(&r->first, first);
	if (bits == (int)ip_bits(&r->first))
		buffer_printf(out, "%s", first);
	else if (bits >= 0)
		buffer_printf(out, "%s/%d", first, bits);
	else
		buffer_printf(out, "%s-%s", first, ip_text(&r->last, last));
}

static void render_ranges(struct buffer *out, const struct address_set *set)
{
	for (size_t i = 0; i < set->n_ranges; i++) {
		if (i > 0)
			buffer_printf(out, "%s", i % 8 == 0 ? ",\n\t\t\t" : ", ");
		render_range(out, &set->ranges[i]);
	}
}

/* Sets with a name of their own; the others stand in the rules. */
static bool is_named(const struct kernel_plan *plan, const struct address_set *set)
{
	return plan->changing || set->n_ranges > SET_INLINE_MAX;
}

void render_sets(struct buffer *out, const struct kernel_plan *plan)
{
	for (size_t i = 0; i < plan->n_sets; i++) {
		if (!is_named(plan, &plan->sets[i]))
			continue;
		buffer_printf(out, "\tset addresses_%zu {\n\t\ttype %s_addr\n\t\tflags interval\n\t\telements = { ",
			      i, render_family(plan->sets[i].family));
		render_ranges(out, &plan->sets[i]);
		buffer_printf(out, " }\n\t}\n");
	}
}

static void render_address(struct buffer *out, const struct kernel_plan *plan, const struct intercept *c,
			   const char *side, int32_t number)
{
	const struct address_set *set;

	if (number < 0)
		return;
	set = &plan->sets[number];
	buffer_printf(out, "%s %s ", c->family == AF_INET ? "ip" : "ip6", side);
	if (is_named(plan, set)) {
		buffer_printf(out, "@addresses_%d ", (int)number);
	} else {
		buffer_printf(out, "%s", set->n_ranges > 1 ? "{ " : "");
		render_ranges(out, set);
		buffer_printf(out, "%s", set->n_ranges > 1 ? " } " : " ");
	}
}

static void render_spans(struct buffer *out, const char *what, const struct spans *s)
{
	bool several = s->n > 1;

	if (s->n == 0)
		return;
	buffer_printf(out, "%s %s", what, several ? "{ " : "");
	for (size_t i = 0; i < s->n; i++) {
		buffer_printf(out, "%s%u", i > 0 ? ", " : "", (unsigned)s->spans[i].first);
		if (s->spans[i].last != s->spans[i].first)
			buffer_printf(out, "-%u", (unsigned)s->spans[i].last);
	}
	buffer_printf(out, "%s ", several ? " }" : "");
}

static void render_names(struct buffer *out, const struct kernel_plan *plan, const struct spans *s)
{
	const char *before = "";

	if (s->n == 0)
		return;
	buffer_printf(out, "iifname { ");
	for (size_t i = 0; i < s->n; i++)
		for (uint32_t k = s->spans[i].first; k <= s->spans[i].last; k++) {
			buffer_printf(out, "%s\"%s\"", before, plan->names[k]);
			before = ", ";
		}
	buffer_printf(out, " } ");
}

void render_conditions(struct buffer *out, const struct kernel_plan *plan, const struct intercept *c)
{
	const char *th = render_transport(c->transport);
	char ports[16];

	render_names(out, plan, &c->dims[DIM_IFACE]);
	render_spans(out, "iifgroup", &c->dims[DIM_IFGROUP]);
	render_spans(out, "ipsec in reqid", &c->dims[DIM_REQID]);
	render_names(out, plan, &c->dims[DIM_DST_IFACE]);
	render_spans(out, "iifgroup", &c->dims[DIM_DST_IFGROUP]);
	if (c->dims[DIM_DST_IFACE].n > 0 || c->dims[DIM_DST_IFGROUP].n > 0)
		buffer_printf(out, "fib daddr . iif type local ");
	render_address(out, plan, c, "saddr", c->src);
	render_address(out, plan, c, "daddr", c->dst);
	render_spans(out, "meta l4proto", &c->dims[DIM_PROTOCOL]);
	render_spans(out, c->family == AF_INET ? "icmp type" : "icmpv6 type", &c->dims[DIM_ICMP_TYPE]);
	render_spans(out, c->family == AF_INET ? "icmp code" : "icmpv6 code", &c->dims[DIM_ICMP_CODE]);
	snprintf(ports, sizeof(ports), "%s sport", th);
	render_spans(out, ports, &c->dims[DIM_SRC_PORT]);
	snprintf(ports, sizeof(ports), "%s dport", th);
	render_spans(out, ports, &c->dims[DIM_DST_PORT]);
}
