/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/index_table.h"

#include <errno.h>
#include <stdlib.h>

#define SLOTS_MIN 16u
#define SLOTS_MAX (1u << 30)

/* A product mixes upwards only: what is high in a word must come down again. */
static uint64_t mix(uint64_t h)
{
	h *= 0xd6e8feb86659fd93u;
	h ^= h >> 32;
	h *= 0xd6e8feb86659fd93u;
	return h ^ h >> 32;
}

static uint32_t hash_of(const struct index_key *key)
{
	uint64_t h = 0;

	for (unsigned i = 0; i < INDEX_WORDS; i += 2)
		h = mix(h ^ ((uint64_t)key->at[i] << 32 | key->at[i + 1]));
	return (uint32_t)h;
}

/* The key's slot, or the free one where it belongs. Never more than two of three are taken. */
static struct index_slot *slot_of(const struct index_table *table, const struct index_key *key)
{
	for (uint32_t i = hash_of(key) & table->mask;; i = (i + 1) & table->mask) {
		struct index_slot *slot = &table->slots[i];

		if (slot->value == 0 || memcmp(&slot->key, key, sizeof(*key)) == 0)
			return slot;
	}
}

uint32_t index_table_get(const struct index_table *table, const struct index_key *key)
{
	return table->slots == NULL ? 0 : slot_of(table, key)->value;
}

static int grow(struct index_table *table)
{
	uint32_t n = table->slots == NULL ? 0 : table->mask + 1;
	struct index_table bigger = { .mask = (n == 0 ? SLOTS_MIN : n * 2) - 1, .count = table->count };

	if (n == SLOTS_MAX)
		return -ENOMEM;
	bigger.slots = calloc((size_t)bigger.mask + 1, sizeof(*bigger.slots));
	if (bigger.slots == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		if (table->slots[i].value != 0)
			*slot_of(&bigger, &table->slots[i].key) = table->slots[i];
	free(table->slots);
	*table = bigger;
	return 0;
}

uint32_t index_table_add(struct index_table *table, const struct index_key *key, uint32_t value)
{
	struct index_slot *slot;

	if ((table->slots == NULL || table->count >= table->mask / 3 * 2) && grow(table) < 0)
		return 0;
	slot = slot_of(table, key);
	if (slot->value == 0) {
		*slot = (struct index_slot){ *key, value };
		table->count++;
	}
	return slot->value;
}

int index_table_settle(struct index_table *table, struct arena *arena)
{
	struct index_slot *slots = table->slots, *copy = NULL;
	size_t n = (size_t)table->mask + 1;

	if (slots == NULL)
		return 0;
	copy = arena_array(arena, n, sizeof(*copy));
	if (copy != NULL)
		memcpy(copy, slots, n * sizeof(*copy));
	free(slots);
	table->slots = copy;
	return copy == NULL ? -ENOMEM : 0;
}
