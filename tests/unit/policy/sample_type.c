/* SPDX-License-Identifier: Apache-2.0 */
#include "sample_type.h"

#define IN_CONFIG(m) offsetof(struct sample_config, m)
#define IN_RUN(m) offsetof(struct sample_run, m)

static const struct attribute attributes[] = {
	{ .name = "timeout", .type = ATTR_INT, .access = ATTR_CONFIG | ATTR_RUN_R | ATTR_RUN_W,
	  .offset = IN_CONFIG(timeout), .min = 1, .max = 1000, .number = 600, .doc = "Patience." },
	{ .name = "time_out", .alias_of = "timeout", .doc = "Old name." },
	{ .name = "strict", .type = ATTR_BOOL, .access = ATTR_CONFIG | ATTR_RUN_R, .offset = IN_CONFIG(strict),
	  .number = 1, .doc = "Strictness." },
	{ .name = "banner", .type = ATTR_STRING, .access = ATTR_CONFIG | ATTR_LINE, .offset = IN_CONFIG(banner),
	  .text = "hello", .doc = "Greeting." },
	{ .name = "domains", .type = ATTR_STRINGS, .access = ATTR_CONFIG, .offset = IN_CONFIG(domains), .doc = "Names." },
	{ .name = "zones", .type = ATTR_ZONES, .access = ATTR_CONFIG, .offset = IN_CONFIG(zones), .doc = "Zones." },
	{ .name = "matcher", .type = ATTR_MATCHER, .access = ATTR_CONFIG, .offset = IN_CONFIG(matcher), .doc = "Matcher." },
	{ .name = "stack", .type = ATTR_STACK, .access = ATTR_CONFIG, .doc = "Inspection." },
	{ .name = "ignored", .type = ATTR_INT, .access = ATTR_CONFIG | ATTR_NO_EFFECT, .number = 5, .doc = "Nothing." },
	{ .name = "code", .type = ATTR_INT, .access = ATTR_RUN | ATTR_HOME_RUN, .offset = IN_RUN(code), .number = 500,
	  .min = 200, .max = 599, .doc = "Reply code." },
	{ .name = "text", .type = ATTR_STRING, .access = ATTR_RUN | ATTR_HOME_RUN | ATTR_LINE, .offset = IN_RUN(text),
	  .text = "no", .doc = "Reply text." },
	{ .name = "words", .type = ATTR_STRINGS, .access = ATTR_RUN | ATTR_HOME_RUN, .offset = IN_RUN(words),
	  .doc = "Words." },
};

static const struct table_action actions[] = {
	{ "ACCEPT", SAMPLE_ACCEPT, 0, 0, false },
	{ "REJECT", SAMPLE_REJECT, 0, 2, false },
	{ "ABORT", SAMPLE_ABORT, 0, 2, false },
	{ "POLICY", SAMPLE_POLICY, 0, 0, true },
};

static const struct policy_table tables[] = {
	{ .name = "request", .key_parts = 1, .lookup = TABLE_EXACT, .actions = actions, .n_actions = ARRAY_LEN(actions),
	  .offset = IN_CONFIG(request), .doc = "Commands." },
	{ .name = "response", .key_parts = 2, .lookup = TABLE_VERB_CODE, .actions = actions,
	  .n_actions = ARRAY_LEN(actions), .offset = IN_CONFIG(response), .doc = "Replies." },
};

int sample_check_native(struct proxy *proxy, const struct call_value *args, size_t n_args, struct call_value *result)
{
	(void)proxy;
	(void)args;
	result->number = (int64_t)n_args;
	return 0;
}

static const struct hook hooks[] = {
	{ .name = "checkItAll", .classes = "SampleProxy", .arguments = "cmd param", .native = sample_check_native,
	  .offset = IN_CONFIG(check), .doc = "Checks." },
	{ .name = "sanitize", .classes = "SampleProxy", .arguments = "path", .native = sample_check_native,
	  .offset = SIZE_MAX, .doc = "Cleans." },
};

static int prepare(void *config, const struct policy *policy, struct arena *arena, struct policy_problems *problems)
{
	struct sample_config *c = config;

	(void)policy;
	(void)arena;
	c->prepared++;
	if (c->timeout == 666)
		problems_add(problems, PROBLEM_ERROR, (struct policy_place){ NULL, 0 }, NULL, "timeout of the beast");
	return 0;
}

const struct proxy_type sample_type = {
	.name = "sample", .attributes = attributes, .n_attributes = ARRAY_LEN(attributes), .tables = tables,
	.n_tables = ARRAY_LEN(tables), .hooks = hooks, .n_hooks = ARRAY_LEN(hooks),
	.config_size = sizeof(struct sample_config), .run_size = sizeof(struct sample_run), .prepare = prepare,
};

static const struct proxy_type *const types[] = { &sample_type, NULL };

const struct proxy_registry sample_registry = { types };
