/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel tests share: policies from short texts, and a plan's word on a flow. */
#ifndef SALLYPORT_TESTS_KERNEL_TEST_H
#define SALLYPORT_TESTS_KERNEL_TEST_H

#include "kernel/plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* A policy of services 0 "svc" (proxied), 1 "drop", 2 "reset" and 3 "unreachable" (denying),
 * 4 "forward" (to where the client wants, with its address) and 5 "forward_to" (to 192.0.2.1:8080). */
const struct policy *policy_of(struct arena *arena, const char *zones, const char *rules);

char *render(struct arena *arena, const struct kernel_plan *plan);

#endif
