/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's side of interception: loading the rule set, the policy route of the mark, and what
 * the host's settings must be. Supervisor only (root). Runs the nft program and speaks
 * rtnetlink; blocking, never called in a worker.
 */
#ifndef SALLYPORT_KERNEL_HOST_H
#define SALLYPORT_KERNEL_HOST_H

#include "base/attributes.h"
#include "base/slice.h"
#include "policy/problems.h"

/* Load a rendered rule set atomically. 0 or -errno; *why (at most size octets) gets nft's words. */
int kernel_load(struct slice rules, char *why, size_t size) MUST_CHECK;
/* ip rule and route for the mark, both families; idempotent. -EEXIST: somebody else's rule or
 * table has our numbers. */
int kernel_route_add(char *why, size_t size) MUST_CHECK;
/* Remove every rule and route of ours; fine when there is none. */
int kernel_clear(char *why, size_t size) MUST_CHECK;
/* Is our table loaded? 1, 0 or -errno. */
int kernel_is_loaded(void);
/* Warnings with remedies: ip_forward, rp_filter, src_valid_mark, nft and TPROXY support. */
void kernel_check_host(struct policy_problems *problems);

#endif
