/* SPDX-License-Identifier: Apache-2.0 */
#include "io/slab.h"

#include "io/switch_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#ifdef SWITCH_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102		/* Linux 6.13 */
#endif

void slab_init(struct slab *s, size_t piece, size_t guard, unsigned per_map, unsigned warm_max, unsigned ceiling)
{
	*s = (struct slab){ .piece = piece, .guard = guard, .per_map = per_map, .warm_max = warm_max,
			    .ceiling = ceiling };
}

static size_t map_octets(const struct slab *s)
{
	return s->per_map * (s->piece + s->guard) + s->guard;
}

/* A guard marker costs no mapping of its own; mprotect splits the map, which older kernels
 * count against vm.max_map_count (65530: some 32 000 stacks). */
static int install_guard(const struct slab *s, char *at)
{
	if (madvise(at, s->guard, MADV_GUARD_INSTALL) == 0)
		return 0;
	return mprotect(at, s->guard, PROT_NONE) < 0 ? -errno : 0;
}

static int install_guards(const struct slab *s, char *map)
{
	int err = 0;

	if (s->guard == 0)
		return 0;
	for (unsigned i = 0; i <= s->per_map && err == 0; i++)
		err = install_guard(s, map + i * (s->piece + s->guard));
	return err;
}

/* Grow one of the arrays; the old content stays whatever happens. */
static int grow(void ***array, unsigned count)
{
	void **bigger = reallocarray(*array, count, sizeof(**array));

	if (bigger == NULL)
		return -ENOMEM;
	*array = bigger;
	return 0;
}

static int add_map(struct slab *s)
{
	unsigned total = s->total + s->per_map;
	char *map;

	if (grow(&s->warm, total) < 0 || grow(&s->cold, total) < 0 || grow(&s->maps, s->n_maps + 1) < 0)
		return -ENOMEM;
	map = mmap(NULL, map_octets(s), PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (map == MAP_FAILED)
		return -ENOMEM;
	/* A huge page would give each idle session megabytes. Older kernels ignore MAP_STACK. */
	(void)madvise(map, map_octets(s), MADV_NOHUGEPAGE);
	if (install_guards(s, map) < 0) {
		munmap(map, map_octets(s));
		return -ENOMEM;
	}
	s->maps[s->n_maps++] = map;
	s->total = total;
	for (unsigned i = s->per_map; i-- > 0;) {
		char *piece = map + s->guard + i * (s->piece + s->guard);

		ASAN_POISON_MEMORY_REGION(piece, s->piece);
		s->cold[s->n_cold++] = piece;
	}
	return 0;
}

void *slab_get(struct slab *s)
{
	void *piece;

	if (s->in_use >= s->ceiling)
		return NULL;
	if (s->n_warm == 0 && s->n_cold == 0 && add_map(s) < 0)
		return NULL;
	piece = s->n_warm > 0 ? s->warm[--s->n_warm] : s->cold[--s->n_cold];
	s->in_use++;
	ASAN_UNPOISON_MEMORY_REGION(piece, s->piece);
	return piece;
}

void slab_put(struct slab *s, void *piece)
{
	assert(s->in_use > 0);
	s->in_use--;
	if (s->n_warm < s->warm_max) {
		s->warm[s->n_warm++] = piece;
	} else {
		(void)madvise(piece, s->piece, MADV_DONTNEED);
		s->cold[s->n_cold++] = piece;
	}
	ASAN_POISON_MEMORY_REGION(piece, s->piece);
}

void slab_release(struct slab *s)
{
	assert(s->in_use == 0);
	for (unsigned i = 0; i < s->n_maps; i++) {
		ASAN_UNPOISON_MEMORY_REGION(s->maps[i], map_octets(s));
		munmap(s->maps[i], map_octets(s));
	}
	free(s->maps);
	free(s->warm);
	free(s->cold);
	s->maps = s->warm = s->cold = NULL;
	s->total = s->n_maps = s->n_warm = s->n_cold = 0;
}

bool slab_in_guard(const struct slab *s, const void *address)
{
	for (unsigned i = 0; i < s->n_maps; i++) {
		uintptr_t offset = (uintptr_t)address - (uintptr_t)s->maps[i];

		if ((uintptr_t)address >= (uintptr_t)s->maps[i] && offset < map_octets(s))
			return offset % (s->piece + s->guard) < s->guard;
	}
	return false;
}
