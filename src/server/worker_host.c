/* SPDX-License-Identifier: Apache-2.0 */
#include "server/worker_host.h"

#include <errno.h>

int worker_host_create(struct loop *loop, const struct policy *policy, int leader, uint32_t slot,
		       int64_t timeout_ms, struct worker_host **out)
{
	*out = NULL;
	return policy->needs_host ? -ENOSYS : 0;
}

struct policy_host *worker_host_port(struct worker_host *h)
{
	return NULL;
}

void worker_host_connect(struct worker_host *h, struct message *m)
{
}

void worker_host_log_changed(struct worker_host *h)
{
}

void worker_host_free(struct worker_host **hp)
{
}
