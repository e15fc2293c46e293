/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the decision leads to: who carries the connection, where to and from which address. It asks
 * the functions that the kernel's rules and the sessions are made with.
 */
#include "cli/explain_priv.h"
#include "kernel/plan.h"
#include "session/connect.h"

#include <errno.h>

#define PROTO_TCP 6
#define PROTO_UDP 17

/* 0 and *plan, when the winner is a Service; -errno: what connect_plan says. */
static int plan_route(const struct service *service, const struct flow *flow, struct connect_request *plan)
{
	const struct target_wish nothing = { .at = { .ip = { .family = AF_UNSPEC } } };

	return connect_plan(service, &flow->src, &flow->dst, &nothing, true, 0, plan);
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

static struct kernel_fate fate_of(const struct decision *d, const struct flow *flow)
{
	return kernel_fate_of(d->service, flow->src.ip.family, flow->protocol == PROTO_TCP ? TRANSPORT_TCP :
			      flow->protocol == PROTO_UDP ? TRANSPORT_UDP : TRANSPORT_OTHER);
}

/* Where the kernel sends it. */
static struct endpoint forward_target(const struct kernel_fate *fate, const struct flow *flow)
{
	struct endpoint to = fate->target.ip.family != AF_UNSPEC ? fate->target : flow->dst;

	if (to.port == 0)
		to.port = flow->dst.port;
	return to;
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

static void add_proxy(json_t *answer, const struct decision *d, const struct flow *flow)
{
	struct connect_request plan;
	char text[200];
	int err = plan_route(d->service, flow, &plan);

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

void explain_route_json(const struct decision *d, const struct flow *flow, json_t *answer)
{
	struct kernel_fate fate = fate_of(d, flow);
	struct endpoint to;
	char text[ENDPOINT_TEXT_MAX];

	json_object_set_new(answer, "handled_by", json_string(fate.action == INTERCEPT_SERVE ? "proxy" : "kernel"));
	switch (fate.action) {
	case INTERCEPT_SERVE:
		add_proxy(answer, d, flow);
		break;
	case INTERCEPT_FORWARD:
		to = forward_target(&fate, flow);
		json_object_set_new(answer, "target", json_string(endpoint_text(&to, text)));
		json_object_set_new(answer, "source", json_string(forward_source(&fate)));
		break;
	default:
		json_object_set_new(answer, "refused", json_string(answer_words(&fate, flow->src.ip.family)));
	}
}

static void show_refusal(const struct decision *d, const struct flow *flow, const struct kernel_fate *fate, FILE *out)
{
	if (d->service->kind == SERVICE_PROXY)
		fputs("A Service serves only TCP. ", out);
	else if (d->service->kind == SERVICE_PF)
		fputs("The PFService's target is of the other address family. ", out);
	fprintf(out, "The kernel refuses it: it is %s%s.\n", answer_words(fate, flow->src.ip.family),
		fate->log ? ", and logged" : "");
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

static void show_proxy(const struct decision *d, const struct flow *flow, FILE *out)
{
	struct connect_request plan;
	char text[200];
	int err;

	if (awaits_header(d))
		fprintf(out, "The connection must begin with a PROXY header, and is then decided anew for the client that the\n"
			"header names (explain --from that address); what follows is for a header that names none (LOCAL)\n");
	err = plan_route(d->service, flow, &plan);
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

void explain_route_text(const struct decision *d, const struct flow *flow, FILE *out)
{
	struct kernel_fate fate;
	struct endpoint to;
	char text[ENDPOINT_TEXT_MAX];

	if (d->service == NULL) {
		fputs("The kernel does not forward it; if it is for this host, the host's own packet filter decides.\n", out);
		return;
	}
	fate = fate_of(d, flow);
	switch (fate.action) {
	case INTERCEPT_SERVE:
		show_proxy(d, flow, out);
		break;
	case INTERCEPT_FORWARD:
		to = forward_target(&fate, flow);
		fprintf(out, "The kernel forwards it to %s\n  from %s\n", endpoint_text(&to, text), forward_source(&fate));
		break;
	default:
		show_refusal(d, flow, &fate, out);
	}
}
