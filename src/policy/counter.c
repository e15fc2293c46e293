/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/counter.h"
#include "policy/attribute.h"

static const struct counter common[COUNTERS_COMMON] = {
	[COUNT_VIOLATIONS] = { "violations", "What a peer did against the protocol or the policy: lines of the log's `*.violation`." },
	[COUNT_SERVERS_OPENED] = { "servers_opened", "Connections to servers that were opened." },
	[COUNT_SERVERS_REUSED] = { "servers_reused", "Connections to servers that an earlier session had left." },
};

const struct counter *counter_of(const struct proxy_type *type, size_t number)
{
	if (number < COUNTERS_COMMON)
		return &common[number];
	number -= COUNTERS_COMMON;
	return type != NULL && number < type->n_counters ? &type->counters[number] : NULL;
}
