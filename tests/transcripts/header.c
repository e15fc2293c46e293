/* SPDX-License-Identifier: Apache-2.0 */
/* The lines before the first step: the policy that the session runs under. */
#include "encryption.h"
#include "run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static json_t *find_entry(json_t *table, const json_t *key, size_t *at)
{
	for (*at = 0; *at < json_array_size(table); ++*at) {
		json_t *entry = json_array_get(table, *at);

		if (json_equal(json_object_get(entry, "key"), key))
			return entry;
	}
	return NULL;
}

static json_t *member(json_t *object, const char *name, json_t *fresh)
{
	json_t *value = json_object_get(object, name);

	if (value == NULL) {
		json_object_set_new(object, name, fresh);
		return fresh;
	}
	json_decref(fresh);
	return value;
}

/* Members of a CONFIG over what is there: attributes and hooks by name, entries by key. */
static void merge_config(struct run *r, const char *text)
{
	json_error_t error;
	json_t *over = json_loads(text, JSON_ALLOW_NUL, &error), *table, *entry;
	const char *name;
	size_t i, at;

	if (over == NULL) {
		fail(r, "config: %s", error.text);
		return;
	}
	if (json_object_get(over, "attributes") != NULL)
		json_object_update(member(r->config, "attributes", json_object()), json_object_get(over, "attributes"));
	if (json_object_get(over, "hooks") != NULL)
		json_object_update(member(r->config, "hooks", json_object()), json_object_get(over, "hooks"));
	json_object_foreach(json_object_get(over, "tables"), name, table) {
		json_t *base = member(member(r->config, "tables", json_object()), name, json_array());

		json_array_foreach(table, i, entry) {
			if (find_entry(base, json_object_get(entry, "key"), &at) != NULL)
				json_array_set(base, at, entry);
			else
				json_array_append(base, entry);
		}
	}
	json_decref(over);
}

static void load_preset(struct run *r, const char *name)
{
	char path[512];
	json_error_t error;
	json_t *preset;
	char *text;

	snprintf(path, sizeof(path), "%s/%s.json", r->presets, name);
	preset = json_load_file(path, 0, &error);
	if (preset == NULL) {
		fail(r, "preset %s: %s", name, error.text);
		return;
	}
	text = json_dumps(preset, 0);
	merge_config(r, text);
	free(text);
	json_decref(preset);
}

/* delete TABLE KEY [KEY] */
static void delete_entry(struct run *r, char *words)
{
	char *table = strsep(&words, " "), *key1 = strsep(&words, " "), *key2 = strsep(&words, " ");
	json_t *key = key2 != NULL ? json_pack("[s,s]", key1, key2) : json_pack("[s]", key1);
	json_t *entries = json_object_get(json_object_get(r->config, "tables"), table);
	size_t at;

	if (find_entry(entries, key, &at) == NULL)
		fail(r, "there is no such entry");
	else
		json_array_remove(entries, at);
	json_decref(key);
}

/* A member of the policy document. */
static void set_member(struct run *r, const char *name, const char *text)
{
	if (r->document == NULL)
		r->document = json_object();
	if (json_object_set_new(r->document, name, json_loads(text, 0, NULL)) < 0)
		fail(r, "'%s' is not followed by JSON", name);
}

static void add_service(struct run *r, json_t *service)
{
	if (r->service == NULL)
		r->service = json_object();
	if (service == NULL || json_object_update(r->service, service) < 0)
		fail(r, "'service' is not followed by JSON");
	json_decref(service);
}

/* tls WORDS: the service's encryption. */
static void set_encryption(struct run *r, const char *words)
{
	const char *unknown = "";
	json_t *members = encryption_members(words, &unknown);

	if (members == NULL) {
		fail(r, "tls: what does '%s' mean?", unknown);
		return;
	}
	if (r->document == NULL)
		r->document = json_object();
	json_object_update(r->document, members);
	json_decref(members);
	add_service(r, json_pack("{s:i}", "encryption", 0));
}

/* A line before the first step. Returns whether it was one. */
bool header_line(struct run *r, char *line)
{
	if (strncmp(line, "preset ", 7) == 0)
		load_preset(r, line + 7);
	else if (strncmp(line, "config ", 7) == 0)
		merge_config(r, line + 7);
	else if (strncmp(line, "delete ", 7) == 0)
		delete_entry(r, line + 7);
	else if (strcmp(line, "client encrypted") == 0)
		r->client_encrypted = true;
	else if (strncmp(line, "client ", 7) == 0)
		snprintf(r->client_address, sizeof(r->client_address), "%s", line + 7);
	else if (strcmp(line, "at once") == 0)
		r->at_once = true;
	else if (!r->started && strcmp(line, "connect fails") == 0)
		r->connect_error = -ECONNREFUSED;
	else if (strncmp(line, "zones ", 6) == 0)
		set_member(r, "zones", line + 6);
	else if (strncmp(line, "matchers ", 9) == 0)
		set_member(r, "matchers", line + 9);
	else if (strncmp(line, "characters ", 11) == 0)
		set_member(r, "characters", line + 11);
	else if (strncmp(line, "service ", 8) == 0)
		add_service(r, json_loads(line + 8, 0, NULL));
	else if (strncmp(line, "tls ", 4) == 0)
		set_encryption(r, line + 4);
	else
		return false;
	if (r->have_harness)
		fail(r, "this line belongs before the first step");
	return true;
}
