/* SPDX-License-Identifier: Apache-2.0 */
#include "base/logspec.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { MAX = 8, FALLBACK = 3 };

static void test_first_match_decides(void **state)
{
	static const struct {
		const char *spec, *tag;
		int level;
	} cases[] = {
		{ "", "core.debug", FALLBACK },
		{ "core.debug:6", "core.debug", 6 },
		{ "core.debug:6", "core.error", FALLBACK },
		{ "core.debug:6,core:1", "core.debug", 6 },
		{ "core:1,core.debug:6", "core.debug", 1 },
		{ "http.*:5,core:3", "http.request", 5 },
		{ "http.*:5", "http", FALLBACK },		/* a star is a component, not none */
		{ "http.*:5", "http.a.b", 5 },
		{ "*.accounting:4,*.summary:4,core.error:6", "smtp.accounting", 4 },
		{ "*.accounting:4,*.summary:4,core.error:6", "core.error", 6 },
		{ "*.accounting:4", "accounting", FALLBACK },
		{ "*:9", "anything.at.all", 9 },
		{ "co:9", "core.debug", FALLBACK },		/* no partial words */
		{ "core.de:9", "core.debug", FALLBACK },
		{ "Core:9", "core.debug", FALLBACK },
		{ "core.debug.more:9", "core.debug", FALLBACK },
		{ ", ,core:5,,, smtp:6", "smtp.info", 6 },	/* commas and spaces before an item */
		{ "core:,smtp:4", "core.info", 0 },		/* a missing level */
		{ "core:5x,smtp:4", "smtp.info", 4 },		/* text behind a level */
		{ "core:5 smtp:4", "smtp.info", FALLBACK },	/* a space separates nothing */
		{ "core:99", "core.info", 10 },
		{ "core:99999999999999999999", "core.info", 10 },
		{ "core:-1", "core.info", 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct logspec_entry entries[MAX];
		const char *bad;
		int n = logspec_parse(cases[i].spec, entries, MAX, &bad);

		assert_true(n >= 0);
		assert_int_equal(logspec_level(entries, (size_t)n, slice_cstr(cases[i].tag), FALLBACK), cases[i].level);
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *spec;
		size_t bad;
	} cases[] = {
		{ "core:5,", 7 },
		{ "core:5 ", 6 },
		{ "core:5,,", 8 },
		{ "core_x:5", 4 },
		{ "core-x:5", 4 },
		{ "core debug:5", 4 },
		{ "core", 4 },
		{ "core,smtp:4", 4 },
		{ ":5", 0 },
		{ ".core:5", 0 },
		{ "core.:5", 5 },
		{ "core..debug:5", 5 },
		{ "core.deb*:5", 5 },
		{ "**:5", 0 },
		{ "core:5,smtp=4", 11 },
		{ ",", 1 },
		{ " ", 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct logspec_entry entries[MAX];
		const char *bad = NULL;

		assert_int_equal(logspec_parse(cases[i].spec, entries, MAX, &bad), -EINVAL);
		assert_int_equal(bad - cases[i].spec, cases[i].bad);
	}
	struct logspec_entry entries[2];
	const char *bad;

	assert_int_equal(logspec_parse("a:1,b:2", entries, 2, &bad), 2);
	assert_int_equal(logspec_parse("a:1,b:2,c:3", entries, 2, &bad), -ENOSPC);
}

static void test_unreachable(void **state)
{
	static const struct {
		const char *spec;
		size_t index;
	} cases[] = {
		{ "core:1,core.debug:6", 1 },
		{ "core.debug:6,core:1", 2 },
		{ "*.debug:1,smtp:2,core.debug.x:3", 2 },
		{ "core.debug:1,*.debug:3", 2 },
		{ "*:1,core:3", 1 },
		{ "", 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct logspec_entry entries[MAX];
		const char *bad;
		int n = logspec_parse(cases[i].spec, entries, MAX, &bad);

		assert_int_equal(logspec_unreachable(entries, (size_t)n), cases[i].index);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first_match_decides),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_unreachable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
