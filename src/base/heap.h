/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A binary min-heap of intrusive nodes, ordered by a 64-bit key: the timers. A node knows its
 * place, so that it can be removed or moved in O(log n).
 */
#ifndef SALLYPORT_BASE_HEAP_H
#define SALLYPORT_BASE_HEAP_H

#include "base/attributes.h"

#include <stddef.h>
#include <stdint.h>

struct heap_node {
	int64_t key;
	size_t place;		/* index + 1; 0 = in no heap */
};

struct heap {
	struct heap_node **nodes;
	size_t count, size;
};

int heap_insert(struct heap *h, struct heap_node *node, int64_t key) MUST_CHECK;	/* 0, -ENOMEM */
void heap_remove(struct heap *h, struct heap_node *node);	/* fine when it is in none */
struct heap_node *heap_first(const struct heap *h);		/* NULL: empty */
void heap_release(struct heap *h);

#endif
