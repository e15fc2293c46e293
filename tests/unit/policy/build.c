/* SPDX-License-Identifier: Apache-2.0 */
#include "build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

char *document_text(const char *zones, const char *rules, unsigned n_instances)
{
	char instances[256] = "", *text;
	size_t n = 0;

	for (unsigned i = 0; i < n_instances; i++)
		n += (size_t)snprintf(instances + n, sizeof(instances) - n, "%s\"instance%u\"", i > 0 ? "," : "", i);
	assert_true(asprintf(&text,
			     "{\"format\":\"sallyport-policy\",\"version\":1,\"files\":[\"/p.py\"],\"instances\":[%s],"
			     "\"zones\":%s,\"configs\":[],\"services\":[{\"name\":\"no\",\"kind\":\"deny\"}],"
			     "\"rules\":%s,\"callbacks\":0}", instances, zones, rules) > 0);
	return text;
}

const char *build_document(struct arena *arena, struct slice document, const struct policy **out)
{
	struct policy_problems problems;
	int err;

	problems_init(&problems, arena);
	err = policy_build(document, &sample_registry, arena, &problems, out);
	if (err == 0) {
		assert_int_equal(problems.n_errors, 0);
		return "";
	}
	assert_true(problems.n_errors > 0);
	for (struct policy_problem *p = problems.first; p != NULL; p = p->next)
		if (p->severity == PROBLEM_ERROR)
			return p->message;
	return "(no words)";
}

const struct policy *build_policy(struct arena *arena, const char *zones, const char *rules)
{
	char *text = document_text(zones, rules, 2);
	const struct policy *policy = NULL;

	assert_string_equal(build_document(arena, slice_cstr(text), &policy), "");
	free(text);
	return policy;
}

struct flow tcp_flow(const char *from, const char *to)
{
	struct flow f = { .protocol = 6, .ifgroup = -1, .dst_ifgroup = -1, .reqid = -1, .icmp_type = -1,
			  .icmp_code = -1 };

	assert_int_equal(endpoint_parse(slice_cstr(from), &f.src), 0);
	assert_int_equal(endpoint_parse(slice_cstr(to), &f.dst), 0);
	return f;
}
