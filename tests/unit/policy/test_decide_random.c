/* SPDX-License-Identifier: Apache-2.0 */
/* The engine against the slow evaluator, on random policies and flows. */
#include "build.h"
#include "slow_decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define N_POLICIES 250
#define N_FLOWS 60		/* for each policy: 15000 decisions */

static unsigned seed;

static unsigned choose(unsigned n)
{
	return (unsigned)(rand_r(&seed) >> 4) % n;
}

static const struct policy *compile(struct arena *arena, const struct slow_policy *p)
{
	char *text = slow_document(p);
	const struct policy *policy = NULL;

	assert_string_equal(build_document(arena, slice_cstr(text), &policy), "");
	free(text);
	return policy;
}

static void both_evaluators_agree(void **state)
{
	unsigned n_matched = 0, n_ties = 0;

	(void)state;
	for (unsigned i = 0; i < N_POLICIES; i++) {
		struct arena *arena = arena_create((size_t)64 << 20, 0);
		static struct slow_policy p;
		const struct policy *policy;

		seed = 1000 + i;
		slow_policy_make(&p, choose);
		policy = compile(arena, &p);
		for (unsigned j = 0; j < N_FLOWS; j++) {
			const struct slow_flow t = slow_flow_make(choose);
			const struct flow f = slow_flow_real(&t);
			size_t n_best;
			const struct slow_rule *want = slow_decide(&p, &t, &n_best);
			struct decision d;

			policy_decide(policy, NULL, &f, &d);
			if ((want == NULL) != (d.rule == NULL) ||
			    (want != NULL && (d.rule->id != want->id || d.rule->instance != want->instance)))
				fail_msg("policy %u, flow %u: rule %u, must be %u", i, j, d.rule ? d.rule->id : 0,
					 want ? want->id : 0);
			assert_int_equal(d.tie != NULL, n_best > 1);
			n_matched += want != NULL;
			n_ties += n_best > 1;
		}
		arena_free(&arena);
	}
	/* The generator must not have made it too easy. */
	assert_in_range(n_matched, N_POLICIES * N_FLOWS / 10, N_POLICIES * N_FLOWS * 9 / 10);
	assert_true(n_ties > 200);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_evaluators_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
