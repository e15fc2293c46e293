/* SPDX-License-Identifier: Apache-2.0 */
/* Address sets, spans and interface names, each content kept once. */
#include "kernel/plan_priv.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define NUMBERS_MAX (1u << 20)

int pools_init(struct pools *p, struct arena *arena, struct arena *scratch)
{
	*p = (struct pools){ .arena = arena, .scratch = scratch };
	p->set_numbers = hash_create(scratch, NUMBERS_MAX);
	p->span_numbers = hash_create(scratch, NUMBERS_MAX);
	p->name_numbers = hash_create(scratch, KERNEL_NAMES_MAX);
	return p->set_numbers == NULL || p->span_numbers == NULL || p->name_numbers == NULL ? -ENOMEM : 0;
}

int pools_excess(struct pools *p, size_t max, const char *what, const char *remedy)
{
	p->excess = (struct kernel_excess){ .max = max, .remedy = remedy };
	snprintf(p->excess.what, sizeof(p->excess.what), "%s", what);
	return -E2BIG;
}

/* Room for one more in an array on the arena. */
static int grow(struct arena *arena, void *arrayp, size_t n, size_t *size, size_t each)
{
	void **array = arrayp, *bigger;

	if (n < *size)
		return 0;
	bigger = arena_array(arena, *size == 0 ? 8 : *size * 2, each);
	if (bigger == NULL)
		return -ENOMEM;
	if (n > 0)
		memcpy(bigger, *array, n * each);
	*array = bigger;
	*size = *size == 0 ? 8 : *size * 2;
	return 0;
}

/* Numbers are kept in the hash plus one, since NULL means absent. */
static int32_t known(const struct hash *numbers, struct slice content)
{
	return (int32_t)(intptr_t)hash_get(numbers, content) - 1;
}

static int number(struct pools *p, struct hash *numbers, struct slice content, size_t n)
{
	int err = hash_put(numbers, content, (void *)(intptr_t)(n + 1));

	if (err == -ENOSPC)
		return pools_excess(p, NUMBERS_MAX, "different sets of addresses or ports", "fewer different ones in rules, or wider ones");
	return err < 0 ? err : (int)n;
}

static int range_order(const void *a, const void *b)
{
	const struct address_range *x = a, *y = b;

	return ip_compare(&x->first, &y->first);
}

static size_t join_ranges(struct address_range *v, size_t n)
{
	size_t kept = 0;

	qsort(v, n, sizeof(*v), range_order);
	for (size_t i = 1; i < n; i++) {
		struct ip_addr after = v[kept].last;

		if (!ip_next(&after) || ip_compare(&v[i].first, &after) <= 0) {
			if (ip_compare(&v[i].last, &v[kept].last) > 0)
				v[kept].last = v[i].last;
		} else {
			v[++kept] = v[i];
		}
	}
	return kept + 1;
}

int pools_set(struct pools *p, struct address_range *ranges, size_t n)
{
	struct slice content, copy;
	int32_t old;

	n = join_ranges(ranges, n);
	if (n == 1 && range_is_all(&ranges[0]))
		return -1;
	content = slice_of(ranges, n * sizeof(*ranges));
	old = known(p->set_numbers, content);
	if (old >= 0)
		return old;
	if (p->n_ranges + n > KERNEL_RANGES_MAX)
		return pools_excess(p, KERNEL_RANGES_MAX, "ranges of addresses", "wider subnets in zones and rules");
	copy = arena_copy(p->arena, content);
	if (copy.ptr == NULL || grow(p->arena, &p->sets, p->n_sets, &p->size_sets, sizeof(*p->sets)) < 0)
		return -ENOMEM;
	p->n_ranges += n;
	p->sets[p->n_sets] = (struct address_set){ ranges[0].first.family, (const void *)copy.ptr, n };
	return number(p, p->set_numbers, content, p->n_sets++);
}

static int span_order(const void *a, const void *b)
{
	const struct span *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

static size_t join_spans(struct span *v, size_t n)
{
	size_t kept = 0;

	qsort(v, n, sizeof(*v), span_order);
	for (size_t i = 1; i < n; i++) {
		if (v[kept].last == UINT32_MAX || v[i].first <= v[kept].last + 1) {
			if (v[i].last > v[kept].last)
				v[kept].last = v[i].last;
		} else {
			v[++kept] = v[i];
		}
	}
	return kept + 1;
}

int pools_spans(struct pools *p, struct span *spans, size_t n)
{
	struct slice content, copy;
	int32_t old;

	n = join_spans(spans, n);
	content = slice_of(spans, n * sizeof(*spans));
	old = known(p->span_numbers, content);
	if (old >= 0)
		return old;
	/* Spans need the alignment that only arena_array promises. */
	copy = slice_of(arena_array(p->arena, n, sizeof(*spans)), content.len);
	if (copy.ptr == NULL || grow(p->arena, &p->spans, p->n_spans, &p->size_spans, sizeof(*p->spans)) < 0)
		return -ENOMEM;
	memcpy((void *)(uintptr_t)copy.ptr, spans, content.len);
	p->spans[p->n_spans] = (struct spans){ (const void *)copy.ptr, n };
	return number(p, p->span_numbers, content, p->n_spans++);
}

int pools_name(struct pools *p, const char *name)
{
	struct slice content = slice_cstr(name);
	int32_t old = known(p->name_numbers, content);

	if (old >= 0)
		return old;
	if (content.len >= IFNAME_MAX)
		return -EINVAL;
	if (p->n_names >= KERNEL_NAMES_MAX)
		return pools_excess(p, KERNEL_NAMES_MAX, "names of interfaces in rules", "groups of interfaces (ifgroup)");
	if (grow(p->arena, &p->names, p->n_names, &p->size_names, sizeof(*p->names)) < 0)
		return -ENOMEM;
	memset(p->names[p->n_names], 0, IFNAME_MAX);
	memcpy(p->names[p->n_names], name, content.len);
	return number(p, p->name_numbers, content, p->n_names++);
}

int pools_set_union(struct pools *p, const int32_t *numbers, size_t n, int32_t *out)
{
	struct range_list list = { NULL, 0, 0 };
	int err = 0;

	for (size_t i = 0; i < n; i++)
		if (numbers[i] < 0) {
			*out = -1;
			return 0;
		}
	for (size_t i = 0; err == 0 && i < n; i++) {
		const struct address_set *set = &p->sets[numbers[i]];

		for (size_t k = 0; err == 0 && k < set->n_ranges; k++)
			err = range_list_add(&list, p->scratch, &set->ranges[k]);
	}
	if (err < 0)
		return err;
	err = pools_set(p, list.v, list.n);
	if (err < -1)
		return err;
	*out = err;
	return 0;
}

int pools_set_intersection(struct pools *p, int32_t a, int32_t b, int32_t *out)
{
	struct range_list list = { NULL, 0, 0 };
	const struct address_set *x, *y;
	size_t i = 0, k = 0;
	int err = 0;

	if (a < 0 || b < 0) {
		*out = a < 0 ? b : a;
		return 0;
	}
	x = &p->sets[a];
	y = &p->sets[b];
	while (err == 0 && i < x->n_ranges && k < y->n_ranges) {
		const struct address_range *r = &x->ranges[i], *s = &y->ranges[k];
		struct address_range common = {
			ip_compare(&r->first, &s->first) > 0 ? r->first : s->first,
			ip_compare(&r->last, &s->last) < 0 ? r->last : s->last,
		};

		if (ip_compare(&common.first, &common.last) <= 0)
			err = range_list_add(&list, p->scratch, &common);
		if (ip_compare(&r->last, &s->last) < 0)
			i++;
		else
			k++;
	}
	if (err == 0 && list.n == 0)
		err = -ENODATA;
	if (err < 0)
		return err;
	err = pools_set(p, list.v, list.n);
	if (err < -1)
		return err;
	*out = err;
	return 0;
}

int pools_spans_union(struct pools *p, const int32_t *numbers, size_t n, int32_t *out)
{
	struct span *v;
	size_t total = 0, used = 0;
	int err;

	for (size_t i = 0; i < n; i++) {
		if (numbers[i] < 0) {
			*out = -1;
			return 0;
		}
		total += p->spans[numbers[i]].n;
	}
	v = arena_array(p->scratch, total, sizeof(*v));
	if (v == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < p->spans[numbers[i]].n; k++)
			v[used++] = p->spans[numbers[i]].spans[k];
	err = pools_spans(p, v, used);
	if (err < 0)
		return err;
	*out = err;
	return 0;
}
