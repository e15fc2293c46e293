/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the document reader. Private to policy/. */
#ifndef SALLYPORT_POLICY_DOCUMENT_PRIV_H
#define SALLYPORT_POLICY_DOCUMENT_PRIV_H

#include "policy/json_priv.h"
#include "policy/policy.h"

#include <errno.h>

#define NAME_OCTETS_MAX 1023

struct document_reader {
	struct json_reader json;
	const struct proxy_registry *registry;
	struct policy *policy;		/* what is known so far: zones before services before rules */
};

/*
 * Each reads one array of the document into the policy. They go on after a wrong element, so
 * that all problems are told. 0; -EINVAL; -ENOMEM.
 */
/* "characters" and "matchers": before the configurations that ask them. */
int document_read_matchers(struct document_reader *d, const json_t *characters, const json_t *json) MUST_CHECK;
int document_read_zones(struct document_reader *d, const json_t *json) MUST_CHECK;
int document_read_configs(struct document_reader *d, const json_t *json) MUST_CHECK;
int document_read_services(struct document_reader *d, const json_t *json) MUST_CHECK;
int document_read_rules(struct document_reader *d, const json_t *json) MUST_CHECK;

/* Elements that are indices into the zones, as pointers. A missing array is empty. */
int document_read_zone_list(struct document_reader *d, const struct json_path *path, const json_t *json,
			    const struct zone *const **out, size_t *n) MUST_CHECK;
/* Elements that are "address/bits". */
int document_read_prefixes(struct document_reader *d, const struct json_path *path, const json_t *json,
			   const struct ip_prefix **out, size_t *n) MUST_CHECK;

/* For loops that go on: remember the worse of two results. */
static inline int worse(int a, int b)
{
	return a == -ENOMEM || b == 0 ? a : b;
}

#endif
