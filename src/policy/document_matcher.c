/* SPDX-License-Identifier: Apache-2.0 */
/* Matchers of a policy document. */
#include "policy/document_priv.h"
#include "policy/matcher.h"

#define MATCHER_FILES_MAX 2u	/* of a matcher */

static int read_range(struct document_reader *d, const struct json_path *path, const json_t *json, struct matcher_range *out)
{
	int64_t first, last, kind;
	int err = json_want_array(&d->json, path, json, 3);

	if (err == 0)
		err = json_int(&d->json, &(struct json_path){ path, NULL, 0 }, json_array_get(json, 0), 0x80, 0x10ffff, &first);
	if (err == 0)
		err = json_int(&d->json, &(struct json_path){ path, NULL, 1 }, json_array_get(json, 1), first, 0x10ffff, &last);
	if (err == 0)
		err = json_int(&d->json, &(struct json_path){ path, NULL, 2 }, json_array_get(json, 2), 1, 3, &kind);
	if (err == 0)
		*out = (struct matcher_range){ (uint32_t)first, (uint32_t)last, (uint8_t)(SYMBOL_OTHER + kind) };
	return err;
}

static int read_characters(struct document_reader *d, struct matchers *all, const json_t *json)
{
	const struct json_path path = { NULL, "characters", 0 };
	struct matcher_range *ranges;
	int err;

	if (json == NULL)
		return 0;
	err = json_want_array(&d->json, &path, json, MATCHER_RANGES_MAX);
	if (err < 0)
		return err;
	ranges = arena_array(d->json.arena, json_array_size(json), sizeof(*ranges));
	if (ranges == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(json) && err == 0; i++)
		err = read_range(d, &(struct json_path){ &path, NULL, i }, json_array_get(json, i), &ranges[i]);
	if (err < 0)
		return err;
	err = matchers_set_characters(all, ranges, json_array_size(json));
	return err == -EINVAL ? json_wrong(&d->json, &path, "must be in ascending order") : err;
}

static int read_pattern(struct document_reader *d, const struct json_path *path, struct matchers *all, const json_t *json,
			struct matcher_pattern *out)
{
	struct slice source, text;
	char why[160];
	int err = json_want_array(&d->json, path, json, 2);

	if (err == 0)
		err = json_octets(&d->json, &(struct json_path){ path, NULL, 0 }, json_array_get(json, 0), &source);
	if (err == 0)
		err = json_octets(&d->json, &(struct json_path){ path, NULL, 1 }, json_array_get(json, 1), &text);
	if (err < 0)
		return err;
	err = matchers_compile(all, source, text, out, why, sizeof(why));
	return err == -EINVAL ? json_wrong(&d->json, path, "%s", why) : err;
}

static int read_patterns(struct document_reader *d, const struct json_path *up, struct matchers *all, const json_t *json,
			 const char *member, struct matcher_pattern **out, size_t *n)
{
	const struct json_path path = { up, member, 0 };
	const json_t *list = json_object_get(json, member);
	struct matcher_pattern *patterns;
	int result;

	if (list == NULL)
		return 0;
	result = json_want_array(&d->json, &path, list, MATCHER_PATTERNS_MAX);
	if (result < 0)
		return result;
	patterns = arena_array(d->json.arena, json_array_size(list), sizeof(*patterns));
	if (patterns == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(list) && result != -ENOMEM; i++)
		result = worse(result, read_pattern(d, &(struct json_path){ &path, NULL, i }, all, json_array_get(list, i), &patterns[i]));
	*out = patterns;
	*n = json_array_size(list);
	return result;
}

/* The files that the patterns stood in. */
static int read_files(struct document_reader *d, const struct json_path *up, const json_t *list)
{
	const struct json_path path = { up, "files", 0 };
	int err = list == NULL ? 0 : json_want_array(&d->json, &path, list, MATCHER_FILES_MAX);

	for (size_t i = 0; err == 0 && i < json_array_size(list); i++) {
		struct slice name;

		err = json_octets(&d->json, &(struct json_path){ &path, NULL, i }, json_array_get(list, i), &name);
		if (err < 0)
			break;
		if (name.len < 1 || name.len > 4095 || slice_index(name, '\0') < name.len)
			return json_wrong(&d->json, &path, "must be names of files");
		d->matcher_files[d->policy->n_matcher_files] = arena_cstr(d->json.arena, name);
		if (d->matcher_files[d->policy->n_matcher_files++] == NULL)
			return -ENOMEM;
	}
	return err;
}

static int read_regexp(struct document_reader *d, const struct json_path *path, struct matchers *all, const json_t *json)
{
	static const char *const members[] = { "at", "match", "ignore", "files", NULL };
	struct matcher_pattern *match = NULL, *ignore = NULL;
	size_t n_match = 0, n_ignore = 0;
	char why[160];
	int err = json_want_object(&d->json, path, json, members);

	if (err == 0)
		err = read_patterns(d, path, all, json, "match", &match, &n_match);
	if (err == 0)
		err = read_patterns(d, path, all, json, "ignore", &ignore, &n_ignore);
	if (err == 0)
		err = read_files(d, path, json_object_get(json, "files"));
	if (err < 0)
		return err;
	err = matchers_add_regexp(all, match, n_match, ignore, n_ignore, why, sizeof(why));
	return err == -EINVAL ? json_wrong(&d->json, path, "%s", why) : err;
}

static const char *const operator_names[] = {
	[MATCHER_NOT] = "not", [MATCHER_AND] = "and", [MATCHER_OR] = "or", [MATCHER_XOR] = "xor", [MATCHER_EQ] = "eq",
};
_Static_assert(ARRAY_LEN(operator_names) == MATCHER_OPERATOR_COUNT, "a name for each operator");

static int read_operator(struct document_reader *d, const struct json_path *path, const json_t *json,
			 enum matcher_operator *out)
{
	const char *name;
	int err = json_member_text(&d->json, path, json, "operator", 16, &name);

	if (err < 0)
		return err;
	for (size_t i = 0; i < ARRAY_LEN(operator_names); i++) {
		if (strcmp(operator_names[i], name) == 0) {
			*out = (enum matcher_operator)i;
			return 0;
		}
	}
	return json_wrong(&d->json, path, "there is no operator '%s'", name);
}

static int read_combination(struct document_reader *d, const struct json_path *path, struct matchers *all, const json_t *json)
{
	static const char *const members[] = { "at", "operator", "operands", NULL };
	const struct json_path at = { path, "operands", 0 };
	const json_t *list = json_object_get(json, "operands");
	enum matcher_operator op = MATCHER_OPERATOR_COUNT;
	size_t *operands;
	char why[160];
	int err = json_want_object(&d->json, path, json, members);

	if (err == 0)
		err = read_operator(d, path, json, &op);
	if (err == 0)
		err = json_want_array(&d->json, &at, list, MATCHER_OPERANDS_MAX);
	if (err < 0)
		return err;
	operands = arena_array(d->json.arena, json_array_size(list), sizeof(*operands));
	if (operands == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(list); i++) {
		int64_t number;

		err = json_int(&d->json, &(struct json_path){ &at, NULL, i }, json_array_get(list, i), 0,
			       (int64_t)matchers_count(all) - 1, &number);
		if (err < 0)
			return err;
		operands[i] = (size_t)number;
	}
	err = matchers_add_combination(all, op, operands, json_array_size(list), why, sizeof(why));
	return err == -EINVAL ? json_wrong(&d->json, path, "%s", why) : err;
}

/* Ends with the first wrong one: those behind it may refer to it. */
int document_read_matchers(struct document_reader *d, const json_t *characters, const json_t *json)
{
	const struct json_path path = { NULL, "matchers", 0 };
	struct matchers *all;
	int err;

	if (json == NULL && characters == NULL)
		return 0;
	err = json_want_array(&d->json, &path, json, MATCHERS_MAX);
	if (err < 0)
		return err;
	all = matchers_create(d->json.arena, json_array_size(json));
	d->matcher_files = arena_array(d->json.arena, json_array_size(json), MATCHER_FILES_MAX * sizeof(*d->matcher_files));
	if (all == NULL || d->matcher_files == NULL)
		return -ENOMEM;
	err = read_characters(d, all, characters);
	for (size_t i = 0; i < json_array_size(json) && err == 0; i++) {
		const json_t *one = json_array_get(json, i);
		const struct json_path at = { &path, NULL, i };

		err = json_member_place(&d->json, &at, one, &d->json.place);
		if (err == 0)
			err = json_object_get(one, "operator") != NULL ? read_combination(d, &at, all, one) :
									 read_regexp(d, &at, all, one);
	}
	d->json.place = (struct policy_place){ NULL, 0 };
	d->policy->matchers = all;
	d->policy->matcher_files = d->matcher_files;
	return err;
}
