/* SPDX-License-Identifier: Apache-2.0 */
/* The document of a policy: read from a file that is one, or made by the policy program. */
#ifndef SALLYPORT_SERVER_POLICY_SOURCE_H
#define SALLYPORT_SERVER_POLICY_SOURCE_H

#include "base/attributes.h"
#include "policy/problems.h"

#include <sys/types.h>

#define DOCUMENT_OCTETS_MAX (256u << 20)

struct policy_source {
	uint8_t *document;
	size_t len;
	int host;		/* connection to the policy host that stays, for callbacks; -1 = none */
	pid_t host_pid;		/* 0 = none */
};

/* Blocking; never in a worker. 0; -EINVAL with at least one error in problems; -ENOMEM. */
int policy_source_read(const char *path, const char *const *instances, size_t n_instances,
		       struct policy_problems *problems, struct policy_source *out) MUST_CHECK;
void policy_source_release(struct policy_source *source);

#endif
