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
