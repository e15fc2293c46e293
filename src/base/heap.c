/* SPDX-License-Identifier: Apache-2.0 */
#include "base/heap.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define FIRST_SIZE 64u

static void put(struct heap *h, size_t i, struct heap_node *node)
{
	h->nodes[i] = node;
	node->place = i + 1;
}

/* node stands at i or nearer to the root. */
static void sift_up(struct heap *h, size_t i, struct heap_node *node)
{
	while (i > 0) {
		size_t parent = (i - 1) / 2;

		if (h->nodes[parent]->key <= node->key)
			break;
		put(h, i, h->nodes[parent]);
		i = parent;
	}
	put(h, i, node);
}

/* node stands at i or further from the root. */
static void sift_down(struct heap *h, size_t i, struct heap_node *node)
{
	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= h->count)
			break;
		if (child + 1 < h->count && h->nodes[child + 1]->key < h->nodes[child]->key)
			child++;
		if (node->key <= h->nodes[child]->key)
			break;
		put(h, i, h->nodes[child]);
		i = child;
	}
	put(h, i, node);
}

int heap_insert(struct heap *h, struct heap_node *node, int64_t key)
{
	assert(node->place == 0);
	if (h->count == h->size) {
		size_t size = h->size == 0 ? FIRST_SIZE : 2 * h->size;
		struct heap_node **nodes = reallocarray(h->nodes, size, sizeof(*nodes));

		if (nodes == NULL)
			return -ENOMEM;
		h->nodes = nodes;
		h->size = size;
	}
	node->key = key;
	h->count++;
	sift_up(h, h->count - 1, node);
	return 0;
}

void heap_remove(struct heap *h, struct heap_node *node)
{
	size_t i = node->place - 1;
	struct heap_node *last;

	if (node->place == 0)
		return;
	assert(i < h->count && h->nodes[i] == node);
	node->place = 0;
	last = h->nodes[--h->count];
	if (last == node)
		return;
	if (i > 0 && h->nodes[(i - 1) / 2]->key > last->key)
		sift_up(h, i, last);
	else
		sift_down(h, i, last);
}

struct heap_node *heap_first(const struct heap *h)
{
	return h->count == 0 ? NULL : h->nodes[0];
}

void heap_release(struct heap *h)
{
	for (size_t i = 0; i < h->count; i++)
		h->nodes[i]->place = 0;
	free(h->nodes);
	*h = (struct heap){ 0 };
}
