/* SPDX-License-Identifier: Apache-2.0 */
/* What policy code changes in a session: all of it or nothing, and nobody else's. */
#include "build.h"
#include "policy/proxy_config.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#define REQUEST (&sample_type.tables[0])

static struct arena *arena;
static struct proxy_config config;
static struct proxy_state session;
static char why[200];

static int setup(void **state)
{
	struct compiled_table *request;
	struct table_entry e = { .action = SAMPLE_ACCEPT, .call = { -1, NULL } };

	(void)state;
	arena = arena_create((size_t)16 << 20, 0);
	assert_int_equal(proxy_config_defaults(&sample_type, arena, &config), 0);
	request = ((struct sample_config *)config.block)->request;
	assert_int_equal(table_put(request, SLICE("MAIL"), SLICE(""), &e), 0);
	assert_int_equal(proxy_state_init(&session, NULL, &config, arena), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

static int change(const char *text)
{
	json_t *packet = json_loads(text, JSON_ALLOW_NUL, NULL);
	int err;

	assert_non_null(packet);
	why[0] = '\0';
	err = proxy_state_change(&session, json_object_get(packet, "attributes"), json_object_get(packet, "tables"), why,
				 sizeof(why));
	json_decref(packet);
	return err;
}

static const struct sample_run *run(void)
{
	return session.run;
}

static void it_starts_with_the_defaults(void **state)
{
	(void)state;
	assert_int_equal(run()->code, 500);
	assert_true(slice_is(run()->text, "no"));
	assert_int_equal(run()->words.count, 0);
	assert_ptr_equal(session.config, config.block);
	assert_ptr_equal(proxy_state_table(&session, REQUEST), ((const struct sample_config *)config.block)->request);
}

static void nothing_is_a_change_too(void **state)
{
	(void)state;
	assert_int_equal(proxy_state_change(&session, NULL, NULL, why, sizeof(why)), 0);
	assert_int_equal(change("{\"attributes\":{},\"tables\":[]}"), 0);
	assert_false(session.own_config);
}

static void run_time_attributes_change(void **state)
{
	(void)state;
	assert_int_equal(change("{\"attributes\":{\"code\":550,\"text\":\"go away\",\"words\":[\"a\",\"\\u00e9\"]}}"), 0);
	assert_int_equal(run()->code, 550);
	assert_true(slice_is(run()->text, "go away"));
	assert_int_equal(run()->words.count, 2);
	assert_true(slice_is(run()->words.items[1], "\xe9"));
	assert_false(session.own_config);
}

/* The service's block belongs to all sessions: the first change makes a copy. */
static void a_config_attribute_changes_for_this_session_only(void **state)
{
	(void)state;
	assert_int_equal(change("{\"attributes\":{\"timeout\":600}}"), 0);
	assert_false(session.own_config);
	assert_int_equal(change("{\"attributes\":{\"timeout\":77}}"), 0);
	assert_true(session.own_config);
	assert_int_equal(((const struct sample_config *)session.config)->timeout, 77);
	assert_int_equal(((const struct sample_config *)config.block)->timeout, 600);
	assert_int_equal(change("{\"attributes\":{\"time_out\":78}}"), 0);
	assert_int_equal(((const struct sample_config *)session.config)->timeout, 78);
}

static void tables_change_for_this_session_only(void **state)
{
	const struct compiled_table *below = ((const struct sample_config *)config.block)->request;

	(void)state;
	assert_int_equal(change("{\"tables\":[{\"table\":\"request\",\"key\":[\"RCPT\"],\"action\":3,\"args\":[\"550\"]},"
				"{\"table\":\"request\",\"key\":[\"MAIL\"],\"deleted\":true}]}"), 0);
	assert_non_null(table_find(proxy_state_table(&session, REQUEST), SLICE("RCPT"), SLICE("")));
	assert_null(table_find(proxy_state_table(&session, REQUEST), SLICE("MAIL"), SLICE("")));
	assert_null(table_find(below, SLICE("RCPT"), SLICE("")));
	assert_non_null(table_find(below, SLICE("MAIL"), SLICE("")));
}

static void wrong_changes_change_nothing(void **state)
{
	static const struct { const char *packet, *says; } rows[] = {
		{ "{\"attributes\":{\"code\":550,\"text\":\"a\\r\\nb\"}}", "must not contain a line end" },
		{ "{\"attributes\":{\"code\":199}}", "is 199, must be from 200 to 599" },
		{ "{\"attributes\":{\"code\":550,\"nosuch\":1}}", "no such attribute" },
		{ "{\"attributes\":{\"code\":550,\"strict\":false}}", "can't be changed while a session runs" },
		{ "{\"attributes\":[]}", "must be an object" },
		{ "{\"attributes\":{\"code\":550},\"tables\":{}}", "must be an array" },
		{ "{\"attributes\":{\"code\":550},\"tables\":[{\"table\":\"x\",\"key\":[\"A\"],\"action\":1}]}", "no table 'x'" },
		{ "{\"attributes\":{\"code\":550},\"tables\":[{\"table\":\"request\",\"key\":[\"A\"],\"action\":9}]}",
		  "no action 9" },
		{ "{\"attributes\":{\"code\":550},\"tables\":[{\"key\":[\"A\"],\"action\":1}]}", "table: must be a string" },
		{ "{\"tables\":[{\"table\":\"request\",\"key\":[\"A\"],\"action\":6,\"call\":{\"native\":\"sample.x\"}}]}",
		  "no native function" },
		{ "{\"tables\":[7]}", "must be an object" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(change(rows[i].packet), -EBADMSG);
		if (strstr(why, rows[i].says) == NULL)
			fail_msg("%s: says '%s'", rows[i].packet, why);
		it_starts_with_the_defaults(NULL);
	}
}

static void too_many_changes_are_refused(void **state)
{
	json_t *tables = json_array();

	(void)state;
	for (int i = 0; i < 1025; i++)
		json_array_append_new(tables, json_pack("{s:s,s:[s],s:i}", "table", "request", "key", "A", "action", 1));
	assert_int_equal(proxy_state_change(&session, NULL, tables, why, sizeof(why)), -EBADMSG);
	assert_non_null(strstr(why, "more than 1024 changes"));
	json_decref(tables);
}

static void a_key_too_long_is_refused(void **state)
{
	char key[300];
	json_t *tables;

	(void)state;
	memset(key, 'K', sizeof(key));
	tables = json_pack("[{s:s,s:[s#],s:i}]", "table", "request", "key", key, 257, "action", 1);
	assert_int_equal(proxy_state_change(&session, NULL, tables, why, sizeof(why)), -EBADMSG);
	assert_non_null(strstr(why, "too long"));
	json_decref(tables);
}

/* A session may run for days, with a callback for each message. */
static void the_same_changes_again_take_no_memory(void **state)
{
	static const char packet[] = "{\"attributes\":{\"code\":550,\"text\":\"a long and friendly text\"},"
		"\"tables\":[{\"table\":\"request\",\"key\":[\"RCPT\"],\"action\":3,\"args\":[\"550\",\"a text\"]}]}";
	size_t used;

	(void)state;
	assert_int_equal(change(packet), 0);
	used = arena_used(arena);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(change(packet), 0);
	assert_in_range(arena_used(arena), used, used + 256);
}

/* Texts of all lengths, lists and an entry, as for each command of a long session. */
static void ever_new_texts_take_no_more_memory(void **state)
{
	static char text[1001], packet[4096];
	size_t used = 0;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	for (int i = 0; i < 20000; i++) {
		int n = i < 100 ? 1000 - i : (i * 7) % 900;
		const struct table_entry *entry;

		snprintf(packet, sizeof(packet), "{\"attributes\":{\"text\":\"%d %.*s\",\"words\":[\"%d\",\"\",\"%.*s\"]},"
			 "\"tables\":[{\"table\":\"request\",\"key\":[\"RCPT\"],\"action\":3,\"args\":[\"%d\",\"%.*s\"]}]}",
			 i, n, text, i, n, text, 500 + i % 100, n, text);
		assert_int_equal(change(packet), 0);
		assert_int_equal(run()->text.len, (size_t)snprintf(NULL, 0, "%d ", i) + (size_t)n);
		assert_int_equal(run()->words.count, 3);
		assert_int_equal(run()->words.items[1].len, 0);
		assert_memory_equal(run()->words.items[2].ptr, text, (size_t)n);
		entry = table_find(proxy_state_table(&session, REQUEST), SLICE("RCPT"), SLICE(""));
		assert_int_equal(entry->args[1].len, n);
		if (i == 100)
			used = arena_used(arena);
	}
	assert_int_equal(arena_used(arena), used);
}

static void texts_that_grow_take_a_multiple_of_the_longest(void **state)
{
	static char text[4001], packet[8192];
	size_t before = arena_used(arena);

	(void)state;
	memset(text, 'y', sizeof(text) - 1);
	for (int n = 0; n <= 4000; n++) {
		snprintf(packet, sizeof(packet), "{\"attributes\":{\"text\":\"%.*s\"},"
			 "\"tables\":[{\"table\":\"request\",\"key\":[\"RCPT\"],\"action\":3,\"args\":[\"550\",\"%.*s\"]}]}",
			 n, text, n, text);
		assert_int_equal(change(packet), 0);
	}
	assert_in_range(arena_used(arena) - before, 8000, (size_t)2 * 4 * 4000 + 4096);
}

static void no_memory_is_told(void **state)
{
	struct arena *small = arena_create(4096, 0);
	struct proxy_state tight;
	json_t *attributes = json_object();
	static char text[8000];

	(void)state;
	memset(text, 'x', sizeof(text));
	json_object_set_new(attributes, "text", json_stringn(text, sizeof(text)));
	assert_int_equal(proxy_state_init(&tight, NULL, &config, small), 0);
	assert_int_equal(proxy_state_change(&tight, attributes, NULL, why, sizeof(why)), -ENOMEM);
	assert_true(slice_is(((const struct sample_run *)tight.run)->text, "no"));
	json_decref(attributes);
	arena_free(&small);
}

static void readable_attributes_go_to_the_host(void **state)
{
	json_t *o;

	(void)state;
	assert_int_equal(change("{\"attributes\":{\"text\":\"\\u00ff\"}}"), 0);
	o = proxy_state_attributes(&session);
	assert_int_equal(json_integer_value(json_object_get(o, "code")), 500);
	assert_string_equal(json_string_value(json_object_get(o, "text")), "\xc3\xbf");
	assert_int_equal(json_array_size(json_object_get(o, "words")), 0);
	/* What config() said the host knows. */
	assert_null(json_object_get(o, "timeout"));
	assert_null(json_object_get(o, "banner"));
	json_decref(o);
	assert_int_equal(change("{\"attributes\":{\"timeout\":9}}"), 0);
	o = proxy_state_attributes(&session);
	assert_int_equal(json_integer_value(json_object_get(o, "timeout")), 9);
	assert_null(json_object_get(o, "banner"));	/* not readable at run time */
	assert_null(json_object_get(o, "time_out"));
	json_decref(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_starts_with_the_defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_a_change_too, setup, teardown),
		cmocka_unit_test_setup_teardown(run_time_attributes_change, setup, teardown),
		cmocka_unit_test_setup_teardown(a_config_attribute_changes_for_this_session_only, setup, teardown),
		cmocka_unit_test_setup_teardown(tables_change_for_this_session_only, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_changes_change_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(too_many_changes_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(a_key_too_long_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(the_same_changes_again_take_no_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(ever_new_texts_take_no_more_memory, setup, teardown),
		cmocka_unit_test_setup_teardown(texts_that_grow_take_a_multiple_of_the_longest, setup, teardown),
		cmocka_unit_test_setup_teardown(no_memory_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(readable_attributes_go_to_the_host, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
