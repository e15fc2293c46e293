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

#include <sys/types.h>

/* Load a rendered rule set atomically. 0; -ENOENT (no nft program); -EPERM; -EINVAL (nft said
 * no); -ETIMEDOUT; -errno. *why (at most size octets, NUL-terminated) gets the reason in words. */
int kernel_load(struct slice rules, char *why, size_t size) MUST_CHECK;
/*
 * The same without waiting, in a child of the caller. kernel_load_begin: 0; -ENOENT; -errno. From then on the caller watches
 * words_fd, calls kernel_load_hear when there is something to read, limits the time, reaps pid, and then calls kernel_load_end
 * with what waitpid said, which returns as kernel_load does. hear never waits; false: it has said all.
 */
struct kernel_loading {
	pid_t pid;			/* 0: none */
	int words_fd;
	char words[1024];		/* what it said */
	size_t used;
};
int kernel_load_begin(struct slice rules, struct kernel_loading *out) MUST_CHECK;
bool kernel_load_hear(struct kernel_loading *l);
int kernel_load_end(struct kernel_loading *l, int status, char *why, size_t size) MUST_CHECK;
/* Like kernel_load, but the kernel only checks whether it would do. */
int kernel_try(struct slice rules, char *why, size_t size) MUST_CHECK;
/* The mark's rule and route, both families (IPv6 only where the host has it); idempotent.
 * -EEXIST: somebody else's rule or table has our numbers. */
int kernel_route_add(char *why, size_t size) MUST_CHECK;
/* Remove every rule and route of ours; fine when there is none. Opens the host: what the rules
 * held back is then up to the host's own packet filter. */
int kernel_clear(char *why, size_t size) MUST_CHECK;
/* Is our table loaded? 1, 0 or -errno. */
int kernel_is_loaded(void);
/* What would break interception, as errors (it can't work) and warnings, each with its remedy. */
void kernel_check_host(struct policy_problems *problems);
/* Likewise, as warnings, what hinders the forwarding of this plan. */
struct kernel_plan;
void kernel_check_forwarding(const struct kernel_plan *plan, struct policy_problems *problems);

#endif
