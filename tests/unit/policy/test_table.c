/* SPDX-License-Identifier: Apache-2.0 */
/* Policy tables: both lookup orders, overlays, and what table_put must refuse. */
#include "sample_type.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

#define REQUEST (&sample_type.tables[0])
#define RESPONSE (&sample_type.tables[1])
#define NONE SLICE("")

static struct arena *arena;

static int setup(void **state)
{
	(void)state;
	arena = arena_create(16u << 20, 0);
	return arena == NULL;
}

static int teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

static void put(struct compiled_table *t, const char *k1, const char *k2, int action, const char *arg)
{
	struct table_entry e = { .action = action, .call = { -1, NULL } };

	if (arg != NULL) {
		e.args[0] = slice_cstr(arg);
		e.n_args = 1;
	}
	assert_int_equal(table_put(t, slice_cstr(k1), slice_cstr(k2), &e), 0);
}

static void delete(struct compiled_table *t, const char *k1, const char *k2)
{
	struct table_entry e = { .deleted = true };

	assert_int_equal(table_put(t, slice_cstr(k1), slice_cstr(k2), &e), 0);
}

static const char *found(const struct compiled_table *t, const char *k1, const char *k2)
{
	static char text[64];
	const struct table_entry *e = table_find(t, slice_cstr(k1), slice_cstr(k2));

	if (e == NULL)
		return "none";
	snprintf(text, sizeof(text), "%.*s", SLICE_ARG(e->args[0]));
	return text;
}

static void empty_table_has_nothing(void **state)
{
	struct compiled_table *t = table_create(arena, REQUEST, NULL);

	(void)state;
	assert_string_equal(found(t, "MAIL", ""), "none");
	assert_null(table_exact(t, SLICE("*"), NONE));
}

static void exact_key_before_wildcard(void **state)
{
	struct compiled_table *t = table_create(arena, REQUEST, NULL);

	(void)state;
	put(t, "*", "", SAMPLE_REJECT, "any");
	assert_string_equal(found(t, "MAIL", ""), "any");
	put(t, "MAIL", "", SAMPLE_REJECT, "mail");
	assert_string_equal(found(t, "MAIL", ""), "mail");
	assert_string_equal(found(t, "mail", ""), "any");
	assert_string_equal(found(t, "MAI", ""), "any");
	assert_string_equal(found(t, "", ""), "any");
	assert_null(table_exact(t, SLICE("RCPT"), NONE));
}

/* Each key in turn is the best one left; the order is that of the policy language. */
static void verb_code_order(void **state)
{
	static const char *const keys[][2] = {
		{ "RCPT", "451" }, { "RCPT", "45" }, { "RCPT", "4" }, { "RCPT", "*" },
		{ "*", "451" }, { "*", "45" }, { "*", "4" }, { "*", "*" },
	};

	(void)state;
	for (size_t from = 0; from < ARRAY_LEN(keys); from++) {
		struct compiled_table *t = table_create(arena, RESPONSE, NULL);
		char want[16];

		for (size_t i = ARRAY_LEN(keys); i-- > from;) {
			snprintf(want, sizeof(want), "%s,%s", keys[i][0], keys[i][1]);
			put(t, keys[i][0], keys[i][1], SAMPLE_REJECT, want);
		}
		assert_string_equal(found(t, "RCPT", "451"), want);
		delete(t, keys[from][0], keys[from][1]);
		assert_string_not_equal(found(t, "RCPT", "451"), want);
	}
}

static void verb_code_misses(void **state)
{
	struct compiled_table *t = table_create(arena, RESPONSE, NULL);

	(void)state;
	put(t, "RCPT", "45", SAMPLE_ACCEPT, NULL);
	assert_string_equal(found(t, "RCPT", "4"), "none");
	assert_string_equal(found(t, "RCPT", "550"), "none");
	assert_string_equal(found(t, "MAIL", "451"), "none");
	assert_string_equal(found(t, "RCPT", ""), "none");
	assert_string_equal(found(t, "RCPT4", "5"), "none");
}

static void empty_part_means_any(void **state)
{
	struct compiled_table *t = table_create(arena, RESPONSE, NULL);

	(void)state;
	put(t, "RCPT", "", SAMPLE_REJECT, "a");
	put(t, "", "2", SAMPLE_REJECT, "b");
	assert_string_equal(found(t, "RCPT", "250"), "a");
	assert_string_equal(found(t, "MAIL", "250"), "b");
	assert_non_null(table_exact(t, SLICE("RCPT"), SLICE("*")));
	put(t, "", "", SAMPLE_REJECT, "c");
	assert_string_equal(found(t, "NOOP", "100"), "c");
}

static void overlay_covers_and_hides(void **state)
{
	struct compiled_table *base = table_create(arena, RESPONSE, NULL);
	struct compiled_table *top = table_create(arena, RESPONSE, base);

	(void)state;
	put(base, "RCPT", "250", SAMPLE_REJECT, "base");
	put(base, "*", "*", SAMPLE_REJECT, "base any");
	assert_string_equal(found(top, "RCPT", "250"), "base");
	/* A worse key in the overlay does not beat a better one below. */
	put(top, "RCPT", "2", SAMPLE_REJECT, "top 2");
	assert_string_equal(found(top, "RCPT", "250"), "base");
	put(top, "RCPT", "250", SAMPLE_REJECT, "top");
	assert_string_equal(found(top, "RCPT", "250"), "top");
	assert_string_equal(found(base, "RCPT", "250"), "base");
	delete(top, "RCPT", "250");
	assert_string_equal(found(top, "RCPT", "250"), "top 2");
	assert_null(table_exact(top, SLICE("RCPT"), SLICE("250")));
	delete(top, "RCPT", "2");
	assert_string_equal(found(top, "RCPT", "250"), "base any");
	put(top, "RCPT", "250", SAMPLE_REJECT, "again");
	assert_string_equal(found(top, "RCPT", "250"), "again");
}

static bool collect(void *arg, struct slice key1, struct slice key2, const struct table_entry *e)
{
	char *text = arg;
	size_t n = strlen(text);

	snprintf(text + n, 200 - n, "%.*s,%.*s=%d ", SLICE_ARG(key1), SLICE_ARG(key2), e->action);
	return strlen(text) < 60;
}

static void each_shows_what_lookups_see(void **state)
{
	struct compiled_table *base = table_create(arena, RESPONSE, NULL);
	struct compiled_table *top = table_create(arena, RESPONSE, base);
	char text[200] = "";

	(void)state;
	put(base, "A", "1", SAMPLE_ACCEPT, NULL);
	put(base, "B", "2", SAMPLE_ACCEPT, NULL);
	put(base, "C", "3", SAMPLE_ACCEPT, NULL);
	put(top, "B", "2", SAMPLE_ABORT, NULL);
	delete(top, "C", "3");
	table_each(top, collect, text);
	assert_string_equal(text, "B,2=4 A,1=1 ");
}

static void each_stops_when_told(void **state)
{
	struct compiled_table *t = table_create(arena, REQUEST, NULL);
	char text[200] = "";

	(void)state;
	for (int i = 0; i < 50; i++) {
		char key[16];

		snprintf(key, sizeof(key), "KEY%d", i);
		put(t, key, "", SAMPLE_ACCEPT, NULL);
	}
	table_each(t, collect, text);
	assert_in_range(strlen(text), 60, 75);
}

static void put_refuses_what_the_actions_do_not_allow(void **state)
{
	struct compiled_table *t = table_create(arena, REQUEST, NULL);
	struct table_entry unknown = { .action = 2, .call = { -1, NULL } };
	struct table_entry args = { .action = SAMPLE_ACCEPT, .n_args = 1, .call = { -1, NULL } };
	struct table_entry many = { .action = SAMPLE_REJECT, .n_args = 3, .call = { -1, NULL } };
	struct table_entry no_call = { .action = SAMPLE_POLICY, .call = { -1, NULL } };
	struct table_entry call = { .action = SAMPLE_ACCEPT, .call = { 0, NULL } };
	struct table_entry fine = { .action = SAMPLE_POLICY, .call = { 0, NULL } };
	uint8_t octets[257];

	(void)state;
	memset(octets, 'A', sizeof(octets));
	assert_int_equal(table_put(t, SLICE("A"), NONE, &unknown), -EINVAL);
	assert_int_equal(table_put(t, SLICE("A"), NONE, &args), -EINVAL);
	assert_int_equal(table_put(t, SLICE("A"), NONE, &many), -EINVAL);
	assert_int_equal(table_put(t, SLICE("A"), NONE, &no_call), -EINVAL);
	assert_int_equal(table_put(t, SLICE("A"), NONE, &call), -EINVAL);
	assert_int_equal(table_put(t, slice_of(octets, 257), NONE, &fine), -EINVAL);
	assert_int_equal(table_put(t, slice_of(octets, 256), NONE, &fine), 0);
	assert_null(table_exact(t, SLICE("A"), NONE));
}

static void full_table_says_so(void **state)
{
	struct compiled_table *t = table_create(arena, REQUEST, NULL);
	struct table_entry e = { .action = SAMPLE_ACCEPT, .call = { -1, NULL } };
	char key[16];

	(void)state;
	for (int i = 0; i < 4096; i++) {
		snprintf(key, sizeof(key), "%d", i);
		put(t, key, "", SAMPLE_ACCEPT, NULL);
	}
	assert_int_equal(table_put(t, SLICE("one more"), NONE, &e), -ENOSPC);
	assert_int_equal(table_put(t, SLICE("17"), NONE, &e), 0);
	for (int i = 0; i < 4096; i++) {
		snprintf(key, sizeof(key), "%d", i);
		assert_non_null(table_exact(t, slice_cstr(key), NONE));
	}
}

/* A callback may set the same entry for each of a million messages. */
static void replacing_reuses_memory(void **state)
{
	struct compiled_table *t = table_create(arena, REQUEST, NULL);
	size_t used;

	(void)state;
	put(t, "A", "", SAMPLE_REJECT, "a text that is long enough");
	used = arena_used(arena);
	for (int i = 0; i < 1000; i++)
		put(t, "A", "", SAMPLE_REJECT, i % 2 ? "short" : "a text that is as long.....");
	put(t, "A", "", SAMPLE_REJECT, "last");
	assert_in_range(arena_used(arena), used, used + 64);
	assert_string_equal(found(t, "A", ""), "last");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(empty_table_has_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(exact_key_before_wildcard, setup, teardown),
		cmocka_unit_test_setup_teardown(verb_code_order, setup, teardown),
		cmocka_unit_test_setup_teardown(verb_code_misses, setup, teardown),
		cmocka_unit_test_setup_teardown(empty_part_means_any, setup, teardown),
		cmocka_unit_test_setup_teardown(overlay_covers_and_hides, setup, teardown),
		cmocka_unit_test_setup_teardown(each_shows_what_lookups_see, setup, teardown),
		cmocka_unit_test_setup_teardown(each_stops_when_told, setup, teardown),
		cmocka_unit_test_setup_teardown(put_refuses_what_the_actions_do_not_allow, setup, teardown),
		cmocka_unit_test_setup_teardown(full_table_says_so, setup, teardown),
		cmocka_unit_test_setup_teardown(replacing_reuses_memory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
