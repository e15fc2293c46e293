/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Zones and rules: the input's octets choose a policy and flows; the engine must decide as the
 * slow evaluator does.
 */
#include "fuzz.h"
#include "policy/policy.h"
#include "../unit/policy/sample_type.h"
#include "../unit/policy/slow_decide.h"

static struct slice choices;

static unsigned choose(unsigned n)
{
	unsigned c;

	if (choices.len == 0)
		return 0;
	c = choices.ptr[0];
	choices = slice_skip(choices, 1);
	return c % n;
}

static void compare(const struct policy *policy, const struct slow_policy *slow)
{
	const struct slow_flow t = slow_flow_make(choose);
	const struct flow f = slow_flow_real(&t);
	const struct slow_rule *want;
	struct decision d;
	size_t n_best;

	want = slow_decide(slow, &t, &n_best);
	policy_decide(policy, NULL, &f, &d);
	FUZZ_CHECK((want == NULL) == (d.rule == NULL));
	FUZZ_CHECK((d.tie != NULL) == (n_best > 1));
	if (want != NULL)
		FUZZ_CHECK(d.rule->id == want->id && d.rule->instance == want->instance);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *arena = arena_create((size_t)64 << 20, 0);
	static struct slow_policy slow;
	const struct policy *policy = NULL;
	struct policy_problems problems;
	char *text;

	FUZZ_CHECK(arena != NULL);
	problems_init(&problems, arena);
	choices = slice_of(data, size);
	slow_policy_make(&slow, choose);
	text = slow_document(&slow);
	FUZZ_CHECK(policy_build(slice_cstr(text), &sample_registry, arena, &problems, &policy) == 0);
	for (unsigned i = 0; i < 200 && (i == 0 || choices.len > 0); i++)
		compare(policy, &slow);
	free(text);
	arena_free(&arena);
	return 0;
}
