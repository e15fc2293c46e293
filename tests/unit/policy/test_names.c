/* SPDX-License-Identifier: Apache-2.0 */
/* Host names: snapshots from hostile octets, and which zone an address is in by its names. */
#include "build.h"
#include "policy/decide.h"
#include "policy/names.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <cmocka.h>

static struct arena *arena;

static int setup(void **state)
{
	arena = arena_create((size_t)256 << 20, 0);
	return arena == NULL;
}

static int teardown(void **state)
{
	arena_free(&arena);
	return 0;
}

static void host_names(void **state)
{
	static const char *const plain[] = { "a", "a.example", "xn--bcher-kva.example", "_dmarc.example", "1.a", "a-b.c_d.e" };
	static const char *const other[] = { "", ".", "a.", ".a", "a..b", "A.example", "a b", "a\n", "10.1.2.3", "::1", "b\xc3\xbc" };
	char text[300];

	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		assert_true(host_name_is_plain(slice_cstr(plain[i])));
	for (size_t i = 0; i < ARRAY_LEN(other); i++)
		assert_false(host_name_is_plain(slice_cstr(other[i])));
	memset(text, 'a', sizeof(text));
	assert_true(host_name_is_plain(slice_of(text, 63)));
	assert_false(host_name_is_plain(slice_of(text, 64)));
	for (size_t i = 50; i < sizeof(text); i += 50)
		text[i] = '.';
	assert_true(host_name_is_plain(slice_of(text, 253)));
	assert_false(host_name_is_plain(slice_of(text, 254)));
}

/* Host names in order, each with addresses in order: "a.example 10.0.0.1 10.0.0.2\nb.example\n". */
static struct names_snapshot snapshot_of(const char *text)
{
	struct host_record *hosts = arena_array(arena, 16, sizeof(*hosts));
	struct names_snapshot s = { hosts, 0 };
	char *copy = arena_strdup(arena, text), *lines = NULL;

	for (char *line = strtok_r(copy, "\n", &lines); line != NULL; line = strtok_r(NULL, "\n", &lines)) {
		struct host_record *h = &hosts[s.n_hosts++];
		struct ip_addr *addrs = arena_array(arena, 16, sizeof(*addrs));
		char *words = NULL;

		h->name = slice_cstr(strtok_r(line, " ", &words));
		h->state = HOST_KNOWN;
		h->since_wall_ms = 1234567890123 + (int64_t)s.n_hosts;
		h->addrs = addrs;
		for (char *word; (word = strtok_r(NULL, " ", &words)) != NULL; h->n_addrs++)
			assert_int_equal(ip_parse(slice_cstr(word), &addrs[h->n_addrs]), 0);
	}
	return s;
}

#define SAMPLE "a.example 10.0.0.1 10.0.0.2 2001:db8::1\nb.example\nc.example 10.0.0.1\n"

static struct slice packed(const char *text)
{
	struct buffer out = BUFFER_INIT(SNAPSHOT_OCTETS_MAX);
	struct names_snapshot s = snapshot_of(text);
	struct slice copy;

	names_pack(&s, &out);
	assert_false(out.broken);
	copy = arena_copy(arena, buffer_slice(&out));
	buffer_release(&out);
	return copy;
}

static void there_and_back(void **state)
{
	struct names_snapshot s;
	const struct host_record *h;

	assert_int_equal(names_unpack(packed(SAMPLE), arena, &s), 0);
	assert_int_equal(s.n_hosts, 3);
	h = names_find(&s, slice_cstr("a.example"));
	assert_int_equal(h->n_addrs, 3);
	assert_int_equal(h->addrs[2].family, AF_INET6);
	assert_int_equal(h->since_wall_ms, 1234567890124);
	assert_int_equal(names_find(&s, slice_cstr("b.example"))->n_addrs, 0);
	assert_non_null(names_find(&s, slice_cstr("c.example")));
	assert_null(names_find(&s, slice_cstr("a.exampl")));
	assert_null(names_find(&s, slice_cstr("d.example")));
	assert_int_equal(names_unpack(packed(""), arena, &s), 0);
	assert_int_equal(s.n_hosts, 0);
}

/* Cut anywhere, or longer: refused. */
static void only_whole_ones(void **state)
{
	struct slice whole = packed(SAMPLE);
	uint8_t *longer = arena_alloc(arena, whole.len + 1);
	struct names_snapshot s = { NULL, 77 };

	memcpy(longer, whole.ptr, whole.len);
	for (size_t n = 0; n <= whole.len + 1; n++)
		if (n != whole.len)
			assert_int_equal(names_unpack(slice_of(longer, n), arena, &s), -EINVAL);
	assert_int_equal(s.n_hosts, 77);
}

static void order_and_bounds(void **state)
{
	static const char *const wrong[] = {
		"b.example\na.example\n", "a.example\na.example\n", "A.example\n", "a.example 10.0.0.2 10.0.0.1\n",
		"a.example 10.0.0.1 10.0.0.1\n", "a.example 2001:db8::1 10.0.0.1\n",
	};
	struct names_snapshot s;
	uint8_t *octets;

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++)
		assert_int_equal(names_unpack(packed(wrong[i]), arena, &s), -EINVAL);
	octets = (uint8_t *)(uintptr_t)packed("a.example 10.0.0.1\n").ptr;
	octets[8 + 4 + 1 + 9] = HOST_STATES;		/* the state */
	assert_int_equal(names_unpack(slice_of(octets, packed("a.example 10.0.0.1\n").len), arena, &s), -EINVAL);
	octets = (uint8_t *)(uintptr_t)packed("a.example 10.0.0.1\n").ptr;
	octets[8 + 4 + 1 + 9 + 1 + 8 + 1] = 5;		/* the family */
	assert_int_equal(names_unpack(slice_of(octets, packed("a.example 10.0.0.1\n").len), arena, &s), -EINVAL);
	octets = (uint8_t *)(uintptr_t)packed("").ptr;
	memset(octets + 8, 0xff, 4);			/* four thousand million hosts */
	assert_int_equal(names_unpack(slice_of(octets, 12), arena, &s), -EINVAL);
}

#define ZONES \
	"[{\"name\":\"net\",\"addrs\":[\"10.0.0.0/8\",\"2001:db8::/32\"]}," \
	"{\"name\":\"one\",\"addrs\":[],\"hostnames\":[\"a.example\",\"b.example\"]}," \
	"{\"name\":\"two\",\"addrs\":[\"10.0.0.9\"],\"hostnames\":[\"c.example\"],\"parent\":0}]"

static struct zone_names *names_of(const struct policy *p, const char *text)
{
	struct names_snapshot s = snapshot_of(text);
	struct zone_names *names = NULL;

	assert_int_equal(zone_names_make(p, &s, NULL, &names), 0);
	return names;
}

static void expect(const struct policy *p, const struct zone_names *names, const char *ip, const char *zone)
{
	struct ip_addr addr;
	const struct zone *found;

	assert_int_equal(ip_parse(slice_cstr(ip), &addr), 0);
	found = policy_zone_of(p, names, &addr);
	assert_string_equal(found != NULL ? found->name : "none", zone);
}

static void names_come_before_prefixes(void **state)
{
	const struct policy *p = build_policy(arena, ZONES, "[]");
	struct zone_names *names = names_of(p, "a.example 10.0.0.1 192.0.2.1 2001:db8::1\nc.example 10.0.0.2\n");

	assert_int_equal(p->n_hostnames, 3);
	expect(p, NULL, "10.0.0.1", "net");
	expect(p, names, "10.0.0.1", "one");
	expect(p, names, "192.0.2.1", "one");
	expect(p, names, "2001:db8::1", "one");
	expect(p, names, "10.0.0.2", "two");
	expect(p, names, "10.0.0.3", "net");
	expect(p, names, "192.0.2.2", "none");
	zone_names_free(&names);
}

/* The very address in a zone's list: that counts, for its own host names too. */
static void what_is_listed_wins(void **state)
{
	const struct policy *p = build_policy(arena, ZONES, "[]");
	struct zone_names *names = names_of(p, "a.example 10.0.0.9\n");
	size_t n;

	expect(p, names, "10.0.0.9", "two");
	(void)zone_names_members(names, &n);
	assert_int_equal(n, 0);
	(void)zone_names_conflicts(names, &n);
	assert_int_equal(n, 0);
	zone_names_free(&names);
}

static void an_address_of_two_zones_is_in_neither(void **state)
{
	const struct policy *p = build_policy(arena, ZONES, "[]");
	struct zone_names *names = names_of(p, "a.example 10.0.0.1 10.0.0.2\nb.example 10.0.0.1\nc.example 10.0.0.2 192.0.2.1\n"), *later;
	const struct zone_conflict *conflicts;
	size_t n;

	expect(p, names, "10.0.0.1", "one");	/* two names of one zone are none */
	expect(p, names, "10.0.0.2", "net");
	expect(p, names, "192.0.2.1", "two");
	conflicts = zone_names_conflicts(names, &n);
	assert_int_equal(n, 1);
	assert_string_equal(conflicts[0].a->name, "one");
	assert_string_equal(conflicts[0].b->name, "two");
	later = names_of(p, "a.example 10.0.0.1\nb.example 10.0.0.1\nc.example 10.0.0.2 192.0.2.1\n");
	expect(p, later, "10.0.0.2", "two");
	assert_false(zone_names_equal(names, later));
	assert_true(zone_names_equal(later, later));
	assert_false(zone_names_equal(NULL, later));
	zone_names_free(&names);
	zone_names_free(&later);
	zone_names_free(&later);
}

/* A lookout that has lost what it knew empties no zone. */
static void what_nobody_asked_yet_stays(void **state)
{
	static const char *const pending = "a.example 10.0.0.3\nb.example\n";
	const struct policy *p = build_policy(arena, ZONES, "[]");
	struct zone_names *first = names_of(p, "a.example 10.0.0.1 2001:db8::1\nb.example 192.0.2.1\nc.example 10.0.0.2\n"), *next = NULL, *last = NULL;
	struct names_snapshot s = snapshot_of(pending);
	struct host_record *hosts = (struct host_record *)(uintptr_t)s.hosts;

	hosts[0].state = hosts[1].state = HOST_PENDING;
	assert_int_equal(zone_names_make(p, &s, first, &next), 0);
	zone_names_free(&first);
	expect(p, next, "10.0.0.1", "net");		/* IPv4 was answered: another address */
	expect(p, next, "10.0.0.3", "one");
	expect(p, next, "2001:db8::1", "one");		/* IPv6 was not */
	expect(p, next, "192.0.2.1", "one");
	expect(p, next, "10.0.0.2", "two");		/* nothing said of it at all */
	s = snapshot_of("a.example\nb.example\nc.example\n");
	hosts = (struct host_record *)(uintptr_t)s.hosts;
	hosts[1].state = HOST_PENDING;
	hosts[2].state = HOST_STALE;
	assert_int_equal(zone_names_make(p, &s, next, &last), 0);
	zone_names_free(&next);
	expect(p, last, "10.0.0.3", "net");		/* known to have none, or to have had none */
	expect(p, last, "10.0.0.2", "net");
	expect(p, last, "192.0.2.1", "one");
	zone_names_free(&last);
}

/* As a worker has it: mapped; NULL: refused. */
static struct zone_names *mapped(const struct policy *p, struct slice octets)
{
	size_t len = octets.len > 0 ? octets.len : 1;
	void *there = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct zone_names *names = NULL;

	assert_true(there != MAP_FAILED);
	if (octets.len > 0)
		memcpy(there, octets.ptr, octets.len);
	if (zone_names_map(p, there, octets.len, &names) != 0)
		munmap(there, len);
	return names;
}

static void as_octets(void **state)
{
	const struct policy *p = build_policy(arena, ZONES, "[]"), *other = build_policy(arena, "[{\"name\":\"net\",\"addrs\":[]}]", "[]");
	struct zone_names *made = names_of(p, "a.example 10.0.0.1 192.0.2.1 2001:db8::1\nc.example 10.0.0.2\n"), *names;
	struct buffer out = BUFFER_INIT(MEMBERS_OCTETS_MAX);
	struct slice octets;

	zone_names_pack(made, &out);
	assert_false(out.broken);
	octets = buffer_slice(&out);
	names = mapped(p, octets);
	assert_non_null(names);
	assert_true(zone_names_equal(names, made));
	expect(p, names, "10.0.0.1", "one");
	expect(p, names, "2001:db8::1", "one");
	expect(p, names, "10.0.0.2", "two");
	expect(p, names, "10.0.0.3", "net");
	expect(p, names, "::", "none");
	zone_names_free(&names);
	assert_null(mapped(other, octets));
	for (size_t n = 0; n < octets.len; n++)
		assert_null(mapped(p, slice_of(octets.ptr, n)));
	zone_names_free(&made);
	made = names_of(p, "");
	buffer_release(&out);
	zone_names_pack(made, &out);
	names = mapped(p, buffer_slice(&out));
	expect(p, names, "10.0.0.1", "net");
	zone_names_free(&names);
	zone_names_free(&made);
	buffer_release(&out);
}

static void decisions_take_them(void **state)
{
	const struct policy *p = build_policy(arena, ZONES, "[{\"id\":1,\"instance\":0,\"service\":0,\"src_zone\":[1]},"
					      "{\"id\":2,\"instance\":0,\"service\":0,\"src_zone\":[0]}]");
	struct zone_names *names = names_of(p, "a.example 10.0.0.1\nc.example 10.0.0.2\n");
	const struct flow f = tcp_flow("10.0.0.1:1", "192.0.2.1:25"), child = tcp_flow("10.0.0.2:1", "192.0.2.1:25");
	struct decision d;

	policy_decide(p, names, &f, &d);
	assert_int_equal(d.rule->id, 1);
	policy_decide(p, NULL, &f, &d);
	assert_int_equal(d.rule->id, 2);
	policy_decide(p, names, &child, &d);		/* within "net" by its parent */
	assert_int_equal(d.rule->id, 2);
	assert_string_equal(d.src_zone->name, "two");
	zone_names_free(&names);
}

static const char *refusal(const char *zones)
{
	char *text = document_text(zones, "[]", 1);
	const struct policy *policy = NULL;
	const char *message = build_document(arena, slice_cstr(text), &policy);

	free(text);
	return message;
}

static void what_zones_may_list(void **state)
{
	assert_string_equal(refusal("[{\"name\":\"a\",\"addrs\":[],\"hostnames\":[\"h\",\"h\"]}]"), "zone 'a' lists h twice");
	assert_string_equal(refusal("[{\"name\":\"a\",\"addrs\":[],\"hostnames\":[\"H\"]}]"), "zone 'a': 'H' is no host name");
	assert_string_equal(refusal("[{\"name\":\"a\",\"addrs\":[],\"hostnames\":[\"10.1.1.1\"]}]"), "zone 'a': '10.1.1.1' is no host name");
	/* A warning only. */
	assert_string_equal(refusal("[{\"name\":\"a\",\"addrs\":[],\"hostnames\":[\"h\"]},{\"name\":\"b\",\"addrs\":[],\"hostnames\":[\"h\"]}]"), "");
}

static void too_many_hosts(void **state)
{
	struct buffer zones = BUFFER_INIT(1u << 20);

	for (unsigned z = 0; z < 2; z++) {
		buffer_printf(&zones, "%s{\"name\":\"z%u\",\"addrs\":[],\"hostnames\":[", z == 0 ? "[" : "]},", z);
		for (unsigned i = 0; i < POLICY_HOSTS_MAX / 2 + z; i++)
			buffer_printf(&zones, "%s\"h%u.z%u\"", i > 0 ? "," : "", i, z);
	}
	buffer_printf(&zones, "]}]");
	buffer_append_octet(&zones, '\0');
	assert_string_equal(refusal((const char *)zones.data), "the zones have 4097 host names, more than 4096");
	buffer_release(&zones);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(host_names, setup, teardown),
		cmocka_unit_test_setup_teardown(there_and_back, setup, teardown),
		cmocka_unit_test_setup_teardown(only_whole_ones, setup, teardown),
		cmocka_unit_test_setup_teardown(order_and_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(names_come_before_prefixes, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_listed_wins, setup, teardown),
		cmocka_unit_test_setup_teardown(an_address_of_two_zones_is_in_neither, setup, teardown),
		cmocka_unit_test_setup_teardown(what_nobody_asked_yet_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(as_octets, setup, teardown),
		cmocka_unit_test_setup_teardown(decisions_take_them, setup, teardown),
		cmocka_unit_test_setup_teardown(what_zones_may_list, setup, teardown),
		cmocka_unit_test_setup_teardown(too_many_hosts, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
