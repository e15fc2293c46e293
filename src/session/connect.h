/* SPDX-License-Identifier: Apache-2.0 */
/* From a service's router to a connection request; pure, so that every form can be tested. */
#ifndef SALLYPORT_SESSION_CONNECT_H
#define SALLYPORT_SESSION_CONNECT_H

#include "io/connector.h"
#include "policy/policy.h"

/*
 * client_local is the original destination; from_proxy what the protocol named (family
 * AF_UNSPEC: nothing). Without can_forge the connection comes from this host's own address.
 * 0; -EINVAL (forge_port out of range); -EDESTADDRREQ (no target); -EAFNOSUPPORT (the client's
 * address can't be forged in the target's family; out->remote is set).
 */
int connect_plan(const struct service *service, const struct endpoint *client, const struct endpoint *client_local,
		 const struct endpoint *from_proxy, bool can_forge, uint32_t forged_mark,
		 struct connect_request *out) MUST_CHECK;

#endif
