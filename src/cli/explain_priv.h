/* SPDX-License-Identifier: Apache-2.0 */
/* How explain finds out, and says it. */
#ifndef SALLYPORT_CLI_EXPLAIN_PRIV_H
#define SALLYPORT_CLI_EXPLAIN_PRIV_H

#include "kernel/plan.h"
#include "policy/names.h"

#include <jansson.h>
#include <stdio.h>

/* A policy, and what run would load of it: kernel rules, or the listeners without them. */
struct explain_view {
	const struct policy *policy;
	const struct zone_names *names;		/* may be NULL */
	bool no_kernel;				/* as run --no-kernel */
	bool not_loadable;			/* the plan is over a ceiling: plan.excess */
	struct kernel_plan plan;
};

/* A flow, and whether it is for this host, as far as that was said. */
struct explain_flow {
	struct flow flow;
	bool local;
};

/* Who takes a flow. */
enum explain_taker {
	TAKEN_BY_PROXY,		/* delivered to the workers, which decide about it once more */
	TAKEN_BY_KERNEL,	/* its rules refuse or forward it */
	TAKEN_BY_HOST,		/* nothing of ours touches it; forwarded it ends all the same */
	TAKEN_BY_NOBODY,	/* such a policy is not loaded */
};

struct explain_fate {
	enum explain_taker taker;
	struct kernel_fate fate;	/* by the kernel */
};

/* Make the plan; policy, names and no_kernel are set. 0 or -errno. */
int explain_view_make(struct explain_view *view, struct arena *arena);
struct explain_fate explain_fate_of(const struct explain_view *view, const struct explain_flow *flow);

/* One line of JSON. */
void explain_json(const struct explain_view *view, const struct explain_flow *flow, FILE *out);
void explain_json_error(const char *why, FILE *out);

/* What the decision leads to: to the members of a JSON answer, and for people. */
void explain_route_json(const struct explain_view *view, const struct decision *d, const struct explain_flow *flow, json_t *answer);
void explain_route_text(const struct explain_view *view, const struct decision *d, const struct explain_flow *flow, FILE *out);

/* For people. */
void explain_text(const struct explain_view *view, const struct explain_flow *flow, FILE *out);

#endif
