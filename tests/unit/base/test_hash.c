/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define CEILING (16u << 20)

/* The first vectors of the SipHash-2-4 reference: key 00..0f, message 00, 00 01, ... */
static void test_siphash_vectors(void **state)
{
	static const uint64_t expected[] = {
		0x726fdb47dd0e0e31u, 0x74f839c593dc67fdu, 0x0d6c8009d9a94f5au, 0x85676696d7fb7e2du,
		0xcf2794e0277187b7u, 0x18765564cd99a68du, 0xcbc9466e58fee3ceu, 0xab0200f58b01d137u,
		0x93f5f5799a932462u, 0x9e0082df0ba9e4b0u,
	};
	uint8_t key[16], message[16];

	for (uint8_t i = 0; i < 16; i++)
		key[i] = message[i] = i;
	for (size_t n = 0; n < sizeof(expected) / sizeof(expected[0]); n++)
		assert_true(hash_siphash(key, slice_of(message, n)) == expected[n]);
	assert_true(hash_siphash(key, slice_of(message, 15)) == 0xa129ca6149be45e5u);
	assert_true(hash_octets(SLICE("a")) == hash_octets(SLICE("a")));
	assert_true(hash_octets(SLICE("a")) != hash_octets(SLICE("b")));
}

static void test_put_get_remove(void **state)
{
	struct arena *a = arena_create(CEILING, 0);
	struct hash *h = hash_create(a, 3);
	char key[] = "one";
	int v[4];

	assert_null(hash_get(h, SLICE("one")));
	assert_false(hash_remove(h, SLICE("one")));
	assert_int_equal(hash_put(h, slice_cstr(key), &v[0]), 0);
	key[0] = 'x';	/* keys are copied */
	assert_ptr_equal(hash_get(h, SLICE("one")), &v[0]);
	assert_null(hash_get(h, SLICE("One")));
	assert_null(hash_get(h, SLICE("one\0")));
	assert_int_equal(hash_put(h, SLICE("one"), &v[1]), 0);
	assert_ptr_equal(hash_get(h, SLICE("one")), &v[1]);
	assert_int_equal(hash_count(h), 1);
	assert_int_equal(hash_put(h, SLICE(""), &v[2]), 0);
	assert_int_equal(hash_put(h, SLICE("a\0b"), &v[3]), 0);
	assert_int_equal(hash_put(h, SLICE("four"), &v[3]), -ENOSPC);
	assert_int_equal(hash_put(h, SLICE(""), &v[3]), 0);	/* replacing is no growth */
	assert_true(hash_remove(h, SLICE("a\0b")));
	assert_null(hash_get(h, SLICE("a\0b")));
	assert_int_equal(hash_put(h, SLICE("four"), &v[3]), 0);
	assert_int_equal(hash_count(h), 3);
	arena_free(&a);
}

/* Against an array, with keys that come and go. */
static void test_random_against_a_model(void **state)
{
	enum { KEYS = 400, STEPS = 40000 };
	struct arena *a = arena_create(CEILING, 0);
	struct hash *h = hash_create(a, KEYS);
	static bool there[KEYS];
	static int values[KEYS];
	unsigned seed = 7;
	size_t count = 0;

	for (int step = 0; step < STEPS; step++) {
		unsigned k = (unsigned)rand_r(&seed) % KEYS;
		char text[16];
		struct slice key = slice_of(text, (size_t)snprintf(text, sizeof(text), "key%u", k));

		if (rand_r(&seed) % 2) {
			assert_int_equal(hash_put(h, key, &values[k]), 0);
			count += there[k] ? 0 : 1;
			there[k] = true;
		} else {
			assert_int_equal(hash_remove(h, key), there[k]);
			count -= there[k] ? 1 : 0;
			there[k] = false;
		}
		assert_int_equal(hash_count(h), count);
		k = (unsigned)rand_r(&seed) % KEYS;
		key.len = (size_t)snprintf(text, sizeof(text), "key%u", k);
		assert_ptr_equal(hash_get(h, key), there[k] ? &values[k] : NULL);
	}
	/* Iteration shows each entry that is there once. */
	size_t pos = 0, seen = 0;
	struct slice key;
	void *value;

	while (hash_next(h, &pos, &key, &value)) {
		assert_true(there[(int *)value - values]);
		there[(int *)value - values] = false;
		seen++;
	}
	assert_int_equal(seen, count);
	arena_free(&a);
}

static void test_churn_does_not_eat_the_arena(void **state)
{
	struct arena *a = arena_create(CEILING, 0);
	struct hash *h = hash_create(a, 4);
	size_t used;
	char text[32];
	int v;

	for (unsigned i = 0; i < 1000; i++) {
		struct slice key = slice_of(text, (size_t)snprintf(text, sizeof(text), "%020u", i));

		assert_int_equal(hash_put(h, key, &v), 0);
		if (i == 10)
			used = arena_used(a);
		if (i > 10)
			assert_int_equal(arena_used(a), used);
		assert_true(hash_remove(h, key));
	}
	arena_free(&a);
}

/* Fail each allocation in turn: what was there stays there. */
static void test_out_of_memory(void **state)
{
	for (size_t ceiling = 0; ceiling < 3000; ceiling += 16) {
		struct arena *a = arena_create(ceiling, 0);
		struct hash *h = hash_create(a, 100);
		char text[16];
		int n = 0, v;

		while (h != NULL && n < 20) {
			int err = hash_put(h, slice_of(text, (size_t)snprintf(text, sizeof(text), "k%d", n)), &v);

			if (err != 0) {
				assert_int_equal(err, -ENOMEM);
				break;
			}
			n++;
		}
		for (int i = 0; i < n; i++)
			assert_ptr_equal(hash_get(h, slice_of(text, (size_t)snprintf(text, sizeof(text), "k%d", i))), &v);
		assert_true(h == NULL || hash_count(h) == (size_t)n);
		arena_free(&a);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_siphash_vectors),		cmocka_unit_test(test_put_get_remove),
		cmocka_unit_test(test_random_against_a_model),	cmocka_unit_test(test_churn_does_not_eat_the_arena),
		cmocka_unit_test(test_out_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
