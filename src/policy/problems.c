/* SPDX-License-Identifier: Apache-2.0 */
/* Collected problems of a policy. Counting never fails, so an error is never lost for want of
 * memory: only its words are. */
#include "policy/problems.h"

#define PROBLEMS_MAX 200

/* Octets of the UTF-8 character at s; 0: it is none, or a control character. */
static size_t character(const unsigned char *s)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : s[0] >= 0xe0 && s[0] < 0xf0 ? 3 :
		   s[0] >= 0xf0 && s[0] < 0xf5 ? 4 : 0;

	if (s[0] < 0x20 || s[0] == 0x7f)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	/* C1 controls; over-long forms, surrogates and what is above U+10FFFF. */
	if ((s[0] == 0xc2 && s[1] < 0xa0) || (s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
	    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
		return 0;
	return n;
}

/* What is quoted in a message comes from policies and documents: it must not move a terminal's
 * cursor, forge a second line, or make the message useless for JSON. */
static void clean(char *text)
{
	while (*text != '\0') {
		size_t n = character((const unsigned char *)text);

		if (n == 0)
			*text = '?';
		text += n == 0 ? 1 : n;
	}
}

void problems_init(struct policy_problems *p, struct arena *arena)
{
	*p = (struct policy_problems){ .arena = arena };
	p->tail = &p->first;
}

void problems_add(struct policy_problems *p, enum policy_severity severity, struct policy_place place,
		  const char *hint, const char *format, ...)
{
	unsigned before = p->n_errors + p->n_warnings;
	struct policy_problem *problem;
	char *message, *kept_hint = NULL;
	va_list ap;

	if (severity == PROBLEM_ERROR)
		p->n_errors++;
	else
		p->n_warnings++;
	if (before >= PROBLEMS_MAX)
		return;
	problem = ARENA_NEW(p->arena, struct policy_problem);
	if (problem == NULL)
		return;
	va_start(ap, format);
	message = arena_vprintf(p->arena, format, ap);
	va_end(ap);
	if (message != NULL)
		clean(message);
	if (hint != NULL)
		kept_hint = arena_strdup(p->arena, hint);
	if (kept_hint != NULL)
		clean(kept_hint);
	problem->place = place;
	problem->severity = severity;
	problem->message = message != NULL ? message : "(no memory to say what)";
	problem->hint = kept_hint;
	*p->tail = problem;
	p->tail = &problem->next;
}
