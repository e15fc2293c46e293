/* SPDX-License-Identifier: Apache-2.0 */
/* Services of a policy document, with their routers and chainers. */
#include "policy/block_priv.h"
#include "policy/document_priv.h"

#include "base/hash.h"

#define SERVICES_MAX 65536
#define TARGETS_MAX 256
#define NAMES_MAX 1024
#define CONNECT_TIMEOUT_DEFAULT_MS 30000

static int read_forging(struct document_reader *d, const struct json_path *path, const json_t *json,
			struct router *router)
{
	int64_t port, version;
	int err = json_member_bool_or(&d->json, path, json, "forge_addr", false, &router->forge_addr);

	if (err == 0)
		err = json_member_bool_or(&d->json, path, json, "overrideable", false, &router->overrideable);
	if (err == 0)
		err = json_member_int_or(&d->json, path, json, "forge_port", FORGE_PORT_RANDOM, 65535, FORGE_PORT_ANY,
					 &port);
	if (err == 0 && port == 0)
		err = json_wrong(&d->json, path, "forge_port 0 means nothing");
	if (err == 0)
		err = json_member_int_or(&d->json, path, json, "proxy_protocol", 0, 2, 0, &version);
	if (err == 0 && version != 0 && router->forge_addr)
		err = json_wrong(&d->json, path, "forge_addr and proxy_protocol both tell the server who the client is");
	if (err < 0)
		return err;
	router->forge_port = (int32_t)port;
	router->proxy_protocol = (uint8_t)version;
	return 0;
}

static int read_target(struct document_reader *d, const struct json_path *path, const json_t *json,
		       struct endpoint *out)
{
	const char *text;
	int64_t port;
	int err;

	if (!json_is_array(json) || json_array_size(json) != 2)
		return json_wrong(&d->json, path, "must be [address, port]");
	err = json_text(&d->json, path, json_array_get(json, 0), 64, &text);
	if (err == 0)
		err = json_int(&d->json, path, json_array_get(json, 1), 0, 65535, &port);
	if (err == 0 && ip_parse(slice_cstr(text), &out->ip) < 0)
		err = json_wrong(&d->json, path, "'%s' is not an IP address", text);
	if (err == 0)
		out->port = (uint16_t)port;
	return err;
}

static int read_targets(struct document_reader *d, const struct json_path *path, const json_t *json,
			struct router *router)
{
	size_t n = json_array_size(json);
	struct endpoint *targets;
	int err = json_want_array(&d->json, path, json, TARGETS_MAX);

	if (err == 0 && n == 0)
		err = json_wrong(&d->json, path, "must name at least one address");
	if (err < 0)
		return err;
	targets = arena_array(d->json.arena, n, sizeof(*targets));
	if (targets == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n && err == 0; i++)
		err = read_target(d, &(struct json_path){ path, NULL, i }, json_array_get(json, i), &targets[i]);
	router->targets = targets;
	router->n_targets = n;
	return err;
}

/* [MATCHER, [address, port]] */
static int read_name(struct document_reader *d, const struct json_path *path, const json_t *json, struct router_name *out)
{
	struct block_reader b = { .json = d->json, .policy = d->policy };
	struct matcher_call call = MATCHER_CALL_NONE;
	int err;

	if (!json_is_array(json) || json_array_size(json) != 2)
		return json_wrong(&d->json, path, "must be [matcher, [address, port]]");
	err = matcher_call_read(&b, &(struct json_path){ path, NULL, 0 }, json_array_get(json, 0), &call);
	if (err == 0 && call.matcher == NULL)
		err = json_wrong(&d->json, path, "its matcher must not be policy code");
	out->matcher = call.matcher;
	return err < 0 ? err : read_target(d, &(struct json_path){ path, NULL, 1 }, json_array_get(json, 1), &out->target);
}

static int read_names(struct document_reader *d, const struct json_path *path, const json_t *json, struct router *router)
{
	struct router_name *names;
	int err = json_want_array(&d->json, path, json, NAMES_MAX);

	if (err == 0 && json_array_size(json) == 0)
		err = json_wrong(&d->json, path, "must have at least one name");
	if (err < 0)
		return err;
	names = arena_array(d->json.arena, json_array_size(json), sizeof(*names));
	if (names == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < json_array_size(json) && err == 0; i++)
		err = read_name(d, &(struct json_path){ path, NULL, i }, json_array_get(json, i), &names[i]);
	router->names = names;
	router->n_names = json_array_size(json);
	return err;
}

/* The targets are one, or none: for clients whose name does not fit. */
static int read_by_name(struct document_reader *d, const struct json_path *path, const json_t *json, struct router *router)
{
	static const char *const members[] = { "type", "names", "targets", "forge_addr", "forge_port", "overrideable",
					       "proxy_protocol", NULL };
	const json_t *targets = json_object_get(json, "targets");
	int err = json_want_object(&d->json, path, json, members);

	if (err == 0)
		err = read_names(d, &(struct json_path){ path, "names", 0 }, json_object_get(json, "names"), router);
	if (err == 0 && targets != NULL && (!json_is_array(targets) || json_array_size(targets) > 0))
		err = read_targets(d, &(struct json_path){ path, "targets", 0 }, targets, router);
	if (err == 0 && router->n_targets > 1)
		err = json_wrong(&d->json, path, "there can be only one target for all other names");
	return err;
}

static int read_router(struct document_reader *d, const struct json_path *up, const json_t *json,
		       struct router *router)
{
	static const char *const transparent[] = { "type", "forced_port", "forge_addr", "forge_port", "overrideable",
						   "proxy_protocol", NULL };
	static const char *const directed[] = { "type", "targets", "forge_addr", "forge_port", "overrideable",
						"proxy_protocol", NULL };
	const struct json_path path = { up, "router", 0 };
	const char *type;
	int64_t port;
	int err = json_member_text(&d->json, &path, json, "type", 32, &type);

	if (err < 0)
		return err;
	if (strcmp(type, "transparent") == 0) {
		router->kind = ROUTER_TRANSPARENT;
		err = json_want_object(&d->json, &path, json, transparent);
		if (err == 0)
			err = json_member_int_or(&d->json, &path, json, "forced_port", 0, 65535, 0, &port);
		if (err == 0)
			router->forced_port = (uint16_t)port;
	} else if (strcmp(type, "directed") == 0) {
		router->kind = ROUTER_DIRECTED;
		err = json_want_object(&d->json, &path, json, directed);
		if (err == 0)
			err = read_targets(d, &(struct json_path){ &path, "targets", 0 },
					   json_object_get(json, "targets"), router);
	} else if (strcmp(type, "by_name") == 0) {
		router->kind = ROUTER_BY_NAME;
		err = read_by_name(d, &path, json, router);
	} else {
		err = json_wrong(&d->json, &path, "routers of type '%s' are not there yet", type);
	}
	if (err == 0)
		err = read_forging(d, &path, json, router);
	if (err == 0 && router->kind == ROUTER_BY_NAME && router->overrideable)
		err = json_wrong(&d->json, &path, "a server is named by the client's TLS or by the protocol, not by both");
	return err;
}

static int read_chainer(struct document_reader *d, const struct json_path *up, const json_t *json,
			struct chainer *chainer)
{
	static const char *const members[] = { "type", "protocol", "timeout_connect", NULL };
	const struct json_path path = { up, "chainer", 0 };
	int64_t protocol, timeout;
	const char *type;
	int err;

	if (json == NULL) {
		*chainer = (struct chainer){ .timeout_connect_ms = CONNECT_TIMEOUT_DEFAULT_MS };
		return 0;
	}
	err = json_want_object(&d->json, &path, json, members);
	if (err == 0)
		err = json_member_text(&d->json, &path, json, "type", 32, &type);
	if (err == 0 && strcmp(type, "connect") != 0)
		err = json_wrong(&d->json, &path, "chainers of type '%s' are not there yet", type);
	if (err == 0)
		err = json_member_int_or(&d->json, &path, json, "protocol", 0, 2, 0, &protocol);
	if (err == 0 && protocol == 2)
		err = json_wrong(&d->json, &path, "connections to the server over UDP are not there yet");
	if (err == 0)
		err = json_member_int_or(&d->json, &path, json, "timeout_connect", 1, INT32_MAX,
					 CONNECT_TIMEOUT_DEFAULT_MS, &timeout);
	if (err < 0)
		return err;
	chainer->protocol = protocol == 1 ? 6 : 0;
	chainer->timeout_connect_ms = (uint32_t)timeout;
	return 0;
}

static int read_proxy_service(struct document_reader *d, const struct json_path *path, const json_t *json,
			      struct service *service)
{
	static const char *const members[] = { "name", "kind", "at", "config", "router", "chainer", "max_instances",
					       "keepalive", "limit_target_zones_to", "accept_proxy_protocol", "encryption",
					       NULL };
	int32_t encryption = -1;
	int64_t config, max_instances, keepalive;
	int err = json_want_object(&d->json, path, json, members);

	if (err == 0)
		err = json_member_int(&d->json, path, json, "config", 0, (int64_t)d->policy->n_configs - 1, &config);
	if (err == 0)
		err = read_router(d, path, json_object_get(json, "router"), &service->router);
	if (err == 0)
		err = read_chainer(d, path, json_object_get(json, "chainer"), &service->chainer);
	if (err == 0)
		err = json_member_int_or(&d->json, path, json, "max_instances", 0, UINT32_MAX, 0, &max_instances);
	if (err == 0)
		err = json_member_int_or(&d->json, path, json, "keepalive", 0, 3, 0, &keepalive);
	if (err == 0)
		err = document_read_zone_list(d, &(struct json_path){ path, "limit_target_zones_to", 0 },
					      json_object_get(json, "limit_target_zones_to"), &service->target_zones,
					      &service->n_target_zones);
	if (err == 0)
		err = document_read_zone_list(d, &(struct json_path){ path, "accept_proxy_protocol", 0 },
					      json_object_get(json, "accept_proxy_protocol"), &service->header_zones,
					      &service->n_header_zones);
	if (err == 0)
		err = document_member_index_or_none(d, path, json, "encryption", d->policy->n_encryptions, &encryption);
	if (err < 0)
		return err;
	service->proxy = d->policy->configs[config];
	service->encryption = encryption < 0 ? NULL : &d->policy->encryptions[encryption];
	if (service->encryption != NULL && encryption_calls_host(service->encryption)) {
		if (service->proxy->class_number < 0)
			return json_wrong(&d->json, path, "its encryption calls policy code, but its class has no number");
		d->policy->needs_host = true;
	}
	service->max_instances = (uint32_t)max_instances;
	service->keepalive_client = (keepalive & 1) != 0;
	service->keepalive_server = (keepalive & 2) != 0;
	return 0;
}

static int read_deny_service(struct document_reader *d, const struct json_path *path, const json_t *json,
			     struct service *service)
{
	static const char *const members[] = { "name", "kind", "at", "logging", "ipv4_setting", "ipv6_setting", NULL };
	int64_t ipv4, ipv6;
	int err = json_want_object(&d->json, path, json, members);

	if (err == 0)
		err = json_member_bool_or(&d->json, path, json, "logging", true, &service->deny_logging);
	if (err == 0)
		err = json_member_int_or(&d->json, path, json, "ipv4_setting", 0, 8, 0, &ipv4);
	if (err == 0)
		err = json_member_int_or(&d->json, path, json, "ipv6_setting", 0, 5, 0, &ipv6);
	if (err < 0)
		return err;
	service->deny_ipv4 = (uint8_t)ipv4;
	service->deny_ipv6 = (uint8_t)ipv6;
	return 0;
}

static int read_pf_service(struct document_reader *d, const struct json_path *path, const json_t *json,
			   struct service *service)
{
	static const char *const members[] = { "name", "kind", "at", "router", NULL };
	int err = json_want_object(&d->json, path, json, members);

	if (err == 0)
		err = read_router(d, path, json_object_get(json, "router"), &service->router);
	if (err == 0 && service->router.n_targets > 1)
		err = json_wrong(&d->json, path, "a PFService can have only one target address");
	if (err == 0 && service->router.kind == ROUTER_BY_NAME)
		err = json_wrong(&d->json, path, "the kernel, which forwards for a PFService, reads no names");
	if (err == 0 && service->router.proxy_protocol != 0)
		err = json_wrong(&d->json, path, "a PFService has no connection of its own for a PROXY header");
	return err;
}

static int read_service(struct document_reader *d, const struct json_path *path, const json_t *json,
			struct service *service)
{
	const char *kind;
	int err = json_member_place(&d->json, path, json, &service->place);

	if (err < 0)
		return err;
	d->json.place = service->place;
	err = json_member_text(&d->json, path, json, "name", NAME_OCTETS_MAX, &service->name);
	if (err == 0)
		err = json_member_text(&d->json, path, json, "kind", 16, &kind);
	if (err < 0)
		return err;
	if (strcmp(kind, "proxy") == 0) {
		service->kind = SERVICE_PROXY;
		return read_proxy_service(d, path, json, service);
	}
	if (strcmp(kind, "deny") == 0) {
		service->kind = SERVICE_DENY;
		return read_deny_service(d, path, json, service);
	}
	if (strcmp(kind, "pf") == 0) {
		service->kind = SERVICE_PF;
		return read_pf_service(d, path, json, service);
	}
	return json_wrong(&d->json, path, "there is no service kind '%s'", kind);
}

static int add_name(struct document_reader *d, struct hash *names, struct service *service)
{
	if (service->name == NULL)
		return 0;
	if (hash_get(names, slice_cstr(service->name)) != NULL)
		return json_wrong(&d->json, NULL, "there are two services named '%s'", service->name);
	return hash_put(names, slice_cstr(service->name), service) < 0 ? -ENOMEM : 0;
}

int document_read_services(struct document_reader *d, const json_t *json)
{
	const struct json_path path = { NULL, "services", 0 };
	struct service *services;
	struct hash *names;
	int result = json_want_array(&d->json, &path, json, SERVICES_MAX);

	if (result < 0)
		return result;
	services = arena_array(d->json.arena, json_array_size(json), sizeof(*services));
	names = hash_create(d->json.arena, SERVICES_MAX);
	if (services == NULL || names == NULL)
		return -ENOMEM;
	d->policy->services = services;
	d->policy->n_services = json_array_size(json);
	for (size_t i = 0; i < d->policy->n_services; i++) {
		d->json.place = (struct policy_place){ NULL, 0 };
		services[i].index = (uint32_t)i;
		result = worse(result, read_service(d, &(struct json_path){ &path, NULL, i }, json_array_get(json, i),
						    &services[i]));
		result = worse(result, add_name(d, names, &services[i]));
	}
	d->policy->service_names = names;
	return result;
}

const struct service *policy_service_named(const struct policy *policy, struct slice name)
{
	return hash_get(policy->service_names, name);
}
