/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/prefix_map.h"

#include <errno.h>

/* The table of first bits: its width by the number of IPv4 prefixes; below the least, none. */
#define FRONT_BITS_SMALL 16u	/* 512 KiB */
#define FRONT_BITS_LARGE 20u	/* 8 MiB */
#define FRONT_SMALL_MIN 512u
#define FRONT_LARGE_MIN 16384u

/* An address as two words, most significant bit first; IPv4 in the upper half of the first. */
struct key {
	uint64_t high, low;
};

struct node {
	struct key key;			/* host bits are zero */
	uint32_t child[2];		/* 0 = none */
	uint32_t value;			/* 0 = only a fork */
	uint32_t shorter;		/* the next node above with a value; 0 = none */
	uint8_t bits;
};

struct front {
	uint32_t start;			/* the first node below the table on this way; 0 = none */
	uint32_t best;			/* the longest prefix with a value above it; 0 = none */
};

struct prefix_map {
	struct node *nodes;		/* [0] is not used */
	uint32_t n_nodes, size;
	uint32_t root4, root6;
	uint32_t n_values4;
	struct front *front4;		/* NULL: too few prefixes */
	unsigned front_bits;
};

static uint64_t word(const uint8_t *octets)
{
	uint64_t w = 0;

	for (unsigned i = 0; i < 8; i++)
		w = w << 8 | octets[i];
	return w;
}

static struct key key_of(const struct ip_addr *ip)
{
	return (struct key){ word(ip->octets), word(ip->octets + 8) };
}

/* The first n bits of a word; n may be 0 or over 64. */
static uint64_t mask(unsigned n)
{
	return n == 0 ? 0 : n >= 64 ? UINT64_MAX : ~(UINT64_MAX >> n);
}

static struct key first_bits(struct key k, unsigned bits)
{
	return (struct key){ k.high & mask(bits), k.low & mask(bits > 64 ? bits - 64 : 0) };
}

static unsigned bit_at(struct key k, unsigned n)
{
	return (unsigned)((n < 64 ? k.high >> (63 - n) : k.low >> (127 - n)) & 1u);
}

/* How many leading bits are equal, at most limit. */
static unsigned common_bits(struct key a, struct key b, unsigned limit)
{
	uint64_t high = a.high ^ b.high, low = a.low ^ b.low;
	unsigned n = high != 0 ? (unsigned)__builtin_clzll(high) : low != 0 ? 64 + (unsigned)__builtin_clzll(low) : 128;

	return n < limit ? n : limit;
}

static bool contains(const struct node *node, struct key k)
{
	return ((k.high ^ node->key.high) & mask(node->bits)) == 0 &&
	       (node->bits <= 64 || ((k.low ^ node->key.low) & mask(node->bits - 64u)) == 0);
}

struct prefix_map *prefix_map_create(struct arena *arena, size_t n)
{
	struct prefix_map *map = ARENA_NEW(arena, struct prefix_map);

	if (map == NULL || n >= UINT32_MAX / 2)
		return NULL;
	map->size = (uint32_t)(2 * n + 1);
	map->n_nodes = 1;
	map->nodes = arena_array(arena, map->size, sizeof(*map->nodes));
	return map->nodes == NULL ? NULL : map;
}

static uint32_t new_node(struct prefix_map *map, struct key key, unsigned bits, uint32_t value)
{
	uint32_t i = map->n_nodes++;

	map->nodes[i] = (struct node){ .key = first_bits(key, bits), .bits = (uint8_t)bits, .value = value };
	return i;
}

uint32_t prefix_map_add(struct prefix_map *map, const struct ip_prefix *prefix, uint32_t value)
{
	uint32_t *link = prefix->ip.family == AF_INET6 ? &map->root6 : &map->root4;
	const struct key key = key_of(&prefix->ip);

	while (*link != 0) {
		struct node *node = &map->nodes[*link];
		unsigned limit = node->bits < prefix->bits ? node->bits : prefix->bits;
		unsigned common = common_bits(node->key, key, limit);

		if (common < node->bits) {	/* parts inside this node's path, or ends in it */
			uint32_t fork = new_node(map, key, common, 0);

			map->nodes[fork].child[bit_at(node->key, common)] = *link;
			*link = fork;
			continue;
		}
		if (node->bits == prefix->bits) {
			if (node->value != 0)
				return node->value;
			node->value = value;
			map->n_values4 += prefix->ip.family == AF_INET;
			return 0;
		}
		link = &node->child[bit_at(key, node->bits)];
	}
	*link = new_node(map, key, prefix->bits, value);
	map->n_values4 += prefix->ip.family == AF_INET;
	return 0;
}

/* Every node learns which prefix with a value is above it. The depth is at most 128. */
static void link_shorter(struct prefix_map *map, uint32_t i, uint32_t above)
{
	struct node *node = &map->nodes[i];

	if (i == 0)
		return;
	node->shorter = above;
	above = node->value != 0 ? i : above;
	link_shorter(map, node->child[0], above);
	link_shorter(map, node->child[1], above);
}

static uint32_t descend(const struct prefix_map *map, uint32_t i, uint32_t best, struct key key, unsigned width)
{
	while (i != 0) {
		const struct node *node = &map->nodes[i];

		if (!contains(node, key))
			break;
		if (node->value != 0)
			best = i;
		if (node->bits == width)
			break;
		i = node->child[bit_at(key, node->bits)];
	}
	return best;
}

/* The part of the table that a subtree covers. */
static void fill_front(struct prefix_map *map, uint32_t i)
{
	const struct node *node = &map->nodes[i];
	uint32_t at = (uint32_t)(node->key.high >> (64 - map->front_bits));

	if (i == 0)
		return;
	if (node->bits >= map->front_bits) {
		map->front4[at].start = i;
		return;
	}
	if (node->value != 0) {
		for (uint32_t n = 0; n < 1u << (map->front_bits - node->bits); n++)
			map->front4[at + n].best = i;
	}
	fill_front(map, node->child[0]);
	fill_front(map, node->child[1]);
}

int prefix_map_finish(struct prefix_map *map, struct arena *arena)
{
	link_shorter(map, map->root4, 0);
	link_shorter(map, map->root6, 0);
	if (map->n_values4 < FRONT_SMALL_MIN)
		return 0;
	map->front_bits = map->n_values4 < FRONT_LARGE_MIN ? FRONT_BITS_SMALL : FRONT_BITS_LARGE;
	map->front4 = arena_array(arena, (size_t)1 << map->front_bits, sizeof(*map->front4));
	if (map->front4 == NULL)
		return -ENOMEM;
	fill_front(map, map->root4);
	return 0;
}

prefix_id prefix_map_find(const struct prefix_map *map, const struct ip_addr *ip)
{
	const struct key key = key_of(ip);

	if (ip->family == AF_INET6)
		return descend(map, map->root6, 0, key, 128);
	if (ip->family != AF_INET)
		return PREFIX_NONE;
	if (map->front4 != NULL) {
		struct front f = map->front4[key.high >> (64 - map->front_bits)];

		return descend(map, f.start, f.best, key, 32);
	}
	return descend(map, map->root4, 0, key, 32);
}

prefix_id prefix_map_get(const struct prefix_map *map, const struct ip_prefix *prefix)
{
	prefix_id id = prefix_map_find(map, &prefix->ip);

	while (id != PREFIX_NONE && map->nodes[id].bits > prefix->bits)
		id = map->nodes[id].shorter;
	return id != PREFIX_NONE && map->nodes[id].bits == prefix->bits ? id : PREFIX_NONE;
}

prefix_id prefix_map_shorter(const struct prefix_map *map, prefix_id id)
{
	return map->nodes[id].shorter;
}

uint32_t prefix_map_value(const struct prefix_map *map, prefix_id id)
{
	return map->nodes[id].value;
}

unsigned prefix_map_bits(const struct prefix_map *map, prefix_id id)
{
	return map->nodes[id].bits;
}
