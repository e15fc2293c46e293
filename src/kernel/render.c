/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plan as an nftables rule set: one table, replaced in one transaction. A packet's way:
 *
 *	forged_in, forged_out	packets of forged server legs get a conntrack zone of their own:
 *				with the client's port kept, both legs have the same addresses and
 *				ports, and conntrack would see one connection twice
 *	incoming		packets of sockets that we own already are marked for local
 *				delivery; what conntrack knows as an answer passes; the rest meets
 *				the conditions of the policy, by family and transport
 *	serve			to the transparent listener, and nowhere else: if there is none,
 *				the packet ends here. That is why nothing gets around a stopped or
 *				crashed proxy: no listener, no passage
 *	astray			a marked packet that is about to be forwarded shows that the route
 *				of the mark is gone: it must not go on to the server
 */
#include "kernel/plan_priv.h"

#include <stdio.h>

#define SET_INLINE_MAX 4	/* ranges that stand in the rule itself */

static const char *const deny4[] = {
	"drop", "reject with tcp reset", "reject with icmp type net-unreachable",
	"reject with icmp type host-unreachable", "reject with icmp type prot-unreachable",
	"reject with icmp type port-unreachable", "reject with icmp type net-prohibited",
	"reject with icmp type host-prohibited", "reject with icmp type admin-prohibited",
};

static const char *const deny6[] = {
	"drop", "reject with tcp reset", "reject with icmpv6 type no-route",
	"reject with icmpv6 type admin-prohibited", "reject with icmpv6 type addr-unreachable",
	"reject with icmpv6 type port-unreachable",
};

static const char *const transport_names[] = { "tcp", "udp", "other" };

static const char *family_name(uint8_t family)
{
	return family == AF_INET ? "ipv4" : "ipv6";
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

static void render_range(struct buffer *out, const struct address_range *r)
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

static void render_sets(struct buffer *out, const struct kernel_plan *plan)
{
	for (size_t i = 0; i < plan->n_sets; i++) {
		if (plan->sets[i].n_ranges <= SET_INLINE_MAX)
			continue;
		buffer_printf(out, "\tset addresses_%zu {\n\t\ttype %s_addr\n\t\tflags interval\n\t\telements = { ",
			      i, family_name(plan->sets[i].family));
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
	if (set->n_ranges > SET_INLINE_MAX) {
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

static void render_conditions(struct buffer *out, const struct kernel_plan *plan, const struct intercept *c)
{
	const char *th = transport_names[c->transport];
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

static void render_intercept(struct buffer *out, const struct kernel_plan *plan, const struct intercept *c)
{
	const char *verdict;

	buffer_printf(out, "\t\t");
	if (c->action == INTERCEPT_SERVE) {
		render_conditions(out, plan, c);
		buffer_printf(out, "goto serve\n");
		return;
	}
	verdict = c->family == AF_INET ? deny4[c->deny] : deny6[c->deny];
	if (c->deny == 1 && c->transport != TRANSPORT_TCP)
		verdict = "drop";	/* a reset means nothing there */
	buffer_printf(out, "ct state new ");
	render_conditions(out, plan, c);
	if (c->log) {
		/* The rate limit is a condition too, so the line and the verdict are two rules. */
		buffer_printf(out, "limit rate 10/second burst 50 packets log prefix \"sallyport denied: \"\n\t\tct state new ");
		render_conditions(out, plan, c);
	}
	buffer_printf(out, "%s\n", verdict);
}

/* The conditions of one family and transport; loopback: those that name the interface lo. */
static bool names_loopback(const struct kernel_plan *plan, const struct intercept *c)
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

static bool has_any(const struct kernel_plan *plan, uint8_t family, unsigned transport, bool loopback)
{
	for (size_t i = 0; i < plan->n_intercepts; i++) {
		const struct intercept *c = &plan->intercepts[i];

		if (c->family == family && c->transport == transport && (!loopback || names_loopback(plan, c)))
			return true;
	}
	return false;
}

static void render_chain(struct buffer *out, const struct kernel_plan *plan, uint8_t family, unsigned transport, bool loopback)
{
	if (!has_any(plan, family, transport, loopback))
		return;
	buffer_printf(out, "\tchain %s%s_%s {\n", loopback ? "lo_" : "", family_name(family), transport_names[transport]);
	for (size_t i = 0; i < plan->n_intercepts; i++) {
		const struct intercept *c = &plan->intercepts[i];

		if (c->family == family && c->transport == transport && (!loopback || names_loopback(plan, c)))
			render_intercept(out, plan, c);
	}
	buffer_printf(out, "\t}\n");
}

static void render_jumps(struct buffer *out, const struct kernel_plan *plan, bool loopback)
{
	const uint8_t families[] = { AF_INET, AF_INET6 };
	static const char *const protocols[] = { "tcp", "udp", "!= { tcp, udp }" };

	for (size_t f = 0; f < ARRAY_LEN(families); f++)
		for (unsigned t = 0; t < ARRAY_LEN(protocols); t++)
			if (has_any(plan, families[f], t, loopback))
				buffer_printf(out, "\t\tmeta nfproto %s meta l4proto %s goto %s%s_%s\n",
					      family_name(families[f]), protocols[t], loopback ? "lo_" : "",
					      family_name(families[f]), transport_names[t]);
}

static bool any_loopback(const struct kernel_plan *plan)
{
	for (size_t i = 0; i < plan->n_intercepts; i++)
		if (names_loopback(plan, &plan->intercepts[i]))
			return true;
	return false;
}

static void render_forged(struct buffer *out)
{
	buffer_printf(out,
		"\tchain forged_in {\n"
		"\t\ttype filter hook prerouting priority raw - 10; policy accept;\n"
		"\t\tmeta l4proto { tcp, icmp, icmpv6 } socket transparent 1 socket mark and 0x%08x == 0x%08x ct zone set %u\n"
		"\t}\n"
		"\tchain forged_out {\n"
		"\t\ttype filter hook output priority raw - 10; policy accept;\n"
		"\t\tmeta mark and 0x%08x == 0x%08x ct zone set %u\n"
		"\t}\n",
		KERNEL_MARK_MASK, KERNEL_FORGED_MARK, KERNEL_CONNTRACK_ZONE,
		KERNEL_MARK_MASK, KERNEL_FORGED_MARK, KERNEL_CONNTRACK_ZONE);
}

static void render_incoming(struct buffer *out, const struct kernel_plan *plan)
{
	bool loopback = any_loopback(plan);

	buffer_printf(out,
		"\tchain incoming {\n"
		"\t\ttype filter hook prerouting priority mangle; policy accept;\n"
		"\t\tmeta l4proto { tcp, icmp, icmpv6 } socket transparent 1 meta mark set meta mark and 0x%08x or 0x%08x accept\n"
		/* A client may forge a packet "from the server" so that its own look like answers:
		 * what begins a connection is never taken for one. */
		"\t\tct direction reply meta l4proto != tcp accept\n"
		"\t\tct direction reply tcp flags & (syn | ack) != syn accept\n"
		"\t\tiifname \"lo\" %s\n",
		~KERNEL_MARK_MASK, KERNEL_MARK, loopback ? "goto incoming_lo" : "accept");
	render_jumps(out, plan, false);
	buffer_printf(out, "\t}\n");
	if (loopback) {
		buffer_printf(out, "\tchain incoming_lo {\n\t\tmeta mark and 0x%08x == 0x%08x accept\n",
			      KERNEL_MARK_MASK, KERNEL_FORGED_MARK);
		render_jumps(out, plan, true);
		buffer_printf(out, "\t}\n");
	}
}

static void render_serve(struct buffer *out, uint16_t port4, uint16_t port6)
{
	buffer_printf(out,
		"\tchain serve {\n"
		"\t\tmeta nfproto ipv4 meta l4proto tcp tproxy ip to 127.0.0.1:%u meta mark set meta mark and 0x%08x or 0x%08x accept\n"
		"\t\tmeta nfproto ipv6 meta l4proto tcp tproxy ip6 to [::1]:%u meta mark set meta mark and 0x%08x or 0x%08x accept\n"
		/* Connections to this host itself that were there before us: an administrator's, say.
		 * Conntrack may not know them yet. Without its first packet none begins. */
		"\t\tfib daddr type local tcp flags & (syn | ack) != syn accept\n"
		"\t\tdrop\n"
		"\t}\n",
		(unsigned)port4, ~KERNEL_MARK_MASK, KERNEL_MARK, (unsigned)port6, ~KERNEL_MARK_MASK, KERNEL_MARK);
}

static void render_astray(struct buffer *out)
{
	buffer_printf(out,
		"\tchain astray {\n"
		"\t\ttype filter hook forward priority mangle; policy accept;\n"
		"\t\tmeta mark and 0x%08x == 0x%08x drop\n"
		"\t}\n", KERNEL_MARK_MASK, KERNEL_MARK);
}

void kernel_plan_render(const struct kernel_plan *plan, uint16_t port4, uint16_t port6, struct buffer *out)
{
	const uint8_t families[] = { AF_INET, AF_INET6 };

	/* Creating it first makes the deletion right also when there is none. */
	buffer_printf(out, "table inet " KERNEL_TABLE "\ndelete table inet " KERNEL_TABLE "\ntable inet " KERNEL_TABLE " {\n");
	render_sets(out, plan);
	render_serve(out, port4, port6);
	for (int loopback = 0; loopback <= 1; loopback++)
		for (size_t f = 0; f < ARRAY_LEN(families); f++)
			for (unsigned t = TRANSPORT_TCP; t <= TRANSPORT_OTHER; t++)
				render_chain(out, plan, families[f], t, loopback == 1);
	render_forged(out);
	render_incoming(out, plan);
	render_astray(out);
	buffer_printf(out, "}\n");
}
