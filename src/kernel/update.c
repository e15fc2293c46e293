/* SPDX-License-Identifier: Apache-2.0 */
/* From one plan's rule set to another's where only addresses differ: elements taken out of sets and put in. */
#include "kernel/plan_priv.h"

#include <errno.h>

static bool spans_equal(const struct spans *a, const struct spans *b)
{
	return a->n == b->n && (a->n == 0 || memcmp(a->spans, b->spans, a->n * sizeof(*a->spans)) == 0);
}

static bool intercepts_equal(const struct intercept *a, const struct intercept *b)
{
	if (a->action != b->action || a->family != b->family || a->transport != b->transport || a->deny != b->deny ||
	    a->log != b->log || a->masquerade != b->masquerade || a->target != b->target || a->src != b->src || a->dst != b->dst)
		return false;
	for (int k = 0; k < DIM_COUNT; k++)
		if (!spans_equal(&a->dims[k], &b->dims[k]))
			return false;
	return true;
}

static bool targets_equal(const struct kernel_plan *a, const struct kernel_plan *b)
{
	for (size_t i = 0; i < a->n_targets && a->n_targets == b->n_targets; i++)
		if (!endpoint_equal(&a->targets[i], &b->targets[i]))
			return false;
	return a->n_targets == b->n_targets;
}

static bool only_sets_differ(const struct kernel_plan *a, const struct kernel_plan *b)
{
	if (!a->changing || !b->changing || a->n_intercepts != b->n_intercepts || a->n_sets != b->n_sets ||
	    a->n_names != b->n_names || (a->n_names > 0 && memcmp(a->names, b->names, a->n_names * sizeof(*a->names)) != 0))
		return false;
	if (!targets_equal(a, b))
		return false;
	for (size_t i = 0; i < a->n_intercepts; i++)
		if (!intercepts_equal(&a->intercepts[i], &b->intercepts[i]))
			return false;
	for (size_t i = 0; i < a->n_sets; i++)
		if (a->sets[i].family != b->sets[i].family)
			return false;
	return true;
}

static bool ranges_equal(const struct address_range *a, const struct address_range *b)
{
	return ip_equal(&a->first, &b->first) && ip_equal(&a->last, &b->last);
}

/* Ranges of a that b does not have; both ascend. */
static void render_missing(struct buffer *out, const char *verb, size_t number, const struct address_set *a, const struct address_set *b)
{
	const char *before = "";
	size_t k = 0;

	for (size_t i = 0; i < a->n_ranges; i++) {
		while (k < b->n_ranges && ip_compare(&b->ranges[k].first, &a->ranges[i].first) < 0)
			k++;
		if (k < b->n_ranges && ranges_equal(&a->ranges[i], &b->ranges[k]))
			continue;
		if (*before == '\0')
			buffer_printf(out, "%s element inet " KERNEL_TABLE " addresses_%zu { ", verb, number);
		buffer_printf(out, "%s", before);
		render_range(out, &a->ranges[i]);
		before = ", ";
	}
	if (*before != '\0')
		buffer_printf(out, " }\n");
}

int kernel_plan_render_update(const struct kernel_plan *from, const struct kernel_plan *to, struct buffer *out)
{
	if (!only_sets_differ(from, to))
		return -ENOTSUP;
	for (size_t i = 0; i < to->n_sets; i++) {
		render_missing(out, "delete", i, &from->sets[i], &to->sets[i]);
		render_missing(out, "add", i, &to->sets[i], &from->sets[i]);
	}
	return 0;
}
