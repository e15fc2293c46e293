/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Matchers that need no policy code: does a text fit? The policy host translates the patterns of
 * the policy language (Python's re) into the small dialect of docs/policy-document.md; PCRE2
 * compiles them once, in the leader, and the workers share the result copy-on-write.
 *
 * A text is judged character by character as Python would: UTF-8, and each octet that is not
 * UTF-8 is a character of its own. Before it is searched each character beyond ASCII becomes a
 * single octet that says what patterns can see of it (enum matcher_symbol), so that PCRE2 needs
 * no Unicode and no locale.
 *
 * Every test has a bound on its steps and its memory, and within it each pattern. A pattern that
 * needs more has no answer, and then neither has the matcher: MATCHER_UNSURE, which never opens a
 * gate.
 */
#ifndef SALLYPORT_POLICY_MATCHER_H
#define SALLYPORT_POLICY_MATCHER_H

#include "base/arena.h"
#include "base/attributes.h"

/* Ceilings. */
#define MATCHERS_MAX 4096
#define MATCHER_PATTERNS_MAX 65536u		/* of one policy, and that one test may try */
#define MATCHER_PATTERN_OCTETS 8192u		/* of a pattern, as written and as translated */
#define MATCHER_CODE_OCTETS ((size_t)64 << 20)	/* of all compiled patterns */
#define MATCHER_JIT_OCTETS ((size_t)32 << 20)	/* of machine code; what is over it is interpreted */
#define MATCHER_OPERANDS_MAX 1024u
#define MATCHER_DEPTH_MAX 16u			/* of combinations in combinations */
#define MATCHER_RANGES_MAX 4096u		/* of characters beyond ASCII */
#define MATCHER_TEXT_MAX 65536u			/* octets of a text; longer ones have no answer */
#define MATCHER_WORK 1000000u			/* steps of one pattern, shared out over where it may begin */
#define MATCHER_FREE_STEPS 32u			/* of a pattern, where it may begin, that are not counted */
#define MATCHER_TEST_WORK 20000000u		/* steps of one test, of all its patterns */
#define MATCHER_HEAP_KIB 2048u			/* of one test, where there is no machine code */

/* What a character beyond ASCII is to a pattern. The last four equal ASCII letters where case
 * does not count. */
enum matcher_symbol {
	SYMBOL_OTHER = 0x80, SYMBOL_WORD, SYMBOL_DIGIT, SYMBOL_SPACE,
	SYMBOL_I_DOT, SYMBOL_DOTLESS_I, SYMBOL_LONG_S, SYMBOL_KELVIN,
	SYMBOL_END
};

/* first to last are letters, digits or space: SYMBOL_WORD, SYMBOL_DIGIT or SYMBOL_SPACE. */
struct matcher_range {
	uint32_t first, last;
	uint8_t symbol;
};

enum matcher_answer { MATCHER_NO, MATCHER_YES, MATCHER_UNSURE };

enum matcher_operator { MATCHER_NOT, MATCHER_AND, MATCHER_OR, MATCHER_XOR, MATCHER_EQ, MATCHER_OPERATOR_COUNT };

struct matcher;			/* immutable */
struct matchers;		/* those of one policy */

struct matcher_pattern {
	struct slice source;		/* as the policy wrote it, for logs */
	struct pcre2_real_code_8 *code;
	bool anchored;			/* can only begin where the text does */
};

/* For at most room of them. NULL: no memory. What they hold outside of the arena ends with it. */
struct matchers *matchers_create(struct arena *arena, size_t room) MUST_CHECK;

/* Ranges in ascending order, none below U+0080; copied. Before the first test. 0, -EINVAL, -ENOMEM. */
int matchers_set_characters(struct matchers *all, const struct matcher_range *ranges, size_t n) MUST_CHECK;

/*
 * A pattern in the dialect. 0; -EINVAL (it is none, too large, or one too many) with the reason
 * in why; -ENOMEM. The octets of source must live as long as the arena.
 */
int matchers_compile(struct matchers *all, struct slice source, struct slice text, struct matcher_pattern *out,
		     char *why, size_t why_size) MUST_CHECK;

/* The arrays must live as long as the arena. All: -EINVAL with the reason in why; -ENOMEM. The
 * matcher gets the next number, from 0; operands are numbers of earlier ones. */
int matchers_add_regexp(struct matchers *all, const struct matcher_pattern *match, size_t n_match,
			const struct matcher_pattern *ignore, size_t n_ignore, char *why, size_t why_size) MUST_CHECK;
int matchers_add_combination(struct matchers *all, enum matcher_operator op, const size_t *operands, size_t n,
			     char *why, size_t why_size) MUST_CHECK;

size_t matchers_count(const struct matchers *all);
const struct matcher *matchers_at(const struct matchers *all, size_t number);	/* number < count */

/* What is told of a test while it runs: the pattern that fits (and none was ignored), or the one
 * that has no answer (empty: the text is too long, or there is no memory). */
struct matcher_witness {
	void (*tell)(void *arg, enum matcher_answer answer, struct slice pattern);
	void *arg;
};

/*
 * Takes a deep stack and no time but its bounded work: on a coroutine call it through co_leaf().
 * witness may be NULL. The first pattern without an answer ends the test: UNSURE.
 */
enum matcher_answer matcher_test(const struct matcher *matcher, struct slice text, const struct matcher_witness *witness);

/* Is this text the dialect: nothing in it that remembers, recurses, or switches PCRE2's options? */
bool matcher_pattern_is_plain(struct slice text);

/* The symbols of a text, one octet a character, into out (text.len octets). The number of them. */
size_t matcher_symbols(const struct matcher_range *ranges, size_t n, struct slice text, uint8_t *out);

#endif
