/* SPDX-License-Identifier: Apache-2.0 */
/* Collected problems of a policy. Counting never fails, so an error is never lost for want of
 * memory: only its words are. */
#include "policy/problems.h"

#define PROBLEMS_MAX 200

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
	const char *message;
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
	problem->place = place;
	problem->severity = severity;
	problem->message = message != NULL ? message : "(no memory to say what)";
	problem->hint = hint == NULL ? NULL : arena_strdup(p->arena, hint);
	*p->tail = problem;
	p->tail = &problem->next;
}
