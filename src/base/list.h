/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists whose members hold their own place in it, so that nothing is allocated and any of them can
 * leave at any time. All zero is an empty list. A member may be in as many as it has places.
 */
#ifndef SALLYPORT_BASE_LIST_H
#define SALLYPORT_BASE_LIST_H

#include <stddef.h>

/* A place in a list: part of the member. */
struct list_node {
	struct list_node *next, *prev;
};

struct list {
	struct list_node *first, *last;
	unsigned n;			/* members */
};

/* Not one that is in a list already. */
static inline void list_add_first(struct list *list, struct list_node *node)
{
	*node = (struct list_node){ .next = list->first };
	*(list->first != NULL ? &list->first->prev : &list->last) = node;
	list->first = node;
	list->n++;
}

/* One that is in this list. */
static inline void list_remove(struct list *list, struct list_node *node)
{
	*(node->prev != NULL ? &node->prev->next : &list->first) = node->next;
	*(node->next != NULL ? &node->next->prev : &list->last) = node->prev;
	*node = (struct list_node){ 0 };
	list->n--;
}

/* The member that a place is part of; NULL stays NULL. */
#define LIST_ITEM(pointer, type, member) \
	((pointer) == NULL ? NULL : (type *)(void *)((char *)(pointer) - offsetof(type, member)))

/* From first to last; item must not leave the list meanwhile. */
#define LIST_EACH(item, list, type, member) \
	for (type *item = LIST_ITEM((list)->first, type, member); item != NULL; \
	     item = LIST_ITEM(item->member.next, type, member))

#endif
