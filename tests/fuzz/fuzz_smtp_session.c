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
 * - the client gets a positive reply to a message only if the origin gave one.
 *
 * Input: one octet that chooses the configuration, then actions: a letter, and for C and S a
 * length octet and so many octets. C, S: that side sends. c, s: it closes. A: the server answers
 * what it owes, as a good one would. w: time passes.
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
#define N_CONFIGS (sizeof(configs) / sizeof(configs[0]))

static struct harness *harness_of(size_t which)
{
	static struct harness harnesses[N_CONFIGS];
	static bool made[N_CONFIGS];
	json_error_t error;
	json_t *config;

	if (made[which])
		return &harnesses[which];
	made[which] = true;
	config = json_loads(configs[which].json, 0, &error);
	FUZZ_CHECK(config != NULL);
	FUZZ_CHECK(harness_init(&harnesses[which], config, NULL, NULL, &smtp_type) == 0);
	json_decref(config);
	return &harnesses[which];
}

static void listen_to(int fd, struct model *m, void (*tell)(struct model *, struct slice))
{
	static uint8_t buf[16384];
	ssize_t n;

	while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) > 0)
		tell(m, slice_of(buf, (size_t)n));
}

/* Let things happen; what the origin received counts before what the client heard of it. */
static void watch(struct harness *h, struct model *m)
{
	harness_settle(h);
	listen_to(h->server, m, model_origin_received);
	listen_to(h->client, m, model_client_received);
	harness_settle(h);
	listen_to(h->server, m, model_origin_received);
	listen_to(h->client, m, model_client_received);
	model_settled(m);
}

static void send_to(int fd, struct slice octets)
{
	if (fd >= 0)
		(void)!send(fd, octets.ptr, octets.len, MSG_NOSIGNAL);
}

static void act(struct harness *h, struct model *m, uint8_t what, struct slice octets)
{
	char answer[2048];

	switch (what) {
	case 'C':
		model_client_sends(m, octets);
		send_to(h->client, octets);
		break;
	case 'S':
		model_server_sends(m, octets);
		send_to(h->server, octets);
		break;
	case 'A':
		octets = slice_of(answer, model_good_answer(m, answer, sizeof(answer)));
		model_server_sends(m, octets);
		send_to(h->server, octets);
		break;
	case 'c':
		model_client_closed(m);
		harness_close_client(h);
		break;
	case 's':
		harness_close_server(h);
		break;
	case 'w':
		h->now_ms += 200000;
		break;
	}
	watch(h, m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool quiet;
	struct slice rest = slice_of(data + (size > 0), size - (size > 0));
	size_t which = size > 0 ? data[0] % N_CONFIGS : 0;
	struct harness *h;
	struct model *m;

	if (!quiet)
		log_open(2, LOG_FORMAT_TEXT, 0, "*.*:-1", NULL);
	quiet = true;
	if (size == 0 || size > 16384)
		return 0;
	h = harness_of(which);
	m = model_create(&configs[which].rules);
	FUZZ_CHECK(harness_connect(h, "10.0.0.1") == 0);
	watch(h, m);
	while (rest.len > 0 && !h->ended) {
		uint8_t what = rest.ptr[0];
		size_t n = 0;

		rest = slice_skip(rest, 1);
		if ((what == 'C' || what == 'S') && rest.len > 0) {
			n = rest.ptr[0];
			rest = slice_skip(rest, 1);
		}
		act(h, m, what, slice_take(rest, n));
		rest = slice_skip(rest, n);
	}
	model_client_closed(m);
	harness_close_client(h);
	watch(h, m);
	harness_end(h);
	FUZZ_CHECK(h->ended && h->fault != FAULT_OWN && h->fault != FAULT_RESOURCE);
	model_free(m);
	return 0;
}
