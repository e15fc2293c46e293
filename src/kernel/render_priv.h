/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that write nft's text share; nobody else includes it. */
#ifndef SALLYPORT_KERNEL_RENDER_PRIV_H
#define SALLYPORT_KERNEL_RENDER_PRIV_H

#include "kernel/plan_priv.h"

const char *render_family(uint8_t family);		/* "ipv4", "ipv6" */
const char *render_transport(unsigned transport);	/* "tcp", "udp", "other" */
/* The sets of addresses that are too long to stand in a rule. */
void render_sets(struct buffer *out, const struct kernel_plan *plan);
/* All that an intercept wants of a packet, each condition with a blank behind it. */
void render_conditions(struct buffer *out, const struct kernel_plan *plan, const struct intercept *c);

#endif
