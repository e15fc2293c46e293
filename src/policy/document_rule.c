/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of a policy document. */
#include "policy/document_priv.h"

#include "base/hash.h"

#define RULES_MAX 262144
#define ALTERNATIVES_MAX 65536

/* A dimension of numbers as an array of int64_t; the caller narrows it. */
static int read_numbers(struct document_reader *d, const struct json_path *path, const json_t *json, int64_t max,
			int64_t **out, size_t *n)
{
	int64_t *numbers;
	int err;

	if (json == NULL)
		return 0;
	err = json_want_array(&d->json, path, json, ALTERNATIVES_MAX);
	if (err < 0)
		return err;
	numbers = arena_array(d->json.arena, json_array_size(json), sizeof(*numbers));
	if (numbers == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(json) && err == 0; i++)
		err = json_int(&d->json, &(struct json_path){ path, NULL, i }, json_array_get(json, i), 0, max,
			       &numbers[i]);
	*out = numbers;
	*n = json_array_size(json);
	return err;
}

static int read_octets(struct document_reader *d, const struct json_path *up, const json_t *rule, const char *name,
		       const uint8_t **out, size_t *n)
{
	const struct json_path path = { up, name, 0 };
	int64_t *numbers = NULL;
	uint8_t *octets;
	size_t count = 0;
	int err = read_numbers(d, &path, json_object_get(rule, name), UINT8_MAX, &numbers, &count);

	if (err < 0)
		return err;
	octets = arena_alloc(d->json.arena, count);
	if (octets == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		octets[i] = (uint8_t)numbers[i];
	*out = octets;
	*n = count;
	return 0;
}

static int read_words(struct document_reader *d, const struct json_path *up, const json_t *rule, const char *name,
		      int64_t max, const uint32_t **out, size_t *n)
{
	const struct json_path path = { up, name, 0 };
	int64_t *numbers = NULL;
	uint32_t *words;
	size_t count = 0;
	int err = read_numbers(d, &path, json_object_get(rule, name), max, &numbers, &count);

	if (err < 0)
		return err;
	words = arena_array(d->json.arena, count, sizeof(*words));
	if (words == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		words[i] = (uint32_t)numbers[i];
	*out = words;
	*n = count;
	return 0;
}

/* Interface names: what the kernel allows, and nothing that means something elsewhere. */
static bool is_interface_name(const char *name)
{
	if (strlen(name) >= IFNAME_MAX || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	for (; *name != '\0'; name++)
		if (*name == '/' || *name == ' ' || *name == '"' || *name == '\\' || *name == '*' || (uint8_t)*name > 0x7e)
			return false;
	return true;
}

static int read_ifaces(struct document_reader *d, const struct json_path *up, const json_t *rule, const char *name,
		       const char *const **out, size_t *n)
{
	const struct json_path path = { up, name, 0 };
	const json_t *json = json_object_get(rule, name);
	const char **names;
	int err = 0;

	if (json == NULL)
		return 0;
	err = json_want_array(&d->json, &path, json, ALTERNATIVES_MAX);
	if (err < 0)
		return err;
	names = arena_array(d->json.arena, json_array_size(json), sizeof(*names));
	if (names == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(json) && err == 0; i++) {
		const struct json_path at = { &path, NULL, i };

		err = json_text(&d->json, &at, json_array_get(json, i), 64, &names[i]);
		if (err == 0 && !is_interface_name(names[i]))
			err = json_wrong(&d->json, &at, "'%s' can't be the name of a network interface", names[i]);
	}
	*out = names;
	*n = json_array_size(json);
	return err;
}

static int read_ports(struct document_reader *d, const struct json_path *up, const json_t *rule, const char *name,
		      const struct port_range **out, size_t *n)
{
	const struct json_path path = { up, name, 0 };
	const json_t *json = json_object_get(rule, name);
	struct port_range *ranges;
	int err = 0;

	if (json == NULL)
		return 0;
	err = json_want_array(&d->json, &path, json, ALTERNATIVES_MAX);
	if (err < 0)
		return err;
	ranges = arena_array(d->json.arena, json_array_size(json), sizeof(*ranges));
	if (ranges == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(json) && err == 0; i++) {
		const struct json_path at = { &path, NULL, i };
		const json_t *pair = json_array_get(json, i);
		int64_t first, last;

		if (!json_is_array(pair) || json_array_size(pair) != 2)
			return json_wrong(&d->json, &at, "must be [first, last]");
		err = json_int(&d->json, &at, json_array_get(pair, 0), 0, 65535, &first);
		if (err == 0)
			err = json_int(&d->json, &at, json_array_get(pair, 1), first, 65535, &last);
		if (err == 0)
			ranges[i] = (struct port_range){ (uint16_t)first, (uint16_t)last };
	}
	*out = ranges;
	*n = json_array_size(json);
	return err;
}

static int read_prefixes(struct document_reader *d, const struct json_path *up, const json_t *rule, const char *name,
			 const struct ip_prefix **out, size_t *n)
{
	return document_read_prefixes(d, &(struct json_path){ up, name, 0 }, json_object_get(rule, name), out, n);
}

static int read_zones(struct document_reader *d, const struct json_path *up, const json_t *rule, const char *name,
		      const struct zone *const **out, size_t *n)
{
	return document_read_zone_list(d, &(struct json_path){ up, name, 0 }, json_object_get(rule, name), out, n);
}

/* All dimensions, so that all problems are told. */
static int read_dimensions(struct document_reader *d, const struct json_path *p, const json_t *json, struct rule *r)
{
	int err = read_ifaces(d, p, json, "iface", &r->ifaces, &r->n_ifaces);

	err = worse(err, read_words(d, p, json, "ifgroup", INT32_MAX, &r->ifgroups, &r->n_ifgroups));
	err = worse(err, read_words(d, p, json, "reqid", UINT32_MAX, &r->reqids, &r->n_reqids));
	err = worse(err, read_octets(d, p, json, "proto", &r->protocols, &r->n_protocols));
	err = worse(err, read_octets(d, p, json, "proto_type", &r->icmp_types, &r->n_icmp_types));
	err = worse(err, read_octets(d, p, json, "proto_subtype", &r->icmp_codes, &r->n_icmp_codes));
	err = worse(err, read_ports(d, p, json, "src_port", &r->src_ports, &r->n_src_ports));
	err = worse(err, read_ports(d, p, json, "dst_port", &r->dst_ports, &r->n_dst_ports));
	err = worse(err, read_prefixes(d, p, json, "src_subnet", &r->src_subnets, &r->n_src_subnets));
	err = worse(err, read_prefixes(d, p, json, "dst_subnet", &r->dst_subnets, &r->n_dst_subnets));
	err = worse(err, read_zones(d, p, json, "src_zone", &r->src_zones, &r->n_src_zones));
	err = worse(err, read_zones(d, p, json, "dst_zone", &r->dst_zones, &r->n_dst_zones));
	err = worse(err, read_ifaces(d, p, json, "dst_iface", &r->dst_ifaces, &r->n_dst_ifaces));
	return worse(err, read_words(d, p, json, "dst_ifgroup", INT32_MAX, &r->dst_ifgroups, &r->n_dst_ifgroups));
}

static int read_rule(struct document_reader *d, const struct json_path *path, const json_t *json, struct rule *rule)
{
	static const char *const members[] = {
		"id", "instance", "service", "at", "iface", "ifgroup", "reqid", "proto", "proto_type", "proto_subtype",
		"src_port", "dst_port", "src_subnet", "dst_subnet", "src_zone", "dst_zone", "dst_iface", "dst_ifgroup",
		NULL,
	};
	int64_t id, instance, service;
	int err = json_want_object(&d->json, path, json, members);

	if (err == 0)
		err = json_member_place(&d->json, path, json, &rule->place);
	if (err < 0)
		return err;
	d->json.place = rule->place;
	err = json_member_int(&d->json, path, json, "id", 1, UINT32_MAX, &id);
	if (err == 0)
		err = json_member_int(&d->json, path, json, "instance", 0, (int64_t)d->policy->n_instances - 1, &instance);
	if (err == 0)
		err = json_member_int(&d->json, path, json, "service", 0, (int64_t)d->policy->n_services - 1, &service);
	if (err < 0)
		return err;
	rule->id = (uint32_t)id;
	rule->instance = (uint16_t)instance;
	rule->service = &d->policy->services[service];
	return read_dimensions(d, path, json, rule);
}

static int add_id(struct document_reader *d, struct hash *ids, const struct rule *rule)
{
	const uint32_t key[2] = { rule->instance, rule->id };

	if (rule->id == 0)
		return 0;
	if (hash_get(ids, slice_of(key, sizeof(key))) != NULL)
		return json_wrong(&d->json, NULL, "instance '%s' has two rules with id %u",
				  d->policy->instances[rule->instance], rule->id);
	return hash_put(ids, slice_of(key, sizeof(key)), (void *)rule) < 0 ? -ENOMEM : 0;
}

/* All rules, of which there is room for. */
static int read_rules(struct document_reader *d, struct json_cut *cut, struct rule *rules, struct hash *ids)
{
	const struct json_path path = { NULL, "rules", 0 };
	int result = 0;

	for (size_t i = 0; cut->n > 0; i++) {
		const struct json_path at = { &path, NULL, i };
		json_t *json;
		int err;

		d->json.place = (struct policy_place){ NULL, 0 };
		err = json_next(&d->json, &at, cut, &json);
		if (err < 0)
			return err;
		result = worse(result, read_rule(d, &at, json, &rules[i]));
		json_decref(json);
		result = worse(result, add_id(d, ids, &rules[i]));
	}
	return result;
}

int document_read_rules(struct document_reader *d, const json_t *root)
{
	struct json_cut *cut = &d->cuts[CUT_RULES];
	size_t n = cut->n;
	struct arena *scratch;
	struct hash *ids;
	struct rule *rules;
	int result = json_want_cut(&d->json, root, cut, RULES_MAX);

	if (result < 0)
		return result;
	rules = arena_array(d->json.arena, n, sizeof(*rules));
	scratch = arena_create(SIZE_MAX, 0);
	ids = scratch == NULL ? NULL : hash_create(scratch, RULES_MAX);
	if (rules != NULL && ids != NULL) {
		d->policy->rules = rules;
		d->policy->n_rules = n;
		result = read_rules(d, cut, rules, ids);
	} else {
		result = -ENOMEM;
	}
	arena_free(&scratch);
	return result;
}
