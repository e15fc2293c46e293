/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which interface a connection came in by, its group, and whether the destination address is
 * one of its own: what rules with interface conditions are matched against. The kernel keeps
 * the interface of the packet that completed the handshake for sockets that inherited
 * IP_PKTINFO from their listener; names, groups and addresses come from rtnetlink, read again
 * after the kernel told of a change.
 */
#ifndef SALLYPORT_SERVER_INTERFACES_H
#define SALLYPORT_SERVER_INTERFACES_H

#include "policy/flow.h"
#include "policy/policy.h"

struct interfaces;

/* Does any rule look at interfaces? Then the worker pays for it. */
bool interfaces_needed(const struct policy *policy);

struct interfaces *interfaces_create(void);		/* NULL: errno */
void interfaces_free(struct interfaces **ip);

/* On a listening socket: accepted ones inherit it. 0 or -errno. */
int interfaces_prepare_listener(int fd, int family) MUST_CHECK;

/* Fill in the interface members of flow, whose dst is set, for an accepted socket. What can't be
 * told stays "none known", which matches no interface condition. */
void interfaces_of_connection(struct interfaces *in, int fd, struct flow *flow);

/* Every address of this host. Returns how many, at most max; -errno. */
int interfaces_local_addresses(struct ip_addr *out, size_t max);

#endif
