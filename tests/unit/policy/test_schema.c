/* SPDX-License-Identifier: Apache-2.0 */
/* The tables written out, and what the tables of a proxy must promise each other. */
#include "sample_type.h"
#include "policy/counter.h"
#include "policy/schema.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static json_t *schema(void)
{
	struct buffer out = BUFFER_INIT(1u << 20);
	json_t *json;

	assert_int_equal(schema_write(&sample_registry, &out), 0);
	json = json_loadb((const char *)out.data, out.len, 0, NULL);
	assert_non_null(json);
	buffer_release(&out);
	return json;
}

static json_t *named(json_t *list, const char *name)
{
	for (size_t i = 0; i < json_array_size(list); i++)
		if (strcmp(json_string_value(json_object_get(json_array_get(list, i), "name")), name) == 0)
			return json_array_get(list, i);
	fail_msg("no '%s'", name);
	return NULL;
}

static void assert_json(json_t *object, const char *member, const char *want)
{
	char *text = json_dumps(json_object_get(object, member), JSON_COMPACT | JSON_ENCODE_ANY);

	assert_non_null(text);
	assert_string_equal(text, want);
	free(text);
}

static void attributes_are_written(void **state)
{
	json_t *json = schema(), *attributes, *a;

	(void)state;
	attributes = json_object_get(json_object_get(json_object_get(json, "proxies"), "sample"), "attributes");
	assert_int_equal(json_array_size(attributes), sample_type.n_attributes);
	a = named(attributes, "timeout");
	assert_json(a, "type", "\"int\"");
	assert_json(a, "access", "[\"config-read\",\"config-write\",\"run-read\",\"run-write\"]");
	assert_json(a, "home", "\"config\"");
	assert_json(a, "min", "1");
	assert_json(a, "max", "1000");
	assert_json(a, "default", "600");
	assert_json(a, "alias_of", "null");
	assert_json(a, "effect", "true");
	a = named(attributes, "time_out");
	assert_json(a, "alias_of", "\"timeout\"");
	assert_json(a, "type", "\"int\"");
	a = named(attributes, "ignored");
	assert_json(a, "min", "null");
	assert_json(a, "effect", "false");
	a = named(attributes, "text");
	assert_json(a, "home", "\"run\"");
	assert_json(a, "line", "true");
	assert_json(a, "default", "\"no\"");
	assert_json(named(attributes, "strict"), "default", "true");
	assert_json(named(attributes, "domains"), "default", "[]");
	assert_json(named(attributes, "matcher"), "default", "null");
	json_decref(json);
}

static void tables_and_hooks_are_written(void **state)
{
	json_t *json = schema(), *proxy, *t, *h;

	(void)state;
	proxy = json_object_get(json_object_get(json, "proxies"), "sample");
	t = named(json_object_get(proxy, "tables"), "response");
	assert_json(t, "key_parts", "2");
	assert_json(t, "lookup", "\"verb-code\"");
	assert_json(named(json_object_get(t, "actions"), "REJECT"), "max_args", "2");
	assert_json(named(json_object_get(t, "actions"), "POLICY"), "calls", "true");
	h = named(json_object_get(proxy, "hooks"), "checkItAll");
	assert_json(h, "arguments", "[\"cmd\",\"param\"]");
	assert_json(h, "classes", "[\"SampleProxy\"]");
	assert_json(h, "native", "true");
	assert_json(h, "stored", "true");
	assert_json(named(json_object_get(proxy, "hooks"), "sanitize"), "stored", "false");
	json_decref(json);
}

static void the_page_has_a_row_for_each(void **state)
{
	struct buffer out = BUFFER_INIT(1u << 20);

	(void)state;
	assert_int_equal(schema_write_page(&sample_type, &out), 0);
	buffer_append_octet(&out, 0);
	assert_non_null(strstr((const char *)out.data, "| `timeout` | int | 1 to 1000 | 600 | rw | rw | Patience. |"));
	assert_non_null(strstr((const char *)out.data, "| `time_out` | | | | | | another name of `timeout` |"));
	assert_non_null(strstr((const char *)out.data, "| `banner` | string |  | `\"hello\"` | rw | - | Greeting. |"));
	assert_non_null(strstr((const char *)out.data, "| `POLICY` | 6 | 0 to 0 | yes |"));
	assert_non_null(strstr((const char *)out.data, "| `checkItAll(cmd param)` | SampleProxy | yes | Checks. |"));
	buffer_release(&out);
}

static void a_full_buffer_is_told(void **state)
{
	struct buffer out = BUFFER_INIT(100);

	(void)state;
	assert_true(schema_write(&sample_registry, &out) < 0);
	buffer_release(&out);
}

static void the_sample_is_sound(void **state)
{
	char why[200] = "";

	(void)state;
	assert_true(proxy_type_is_sound(&sample_type, why, sizeof(why)));
	assert_string_equal(why, "");
}

/* Each row is one broken promise. */
static void broken_promises_are_found(void **state)
{
	static const struct { struct attribute row; const char *says; } rows[] = {
		{ { .name = "a", .alias_of = "b" }, "alias of nothing" },
		{ { .name = "request", .type = ATTR_INT, .doc = "d" }, "an attribute and a table" },
		{ { .name = "timeout", .type = ATTR_INT, .doc = "d" }, "there twice" },
		{ { .name = "a", .type = ATTR_INT }, "no words" },
		{ { .name = "a", .type = ATTR_INT, .min = 1, .max = 2, .number = 3, .doc = "d" }, "outside of its range" },
		{ { .name = "a", .type = ATTR_INT, .access = ATTR_CONFIG | ATTR_HOME_RUN, .doc = "d" }, "set in config()" },
		{ { .name = "a", .type = ATTR_STRING, .offset = sizeof(struct sample_config) - 8, .doc = "d" }, "outside of its block" },
		{ { .name = "a", .type = ATTR_BOOL, .access = ATTR_HOME_RUN, .offset = sizeof(struct sample_run), .doc = "d" },
		  "outside of its block" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct attribute attributes[2] = { sample_type.attributes[0], rows[i].row };
		struct proxy_type type = sample_type;
		char why[200] = "";

		type.attributes = attributes;
		type.n_attributes = 2;
		assert_false(proxy_type_is_sound(&type, why, sizeof(why)));
		if (strstr(why, rows[i].says) == NULL)
			fail_msg("row %zu says '%s'", i, why);
	}
}

static void promises_of_counters(void **state)
{
	static const struct counter good[] = { { "commands", "Commands." } }, none[] = { { "commands", "" } },
		twice[] = { { "violations", "Again." } }, many[COUNTERS_MAX];
	static const struct { const struct counter *rows; size_t n; const char *says; } cases[] = {
		{ good, 1, NULL }, { none, 1, "words of explanation" }, { twice, 1, "'violations' is counted twice" },
		{ many, COUNTERS_MAX - COUNTERS_COMMON + 1, "too many" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct proxy_type type = sample_type;
		char why[200] = "";

		type.counters = cases[i].rows;
		type.n_counters = cases[i].n;
		assert_int_equal(proxy_type_is_sound(&type, why, sizeof(why)), cases[i].says == NULL);
		assert_non_null(strstr(why, cases[i].says != NULL ? cases[i].says : ""));
	}
	assert_string_equal(counter_of(NULL, COUNT_SERVERS_REUSED)->name, "servers_reused");
	assert_null(counter_of(NULL, COUNTERS_COMMON));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(attributes_are_written),
		cmocka_unit_test(tables_and_hooks_are_written),
		cmocka_unit_test(the_page_has_a_row_for_each),
		cmocka_unit_test(a_full_buffer_is_told),
		cmocka_unit_test(promises_of_counters),
		cmocka_unit_test(the_sample_is_sound),
		cmocka_unit_test(broken_promises_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
