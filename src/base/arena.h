/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arenas: memory that is freed together. A session has one, each transaction a child that is
 * reset when it ends, a loaded policy one for its whole life. What lives on an arena is never
 * freed singly.
 *
 * Every arena has a ceiling in octets, given where it is created and shared with its children
 * (a child's memory counts against its ancestors too). Over the ceiling, or out of memory, an
 * allocation returns NULL and errno is ENOMEM; the caller ends what it was doing.
 *
 * In sanitizer builds (SALLYPORT_ARENA_PIECES) each piece is a malloc of its own, so that
 * overruns and uses after a reset are found.
 */
#ifndef SALLYPORT_BASE_ARENA_H
#define SALLYPORT_BASE_ARENA_H

#include "base/slice.h"

#include <stdarg.h>

struct arena;

#define ARENA_WIPE 1u	/* for secrets: zero every piece before it is given back */

/* A root arena. NULL when out of memory. */
struct arena *arena_create(size_t ceiling, unsigned flags);

/* The same, with room for so many octets of pieces from the start: what is known to come then costs one
 * malloc and no slack. More than that may be taken, and less. */
struct arena *arena_create_for(size_t octets, size_t ceiling, unsigned flags);

/* An arena that ends with its parent at the latest. flags are added to the parent's. */
struct arena *arena_child(struct arena *parent, size_t ceiling, unsigned flags);

/* Aligned for any type, zeroed. n == 0 gives a valid pointer. */
void *arena_alloc(struct arena *arena, size_t n) __attribute__((malloc, warn_unused_result));

/* arena_alloc(count * size) that refuses an overflowing product. */
void *arena_array(struct arena *arena, size_t count, size_t size) __attribute__((warn_unused_result));

#define ARENA_NEW(arena, type) ((type *)arena_alloc(arena, sizeof(type)))

/* Copies. The slice form returns { NULL, 0 } when there is no memory (an empty one: ptr set). */
struct slice arena_copy(struct arena *arena, struct slice s) __attribute__((warn_unused_result));
char *arena_strdup(struct arena *arena, const char *text) __attribute__((warn_unused_result));
char *arena_cstr(struct arena *arena, struct slice s) __attribute__((warn_unused_result)); /* NULL also for a NUL inside */
char *arena_printf(struct arena *arena, const char *format, ...) __attribute__((format(printf, 2, 3), warn_unused_result));
char *arena_vprintf(struct arena *arena, const char *format, va_list ap) __attribute__((format(printf, 2, 0), warn_unused_result));

/*
 * Room for a text that is replaced again and again on an arena that is not reset meanwhile: each
 * value is written over the one before, so a slice of that one is good until the next call only.
 * It stays memory of the arena, though, and never holds less than it did. It grows by doubling:
 * with all that it outgrew it takes at most four times the longest value. Starts as { NULL, 0 }.
 */
struct arena_room {
	uint8_t *ptr;
	size_t octets;
};

/* n octets, with what was there before. NULL: no memory, and the room is as it was. */
void *arena_room_take(struct arena *arena, struct arena_room *room, size_t n) __attribute__((warn_unused_result));

/* The text goes there; it may stand in the room already. 0 and *out, or -ENOMEM. */
int arena_room_keep(struct arena *arena, struct arena_room *room, struct slice text, struct slice *out)
	__attribute__((warn_unused_result));

/*
 * Call fn(arg) when the arena is reset or freed, after its children ended; last in, first out.
 * fn must not allocate here. Returns 0 or -ENOMEM.
 */
int arena_defer(struct arena *arena, void (*fn)(void *), void *arg) __attribute__((warn_unused_result));

/* Octets handed out since the last reset, rounded up to alignment; children included, each with 1 KiB for itself. */
size_t arena_used(const struct arena *arena);

/* Give everything back but keep the arena (and its first block). Children end. */
void arena_reset(struct arena *arena);

/* Destroys; sets *arenap to NULL; accepts NULL in it. */
void arena_free(struct arena **arenap);

#endif
