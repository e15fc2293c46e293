/* SPDX-License-Identifier: Apache-2.0 */
/* When host names are asked for, what is kept, what is shown. */
#include "server/lookout/names_cache.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WALL 1000000

static struct names_cache *cache;
static struct arena *arena;

static int setup(void **state)
{
	cache = names_cache_create();
	arena = arena_create(64u << 20, 0);
	return cache == NULL || arena == NULL;
}

static int teardown(void **state)
{
	names_cache_free(&cache);
	arena_free(&arena);
	return 0;
}

/* Names in ascending order, NULL at the end. */
static void want(uint32_t generation, const char *const *names)
{
	struct host_record hosts[8] = { 0 };
	struct names_snapshot s = { hosts, 0 };

	while (names[s.n_hosts] != NULL) {
		hosts[s.n_hosts].name = slice_cstr(names[s.n_hosts]);
		s.n_hosts++;
	}
	assert_int_equal(names_cache_want(cache, generation, &s), 0);
}

static void want_one(void)
{
	want(1, (const char *const[]){ "a.example", NULL });
}

static struct ip_addr ip(const char *text)
{
	struct ip_addr out;

	assert_int_equal(ip_parse(slice_cstr(text), &out), 0);
	return out;
}

/* The question that is due, of that family: the other one of this test is answered with nothing for long. */
static struct names_question *due(int64_t now_ms, int family)
{
	struct names_question *q, *found = NULL;
	int64_t at_ms;

	while ((q = names_cache_next(cache, now_ms, &at_ms)) != NULL) {
		if (q->family == family && found == NULL)
			found = q;
		else
			(void)names_cache_answered(cache, q, NULL, 0, 0, now_ms, WALL);
	}
	return found;
}

static int64_t next_at(int64_t now_ms)
{
	int64_t at_ms;

	assert_null(names_cache_next(cache, now_ms, &at_ms));
	return at_ms;
}

static struct names_snapshot shown(void)
{
	struct buffer out = BUFFER_INIT(SNAPSHOT_OCTETS_MAX);
	struct names_snapshot s;
	struct slice copy;

	names_cache_pack(cache, &out);
	assert_false(out.broken);
	copy = arena_copy(arena, buffer_slice(&out));
	buffer_release(&out);
	assert_int_equal(names_unpack(copy, arena, &s), 0);
	return s;
}

static const struct host_record *shown_host(const char *name)
{
	const struct names_snapshot s = shown();

	return names_find(&s, slice_cstr(name));
}

static void an_answer_holds_for_its_ttl(void **state)
{
	static const struct { uint32_t ttl_s, pause_s; } rows[] = {
		{ 0, NAMES_TTL_MIN_S }, { 1, NAMES_TTL_MIN_S }, { 30, 30 }, { 86400, NAMES_TTL_MAX_S }, { UINT32_MAX, NAMES_TTL_MAX_S },
	};
	const struct ip_addr one = ip("192.0.2.1");
	int64_t now = 1;

	want_one();
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct names_question *q = due(now, AF_INET);

		assert_non_null(q);
		assert_string_equal(q->name, "a.example");
		assert_int_equal(names_cache_answered(cache, q, &one, 1, rows[i].ttl_s, now, WALL), i == 0);
		assert_null(due(now + rows[i].pause_s * 1000 - 1, AF_INET));
		now += rows[i].pause_s * 1000;
	}
}

static void no_addresses_are_an_answer(void **state)
{
	const struct ip_addr one = ip("192.0.2.1");
	struct names_question *q;

	want_one();
	q = due(1, AF_INET);
	assert_true(names_cache_answered(cache, q, &one, 1, 5, 1, WALL));
	q = due(5001, AF_INET);
	assert_true(names_cache_answered(cache, q, NULL, 0, 3600, 5001, WALL + 1));
	assert_int_equal(shown_host("a.example")->n_addrs, 0);
	assert_int_equal(shown_host("a.example")->state, HOST_KNOWN);
	assert_null(due(5001 + NAMES_NONE_S * 1000 - 1, AF_INET));
	assert_non_null(due(5001 + NAMES_NONE_S * 1000, AF_INET));
}

static void a_failure_keeps_what_was_known(void **state)
{
	const struct ip_addr one = ip("192.0.2.1"), six = ip("2001:db8::1");
	int64_t now = 1, pause_s = NAMES_RETRY_FIRST_S;
	struct names_question *q4, *q6;
	uint64_t version;

	want_one();
	q4 = names_cache_next(cache, now, &(int64_t){ 0 });
	q6 = names_cache_next(cache, now, &(int64_t){ 0 });
	if (q4->family != AF_INET) {
		struct names_question *q = q4;

		q4 = q6;
		q6 = q;
	}
	assert_int_equal(shown_host("a.example")->state, HOST_PENDING);
	assert_true(names_cache_answered(cache, q4, &one, 1, 5, now, WALL));
	assert_true(names_cache_pending(cache));
	assert_true(names_cache_answered(cache, q6, &six, 1, 3600, now, WALL));
	assert_false(names_cache_pending(cache));
	now += 5000;
	for (int i = 0; i < 6; i++) {
		struct names_question *q = due(now, AF_INET);

		assert_non_null(q);
		assert_int_equal(names_cache_failed(cache, q, now, WALL + 2), i == 0);
		assert_int_equal(next_at(now), now + pause_s * 1000);
		now += pause_s * 1000;
		pause_s = pause_s * 2 < NAMES_RETRY_MAX_S ? pause_s * 2 : NAMES_RETRY_MAX_S;
	}
	assert_int_equal(shown_host("a.example")->state, HOST_STALE);
	assert_int_equal(shown_host("a.example")->since_wall_ms, WALL + 2);
	assert_int_equal(shown_host("a.example")->n_addrs, 2);
	version = names_cache_version(cache);
	/* The same again: known, and the pauses begin anew. */
	assert_false(names_cache_answered(cache, due(now, AF_INET), &one, 1, 5, now, WALL + 3));
	assert_true(names_cache_version(cache) > version);
	assert_int_equal(shown_host("a.example")->state, HOST_KNOWN);
	assert_true(names_cache_failed(cache, due(now + 5000, AF_INET), now + 5000, WALL));
	assert_int_equal(next_at(now + 5000), now + 5000 + NAMES_RETRY_FIRST_S * 1000);
}

static void nothing_is_shown_anew_when_nothing_changed(void **state)
{
	const struct ip_addr two[] = { ip("192.0.2.1"), ip("192.0.2.2") };
	uint64_t version;

	want_one();
	assert_true(names_cache_answered(cache, due(1, AF_INET), two, 2, 5, 1, WALL));
	version = names_cache_version(cache);
	assert_false(names_cache_answered(cache, due(5001, AF_INET), two, 2, 5, 5001, WALL + 1));
	assert_int_equal(names_cache_version(cache), version);
	assert_int_equal(shown_host("a.example")->since_wall_ms, WALL);
	assert_true(names_cache_answered(cache, due(10001, AF_INET), two + 1, 1, 5, 10001, WALL + 2));
	assert_int_equal(shown_host("a.example")->since_wall_ms, WALL + 2);
}

/* What a reload still wants is not asked for again; what nobody wants is gone. */
static void generations_share_what_is_known(void **state)
{
	const struct ip_addr one = ip("192.0.2.1");
	uint64_t version;

	want(1, (const char *const[]){ "a.example", "b.example", NULL });
	want(2, (const char *const[]){ "b.example", "c.example", NULL });
	assert_int_equal(shown().n_hosts, 3);
	for (int i = 0; i < 6; i++) {
		int64_t at;
		struct names_question *q = names_cache_next(cache, 1, &at);

		assert_non_null(q);
		(void)names_cache_answered(cache, q, &one, q->family == AF_INET, 60, 1, WALL);
	}
	assert_int_equal(next_at(1), 60001);
	version = names_cache_version(cache);
	want(1, (const char *const[]){ NULL });
	assert_true(names_cache_version(cache) > version);
	assert_int_equal(shown().n_hosts, 2);
	assert_null(shown_host("a.example"));
	assert_int_equal(shown_host("b.example")->n_addrs, 1);
	want(3, (const char *const[]){ "b.example", NULL });
	assert_int_equal(next_at(1), 60001);
	want(2, (const char *const[]){ NULL });
	want(3, (const char *const[]){ NULL });
	assert_int_equal(shown().n_hosts, 0);
	assert_int_equal(next_at(1), 0);
}

/* A server that fails has not told anything: whoever waits for a first answer waits on. */
static void what_nobody_told_is_pending(void **state)
{
	const struct ip_addr one = ip("192.0.2.1");

	want_one();
	assert_true(names_cache_failed(cache, due(1, AF_INET), 1, WALL));
	assert_int_equal(shown_host("a.example")->state, HOST_PENDING);
	assert_true(names_cache_pending(cache));
	assert_true(names_cache_answered(cache, due(6000, AF_INET), &one, 1, 60, 6000, WALL));
	assert_int_equal(shown_host("a.example")->state, HOST_KNOWN);
	assert_true(names_cache_failed(cache, due(70000, AF_INET), 70000, WALL));
	assert_int_equal(shown_host("a.example")->state, HOST_STALE);
}

static void a_name_may_go_while_it_is_asked_for(void **state)
{
	const struct ip_addr one = ip("192.0.2.1");
	struct names_question *q4, *q6, *open;
	int64_t at;

	want_one();
	q4 = names_cache_next(cache, 1, &at);
	q6 = names_cache_next(cache, 1, &at);
	want(1, (const char *const[]){ NULL });
	want_one();				/* and come back */
	assert_false(names_cache_answered(cache, q4, &one, 1, 60, 1, WALL));
	assert_false(names_cache_failed(cache, q6, 1, WALL));
	assert_int_equal(shown_host("a.example")->state, HOST_PENDING);
	open = due(1, AF_INET);
	assert_non_null(open);
	want(1, (const char *const[]){ NULL });
	assert_false(names_cache_failed(cache, open, 1, WALL));
}

static void what_a_lookout_before_knew(void **state)
{
	const struct ip_addr known[] = { ip("192.0.2.1"), ip("2001:db8::1") }, other = ip("192.0.2.9");
	const struct host_record hosts[] = {
		{ .name = slice_cstr("a.example"), .state = HOST_KNOWN, .addrs = known, .n_addrs = 2 },
		{ .name = slice_cstr("b.example"), .state = HOST_PENDING },
		{ .name = slice_cstr("unwanted.example"), .state = HOST_KNOWN, .addrs = known, .n_addrs = 1 },
	};
	const struct names_snapshot before = { hosts, 3 };

	want(1, (const char *const[]){ "a.example", "b.example", NULL });
	names_cache_seed(cache, &before, WALL);
	assert_int_equal(shown().n_hosts, 2);
	assert_int_equal(shown_host("a.example")->state, HOST_STALE);
	assert_int_equal(shown_host("a.example")->n_addrs, 2);
	assert_int_equal(shown_host("b.example")->state, HOST_PENDING);
	for (int64_t at, i = 0; i < 4; i++) {
		struct names_question *q = names_cache_next(cache, 1, &at);

		assert_non_null(q);		/* all the same asked for at once */
		(void)names_cache_answered(cache, q, &other, q->family == AF_INET, 60, 1, WALL);
	}
	assert_int_equal(shown_host("a.example")->n_addrs, 1);
	names_cache_seed(cache, &before, WALL);	/* too late */
	assert_true(ip_equal(&shown_host("a.example")->addrs[0], &other));
}

/* One family may be known already, or may not have been known to the one before. */
static void each_family_by_itself(void **state)
{
	const struct ip_addr known[] = { ip("192.0.2.1"), ip("2001:db8::1") }, other = ip("192.0.2.9");
	const struct host_record hosts[] = {
		{ .name = slice_cstr("a.example"), .state = HOST_KNOWN, .addrs = known, .n_addrs = 2 },
		{ .name = slice_cstr("b.example"), .state = HOST_PENDING, .addrs = known + 1, .n_addrs = 1 },
	};
	struct names_question *q;

	want_one();
	do {
		q = names_cache_next(cache, 1, &(int64_t){ 0 });
		assert_non_null(q);
	} while (q->family != AF_INET);
	assert_true(names_cache_answered(cache, q, &other, 1, 60, 1, WALL));
	want(1, (const char *const[]){ "a.example", "b.example", NULL });
	names_cache_seed(cache, &(struct names_snapshot){ hosts, 2 }, WALL);
	assert_int_equal(shown_host("a.example")->n_addrs, 2);
	assert_true(ip_equal(&shown_host("a.example")->addrs[0], &other));
	assert_true(ip_equal(&shown_host("a.example")->addrs[1], &known[1]));
	assert_int_equal(shown_host("a.example")->state, HOST_STALE);
	assert_int_equal(shown_host("b.example")->n_addrs, 1);
	assert_int_equal(shown_host("b.example")->state, HOST_PENDING);	/* its IPv4 addresses are not known */
}

/* Half of what there is room for: one policy's. */
static int want_many(uint32_t generation, char letter)
{
	struct host_record *hosts = calloc(POLICY_HOSTS_MAX, sizeof(*hosts));
	const struct names_snapshot all = { hosts, POLICY_HOSTS_MAX };
	int left_out;

	for (size_t i = 0; i < POLICY_HOSTS_MAX; i++)
		hosts[i].name = slice_cstr(arena_printf(arena, "%c%05zu.example", letter, i));
	left_out = names_cache_want(cache, generation, &all);
	free(hosts);
	return left_out;
}

/* The newest policies have all their names, however many the old ones have. */
static void the_newest_come_first(void **state)
{
	const struct host_record shared[] = { { .name = slice_cstr("a00000.example") }, { .name = slice_cstr("b00000.example") } };
	const struct ip_addr one = ip("192.0.2.1");
	struct names_snapshot s;

	assert_int_equal(want_many(7, 'b'), 0);
	assert_true(names_cache_answered(cache, due(1, AF_INET), &one, 1, 60, 1, WALL));
	assert_int_equal(want_many(8, 'c'), 0);
	assert_int_equal(want_many(9, 'a'), POLICY_HOSTS_MAX);
	s = shown();
	assert_int_equal(s.n_hosts, SNAPSHOT_HOSTS_MAX);
	assert_non_null(names_find(&s, slice_cstr("a00000.example")));
	assert_null(names_find(&s, slice_cstr("b00000.example")));
	assert_non_null(names_find(&s, slice_cstr("c04095.example")));
	/* One that shares a name with a newer one keeps that. */
	assert_int_equal(names_cache_want(cache, 6, &(struct names_snapshot){ shared, 2 }), POLICY_HOSTS_MAX + 1);
	assert_non_null(shown_host("a00000.example"));
	assert_null(shown_host("b00000.example"));
	assert_int_equal(names_cache_want(cache, 6, &(struct names_snapshot){ NULL, 0 }), POLICY_HOSTS_MAX);
	/* And when there is room again, they come back. */
	want(9, (const char *const[]){ NULL });
	s = shown();
	assert_int_equal(s.n_hosts, SNAPSHOT_HOSTS_MAX);
	assert_non_null(names_find(&s, slice_cstr("b00000.example")));
	assert_null(names_find(&s, slice_cstr("a00000.example")));
}

static void bounds(void **state)
{
	struct ip_addr many[NAMES_FAMILY_MAX + 1] = { 0 };
	int64_t at;

	assert_int_equal(want_many(1, 'h'), 0);
	for (size_t i = 0; i < NAMES_FAMILY_MAX + 1; i++)
		many[i] = (struct ip_addr){ AF_INET, { 10, 0, 0, (uint8_t)i } };
	for (size_t i = 0; i < NAMES_UNDER_WAY_MAX; i++) {
		struct names_question *q = names_cache_next(cache, 1, &at);

		assert_non_null(q);
		if (i == 0)
			(void)names_cache_answered(cache, q, many, NAMES_FAMILY_MAX + 1, 60, 1, WALL);
	}
	assert_non_null(names_cache_next(cache, 1, &at));	/* for the one that was answered */
	assert_null(names_cache_next(cache, 1, &at));
	assert_int_equal(at, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(an_answer_holds_for_its_ttl, setup, teardown),
		cmocka_unit_test_setup_teardown(no_addresses_are_an_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(a_failure_keeps_what_was_known, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_shown_anew_when_nothing_changed, setup, teardown),
		cmocka_unit_test_setup_teardown(generations_share_what_is_known, setup, teardown),
		cmocka_unit_test_setup_teardown(what_nobody_told_is_pending, setup, teardown),
		cmocka_unit_test_setup_teardown(a_name_may_go_while_it_is_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(what_a_lookout_before_knew, setup, teardown),
		cmocka_unit_test_setup_teardown(each_family_by_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(the_newest_come_first, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
