/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole sessions: client and server both say what the fuzzer wants. A model that knows nothing
 * of the proxy's code watches both far ends (smtp_model.h) and holds these to be true always:
 *
 * - the origin receives only whole, well-formed commands that the policy permits, in an order
 *   that its own replies allow, and nothing while it owes no reply to what it said unasked;
 * - what it receives of a message is what the client sent of it, octet for octet, and its end
 *   only if the client sent that and it came by no more hops than are permitted;
 * - it holds exactly the recipients that the client was told it holds;
 * - the client gets a positive reply to a message only if the origin gave one;
 * - where a connection to the origin serves several clients in a row, nothing of one of them is on
 *   it any more when the next one uses it, and no reply that was for one reaches another.
 *
 * Input: one octet that chooses the configuration, with its highest bit connections that serve several clients;
 * then actions: a letter, and for C and S a length octet and so many octets. C, S: that side sends.
 * c, s: it closes. A: the server answers what it owes, as a good one would. w: time passes. N: the
 * next client comes, if the session is over.
 */
#include "fuzz.h"
#include "harness.h"
#include "proxy/smtp/smtp.h"
#include "smtp_model.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPT(...) "{\"key\":[" __VA_ARGS__ "],\"action\":1}"
#define COMMON_RESPONSES \
	ACCEPT("\"Null\",\"220\"") "," ACCEPT("\"Null\",\"554\"") "," ACCEPT("\"*\",\"421\"") "," ACCEPT("\"*\",\"500\"") "," \
	ACCEPT("\"HELO\",\"250\"") "," ACCEPT("\"EHLO\",\"250\"") "," ACCEPT("\"MAIL\",\"250\"") "," ACCEPT("\"MAIL\",\"5\"") "," \
	ACCEPT("\"RCPT\",\"25\"") "," ACCEPT("\"RCPT\",\"4\"") "," ACCEPT("\"RCPT\",\"55\"") "," ACCEPT("\"DATA\",\"354\"") "," \
	ACCEPT("\"DATA\",\"250\"") "," ACCEPT("\"DATA\",\"5\"") "," ACCEPT("\"RSET\",\"250\"") "," ACCEPT("\"NOOP\",\"250\"") "," \
	ACCEPT("\"QUIT\",\"221\"") "," ACCEPT("\"BDAT\",\"25\"") "," ACCEPT("\"BDAT\",\"4\"") "," ACCEPT("\"BDAT\",\"55\"") "," \
	ACCEPT("\"AUTH\",\"235\"") "," ACCEPT("\"AUTH\",\"5\"")
#define COMMON_REQUESTS \
	ACCEPT("\"HELO\"") "," ACCEPT("\"EHLO\"") "," ACCEPT("\"DATA\"") "," ACCEPT("\"BDAT\"") "," ACCEPT("\"AUTH\"") "," ACCEPT("\"RSET\"") "," ACCEPT("\"NOOP\"") "," ACCEPT("\"QUIT\"")
#define HEAD "{\"proxy\":\"smtp\",\"class\":\"Fuzz\",\"class_number\":0,\"per_session\":false,\"at\":[0,1],"
#define NATIVE(verb, name) "{\"key\":[\"" verb "\"],\"action\":6,\"call\":{\"native\":\"smtp." name "\"}}"
#define TABLES(requests, responses, extensions) \
	"\"tables\":{\"request\":[" requests "],\"response\":[" responses "],\"extensions\":[" extensions "]}}"
#define STANDARD_REQUESTS COMMON_REQUESTS "," NATIVE("MAIL", "check_sender") "," NATIVE("RCPT", "check_recipient")

static const struct fuzz_config {
	const char *json;
	struct model_rules rules;
} configs[] = {
	/* The standard class with one domain to relay to. */
	{ HEAD "\"attributes\":{\"relay_domains\":[\"d.example\"]}," TABLES(STANDARD_REQUESTS, COMMON_RESPONSES, ACCEPT("\"*\"")),
	  { .strict_lines = true, .max_hops = 100, .only_domain = "d.example" } },
	/* Everything that a policy can permit is permitted. */
	{ HEAD "\"attributes\":{\"auth_requires_tls\":false,\"permit_unknown_command\":true,\"permit_long_responses\":true},"
	  TABLES(ACCEPT("\"*\""), ACCEPT("\"*\",\"*\""), ACCEPT("\"*\"")),
	  { .strict_lines = true, .max_hops = 100, .may_auth = true, .any_verb = true } },
	/* Lines may end with LF. */
	{ HEAD "\"attributes\":{\"require_crlf\":false,\"relay_check\":false}," TABLES(STANDARD_REQUESTS, COMMON_RESPONSES, ACCEPT("\"*\"")),
	  { .strict_lines = false, .max_hops = 100 } },
	/* The policy refuses what the server accepts. */
	{ HEAD "\"attributes\":{\"auth_requires_tls\":false,\"relay_check\":false},"
	  TABLES(STANDARD_REQUESTS, COMMON_RESPONSES ",{\"key\":[\"RCPT\",\"251\"],\"action\":3,\"args\":[\"550\",\"no\"]},"
		 "{\"key\":[\"MAIL\",\"251\"],\"action\":3},{\"key\":[\"BDAT\",\"251\"],\"action\":3,\"args\":[\"450\",\"later\"]},{\"key\":[\"DATA\",\"25\"],\"action\":3,\"args\":[\"450\",\"later\"]}", ACCEPT("\"*\"")),
	  { .strict_lines = true, .max_hops = 100, .may_auth = true } },
	/* Limits of its own, and a face of its own. */
	{ HEAD "\"attributes\":{\"relay_check\":false,\"max_message_size\":40,\"max_received_hops\":1,\"require_8bitmime\":true,\"permit_source_routes\":false,"
	  "\"max_recipients\":2,\"banner\":\"mail.example hello\"}," TABLES(STANDARD_REQUESTS, COMMON_RESPONSES, ACCEPT("\"*\"")),
	  { .strict_lines = true, .max_hops = 1, .max_octets = 40 } },
};
#define CLIENTS_MAX 4
#define N_CONFIGS (sizeof(configs) / sizeof(configs[0]))

/* A session like this; reuse: its connection to the server may serve the next one. */
static struct harness *harness_of(size_t which, bool reuse)
{
	static struct harness harnesses[N_CONFIGS][2];
	static bool made[N_CONFIGS][2];
	struct harness *h = &harnesses[which][reuse];
	json_error_t error;
	json_t *config;

	if (made[which][reuse])
		return h;
	made[which][reuse] = true;
	config = json_loads(configs[which].json, 0, &error);
	FUZZ_CHECK(config != NULL);
	json_object_set_new(json_object_get(config, "attributes"), "reuse_server_sessions", json_boolean(reuse));
	FUZZ_CHECK(harness_init(h, config, NULL, NULL, &smtp_type) == 0);
	json_decref(config);
	return h;
}

struct run {
	struct harness *h;
	struct model *m;
	unsigned connections;		/* that the model knows of */
	unsigned clients;
};

static void listen_to_server(struct run *r, bool former)
{
	static uint8_t buf[16384];
	int fd = former ? r->h->former : r->h->server;
	ssize_t n;

	while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) > 0)
		model_origin_received(r->m, former, slice_of(buf, (size_t)n));
}

static void listen_to_client(struct run *r)
{
	static uint8_t buf[16384];
	int fd = r->h->client;
	ssize_t n;

	while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) > 0)
		model_client_received(r->m, slice_of(buf, (size_t)n));
}

/* What the origin received counts before what the client heard of it, and what came on an older connection first. */
static void listen_to_both(struct run *r)
{
	harness_settle(r->h);
	if (r->connections != r->h->n_connections) {
		FUZZ_CHECK(r->connections + 1 == r->h->n_connections);
		r->connections++;
		model_new_leg(r->m);
	}
	listen_to_server(r, true);
	listen_to_server(r, false);
	listen_to_client(r);
}

/* Let things happen. */
static void watch(struct run *r)
{
	listen_to_both(r);
	listen_to_both(r);
	model_settled(r->m);
}

static void send_to(int fd, struct slice octets)
{
	if (fd >= 0)
		(void)!send(fd, octets.ptr, octets.len, MSG_NOSIGNAL);
}

static void check_end(const struct harness *h)
{
	FUZZ_CHECK(h->ended && h->fault != FAULT_OWN && h->fault != FAULT_RESOURCE);
}

/* Only behind the session before. */
static void connect_next(struct run *r)
{
	if (!r->h->ended || r->clients == CLIENTS_MAX)
		return;
	check_end(r->h);
	r->clients++;
	model_next_client(r->m);
	FUZZ_CHECK(harness_connect(r->h, "10.0.0.1") == 0);
}

static void act(struct run *r, uint8_t what, struct slice octets)
{
	struct harness *h = r->h;
	bool former = harness_uses_former(h);
	int server = former ? h->former : h->server;
	char answer[3072];

	switch (what) {
	case 'C':
		if (h->ended)
			return;
		model_client_sends(r->m, octets);
		send_to(h->client, octets);
		break;
	case 'S':
		model_server_sends(r->m, former, octets);
		send_to(server, octets);
		break;
	case 'A':
		octets = slice_of(answer, model_server_answers(r->m, former, answer, sizeof(answer)));
		send_to(server, octets);
		break;
	case 'c':
		model_client_closed(r->m);
		harness_close_client(h);
		break;
	case 's':
		if (!former)
			harness_close_server(h);
		break;
	case 'w':
		h->now_ms += 200000;
		break;
	case 'N':
		connect_next(r);
		break;
	}
	watch(r);
}

static void play(struct run *r, struct slice rest)
{
	while (rest.len > 0) {
		uint8_t what = rest.ptr[0];
		size_t n = 0;

		rest = slice_skip(rest, 1);
		if ((what == 'C' || what == 'S') && rest.len > 0) {
			n = rest.ptr[0];
			rest = slice_skip(rest, 1);
		}
		act(r, what, slice_take(rest, n));
		rest = slice_skip(rest, n);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool quiet;
	size_t which = size > 0 ? (data[0] & 0x7fu) % N_CONFIGS : 0;
	struct run r;

	if (!quiet)
		log_open(2, LOG_FORMAT_TEXT, 0, "*.*:-1", NULL);
	quiet = true;
	if (size == 0 || size > 16384)
		return 0;
	r = (struct run){ .h = harness_of(which, data[0] >= 0x80), .m = model_create(&configs[which].rules), .clients = 1 };
	r.connections = r.h->n_connections;
	FUZZ_CHECK(harness_connect(r.h, "10.0.0.1") == 0);
	watch(&r);
	play(&r, slice_of(data + 1, size - 1));
	model_client_closed(r.m);
	harness_close_client(r.h);
	watch(&r);
	harness_end(r.h);
	check_end(r.h);
	model_free(r.m);
	return 0;
}
