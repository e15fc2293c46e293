/* SPDX-License-Identifier: Apache-2.0 */
/* Every form of forge_addr and forge_port, and every way to a target. */
#include "session/connect.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static struct endpoint at(const char *text)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse(slice_cstr(text), &e), 0);
	return e;
}

struct source_row {
	bool forge_addr, can_forge;
	int32_t forge_port;
	const char *local;		/* NULL: wildcard address */
	uint16_t port;
	enum bind_style bind;
	int err;
};

static const struct source_row source_rows[] = {
	{ true, true, FORGE_PORT_ANY, "172.16.40.7", 0, BIND_ADDRESS, 0 },
	{ true, true, FORGE_PORT_GROUP, "172.16.40.7", 40000, BIND_LOOSE, 0 },
	{ true, true, FORGE_PORT_EXACT, "172.16.40.7", 40000, BIND_EXACT, 0 },
	{ true, true, FORGE_PORT_RANDOM, "172.16.40.7", 40000, BIND_RANDOM, 0 },
	{ true, true, 25, "172.16.40.7", 25, BIND_EXACT, 0 },
	{ true, true, 65535, "172.16.40.7", 65535, BIND_EXACT, 0 },
	{ false, true, FORGE_PORT_ANY, NULL, 0, BIND_NONE, 0 },
	{ false, true, FORGE_PORT_GROUP, NULL, 40000, BIND_LOOSE, 0 },
	{ false, true, FORGE_PORT_EXACT, NULL, 40000, BIND_EXACT, 0 },
	{ false, true, FORGE_PORT_RANDOM, NULL, 40000, BIND_RANDOM, 0 },
	{ false, true, 1, NULL, 1, BIND_EXACT, 0 },
	/* without the right to forge: as forge_addr FALSE */
	{ true, false, FORGE_PORT_ANY, NULL, 0, BIND_NONE, 0 },
	{ true, false, FORGE_PORT_EXACT, NULL, 40000, BIND_EXACT, 0 },
	/* out of range */
	{ true, true, 0, NULL, 0, BIND_NONE, -EINVAL },
	{ true, true, 65536, NULL, 0, BIND_NONE, -EINVAL },
	{ false, true, -5, NULL, 0, BIND_NONE, -EINVAL },
};

static void source_forms(void **state)
{
	const struct endpoint client = at("172.16.40.7:40000"), original = at("172.16.40.1:25");
	const struct endpoint target = at("172.16.20.254:25");
	const struct target_wish none = { .at = { .ip = { .family = AF_UNSPEC } } };

	for (size_t i = 0; i < ARRAY_LEN(source_rows); i++) {
		const struct source_row *row = &source_rows[i];
		const struct service service = { .router = { .kind = ROUTER_DIRECTED, .forge_addr = row->forge_addr,
				.forge_port = row->forge_port, .targets = &target, .n_targets = 1 } };
		struct connect_request r;
		bool forged = row->forge_addr && row->can_forge;

		assert_int_equal(connect_plan(&service, &client, &original, &none, row->can_forge, 77, &r), row->err);
		if (row->err != 0)
			continue;
		assert_true(endpoint_equal(&r.remote, &target));
		assert_int_equal(r.bind, row->bind);
		assert_int_equal(r.local.port, row->port);
		assert_int_equal(r.local.ip.family, row->local != NULL ? AF_INET : AF_UNSPEC);
		if (row->local != NULL)
			assert_true(ip_equal(&r.local.ip, &client.ip));
		assert_int_equal(r.transparent, forged);
		assert_int_equal(r.mark, forged ? 77 : 0);
	}
}

struct target_row {
	enum router_kind kind;
	bool overrideable;
	uint16_t forced_port;
	const char *directed, *from_proxy;	/* NULL: none */
	const char *expected;
	bool binding;
};

static const struct target_row target_rows[] = {
	{ ROUTER_TRANSPARENT, false, 0, NULL, NULL, "172.16.40.1:2525", false },
	{ ROUTER_TRANSPARENT, false, 25, NULL, NULL, "172.16.40.1:25", false },
	{ ROUTER_DIRECTED, false, 0, "172.16.20.254:25", NULL, "172.16.20.254:25", false },
	{ ROUTER_DIRECTED, false, 0, "172.16.20.254", NULL, "172.16.20.254:2525", false },	/* port 0: the client's */
	{ ROUTER_DIRECTED, false, 0, "[2001:db8::1]:25", NULL, "[2001:db8::1]:25", false },
	/* what the proxy names counts only where the router lets it */
	{ ROUTER_TRANSPARENT, false, 0, NULL, "10.0.0.1:80", "172.16.40.1:2525", false },
	{ ROUTER_TRANSPARENT, true, 25, NULL, "10.0.0.1:80", "10.0.0.1:80", false },
	{ ROUTER_DIRECTED, true, 0, "172.16.20.254:25", "10.0.0.1", "10.0.0.1:2525", false },
	{ ROUTER_DIRECTED, true, 0, "172.16.20.254:25", NULL, "172.16.20.254:25", false },
	/* what policy code says counts always */
	{ ROUTER_TRANSPARENT, false, 25, NULL, "10.0.0.1:80", "10.0.0.1:80", true },
	{ ROUTER_DIRECTED, false, 0, "172.16.20.254:25", "10.0.0.1", "10.0.0.1:2525", true },
	{ ROUTER_BY_NAME, false, 0, "172.16.20.254:25", "10.0.0.1:80", "10.0.0.1:80", true },
	{ ROUTER_DIRECTED, false, 0, "172.16.20.254:25", NULL, "172.16.20.254:25", true },
};

static void targets(void **state)
{
	const struct endpoint client = at("172.16.40.7:40000"), original = at("172.16.40.1:2525");

	for (size_t i = 0; i < ARRAY_LEN(target_rows); i++) {
		const struct target_row *row = &target_rows[i];
		struct endpoint directed = row->directed != NULL ? at(row->directed) : original;
		struct target_wish named = { .at = { .ip = { .family = AF_UNSPEC } }, .binding = row->binding };
		const struct service service = { .keepalive_server = true, .router = { .kind = row->kind,
				.overrideable = row->overrideable, .forced_port = row->forced_port,
				.forge_port = FORGE_PORT_ANY, .targets = &directed, .n_targets = 1 } };
		struct endpoint expected = at(row->expected);
		struct connect_request r;

		if (row->from_proxy != NULL)
			named.at = at(row->from_proxy);
		assert_int_equal(connect_plan(&service, &client, &original, &named, false, 0, &r), 0);
		assert_true(endpoint_equal(&r.remote, &expected));
		assert_true(r.keepalive);
	}
}

static void families_do_not_mix(void **state)
{
	const struct endpoint client = at("[2001:db8::7]:40000"), original = at("[2001:db8::1]:25");
	const struct endpoint target = at("172.16.20.254:25");
	const struct target_wish none = { .at = { .ip = { .family = AF_UNSPEC } } };
	struct service service = { .router = { .kind = ROUTER_DIRECTED, .forge_addr = true,
			.forge_port = FORGE_PORT_ANY, .targets = &target, .n_targets = 1 } };
	struct connect_request r;

	assert_int_equal(connect_plan(&service, &client, &original, &none, true, 0, &r), -EAFNOSUPPORT);
	assert_true(endpoint_equal(&r.remote, &target));
	service.router.forge_addr = false;
	assert_int_equal(connect_plan(&service, &client, &original, &none, true, 0, &r), 0);
	service.router.n_targets = 0;
	assert_int_equal(connect_plan(&service, &client, &original, &none, true, 0, &r), -EDESTADDRREQ);
}

/* A pool may hand on a server connection only where all of this is the same. */
static void identities(void **state)
{
	const struct endpoint client = at("172.16.40.7:40000"), other = at("172.16.40.8:40000");
	const struct endpoint original = at("172.16.40.1:25");
	const struct target_wish none = { .at = { .ip = { .family = AF_UNSPEC } } };
	static const struct router routers[] = {
		{ .forge_port = FORGE_PORT_ANY }, { .forge_port = FORGE_PORT_EXACT },
		{ .forge_port = FORGE_PORT_ANY, .forge_addr = true }, { .forge_port = FORGE_PORT_EXACT, .forge_addr = true },
		{ .forge_port = FORGE_PORT_ANY, .proxy_protocol = 1 }, { .forge_port = FORGE_PORT_ANY, .proxy_protocol = 2 },
	};
	struct leg_identity mine[ARRAY_LEN(routers)], theirs;
	struct connect_request r;

	for (size_t i = 0; i < ARRAY_LEN(routers); i++) {
		const struct service service = { .router = routers[i] };

		assert_int_equal(connect_plan(&service, &client, &original, &none, true, 0, &r), 0);
		mine[i] = leg_identity_of(&service, &r, &client, &original);
		assert_true(leg_identity_equal(&mine[i], &mine[i]));
		for (size_t k = 0; k < i; k++)
			assert_false(leg_identity_equal(&mine[i], &mine[k]));
		assert_int_equal(connect_plan(&service, &other, &original, &none, true, 0, &r), 0);
		theirs = leg_identity_of(&service, &r, &other, &original);
		/* Only a leg that says nothing of the client is anybody's. */
		assert_int_equal(leg_identity_equal(&mine[i], &theirs),
				 !routers[i].forge_addr && routers[i].proxy_protocol == 0);
		assert_int_equal(mine[i].header_src.ip.family, routers[i].proxy_protocol != 0 ? AF_INET : AF_UNSPEC);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(source_forms),
		cmocka_unit_test(targets),
		cmocka_unit_test(families_do_not_mix),
		cmocka_unit_test(identities),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
