/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a service's router to a connection request, and to what the connection says of the client;
 * pure, so that every form can be tested.
 */
#ifndef SALLYPORT_SESSION_CONNECT_H
#define SALLYPORT_SESSION_CONNECT_H

#include "io/connector.h"
#include "policy/policy.h"

struct target_wish {
	struct endpoint at;	/* by the protocol, or the client in its TLS handshake; family AF_UNSPEC: nothing */
	bool binding;		/* policy code says so, whatever the router lets protocols choose */
};

/*
 * client_local is the original destination; wish what was asked for besides the router. Without can_forge the
 * connection comes from this host's own address.
 * 0; -EINVAL (forge_port out of range); -EDESTADDRREQ (no target); -EAFNOSUPPORT (the client's
 * address can't be forged in the target's family; out->remote is set).
 */
int connect_plan(const struct service *service, const struct endpoint *client, const struct endpoint *client_local,
		 const struct target_wish *wish, bool can_forge, uint32_t forged_mark,
		 struct connect_request *out) MUST_CHECK;

/*
 * Whom a server leg speaks for, settled when it is opened: the source it is bound to, and the
 * PROXY header it begins with. A leg may serve another session only where the two identities are
 * equal. What is said later on the leg itself (XCLIENT) can be said anew, and is no part of this.
 */
struct leg_identity {
	struct endpoint source;			/* as planned; family AF_UNSPEC: the firewall's own address */
	uint8_t proxy_protocol;			/* version; 0: no header, and none of these: */
	struct endpoint header_src, header_dst;
};

/* request: a plan for this client. wanted: what the client wanted to reach, as far as is known. */
struct leg_identity leg_identity_of(const struct service *service, const struct connect_request *request,
				    const struct endpoint *client, const struct endpoint *wanted);
bool leg_identity_equal(const struct leg_identity *a, const struct leg_identity *b);

#endif
