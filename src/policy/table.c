/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policy tables: the hashes of the policy language, compiled. They are read for each command
 * and each reply of a session, so a lookup is a few probes into one array of short keys.
 *
 * The hash is not a keyed one: what is stored comes from the policy and its callbacks, never
 * from a peer directly, and TABLE_MAX_ENTRIES bounds what a chain of equal hashes could cost.
 * It is built up octet by octet, so that the hash of a key is also the first half of the hash
 * of each longer one: (RCPT,4), (RCPT,45), (RCPT,451) cost one pass together.
 */
#include "policy/attribute.h"

#include <errno.h>

#define TABLE_MAX_ENTRIES 4096
#define TABLE_KEY_MAX 256		/* octets, of each part */
#define HASH_START 0xcbf29ce484222325u
#define HASH_BETWEEN 0x100u		/* no octet: ("AB","C") and ("A","BC") differ */

struct table_node {
	struct table_entry entry;
	struct arena_room rooms[2];	/* of args[] */
	struct slice key1, key2;
	uint32_t hash;
	struct table_node *next;	/* in the order they were put */
};

struct compiled_table {
	struct arena *arena;
	const struct policy_table *type;
	const struct compiled_table *below;
	struct table_node **slots;	/* open addressing, linear; n_slots is a power of two or 0 */
	size_t n_slots, n_entries;
	struct table_node *first, **tail;
};

static uint64_t hash_add(uint64_t h, unsigned value)
{
	return (h ^ value) * 0x100000001b3u;
}

static uint64_t hash_add_slice(uint64_t h, struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		h = hash_add(h, s.ptr[i]);
	return h;
}

static uint32_t hash_end(uint64_t h)
{
	return (uint32_t)(h ^ (h >> 32));
}

static uint32_t hash_keys(struct slice key1, struct slice key2)
{
	return hash_end(hash_add_slice(hash_add(hash_add_slice(HASH_START, key1), HASH_BETWEEN), key2));
}

static struct table_node *find_node(const struct compiled_table *t, uint32_t hash, struct slice key1,
				    struct slice key2)
{
	if (t->n_slots == 0)
		return NULL;
	for (size_t i = hash & (t->n_slots - 1); t->slots[i] != NULL; i = (i + 1) & (t->n_slots - 1)) {
		struct table_node *node = t->slots[i];

		if (node->hash == hash && slice_equal(node->key1, key1) && slice_equal(node->key2, key2))
			return node;
	}
	return NULL;
}

/* The entry for exactly this key, topmost layer first; a deletion hides what is below it. */
static const struct table_entry *find_layered(const struct compiled_table *t, uint32_t hash, struct slice key1,
					      struct slice key2)
{
	for (; t != NULL; t = t->below) {
		const struct table_node *node = find_node(t, hash, key1, key2);

		if (node != NULL)
			return node->entry.deleted ? NULL : &node->entry;
	}
	return NULL;
}

/* In tables with two parts an empty part means any, as "*" does. */
static void normalize_keys(const struct policy_table *type, struct slice *key1, struct slice *key2)
{
	if (type->key_parts < 2) {
		*key2 = slice_of(NULL, 0);
		return;
	}
	if (key1->len == 0)
		*key1 = SLICE("*");
	if (key2->len == 0)
		*key2 = SLICE("*");
}

const struct table_entry *table_exact(const struct compiled_table *table, struct slice key1, struct slice key2)
{
	normalize_keys(table->type, &key1, &key2);
	return find_layered(table, hash_keys(key1, key2), key1, key2);
}

/* Codes are looked up by their first three octets: (v,abc) (v,ab) (v,a) (v,*). */
static const struct table_entry *find_code(const struct compiled_table *t, struct slice verb, struct slice code)
{
	uint64_t hash[4];
	const struct table_entry *entry;
	size_t n = code.len < 3 ? code.len : 3;

	hash[0] = hash_add(hash_add_slice(HASH_START, verb), HASH_BETWEEN);
	for (size_t i = 0; i < n; i++)
		hash[i + 1] = hash_add(hash[i], code.ptr[i]);
	for (size_t len = n; len > 0; len--) {
		entry = find_layered(t, hash_end(hash[len]), verb, slice_take(code, len));
		if (entry != NULL)
			return entry;
	}
	return find_layered(t, hash_end(hash_add(hash[0], '*')), verb, SLICE("*"));
}

const struct table_entry *table_find(const struct compiled_table *table, struct slice key1, struct slice key2)
{
	const struct table_entry *entry;

	if (table->type->lookup == TABLE_VERB_CODE) {
		entry = find_code(table, key1, key2);
		return entry != NULL ? entry : find_code(table, SLICE("*"), key2);
	}
	entry = table_exact(table, key1, key2);
	return entry != NULL ? entry : table_exact(table, SLICE("*"), SLICE("*"));
}

struct compiled_table *table_create(struct arena *arena, const struct policy_table *type,
				    const struct compiled_table *below)
{
	struct compiled_table *t = ARENA_NEW(arena, struct compiled_table);

	if (t == NULL)
		return NULL;
	t->arena = arena;
	t->type = type;
	t->below = below;
	t->tail = &t->first;
	return t;
}

const struct table_action *table_action_of(const struct policy_table *type, int value)
{
	for (size_t i = 0; i < type->n_actions; i++)
		if (type->actions[i].value == value)
			return &type->actions[i];
	return NULL;
}

static bool entry_is_legal(const struct policy_table *type, const struct table_entry *entry)
{
	const struct table_action *action;

	if (entry->deleted)
		return true;
	action = table_action_of(type, entry->action);
	return action != NULL && entry->n_args <= ARRAY_LEN(entry->args) && entry->n_args >= action->min_args &&
	       entry->n_args <= action->max_args && policy_call_is_set(&entry->call) == action->calls;
}

static void insert_slot(struct table_node **slots, size_t n_slots, struct table_node *node)
{
	size_t i = node->hash & (n_slots - 1);

	while (slots[i] != NULL)
		i = (i + 1) & (n_slots - 1);
	slots[i] = node;
}

/* At least half of the slots stay free, so that a probe ends soon. */
static int make_room(struct compiled_table *t)
{
	size_t n = t->n_slots == 0 ? 8 : t->n_slots * 2;
	struct table_node **slots;

	if ((t->n_entries + 1) * 2 <= t->n_slots)
		return 0;
	slots = arena_array(t->arena, n, sizeof(struct table_node *));
	if (slots == NULL)
		return -ENOMEM;
	for (struct table_node *node = t->first; node != NULL; node = node->next)
		insert_slot(slots, n, node);
	t->slots = slots;
	t->n_slots = n;
	return 0;
}

static int add_node(struct compiled_table *t, uint32_t hash, struct slice key1, struct slice key2,
		    struct table_node **out)
{
	struct table_node *node;

	if (t->n_entries >= TABLE_MAX_ENTRIES)
		return -ENOSPC;
	if (make_room(t) < 0)
		return -ENOMEM;
	node = ARENA_NEW(t->arena, struct table_node);
	if (node == NULL)
		return -ENOMEM;
	node->hash = hash;
	node->key1 = arena_copy(t->arena, key1);
	node->key2 = arena_copy(t->arena, key2);
	if (node->key1.ptr == NULL || node->key2.ptr == NULL)
		return -ENOMEM;
	*out = node;
	return 0;
}

int table_put(struct compiled_table *table, struct slice key1, struct slice key2, const struct table_entry *entry)
{
	struct table_entry kept = *entry;
	struct table_node *node;
	uint32_t hash;
	bool fresh;
	int err;

	normalize_keys(table->type, &key1, &key2);
	if (key1.len > TABLE_KEY_MAX || key2.len > TABLE_KEY_MAX || !entry_is_legal(table->type, entry))
		return -EINVAL;
	if (entry->deleted)
		kept = (struct table_entry){ .call = { -1, NULL }, .deleted = true };
	hash = hash_keys(key1, key2);
	node = find_node(table, hash, key1, key2);
	fresh = node == NULL;
	if (fresh) {
		err = add_node(table, hash, key1, key2, &node);
		if (err < 0)
			return err;
	}
	for (size_t i = 0; i < kept.n_args; i++) {
		/* A callback may set the same entry for each message. */
		err = arena_room_keep(table->arena, &node->rooms[i], entry->args[i], &kept.args[i]);
		if (err < 0)
			return err;
	}
	node->entry = kept;
	if (fresh) {
		insert_slot(table->slots, table->n_slots, node);
		*table->tail = node;
		table->tail = &node->next;
		table->n_entries++;
	}
	return 0;
}

static bool is_covered(const struct compiled_table *top, const struct compiled_table *layer,
		       const struct table_node *node)
{
	for (; top != layer; top = top->below)
		if (find_node(top, node->hash, node->key1, node->key2) != NULL)
			return true;
	return false;
}

void table_each(const struct compiled_table *table,
		bool (*fn)(void *arg, struct slice key1, struct slice key2, const struct table_entry *entry), void *arg)
{
	for (const struct compiled_table *t = table; t != NULL; t = t->below)
		for (const struct table_node *node = t->first; node != NULL; node = node->next)
			if (!node->entry.deleted && !is_covered(table, t, node) &&
			    !fn(arg, node->key1, node->key2, &node->entry))
				return;
}
