/* SPDX-License-Identifier: Apache-2.0 */
/* What a proxy asks the engine for: small answers about its session, calls to policy code, and
 * how it ended. */
#include "io/loop.h"
#include "session/session_priv.h"

#include <errno.h>

void proxy_drop_server(struct proxy *proxy)
{
	session_close_server(proxy->session, true);
}

void proxy_close_server(struct proxy *proxy)
{
	session_close_server(proxy->session, false);
}

void proxy_set_client(struct proxy *proxy, const struct endpoint *client, const struct endpoint *wanted)
{
	struct session *s = proxy->session;

	s->client = *client;
	s->client_from = CLIENT_FROM_XCLIENT;
	s->decision.src_zone = policy_zone_of(s->env->policy, s->env->names, &client->ip);
	if (wanted->ip.family != AF_UNSPEC)
		s->wanted = *wanted;
	account_client_named(s);
	session_changed(s);
}

const struct endpoint *proxy_client_wanted(const struct proxy *proxy)
{
	return &proxy->session->wanted;
}

/* The verdict of a session that ran and was ended by somebody. */
static void verdict_of_fault(struct session *s, enum fault fault)
{
	if (fault == FAULT_POLICY)
		session_set_verdict(s, VERDICT_ABORTED_BY_POLICY_ACTION);
	else if (fault == FAULT_CALLBACK)
		session_set_verdict(s, VERDICT_INVALID_POLICY_CALL);
	else if (fault == FAULT_RESOURCE || fault == FAULT_OWN)
		session_set_verdict(s, VERDICT_DENIED_BY_UNKNOWN_FAIL);
}

void proxy_end(struct proxy *proxy, enum fault fault, const char *reason, int err)
{
	struct session *s = proxy->session;

	if (proxy->fault != FAULT_NONE || proxy->reason != NULL)
		return;
	proxy->fault = fault;
	proxy->reason = reason;
	verdict_of_fault(s, fault);
	account_ending(s, err);
}

bool proxy_should_stop(const struct proxy *proxy)
{
	return proxy->session->stop;
}

const struct endpoint *proxy_client_address(const struct proxy *proxy)
{
	return &proxy->session->client;
}

const struct zone *proxy_client_zone(const struct proxy *proxy)
{
	return proxy->session->decision.src_zone;
}

const struct endpoint *proxy_client_local(const struct proxy *proxy)
{
	return &proxy->session->client_local;
}

const struct endpoint *proxy_server_address(const struct proxy *proxy)
{
	return &proxy->session->server;
}

const struct endpoint *proxy_server_local(const struct proxy *proxy)
{
	return &proxy->session->server_local;
}

const struct policy *proxy_policy(const struct proxy *proxy)
{
	return proxy->session->env->policy;
}

int64_t proxy_wall_ms(const struct proxy *proxy)
{
	return loop_wall_ms(proxy->session->env->loop);
}

bool proxy_set_target(struct proxy *proxy, const struct endpoint *target)
{
	struct session *s = proxy->session;
	bool may = s->service->router.overrideable && !s->target.binding;

	if (may)
		s->target.at = *target;
	return may;
}

co_waits int proxy_call(struct proxy *proxy, const struct policy_call *call, const struct call_value *args,
			size_t n_args, struct call_value *result)
{
	struct session_env *env = proxy->session->env;
	int err;

	if (call->native != NULL)
		return call->native(proxy, args, n_args, result);
	if (call->callback < 0)
		return -ENOSYS;
	if (env->host == NULL)
		return -EPIPE;
	err = env->host->call(env->host, proxy, call->callback, NULL, args, n_args, result,
			      deadline_in(env->callback_timeout_ms));
	/* The code may have given the session a configuration block of its own. */
	proxy->config = proxy->session->state.config;
	return err;
}

const struct compiled_table *proxy_table(struct proxy *proxy, const struct policy_table *type)
{
	return proxy_state_table(&proxy->session->state, type);
}

bool proxy_has_own_tables(const struct proxy *proxy)
{
	return proxy->session->state.own_tables;
}
