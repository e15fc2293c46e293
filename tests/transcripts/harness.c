/* SPDX-License-Identifier: Apache-2.0 */
#include "harness.h"

#include "io/stream_priv.h"
#include "session/asker.h"
#include "session/pool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SETTLED_TURNS 6		/* turns in which nothing happened: nothing will */
#define POLICY_ARENA_MAX (16u << 20)
#define SESSION_ARENA_MAX (4u << 20)

static struct harness *of_clock(struct clock *clock)
{
	return (struct harness *)((char *)clock - offsetof(struct harness, clock));
}

static int64_t read_monotonic(struct clock *clock)
{
	return of_clock(clock)->now_ms;
}

/* 2026-01-02T03:04:05Z when the clock starts. */
static int64_t read_wall(struct clock *clock)
{
	return 1767323045000 + of_clock(clock)->now_ms;
}

static int make_pair(int out[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, out) < 0 ? -errno : 0;
}

static co_waits int connect_pair(struct connector *connector, const struct connect_request *request, deadline_t deadline,
				 struct stream **out)
{
	struct harness *h = (struct harness *)((char *)connector - offsetof(struct harness, connector));
	int pair[2], err;

	if (h->connect_error != 0)
		return h->connect_error;
	err = make_pair(pair);
	if (err < 0)
		return err;
	*out = stream_open(h->loop, pair[0]);
	if (*out == NULL) {
		close(pair[0]);
		close(pair[1]);
		return -ENOMEM;
	}
	if (h->former >= 0)
		close(h->former);
	h->former = h->server;
	h->former_near = h->server_near;
	h->server = pair[1];
	h->server_near = pair[0];
	h->n_connections++;
	return 0;
}

static void log_call(int32_t callback, const struct call_value *args, size_t n_args)
{
	char text[1024];
	int n = snprintf(text, sizeof(text), "callback %d(", callback);

	for (size_t i = 0; i < n_args && n > 0 && (size_t)n < sizeof(text); i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s%.*s", i > 0 ? "," : "", SLICE_ARG(args[i].octets));
	if (n > 0 && (size_t)n < sizeof(text))
		snprintf(text + n, sizeof(text) - (size_t)n, ")");
	log_write_name(SLICE("test.callback"), 3, slice_of(NULL, 0), slice_cstr(text));
}

/* What policy code may read now. */
static void log_attributes(const struct proxy *proxy)
{
	json_t *attributes = proxy_state_attributes(&proxy->session->state);
	char *text = attributes != NULL ? json_dumps(attributes, JSON_COMPACT | JSON_SORT_KEYS) : NULL;

	if (text != NULL)
		log_write_name(SLICE("test.attributes"), 3, slice_of(NULL, 0), slice_cstr(text));
	free(text);
	json_decref(attributes);
}

static co_waits int host_call(struct policy_host *host, struct proxy *proxy, int32_t callback, const char *method,
			      const struct call_value *args, size_t n_args, struct call_value *result, deadline_t deadline)
{
	struct harness *h = (struct harness *)((char *)host - offsetof(struct harness, host));
	struct harness_callback *c;
	char why[256];
	int err = 0;

	if (callback < 0 || callback >= HARNESS_CALLBACKS || method != NULL)
		return -EBADMSG;
	log_call(callback, args, n_args);
	log_attributes(proxy);
	c = &h->callbacks[callback];
	switch (c->does) {
	case CALLBACK_RAISES:
		return -EREMOTEIO;
	case CALLBACK_DIES:
		return -EPIPE;
	case CALLBACK_LATE:
		err = co_sleep(deadline);
		return err < 0 ? err : -ETIMEDOUT;
	case CALLBACK_RETURNS:
		break;
	}
	*result = c->result;
	if (c->pem.len > 0)
		proxy->session->secure.given = (struct tls_given){ .pem = c->pem, .key_pem = c->key_pem };
	if (c->attributes != NULL || c->tables != NULL)
		err = proxy_state_change(&proxy->session->state, c->attributes, c->tables, why, sizeof(why));
	if (err < 0)
		log_write_name(SLICE("test.callback"), 1, slice_of(NULL, 0), slice_cstr(why));
	return err;
}

static void host_forget(struct policy_host *host, struct proxy *proxy)
{
}

static void session_ended(struct session_env *env, struct session *session)
{
	struct harness *h = env->owner;

	h->ended = true;
	h->fault = session->proxy.fault;
	h->verdict = session->verdict;
	snprintf(h->reason, sizeof(h->reason), "%s", session->proxy.reason != NULL ? session->proxy.reason : "");
}

/* Members over those of a SERVICE; a router's over those of its ROUTER. */
static void merge_service(json_t *service, const json_t *over)
{
	json_t *router = json_object_get(service, "router");

	json_object_update(router, json_object_get(over, "router"));
	json_incref(router);
	json_object_update(service, (json_t *)over);
	json_object_set_new(service, "router", router);
}

static json_t *make_document(const json_t *config, const json_t *members, const json_t *service)
{
	json_error_t error;
	json_t *document = json_pack_ex(
		&error, 0,
		"{s:s,s:i,s:[s],s:{},s:[s],s:o,s:[O],"
		"s:[{s:s,s:s,s:[i,i],s:i,s:{s:s,s:[[s,i]],s:b,s:i,s:b},s:{s:s,s:i,s:i},s:i,s:i,s:[]}],"
		"s:[{s:i,s:i,s:i,s:[i,i],s:[i]}],s:i}",
		"format", "sallyport-policy", "version", 1, "files", "transcript", "options", "instances", "test", "zones",
		json_array(), "configs", config,
		"services", "name", "mail", "kind", "proxy", "at", 0, 1, "config", 0,
		"router", "type", "directed", "targets", "10.9.9.9", 25, "forge_addr", 0, "forge_port", -1, "overrideable", 0,
		"chainer", "type", "connect", "protocol", 0, "timeout_connect", 30000,
		"max_instances", 0, "keepalive", 0, "limit_target_zones_to",
		"rules", "id", 1, "instance", 0, "service", 0, "at", 0, 1, "proto", 6,
		"callbacks", HARNESS_CALLBACKS);

	if (document == NULL)
		fprintf(stderr, "harness: %s\n", error.text);
	if (document != NULL && members != NULL)
		json_object_update(document, (json_t *)members);
	if (document != NULL && service != NULL)
		merge_service(json_array_get(json_object_get(document, "services"), 0), service);
	return document;
}

static int build_policy(struct harness *h, const json_t *config, const json_t *members, const json_t *service,
			const struct proxy_type *type)
{
	const struct proxy_type *types[] = { type, NULL };
	const struct proxy_registry registry = { types };
	struct policy_problems problems;
	json_t *document = make_document(config, members, service);
	char *text = document != NULL ? json_dumps(document, 0) : NULL;
	int err = -EINVAL;

	problems_init(&problems, h->arena);
	if (text != NULL)
		err = policy_build(slice_cstr(text), &registry, h->arena, &problems, &h->policy);
	for (const struct policy_problem *p = problems.first; p != NULL; p = p->next)
		if (p->severity == PROBLEM_ERROR)
			fprintf(stderr, "policy: %s%s%s\n", p->message, p->hint != NULL ? "; " : "", p->hint != NULL ? p->hint : "");
	free(text);
	json_decref(document);
	return err;
}

/* The contexts of its encryptions, as a worker has them. */
static int build_tls(struct harness *h)
{
	const struct tls_secrets none = { NULL, 0 };
	struct policy_problems problems;
	int err;

	if (h->policy->n_encryptions == 0)
		return 0;
	problems_init(&problems, h->arena);
	err = tls_keys_load(h->policy, &none, &problems, &h->keys);
	if (err == 0)
		err = tls_build(h->policy, h->keys, &problems, &h->tls);
	for (const struct policy_problem *p = problems.first; p != NULL; p = p->next)
		fprintf(stderr, "tls: %s\n", p->message);
	h->env.tls = h->tls;
	return err;
}

/* ---- the lookout ---- */

static void want_lookout(void *arg)
{
	struct harness *h = arg;

	h->lookout_wanted = true;
}

static void connect_lookout(struct harness *h)
{
	int pair[2];

	h->lookout_wanted = false;
	if (h->lookout >= 0)
		close(h->lookout);
	h->lookout = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
		return;
	h->lookout = pair[0];
	if (asker_connect(h->env.asker, pair[1]) < 0)
		fprintf(stderr, "harness: the lookout is not connected\n");
}

/* Returns whether there was a question. */
static bool play_lookout(struct harness *h)
{
	_Alignas(struct lookout_question) uint8_t octets[sizeof(struct lookout_question) + sizeof(h->lookout_says[0].body)];
	const struct lookout_question *question = (const struct lookout_question *)octets;
	const struct harness_says *says;
	struct lookout_answer head;
	ssize_t n;

	if (h->lookout_wanted)
		connect_lookout(h);
	n = h->lookout >= 0 ? recv(h->lookout, octets, sizeof(octets), MSG_DONTWAIT) : -1;
	if (n < (ssize_t)sizeof(struct lookout_question))
		return false;
	h->lookout_asked++;
	snprintf(h->lookout_question, sizeof(h->lookout_question), "%.*s", (int)(n - (ssize_t)sizeof(struct lookout_question)),
		 (const char *)octets + sizeof(struct lookout_question));
	says = &h->lookout_says[question->kind < LOOKOUT_KINDS ? question->kind : LOOKOUT_NOTHING];
	if (says->nothing)
		return true;
	head = (struct lookout_answer){ .number = question->number, .result = says->result };
	memcpy(octets, &head, sizeof(head));
	memcpy(octets + sizeof(head), says->body, says->octets);
	return send(h->lookout, octets, sizeof(head) + says->octets, MSG_NOSIGNAL) > 0;
}

int harness_init(struct harness *h, const json_t *config, const json_t *members, const json_t *service,
		 const struct proxy_type *type)
{
	int err;

	memset(h, 0, sizeof(*h));
	h->client = h->server = h->former = h->server_near = h->former_near = h->lookout = -1;
	h->now_ms = 1000;
	h->clock = (struct clock){ .monotonic_ms = read_monotonic, .wall_ms = read_wall };
	h->connector.connect = connect_pair;
	h->host = (struct policy_host){ host_call, host_forget };
	h->arena = arena_create(POLICY_ARENA_MAX, 0);
	h->loop = loop_create(&h->clock);
	if (h->arena == NULL || h->loop == NULL)
		return -ENOMEM;
	for (int i = 0; i < HARNESS_CALLBACKS; i++)
		h->callbacks[i].does = CALLBACK_RAISES;
	h->env = (struct session_env){
		.loop = h->loop, .pool = pool_create(h->loop), .connector = &h->connector, .host = &h->host, .slot = "", .next_number = h->next_number, .counters = h->counters,
		.session_arena_max = SESSION_ARENA_MAX, .callback_timeout_ms = 5000, .on_end = session_ended, .owner = h,
	};
	h->env.asker = asker_create(h->loop, want_lookout, h);
	if (h->env.asker == NULL)
		return -ENOMEM;
	err = build_policy(h, config, members, service, type);
	return err == 0 ? build_tls(h) : err;
}

/* The plain octets, under another name. */
static int take_for_encrypted(struct stream *s)
{
	static struct transport_ops ops;

	ops = transport_plain;
	ops.encrypts = true;
	return stream_set_transport(s, &ops, (void *)(intptr_t)stream_fd(s));
}

int harness_connect(struct harness *h, const char *client_address)
{
	struct flow flow = { .protocol = 6, .ifgroup = -1, .dst_ifgroup = -1, .reqid = -1, .icmp_type = -1, .icmp_code = -1 };
	int pair[2], err;

	h->env.policy = h->policy;
	if (endpoint_parse(slice_cstr(client_address), &flow.src) < 0 || endpoint_parse(SLICE("10.9.9.1:25"), &flow.dst) < 0)
		return -EINVAL;
	if (flow.src.port == 0)
		flow.src.port = 40000;
	err = make_pair(pair);
	if (err < 0)
		return err;
	harness_close_client(h);
	h->client = pair[1];
	h->ended = false;
	err = session_start(&h->env, pair[0], &flow);
	if (err == 0 && h->client_encrypted && session_newest(&h->env) != NULL)
		err = take_for_encrypted(session_newest(&h->env)->proxy.client);
	harness_settle(h);
	return err;
}

bool harness_uses_former(const struct harness *h)
{
	const struct stream *server = session_newest(&h->env) != NULL ? session_newest(&h->env)->proxy.server : NULL;

	/* A descriptor that was closed may be the newer one's by now. */
	return server != NULL && stream_fd(server) != h->server_near && stream_fd(server) == h->former_near;
}

/* What moves shows in the octets that the session has counted, in its end, or in nothing at all:
 * then some turns more change nothing either. */
void harness_settle(struct harness *h)
{
	uint64_t before[SESSION_OCTETS] = { 0 }, after[SESSION_OCTETS] = { 0 };

	for (int quiet = 0; quiet < SETTLED_TURNS; quiet++) {
		loop_turn(h->loop, 0);
		if (session_newest(&h->env) != NULL)
			session_octets_now(session_newest(&h->env), after);
		if (play_lookout(h) || memcmp(before, after, sizeof(before)) != 0)
			quiet = 0;
		memcpy(before, after, sizeof(before));
	}
}

void harness_close_client(struct harness *h)
{
	if (h->client >= 0)
		close(h->client);
	h->client = -1;
}

void harness_close_server(struct harness *h)
{
	if (h->server >= 0)
		close(h->server);
	h->server = -1;
}

void harness_end(struct harness *h)
{
	LIST_EACH(s, &h->env.sessions, struct session, place)
		session_stop(s, true);
	for (int i = 0; i < 100 && h->env.sessions.n > 0; i++) {
		h->now_ms += 10000;
		harness_settle(h);
	}
	pool_free(&h->env.pool);
	h->env.pool = pool_create(h->loop);
	harness_close_client(h);
	harness_close_server(h);
	if (h->former >= 0)
		close(h->former);
	h->former = -1;
}

void harness_release(struct harness *h)
{
	harness_end(h);
	pool_free(&h->env.pool);
	for (int i = 0; i < HARNESS_CALLBACKS; i++) {
		json_decref(h->callbacks[i].attributes);
		json_decref(h->callbacks[i].tables);
	}
	asker_free(&h->env.asker);
	if (h->lookout >= 0)
		close(h->lookout);
	tls_free(&h->tls);
	tls_keys_free(&h->keys);
	loop_free(&h->loop);
	arena_free(&h->arena);
}
