/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Plans of zones with host names: what is in their sets, and that the update from one to the next leaves the kernel with
 * the rule set that loading the next one whole would (as root, in a network namespace of the test's own).
 */
#include "kernel/host.h"
#include "kernel_test.h"
#include "policy/names.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ZONES \
	"{\"name\":\"net\",\"addrs\":[\"10.0.0.0/8\",\"fd00::/16\"],\"hostnames\":[],\"parent\":null,\"at\":[0,1]}," \
	"{\"name\":\"named\",\"addrs\":[\"192.0.2.0/24\"],\"hostnames\":[\"a.example\",\"b.example\"],\"parent\":null,\"at\":[0,1]}," \
	"{\"name\":\"other\",\"addrs\":[],\"hostnames\":[\"c.example\"],\"parent\":null,\"at\":[0,1]}"
#define RULES \
	"{\"id\":1,\"instance\":0,\"service\":0,\"at\":[0,1],\"dst_port\":[[25,25]],\"src_zone\":[1]}," \
	"{\"id\":2,\"instance\":0,\"service\":1,\"at\":[0,1],\"dst_port\":[[26,26]],\"src_zone\":[0]}," \
	"{\"id\":3,\"instance\":0,\"service\":2,\"at\":[0,1],\"dst_port\":[[27,27]],\"dst_zone\":[2],\"src_zone\":[0]}"

static struct arena *arena;
static const struct policy *policy;

static int set_up(void **state)
{
	arena = arena_create(256u << 20, 0);
	policy = arena != NULL ? policy_of(arena, ZONES, RULES) : NULL;
	return policy == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	arena_free(&arena);
	return 0;
}

/* The addresses of a.example, b.example and c.example, each as "1.2.3.4 ::5". */
static struct kernel_plan plan_of(const char *a, const char *b, const char *c)
{
	const char *const texts[] = { a, b, c };
	struct host_record hosts[3] = { { .name = slice_cstr("a.example") }, { .name = slice_cstr("b.example") }, { .name = slice_cstr("c.example") } };
	const struct names_snapshot s = { hosts, 3 };
	struct zone_names *names;
	struct kernel_plan plan;

	for (size_t i = 0; i < 3; i++) {
		struct ip_addr *addrs = arena_array(arena, 64, sizeof(*addrs));
		char *rest = NULL;

		for (char *word = strtok_r(arena_strdup(arena, texts[i]), " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest))
			assert_int_equal(ip_parse(slice_cstr(word), &addrs[hosts[i].n_addrs++]), 0);
		hosts[i].addrs = addrs;
	}
	assert_int_equal(zone_names_make(policy, &s, NULL, &names), 0);
	assert_int_equal(kernel_plan_make(policy, names, arena, &plan), 0);
	assert_int_equal(kernel_plan_check(&plan), 0);
	zone_names_free(&names);
	return plan;
}

static const char *update_of(const struct kernel_plan *from, const struct kernel_plan *to)
{
	struct buffer out = BUFFER_INIT(1u << 20);
	char *text;

	if (kernel_plan_render_update(from, to, &out) != 0)
		return "more";
	text = arena_cstr(arena, buffer_slice(&out));
	buffer_release(&out);
	return text;
}

static const char *fate(const struct kernel_plan *plan, const char *from, const char *to)
{
	struct flow f = { .protocol = 6, .ifgroup = -1, .dst_ifgroup = -1, .reqid = -1, .icmp_type = -1, .icmp_code = -1 };
	const struct intercept *c;

	assert_int_equal(endpoint_parse(slice_cstr(from), &f.src), 0);
	assert_int_equal(endpoint_parse(slice_cstr(to), &f.dst), 0);
	c = kernel_plan_find(plan, &f);
	return c == NULL ? "none" : c->action == INTERCEPT_SERVE ? "serve" : "refuse";
}

static void test_sets_have_the_addresses(void **state)
{
	struct kernel_plan plan = plan_of("10.1.2.3 198.51.100.1", "", "10.9.9.9");

	assert_true(plan.changing);
	assert_string_equal(fate(&plan, "10.1.2.3:1", "203.0.113.1:25"), "serve");
	assert_string_equal(fate(&plan, "198.51.100.1:1", "203.0.113.1:25"), "serve");
	assert_string_equal(fate(&plan, "192.0.2.1:1", "203.0.113.1:25"), "serve");
	assert_string_equal(fate(&plan, "10.1.2.4:1", "203.0.113.1:25"), "none");
	assert_string_equal(fate(&plan, "10.1.2.3:1", "203.0.113.1:26"), "none");	/* no longer in "net" */
	assert_string_equal(fate(&plan, "10.1.2.4:1", "203.0.113.1:26"), "refuse");
	assert_string_equal(fate(&plan, "10.1.2.4:1", "10.9.9.9:27"), "refuse");
}

static void test_only_differences(void **state)
{
	struct kernel_plan one = plan_of("198.51.100.1 198.51.100.5", "", "203.0.113.1"), same = plan_of("198.51.100.1", "198.51.100.5", "203.0.113.1"),
			   next = plan_of("198.51.100.1 198.51.100.9", "", "203.0.113.1"), none = plan_of("198.51.100.1", "", "");
	const char *update = update_of(&one, &next);

	assert_string_equal(update_of(&one, &same), "");
	assert_non_null(strstr(update, "delete element inet sallyport addresses_"));
	assert_non_null(strstr(update, "{ 198.51.100.5 }\n"));
	assert_non_null(strstr(update, "{ 198.51.100.9 }\n"));
	assert_null(strstr(update, "198.51.100.1 "));
	assert_null(strstr(update, "192.0.2"));
	/* A zone without any address: its rule is not there. */
	assert_string_equal(update_of(&one, &none), "more");
	one.changing = false;
	assert_string_equal(update_of(&one, &next), "more");
}

static void test_packed(void **state)
{
	struct kernel_plan plan = plan_of("10.1.2.3", "", "10.9.9.9"), again;
	struct buffer out = BUFFER_INIT(1u << 20);

	assert_int_equal(kernel_plan_pack(&plan, &out), 0);
	assert_int_equal(kernel_plan_unpack(buffer_slice(&out), arena, &again), 0);
	assert_true(again.changing);
	assert_string_equal(update_of(&plan, &again), "");
	buffer_release(&out);
}

/* ---- with the kernel ---- */

static const char *listed(void)
{
	size_t size = 1u << 18, n;
	char *text = arena_alloc(arena, size);
	FILE *p = popen("nft list table inet sallyport", "r");

	assert_non_null(p);
	n = fread(text, 1, size - 1, p);
	text[n] = '\0';
	assert_int_equal(pclose(p), 0);
	assert_true(n > 0);
	return text;
}

static void load(const char *text)
{
	char why[1024] = "";

	if (kernel_load(slice_cstr(text), why, sizeof(why)) != 0)
		fail_msg("%s\n%s", why, text);
}

/* Some addresses, in and around the subnets of the zones; "" sometimes. */
static const char *some(unsigned *seed)
{
	char *text = arena_alloc(arena, 1024);
	unsigned n = (unsigned)rand_r(seed) % 6;

	for (unsigned i = 0; i < n; i++) {
		size_t used = strlen(text);
		unsigned low = 1 + (unsigned)rand_r(seed) % 6;

		switch (rand_r(seed) % 4) {
		case 0:
			snprintf(text + used, 1024 - used, "10.0.0.%u ", low);
			break;
		case 1:
			snprintf(text + used, 1024 - used, "192.0.%u.0 192.0.%u.255 ", 1 + low % 3, 1 + low % 3);
			break;
		case 2:
			snprintf(text + used, 1024 - used, "fd00::%u ", low);
			break;
		default:
			snprintf(text + used, 1024 - used, "203.0.113.%u 10.255.255.255 10.0.0.0 ", low);
		}
	}
	return text;
}

static void test_updates_lead_where_loading_does(void **state)
{
	struct kernel_plan was = plan_of("198.51.100.1", "", "203.0.113.1");
	unsigned seed = 20260, updates = 0;

	load(render(arena, &was));
	for (unsigned i = 0; i < 60; i++) {
		const char *a = some(&seed), *b = some(&seed), *c = some(&seed), *update, *by_update;
		struct kernel_plan next = plan_of(a, b, c);

		update = update_of(&was, &next);
		if (strcmp(update, "more") != 0 && *update != '\0') {
			load(update);
			updates++;
			by_update = listed();
			load(render(arena, &next));
			assert_string_equal(by_update, listed());
		} else {
			load(render(arena, &next));
		}
		was = next;
	}
	assert_true(updates > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_sets_have_the_addresses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_only_differences, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_packed, set_up, tear_down),
		/* From here on with a network of our own. */
		cmocka_unit_test_setup_teardown(test_updates_lead_where_loading_does, set_up, tear_down),
	};
	enum { N_NETWORK_TESTS = 1 };
	bool own_network = geteuid() == 0 && access("/usr/sbin/nft", X_OK) == 0 && unshare(CLONE_NEWNET) == 0;

	if (!own_network)
		fprintf(stderr, "No root, no nft or no namespaces: %d tests left out\n", N_NETWORK_TESTS);
	return _cmocka_run_group_tests("tests", tests, ARRAY_LEN(tests) - (own_network ? 0 : N_NETWORK_TESTS), NULL, NULL);
}
