/* SPDX-License-Identifier: Apache-2.0 */
/* The prefix map against a list that is searched from end to end, small and with each table. */
#include "policy/prefix_map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static unsigned seed;

static unsigned choose(unsigned n)
{
	return (unsigned)(rand_r(&seed) >> 4) % n;
}

/* Few different high octets, so that prefixes lie in each other. */
static struct ip_addr random_ip(bool six)
{
	struct ip_addr ip = { .family = six ? AF_INET6 : AF_INET };

	for (unsigned i = 0; i < (six ? 16u : 4u); i++)
		ip.octets[i] = (uint8_t)(i < 2 ? choose(4) * 0x55 : choose(256));
	return ip;
}

static struct ip_prefix random_prefix(bool six)
{
	struct ip_prefix prefix = { .ip = random_ip(six) };

	prefix.bits = (uint8_t)choose(six ? 129 : 33);
	for (unsigned bit = prefix.bits; bit < (six ? 128u : 32u); bit++)
		prefix.ip.octets[bit / 8] &= (uint8_t)~(0x80 >> bit % 8);
	return prefix;
}

static const struct ip_prefix *longest(const struct ip_prefix *list, size_t n, const struct ip_addr *ip, int below)
{
	const struct ip_prefix *best = NULL;

	for (size_t i = 0; i < n; i++)
		if (list[i].ip.family == ip->family && list[i].bits < below && ip_in_prefix(ip, &list[i]) &&
		    (best == NULL || list[i].bits > best->bits))
			best = &list[i];
	return best;
}

/* Also on the way up, prefix by prefix. */
static void compare(const struct prefix_map *map, const struct ip_prefix *list, size_t n, const struct ip_addr *ip)
{
	prefix_id id = prefix_map_find(map, ip);
	int below = 200;

	for (;;) {
		const struct ip_prefix *want = longest(list, n, ip, below);

		if (want == NULL) {
			assert_int_equal(id, PREFIX_NONE);
			return;
		}
		assert_int_not_equal(id, PREFIX_NONE);
		assert_int_equal(prefix_map_bits(map, id), want->bits);
		assert_int_equal(prefix_map_get(map, want), id);
		/* The first one added with this prefix gave it its value. */
		assert_true(prefix_map_value(map, id) <= (uint32_t)(want - list) + 1);
		below = want->bits;
		id = prefix_map_shorter(map, id);
	}
}

static void check(size_t n, unsigned n_lookups)
{
	struct arena *arena = arena_create((size_t)256 << 20, 0);
	struct ip_prefix *list = arena_array(arena, n, sizeof(*list));
	struct prefix_map *map = prefix_map_create(arena, n);

	seed = (unsigned)n;
	for (size_t i = 0; i < n; i++) {
		uint32_t before;

		list[i] = random_prefix(choose(8) == 0);
		before = prefix_map_add(map, &list[i], (uint32_t)i + 1);
		assert_true(before <= i);
	}
	assert_int_equal(prefix_map_finish(map, arena), 0);
	for (unsigned i = 0; i < n_lookups; i++) {
		struct ip_addr ip = random_ip(choose(4) == 0);

		compare(map, list, n, i % 2 == 0 ? &ip : &list[choose((unsigned)n)].ip);
	}
	arena_free(&arena);
}

static void finds_the_longest(void **state)
{
	for (size_t n = 1; n < 60; n++)
		check(n, 200);
}

static void finds_it_behind_the_small_table(void **state)
{
	check(3000, 1000);
}

static void finds_it_behind_the_large_table(void **state)
{
	check(30000, 200);
}

static void an_empty_one_finds_nothing(void **state)
{
	struct arena *arena = arena_create(1 << 20, 0);
	struct prefix_map *map = prefix_map_create(arena, 0);
	struct ip_addr ip = random_ip(false), none = { .family = AF_UNSPEC };

	assert_int_equal(prefix_map_finish(map, arena), 0);
	assert_int_equal(prefix_map_find(map, &ip), PREFIX_NONE);
	assert_int_equal(prefix_map_find(map, &none), PREFIX_NONE);
	arena_free(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_longest),
		cmocka_unit_test(finds_it_behind_the_small_table),
		cmocka_unit_test(finds_it_behind_the_large_table),
		cmocka_unit_test(an_empty_one_finds_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
