/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses as ranges. A zone's addresses are those whose longest prefix is the zone's: more
 * specific prefixes of other zones are holes in it. Cutting the address space once into ranges
 * that each belong to one zone makes every condition of a rule an exact set.
 */
#include "kernel/plan_priv.h"
#include "policy/names.h"

#include <errno.h>
#include <stdlib.h>

int ip_compare(const struct ip_addr *a, const struct ip_addr *b)
{
	return memcmp(a->octets, b->octets, sizeof(a->octets));
}

static size_t ip_octets(const struct ip_addr *ip)
{
	return ip->family == AF_INET ? 4 : 16;
}

bool ip_next(struct ip_addr *ip)
{
	for (size_t i = ip_octets(ip); i-- > 0;)
		if (++ip->octets[i] != 0)
			return true;
	return false;
}

bool ip_previous(struct ip_addr *ip)
{
	for (size_t i = ip_octets(ip); i-- > 0;)
		if (ip->octets[i]-- != 0)
			return true;
	return false;
}

void prefix_range(const struct ip_prefix *prefix, struct address_range *out)
{
	out->first = prefix->ip;
	out->last = prefix->ip;
	for (size_t bit = prefix->bits; bit < ip_octets(&prefix->ip) * 8; bit++) {
		uint8_t mask = (uint8_t)(0x80u >> (bit % 8));

		out->first.octets[bit / 8] &= (uint8_t)~mask;
		out->last.octets[bit / 8] |= mask;
	}
}

bool range_is_all(const struct address_range *range)
{
	for (size_t i = 0; i < ip_octets(&range->first); i++)
		if (range->first.octets[i] != 0 || range->last.octets[i] != 0xff)
			return false;
	return true;
}

int range_list_add(struct range_list *list, struct arena *scratch, const struct address_range *range)
{
	if (list->n == list->size) {
		size_t size = list->size == 0 ? 16 : list->size * 2;
		struct address_range *v;

		if (size > 4 * (size_t)KERNEL_RANGES_MAX)
			return -E2BIG;
		v = arena_array(scratch, size, sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		if (list->n > 0)
			memcpy(v, list->v, list->n * sizeof(*v));
		list->v = v;
		list->size = size;
	}
	list->v[list->n++] = *range;
	return 0;
}

struct owned_range {
	struct address_range range;
	uint32_t zone;
	uint8_t bits;		/* of the prefix; while cutting */
};

struct zone_space {
	struct owned_range *pieces;	/* by zone, then ascending */
	size_t *first_piece;		/* of zone i; n_zones + 1 entries */
	uint32_t *first_child, *next_sibling;	/* zone index + 1; 0 = none */
};

static int by_address(const void *a, const void *b)
{
	const struct owned_range *x = a, *y = b;
	int order = ip_compare(&x->range.first, &y->range.first);

	return order != 0 ? order : (int)x->bits - (int)y->bits;
}

static int by_zone(const void *a, const void *b)
{
	const struct owned_range *x = a, *y = b;

	if (x->zone != y->zone)
		return x->zone < y->zone ? -1 : 1;
	return ip_compare(&x->range.first, &y->range.first);
}

static void own(struct owned_range *out, size_t *n, const struct ip_prefix *prefix, size_t zone)
{
	if (out != NULL) {
		prefix_range(prefix, &out[*n].range);
		out[*n].bits = prefix->bits;
		out[*n].zone = (uint32_t)zone;
	}
	(*n)++;
}

static size_t collect_prefixes(const struct policy *policy, const struct zone_names *names, uint8_t family, struct owned_range *out)
{
	size_t n = 0, n_members;
	const struct zone_member *members = zone_names_members(names, &n_members);

	for (size_t i = 0; i < policy->n_zones; i++) {
		const struct zone *zone = &policy->zones[i];

		for (size_t k = 0; k < zone->n_prefixes; k++) {
			if (zone->prefixes[k].ip.family == family)
				own(out, &n, &zone->prefixes[k], i);
		}
	}
	for (size_t i = 0; i < n_members; i++)
		if (members[i].ip.family == family)
			own(out, &n, &(struct ip_prefix){ members[i].ip, (uint8_t)ip_bits(&members[i].ip) }, members[i].zone);
	return n;
}

/* Cutting goes through the prefixes in ascending order; those around the place are on a stack. */
struct cutter {
	const struct owned_range *stack[130];	/* nested prefixes: at most one a length */
	size_t depth;
	struct ip_addr at;			/* first address not yet given to anybody */
	bool full;				/* past the last address */
	struct owned_range *out;
	size_t n_out;
};

static void cut_until(struct cutter *c, const struct ip_addr *last, uint32_t zone)
{
	if (c->full || ip_compare(&c->at, last) > 0)
		return;
	c->out[c->n_out].range.first = c->at;
	c->out[c->n_out].range.last = *last;
	c->out[c->n_out].zone = zone;
	c->n_out++;
	c->at = *last;
	c->full = !ip_next(&c->at);
}

static void cut_prefix(struct cutter *c, const struct owned_range *prefix)
{
	while (c->depth > 0 && ip_compare(&c->stack[c->depth - 1]->range.last, &prefix->range.first) < 0) {
		const struct owned_range *top = c->stack[--c->depth];

		cut_until(c, &top->range.last, top->zone);
	}
	if (c->depth > 0) {
		const struct owned_range *top = c->stack[c->depth - 1];
		struct ip_addr before = prefix->range.first;

		if (top->bits == prefix->bits)
			return;		/* the same prefix twice */
		if (ip_previous(&before))
			cut_until(c, &before, top->zone);
	}
	c->at = prefix->range.first;
	c->stack[c->depth++] = prefix;
}

static void cut_rest(struct cutter *c)
{
	while (c->depth > 0) {
		const struct owned_range *top = c->stack[--c->depth];

		cut_until(c, &top->range.last, top->zone);
	}
}

static int index_zones(const struct policy *policy, struct arena *scratch, struct zone_space *s, size_t n_pieces)
{
	size_t piece = 0;

	s->first_piece = arena_array(scratch, policy->n_zones + 1, sizeof(*s->first_piece));
	s->first_child = arena_array(scratch, policy->n_zones + 1, sizeof(*s->first_child));
	s->next_sibling = arena_array(scratch, policy->n_zones + 1, sizeof(*s->next_sibling));
	if (s->first_piece == NULL || s->first_child == NULL || s->next_sibling == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < policy->n_zones; i++) {
		const struct zone *parent = policy->zones[i].parent;

		s->first_piece[i] = piece;
		while (piece < n_pieces && s->pieces[piece].zone == i)
			piece++;
		if (parent != NULL) {
			s->next_sibling[i] = s->first_child[parent->index];
			s->first_child[parent->index] = (uint32_t)i + 1;
		}
	}
	s->first_piece[policy->n_zones] = piece;
	return 0;
}

int zone_space_make(const struct policy *policy, const struct zone_names *names, uint8_t family, struct arena *scratch, struct zone_space **out)
{
	size_t n = collect_prefixes(policy, names, family, NULL);
	struct zone_space *s = ARENA_NEW(scratch, struct zone_space);
	struct owned_range *prefixes = arena_array(scratch, n + 1, sizeof(*prefixes));
	struct cutter *c = ARENA_NEW(scratch, struct cutter);
	int err;

	if (s == NULL || prefixes == NULL || c == NULL)
		return -ENOMEM;
	/* Each prefix ends one piece and begins one. */
	c->out = arena_array(scratch, 2 * n + 1, sizeof(*c->out));
	if (c->out == NULL)
		return -ENOMEM;
	collect_prefixes(policy, names, family, prefixes);
	if (n > 0)
		qsort(prefixes, n, sizeof(*prefixes), by_address);
	for (size_t i = 0; i < n; i++)
		cut_prefix(c, &prefixes[i]);
	cut_rest(c);
	if (c->n_out > 0)
		qsort(c->out, c->n_out, sizeof(*c->out), by_zone);
	s->pieces = c->out;
	err = index_zones(policy, scratch, s, c->n_out);
	if (err < 0)
		return err;
	*out = s;
	return 0;
}

/* Depth is bounded by the zone tree's: 31. */
int zone_space_collect(const struct zone_space *space, const struct zone *zone, struct arena *scratch, struct range_list *list)
{
	const struct zone *zones = zone - zone->index;
	int err = 0;

	for (size_t i = space->first_piece[zone->index]; err == 0 && i < space->first_piece[zone->index + 1]; i++)
		err = range_list_add(list, scratch, &space->pieces[i].range);
	for (uint32_t child = space->first_child[zone->index]; err == 0 && child != 0; child = space->next_sibling[child - 1])
		err = zone_space_collect(space, &zones[child - 1], scratch, list);
	return err;
}
