/* SPDX-License-Identifier: Apache-2.0 */
/* A protocol for tests of the policy host: what policy code may change in it, and call. */
#ifndef SALLYPORT_TESTS_CALLBACK_TOY_H
#define SALLYPORT_TESTS_CALLBACK_TOY_H

#include "session/callback.h"

#define TOY_TIMEOUT_MS 5000

struct toy_config {
	int64_t limit;
	struct compiled_table *request;
	struct policy_call check;
};

struct toy_run {
	struct slice error_info;
	int64_t count;
};

extern const struct policy_table toy_tables[];
extern const struct proxy_type toy;

/* Whom its native function calls. */
extern struct policy_host *toy_host;

#endif
