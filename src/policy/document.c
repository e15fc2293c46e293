/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy document becomes the compiled policy. The document was written by an unprivileged
 * process that ran the policy's code, so nothing in it is taken on trust: every size, reference
 * and range is checked here, and what is wrong is said with its place.
 */
#include "policy/document_priv.h"
#include "policy/fingerprint.h"
#include "policy/proxy_config.h"
#include "policy/rule_index.h"
#include "policy/names.h"
#include "policy/zone_priv.h"

#include "base/buffer.h"
#include "base/hash.h"

#include <malloc.h>
#include <stdio.h>

#define DOCUMENT_OCTETS_MAX ((size_t)256 * 1024 * 1024)
#define FILES_MAX 4096
#define INSTANCES_MAX 256
#define CONFIGS_MAX 65536
#define CALLBACKS_MAX 65536
#define SECRETS_MAX 16384
#define PREFIXES_MAX 65536

int document_read_prefixes(struct document_reader *d, const struct json_path *path, const json_t *json,
			   const struct ip_prefix **out, size_t *n)
{
	struct ip_prefix *prefixes;
	int result = 0;

	if (json == NULL)
		return 0;
	if (json_want_array(&d->json, path, json, PREFIXES_MAX) < 0)
		return -EINVAL;
	prefixes = arena_array(d->json.arena, json_array_size(json), sizeof(*prefixes));
	if (prefixes == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(json); i++) {
		const struct json_path at = { path, NULL, i };
		const char *text;
		int err = json_text(&d->json, &at, json_array_get(json, i), 64, &text);

		if (err == 0 && prefix_parse(slice_cstr(text), &prefixes[i]) < 0)
			err = json_wrong(&d->json, &at, "'%s' is not a subnet", text);
		result = worse(result, err);
	}
	*out = prefixes;
	*n = json_array_size(json);
	return result;
}

int document_read_zone_list(struct document_reader *d, const struct json_path *path, const json_t *json,
			    const struct zone *const **out, size_t *n)
{
	const struct zone **zones;
	int result = 0;

	if (json == NULL)
		return 0;
	if (json_want_array(&d->json, path, json, ZONES_MAX) < 0)
		return -EINVAL;
	zones = arena_array(d->json.arena, json_array_size(json), sizeof(*zones));
	if (zones == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(json); i++) {
		const struct json_path at = { path, NULL, i };
		int64_t index;
		int err = json_int(&d->json, &at, json_array_get(json, i), 0, (int64_t)d->policy->n_zones - 1, &index);

		if (err == 0)
			zones[i] = &d->policy->zones[index];
		result = worse(result, err);
	}
	*out = zones;
	*n = json_array_size(json);
	return result;
}

int document_read_texts(struct document_reader *d, const struct json_path *path, const json_t *json, size_t max,
			const char *const **out, size_t *n)
{
	const char **texts;
	int result = 0;

	if (json_want_array(&d->json, path, json, max) < 0)
		return -EINVAL;
	texts = arena_array(d->json.arena, json_array_size(json), sizeof(*texts));
	if (texts == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(json); i++)
		result = worse(result, json_text(&d->json, &(struct json_path){ path, NULL, i },
						 json_array_get(json, i), 4096, &texts[i]));
	*out = texts;
	*n = json_array_size(json);
	return result;
}

static int read_zone(struct document_reader *d, const struct json_path *path, const json_t *json, struct zone *zones,
		     struct zone *zone)
{
	static const char *const members[] = { "name", "addrs", "hostnames", "parent", "at", NULL };
	const json_t *parent = json_object_get(json, "parent"), *hostnames = json_object_get(json, "hostnames");
	int64_t index;
	int err = json_want_object(&d->json, path, json, members);

	if (err == 0)
		err = json_member_place(&d->json, path, json, &zone->place);
	if (err < 0)
		return err;
	d->json.place = zone->place;
	err = json_member_text(&d->json, path, json, "name", NAME_OCTETS_MAX, &zone->name);
	if (err == 0)
		err = document_read_prefixes(d, &(struct json_path){ path, "addrs", 0 }, json_object_get(json, "addrs"),
					     &zone->prefixes, &zone->n_prefixes);
	if (err == 0 && hostnames != NULL)
		err = document_read_texts(d, &(struct json_path){ path, "hostnames", 0 }, hostnames, POLICY_HOSTS_MAX,
					  &zone->hostnames, &zone->n_hostnames);
	if (err < 0 || parent == NULL || json_is_null(parent))
		return err;
	err = json_member_int(&d->json, path, json, "parent", 0, (int64_t)d->policy->n_zones - 1, &index);
	if (err == 0)
		zone->parent = &zones[index];
	return err;
}

int document_read_zones(struct document_reader *d, const json_t *root)
{
	const struct json_path path = { NULL, "zones", 0 };
	struct json_cut *cut = &d->cuts[CUT_ZONES];
	struct zone *zones;
	int result = json_want_cut(&d->json, root, cut, ZONES_MAX);

	if (result < 0)
		return result;
	zones = arena_array(d->json.arena, cut->n, sizeof(*zones));
	if (zones == NULL)
		return -ENOMEM;
	d->policy->zones = zones;
	d->policy->n_zones = cut->n;
	for (size_t i = 0; i < d->policy->n_zones; i++) {
		const struct json_path at = { &path, NULL, i };
		json_t *json;
		int err;

		d->json.place = (struct policy_place){ NULL, 0 };
		err = json_next(&d->json, &at, cut, &json);
		if (err < 0)
			return err;
		zones[i].index = (uint32_t)i;
		result = worse(result, read_zone(d, &at, json, zones, &zones[i]));
		json_decref(json);
	}
	d->json.place = (struct policy_place){ NULL, 0 };
	if (result == 0)
		result = zone_hosts_check(zones, d->policy->n_zones, d->json.arena, d->json.problems, &d->policy->n_hostnames);
	if (result < 0)
		return result;
	return zone_tree_build(zones, d->policy->n_zones, d->json.arena, d->json.problems, &d->policy->zone_tree);
}

int document_read_configs(struct document_reader *d, const json_t *json)
{
	const struct json_path path = { NULL, "configs", 0 };
	const struct proxy_config **configs;
	int result = json_want_array(&d->json, &path, json, CONFIGS_MAX);
	struct proxy_config_source source = {
		.registry = d->registry, .policy = d->policy, .arena = d->json.arena, .problems = d->json.problems,
		.files = d->json.files, .n_files = d->json.n_files,
	};

	if (result < 0)
		return result;
	configs = arena_array(d->json.arena, json_array_size(json), sizeof(*configs));
	if (configs == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(json); i++) {
		struct proxy_config *config = ARENA_NEW(d->json.arena, struct proxy_config);
		char where[64];
		int err;

		if (config == NULL)
			return -ENOMEM;
		snprintf(where, sizeof(where), "policy document: configs[%zu]", i);
		source.where = where;
		err = proxy_config_read(&source, json_array_get(json, i), config);
		config->index = (uint32_t)i;
		configs[i] = config;
		d->policy->needs_host = d->policy->needs_host || config->has_callbacks || config->per_session ||
					config->startup || config->shutdown;
		result = worse(result, err);
	}
	d->policy->configs = configs;
	d->policy->n_configs = json_array_size(json);
	return result;
}

static int read_head(struct document_reader *d, const json_t *json)
{
	const char *format;
	int64_t version, callbacks, secrets;
	int err = json_member_text(&d->json, NULL, json, "format", 64, &format);

	if (err == 0 && strcmp(format, "sallyport-policy") != 0)
		err = json_wrong(&d->json, NULL, "this is not a policy document (format '%s')", format);
	if (err == 0)
		err = json_member_int(&d->json, NULL, json, "version", 1, 1, &version);
	if (err == 0)
		err = json_member_int(&d->json, NULL, json, "callbacks", 0, CALLBACKS_MAX, &callbacks);
	if (err == 0)
		err = json_member_int_or(&d->json, NULL, json, "secrets", 0, SECRETS_MAX, 0, &secrets);
	if (err < 0)
		return err;
	d->policy->n_callbacks = (uint32_t)callbacks;
	d->policy->n_secrets = (uint32_t)secrets;
	return 0;
}

static int read_files(struct document_reader *d, const json_t *json)
{
	const struct json_path path = { NULL, "files", 0 };
	int err = document_read_texts(d, &path, json, FILES_MAX, &d->json.files, &d->json.n_files);

	if (err < 0)
		return err;
	if (d->json.n_files == 0)
		return json_wrong(&d->json, &path, "must name the policy's file");
	d->policy->file = d->json.files[0];
	return 0;
}

static int read_instances(struct document_reader *d, const json_t *json)
{
	const struct json_path path = { NULL, "instances", 0 };
	int err = document_read_texts(d, &path, json, INSTANCES_MAX, &d->policy->instances, &d->policy->n_instances);

	if (err < 0)
		return err;
	for (size_t i = 0; i < d->policy->n_instances; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(d->policy->instances[i], d->policy->instances[j]) == 0)
				return json_wrong(&d->json, &path, "'%s' is there twice", d->policy->instances[i]);
	return 0;
}

/* The engine takes no option itself yet: the host has worked both into services and attributes. */
static int read_options(struct document_reader *d, const json_t *json)
{
	static const char *const members[] = { "timeout_server_connect", "language", "keys_in_workers", NULL };
	const struct json_path path = { NULL, "options", 0 };
	const char *language;
	int64_t timeout;
	int err;

	if (json == NULL)
		return 0;
	err = json_want_object(&d->json, &path, json, members);
	if (err == 0)
		err = json_member_int_or(&d->json, &path, json, "timeout_server_connect", 0, INT32_MAX, 0, &timeout);
	if (err == 0 && json_object_get(json, "language") != NULL)
		err = json_member_text(&d->json, &path, json, "language", 16, &language);
	if (err == 0)
		err = json_member_bool_or(&d->json, &path, json, "keys_in_workers", false, &d->policy->keys_in_workers);
	return err;
}

static int read_tls(struct document_reader *d, const json_t *json)
{
	int err = document_read_tls_keys(d, json_object_get(json, "tls_keys"));

	if (err == 0)
		err = document_read_tls_certificates(d, json_object_get(json, "tls_certificates"));
	if (err == 0)
		err = document_read_encryptions(d, json_object_get(json, "encryptions"));
	d->json.place = (struct policy_place){ NULL, 0 };
	return err;
}

static int read_document(struct document_reader *d, const json_t *json)
{
	static const char *const members[] = { "format", "version", "files", "options", "instances", "zones", "characters",
					       "matchers", "secrets", "tls_keys", "tls_certificates", "encryptions",
					       "configs", "services", "rules", "callbacks", NULL };
	int result = json_want_object(&d->json, NULL, json, members);

	/* A document of another kind would give a hundred problems that say nothing. */
	if (json_is_object(json) && json_object_get(json, "format") == NULL)
		return json_wrong(&d->json, NULL, "this is not a policy document (it has no format)");
	if (result < 0)
		return result;
	result = read_head(d, json);
	if (result == 0)
		result = read_files(d, json_object_get(json, "files"));
	if (result == 0)
		result = read_instances(d, json_object_get(json, "instances"));
	if (result < 0)
		return result;
	result = worse(result, read_options(d, json_object_get(json, "options")));
	result = worse(result, document_read_zones(d, json));
	if (result < 0)
		return result;	/* what follows refers to zones by number */
	result = worse(result, document_read_matchers(d, json_object_get(json, "characters"), json_object_get(json, "matchers")));
	if (result < 0)
		return result;	/* nor to matchers that are not there */
	result = worse(result, read_tls(d, json));
	if (result < 0)
		return result;	/* nor to encryptions */
	result = worse(result, document_read_configs(d, json_object_get(json, "configs")));
	d->json.place = (struct policy_place){ NULL, 0 };
	if (result == -ENOMEM || !json_is_array(json_object_get(json, "configs")))
		return result;
	result = worse(result, document_read_services(d, json_object_get(json, "services")));
	d->json.place = (struct policy_place){ NULL, 0 };
	if (result < 0)
		return result;
	return document_read_rules(d, json);
}

/* Takes out what comes from files that are watched by themselves. */
static void forget_files(json_t *json)
{
	json_t *one;
	size_t i;

	json_object_del(json, "characters");		/* there if a pattern needs them */
	json_array_foreach(json_object_get(json, "matchers"), i, one) {
		if (json_object_get(one, "files") == NULL)
			continue;
		json_object_del(one, "match");
		json_object_del(one, "ignore");
	}
	json_array_foreach(json_object_get(json, "tls_certificates"), i, one)
		if (json_object_get(one, "file") != NULL)
			json_object_del(one, "pem");
}

static const char *name_the_rest(json_t *json, const struct json_cut *cuts, struct arena *arena)
{
	struct buffer rest = BUFFER_INIT(2 * DOCUMENT_OCTETS_MAX);
	const char *name;
	char *text;

	forget_files(json);
	text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
	buffer_append(&rest, slice_cstr(text));
	for (unsigned i = 0; i < CUT_COUNT; i++)
		buffer_append(&rest, cuts[i].text);
	name = text == NULL || rest.broken ? NULL : fingerprint(buffer_slice(&rest), arena);
	buffer_release(&rest);
	free(text);
	return name;
}

static json_t *read_text(struct json_reader *r, struct slice document, struct json_cut cuts[CUT_COUNT])
{
	cuts[CUT_ZONES] = (struct json_cut){ .member = "zones" };
	cuts[CUT_RULES] = (struct json_cut){ .member = "rules" };
	if (document.len <= DOCUMENT_OCTETS_MAX)
		return json_read_cut(r, document, cuts, CUT_COUNT);
	json_wrong(r, NULL, "is larger than %zu octets", DOCUMENT_OCTETS_MAX);
	return NULL;
}

const char *policy_fingerprint_without_files(struct slice document, struct arena *arena)
{
	struct policy_problems problems;
	struct json_reader reader = { .arena = arena, .problems = &problems, .subject = "policy document" };
	struct json_cut cuts[CUT_COUNT];
	json_t *json;
	const char *name;

	problems_init(&problems, arena);
	json = read_text(&reader, document, cuts);
	name = json == NULL ? NULL : name_the_rest(json, cuts, arena);
	json_decref(json);
	return name;
}

static bool has_watched_files(const struct policy *policy)
{
	for (size_t i = 0; i < policy->n_tls_certificates; i++)
		if (policy->tls_certificates[i].file != NULL)
			return true;
	return policy->n_matcher_files > 0;
}

static int build(struct document_reader *d, struct slice document)
{
	json_t *json = read_text(&d->json, document, d->cuts);
	struct json_cut whole[CUT_COUNT];
	int err;

	if (json == NULL)
		return -EINVAL;
	memcpy(whole, d->cuts, sizeof(whole));
	err = read_document(d, json);
	if (err == 0 && has_watched_files(d->policy)) {
		d->policy->fingerprint_without_files = name_the_rest(json, whole, d->json.arena);
		err = d->policy->fingerprint_without_files != NULL ? 0 : -ENOMEM;
	}
	json_decref(json);
	malloc_trim(0);		/* the workers are forked from this process: give back what JSON took */
	return err;
}

int policy_build(struct slice document, const struct proxy_registry *registry, struct arena *arena,
		 struct policy_problems *problems, const struct policy **out)
{
	struct document_reader d = {
		.json = { .arena = arena, .problems = problems, .subject = "policy document" },
		.registry = registry, .policy = ARENA_NEW(arena, struct policy),
	};
	unsigned errors = problems->n_errors;
	int err;

	if (d.policy == NULL)
		return -ENOMEM;
	err = build(&d, document);
	if (err == 0)
		err = rule_index_build(d.policy, arena, &d.policy->rule_index);
	if (err == 0)
		d.policy->fingerprint = fingerprint(document, arena);
	if (err == 0 && d.policy->fingerprint == NULL)
		err = -ENOMEM;
	if (err == 0 && problems->n_errors > errors)
		err = -EINVAL;
	if (err == 0)
		*out = d.policy;
	return err;
}

const struct zone *policy_zone_of(const struct policy *policy, const struct zone_names *names, const struct ip_addr *ip)
{
	const struct zone *zone = names == NULL ? NULL : zone_names_find(names, ip);

	return zone != NULL || policy->zone_tree == NULL ? zone : zone_tree_find(policy->zone_tree, ip);
}

const struct zone *policy_zone_named(const struct policy *policy, struct slice name)
{
	return policy->zone_tree == NULL ? NULL : zone_tree_named(policy->zone_tree, name);
}
