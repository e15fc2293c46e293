/* SPDX-License-Identifier: Apache-2.0 */
/* Zones: longest prefix, parents, and what must be refused. */
#include "build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

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

static const char *zone_of(const struct policy *p, const char *ip)
{
	struct ip_addr addr;
	const struct zone *zone;

	assert_int_equal(ip_parse(slice_cstr(ip), &addr), 0);
	zone = policy_zone_of(p, NULL, &addr);
	return zone == NULL ? "none" : zone->name;
}

static const char *refusal(const char *zones)
{
	char *text = document_text(zones, "[]", 1);
	const struct policy *policy = NULL;
	const char *message = build_document(arena, slice_cstr(text), &policy);

	free(text);
	return message;
}

static void longest_prefix_wins(void **state)
{
	const struct policy *p = build_policy(arena,
		"[{\"name\":\"all\",\"addrs\":[\"0.0.0.0/0\"]},"
		"{\"name\":\"ten\",\"addrs\":[\"10.0.0.0/8\"]},"
		"{\"name\":\"one\",\"addrs\":[\"10.1.0.0/16\",\"192.168.1.1\"]},"
		"{\"name\":\"host\",\"addrs\":[\"10.1.2.3/32\"]}]", "[]");

	(void)state;
	assert_string_equal(zone_of(p, "8.8.8.8"), "all");
	assert_string_equal(zone_of(p, "10.2.0.1"), "ten");
	assert_string_equal(zone_of(p, "10.1.2.4"), "one");
	assert_string_equal(zone_of(p, "10.1.2.3"), "host");
	assert_string_equal(zone_of(p, "192.168.1.1"), "one");
	assert_string_equal(zone_of(p, "192.168.1.2"), "all");
	assert_string_equal(zone_of(p, "255.255.255.255"), "all");
	assert_string_equal(zone_of(p, "::1"), "none");
}

static void families_are_apart(void **state)
{
	const struct policy *p = build_policy(arena,
		"[{\"name\":\"six\",\"addrs\":[\"::/0\"]},{\"name\":\"db8\",\"addrs\":[\"2001:db8::/32\"]},"
		"{\"name\":\"net\",\"addrs\":[\"2001:db8:0:1::/64\"]},{\"name\":\"h\",\"addrs\":[\"2001:db8:0:1::5\"]}]",
		"[]");

	(void)state;
	assert_string_equal(zone_of(p, "0.0.0.0"), "none");
	assert_string_equal(zone_of(p, "2001:db9::1"), "six");
	assert_string_equal(zone_of(p, "2001:db8::1"), "db8");
	assert_string_equal(zone_of(p, "2001:db8:0:1::1"), "net");
	assert_string_equal(zone_of(p, "2001:db8:0:1::5"), "h");
	assert_string_equal(zone_of(p, "ffff:ffff::"), "six");
}

static void host_bits_are_masked(void **state)
{
	const struct policy *p = build_policy(arena, "[{\"name\":\"a\",\"addrs\":[\"10.1.2.3/8\"]}]", "[]");

	(void)state;
	assert_string_equal(zone_of(p, "10.255.0.0"), "a");
	assert_string_equal(zone_of(p, "11.0.0.0"), "none");
}

/* A child whose subnet lies elsewhere is within its parent; a subnet inside another is not. */
static void only_declared_parents_count(void **state)
{
	const struct policy *p = build_policy(arena,
		"[{\"name\":\"parent\",\"addrs\":[\"10.0.0.0/8\"]},"
		"{\"name\":\"child\",\"addrs\":[\"192.168.0.0/16\"],\"parent\":0},"
		"{\"name\":\"inside\",\"addrs\":[\"10.1.0.0/16\"]},"
		"{\"name\":\"grandchild\",\"addrs\":[],\"parent\":1}]", "[]");
	const struct zone *z = p->zones;

	(void)state;
	assert_true(zone_is_within(&z[1], &z[0]));
	assert_true(zone_is_within(&z[3], &z[0]));
	assert_true(zone_is_within(&z[0], &z[0]));
	assert_false(zone_is_within(&z[0], &z[1]));
	assert_false(zone_is_within(&z[2], &z[0]));
	assert_false(zone_is_within(NULL, &z[0]));
	assert_false(zone_is_within(NULL, NULL));
	assert_int_equal(z[0].depth, 1);
	assert_int_equal(z[3].depth, 3);
	assert_ptr_equal(policy_zone_named(p, SLICE("child")), &z[1]);
	assert_null(policy_zone_named(p, SLICE("chil")));
}

static void a_prefix_has_one_owner(void **state)
{
	(void)state;
	assert_string_equal(refusal("[{\"name\":\"a\",\"addrs\":[\"10.0.0.0/8\"]},{\"name\":\"b\",\"addrs\":[\"10.9.9.9/8\"]}]"),
			    "zone 'a' and zone 'b' both have 10.0.0.0/8");
	/* Twice in one zone is only untidy. */
	assert_string_equal(refusal("[{\"name\":\"a\",\"addrs\":[\"10.0.0.0/8\",\"10.0.0.0/8\"]}]"), "");
	/* The whole address space of each family is a prefix of its own. */
	assert_string_equal(refusal("[{\"name\":\"a\",\"addrs\":[\"0.0.0.0/0\"]},{\"name\":\"b\",\"addrs\":[\"::/0\"]}]"), "");
}

static void names_are_unique(void **state)
{
	(void)state;
	assert_string_equal(refusal("[{\"name\":\"a\",\"addrs\":[]},{\"name\":\"a\",\"addrs\":[]}]"),
			    "there are two zones named 'a'");
}

static void loops_are_refused(void **state)
{
	(void)state;
	assert_non_null(strstr(refusal("[{\"name\":\"a\",\"addrs\":[],\"parent\":0}]"), "ancestor of itself"));
	assert_non_null(strstr(refusal("[{\"name\":\"a\",\"addrs\":[],\"parent\":1},{\"name\":\"b\",\"addrs\":[],\"parent\":0}]"),
			       "ancestor of itself"));
}

/* 31 levels fit into a rule's score, 32 do not. */
static void depth_has_a_limit(void **state)
{
	(void)state;
	for (unsigned levels = 31; levels <= 32; levels++) {
		char zones[3072] = "[";
		size_t n = 1;

		for (unsigned i = 0; i < levels; i++) {
			char parent[24] = "null";

			if (i > 0)
				snprintf(parent, sizeof(parent), "%u", i - 1);
			n += (size_t)snprintf(zones + n, sizeof(zones) - n,
					      "%s{\"name\":\"z%u\",\"addrs\":[],\"parent\":%s}", i > 0 ? "," : "", i, parent);
		}
		snprintf(zones + n, sizeof(zones) - n, "]");
		if (levels == 31)
			assert_string_equal(refusal(zones), "");
		else
			assert_non_null(strstr(refusal(zones), "more than 31 levels"));
	}
}

/* Against a look at every prefix. */
static void random_prefixes_agree_with_a_plain_scan(void **state)
{
	static struct ip_prefix prefixes[600];
	static char zones[64 * 600];
	const struct policy *p;
	size_t n = 1, count = 0;
	unsigned seed = 7;

	(void)state;
	zones[0] = '[';
	while (count < 600) {
		uint32_t r = (uint32_t)rand_r(&seed) ^ (uint32_t)rand_r(&seed) << 16;
		unsigned bits = (unsigned)rand_r(&seed) % 33;
		char text[32];
		bool twice = false;

		/* Few different first octets, so that prefixes nest. */
		snprintf(text, sizeof(text), "%u.%u.%u.%u/%u", 8 + (r >> 24) % 4, (r >> 16) & 3, (r >> 8) & 0xff, r & 0xff, bits);
		assert_int_equal(prefix_parse(slice_cstr(text), &prefixes[count]), 0);
		for (size_t i = 0; i < count; i++)
			twice |= prefixes[i].bits == bits && ip_equal(&prefixes[i].ip, &prefixes[count].ip);
		if (twice)
			continue;
		n += (size_t)snprintf(zones + n, sizeof(zones) - n, "%s{\"name\":\"%zu\",\"addrs\":[\"%s\"]}",
				      count > 0 ? "," : "", count, text);
		count++;
	}
	snprintf(zones + n, sizeof(zones) - n, "]");
	p = build_policy(arena, zones, "[]");
	for (unsigned i = 0; i < 20000; i++) {
		uint32_t r = (uint32_t)rand_r(&seed) ^ (uint32_t)rand_r(&seed) << 16;
		struct ip_addr ip = { AF_INET, { (uint8_t)(8 + (r >> 24) % 5), (r >> 16) & 3, (uint8_t)(r >> 8), (uint8_t)r } };
		const struct zone *found = policy_zone_of(p, NULL, &ip);
		int best = -1;

		for (size_t j = 0; j < count; j++)
			if (ip_in_prefix(&ip, &prefixes[j]) && (best < 0 || prefixes[j].bits > prefixes[best].bits))
				best = (int)j;
		assert_int_equal(found == NULL ? -1 : (int)found->index, best);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(longest_prefix_wins, setup, teardown),
		cmocka_unit_test_setup_teardown(families_are_apart, setup, teardown),
		cmocka_unit_test_setup_teardown(host_bits_are_masked, setup, teardown),
		cmocka_unit_test_setup_teardown(only_declared_parents_count, setup, teardown),
		cmocka_unit_test_setup_teardown(a_prefix_has_one_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(names_are_unique, setup, teardown),
		cmocka_unit_test_setup_teardown(loops_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(depth_has_a_limit, setup, teardown),
		cmocka_unit_test_setup_teardown(random_prefixes_agree_with_a_plain_scan, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
