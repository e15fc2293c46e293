/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A plan as octets, from the leader to the supervisor of the same program: fixed-size numbers,
 * least significant octet first. Counts stand before what they count; reading never allocates
 * more than the octets that are really there could fill.
 *
 *	"SPLAN004" widened changing names sets targets grants intercepts listens
 */
#include "base/octets.h"
#include "kernel/plan_priv.h"

#include <errno.h>

static const uint8_t magic[8] = "SPLAN004";

static void put_set(struct buffer *out, const struct address_set *set)
{
	octets_put_number(out, set->family, 1);
	octets_put_number(out, (uint32_t)set->n_ranges, 4);
	for (size_t i = 0; i < set->n_ranges; i++) {
		octets_put_address(out, &set->ranges[i].first);
		octets_put_address(out, &set->ranges[i].last);
	}
}

static void put_endpoint(struct buffer *out, const struct endpoint *at)
{
	octets_put_number(out, at->ip.family, 1);
	octets_put_address(out, &at->ip);
	octets_put_number(out, at->port, 2);
}

static void put_intercept(struct buffer *out, const struct intercept *c)
{
	octets_put_number(out, c->action, 1);
	octets_put_number(out, c->family, 1);
	octets_put_number(out, c->transport, 1);
	octets_put_number(out, c->deny, 1);
	octets_put_number(out, c->log ? 1 : 0, 1);
	octets_put_number(out, c->masquerade ? 1 : 0, 1);
	octets_put_number(out, (uint32_t)c->target, 4);
	octets_put_number(out, (uint32_t)c->src, 4);
	octets_put_number(out, (uint32_t)c->dst, 4);
	for (int k = 0; k < DIM_COUNT; k++) {
		octets_put_number(out, (uint32_t)c->dims[k].n, 4);
		for (size_t i = 0; i < c->dims[k].n; i++) {
			octets_put_number(out, c->dims[k].spans[i].first, 4);
			octets_put_number(out, c->dims[k].spans[i].last, 4);
		}
	}
}

int kernel_plan_pack(const struct kernel_plan *plan, struct buffer *out)
{
	buffer_append(out, slice_of(magic, sizeof(magic)));
	octets_put_number(out, plan->widened ? 1 : 0, 1);
	octets_put_number(out, plan->changing ? 1 : 0, 1);
	octets_put_number(out, (uint32_t)plan->n_names, 4);
	for (size_t i = 0; i < plan->n_names; i++)
		buffer_append(out, slice_of(plan->names[i], IFNAME_MAX));
	octets_put_number(out, (uint32_t)plan->n_sets, 4);
	for (size_t i = 0; i < plan->n_sets; i++)
		put_set(out, &plan->sets[i]);
	octets_put_number(out, (uint32_t)plan->n_targets, 4);
	for (size_t i = 0; i < plan->n_targets; i++)
		put_endpoint(out, &plan->targets[i]);
	octets_put_number(out, (uint32_t)plan->n_grants, 4);
	for (size_t i = 0; i < plan->n_grants; i++)
		put_intercept(out, &plan->grants[i]);
	octets_put_number(out, (uint32_t)plan->n_intercepts, 4);
	for (size_t i = 0; i < plan->n_intercepts; i++)
		put_intercept(out, &plan->intercepts[i]);
	octets_put_number(out, (uint32_t)plan->n_listens, 4);
	for (size_t i = 0; i < plan->n_listens; i++)
		put_endpoint(out, &plan->listens[i].at);
	return out->broken ? -ENOMEM : 0;
}

struct reader {
	struct octets_reader in;
	struct arena *arena;
	int err;		/* the first; everything read after it is zero */
};

static int fail(struct reader *r, int err)
{
	if (r->err == 0)
		r->err = err;
	r->in.bad = true;
	return r->err;
}

static uint32_t get(struct reader *r, size_t octets)
{
	uint32_t value = (uint32_t)octets_number(&r->in, octets);

	if (r->in.bad)
		fail(r, -EINVAL);
	return value;
}

static bool get_bool(struct reader *r)
{
	uint32_t value = get(r, 1);

	if (value > 1)
		fail(r, -EINVAL);
	return value == 1;
}

/* An array of as many as the next four octets say, each taking at least that many octets. */
static void *get_array(struct reader *r, size_t *n, size_t max, size_t octets_each, size_t size_each)
{
	size_t count = get(r, 4);
	void *array;

	*n = 0;
	if (r->err == 0 && (count > max || count > r->in.rest.len / octets_each))
		fail(r, -EINVAL);
	if (r->err != 0 || count == 0)
		return NULL;
	array = arena_array(r->arena, count, size_each);
	if (array == NULL) {
		fail(r, -ENOMEM);
		return NULL;
	}
	*n = count;
	return array;
}

static uint8_t get_family(struct reader *r)
{
	uint32_t family = get(r, 1);

	if (family != AF_INET && family != AF_INET6) {
		fail(r, -EINVAL);
		return AF_INET;
	}
	return (uint8_t)family;
}

static void get_address(struct reader *r, uint8_t family, struct ip_addr *out)
{
	octets_address(&r->in, family, out);
	if (r->in.bad)
		fail(r, -EINVAL);
}

static void get_endpoint(struct reader *r, struct endpoint *out)
{
	get_address(r, get_family(r), &out->ip);
	out->port = (uint16_t)get(r, 2);
}

static void get_set(struct reader *r, struct address_set *set)
{
	struct address_range *ranges;

	set->family = get_family(r);
	ranges = get_array(r, &set->n_ranges, KERNEL_RANGES_MAX, 2 * (set->family == AF_INET ? 4 : 16), sizeof(*ranges));
	for (size_t i = 0; r->err == 0 && i < set->n_ranges; i++) {
		get_address(r, set->family, &ranges[i].first);
		get_address(r, set->family, &ranges[i].last);
	}
	set->ranges = ranges;
}

static void get_intercept(struct reader *r, struct intercept *c)
{
	c->action = (uint8_t)get(r, 1);
	c->family = get_family(r);
	c->transport = (uint8_t)get(r, 1);
	c->deny = (uint8_t)get(r, 1);
	c->log = get_bool(r);
	c->masquerade = get_bool(r);
	c->target = (int32_t)get(r, 4);
	c->src = (int32_t)get(r, 4);
	c->dst = (int32_t)get(r, 4);
	for (int k = 0; k < DIM_COUNT; k++) {
		struct span *spans = get_array(r, &c->dims[k].n, KERNEL_SPANS_MAX, 8, sizeof(*spans));

		for (size_t i = 0; i < c->dims[k].n; i++) {
			spans[i].first = get(r, 4);
			spans[i].last = get(r, 4);
		}
		c->dims[k].spans = spans;
	}
}

static void get_names(struct reader *r, struct kernel_plan *plan)
{
	plan->names = get_array(r, &plan->n_names, KERNEL_NAMES_MAX, IFNAME_MAX, IFNAME_MAX);
	for (size_t i = 0; i < plan->n_names; i++) {
		struct slice name = octets_take(&r->in, IFNAME_MAX);

		if (name.len == IFNAME_MAX)
			memcpy(plan->names[i], name.ptr, IFNAME_MAX);
	}
}

static void get_sets(struct reader *r, struct kernel_plan *plan)
{
	struct address_set *sets = get_array(r, &plan->n_sets, KERNEL_RANGES_MAX, 5, sizeof(*sets));

	for (size_t i = 0; r->err == 0 && i < plan->n_sets; i++)
		get_set(r, &sets[i]);
	plan->sets = sets;
}

static void get_targets(struct reader *r, struct kernel_plan *plan)
{
	struct endpoint *all = get_array(r, &plan->n_targets, KERNEL_TARGETS_MAX, 7, sizeof(*all));

	for (size_t i = 0; r->err == 0 && i < plan->n_targets; i++)
		get_endpoint(r, &all[i]);
	plan->targets = all;
}

static const struct intercept *get_intercepts(struct reader *r, size_t *n, size_t max)
{
	struct intercept *all = get_array(r, n, max, 18 + 4 * DIM_COUNT, sizeof(*all));

	for (size_t i = 0; r->err == 0 && i < *n; i++)
		get_intercept(r, &all[i]);
	return all;
}

static void get_listens(struct reader *r, struct kernel_plan *plan)
{
	struct listen_address *all = get_array(r, &plan->n_listens, KERNEL_LISTENS_MAX, 7, sizeof(*all));

	for (size_t i = 0; r->err == 0 && i < plan->n_listens; i++)
		get_endpoint(r, &all[i].at);
	plan->listens = all;
}

int kernel_plan_unpack(struct slice octets, struct arena *arena, struct kernel_plan *out)
{
	struct reader r = { { octets, false }, arena, 0 };
	struct kernel_plan plan = { 0 };

	if (!slice_equal(octets_take(&r.in, sizeof(magic)), slice_of(magic, sizeof(magic))))
		return -EINVAL;
	plan.widened = get_bool(&r);
	plan.changing = get_bool(&r);
	get_names(&r, &plan);
	get_sets(&r, &plan);
	get_targets(&r, &plan);
	plan.grants = get_intercepts(&r, &plan.n_grants, KERNEL_GRANTS_MAX);
	plan.intercepts = get_intercepts(&r, &plan.n_intercepts, KERNEL_INTERCEPTS_MAX);
	get_listens(&r, &plan);
	if (r.err == 0 && (r.in.bad || r.in.rest.len > 0))
		fail(&r, -EINVAL);
	if (r.err == 0 && kernel_plan_check(&plan) < 0)
		fail(&r, -EINVAL);
	if (r.err == 0)
		*out = plan;
	return r.err;
}
