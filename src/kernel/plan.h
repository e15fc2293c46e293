/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel must do for a policy, as plain checked data: numbers, address ranges and
 * interface names, no other text of the policy. The unprivileged leader makes it from the
 * compiled policy and hands it to the supervisor as octets; the supervisor checks every field
 * again, renders the nftables rule set and loads it. `sallyport kernel` prints the same.
 *
 * A new flow gets one of four fates, that of its best match:
 *   serve    delivered to the transparent listeners, user space decides once more and serves it.
 *            Never forwarded, listener or not.
 *   refuse   dropped or answered in the kernel: a denying rule, or a rule of a service that has no
 *            way to carry this protocol or address family.
 *   forward  passed on by the kernel, its addresses translated as a PFService says. The decision
 *            is kept with the connection, so that a new rule set does not touch it.
 *   (none)   no rule matches: what is forwarded ends here, what is for this host itself is the
 *            business of the host's own packet filter.
 */
#ifndef SALLYPORT_KERNEL_PLAN_H
#define SALLYPORT_KERNEL_PLAN_H

#include "base/addr.h"
#include "base/arena.h"
#include "base/buffer.h"
#include "policy/policy.h"

#define KERNEL_TABLE "sallyport"		/* inet table of that name */
#define KERNEL_MARK 0x53000000u			/* deliver locally; mask below */
#define KERNEL_FORGED_MARK 0x54000000u		/* forged server legs */
#define KERNEL_MARK_MASK 0xff000000u
#define KERNEL_FORWARD_MARK 0x58000000u		/* of a connection, not of a packet: forwarded; plus: */
#define KERNEL_FORWARD_MASQUERADE 0x01000000u	/*   from the outgoing interface's address */
#define KERNEL_FORWARD_TARGET 0x02000000u	/*   to another address */
#define KERNEL_FORWARD_ONE_WAY 0x04000000u	/*   its first packet may be forged: no answers, but of TCP */
#define KERNEL_FORWARD_MASK 0xf8000000u
#define KERNEL_ROUTE_TABLE 5353
#define KERNEL_RULE_PRIORITY 5353
#define KERNEL_CONNTRACK_ZONE 5353		/* of forged legs */

#define KERNEL_PORT4 50080			/* what `sallyport kernel` shows; run uses what is free */
#define KERNEL_PORT6 50080

/* Ceilings, so that a hostile plan can't make the supervisor work without end. */
#define KERNEL_CHAIN_MAX 4096		/* intercepts of one family and transport: a new flow may have to pass all of them */
#define KERNEL_INTERCEPTS_MAX (6 * KERNEL_CHAIN_MAX)
#define KERNEL_SERVES_MAX 1024		/* of a family and transport; more are widened to fewer */
#define KERNEL_RANGES_MAX (1u << 20)	/* addresses of all sets */
#define KERNEL_SPANS_MAX (1u << 20)	/* of all intercepts */
#define KERNEL_NAMES_MAX 1024
#define KERNEL_LISTENS_MAX 1024
#define KERNEL_TARGETS_MAX 4096
#define KERNEL_GRANTS_MAX 16384

struct address_range { struct ip_addr first, last; };

/* Ascending, apart from each other, all of one family; never empty. */
struct address_set {
	uint8_t family;
	const struct address_range *ranges;
	size_t n_ranges;
};

struct span { uint32_t first, last; };

/* One dimension: alternatives, ascending and apart; n 0 = any. */
struct spans {
	const struct span *spans;
	size_t n;
};

enum intercept_dim {
	DIM_IFACE,		/* numbers of plan->names */
	DIM_IFGROUP, DIM_REQID,
	DIM_PROTOCOL,		/* only with TRANSPORT_OTHER; any = all but TCP and UDP */
	DIM_ICMP_TYPE, DIM_ICMP_CODE,	/* likewise */
	DIM_SRC_PORT, DIM_DST_PORT,	/* only with TCP and UDP */
	DIM_DST_IFACE,		/* numbers of plan->names; came in there, to an address of it */
	DIM_DST_IFGROUP,
	DIM_COUNT
};

enum intercept_action { INTERCEPT_SERVE, INTERCEPT_REFUSE, INTERCEPT_FORWARD };
enum intercept_transport { TRANSPORT_TCP, TRANSPORT_UDP, TRANSPORT_OTHER };

#define DENY_TCP_RESET 1	/* of both families */

/* One conjunction of conditions. The first one in the plan that matches a flow is its fate. */
struct intercept {
	uint8_t action;			/* enum intercept_action; serve: TCP only */
	uint8_t family;			/* AF_INET or AF_INET6 */
	uint8_t transport;		/* enum intercept_transport */
	uint8_t deny;			/* refuse: DenyIPv4 or DenyIPv6 number; 0 = drop */
	bool log;			/* refuse: a line in the kernel's log, limited in rate */
	bool masquerade;		/* forward: from the address of the outgoing interface */
	int32_t target;			/* forward: number of the address; -1 = where the client wanted to go */
	int32_t src, dst;		/* number of the address set; -1 = any */
	struct spans dims[DIM_COUNT];
};

/* An ordinary (non-transparent) listener of --no-kernel. An IPv6 one is for IPv6 only. */
struct listen_address {
	struct endpoint at;		/* 0.0.0.0 or :: where a prefix was asked for */
};

/* What a policy needs more of than there may be. */
struct kernel_excess {
	char what[80];			/* the words behind "more than N" */
	size_t max;
	const char *remedy;		/* what there could be instead */
};

#define KERNEL_EXCESS_FORMAT "the kernel would need more than %zu %s"	/* max, what */

struct kernel_plan {
	const struct intercept *intercepts;
	size_t n_intercepts;
	const struct address_set *sets;
	size_t n_sets;
	char (*names)[IFNAME_MAX];	/* interfaces */
	size_t n_names;
	const struct intercept *grants;	/* changing: all that may be forwarded, with other addresses, too; of any address */
	size_t n_grants;
	const struct endpoint *targets;	/* port 0: the one the client wanted */
	size_t n_targets;
	bool widened;			/* over KERNEL_SERVES_MAX: more is delivered than rules may match */
	bool changing;			/* zones have host names: every set has a name, by which it can be changed */
	const struct listen_address *listens;	/* only without kernel rules */
	size_t n_listens;
	struct kernel_excess excess;	/* set behind -E2BIG, and then alone */
};

/* What becomes of the flows whose best match is a rule of a service. */
struct kernel_fate {
	uint8_t action;			/* enum intercept_action */
	uint8_t deny;			/* refuse, as in struct intercept */
	bool log, masquerade;
	struct endpoint target;		/* forward: where to; no address = where the client wanted to go */
};

struct kernel_fate kernel_fate_of(const struct service *service, uint8_t family, enum intercept_transport transport);

/* For the given policy, and what its zones have by their host names (NULL: nothing). Exact: the fate of each flow is that of its best match. Only where that
 * would take too many conditions is more delivered to user space than it can serve (never less),
 * and only where nothing is forwarded. 0; -ENOMEM; -E2BIG (over a ceiling above: out->excess). */
int kernel_plan_make(const struct policy *policy, const struct zone_names *names, struct arena *arena, struct kernel_plan *out) MUST_CHECK;

enum intercept_transport kernel_transport(uint8_t protocol);

/* The one that the flow's first packet would meet; NULL: none. */
const struct intercept *kernel_plan_find(const struct kernel_plan *plan, const struct flow *flow);

/* Listeners of the policy without kernel rules: local addresses are given. Says through
 * problems (as warnings) which rules are not served and why. 0 or -ENOMEM. */
int kernel_plan_listens(const struct policy *policy, const struct ip_addr *local, size_t n_local,
			struct arena *arena, struct policy_problems *problems, struct kernel_plan *out) MUST_CHECK;

/* May it be loaded in place of that one, whose policy's zones have got other addresses? Only then, and forwarding nothing
 * that the loaded one does not grant. Both have passed kernel_plan_check. */
bool kernel_plan_may_become(const struct kernel_plan *loaded, const struct kernel_plan *next);

/* Every field in its range, nothing forwarded that is not granted, names without odd characters, counts bounded. 0 or -EINVAL. */
int kernel_plan_check(const struct kernel_plan *plan) MUST_CHECK;

/* From process to process. pack: 0 or -ENOMEM (the buffer's ceiling too). unpack trusts
 * nothing and ends with kernel_plan_check: 0; -EINVAL; -ENOMEM. */
int kernel_plan_pack(const struct kernel_plan *plan, struct buffer *out) MUST_CHECK;
int kernel_plan_unpack(struct slice octets, struct arena *arena, struct kernel_plan *out) MUST_CHECK;

/* The rule set as one nft transaction; ports are those of the transparent listeners, which
 * stand on 127.0.0.1 and ::1. The plan must have passed kernel_plan_check. */
void kernel_plan_render(const struct kernel_plan *plan, uint16_t port4, uint16_t port6, struct buffer *out);

/* From one plan's loaded rule set to another's, as one nft transaction, where nothing but addresses of
 * changing plans differs; empty when these are the same. 0; -ENOTSUP: more than that differs. */
int kernel_plan_render_update(const struct kernel_plan *from, const struct kernel_plan *to, struct buffer *out) MUST_CHECK;

#endif
