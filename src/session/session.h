/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session's life: decide, route, run its proxy, account. The environment gives it everything
 * that differs between a worker, a test and a fuzzer: loop, policy, connector, policy host.
 */
#ifndef SALLYPORT_SESSION_SESSION_H
#define SALLYPORT_SESSION_SESSION_H

#include "base/list.h"
#include "io/connector.h"
#include "policy/proxy_config.h"
#include "session/connect.h"
#include "session/proxy.h"
#include "session/refusals.h"
#include "session/secure.h"

/*
 * The policy host as a session sees it: a port. call runs policy code for a session's proxy,
 * takes over what it changed (session->state), and returns as proxy_call does. method is NULL
 * for a numbered callback, else the name of a method.
 *
 * The method "config" comes first in sessions whose configuration is made for each: the host
 * puts the configuration that it was answered with into session->own_config.
 */
struct policy_host {
	co_waits int (*call)(struct policy_host *host, struct proxy *proxy, int32_t callback, const char *method,
			     const struct call_value *args, size_t n_args, struct call_value *result,
			     deadline_t deadline);
	void (*forget)(struct policy_host *host, struct proxy *proxy);	/* the session ended */
};

struct asker;
struct pool;

struct session_env {
	struct loop *loop;
	const struct policy *policy;
	const struct zone_names *names;		/* what its zones have by their host names now; NULL: nothing */
	const struct tls *tls;			/* contexts of the policy's encryptions; NULL: it has none */
	struct connector *connector;
	struct policy_host *host;		/* NULL when the policy needs none */
	const char *slot;			/* appended to the instance's name in session ids: "#0"; may be "" */
	uint64_t *next_number;			/* per service (policy->services index); counts on over reloads */
	bool can_forge;				/* transparent sockets may be made */
	uint32_t forged_mark;			/* SO_MARK of forged server legs, 0 = none */
	struct pool *pool;			/* of idle server connections; NULL: none is kept */
	struct asker *asker;			/* questions to the lookout; NULL: there is none */
	size_t session_arena_max;		/* octets a session may use */
	int64_t callback_timeout_ms;
	/* Told of a connection that session_start took and that got no session after all; may be NULL. */
	void (*on_refused)(struct session_env *);
	/* Told of every session; any may be NULL. */
	void (*on_start)(struct session_env *, struct session *);
	void (*on_change)(struct session_env *, struct session *);	/* state, addresses or counters */
	void (*on_end)(struct session_env *, struct session *);
	void *owner;				/* of the environment: the worker */
	struct list sessions;			/* running ones, the newest first */
	struct list arrivals;			/* connections whose PROXY header is awaited: no sessions yet */
	uint64_t *counters;			/* COUNTERS_MAX a service; NULL: each session has its own */
	struct refusals refusals;		/* log lines of connections that get no session; starts as zeros */
	uint32_t *service_sessions;		/* running per service, for max_instances; may be shared by workers */
};

/* Who says who the client is. */
enum client_from { CLIENT_FROM_CONNECTION, CLIENT_FROM_PROXY_HEADER, CLIENT_FROM_XCLIENT, CLIENT_FROM_COUNT };
extern const char *const client_from_names[CLIENT_FROM_COUNT];	/* "connection", "proxy-header", "xclient" */

enum session_octets {
	OCTETS_FROM_CLIENT, OCTETS_TO_CLIENT, OCTETS_FROM_SERVER, OCTETS_TO_SERVER, SESSION_OCTETS
};

struct session {
	struct session_env *env;
	struct list_node place;			/* in env->sessions */
	struct arena *arena;
	char id[128];				/* "svc/default_instance#0/mail:7"; longer ones are cut */
	uint64_t number;
	struct flow flow;
	struct decision decision;
	const struct service *service;		/* NULL: no rule matched; such a session ends at once */
	struct endpoint client, client_local;	/* the client, as the policy sees it; original destination */
	struct endpoint peer;			/* who connected: the client, or one who speaks for it */
	struct endpoint wanted;			/* what the client wanted to reach: client_local, or as the peer says */
	enum client_from client_from;
	struct endpoint server, server_local;	/* family AF_UNSPEC until connected; server_local as forged */
	const struct zone *server_zone;		/* of the target */
	struct leg_identity leg;		/* whom the server leg speaks for; meaningful once it was tried */
	struct connect_request server_how;	/* how it was opened */
	int64_t server_opened_ms;		/* monotonic; by an earlier session if server_sessions > 0 */
	unsigned server_sessions, server_messages;	/* that it served before */
	enum verdict verdict;
	int64_t start_wall_ms;
	uint64_t octets[SESSION_OCTETS];	/* complete after the end; until then of closed streams */
	struct proxy proxy;
	struct proxy_state state;		/* configuration and tables, under what policy code changed */
	struct proxy_config own_config;		/* of sessions with a configuration of their own; else zero */
	struct session_secure secure;		/* TLS of both ends */
	struct target_wish target;		/* of the proxy (proxy_set_target), the name that the client asked for, or policy code */
	bool connect_tried;			/* a server connection was attempted */
	int64_t start_ms, server_start_ms;	/* monotonic */
	struct co *co;
	bool stop;
	bool destroyed;				/* by policy code: ends when the call returns */
	void *slot;				/* the environment's: its record in the statistics */
};

/*
 * Start a session on an accepted connection; fd is taken over in any case. flow.dst is the
 * original destination. 0; -ENOMEM; -EACCES when no rule or a denying one matches (logged, closed).
 * Where the policy wants a PROXY header from the peer first there is no session yet when this
 * returns: it begins, decided for the client of the header, or on_refused is told.
 */
int session_start(struct session_env *env, int fd, const struct flow *flow);

/* Connections whose header is awaited are refused now. */
void session_stop_arrivals(struct session_env *env);

/* Ask it to end at the next good moment; now: cancel its waits. */
void session_stop(struct session *session, bool now);

/* For the process's sudden end: the accounting record of a session that did not end. It must not
 * run any more. */
void session_record_lost(struct session *session);

/* The running one that began last; NULL: none runs. */
static inline struct session *session_newest(const struct session_env *env)
{
	return LIST_ITEM(env->sessions.first, struct session, place);
}

/* Octets so far, of open streams too. */
void session_octets_now(const struct session *session, uint64_t out[SESSION_OCTETS]);

#endif
