/* SPDX-License-Identifier: Apache-2.0 */
/* One configuration of a proxy class: a CONFIG object becomes the typed block that sessions read. */
#include "policy/proxy_config.h"
#include "policy/block_priv.h"

#include <assert.h>
#include <errno.h>

#define TABLE_ENTRIES_MAX 4096

static const struct proxy_type *type_named(const struct proxy_registry *registry, const char *name)
{
	for (const struct proxy_type *const *t = registry->types; *t != NULL; t++)
		if (strcmp((*t)->name, name) == 0)
			return *t;
	return NULL;
}

static void *place_in(void *block, size_t offset)
{
	return (uint8_t *)block + offset;
}

/* Defaults: attributes, empty tables, and the standard class's own methods. */
static int block_create(const struct proxy_type *type, struct arena *arena, void **out)
{
	void *block = arena_alloc(arena, type->config_size);

	if (block == NULL)
		return -ENOMEM;
	block_set_defaults(type, block, 0);
	for (size_t i = 0; i < type->n_tables; i++) {
		struct compiled_table *table = table_create(arena, &type->tables[i], NULL);

		if (table == NULL)
			return -ENOMEM;
		memcpy(place_in(block, type->tables[i].offset), &table, sizeof(table));
	}
	for (size_t i = 0; i < type->n_hooks; i++) {
		const struct policy_call call = { -1, type->hooks[i].native };

		if (type->hooks[i].offset != SIZE_MAX)
			memcpy(place_in(block, type->hooks[i].offset), &call, sizeof(call));
	}
	*out = block;
	return 0;
}

int proxy_config_defaults(const struct proxy_type *type, struct arena *arena, struct proxy_config *out)
{
	void *block;
	int err = block_create(type, arena, &block);

	if (err < 0)
		return err;
	*out = (struct proxy_config){ .type = type, .class_name = type->name, .class_number = -1, .block = block };
	return 0;
}

static int read_attribute(struct block_reader *b, const struct json_path *path, const char *name,
			  const json_t *json, void *block)
{
	const struct attribute *a = attribute_named(b->type, name);
	union attribute_value v = { 0 };
	int err;

	if (a == NULL) {
		const char *nearest = attribute_nearest(b->type, name);

		return json_wrong(&b->json, path, "proxy '%s' has no such attribute%s%s%s", b->type->name,
				  nearest != NULL ? "; did you mean '" : "", nearest != NULL ? nearest : "",
				  nearest != NULL ? "'?" : "");
	}
	if ((a->access & ATTR_CONFIG_W) == 0)
		return json_wrong(&b->json, path, "can't be set in config()");
	err = attribute_read(b, path, a, json, &v);
	if (err == 0 && attribute_has_place(a) && (a->access & ATTR_HOME_RUN) == 0)
		attribute_store(block, a, &v);
	return err;
}

/* Goes on after a wrong one, so that all are told; only missing memory ends it. */
static int read_attributes(struct block_reader *b, const json_t *json, void *block)
{
	const struct json_path path = { NULL, "attributes", 0 };
	const char *name;
	json_t *value;
	int result = 0;

	if (json == NULL)
		return 0;
	if (json_typeof(json) != JSON_OBJECT)
		return json_wrong(&b->json, &path, "must be an object");
	json_object_foreach((json_t *)json, name, value) {
		int err = read_attribute(b, &(struct json_path){ &path, name, 0 }, name, value, block);

		if (err == -ENOMEM)
			return err;
		if (err < 0)
			result = err;
	}
	return result;
}

static int read_entry(struct block_reader *b, const struct json_path *path, const struct policy_table *type,
		      const json_t *json, struct compiled_table *table)
{
	static const char *const members[] = { "key", "action", "args", "call", NULL };
	struct table_entry entry;
	struct slice key[2];
	int err = json_want_object(&b->json, path, json, members);

	if (err == 0)
		err = table_entry_read(b, path, type, json, key, &entry);
	if (err < 0)
		return err;
	if (type->lookup == TABLE_VERB_CODE && key[1].len > 3)
		return json_wrong(&b->json, path, "a reply code has three digits: this key can never be found");
	err = table_put(table, key[0], key[1], &entry);
	return err == 0 || err == -ENOMEM ? err : json_wrong(&b->json, path, "the key is too long, or the table full");
}

static int read_table(struct block_reader *b, const struct json_path *path, const struct policy_table *type,
		      const json_t *json, void *block)
{
	struct compiled_table *table;
	int result = json_want_array(&b->json, path, json, TABLE_ENTRIES_MAX);

	if (result < 0)
		return result;
	memcpy(&table, place_in(block, type->offset), sizeof(table));
	for (size_t i = 0; i < json_array_size(json); i++) {
		int err = read_entry(b, &(struct json_path){ path, NULL, i }, type, json_array_get(json, i), table);

		if (err == -ENOMEM)
			return err;
		if (err < 0)
			result = err;
	}
	return result;
}

static int read_tables(struct block_reader *b, const json_t *json, void *block)
{
	const struct json_path path = { NULL, "tables", 0 };
	const char *name;
	json_t *value;
	int result = 0;

	if (json == NULL)
		return 0;
	if (json_typeof(json) != JSON_OBJECT)
		return json_wrong(&b->json, &path, "must be an object");
	json_object_foreach((json_t *)json, name, value) {
		const struct json_path at = { &path, name, 0 };
		const struct policy_table *type = table_named(b->type, name);
		int err = type != NULL ? read_table(b, &at, type, value, block) :
			  json_wrong(&b->json, &at, "proxy '%s' has no such table", b->type->name);

		if (err == -ENOMEM)
			return err;
		if (err < 0)
			result = err;
	}
	return result;
}

static int read_hook(struct block_reader *b, const struct json_path *path, const char *name, const json_t *json,
		     void *block)
{
	const struct hook *hook = NULL;
	struct policy_call call;
	int err;

	for (size_t i = 0; i < b->type->n_hooks && hook == NULL; i++)
		if (strcmp(b->type->hooks[i].name, name) == 0)
			hook = &b->type->hooks[i];
	if (hook == NULL || hook->offset == SIZE_MAX)
		return json_wrong(&b->json, path, "proxy '%s' never calls such a method", b->type->name);
	err = call_read(b, path, json, &call);
	if (err == 0)
		memcpy(place_in(block, hook->offset), &call, sizeof(call));
	return err;
}

static int read_hooks(struct block_reader *b, const json_t *json, void *block)
{
	const struct json_path path = { NULL, "hooks", 0 };
	const char *name;
	json_t *value;
	int result = 0;

	if (json == NULL)
		return 0;
	if (json_typeof(json) != JSON_OBJECT)
		return json_wrong(&b->json, &path, "must be an object");
	json_object_foreach((json_t *)json, name, value) {
		int err = read_hook(b, &(struct json_path){ &path, name, 0 }, name, value, block);

		if (err < 0)
			result = err;
	}
	return result;
}

/* "encryption": an index; missing: none. */
static int read_encryption(struct block_reader *b, const json_t *members, const struct encryption **out)
{
	const struct json_path path = { NULL, "encryption", 0 };
	const json_t *json = json_object_get(members, "encryption");
	size_t n = b->policy == NULL ? 0 : b->policy->n_encryptions;
	int64_t index;
	int err;

	*out = NULL;
	if (json == NULL)
		return 0;
	if (n == 0)
		return json_wrong(&b->json, &path, "names an encryption, but the policy has none");
	err = json_int(&b->json, &path, json, 0, (int64_t)n - 1, &index);
	if (err < 0)
		return err;
	*out = &b->policy->encryptions[index];
	b->calls_host = b->calls_host || encryption_calls_host(*out);
	return 0;
}

/* prepare() knows no places: what it says is about this declaration. */
static int prepare(struct block_reader *b, void *block)
{
	struct policy_problems *problems = b->json.problems;
	struct policy_problem **before = problems->tail;
	unsigned errors = problems->n_errors;
	int err = 0;

	if (b->type->prepare != NULL)
		err = b->type->prepare(block, b->policy, b->json.arena, problems);
	for (struct policy_problem *p = *before; p != NULL; p = p->next)
		if (p->place.file == NULL)
			p->place = b->json.place;
	if (err == 0 && problems->n_errors > errors)
		err = -EINVAL;
	return err;
}

/* The members that fill the block. Reads on after an error, prepares only what is right. */
static int read_block(struct block_reader *b, const json_t *members, void **out)
{
	int (*const readers[])(struct block_reader *, const json_t *, void *) = {
		read_attributes, read_tables, read_hooks,
	};
	static const char *const names[] = { "attributes", "tables", "hooks" };
	void *block;
	int result = block_create(b->type, b->json.arena, &block);

	if (result < 0)
		return result;
	for (size_t i = 0; i < ARRAY_LEN(readers); i++) {
		int err = readers[i](b, json_object_get(members, names[i]), block);

		if (err == -ENOMEM)
			return err;
		if (err < 0)
			result = err;
	}
	if (result == 0)
		result = prepare(b, block);
	if (result == 0)
		*out = block;
	return result;
}

static void reader_init(struct block_reader *b, const struct proxy_config_source *source, struct policy_place place)
{
	*b = (struct block_reader){ .policy = source->policy };
	b->json = (struct json_reader){ source->arena, source->problems, place, source->files, source->n_files,
					source->where != NULL ? source->where : "configuration" };
}

int proxy_config_read(const struct proxy_config_source *source, const struct json_t *config, struct proxy_config *out)
{
	static const char *const members[] = { "proxy", "class", "class_number", "per_session", "startup", "shutdown", "at",
					       "attributes", "tables", "hooks", "encryption", NULL };
	struct proxy_config made = { .index = 0 };
	struct block_reader b;
	const char *name;
	int64_t number;
	void *block;
	int err;

	reader_init(&b, source, (struct policy_place){ NULL, 0 });
	err = json_want_object(&b.json, NULL, config, members);
	if (err == 0)
		err = json_member_place(&b.json, NULL, config, &b.json.place);
	if (err == 0)
		err = json_member_text(&b.json, NULL, config, "proxy", 64, &name);
	if (err == 0)
		err = json_member_text(&b.json, NULL, config, "class", 256, &made.class_name);
	if (err == 0)
		err = json_member_int_or(&b.json, NULL, config, "class_number", -1, INT32_MAX, -1, &number);
	if (err == 0)
		err = json_member_bool_or(&b.json, NULL, config, "per_session", false, &made.per_session);
	if (err == 0)
		err = json_member_bool_or(&b.json, NULL, config, "startup", false, &made.startup);
	if (err == 0)
		err = json_member_bool_or(&b.json, NULL, config, "shutdown", false, &made.shutdown);
	if (err < 0)
		return err;
	b.type = type_named(source->registry, name);
	if (b.type == NULL)
		return json_wrong(&b.json, NULL, "class '%s': proxy '%s' is not there yet", made.class_name, name);
	err = read_block(&b, config, &block);
	if (err == 0)
		err = read_encryption(&b, config, &made.encryption);
	if (err < 0)
		return err;
	if ((b.calls_host || made.per_session || made.startup || made.shutdown) && number < 0)
		return json_wrong(&b.json, NULL, "class '%s' calls policy code but has no number", made.class_name);
	made.type = b.type;
	made.class_number = (int32_t)number;
	made.has_callbacks = b.calls_host;
	made.block = block;
	*out = made;
	return 0;
}

int proxy_config_read_text(const struct proxy_config_source *source, struct slice json, struct proxy_config *out)
{
	struct block_reader b;
	json_t *config;
	int err;

	reader_init(&b, source, (struct policy_place){ NULL, 0 });
	config = json_read_text(&b.json, json);
	if (config == NULL)
		return -EINVAL;
	err = proxy_config_read(source, config, out);
	json_decref(config);
	return err;
}

int proxy_config_read_session(const struct proxy_config_source *source, const struct json_t *members,
			      const struct proxy_config *service, struct proxy_config *out)
{
	struct proxy_config made = *service;
	struct block_reader b;
	void *block;
	int err;

	reader_init(&b, source, (struct policy_place){ NULL, 0 });
	b.type = service->type;
	b.n_own_callbacks = OWN_CALLBACKS_MAX;
	err = read_block(&b, members, &block);
	if (err == 0)
		err = read_encryption(&b, members, &made.encryption);
	if (err < 0)
		return err;
	made.has_callbacks = b.calls_host;
	made.block = block;
	*out = made;
	return 0;
}
