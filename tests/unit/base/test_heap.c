/* SPDX-License-Identifier: Apache-2.0 */
#include "base/heap.h"

#include <stdbool.h>
#include <stdlib.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void check_shape(const struct heap *h)
{
	for (size_t i = 0; i < h->count; i++) {
		assert_int_equal(h->nodes[i]->place, i + 1);
		assert_true(i == 0 || h->nodes[(i - 1) / 2]->key <= h->nodes[i]->key);
	}
}

static void test_order(void **state)
{
	static const int64_t keys[] = { 5, -1, INT64_MAX, 5, 0, INT64_MIN, 3, 3, 100 };
	struct heap_node nodes[ARRAY_LEN(keys)] = { 0 };
	struct heap h = { 0 };
	int64_t last = INT64_MIN;

	assert_null(heap_first(&h));
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		assert_int_equal(heap_insert(&h, &nodes[i], keys[i]), 0);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		struct heap_node *first = heap_first(&h);

		assert_true(first->key >= last);
		last = first->key;
		heap_remove(&h, first);
		assert_int_equal(first->place, 0);
		heap_remove(&h, first);	/* in none: fine */
		check_shape(&h);
	}
	assert_null(heap_first(&h));
	heap_release(&h);
}

static void test_random_removals(void **state)
{
	enum { NODES = 300, STEPS = 20000 };
	static struct heap_node nodes[NODES];
	struct heap h = { 0 };
	unsigned seed = 11;

	for (int step = 0; step < STEPS; step++) {
		struct heap_node *node = &nodes[(unsigned)rand_r(&seed) % NODES];

		if (node->place != 0)
			heap_remove(&h, node);
		else
			assert_int_equal(heap_insert(&h, node, rand_r(&seed) % 50), 0);
		if (step % 64 == 0)
			check_shape(&h);
	}
	heap_release(&h);
	for (size_t i = 0; i < NODES; i++)
		assert_int_equal(nodes[i].place, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_order), cmocka_unit_test(test_random_removals) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
