/* SPDX-License-Identifier: Apache-2.0 */
#include "base/list.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

struct member {
	char name;
	struct list_node place, other;
};

static struct member a = { .name = 'a' }, b = { .name = 'b' }, c = { .name = 'c' };

/* The names from first to last; backwards they must be the same. */
static const char *names(const struct list *list)
{
	static char out[8];
	size_t n = 0;

	LIST_EACH(m, list, struct member, place)
		out[n++] = m->name;
	out[n] = '\0';
	assert_int_equal(list->n, n);
	for (const struct list_node *node = list->last; node != NULL; node = node->prev)
		assert_int_equal(LIST_ITEM(node, struct member, place)->name, out[--n]);
	assert_int_equal(n, 0);
	return out;
}

static void members_come_and_go(void **state)
{
	struct list list = { 0 };

	assert_string_equal(names(&list), "");
	list_add_first(&list, &a.place);
	assert_string_equal(names(&list), "a");
	list_remove(&list, &a.place);
	assert_string_equal(names(&list), "");
	list_add_first(&list, &a.place);
	list_add_first(&list, &b.place);
	list_add_first(&list, &c.place);
	assert_string_equal(names(&list), "cba");
	list_remove(&list, &b.place);
	assert_string_equal(names(&list), "ca");
	list_remove(&list, &a.place);
	assert_string_equal(names(&list), "c");
	list_add_first(&list, &b.place);
	list_remove(&list, &b.place);
	list_remove(&list, &c.place);
	assert_string_equal(names(&list), "");
	assert_null(list.first);
	assert_null(list.last);
}

static void in_two_lists_at_once(void **state)
{
	struct list list = { 0 }, other = { 0 }, empty = { 0 };

	list_add_first(&list, &a.place);
	list_add_first(&list, &b.place);
	list_add_first(&other, &b.other);
	list_remove(&list, &b.place);
	assert_string_equal(names(&list), "a");
	assert_int_equal(other.n, 1);
	assert_ptr_equal(LIST_ITEM(other.first, struct member, other), &b);
	assert_null(LIST_ITEM(empty.first, struct member, other));
	list_remove(&list, &a.place);
	list_remove(&other, &b.other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_come_and_go),
		cmocka_unit_test(in_two_lists_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
