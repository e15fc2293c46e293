/* SPDX-License-Identifier: Apache-2.0 */
/* Best match: each rule of matching and scoring has a test of its own. */
#include "build.h"
#include "policy/decide.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* Zones 0 office (depth 1), 1 office.dev (2), 2 dmz, 3 six. */
static const char zones[] =
	"[{\"name\":\"office\",\"addrs\":[\"10.0.0.0/8\"]},"
	"{\"name\":\"office.dev\",\"addrs\":[\"10.1.0.0/16\"],\"parent\":0},"
	"{\"name\":\"dmz\",\"addrs\":[\"172.16.40.0/24\"]},"
	"{\"name\":\"six\",\"addrs\":[\"2001:db8::/32\"]}]";

static struct arena *arena;

static int setup(void **state)
{
	(void)state;
	arena = arena_create((size_t)256 << 20, 0);
	return arena == NULL;
}

static int teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

/* Rules get the ids 1, 2, ... in the order given; NULL ends them. */
static const struct policy *rules(const char *first, ...) __attribute__((sentinel));

static const struct policy *rules(const char *first, ...)
{
	char text[3072] = "[";
	size_t n = 1;
	unsigned id = 1;
	va_list ap;

	va_start(ap, first);
	for (const char *rule = first; rule != NULL; rule = va_arg(ap, const char *), id++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s{\"id\":%u,\"instance\":0,\"service\":0%s%s}",
				      id > 1 ? "," : "", id, rule[0] != '\0' ? "," : "", rule);
	va_end(ap);
	snprintf(text + n, sizeof(text) - n, "]");
	return build_policy(arena, zones, text);
}

static unsigned winner(const struct policy *p, const struct flow *f)
{
	struct decision d;

	policy_decide(p, NULL, f, &d);
	assert_ptr_equal(d.service, d.rule == NULL ? NULL : d.rule->service);
	return d.rule == NULL ? 0 : d.rule->id;
}

static bool matches(const char *rule, const struct flow *f)
{
	return winner(rules(rule, NULL), f) == 1;
}

/* a beats b for that flow, in whatever order they stand. */
static void beats(const char *a, const char *b, const struct flow *f)
{
	assert_int_equal(winner(rules(a, b, NULL), f), 1);
	assert_int_equal(winner(rules(b, a, NULL), f), 2);
}

static struct flow example(void)
{
	struct flow f = tcp_flow("10.1.2.3:40000", "1.2.3.4:80");

	strcpy(f.iface, "eth0");
	return f;
}

/* The worked example of the policy language: each beats all that follow. */
static void worked_example(void **state)
{
	static const char *const order[] = {
		"\"iface\":[\"eth0\"]",
		"\"dst_port\":[[80,80]]",
		"\"dst_port\":[[1,1024]],\"src_zone\":[1]",
		"\"src_subnet\":[\"10.0.0.0/8\"]",
		"\"src_zone\":[1]",
		"\"src_zone\":[0]",
		"\"dst_subnet\":[\"1.2.3.4/32\"]",
		"",
	};
	const struct flow f = example();

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(order); i++)
		for (size_t j = i + 1; j < ARRAY_LEN(order); j++)
			beats(order[i], order[j], &f);
}

static struct rule_score score_of(const char *rule, const struct flow *f)
{
	const struct policy *p = rules(rule, NULL);
	const struct zoned_flow zoned = flow_with_zones(p, NULL, f);
	enum score_position failed;
	struct rule_score score;

	assert_true(rule_matches(&p->rules[0], &zoned, &score, &failed));
	return score;
}

static void worked_example_has_these_scores(void **state)
{
	const struct flow f = example();

	(void)state;
	assert_int_equal(score_of("\"iface\":[\"eth0\"]", &f).at[SCORE_INCOMING], 2);
	assert_int_equal(score_of("\"dst_port\":[[80,80]]", &f).at[SCORE_DST_PORT], 2);
	assert_int_equal(score_of("\"dst_port\":[[1,1024]]", &f).at[SCORE_DST_PORT], 1);
	assert_int_equal(score_of("\"src_subnet\":[\"10.0.0.0/8\"]", &f).at[SCORE_SRC], 288);
	assert_int_equal(score_of("\"src_zone\":[1]", &f).at[SCORE_SRC], 2);
	assert_int_equal(score_of("\"src_zone\":[0]", &f).at[SCORE_SRC], 1);
	assert_int_equal(score_of("\"dst_subnet\":[\"1.2.3.4/32\"]", &f).at[SCORE_DST], 4224);
}

static void no_rule_no_decision(void **state)
{
	const struct flow f = example();
	struct decision d;

	(void)state;
	policy_decide(rules("\"dst_port\":[[25,25]]", NULL), NULL, &f, &d);
	assert_null(d.rule);
	assert_null(d.service);
	assert_null(d.tie);
	assert_string_equal(d.src_zone->name, "office.dev");
	assert_null(d.dst_zone);
}

static void every_group_must_match(void **state)
{
	const struct flow f = example();

	(void)state;
	assert_true(matches("\"proto\":[6],\"dst_port\":[[80,80]],\"src_zone\":[0]", &f));
	assert_false(matches("\"proto\":[17],\"dst_port\":[[80,80]],\"src_zone\":[0]", &f));
	assert_false(matches("\"proto\":[6],\"dst_port\":[[81,81]],\"src_zone\":[0]", &f));
	assert_false(matches("\"proto\":[6],\"dst_port\":[[80,80]],\"src_zone\":[2]", &f));
}

static void an_empty_list_means_any(void **state)
{
	const struct flow f = example();

	(void)state;
	assert_true(matches("\"proto\":[],\"dst_port\":[],\"src_zone\":[],\"iface\":[],\"src_subnet\":[]", &f));
}

static void source_subnet_or_zone(void **state)
{
	const struct flow f = example();
	const char *either = "\"src_subnet\":[\"192.168.0.0/16\"],\"src_zone\":[0]";

	(void)state;
	assert_true(matches(either, &f));
	assert_int_equal(score_of(either, &f).at[SCORE_SRC], 1);
	assert_true(matches("\"src_subnet\":[\"10.1.0.0/16\"],\"src_zone\":[2]", &f));
	assert_false(matches("\"src_subnet\":[\"192.168.0.0/16\"],\"src_zone\":[2]", &f));
	/* Both: the points add up. */
	assert_int_equal(score_of("\"src_subnet\":[\"10.1.0.0/16\"],\"src_zone\":[0]", &f).at[SCORE_SRC], 17 * 32 + 1);
}

static void destination_is_any_of_four(void **state)
{
	struct flow f = tcp_flow("10.1.2.3:40000", "172.16.40.1:80");

	(void)state;
	strcpy(f.iface, "eth1");
	strcpy(f.dst_iface, "eth1");
	f.ifgroup = f.dst_ifgroup = 7;
	assert_int_equal(score_of("\"dst_zone\":[2]", &f).at[SCORE_DST], 1);
	assert_int_equal(score_of("\"dst_ifgroup\":[7]", &f).at[SCORE_DST], 32);
	assert_int_equal(score_of("\"dst_iface\":[\"eth1\"]", &f).at[SCORE_DST], 64);
	assert_int_equal(score_of("\"dst_iface\":[\"eth1\"],\"dst_ifgroup\":[7]", &f).at[SCORE_DST], 96);
	assert_int_equal(score_of("\"dst_subnet\":[\"172.16.40.0/24\"]", &f).at[SCORE_DST], 25 * 128);
	assert_int_equal(score_of("\"dst_subnet\":[\"172.16.40.0/24\"],\"dst_zone\":[2],\"dst_iface\":[\"eth0\",\"eth1\"],"
				  "\"dst_ifgroup\":[1,7]", &f).at[SCORE_DST], 25 * 128 + 96 + 1);
	assert_true(matches("\"dst_zone\":[0],\"dst_iface\":[\"eth1\"]", &f));
	assert_false(matches("\"dst_zone\":[0],\"dst_iface\":[\"eth0\"],\"dst_ifgroup\":[1],\"dst_subnet\":[\"1.0.0.0/8\"]", &f));
	/* An address of no interface of ours. */
	f.dst_iface[0] = '\0';
	f.dst_ifgroup = -1;
	assert_false(matches("\"dst_iface\":[\"eth1\"],\"dst_ifgroup\":[7]", &f));
}

static void incoming_is_any_of_three(void **state)
{
	struct flow f = example();

	(void)state;
	f.ifgroup = 3;
	f.reqid = 9;
	assert_int_equal(score_of("\"ifgroup\":[3]", &f).at[SCORE_INCOMING], 1);
	assert_int_equal(score_of("\"iface\":[\"lo\",\"eth0\"]", &f).at[SCORE_INCOMING], 2);
	assert_int_equal(score_of("\"reqid\":[9]", &f).at[SCORE_INCOMING], 4);
	assert_int_equal(score_of("\"iface\":[\"eth0\"],\"ifgroup\":[3],\"reqid\":[9]", &f).at[SCORE_INCOMING], 7);
	assert_int_equal(score_of("\"iface\":[\"eth9\"],\"ifgroup\":[3],\"reqid\":[1]", &f).at[SCORE_INCOMING], 1);
	assert_false(matches("\"iface\":[\"eth9\"],\"ifgroup\":[4],\"reqid\":[1]", &f));
	assert_false(matches("\"iface\":[\"eth\"]", &f));
	beats("\"reqid\":[9]", "\"iface\":[\"eth0\"],\"ifgroup\":[3]", &f);
}

static void without_an_interface_no_interface_matches(void **state)
{
	struct flow f = tcp_flow("10.1.2.3:40000", "1.2.3.4:80");

	(void)state;
	f.reqid = 9;
	assert_false(matches("\"iface\":[\"eth0\"]", &f));
	assert_false(matches("\"ifgroup\":[0]", &f));
	assert_false(matches("\"reqid\":[9]", &f));
	assert_true(matches("", &f));
}

static void icmp_types_match_only_icmp(void **state)
{
	struct flow f = example();

	(void)state;
	assert_false(matches("\"proto_type\":[0]", &f));
	assert_false(matches("\"proto_subtype\":[0]", &f));
	f.icmp_type = f.icmp_code = 0;		/* nonsense for TCP: still no match */
	assert_false(matches("\"proto_type\":[0]", &f));
	f.protocol = 1;
	f.icmp_type = 3;
	f.icmp_code = 13;
	assert_true(matches("\"proto_type\":[8,3],\"proto_subtype\":[13]", &f));
	assert_false(matches("\"proto_type\":[3],\"proto_subtype\":[1]", &f));
	f.protocol = 58;
	assert_true(matches("\"proto_type\":[3]", &f));
	beats("\"proto\":[58]", "\"proto_type\":[3],\"proto_subtype\":[13]", &f);
	beats("\"proto_type\":[3]", "\"proto_subtype\":[13]", &f);
}

static void ports_of_protocols_without_ports_are_zero(void **state)
{
	struct flow f = example();

	(void)state;
	f.protocol = 1;
	assert_false(matches("\"dst_port\":[[80,80]]", &f));
	assert_true(matches("\"dst_port\":[[0,65535]],\"src_port\":[[0,0]]", &f));
	assert_false(matches("\"dst_port\":[[1,65535]]", &f));
	f.protocol = 17;
	assert_true(matches("\"dst_port\":[[80,80]]", &f));
}

static void port_ranges_include_their_ends(void **state)
{
	struct flow f = example();

	(void)state;
	assert_true(matches("\"dst_port\":[[80,90]]", &f));
	assert_true(matches("\"dst_port\":[[70,80]]", &f));
	assert_false(matches("\"dst_port\":[[81,90]]", &f));
	assert_false(matches("\"dst_port\":[[70,79]]", &f));
	assert_true(matches("\"src_port\":[[1,2],[40000,40000]]", &f));
}

/* The original's scan stopped at the wide range and missed the exact port; here the best counts. */
static void the_best_range_counts_not_the_first(void **state)
{
	const struct flow f = example();

	(void)state;
	assert_int_equal(score_of("\"dst_port\":[[1,100],[80,80]]", &f).at[SCORE_DST_PORT], 2);
	assert_int_equal(score_of("\"dst_port\":[[80,80],[1,100]]", &f).at[SCORE_DST_PORT], 2);
	assert_int_equal(score_of("\"dst_port\":[[1,100],[81,81]]", &f).at[SCORE_DST_PORT], 1);
}

static void something_unspecific_beats_nothing(void **state)
{
	const struct flow f = example();

	(void)state;
	beats("\"dst_port\":[[1,65535]]", "", &f);
	beats("\"src_subnet\":[\"0.0.0.0/0\"]", "\"src_zone\":[1]", &f);
	beats("\"dst_subnet\":[\"0.0.0.0/0\"]", "", &f);
	beats("\"src_port\":[[1,65535]]", "\"dst_port\":[[80,80]]", &f);
	beats("\"proto\":[6]", "\"src_port\":[[40000,40000]],\"dst_port\":[[80,80]]", &f);
}

static void a_destination_subnet_beats_interface_and_zone(void **state)
{
	struct flow f = tcp_flow("10.1.2.3:40000", "172.16.40.1:80");

	(void)state;
	strcpy(f.iface, "eth1");
	strcpy(f.dst_iface, "eth1");
	beats("\"dst_subnet\":[\"0.0.0.0/0\"]", "\"dst_iface\":[\"eth1\"],\"dst_zone\":[2]", &f);
	beats("\"dst_iface\":[\"eth1\"]", "\"dst_zone\":[2]", &f);
	/* The source goes first, whatever the guide says. */
	beats("\"src_subnet\":[\"10.0.0.0/8\"]", "\"dst_subnet\":[\"172.16.40.1\"]", &f);
}

static void only_subnets_of_the_own_family_count(void **state)
{
	const struct flow f = example();
	const struct flow six = tcp_flow("[2001:db8::1]:4000", "[2001:db8::2]:80");

	(void)state;
	assert_false(matches("\"src_subnet\":[\"::/0\"]", &f));
	assert_true(matches("\"src_subnet\":[\"::/0\",\"10.0.0.0/8\"]", &f));
	assert_false(matches("\"src_subnet\":[\"0.0.0.0/0\"]", &six));
	assert_int_equal(score_of("\"src_subnet\":[\"::/0\",\"2001:db8::1\",\"10.0.0.0/8\"]", &six).at[SCORE_SRC], 129 * 32);
	assert_true(matches("\"src_zone\":[3],\"dst_zone\":[3]", &six));
	assert_int_equal(score_of("\"dst_subnet\":[\"2001:db8::2\"],\"dst_zone\":[3]", &six).at[SCORE_DST], 129 * 128 + 1);
}

static void the_longest_subnet_counts(void **state)
{
	const struct flow f = example();

	(void)state;
	assert_int_equal(score_of("\"src_subnet\":[\"0.0.0.0/0\",\"10.1.2.0/24\",\"10.0.0.0/8\"]", &f).at[SCORE_SRC], 25 * 32);
}

static void the_deepest_listed_zone_counts(void **state)
{
	const struct flow f = example();

	(void)state;
	assert_int_equal(score_of("\"src_zone\":[0,1,2]", &f).at[SCORE_SRC], 2);
	assert_int_equal(score_of("\"src_zone\":[0,2]", &f).at[SCORE_SRC], 1);
}

static void an_address_in_no_zone_matches_none(void **state)
{
	const struct flow f = tcp_flow("8.8.8.8:1000", "1.2.3.4:80");

	(void)state;
	assert_false(matches("\"src_zone\":[0,1,2,3]", &f));
	assert_false(matches("\"dst_zone\":[0,1,2,3]", &f));
}

/* A rule for the child does not match an address of the parent. */
static void a_child_does_not_cover_its_parent(void **state)
{
	const struct flow f = tcp_flow("10.2.0.1:1000", "1.2.3.4:80");

	(void)state;
	assert_false(matches("\"src_zone\":[1]", &f));
	assert_true(matches("\"src_zone\":[0]", &f));
}

static void a_tie_goes_to_the_lower_id_and_is_told(void **state)
{
	const struct flow f = example();
	struct decision d;

	(void)state;
	policy_decide(build_policy(arena, zones,
				   "[{\"id\":9,\"instance\":0,\"service\":0,\"dst_port\":[[80,80]]},"
				   "{\"id\":4,\"instance\":0,\"service\":0,\"dst_port\":[[80,80]]},"
				   "{\"id\":6,\"instance\":0,\"service\":0,\"dst_port\":[[80,80]]},"
				   "{\"id\":1,\"instance\":0,\"service\":0}]"), NULL, &f, &d);
	assert_int_equal(d.rule->id, 4);
	assert_non_null(d.tie);
	assert_in_set(d.tie->id, ((uintmax_t[]){ 6, 9 }), 2);
}

static void a_better_rule_ends_a_tie(void **state)
{
	const struct flow f = example();
	struct decision d;

	(void)state;
	policy_decide(rules("", "", "\"dst_port\":[[80,80]]", NULL), NULL, &f, &d);
	assert_int_equal(d.rule->id, 3);
	assert_null(d.tie);
}

static void equal_ids_stay_with_the_first_instance(void **state)
{
	const struct flow f = example();
	struct decision d;

	(void)state;
	policy_decide(build_policy(arena, zones, "[{\"id\":2,\"instance\":1,\"service\":0},"
				   "{\"id\":2,\"instance\":0,\"service\":0}]"), NULL, &f, &d);
	assert_int_equal(d.rule->instance, 1);
	assert_int_equal(d.tie->instance, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(worked_example, setup, teardown),
		cmocka_unit_test_setup_teardown(worked_example_has_these_scores, setup, teardown),
		cmocka_unit_test_setup_teardown(no_rule_no_decision, setup, teardown),
		cmocka_unit_test_setup_teardown(every_group_must_match, setup, teardown),
		cmocka_unit_test_setup_teardown(an_empty_list_means_any, setup, teardown),
		cmocka_unit_test_setup_teardown(source_subnet_or_zone, setup, teardown),
		cmocka_unit_test_setup_teardown(destination_is_any_of_four, setup, teardown),
		cmocka_unit_test_setup_teardown(incoming_is_any_of_three, setup, teardown),
		cmocka_unit_test_setup_teardown(without_an_interface_no_interface_matches, setup, teardown),
		cmocka_unit_test_setup_teardown(icmp_types_match_only_icmp, setup, teardown),
		cmocka_unit_test_setup_teardown(ports_of_protocols_without_ports_are_zero, setup, teardown),
		cmocka_unit_test_setup_teardown(port_ranges_include_their_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(the_best_range_counts_not_the_first, setup, teardown),
		cmocka_unit_test_setup_teardown(something_unspecific_beats_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(a_destination_subnet_beats_interface_and_zone, setup, teardown),
		cmocka_unit_test_setup_teardown(only_subnets_of_the_own_family_count, setup, teardown),
		cmocka_unit_test_setup_teardown(the_longest_subnet_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(the_deepest_listed_zone_counts, setup, teardown),
		cmocka_unit_test_setup_teardown(an_address_in_no_zone_matches_none, setup, teardown),
		cmocka_unit_test_setup_teardown(a_child_does_not_cover_its_parent, setup, teardown),
		cmocka_unit_test_setup_teardown(a_tie_goes_to_the_lower_id_and_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(a_better_rule_ends_a_tie, setup, teardown),
		cmocka_unit_test_setup_teardown(equal_ids_stay_with_the_first_instance, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
