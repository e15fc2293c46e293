/* SPDX-License-Identifier: Apache-2.0 */
/* Matchers in C: the dialect, the symbols of a text, answers, limits; and what a document may not
 * say of them. That they mean what Python means is tests/python/test_regexp.py. */
#include "build.h"
#include "policy/matcher.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

static struct arena *arena;

static int setup(void **state)
{
	(void)state;
	arena = arena_create((size_t)256 << 20, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

/* The first error's message; "" when it could be built. members: of the document. */
static const char *build(const char *members, const struct policy **out)
{
	static const struct policy *unused;
	const char *says;
	char *text;

	assert_true(asprintf(&text, "{\"format\":\"sallyport-policy\",\"version\":1,\"files\":[\"/p.py\"],\"instances\":[\"i\"],"
				    "\"zones\":[],\"services\":[],\"rules\":[],\"callbacks\":0,%s}", members) > 0);
	says = build_document(arena, slice_cstr(text), out != NULL ? out : &unused);
	free(text);
	return says;
}

static const struct matchers *matchers_of(const char *list)
{
	const struct policy *policy;
	char *members;

	assert_true(asprintf(&members, "\"configs\":[],\"matchers\":%s", list) > 0);
	assert_string_equal(build(members, &policy), "");
	free(members);
	return policy->matchers;
}

static enum matcher_answer ask(const struct matchers *all, size_t number, const char *text)
{
	return matcher_test(matchers_at(all, number), slice_cstr(text), NULL);
}

static void the_dialect(void **state)
{
	static const char *const plain[] = {
		"", "abc", "(?i)abc", "\\A\\z\\Z", "a*b+c?d{2}e{2,}f{2,3}", "a*?b+?c??d{2}?e{2,}?", "[abc]", "[^a-c\\-\\]]", "[\\x00-\\x87]", ".",
		"(?:a|b)+", "(?=a)(?!b)(?<=c)(?<!d)", "\\.\\\\\\{\\[\\(\\*", "a@b_c", "(?:", ")", "[a-z]{99999,99999}",
	};
	static const char *const others[] = {
		"(a)", "(?i)(?i)", "a(?i)b", "(?>a)", "(?<n>a)", "(?P<n>a)", "(?R)", "(?1)", "(?(1)a)", "(?#x)", "(?s)a", "(*UTF)a", "(*LIMIT_MATCH=1)",
		"(*ACCEPT)", "\\1", "\\d", "\\w", "\\b", "\\K", "\\C", "\\R", "\\Q", "\\g1", "\\x4", "\\x{41}", "\\", "a++", "a*+", "a{2}+", "a**", "*", "{", "}", "a{",
		"a{,2}", "a{2", "a{100000}", "a{1,100000}", "[]", "[^]", "[a", "[a-]", "[-a]", "[[:alpha:]]", "[\\d]", "^", "$", " ", "-", "(?", "(", "\xc3\xa4", "\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		if (!matcher_pattern_is_plain(slice_cstr(plain[i])))
			fail_msg("refuses '%s'", plain[i]);
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (matcher_pattern_is_plain(slice_cstr(others[i])))
			fail_msg("takes '%s'", others[i]);
	assert_false(matcher_pattern_is_plain(slice_of("a\0b", 3)));
}

static void texts_become_symbols(void **state)
{
	static const struct matcher_range ranges[] = { { 0xe0, 0xf6, SYMBOL_WORD }, { 0x660, 0x669, SYMBOL_DIGIT }, { 0x2028, 0x2029, SYMBOL_SPACE },
						       { 0x10000, 0x10ffff, SYMBOL_WORD } };
	static const struct { const char *text, *symbols; } cases[] = {
		{ "", "" }, { "az", "az" }, { "\xc3\xa4", "\x81" }, { "\xc3\xb7", "\x80" }, { "\xd9\xa0", "\x82" }, { "\xe2\x80\xa8x", "\x83x" },
		{ "\xe2\x82\xac", "\x80" }, { "\xf0\x90\x80\x80", "\x81" }, { "\xf4\x8f\xbf\xbf", "\x81" },
		{ "\xc4\xb0\xc4\xb1\xc5\xbf\xe2\x84\xaa", "\x84\x85\x86\x87" },
		/* none of UTF-8: an octet each */
		{ "\x80", "\x80" }, { "\xc3", "\x80" }, { "\xc3" "a", "\x80" "a" }, { "\xc0\x80", "\x80\x80" }, { "\xe0\x9f\xbf", "\x80\x80\x80" },
		{ "\xed\xa0\x80", "\x80\x80\x80" }, { "\xf0\x8f\xbf\xbf", "\x80\x80\x80\x80" }, { "\xf4\x90\x80\x80", "\x80\x80\x80\x80" },
		{ "\xf5\x80\x80\x80", "\x80\x80\x80\x80" }, { "\xe2\x82", "\x80\x80" }, { "\xe2\x82\xc3\xa4", "\x80\x80\x81" }, { "\xf0\x90\x80", "\x80\x80\x80" },
	};
	uint8_t out[16];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		size_t n = matcher_symbols(ranges, ARRAY_LEN(ranges), slice_cstr(cases[i].text), out);

		if (!slice_is(slice_of(out, n), cases[i].symbols))
			fail_msg("case %zu", i);
	}
}

static void lists_and_combinations(void **state)
{
	const struct matchers *all = matchers_of(
		"[{\"match\":[[\"x\",\"x\"],[\"y\",\"y\"]],\"ignore\":[[\"no\",\"no\"]]},{},{\"match\":[[\"\",\"\"]],\"at\":[0,7]},"
		"{\"operator\":\"not\",\"operands\":[0]},{\"operator\":\"and\",\"operands\":[0,2]},{\"operator\":\"or\",\"operands\":[1,0]},"
		"{\"operator\":\"xor\",\"operands\":[2,2,0]},{\"operator\":\"eq\",\"operands\":[1,0]},{\"operator\":\"eq\",\"operands\":[2,0,2]}]");
	static const struct { const char *text; const char *answers; } cases[] = {
		{ "x", "101011101" }, { "ay", "101011101" }, { "x no", "001100010" }, { "", "001100010" }, { "a", "001100010" },
	};

	(void)state;
	assert_int_equal(matchers_count(all), 9);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (size_t j = 0; j < 9; j++)
			if (ask(all, j, cases[i].text) != (cases[i].answers[j] == '1' ? MATCHER_YES : MATCHER_NO))
				fail_msg("'%s', matcher %zu", cases[i].text, j);
}

static char told[256];

static void remember(void *arg, enum matcher_answer answer, struct slice pattern)
{
	size_t n = strlen(told);

	(void)arg;
	snprintf(told + n, sizeof(told) - n, "%c%.*s ", "ny?"[answer], SLICE_ARG(pattern));
}

static void the_witness_is_told(void **state)
{
	const struct matcher_witness witness = { remember, NULL };
	const struct matchers *all = matchers_of(
		"[{\"match\":[[\"first\",\"a\"],[\"second\",\"b\"]],\"ignore\":[[\"no\",\"no\"]]},{\"match\":[[\"slow\",\"(?:a+)+\\\\z\"]]},"
		"{\"operator\":\"xor\",\"operands\":[0,0]},{\"match\":[[\"a\",\"a\"]],\"ignore\":[[\"slow\",\"(?:a+)+\\\\z\"]]}]");
	static const char slow[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!";
	static const struct { size_t number; const char *text, *told; } cases[] = {
		{ 0, "b", "ysecond " }, { 0, "ab", "yfirst " }, { 0, "a no", "" }, { 0, "", "" }, { 1, slow, "?slow " }, { 2, "b", "ysecond ysecond " },
		{ 3, slow, "?slow " },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		told[0] = '\0';
		matcher_test(matchers_at(all, cases[i].number), slice_cstr(cases[i].text), &witness);
		assert_string_equal(told, cases[i].told);
	}
}

static void no_answer_is_no_answer(void **state)
{
	const struct matchers *all = matchers_of(
		"[{\"match\":[[\"slow\",\"(?:a+)+\\\\z\"],[\"a\",\"a\"]]},{\"operator\":\"not\",\"operands\":[0]},{\"match\":[[\"\",\"\"]]},"
		"{\"operator\":\"or\",\"operands\":[0,2]},{\"operator\":\"or\",\"operands\":[2,0]},{\"operator\":\"and\",\"operands\":[0,2]},"
		"{\"operator\":\"eq\",\"operands\":[0,0]},{\"operator\":\"xor\",\"operands\":[0,0]}]");
	static const char slow[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!";
	uint8_t *text = calloc(1, MATCHER_TEXT_MAX + 1);

	(void)state;
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(ask(all, i, slow), i == 2 || i == 4 ? MATCHER_YES : MATCHER_UNSURE);
	assert_int_equal(matcher_test(matchers_at(all, 2), slice_of(text, MATCHER_TEXT_MAX), NULL), MATCHER_YES);
	assert_int_equal(matcher_test(matchers_at(all, 2), slice_of(text, MATCHER_TEXT_MAX + 1), NULL), MATCHER_UNSURE);
	assert_int_equal(matcher_test(matchers_at(all, 2), slice_of(NULL, 0), NULL), MATCHER_YES);
	free(text);
}

/* A pattern may be expensive, many of them may not; cheap ones may be as many as there is room for. */
static void patterns_of_a_test_share_its_work(void **state)
{
	enum { MANY = 400 };
	static struct matcher_pattern slow[MANY];
	static struct matcher_pattern cheap[60000];
	static const char text[] = "aaaaaaaaaaaaa!";
	static const size_t operands[MANY];
	struct matchers *all = matchers_create(arena, 8);
	char why[160];

	(void)state;
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(matchers_compile(all, SLICE("slow"), SLICE("(?:a+)+\\z"), &slow[i], why, sizeof(why)), 0);
	assert_int_equal(matchers_compile(all, SLICE("cheap"), SLICE("a+b"), &cheap[0], why, sizeof(why)), 0);
	for (size_t i = 1; i < ARRAY_LEN(cheap); i++)
		cheap[i] = cheap[0];
	assert_int_equal(matchers_add_regexp(all, slow, 1, NULL, 0, why, sizeof(why)), 0);
	assert_int_equal(matchers_add_regexp(all, slow, MANY, NULL, 0, why, sizeof(why)), 0);
	assert_int_equal(matchers_add_regexp(all, cheap, ARRAY_LEN(cheap), NULL, 0, why, sizeof(why)), 0);
	assert_int_equal(matchers_add_combination(all, MATCHER_OR, operands, MANY, why, sizeof(why)), 0);
	assert_int_equal(ask(all, 0, text), MATCHER_NO);
	assert_int_equal(ask(all, 1, text), MATCHER_UNSURE);
	assert_int_equal(ask(all, 2, text), MATCHER_NO);
	assert_int_equal(ask(all, 3, text), MATCHER_UNSURE);
}

/* What the leader compiled, a worker asks. */
static void a_child_shares_them(void **state)
{
	const struct matchers *all = matchers_of("[{\"match\":[[\"a\",\"(?:a|b)+c\\\\z\"]]}]");
	int status = 0;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(ask(all, 0, "xababc") == MATCHER_YES && ask(all, 0, "xabab") == MATCHER_NO ? 0 : 1);
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	assert_int_equal(status, 0);
}

static void what_a_document_may_not_say(void **state)
{
	static const struct { const char *members, *says; } cases[] = {
		{ "\"configs\":[],\"matchers\":5", "must be an array" },
		{ "\"configs\":[],\"matchers\":[5]", "must be an object" },
		{ "\"configs\":[],\"matchers\":[{\"patterns\":[]}]", "unknown member 'patterns'" },
		{ "\"configs\":[],\"matchers\":[{\"match\":\"a\"}]", "must be an array" },
		{ "\"configs\":[],\"matchers\":[{\"match\":[\"a\"]}]", "must be an array" },
		{ "\"configs\":[],\"matchers\":[{\"match\":[[\"a\"]]}]", "must be a string" },
		{ "\"configs\":[],\"matchers\":[{\"match\":[[\"a\",\"b\",\"c\"]]}]", "at most 2" },
		{ "\"configs\":[],\"matchers\":[{\"match\":[[\"\\u0100\",\"b\"]]}]", "not a string of octets" },
		{ "\"configs\":[],\"matchers\":[{\"match\":[[\"a\",\"(*UTF)a\"]]}]", "not of the dialect" },
		{ "\"configs\":[],\"matchers\":[{\"match\":[[\"a\",\"(?:a\"]]}]", "missing closing parenthesis" },
		{ "\"configs\":[],\"matchers\":[{\"match\":[[\"a\",\"[b-a]\"]]}]", "range out of order" },
		{ "\"configs\":[],\"matchers\":[{\"match\":[[\"a\",\"(?<=a*)\"]]}]", "lookbehind assertion is not fixed length" },
		{ "\"configs\":[],\"matchers\":[{\"match\":[[\"a\",\"(?:(?:(?:a{99}){999}){999}){999}\"]]}]", "too large" },
		{ "\"configs\":[],\"matchers\":[{\"ignore\":[[\"a\",\"(?:*)\"]]}]", "quantifier does not follow" },
		{ "\"configs\":[],\"matchers\":[{\"operator\":\"nand\",\"operands\":[]}]", "no operator 'nand'" },
		{ "\"configs\":[],\"matchers\":[{\"operator\":\"not\",\"operands\":[]}]", "operands that its operator needs" },
		{ "\"configs\":[],\"matchers\":[{\"operator\":\"and\"}]", "must be an array" },
		{ "\"configs\":[],\"matchers\":[{\"operator\":\"and\",\"operands\":[0]}]", "must be from 0 to -1" },
		{ "\"configs\":[],\"matchers\":[{},{\"operator\":\"not\",\"operands\":[0,0]}]", "operands that its operator needs" },
		{ "\"configs\":[],\"matchers\":[{},{\"operator\":\"not\",\"operands\":[1]}]", "must be from 0 to 0" },
		{ "\"configs\":[],\"matchers\":[{\"at\":[7,1]}]", "must be from 0 to 0" },
		{ "\"configs\":[],\"characters\":[]", "must be an array, is" },
		{ "\"configs\":[],\"matchers\":[],\"characters\":[[128,127,1]]", "must be from 128" },
		{ "\"configs\":[],\"matchers\":[],\"characters\":[[127,128,1]]", "must be from 128" },
		{ "\"configs\":[],\"matchers\":[],\"characters\":[[128,1114112,1]]", "must be from 128 to 1114111" },
		{ "\"configs\":[],\"matchers\":[],\"characters\":[[128,128,4]]", "must be from 1 to 3" },
		{ "\"configs\":[],\"matchers\":[],\"characters\":[[128,130,1],[130,131,1]]", "ascending order" },
		{ "\"configs\":[{\"proxy\":\"sample\",\"class\":\"C\",\"attributes\":{\"matcher\":{\"matcher\":0}}}]", "the policy has none" },
		{ "\"matchers\":[{}],\"configs\":[{\"proxy\":\"sample\",\"class\":\"C\",\"attributes\":{\"matcher\":{\"matcher\":1}}}]", "must be from 0 to 0" },
		{ "\"matchers\":[{}],\"configs\":[{\"proxy\":\"sample\",\"class\":\"C\",\"attributes\":{\"matcher\":{\"matcher\":0,\"callback\":0}}}]", "must be {" },
		{ "\"matchers\":[{}],\"configs\":[{\"proxy\":\"sample\",\"class\":\"C\",\"attributes\":{\"matcher\":{\"native\":\"sample.sanitize\"}}}]", "unknown member" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *says = build(cases[i].members, NULL);

		if (strstr(says, cases[i].says) == NULL)
			fail_msg("%s: says '%s', should say '%s'", cases[i].members, says, cases[i].says);
	}
}

static void an_attribute_names_a_matcher(void **state)
{
	const struct policy *policy;
	const struct sample_config *c;

	(void)state;
	assert_string_equal(build("\"matchers\":[{},{\"match\":[[\"a\",\"a\"]]}],\"configs\":[{\"proxy\":\"sample\",\"class\":\"C\","
				  "\"attributes\":{\"matcher\":{\"matcher\":1}}}]", &policy), "");
	c = policy->configs[0]->block;
	assert_ptr_equal(c->matcher.matcher, matchers_at(policy->matchers, 1));
	assert_int_equal(c->matcher.callback, -1);
	assert_true(matcher_call_is_set(&c->matcher));
	assert_false(policy->needs_host);
}

/* Each level doubles what a test would try; nothing else about it is large. */
static void combinations_have_a_ceiling(void **state)
{
	static char list[4096];
	static const char *const says[] = { "more than 65536 patterns", "more than 16 deep" };

	(void)state;
	for (size_t way = 0; way < 2; way++) {
		size_t n = (size_t)snprintf(list, sizeof(list), "\"configs\":[],\"matchers\":[{}");

		for (int i = 0; i < 40; i++) {
			n += (size_t)snprintf(list + n, sizeof(list) - n, ",{\"operator\":\"and\",\"operands\":[");
			n += (size_t)(way == 0 ? snprintf(list + n, sizeof(list) - n, "%d,%d,%d,%d", i, i, i, i) :
						 snprintf(list + n, sizeof(list) - n, "%d", i));
			n += (size_t)snprintf(list + n, sizeof(list) - n, "]}");
		}
		snprintf(list + n, sizeof(list) - n, "]");
		if (strstr(build(list, NULL), says[way]) == NULL)
			fail_msg("not '%s' but '%s'", says[way], build(list, NULL));
	}
}

/* The large ones are each let in by PCRE2; together they are too much. */
static void compiled_patterns_have_a_ceiling(void **state)
{
	struct matchers *all = matchers_create(arena, 1);
	struct matcher_pattern pattern;
	char why[160] = "";
	int err = 0;
	int n = 0;

	(void)state;
	for (; err == 0 && n < 100000; n++)
		err = matchers_compile(all, SLICE("s"), SLICE("(?:[a-c][d-f]){500}"), &pattern, why, sizeof(why));
	assert_int_equal(err, -EINVAL);
	assert_string_equal(why, "all patterns together are too large");
	assert_true(n > 500);
}

static void patterns_have_ceilings(void **state)
{
	struct matchers *all = matchers_create(arena, 1);
	struct matcher_pattern pattern;
	char why[160] = "";
	char *text = calloc(1, MATCHER_PATTERN_OCTETS + 1);

	(void)state;
	memset(text, 'a', MATCHER_PATTERN_OCTETS + 1);
	assert_int_equal(matchers_compile(all, SLICE("s"), slice_of(text, MATCHER_PATTERN_OCTETS), &pattern, why, sizeof(why)), 0);
	assert_int_equal(matchers_compile(all, SLICE("s"), slice_of(text, MATCHER_PATTERN_OCTETS + 1), &pattern, why, sizeof(why)), -EINVAL);
	assert_int_equal(matchers_compile(all, slice_of(text, MATCHER_PATTERN_OCTETS + 1), SLICE("a"), &pattern, why, sizeof(why)), -EINVAL);
	for (unsigned i = 1; i < MATCHER_PATTERNS_MAX; i++)
		assert_int_equal(matchers_compile(all, SLICE("s"), SLICE("a"), &pattern, why, sizeof(why)), 0);
	assert_int_equal(matchers_compile(all, SLICE("s"), SLICE("a"), &pattern, why, sizeof(why)), -EINVAL);
	assert_non_null(strstr(why, "more than 65536 patterns"));
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_dialect, setup, teardown),
		cmocka_unit_test_setup_teardown(texts_become_symbols, setup, teardown),
		cmocka_unit_test_setup_teardown(lists_and_combinations, setup, teardown),
		cmocka_unit_test_setup_teardown(the_witness_is_told, setup, teardown),
		cmocka_unit_test_setup_teardown(no_answer_is_no_answer, setup, teardown),
		cmocka_unit_test_setup_teardown(patterns_of_a_test_share_its_work, setup, teardown),
		cmocka_unit_test_setup_teardown(a_child_shares_them, setup, teardown),
		cmocka_unit_test_setup_teardown(what_a_document_may_not_say, setup, teardown),
		cmocka_unit_test_setup_teardown(an_attribute_names_a_matcher, setup, teardown),
		cmocka_unit_test_setup_teardown(combinations_have_a_ceiling, setup, teardown),
		cmocka_unit_test_setup_teardown(compiled_patterns_have_a_ceiling, setup, teardown),
		cmocka_unit_test_setup_teardown(patterns_have_ceilings, setup, teardown),
	};

	return cmocka_run_group_tests_name("matcher", tests, NULL, NULL);
}
