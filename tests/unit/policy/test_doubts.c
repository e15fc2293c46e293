/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that can never win: by hand, and on random policies, where the slow evaluator must never
 * choose one. Zones and services in tests/cli/test_check.py. */
#include "build.h"
#include "base/buffer.h"
#include "policy/doubts.h"
#include "policy/shadow.h"
#include "slow_decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define ZONES "[{\"name\":\"all\",\"addrs\":[\"10.0.0.0/8\"]},{\"name\":\"part\",\"addrs\":[\"10.1.0.0/16\"],\"parent\":0}," \
	      "{\"name\":\"other\",\"addrs\":[\"10.2.0.0/16\"]}]"
#define EVERYWHERE "[\"0.0.0.0/0\",\"::/0\"]"

/* Members of the rules 1 and 2; who never wins (0: nobody), and whether they are the same. */
static const struct { const char *one, *two; unsigned never; bool same; } pairs[] = {
	{ "", "", 2, true },
	{ ",\"dst_port\":[[25,25]]", ",\"dst_port\":[[25,25]]", 2, true },
	{ ",\"dst_port\":[[25,25],[80,80]]", ",\"dst_port\":[[80,80],[25,25]]", 2, true },
	{ ",\"dst_port\":[[25,25]]", ",\"dst_port\":[[26,26]]", 0, false },
	{ ",\"dst_port\":[[25,25]]", "", 0, false },
	{ "", ",\"dst_port\":[[25,25]]", 0, false },
	/* of lists, the longer one */
	{ ",\"dst_port\":[[25,25],[80,80]]", ",\"dst_port\":[[25,25]]", 2, false },
	{ ",\"dst_port\":[[25,25]]", ",\"dst_port\":[[25,25],[80,80]]", 0, false },
	{ ",\"proto\":[6,17]", ",\"proto\":[6]", 2, false },
	{ ",\"proto\":[6]", ",\"proto\":[6,17]", 0, false },
	{ ",\"iface\":[\"a\",\"b\"]", ",\"iface\":[\"b\"]", 2, false },
	{ ",\"iface\":[\"a\"],\"ifgroup\":[3]", ",\"iface\":[\"a\"]", 2, false },
	{ ",\"ifgroup\":[3]", ",\"iface\":[\"a\"]", 0, false },
	{ ",\"iface\":[\"a\"]", ",\"iface\":[\"a\"],\"proto\":[6]", 0, false },
	/* ranges */
	{ ",\"dst_port\":[[1,100]]", ",\"dst_port\":[[20,30]]", 2, false },
	{ ",\"dst_port\":[[1,100]]", ",\"dst_port\":[[20,101]]", 0, false },
	{ ",\"dst_port\":[[1,100]]", ",\"dst_port\":[[25,25]]", 0, false },
	{ ",\"dst_port\":[[1,50],[51,100]]", ",\"dst_port\":[[20,80]]", 2, false },
	{ ",\"dst_port\":[[1,50],[52,100]]", ",\"dst_port\":[[20,80]]", 0, false },
	{ ",\"dst_port\":[[20,80]]", ",\"dst_port\":[[1,100],[90,90]]", 0, false },
	{ ",\"dst_port\":[[20,21]]", ",\"dst_port\":[[20,20],[21,21]]", 1, false },
	{ ",\"dst_port\":[[20,21]]", ",\"dst_port\":[[20,20],[22,22]]", 0, false },
	{ "", ",\"dst_port\":[[0,65535]]", 1, false },
	{ "", ",\"dst_port\":[[1,65535]]", 0, false },
	{ ",\"dst_subnet\":[\"10.0.0.1/32\"]", ",\"dst_port\":[[0,65535]]", 1, false },
	{ ",\"dst_subnet\":[\"10.0.0.1/32\"]", ",\"dst_port\":[[0,65535]],\"dst_subnet\":[\"10.0.0.0/8\"]", 1, false },
	{ ",\"dst_subnet\":[\"10.0.0.1/32\"],\"proto\":[6]", ",\"dst_port\":[[0,65535]]", 0, false },
	{ ",\"dst_subnet\":[\"10.0.0.1/32\"],\"proto\":[6]", ",\"dst_port\":[[0,65535]],\"proto\":[17,6]", 1, false },
	/* addresses */
	{ ",\"src_subnet\":[\"10.0.0.0/8\"]", ",\"src_subnet\":[\"10.1.0.0/16\"]", 0, false },
	{ ",\"src_subnet\":[\"10.0.0.0/8\",\"10.1.0.0/16\"]", ",\"src_subnet\":[\"10.1.0.0/16\"]", 2, false },
	{ ",\"src_zone\":[0]", ",\"src_zone\":[1]", 0, false },
	{ ",\"src_zone\":[0,1]", ",\"src_zone\":[1]", 2, false },
	{ ",\"src_zone\":[2]", ",\"src_zone\":[1]", 0, false },
	{ ",\"src_zone\":[1],\"src_subnet\":[\"10.1.0.0/16\"]", ",\"src_zone\":[1]", 2, false },
	{ ",\"src_zone\":[1]", ",\"src_subnet\":" EVERYWHERE, 1, false },
	{ ",\"src_zone\":[1],\"dst_zone\":[2]", ",\"src_subnet\":" EVERYWHERE, 1, false },
	{ ",\"src_zone\":[1],\"dst_zone\":[2]", ",\"src_subnet\":" EVERYWHERE ",\"dst_zone\":[2]", 1, false },
	{ ",\"src_zone\":[1],\"dst_zone\":[2]", ",\"src_subnet\":" EVERYWHERE ",\"dst_zone\":[1]", 0, false },
	{ ",\"src_zone\":[1]", ",\"src_subnet\":[\"0.0.0.0/0\"]", 0, false },
	{ ",\"src_subnet\":[\"10.1.0.0/16\"]", ",\"src_subnet\":" EVERYWHERE, 0, false },
	{ ",\"dst_iface\":[\"a\"],\"dst_zone\":[2]", ",\"dst_subnet\":" EVERYWHERE, 1, false },
	{ ",\"dst_iface\":[\"a\",\"b\"]", ",\"dst_iface\":[\"b\"]", 2, false },
	{ ",\"dst_ifgroup\":[1]", ",\"dst_iface\":[\"b\"]", 0, false },
};

static void pairs_of_rules(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		struct arena *arena = arena_create((size_t)64 << 20, 0);
		const struct policy *policy;
		const struct shadow *shadows;
		char rules[1024];
		bool whole;

		snprintf(rules, sizeof(rules), "[{\"id\":1,\"instance\":0,\"service\":0%s},{\"id\":2,\"instance\":0,\"service\":0%s}]",
			 pairs[i].one, pairs[i].two);
		policy = build_policy(arena, ZONES, rules);
		shadows = policy_shadows(policy, arena, &whole);
		assert_non_null(shadows);
		assert_true(whole);
		for (unsigned k = 0; k < 2; k++) {
			bool never = pairs[i].never == policy->rules[k].id;

			if ((shadows[k].by != NULL) != never || shadows[k].same != (never && pairs[i].same))
				fail_msg("pair %zu, rule %u", i, k + 1);
			if (never)
				assert_ptr_equal(shadows[k].by, &policy->rules[1 - k]);
		}
		arena_free(&arena);
	}
}

/* ---- against the evaluator ---- */

#define N_POLICIES 400
#define N_FLOWS 150

static unsigned seed;

static unsigned choose(unsigned n)
{
	return (unsigned)(rand_r(&seed) >> 4) % n;
}

/* Marks the rule with the flow's winner's id and instance. */
static size_t number_of(const struct policy *policy, const struct slow_rule *r)
{
	for (size_t i = 0; i < policy->n_rules; i++)
		if (policy->rules[i].id == r->id && policy->rules[i].instance == r->instance)
			return i;
	return SIZE_MAX;
}

static void who_never_wins_is_never_chosen(void **state)
{
	unsigned n_shadowed = 0, n_chosen = 0;

	for (unsigned i = 0; i < N_POLICIES; i++) {
		struct arena *arena = arena_create((size_t)64 << 20, 0);
		static struct slow_policy p;
		const struct policy *policy = NULL;
		const struct shadow *shadows;
		char *text;
		bool whole;

		seed = 5000 + i;
		slow_policy_make(&p, choose);
		text = slow_document(&p);
		assert_string_equal(build_document(arena, slice_cstr(text), &policy), "");
		free(text);
		shadows = policy_shadows(policy, arena, &whole);
		assert_non_null(shadows);
		for (size_t j = 0; j < policy->n_rules; j++)
			n_shadowed += shadows[j].by != NULL;
		for (unsigned j = 0; j < N_FLOWS; j++) {
			const struct slow_flow t = slow_flow_make(choose);
			size_t n_best;
			const struct slow_rule *best = slow_decide(&p, &t, &n_best);

			if (best == NULL)
				continue;
			n_chosen++;
			if (shadows[number_of(policy, best)].by != NULL)
				fail_msg("policy %u: rule %u is chosen", i, best->id);
		}
		arena_free(&arena);
	}
	assert_true(n_shadowed > 100);
	assert_true(n_chosen > N_POLICIES * N_FLOWS / 10);
}

/* All alike but for one number: as many pairs as there can be. */
static void many_similar_rules_end(void **state)
{
	struct arena *arena = arena_create((size_t)512 << 20, 0);
	struct buffer rules = BUFFER_INIT(8u << 20);
	const struct policy *policy;
	const struct shadow *shadows;
	bool whole = true;

	for (unsigned i = 0; i < 30000; i++)
		buffer_printf(&rules, "%c{\"id\":%u,\"instance\":0,\"service\":0,\"src_zone\":[0],\"dst_port\":[[%u,%u]]}", i == 0 ? '[' : ',',
			      i + 1, 2 * i, 2 * i + 1);
	buffer_append_octet(&rules, ']');
	buffer_append_octet(&rules, 0);
	policy = build_policy(arena, ZONES, (const char *)rules.data);
	shadows = policy_shadows(policy, arena, &whole);
	assert_non_null(shadows);
	assert_false(whole);
	for (size_t i = 0; i < policy->n_rules; i++)
		assert_null(shadows[i].by);
	buffer_release(&rules);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pairs_of_rules),
		cmocka_unit_test(who_never_wins_is_never_chosen),
		cmocka_unit_test(many_similar_rules_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
