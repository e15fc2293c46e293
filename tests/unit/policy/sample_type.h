/* SPDX-License-Identifier: Apache-2.0 */
/* A proxy type with one row of each kind, for the tests of the policy layer. */
#ifndef TEST_SAMPLE_TYPE_H
#define TEST_SAMPLE_TYPE_H

#include "policy/policy.h"

struct sample_config {
	int64_t timeout;
	bool strict;
	struct slice banner;
	struct string_list domains;
	struct string_list zones;
	struct matcher_call matcher;
	struct policy_call check;
	struct compiled_table *request;
	struct compiled_table *response;
	int prepared;
};

struct sample_run {
	int64_t code;
	struct slice text;
	struct string_list words;
};

enum { SAMPLE_ACCEPT = 1, SAMPLE_REJECT = 3, SAMPLE_ABORT = 4, SAMPLE_POLICY = 6 };

extern const struct proxy_type sample_type;
extern const struct proxy_registry sample_registry;

struct call_value;
int sample_check_native(struct proxy *proxy, const struct call_value *args, size_t n_args, struct call_value *result);

#endif
