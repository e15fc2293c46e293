/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker's zones have by their host names: inherited from its leader, replaced by newer snapshots. */
#ifndef SALLYPORT_SERVER_WORKER_NAMES_H
#define SALLYPORT_SERVER_WORKER_NAMES_H

#include "policy/names.h"
#include "server/message.h"

/* MSG_SNAPSHOT. What can't be used changes nothing but the log. */
void worker_names_take(const struct policy *policy, const struct message *m, struct zone_names **names);

#endif
