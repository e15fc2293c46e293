/* SPDX-License-Identifier: Apache-2.0 */
/* What building the rule index and searching it share. */
#ifndef SALLYPORT_POLICY_RULE_INDEX_PRIV_H
#define SALLYPORT_POLICY_RULE_INDEX_PRIV_H

#include "base/hash.h"
#include "policy/index_table.h"
#include "policy/prefix_map.h"
#include "policy/rule_index.h"

/*
 * What a case says before its addresses, in the order of the score; the number of a shape is
 * these digits in mixed radix, so that a higher number is a better score.
 */
enum { INCOMING_GROUP = 1, INCOMING_NAME = 2, INCOMING_REQID = 4 };
enum { PORT_ANY = 0, PORT_RANGE = 1, PORT_SINGLE = 2 };
#define SHAPE_COUNT (8u * 2 * 2 * 2 * 3 * 3)

struct shape {
	uint8_t incoming;		/* INCOMING_* bits */
	bool proto, icmp_type, icmp_code;
	uint8_t src_port, dst_port;	/* PORT_* */
	/* Bit n: there are blocks of ports whose first n bits are given. Bit 0 alone: any port. */
	uint32_t src_blocks, dst_blocks;
	uint16_t number;
};

/* An address condition is some of these four. A set of kinds is a word with a bit for each. */
enum { KIND_ZONE = 1, KIND_GROUP = 2, KIND_NAME = 4, KIND_PREFIX = 8 };
#define KIND_BIT(kind) (1u << (kind))
/* The set of all kinds that have this one of the four. */
#define KINDS_WITH(one) ((one) == KIND_ZONE ? 0xaaaau : (one) == KIND_GROUP ? 0xccccu : (one) == KIND_NAME ? 0xf0f0u : 0xff00u)

/* Zones by number, which is the index in the policy plus 1; [0] is no zone. */
struct listed_zone {
	uint32_t nearest;	/* the zone itself or the nearest above it that a rule lists; 0 = none */
	uint32_t above;		/* the nearest above it */
	uint8_t depth;
};

/* One side of the flows: what rules list of it. */
struct side {
	struct prefix_map *prefixes;
	struct listed_zone *zones;
};

/* The two best rules of one case, as index in the policy plus 1: lower id first. 0 = none. */
struct leaf {
	uint32_t best, other;
};

struct rule_index {
	const struct policy *policy;
	struct shape *shapes;		/* that exist, the best first */
	size_t n_shapes;
	struct hash *ifaces;		/* name to number */
	uint32_t n_ifaces;
	struct side src, dst;
	struct index_table buckets;	/* what stands before the addresses -> number of a bucket */
	struct index_table sources;	/* bucket, source -> number of a source */
	struct index_table targets;	/* source, destination -> number of a leaf */
	uint32_t *bucket_kinds, *source_kinds;	/* by number: kinds of address conditions below */
	struct leaf *leaves;
	uint32_t n_buckets, n_sources, n_leaves;
	const struct rule **wide;	/* not taken apart */
	size_t n_wide;
	size_t n_cases;
};

/* Keep the two lowest of different rules. */
void leaf_add(const struct policy *policy, struct leaf *leaf, uint32_t rule);

static inline uint16_t port_block(uint16_t port, unsigned bits)
{
	return bits == 0 ? 0 : (uint16_t)(port & ~((1u << (16 - bits)) - 1));
}

struct index_key bucket_key(const struct shape *shape, unsigned src_bits, unsigned dst_bits);

#endif
