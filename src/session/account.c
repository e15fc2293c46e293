/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a session leaves in the log. Analysers of the policy language's users read these lines,
 * so the order and the spelling of their fields are a contract; fields of our own come last.
 */
#include "io/loop.h"
#include "session/session_priv.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdio.h>

const char *const fault_names[FAULT_COUNT] = {
	[FAULT_NONE] = "none",
	[FAULT_CLIENT] = "client",
	[FAULT_SERVER] = "server",
	[FAULT_POLICY] = "policy",
	[FAULT_CALLBACK] = "callback",
	[FAULT_ADMIN] = "admin",
	[FAULT_RESOURCE] = "resource",
	[FAULT_OWN] = "own",
};
static_assert(FAULT_COUNT == 8, "a name for each fault");

const char *const verdict_names[VERDICT_COUNT] = {
	[VERDICT_ACCEPTED] = "ACCEPTED",
	[VERDICT_DENIED_BY_POLICY] = "DENIED_BY_POLICY",
	[VERDICT_DENIED_BY_LIMIT] = "DENIED_BY_LIMIT",
	[VERDICT_DENIED_BY_CONNECTION_FAIL] = "DENIED_BY_CONNECTION_FAIL",
	[VERDICT_DENIED_BY_UNKNOWN_FAIL] = "DENIED_BY_UNKNOWN_FAIL",
	[VERDICT_ABORTED_BY_POLICY_ACTION] = "ABORTED_BY_POLICY_ACTION",
	[VERDICT_INVALID_POLICY_CALL] = "INVALID_POLICY_CALL",
};
static_assert(VERDICT_COUNT == 7, "a name for each verdict");

const char *const client_from_names[CLIENT_FROM_COUNT] = {
	[CLIENT_FROM_CONNECTION] = "connection",
	[CLIENT_FROM_PROXY_HEADER] = "proxy-header",
	[CLIENT_FROM_XCLIENT] = "xclient",
};
static_assert(CLIENT_FROM_COUNT == 3, "a name for each source");

/* Texts one after the other, as many octets as there is room for. */
static struct slice join(char *buf, size_t size, const struct slice *parts, size_t n)
{
	size_t len = 0;

	for (size_t i = 0; i < n; i++) {
		struct slice part = slice_take(parts[i], size - len);

		memcpy(buf + len, part.ptr, part.len);
		len += part.len;
	}
	return slice_of(buf, len);
}

/* The policy language's way to print a zone: Zone(NAME), None. */
static struct slice zone_printed(const struct zone *zone, char *buf, size_t size)
{
	if (zone == NULL)
		return SLICE("None");
	return join(buf, size, (const struct slice[]){ SLICE("Zone("), slice_cstr(zone->name), SLICE(")") }, 3);
}

/* Is the line wanted, and not one too many of its kind? */
static bool may_log(struct session_env *env, enum log_tag tag, int level, enum refusal why, uint64_t *left_out)
{
	return log_wants(tag, level) && refusals_may_log(&env->refusals, env->loop, why, left_out);
}

void account_refused(struct session_env *env, const struct connection *c, const struct decision *d, enum refusal why)
{
	char client[ENDPOINT_TEXT_MAX], local[ENDPOINT_TEXT_MAX], peer[ENDPOINT_TEXT_MAX], zone[160];
	uint64_t left_out;

	if (!may_log(env, LOG_CORE_POLICY, 1, why, &left_out))
		return;
	log_event(LOG_CORE_POLICY, 1, slice_cstr("nosession"), "Connection refused",
		  F_TEXT("reason", refusal_reasons[why]),
		  F_TEXT("service", d->service != NULL ? d->service->name : "None"),
		  F_TEXT("client_address", endpoint_log_text(&c->flow->src, client)),
		  F_OCTETS("client_zone", zone_printed(d->src_zone, zone, sizeof(zone))),
		  F_TEXT("client_local", endpoint_log_text(&c->flow->dst, local)),
		  F_TEXT("peer_address", endpoint_log_text(&c->peer, peer)),
		  F_UINT("left_out", left_out));
}

void account_over_limit(struct session *s)
{
	uint64_t left_out;

	if (may_log(s->env, LOG_CORE_POLICY, 1, REFUSAL_LIMIT, &left_out))
		log_event(LOG_CORE_POLICY, 1, slice_cstr(s->id), "Service has reached its limit of sessions",
			  F_TEXT("service", s->service->name), F_INT("max_instances", s->service->max_instances),
			  F_UINT("left_out", left_out));
}

void account_no_resources(struct session_env *env, const char *what)
{
	uint64_t left_out;

	if (may_log(env, LOG_CORE_ERROR, 1, REFUSAL_RESOURCES, &left_out))
		log_event(LOG_CORE_ERROR, 1, slice_cstr("nosession"), "No resources for another session",
			  F_TEXT("missing", what), F_INT("sessions", env->sessions.n), F_UINT("left_out", left_out));
}

void account_no_header(struct session_env *env, const struct flow *flow, const struct zone *zone, const struct service *service, bool harmless,
		       const char *reason, struct slice octets)
{
	char peer[ENDPOINT_TEXT_MAX], local[ENDPOINT_TEXT_MAX], name[160];
	enum log_tag tag = harmless ? LOG_CORE_SESSION : LOG_CORE_VIOLATION;
	int level = harmless ? 4 : 2;
	uint64_t left_out;

	if (!may_log(env, tag, level, REFUSAL_NO_HEADER, &left_out))
		return;
	log_event(tag, level, slice_cstr("nosession"), "No PROXY header from a peer that must send one",
		  F_TEXT("fault", harmless ? "none" : fault_names[FAULT_CLIENT]),
		  F_TEXT("reason", reason),
		  F_TEXT("service", service->name),
		  F_TEXT("peer_address", endpoint_log_text(&flow->src, peer)),
		  F_OCTETS("peer_zone", zone_printed(zone, name, sizeof(name))),
		  F_TEXT("client_local", endpoint_log_text(&flow->dst, local)),
		  F_OCTETS("octets", octets), F_UINT("left_out", left_out));
}

void account_started(const struct session *s, int client_fd)
{
	char client[ENDPOINT_TEXT_MAX], local[ENDPOINT_TEXT_MAX], peer[ENDPOINT_TEXT_MAX], zone[160];
	struct slice id = slice_cstr(s->id);

	log_event(LOG_CORE_SESSION, 5, id, "Starting service", F_TEXT("name", s->service->name));
	if (!log_wants(LOG_CORE_SESSION, 3))
		return;
	log_event(LOG_CORE_SESSION, 3, id, "Starting proxy instance",
		  F_INT("client_fd", client_fd),
		  F_TEXT("client_address", endpoint_log_text(&s->client, client)),
		  F_OCTETS("client_zone", zone_printed(s->decision.src_zone, zone, sizeof(zone))),
		  F_TEXT("client_local", endpoint_log_text(&s->client_local, local)),
		  F_TEXT("client_protocol", "TCP"),
		  F_TEXT("client_from", client_from_names[s->client_from]),
		  F_TEXT("peer_address", endpoint_log_text(&s->peer, peer)));
}

void account_client_named(const struct session *s)
{
	char client[ENDPOINT_TEXT_MAX], peer[ENDPOINT_TEXT_MAX], zone[160];

	if (!log_wants(LOG_CORE_SESSION, 3))
		return;
	log_event(LOG_CORE_SESSION, 3, s->proxy.id, "The peer speaks for another client",
		  F_TEXT("client_address", endpoint_log_text(&s->client, client)),
		  F_OCTETS("client_zone", zone_printed(s->decision.src_zone, zone, sizeof(zone))),
		  F_TEXT("client_from", client_from_names[s->client_from]),
		  F_TEXT("peer_address", endpoint_log_text(&s->peer, peer)));
}

void account_connected(const struct session *s, int server_fd)
{
	char server[ENDPOINT_TEXT_MAX], local[ENDPOINT_TEXT_MAX], zone[160];

	if (!log_wants(LOG_CORE_SESSION, 3))
		return;
	log_event(LOG_CORE_SESSION, 3, s->proxy.id, "Server connection established",
		  F_INT("server_fd", server_fd),
		  F_TEXT("server_address", endpoint_log_text(&s->server, server)),
		  F_OCTETS("server_zone", zone_printed(s->server_zone, zone, sizeof(zone))),
		  F_TEXT("server_local", endpoint_log_text(&s->server_local, local)),
		  F_TEXT("server_protocol", "TCP"), F_TEXT("server_reused", s->server_sessions > 0 ? "yes" : "no"));
}

/* What others say of it was logged before; "host is down" would send whoever reads this the wrong way. */
static const char *connect_failure(const struct session *s, int err)
{
	return err == -EHOSTDOWN && s->secure.known.doubtful ? "it was not tried, since nothing vouches for its certificate" :
	       strerror(-err);
}

void account_connect_failed(const struct session *s, int err)
{
	char server[ENDPOINT_TEXT_MAX], local[ENDPOINT_TEXT_MAX], zone[160];

	endpoint_log_text(&s->server, server);
	endpoint_log_text(&s->server_local, local);
	log_event(LOG_CORE_ERROR, 2, s->proxy.id, "Connection to remote end failed",
		  F_TEXT("local", local), F_TEXT("remote", server), F_TEXT("error", connect_failure(s, err)));
	log_event(LOG_CORE_SESSION, 3, s->proxy.id, "Server connection failure",
		  F_TEXT("server_address", server),
		  F_OCTETS("server_zone", zone_printed(s->server_zone, zone, sizeof(zone))),
		  F_TEXT("server_local", local), F_TEXT("server_protocol", "TCP"));
}

void account_target_refused(const struct session *s)
{
	char client[ENDPOINT_TEXT_MAX], server[ENDPOINT_TEXT_MAX], zone[160], server_zone[160];

	log_event(LOG_CORE_POLICY, 1, s->proxy.id, "The policy does not let this service reach the server's zone",
		  F_TEXT("service", s->service->name),
		  F_OCTETS("client_zone", zone_printed(s->decision.src_zone, zone, sizeof(zone))),
		  F_TEXT("client", endpoint_log_text(&s->client, client)),
		  F_OCTETS("server_zone", zone_printed(s->server_zone, server_zone, sizeof(server_zone))),
		  F_TEXT("server", endpoint_log_text(&s->server, server)));
}

/* Once a session, by proxy_end: whose fault, why, in the middle of what. */
void account_ending(const struct session *s, int err)
{
	const struct proxy *p = &s->proxy;
	int level = p->fault == FAULT_NONE ? 5 : p->fault == FAULT_OWN ? 0 : 3;
	enum log_tag tag = p->fault == FAULT_OWN ? LOG_CORE_ERROR : LOG_CORE_SESSION;

	log_event(tag, level, p->id, "Session is ending",
		  F_TEXT("fault", fault_names[p->fault]),
		  F_TEXT("reason", p->reason != NULL ? p->reason : ""),
		  F_TEXT("doing", p->doing != NULL ? p->doing : ""),
		  F_TEXT("error", err != 0 ? strerror(-err) : ""));
}

/*
 * One line a closed stream, under the stream's own name. The client's name lacks the second
 * instance part; the original named it before the proxy's id existed, and analysers know it so.
 */
void account_stream(const struct session *s, const struct stream *stream, bool server)
{
	const struct slice of_server[] = { s->proxy.id, SLICE("/server") };
	const struct slice of_client[] = { slice_cstr(s->id), SLICE("/"), slice_cstr(s->proxy.type->name), SLICE("/client") };
	char name[320];
	int64_t now = loop_now(s->env->loop);

	if (!log_wants(LOG_CORE_ACCOUNTING, 4))
		return;
	log_event(LOG_CORE_ACCOUNTING, 4,
		  server ? join(name, sizeof(name), of_server, ARRAY_LEN(of_server)) :
			   join(name, sizeof(name), of_client, ARRAY_LEN(of_client)), "accounting info",
		  F_TEXT("type", "socket"),
		  F_INT("duration", (now - (server ? s->server_start_ms : s->start_ms)) / 1000),
		  F_INT("sent", stream_octets_out(stream)),
		  F_INT("received", stream_octets_in(stream)));
}

static const char *summary_ip(const struct endpoint *e, char buf[IP_TEXT_MAX])
{
	return e->ip.family == AF_UNSPEC ? "(NULL)" : ip_text(&e->ip, buf);
}

static const char *summary_zone(const struct zone *zone)
{
	return zone != NULL ? zone->name : "(NULL)";
}

static const char *summary_text(const char *text)
{
	return text != NULL ? text : "none";
}

/* The server that the client asked for in its handshake. */
static struct slice client_tls_name(const struct session *s)
{
	const struct tls_handshake *h = s->secure.ends[TLS_CLIENT].handshake;

	return h != NULL ? h->facts.server_name : slice_of(NULL, 0);
}

/* Exactly the fields of the original, in its order; then our own. */
void account_summary(const struct session *s)
{
	char client[IP_TEXT_MAX], local[IP_TEXT_MAX], server[IP_TEXT_MAX], server_local[IP_TEXT_MAX], peer[IP_TEXT_MAX];
	char rule[16] = "N/A";
	const struct proxy *p = &s->proxy;
	int64_t end_ms;

	if (!log_wants(LOG_CORE_SUMMARY, 4))
		return;
	if (s->decision.rule != NULL)
		snprintf(rule, sizeof(rule), "%u", s->decision.rule->id);
	end_ms = loop_wall_ms(s->env->loop);
	log_event(LOG_CORE_SUMMARY, 4, slice_cstr(s->id), "Connection summary",
		  F_TEXT("rule_id", rule),
		  F_INT("session_start", s->start_wall_ms / 1000),
		  F_INT("session_end", end_ms / 1000),
		  F_TEXT("client_proto", "TCP"),
		  F_TEXT("client_address", summary_ip(&s->client, client)),
		  F_INT("client_port", s->client.port),
		  F_TEXT("client_zone", summary_zone(s->decision.src_zone)),
		  F_TEXT("server_proto", "TCP"),
		  F_TEXT("server_address", summary_ip(&s->server, server)),
		  F_INT("server_port", s->server.port),
		  F_TEXT("server_zone", summary_zone(s->server_zone)),
		  F_TEXT("client_local", summary_ip(&s->client_local, local)),
		  F_INT("client_local_port", s->client_local.port),
		  F_TEXT("server_local", summary_ip(&s->server_local, server_local)),
		  F_INT("server_local_port", s->server_local.port),
		  F_TEXT("verdict", verdict_names[s->verdict]),
		  F_TEXT("info", ""),
		  F_TEXT("auth_user", "(NULL)"),
		  F_TEXT("service", s->service->name),
		  F_TEXT("fault", fault_names[p->fault]),
		  F_TEXT("reason", p->reason != NULL ? p->reason : ""),
		  F_INT("duration_ms", loop_now(s->env->loop) - s->start_ms),
		  F_INT("octets_from_client", s->octets[OCTETS_FROM_CLIENT]),
		  F_INT("octets_to_client", s->octets[OCTETS_TO_CLIENT]),
		  F_INT("octets_from_server", s->octets[OCTETS_FROM_SERVER]),
		  F_INT("octets_to_server", s->octets[OCTETS_TO_SERVER]),
		  F_TEXT("client_from", client_from_names[s->client_from]),
		  F_TEXT("peer_address", summary_ip(&s->peer, peer)),
		  F_INT("peer_port", s->peer.port),
		  F_TEXT("server_reused", s->server_sessions > 0 ? "yes" : "no"),
		  F_TEXT("client_tls", summary_text(s->secure.ends[TLS_CLIENT].version)),
		  F_TEXT("client_tls_cipher", summary_text(s->secure.ends[TLS_CLIENT].cipher)),
		  F_OCTETS("client_tls_name", client_tls_name(s)),
		  F_TEXT("server_tls", summary_text(s->secure.ends[TLS_SERVER].version)),
		  F_TEXT("server_tls_cipher", summary_text(s->secure.ends[TLS_SERVER].cipher)),
		  F_TEXT("server_tls_trusted", s->secure.ends[TLS_SERVER].trusted ? "yes" : "no"));
}
