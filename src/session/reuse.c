/* SPDX-License-Identifier: Apache-2.0 */
/* A session and the pool: a server leg that an earlier session left, and one that is left to others. */
#include "session/pool.h"
#include "session/session_priv.h"

#include <errno.h>

static struct pool_key key_of(const struct session *s, const struct connect_request *how, struct secure_identity secure)
{
	return (struct pool_key){ .service = s->service, .how = *how, .leg = s->leg, .secure = secure };
}

static struct pool_key key_of_leg(const struct session *s)
{
	return key_of(s, &s->server_how, secure_identity_of_leg(s));
}

/* What fails here fails again when the session connects, and is told of there. */
int proxy_reuse_server(struct proxy *proxy, bool switched, struct slice *note)
{
	struct session *s = proxy->session;
	struct connect_request how;
	struct pooled c;
	struct pool_key key;

	if (proxy->server != NULL)
		return -EISCONN;
	if (s->env->pool == NULL || secure_looks_up(s) || session_plan_server(s, &how) != 0)
		return -ENOENT;
	key = key_of(s, &how, secure_identity_wanted(s, switched));
	if (pool_take(s->env->pool, &key, s->arena, &c) != 0)
		return -ENOENT;
	proxy->server = c.stream;
	secure_take_leg(s, c.tls_arena, c.tls);
	s->server_opened_ms = c.opened_ms;
	s->server_sessions = c.sessions;
	s->server_messages = c.messages;
	*note = c.note;
	proxy->counters[COUNT_SERVERS_REUSED]++;
	session_server_opened(s, &how);
	return 0;
}

static unsigned messages_after(const struct session *s, const struct server_keep *keep)
{
	return s->server_messages + (keep->messages > 0 ? keep->messages : 1);
}

bool proxy_may_keep_server(const struct proxy *proxy, const struct server_keep *keep)
{
	const struct session *s = proxy->session;
	struct pool_key key = key_of_leg(s);

	return proxy->server != NULL && s->env->pool != NULL && pool_takes(s->env->pool) && !s->stop &&
	       pool_key_may_repeat(&key) && secure_leg_may_repeat(s) &&
	       messages_after(s, keep) < keep->messages_max;
}

int proxy_keep_server(struct proxy *proxy, const struct server_keep *keep)
{
	struct session *s = proxy->session;
	struct pool_key key = key_of_leg(s);
	const struct pool_limits limits = { .idle_max = keep->idle_max, .idle_ms = keep->idle_ms, .age_ms = keep->age_ms };
	struct pooled c = {
		.stream = proxy->server, .opened_ms = s->server_opened_ms, .sessions = s->server_sessions + 1,
		.messages = messages_after(s, keep), .note = keep->note, .goodbye = keep->goodbye,
	};
	int err;

	if (!proxy_may_keep_server(proxy, keep))
		return -ESTALE;
	if (stream_is_encrypted(proxy->server))
		secure_give_leg(s, &c.tls_arena, &c.tls);
	err = pool_put(s->env->pool, &key, &c, &limits);
	if (err != 0) {
		secure_take_leg(s, c.tls_arena, c.tls);
		return err;
	}
	session_left_server(s);
	return 0;
}
