/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Zones. The zone of an address is the one with the longest prefix that contains it; the
 * administrative tree (parents) plays no part in that, and decides only what a rule that names
 * a zone covers.
 *
 * The lookup is a binary trie with its one-way paths cut out, one per family: a node stands for
 * a prefix, its children are longer ones inside it, told apart by the bit that follows. Inner
 * nodes that no zone claims exist only where two paths part, so there are at most 2n of them.
 */
#include "policy/zone_priv.h"

#include "base/hash.h"

#include <errno.h>

#define NO_NODE 0u

struct trie_node {
	struct ip_prefix prefix;
	uint32_t child[2];		/* index in nodes; NO_NODE = none */
	const struct zone *zone;	/* NULL = only a fork */
};

struct trie {
	struct trie_node *nodes;	/* [0] is not used */
	uint32_t n_nodes, size;
	uint32_t root;
};

struct zone_tree {
	struct trie ipv4, ipv6;
	struct hash *names;
};

static unsigned bit_at(const struct ip_addr *ip, unsigned n)
{
	return (ip->octets[n / 8] >> (7 - n % 8)) & 1u;
}

/* How many leading bits are equal, at most limit. */
static unsigned common_bits(const struct ip_addr *a, const struct ip_addr *b, unsigned limit)
{
	unsigned n = 0;

	while (n + 8 <= limit && a->octets[n / 8] == b->octets[n / 8])
		n += 8;
	while (n < limit && bit_at(a, n) == bit_at(b, n))
		n++;
	return n;
}

static struct trie *trie_of(struct zone_tree *tree, uint8_t family)
{
	return family == AF_INET6 ? &tree->ipv6 : &tree->ipv4;
}

static int trie_init(struct trie *t, size_t n_prefixes, struct arena *arena)
{
	t->size = (uint32_t)(2 * n_prefixes + 1);
	t->nodes = arena_array(arena, t->size, sizeof(struct trie_node));
	t->n_nodes = 1;
	t->root = NO_NODE;
	return t->nodes == NULL ? -ENOMEM : 0;
}

static uint32_t new_node(struct trie *t, const struct ip_prefix *prefix, const struct zone *zone)
{
	uint32_t i = t->n_nodes++;

	t->nodes[i].prefix = *prefix;
	t->nodes[i].zone = zone;
	return i;
}

/* A fork above old, at the first bits bits of prefix. */
static uint32_t new_fork(struct trie *t, const struct ip_prefix *prefix, unsigned bits, uint32_t old)
{
	struct ip_prefix up = { .ip = { .family = prefix->ip.family }, .bits = (uint8_t)bits };
	uint32_t i;

	for (unsigned n = 0; n < bits; n++)
		up.ip.octets[n / 8] |= (uint8_t)(bit_at(&prefix->ip, n) << (7 - n % 8));
	i = new_node(t, &up, NULL);
	t->nodes[i].child[bit_at(&t->nodes[old].prefix.ip, bits)] = old;
	return i;
}

/* NULL: added. Else the zone that has this prefix already. */
static const struct zone *trie_add(struct trie *t, const struct ip_prefix *prefix, const struct zone *zone)
{
	uint32_t *link = &t->root;

	while (*link != NO_NODE) {
		struct trie_node *node = &t->nodes[*link];
		unsigned limit = node->prefix.bits < prefix->bits ? node->prefix.bits : prefix->bits;
		unsigned common = common_bits(&node->prefix.ip, &prefix->ip, limit);

		if (common < node->prefix.bits) {	/* parts inside this node's path, or ends in it */
			*link = new_fork(t, prefix, common, *link);
			continue;
		}
		if (node->prefix.bits == prefix->bits) {
			if (node->zone != NULL)
				return node->zone;
			node->zone = zone;
			return NULL;
		}
		link = &node->child[bit_at(&prefix->ip, node->prefix.bits)];
	}
	*link = new_node(t, prefix, zone);
	return NULL;
}

static const struct zone *trie_find(const struct trie *t, const struct ip_addr *ip, unsigned max_bits)
{
	const struct zone *best = NULL;

	for (uint32_t i = t->root; i != NO_NODE;) {
		const struct trie_node *node = &t->nodes[i];

		if (common_bits(&node->prefix.ip, ip, node->prefix.bits) < node->prefix.bits)
			break;
		if (node->zone != NULL)
			best = node->zone;
		if (node->prefix.bits == max_bits)
			break;
		i = node->child[bit_at(ip, node->prefix.bits)];
	}
	return best;
}

const struct zone *zone_tree_find(const struct zone_tree *tree, const struct ip_addr *ip)
{
	if (ip->family == AF_INET)
		return trie_find(&tree->ipv4, ip, 32);
	if (ip->family == AF_INET6)
		return trie_find(&tree->ipv6, ip, 128);
	return NULL;
}

const struct zone *zone_tree_named(const struct zone_tree *tree, struct slice name)
{
	return hash_get(tree->names, name);
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
	int result = 0;

	for (size_t i = 0; i < zone->n_prefixes; i++) {
		const struct ip_prefix *prefix = &zone->prefixes[i];
		const struct zone *owner = trie_add(trie_of(tree, prefix->ip.family), prefix, zone);
		char text[IP_TEXT_MAX];

		if (owner == NULL)
			continue;
		if (owner == zone) {
			problems_add(problems, PROBLEM_WARNING, zone->place, "remove one of them",
				     "zone '%s' lists %s/%u twice", zone->name, ip_text(&prefix->ip, text),
				     prefix->bits);
			continue;
		}
		problems_add(problems, PROBLEM_ERROR, zone->place, "a subnet belongs to one zone",
			     "zone '%s' and zone '%s' both have %s/%u", owner->name, zone->name,
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
	if (tree == NULL || trie_init(&tree->ipv4, n_prefixes, arena) < 0 || trie_init(&tree->ipv6, n_prefixes, arena) < 0)
		return -ENOMEM;
	tree->names = hash_create(arena, ZONES_MAX);
	if (tree->names == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n_zones; i++) {
		int errs[] = { set_depth(&zones[i], problems), add_name(tree, &zones[i], problems),
			       add_prefixes(tree, &zones[i], problems) };

		for (size_t j = 0; j < ARRAY_LEN(errs); j++)
			if (errs[j] < 0 && result != -ENOMEM)
				result = errs[j];
	}
	if (result == 0)
		*out = tree;
	return result;
}
