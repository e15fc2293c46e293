/* SPDX-License-Identifier: Apache-2.0 */
/* The way to the server: as the router says, if the policy lets this service reach that zone. */
#include "session/connect.h"
#include "base/log.h"
#include "io/loop.h"
#include "policy/matcher.h"
#include "session/proxy_header.h"
#include "session/session_priv.h"

#include <errno.h>

/* limit_target_zones_to: the target's zone or one of its administrative ancestors is named. */
static bool zone_permitted(const struct service *service, const struct zone *zone)
{
	return service->n_target_zones == 0 || zone_is_within_any(zone, service->target_zones, service->n_target_zones);
}

static int connection_failed(struct session *s, int err)
{
	if (err == -ECANCELED)
		return err;
	session_set_verdict(s, VERDICT_DENIED_BY_CONNECTION_FAIL);
	account_connect_failed(s, err);
	session_changed(s);
	return err;
}

/* The very first octets: they go out with what the proxy says first, or when it waits. */
static co_waits int write_header(struct session *s)
{
	uint8_t header[PROXY_HEADER_WRITE_MAX];
	size_t n;

	if (s->leg.proxy_protocol == 0)
		return 0;
	n = proxy_header_write(s->leg.proxy_protocol, &s->leg.header_src, &s->leg.header_dst, header);
	return stream_write(s->proxy.server, slice_of(header, n), deadline_in(s->service->chainer.timeout_connect_ms));
}

struct name_test {
	const struct matcher *matcher;
	struct slice name;
	enum matcher_answer answer;
};

static void test_name(void *arg)
{
	struct name_test *t = arg;

	t->answer = matcher_test(t->matcher, t->name, NULL);
}

/* The first that fits; NULL: none. Negative: nobody knows. */
static co_waits int find_name(const struct router *router, struct slice name, const struct router_name **out)
{
	struct name_test t = { .name = name };

	*out = NULL;
	for (size_t i = 0; i < router->n_names && name.len > 0; i++) {
		t.matcher = router->names[i].matcher;
		co_leaf(test_name, &t);
		if (t.answer == MATCHER_UNSURE)
			return -EACCES;
		if (t.answer == MATCHER_YES) {
			*out = &router->names[i];
			return 0;
		}
	}
	return 0;
}

co_waits int session_route_by_name(struct session *s, struct slice name)
{
	const struct router *router = &s->service->router;
	const struct router_name *found;
	int err;

	if (router->kind != ROUTER_BY_NAME || s->target.binding)
		return 0;
	err = find_name(router, name, &found);
	if (err == 0 && found == NULL && router->n_targets == 0)
		err = -EACCES;
	if (err < 0) {
		log_event(LOG_CORE_POLICY, 1, s->proxy.id, "The policy has no server for the name that the client asks for",
			  F_OCTETS("server_name", name));
		return err;
	}
	s->target.at = found != NULL ? found->target : (struct endpoint){ .ip = { .family = AF_UNSPEC } };
	return 0;
}

bool proxy_server_is_stale(const struct proxy *proxy)
{
	const struct session *s = proxy->session;
	struct connect_request plan;

	return proxy->server != NULL && s->service->router.kind == ROUTER_BY_NAME && !s->target.binding &&
	       (connect_plan(s->service, &s->client, &s->client_local, &s->target, s->env->can_forge, s->env->forged_mark,
			     &plan) != 0 || !endpoint_equal(&plan.remote, &s->server));
}

int session_plan_server(struct session *s, struct connect_request *out)
{
	int err = connect_plan(s->service, &s->client, &s->client_local, &s->target, s->env->can_forge,
			       s->env->forged_mark, out);

	if (err != 0 && err != -EAFNOSUPPORT)
		return err;
	s->server = out->remote;
	s->server_zone = policy_zone_of(s->env->policy, s->env->names, &s->server.ip);
	if (err != 0)
		return err;
	if (!zone_permitted(s->service, s->server_zone))
		return -EACCES;
	s->server_local = out->local;
	s->leg = leg_identity_of(s->service, out, &s->client, &s->wanted);
	return 0;
}

/* There is no way to the server. */
static int plan_failed(struct session *s, int err)
{
	if (err == -EAFNOSUPPORT)
		return connection_failed(s, err);
	session_set_verdict(s, err == -EACCES ? VERDICT_DENIED_BY_POLICY : VERDICT_DENIED_BY_UNKNOWN_FAIL);
	if (err == -EACCES)
		account_target_refused(s);
	else
		account_connect_failed(s, err);
	return err;
}

void session_server_opened(struct session *s, const struct connect_request *how)
{
	s->connect_tried = true;
	s->server_how = *how;
	s->server_start_ms = loop_now(s->env->loop);
	if (stream_local(s->proxy.server, &s->server_local) != 0)
		s->server_local = how->local;
	account_connected(s, stream_fd(s->proxy.server));
	session_changed(s);
}

co_waits int proxy_connect_server(struct proxy *proxy)
{
	struct session *s = proxy->session;
	struct connect_request request;
	const char *before = proxy->doing;
	int err;

	if (proxy->server != NULL && s->secure.early) {
		s->secure.early = false;
		return 0;
	}
	if (proxy->server != NULL)
		return -EISCONN;
	s->connect_tried = true;
	secure_new_leg(s);
	err = session_plan_server(s, &request);
	if (err != 0)
		return plan_failed(s, err);
	err = secure_look_up(s);
	proxy->doing = "connecting to the server";
	if (err == 0)
		err = s->env->connector->connect(s->env->connector, &request,
						 deadline_in(s->service->chainer.timeout_connect_ms), &proxy->server);
	proxy->doing = before;
	if (err == 0)
		err = write_header(s);
	if (err == 0)
		err = secure_server(s);
	if (err != 0) {
		stream_reset(&proxy->server);
		return connection_failed(s, err);
	}
	s->server_opened_ms = loop_now(s->env->loop);
	s->server_sessions = s->server_messages = 0;
	proxy->counters[COUNT_SERVERS_OPENED]++;
	session_server_opened(s, &request);
	return 0;
}
