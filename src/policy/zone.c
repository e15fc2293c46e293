/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Zones. The zone of an address is the one with the longest prefix that contains it; the
 * administrative tree (parents) plays no part in that, and decides only what a rule that names
 * a zone covers.
 */
#include "policy/zone_priv.h"

#include "base/hash.h"
#include "policy/prefix_map.h"

#include <errno.h>

struct zone_tree {
	const struct zone *zones;
	struct prefix_map *prefixes;	/* to the index of the zone, plus 1 */
	struct hash *names;
};

const struct zone *zone_tree_find(const struct zone_tree *tree, const struct ip_addr *ip)
{
	prefix_id id = prefix_map_find(tree->prefixes, ip);

	return id == PREFIX_NONE ? NULL : &tree->zones[prefix_map_value(tree->prefixes, id) - 1];
}

const struct zone *zone_tree_named(const struct zone_tree *tree, struct slice name)
{
	return hash_get(tree->names, name);
}

bool zone_tree_has_host(const struct zone_tree *tree, const struct ip_addr *ip)
{
	const struct ip_prefix host = { *ip, (uint8_t)ip_bits(ip) };

	return prefix_map_get(tree->prefixes, &host) != PREFIX_NONE;
}

bool zone_is_within(const struct zone *zone, const struct zone *ancestor)
{
	while (zone != NULL && zone != ancestor)
		zone = zone->parent;
	return zone != NULL && ancestor != NULL;
}

bool zone_is_within_any(const struct zone *zone, const struct zone *const *ancestors, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (zone_is_within(zone, ancestors[i]))
			return true;
	return false;
}

/* A root has depth 1. Climbing ends after ZONE_DEPTH_MAX steps, so a loop is found too. */
static int set_depth(struct zone *zone, struct policy_problems *problems)
{
	unsigned depth = 1;

	for (const struct zone *up = zone->parent; up != NULL && depth <= ZONE_DEPTH_MAX; up = up->parent)
		depth++;
	if (depth > ZONE_DEPTH_MAX) {
		zone->parent = NULL;
		problems_add(problems, PROBLEM_ERROR, zone->place, NULL,
			     "zone '%s' is more than %d levels deep, or an ancestor of itself", zone->name,
			     ZONE_DEPTH_MAX);
		return -EINVAL;
	}
	zone->depth = (uint8_t)depth;
	return 0;
}

static int add_name(struct zone_tree *tree, const struct zone *zone, struct policy_problems *problems)
{
	if (hash_get(tree->names, slice_cstr(zone->name)) != NULL) {
		problems_add(problems, PROBLEM_ERROR, zone->place, NULL, "there are two zones named '%s'", zone->name);
		return -EINVAL;
	}
	return hash_put(tree->names, slice_cstr(zone->name), (void *)zone) < 0 ? -ENOMEM : 0;
}

static int add_prefixes(struct zone_tree *tree, const struct zone *zone, struct policy_problems *problems)
{
	const uint32_t number = (uint32_t)(zone - tree->zones) + 1;
	int result = 0;

	for (size_t i = 0; i < zone->n_prefixes; i++) {
		const struct ip_prefix *prefix = &zone->prefixes[i];
		uint32_t owner = prefix_map_add(tree->prefixes, prefix, number);
		char text[IP_TEXT_MAX];

		if (owner == 0)
			continue;
		if (owner == number) {
			problems_add(problems, PROBLEM_WARNING, zone->place, "remove one of them",
				     "zone '%s' lists %s/%u twice", zone->name, ip_text(&prefix->ip, text),
				     prefix->bits);
			continue;
		}
		problems_add(problems, PROBLEM_ERROR, zone->place, "a subnet belongs to one zone",
			     "zone '%s' and zone '%s' both have %s/%u", tree->zones[owner - 1].name, zone->name,
			     ip_text(&prefix->ip, text), prefix->bits);
		result = -EINVAL;
	}
	return result;
}

int zone_tree_build(struct zone *zones, size_t n_zones, struct arena *arena, struct policy_problems *problems,
		    struct zone_tree **out)
{
	struct zone_tree *tree = ARENA_NEW(arena, struct zone_tree);
	size_t n_prefixes = 0;
	int result = 0;

	for (size_t i = 0; i < n_zones; i++)
		n_prefixes += zones[i].n_prefixes;
	if (tree == NULL)
		return -ENOMEM;
	tree->zones = zones;
	tree->prefixes = prefix_map_create(arena, n_prefixes);
	tree->names = hash_create(arena, ZONES_MAX);
	if (tree->prefixes == NULL || tree->names == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n_zones; i++) {
		int errs[] = { set_depth(&zones[i], problems), add_name(tree, &zones[i], problems),
			       add_prefixes(tree, &zones[i], problems) };

		for (size_t j = 0; j < ARRAY_LEN(errs); j++)
			if (errs[j] < 0 && result != -ENOMEM)
				result = errs[j];
	}
	if (result == 0)
		result = prefix_map_finish(tree->prefixes, arena);
	if (result == 0)
		*out = tree;
	return result;
}
