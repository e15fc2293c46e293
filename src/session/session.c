/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session's life, from the accepted socket to its accounting record: decide (after the PROXY
 * header where the peer must send one, arrival.c), create, run. What makes it hard is only the
 * order of the end: the proxy has returned, streams are accounted and closed, the
 * environment has been told, and then the arena takes everything else with it.
 *
 * The session struct lies on its own arena; the arena outlives the coroutine's last wait.
 */
#include "io/loop.h"
#include "session/session_priv.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#define USUAL_REST 160u		/* octets of a proxy's id, and of rounding up */

void session_refuse_fd(int fd)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(fd);
}

static void refuse(struct connection *c)
{
	if (c->stream != NULL)
		stream_reset(&c->stream);
	else
		session_refuse_fd(c->fd);
}

/* Append to a NUL-terminated text of the given size; too long is cut. */
static size_t append(char *buf, size_t size, size_t at, const char *text)
{
	while (*text != '\0' && at + 1 < size)
		buf[at++] = *text++;
	buf[at] = '\0';
	return at;
}

static size_t append_number(char *buf, size_t size, size_t at, uint64_t n)
{
	char digits[21];
	size_t i = sizeof(digits) - 1;

	digits[i] = '\0';
	do {
		digits[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n != 0);
	return append(buf, size, at, digits + i);
}

/* "svc/instance#0/service:7", and for the proxy "svc/instance#0/service:7/instance#0/smtp". */
static int make_ids(struct session *s)
{
	const struct policy *policy = s->env->policy;
	const char *instance = policy->instances[s->decision.rule->instance];
	size_t size, at = append(s->id, sizeof(s->id), 0, "svc/");
	char *id;

	at = append(s->id, sizeof(s->id), at, instance);
	at = append(s->id, sizeof(s->id), at, s->env->slot);
	at = append(s->id, sizeof(s->id), at, "/");
	at = append(s->id, sizeof(s->id), at, s->service->name);
	at = append(s->id, sizeof(s->id), at, ":");
	at = append_number(s->id, sizeof(s->id), at, s->number);

	size = at + strlen(instance) + strlen(s->env->slot) + strlen(s->proxy.type->name) + 3;
	id = arena_alloc(s->arena, size);
	if (id == NULL)
		return -ENOMEM;
	at = append(id, size, 0, s->id);
	at = append(id, size, at, "/");
	at = append(id, size, at, instance);
	at = append(id, size, at, s->env->slot);
	at = append(id, size, at, "/");
	at = append(id, size, at, s->proxy.type->name);
	s->proxy.id = slice_of(id, at);
	return 0;
}

/* Is there room under the service's max_instances? Takes a place. The counters may be shared by
 * workers, so each takes first and gives back what was too much. */
static bool take_place(const struct session_env *env, const struct service *service)
{
	uint32_t *running;

	if (env->service_sessions == NULL)
		return true;
	running = &env->service_sessions[service->index];
	if (service->max_instances == 0) {
		__atomic_fetch_add(running, 1, __ATOMIC_RELAXED);
		return true;
	}
	if (__atomic_fetch_add(running, 1, __ATOMIC_RELAXED) < service->max_instances)
		return true;
	__atomic_fetch_sub(running, 1, __ATOMIC_RELAXED);
	return false;
}

static void give_place_back(const struct session_env *env, const struct service *service)
{
	if (env->service_sessions != NULL)
		__atomic_fetch_sub(&env->service_sessions[service->index], 1, __ATOMIC_RELAXED);
}

void session_set_verdict(struct session *s, enum verdict verdict)
{
	if (s->verdict == VERDICT_ACCEPTED)
		s->verdict = verdict;
}

void session_changed(struct session *s)
{
	if (s->env->on_change != NULL)
		s->env->on_change(s->env, s);
}

/* A proxy class whose config() runs for each session: the host runs it now. */
static co_waits int configure(struct session *s)
{
	const struct service *service = s->service;
	struct policy_host *host = s->env->host;
	struct call_value ignored = { .kind = CALL_NONE };
	int err = proxy_state_init(&s->state, s->env->policy, service->proxy, s->arena);

	if (err != 0)
		return err;
	s->proxy.config = s->state.config;
	s->proxy.run = s->state.run;
	if (!service->proxy->per_session)
		return 0;
	if (host == NULL)
		return -EPIPE;
	err = host->call(host, &s->proxy, -1, "config", NULL, 0, &ignored,
			 deadline_in(s->env->callback_timeout_ms));
	if (err != 0)
		return err;
	if (s->own_config.type != service->proxy->type)
		return -EBADMSG;
	err = proxy_state_init(&s->state, s->env->policy, &s->own_config, s->arena);
	s->proxy.config = s->state.config;
	s->proxy.run = s->state.run;
	return err;
}

/* A method of the policy's class that runs before or after the conversation. */
static co_waits int call_method(struct session *s, const char *name)
{
	struct policy_host *host = s->env->host;
	struct call_value ignored = { .kind = CALL_NONE };
	int err;

	if (host == NULL)
		return -EPIPE;
	err = host->call(host, &s->proxy, -1, name, NULL, 0, &ignored, deadline_in(s->env->callback_timeout_ms));
	s->proxy.config = s->state.config;
	return err;
}

/* It runs after every conversation that was configured, also one that was cancelled. */
static co_waits void shut_down(struct session *s)
{
	if (!s->service->proxy->shutdown)
		return;
	s->proxy.doing = "running the policy's shutdown()";
	co_shield_begin();
	if (call_method(s, "shutdown") < 0)
		session_set_verdict(s, VERDICT_ABORTED_BY_POLICY_ACTION);
	co_shield_end();
}

static co_waits int start_up(struct session *s)
{
	int err;

	if (!s->service->proxy->startup)
		return 0;
	s->proxy.doing = "running the policy's startup()";
	err = call_method(s, "startup");
	if (err < 0) {
		session_set_verdict(s, VERDICT_ABORTED_BY_POLICY_ACTION);
		proxy_end(&s->proxy, FAULT_CALLBACK, "startup-failed", err);
	}
	return err;
}

static co_waits void run_proxy(struct session *s)
{
	struct proxy *p = &s->proxy;
	int err;

	account_started(s, stream_fd(p->client));
	p->doing = "configuring the session";
	err = configure(s);
	if (err == 0)
		err = secure_configure(s);
	if (err != 0) {
		session_set_verdict(s, VERDICT_ABORTED_BY_POLICY_ACTION);
		proxy_end(p, err == -ENOMEM ? FAULT_RESOURCE : FAULT_CALLBACK, "configuration-failed", err);
		return;
	}
	log_event(LOG_CORE_SESSION, 5, p->id, "Proxy starting",
		  F_TEXT("class", s->service->proxy->class_name), F_TEXT("proxy", p->type->name));
	if (secure_client(s) == 0 && start_up(s) == 0) {
		p->doing = NULL;
		co_keep_near(0, &s->proxy, sizeof(s->proxy) + sizeof(s->state));	/* which stands behind it */
		co_keep_near(1, p->run, p->type->run_size);
		p->type->run(p);
	}
	shut_down(s);
	if (p->reason == NULL && p->fault == FAULT_NONE && proxy_should_stop(p))
		proxy_end(p, FAULT_ADMIN, "stopped", 0);
	log_event(LOG_CORE_SESSION, 5, p->id, "Proxy ending",
		  F_TEXT("class", s->service->proxy->class_name), F_TEXT("module", p->type->name));
}

static void account_server(struct session *s, const struct stream *stream)
{
	s->octets[OCTETS_FROM_SERVER] += stream_octets_in(stream);
	s->octets[OCTETS_TO_SERVER] += stream_octets_out(stream);
	account_stream(s, stream, true);
}

void session_left_server(struct session *s)
{
	account_server(s, s->proxy.server);
	s->proxy.server = NULL;
}

void session_close_server(struct session *s, bool reset)
{
	if (s->proxy.server == NULL)
		return;
	account_server(s, s->proxy.server);
	if (reset)
		stream_reset(&s->proxy.server);
	else
		stream_close(&s->proxy.server);
}

static void close_client(struct session *s)
{
	struct stream *stream = s->proxy.client;

	if (stream == NULL)
		return;
	s->octets[OCTETS_FROM_CLIENT] += stream_octets_in(stream);
	s->octets[OCTETS_TO_CLIENT] += stream_octets_out(stream);
	account_stream(s, stream, false);
	stream_close(&s->proxy.client);
}

void session_octets_now(const struct session *s, uint64_t out[SESSION_OCTETS])
{
	const struct stream *client = s->proxy.client, *server = s->proxy.server;

	memcpy(out, s->octets, sizeof(s->octets));
	if (client != NULL) {
		out[OCTETS_FROM_CLIENT] += stream_octets_in(client);
		out[OCTETS_TO_CLIENT] += stream_octets_out(client);
	}
	if (server != NULL) {
		out[OCTETS_FROM_SERVER] += stream_octets_in(server);
		out[OCTETS_TO_SERVER] += stream_octets_out(server);
	}
}

void session_record_lost(struct session *s)
{
	uint64_t octets[SESSION_OCTETS];

	session_octets_now(s, octets);
	memcpy(s->octets, octets, sizeof(octets));
	proxy_end(&s->proxy, FAULT_ADMIN, "stopped", 0);
	account_summary(s);
}

/* The last steps, which never wait. Frees the session. */
static void finish(struct session *s)
{
	struct session_env *env = s->env;
	struct arena *arena = s->arena;

	session_close_server(s, false);
	close_client(s);
	account_summary(s);
	log_event(LOG_CORE_SESSION, 4, slice_cstr(s->id), "Ending proxy instance");
	if (env->host != NULL && s->service->proxy->class_number >= 0)
		env->host->forget(env->host, &s->proxy);
	if (env->on_end != NULL)
		env->on_end(env, s);
	list_remove(&env->sessions, &s->place);
	give_place_back(env, s->service);
	secure_release(s);
	arena_free(&arena);
}

static co_waits void session_main(void *arg)
{
	struct session *s = arg;

	run_proxy(s);
	finish(s);
}

/* Before the coroutine first runs: whoever takes the numbers over finds this one used. */
static void tell_start(struct session *s)
{
	if (s->env->on_start != NULL)
		s->env->on_start(s->env, s);
}

/* A session over its service's limit: no proxy runs, but it has an id and a record. */
static void end_over_limit(struct session *s, struct connection *c)
{
	struct arena *arena = s->arena;

	account_over_limit(s);
	s->verdict = VERDICT_DENIED_BY_LIMIT;
	s->proxy.fault = FAULT_POLICY;
	s->proxy.reason = "too-many-sessions";
	refuse(c);
	tell_start(s);
	account_summary(s);
	if (s->env->on_end != NULL)
		s->env->on_end(s->env, s);
	arena_free(&arena);
}

/* What every session of this protocol puts on its arena, all in one piece of memory: an idle one costs no more. */
static size_t usual_octets(const struct proxy_type *type)
{
	return sizeof(struct session) + type->run_size + type->n_tables * sizeof(struct compiled_table *) + USUAL_REST;
}

static uint64_t *counters_of(const struct session *s)
{
	if (s->env->counters != NULL)
		return s->env->counters + (size_t)s->service->index * COUNTERS_MAX;
	return arena_array(s->arena, COUNTERS_MAX, sizeof(uint64_t));
}

static struct session *session_create(struct session_env *env, const struct connection *c,
				      const struct decision *decision)
{
	struct arena *arena = arena_create_for(usual_octets(decision->service->proxy->type), env->session_arena_max, 0);
	struct session *s = arena != NULL ? ARENA_NEW(arena, struct session) : NULL;

	if (s == NULL) {
		arena_free(&arena);
		return NULL;
	}
	s->env = env;
	s->arena = arena;
	s->flow = *c->flow;
	s->decision = *decision;
	s->service = decision->service;
	s->client = c->flow->src;
	s->client_local = c->flow->dst;
	s->peer = c->peer;
	s->wanted = c->wanted;
	s->client_from = c->client_from;
	s->server_zone = decision->dst_zone;
	s->start_ms = loop_now(env->loop);
	s->start_wall_ms = loop_wall_ms(env->loop);
	s->proxy.type = s->service->proxy->type;
	s->proxy.session = s;
	s->proxy.arena = arena;
	s->proxy.counters = counters_of(s);
	s->number = env->next_number[s->service->index];
	if (s->proxy.counters == NULL || make_ids(s) != 0) {
		arena_free(&arena);
		return NULL;
	}
	env->next_number[s->service->index]++;
	return s;
}

/* The client's stream and the coroutine; on failure the connection is closed and the session stays ours. */
static int set_going(struct session *s, struct connection *c)
{
	const int on = 1;

	s->proxy.client = c->stream != NULL ? c->stream : stream_open(s->env->loop, c->fd);
	if (s->proxy.client == NULL) {
		close(c->fd);
		return -ENOMEM;
	}
	if (s->service->keepalive_client)
		(void)setsockopt(stream_fd(s->proxy.client), SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	s->co = co_spawn(s->env->loop, session_main, s);
	if (s->co == NULL) {
		stream_reset(&s->proxy.client);
		return -ENOMEM;
	}
	return 0;
}

int session_begin(struct session_env *env, struct connection *c, const struct decision *decision)
{
	struct session *s;
	struct arena *arena;

	if (decision->service == NULL || decision->service->kind != SERVICE_PROXY) {
		account_refused(env, c, decision, decision->service == NULL ? REFUSAL_NO_RULE :
				decision->service->kind == SERVICE_DENY ? REFUSAL_DENIED : REFUSAL_FORWARDS);
		refuse(c);
		return -EACCES;
	}
	s = session_create(env, c, decision);
	if (s == NULL) {
		refuse(c);
		account_no_resources(env, "memory");
		return -ENOMEM;
	}
	if (!take_place(env, s->service)) {
		end_over_limit(s, c);
		return -EACCES;
	}
	if (set_going(s, c) != 0) {
		account_no_resources(env, "stack or descriptor");
		give_place_back(env, s->service);
		arena = s->arena;
		arena_free(&arena);
		return -ENOMEM;
	}
	list_add_first(&env->sessions, &s->place);
	tell_start(s);
	return 0;
}

/* The policy believes this peer, where it says whose connection it carries. */
static bool awaits_header(const struct decision *d)
{
	return d->service != NULL && d->service->n_header_zones > 0 &&
	       zone_is_within_any(d->src_zone, d->service->header_zones, d->service->n_header_zones);
}

int session_start(struct session_env *env, int fd, const struct flow *flow)
{
	struct connection c = { .fd = fd, .flow = flow, .peer = flow->src, .wanted = flow->dst };
	struct decision decision;
	int err;

	policy_decide(env->policy, env->names, flow, &decision);
	if (!awaits_header(&decision))
		return session_begin(env, &c, &decision);
	err = arrival_begin(env, fd, flow, &decision);
	if (err != 0)
		account_no_resources(env, "memory, stack or descriptor");
	return err;
}

void session_stop(struct session *s, bool now)
{
	s->stop = true;
	if (now || s->proxy.idle)
		co_cancel(s->co);
}
