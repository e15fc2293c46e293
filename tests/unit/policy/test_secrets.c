/* SPDX-License-Identifier: Apache-2.0 */
/* The file of secrets: exactly what was announced, at every truncation. */
#include "policy/secrets.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

#define FILE_OF(text) slice_of(text, sizeof(text) - 1)

static struct arena *arena;

static int setup(void **state)
{
	(void)state;
	arena = arena_create(4u << 20, 0);
	return arena == NULL;
}

static int teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

static void they_are_split(void **state)
{
	const struct slice *items = NULL;
	struct slice file = FILE_OF("\0\0\0\3key\0\0\0\1\0");

	(void)state;
	assert_int_equal(secrets_split(file, 2, arena, &items), 0);
	assert_true(slice_equal(items[0], SLICE("key")));
	assert_int_equal(items[1].len, 1);
	assert_int_equal(items[1].ptr[0], 0);
	assert_int_equal(secrets_split(FILE_OF(""), 0, arena, &items), 0);
	assert_int_equal(secrets_split(file, 1, arena, &items), -EBADMSG);
	assert_int_equal(secrets_split(file, 3, arena, &items), -EBADMSG);
	assert_int_equal(secrets_split(file, UINT32_MAX, arena, &items), -EBADMSG);
	for (size_t n = 0; n < file.len; n++)
		assert_int_equal(secrets_split(slice_take(file, n), 2, arena, &items), -EBADMSG);
}

static void sizes_are_checked(void **state)
{
	const struct slice *items;
	uint8_t *large = calloc(1, SECRET_OCTETS_MAX + 5);

	(void)state;
	assert_non_null(large);
	assert_int_equal(secrets_split(FILE_OF("\0\0\0\0\0"), 1, arena, &items), -EBADMSG);
	assert_int_equal(secrets_split(FILE_OF("\xff\xff\xff\xff" "x"), 1, arena, &items), -EBADMSG);
	large[1] = 1;
	assert_int_equal(secrets_split(slice_of(large, SECRET_OCTETS_MAX + 4), 1, arena, &items), 0);
	large[3] = 1;
	assert_int_equal(secrets_split(slice_of(large, SECRET_OCTETS_MAX + 5), 1, arena, &items), -EBADMSG);
	free(large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(they_are_split, setup, teardown),
		cmocka_unit_test_setup_teardown(sizes_are_checked, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
