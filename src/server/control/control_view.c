/* SPDX-License-Identifier: Apache-2.0 */
/* State of all generations, as the control process puts it together, and answers from it. */
#include "server/control/control_priv.h"
#include "proxy/registry.h"
#include "session/session.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/*
 * JSON is UTF-8 or nothing, and one bad field would be nothing of the whole answer. Fields are cut
 * to their size, maybe within a character; and what workers write is theirs.
 */
static void make_readable(char *text)
{
	json_t *json = json_string(text);

	for (; json == NULL && *text != '\0'; text++)
		if ((unsigned char)*text >= 0x80)
			*text = '?';
	json_decref(json);
}

/* A character that the end cut in two goes; what else is wrong is made readable. */
static void clean(char *text)
{
	size_t n = strlen(text), i = n;

	while (i > 0 && n - i < 3 && ((unsigned char)text[i - 1] & 0xc0) == 0x80)
		i--;
	if (i > 0 && (unsigned char)text[i - 1] >= 0xc0) {
		unsigned char lead = (unsigned char)text[i - 1];
		size_t whole = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;

		if (n - (i - 1) < whole)
			text[i - 1] = '\0';
	}
	make_readable(text);
}

static bool read_service(const struct view_worker *w, uint32_t index, struct stats_service *out)
{
	if (!stats_read_service(&w->stats, index, out))
		return false;
	clean(out->name);
	clean(out->proxy);
	return true;
}

static bool read_session(const struct view_worker *w, uint32_t index, struct stats_session *out)
{
	char *const texts[] = { out->id, out->doing, out->client_zone, out->server_zone, out->proxy, out->proxy_class,
				out->client_from };

	if (!stats_read_session(&w->stats, index, out))
		return false;
	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		clean(texts[i]);
	return true;
}

static bool generation_lives(const struct control_view *v, uint32_t number)
{
	for (uint32_t i = 0; i < v->status.n_generations; i++)
		if (v->status.generations[i].number == number)
			return true;
	return false;
}

/* The sum that this service belongs to, made when it is not there yet. */
static struct view_retired *retired_of(struct control_view *v, const struct stats_service *service)
{
	struct view_retired *r = v->retired;

	while (r != NULL && (strcmp(r->sum.name, service->name) != 0 || strcmp(r->sum.proxy, service->proxy) != 0))
		r = r->next;
	if (r != NULL)
		return r;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return NULL;
	stats_text(r->sum.name, sizeof(r->sum.name), service->name);
	stats_text(r->sum.proxy, sizeof(r->sum.proxy), service->proxy);
	r->next = v->retired;
	v->retired = r;
	return r;
}

static void add_counts(struct stats_service *to, const struct stats_service *from)
{
	for (unsigned i = 0; i < STATS_VERDICTS; i++)
		to->verdicts[i] += from->verdicts[i];
	for (unsigned i = 0; i < STATS_OCTETS; i++)
		to->octets[i] += from->octets[i];
}

/* Started sessions are counted on from generation to generation; the rest is summed up here. */
static void retire(struct control_view *v, struct view_worker *w)
{
	struct stats_head head;
	struct stats_service service;
	uint64_t counters[COUNTERS_MAX];

	if (stats_read_head(&w->stats, &head)) {
		v->retired_accepted += head.accepted;
		v->retired_refused += head.refused;
		v->retired_dropped += head.log_dropped;
		v->retired_kept += head.servers_kept;
		v->retired_reused += head.servers_reused;
	}
	for (uint32_t i = 0; i < w->stats.n_services && read_service(w, i, &service); i++) {
		struct view_retired *r = retired_of(v, &service);

		if (r == NULL || !stats_read_counters(&w->stats, i, counters))
			continue;
		add_counts(&r->sum, &service);
		for (size_t k = 0; k < COUNTERS_MAX; k++)
			r->counters[k] += counters[k];
	}
	stats_close(&w->stats);
	free(w);
}

void control_view_status(struct control_view *v, struct slice record)
{
	if (record.len != sizeof(v->status))
		return;
	memcpy(&v->status, record.ptr, sizeof(v->status));
	v->have_status = true;
	clean(v->status.policy);
	clean(v->status.logspec);
	clean(v->status.reload_error);
	for (uint32_t i = 0; i < GENERATIONS_MAX; i++)
		clean(v->status.generations[i].fingerprint);
	for (struct view_worker **i = &v->workers; *i != NULL; ) {
		struct view_worker *w = *i;

		if (generation_lives(v, w->generation)) {
			i = &w->next;
			continue;
		}
		*i = w->next;
		control_certificates_forget(v, w->generation);
		retire(v, w);
	}
}

void control_view_channel(struct control_view *v, struct message *m)
{
	struct view_worker *w = m->n_fds == 1 ? calloc(1, sizeof(*w)) : NULL;

	if (w == NULL)
		return;
	w->generation = m->number;
	w->slot = m->slot;
	if (stats_open(&w->stats, m->fds[0]) != 0) {
		free(w);
		return;
	}
	m->n_fds = 0;
	w->next = v->workers;
	v->workers = w;
}

/* ---- answers ---- */

json_t *control_refusal(int exit_status, const char *why)
{
	return json_pack("{s:b,s:s,s:i}", "ok", 0, "error", why, "exit", exit_status);
}

static json_t *worker_json(const struct view_worker *w)
{
	struct stats_head head;

	if (!stats_read_head(&w->stats, &head))
		return NULL;
	return json_pack("{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}", "generation", (json_int_t)w->generation,
			 "slot", (json_int_t)w->slot, "pid", (json_int_t)head.pid,
			 "started_ms", (json_int_t)head.start_wall_ms, "sessions", (json_int_t)head.sessions,
			 "sessions_max", (json_int_t)head.sessions_max, "accepted", (json_int_t)head.accepted,
			 "refused", (json_int_t)head.refused, "log_lines_dropped", (json_int_t)head.log_dropped,
			 "servers_idle", (json_int_t)head.servers_idle, "servers_reused", (json_int_t)head.servers_reused);
}

static json_t *workers_json(const struct control_view *v)
{
	json_t *all = json_array();

	for (const struct view_worker *w = v->workers; w != NULL; w = w->next) {
		json_t *one = worker_json(w);

		if (one != NULL)
			json_array_insert_new(all, 0, one);
	}
	return all;
}

static json_t *generations_json(const struct status_record *st)
{
	json_t *all = json_array();

	for (uint32_t i = 0; i < st->n_generations && i < GENERATIONS_MAX; i++) {
		const struct status_generation *g = &st->generations[i];

		json_array_append_new(all, json_pack("{s:I,s:s,s:i,s:I,s:I,s:I,s:I,s:s}",
			"generation", (json_int_t)g->number,
			"state", g->state < GENERATION_STATES ? generation_state_names[g->state] : "?",
			"leader_pid", g->leader_pid, "services", (json_int_t)g->n_services,
			"rules", (json_int_t)g->n_rules, "callbacks", (json_int_t)g->n_callbacks,
			"loaded_ms", (json_int_t)g->loaded_wall_ms, "fingerprint", g->fingerprint));
	}
	return all;
}

static json_int_t sessions_running(const struct control_view *v)
{
	struct stats_head head;
	json_int_t n = 0;

	for (const struct view_worker *w = v->workers; w != NULL; w = w->next)
		if (stats_read_head(&w->stats, &head))
			n += head.sessions;
	return n;
}

static json_t *answer_status(struct control_view *v)
{
	const struct status_record *st = &v->status;
	json_t *reload = st->reload_wall_ms == 0 ? json_null() :
		json_pack("{s:I,s:b,s:s}", "at_ms", (json_int_t)st->reload_wall_ms, "ok", st->reload_ok,
			  "error", st->reload_error);

	return json_pack("{s:b,s:s,s:i,s:i,s:I,s:s,s:b,s:b,s:b,s:i,s:s,s:I,s:I,s:I,s:o,s:o,s:o}", "ok", 1,
			 "version", SALLYPORT_VERSION, "pid", st->supervisor_pid, "lookout_pid", st->lookout_pid,
			 "started_ms", (json_int_t)st->start_wall_ms, "policy", st->policy,
			 "kernel_rules", st->kernel, "forging", st->can_forge, "stopping", st->stopping,
			 "verbose_level", st->verbosity, "logspec", st->logspec,
			 "workers", (json_int_t)st->workers, "worker_restarts", (json_int_t)st->worker_restarts,
			 "sessions", sessions_running(v), "last_load", reload,
			 "generations", generations_json(st), "worker_processes", workers_json(v));
}

static json_t *endpoint_json(const struct endpoint *e)
{
	char text[ENDPOINT_TEXT_MAX];

	if (e->ip.family != AF_INET && e->ip.family != AF_INET6)
		return json_null();
	return json_string(endpoint_text(e, text));
}

static json_t *session_json(const struct view_worker *w, const struct stats_session *s)
{
	struct stats_service service;

	if (!read_service(w, s->service, &service))
		return NULL;
	return json_pack("{s:s,s:s,s:I,s:s,s:s,s:I,s:I,s:I,s:s,s:o,s:s,s:o,s:o,s:o,s:o,s:s,s:s,s:I,s:I,s:I,s:I}", "id", s->id,
			 "service", service.name, "rule", (json_int_t)s->rule, "proxy", s->proxy,
			 "proxy_class", s->proxy_class, "generation", (json_int_t)w->generation,
			 "slot", (json_int_t)w->slot, "started_ms", (json_int_t)s->start_wall_ms, "doing", s->doing,
			 "peer_address", endpoint_json(&s->peer), "client_from", s->client_from,
			 "client_address", endpoint_json(&s->client), "client_local", endpoint_json(&s->client_local),
			 "server_address", endpoint_json(&s->server), "server_local", endpoint_json(&s->server_local),
			 "client_zone", s->client_zone, "server_zone", s->server_zone,
			 "octets_from_client", (json_int_t)s->octets[OCTETS_FROM_CLIENT],
			 "octets_to_client", (json_int_t)s->octets[OCTETS_TO_CLIENT],
			 "octets_from_server", (json_int_t)s->octets[OCTETS_FROM_SERVER],
			 "octets_to_server", (json_int_t)s->octets[OCTETS_TO_SERVER]);
}

static json_t *answer_sessions(const struct control_view *v)
{
	json_t *all = json_array();
	struct stats_head head;
	struct stats_session s;

	for (const struct view_worker *w = v->workers; w != NULL; w = w->next) {
		if (!stats_read_head(&w->stats, &head))
			continue;
		for (uint32_t i = 0; i < head.sessions_used && i < w->stats.n_sessions; i++) {
			json_t *one = read_session(w, i, &s) && s.in_use ? session_json(w, &s) : NULL;

			if (one != NULL)
				json_array_append_new(all, one);
		}
	}
	return json_pack("{s:b,s:o}", "ok", 1, "sessions", all);
}

/* A row of sums, made when it is not there yet. */
static json_t *sum_row(json_t *rows, const char *name)
{
	json_t *row = json_object_get(rows, name);

	if (row == NULL) {
		row = json_object();
		json_object_set_new(rows, name, row);
	}
	return row;
}

static void add(json_t *row, const char *key, json_int_t n)
{
	json_object_set_new(row, key, json_integer(json_integer_value(json_object_get(row, key)) + n));
}

static void add_service_counts(json_t *row, const struct stats_service *s)
{
	static const char *const octet_keys[STATS_OCTETS] = {
		[OCTETS_FROM_CLIENT] = "octets_from_client", [OCTETS_TO_CLIENT] = "octets_to_client",
		[OCTETS_FROM_SERVER] = "octets_from_server", [OCTETS_TO_SERVER] = "octets_to_server",
	};

	for (unsigned i = 0; i < STATS_VERDICTS; i++)
		add(row, verdict_names[i], (json_int_t)s->verdicts[i]);
	for (unsigned i = 0; i < STATS_OCTETS; i++)
		add(row, octet_keys[i], (json_int_t)s->octets[i]);
}

static const struct proxy_type *type_named(const char *name)
{
	const struct proxy_type *const *t = proxy_registry_all.types;

	while (*t != NULL && strcmp((*t)->name, name) != 0)
		t++;
	return *t;
}

static void add_counters(json_t *row, const char *proxy, const uint64_t *counters)
{
	const struct proxy_type *type = type_named(proxy);
	const struct counter *c;
	json_t *all = type != NULL ? sum_row(row, "counters") : NULL;

	for (size_t i = 0; all != NULL && (c = counter_of(type, i)) != NULL; i++)
		add(all, c->name, (json_int_t)counters[i]);
}

static uint32_t newest_generation(const struct control_view *v)
{
	uint32_t newest = 0;

	for (uint32_t i = 0; i < v->status.n_generations && i < GENERATIONS_MAX; i++)
		if (v->status.generations[i].state == GENERATION_CURRENT)
			newest = v->status.generations[i].number;
	return newest;
}

static json_t *answer_stats(const struct control_view *v)
{
	json_t *services = json_object();
	json_int_t accepted = (json_int_t)v->retired_accepted, refused = (json_int_t)v->retired_refused;
	json_int_t dropped = (json_int_t)v->retired_dropped;
	json_int_t idle = 0, kept = (json_int_t)v->retired_kept, reused = (json_int_t)v->retired_reused;
	uint32_t newest = newest_generation(v);
	struct stats_head head;
	struct stats_service s;
	uint64_t counters[COUNTERS_MAX];

	for (const struct view_retired *r = v->retired; r != NULL; r = r->next) {
		add_service_counts(sum_row(services, r->sum.name), &r->sum);
		add_counters(sum_row(services, r->sum.name), r->sum.proxy, r->counters);
	}
	for (const struct view_worker *w = v->workers; w != NULL; w = w->next) {
		if (stats_read_head(&w->stats, &head)) {
			accepted += (json_int_t)head.accepted;
			refused += (json_int_t)head.refused;
			dropped += (json_int_t)head.log_dropped;
			idle += head.servers_idle;
			kept += (json_int_t)head.servers_kept;
			reused += (json_int_t)head.servers_reused;
		}
		for (uint32_t i = 0; i < w->stats.n_services && read_service(w, i, &s); i++) {
			json_t *row = sum_row(services, s.name);

			add(row, "session_number", w->generation == newest ? (json_int_t)s.started : 0);
			add(row, "sessions_running", s.running);
			add_service_counts(row, &s);
			if (stats_read_counters(&w->stats, i, counters))
				add_counters(row, s.proxy, counters);
			if (s.last_started_wall_ms > json_integer_value(json_object_get(row, "last_started_ms")))
				json_object_set_new(row, "last_started_ms", json_integer(s.last_started_wall_ms));
		}
	}
	return json_pack("{s:b,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:o,s:o}", "ok", 1, "accepted", accepted, "refused", refused,
			 "sessions_running", sessions_running(v), "log_lines_dropped", dropped, "servers_idle", idle,
			 "servers_kept", kept, "servers_reused", reused, "services", services,
			 "certificates", control_certificates(v, newest));
}

/* ---- requests ---- */

static bool read_text(json_t *value, struct control_request *r, size_t max)
{
	const char *text = json_string_value(value);

	if (text == NULL || json_string_length(value) != strlen(text) || strlen(text) >= max)
		return false;
	memset(r->text, 0, sizeof(r->text));
	memcpy(r->text, text, strlen(text));
	r->has_text = true;
	return true;
}

static json_t *log_request(struct control_view *v, json_t *request, struct control_request *r)
{
	json_t *level = json_object_get(request, "level"), *spec = json_object_get(request, "spec");

	if (level == NULL && spec == NULL)
		return json_pack("{s:b,s:i,s:s}", "ok", 1, "verbose_level", v->status.verbosity,
				 "logspec", v->status.logspec);
	r->op = CONTROL_LOG;
	r->number = -1;
	if (level != NULL && (!json_is_integer(level) || json_integer_value(level) < 0 ||
			      json_integer_value(level) > 10))
		return control_refusal(2, "a level is a number from 0 to 10");
	if (level != NULL)
		r->number = (int32_t)json_integer_value(level);
	if (spec != NULL && !read_text(spec, r, LOGSPEC_MAX))
		return control_refusal(2, "the log specification is too long");
	return NULL;
}

static json_t *change_request(const char *command, json_t *request, struct control_request *r)
{
	if (strcmp(command, "reload") == 0) {
		r->op = CONTROL_RELOAD;
	} else if (strcmp(command, "stop") == 0) {
		r->op = CONTROL_STOP;
		r->number = json_is_true(json_object_get(request, "open"));
	} else if (strcmp(command, "stop-session") == 0) {
		r->op = CONTROL_STOP_SESSION;
		if (!read_text(json_object_get(request, "id"), r, sizeof(r->text)))
			return control_refusal(2, "stop-session needs the id of a session");
	} else {
		return control_refusal(2, "unknown command; there are status, sessions, stats, stop-session, reload, "
				       "log and stop");
	}
	return NULL;
}

static json_t *answer(struct control_view *v, json_t *request, struct control_request *r)
{
	const char *command = json_string_value(json_object_get(request, "command"));

	if (command == NULL)
		return control_refusal(2, "a request is an object with a member \"command\"");
	if (!v->have_status)
		return control_refusal(3, "the supervisor is only starting");
	if (strcmp(command, "status") == 0)
		return answer_status(v);
	if (strcmp(command, "sessions") == 0)
		return answer_sessions(v);
	if (strcmp(command, "names") == 0)
		return control_names(v);
	if (strcmp(command, "stats") == 0)
		return answer_stats(v);
	if (strcmp(command, "log") == 0)
		return log_request(v, request, r);
	return change_request(command, request, r);
}

json_t *control_answer(struct control_view *v, struct slice line, struct control_request *r)
{
	json_t *request = json_loadb((const char *)line.ptr, line.len, JSON_REJECT_DUPLICATES, NULL);
	json_t *reply;

	memset(r, 0, sizeof(*r));
	reply = answer(v, request, r);
	json_decref(request);
	return reply;
}

json_t *control_outcome(const struct message *m)
{
	json_t *reply, *text;

	if (m->value == 0)
		return json_pack("{s:b}", "ok", 1);
	text = json_stringn((const char *)m->body.ptr, m->body.len);
	if (text == NULL)	/* not UTF-8 */
		text = json_string("the supervisor's reason is not readable");
	reply = json_pack("{s:b,s:o,s:I}", "ok", 0, "error", text, "exit", (json_int_t)m->value);
	return reply;
}
