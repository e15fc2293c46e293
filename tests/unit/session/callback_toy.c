/* SPDX-License-Identifier: Apache-2.0 */
#include "callback_toy.h"

#include <errno.h>

static const struct attribute toy_attributes[] = {
	{ .name = "limit", .type = ATTR_INT, .access = ATTR_CONFIG | ATTR_RUN_R,
	  .offset = offsetof(struct toy_config, limit), .min = 0, .max = 1000, .number = 10 },
	{ .name = "error_info", .type = ATTR_STRING, .access = ATTR_RUN | ATTR_HOME_RUN | ATTR_LINE,
	  .offset = offsetof(struct toy_run, error_info), .text = "" },
	{ .name = "count", .type = ATTR_INT, .access = ATTR_RUN | ATTR_HOME_RUN,
	  .offset = offsetof(struct toy_run, count), .min = 0, .max = 100 },
};

static const struct table_action toy_actions[] = {
	{ "ACCEPT", 1, 0, 0, false },
	{ "REJECT", 3, 0, 2, false },
	{ "POLICY", 6, 0, 0, true },
};

const struct policy_table toy_tables[] = {
	{ .name = "request", .key_parts = 1, .actions = toy_actions, .n_actions = ARRAY_LEN(toy_actions),
	  .offset = offsetof(struct toy_config, request) },
};

static int add_one(struct proxy *proxy, const struct call_value *args, size_t n_args, struct call_value *result)
{
	if (n_args != 1 || args[0].kind != CALL_INT)
		return -EBADMSG;
	*result = (struct call_value){ .kind = CALL_INT, .number = args[0].number + 1 };
	return 0;
}

struct policy_host *toy_host;

/* A native function that calls policy code, as the base method of an override does. */
static co_waits int calls_back(struct proxy *proxy, const struct call_value *args, size_t n_args,
			       struct call_value *result)
{
	int err = toy_host->call(toy_host, proxy, 3, NULL, args, n_args, result, co_now() + TOY_TIMEOUT_MS);

	if (err == 0)
		result->number += 100;
	return err;
}

static const struct hook toy_hooks[] = {
	{ .name = "addOne", .classes = "Toy", .arguments = "number", .native = add_one, .offset = SIZE_MAX },
	{ .name = "callsBack", .classes = "Toy", .arguments = "", .native = calls_back, .offset = SIZE_MAX },
	{ .name = "check", .classes = "Toy", .arguments = "text", .native = NULL,
	  .offset = offsetof(struct toy_config, check) },
};

static int toy_prepare(void *config, const struct policy *policy, struct arena *arena, struct policy_problems *problems)
{
	return 0;
}

const struct proxy_type toy = {
	.name = "toy", .attributes = toy_attributes, .n_attributes = ARRAY_LEN(toy_attributes), .tables = toy_tables,
	.n_tables = ARRAY_LEN(toy_tables), .hooks = toy_hooks, .n_hooks = ARRAY_LEN(toy_hooks),
	.config_size = sizeof(struct toy_config), .run_size = sizeof(struct toy_run), .prepare = toy_prepare,
};
