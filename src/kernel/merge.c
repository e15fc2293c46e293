/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fewer, larger conjunctions. Rules that differ in one dimension only become one with the union
 * there, which changes nothing; where that is not enough, dimensions are dropped, which delivers
 * more flows to user space than rules can match (it then refuses them), never fewer. Except from lo:
 * rules that do not name it never apply there.
 */
#include "kernel/plan_priv.h"

#include <errno.h>
#include <stdlib.h>

int drafts_add(struct drafts *d, struct arena *scratch, const struct draft *draft)
{
	if (d->n == d->size) {
		size_t size = d->size == 0 ? 64 : d->size * 2;
		struct draft *v = arena_array(scratch, size, sizeof(*v));

		if (v == NULL)
			return -ENOMEM;
		if (d->n > 0)
			memcpy(v, d->v, d->n * sizeof(*v));
		d->v = v;
		d->size = size;
	}
	d->v[d->n++] = *draft;
	return 0;
}

/* Order by all numbers but those of the dimensions in the mask, so that what may join meets. */
static int compare_but(const struct draft *x, const struct draft *y, unsigned mask)
{
	for (int i = 0; i < KEY_COUNT; i++)
		if ((mask & (1u << i)) == 0 && x->key[i] != y->key[i])
			return x->key[i] < y->key[i] ? -1 : 1;
	return 0;
}

static int draft_order(const void *a, const void *b, void *mask)
{
	const struct draft *x = a, *y = b;
	int order = compare_but(x, y, *(const unsigned *)mask);

	return order != 0 ? order : compare_but(x, y, 0);
}

static int join_key(struct draft *into, const struct draft *v, size_t n, int key, struct pools *p)
{
	int32_t *numbers = arena_array(p->scratch, n, sizeof(*numbers));
	size_t distinct = 0;

	if (numbers == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (distinct == 0 || numbers[distinct - 1] != v[i].key[key])
			numbers[distinct++] = v[i].key[key];
	if (distinct == 1) {
		into->key[key] = numbers[0];
		return 0;
	}
	if (key == KEY_SRC || key == KEY_DST)
		return pools_set_union(p, numbers, distinct, &into->key[key]);
	return pools_spans_union(p, numbers, distinct, &into->key[key]);
}

/* Join every run of drafts that are equal outside the mask, with the union in each of it. */
static int join_runs(struct drafts *d, struct pools *p, unsigned mask)
{
	size_t kept = 0, end;
	int err = 0;

	if (d->n == 0)
		return 0;
	qsort_r(d->v, d->n, sizeof(*d->v), draft_order, &mask);
	for (size_t i = 0; err == 0 && i < d->n; i = end) {
		struct draft joined = d->v[i];

		for (end = i + 1; end < d->n && compare_but(&d->v[i], &d->v[end], mask) == 0; end++)
			;
		for (int key = 0; err == 0 && end - i > 1 && key < KEY_COUNT; key++)
			if (mask & (1u << key))
				err = join_key(&joined, &d->v[i], end - i, key, p);
		d->v[kept++] = joined;
	}
	d->n = kept;
	return err;
}

int drafts_merge(struct drafts *d, struct pools *p)
{
	static const int keys[] = { KEY_SRC, KEY_DST, DIM_DST_PORT, DIM_SRC_PORT, DIM_IFACE };
	size_t before;
	int err = 0;

	do {
		before = d->n;
		for (size_t i = 0; err == 0 && i < ARRAY_LEN(keys); i++)
			err = join_runs(d, p, 1u << keys[i]);
	} while (err == 0 && d->n < before);
	return err;
}

/* Does that number of spans name this interface, and no other? */
static bool names_interface(const struct pools *p, int32_t spans, uint32_t name, bool *alone)
{
	const struct spans *s = spans < 0 ? NULL : &p->spans[spans];

	for (size_t i = 0; s != NULL && i < s->n; i++)
		if (name >= s->spans[i].first && name <= s->spans[i].last) {
			*alone = s->n == 1 && s->spans[0].first == s->spans[0].last;
			return true;
		}
	return false;
}

/* The number of the spans that name lo alone; -1: no rule names it. */
static int loopback_spans(struct pools *p, uint32_t *name)
{
	for (size_t i = 0; i < p->n_names; i++)
		if (strcmp(p->names[i], "lo") == 0) {
			struct span one = { (uint32_t)i, (uint32_t)i };

			*name = one.first;
			return pools_spans(p, &one, 1);
		}
	return -1;
}

/*
 * What comes in through lo meets only conditions that name it: one that names nothing any more would not be met
 * there. So those that name lo are taken apart: for lo, and for the rest.
 */
static int take_loopback(struct drafts *d, struct pools *p, struct drafts *lo)
{
	static const int keys[] = { DIM_IFACE, DIM_DST_IFACE };
	uint32_t name = 0;
	int only = loopback_spans(p, &name), err = 0;
	size_t kept = 0;

	for (size_t i = 0; only >= 0 && err == 0 && i < d->n; i++) {
		struct draft copy = d->v[i];
		bool named = false, alone = false, nothing_else = false;

		for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
			if (!names_interface(p, copy.key[keys[k]], name, &alone))
				continue;
			copy.key[keys[k]] = only;
			named = true;
			nothing_else = nothing_else || alone;
		}
		if (named)
			err = drafts_add(lo, p->scratch, &copy);
		if (!nothing_else)
			d->v[kept++] = d->v[i];
	}
	if (only >= 0 && err == 0)
		d->n = kept;
	return only < -1 ? only : err;
}

static void drop_keys(struct drafts *d, unsigned mask)
{
	for (size_t i = 0; i < d->n; i++)
		for (int key = 0; key < KEY_COUNT; key++)
			if (mask & (1u << key))
				d->v[i].key[key] = -1;
}

/* kept: dimensions that stay as they are. */
static int widen(struct drafts *d, struct pools *p, size_t max, unsigned kept)
{
	/* What to let go first: what says least about which traffic is meant. */
	static const unsigned dropped[] = {
		1u << DIM_SRC_PORT,
		1u << DIM_IFACE | 1u << DIM_IFGROUP | 1u << DIM_REQID,
		1u << DIM_DST_IFACE | 1u << DIM_DST_IFGROUP,
	};
	static const unsigned joined[] = {
		1u << KEY_SRC | 1u << KEY_DST,
		1u << KEY_SRC | 1u << KEY_DST | 1u << DIM_DST_PORT,
	};
	int err = 0;

	for (size_t i = 0; err == 0 && d->n > max && i < ARRAY_LEN(dropped); i++) {
		drop_keys(d, dropped[i] & ~kept);
		err = drafts_merge(d, p);
	}
	for (size_t i = 0; err == 0 && d->n > max && i < ARRAY_LEN(joined); i++)
		err = join_runs(d, p, joined[i]);
	return err;
}

int drafts_limit(struct drafts *d, struct pools *p, size_t max, bool *widened)
{
	struct drafts lo = { NULL, 0, 0 };
	int err;

	if (d->n <= max)
		return 0;
	*widened = true;
	err = take_loopback(d, p, &lo);
	if (err == 0)
		err = widen(&lo, p, max, 1u << DIM_IFACE | 1u << DIM_DST_IFACE);
	if (err == 0)
		err = widen(d, p, max, 0);
	for (size_t i = 0; err == 0 && i < lo.n; i++)
		err = drafts_add(d, p->scratch, &lo.v[i]);
	return err;
}
