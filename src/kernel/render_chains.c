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
 *	refuse_*		one a kind of answer: logged, counted, answered
 *	forward_*		the decision is noted in conntrack's mark, with what is to be
 *				translated; the packet goes its way, and all that follow it
 *	translate, leave	where conntrack translates addresses: the conditions are looked at
 *				once more, since only such a chain may say to which address
 *	astray			a marked packet that is about to be forwarded shows that the route
 *				of the mark is gone: it must not go on to the server. And what
 *				would be forwarded though no rule says so ends here
 */
#include "kernel/render_priv.h"

#define LOG_RATE "limit rate 10/second burst 50 packets log prefix"

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

/* A name for each way of refusing: its conditions then stand once, though logging has a limit of its own. */
static void render_refuse_name(struct buffer *out, uint8_t family, unsigned deny, bool log)
{
	buffer_printf(out, "refuse_%s_%u%s", render_family(family), deny, log ? "_log" : "");
}

static unsigned forward_flags(const struct intercept *c)
{
	return (c->masquerade ? KERNEL_FORWARD_MASQUERADE : 0) | (c->target >= 0 ? KERNEL_FORWARD_TARGET : 0);
}

static void render_forward_name(struct buffer *out, unsigned flags)
{
	buffer_printf(out, "forward%s%s", flags & KERNEL_FORWARD_TARGET ? "_to" : "",
		      flags & KERNEL_FORWARD_MASQUERADE ? "_masquerade" : "");
}

static bool any_refusal(const struct kernel_plan *plan, uint8_t family, unsigned deny, bool log)
{
	for (size_t i = 0; i < plan->n_intercepts; i++) {
		const struct intercept *c = &plan->intercepts[i];

		if (c->action == INTERCEPT_REFUSE && c->family == family && c->deny == deny && c->log == log)
			return true;
	}
	return false;
}

static void render_refusals(struct buffer *out, const struct kernel_plan *plan, uint8_t family)
{
	const char *const *answers = family == AF_INET ? deny4 : deny6;
	size_t n = family == AF_INET ? ARRAY_LEN(deny4) : ARRAY_LEN(deny6);

	for (unsigned kind = 0; kind < 2 * n; kind++) {
		unsigned deny = kind / 2;
		bool log = kind % 2 == 1;

		if (!any_refusal(plan, family, deny, log))
			continue;
		buffer_printf(out, "\tchain ");
		render_refuse_name(out, family, deny, log);
		buffer_printf(out, " {\n");
		if (log)
			buffer_printf(out, "\t\t" LOG_RATE " \"sallyport denied: \"\n");
		buffer_printf(out, "\t\tcounter %s\n\t}\n", answers[deny]);
	}
}

static bool any_forward(const struct kernel_plan *plan, unsigned flags)
{
	for (size_t i = 0; i < plan->n_intercepts; i++)
		if (plan->intercepts[i].action == INTERCEPT_FORWARD && forward_flags(&plan->intercepts[i]) == flags)
			return true;
	return false;
}

static void render_forwards(struct buffer *out, const struct kernel_plan *plan)
{
	const unsigned all = KERNEL_FORWARD_MASQUERADE | KERNEL_FORWARD_TARGET;

	for (unsigned flags = 0; flags <= all; flags += KERNEL_FORWARD_MASQUERADE) {
		if (!any_forward(plan, flags))
			continue;
		buffer_printf(out, "\tchain ");
		render_forward_name(out, flags);
		/*
		 * Conntrack takes for an answer what goes the other way. A client that forges a packet "from the
		 * server", which may be forwarded, would have its own packets pass as answers to that. A connection of
		 * TCP does not come about so; for the rest the source must be where the packet came from.
		 */
		buffer_printf(out, " {\n\t\tcounter\n"
			      "\t\tmeta l4proto != tcp fib saddr . iif oif missing ct mark set ct mark and 0x%08x or 0x%08x accept\n"
			      "\t\tct mark set ct mark and 0x%08x or 0x%08x accept\n\t}\n",
			      ~KERNEL_MARK_MASK, KERNEL_FORWARD_MARK | KERNEL_FORWARD_ONE_WAY | flags,
			      ~KERNEL_MARK_MASK, KERNEL_FORWARD_MARK | flags);
	}
}

static void render_intercept(struct buffer *out, const struct kernel_plan *plan, const struct intercept *c)
{
	/* What was decided for a connection under way is not decided anew. */
	buffer_printf(out, "\t\t%s", c->action == INTERCEPT_REFUSE ? "ct state new " : "");
	render_conditions(out, plan, c);
	buffer_printf(out, "goto ");
	if (c->action == INTERCEPT_SERVE)
		buffer_printf(out, "serve");
	else if (c->action == INTERCEPT_FORWARD)
		render_forward_name(out, forward_flags(c));
	else
		render_refuse_name(out, c->family, c->deny, c->log);
	buffer_printf(out, "\n");
}

/* The conditions of one family and transport; loopback: those that name the interface lo. */
static bool has_any(const struct kernel_plan *plan, uint8_t family, unsigned transport, bool loopback)
{
	for (size_t i = 0; i < plan->n_intercepts; i++) {
		const struct intercept *c = &plan->intercepts[i];

		if (c->family == family && c->transport == transport && (!loopback || intercept_names_loopback(plan, c)))
			return true;
	}
	return false;
}

static void render_chain(struct buffer *out, const struct kernel_plan *plan, uint8_t family, unsigned transport, bool loopback)
{
	if (!has_any(plan, family, transport, loopback))
		return;
	buffer_printf(out, "\tchain %s%s_%s {\n", loopback ? "lo_" : "", render_family(family), render_transport(transport));
	for (size_t i = 0; i < plan->n_intercepts; i++) {
		const struct intercept *c = &plan->intercepts[i];

		if (c->family == family && c->transport == transport && (!loopback || intercept_names_loopback(plan, c)))
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
					      render_family(families[f]), protocols[t], loopback ? "lo_" : "",
					      render_family(families[f]), render_transport(t));
}

static bool any_loopback(const struct kernel_plan *plan)
{
	for (size_t i = 0; i < plan->n_intercepts; i++)
		if (intercept_names_loopback(plan, &plan->intercepts[i]))
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
		"\t\tct direction reply meta l4proto != tcp ct mark and 0x%08x == 0x%08x goto unmatched\n"
		"\t\tct direction reply meta l4proto != tcp accept\n"
		"\t\tct direction reply tcp flags & (syn | ack) != syn accept\n"
		"\t\tct direction original ct mark and 0x%08x == 0x%08x accept\n"
		/* An error is the business of the connection that it quotes: it decides nothing for that. */
		"\t\tmeta l4proto { icmp, icmpv6 } ct state related accept\n"
		"\t\tiifname \"lo\" %s\n",
		~KERNEL_MARK_MASK, KERNEL_MARK, KERNEL_FORWARD_MASK | KERNEL_FORWARD_ONE_WAY,
		KERNEL_FORWARD_MARK | KERNEL_FORWARD_ONE_WAY, KERNEL_FORWARD_MASK, KERNEL_FORWARD_MARK, loopback ? "goto incoming_lo" : "accept");
	render_jumps(out, plan, false);
	buffer_printf(out, "\t}\n");
	if (loopback) {
		buffer_printf(out, "\tchain incoming_lo {\n\t\tmeta mark and 0x%08x == 0x%08x accept\n",
			      KERNEL_MARK_MASK, KERNEL_FORGED_MARK);
		render_jumps(out, plan, true);
		buffer_printf(out, "\t}\n");
	}
}

static void render_unmatched(struct buffer *out)
{
	buffer_printf(out,
		"\tchain unmatched {\n"
		"\t\t" LOG_RATE " \"sallyport unmatched: \"\n"
		"\t\tcounter drop\n"
		"\t}\n");
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

static void render_target(struct buffer *out, const struct kernel_plan *plan, const struct intercept *c)
{
	const struct endpoint *to = &plan->targets[c->target];
	char ip[IP_TEXT_MAX];

	ip_text(&to->ip, ip);
	if (to->port != 0)
		buffer_printf(out, c->family == AF_INET ? "meta l4proto %s dnat ip to %s:%u\n" : "meta l4proto %s dnat ip6 to [%s]:%u\n",
			      render_transport(c->transport), ip, (unsigned)to->port);
	else
		buffer_printf(out, "dnat %s to %s\n", c->family == AF_INET ? "ip" : "ip6", ip);
}

/* The last intercept of a family and transport that sends flows to another address, plus 1; 0: none does. */
static size_t end_of_targets(const struct kernel_plan *plan, uint8_t family, unsigned transport)
{
	for (size_t i = plan->n_intercepts; i > 0; i--) {
		const struct intercept *c = &plan->intercepts[i - 1];

		if (c->target >= 0 && c->family == family && c->transport == transport)
			return i;
	}
	return 0;
}

/*
 * Only flows that such an intercept won come here: the first that matches is theirs. But when a rule set is replaced, a
 * first packet may have been decided by the old one and come here in the new one, where another wins. It is dropped, and
 * decided anew when it is sent again: neither may it go on untranslated, nor to where only what loses here would send it.
 */
static void render_translation(struct buffer *out, const struct kernel_plan *plan, uint8_t family, unsigned transport)
{
	static const char *const protocols[] = { "tcp", "udp", "!= { tcp, udp }" };
	size_t end = end_of_targets(plan, family, transport);

	if (end == 0)
		return;
	buffer_printf(out, "\tchain to_%s_%s {\n", render_family(family), render_transport(transport));
	for (size_t i = 0; i < end; i++) {
		const struct intercept *c = &plan->intercepts[i];

		if (c->family != family || c->transport != transport)
			continue;
		buffer_printf(out, "\t\t");
		render_conditions(out, plan, c);
		if (c->target >= 0)
			render_target(out, plan, c);
		else
			buffer_printf(out, "drop\n");
	}
	buffer_printf(out, "\t\tdrop\n\t}\n\tchain translate {\n\t\tmeta nfproto %s meta l4proto %s goto to_%s_%s\n\t}\n",
		      render_family(family), protocols[transport], render_family(family), render_transport(transport));
}

/* Both are always there: without a chain of this type the kernel stops translating what it has translated so far. */
static void render_translations(struct buffer *out, const struct kernel_plan *plan)
{
	buffer_printf(out,
		"\tchain translate {\n"
		"\t\ttype nat hook prerouting priority dstnat; policy accept;\n"
		"\t\tct mark and 0x%08x != 0x%08x accept\n"
		"\t}\n"
		"\tchain leave {\n"
		"\t\ttype nat hook postrouting priority srcnat; policy accept;\n"
		"\t\tct mark and 0x%08x == 0x%08x masquerade\n"
		"\t}\n",
		KERNEL_FORWARD_MASK | KERNEL_FORWARD_TARGET, KERNEL_FORWARD_MARK | KERNEL_FORWARD_TARGET,
		KERNEL_FORWARD_MASK | KERNEL_FORWARD_MASQUERADE, KERNEL_FORWARD_MARK | KERNEL_FORWARD_MASQUERADE);
	for (unsigned t = TRANSPORT_TCP; t <= TRANSPORT_OTHER; t++) {
		render_translation(out, plan, AF_INET, t);
		render_translation(out, plan, AF_INET6, t);
	}
	buffer_printf(out, "\tchain translate {\n\t\tdrop\n\t}\n");
}

/*
 * Whatever is forwarded was decided in "incoming", and is remembered so in its connection. The rest is dropped, also
 * what conntrack has no connection for (a scan's odd packets, say): a condition about that one never holds then.
 */
static void render_astray(struct buffer *out)
{
	buffer_printf(out,
		"\tchain astray {\n"
		"\t\ttype filter hook forward priority mangle; policy accept;\n"
		"\t\tmeta mark and 0x%08x == 0x%08x drop\n"
		"\t\tct mark and 0x%08x == 0x%08x accept\n"
		"\t\tgoto unmatched\n"
		"\t}\n", KERNEL_MARK_MASK, KERNEL_MARK, KERNEL_FORWARD_MASK, KERNEL_FORWARD_MARK);
}

void kernel_plan_render(const struct kernel_plan *plan, uint16_t port4, uint16_t port6, struct buffer *out)
{
	const uint8_t families[] = { AF_INET, AF_INET6 };

	/* Creating it first makes the deletion right also when there is none. */
	buffer_printf(out, "table inet " KERNEL_TABLE "\ndelete table inet " KERNEL_TABLE "\ntable inet " KERNEL_TABLE " {\n");
	render_sets(out, plan);
	render_unmatched(out);
	render_serve(out, port4, port6);
	for (size_t f = 0; f < ARRAY_LEN(families); f++)
		render_refusals(out, plan, families[f]);
	render_forwards(out, plan);
	for (int loopback = 0; loopback <= 1; loopback++)
		for (size_t f = 0; f < ARRAY_LEN(families); f++)
			for (unsigned t = TRANSPORT_TCP; t <= TRANSPORT_OTHER; t++)
				render_chain(out, plan, families[f], t, loopback == 1);
	render_forged(out);
	render_incoming(out, plan);
	render_translations(out, plan);
	render_astray(out);
	buffer_printf(out, "}\n");
}
