/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a flow: the plan is asked that run would load, and not the decision alone. */
#include "cli/explain_priv.h"
#include "server/interfaces.h"

#include <errno.h>
#include <string.h>

#define PROTO_TCP 6
#define LOCAL_ADDRESSES_MAX 4096

/* Which rules nobody listens for is what run says. */
static int make_listens(struct explain_view *view, struct arena *arena)
{
	struct ip_addr *local = arena_array(arena, LOCAL_ADDRESSES_MAX, sizeof(*local));
	struct policy_problems problems;
	int n;

	if (local == NULL)
		return -ENOMEM;
	n = interfaces_local_addresses(local, LOCAL_ADDRESSES_MAX);
	if (n < 0)
		return n;
	problems_init(&problems, arena);
	return kernel_plan_listens(view->policy, local, (size_t)n, arena, &problems, &view->plan);
}

int explain_view_make(struct explain_view *view, struct arena *arena)
{
	int err = view->no_kernel ? make_listens(view, arena) : kernel_plan_make(view->policy, view->names, arena, &view->plan);

	view->not_loadable = err == -E2BIG;
	return view->not_loadable ? 0 : err;
}

static bool is_any(const struct ip_addr *ip)
{
	static const uint8_t zero[16];

	return memcmp(ip->octets, zero, sizeof(zero)) == 0;
}

static bool is_listened(const struct kernel_plan *plan, const struct flow *flow)
{
	for (size_t i = 0; i < plan->n_listens; i++) {
		const struct endpoint *at = &plan->listens[i].at;

		if (at->port == flow->dst.port && at->ip.family == flow->dst.ip.family &&
		    (is_any(&at->ip) || ip_equal(&at->ip, &flow->dst.ip)))
			return true;
	}
	return false;
}

static struct kernel_fate fate_of_intercept(const struct kernel_plan *plan, const struct intercept *c)
{
	struct kernel_fate fate = { .action = c->action, .deny = c->deny, .log = c->log, .masquerade = c->masquerade };

	if (c->target >= 0)
		fate.target = plan->targets[c->target];
	return fate;
}

struct explain_fate explain_fate_of(const struct explain_view *view, const struct explain_flow *flow)
{
	const struct intercept *c;

	if (view->not_loadable)
		return (struct explain_fate){ .taker = TAKEN_BY_NOBODY };
	if (view->no_kernel)
		return (struct explain_fate){ .taker = flow->flow.protocol == PROTO_TCP && is_listened(&view->plan, &flow->flow) ?
					      TAKEN_BY_PROXY : TAKEN_BY_HOST };
	c = kernel_plan_find(&view->plan, &flow->flow);
	if (c == NULL)
		return (struct explain_fate){ .taker = TAKEN_BY_HOST };
	return (struct explain_fate){ .taker = c->action == INTERCEPT_SERVE ? TAKEN_BY_PROXY : TAKEN_BY_KERNEL,
				      .fate = fate_of_intercept(&view->plan, c) };
}
