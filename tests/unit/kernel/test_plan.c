/* SPDX-License-Identifier: Apache-2.0 */
/* A plan must agree with the best-match decision: each flow's fate is that of its best rule, and no unmatched one is touched. */
#include "kernel_test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static struct arena *arena;

static int set_up(void **state)
{
	arena = arena_create(512u << 20, 0);
	return arena == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	arena_free(&arena);
	return 0;
}

static struct kernel_plan make(const char *zones, const char *rules)
{
	struct kernel_plan plan;

	assert_int_equal(kernel_plan_make(policy_of(arena, zones, rules), NULL, arena, &plan), 0);
	assert_int_equal(kernel_plan_check(&plan), 0);
	return plan;
}

static struct flow flow_of(uint8_t protocol, const char *src, const char *dst)
{
	struct flow f = { .protocol = protocol, .ifgroup = -1, .dst_ifgroup = -1, .reqid = -1, .icmp_type = -1, .icmp_code = -1 };

	assert_int_equal(endpoint_parse(slice_cstr(src), &f.src), 0);
	assert_int_equal(endpoint_parse(slice_cstr(dst), &f.dst), 0);
	snprintf(f.iface, sizeof(f.iface), "eth0");
	f.ifgroup = 0;
	return f;
}

static const char *fate_text(const struct kernel_plan *plan, const struct intercept *c, char text[64])
{
	char target[ENDPOINT_TEXT_MAX] = "";

	if (c == NULL || c->action == INTERCEPT_SERVE) {
		snprintf(text, 64, c == NULL ? "none" : "serve");
	} else if (c->action == INTERCEPT_REFUSE) {
		snprintf(text, 64, "refuse %u", c->deny);
	} else {
		if (c->target >= 0 && plan->targets[c->target].port != 0)
			endpoint_text(&plan->targets[c->target], target);
		else if (c->target >= 0)
			ip_text(&plan->targets[c->target].ip, target);
		snprintf(text, 64, "forward%s%.40s%s", c->target >= 0 ? " to " : "", target, c->masquerade ? " masquerade" : "");
	}
	return text;
}

static void expect_on(const struct kernel_plan *plan, const char *iface, uint8_t protocol, const char *src, const char *dst,
		      const char *fate)
{
	struct flow f = flow_of(protocol, src, dst);
	char is[64];

	snprintf(f.iface, sizeof(f.iface), "%s", iface);
	if (strcmp(fate_text(plan, kernel_plan_find(plan, &f), is), fate) != 0)
		fail_msg("%s -> %s: is %s, should be %s", src, dst, is, fate);
}

static void expect(const struct kernel_plan *plan, uint8_t protocol, const char *src, const char *dst, const char *fate)
{
	expect_on(plan, "", protocol, src, dst, fate);
}

#define DMZ "{\"name\":\"dmz\",\"addrs\":[\"172.16.40.0/24\",\"fd00:40::/64\"],\"hostnames\":[],\"parent\":null,\"at\":[0,1]}"
#define RULE(id, service, rest) "{\"id\":" #id ",\"instance\":0,\"service\":" #service ",\"at\":[0,1]" rest "}"

static void test_tutorial(void **state)
{
	struct kernel_plan plan = make(DMZ, RULE(1, 0, ",\"dst_port\":[[25,25]],\"src_zone\":[0],\"dst_subnet\":[\"172.16.40.1/32\"]"));

	expect(&plan, 6, "172.16.40.10:1000", "172.16.40.1:25", "serve");
	expect(&plan, 6, "172.16.41.10:1000", "172.16.40.1:25", "none");
	expect(&plan, 6, "172.16.40.10:1000", "172.16.40.1:26", "none");
	expect(&plan, 6, "172.16.40.10:1000", "172.16.40.2:25", "none");
	expect(&plan, 6, "[fd00:40::1]:1000", "[fd00:40::2]:25", "none");
	expect(&plan, 17, "172.16.40.10:1000", "172.16.40.1:25", "refuse 0");	/* best match, but not TCP */
	expect(&plan, 1, "172.16.40.10", "172.16.40.1", "none");		/* counts as port 0 */
}

static void test_nested_zones(void **state)
{
	/* "inside" lies in "outside" by address but is not its child; "child" is its child elsewhere. */
	struct kernel_plan plan = make(
		"{\"name\":\"outside\",\"addrs\":[\"10.0.0.0/8\"],\"hostnames\":[],\"parent\":null,\"at\":[0,1]},"
		"{\"name\":\"inside\",\"addrs\":[\"10.1.0.0/16\"],\"hostnames\":[],\"parent\":null,\"at\":[0,1]},"
		"{\"name\":\"child\",\"addrs\":[\"10.1.2.0/24\",\"192.168.0.0/16\"],\"hostnames\":[],\"parent\":0,\"at\":[0,1]}",
		RULE(1, 0, ",\"src_zone\":[0]"));

	expect(&plan, 6, "10.0.0.1:1", "1.1.1.1:1", "serve");
	expect(&plan, 6, "10.0.255.255:1", "1.1.1.1:1", "serve");
	expect(&plan, 6, "10.1.0.0:1", "1.1.1.1:1", "none");
	expect(&plan, 6, "10.1.1.255:1", "1.1.1.1:1", "none");
	expect(&plan, 6, "10.1.2.0:1", "1.1.1.1:1", "serve");
	expect(&plan, 6, "10.1.3.0:1", "1.1.1.1:1", "none");
	expect(&plan, 6, "10.2.0.0:1", "1.1.1.1:1", "serve");
	expect(&plan, 6, "10.255.255.255:1", "1.1.1.1:1", "serve");
	expect(&plan, 6, "11.0.0.0:1", "1.1.1.1:1", "none");
	expect(&plan, 6, "192.168.255.255:1", "1.1.1.1:1", "serve");
	expect(&plan, 1, "10.0.0.1", "1.1.1.1", "refuse 0");
}

static void test_deny_order(void **state)
{
	/* The usual shape: one service, ident answered with a reset, everything else dropped. */
	struct kernel_plan plan = make(DMZ,
		RULE(1, 0, ",\"dst_port\":[[25,25]],\"src_zone\":[0]") "," RULE(2, 2, ",\"dst_port\":[[113,113]],\"proto\":[6]") "," RULE(3, 1, ""));

	expect(&plan, 6, "172.16.40.10:1000", "1.1.1.1:25", "serve");
	expect(&plan, 6, "172.16.40.10:1000", "1.1.1.1:113", "refuse 1");
	expect(&plan, 6, "172.16.40.10:1000", "1.1.1.1:114", "refuse 0");
	expect(&plan, 17, "172.16.40.10:1000", "1.1.1.1:113", "refuse 0");
	expect(&plan, 47, "172.16.40.10", "1.1.1.1", "refuse 0");
	/* The denying rule's port wins over the proxied rule's zone: answered without a connection. */
	plan = make(DMZ, RULE(1, 0, ",\"src_zone\":[0]") "," RULE(2, 2, ",\"dst_port\":[[113,113]]"));
	expect(&plan, 6, "172.16.40.10:1000", "1.1.1.1:113", "refuse 1");
	expect(&plan, 6, "172.16.40.10:1000", "1.1.1.1:112", "serve");
}

static void test_alternatives_of_one_rule_are_cases(void **state)
{
	/* Which of 1 and 2 wins depends on which subnet matched. */
	struct kernel_plan plan = make("",
		RULE(1, 1, ",\"src_subnet\":[\"10.0.0.0/8\",\"11.1.0.0/24\",\"10.1.0.0/24\"]") ","
		RULE(2, 2, ",\"src_subnet\":[\"10.1.0.0/16\"]"));

	expect(&plan, 6, "10.2.0.1:1", "1.1.1.1:1", "refuse 0");
	expect(&plan, 6, "10.1.1.1:1", "1.1.1.1:1", "refuse 1");
	expect(&plan, 6, "10.1.0.1:1", "1.1.1.1:1", "refuse 0");
	expect(&plan, 17, "10.1.1.1:1", "1.1.1.1:1", "refuse 0");	/* no resets there */
}

static void test_forwarding(void **state)
{
	/* Around a proxied service: some of its clients are forwarded, some of those denied. */
	struct kernel_plan plan = make(DMZ,
		RULE(1, 0, ",\"dst_port\":[[25,25]]") "," RULE(2, 4, ",\"dst_port\":[[25,25]],\"src_subnet\":[\"10.0.0.0/8\"]") ","
		RULE(3, 3, ",\"dst_port\":[[25,25]],\"src_subnet\":[\"10.1.0.0/16\"]") "," RULE(4, 5, ",\"dst_subnet\":[\"10.9.0.0/16\"]") ","
		RULE(5, 4, ",\"proto\":[1,58],\"proto_type\":[8]"));

	expect(&plan, 6, "9.0.0.1:1", "1.1.1.1:25", "serve");
	expect(&plan, 6, "10.0.0.1:1", "1.1.1.1:25", "forward");
	expect(&plan, 6, "10.1.0.1:1", "1.1.1.1:25", "refuse 8");
	expect(&plan, 6, "10.1.0.1:1", "10.9.1.1:26", "forward to 192.0.2.1:8080 masquerade");
	expect(&plan, 17, "10.1.0.1:1", "10.9.1.1:26", "forward to 192.0.2.1:8080 masquerade");
	expect(&plan, 47, "10.1.0.1", "10.9.1.1", "forward to 192.0.2.1 masquerade");
	expect(&plan, 17, "9.0.0.1:1", "1.1.1.1:25", "refuse 0");	/* a proxied rule, which carries TCP only */
	expect(&plan, 6, "9.0.0.1:1", "1.1.1.1:26", "none");
	/* A target of the other family is none. */
	plan = make("", RULE(1, 5, ""));
	expect(&plan, 6, "9.0.0.1:1", "1.1.1.1:26", "forward to 192.0.2.1:8080 masquerade");
	expect(&plan, 6, "[::1]:1", "[::2]:26", "refuse 0");
}

static void test_refusal_waits_for_the_one_that_beats_it(void **state)
{
	/* 2 loses to 1 (interface), and 1 can't stand before 3 (same interface, and a port besides): so
	 * 2 must not stand first only because it has nothing to do with 3. */
	struct kernel_plan plan = make("",
		RULE(1, 1, ",\"iface\":[\"eth0\"]") "," RULE(2, 2, ",\"src_port\":[[7,7]]") ","
		RULE(3, 0, ",\"iface\":[\"eth0\"],\"src_port\":[[8,9]]"));

	expect_on(&plan, "eth0", 6, "10.0.0.1:7", "1.1.1.1:1", "refuse 0");
	expect_on(&plan, "eth0", 6, "10.0.0.1:8", "1.1.1.1:1", "serve");
	expect_on(&plan, "eth1", 6, "10.0.0.1:7", "1.1.1.1:1", "refuse 1");
}

static void test_other_family_is_not_any(void **state)
{
	struct kernel_plan plan = make(DMZ, RULE(1, 0, ",\"src_subnet\":[\"10.0.0.0/8\"]"));

	expect(&plan, 6, "[::1]:1", "[::2]:2", "none");
	plan = make("{\"name\":\"empty\",\"addrs\":[],\"hostnames\":[],\"parent\":null,\"at\":[0,1]}", RULE(1, 0, ",\"src_zone\":[0]"));
	expect(&plan, 6, "10.0.0.1:1", "10.0.0.2:2", "none");
	assert_int_equal(plan.n_intercepts, 0);
}

static void test_many_rules_stay_small(void **state)
{
	struct buffer zones = BUFFER_INIT(16u << 20), rules = BUFFER_INIT(16u << 20);
	struct kernel_plan plan;

	for (unsigned i = 0; i < 5000; i++) {
		buffer_printf(&zones, "%s{\"name\":\"z%u\",\"addrs\":[\"10.%u.%u.0/25\"],\"hostnames\":[],\"parent\":null,\"at\":[0,1]}",
			      i > 0 ? "," : "", i, i / 256, i % 256);
		buffer_printf(&rules, "%s{\"id\":%u,\"instance\":0,\"service\":0,\"at\":[0,1],\"proto\":[6],\"src_zone\":[%u],\"dst_port\":[[25,25]]}",
			      i > 0 ? "," : "", i + 1, i);
	}
	buffer_append_octet(&zones, 0);
	buffer_append_octet(&rules, 0);
	plan = make((const char *)zones.data, (const char *)rules.data);
	assert_int_equal(plan.n_intercepts, 1);
	assert_false(plan.widened);
	expect(&plan, 6, "10.19.135.127:1", "1.1.1.1:25", "serve");
	expect(&plan, 6, "10.19.135.128:1", "1.1.1.1:25", "none");
	buffer_release(&zones);
	buffer_release(&rules);
}

static void test_too_many_are_widened_not_lost(void **state)
{
	struct buffer rules = BUFFER_INIT(16u << 20);
	struct kernel_plan plan;

	for (unsigned i = 0; i < 3000; i++)
		buffer_printf(&rules, "%s{\"id\":%u,\"instance\":0,\"service\":0,\"at\":[0,1],\"proto\":[6],\"src_subnet\":[\"10.%u.%u.0/24\"],"
			      "\"dst_subnet\":[\"20.%u.%u.0/24\"],\"dst_port\":[[%u,%u]]}",
			      i > 0 ? "," : "", i + 1, i / 256, i % 256, i / 256, i % 256, i + 1, i + 1);
	buffer_append_octet(&rules, 0);
	plan = make("", (const char *)rules.data);
	assert_true(plan.widened);
	assert_true(plan.n_intercepts <= KERNEL_SERVES_MAX);
	for (unsigned i = 0; i < 3000; i += 7) {
		char src[64], dst[64];

		snprintf(src, sizeof(src), "10.%u.%u.9:7", i / 256, i % 256);
		snprintf(dst, sizeof(dst), "20.%u.%u.9:%u", i / 256, i % 256, i + 1);
		expect(&plan, 6, src, dst, "serve");
	}
	expect(&plan, 6, "11.0.0.1:7", "20.0.0.9:1", "none");
	buffer_release(&rules);
}

/* A flow of which something is not known meets no condition about it, whatever the number. */
static void test_what_is_not_known_matches_no_number(void **state)
{
	struct kernel_plan plan = make("", RULE(1, 4, ",\"reqid\":[4294967295]") "," RULE(2, 4, ",\"ifgroup\":[0]"));
	struct flow f = flow_of(6, "10.0.0.9:7", "20.0.0.9:1");
	char is[64];

	assert_string_equal(fate_text(&plan, kernel_plan_find(&plan, &f), is), "forward");
	f.ifgroup = -1;
	assert_string_equal(fate_text(&plan, kernel_plan_find(&plan, &f), is), "none");
	f.reqid = UINT32_MAX;
	assert_string_equal(fate_text(&plan, kernel_plan_find(&plan, &f), is), "forward");
}

static void expect_from(const struct kernel_plan *plan, const char *iface, const char *dst, const char *fate)
{
	struct flow f = flow_of(6, "10.0.0.9:7", dst);
	char is[64];

	snprintf(f.iface, sizeof(f.iface), "%s", iface);
	snprintf(f.dst_iface, sizeof(f.dst_iface), "%s", iface);
	assert_string_equal(fate_text(plan, kernel_plan_find(plan, &f), is), fate);
}

/* Rules apply to what comes in through lo only where they name it, however few conditions are left. */
static void test_widening_keeps_loopback_apart(void **state)
{
	static const char *const conditions[] = { "\"iface\":[\"lo\",\"eth1\"]", "\"dst_iface\":[\"lo\"]" };

	for (size_t k = 0; k < ARRAY_LEN(conditions); k++) {
		struct buffer rules = BUFFER_INIT(16u << 20);
		struct kernel_plan plan;

		for (unsigned i = 0; i < 1500; i++)
			buffer_printf(&rules, "{\"id\":%u,\"instance\":0,\"service\":0,\"at\":[0,1],\"proto\":[6],\"iface\":[\"eth%u\"],"
				      "\"dst_subnet\":[\"20.%u.%u.0/24\"],\"dst_port\":[[%u,%u]]},",
				      i + 1, i % 2, i / 256, i % 256, i + 1, i + 1);
		buffer_printf(&rules, "{\"id\":9999,\"instance\":0,\"service\":0,\"at\":[0,1],\"proto\":[6],%s,\"dst_port\":[[40000,40000]]}",
			      conditions[k]);
		buffer_append_octet(&rules, 0);
		plan = make("", (const char *)rules.data);
		assert_true(plan.widened);
		assert_true(plan.n_intercepts <= 2 * KERNEL_SERVES_MAX);
		expect_from(&plan, "lo", "127.0.0.1:40000", "serve");
		expect_from(&plan, "lo", "20.0.0.9:1", "none");
		expect_from(&plan, "lo", "127.0.0.1:1", "none");
		expect_from(&plan, "eth0", "20.0.0.9:1", "serve");
		expect_from(&plan, "eth1", "20.0.1.9:2", "serve");
		assert_non_null(strstr(render(arena, &plan), "chain lo_ipv4_tcp"));
		buffer_release(&rules);
		arena_reset(arena);
	}
}

/* n rules of these services in turn, which nothing joins: each between two networks of its own, for a port of its own. */
static const char *scattered(struct buffer *rules, unsigned n, const unsigned *services, size_t n_services, const char *rest)
{
	for (unsigned i = 0; i < n; i++)
		buffer_printf(rules, "%s{\"id\":%u,\"instance\":0,\"service\":%u,\"at\":[0,1],\"src_subnet\":[\"10.%u.%u.0/24\"],"
			      "\"dst_subnet\":[\"20.%u.%u.0/24\"],\"dst_port\":[[%u,%u]]%s}",
			      i > 0 ? "," : "", i + 1, services[i % n_services], i / 256, i % 256, i / 256, i % 256, i + 1, i + 1, rest);
	buffer_append_octet(rules, 0);
	return (const char *)rules->data;
}

static void expect_scattered(const struct kernel_plan *plan, unsigned i, uint8_t protocol, const char *fate)
{
	char src[64], dst[64];

	snprintf(src, sizeof(src), "10.%u.%u.9:7", i / 256, i % 256);
	snprintf(dst, sizeof(dst), "20.%u.%u.9:%u", i / 256, i % 256, i + 1);
	expect(plan, protocol, src, dst, fate);
}

static void test_too_many_denials_are_simplified(void **state)
{
	struct buffer rules = BUFFER_INIT(16u << 20);
	struct kernel_plan plan = make("", scattered(&rules, 3000, (const unsigned[]){ 0, 3 }, 2, ""));

	/* TCP: user space decides. Else: dropped, and no answer is promised. */
	for (unsigned i = 0; i < 3000; i += 7) {
		expect_scattered(&plan, i, 6, "serve");
		expect_scattered(&plan, i, 17, "refuse 0");
	}
	assert_true(plan.widened);
	assert_true(plan.n_intercepts <= 2 * KERNEL_SERVES_MAX);
	expect(&plan, 6, "11.0.0.1:7", "20.0.0.9:1", "none");
	expect(&plan, 17, "11.0.0.1:7", "20.0.0.9:1", "none");
	buffer_release(&rules);
}

static void test_forwarding_is_never_simplified(void **state)
{
	struct buffer few = BUFFER_INIT(16u << 20), many = BUFFER_INIT(16u << 20);
	static const unsigned services[] = { 0, 3, 4, 5 };
	struct kernel_plan plan = make("", scattered(&few, 3000, services, 4, ",\"proto\":[6]"));

	for (unsigned i = 0; i < 3000; i += 7)
		expect_scattered(&plan, i, 6, i % 4 == 2 ? "forward" : i % 4 == 3 ? "forward to 192.0.2.1:8080 masquerade" : "serve");
	assert_false(plan.widened);
	expect(&plan, 6, "10.0.0.9:7", "20.0.0.9:2", "none");
	/* Each family and transport has a ceiling of its own, since a flow meets one of them only. */
	plan = make("", scattered(&many, 3000, services, 4, ""));
	for (unsigned i = 0; i < 3000; i += 7)
		expect_scattered(&plan, i, 17, i % 4 == 2 ? "forward" : i % 4 == 3 ? "forward to 192.0.2.1:8080 masquerade" : "refuse 0");
	assert_true(plan.n_intercepts > KERNEL_CHAIN_MAX);
	buffer_release(&few);
	buffer_release(&many);
}

static void test_what_is_too_much_is_named(void **state)
{
	static const struct {
		const char *rest, *what;
		size_t max;
	} rows[] = {
		{ ",\"proto\":[6]", "conditions for TCP over IPv4", KERNEL_CHAIN_MAX },
		{ ",\"proto\":[17]", "conditions for UDP over IPv4", KERNEL_CHAIN_MAX },
	};
	struct kernel_plan plan;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buffer rules = BUFFER_INIT(16u << 20);

		assert_int_equal(kernel_plan_make(policy_of(arena, "", scattered(&rules, KERNEL_CHAIN_MAX + 1, (const unsigned[]){ 4 }, 1, rows[i].rest)),
						  NULL, arena, &plan), -E2BIG);
		assert_string_equal(plan.excess.what, rows[i].what);
		assert_int_equal(plan.excess.max, rows[i].max);
		assert_non_null(plan.excess.remedy);
		buffer_release(&rules);
	}
}

/* Interface names have a ceiling of their own. */
static void test_too_many_interfaces(void **state)
{
	struct buffer rules = BUFFER_INIT(16u << 20);
	struct kernel_plan plan;

	for (unsigned i = 0; i <= KERNEL_NAMES_MAX; i++)
		buffer_printf(&rules, "%s{\"id\":%u,\"instance\":0,\"service\":4,\"at\":[0,1],\"iface\":[\"eth%u\"]}", i > 0 ? "," : "", i + 1, i);
	buffer_append_octet(&rules, 0);
	assert_int_equal(kernel_plan_make(policy_of(arena, "", (const char *)rules.data), NULL, arena, &plan), -E2BIG);
	assert_string_equal(plan.excess.what, "names of interfaces in rules");
	buffer_release(&rules);
}

/* A small, repeatable source of chance. */
static uint32_t seed;

static unsigned chance(unsigned n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static void random_rule(struct buffer *out, unsigned id)
{
	static const char *const subnets[] = { "10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "fd00::/8", "0.0.0.0/0", "11.0.0.0/9" };
	static const char *const dims[] = { "src_subnet", "dst_subnet" };
	static const char *const ports[] = { "[25,25]", "[1,100]", "[20,30]", "[0,65535]", "[80,80]", "[0,0]" };
	static const char *const ifaces[] = { "eth0", "eth1" };

	buffer_printf(out, "%s{\"id\":%u,\"instance\":0,\"service\":%u,\"at\":[0,1]", id > 1 ? "," : "", id, chance(6));
	for (unsigned i = 0; i < 2; i++)
		if (chance(3) == 0)
			buffer_printf(out, ",\"%s\":[\"%s\",\"%s\"]", dims[i], subnets[chance(3)], subnets[3 + chance(3)]);
	if (chance(2) == 0)
		buffer_printf(out, ",\"src_zone\":[%u]", chance(4));
	if (chance(4) == 0)
		buffer_printf(out, ",\"dst_zone\":[%u]", chance(4));
	if (chance(2) == 0)
		buffer_printf(out, ",\"dst_port\":[%s,%s]", ports[chance(3)], ports[3 + chance(3)]);
	if (chance(6) == 0)
		buffer_printf(out, ",\"src_port\":[%s]", ports[chance(6)]);
	if (chance(3) == 0)
		buffer_printf(out, ",\"proto\":[%u]", (unsigned[]){ 6, 17, 1, 47 }[chance(4)]);
	if (chance(6) == 0)
		buffer_printf(out, ",\"proto_type\":[%u]", chance(3));
	if (chance(5) == 0)
		buffer_printf(out, ",\"iface\":[\"%s\"]", ifaces[chance(2)]);
	if (chance(6) == 0)
		buffer_printf(out, ",\"ifgroup\":[%u]", chance(2));
	if (chance(8) == 0)
		buffer_printf(out, ",\"dst_iface\":[\"%s\"]", ifaces[chance(2)]);
	if (chance(8) == 0)
		buffer_printf(out, ",\"dst_ifgroup\":[%u]", chance(2));
	buffer_printf(out, "}");
}

static struct flow random_flow(void)
{
	static const char *const v4[] = { "10.0.0.1", "10.1.2.3", "10.1.9.9", "10.200.0.1", "11.0.0.1", "11.200.1.1", "12.0.0.1" };
	static const char *const v6[] = { "fd00::1", "fd01::2", "2001:db8::1" };
	static const uint8_t protocols[] = { 6, 6, 6, 17, 1, 47 };
	static const uint16_t ports[] = { 25, 80, 21, 0, 50, 40000 };
	uint8_t protocol = protocols[chance(6)];
	bool six = chance(4) == 0, local = chance(3) == 0;
	struct flow f = flow_of(six && protocol == 1 ? 58 : protocol, six ? v6[chance(3)] : v4[chance(7)], six ? v6[chance(3)] : v4[chance(7)]);

	snprintf(f.iface, sizeof(f.iface), "eth%u", chance(2));
	f.ifgroup = (int32_t)chance(2);
	if (local) {
		snprintf(f.dst_iface, sizeof(f.dst_iface), "%s", f.iface);
		f.dst_ifgroup = f.ifgroup;
	}
	if (f.protocol == 6 || f.protocol == 17) {
		f.src.port = ports[chance(6)];
		f.dst.port = ports[chance(6)];
	} else if (f.protocol != 47) {
		f.icmp_type = (int16_t)chance(3);
		f.icmp_code = 0;
	}
	return f;
}

/* What the best match says that should happen, in the words of fate_text. */
static void should_be(const struct service *s, const struct flow *f, char text[64])
{
	bool four = f->src.ip.family == AF_INET;
	unsigned deny;

	if (s == NULL) {
		snprintf(text, 64, "none");
	} else if (s->kind == SERVICE_PROXY) {
		snprintf(text, 64, f->protocol == 6 ? "serve" : "refuse 0");
	} else if (s->kind == SERVICE_DENY) {
		deny = four ? s->deny_ipv4 : s->deny_ipv6;
		snprintf(text, 64, "refuse %u", deny == DENY_TCP_RESET && f->protocol != 6 ? 0 : deny);
	} else if (s->router.kind == ROUTER_TRANSPARENT) {
		snprintf(text, 64, "forward");
	} else {
		snprintf(text, 64, !four ? "refuse 0" : f->protocol == 6 || f->protocol == 17 ? "forward to 192.0.2.1:8080 masquerade" :
			 "forward to 192.0.2.1 masquerade");
	}
}

static void compare(const struct policy *policy, const struct kernel_plan *plan, const struct flow *f)
{
	char src[ENDPOINT_TEXT_MAX], dst[ENDPOINT_TEXT_MAX], is[64], should[64];
	struct decision d;

	policy_decide(policy, NULL, f, &d);
	should_be(d.service, f, should);
	if (strcmp(fate_text(plan, kernel_plan_find(plan, f), is), should) != 0)
		fail_msg("protocol %u %s -> %s in %s: is %s, should be %s (rule %u)", f->protocol, endpoint_text(&f->src, src),
			 endpoint_text(&f->dst, dst), f->iface, is, should, d.rule == NULL ? 0 : (unsigned)d.rule->id);
}

static void test_agrees_with_the_decision(void **state)
{
	static const char zones[] =
		"{\"name\":\"a\",\"addrs\":[\"10.0.0.0/8\",\"fd00::/8\"],\"hostnames\":[],\"parent\":null,\"at\":[0,1]},"
		"{\"name\":\"b\",\"addrs\":[\"10.1.0.0/16\"],\"hostnames\":[],\"parent\":null,\"at\":[0,1]},"
		"{\"name\":\"c\",\"addrs\":[\"10.1.2.0/24\",\"fd01::/16\"],\"hostnames\":[],\"parent\":0,\"at\":[0,1]},"
		"{\"name\":\"d\",\"addrs\":[\"0.0.0.0/0\"],\"hostnames\":[],\"parent\":1,\"at\":[0,1]}";

	for (unsigned round = 0; round < 400; round++) {
		struct buffer rules = BUFFER_INIT(1u << 20);
		const struct policy *policy;
		struct kernel_plan plan;

		seed = 7919 * (round + 1);	/* the last hundred policies are larger */
		for (unsigned id = 1, n = 1 + chance(round < 300 ? 6 : 60); id <= n; id++)
			random_rule(&rules, id);
		buffer_append_octet(&rules, 0);
		policy = policy_of(arena, zones, (const char *)rules.data);
		assert_int_equal(kernel_plan_make(policy, NULL, arena, &plan), 0);
		assert_int_equal(kernel_plan_check(&plan), 0);
		for (unsigned i = 0; i < 200; i++) {
			struct flow f = random_flow();

			compare(policy, &plan, &f);
		}
		buffer_release(&rules);
		arena_reset(arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_tutorial, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nested_zones, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_deny_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_alternatives_of_one_rule_are_cases, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_forwarding, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refusal_waits_for_the_one_that_beats_it, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_other_family_is_not_any, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many_rules_stay_small, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_too_many_are_widened_not_lost, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_not_known_matches_no_number, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_widening_keeps_loopback_apart, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_too_many_denials_are_simplified, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_forwarding_is_never_simplified, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_what_is_too_much_is_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_too_many_interfaces, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_agrees_with_the_decision, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
