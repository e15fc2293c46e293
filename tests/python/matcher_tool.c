/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the matchers of a policy document: matcher-tool DOCUMENT. Each line of the standard input is
 * a text, in hex; each line of the answer has a letter for each matcher: y, n, or ? (can't tell).
 */
#include "policy/matcher.h"
#include "policy/policy.h"

#include <stdio.h>
#include <stdlib.h>

static const struct proxy_type *const types[] = { NULL };
static const struct proxy_registry registry = { types };

static const struct policy *read_policy(const char *path, struct arena *arena)
{
	static char text[64 << 20];
	const struct policy *policy = NULL;
	struct policy_problems problems;
	FILE *file = fopen(path, "r");
	size_t n = file != NULL ? fread(text, 1, sizeof(text), file) : 0;

	if (file != NULL)
		fclose(file);
	problems_init(&problems, arena);
	if (policy_build(slice_of(text, n), &registry, arena, &problems, &policy) == 0)
		return policy;
	for (const struct policy_problem *p = problems.first; p != NULL; p = p->next)
		fprintf(stderr, "%s\n", p->message);
	return NULL;
}

static size_t from_hex(const char *line, uint8_t *out)
{
	size_t n = 0;
	unsigned octet;

	for (; sscanf(line, "%2x", &octet) == 1; line += 2)
		out[n++] = (uint8_t)octet;
	return n;
}

int main(int argc, char **argv)
{
	static char line[300000];
	static uint8_t text[150000];
	struct arena *arena = arena_create((size_t)1 << 30, 0);
	const struct policy *policy = argc == 2 && arena != NULL ? read_policy(argv[1], arena) : NULL;

	if (policy == NULL || policy->matchers == NULL)
		return 1;
	while (fgets(line, sizeof(line), stdin) != NULL) {
		size_t n = from_hex(line, text);

		for (size_t i = 0; i < matchers_count(policy->matchers); i++)
			putchar("ny?"[matcher_test(matchers_at(policy->matchers, i), slice_of(text, n), NULL)]);
		putchar('\n');
	}
	arena_free(&arena);
	return 0;
}
