/* SPDX-License-Identifier: Apache-2.0 */
/* Configurations: a CONFIG object into the typed block, by the rows of the type. */
#include "build.h"
#include "policy/proxy_config.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static struct arena *arena;
static const struct policy *policy;
static struct policy_problems problems;

static int setup(void **state)
{
	char *text;

	(void)state;
	arena = arena_create((size_t)64 << 20, 0);
	text = document_text("[{\"name\":\"dmz\",\"addrs\":[]}]", "[]", 1);
	/* The same, with two callbacks. */
	text[strlen(text) - 2] = '2';
	assert_string_equal(build_document(arena, slice_cstr(text), &policy), "");
	free(text);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

/* members: what a CONFIG has besides its head. */
static int read_members(const char *members, struct proxy_config *out)
{
	const struct proxy_config_source source = { .registry = &sample_registry, .policy = policy, .arena = arena,
						    .problems = &problems, .where = "here" };
	char *text;
	int err;

	problems_init(&problems, arena);
	assert_true(asprintf(&text, "{\"proxy\":\"sample\",\"class\":\"C\",\"class_number\":0%s%s}",
			     members[0] != '\0' ? "," : "", members) > 0);
	err = proxy_config_read_text(&source, slice_cstr(text), out);
	free(text);
	return err;
}

static const struct sample_config *good(const char *members)
{
	struct proxy_config config;

	if (read_members(members, &config) < 0)
		fail_msg("%s: %s", members, problems.first != NULL ? problems.first->message : "?");
	return config.block;
}

static const char *bad(const char *members)
{
	struct proxy_config config;

	assert_int_equal(read_members(members, &config), -EINVAL);
	assert_non_null(problems.first);
	return problems.first->message;
}

static void assert_says(const char *says, const char *part)
{
	if (strstr(says, part) == NULL)
		fail_msg("says '%s', should say '%s'", says, part);
}

static void defaults_are_those_of_the_rows(void **state)
{
	const struct sample_config *c = good("");

	(void)state;
	assert_int_equal(c->timeout, 600);
	assert_true(c->strict);
	assert_true(slice_is(c->banner, "hello"));
	assert_int_equal(c->domains.count, 0);
	assert_false(matcher_call_is_set(&c->matcher));
	assert_ptr_equal(c->check.native, sample_check_native);
	assert_int_equal(c->check.callback, -1);
	assert_null(table_find(c->request, SLICE("MAIL"), SLICE("")));
	assert_int_equal(c->prepared, 1);
}

static void values_of_each_type(void **state)
{
	const struct sample_config *c = good("\"attributes\":{\"time_out\":5,\"strict\":false,\"banner\":\"\\u00ff\\u0080x\","
		"\"domains\":[\"a\",\"b\\n\"],\"zones\":\"dmz\",\"matcher\":{\"callback\":1},\"ignored\":9,\"stack\":null}");

	(void)state;
	assert_int_equal(c->timeout, 5);
	assert_false(c->strict);
	assert_true(slice_is(c->banner, "\xff\x80x"));
	assert_int_equal(c->domains.count, 2);
	assert_true(slice_is(c->domains.items[1], "b\n"));
	assert_int_equal(c->zones.count, 1);
	assert_int_equal(c->matcher.callback, 1);
	assert_null(c->matcher.matcher);
}

static void numbers_and_truths_mix_as_in_policies(void **state)
{
	(void)state;
	assert_int_equal(good("\"attributes\":{\"timeout\":true}")->timeout, 1);
	assert_true(good("\"attributes\":{\"strict\":1}")->strict);
	assert_false(good("\"attributes\":{\"strict\":0}")->strict);
	assert_says(bad("\"attributes\":{\"strict\":2}"), "attributes.strict: must be true or false");
	assert_says(bad("\"attributes\":{\"timeout\":false}"), "must be an integer, is a truth value");
}

static void ranges_include_their_ends(void **state)
{
	(void)state;
	assert_int_equal(good("\"attributes\":{\"timeout\":1}")->timeout, 1);
	assert_int_equal(good("\"attributes\":{\"timeout\":1000}")->timeout, 1000);
	assert_says(bad("\"attributes\":{\"timeout\":0}"), "here: attributes.timeout: is 0, must be from 1 to 1000");
	assert_says(bad("\"attributes\":{\"timeout\":1001}"), "is 1001");
	/* No range: any number that fits. */
	good("\"attributes\":{\"ignored\":-9223372036854775808}");
	assert_says(bad("\"attributes\":{\"timeout\":99999999999999999999}"), "too big");
}

static void wrong_types_are_refused(void **state)
{
	(void)state;
	assert_says(bad("\"attributes\":{\"timeout\":\"5\"}"), "must be an integer, is a string");
	assert_says(bad("\"attributes\":{\"timeout\":null}"), "must be an integer, is null");
	assert_says(bad("\"attributes\":{\"banner\":5}"), "must be a string");
	assert_says(bad("\"attributes\":{\"domains\":5}"), "must be an array");
	assert_says(bad("\"attributes\":{\"domains\":[\"a\",5]}"), "attributes.domains[1]: must be a string");
	assert_says(bad("\"attributes\":{\"matcher\":\"name\"}"), "must be an object");
	assert_says(bad("\"attributes\":{\"banner\":\"\\u0100\"}"), "not a string of octets");
	assert_says(bad("\"attributes\":[]"), "attributes: must be an object");
}

static void line_ends_do_not_get_into_lines(void **state)
{
	(void)state;
	assert_says(bad("\"attributes\":{\"banner\":\"a\\r\"}"), "must not contain a line end or NUL");
	assert_says(bad("\"attributes\":{\"banner\":\"a\\nb\"}"), "must not contain a line end");
	assert_says(bad("\"attributes\":{\"banner\":\"\\u0000\"}"), "must not contain a line end or NUL");
	assert_says(bad("\"tables\":{\"request\":[{\"key\":[\"A\"],\"action\":3,\"args\":[\"502\",\"no\\r\\n250 yes\"]}]}"),
		    "tables.request[0].args[1]: must not contain a line end");
}

static void unknown_names_are_refused_with_the_nearest(void **state)
{
	(void)state;
	assert_says(bad("\"attributes\":{\"timeuot\":5}"), "no such attribute; did you mean 'timeout'?");
	assert_says(bad("\"attributes\":{\"entirely_else\":5}"), "no such attribute");
	assert_null(strstr(problems.first->message, "did you mean"));
	assert_says(bad("\"attributes\":{\"code\":500}"), "can't be set in config()");
	assert_says(bad("\"attributes\":{\"stack\":{\"native\":\"x\"}}"), "content inspection is not there yet");
	assert_says(bad("\"tables\":{\"requests\":[]}"), "no such table");
	assert_says(bad("\"hooks\":{\"checkIt\":{\"callback\":0}}"), "never calls such a method");
	assert_says(bad("\"hooks\":{\"sanitize\":{\"callback\":0}}"), "never calls such a method");
	assert_says(bad("\"stuff\":1"), "unknown member 'stuff'");
}

static void tables_are_filled(void **state)
{
	const struct sample_config *c = good("\"tables\":{\"request\":[{\"key\":[\"MAIL\"],\"action\":6,\"call\":{\"callback\":1}},"
		"{\"key\":[\"ETRN\"],\"action\":3,\"args\":[\"502\",\"no\"]},"
		"{\"key\":[\"RCPT\"],\"action\":6,\"call\":{\"native\":\"sample.check_it_all\"}}],"
		"\"response\":[{\"key\":[\"*\",\"25\"],\"action\":1}]}");
	const struct table_entry *e = table_find(c->request, SLICE("MAIL"), SLICE(""));

	(void)state;
	assert_int_equal(e->action, SAMPLE_POLICY);
	assert_int_equal(e->call.callback, 1);
	e = table_find(c->request, SLICE("ETRN"), SLICE(""));
	assert_int_equal(e->n_args, 2);
	assert_true(slice_is(e->args[1], "no"));
	e = table_find(c->request, SLICE("RCPT"), SLICE(""));
	assert_ptr_equal(e->call.native, sample_check_native);
	assert_int_equal(e->call.callback, -1);
	assert_int_equal(table_find(c->response, SLICE("MAIL"), SLICE("250"))->action, SAMPLE_ACCEPT);
}

static void wrong_entries_are_refused(void **state)
{
	static const struct { const char *entry, *says; } rows[] = {
		{ "{\"key\":[\"A\"],\"action\":2}", "table 'request' has no action 2" },
		{ "{\"key\":[\"A\"],\"action\":1,\"args\":[\"x\"]}", "action ACCEPT takes 0 to 0 strings, not 1" },
		{ "{\"key\":[\"A\"],\"action\":3,\"args\":[\"x\",\"y\",\"z\"]}", "at most 2" },
		{ "{\"key\":[\"A\"],\"action\":6}", "action POLICY needs something to call" },
		{ "{\"key\":[\"A\"],\"action\":1,\"call\":{\"callback\":0}}", "action ACCEPT calls nothing" },
		{ "{\"key\":[\"A\",\"B\"],\"action\":1}", "keys of 1 parts" },
		{ "{\"key\":\"A\",\"action\":1}", "key: must be an array" },
		{ "{\"action\":1}", "key: must be an array, is missing" },
		{ "{\"key\":[\"A\"]}", "action: must be an integer, is missing" },
		{ "{\"key\":[\"A\"],\"action\":1,\"deleted\":true}", "unknown member 'deleted'" },
		{ "{\"key\":[\"A\"],\"action\":6,\"call\":{\"callback\":2}}", "call.callback: is 2" },
		{ "{\"key\":[\"A\"],\"action\":6,\"call\":{\"callback\":-1}}", "call.callback: is -1" },
		{ "{\"key\":[\"A\"],\"action\":6,\"call\":{\"native\":\"sample.nosuch\"}}", "no native function" },
		{ "{\"key\":[\"A\"],\"action\":6,\"call\":{\"native\":\"sample.checkItAll\"}}", "no native function" },
		{ "{\"key\":[\"A\"],\"action\":6,\"call\":{\"native\":\"smtp.check_it_all\"}}", "no native function" },
		{ "{\"key\":[\"A\"],\"action\":6,\"call\":{\"native\":\"sanitize\"}}", "is not PROXY.FUNCTION" },
		{ "{\"key\":[\"A\"],\"action\":6,\"call\":{}}", "must be {\"callback\": N} or" },
		{ "{\"key\":[\"A\"],\"action\":6,\"call\":{\"callback\":0,\"native\":\"sample.sanitize\"}}", "must be {" },
		{ "7", "must be an object" },
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		snprintf(text, sizeof(text), "\"tables\":{\"request\":[%s]}", rows[i].entry);
		assert_says(bad(text), rows[i].says);
	}
	assert_says(bad("\"tables\":{\"response\":[{\"key\":[\"A\",\"2500\"],\"action\":1}]}"), "can never be found");
	assert_says(bad("\"tables\":{\"response\":[{\"key\":[\"A\"],\"action\":1}]}"), "keys of 2 parts");
}

static void overridden_hooks_replace_the_native_form(void **state)
{
	const struct sample_config *c = good("\"hooks\":{\"checkItAll\":{\"callback\":1}}");

	(void)state;
	assert_int_equal(c->check.callback, 1);
	assert_null(c->check.native);
}

static void prepare_may_refuse(void **state)
{
	(void)state;
	assert_says(bad("\"attributes\":{\"timeout\":666}"), "timeout of the beast");
}

static void several_problems_are_told_at_once(void **state)
{
	struct proxy_config config;

	(void)state;
	assert_int_equal(read_members("\"attributes\":{\"timeout\":0,\"banner\":1,\"x\":2},\"tables\":{\"y\":[]},"
				      "\"hooks\":{\"z\":{\"callback\":0}}", &config), -EINVAL);
	assert_int_equal(problems.n_errors, 5);
}

/* What the host answers for one session has the same members, in a packet with others. */
static void a_session_may_have_its_own(void **state)
{
	const struct proxy_config_source source = { .registry = &sample_registry, .policy = policy, .arena = arena,
						    .problems = &problems };
	struct proxy_config service, own;
	json_t *packet = json_loads("{\"op\":\"done\",\"attributes\":{\"timeout\":7},"
				    "\"hooks\":{\"checkItAll\":{\"callback\":2}}}", 0, NULL);

	(void)state;
	assert_int_equal(read_members("\"per_session\":true", &service), 0);
	assert_true(service.per_session);
	assert_false(service.has_callbacks);
	assert_int_equal(proxy_config_read_session(&source, packet, &service, &own), 0);
	assert_int_equal(((const struct sample_config *)own.block)->timeout, 7);
	assert_int_equal(((const struct sample_config *)service.block)->timeout, 600);
	assert_true(own.has_callbacks);
	json_decref(packet);
	/* A number that is nobody's. */
	packet = json_pack("{s:{s:{s:i}}}", "hooks", "checkItAll", "callback", 2 + (int)OWN_CALLBACKS_MAX);
	assert_int_equal(proxy_config_read_session(&source, packet, &service, &own), -EINVAL);
	json_decref(packet);
}

static void octets_survive_json(void **state)
{
	uint8_t all[600];
	struct slice back;
	json_t *json;

	(void)state;
	for (size_t i = 0; i < sizeof(all); i++)
		all[i] = (uint8_t)i;
	for (size_t n = 0; n <= sizeof(all); n += 75) {
		json = json_from_octets(slice_of(all, n));
		assert_non_null(json);
		assert_int_equal(json_to_octets(json, arena, &back), 0);
		assert_true(slice_equal(back, slice_of(all, n)));
		json_decref(json);
	}
	json = json_integer(1);
	assert_int_equal(json_to_octets(json, arena, &back), -EINVAL);
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(defaults_are_those_of_the_rows, setup, teardown),
		cmocka_unit_test_setup_teardown(values_of_each_type, setup, teardown),
		cmocka_unit_test_setup_teardown(numbers_and_truths_mix_as_in_policies, setup, teardown),
		cmocka_unit_test_setup_teardown(ranges_include_their_ends, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_types_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(line_ends_do_not_get_into_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_names_are_refused_with_the_nearest, setup, teardown),
		cmocka_unit_test_setup_teardown(tables_are_filled, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_entries_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(overridden_hooks_replace_the_native_form, setup, teardown),
		cmocka_unit_test_setup_teardown(prepare_may_refuse, setup, teardown),
		cmocka_unit_test_setup_teardown(several_problems_are_told_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(a_session_may_have_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(octets_survive_json, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
