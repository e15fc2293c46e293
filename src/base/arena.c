/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pieces are cut from blocks that grow; a session that idles holds one small block. What makes
 * this hard are the ceilings: they count pieces, not blocks, so that a policy of one size fits
 * the same ceiling in every build, and they count a child's pieces in all its ancestors.
 */
#include "base/arena.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define FIRST_BLOCK 1024u		/* octets with all headers: what an idle arena costs */
#define LARGEST_BLOCK (64u * 1024u)	/* larger pieces get a block of their own */
#define ROOM_MIN 32u		/* what a short text takes at least, to grow in */
#define ALIGNMENT _Alignof(max_align_t)

/* A run of memory: many pieces, or one in the sanitizer build. */
struct block {
	struct block *next;		/* older */
	size_t size, used;		/* octets of data */
	_Alignas(max_align_t) uint8_t data[];
};

struct deferred {
	struct deferred *next;
	void (*fn)(void *);
	void *arg;
};

struct arena {
	struct arena *parent, *children, *next, **self;
	size_t ceiling, used;
	size_t own;			/* of used, what is not in children */
	size_t next_block;		/* octets */
	unsigned flags;
	struct block *blocks;		/* all but the one that the arena itself stands in */
	struct block *current;		/* where the next piece is cut from; unused in the sanitizer build */
	struct deferred *deferred;
};

static bool round_up(size_t n, size_t *out)
{
	if (__builtin_add_overflow(n, ALIGNMENT - 1, out))
		return false;
	*out &= ~(ALIGNMENT - 1);
	return true;
}

/* Count n octets in the arena and all above it; all or nothing. */
static bool charge(struct arena *arena, size_t n)
{
	for (const struct arena *a = arena; a != NULL; a = a->parent)
		if (n > a->ceiling - a->used)
			return false;
	for (struct arena *a = arena; a != NULL; a = a->parent)
		a->used += n;
	return true;
}

static void discharge(struct arena *arena, size_t n)
{
	for (struct arena *a = arena; a != NULL; a = a->parent)
		a->used -= n;
}

static struct block *block_create(size_t size)
{
	struct block *b = malloc(sizeof(*b) + size);

	if (b == NULL)
		return NULL;
	b->next = NULL;
	b->size = size;
	b->used = 0;
	return b;
}

static void block_free(struct block *b, unsigned flags)
{
	if (flags & ARENA_WIPE)
		explicit_bzero(b->data, b->used);
	free(b);
}

static void free_blocks(struct arena *arena)
{
	while (arena->blocks != NULL) {
		struct block *b = arena->blocks;

		arena->blocks = b->next;
		block_free(b, arena->flags);
	}
}

static struct block *add_block(struct arena *arena, size_t size)
{
	struct block *b = block_create(size);

	if (b == NULL)
		return NULL;
	b->next = arena->blocks;
	arena->blocks = b;
	return b;
}

#ifdef SALLYPORT_ARENA_PIECES

static struct arena *place_create(size_t octets)
{
	return calloc(1, sizeof(struct arena));
}

static void place_reset(struct arena *arena)
{
}

static void place_free(struct arena *arena)
{
	free(arena);
}

static void *cut_piece(struct arena *arena, size_t n, size_t rounded)
{
	struct block *b = add_block(arena, n);

	if (b == NULL)
		return NULL;
	b->used = n;
	return b->data;
}

#else

/* The arena stands at the start of its first block: one malloc for both. */
#define PLACE_OCTETS ((sizeof(struct arena) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT)

static struct block *first_block(struct arena *arena)
{
	return (struct block *)(void *)((uint8_t *)arena - offsetof(struct block, data));
}

static struct arena *place_create(size_t octets)
{
	size_t size = FIRST_BLOCK - sizeof(struct block);
	struct block *b;
	struct arena *arena;

	if (octets > LARGEST_BLOCK)
		octets = LARGEST_BLOCK;
	if (octets > size - PLACE_OCTETS)
		size = octets + PLACE_OCTETS;
	b = block_create(size);
	if (b == NULL)
		return NULL;
	arena = (struct arena *)(void *)b->data;
	*arena = (struct arena){ .current = b, .next_block = 2 * FIRST_BLOCK };
	b->used = PLACE_OCTETS;
	return arena;
}

static void place_reset(struct arena *arena)
{
	struct block *b = first_block(arena);

	if (arena->flags & ARENA_WIPE)
		explicit_bzero(b->data + PLACE_OCTETS, b->used - PLACE_OCTETS);
	b->used = PLACE_OCTETS;
	arena->current = b;
	arena->next_block = 2 * FIRST_BLOCK;
}

static void place_free(struct arena *arena)
{
	free(first_block(arena));
}

/* A block for a piece that the current one has no room for; it becomes the current one unless
 * the piece would fill most of it. */
static struct block *block_for(struct arena *arena, size_t n)
{
	struct block *b;

	if (n > arena->next_block / 2)
		return add_block(arena, n);
	b = add_block(arena, arena->next_block);
	if (b == NULL)
		return NULL;
	if (arena->next_block < LARGEST_BLOCK)
		arena->next_block *= 2;
	arena->current = b;
	return b;
}

static void *cut_piece(struct arena *arena, size_t n, size_t rounded)
{
	struct block *b = arena->current;
	void *piece;

	if (rounded > b->size - b->used)
		b = block_for(arena, rounded);
	if (b == NULL)
		return NULL;
	piece = b->data + b->used;
	b->used += rounded;
	return piece;
}

#endif

static struct arena *create(struct arena *parent, size_t octets, size_t ceiling, unsigned flags)
{
	struct arena *arena = place_create(octets);

	if (arena == NULL)
		return NULL;
	arena->parent = parent;
	arena->ceiling = ceiling;
	arena->flags = flags;
	return arena;
}

struct arena *arena_create(size_t ceiling, unsigned flags)
{
	return create(NULL, 0, ceiling, flags);
}

struct arena *arena_create_for(size_t octets, size_t ceiling, unsigned flags)
{
	return create(NULL, octets, ceiling, flags);
}

struct arena *arena_child(struct arena *parent, size_t ceiling, unsigned flags)
{
	struct arena *child;

	/* Children count too, or a loop that makes them would have no ceiling. */
	if (!charge(parent, FIRST_BLOCK)) {
		errno = ENOMEM;
		return NULL;
	}
	child = create(parent, 0, ceiling, flags | parent->flags);
	if (child == NULL) {
		discharge(parent, FIRST_BLOCK);
		return NULL;
	}
	child->next = parent->children;
	child->self = &parent->children;
	if (child->next != NULL)
		child->next->self = &child->next;
	parent->children = child;
	return child;
}

/* What is in it does not matter. */
static void *alloc_piece(struct arena *arena, size_t n)
{
	size_t rounded;
	void *piece;

	/* An empty piece takes room too: pointers to different pieces differ. */
	if (!round_up(n == 0 ? 1 : n, &rounded) || !charge(arena, rounded)) {
		errno = ENOMEM;
		return NULL;
	}
	piece = cut_piece(arena, n, rounded);
	if (piece == NULL) {
		discharge(arena, rounded);
		errno = ENOMEM;
		return NULL;
	}
	arena->own += rounded;
	return piece;
}

void *arena_alloc(struct arena *arena, size_t n)
{
	void *piece = alloc_piece(arena, n);

	return piece != NULL ? memset(piece, 0, n) : NULL;
}

void *arena_array(struct arena *arena, size_t count, size_t size)
{
	size_t n;

	if (__builtin_mul_overflow(count, size, &n)) {
		errno = ENOMEM;
		return NULL;
	}
	return arena_alloc(arena, n);
}

struct slice arena_copy(struct arena *arena, struct slice s)
{
	uint8_t *copy = alloc_piece(arena, s.len);

	if (copy == NULL)
		return (struct slice){ NULL, 0 };
	if (s.len > 0)
		memcpy(copy, s.ptr, s.len);
	return slice_of(copy, s.len);
}

void *arena_room_take(struct arena *arena, struct arena_room *room, size_t n)
{
	size_t octets = room->octets < SIZE_MAX / 2 ? room->octets * 2 : SIZE_MAX;
	uint8_t *ptr;

	if (room->ptr != NULL && room->octets >= n)
		return room->ptr;
	if (octets < n)
		octets = n;
	if (octets < ROOM_MIN)
		octets = ROOM_MIN;
	ptr = arena_alloc(arena, octets);
	if (ptr == NULL)
		return NULL;
	if (room->octets > 0)
		memcpy(ptr, room->ptr, room->octets);
	*room = (struct arena_room){ ptr, octets };
	return ptr;
}

int arena_room_keep(struct arena *arena, struct arena_room *room, struct slice text, struct slice *out)
{
	uint8_t *ptr = arena_room_take(arena, room, text.len);

	if (ptr == NULL)
		return -ENOMEM;
	if (text.len > 0)
		memmove(ptr, text.ptr, text.len);
	*out = slice_of(ptr, text.len);
	return 0;
}

char *arena_strdup(struct arena *arena, const char *text)
{
	return arena_cstr(arena, slice_cstr(text));
}

char *arena_cstr(struct arena *arena, struct slice s)
{
	char *text;

	if (slice_index(s, '\0') != s.len) {
		errno = EINVAL;
		return NULL;
	}
	if (s.len == SIZE_MAX) {
		errno = ENOMEM;
		return NULL;
	}
	text = arena_alloc(arena, s.len + 1);
	if (text != NULL && s.len > 0)
		memcpy(text, s.ptr, s.len);
	return text;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
	char *text;
	va_list ap;

	va_start(ap, format);
	text = arena_vprintf(arena, format, ap);
	va_end(ap);
	return text;
}

char *arena_vprintf(struct arena *arena, const char *format, va_list ap)
{
	va_list measure;
	char *text;
	int n;

	va_copy(measure, ap);
	n = vsnprintf(NULL, 0, format, measure);
	va_end(measure);
	if (n < 0) {
		errno = ENOMEM;
		return NULL;
	}
	text = arena_alloc(arena, (size_t)n + 1);
	if (text != NULL)
		vsnprintf(text, (size_t)n + 1, format, ap);
	return text;
}

int arena_defer(struct arena *arena, void (*fn)(void *), void *arg)
{
	struct deferred *d = ARENA_NEW(arena, struct deferred);

	if (d == NULL)
		return -ENOMEM;
	d->fn = fn;
	d->arg = arg;
	d->next = arena->deferred;
	arena->deferred = d;
	return 0;
}

size_t arena_used(const struct arena *arena)
{
	return arena->used;
}

void arena_reset(struct arena *arena)
{
	/* Children first: they may refer to what was there before them. */
	while (arena->children != NULL) {
		struct arena *child = arena->children;

		arena_free(&child);
	}
	while (arena->deferred != NULL) {
		struct deferred *d = arena->deferred;

		arena->deferred = d->next;
		d->fn(d->arg);
	}
	assert(arena->children == NULL);
	free_blocks(arena);
	place_reset(arena);
	discharge(arena, arena->own);
	arena->own = 0;
	assert(arena->used == 0);
}

void arena_free(struct arena **arenap)
{
	struct arena *arena = *arenap;

	if (arena == NULL)
		return;
	*arenap = NULL;
	arena_reset(arena);
	if (arena->parent != NULL) {
		*arena->self = arena->next;
		if (arena->next != NULL)
			arena->next->self = arena->self;
		discharge(arena->parent, FIRST_BLOCK);
	}
	place_free(arena);
}
