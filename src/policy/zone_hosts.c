/* SPDX-License-Identifier: Apache-2.0 */
/* The host names of zones, as they stand in the document. */
#include "base/hash.h"
#include "policy/names.h"
#include "policy/zone_priv.h"

#include <errno.h>

static int check_host(struct hash *owners, const struct zone *zone, const char *host, struct policy_problems *problems)
{
	const struct zone *owner = hash_get(owners, slice_cstr(host));

	if (!host_name_is_plain(slice_cstr(host))) {
		problems_add(problems, PROBLEM_ERROR, zone->place, "lower case letters, digits, '-', '_' and dots between labels",
			     "zone '%s': '%s' is no host name", zone->name, host);
		return -EINVAL;
	}
	if (owner == zone) {
		problems_add(problems, PROBLEM_ERROR, zone->place, "remove one of them", "zone '%s' lists %s twice", zone->name, host);
		return -EINVAL;
	}
	if (owner != NULL) {
		problems_add(problems, PROBLEM_WARNING, zone->place, "name it in one of them",
			     "zone '%s' and zone '%s' both list %s: its addresses are in neither", owner->name, zone->name, host);
		return 0;
	}
	return hash_put(owners, slice_cstr(host), (void *)(uintptr_t)zone);
}

int zone_hosts_check(const struct zone *zones, size_t n_zones, struct arena *arena, struct policy_problems *problems,
		     size_t *n_hosts)
{
	struct hash *owners;
	int result = 0;

	*n_hosts = 0;
	for (size_t i = 0; i < n_zones; i++)
		*n_hosts += zones[i].n_hostnames;
	if (*n_hosts == 0)
		return 0;
	if (*n_hosts > POLICY_HOSTS_MAX) {
		problems_add(problems, PROBLEM_ERROR, (struct policy_place){ NULL, 0 }, "list addresses",
			     "the zones have %zu host names, more than %u", *n_hosts, POLICY_HOSTS_MAX);
		return -EINVAL;
	}
	owners = hash_create(arena, POLICY_HOSTS_MAX);
	if (owners == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n_zones; i++)
		for (size_t k = 0; k < zones[i].n_hostnames; k++) {
			int err = check_host(owners, &zones[i], zones[i].hostnames[k], problems);

			if (err == -ENOMEM)
				return err;
			if (err < 0)
				result = -EINVAL;
		}
	return result;
}
