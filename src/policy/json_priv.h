/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading JSON that is not trusted: every value is taken by a function that checks it and says
 * what is wrong and where. All return 0 or -EINVAL (told through problems) or -ENOMEM, and leave
 * their output alone on failure. Private to policy/.
 */
#ifndef SALLYPORT_POLICY_JSON_PRIV_H
#define SALLYPORT_POLICY_JSON_PRIV_H

#include "policy/problems.h"

#include "base/attributes.h"
#include <jansson.h>

#define JSON_DEPTH_MAX 32

/* Where in the document: a chain on the stack, turned to text only when there is a problem. */
struct json_path {
	const struct json_path *up;	/* NULL = the root */
	const char *member;		/* NULL = an element of an array */
	size_t index;
};

struct json_reader {
	struct arena *arena;
	struct policy_problems *problems;
	struct policy_place place;	/* of the declaration that is being read */
	const char *const *files;
	size_t n_files;
	const char *subject;		/* what is read, in messages: "policy document" */
};

/* Parse; at most JSON_DEPTH_MAX deep, no member twice. NULL: told. */
json_t *json_read_text(struct json_reader *r, struct slice text);

/*
 * A member of the root that is an array of so many elements that they are parsed one by one: as
 * JSON, all of them at once would take ten times the memory of their text.
 */
struct json_cut {
	const char *member;	/* set by the caller; the rest is zero */
	struct slice text;	/* what is left, up to and with the closing bracket; ptr NULL: not there, or no array */
	size_t n;		/* elements left */
};

/* As json_read_text(), with [] in the places of these arrays. The text must outlive the cuts. */
json_t *json_read_cut(struct json_reader *r, struct slice text, struct json_cut *cuts, size_t n_cuts);
/* The member is there, an array, and has at most max elements. */
int json_want_cut(struct json_reader *r, const json_t *root, const struct json_cut *cut, size_t max) MUST_CHECK;
/* The next one, while n > 0; the caller gives it back. path: its, for what is wrong with it. Behind a failure there is none. */
int json_next(struct json_reader *r, const struct json_path *path, struct json_cut *cut, json_t **out) MUST_CHECK;

/* Always -EINVAL. */
int json_wrong(struct json_reader *r, const struct json_path *path, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* An object with no members but these (NULL-terminated). */
int json_want_object(struct json_reader *r, const struct json_path *path, const json_t *json,
		   const char *const *members) MUST_CHECK;
int json_want_array(struct json_reader *r, const struct json_path *path, const json_t *json, size_t max) MUST_CHECK;

int json_int(struct json_reader *r, const struct json_path *path, const json_t *json, int64_t min, int64_t max,
	     int64_t *out) MUST_CHECK;
int json_bool(struct json_reader *r, const struct json_path *path, const json_t *json, bool *out) MUST_CHECK;
/* UTF-8 without NUL and control characters, 1..max octets. */
int json_text(struct json_reader *r, const struct json_path *path, const json_t *json, size_t max,
	      const char **out) MUST_CHECK;
int json_octets(struct json_reader *r, const struct json_path *path, const json_t *json, struct slice *out) MUST_CHECK;

/* Members of an object: a missing one is an error, except with the default forms. */
int json_member_int(struct json_reader *r, const struct json_path *path, const json_t *object, const char *name,
		    int64_t min, int64_t max, int64_t *out) MUST_CHECK;
int json_member_int_or(struct json_reader *r, const struct json_path *path, const json_t *object, const char *name,
		       int64_t min, int64_t max, int64_t missing, int64_t *out) MUST_CHECK;
int json_member_bool_or(struct json_reader *r, const struct json_path *path, const json_t *object, const char *name,
			bool missing, bool *out) MUST_CHECK;
int json_member_text(struct json_reader *r, const struct json_path *path, const json_t *object, const char *name,
		     size_t max, const char **out) MUST_CHECK;

/* The member "at": [file, line]; unknown when it is missing. */
int json_member_place(struct json_reader *r, const struct json_path *path, const json_t *object,
		      struct policy_place *out) MUST_CHECK;

#endif
