/* SPDX-License-Identifier: Apache-2.0 */
/* Typed blocks by the rows of their attributes. Private to policy/. */
#ifndef SALLYPORT_POLICY_BLOCK_PRIV_H
#define SALLYPORT_POLICY_BLOCK_PRIV_H

#include "policy/json_priv.h"
#include "policy/policy.h"

/*
 * A value of any attribute type. The largest member comes first: "{ 0 }" sets the first member of
 * a union and leaves the rest to the compiler (clang leaves it as it was), and a default list of
 * zones with a length from the stack would open the gate.
 */
union attribute_value {
	struct slice octets;
	int64_t number;
	bool truth;
	struct string_list strings;
	struct matcher_call matcher;
};

_Static_assert(sizeof(union attribute_value) == sizeof(struct slice), "{ 0 } clears all of it");

/* What values of attributes, tables and hooks are checked against. */
struct block_reader {
	struct json_reader json;
	const struct proxy_type *type;
	const struct policy *policy;		/* may be NULL */
	uint32_t n_own_callbacks;		/* numbers above the policy's that are a session's own */
	bool calls_host;			/* set when something read calls the policy host */
};

/* By its name or an alias; NULL: there is none. */
const struct attribute *attribute_named(const struct proxy_type *type, const char *name);
const struct policy_table *table_named(const struct proxy_type *type, const char *name);

/* Where the value of a row stands in its block; only for rows that have a place. */
void attribute_store(void *block, const struct attribute *a, const union attribute_value *v);
union attribute_value attribute_load(const void *block, const struct attribute *a);
bool attribute_has_place(const struct attribute *a);
union attribute_value attribute_default(const struct attribute *a);

/* The rows with this home get their defaults. */
void block_set_defaults(const struct proxy_type *type, void *block, unsigned home);

int attribute_read(struct block_reader *b, const struct json_path *path, const struct attribute *a,
		   const json_t *json, union attribute_value *out) MUST_CHECK;
int matcher_call_read(struct block_reader *b, const struct json_path *path, const json_t *json,
		      struct matcher_call *out) MUST_CHECK;
int call_read(struct block_reader *b, const struct json_path *path, const json_t *json,
	      struct policy_call *out) MUST_CHECK;
/* An array of entries as in CONFIG. deletions: "deleted" is possible. */
int table_entry_read(struct block_reader *b, const struct json_path *path, const struct policy_table *type,
		     const json_t *json, struct slice key[2], struct table_entry *out) MUST_CHECK;

/* The nearest of the type's attribute names, for a hint; NULL: none is near. */
const char *attribute_nearest(const struct proxy_type *type, const char *name);

#endif
