/* SPDX-License-Identifier: Apache-2.0 */
/* Values of attributes, calls and table entries: from JSON, checked by their rows, into typed
 * blocks. */
#include "policy/block_priv.h"
#include "policy/matcher.h"

#include <errno.h>

#define STRINGS_MAX 65536

const struct attribute *attribute_named(const struct proxy_type *type, const char *name)
{
	for (unsigned hops = 0; hops < 2; hops++) {
		const struct attribute *found = NULL;

		for (size_t i = 0; i < type->n_attributes && found == NULL; i++)
			if (strcmp(type->attributes[i].name, name) == 0)
				found = &type->attributes[i];
		if (found == NULL || found->alias_of == NULL)
			return found;
		name = found->alias_of;
	}
	return NULL;
}

const struct policy_table *table_named(const struct proxy_type *type, const char *name)
{
	for (size_t i = 0; i < type->n_tables; i++)
		if (strcmp(type->tables[i].name, name) == 0)
			return &type->tables[i];
	return NULL;
}

/* Edit distance, for names of at most 63 octets. */
static unsigned distance(const char *a, const char *b)
{
	unsigned char row[64];
	size_t la = strlen(a), lb = strlen(b);

	if (la >= sizeof(row) || lb >= sizeof(row))
		return 99;
	for (size_t j = 0; j <= lb; j++)
		row[j] = (unsigned char)j;
	for (size_t i = 1; i <= la; i++) {
		unsigned corner = row[0];

		row[0] = (unsigned char)i;
		for (size_t j = 1; j <= lb; j++) {
			unsigned change = corner + (a[i - 1] != b[j - 1]);

			corner = row[j];
			if (corner + 1 < change)
				change = corner + 1;
			if (row[j - 1] + 1u < change)
				change = row[j - 1] + 1u;
			row[j] = (unsigned char)change;
		}
	}
	return row[lb];
}

const char *attribute_nearest(const struct proxy_type *type, const char *name)
{
	const char *nearest = NULL;
	unsigned least = 1 + (unsigned)strlen(name) / 3;

	for (size_t i = 0; i < type->n_attributes; i++) {
		unsigned d = distance(type->attributes[i].name, name);

		if (d <= least && (nearest == NULL || d < least)) {
			nearest = type->attributes[i].name;
			least = d;
		}
	}
	return nearest;
}

bool attribute_has_place(const struct attribute *a)
{
	return a->alias_of == NULL && (a->access & ATTR_NO_EFFECT) == 0 && a->type != ATTR_STACK;
}

void attribute_store(void *block, const struct attribute *a, const union attribute_value *v)
{
	uint8_t *at = (uint8_t *)block + a->offset;

	switch (a->type) {
	case ATTR_INT:
		memcpy(at, &v->number, sizeof(v->number));
		break;
	case ATTR_BOOL:
		memcpy(at, &v->truth, sizeof(v->truth));
		break;
	case ATTR_STRING:
		memcpy(at, &v->octets, sizeof(v->octets));
		break;
	case ATTR_STRINGS:
	case ATTR_ZONES:
		memcpy(at, &v->strings, sizeof(v->strings));
		break;
	case ATTR_MATCHER:
		memcpy(at, &v->matcher, sizeof(v->matcher));
		break;
	case ATTR_STACK:
	case ATTR_TYPE_COUNT:
		break;
	}
}

union attribute_value attribute_load(const void *block, const struct attribute *a)
{
	static const size_t sizes[] = {
		[ATTR_INT] = sizeof(int64_t), [ATTR_BOOL] = sizeof(bool), [ATTR_STRING] = sizeof(struct slice),
		[ATTR_STRINGS] = sizeof(struct string_list), [ATTR_ZONES] = sizeof(struct string_list),
		[ATTR_MATCHER] = sizeof(struct matcher_call), [ATTR_STACK] = 0,
	};
	union attribute_value v = { 0 };

	_Static_assert(ARRAY_LEN(sizes) == ATTR_TYPE_COUNT, "a size for each type");
	memcpy(&v, (const uint8_t *)block + a->offset, sizes[a->type]);
	return v;
}

union attribute_value attribute_default(const struct attribute *a)
{
	union attribute_value v = { 0 };

	switch (a->type) {
	case ATTR_INT:
		v.number = a->number;
		break;
	case ATTR_BOOL:
		v.truth = a->number != 0;
		break;
	case ATTR_STRING:
		v.octets = slice_cstr(a->text);
		break;
	case ATTR_MATCHER:
		v.matcher = MATCHER_CALL_NONE;
		break;
	default:
		break;
	}
	return v;
}

void block_set_defaults(const struct proxy_type *type, void *block, unsigned home)
{
	for (size_t i = 0; i < type->n_attributes; i++) {
		const struct attribute *a = &type->attributes[i];
		union attribute_value v;

		if ((a->access & ATTR_HOME_RUN) != home || !attribute_has_place(a))
			continue;
		v = attribute_default(a);
		attribute_store(block, a, &v);
	}
}

static int line_is_clean(struct block_reader *b, const struct json_path *path, const struct attribute *a, struct slice s)
{
	if ((a->access & ATTR_LINE) == 0)
		return 0;
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] == '\r' || s.ptr[i] == '\n' || s.ptr[i] == 0)
			return json_wrong(&b->json, path, "must not contain a line end or NUL: it becomes part of a line");
	return 0;
}

static int zone_is_known(struct block_reader *b, const struct json_path *path, struct slice name)
{
	if (slice_is(name, "*") || (b->policy != NULL && policy_zone_named(b->policy, name) != NULL))
		return 0;
	return json_wrong(&b->json, path, "there is no zone '%.*s'", SLICE_ARG(slice_take(name, 80)));
}

static int read_string(struct block_reader *b, const struct json_path *path, const struct attribute *a,
		       const json_t *json, struct slice *out)
{
	struct slice s;
	int err = json_octets(&b->json, path, json, &s);

	if (err == 0)
		err = line_is_clean(b, path, a, s);
	if (err == 0 && a->type == ATTR_ZONES)
		err = zone_is_known(b, path, s);
	if (err == 0)
		*out = s;
	return err;
}

static int read_strings(struct block_reader *b, const struct json_path *path, const struct attribute *a,
			const json_t *json, struct string_list *out)
{
	size_t n = json_is_string(json) ? 1 : json_array_size(json);
	struct slice *items;
	int err = 0;

	if (!json_is_string(json)) {
		err = json_want_array(&b->json, path, json, STRINGS_MAX);
		if (err < 0)
			return err;
	}
	items = arena_array(b->json.arena, n, sizeof(*items));
	if (items == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n && err == 0; i++) {
		const json_t *item = json_is_string(json) ? json : json_array_get(json, i);

		err = read_string(b, &(struct json_path){ path, NULL, i }, a, item, &items[i]);
	}
	if (err == 0)
		*out = (struct string_list){ items, n };
	return err;
}

static int read_number(struct block_reader *b, const struct json_path *path, const struct attribute *a,
		       const json_t *json, int64_t *out)
{
	bool truth;

	if (json_is_boolean(json)) {		/* TRUE and FALSE are 1 and 0 in the policy language */
		int err = json_bool(&b->json, path, json, &truth);

		if (err < 0)
			return err;
		if (a->min != a->max && ((int64_t)truth < a->min || (int64_t)truth > a->max))
			return json_wrong(&b->json, path, "must be an integer, is a truth value");
		*out = truth;
		return 0;
	}
	if (a->min == a->max)
		return json_int(&b->json, path, json, INT64_MIN, INT64_MAX, out);
	return json_int(&b->json, path, json, a->min, a->max, out);
}

int attribute_read(struct block_reader *b, const struct json_path *path, const struct attribute *a,
		   const json_t *json, union attribute_value *out)
{
	if (json_is_null(json) && a->type != ATTR_INT && a->type != ATTR_BOOL) {
		*out = (union attribute_value){ 0 };
		if (a->type == ATTR_MATCHER)
			out->matcher = MATCHER_CALL_NONE;
		return 0;
	}
	switch (a->type) {
	case ATTR_INT:
		return read_number(b, path, a, json, &out->number);
	case ATTR_BOOL:
		return json_bool(&b->json, path, json, &out->truth);
	case ATTR_STRING:
		return read_string(b, path, a, json, &out->octets);
	case ATTR_STRINGS:
	case ATTR_ZONES:
		return read_strings(b, path, a, json, &out->strings);
	case ATTR_MATCHER:
		return matcher_call_read(b, path, json, &out->matcher);
	case ATTR_STACK:
		return json_wrong(&b->json, path, "content inspection is not there yet: nothing can be stacked");
	case ATTR_TYPE_COUNT:
		break;
	}
	return json_wrong(&b->json, path, "has no type");
}

/* "checkRecipient" is "check_recipient" in the name of its native form. */
static bool is_snake_of(const char *snake, const char *camel)
{
	for (; *camel != '\0'; camel++) {
		if (*camel >= 'A' && *camel <= 'Z' && *snake++ != '_')
			return false;
		if ((char)ascii_lower((uint8_t)*camel) != *snake++)
			return false;
	}
	return *snake == '\0';
}

static hook_native_fn native_of_type(const struct proxy_type *type, const char *proxy, size_t len, const char *name)
{
	if (strlen(type->name) != len || memcmp(type->name, proxy, len) != 0)
		return NULL;
	for (size_t i = 0; i < type->n_hooks; i++)
		if (is_snake_of(name, type->hooks[i].name))
			return type->hooks[i].native;
	return NULL;
}

static int read_native(struct block_reader *b, const struct json_path *path, const json_t *json,
		       struct policy_call *out)
{
	const char *text, *dot;
	hook_native_fn native;
	int err = json_text(&b->json, path, json, 128, &text);

	if (err < 0)
		return err;
	dot = strchr(text, '.');
	if (dot == NULL)
		return json_wrong(&b->json, path, "'%s' is not PROXY.FUNCTION", text);
	native = native_of_type(b->type, text, (size_t)(dot - text), dot + 1);
	if (native == NULL)
		return json_wrong(&b->json, path, "proxy '%s' has no native function '%s'", b->type->name, text);
	*out = (struct policy_call){ -1, native };
	return 0;
}

static int read_callback(struct block_reader *b, const struct json_path *path, const json_t *json, int32_t *out)
{
	int64_t number, limit = b->policy != NULL ? (int64_t)b->policy->n_callbacks + b->n_own_callbacks : 0;
	int err;

	if (limit == 0)
		return json_wrong(&b->json, path, "calls policy code, but the policy has no callbacks");
	err = json_member_int(&b->json, path, json, "callback", 0, limit - 1, &number);
	if (err < 0)
		return err;
	b->calls_host = true;
	*out = (int32_t)number;
	return 0;
}

int call_read(struct block_reader *b, const struct json_path *path, const json_t *json, struct policy_call *out)
{
	static const char *const members[] = { "callback", "native", NULL };
	struct policy_call made = { -1, NULL };
	int err = json_want_object(&b->json, path, json, members);

	if (err < 0)
		return err;
	if (json_object_size(json) != 1)
		return json_wrong(&b->json, path, "must be {\"callback\": N} or {\"native\": NAME}");
	if (json_object_get(json, "native") != NULL)
		return read_native(b, &(struct json_path){ path, "native", 0 }, json_object_get(json, "native"), out);
	err = read_callback(b, path, json, &made.callback);
	if (err == 0)
		*out = made;
	return err;
}

int matcher_call_read(struct block_reader *b, const struct json_path *path, const json_t *json, struct matcher_call *out)
{
	static const char *const members[] = { "callback", "matcher", NULL };
	const struct matchers *known = b->policy != NULL ? b->policy->matchers : NULL;
	struct matcher_call made = MATCHER_CALL_NONE;
	int64_t number;
	int err = json_want_object(&b->json, path, json, members);

	if (err < 0)
		return err;
	if (json_object_size(json) != 1)
		return json_wrong(&b->json, path, "must be {\"callback\": N} or {\"matcher\": N}");
	if (json_object_get(json, "matcher") == NULL) {
		err = read_callback(b, path, json, &made.callback);
	} else if (known == NULL) {
		err = json_wrong(&b->json, path, "names a matcher, but the policy has none");
	} else {
		err = json_member_int(&b->json, path, json, "matcher", 0, (int64_t)matchers_count(known) - 1, &number);
		if (err == 0)
			made.matcher = matchers_at(known, (size_t)number);
	}
	if (err == 0)
		*out = made;
	return err;
}

static int read_key(struct block_reader *b, const struct json_path *path, const struct policy_table *type,
		    const json_t *json, struct slice key[2])
{
	const struct json_path at = { path, "key", 0 };
	int err = json_want_array(&b->json, &at, json, 2);

	if (err < 0)
		return err;
	if (json_array_size(json) != type->key_parts)
		return json_wrong(&b->json, &at, "table '%s' has keys of %u parts", type->name, type->key_parts);
	key[1] = slice_of(NULL, 0);
	for (size_t i = 0; i < type->key_parts; i++) {
		err = json_octets(&b->json, &(struct json_path){ &at, NULL, i }, json_array_get(json, i), &key[i]);
		if (err < 0)
			return err;
	}
	return 0;
}

static int read_args(struct block_reader *b, const struct json_path *path, const struct table_action *action,
		     const json_t *json, struct table_entry *entry)
{
	const struct json_path at = { path, "args", 0 };
	size_t n = json == NULL ? 0 : json_array_size(json);

	if (json != NULL && json_want_array(&b->json, &at, json, 2) < 0)
		return -EINVAL;
	if (n < action->min_args || n > action->max_args)
		return json_wrong(&b->json, &at, "action %s takes %u to %u strings, not %zu", action->name,
				  action->min_args, action->max_args, n);
	for (size_t i = 0; i < n; i++) {
		const struct json_path item = { &at, NULL, i };
		int err = json_octets(&b->json, &item, json_array_get(json, i), &entry->args[i]);

		if (err < 0)
			return err;
		/* All of them are texts of replies: a line end would let a policy's data forge one. */
		for (size_t j = 0; j < entry->args[i].len; j++)
			if (entry->args[i].ptr[j] == '\r' || entry->args[i].ptr[j] == '\n' || entry->args[i].ptr[j] == 0)
				return json_wrong(&b->json, &item, "must not contain a line end or NUL");
	}
	entry->n_args = (uint8_t)n;
	return 0;
}

int table_entry_read(struct block_reader *b, const struct json_path *path, const struct policy_table *type,
		     const json_t *json, struct slice key[2], struct table_entry *out)
{
	struct table_entry entry = { .call = { -1, NULL } };
	const struct table_action *action;
	const json_t *call = json_object_get(json, "call");
	int64_t value;
	int err = read_key(b, path, type, json_object_get(json, "key"), key);

	if (err < 0)
		return err;
	if (json_is_true(json_object_get(json, "deleted"))) {
		entry.deleted = true;
		*out = entry;
		return 0;
	}
	err = json_member_int(&b->json, path, json, "action", INT32_MIN, INT32_MAX, &value);
	if (err < 0)
		return err;
	action = table_action_of(type, (int)value);
	if (action == NULL)
		return json_wrong(&b->json, path, "table '%s' has no action %d", type->name, (int)value);
	entry.action = (int)value;
	err = read_args(b, path, action, json_object_get(json, "args"), &entry);
	if (err < 0)
		return err;
	if (action->calls != (call != NULL))
		return json_wrong(&b->json, path, "action %s %s", action->name,
				  action->calls ? "needs something to call" : "calls nothing");
	if (call != NULL)
		err = call_read(b, &(struct json_path){ path, "call", 0 }, call, &entry.call);
	if (err == 0)
		*out = entry;
	return err;
}
