/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a policy may say about a protocol, as tables: attributes, policy tables (the hashes of
 * the policy language), hooks. One source of truth: the typed block that sessions read, the
 * checks of the policy classes, `sallyport schema` and the reference pages all come from here.
 */
#ifndef SALLYPORT_POLICY_ATTRIBUTE_H
#define SALLYPORT_POLICY_ATTRIBUTE_H

#include "base/arena.h"
#include "base/attributes.h"
#include "base/slice.h"

struct proxy;			/* session/proxy.h: one conversation */
struct matcher;			/* policy/matcher.h */
struct policy;
struct policy_problems;
struct counter;		/* policy/counter.h */

enum attribute_type {
	ATTR_INT,		/* int64_t */
	ATTR_BOOL,		/* bool; a policy may say 0, 1, FALSE, TRUE */
	ATTR_STRING,		/* struct slice */
	ATTR_STRINGS,		/* struct string_list; a policy may give one string or a sequence */
	ATTR_ZONES,		/* struct string_list of zone names, checked against the policy; "*" = any */
	ATTR_MATCHER,		/* struct matcher_call */
	ATTR_STACK,		/* not before content inspection exists: a policy that sets it is refused */
	ATTR_TYPE_COUNT
};

struct string_list {
	const struct slice *items;
	size_t count;
};

/* When a policy may read or write an attribute. */
#define ATTR_CONFIG_R 1u
#define ATTR_CONFIG_W 2u
#define ATTR_RUN_R 4u
#define ATTR_RUN_W 8u
#define ATTR_CONFIG (ATTR_CONFIG_R | ATTR_CONFIG_W)
#define ATTR_RUN (ATTR_RUN_R | ATTR_RUN_W)
/* The value lives in the session's run block, not in the service's config block. */
#define ATTR_HOME_RUN 16u
/* A value that ends up on a protocol line: CR, LF and NUL are refused (no injection). */
#define ATTR_LINE 32u
/* Accepted because policies name it, and documented as without effect. */
#define ATTR_NO_EFFECT 64u

struct attribute {
	const char *name;
	enum attribute_type type;
	unsigned access;
	size_t offset;			/* in the config block, or with ATTR_HOME_RUN in the run block */
	int64_t min, max;		/* ATTR_INT; equal = any number */
	int64_t number;			/* default of ATTR_INT, ATTR_BOOL */
	const char *text;		/* default of ATTR_STRING */
	const char *alias_of;		/* another name of that attribute; the rest of the row is unused */
	const char *doc;		/* one sentence for the reference page */
};

/* A value in a call to or from policy code. Octets live as long as the call's arena. */
struct call_value {
	enum { CALL_NONE, CALL_INT, CALL_OCTETS } kind;
	int64_t number;
	struct slice octets;
};

static inline bool call_value_is_true(const struct call_value *v)
{
	return v->kind == CALL_INT ? v->number != 0 : v->kind == CALL_OCTETS && v->octets.len > 0;
}

/*
 * A native form of a hook: what the standard class does, in C. WAITS if it calls policy code.
 * Returns 0 and *result; -EBADMSG (wrong arguments); -ETIMEDOUT, -ECANCELED, ...
 */
typedef co_waits int (*hook_native_fn)(struct proxy *proxy, const struct call_value *args,
				       size_t n_args, struct call_value *result);

/* What a table entry or a hook calls: policy code by number, or C. */
struct policy_call {
	int32_t callback;		/* number in the policy host; -1 = none */
	hook_native_fn native;		/* NULL = none */
};

static inline bool policy_call_is_set(const struct policy_call *c)
{
	return c->callback >= 0 || c->native != NULL;
}

/* What a matcher attribute asks: policy code by number, or a matcher in C. */
struct matcher_call {
	int32_t callback;		/* -1 = none */
	const struct matcher *matcher;	/* policy/matcher.h; NULL = none */
};

#define MATCHER_CALL_NONE ((struct matcher_call){ -1, NULL })

static inline bool matcher_call_is_set(const struct matcher_call *c)
{
	return c->callback >= 0 || c->matcher != NULL;
}

/* An overridable method of the standard policy class. */
struct hook {
	const char *name;		/* "relayCheck" */
	const char *classes;		/* space separated policy classes that have it natively */
	const char *arguments;		/* names, space separated: "email" */
	hook_native_fn native;		/* NULL: the method exists only when a policy defines it */
	size_t offset;			/* of a struct policy_call in the config block; SIZE_MAX = only for table entries and up-calls */
	const char *doc;
};

/* How a table finds the entry for a key. */
enum table_lookup {
	TABLE_EXACT,		/* key, "*" */
	TABLE_VERB_CODE,	/* (v,abc) (v,ab) (v,a) (v,*) (*,abc) (*,ab) (*,a) (*,*) */
};

struct table_action {
	const char *name;		/* "ACCEPT" */
	int value;			/* what policies write: SMTP_REQ_ACCEPT = 1 */
	uint8_t min_args, max_args;	/* strings that may follow */
	bool calls;			/* a callable follows */
};

/* A hash of the policy language. Its place in the config block is a struct compiled_table *. */
struct policy_table {
	const char *name;		/* "request" */
	uint8_t key_parts;		/* 1 or 2 */
	enum table_lookup lookup;
	bool upper_case_keys;		/* first part is folded to upper case by the policy class: no; warn when it is not */
	const struct table_action *actions;
	size_t n_actions;
	size_t offset;
	const char *doc;
};

struct table_entry {
	int action;			/* struct table_action.value */
	uint8_t n_args;
	struct slice args[2];
	struct policy_call call;
	bool deleted;			/* in an overlay: hides the entry below */
};

struct compiled_table;

/* NULL: no entry. Never waits, allocates nothing. key2 is ignored by one-part tables. */
const struct table_entry *table_find(const struct compiled_table *table, struct slice key1, struct slice key2);
/* The entry with exactly this key. */
const struct table_entry *table_exact(const struct compiled_table *table, struct slice key1, struct slice key2);

/* An empty table; below may be NULL, and is searched for keys that this one lacks: a session's
 * copy-on-write overlay over its service's table. */
struct compiled_table *table_create(struct arena *arena, const struct policy_table *type, const struct compiled_table *below);
/* Keys and arguments are copied. Replaces the entry with exactly this key in this table, not in
 * those below. 0; -EINVAL (no such action, or not the arguments it takes; a part of the key over
 * 256 octets); -ENOSPC (4096 entries); -ENOMEM. */
int table_put(struct compiled_table *table, struct slice key1, struct slice key2, const struct table_entry *entry) MUST_CHECK;

/* The row of an action; NULL: the table knows none of that value. */
const struct table_action *table_action_of(const struct policy_table *type, int value);

/* Every key of the table and those below it that are not hidden. fn returns false to stop. */
void table_each(const struct compiled_table *table,
		bool (*fn)(void *arg, struct slice key1, struct slice key2, const struct table_entry *entry), void *arg);

struct encryption;

/* A protocol. The engine knows nothing else of it. */
struct proxy_type {
	const char *name;			/* "smtp": what Proxy.name of the policy class says */
	const struct attribute *attributes;
	size_t n_attributes;
	const struct policy_table *tables;
	size_t n_tables;
	const struct hook *hooks;
	size_t n_hooks;
	const struct counter *counters;		/* policy/counter.h; the first has the number COUNTERS_COMMON */
	size_t n_counters;
	size_t config_size;			/* the service's block */
	size_t run_size;			/* the session's block, zeroed at start; slices in it on the session's arena */
	bool starttls;				/* it can switch to TLS in the middle: STARTTLS and its like */
	/* The server's host name, as the configuration says, for TLS; empty: none. NULL: it never does. */
	struct slice (*server_name)(const void *config);
	/* Why a configuration can't be used with that encryption (NULL: none): static; NULL: it can. May be NULL. */
	const char *(*encryption_flaw)(const void *config, const struct encryption *encryption);
	/* Derived data and cross-checks, once per configuration, at load. 0 or -ENOMEM; says what
	 * is wrong through problems. arena lives as long as config. */
	int (*prepare)(void *config, const struct policy *policy, struct arena *arena, struct policy_problems *problems);
	/* The conversation, on its coroutine. proxy->client is open. WAITS. */
	co_waits void (*run)(struct proxy *proxy);
};

#endif
