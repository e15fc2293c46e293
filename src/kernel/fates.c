/* SPDX-License-Identifier: Apache-2.0 */
/* What can become of a flow, each fate kept once and known by its number. */
#include "kernel/plan_priv.h"

#include <errno.h>

int fates_init(struct fates *f, struct arena *scratch)
{
	f->n = 0;
	f->v = arena_array(scratch, FATES_MAX, sizeof(*f->v));
	return f->v == NULL ? -ENOMEM : 0;
}

static bool fate_equal(const struct kernel_fate *a, const struct kernel_fate *b)
{
	return a->action == b->action && a->deny == b->deny && a->log == b->log && a->masquerade == b->masquerade &&
	       endpoint_equal(&a->target, &b->target);
}

int fates_add(struct fates *f, const struct kernel_fate *fate)
{
	for (size_t i = 0; i < f->n; i++)
		if (fate_equal(&f->v[i], fate))
			return (int)i;
	if (f->n == FATES_MAX)
		return -E2BIG;
	f->v[f->n] = *fate;
	return (int)f->n++;
}

/* The kernel can't turn IPv4 into IPv6: a target of the other family is none. */
static struct kernel_fate forward_fate(const struct service *s, uint8_t family, enum intercept_transport transport)
{
	struct kernel_fate fate = { .action = INTERCEPT_FORWARD, .masquerade = !s->router.forge_addr };

	if (s->router.kind != ROUTER_DIRECTED)
		return fate;
	if (s->router.targets[0].ip.family != family)
		return (struct kernel_fate){ .action = INTERCEPT_REFUSE, .log = true };
	fate.target = s->router.targets[0];
	if (transport == TRANSPORT_OTHER)
		fate.target.port = 0;
	return fate;
}

struct kernel_fate kernel_fate_of(const struct service *s, uint8_t family, enum intercept_transport transport)
{
	if (s->kind == SERVICE_PF)
		return forward_fate(s, family, transport);
	if (s->kind == SERVICE_DENY) {
		uint8_t deny = family == AF_INET ? s->deny_ipv4 : s->deny_ipv6;

		/* A reset means nothing but in TCP. */
		if (deny == DENY_TCP_RESET && transport != TRANSPORT_TCP)
			deny = 0;
		return (struct kernel_fate){ .action = INTERCEPT_REFUSE, .deny = deny, .log = s->deny_logging };
	}
	if (transport == TRANSPORT_TCP)
		return (struct kernel_fate){ .action = INTERCEPT_SERVE };
	return (struct kernel_fate){ .action = INTERCEPT_REFUSE, .log = true };
}
