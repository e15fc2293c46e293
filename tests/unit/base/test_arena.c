/* SPDX-License-Identifier: Apache-2.0 */
#include "base/arena.h"

#include <errno.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define CHILD_COST 1024		/* what arena_used counts for a child itself */

static void test_pieces_are_aligned_zeroed_and_apart(void **state)
{
	struct arena *a = arena_create(1 << 20, 0);
	static const size_t sizes[] = { 0, 1, 15, 16, 17, 700, 1000, 1100, 5000, 70000, 3, 200000, 40 };
	uint8_t *last = NULL;

	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			uint8_t *p = arena_alloc(a, sizes[i]);

			assert_non_null(p);
			assert_ptr_not_equal(p, last);
			assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
			for (size_t j = 0; j < sizes[i]; j++)
				assert_int_equal(p[j], 0);
			memset(p, 0xa5, sizes[i]);	/* what the second round must not see */
			last = p;
		}
		arena_reset(a);
		assert_int_equal(arena_used(a), 0);
	}
	arena_free(&a);
	assert_null(a);
	arena_free(&a);
}

static void test_ceiling_is_exact(void **state)
{
	struct arena *a = arena_create(256, 0);

	assert_non_null(arena_alloc(a, 240));
	errno = 0;
	assert_null(arena_alloc(a, 17));
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(arena_used(a), 240);
	assert_non_null(arena_alloc(a, 16));
	assert_null(arena_alloc(a, 0));
	arena_reset(a);
	assert_non_null(arena_alloc(a, 256));
	arena_reset(a);
	assert_null(arena_alloc(a, 257));
	assert_null(arena_alloc(a, SIZE_MAX));
	assert_null(arena_alloc(a, SIZE_MAX - 15));
	assert_null(arena_array(a, SIZE_MAX / 2, 3));
	assert_int_equal(arena_used(a), 0);
	arena_free(&a);
}

static void test_ceiling_is_shared_with_parents(void **state)
{
	struct arena *root = arena_create(CHILD_COST * 2 + 320, 0);
	struct arena *child = arena_child(root, 1 << 20, 0);
	struct arena *grandchild = arena_child(child, 64, 0);

	assert_non_null(grandchild);
	assert_null(arena_child(root, 64, 0));	/* no room for one more */
	assert_null(arena_alloc(grandchild, 65));
	assert_non_null(arena_alloc(grandchild, 64));
	assert_non_null(arena_alloc(child, 128));
	assert_non_null(arena_alloc(root, 128));
	assert_null(arena_alloc(root, 1));
	assert_null(arena_alloc(child, 1));
	assert_int_equal(arena_used(root), 2 * CHILD_COST + 320);
	assert_int_equal(arena_used(child), CHILD_COST + 192);
	arena_free(&grandchild);
	assert_int_equal(arena_used(root), CHILD_COST + 256);
	arena_reset(child);
	assert_int_equal(arena_used(root), CHILD_COST + 128);
	arena_reset(root);	/* ends the child */
	assert_int_equal(arena_used(root), 0);
	arena_free(&root);
}

static void test_children_end_in_any_order(void **state)
{
	struct arena *root = arena_create(1 << 20, 0);
	struct arena *c[4];

	for (int i = 0; i < 4; i++) {
		c[i] = arena_child(root, 1000, 0);
		assert_non_null(arena_alloc(c[i], 100));
	}
	arena_free(&c[1]);
	arena_free(&c[3]);
	arena_free(&c[0]);
	assert_int_equal(arena_used(root), CHILD_COST + 112);
	arena_free(&root);	/* with the last one in it */
}

static char order[16];

static void note(void *arg)
{
	size_t n = strlen(order);

	order[n] = *(const char *)arg;
	order[n + 1] = '\0';
}

static void test_defer_runs_backwards_children_first(void **state)
{
	struct arena *root = arena_create(1 << 16, 0), *child;
	struct arena *tiny = arena_create(16, 0);
	static char a[] = "a", b[] = "b", c[] = "c", d[] = "d";

	order[0] = '\0';
	child = arena_child(root, 1 << 12, 0);
	assert_int_equal(arena_defer(root, note, a), 0);
	assert_int_equal(arena_defer(child, note, c), 0);
	assert_int_equal(arena_defer(root, note, b), 0);
	assert_int_equal(arena_defer(tiny, note, a), -ENOMEM);
	arena_reset(root);
	assert_string_equal(order, "cba");
	arena_reset(root);
	assert_string_equal(order, "cba");	/* once */
	assert_int_equal(arena_defer(root, note, d), 0);
	arena_free(&root);
	arena_free(&tiny);
	assert_string_equal(order, "cbad");
}

static void test_copies(void **state)
{
	struct arena *a = arena_create(256, 0);
	struct slice s = arena_copy(a, SLICE("a\0b"));

	assert_int_equal(s.len, 3);
	assert_memory_equal(s.ptr, "a\0b", 3);
	s = arena_copy(a, (struct slice){ NULL, 0 });
	assert_non_null(s.ptr);
	assert_int_equal(s.len, 0);
	assert_string_equal(arena_strdup(a, "word"), "word");
	assert_string_equal(arena_cstr(a, SLICE("word")), "word");
	assert_null(arena_cstr(a, SLICE("wo\0rd")));
	assert_null(arena_cstr(a, SLICE("word\0")));
	assert_string_equal(arena_printf(a, "%d-%s", 5, "x"), "5-x");
	s = arena_copy(a, slice_of("0123456789", 10));
	assert_null(arena_printf(a, "%300d", 1));
	arena_reset(a);
	s = arena_copy(a, slice_of(memset((char[300]){ 0 }, 'x', 300), 300));
	assert_null(s.ptr);
	assert_int_equal(s.len, 0);
	arena_free(&a);
}

/* What is known to come is a hint only: the ceiling counts the same pieces, and more or less may come. */
static void test_room_for_what_is_known(void **state)
{
	static const size_t hints[] = { 0, 1, 900, 1024, 3000, 100000, SIZE_MAX };

	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
		struct arena *a = arena_create_for(hints[i], 8192, 0), *child;

		assert_non_null(a);
		for (int round = 0; round < 2; round++) {
			assert_int_equal(arena_used(a), 0);
			for (size_t n = 16; n <= 4096; n *= 2)
				memset(arena_alloc(a, n), 0xa5, n);
			assert_int_equal(arena_used(a), 8192 - 16);
			assert_null(arena_alloc(a, 17));
			assert_non_null(arena_alloc(a, 16));
			arena_reset(a);
		}
		child = arena_child(a, SIZE_MAX, 0);
		assert_null(arena_alloc(child, 8192 - CHILD_COST + 1));
		assert_non_null(arena_alloc(child, 8192 - CHILD_COST));
		arena_free(&a);
	}
}

#ifndef SALLYPORT_ARENA_PIECES
static size_t heap_octets(void)
{
	return mallinfo2().uordblks;
}

/* An idle session's memory: no second block, and nothing beside what was asked for but headers. */
static void test_what_is_known_costs_no_more(void **state)
{
	size_t before = heap_octets();
	struct arena *a = arena_create_for(2000, 1 << 20, 0);

	assert_non_null(arena_alloc(a, 912));
	assert_non_null(arena_alloc(a, 1072));
	assert_non_null(arena_alloc(a, 16));
	assert_true(heap_octets() - before < 2000 + 256);
	arena_free(&a);
	assert_int_equal(heap_octets(), before);
}

/* Seen through a piece that keeps its place over a reset: the first block stays. */
static void test_wipe(void **state)
{
	struct arena *a = arena_create(4096, ARENA_WIPE);
	const volatile char *p = arena_strdup(a, "secret");

	arena_reset(a);
	assert_int_equal(p[0], 0);
	assert_int_equal(p[5], 0);
	arena_free(&a);
}

static void test_child_inherits_wipe(void **state)
{
	struct arena *a = arena_create(4096, ARENA_WIPE);
	struct arena *child = arena_child(a, 1024, 0);
	const volatile char *p = arena_strdup(child, "secret");

	arena_reset(child);
	assert_int_equal(p[0], 0);
	arena_free(&a);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pieces_are_aligned_zeroed_and_apart),
		cmocka_unit_test(test_ceiling_is_exact),
		cmocka_unit_test(test_ceiling_is_shared_with_parents),
		cmocka_unit_test(test_children_end_in_any_order),
		cmocka_unit_test(test_defer_runs_backwards_children_first),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_room_for_what_is_known),
#ifndef SALLYPORT_ARENA_PIECES
		cmocka_unit_test(test_what_is_known_costs_no_more),
		cmocka_unit_test(test_wipe),
		cmocka_unit_test(test_child_inherits_wipe),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
