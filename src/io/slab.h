/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Equal pieces of page-aligned memory, for coroutine stacks and stream buffers. Pieces are
 * carved from mapped slabs, reused last in first out while they are warm, and beyond a bounded
 * number of warm ones their pages are given back to the kernel, so that memory falls again
 * after a peak. All bookkeeping stands outside of the pieces: a free piece touches no page.
 *
 * With guard octets, an inaccessible gap lies below each piece (and above the last of a slab).
 */
#ifndef SALLYPORT_IO_SLAB_H
#define SALLYPORT_IO_SLAB_H

#include "base/attributes.h"

#include <stdbool.h>
#include <stddef.h>

struct slab {
	size_t piece, guard;		/* octets, whole pages */
	unsigned per_map, warm_max, ceiling;
	unsigned in_use, total;
	void **warm, **cold;		/* room for total each, so that giving back never fails */
	unsigned n_warm, n_cold;
	void **maps;
	unsigned n_maps;
};

void slab_init(struct slab *s, size_t piece, size_t guard, unsigned per_map, unsigned warm_max, unsigned ceiling);
void *slab_get(struct slab *s) MUST_CHECK;	/* contents undefined; NULL: no memory, or the ceiling */
void slab_put(struct slab *s, void *piece);
void slab_release(struct slab *s);		/* everything; no piece may be in use */

/* Does the address lie in a guard? Async-signal-safe. */
bool slab_in_guard(const struct slab *s, const void *address);

#endif
