/* SPDX-License-Identifier: Apache-2.0 */
/* What a plan that follows host names may come to, and what a leader that was taken over can't make of it. */
#include "kernel_test.h"
#include "policy/names.h"

#include <errno.h>
#include <stdlib.h>

#define ZONES \
	"{\"name\":\"net\",\"addrs\":[\"10.0.0.0/8\",\"fd00::/16\"],\"hostnames\":[],\"parent\":null,\"at\":[0,1]}," \
	"{\"name\":\"named\",\"addrs\":[],\"hostnames\":[\"a.example\"],\"parent\":null,\"at\":[0,1]}," \
	"{\"name\":\"both\",\"addrs\":[\"10.1.0.0/16\"],\"hostnames\":[\"b.example\"],\"parent\":0,\"at\":[0,1]}"
/* Rule 4 has two ways to match its destination, so its interface says nothing; of UDP all that is forwarded names one. */
#define RULES \
	"{\"id\":1,\"instance\":0,\"service\":0,\"at\":[0,1],\"dst_port\":[[25,25]],\"src_zone\":[0]}," \
	"{\"id\":2,\"instance\":0,\"service\":4,\"at\":[0,1],\"proto\":[6],\"dst_port\":[[80,80],[443,443]],\"src_zone\":[1]}," \
	"{\"id\":3,\"instance\":0,\"service\":4,\"at\":[0,1],\"proto\":[6],\"dst_port\":[[1000,2000]],\"iface\":[\"eth1\"],\"src_zone\":[2]}," \
	"{\"id\":4,\"instance\":0,\"service\":5,\"at\":[0,1],\"proto\":[6],\"dst_port\":[[81,81]],\"dst_iface\":[\"eth2\"],\"dst_zone\":[1]}," \
	"{\"id\":5,\"instance\":0,\"service\":4,\"at\":[0,1],\"proto\":[1],\"proto_type\":[8],\"src_zone\":[1]}," \
	"{\"id\":7,\"instance\":0,\"service\":4,\"at\":[0,1],\"proto\":[17],\"iface\":[\"eth1\"],\"src_zone\":[1]}," \
	"{\"id\":6,\"instance\":0,\"service\":2,\"at\":[0,1],\"proto\":[6],\"dst_port\":[[443,443]],\"src_zone\":[2]}"

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

/* Of a.example and b.example, so many addresses each. */
static struct kernel_plan plan_of(const struct policy *policy, unsigned *seed)
{
	struct host_record hosts[2] = { { .name = slice_cstr("a.example"), .state = HOST_KNOWN }, { .name = slice_cstr("b.example"), .state = HOST_KNOWN } };
	const struct names_snapshot s = { hosts, 2 };
	struct zone_names *names;
	struct kernel_plan plan;

	for (size_t i = 0; i < 2; i++) {
		size_t n = (size_t)rand_r(seed) % 4;
		struct ip_addr *addrs = arena_array(arena, 4, sizeof(*addrs));

		for (size_t k = 0; k < n; k++)
			addrs[k] = (struct ip_addr){ AF_INET, { 10, (uint8_t)(rand_r(seed) % 3), 0, (uint8_t)(10 * k + (size_t)rand_r(seed) % 10) } };
		hosts[i].addrs = addrs;
		hosts[i].n_addrs = n;
	}
	assert_int_equal(zone_names_make(policy, &s, NULL, &names), 0);
	assert_int_equal(kernel_plan_make(policy, names, arena, &plan), 0);
	zone_names_free(&names);
	return plan;
}

/* As the supervisor gets it. */
static int passed_on(const struct kernel_plan *plan, struct kernel_plan *out)
{
	struct buffer octets = BUFFER_INIT(1u << 20);
	int err = kernel_plan_pack(plan, &octets);

	if (err == 0)
		err = kernel_plan_unpack(buffer_slice(&octets), arena, out);
	buffer_release(&octets);
	return err;
}

static void test_whatever_addresses_there_are(void **state)
{
	const struct policy *policy = policy_of(arena, ZONES, RULES);
	struct kernel_plan first, without, next;
	unsigned seed = 1;

	assert_int_equal(kernel_plan_make(policy, NULL, arena, &first), 0);
	assert_int_equal(passed_on(&first, &without), 0);
	assert_true(without.n_grants > 0);
	for (unsigned i = 0; i < 200; i++) {
		struct kernel_plan plan = plan_of(policy, &seed);

		assert_int_equal(kernel_plan_check(&plan), 0);
		assert_int_equal(passed_on(&plan, &next), 0);
		assert_true(kernel_plan_may_become(&without, &next));
		assert_true(kernel_plan_may_become(&next, &without));
	}
}

static unsigned chance(unsigned *seed, unsigned n)
{
	return (unsigned)rand_r(seed) % n;
}

/* A condition now and then: one of those, or two. */
static void maybe(struct buffer *out, unsigned *seed, const char *name, const char *const *values, unsigned n)
{
	unsigned i = chance(seed, 3 * n), k = chance(seed, n);

	if (i < n && i != k)
		buffer_printf(out, ",\"%s\":[%s,%s]", name, values[i], values[k]);
	else if (i < n)
		buffer_printf(out, ",\"%s\":[%s]", name, values[i]);
}

static const char *random_rules(unsigned *seed, unsigned n)
{
	static const char *const subnets[] = { "\"10.0.0.0/8\"", "\"10.1.0.0/16\"", "\"fd00::/8\"", "\"10.1.0.9/32\"" };
	static const char *const ports[] = { "[25,25]", "[1,100]", "[0,0]", "[20,30]", "[80,80]" }, *const zones[] = { "0", "1", "2" };
	static const char *const protocols[] = { "6", "17", "1", "47", "58" }, *const types[] = { "0", "8" };
	static const char *const ifaces[] = { "\"eth0\"", "\"eth1\"" }, *const groups[] = { "1", "2" };
	struct buffer out = BUFFER_INIT(1u << 20);
	const char *text;

	for (unsigned id = 1; id <= n; id++) {
		buffer_printf(&out, "%s{\"id\":%u,\"instance\":0,\"service\":%u,\"at\":[0,1]", id > 1 ? "," : "", id, chance(seed, 6));
		maybe(&out, seed, "src_subnet", subnets, 4);
		maybe(&out, seed, "dst_subnet", subnets, 4);
		maybe(&out, seed, "src_zone", zones, 3);
		maybe(&out, seed, "dst_zone", zones, 3);
		maybe(&out, seed, "src_port", ports, 5);
		maybe(&out, seed, "dst_port", ports, 5);
		maybe(&out, seed, "proto", protocols, 5);
		maybe(&out, seed, "proto_type", types, 2);
		maybe(&out, seed, "iface", ifaces, 2);
		maybe(&out, seed, "ifgroup", groups, 2);
		maybe(&out, seed, "dst_iface", ifaces, 2);
		maybe(&out, seed, "dst_ifgroup", groups, 2);
		buffer_printf(&out, "}");
	}
	text = arena_cstr(arena, buffer_slice(&out));
	buffer_release(&out);
	return text;
}

/* No policy's own plan is ever refused. */
static void test_whatever_policy_there_is(void **state)
{
	unsigned seed = 7;

	for (unsigned round = 0; round < 120; round++) {
		const struct policy *policy = policy_of(arena, ZONES, random_rules(&seed, round < 90 ? 1 + round % 6 : 40));
		struct kernel_plan loaded, next;

		assert_int_equal(kernel_plan_make(policy, NULL, arena, &loaded), 0);
		assert_int_equal(kernel_plan_check(&loaded), 0);
		for (unsigned i = 0; i < 4; i++) {
			next = plan_of(policy, &seed);
			assert_int_equal(kernel_plan_check(&next), 0);
			assert_true(kernel_plan_may_become(&loaded, &next));
		}
		arena_reset(arena);
	}
}

static void test_without_host_names(void **state)
{
	const struct policy *policy = policy_of(arena, "{\"name\":\"net\",\"addrs\":[\"10.0.0.0/8\"],\"hostnames\":[],\"parent\":null,\"at\":[0,1]}",
						"{\"id\":1,\"instance\":0,\"service\":4,\"at\":[0,1],\"src_zone\":[0]}");
	struct kernel_plan plan, other;

	assert_int_equal(kernel_plan_make(policy, NULL, arena, &plan), 0);
	assert_int_equal(plan.n_grants, 0);
	assert_int_equal(passed_on(&plan, &other), 0);
	assert_false(kernel_plan_may_become(&plan, &other));	/* there is nothing to follow */
}

static size_t forwarding(const struct kernel_plan *plan)
{
	for (size_t i = 0; i < plan->n_intercepts; i++)
		if (plan->intercepts[i].action == INTERCEPT_FORWARD && plan->intercepts[i].family == AF_INET &&
		    plan->intercepts[i].transport == TRANSPORT_TCP && plan->intercepts[i].target < 0)
			return i;
	fail_msg("no condition forwards");
	return 0;
}

static void refused(const struct kernel_plan *plan, const struct intercept *changed, size_t at)
{
	struct kernel_plan copy = *plan, out;
	struct intercept *v = arena_array(arena, plan->n_intercepts, sizeof(*v));

	memcpy(v, plan->intercepts, plan->n_intercepts * sizeof(*v));
	v[at] = *changed;
	copy.intercepts = v;
	assert_int_equal(passed_on(&copy, &out), -EINVAL);
}

/* Nothing is forwarded that the plan's own grants do not have. */
static void test_more_than_is_granted(void **state)
{
	static const struct span wider[] = { { 80, 81 } }, other[] = { { 22, 22 } }, two[] = { { 80, 80 }, { 3000, 3000 } };
	static const struct spans ports[] = { { wider, 1 }, { other, 1 }, { two, 2 }, { NULL, 0 } };
	unsigned seed = 3;
	struct kernel_plan plan = plan_of(policy_of(arena, ZONES, RULES), &seed);
	size_t at = forwarding(&plan);
	struct intercept c;

	for (size_t i = 0; i < ARRAY_LEN(ports); i++) {
		c = plan.intercepts[at];
		c.dims[DIM_DST_PORT] = ports[i];
		refused(&plan, &c, at);
	}
	c = plan.intercepts[at];
	c.masquerade = !c.masquerade;
	refused(&plan, &c, at);
	c = plan.intercepts[at];
	c.target = 0;
	refused(&plan, &c, at);
	c = plan.intercepts[at];
	c.transport = TRANSPORT_UDP;
	refused(&plan, &c, at);
}

/* Nor do these become others. */
static void test_other_grants(void **state)
{
	static const struct span any_port[] = { { 0, 65535 } };
	const struct policy *policy = policy_of(arena, ZONES, RULES);
	unsigned seed = 3;
	size_t eth1 = 0;
	struct kernel_plan loaded = plan_of(policy, &seed), next = plan_of(policy, &seed), out;
	struct intercept *grants = arena_array(arena, next.n_grants + 1, sizeof(*grants));
	struct endpoint *targets = arena_array(arena, next.n_targets, sizeof(*targets));
	char (*names)[IFNAME_MAX] = arena_array(arena, next.n_names, IFNAME_MAX);

	memcpy(grants, next.grants, next.n_grants * sizeof(*grants));
	memcpy(targets, next.targets, next.n_targets * sizeof(*targets));
	memcpy(names, next.names, next.n_names * IFNAME_MAX);
	next.grants = grants;
	next.targets = targets;
	next.names = names;
	assert_true(kernel_plan_may_become(&loaded, &next));
	next.n_grants--;
	assert_false(kernel_plan_may_become(&loaded, &next));
	grants[++next.n_grants] = grants[0];
	next.n_grants++;
	assert_false(kernel_plan_may_become(&loaded, &next));
	next.n_grants--;
	grants[0].dims[DIM_DST_PORT] = (struct spans){ any_port, 1 };
	assert_int_equal(passed_on(&next, &out), 0);
	assert_false(kernel_plan_may_become(&loaded, &out));
	grants[0] = loaded.grants[0];
	targets[0].port++;
	assert_false(kernel_plan_may_become(&loaded, &next));
	targets[0].port--;
	while (strcmp(names[eth1], "eth1") != 0)
		eth1++;
	names[eth1][3] = '7';
	assert_false(kernel_plan_may_become(&loaded, &next));
	names[eth1][3] = '1';
	next.changing = false;
	assert_false(kernel_plan_may_become(&loaded, &next));
	assert_int_equal(passed_on(&next, &out), -EINVAL);
	next.changing = true;
	assert_true(kernel_plan_may_become(&loaded, &next));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_whatever_addresses_there_are, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_whatever_policy_there_is, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_without_host_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_more_than_is_granted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_other_grants, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
