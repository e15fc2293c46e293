/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the decision leads to: who carries the connection, where to and from which address. It asks
 * the plan that the kernel's rules are made of, and the function that sessions connect with.
 */
#include "cli/explain_priv.h"
#include "session/connect.h"

#include <errno.h>
#include <string.h>

#define PROTO_TCP 6

/* 0 and *plan, when the winner is a Service; -errno: what connect_plan says. Without kernel rules nothing is forged. */
static int plan_route(const struct explain_view *view, const struct service *service, const struct flow *flow, struct connect_request *plan)
{
	const struct target_wish nothing = { .at = { .ip = { .family = AF_UNSPEC } } };

	return connect_plan(service, &flow->src, &flow->dst, &nothing, !view->no_kernel, 0, plan);
}

static const char *source_words(const struct connect_request *plan, char *buf, size_t size)
{
	char ip[IP_TEXT_MAX];
	const char *address = plan->local.ip.family == AF_UNSPEC ? "the firewall's own address" :
			      ip_text(&plan->local.ip, ip);
	unsigned port = plan->local.port;

	switch (plan->bind) {
	case BIND_NONE:
	case BIND_ADDRESS:
		snprintf(buf, size, "%s, any port", address);
		break;
	case BIND_EXACT:
		snprintf(buf, size, "%s, exactly port %u", address, port);
		break;
	case BIND_LOOSE:
		snprintf(buf, size, "%s, port %u or another of its group", address, port);
		break;
	case BIND_RANDOM:
		snprintf(buf, size, "%s, a random port of the group of %u", address, port);
		break;
	}
	return buf;
}

/* The decision stands only for connections of the peer's own. */
static bool awaits_header(const struct decision *d)
{
	return zone_is_within_any(d->src_zone, d->service->header_zones, d->service->n_header_zones);
}

/* Where the kernel sends it. */
static struct endpoint forward_target(const struct kernel_fate *fate, const struct flow *flow)
{
	struct endpoint to = fate->target.ip.family != AF_UNSPEC ? fate->target : flow->dst;

	if (to.port == 0)
		to.port = flow->dst.port;
	return to;
}

/* What is forwarded nowhere else is not forwarded at all where it is for this host. */
static bool is_for_host(const struct kernel_fate *fate, const struct explain_flow *flow)
{
	return flow->local && fate->target.ip.family == AF_UNSPEC;
}

static const char *forward_source(const struct kernel_fate *fate)
{
	return fate->masquerade ? "the address of the interface through which it leaves" : "the client's address";
}

/* The words behind "is ". */
static const char *answer_words(const struct kernel_fate *fate, uint8_t family)
{
	static const char *const v4[] = {
		"dropped in silence", "answered with a TCP reset", "answered with ICMP network unreachable",
		"answered with ICMP host unreachable", "answered with ICMP protocol unreachable",
		"answered with ICMP port unreachable", "answered with ICMP network prohibited",
		"answered with ICMP host prohibited", "answered with ICMP administratively prohibited",
	};
	static const char *const v6[] = {
		"dropped in silence", "answered with a TCP reset", "answered with ICMPv6 no route",
		"answered with ICMPv6 administratively prohibited", "answered with ICMPv6 address unreachable",
		"answered with ICMPv6 port unreachable",
	};

	return family == AF_INET ? v4[fate->deny] : v6[fate->deny];
}

static void add_proxy(json_t *answer, const struct explain_view *view, const struct decision *d, const struct flow *flow)
{
	struct connect_request plan;
	char text[200];
	int err = plan_route(view, d->service, flow, &plan);

	if (err == 0 || err == -EAFNOSUPPORT)
		json_object_set_new(answer, "target", json_string(endpoint_text(&plan.remote, text)));
	if (err == 0)
		json_object_set_new(answer, "source", json_string(source_words(&plan, text, sizeof(text))));
	else if (err == -EAFNOSUPPORT)
		json_object_set_new(answer, "source_error",
				    json_string("the client's address can't be forged in the target's family"));
	if (awaits_header(d))
		json_object_set_new(answer, "awaits_proxy_header", json_true());
	if (d->service->router.proxy_protocol != 0)
		json_object_set_new(answer, "proxy_protocol", json_integer(d->service->router.proxy_protocol));
}

/* The workers decide once more, and reset what no Service is for. */
static bool is_served(const struct decision *d)
{
	return d->service != NULL && d->service->kind == SERVICE_PROXY;
}

static const char *taker_word(const struct explain_fate *fate)
{
	static const char *const words[] = { "proxy", "kernel", "host", NULL };

	return words[fate->taker];
}

static void add_kernel(json_t *answer, const struct kernel_fate *fate, const struct explain_flow *flow)
{
	struct endpoint to = forward_target(fate, &flow->flow);
	char text[ENDPOINT_TEXT_MAX];

	if (fate->action != INTERCEPT_FORWARD) {
		json_object_set_new(answer, "refused", json_string(answer_words(fate, flow->flow.src.ip.family)));
		return;
	}
	json_object_set_new(answer, "target", json_string(endpoint_text(&to, text)));
	if (is_for_host(fate, flow))
		json_object_set_new(answer, "handled_by", json_string("host"));
	else
		json_object_set_new(answer, "source", json_string(forward_source(fate)));
}

void explain_route_json(const struct explain_view *view, const struct decision *d, const struct explain_flow *flow, json_t *answer)
{
	struct explain_fate fate = explain_fate_of(view, flow);

	if (d->service == NULL && fate.taker == TAKEN_BY_HOST)
		return;
	json_object_set_new(answer, "handled_by", json_pack("s?", taker_word(&fate)));
	if (fate.taker == TAKEN_BY_NOBODY)
		json_object_set_new(answer, "not_loadable",
				    json_sprintf(KERNEL_EXCESS_FORMAT, view->plan.excess.max, view->plan.excess.what));
	else if (fate.taker == TAKEN_BY_KERNEL)
		add_kernel(answer, &fate.fate, flow);
	else if (fate.taker == TAKEN_BY_PROXY && is_served(d))
		add_proxy(answer, view, d, &flow->flow);
	else if (fate.taker == TAKEN_BY_PROXY)
		json_object_set_new(answer, "refused", json_string("reset by the proxy"));
}

static void show_refusal(const struct decision *d, const struct flow *flow, const struct kernel_fate *fate, FILE *out)
{
	if (d->service == NULL)
		fputs("There are so many different rules that the kernel's are wider. ", out);
	else if (d->service->kind == SERVICE_PROXY)
		fputs("A Service serves only TCP. ", out);
	else if (d->service->kind == SERVICE_PF)
		fputs("The PFService's target is of the other address family. ", out);
	fprintf(out, "The kernel refuses it: it is %s%s.\n", answer_words(fate, flow->src.ip.family),
		fate->log ? ", and logged" : "");
}

static void show_kernel(const struct decision *d, const struct explain_flow *flow, const struct kernel_fate *fate, FILE *out)
{
	struct endpoint to = forward_target(fate, &flow->flow);
	char text[ENDPOINT_TEXT_MAX];

	if (fate->action != INTERCEPT_FORWARD)
		show_refusal(d, &flow->flow, fate, out);
	else if (is_for_host(fate, flow))
		fprintf(out, "It is for this host itself, where nothing is forwarded: the host's own packet filter decides\n");
	else
		fprintf(out, "The kernel forwards it to %s\n  from %s\n", endpoint_text(&to, text), forward_source(fate));
}

/* Nothing of ours touches it: why? */
static void show_untouched(const struct explain_view *view, const struct decision *d, const struct explain_flow *flow, FILE *out)
{
	if (view->no_kernel && flow->flow.protocol != PROTO_TCP)
		fputs("Without kernel rules only TCP is served: this host itself answers it, or forwards it.\n", out);
	else if (view->no_kernel)
		fputs("Without kernel rules it would be served by a listener at its destination, and there is none: this host itself\n"
		      "answers it, or forwards it.\n", out);
	else if (d->service != NULL && strcmp(flow->flow.iface, "lo") == 0)
		fputs("It comes in through lo, where only rules that name lo apply: the kernel leaves it alone.\n", out);
	else if (d->service != NULL)
		fputs("BUG: the kernel's rules do not know this flow\n", out);
	else if (flow->local)
		fputs("It is for this host itself: the host's own packet filter decides.\n", out);
	else
		fputs("The kernel does not forward it; if it is for this host, the host's own packet filter decides.\n", out);
}

static void show_limits(const struct service *s, FILE *out)
{
	if (s->max_instances > 0)
		fprintf(out, "  unless %u sessions of this service run already\n", (unsigned)s->max_instances);
	for (size_t i = 0; i < s->n_target_zones; i++)
		fprintf(out, "%s%s", i == 0 ? "  if the server is in zone " : " or ", s->target_zones[i]->name);
	if (s->n_target_zones > 0)
		fputs(", or below it\n", out);
}

static void show_proxy(const struct explain_view *view, const struct decision *d, const struct flow *flow, FILE *out)
{
	struct connect_request plan;
	char text[200];
	int err;

	if (awaits_header(d))
		fprintf(out, "The connection must begin with a PROXY header, and is then decided anew for the client that the\n"
			"header names (explain --from that address); what follows is for a header that names none (LOCAL)\n");
	err = plan_route(view, d->service, flow, &plan);
	if (err == 0 || err == -EAFNOSUPPORT)
		fprintf(out, "Proxy %s (class %s) connects to %s%s\n", d->service->proxy->type->name,
			d->service->proxy->class_name, endpoint_text(&plan.remote, text),
			d->service->router.kind == ROUTER_BY_NAME ? ", or as the name says that the client asks for in TLS" :
			d->service->router.overrideable ? ", unless the protocol names another server" : "");
	else if (err == -EDESTADDRREQ)
		fprintf(out, "Proxy %s (class %s) connects as the name says that the client asks for in TLS\n",
			d->service->proxy->type->name, d->service->proxy->class_name);
	if (err == 0)
		fprintf(out, "  from %s\n", source_words(&plan, text, sizeof(text)));
	else if (err == -EAFNOSUPPORT)
		fputs("  but the client's address can't be forged in the target's family: the connection fails\n", out);
	if (d->service->router.proxy_protocol != 0)
		fprintf(out, "  with a PROXY header of version %u that names the client\n", d->service->router.proxy_protocol);
	show_limits(d->service, out);
}

static void show_listener(const struct explain_view *view, const struct decision *d, const struct flow *flow, FILE *out)
{
	if (is_served(d))
		show_proxy(view, d, flow, out);
	else
		fprintf(out, "%s, and the proxy resets it.\n", view->no_kernel ? "A listener takes it" :
			"There are so many different rules that the kernel's are wider: it is delivered");
}

void explain_route_text(const struct explain_view *view, const struct decision *d, const struct explain_flow *flow, FILE *out)
{
	struct explain_fate fate = explain_fate_of(view, flow);

	switch (fate.taker) {
	case TAKEN_BY_PROXY:
		show_listener(view, d, &flow->flow, out);
		break;
	case TAKEN_BY_KERNEL:
		show_kernel(d, flow, &fate.fate, out);
		break;
	case TAKEN_BY_HOST:
		show_untouched(view, d, flow, out);
		break;
	case TAKEN_BY_NOBODY:
		fprintf(out, "The policy can't be loaded with kernel rules: " KERNEL_EXCESS_FORMAT "\n  %s\n", view->plan.excess.max,
			view->plan.excess.what, view->plan.excess.remedy);
		break;
	}
}
