/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of the rule set against golden files, what a hostile plan must not get through, and
 * (as root) the kernel's own opinion: every rule set is loaded in a network namespace of the
 * test's own.
 */
#include "kernel/host.h"
#include "kernel_test.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static struct arena *arena;
static bool own_network;	/* we are root, with nft, in a namespace of our own */

static int set_up(void **state)
{
	arena = arena_create(64u << 20, 0);
	return arena == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	arena_free(&arena);
	return 0;
}

#define ZONES \
	"{\"name\":\"dmz\",\"addrs\":[\"172.16.40.0/24\",\"fd00:40::/64\"],\"hostnames\":[],\"parent\":null,\"at\":[0,1]}," \
	"{\"name\":\"inter\",\"addrs\":[\"0.0.0.0/0\"],\"hostnames\":[],\"parent\":null,\"at\":[0,1]}," \
	"{\"name\":\"holes\",\"addrs\":[\"10.0.0.0/8\",\"192.168.0.0/16\",\"172.31.1.1\",\"100.64.0.0/10\",\"198.18.0.0/15\"]," \
	"\"hostnames\":[],\"parent\":null,\"at\":[0,1]}"
#define RULE(id, service, rest) "{\"id\":" #id ",\"instance\":0,\"service\":" #service ",\"at\":[0,1]" rest "}"

struct sample {
	const char *name;	/* of the golden file */
	const char *rules;
};

static const struct sample samples[] = {
	{ "tutorial", RULE(1, 0, ",\"dst_port\":[[25,25]],\"src_zone\":[0],\"dst_subnet\":[\"172.16.40.1/32\"]") },
	{ "denials", RULE(1, 0, ",\"dst_port\":[[25,25],[1000,2000]],\"src_zone\":[0]") "," RULE(2, 2, ",\"dst_port\":[[113,113]]") ","
		     RULE(3, 3, ",\"src_zone\":[1]") "," RULE(4, 1, "") "," RULE(5, 3, ",\"proto_type\":[8],\"proto_subtype\":[0,1],\"src_zone\":[2]") },
	{ "incoming", RULE(1, 0, ",\"iface\":[\"eth0\",\"lo\"],\"ifgroup\":[1,2],\"reqid\":[7],\"proto\":[6],\"dst_iface\":[\"eth0\"],\"src_zone\":[2]") ","
		      RULE(2, 1, ",\"dst_ifgroup\":[3],\"src_port\":[[53,53]]") },
	{ "forwards", RULE(1, 0, ",\"dst_port\":[[25,25]]") "," RULE(2, 4, ",\"dst_port\":[[25,25]],\"src_zone\":[0]") ","
		      RULE(3, 5, ",\"dst_port\":[[80,80]],\"src_zone\":[0]") "," RULE(4, 2, ",\"src_zone\":[2]") "," RULE(5, 4, ",\"proto\":[1,58]") },
	{ "empty", "" },
};

static void test_golden(void **state)
{
	const char *folder = getenv("SALLYPORT_GOLDEN");

	assert_non_null(folder);
	for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
		struct kernel_plan plan;
		char path[512], *text, *expected = arena_alloc(arena, 1u << 16);
		FILE *f;

		assert_int_equal(kernel_plan_make(policy_of(arena, ZONES, samples[i].rules), NULL, arena, &plan), 0);
		text = render(arena, &plan);
		snprintf(path, sizeof(path), "%s/%s.nft", folder, samples[i].name);
		if (getenv("SALLYPORT_GOLDEN_WRITE") != NULL) {
			f = fopen(path, "w");
			assert_non_null(f);
			fputs(text, f);
		} else {
			f = fopen(path, "r");
			assert_non_null(f);
			assert_true(fread(expected, 1, 1u << 16, f) < 1u << 16);
			assert_string_equal(text, expected);
		}
		fclose(f);
	}
}

static void test_kernel_takes_them(void **state)
{
	char why[1024] = "";

	for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
		struct kernel_plan plan;
		const char *text;

		assert_int_equal(kernel_plan_make(policy_of(arena, ZONES, samples[i].rules), NULL, arena, &plan), 0);
		text = render(arena, &plan);
		if (kernel_try(slice_cstr(text), why, sizeof(why)) < 0)
			fail_msg("%s: %s", samples[i].name, why);
		assert_int_equal(kernel_is_loaded(), 0);
	}
	assert_int_equal(kernel_try(slice_cstr("table inet x { chain y { nonsense } }"), why, sizeof(why)), -EINVAL);
	assert_true(strlen(why) > 10);
}

static void run(const char *command, int status)
{
	assert_int_equal(system(command), status);
}

static int load_beside(const char *text, char *why, size_t size)
{
	struct kernel_loading l = { 0 };
	int status;

	assert_int_equal(kernel_load_begin(slice_cstr(text), &l), 0);
	do {
		struct pollfd p = { .fd = l.words_fd, .events = POLLIN };

		assert_int_equal(poll(&p, 1, -1), 1);
	} while (kernel_load_hear(&l));
	assert_int_equal(waitpid(l.pid, &status, 0), l.pid);
	status = kernel_load_end(&l, status, why, size);
	assert_int_equal(l.pid, 0);
	return status;
}

/* More words than there is room for are read all the same, or nft would wait. */
static void test_load_without_waiting(void **state)
{
	struct buffer wrong = BUFFER_INIT(1u << 20);
	char why[1024] = "";

	assert_int_equal(load_beside("table inet sallyport { }\n", why, sizeof(why)), 0);
	assert_int_equal(kernel_is_loaded(), 1);
	for (unsigned i = 0; i < 2000; i++)
		buffer_printf(&wrong, "add rule inet sallyport nowhere%u accept\n", i);
	buffer_append_octet(&wrong, 0);
	assert_int_equal(load_beside((const char *)wrong.data, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "nft: "));
	assert_int_equal(load_beside("delete table inet sallyport\n", why, sizeof(why)), 0);
	assert_int_equal(kernel_is_loaded(), 0);
	buffer_release(&wrong);
}

static void test_load_and_clear(void **state)
{
	struct kernel_plan plan;
	char why[1024] = "";
	const char *text;

	assert_int_equal(kernel_plan_make(policy_of(arena, ZONES, samples[0].rules), NULL, arena, &plan), 0);
	text = render(arena, &plan);
	assert_int_equal(kernel_is_loaded(), 0);
	assert_int_equal(kernel_clear(why, sizeof(why)), 0);
	for (int twice = 0; twice < 2; twice++) {
		assert_int_equal(kernel_load(slice_cstr(text), why, sizeof(why)), 0);
		assert_int_equal(kernel_route_add(why, sizeof(why)), 0);
		assert_int_equal(kernel_is_loaded(), 1);
	}
	run("test $(ip rule show pref 5353 | wc -l) = 1 && test $(ip route show table 5353 | wc -l) = 1", 0);
	run("test ! -e /proc/sys/net/ipv6 || test $(ip -6 rule show pref 5353 | wc -l) = 1", 0);
	/* A rule set that the kernel refuses leaves the old one in place. */
	assert_int_equal(kernel_load(slice_cstr("delete table inet sallyport\ntable inet sallyport { chain c { goto nowhere } }\n"), why, sizeof(why)), -EINVAL);
	assert_int_equal(kernel_is_loaded(), 1);
	assert_int_equal(kernel_clear(why, sizeof(why)), 0);
	assert_int_equal(kernel_is_loaded(), 0);
	run("test -z \"$(ip rule show pref 5353; ip route show table 5353 2>/dev/null; ip -6 rule show pref 5353)\"", 0);
}

static void test_conflicts(void **state)
{
	char why[1024] = "";

	run("ip rule add pref 5353 fwmark 1 lookup 77", 0);
	assert_int_equal(kernel_route_add(why, sizeof(why)), -EEXIST);
	assert_non_null(strstr(why, "5353"));
	assert_int_equal(kernel_clear(why, sizeof(why)), 0);
	run("ip rule show pref 5353 | grep -q 'lookup 77'", 0);	/* not ours to remove */
	run("ip rule del pref 5353 && ip route add 10.9.0.0/16 dev lo table 5353", 0);
	assert_int_equal(kernel_route_add(why, sizeof(why)), -EEXIST);
	assert_int_equal(kernel_clear(why, sizeof(why)), 0);
	run("ip route show table 5353 | grep -q 10.9", 0);
	run("ip route flush table 5353", 0);
}

static void test_host_settings(void **state)
{
	struct policy_problems problems;

	problems_init(&problems, arena);
	run("echo 1 > /proc/sys/net/ipv4/tcp_fwmark_accept && echo 1 > /proc/sys/net/ipv4/conf/all/src_valid_mark", 0);
	kernel_check_host(&problems);
	assert_int_equal(problems.n_errors, 0);
	assert_true(problems.n_warnings >= 2);
	run("echo 0 > /proc/sys/net/ipv4/tcp_fwmark_accept && echo 0 > /proc/sys/net/ipv4/conf/all/src_valid_mark && "
	    "echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter", 0);
	problems_init(&problems, arena);
	kernel_check_host(&problems);
	assert_int_equal(problems.n_errors + problems.n_warnings, 0);
}

static void test_odd_names(void **state)
{
	static const char *const odd[] = { "", "a b", "a\"", "a\n", "a;", "*", "eth*", "a{", "a}", "a/b", ".", "..", "\xc3\xa4", "a\\", "$x", "#", "@x\t",
					   "0123456789abcdef" };
	char names[1][IFNAME_MAX];
	struct kernel_plan plan = { .names = names, .n_names = 1 };

	snprintf(names[0], IFNAME_MAX, "br-lan.7:1");
	assert_int_equal(kernel_plan_check(&plan), 0);
	for (size_t i = 0; i < ARRAY_LEN(odd); i++) {
		memset(names[0], 0, IFNAME_MAX);
		memcpy(names[0], odd[i], strnlen(odd[i], IFNAME_MAX));
		assert_int_equal(kernel_plan_check(&plan), -EINVAL);
	}
}

/* One sound intercept, and everything that can be wrong with it. */
static void test_odd_numbers(void **state)
{
	struct address_range range = { { AF_INET, { 10, 0, 0, 1 } }, { AF_INET, { 10, 0, 0, 9 } } };
	struct address_range two[2] = { { { AF_INET, { 1 } }, { AF_INET, { 3 } } }, { { AF_INET, { 2 } }, { AF_INET, { 4 } } } };
	struct address_set set = { AF_INET, &range, 1 };
	struct span span = { 25, 25 };
	char names[1][IFNAME_MAX] = { "eth0" };
	struct intercept c = { .action = INTERCEPT_SERVE, .family = AF_INET, .src = 0, .dst = -1, .target = -1 };
	struct endpoint target = { { AF_INET, { 10, 0, 0, 1 } }, 0 };
	struct kernel_plan plan = { .intercepts = &c, .n_intercepts = 1, .sets = &set, .n_sets = 1, .names = names, .n_names = 1,
				    .targets = &target, .n_targets = 1 };

#define REFUSED(change, back) \
	do { change; assert_int_equal(kernel_plan_check(&plan), -EINVAL); back; assert_int_equal(kernel_plan_check(&plan), 0); } while (0)

	c.dims[DIM_DST_PORT] = (struct spans){ &span, 1 };
	assert_int_equal(kernel_plan_check(&plan), 0);
	REFUSED(c.src = 1, c.src = 0);
	REFUSED(c.src = -2, c.src = 0);
	REFUSED(c.family = AF_INET6, c.family = AF_INET);
	REFUSED(c.family = AF_UNIX, c.family = AF_INET);
	REFUSED(c.action = 3, c.action = 0);
	REFUSED(c.target = 0, c.target = -1);	/* what is served is not forwarded */
	REFUSED(c.masquerade = true, c.masquerade = false);
	REFUSED(target.ip.family = AF_UNSPEC, target.ip.family = AF_INET);
	REFUSED(plan.n_targets = KERNEL_TARGETS_MAX + 1, plan.n_targets = 1);
	c.action = INTERCEPT_FORWARD;
	c.target = 0;
	c.masquerade = true;
	assert_int_equal(kernel_plan_check(&plan), 0);
	REFUSED(c.target = 1, c.target = 0);
	REFUSED(c.target = -2, c.target = 0);
	REFUSED(target.ip.family = AF_INET6, target.ip.family = AF_INET);
	c.dims[DIM_DST_PORT].n = 0;
	c.transport = TRANSPORT_OTHER;
	REFUSED(target.port = 25, target.port = 0);
	c.transport = TRANSPORT_TCP;
	c.dims[DIM_DST_PORT].n = 1;
	target.port = 25;
	assert_int_equal(kernel_plan_check(&plan), 0);
	REFUSED(c.deny = 1, c.deny = 0);
	REFUSED(c.log = true, c.log = false);
	c.action = INTERCEPT_SERVE;
	c.target = -1;
	c.masquerade = false;
	REFUSED(c.transport = TRANSPORT_UDP, c.transport = TRANSPORT_TCP);
	REFUSED(c.deny = 1, c.deny = 0);
	REFUSED(c.log = true, c.log = false);
	REFUSED(span.last = 65536, span.last = 25);
	REFUSED(span.first = 26, span.first = 25);
	REFUSED(set.n_ranges = 0, set.n_ranges = 1);
	REFUSED(set.family = AF_INET6, set.family = AF_INET);
	REFUSED(range.last.octets[0] = 9, range.last.octets[0] = 10);
	REFUSED((set.ranges = two, set.n_ranges = 2), (set.ranges = &range, set.n_ranges = 1));
	REFUSED(plan.n_intercepts = KERNEL_INTERCEPTS_MAX + 1, plan.n_intercepts = 1);
	span.first = span.last = 1;
	c.dims[DIM_DST_PORT].n = 0;
	REFUSED((c.dims[DIM_IFACE] = (struct spans){ &span, 1 }), c.dims[DIM_IFACE].n = 0);	/* only name 0 exists */
	REFUSED((c.dims[DIM_PROTOCOL] = (struct spans){ &span, 1 }), c.dims[DIM_PROTOCOL].n = 0);
	c = (struct intercept){ .action = INTERCEPT_REFUSE, .family = AF_INET, .transport = TRANSPORT_OTHER, .src = -1, .dst = -1, .target = -1, .deny = 8 };
	assert_int_equal(kernel_plan_check(&plan), 0);
	REFUSED(c.deny = 9, c.deny = 8);
	REFUSED(c.deny = DENY_TCP_RESET, c.deny = 8);
	REFUSED((c.dims[DIM_ICMP_TYPE] = (struct spans){ &span, 1 }), c.dims[DIM_ICMP_TYPE].n = 0);
	span.first = span.last = 6;
	REFUSED((c.dims[DIM_PROTOCOL] = (struct spans){ &span, 1 }), c.dims[DIM_PROTOCOL].n = 0);
	c.family = AF_INET6;
	REFUSED(c.deny = 6, c.deny = 5);
}

/* However few all of them are. */
static void test_long_chain(void **state)
{
	struct intercept *v = arena_array(arena, KERNEL_CHAIN_MAX + 1, sizeof(*v));
	struct kernel_plan plan = { .intercepts = v, .n_intercepts = KERNEL_CHAIN_MAX + 1 };

	assert_non_null(v);
	for (size_t i = 0; i < plan.n_intercepts; i++)
		v[i] = (struct intercept){ .action = INTERCEPT_REFUSE, .family = AF_INET, .src = -1, .dst = -1, .target = -1 };
	assert_int_equal(kernel_plan_check(&plan), -EINVAL);
	v[0].family = AF_INET6;
	assert_int_equal(kernel_plan_check(&plan), 0);
	v[0].family = AF_INET;
	v[0].transport = TRANSPORT_UDP;
	assert_int_equal(kernel_plan_check(&plan), 0);
}

static void test_pack(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
		struct buffer packed = BUFFER_INIT(1u << 20);
		struct kernel_plan plan, again;
		struct slice octets;

		assert_int_equal(kernel_plan_make(policy_of(arena, ZONES, samples[i].rules), NULL, arena, &plan), 0);
		assert_int_equal(kernel_plan_pack(&plan, &packed), 0);
		octets = buffer_slice(&packed);
		assert_int_equal(kernel_plan_unpack(octets, arena, &again), 0);
		assert_string_equal(render(arena, &plan), render(arena, &again));
		for (size_t n = 0; n < octets.len; n++)
			assert_int_equal(kernel_plan_unpack(slice_take(octets, n), arena, &again), -EINVAL);
		buffer_append_octet(&packed, 0);
		assert_int_equal(kernel_plan_unpack(buffer_slice(&packed), arena, &again), -EINVAL);
		/* Any octet changed: refused, or still a plan that passes the check. */
		for (size_t n = 0; n < octets.len; n++)
			for (int bit = 0; bit < 8; bit++) {
				struct arena *one = arena_child(arena, 1u << 20, 0);
				int err;

				packed.data[n] ^= (uint8_t)(1 << bit);
				err = kernel_plan_unpack(slice_of(packed.data, packed.len - 1), one, &again);
				assert_true(err == 0 || err == -EINVAL);
				packed.data[n] ^= (uint8_t)(1 << bit);
				arena_free(&one);
			}
		buffer_release(&packed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_golden, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_odd_names, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_odd_numbers, set_up, tear_down), cmocka_unit_test_setup_teardown(test_long_chain, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pack, set_up, tear_down),
		/* From here on with a network of our own. */
		cmocka_unit_test_setup_teardown(test_kernel_takes_them, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_load_without_waiting, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_load_and_clear, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_conflicts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_host_settings, set_up, tear_down),
	};
	enum { N_NETWORK_TESTS = 5 };

	own_network = geteuid() == 0 && access("/usr/sbin/nft", X_OK) == 0 && unshare(CLONE_NEWNET) == 0 &&
		      system("ip link set lo up") == 0;
	/* cmocka's skip() says "not ok" in TAP; what can't run is left out instead. */
	if (!own_network)
		fprintf(stderr, "No root, no nft or no namespaces: %d tests left out\n", N_NETWORK_TESTS);
	return _cmocka_run_group_tests("tests", tests, ARRAY_LEN(tests) - (own_network ? 0 : N_NETWORK_TESTS), NULL,
				       NULL);
}
