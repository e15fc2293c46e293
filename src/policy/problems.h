/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with a policy: collected, so that `check` shows all of it at once. */
#ifndef SALLYPORT_POLICY_PROBLEMS_H
#define SALLYPORT_POLICY_PROBLEMS_H

#include "base/arena.h"

struct policy_place {
	const char *file;		/* NULL = unknown */
	unsigned line;			/* 1..; 0 = unknown */
};

enum policy_severity { PROBLEM_ERROR, PROBLEM_WARNING };

struct policy_problem {
	struct policy_place place;
	enum policy_severity severity;
	const char *message;		/* what was found */
	const char *hint;		/* what would be right; NULL = none */
	struct policy_problem *next;
};

struct policy_problems {
	struct arena *arena;
	struct policy_problem *first, **tail;
	unsigned n_errors, n_warnings;
};

void problems_init(struct policy_problems *p, struct arena *arena);
/* At most 200 are kept, the rest is counted. hint may be NULL. */
void problems_add(struct policy_problems *p, enum policy_severity severity, struct policy_place place,
		  const char *hint, const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
