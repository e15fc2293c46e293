/* SPDX-License-Identifier: Apache-2.0 */
/* What a policy says and probably does not mean: warnings, for `check --warnings`. */
#ifndef SALLYPORT_POLICY_DOUBTS_H
#define SALLYPORT_POLICY_DOUBTS_H

#include "policy/policy.h"

/*
 * Warns of rules that can never win (policy/shadow.h), of services that no rule leads to, and of
 * zones that neither are named anywhere nor are above or below one that is. 0; -ENOMEM.
 */
int policy_check_doubts(const struct policy *policy, struct policy_problems *problems) MUST_CHECK;

/* The rules alone: also told when a policy is loaded to run. */
int policy_check_rules(const struct policy *policy, struct policy_problems *problems) MUST_CHECK;

#endif
