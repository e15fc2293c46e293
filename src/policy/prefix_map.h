/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A map from address prefixes to numbers, for both families. What is asked of it is the longest
 * prefix that contains an address, and from there the next shorter ones, up to the shortest.
 *
 * A binary trie with its one-way paths cut out, one per family: a node stands for a prefix, its
 * children are longer ones inside it, told apart by the bit that follows. Inner nodes that no
 * prefix claims exist only where two paths part, so there are at most 2n of them. In front of a
 * large IPv4 trie stands a table of the first 16 bits, which saves the upper half of the way.
 *
 * Built once, then read only. Private to policy/.
 */
#ifndef SALLYPORT_POLICY_PREFIX_MAP_H
#define SALLYPORT_POLICY_PREFIX_MAP_H

#include "base/addr.h"
#include "base/arena.h"
#include "base/attributes.h"

struct prefix_map;

/* Handle of a prefix in its map. */
typedef uint32_t prefix_id;
#define PREFIX_NONE 0u

/* Room for n prefixes, on arena. NULL: no memory. */
struct prefix_map *prefix_map_create(struct arena *arena, size_t n) MUST_CHECK;

/*
 * Adds one; value is not 0. At most as many as there is room for. Returns 0, or the value that
 * the prefix was given earlier, which stays.
 */
uint32_t prefix_map_add(struct prefix_map *map, const struct ip_prefix *prefix, uint32_t value);

/* All are added: from here on the map can be searched. 0; -ENOMEM. */
int prefix_map_finish(struct prefix_map *map, struct arena *arena) MUST_CHECK;

/* The longest prefix that contains ip; PREFIX_NONE: none. */
prefix_id prefix_map_find(const struct prefix_map *map, const struct ip_addr *ip);
/* The next shorter one that contains this one; PREFIX_NONE: none. */
prefix_id prefix_map_shorter(const struct prefix_map *map, prefix_id id);
uint32_t prefix_map_value(const struct prefix_map *map, prefix_id id);
unsigned prefix_map_bits(const struct prefix_map *map, prefix_id id);
/* Exactly this prefix; PREFIX_NONE: it was not added. */
prefix_id prefix_map_get(const struct prefix_map *map, const struct ip_prefix *prefix);

#endif
