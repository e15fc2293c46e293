/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table from octets to pointers, on an arena. Keys are copied. SipHash with a random
 * key, since peers choose some of them. Grows by doubling up to max_entries.
 */
#ifndef SALLYPORT_BASE_HASH_H
#define SALLYPORT_BASE_HASH_H

#include "base/arena.h"

struct hash;

struct hash *hash_create(struct arena *arena, size_t max_entries);
void *hash_get(const struct hash *h, struct slice key);			/* NULL: absent */
int hash_put(struct hash *h, struct slice key, void *value);		/* not NULL; replaces; 0, -ENOMEM, -ENOSPC */
bool hash_remove(struct hash *h, struct slice key);
size_t hash_count(const struct hash *h);

/* Every entry, in no order; *pos starts at 0. false at the end. No put or remove meanwhile. */
bool hash_next(const struct hash *h, size_t *pos, struct slice *key, void **value);

uint64_t hash_octets(struct slice s);	/* keyed per process and what is forked from it */
uint64_t hash_siphash(const uint8_t key[16], struct slice s);	/* SipHash-2-4 */

#endif
