/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From JSON to a proxy's typed blocks, by the tables of its type, and back: the configurations
 * of a policy document, the configuration that a policy host makes for one session, and the
 * changes that policy code makes to a session's attributes and tables. Nothing of what comes in
 * is trusted. Nothing here waits; JSON needs deep stacks, so on a coroutine call it through
 * co_leaf().
 *
 * An attribute lives in the service's config block or (ATTR_HOME_RUN) in the session's run
 * block. Writing one of the former at run time gives the session a config block of its own.
 */
#ifndef SALLYPORT_POLICY_PROXY_CONFIG_H
#define SALLYPORT_POLICY_PROXY_CONFIG_H

#include "policy/policy.h"

struct json_t;				/* jansson's */

/* What references are checked against, and where memory and problems go. */
struct proxy_config_source {
	const struct proxy_registry *registry;
	const struct policy *policy;		/* zones and callback numbers; NULL: no zones, no callbacks */
	struct arena *arena;
	struct policy_problems *problems;
	const char *const *files;		/* of "at"; may be NULL */
	size_t n_files;
	const char *where;			/* in messages, when no place is known: "configs[3]" */
};

/*
 * A whole CONFIG object, as docs/policy-document.md has it. The type's prepare is called at the
 * end. 0; -EINVAL with at least one error in problems; -ENOMEM.
 */
int proxy_config_read(const struct proxy_config_source *source, const struct json_t *config,
		      struct proxy_config *out) MUST_CHECK;
int proxy_config_read_text(const struct proxy_config_source *source, struct slice json,
			   struct proxy_config *out) MUST_CHECK;

/* Callback numbers from policy->n_callbacks up mean callables that only one session has: its
 * configuration, and changes to its tables, may name them. */
#define OWN_CALLBACKS_MAX 65536u

/*
 * What the host's config() for one session said: an object with the members "attributes",
 * "tables", "hooks" and "encryption" of a CONFIG (others are ignored: it is the packet itself),
 * for the class and the number of *service. Gives the same as proxy_config_read.
 */
int proxy_config_read_session(const struct proxy_config_source *source, const struct json_t *members,
			      const struct proxy_config *service, struct proxy_config *out) MUST_CHECK;

/* A configuration in which every attribute has its default and every table is empty; prepare is
 * not called. For tests and for per-session services before their config() ran. */
int proxy_config_defaults(const struct proxy_type *type, struct arena *arena, struct proxy_config *out) MUST_CHECK;

/*
 * A session's view of its configuration: what the service has, under what policy code of this
 * session changed.
 */
struct proxy_state {
	const struct proxy_type *type;
	const struct policy *policy;
	struct arena *arena;			/* the session's */
	const void *config;			/* the service's block, or the session's own after a change */
	bool own_config;
	void *run;				/* type->run_size octets */
	struct compiled_table **overlays;	/* type->n_tables; NULL = as the service has it */
	bool own_tables;			/* one of them is not NULL */
	struct value_rooms *rooms;		/* n_attributes, of values that policy code set; NULL: none so far */
};

/* Makes the run block, zeroed, with the defaults of its attributes. 0 or -ENOMEM. */
int proxy_state_init(struct proxy_state *state, const struct policy *policy, const struct proxy_config *config,
		     struct arena *arena) MUST_CHECK;

/* type is an element of state->type->tables. Never NULL. */
const struct compiled_table *proxy_state_table(const struct proxy_state *state, const struct policy_table *type);

/*
 * Take over what policy code changed: the members "attributes" (an object) and "tables" (an
 * array) of a packet of the callback conversation; either may be NULL. Everything is checked
 * before anything is changed, except that memory may run out in the middle. 0; -EBADMSG, with
 * what was wrong in why; -ENOMEM; -ENOSPC (a table is full).
 * The derived data of the config block (prepare) stays as it was.
 *
 * Texts are copied to where the attribute's or the entry's last text from policy code stood, so
 * that a session of any length takes no more memory than its longest ones (arena_room). Whoever
 * needs a text that policy code may set for longer than until the next call of policy code copies
 * it; the memory under an older slice stays the session's.
 */
int proxy_state_change(struct proxy_state *state, const struct json_t *attributes, const struct json_t *tables,
		       char *why, size_t why_size) MUST_CHECK;

/* The attributes that policy code may read at run time, as a new JSON object: those of the run
 * block, and those of the config block once the session has its own; what config() said the host
 * knows. NULL: no memory. */
struct json_t *proxy_state_attributes(const struct proxy_state *state) MUST_CHECK;

/* Octets as JSON strings: one character U+0000 to U+00FF for each. NULL: no memory; from: -EINVAL. */
struct json_t *json_from_octets(struct slice octets) MUST_CHECK;
int json_to_octets(const struct json_t *json, struct arena *arena, struct slice *out) MUST_CHECK;

#endif
