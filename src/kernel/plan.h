/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel must do for a policy, as plain checked data: fixed-size records of numbers,
 * prefixes and interface names, no text of the policy. The unprivileged leader makes it from
 * the compiled policy; the supervisor checks every field again, renders the nftables rule set
 * and loads it. `sallyport kernel` prints the same.
 */
#ifndef SALLYPORT_KERNEL_PLAN_H
#define SALLYPORT_KERNEL_PLAN_H

#include "base/addr.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "policy/policy.h"

#define KERNEL_TABLE "sallyport"		/* inet table of that name */
#define KERNEL_MARK 0x53000000u			/* TPROXY: deliver locally; mask below */
#define KERNEL_FORGED_MARK 0x54000000u		/* forged server legs */
#define KERNEL_MARK_MASK 0xff000000u
#define KERNEL_ROUTE_TABLE 5353
#define KERNEL_RULE_PRIORITY 5353
#define KERNEL_CONNTRACK_ZONE 5353		/* of forged legs */

/* One conjunction of conditions under which a Service rule may match a flow. */
struct intercept {
	uint8_t family;			/* AF_INET or AF_INET6 */
	uint8_t protocol;		/* 6 */
	char iface[IFNAME_MAX];		/* "" = any */
	int64_t ifgroup;		/* -1 = any */
	struct port_range src_ports, dst_ports;		/* 0..65535 = any */
	struct ip_prefix src, dst;	/* /0 = any */
};

/* An ordinary (non-transparent) listener of --no-kernel. */
struct listen_address {
	struct endpoint at;
};

struct kernel_plan {
	struct intercept *intercepts;
	size_t n_intercepts;
	struct listen_address *listens;	/* only without kernel rules */
	size_t n_listens;
};

/* For the given policy; conditions that user space alone can decide are widened, never
 * narrowed. 0 or -ENOMEM or -E2BIG. */
int kernel_plan_make(const struct policy *policy, struct arena *arena, struct kernel_plan *out) MUST_CHECK;

/* Listeners of the policy without kernel rules: local addresses are given. Says through
 * problems which rules are not served and why. 0 or -ENOMEM. */
int kernel_plan_listens(const struct policy *policy, const struct ip_addr *local, size_t n_local,
			struct arena *arena, struct policy_problems *problems, struct kernel_plan *out) MUST_CHECK;

/* Every field in its range, names without odd characters, counts bounded. 0 or -EINVAL. */
int kernel_plan_check(const struct kernel_plan *plan) MUST_CHECK;

/* The rule set as one nft transaction; ports are those of the transparent listeners. */
void kernel_plan_render(const struct kernel_plan *plan, uint16_t port4, uint16_t port6, struct buffer *out);

#endif
