/* SPDX-License-Identifier: Apache-2.0 */
/* The zones of a policy, for lookups by address and by name. Private to policy/. */
#ifndef SALLYPORT_POLICY_ZONE_PRIV_H
#define SALLYPORT_POLICY_ZONE_PRIV_H

#include "policy/policy.h"

#define ZONES_MAX 262144
#define ZONE_DEPTH_MAX 31	/* five bits of a rule's score */

struct zone_tree;

/*
 * Zones as the document has them: name, parent, prefixes and place are set, depth is not yet.
 * Sets each depth; says through problems what is wrong (loops, depth, a prefix that two zones
 * claim, a name used twice). 0; -EINVAL; -ENOMEM.
 */
int zone_tree_build(struct zone *zones, size_t n_zones, struct arena *arena, struct policy_problems *problems,
		    struct zone_tree **out) MUST_CHECK;

/* Their host names: what they look like, none twice in a zone; *n_hosts is how many there are in all. A
 * host of two zones is worth a warning. 0; -EINVAL; -ENOMEM. */
int zone_hosts_check(const struct zone *zones, size_t n_zones, struct arena *arena, struct policy_problems *problems,
		     size_t *n_hosts) MUST_CHECK;

/* Does a zone have this very address, with the longest prefix there is? */
bool zone_tree_has_host(const struct zone_tree *tree, const struct ip_addr *ip);
const struct zone *zone_tree_find(const struct zone_tree *tree, const struct ip_addr *ip);
const struct zone *zone_tree_named(const struct zone_tree *tree, struct slice name);

#endif
