/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taking rules apart. Each group of a rule's conditions becomes a list of choices; the cases
 * are their product. Alternatives that add up (an interface and its group, a subnet and a zone)
 * are choices of their own, so that each case has one score.
 */
#include "policy/rule_index_priv.h"

#include <errno.h>
#include <stdlib.h>

enum group { G_INCOMING, G_PROTO, G_ICMP_TYPE, G_ICMP_CODE, G_SRC_PORT, G_DST_PORT, G_SRC, G_DST, GROUPS };

struct choice {
	uint8_t kind;			/* of conditions: INCOMING_*, PORT_*, KIND_*; else 0 or 1 */
	uint32_t value[4];
};

struct choices {
	struct choice *items;		/* RULE_CASES_MAX of them */
	size_t n;
	bool too_many;
};

struct builder {
	struct rule_index *index;
	const struct policy *policy;
	struct choices groups[GROUPS];
	size_t room_buckets, room_sources, room_leaves, room_wide;
	struct shape shapes[SHAPE_COUNT];
};

static void choose(struct choices *c, unsigned kind, uint32_t v0, uint32_t v1, uint32_t v2, uint32_t v3)
{
	if (c->n == RULE_CASES_MAX) {
		c->too_many = true;
		return;
	}
	c->items[c->n++] = (struct choice){ (uint8_t)kind, { v0, v1, v2, v3 } };
}

/* Numbers of a dimension, or one choice that says nothing. */
static void choose_octets(struct choices *c, const uint8_t *octets, size_t n)
{
	if (n == 0)
		choose(c, 0, 0, 0, 0, 0);
	for (size_t i = 0; i < n && !c->too_many; i++)
		choose(c, 1, octets[i], 0, 0, 0);
}

/* A range as the fewest aligned blocks; a block of one port may be part of a range, too. */
static void choose_range(struct choices *c, struct port_range range)
{
	uint32_t at = range.first, end = (uint32_t)range.last + 1;

	if (range.first == range.last) {
		choose(c, PORT_SINGLE, range.first, 16, 0, 0);
		return;
	}
	while (at < end) {
		unsigned bits = 0;

		while ((at & ((1u << (16 - bits)) - 1)) != 0 || at + (1u << (16 - bits)) > end)
			bits++;
		choose(c, PORT_RANGE, at, bits, 0, 0);
		at += 1u << (16 - bits);
	}
}

static void choose_ports(struct choices *c, const struct port_range *ranges, size_t n)
{
	if (n == 0)
		choose(c, PORT_ANY, 0, 0, 0, 0);
	for (size_t i = 0; i < n && !c->too_many; i++)
		choose_range(c, ranges[i]);
}

static uint32_t iface_number(struct rule_index *x, const char *name)
{
	uint32_t number = (uint32_t)(uintptr_t)hash_get(x->ifaces, slice_cstr(name));

	if (number != 0)
		return number;
	number = x->n_ifaces + 1;
	if (hash_put(x->ifaces, slice_cstr(name), (void *)(uintptr_t)number) < 0)
		return 0;
	x->n_ifaces = number;
	return number;
}

/* Lists of which a case takes one element each, or none of the list: at least one in all. */
struct alternative {
	unsigned kind;
	const uint32_t *numbers;
	size_t n;
};

/* All ways to take something; value[i] is of alternatives[i], 0 where nothing is taken. */
static void choose_alternatives(struct choices *c, const struct alternative *alternatives, size_t n)
{
	size_t at[4] = { 0 }, given = 0;

	for (size_t i = 0; i < n; i++)
		given += alternatives[i].n;
	if (given == 0)
		choose(c, 0, 0, 0, 0, 0);
	while (given > 0 && !c->too_many) {
		uint32_t value[4] = { 0 };
		unsigned kind = 0;
		size_t i = 0;

		while (i < n && at[i] == alternatives[i].n)	/* the next one, like a counter */
			at[i++] = 0;
		if (i == n)
			return;
		at[i]++;
		for (i = 0; i < n; i++) {
			if (at[i] == 0)
				continue;
			kind |= alternatives[i].kind;
			value[i] = alternatives[i].numbers[at[i] - 1];
		}
		choose(c, kind, value[0], value[1], value[2], value[3]);
	}
}

/* Numbers of interface names, of zones, of prefixes. malloc'ed; NULL: no memory. */
static uint32_t *number_ifaces(struct builder *b, const char *const *names, size_t n)
{
	uint32_t *numbers = calloc(n + 1, sizeof(*numbers));

	for (size_t i = 0; numbers != NULL && i < n; i++) {
		numbers[i] = iface_number(b->index, names[i]);
		if (numbers[i] == 0) {
			free(numbers);
			return NULL;
		}
	}
	return numbers;
}

static uint32_t *number_zones(const struct zone *const *zones, size_t n)
{
	uint32_t *numbers = calloc(n + 1, sizeof(*numbers));

	for (size_t i = 0; numbers != NULL && i < n; i++)
		numbers[i] = zones[i]->index + 1;
	return numbers;
}

static uint32_t *number_prefixes(const struct side *side, const struct ip_prefix *prefixes, size_t n)
{
	uint32_t *numbers = calloc(n + 1, sizeof(*numbers));

	for (size_t i = 0; numbers != NULL && i < n; i++)
		numbers[i] = prefix_map_get(side->prefixes, &prefixes[i]);
	return numbers;
}

static uint32_t *number_groups(const uint32_t *groups, size_t n)
{
	uint32_t *numbers = calloc(n + 1, sizeof(*numbers));

	for (size_t i = 0; numbers != NULL && i < n; i++)
		numbers[i] = groups[i] + 1;
	return numbers;
}

static int choose_incoming(struct builder *b, const struct rule *r)
{
	uint32_t *names = number_ifaces(b, r->ifaces, r->n_ifaces);
	const struct alternative alternatives[] = {
		{ INCOMING_NAME, names, r->n_ifaces },
		{ INCOMING_GROUP, r->ifgroups, r->n_ifgroups },
		{ INCOMING_REQID, r->reqids, r->n_reqids },
	};

	if (names != NULL)
		choose_alternatives(&b->groups[G_INCOMING], alternatives, ARRAY_LEN(alternatives));
	free(names);
	return names == NULL ? -ENOMEM : 0;
}

static int choose_src(struct builder *b, const struct rule *r)
{
	uint32_t *prefixes = number_prefixes(&b->index->src, r->src_subnets, r->n_src_subnets);
	uint32_t *zones = number_zones(r->src_zones, r->n_src_zones);
	const struct alternative alternatives[] = {
		{ KIND_PREFIX, prefixes, r->n_src_subnets },
		{ KIND_ZONE, zones, r->n_src_zones },
	};
	int err = prefixes == NULL || zones == NULL ? -ENOMEM : 0;

	if (err == 0)
		choose_alternatives(&b->groups[G_SRC], alternatives, ARRAY_LEN(alternatives));
	free(prefixes);
	free(zones);
	return err;
}

static int choose_dst(struct builder *b, const struct rule *r)
{
	uint32_t *prefixes = number_prefixes(&b->index->dst, r->dst_subnets, r->n_dst_subnets);
	uint32_t *zones = number_zones(r->dst_zones, r->n_dst_zones);
	uint32_t *names = number_ifaces(b, r->dst_ifaces, r->n_dst_ifaces);
	uint32_t *groups = number_groups(r->dst_ifgroups, r->n_dst_ifgroups);
	const struct alternative alternatives[] = {
		{ KIND_PREFIX, prefixes, r->n_dst_subnets },
		{ KIND_ZONE, zones, r->n_dst_zones },
		{ KIND_NAME, names, r->n_dst_ifaces },
		{ KIND_GROUP, groups, r->n_dst_ifgroups },
	};
	int err = prefixes == NULL || zones == NULL || names == NULL || groups == NULL ? -ENOMEM : 0;

	if (err == 0)
		choose_alternatives(&b->groups[G_DST], alternatives, ARRAY_LEN(alternatives));
	free(prefixes);
	free(zones);
	free(names);
	free(groups);
	return err;
}

/* An array that doubles while the index is built; [0] is not used. */
static int make_room(void *arrayp, size_t *room, size_t n, size_t size)
{
	void **array = arrayp;
	size_t want = *room == 0 ? 64 : *room * 2;
	char *bigger;

	if (n < *room)
		return 0;
	bigger = realloc(*array, want * size);
	if (bigger == NULL)
		return -ENOMEM;
	memset(bigger + *room * size, 0, (want - *room) * size);
	*array = bigger;
	*room = want;
	return 0;
}

/* The shape that the choices make, with the blocks of ports that it now has. */
static const struct shape *shape_of(struct builder *b, const struct choice *const c[GROUPS])
{
	unsigned number = c[G_INCOMING]->kind;
	struct shape *shape;

	number = number * 2 + c[G_PROTO]->kind;
	number = number * 2 + c[G_ICMP_TYPE]->kind;
	number = number * 2 + c[G_ICMP_CODE]->kind;
	number = number * 3 + c[G_SRC_PORT]->kind;
	number = number * 3 + c[G_DST_PORT]->kind;
	shape = &b->shapes[number];
	shape->number = (uint16_t)number;
	shape->incoming = c[G_INCOMING]->kind;
	shape->proto = c[G_PROTO]->kind != 0;
	shape->icmp_type = c[G_ICMP_TYPE]->kind != 0;
	shape->icmp_code = c[G_ICMP_CODE]->kind != 0;
	shape->src_port = c[G_SRC_PORT]->kind;
	shape->dst_port = c[G_DST_PORT]->kind;
	shape->src_blocks |= 1u << c[G_SRC_PORT]->value[1];
	shape->dst_blocks |= 1u << c[G_DST_PORT]->value[1];
	return shape;
}

static uint32_t add_bucket(struct builder *b, const struct choice *const c[GROUPS])
{
	struct rule_index *x = b->index;
	struct index_key key = bucket_key(shape_of(b, c), c[G_SRC_PORT]->value[1], c[G_DST_PORT]->value[1]);
	uint32_t number;

	key.at[0] |= c[G_PROTO]->value[0] << 20;
	key.at[1] = c[G_INCOMING]->value[0];
	key.at[2] = c[G_INCOMING]->value[1];
	key.at[3] = c[G_INCOMING]->value[2];
	key.at[4] = c[G_SRC_PORT]->value[0] | c[G_DST_PORT]->value[0] << 16;
	key.at[5] = c[G_ICMP_TYPE]->value[0] | c[G_ICMP_CODE]->value[0] << 16;
	if (make_room(&x->bucket_kinds, &b->room_buckets, x->n_buckets + 1, sizeof(*x->bucket_kinds)) < 0)
		return 0;
	number = index_table_add(&x->buckets, &key, x->n_buckets + 1);
	if (number > x->n_buckets)
		x->n_buckets = number;
	if (number != 0)
		x->bucket_kinds[number] |= KIND_BIT(c[G_SRC]->kind);
	return number;
}

static uint32_t add_source(struct builder *b, uint32_t bucket, const struct choice *const c[GROUPS])
{
	struct rule_index *x = b->index;
	const struct index_key key = { { bucket, c[G_SRC]->value[0], c[G_SRC]->value[1] } };
	uint32_t number;

	if (make_room(&x->source_kinds, &b->room_sources, x->n_sources + 1, sizeof(*x->source_kinds)) < 0)
		return 0;
	number = index_table_add(&x->sources, &key, x->n_sources + 1);
	if (number > x->n_sources)
		x->n_sources = number;
	if (number != 0)
		x->source_kinds[number] |= KIND_BIT(c[G_DST]->kind);
	return number;
}

static int add_case(struct builder *b, const struct choice *const c[GROUPS], uint32_t rule)
{
	struct rule_index *x = b->index;
	uint32_t bucket = add_bucket(b, c), source = bucket == 0 ? 0 : add_source(b, bucket, c), leaf;
	struct index_key key = { { source, c[G_DST]->value[0], c[G_DST]->value[1], c[G_DST]->value[2], c[G_DST]->value[3] } };

	if (source == 0 || make_room(&x->leaves, &b->room_leaves, x->n_leaves + 1, sizeof(*x->leaves)) < 0)
		return -ENOMEM;
	leaf = index_table_add(&x->targets, &key, x->n_leaves + 1);
	if (leaf == 0)
		return -ENOMEM;
	if (leaf > x->n_leaves)
		x->n_leaves = leaf;
	leaf_add(b->policy, &x->leaves[leaf], rule);
	x->n_cases++;
	return 0;
}

/* The product of all groups, like a counter with eight digits. */
static int add_cases(struct builder *b, uint32_t rule)
{
	const struct choice *chosen[GROUPS];
	size_t at[GROUPS] = { 0 };

	for (;;) {
		size_t g = 0;
		int err;

		for (size_t i = 0; i < GROUPS; i++)
			chosen[i] = &b->groups[i].items[at[i]];
		err = add_case(b, chosen, rule);
		if (err < 0)
			return err;
		while (g < GROUPS && ++at[g] == b->groups[g].n)
			at[g++] = 0;
		if (g == GROUPS)
			return 0;
	}
}

static bool is_wide(const struct builder *b)
{
	size_t cases = 1;

	for (size_t i = 0; i < GROUPS; i++) {
		if (b->groups[i].too_many || b->groups[i].n * cases > RULE_CASES_MAX)
			return true;
		cases *= b->groups[i].n;
	}
	return b->index->n_cases + cases > RULE_INDEX_CASES_MAX;
}

static int add_rule(struct builder *b, const struct rule *r)
{
	struct rule_index *x = b->index;
	int err;

	for (size_t i = 0; i < GROUPS; i++)
		b->groups[i].n = b->groups[i].too_many = 0;
	choose_octets(&b->groups[G_PROTO], r->protocols, r->n_protocols);
	choose_octets(&b->groups[G_ICMP_TYPE], r->icmp_types, r->n_icmp_types);
	choose_octets(&b->groups[G_ICMP_CODE], r->icmp_codes, r->n_icmp_codes);
	choose_ports(&b->groups[G_SRC_PORT], r->src_ports, r->n_src_ports);
	choose_ports(&b->groups[G_DST_PORT], r->dst_ports, r->n_dst_ports);
	err = choose_incoming(b, r);
	if (err == 0)
		err = choose_src(b, r);
	if (err == 0)
		err = choose_dst(b, r);
	if (err < 0 || !is_wide(b))
		return err < 0 ? err : add_cases(b, (uint32_t)(r - b->policy->rules) + 1);
	err = make_room(&x->wide, &b->room_wide, x->n_wide, sizeof(*x->wide));
	if (err == 0)
		x->wide[x->n_wide++] = r;
	return err;
}

/* ---- what a flow is asked for: listed prefixes and zones ---- */

static int list_prefixes(struct side *side, const struct policy *policy, bool src, struct arena *arena)
{
	size_t n = 0;

	for (size_t i = 0; i < policy->n_rules; i++)
		n += src ? policy->rules[i].n_src_subnets : policy->rules[i].n_dst_subnets;
	side->prefixes = prefix_map_create(arena, n);
	if (side->prefixes == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct rule *r = &policy->rules[i];
		const struct ip_prefix *prefixes = src ? r->src_subnets : r->dst_subnets;

		for (size_t j = 0; j < (src ? r->n_src_subnets : r->n_dst_subnets); j++)
			(void)prefix_map_add(side->prefixes, &prefixes[j], 1);
	}
	return prefix_map_finish(side->prefixes, arena);
}

static uint32_t nearest_listed(const bool *listed, const struct zone *zone)
{
	while (zone != NULL && !listed[zone->index])
		zone = zone->parent;
	return zone == NULL ? 0 : zone->index + 1;
}

static int list_zones(struct side *side, const struct policy *policy, bool src, struct arena *arena)
{
	bool *listed = calloc(policy->n_zones + 1, sizeof(*listed));

	side->zones = arena_array(arena, policy->n_zones + 1, sizeof(*side->zones));
	if (listed == NULL || side->zones == NULL) {
		free(listed);
		return -ENOMEM;
	}
	for (size_t i = 0; i < policy->n_rules; i++) {
		const struct rule *r = &policy->rules[i];

		for (size_t j = 0; j < (src ? r->n_src_zones : r->n_dst_zones); j++)
			listed[(src ? r->src_zones : r->dst_zones)[j]->index] = true;
	}
	for (size_t i = 0; i < policy->n_zones; i++) {
		const struct zone *zone = &policy->zones[i];

		side->zones[i + 1] = (struct listed_zone){
			.nearest = nearest_listed(listed, zone), .above = nearest_listed(listed, zone->parent),
			.depth = zone->depth,
		};
	}
	free(listed);
	return 0;
}

/* ---- the end: what was grown moves to the arena ---- */

static int settle_array(void *arrayp, size_t n, size_t size, struct arena *arena)
{
	void **array = arrayp;
	void *copy = arena_array(arena, n, size);

	if (copy != NULL && *array != NULL)
		memcpy(copy, *array, n * size);
	free(*array);
	*array = copy;
	return copy == NULL ? -ENOMEM : 0;
}

static int settle_shapes(struct builder *b, struct arena *arena)
{
	struct rule_index *x = b->index;

	x->shapes = arena_array(arena, SHAPE_COUNT, sizeof(*x->shapes));
	if (x->shapes == NULL)
		return -ENOMEM;
	for (size_t i = SHAPE_COUNT; i-- > 0;)
		if (b->shapes[i].dst_blocks != 0)
			x->shapes[x->n_shapes++] = b->shapes[i];
	return 0;
}

/* Everything, also when something failed: nothing of it stays malloc'ed. */
static int settle(struct builder *b, struct arena *arena)
{
	struct rule_index *x = b->index;
	const int errs[] = {
		settle_shapes(b, arena),
		index_table_settle(&x->buckets, arena),
		index_table_settle(&x->sources, arena),
		index_table_settle(&x->targets, arena),
		settle_array(&x->bucket_kinds, x->n_buckets + 1, sizeof(*x->bucket_kinds), arena),
		settle_array(&x->source_kinds, x->n_sources + 1, sizeof(*x->source_kinds), arena),
		settle_array(&x->leaves, x->n_leaves + 1, sizeof(*x->leaves), arena),
		settle_array(&x->wide, x->n_wide, sizeof(*x->wide), arena),
	};

	for (size_t i = 0; i < ARRAY_LEN(errs); i++)
		if (errs[i] < 0)
			return errs[i];
	return 0;
}

static int add_rules(struct builder *b, struct arena *scratch, struct arena *arena)
{
	struct rule_index *x = b->index;
	int err = 0;

	for (size_t i = 0; i < GROUPS; i++) {
		b->groups[i].items = arena_array(scratch, RULE_CASES_MAX, sizeof(struct choice));
		if (b->groups[i].items == NULL)
			return -ENOMEM;
	}
	x->ifaces = hash_create(arena, SIZE_MAX / 64);
	if (x->ifaces == NULL || list_prefixes(&x->src, b->policy, true, arena) < 0 ||
	    list_prefixes(&x->dst, b->policy, false, arena) < 0 || list_zones(&x->src, b->policy, true, arena) < 0 ||
	    list_zones(&x->dst, b->policy, false, arena) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < b->policy->n_rules && err == 0; i++)
		err = add_rule(b, &b->policy->rules[i]);
	return err;
}

int rule_index_build(const struct policy *policy, struct arena *arena, struct rule_index **out)
{
	struct arena *scratch = arena_create(SIZE_MAX, 0);
	struct builder *b = scratch == NULL ? NULL : ARENA_NEW(scratch, struct builder);
	struct rule_index *x = ARENA_NEW(arena, struct rule_index);
	int err = -ENOMEM, settled;

	if (b != NULL && x != NULL) {
		b->index = x;
		b->policy = x->policy = policy;
		err = add_rules(b, scratch, arena);
		settled = settle(b, arena);
		err = err < 0 ? err : settled;
	}
	arena_free(&scratch);
	if (err == 0)
		*out = x;
	return err;
}

struct rule_index_size rule_index_size(const struct rule_index *x)
{
	return (struct rule_index_size){
		.shapes = x->n_shapes, .cases = x->n_cases, .wide_rules = x->n_wide,
		.octets = ((size_t)x->buckets.mask + x->sources.mask + x->targets.mask + 3) * sizeof(struct index_slot) +
			  ((size_t)x->n_buckets + x->n_sources) * sizeof(uint32_t) + x->n_leaves * sizeof(struct leaf),
	};
}
