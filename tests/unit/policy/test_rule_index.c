/* SPDX-License-Identifier: Apache-2.0 */
/* What the index does with rules that are out of the ordinary: many alternatives, odd ranges. */
#include "build.h"
#include "policy/rule_index.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define TEXT_MAX (1u << 20)

static struct arena *arena;
static char *text;

static int setup(void **state)
{
	arena = arena_create((size_t)256 << 20, 0);
	text = malloc(TEXT_MAX);
	return arena == NULL || text == NULL;
}

static int teardown(void **state)
{
	arena_free(&arena);
	free(text);
	return 0;
}

static unsigned winner(const struct policy *p, const struct flow *f, unsigned *tie)
{
	struct decision d;

	policy_decide(p, NULL, f, &d);
	*tie = d.tie == NULL ? 0 : d.tie->id;
	return d.rule == NULL ? 0 : d.rule->id;
}

/* "a.b.i.0/24" for i below n, quoted. */
static size_t add_subnets(size_t at, const char *start, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		at += (size_t)snprintf(text + at, TEXT_MAX - at, "%s\"%s.%u.0/24\"", i > 0 ? "," : "", start, i);
	return at;
}

/* 100 x 100 subnets are more cases than the index takes: the rule must win, lose and tie as any other. */
static void wide_rules_count_like_others(void **state)
{
	const struct flow hit = tcp_flow("10.1.7.9:1000", "10.2.99.1:25"), miss = tcp_flow("10.1.7.9:1000", "10.2.100.1:25");
	const struct flow port = tcp_flow("10.1.7.9:1000", "10.2.99.1:80");
	const struct policy *p;
	size_t n_wide, at = 0;
	unsigned tie;

	at += (size_t)snprintf(text, TEXT_MAX, "[{\"id\":5,\"instance\":0,\"service\":0,\"src_subnet\":[");
	at = add_subnets(at, "10.1", 100);
	at += (size_t)snprintf(text + at, TEXT_MAX - at, "],\"dst_subnet\":[");
	at = add_subnets(at, "10.2", 100);
	snprintf(text + at, TEXT_MAX - at,
		 "]},{\"id\":6,\"instance\":0,\"service\":0,\"src_subnet\":[\"10.1.7.0/24\"],\"dst_subnet\":[\"10.2.99.0/24\"]},"
		 "{\"id\":7,\"instance\":0,\"service\":0},{\"id\":8,\"instance\":0,\"service\":0,\"dst_port\":[[80,80]]}]");
	p = build_policy(arena, "[]", text);
	(void)rule_index_wide(p->rule_index, &n_wide);
	assert_int_equal(n_wide, 1);
	assert_int_equal(winner(p, &hit, &tie), 5);
	assert_int_equal(tie, 6);
	assert_int_equal(winner(p, &miss, &tie), 7);
	assert_int_equal(tie, 0);
	assert_int_equal(winner(p, &port, &tie), 8);
	assert_int_equal(tie, 0);
}

/* A rule that is met through several of its own cases is no tie with itself. */
static void a_rule_does_not_tie_with_itself(void **state)
{
	const struct flow f = tcp_flow("10.1.7.9:1000", "10.2.99.1:25");
	const struct policy *p = build_policy(arena, "[]",
		"[{\"id\":1,\"instance\":0,\"service\":0,\"dst_port\":[[20,30],[24,40],[1,25]],\"src_subnet\":[\"10.0.0.0/8\",\"10.0.0.0/8\"]}]");
	unsigned tie;

	assert_int_equal(winner(p, &f, &tie), 1);
	assert_int_equal(tie, 0);
}

/* Every border of every range, against plain arithmetic. */
static void ranges_contain_what_they_say(void **state)
{
	static const unsigned ranges[][2] = {
		{ 0, 65535 }, { 0, 0 }, { 65535, 65535 }, { 0, 1 }, { 1, 2 }, { 1023, 1024 }, { 1024, 65535 }, { 1, 65534 },
		{ 32767, 32768 }, { 5, 12 }, { 4096, 8191 },
	};

	for (size_t i = 0; i < ARRAY_LEN(ranges); i++) {
		const struct policy *p;

		snprintf(text, TEXT_MAX, "[{\"id\":1,\"instance\":0,\"service\":0,\"src_port\":[[%u,%u]]}]", ranges[i][0], ranges[i][1]);
		p = build_policy(arena, "[]", text);
		for (unsigned port = 0; port <= 65535; port++) {
			struct flow f = tcp_flow("10.1.7.9", "10.2.99.1:25");
			unsigned tie;

			f.src.port = (uint16_t)port;
			assert_int_equal(winner(p, &f, &tie), port >= ranges[i][0] && port <= ranges[i][1]);
		}
	}
}

/* Ranges that meet a port through blocks of different sizes compete as equals: the lower id wins. */
static void ranges_of_all_sizes_are_equal(void **state)
{
	const struct flow f = tcp_flow("10.1.7.9:1000", "10.2.99.1:25");
	const struct policy *p = build_policy(arena, "[]",
		"[{\"id\":9,\"instance\":0,\"service\":0,\"dst_port\":[[24,25]]},"
		"{\"id\":3,\"instance\":0,\"service\":0,\"dst_port\":[[0,65535]]},"
		"{\"id\":4,\"instance\":0,\"service\":0,\"dst_port\":[[25,26]]}]");
	unsigned tie;

	assert_int_equal(winner(p, &f, &tie), 3);
	assert_true(tie == 4 || tie == 9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(wide_rules_count_like_others, setup, teardown),
		cmocka_unit_test_setup_teardown(a_rule_does_not_tie_with_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(ranges_contain_what_they_say, setup, teardown),
		cmocka_unit_test_setup_teardown(ranges_of_all_sizes_are_equal, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
