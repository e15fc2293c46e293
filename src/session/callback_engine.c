/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What policy code may ask the engine for besides the hooks of the proxy's type: of its session, and of the
 * policy. They run on the caller's coroutine and do not wait.
 */
#include "session/callback_priv.h"

#include <errno.h>

/* An address and a port. */
static int take_endpoint(const struct call_value *args, size_t n_args, struct endpoint *out)
{
	if (n_args != 2 || args[0].kind != CALL_OCTETS || args[1].kind != CALL_INT || args[1].number < 0 ||
	    args[1].number > UINT16_MAX || ip_parse(args[0].octets, &out->ip) < 0)
		return -EBADMSG;
	out->port = (uint16_t)args[1].number;
	return 0;
}

static struct call_value yes(void)
{
	return (struct call_value){ .kind = CALL_INT, .number = 1 };
}

/* As the protocol would: where the router lets it. */
static int set_server_address(struct proxy *proxy, const struct call_value *args, size_t n_args, struct call_value *result)
{
	struct endpoint target = { .port = 0 };
	int err = take_endpoint(args, n_args, &target);

	if (err < 0)
		return err;
	*result = (struct call_value){ .kind = CALL_INT, .number = proxy_set_target(proxy, &target) };
	return 0;
}

/* Instead of the router. A connection that is there already stays. */
static int set_target(struct proxy *proxy, const struct call_value *args, size_t n_args, struct call_value *result)
{
	struct endpoint target = { .port = 0 };
	int err = take_endpoint(args, n_args, &target);

	if (err < 0)
		return err;
	proxy->session->target = (struct target_wish){ .at = target, .binding = true };
	*result = yes();
	return 0;
}

/* The session ends when the call has returned: until then its conversation is needed. */
static int destroy(struct proxy *proxy, const struct call_value *args, size_t n_args, struct call_value *result)
{
	(void)args;
	if (n_args != 0)
		return -EBADMSG;
	proxy->session->destroyed = true;
	*result = yes();
	return 0;
}

/* The name of an address's zone, by host names too; none: it is in no zone. */
static int zone_of(struct proxy *proxy, const struct call_value *args, size_t n_args, struct call_value *result)
{
	const struct session_env *env = proxy->session->env;
	const struct zone *zone;
	struct ip_addr ip;

	if (n_args != 1 || args[0].kind != CALL_OCTETS || ip_parse(args[0].octets, &ip) < 0)
		return -EBADMSG;
	zone = policy_zone_of(env->policy, env->names, &ip);
	if (zone != NULL)
		*result = (struct call_value){ .kind = CALL_OCTETS, .octets = slice_cstr(zone->name) };
	return 0;
}

static const struct {
	const char *name;
	hook_native_fn fn;
} engine_functions[] = {
	{ "session.set_server_address", set_server_address },
	{ "session.set_target", set_target },
	{ "session.destroy", destroy },
	{ "policy.zone_of", zone_of },
};

hook_native_fn callback_engine_function(struct slice name)
{
	for (size_t i = 0; i < ARRAY_LEN(engine_functions); i++)
		if (slice_is(name, engine_functions[i].name))
			return engine_functions[i].fn;
	return NULL;
}
