/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The packets of the callback conversation. jansson's stack use is not ours to bound, so all of
 * it runs through co_leaf. What comes from the host is checked member by member: an unknown
 * operation, a member of the wrong type, a number out of range refuse the packet.
 */
#include "session/callback_priv.h"

#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>

#define ZD_PROTO_TCP 1			/* numbers of the policy language */
#define ZD_PROTO_UDP 2

/* --- writing */

/* Names are UTF-8, but an id may have been cut in the middle of a character. */
static json_t *text(struct slice s)
{
	json_t *json = json_stringn((const char *)s.ptr, s.len);

	return json != NULL ? json : json_from_octets(s);
}

static json_t *value_to_json(const struct call_value *v)
{
	switch (v->kind) {
	case CALL_INT:
		return json_integer(v->number);
	case CALL_OCTETS:
		return json_from_octets(v->octets);
	default:
		return json_null();
	}
}

static json_t *endpoint_to_json(const struct endpoint *e)
{
	char ip[IP_TEXT_MAX];

	if (e->ip.family == AF_UNSPEC)
		return json_null();
	return json_pack("[si]", ip_text(&e->ip, ip), (int)e->port);
}

static json_t *zone_to_json(const struct zone *zone)
{
	return zone == NULL ? json_null() : text(slice_cstr(zone->name));
}

/* Sets and takes over value; false: no memory. */
static bool set(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) == 0;
}

/* Where a connection to the server would go now; family AF_UNSPEC: nowhere yet. */
static struct endpoint target_of(const struct session *s)
{
	struct connect_request plan = { .remote = { .ip = { .family = AF_UNSPEC } } };
	int err = connect_plan(s->service, &s->client, &s->client_local, &s->target, s->env->can_forge, s->env->forged_mark, &plan);

	return err == 0 || err == -EAFNOSUPPORT ? plan.remote : (struct endpoint){ .ip = { .family = AF_UNSPEC } };
}

static json_t *session_info(const struct proxy *proxy)
{
	const struct session *s = proxy->session;
	const struct rule *rule = s->decision.rule;
	const struct policy *policy = s->env->policy;
	json_t *info = json_object(), *targets = json_array(), *zones = json_array();
	bool fine = info != NULL && targets != NULL && zones != NULL;
	struct endpoint target = target_of(s);

	if (fine && target.ip.family != AF_UNSPEC)
		fine = json_array_append_new(targets, endpoint_to_json(&target)) == 0 &&
		       json_array_append_new(zones, zone_to_json(policy_zone_of(policy, s->env->names, &target.ip))) == 0;
	fine = fine && set(info, "id", text(proxy->id)) &&
	       set(info, "instance", text(slice_cstr(rule != NULL ? policy->instances[rule->instance] : ""))) &&
	       set(info, "service", text(slice_cstr(s->service->name))) &&
	       set(info, "number", json_integer((json_int_t)s->number)) &&
	       set(info, "rule_id", rule != NULL ? json_integer(rule->id) : json_null()) &&
	       set(info, "protocol", json_integer(s->flow.protocol == IPPROTO_UDP ? ZD_PROTO_UDP : ZD_PROTO_TCP)) &&
	       set(info, "client_address", endpoint_to_json(&s->client)) &&
	       set(info, "client_local", endpoint_to_json(&s->client_local)) &&
	       set(info, "client_zone", zone_to_json(s->decision.src_zone)) &&
	       set(info, "server_zone", zone_to_json(s->server_zone)) &&
	       set(info, "server_address", endpoint_to_json(&s->server)) &&
	       set(info, "server_local", endpoint_to_json(&s->server_local)) &&
	       set(info, "target_address", json_incref(targets)) && set(info, "target_zone", json_incref(zones));
	json_decref(targets);
	json_decref(zones);
	if (!fine) {
		json_decref(info);
		return NULL;
	}
	return info;
}

static json_t *args_to_json(const struct call_value *args, size_t n_args)
{
	json_t *array = json_array();

	for (size_t i = 0; i < n_args && array != NULL; i++) {
		if (json_array_append_new(array, value_to_json(&args[i])) < 0) {
			json_decref(array);
			return NULL;
		}
	}
	return array;
}

static bool put_call(json_t *packet, const struct callback_request *r)
{
	const struct proxy *proxy = r->proxy;
	const struct proxy_config *config = proxy->session->service->proxy;
	bool fine = set(packet, "op", json_string(r->method != NULL ? "hook" : "call")) &&
		    set(packet, "session", json_integer((json_int_t)r->session->number)) &&
		    set(packet, "class", json_integer(config->class_number)) &&
		    set(packet, "args", args_to_json(r->args, r->n_args));

	if (r->method != NULL)
		fine = fine && set(packet, "name", json_string(r->method));
	else
		fine = fine && set(packet, "callback", json_integer(r->callback));
	if (r->with_tls)
		fine = fine && set(packet, "tls", callback_tls_to_json(proxy->session));
	return fine && (!r->with_info || set(packet, "session_info", session_info(proxy)));
}

static json_t *request_to_json(const struct callback_request *r)
{
	json_t *packet = json_object();
	bool fine = packet != NULL;

	if (fine && r->kind == REQUEST_CALL)
		fine = put_call(packet, r);
	else if (fine && r->kind == REQUEST_VALUE)
		fine = set(packet, "op", json_string("value")) && set(packet, "result", value_to_json(r->result));
	else if (fine)
		fine = set(packet, "op", json_string("error")) && set(packet, "message", json_string(r->message));
	if (fine && set(packet, "attributes", proxy_state_attributes(&r->proxy->session->state)))
		return packet;
	json_decref(packet);
	return NULL;
}

struct write_leaf {
	const struct callback_request *request;
	uint8_t *buf;
	size_t size;
	int result;
};

static void write_leaf(void *arg)
{
	struct write_leaf *leaf = arg;
	json_t *packet = request_to_json(leaf->request);
	size_t n;

	leaf->result = -ENOMEM;
	if (packet == NULL)
		return;
	n = json_dumpb(packet, (char *)leaf->buf, leaf->size, JSON_COMPACT);
	json_decref(packet);
	if (n != 0)
		leaf->result = n <= leaf->size ? (int)n : -EMSGSIZE;
}

co_waits int callback_packet_write(const struct callback_request *request, uint8_t *buf, size_t size)
{
	struct write_leaf leaf = { request, buf, size, 0 };

	co_leaf(write_leaf, &leaf);
	return leaf.result;
}

/* --- reading */

static int wrong(struct callback_answer *answer, const char *what)
{
	snprintf(answer->why, sizeof(answer->why), "%s", what);
	return -EBADMSG;
}

static json_t *parse(struct slice packet)
{
	return json_loadb((const char *)packet.ptr, packet.len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
}

static int value_from_json(const json_t *json, struct arena *arena, struct call_value *out)
{
	switch (json != NULL ? json_typeof(json) : JSON_NULL) {
	case JSON_NULL:
		*out = (struct call_value){ .kind = CALL_NONE };
		return 0;
	case JSON_TRUE:
	case JSON_FALSE:
		*out = (struct call_value){ .kind = CALL_INT, .number = json_is_true(json) };
		return 0;
	case JSON_INTEGER:
		*out = (struct call_value){ .kind = CALL_INT, .number = json_integer_value(json) };
		return 0;
	case JSON_STRING:
		*out = (struct call_value){ .kind = CALL_OCTETS };
		return json_to_octets(json, arena, &out->octets);
	default:
		return -EBADMSG;
	}
}

/* The C name of a hook in calls to it: "relayCheck" is "relay_check". */
static bool is_hook_name(struct slice name, const char *hook)
{
	size_t at = 0;

	for (; *hook != '\0'; hook++) {
		uint8_t c = (uint8_t)*hook, lower = ascii_lower(c);

		if (lower != c && (at == name.len || name.ptr[at++] != '_'))
			return false;
		if (at == name.len || name.ptr[at++] != lower)
			return false;
	}
	return at == name.len;
}

static const struct hook *find_hook(const struct proxy_type *type, struct slice function)
{
	struct slice prefix = slice_cstr(type->name), name = slice_skip(function, prefix.len + 1);

	if (!slice_starts_with(function, prefix) || function.len <= prefix.len || function.ptr[prefix.len] != '.')
		return NULL;
	for (size_t i = 0; i < type->n_hooks; i++)
		if (type->hooks[i].native != NULL && is_hook_name(name, type->hooks[i].name))
			return &type->hooks[i];
	return NULL;
}

static int read_up(const struct proxy *proxy, const json_t *packet, struct arena *scratch, struct callback_answer *answer)
{
	const json_t *args = json_object_get(packet, "args");

	if (json_to_octets(json_object_get(packet, "function"), scratch, &answer->function_name) < 0)
		return wrong(answer, "a call of no function");
	if ((args != NULL && !json_is_array(args)) || json_array_size(args) > CALLBACK_ARGS_MAX)
		return wrong(answer, "arguments that are no list, or too many");
	answer->n_args = json_array_size(args);
	for (size_t i = 0; i < answer->n_args; i++)
		if (value_from_json(json_array_get(args, i), scratch, &answer->args[i]) < 0)
			return wrong(answer, "an argument that is no value");
	answer->function = find_hook(proxy->type, answer->function_name);
	return 0;
}

static int read_lines(const json_t *packet, struct arena *scratch, struct callback_answer *answer)
{
	const json_t *lines = json_object_get(packet, "traceback");

	if (lines != NULL && !json_is_array(lines))
		return wrong(answer, "a traceback that is no list");
	for (size_t i = 0; i < json_array_size(lines) && answer->n_lines < CALLBACK_LINES_MAX; i++)
		if (json_to_octets(json_array_get(lines, i), scratch, &answer->lines[answer->n_lines++]) < 0)
			return wrong(answer, "a line that is no text");
	if (answer->n_lines != 0)
		return 0;
	if (json_to_octets(json_object_get(packet, "message"), scratch, &answer->lines[0]) < 0)
		return wrong(answer, "no message");
	answer->n_lines = 1;
	return 0;
}

/* A tag is a word with dots: it stands outside of all quotes in a log line. */
static bool is_tag(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!ascii_is_alpha(s.ptr[i]) && !ascii_is_digit(s.ptr[i]) && s.ptr[i] != '.' && s.ptr[i] != '_')
			return false;
	return s.len > 0 && s.len < 64;
}

static int read_level(const json_t *packet, int *out)
{
	const json_t *level = json_object_get(packet, "level");

	if (!json_is_integer(level))
		return -EBADMSG;
	*out = json_integer_value(level) < 0 ? 0 : json_integer_value(level) > 10 ? 10 : (int)json_integer_value(level);
	return 0;
}

static int read_log(const json_t *packet, struct arena *scratch, struct callback_answer *answer)
{
	const json_t *session = json_object_get(packet, "session");

	answer->n_lines = 1;
	if (json_to_octets(json_object_get(packet, "tag"), scratch, &answer->tag) < 0 || !is_tag(answer->tag) ||
	    json_to_octets(json_object_get(packet, "message"), scratch, &answer->lines[0]) < 0 ||
	    (session != NULL && json_to_octets(session, scratch, &answer->log_session) < 0) ||
	    read_level(packet, &answer->level) < 0)
		return wrong(answer, "a log line without a tag, a level or a message");
	return 0;
}

/* The answer to "config": the session's own configuration. */
static int read_configuration(struct proxy *proxy, const struct callback_options *options, const json_t *packet,
			      struct arena *scratch, struct callback_answer *answer)
{
	struct session *s = proxy->session;
	struct policy_problems problems;
	const struct proxy_config_source source = { .policy = options->policy, .arena = s->arena,
						    .problems = &problems, .where = "answer of config()" };
	int err;

	problems_init(&problems, scratch);
	err = proxy_config_read_session(&source, packet, s->service->proxy, &s->own_config);
	if (err == -EINVAL)
		return wrong(answer, problems.first != NULL ? problems.first->message : "not a configuration");
	return err;
}

static int read_changes(struct proxy *proxy, const json_t *packet, struct callback_answer *answer)
{
	const json_t *attributes = json_object_get(packet, "attributes"), *tables = json_object_get(packet, "tables");

	if (attributes == NULL && tables == NULL)
		return 0;
	return proxy_state_change(&proxy->session->state, attributes, tables, answer->why, sizeof(answer->why));
}

/* The result outlives the packet's scratch, until the next result of this session. */
static int read_done(struct proxy *proxy, const json_t *packet, struct arena *scratch, struct callback_answer *answer)
{
	struct callback_session *cs = proxy->host_state;
	struct call_value *result = &answer->result;

	if (value_from_json(json_object_get(packet, "result"), scratch, result) < 0)
		return wrong(answer, "a result that is neither a number nor a string");
	if (callback_tls_read(proxy->session, packet) < 0)
		return wrong(answer, "a certificate that nobody asked for, or that is none");
	return result->kind == CALL_OCTETS ? arena_room_keep(proxy->arena, &cs->result, result->octets, &result->octets) : 0;
}

static const char *const op_names[] = {
	[CALLBACK_UP] = "up", [CALLBACK_DONE] = "done", [CALLBACK_RAISED] = "raised", [CALLBACK_LOG] = "log",
};
static_assert(ARRAY_LEN(op_names) == CALLBACK_OP_COUNT, "a name for each operation");

static int read_op(const json_t *packet, struct callback_answer *answer)
{
	const char *op = json_string_value(json_object_get(packet, "op"));

	for (unsigned i = 0; op != NULL && i < CALLBACK_OP_COUNT; i++) {
		if (strcmp(op, op_names[i]) == 0) {
			answer->op = (enum callback_op)i;
			return 0;
		}
	}
	return wrong(answer, "an unknown packet");
}

struct read_leaf {
	struct proxy *proxy;
	const struct callback_options *options;
	bool configure;
	struct slice packet;
	struct arena *scratch;
	struct callback_answer *answer;
	int result;
};

static int read_members(const struct read_leaf *leaf, const json_t *packet)
{
	struct callback_answer *answer = leaf->answer;
	int err = 0;

	switch (answer->op) {
	case CALLBACK_LOG:
		return read_log(packet, leaf->scratch, answer);
	case CALLBACK_UP:
		err = read_up(leaf->proxy, packet, leaf->scratch, answer);
		break;
	case CALLBACK_RAISED:
		err = read_lines(packet, leaf->scratch, answer);
		break;
	default:
		if (leaf->configure)
			return read_configuration(leaf->proxy, leaf->options, packet, leaf->scratch, answer);
		err = read_done(leaf->proxy, packet, leaf->scratch, answer);
	}
	return err == 0 ? read_changes(leaf->proxy, packet, answer) : err;
}

static void read_leaf(void *arg)
{
	struct read_leaf *leaf = arg;
	json_t *packet = parse(leaf->packet);

	leaf->answer->op = CALLBACK_OP_COUNT;
	leaf->result = json_is_object(packet) ? read_op(packet, leaf->answer) : wrong(leaf->answer, "not a packet");
	if (leaf->result == 0)
		leaf->result = read_members(leaf, packet);
	json_decref(packet);
}

co_waits int callback_packet_read(struct proxy *proxy, const struct callback_options *options, bool configure,
				  struct slice packet, struct arena *scratch, struct callback_answer *answer)
{
	struct read_leaf leaf = { proxy, options, configure, packet, scratch, answer, 0 };

	co_leaf(read_leaf, &leaf);
	return leaf.result;
}

/* --- the control connection: small packets, read and written on the loop's own stack */

static int read_control_number(const json_t *packet, const char *key, uint64_t *out)
{
	const json_t *number = json_object_get(packet, key);

	if (!json_is_integer(number) || json_integer_value(number) < 0)
		return -EBADMSG;
	*out = (uint64_t)json_integer_value(number);
	return 0;
}

static int read_control_log(const json_t *packet, struct control_packet *out)
{
	const json_t *tag = json_object_get(packet, "tag"), *message = json_object_get(packet, "message");
	struct slice name = slice_of(json_string_value(tag), json_string_length(tag));
	struct arena *arena = arena_create(SIZE_MAX, 0);
	struct slice octets;
	int err = arena != NULL && is_tag(name) ? read_level(packet, &out->level) : -EBADMSG;

	if (err == 0 && json_to_octets(message, arena, &octets) < 0)
		err = -EBADMSG;
	if (err == 0) {
		memcpy(out->tag, name.ptr, name.len);
		out->tag[name.len] = '\0';
		out->message_len = slice_take(octets, sizeof(out->message)).len;
		memcpy(out->message, octets.ptr, out->message_len);
	}
	arena_free(&arena);
	return err;
}

static int read_control(const json_t *packet, struct control_packet *out)
{
	const char *op = json_string_value(json_object_get(packet, "op"));

	if (op == NULL)
		return -EBADMSG;
	if (strcmp(op, "serving") == 0) {
		out->op = CONTROL_SERVING;
		return read_control_number(packet, "pid", &out->number);
	}
	if (strcmp(op, "pong") == 0) {
		out->op = CONTROL_PONG;
		return read_control_number(packet, "number", &out->number);
	}
	if (strcmp(op, "ended") == 0) {
		out->op = CONTROL_ENDED;
		return read_control_number(packet, "connection", &out->number);
	}
	out->op = CONTROL_LOG;
	return strcmp(op, "log") == 0 ? read_control_log(packet, out) : -EBADMSG;
}

int control_packet_read(struct slice packet, struct control_packet *out)
{
	json_t *json = packet.len <= CALLBACK_PACKET_MAX ? parse(packet) : NULL;
	int err = json_is_object(json) ? read_control(json, out) : -EBADMSG;

	json_decref(json);
	return err;
}

int control_packet_write(char *buf, size_t size, const char *op, const char *key, uint64_t number)
{
	return snprintf(buf, size, "{\"op\":\"%s\",\"%s\":%llu}", op, key, (unsigned long long)number);
}

int control_hello_write(char *buf, size_t size)
{
	json_t *packet = json_pack("{sssiss}", "op", "hello", "verbosity", log_verbosity(), "spec", log_spec());
	size_t n = packet != NULL ? json_dumpb(packet, buf, size, JSON_COMPACT) : 0;

	json_decref(packet);
	return n == 0 ? -ENOMEM : n <= size ? (int)n : -EMSGSIZE;
}
