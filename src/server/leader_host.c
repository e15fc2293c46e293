/* SPDX-License-Identifier: Apache-2.0 */
/* The leader's side of the policy host. */
#include "server/leader.h"
#include "server/policy_source.h"

#include <errno.h>

int leader_host_start(struct leader *l, struct policy_source *source)
{
	return l->policy->needs_host ? -ENOSYS : 0;
}

void leader_host_wanted(struct leader_worker *w, bool kill_old)
{
}

void leader_host_child_ended(struct leader *l, pid_t pid, int status)
{
}
