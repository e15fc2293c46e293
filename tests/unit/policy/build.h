/* SPDX-License-Identifier: Apache-2.0 */
/* Policies for the tests, out of the parts of a document that matter to one. */
#ifndef TEST_POLICY_BUILD_H
#define TEST_POLICY_BUILD_H

#include "sample_type.h"

/* A document with one instance per count, one DenyService 'no', and these two arrays (JSON). */
char *document_text(const char *zones, const char *rules, unsigned n_instances);

/* The first error's message; "" when it could be built (then *out is set). */
const char *build_document(struct arena *arena, struct slice document, const struct policy **out);

/* Asserts that it can be built. */
const struct policy *build_policy(struct arena *arena, const char *zones, const char *rules);

/* A TCP flow; addresses as text, ports may follow. */
struct flow tcp_flow(const char *from, const char *to);

#endif
