/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/names.h"
#include "policy/prefix_map.h"
#include "policy/zone_priv.h"

#include <errno.h>
#include <stdlib.h>

#define ZONE_NAMES_ARENA_MAX (512u << 20)

struct zone_names {
	struct arena *arena;
	const struct zone *zones;
	struct prefix_map *map;		/* to the index of the zone, plus 1 */
	struct zone_member *members;
	size_t n_members;
	struct zone_conflict *conflicts;
	size_t n_conflicts;
};

static int by_address(const void *a, const void *b)
{
	const struct zone_member *x = a, *y = b;
	int order = memcmp(&x->ip, &y->ip, sizeof(x->ip));	/* the family comes first, and nothing is between */

	if (order != 0)
		return order;
	return (x->zone > y->zone) - (x->zone < y->zone);
}

static size_t count_addresses(const struct policy *policy, const struct names_snapshot *snapshot, struct zone_member *out)
{
	size_t n = 0;

	for (size_t i = 0; i < policy->n_zones; i++)
		for (size_t k = 0; k < policy->zones[i].n_hostnames; k++) {
			const struct host_record *h = names_find(snapshot, slice_cstr(policy->zones[i].hostnames[k]));

			for (size_t a = 0; h != NULL && a < h->n_addrs; a++, n++)
				if (out != NULL)
					out[n] = (struct zone_member){ h->addrs[a], &policy->zones[i] };
		}
	return n;
}

/* From all that names have to what counts; all is sorted. */
static void sort_out(struct zone_names *names, const struct policy *policy, const struct zone_member *all, size_t n)
{
	for (size_t i = 0, next; i < n; i = next) {
		const struct zone *other = NULL;

		for (next = i + 1; next < n && ip_equal(&all[next].ip, &all[i].ip); next++)
			if (other == NULL && all[next].zone != all[i].zone)
				other = all[next].zone;
		if (zone_tree_has_host(policy->zone_tree, &all[i].ip))
			continue;
		if (other != NULL)
			names->conflicts[names->n_conflicts++] = (struct zone_conflict){ all[i].ip, all[i].zone, other };
		else
			names->members[names->n_members++] = all[i];
	}
}

static int index_members(struct zone_names *names)
{
	names->map = prefix_map_create(names->arena, names->n_members);
	if (names->map == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < names->n_members; i++) {
		const struct zone_member *m = &names->members[i];
		const struct ip_prefix host = { m->ip, (uint8_t)ip_bits(&m->ip) };

		(void)prefix_map_add(names->map, &host, (uint32_t)(m->zone - names->zones) + 1);
	}
	return prefix_map_finish(names->map, names->arena);
}

int zone_names_make(const struct policy *policy, const struct names_snapshot *snapshot, struct zone_names **out)
{
	size_t n = count_addresses(policy, snapshot, NULL);
	struct arena *arena = arena_create(ZONE_NAMES_ARENA_MAX, 0);
	struct zone_names *names = arena != NULL ? ARENA_NEW(arena, struct zone_names) : NULL;
	struct zone_member *all = calloc(n + 1, sizeof(*all));
	int err = names != NULL && all != NULL ? 0 : -ENOMEM;

	if (err == 0) {
		*names = (struct zone_names){ .arena = arena, .zones = policy->zones,
					      .members = arena_array(arena, n, sizeof(*names->members)),
					      .conflicts = arena_array(arena, n, sizeof(*names->conflicts)) };
		err = names->members != NULL && names->conflicts != NULL ? 0 : -ENOMEM;
	}
	if (err == 0) {
		count_addresses(policy, snapshot, all);
		qsort(all, n, sizeof(*all), by_address);
		sort_out(names, policy, all, n);
		err = index_members(names);
	}
	free(all);
	if (err == 0)
		*out = names;
	else
		arena_free(&arena);
	return err;
}

void zone_names_free(struct zone_names **zp)
{
	struct zone_names *names = *zp;
	struct arena *arena = names != NULL ? names->arena : NULL;

	*zp = NULL;
	arena_free(&arena);
}

const struct zone_member *zone_names_members(const struct zone_names *names, size_t *n)
{
	*n = names != NULL ? names->n_members : 0;
	return names != NULL ? names->members : NULL;
}

const struct zone_conflict *zone_names_conflicts(const struct zone_names *names, size_t *n)
{
	*n = names != NULL ? names->n_conflicts : 0;
	return names != NULL ? names->conflicts : NULL;
}

const struct zone *zone_names_find(const struct zone_names *names, const struct ip_addr *ip)
{
	prefix_id id = prefix_map_find(names->map, ip);

	return id == PREFIX_NONE ? NULL : &names->zones[prefix_map_value(names->map, id) - 1];
}

bool zone_names_equal(const struct zone_names *a, const struct zone_names *b)
{
	size_t n, m;
	const struct zone_member *x = zone_names_members(a, &n), *y = zone_names_members(b, &m);

	if (n != m)
		return false;
	for (size_t i = 0; i < n; i++)
		if (x[i].zone != y[i].zone || !ip_equal(&x[i].ip, &y[i].ip))
			return false;
	return true;
}
