/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table from a few words to a number: open addressing, one probe into one slot in the
 * common case. Filled once, then only read, by processes that share it copy-on-write. The keys
 * come from the policy; peers only ask. Private to policy/.
 */
#ifndef SALLYPORT_POLICY_INDEX_TABLE_H
#define SALLYPORT_POLICY_INDEX_TABLE_H

#include "base/arena.h"
#include "base/attributes.h"

#define INDEX_WORDS 6

struct index_key {
	uint32_t at[INDEX_WORDS];	/* words that a table does not use are 0 */
};

struct index_slot {
	struct index_key key;
	uint32_t value;			/* 0 = free */
};

struct index_table {
	struct index_slot *slots;	/* a power of two of them; NULL = empty */
	uint32_t mask;			/* their number, less 1 */
	uint32_t count;
};

/* The value of the key; 0: it is not there. */
uint32_t index_table_get(const struct index_table *table, const struct index_key *key);

/*
 * The value of the key, which is given `value` (not 0) if it was not there. Grows by doubling;
 * slots are malloc'ed until index_table_settle() moves them. 0: no memory.
 */
uint32_t index_table_add(struct index_table *table, const struct index_key *key, uint32_t value) MUST_CHECK;

/* Move the slots to the arena that is to own them. 0; -ENOMEM. Frees them in any case. */
int index_table_settle(struct index_table *table, struct arena *arena) MUST_CHECK;

#endif
