/* SPDX-License-Identifier: Apache-2.0 */
/* Compiling matchers, at load, and testing texts with them, in the workers. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "policy/matcher.h"

#include <errno.h>
#include <pcre2.h>
#include <stdio.h>
#include <stdlib.h>

struct matcher {
	const struct matchers *all;
	bool combines;
	const struct matcher_pattern *match, *ignore;	/* !combines */
	size_t n_match, n_ignore;
	enum matcher_operator op;			/* combines */
	const struct matcher **operands;
	size_t n_operands;
	unsigned depth;
	size_t work;					/* patterns that a test may try */
};

struct matchers {
	struct arena *arena;
	const struct matcher_range *ranges;
	size_t n_ranges;
	pcre2_compile_context *context;
	struct matcher **items;
	size_t n_items, room;
	size_t n_patterns, code_octets, jit_octets;
};

static void free_context(void *arg)
{
	pcre2_compile_context_free(arg);
}

static void free_code(void *arg)
{
	pcre2_code_free(arg);
}

struct matchers *matchers_create(struct arena *arena, size_t room)
{
	struct matchers *all = ARENA_NEW(arena, struct matchers);

	if (all == NULL)
		return NULL;
	all->arena = arena;
	all->room = room;
	all->items = arena_array(arena, room, sizeof(*all->items));
	all->context = pcre2_compile_context_create(NULL);
	if (all->items == NULL || all->context == NULL || arena_defer(arena, free_context, all->context) < 0) {
		pcre2_compile_context_free(all->context);
		return NULL;
	}
	pcre2_set_newline(all->context, PCRE2_NEWLINE_LF);
	pcre2_set_max_pattern_length(all->context, MATCHER_PATTERN_OCTETS);
	return all;
}

int matchers_set_characters(struct matchers *all, const struct matcher_range *ranges, size_t n)
{
	uint32_t least = 0x80;
	struct matcher_range *copy;

	if (n > MATCHER_RANGES_MAX)
		return -EINVAL;
	for (size_t i = 0; i < n; i++) {
		if (ranges[i].first < least || ranges[i].last < ranges[i].first || ranges[i].last > 0x10ffff ||
		    ranges[i].symbol < SYMBOL_WORD || ranges[i].symbol > SYMBOL_SPACE)
			return -EINVAL;
		least = ranges[i].last + 1;
	}
	copy = arena_array(all->arena, n, sizeof(*copy));
	if (copy == NULL)
		return -ENOMEM;
	if (n > 0)
		memcpy(copy, ranges, n * sizeof(*copy));
	all->ranges = copy;
	all->n_ranges = n;
	return 0;
}

static int refuse(char *why, size_t size, const char *text)
{
	snprintf(why, size, "%s", text);
	return -EINVAL;
}

/* Machine code is several times faster, and not needed: without it the pattern is interpreted. */
static void compile_to_machine_code(struct matchers *all, pcre2_code *code)
{
	size_t octets = 0;

	if (all->jit_octets < MATCHER_JIT_OCTETS && pcre2_jit_compile(code, PCRE2_JIT_COMPLETE) == 0 &&
	    pcre2_pattern_info(code, PCRE2_INFO_JITSIZE, &octets) == 0)
		all->jit_octets += octets;
}

static int take_code(struct matchers *all, pcre2_code *code, struct matcher_pattern *out, char *why, size_t why_size)
{
	size_t octets = 0;
	uint32_t options = 0;

	if (arena_defer(all->arena, free_code, code) < 0) {
		pcre2_code_free(code);
		return -ENOMEM;
	}
	pcre2_pattern_info(code, PCRE2_INFO_SIZE, &octets);
	pcre2_pattern_info(code, PCRE2_INFO_ALLOPTIONS, &options);
	all->code_octets += octets;
	if (all->code_octets > MATCHER_CODE_OCTETS)
		return refuse(why, why_size, "all patterns together are too large");
	compile_to_machine_code(all, code);
	out->code = code;
	out->anchored = (options & PCRE2_ANCHORED) != 0;
	return 0;
}

int matchers_compile(struct matchers *all, struct slice source, struct slice text, struct matcher_pattern *out,
		     char *why, size_t why_size)
{
	struct matcher_pattern made = { .source = source };
	PCRE2_UCHAR words[128];
	pcre2_code *code;
	PCRE2_SIZE offset;
	int error, err;

	if (text.len > MATCHER_PATTERN_OCTETS || source.len > MATCHER_PATTERN_OCTETS)
		return refuse(why, why_size, "is longer than 8192 octets");
	if (all->n_patterns >= MATCHER_PATTERNS_MAX)
		return refuse(why, why_size, "there are more than 65536 patterns");
	if (!matcher_pattern_is_plain(text))
		return refuse(why, why_size, "is not of the dialect of matchers");
	code = pcre2_compile(text.len > 0 ? text.ptr : (const uint8_t *)"", text.len,
			     PCRE2_NEVER_UTF | PCRE2_NEVER_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_NO_AUTO_CAPTURE, &error, &offset,
			     all->context);
	if (code == NULL && error == PCRE2_ERROR_NOMEMORY)
		return -ENOMEM;
	if (code == NULL) {
		pcre2_get_error_message(error, words, sizeof(words));
		return refuse(why, why_size, (const char *)words);
	}
	err = take_code(all, code, &made, why, why_size);
	if (err < 0)
		return err;
	all->n_patterns++;
	*out = made;
	return 0;
}

static int add(struct matchers *all, const struct matcher *made, char *why, size_t why_size)
{
	struct matcher *kept;

	if (all->n_items == all->room)
		return refuse(why, why_size, "there are too many matchers");
	if (made->depth > MATCHER_DEPTH_MAX)
		return refuse(why, why_size, "combines matchers more than 16 deep");
	if (made->work > MATCHER_PATTERNS_MAX)
		return refuse(why, why_size, "one test would try more than 65536 patterns");
	kept = ARENA_NEW(all->arena, struct matcher);
	if (kept == NULL)
		return -ENOMEM;
	*kept = *made;
	all->items[all->n_items++] = kept;
	return 0;
}

int matchers_add_regexp(struct matchers *all, const struct matcher_pattern *match, size_t n_match,
			const struct matcher_pattern *ignore, size_t n_ignore, char *why, size_t why_size)
{
	const struct matcher made = { .all = all, .match = match, .n_match = n_match, .ignore = ignore,
				      .n_ignore = n_ignore, .depth = 1, .work = 1 + n_match + n_ignore };

	return add(all, &made, why, why_size);
}

int matchers_add_combination(struct matchers *all, enum matcher_operator op, const size_t *operands, size_t n,
			     char *why, size_t why_size)
{
	struct matcher made = { .all = all, .combines = true, .op = op, .n_operands = n, .depth = 1, .work = 1 };

	if (n == 0 || n > MATCHER_OPERANDS_MAX || (op == MATCHER_NOT && n != 1))
		return refuse(why, why_size, "does not have the operands that its operator needs");
	made.operands = arena_array(all->arena, n, sizeof(*made.operands));
	if (made.operands == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		if (operands[i] >= all->n_items)
			return refuse(why, why_size, "an operand is no earlier matcher");
		made.operands[i] = all->items[operands[i]];
		made.work += made.operands[i]->work;
		if (made.depth <= made.operands[i]->depth)
			made.depth = made.operands[i]->depth + 1;
	}
	return add(all, &made, why, why_size);
}

size_t matchers_count(const struct matchers *all)
{
	return all->n_items;
}

const struct matcher *matchers_at(const struct matchers *all, size_t number)
{
	return all->items[number];
}

/* One test: the text as symbols, and what PCRE2 needs, which is this process's own. */
struct test {
	struct slice symbols;
	uint64_t work;			/* steps that are left of MATCHER_TEST_WORK */
	pcre2_match_data *data;
	pcre2_match_context *context;
	const struct matcher_witness *witness;
};

static void tell(struct test *t, enum matcher_answer answer, struct slice pattern)
{
	if (t->witness != NULL)
		t->witness->tell(t->witness->arg, answer, pattern);
}

/* The machine code has 32 KiB of stack; where that does not do, the interpreter with its own
 * bounded memory does. */
static int match_within(struct test *t, const struct matcher_pattern *p, uint32_t limit)
{
	int n;

	pcre2_set_match_limit(t->context, limit);
	n = pcre2_match(p->code, t->symbols.ptr, t->symbols.len, 0, 0, t->data, t->context);
	if (n == PCRE2_ERROR_JIT_STACKLIMIT)
		n = pcre2_match(p->code, t->symbols.ptr, t->symbols.len, 0, PCRE2_NO_JIT, t->data, t->context);
	return n;
}

/*
 * PCRE2 counts its steps anew for each place where a match may begin, so the work of a pattern is
 * shared out over these. It does not say how many it took; so a pattern begins with a few, which is
 * what nearly all take and what costs the test nothing, and begins again with four times as many
 * while these do not do. The last number is what it takes off the test's work: at most four times
 * of what it did, and never less.
 */
static int match(struct test *t, const struct matcher_pattern *p)
{
	uint64_t places = p->anchored ? 1 : t->symbols.len + 1;
	uint64_t most = MATCHER_WORK / places < 1000 ? 1000 : MATCHER_WORK / places;
	uint64_t limit = MATCHER_FREE_STEPS;
	int n = match_within(t, p, MATCHER_FREE_STEPS);

	while (n == PCRE2_ERROR_MATCHLIMIT && limit < most) {
		limit = limit * 4 < most ? limit * 4 : most;
		if (limit * places > t->work)
			return n;
		n = match_within(t, p, (uint32_t)limit);
	}
	if (limit > MATCHER_FREE_STEPS)
		t->work -= limit * places;
	return n;
}

static enum matcher_answer search(struct test *t, const struct matcher_pattern *p)
{
	int n = match(t, p);

	if (n >= 0)
		return MATCHER_YES;
	if (n == PCRE2_ERROR_NOMATCH)
		return MATCHER_NO;
	tell(t, MATCHER_UNSURE, p->source);
	return MATCHER_UNSURE;
}

/* What the first pattern that does not say no says. */
static enum matcher_answer search_list(struct test *t, const struct matcher_pattern *list, size_t n,
				       const struct matcher_pattern **which)
{
	for (size_t i = 0; i < n; i++) {
		enum matcher_answer answer = search(t, &list[i]);

		if (answer != MATCHER_NO) {
			*which = &list[i];
			return answer;
		}
	}
	return MATCHER_NO;
}

static enum matcher_answer test_regexp(struct test *t, const struct matcher *m)
{
	const struct matcher_pattern *hit, *ignored;
	enum matcher_answer answer = search_list(t, m->match, m->n_match, &hit);

	if (answer != MATCHER_YES)
		return answer;
	answer = search_list(t, m->ignore, m->n_ignore, &ignored);
	if (answer != MATCHER_NO)
		return answer == MATCHER_YES ? MATCHER_NO : answer;
	tell(t, MATCHER_YES, hit->source);
	return MATCHER_YES;
}

static enum matcher_answer test_one(struct test *t, const struct matcher *m);

static enum matcher_answer test_combination(struct test *t, const struct matcher *m)
{
	size_t yes = 0;
	bool truth = false;

	for (size_t i = 0; i < m->n_operands; i++) {
		enum matcher_answer answer = test_one(t, m->operands[i]);

		if (answer == MATCHER_UNSURE)
			return answer;
		yes += answer == MATCHER_YES;
		if ((m->op == MATCHER_AND && answer == MATCHER_NO) || (m->op == MATCHER_OR && answer == MATCHER_YES))
			return answer;
	}
	switch (m->op) {
	case MATCHER_NOT:
		truth = yes == 0;
		break;
	case MATCHER_AND:
		truth = true;
		break;
	case MATCHER_XOR:
		truth = yes % 2 == 1;
		break;
	case MATCHER_EQ:
		truth = yes == 0 || yes == m->n_operands;
		break;
	case MATCHER_OR:
	case MATCHER_OPERATOR_COUNT:
		break;
	}
	return truth ? MATCHER_YES : MATCHER_NO;
}

static enum matcher_answer test_one(struct test *t, const struct matcher *m)
{
	return m->combines ? test_combination(t, m) : test_regexp(t, m);
}

static bool is_ascii(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] >= 0x80)
			return false;
	return true;
}

/* false: too long, or no memory. *owned is to be freed in any case. */
static bool take_symbols(const struct matchers *all, struct slice text, struct slice *out, uint8_t **owned)
{
	*owned = NULL;
	*out = text.len > 0 ? text : SLICE("");
	if (text.len > MATCHER_TEXT_MAX)
		return false;
	if (is_ascii(text))
		return true;
	*owned = malloc(text.len);
	if (*owned == NULL)
		return false;
	*out = slice_of(*owned, matcher_symbols(all->ranges, all->n_ranges, text, *owned));
	return true;
}

enum matcher_answer matcher_test(const struct matcher *matcher, struct slice text, const struct matcher_witness *witness)
{
	struct test t = { .work = MATCHER_TEST_WORK, .witness = witness };
	enum matcher_answer answer = MATCHER_UNSURE;
	uint8_t *owned;
	bool good = take_symbols(matcher->all, text, &t.symbols, &owned);

	t.data = pcre2_match_data_create(1, NULL);
	t.context = pcre2_match_context_create(NULL);
	if (good && t.data != NULL && t.context != NULL) {
		pcre2_set_heap_limit(t.context, MATCHER_HEAP_KIB);
		answer = test_one(&t, matcher);
	} else {
		tell(&t, MATCHER_UNSURE, SLICE(""));
	}
	pcre2_match_context_free(t.context);
	pcre2_match_data_free(t.data);
	free(owned);
	return answer;
}
