/* SPDX-License-Identifier: Apache-2.0 */
/* From router to connection request: which target, from which address and port. */
#include "session/connect.h"

#include <errno.h>

static struct endpoint choose_target(const struct router *router, const struct endpoint *client_local,
				     const struct target_wish *wish)
{
	struct endpoint target = *client_local;

	if (wish->at.ip.family != AF_UNSPEC && (wish->binding || router->overrideable || router->kind == ROUTER_BY_NAME)) {
		target = wish->at;
	} else if (router->kind != ROUTER_TRANSPARENT) {
		target = router->targets[0];	/* ConnectChainer knows only the first */
	} else if (router->forced_port != 0) {
		target.port = router->forced_port;
	}
	if (target.port == 0)
		target.port = client_local->port;
	return target;
}

/*
 * forge_port decides on the port and how hard to insist on it, forge_addr on the address; a
 * numeric forge_port counts without forge_addr too (the original forgot it there).
 */
static void choose_source(const struct router *router, const struct endpoint *client, bool forge,
			  struct connect_request *out)
{
	out->local = (struct endpoint){ .ip = { .family = AF_UNSPEC } };
	if (forge)
		out->local.ip = client->ip;
	out->transparent = forge;
	switch (router->forge_port) {
	case FORGE_PORT_ANY:
		out->bind = forge ? BIND_ADDRESS : BIND_NONE;
		return;
	case FORGE_PORT_GROUP:
		out->bind = BIND_LOOSE;
		out->local.port = client->port;
		return;
	case FORGE_PORT_EXACT:
		out->bind = BIND_EXACT;
		out->local.port = client->port;
		return;
	case FORGE_PORT_RANDOM:
		out->bind = BIND_RANDOM;
		out->local.port = client->port;
		return;
	default:
		out->bind = BIND_EXACT;
		out->local.port = (uint16_t)router->forge_port;
	}
}

int connect_plan(const struct service *service, const struct endpoint *client, const struct endpoint *client_local,
		 const struct target_wish *wish, bool can_forge, uint32_t forged_mark, struct connect_request *out)
{
	const struct router *router = &service->router;
	bool forge = router->forge_addr && can_forge;
	int32_t port = router->forge_port;

	if (port == 0 || port > 65535 || port < FORGE_PORT_RANDOM)
		return -EINVAL;
	if (router->kind != ROUTER_TRANSPARENT && router->n_targets == 0 &&
	    (router->kind == ROUTER_DIRECTED || wish->at.ip.family == AF_UNSPEC))
		return -EDESTADDRREQ;
	memset(out, 0, sizeof(*out));
	out->remote = choose_target(router, client_local, wish);
	choose_source(router, client, forge, out);
	out->mark = forge ? forged_mark : 0;
	out->keepalive = service->keepalive_server;
	/* A client's IPv6 address can't be the source of an IPv4 connection, or the other way. */
	if (forge && client->ip.family != out->remote.ip.family)
		return -EAFNOSUPPORT;
	return 0;
}

struct leg_identity leg_identity_of(const struct service *service, const struct connect_request *request,
				    const struct endpoint *client, const struct endpoint *wanted)
{
	struct leg_identity leg = { .source = request->local, .proxy_protocol = service->router.proxy_protocol };

	if (leg.proxy_protocol != 0) {
		leg.header_src = *client;
		leg.header_dst = *wanted;
	}
	return leg;
}

bool leg_identity_equal(const struct leg_identity *a, const struct leg_identity *b)
{
	return endpoint_equal(&a->source, &b->source) && a->proxy_protocol == b->proxy_protocol &&
	       endpoint_equal(&a->header_src, &b->header_src) && endpoint_equal(&a->header_dst, &b->header_dst);
}
