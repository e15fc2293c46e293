/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel_test.h"

#include <stdio.h>

static const struct proxy_type plug = { .name = "plug", .config_size = 1, .run_size = 1 };
static const struct proxy_type *const types[] = { &plug, NULL };
static const struct proxy_registry registry = { types };

static const char head[] =
	"{\"format\":\"sallyport-policy\",\"version\":1,\"files\":[\"policy.py\"],\"options\":{},"
	"\"instances\":[\"default_instance\"],\"callbacks\":0,"
	"\"configs\":[{\"proxy\":\"plug\",\"class\":\"PlugProxy\",\"class_number\":-1,\"per_session\":false,"
	"\"at\":[0,1],\"attributes\":{},\"tables\":{},\"hooks\":{}}],"
	"\"services\":["
	"{\"name\":\"svc\",\"kind\":\"proxy\",\"at\":[0,1],\"config\":0,\"router\":{\"type\":\"transparent\",\"forced_port\":0,"
	"\"forge_addr\":false,\"forge_port\":-1,\"overrideable\":false},\"chainer\":{\"type\":\"connect\",\"protocol\":0,"
	"\"timeout_connect\":30000},\"max_instances\":0,\"keepalive\":0,\"limit_target_zones_to\":[]},"
	"{\"name\":\"drop\",\"kind\":\"deny\",\"at\":[0,2],\"logging\":false,\"ipv4_setting\":0,\"ipv6_setting\":0},"
	"{\"name\":\"reset\",\"kind\":\"deny\",\"at\":[0,3],\"logging\":false,\"ipv4_setting\":1,\"ipv6_setting\":1},"
	"{\"name\":\"unreachable\",\"kind\":\"deny\",\"at\":[0,4],\"logging\":true,\"ipv4_setting\":8,\"ipv6_setting\":2},"
	"{\"name\":\"forward\",\"kind\":\"pf\",\"at\":[0,5],\"router\":{\"type\":\"transparent\",\"forced_port\":0,"
	"\"forge_addr\":true,\"forge_port\":-1,\"overrideable\":false}},"
	"{\"name\":\"forward_to\",\"kind\":\"pf\",\"at\":[0,6],\"router\":{\"type\":\"directed\",\"targets\":[[\"192.0.2.1\",8080]],"
	"\"forge_addr\":false,\"forge_port\":-1,\"overrideable\":false}}],";

const struct policy *policy_of(struct arena *arena, const char *zones, const char *rules)
{
	struct policy_problems problems;
	const struct policy *policy = NULL;
	const char *text = arena_printf(arena, "%s\"zones\":[%s],\"rules\":[%s]}", head, zones, rules);
	int err;

	assert_non_null(text);
	problems_init(&problems, arena);
	err = policy_build(slice_cstr(text), &registry, arena, &problems, &policy);
	for (const struct policy_problem *p = problems.first; p != NULL; p = p->next)
		fprintf(stderr, "# %s\n", p->message);
	assert_int_equal(err, 0);
	return policy;
}

static bool in_set(const struct kernel_plan *plan, int32_t set, const struct ip_addr *ip)
{
	if (set < 0)
		return true;
	for (size_t i = 0; i < plan->sets[set].n_ranges; i++)
		if (memcmp(ip->octets, plan->sets[set].ranges[i].first.octets, 16) >= 0 &&
		    memcmp(ip->octets, plan->sets[set].ranges[i].last.octets, 16) <= 0)
			return true;
	return false;
}

static bool in_spans(const struct spans *s, uint32_t value)
{
	for (size_t i = 0; i < s->n; i++)
		if (value >= s->spans[i].first && value <= s->spans[i].last)
			return true;
	return s->n == 0;
}

static bool in_names(const struct kernel_plan *plan, const struct spans *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		for (uint32_t k = s->spans[i].first; k <= s->spans[i].last; k++)
			if (strcmp(plan->names[k], name) == 0)
				return true;
	return s->n == 0;
}

static bool intercept_matches(const struct kernel_plan *plan, const struct intercept *c, const struct flow *f)
{
	unsigned transport = f->protocol == 6 ? TRANSPORT_TCP : f->protocol == 17 ? TRANSPORT_UDP : TRANSPORT_OTHER;

	if (c->family != f->src.ip.family || c->transport != transport)
		return false;
	if (!in_set(plan, c->src, &f->src.ip) || !in_set(plan, c->dst, &f->dst.ip))
		return false;
	if (!in_names(plan, &c->dims[DIM_IFACE], f->iface) || !in_names(plan, &c->dims[DIM_DST_IFACE], f->dst_iface))
		return false;
	if (!in_spans(&c->dims[DIM_IFGROUP], (uint32_t)f->ifgroup) || !in_spans(&c->dims[DIM_DST_IFGROUP], (uint32_t)f->dst_ifgroup))
		return false;
	if (!in_spans(&c->dims[DIM_REQID], (uint32_t)f->reqid) || !in_spans(&c->dims[DIM_PROTOCOL], f->protocol))
		return false;
	if (!in_spans(&c->dims[DIM_ICMP_TYPE], (uint32_t)f->icmp_type) || !in_spans(&c->dims[DIM_ICMP_CODE], (uint32_t)f->icmp_code))
		return false;
	return transport == TRANSPORT_OTHER ||
	       (in_spans(&c->dims[DIM_SRC_PORT], f->src.port) && in_spans(&c->dims[DIM_DST_PORT], f->dst.port));
}

const struct intercept *plan_fate(const struct kernel_plan *plan, const struct flow *flow)
{
	for (size_t i = 0; i < plan->n_intercepts; i++)
		if (intercept_matches(plan, &plan->intercepts[i], flow))
			return &plan->intercepts[i];
	return NULL;
}

char *render(struct arena *arena, const struct kernel_plan *plan)
{
	struct buffer out = BUFFER_INIT(64u << 20);
	char *text;

	kernel_plan_render(plan, 50080, 50081, &out);
	assert_false(out.broken);
	text = arena_cstr(arena, buffer_slice(&out));
	buffer_release(&out);
	assert_non_null(text);
	return text;
}
