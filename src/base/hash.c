/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing, linear probing, and removal by shifting back, so that no tombstones pile up
 * when a peer makes entries come and go. What a removed entry held is reused by the next one.
 */
#include "base/hash.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define FIRST_SLOTS 8u

struct entry {
	struct slice key;
	uint8_t *room;			/* where key.ptr points */
	size_t room_size;
	void *value;
	struct entry *next_free;
};

struct slot {
	uint64_t hash;
	struct entry *entry;		/* NULL = free */
};

struct hash {
	struct arena *arena;
	struct slot *slots;
	size_t n_slots;			/* a power of two */
	size_t count, max_entries;
	struct entry *free_entries;
};

static uint64_t rotl(uint64_t v, unsigned n)
{
	return v << n | v >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
	v[0] += v[1]; v[1] = rotl(v[1], 13); v[1] ^= v[0]; v[0] = rotl(v[0], 32);
	v[2] += v[3]; v[3] = rotl(v[3], 16); v[3] ^= v[2];
	v[0] += v[3]; v[3] = rotl(v[3], 21); v[3] ^= v[0];
	v[2] += v[1]; v[1] = rotl(v[1], 17); v[1] ^= v[2]; v[2] = rotl(v[2], 32);
}

static uint64_t load64(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	for (size_t i = 0; i < n; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

uint64_t hash_siphash(const uint8_t key[16], struct slice s)
{
	uint64_t k0 = load64(key, 8), k1 = load64(key + 8, 8);
	uint64_t v[4] = {
		k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du,
		k0 ^ 0x6c7967656e657261u, k1 ^ 0x7465646279746573u,
	};
	struct slice rest = s;
	uint64_t m;

	for (; rest.len >= 8; rest = slice_skip(rest, 8)) {
		m = load64(rest.ptr, 8);
		v[3] ^= m;
		sip_round(v);
		sip_round(v);
		v[0] ^= m;
	}
	m = (uint64_t)s.len << 56 | load64(rest.ptr, rest.len);
	v[3] ^= m;
	sip_round(v);
	sip_round(v);
	v[0] ^= m;
	v[2] ^= 0xff;
	for (int i = 0; i < 4; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/*
 * The key is drawn once and inherited by forked workers: they share tables that the leader
 * built before the fork.
 */
uint64_t hash_octets(struct slice s)
{
	static uint8_t key[16];
	static bool drawn;

	if (!drawn) {
		ssize_t n;

		do
			n = getrandom(key, sizeof(key), 0);
		while (n < 0 && errno == EINTR);
		if (n != (ssize_t)sizeof(key))
			abort();	/* a known key would let peers choose collisions */
		drawn = true;
	}
	return hash_siphash(key, s);
}

struct hash *hash_create(struct arena *arena, size_t max_entries)
{
	struct hash *h = ARENA_NEW(arena, struct hash);

	if (h == NULL)
		return NULL;
	h->slots = arena_array(arena, FIRST_SLOTS, sizeof(*h->slots));
	if (h->slots == NULL)
		return NULL;
	h->arena = arena;
	h->n_slots = FIRST_SLOTS;
	h->max_entries = max_entries;
	return h;
}

/* The slot that holds key, or the free one where it would stand. Some slot is always free. */
static size_t find(const struct hash *h, uint64_t hash, struct slice key)
{
	size_t mask = h->n_slots - 1, i = hash & mask;

	while (h->slots[i].entry != NULL &&
	       !(h->slots[i].hash == hash && slice_equal(h->slots[i].entry->key, key)))
		i = (i + 1) & mask;
	return i;
}

void *hash_get(const struct hash *h, struct slice key)
{
	const struct entry *e = h->slots[find(h, hash_octets(key), key)].entry;

	return e == NULL ? NULL : e->value;
}

/* Keeps a quarter of the slots free. The old array stays on the arena: all of them together
 * are not larger than the new one. */
static int grow(struct hash *h)
{
	struct slot *old = h->slots, *slots;
	size_t n_old = h->n_slots;

	if (h->count + 1 <= n_old / 4 * 3)
		return 0;
	if (n_old > SIZE_MAX / 2)
		return -ENOMEM;
	slots = arena_array(h->arena, 2 * n_old, sizeof(*slots));
	if (slots == NULL)
		return -ENOMEM;
	h->slots = slots;
	h->n_slots = 2 * n_old;
	for (size_t i = 0; i < n_old; i++)
		if (old[i].entry != NULL)
			h->slots[find(h, old[i].hash, old[i].entry->key)] = old[i];
	return 0;
}

/* Room is given in powers of two, so that reuse with ever longer keys stays bounded. */
static struct entry *make_entry(struct hash *h, struct slice key)
{
	struct entry *e = h->free_entries;

	if (e == NULL)
		e = ARENA_NEW(h->arena, struct entry);
	if (e == NULL)
		return NULL;
	if (e->room_size < key.len || e->room == NULL) {
		size_t size = 16;
		uint8_t *room;

		while (size < key.len && size <= SIZE_MAX / 2)
			size *= 2;
		if (size < key.len)
			size = key.len;
		room = arena_alloc(h->arena, size);
		if (room == NULL)
			return NULL;	/* a new entry stays unused on the arena: it is ending anyway */
		e->room = room;
		e->room_size = size;
	}
	if (e == h->free_entries)
		h->free_entries = e->next_free;
	if (key.len > 0)
		memcpy(e->room, key.ptr, key.len);
	e->key = slice_of(e->room, key.len);
	return e;
}

int hash_put(struct hash *h, struct slice key, void *value)
{
	uint64_t hash = hash_octets(key);
	size_t i = find(h, hash, key);
	struct entry *e;

	assert(value != NULL);	/* hash_get could not tell it from an absent one */
	if (h->slots[i].entry != NULL) {
		h->slots[i].entry->value = value;
		return 0;
	}
	if (h->count >= h->max_entries)
		return -ENOSPC;
	if (grow(h) < 0)
		return -ENOMEM;
	e = make_entry(h, key);
	if (e == NULL)
		return -ENOMEM;
	e->value = value;
	h->slots[find(h, hash, key)] = (struct slot){ hash, e };
	h->count++;
	return 0;
}

bool hash_remove(struct hash *h, struct slice key)
{
	size_t mask = h->n_slots - 1, hole = find(h, hash_octets(key), key);
	struct entry *e = h->slots[hole].entry;

	if (e == NULL)
		return false;
	e->value = NULL;
	e->next_free = h->free_entries;
	h->free_entries = e;
	h->count--;

	/* Move back what was pushed beyond the hole by it. */
	for (size_t i = (hole + 1) & mask; h->slots[i].entry != NULL; i = (i + 1) & mask) {
		size_t home = h->slots[i].hash & mask;

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			h->slots[hole] = h->slots[i];
			hole = i;
		}
	}
	h->slots[hole].entry = NULL;
	return true;
}

size_t hash_count(const struct hash *h)
{
	return h->count;
}

bool hash_next(const struct hash *h, size_t *pos, struct slice *key, void **value)
{
	for (; *pos < h->n_slots; ++*pos) {
		const struct entry *e = h->slots[*pos].entry;

		if (e == NULL)
			continue;
		*key = e->key;
		*value = e->value;
		++*pos;
		return true;
	}
	return false;
}
