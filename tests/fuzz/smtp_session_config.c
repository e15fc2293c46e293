/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp_session_config.h"

#include "encryption.h"
#include "fuzz.h"
#include "proxy/smtp/smtp.h"

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
#define TLS_REQUESTS STANDARD_REQUESTS "," ACCEPT("\"STARTTLS\"")
#define TLS_RESPONSES \
	COMMON_RESPONSES "," ACCEPT("\"STARTTLS\",\"220\"") "," ACCEPT("\"STARTTLS\",\"4\"") "," ACCEPT("\"STARTTLS\",\"5\"") "," ACCEPT("\"AUTH\",\"334\"")
#define TLS_CONFIG(attributes) HEAD "\"attributes\":{\"relay_check\":false" attributes "}," TABLES(TLS_REQUESTS, TLS_RESPONSES, ACCEPT("\"*\""))
#define STANDARD_REQUESTS COMMON_REQUESTS "," NATIVE("MAIL", "check_sender") "," NATIVE("RCPT", "check_recipient")

static const struct fuzz_config {
	const char *tls;		/* as in a transcript (tests/transcripts/README.md); NULL: none */
	const char *json;
	struct model_rules rules;
} configs[] = {
	/* The standard class with one domain to relay to. */
	{ NULL, HEAD "\"attributes\":{\"relay_domains\":[\"d.example\"]}," TABLES(STANDARD_REQUESTS, COMMON_RESPONSES, ACCEPT("\"*\"")),
	  { .strict_lines = true, .max_hops = 100, .only_domain = "d.example" } },
	/* Everything that a policy can permit is permitted. */
	{ NULL, HEAD "\"attributes\":{\"auth_requires_tls\":false,\"permit_unknown_command\":true,\"permit_long_responses\":true},"
	  TABLES(ACCEPT("\"*\""), ACCEPT("\"*\",\"*\""), ACCEPT("\"*\"")),
	  { .strict_lines = true, .max_hops = 100, .may_auth = true, .any_verb = true } },
	/* Lines may end with LF. */
	{ NULL, HEAD "\"attributes\":{\"require_crlf\":false,\"relay_check\":false}," TABLES(STANDARD_REQUESTS, COMMON_RESPONSES, ACCEPT("\"*\"")),
	  { .strict_lines = false, .max_hops = 100 } },
	/* The policy refuses what the server accepts. */
	{ NULL, HEAD "\"attributes\":{\"auth_requires_tls\":false,\"relay_check\":false},"
	  TABLES(STANDARD_REQUESTS, COMMON_RESPONSES ",{\"key\":[\"RCPT\",\"251\"],\"action\":3,\"args\":[\"550\",\"no\"]},"
		 "{\"key\":[\"MAIL\",\"251\"],\"action\":3},{\"key\":[\"BDAT\",\"251\"],\"action\":3,\"args\":[\"450\",\"later\"]},{\"key\":[\"DATA\",\"25\"],\"action\":3,\"args\":[\"450\",\"later\"]}", ACCEPT("\"*\"")),
	  { .strict_lines = true, .max_hops = 100, .may_auth = true } },
	/* Limits of its own, and a face of its own. */
	{ NULL, HEAD "\"attributes\":{\"relay_check\":false,\"max_message_size\":40,\"max_received_hops\":1,\"require_8bitmime\":true,\"permit_source_routes\":false,"
	  "\"max_recipients\":2,\"banner\":\"mail.example hello\"}," TABLES(STANDARD_REQUESTS, COMMON_RESPONSES, ACCEPT("\"*\"")),
	  { .strict_lines = true, .max_hops = 1, .max_octets = 40 } },
	/* The client's STARTTLS goes on to the server. */
	{ "client=accept server=forward",
	  TLS_CONFIG(""), { .strict_lines = true, .max_hops = 100, .client_tls = true, .server_tls = true } },
	/* It is answered here, and the server hears nothing of it. */
	{ "client=accept server=off",
	  TLS_CONFIG(""), { .strict_lines = true, .max_hops = 100, .client_tls = true } },
	/* The same, with AUTH in plain text, and the server has TLS from its first octet. */
	{ "client=accept server=force", TLS_CONFIG(",\"auth_requires_tls\":false"),
	  { .strict_lines = true, .max_hops = 100, .may_auth = true, .client_tls = true, .server_tls_first = true } },
	/* The client never has TLS, the server always. */
	{ "client=off server=forward",
	  TLS_CONFIG(""), { .strict_lines = true, .max_hops = 100, .server_tls = true, .server_tls_needed = true } },
	/* Both must have it, each for itself. */
	{ "client=accept server=forward",
	  TLS_CONFIG(",\"require_server_tls\":true,\"require_client_tls\":true"),
	  { .strict_lines = true, .max_hops = 100, .client_tls = true, .server_tls = true, .client_tls_needed = true, .server_tls_needed = true } },
	/* The client has it from its first octet, the server by a STARTTLS of ours. */
	{ "client=force server=forward", TLS_CONFIG(""),
	  { .strict_lines = true, .max_hops = 100, .client_tls_first = true, .server_tls = true, .client_tls_needed = true, .server_tls_needed = true } },
	/* What is behind a STARTTLS is theirs. */
	{ "client=accept server=forward",
	  TLS_CONFIG(",\"tls_passthrough\":true"),
	  { .strict_lines = true, .max_hops = 100, .client_tls = true, .server_tls = true, .passthrough = true } },
	/* Everything is permitted, and the server's handshake comes first. */
	{ "client=accept server=forward server_first",
	  HEAD "\"attributes\":{\"auth_requires_tls\":false,\"permit_unknown_command\":true,\"permit_long_responses\":true,\"permit_early_input\":true},"
	  TABLES(ACCEPT("\"*\""), ACCEPT("\"*\",\"*\""), ACCEPT("\"*\"")),
	  { .strict_lines = true, .max_hops = 100, .may_auth = true, .early_input = true, .any_verb = true, .client_tls = true, .server_tls = true } },
};
#define N_CONFIGS (sizeof(configs) / sizeof(configs[0]))

size_t smtp_session_configs(void)
{
	return N_CONFIGS;
}

const struct model_rules *smtp_session_rules(size_t which)
{
	return &configs[which].rules;
}

static void make(struct harness *h, const struct fuzz_config *c, bool reuse)
{
	const char *unknown;
	json_error_t error;
	json_t *config = json_loads(c->json, 0, &error);
	json_t *members = c->tls != NULL ? encryption_members(c->tls, &unknown) : NULL;
	json_t *service = c->tls != NULL ? json_pack("{s:i}", "encryption", 0) : NULL;

	FUZZ_CHECK(config != NULL && (members != NULL) == (c->tls != NULL));
	json_object_set_new(json_object_get(config, "attributes"), "reuse_server_sessions", json_boolean(reuse));
	FUZZ_CHECK(harness_init(h, config, members, service, &smtp_type) == 0);
	json_decref(config);
	json_decref(members);
	json_decref(service);
}

struct harness *smtp_session_harness(size_t which, bool reuse)
{
	static struct harness harnesses[N_CONFIGS][2];
	static bool made[N_CONFIGS][2];
	struct harness *h = &harnesses[which][reuse];

	if (!made[which][reuse])
		make(h, &configs[which], reuse);
	made[which][reuse] = true;
	return h;
}
