/* SPDX-License-Identifier: Apache-2.0 */
/* A session's attributes and tables, and what its policy code changes in them. */
#include "policy/proxy_config.h"
#include "policy/block_priv.h"

#include <errno.h>
#include <stdio.h>

#define CHANGES_MAX 1024

int proxy_state_init(struct proxy_state *state, const struct policy *policy, const struct proxy_config *config,
		     struct arena *arena)
{
	const struct proxy_type *type = config->type;
	void *run = arena_alloc(arena, type->run_size);
	struct compiled_table **overlays = arena_array(arena, type->n_tables, sizeof(*overlays));

	if (run == NULL || overlays == NULL)
		return -ENOMEM;
	block_set_defaults(type, run, ATTR_HOME_RUN);
	*state = (struct proxy_state){ .type = type, .policy = policy, .arena = arena, .config = config->block,
				       .run = run, .overlays = overlays };
	return 0;
}

static const struct compiled_table *service_table(const struct proxy_state *state, const struct policy_table *type)
{
	const struct compiled_table *table;

	memcpy(&table, (const uint8_t *)state->config + type->offset, sizeof(table));
	return table;
}

const struct compiled_table *proxy_state_table(const struct proxy_state *state, const struct policy_table *type)
{
	const struct compiled_table *overlay = state->overlays[type - state->type->tables];

	return overlay != NULL ? overlay : service_table(state, type);
}

/* One change, checked; applied after all others turned out right too. */
struct change {
	const struct attribute *attribute;	/* NULL: a table entry */
	union attribute_value value;
	const struct policy_table *table;
	struct slice key[2];
	struct table_entry entry;
};

struct change_list {
	struct change *items;
	size_t count;
};

static int check_attribute(struct block_reader *b, const struct json_path *path, const char *name,
			   const json_t *json, struct change_list *list)
{
	struct change *change = &list->items[list->count];
	const struct attribute *a = attribute_named(b->type, name);
	int err;

	if (a == NULL)
		return json_wrong(&b->json, path, "proxy '%s' has no such attribute", b->type->name);
	if ((a->access & ATTR_RUN_W) == 0)
		return json_wrong(&b->json, path, "can't be changed while a session runs");
	err = attribute_read(b, path, a, json, &change->value);
	if (err == 0 && attribute_has_place(a)) {
		change->attribute = a;
		list->count++;
	}
	return err;
}

static int check_entry(struct block_reader *b, const struct json_path *path, const json_t *json,
		       struct change_list *list)
{
	static const char *const members[] = { "table", "key", "action", "args", "call", "deleted", NULL };
	struct change *change = &list->items[list->count];
	const char *name;
	int err = json_want_object(&b->json, path, json, members);

	if (err == 0)
		err = json_member_text(&b->json, path, json, "table", 64, &name);
	if (err < 0)
		return err;
	change->table = table_named(b->type, name);
	if (change->table == NULL)
		return json_wrong(&b->json, path, "proxy '%s' has no table '%s'", b->type->name, name);
	err = table_entry_read(b, path, change->table, json, change->key, &change->entry);
	if (err == 0)
		list->count++;
	return err;
}

static int check_changes(struct block_reader *b, const json_t *attributes, const json_t *tables,
			 struct change_list *list)
{
	const struct json_path in_attributes = { NULL, "attributes", 0 }, in_tables = { NULL, "tables", 0 };
	const char *name;
	json_t *value;
	int err = 0;

	if (attributes != NULL && json_typeof(attributes) != JSON_OBJECT)
		return json_wrong(&b->json, &in_attributes, "must be an object");
	if (tables != NULL && json_typeof(tables) != JSON_ARRAY)
		return json_wrong(&b->json, &in_tables, "must be an array");
	if (json_object_size(attributes) + json_array_size(tables) > CHANGES_MAX)
		return json_wrong(&b->json, NULL, "more than %d changes at once", CHANGES_MAX);
	list->items = arena_array(b->json.arena, json_object_size(attributes) + json_array_size(tables),
				  sizeof(struct change));
	if (list->items == NULL)
		return -ENOMEM;
	json_object_foreach((json_t *)attributes, name, value) {
		err = check_attribute(b, &(struct json_path){ &in_attributes, name, 0 }, name, value, list);
		if (err < 0)
			return err;
	}
	for (size_t i = 0; i < json_array_size(tables) && err == 0; i++)
		err = check_entry(b, &(struct json_path){ &in_tables, NULL, i }, json_array_get(tables, i), list);
	return err;
}

/* The session's own copy of its config block, made at the first change. */
static int own_config(struct proxy_state *state, void **out)
{
	if (!state->own_config) {
		void *copy = arena_alloc(state->arena, state->type->config_size);

		if (copy == NULL)
			return -ENOMEM;
		memcpy(copy, state->config, state->type->config_size);
		state->config = copy;
		state->own_config = true;
	}
	*out = (void *)state->config;
	return 0;
}

/* Where the values of an attribute stand that policy code sets, one after the other. */
struct value_rooms {
	struct arena_room octets;	/* a string, or those of a list one behind the other */
	struct arena_room items;	/* slices; apart, so that none ever becomes text */
};

/* Most sessions have no policy code that sets anything: made at the first change. */
static struct value_rooms *rooms_of(struct proxy_state *state, const struct attribute *a)
{
	if (state->rooms == NULL)
		state->rooms = arena_array(state->arena, state->type->n_attributes, sizeof(*state->rooms));
	return state->rooms != NULL ? &state->rooms[a - state->type->attributes] : NULL;
}

static int keep_strings(struct arena *arena, struct value_rooms *rooms, struct string_list *list)
{
	size_t n = 0;
	struct slice *items;
	uint8_t *at;

	for (size_t i = 0; i < list->count; i++)
		n += list->items[i].len;
	at = arena_room_take(arena, &rooms->octets, n);
	items = arena_room_take(arena, &rooms->items, list->count * sizeof(*items));
	if (at == NULL || items == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < list->count; i++) {
		struct slice s = list->items[i];

		if (s.len > 0)
			memcpy(at, s.ptr, s.len);
		items[i] = slice_of(at, s.len);
		at += s.len;
	}
	list->items = items;
	return 0;
}

/* v's octets are the packet's: never those of an attribute. */
static int keep_value(struct proxy_state *state, const struct attribute *a, union attribute_value *v)
{
	bool list = a->type == ATTR_STRINGS || a->type == ATTR_ZONES;
	struct value_rooms *rooms;

	if (a->type != ATTR_STRING && !list)
		return 0;
	rooms = rooms_of(state, a);
	if (rooms == NULL)
		return -ENOMEM;
	if (list)
		return keep_strings(state->arena, rooms, &v->strings);
	return arena_room_keep(state->arena, &rooms->octets, v->octets, &v->octets);
}

/* A policy that sets what is there already needs no config block of its own. */
static bool is_unchanged(const void *block, const struct attribute *a, const union attribute_value *v)
{
	union attribute_value now = attribute_load(block, a);

	switch (a->type) {
	case ATTR_INT:
		return now.number == v->number;
	case ATTR_BOOL:
		return now.truth == v->truth;
	case ATTR_STRING:
		return slice_equal(now.octets, v->octets);
	default:
		return false;
	}
}

static int apply_attribute(struct proxy_state *state, const struct change *change)
{
	const struct attribute *a = change->attribute;
	union attribute_value v = change->value;
	void *block = state->run;
	int err;

	if (is_unchanged(a->access & ATTR_HOME_RUN ? state->run : state->config, a, &v))
		return 0;
	if ((a->access & ATTR_HOME_RUN) == 0) {
		err = own_config(state, &block);
		if (err < 0)
			return err;
	}
	err = keep_value(state, a, &v);
	if (err == 0)
		attribute_store(block, a, &v);
	return err;
}

static int apply_entry(struct proxy_state *state, const struct change *change)
{
	struct compiled_table **overlay = &state->overlays[change->table - state->type->tables];

	if (*overlay == NULL)
		*overlay = table_create(state->arena, change->table, service_table(state, change->table));
	if (*overlay == NULL)
		return -ENOMEM;
	state->own_tables = true;
	return table_put(*overlay, change->key[0], change->key[1], &change->entry);
}

static int apply_changes(struct proxy_state *state, const struct change_list *list, char *why, size_t why_size)
{
	for (size_t i = 0; i < list->count; i++) {
		const struct change *change = &list->items[i];
		int err = change->attribute != NULL ? apply_attribute(state, change) : apply_entry(state, change);

		if (err == -EINVAL || err == -ENOSPC)
			snprintf(why, why_size, "table '%s': %s", change->table->name,
				 err == -ENOSPC ? "too many entries" : "the key is too long");
		if (err < 0)
			return err == -EINVAL ? -EBADMSG : err;
	}
	return 0;
}

int proxy_state_change(struct proxy_state *state, const struct json_t *attributes, const struct json_t *tables,
		       char *why, size_t why_size)
{
	struct arena *scratch = arena_child(state->arena, SIZE_MAX, 0);
	struct change_list list = { NULL, 0 };
	struct policy_problems problems;
	struct block_reader b = { .type = state->type, .policy = state->policy, .n_own_callbacks = OWN_CALLBACKS_MAX };
	int err;

	if (scratch == NULL)
		return -ENOMEM;
	problems_init(&problems, scratch);
	b.json = (struct json_reader){ .arena = scratch, .problems = &problems, .subject = "answer of the policy host" };
	err = check_changes(&b, attributes, tables, &list);
	if (err == -EINVAL) {
		snprintf(why, why_size, "%s", problems.first != NULL ? problems.first->message : "wrong");
		err = -EBADMSG;
	}
	if (err == 0)
		err = apply_changes(state, &list, why, why_size);
	arena_free(&scratch);
	return err;
}

static json_t *strings_to_json(struct string_list list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list.count && array != NULL; i++) {
		if (json_array_append_new(array, json_from_octets(list.items[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static json_t *value_to_json(const struct attribute *a, const union attribute_value *v)
{
	switch (a->type) {
	case ATTR_INT:
		return json_integer(v->number);
	case ATTR_BOOL:
		return json_boolean(v->truth);
	case ATTR_STRING:
		return json_from_octets(v->octets);
	case ATTR_STRINGS:
	case ATTR_ZONES:
		return strings_to_json(v->strings);
	default:
		return json_null();
	}
}

struct json_t *proxy_state_attributes(const struct proxy_state *state)
{
	json_t *object = json_object();

	for (size_t i = 0; i < state->type->n_attributes && object != NULL; i++) {
		const struct attribute *a = &state->type->attributes[i];
		union attribute_value v;

		if (!attribute_has_place(a) || (a->access & ATTR_RUN_R) == 0 || a->type == ATTR_MATCHER)
			continue;
		if ((a->access & ATTR_HOME_RUN) == 0 && !state->own_config)
			continue;
		v = attribute_load(a->access & ATTR_HOME_RUN ? state->run : state->config, a);
		if (json_object_set_new(object, a->name, value_to_json(a, &v)) < 0) {
			json_decref(object);
			return NULL;
		}
	}
	return object;
}
