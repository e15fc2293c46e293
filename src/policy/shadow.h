/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules that can never win, since whatever they match another rule matches with at least the same
 * score. What is found is certain. Not all is found: a rule that several others take everything
 * from is not seen, nor one whose subnets another covers only by smaller ones.
 *
 * Looks at policies before they run; nothing that runs needs it.
 */
#ifndef SALLYPORT_POLICY_SHADOW_H
#define SALLYPORT_POLICY_SHADOW_H

#include "policy/policy.h"

struct shadow {
	const struct rule *by;		/* wins instead; NULL: none is known */
	bool same;			/* its conditions are the same, and its id is lower */
};

/*
 * One for each rule of the policy, on the arena. *whole is false if there was too much to compare,
 * and some may be missing. NULL: no memory.
 */
const struct shadow *policy_shadows(const struct policy *policy, struct arena *arena, bool *whole) MUST_CHECK;

#endif
