/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/schema.h"
#include "policy/block_priv.h"
#include "policy/counter.h"
#include "policy/proxy_config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static const char *const type_names[] = {
	[ATTR_INT] = "int", [ATTR_BOOL] = "bool", [ATTR_STRING] = "string", [ATTR_STRINGS] = "strings",
	[ATTR_ZONES] = "zones", [ATTR_MATCHER] = "matcher", [ATTR_STACK] = "stack",
};
_Static_assert(ARRAY_LEN(type_names) == ATTR_TYPE_COUNT, "a name for each type");

static const size_t type_octets[] = {
	[ATTR_INT] = sizeof(int64_t), [ATTR_BOOL] = sizeof(bool), [ATTR_STRING] = sizeof(struct slice),
	[ATTR_STRINGS] = sizeof(struct string_list), [ATTR_ZONES] = sizeof(struct string_list),
	[ATTR_MATCHER] = sizeof(struct matcher_call), [ATTR_STACK] = 0,
};
_Static_assert(ARRAY_LEN(type_octets) == ATTR_TYPE_COUNT, "a size for each type");

static const struct { unsigned bit; const char *name; } access_names[] = {
	{ ATTR_CONFIG_R, "config-read" }, { ATTR_CONFIG_W, "config-write" },
	{ ATTR_RUN_R, "run-read" }, { ATTR_RUN_W, "run-write" },
};

static const char *const lookup_names[] = { [TABLE_EXACT] = "exact", [TABLE_VERB_CODE] = "verb-code" };

/* jansson's setters free the value and fail when it is NULL, so one check at the end will do. */
static json_t *access_to_json(unsigned access)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_LEN(access_names); i++)
		if (access & access_names[i].bit)
			json_array_append_new(list, json_string(access_names[i].name));
	return list;
}

static json_t *default_to_json(const struct attribute *a)
{
	switch (a->type) {
	case ATTR_INT:
		return json_integer(a->number);
	case ATTR_BOOL:
		return json_boolean(a->number != 0);
	case ATTR_STRING:
		return json_from_octets(slice_cstr(a->text));
	case ATTR_STRINGS:
	case ATTR_ZONES:
		return json_array();
	default:
		return json_null();
	}
}

static json_t *attribute_to_json(const struct proxy_type *type, const struct attribute *row)
{
	const struct attribute *a = attribute_named(type, row->name);
	bool bounded = a->type == ATTR_INT && a->min != a->max;
	json_t *o = json_object();

	json_object_set_new(o, "name", json_string(row->name));
	json_object_set_new(o, "type", json_string(type_names[a->type]));
	json_object_set_new(o, "access", access_to_json(a->access));
	json_object_set_new(o, "home", json_string(a->access & ATTR_HOME_RUN ? "run" : "config"));
	json_object_set_new(o, "line", json_boolean(a->access & ATTR_LINE));
	json_object_set_new(o, "effect", json_boolean(!(a->access & ATTR_NO_EFFECT)));
	json_object_set_new(o, "min", bounded ? json_integer(a->min) : json_null());
	json_object_set_new(o, "max", bounded ? json_integer(a->max) : json_null());
	json_object_set_new(o, "default", default_to_json(a));
	json_object_set_new(o, "alias_of", row->alias_of != NULL ? json_string(row->alias_of) : json_null());
	json_object_set_new(o, "doc", json_string(row->doc != NULL ? row->doc : a->doc));
	return o;
}

static json_t *action_to_json(const struct table_action *a)
{
	return json_pack("{s:s, s:i, s:i, s:i, s:b}", "name", a->name, "value", a->value, "min_args", a->min_args,
			 "max_args", a->max_args, "calls", a->calls);
}

static json_t *table_to_json(const struct policy_table *t)
{
	json_t *actions = json_array();

	for (size_t i = 0; i < t->n_actions; i++)
		json_array_append_new(actions, action_to_json(&t->actions[i]));
	return json_pack("{s:s, s:i, s:s, s:b, s:o, s:s}", "name", t->name, "key_parts", t->key_parts, "lookup",
			 lookup_names[t->lookup], "upper_case_keys", t->upper_case_keys, "actions", actions, "doc",
			 t->doc != NULL ? t->doc : "");
}

static json_t *words_to_json(const char *text)
{
	json_t *words = json_array();

	while (text != NULL && *text != '\0') {
		size_t n = strcspn(text, " ");

		if (n > 0)
			json_array_append_new(words, json_stringn(text, n));
		text += n + (text[n] == ' ');
	}
	return words;
}

static json_t *hook_to_json(const struct hook *h)
{
	return json_pack("{s:s, s:o, s:o, s:b, s:b, s:s}", "name", h->name, "classes", words_to_json(h->classes),
			 "arguments", words_to_json(h->arguments), "native", h->native != NULL, "stored",
			 h->offset != SIZE_MAX, "doc", h->doc != NULL ? h->doc : "");
}

static json_t *counters_to_json(const struct proxy_type *type)
{
	json_t *counters = json_array();
	const struct counter *c;

	for (size_t i = 0; (c = counter_of(type, i)) != NULL; i++)
		json_array_append_new(counters, json_pack("{s:s, s:s}", "name", c->name, "doc", c->doc));
	return counters;
}

static json_t *proxy_to_json(const struct proxy_type *type)
{
	json_t *attributes = json_array(), *tables = json_array(), *hooks = json_array();

	for (size_t i = 0; i < type->n_attributes; i++)
		json_array_append_new(attributes, attribute_to_json(type, &type->attributes[i]));
	for (size_t i = 0; i < type->n_tables; i++)
		json_array_append_new(tables, table_to_json(&type->tables[i]));
	for (size_t i = 0; i < type->n_hooks; i++)
		json_array_append_new(hooks, hook_to_json(&type->hooks[i]));
	return json_pack("{s:o, s:o, s:o, s:o}", "attributes", attributes, "tables", tables, "hooks", hooks, "counters",
			 counters_to_json(type));
}

int schema_write(const struct proxy_registry *registry, struct buffer *out)
{
	json_t *proxies = json_object(), *schema;
	char *text;

	for (const struct proxy_type *const *t = registry->types; *t != NULL; t++)
		json_object_set_new(proxies, (*t)->name, proxy_to_json(*t));
	schema = json_pack("{s:o}", "proxies", proxies);
	text = schema == NULL ? NULL : json_dumps(schema, JSON_INDENT(1));
	json_decref(schema);
	if (text == NULL)
		return -ENOMEM;
	buffer_append(out, slice_cstr(text));
	buffer_append_octet(out, '\n');
	free(text);
	return out->broken ? -ENOMEM : 0;
}

static void write_default(const struct attribute *a, struct buffer *out)
{
	if (a->type == ATTR_INT)
		buffer_printf(out, "%" PRId64, a->number);
	else if (a->type == ATTR_BOOL)
		buffer_printf(out, "%s", a->number ? "TRUE" : "FALSE");
	else if (a->type == ATTR_STRING)
		buffer_printf(out, "`\"%s\"`", a->text != NULL ? a->text : "");
	else if (a->type == ATTR_STRINGS || a->type == ATTR_ZONES)
		buffer_printf(out, "()");
	else
		buffer_printf(out, "None");
}

static const char *access_word(unsigned access, unsigned read, unsigned write)
{
	if (access & read)
		return access & write ? "rw" : "r";
	return access & write ? "w" : "-";
}

static void write_attribute(const struct proxy_type *type, const struct attribute *row, struct buffer *out)
{
	const struct attribute *a = attribute_named(type, row->name);

	if (row->alias_of != NULL) {
		buffer_printf(out, "| `%s` | | | | | | another name of `%s` |\n", row->name, row->alias_of);
		return;
	}
	buffer_printf(out, "| `%s` | %s | ", a->name, type_names[a->type]);
	if (a->type == ATTR_INT && a->min != a->max)
		buffer_printf(out, "%" PRId64 " to %" PRId64, a->min, a->max);
	buffer_printf(out, " | ");
	write_default(a, out);
	buffer_printf(out, " | %s | %s | %s%s |\n", access_word(a->access, ATTR_CONFIG_R, ATTR_CONFIG_W),
		      access_word(a->access, ATTR_RUN_R, ATTR_RUN_W), a->doc != NULL ? a->doc : "",
		      a->access & ATTR_NO_EFFECT ? " Accepted, without effect." : "");
}

static void write_table(const struct policy_table *t, struct buffer *out)
{
	buffer_printf(out, "\n### `%s`\n\n%s\n", t->name, t->doc != NULL ? t->doc : "");
	if (t->lookup == TABLE_VERB_CODE)
		buffer_printf(out, "Keys are (verb, code). Looked up, for the code abc: (verb, abc), (verb, ab), (verb, a), "
			      "(verb, `*`), then the same with `*` for the verb.\n");
	else
		buffer_printf(out, "Looked up: the key, then `*`.\n");
	buffer_printf(out, "\n| action | value | strings that may follow | calls a function |\n|---|---|---|---|\n");
	for (size_t i = 0; i < t->n_actions; i++) {
		const struct table_action *a = &t->actions[i];

		buffer_printf(out, "| `%s` | %d | %u to %u | %s |\n", a->name, a->value, a->min_args, a->max_args,
			      a->calls ? "yes" : "no");
	}
}

static void write_hooks(const struct proxy_type *type, struct buffer *out)
{
	if (type->n_hooks == 0)
		return;
	buffer_printf(out, "\n## Methods\n\n| method | classes | in C | |\n|---|---|---|---|\n");
	for (size_t i = 0; i < type->n_hooks; i++) {
		const struct hook *h = &type->hooks[i];

		buffer_printf(out, "| `%s(%s)` | %s | %s | %s |\n", h->name, h->arguments != NULL ? h->arguments : "",
			      h->classes != NULL ? h->classes : "", h->native != NULL ? "yes" : "no",
			      h->doc != NULL ? h->doc : "");
	}
}

static void write_counters(const struct proxy_type *type, struct buffer *out)
{
	const struct counter *c;

	buffer_printf(out, "\n## Counters\n\nOf each service, over all workers, since the program started: "
		      "`sallyport ctl stats`.\n\n| counter | |\n|---|---|\n");
	for (size_t i = 0; (c = counter_of(type, i)) != NULL; i++)
		buffer_printf(out, "| `%s` | %s |\n", c->name, c->doc);
}

int schema_write_page(const struct proxy_type *type, struct buffer *out)
{
	buffer_printf(out, "# Proxy `%s`\n\nMade from the proxy's tables by `sallyport schema --markdown %s`; "
		      "a test keeps it so.\n\n## Attributes\n\n"
		      "*config*: in `config()` of a policy's class; *run*: in code that runs during a session.\n\n"
		      "| attribute | type | range | default | config | run | |\n|---|---|---|---|---|---|---|\n",
		      type->name, type->name);
	for (size_t i = 0; i < type->n_attributes; i++)
		write_attribute(type, &type->attributes[i], out);
	if (type->n_tables > 0)
		buffer_printf(out, "\n## Tables\n");
	for (size_t i = 0; i < type->n_tables; i++)
		write_table(&type->tables[i], out);
	write_hooks(type, out);
	write_counters(type, out);
	return out->broken ? -ENOMEM : 0;
}

static bool is_unsound(char *why, size_t size, const char *name, const char *what)
{
	snprintf(why, size, "'%s' %s", name, what);
	return false;
}

static bool attribute_is_sound(const struct proxy_type *type, const struct attribute *row, char *why, size_t size)
{
	const struct attribute *a = attribute_named(type, row->name);
	size_t block = row->access & ATTR_HOME_RUN ? type->run_size : type->config_size;

	if (a == NULL)
		return is_unsound(why, size, row->name, "is an alias of nothing");
	if (row->alias_of == NULL && a != row)
		return is_unsound(why, size, row->name, "is there twice");
	if (table_named(type, row->name) != NULL)
		return is_unsound(why, size, row->name, "is an attribute and a table");
	if (a->type >= ATTR_TYPE_COUNT)
		return is_unsound(why, size, row->name, "has no type");
	if (row->alias_of == NULL && (row->doc == NULL || row->doc[0] == '\0'))
		return is_unsound(why, size, row->name, "has no words of explanation");
	if (a->type == ATTR_INT && a->min != a->max && (a->number < a->min || a->number > a->max))
		return is_unsound(why, size, row->name, "has a default outside of its range");
	if ((row->access & ATTR_HOME_RUN) && (row->access & ATTR_CONFIG_W))
		return is_unsound(why, size, row->name, "lives in the run block but is set in config()");
	if (attribute_has_place(row) && row->offset + type_octets[row->type] > block)
		return is_unsound(why, size, row->name, "lies outside of its block");
	return true;
}

static bool table_is_sound(const struct proxy_type *type, const struct policy_table *t, char *why, size_t size)
{
	if (t->offset + sizeof(struct compiled_table *) > type->config_size)
		return is_unsound(why, size, t->name, "lies outside of the config block");
	if (t->key_parts < 1 || t->key_parts > 2 || (t->lookup == TABLE_VERB_CODE && t->key_parts != 2))
		return is_unsound(why, size, t->name, "has keys that do not fit its lookup");
	for (size_t i = 0; i < t->n_actions; i++) {
		if (table_action_of(t, t->actions[i].value) != &t->actions[i])
			return is_unsound(why, size, t->actions[i].name, "has the value of another action");
		if (t->actions[i].min_args > t->actions[i].max_args || t->actions[i].max_args > 2)
			return is_unsound(why, size, t->actions[i].name, "takes an impossible number of strings");
	}
	return true;
}

static bool counters_are_sound(const struct proxy_type *type, char *why, size_t size)
{
	const struct counter *c, *other;

	if (type->n_counters > COUNTERS_MAX - COUNTERS_COMMON)
		return is_unsound(why, size, type->name, "has too many counters");
	for (size_t i = 0; (c = counter_of(type, i)) != NULL; i++) {
		if (c->name == NULL || c->doc == NULL || c->doc[0] == '\0')
			return is_unsound(why, size, type->name, "has a counter without a name or words of explanation");
		for (size_t k = 0; k < i && (other = counter_of(type, k)) != NULL; k++)
			if (strcmp(c->name, other->name) == 0)
				return is_unsound(why, size, c->name, "is counted twice");
	}
	return true;
}

bool proxy_type_is_sound(const struct proxy_type *type, char *why, size_t why_size)
{
	if (!counters_are_sound(type, why, why_size))
		return false;
	for (size_t i = 0; i < type->n_attributes; i++)
		if (!attribute_is_sound(type, &type->attributes[i], why, why_size))
			return false;
	for (size_t i = 0; i < type->n_tables; i++)
		if (!table_is_sound(type, &type->tables[i], why, why_size))
			return false;
	for (size_t i = 0; i < type->n_hooks; i++) {
		const struct hook *h = &type->hooks[i];

		if (h->offset != SIZE_MAX && h->offset + sizeof(struct policy_call) > type->config_size)
			return is_unsound(why, why_size, h->name, "lies outside of the config block");
	}
	return true;
}
