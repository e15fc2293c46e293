/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the document reader. Private to policy/. */
#ifndef SALLYPORT_POLICY_DOCUMENT_PRIV_H
#define SALLYPORT_POLICY_DOCUMENT_PRIV_H

#include "policy/json_priv.h"
#include "policy/policy.h"

#include <errno.h>

#define NAME_OCTETS_MAX 1023

/* The arrays that may be large. */
enum document_cut { CUT_ZONES, CUT_RULES, CUT_COUNT };

struct document_reader {
	struct json_reader json;
	const struct proxy_registry *registry;
	const char **matcher_files;	/* room for those of all matchers */
	struct policy *policy;		/* what is known so far: zones before services before rules */
	struct json_cut cuts[CUT_COUNT];
};

/*
 * Each reads one array of the document into the policy; zones and rules are cut out of the root.
 * They go on after a wrong element, so that all problems are told. 0; -EINVAL; -ENOMEM.
 */
/* "characters" and "matchers": before the configurations that ask them. */
int document_read_matchers(struct document_reader *d, const json_t *characters, const json_t *json) MUST_CHECK;
/* "tls_keys", "tls_certificates" and "encryptions": behind the matchers that they ask, before the
 * configurations and services that name them. Each may be missing. */
int document_read_tls_keys(struct document_reader *d, const json_t *json) MUST_CHECK;
int document_read_tls_certificates(struct document_reader *d, const json_t *json) MUST_CHECK;
int document_read_encryptions(struct document_reader *d, const json_t *json) MUST_CHECK;
int document_read_zones(struct document_reader *d, const json_t *root) MUST_CHECK;
int document_read_configs(struct document_reader *d, const json_t *json) MUST_CHECK;
int document_read_services(struct document_reader *d, const json_t *json) MUST_CHECK;
int document_read_rules(struct document_reader *d, const json_t *root) MUST_CHECK;

/* Elements that are indices into the zones, as pointers. A missing array is empty. */
int document_read_zone_list(struct document_reader *d, const struct json_path *path, const json_t *json,
			    const struct zone *const **out, size_t *n) MUST_CHECK;
/* Elements that are "address/bits". */
int document_read_prefixes(struct document_reader *d, const struct json_path *path, const json_t *json,
			   const struct ip_prefix **out, size_t *n) MUST_CHECK;

/* Texts of 1 to 4096 octets, at most max of them. */
int document_read_texts(struct document_reader *d, const struct json_path *path, const json_t *json, size_t max,
			const char *const **out, size_t *n) MUST_CHECK;
/* The name of a file or folder: octets, absolute. NULL: the member is missing. */
int document_member_path(struct document_reader *d, const struct json_path *path, const json_t *object, const char *name,
			 const char **out) MUST_CHECK;
/* Octets as a C string of at most max, not empty and without NUL: the text of a file. NULL: the member is missing. */
int document_member_file_text(struct document_reader *d, const struct json_path *path, const json_t *object,
			      const char *name, size_t max, struct slice *out) MUST_CHECK;
/* A member that is a number below n: an index. -1: the member is missing. */
int document_member_index_or_none(struct document_reader *d, const struct json_path *path, const json_t *object,
				  const char *name, size_t n, int32_t *out) MUST_CHECK;

/* For loops that go on: remember the worse of two results. */
static inline int worse(int a, int b)
{
	return a == -ENOMEM || b == 0 ? a : b;
}

#endif
