/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The search. Everything that is compared before the addresses makes a shape; shapes are tried
 * from the best score down. In a shape the flow's values name one bucket, or one for each size
 * of block where ranges of ports are listed. In a bucket the source is tried from the longest
 * subnet down, with the deepest zone first, and behind each source the destination in the same
 * way: so the first case that is found has the best score of its bucket.
 */
#include "policy/rule_index_priv.h"

#include <netinet/in.h>

struct index_key bucket_key(const struct shape *shape, unsigned src_bits, unsigned dst_bits)
{
	return (struct index_key){ { shape->number | src_bits << 10 | dst_bits << 15 } };
}

static bool rule_before(const struct policy *policy, uint32_t a, uint32_t b)
{
	uint32_t id_a = policy->rules[a - 1].id, id_b = policy->rules[b - 1].id;

	return id_a != id_b ? id_a < id_b : a < b;
}

void leaf_add(const struct policy *policy, struct leaf *leaf, uint32_t rule)
{
	if (rule == 0 || rule == leaf->best || rule == leaf->other)
		return;
	if (leaf->best == 0 || rule_before(policy, rule, leaf->best)) {
		leaf->other = leaf->best;
		leaf->best = rule;
	} else if (leaf->other == 0 || rule_before(policy, rule, leaf->other)) {
		leaf->other = rule;
	}
}

/* One side of a flow: what its address is to the rules. */
struct flow_side {
	const struct side *side;
	prefix_id prefix;		/* the longest that a rule lists */
	uint32_t zone;			/* number of the deepest that a rule lists */
	uint32_t name, group;		/* of this host's interface; 0 = none; group + 1 */
	uint16_t prefix_unit;		/* what a bit of prefix is worth */
};

struct seeker {
	const struct rule_index *index;
	const struct flow *flow;
	struct flow_side src, dst;
	uint32_t iface;
	uint16_t src_port, dst_port;	/* protocols without ports count as port 0 */
	bool is_icmp;
};

/* What may be listed for one address, from the best score down. */
struct walk {
	const struct flow_side *flow;
	uint32_t kinds;			/* that are listed at all */
	uint32_t parent;
	prefix_id prefix;
	uint32_t zone;
	uint8_t interface;		/* KIND_NAME | KIND_GROUP bits */
	bool started;
};

static uint8_t interfaces(const struct flow_side *flow, uint32_t kinds)
{
	bool name = flow->name != 0 && (kinds & KINDS_WITH(KIND_NAME)) != 0;
	bool group = flow->group != 0 && (kinds & KINDS_WITH(KIND_GROUP)) != 0;

	return (uint8_t)((name ? KIND_NAME : 0) | (group ? KIND_GROUP : 0));
}

static uint32_t first_zone(const struct flow_side *flow, uint32_t kinds)
{
	return (kinds & KINDS_WITH(KIND_ZONE)) != 0 ? flow->zone : 0;
}

static struct walk walk_start(const struct flow_side *flow, uint32_t kinds, uint32_t parent)
{
	return (struct walk){
		.flow = flow, .kinds = kinds, .parent = parent,
		.prefix = (kinds & KINDS_WITH(KIND_PREFIX)) != 0 ? flow->prefix : PREFIX_NONE,
		.interface = interfaces(flow, kinds), .zone = first_zone(flow, kinds),
	};
}

static bool step(struct walk *w)
{
	if (!w->started) {
		w->started = true;
		return true;
	}
	if (w->zone != 0) {
		w->zone = w->flow->side->zones[w->zone].above;
		return true;
	}
	w->zone = first_zone(w->flow, w->kinds);
	if (w->interface != 0) {	/* the next lower subset of the bits */
		w->interface = (uint8_t)((w->interface - 1) & interfaces(w->flow, w->kinds));
		return true;
	}
	w->interface = interfaces(w->flow, w->kinds);
	if (w->prefix == PREFIX_NONE)
		return false;
	w->prefix = prefix_map_shorter(w->flow->side->prefixes, w->prefix);
	return true;
}

/* The next one that could be listed: its key, and what it scores. */
static bool walk_next(struct walk *w, struct index_key *key, uint16_t *score)
{
	const struct flow_side *f = w->flow;

	while (step(w)) {
		unsigned kind = (w->prefix != PREFIX_NONE ? KIND_PREFIX : 0u) | w->interface | (w->zone != 0 ? KIND_ZONE : 0u);

		if ((w->kinds & KIND_BIT(kind)) == 0)
			continue;
		*key = (struct index_key){ { w->parent, w->prefix, w->zone, (w->interface & KIND_NAME) != 0 ? f->name : 0,
					     (w->interface & KIND_GROUP) != 0 ? f->group : 0 } };
		*score = (uint16_t)(w->interface / KIND_GROUP * 32u + f->side->zones[w->zone].depth);
		if (w->prefix != PREFIX_NONE)
			*score = (uint16_t)(*score + f->prefix_unit * (prefix_map_bits(f->side->prefixes, w->prefix) + 1));
		return true;
	}
	return false;
}

struct hit {
	struct leaf leaf;
	uint16_t src, dst;		/* scores of the addresses */
};

/* Cases of the same shape: the better score, or the lower ids of equal ones. */
static void take_better(const struct policy *policy, struct hit *best, const struct leaf *leaf, uint16_t src, uint16_t dst)
{
	bool equal = best->leaf.best != 0 && src == best->src && dst == best->dst;

	if (equal) {
		leaf_add(policy, &best->leaf, leaf->best);
		leaf_add(policy, &best->leaf, leaf->other);
	} else if (best->leaf.best == 0 || src > best->src || (src == best->src && dst > best->dst)) {
		*best = (struct hit){ *leaf, src, dst };
	}
}

static void search_bucket(const struct seeker *s, uint32_t bucket, struct hit *best)
{
	const struct rule_index *x = s->index;
	struct walk src = walk_start(&s->src, x->bucket_kinds[bucket], bucket);
	struct index_key key;
	uint16_t src_score, dst_score;

	while (walk_next(&src, &key, &src_score)) {
		uint32_t source = index_table_get(&x->sources, &key);
		struct walk dst;

		if (source == 0)
			continue;
		dst = walk_start(&s->dst, x->source_kinds[source], source);
		while (walk_next(&dst, &key, &dst_score)) {
			uint32_t leaf = index_table_get(&x->targets, &key);

			if (leaf == 0)
				continue;
			take_better(x->policy, best, &x->leaves[leaf], src_score, dst_score);
			return;
		}
	}
}

/* Could any case of this shape match? */
static bool shape_fits(const struct seeker *s, const struct shape *shape)
{
	const struct flow *f = s->flow;

	if (shape->incoming != 0 && f->iface[0] == '\0' && f->ifgroup < 0)
		return false;	/* it came in through no interface: not even reqid matches */
	if ((shape->incoming & INCOMING_NAME) != 0 && s->iface == 0)
		return false;
	if ((shape->incoming & INCOMING_GROUP) != 0 && f->ifgroup < 0)
		return false;
	if ((shape->incoming & INCOMING_REQID) != 0 && (f->reqid < 0 || f->reqid > UINT32_MAX))
		return false;
	if (shape->icmp_type && (!s->is_icmp || f->icmp_type < 0))
		return false;
	return !shape->icmp_code || (s->is_icmp && f->icmp_code >= 0);
}

static void search_shape(const struct seeker *s, const struct shape *shape, struct hit *best)
{
	const struct flow *f = s->flow;

	for (uint32_t src = shape->src_blocks; src != 0; src &= src - 1) {
		for (uint32_t dst = shape->dst_blocks; dst != 0; dst &= dst - 1) {
			unsigned src_bits = (unsigned)__builtin_ctz(src), dst_bits = (unsigned)__builtin_ctz(dst);
			struct index_key key = bucket_key(shape, src_bits, dst_bits);
			uint32_t bucket;

			key.at[0] |= shape->proto ? (uint32_t)f->protocol << 20 : 0;
			key.at[1] = (shape->incoming & INCOMING_NAME) != 0 ? s->iface : 0;
			key.at[2] = (shape->incoming & INCOMING_GROUP) != 0 ? (uint32_t)f->ifgroup : 0;
			key.at[3] = (shape->incoming & INCOMING_REQID) != 0 ? (uint32_t)f->reqid : 0;
			key.at[4] = port_block(s->src_port, src_bits) | (uint32_t)port_block(s->dst_port, dst_bits) << 16;
			key.at[5] = (shape->icmp_type ? (uint32_t)f->icmp_type : 0) |
				    (shape->icmp_code ? (uint32_t)f->icmp_code << 16 : 0);
			bucket = index_table_get(&s->index->buckets, &key);
			if (bucket != 0)
				search_bucket(s, bucket, best);
		}
	}
}

static uint32_t iface_number(const struct rule_index *x, const char *name)
{
	return name[0] == '\0' || x->n_ifaces == 0 ? 0 : (uint32_t)(uintptr_t)hash_get(x->ifaces, slice_cstr(name));
}

static struct flow_side side_of(const struct side *side, const struct ip_addr *ip, const struct zone *zone, uint16_t unit)
{
	return (struct flow_side){
		.side = side, .prefix = prefix_map_find(side->prefixes, ip), .prefix_unit = unit,
		.zone = zone == NULL ? 0 : side->zones[zone->index + 1].nearest,
	};
}

void rule_index_find(const struct rule_index *x, const struct zoned_flow *zoned, struct decision *out)
{
	const struct flow *f = zoned->flow;
	bool has_ports = f->protocol == IPPROTO_TCP || f->protocol == IPPROTO_UDP;
	struct seeker s = {
		.index = x, .flow = f, .iface = iface_number(x, f->iface),
		.src = side_of(&x->src, &f->src.ip, zoned->src_zone, 32),
		.dst = side_of(&x->dst, &f->dst.ip, zoned->dst_zone, 128),
		.src_port = has_ports ? f->src.port : 0, .dst_port = has_ports ? f->dst.port : 0,
		.is_icmp = f->protocol == IPPROTO_ICMP || f->protocol == IPPROTO_ICMPV6,
	};
	struct hit best = { { 0, 0 }, 0, 0 };

	s.dst.name = iface_number(x, f->dst_iface);
	s.dst.group = f->dst_ifgroup < 0 ? 0 : (uint32_t)f->dst_ifgroup + 1;
	for (size_t i = 0; i < x->n_shapes && best.leaf.best == 0; i++)
		if (shape_fits(&s, &x->shapes[i]))
			search_shape(&s, &x->shapes[i], &best);
	out->rule = best.leaf.best == 0 ? NULL : &x->policy->rules[best.leaf.best - 1];
	out->tie = best.leaf.other == 0 ? NULL : &x->policy->rules[best.leaf.other - 1];
}

const struct rule *const *rule_index_wide(const struct rule_index *index, size_t *n)
{
	*n = index->n_wide;
	return index->wide;
}
