/* SPDX-License-Identifier: Apache-2.0 */
/* Keys, certificates and encryptions of a document, and all that must be refused of them. */
#include "build.h"
#include "policy/proxy_config.h"

#include <errno.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

/* One of everything. The tests of refusals change a piece of it. */
static const char whole[] =
	"{\"format\":\"sallyport-policy\",\"version\":1,\"files\":[\"/p.py\"],\"instances\":[\"i\"],\"zones\":[],"
	"\"matchers\":[{\"match\":[[\"^mail\",\"mail\"]],\"ignore\":[]}],\"secrets\":2,"
	"\"tls_keys\":[{\"file\":\"/keys/a\\u00e9.pem\",\"passphrase\":1,\"at\":[0,1]},{\"secret\":0}],"
	"\"tls_certificates\":[{\"file\":\"/a.pem\",\"pem\":\"-----BEGIN A\\n\",\"key\":0,\"at\":[0,2]},"
	"{\"pem\":\"B\",\"key\":1}],"
	"\"encryptions\":[{\"name\":\"both\",\"at\":[0,3],\"handshake_timeout\":5000,\"server_first\":true,"
	"\"client\":{\"security\":2,\"certificate\":{\"named\":[[{\"matcher\":0},1],[{\"callback\":2},0]],\"static\":0,"
	"\"setup_key\":{\"callback\":1}},"
	"\"verifier\":{\"type\":1,\"depth\":7,\"ca_directory\":\"/ca\",\"crl_directory\":\"/crl\",\"hint_directory\":\"/hint\","
	"\"pinned_directory\":\"/pin\",\"permit_invalid\":true,\"permit_missing_crl\":true,\"verify\":{\"callback\":0}},"
	"\"options\":{\"versions\":[\"TLSv1.1\",\"TLSv1.2\"],\"ciphers\":\"HIGH\",\"ciphersuites\":\"TLS_AES_128_GCM_SHA256\","
	"\"groups\":\"X25519\",\"dh\":\"DH\\n\",\"server_preference\":true,\"tickets\":false,\"session_seconds\":60,"
	"\"alpn\":[\"smtp\",\"http/1.1\"],\"ocsp_file\":\"/ocsp\"}},"
	"\"server\":{\"security\":3,\"verifier\":{\"type\":4},\"options\":{}}},"
	"{\"name\":\"bridged\",\"server_first\":true,\"client\":{\"security\":1,\"certificate\":{\"bridge\":{\"key\":1,\"trusted_ca\":0,\"untrusted_ca\":1,"
	"\"cache_directory\":\"/cache\",\"extensions\":[\"keyUsage\"]}},\"verifier\":{\"type\":0},\"options\":{}},"
	"\"server\":{\"security\":1,\"verifier\":{\"type\":3,\"check_subject\":false},\"options\":{}}},"
	"{\"name\":\"plain\",\"client\":{\"security\":0},\"server\":{\"security\":0}}],"
	"\"configs\":[{\"proxy\":\"sample\",\"class\":\"C\",\"class_number\":0,\"encryption\":1},"
	"{\"proxy\":\"sample\",\"class\":\"D\"}],"
	"\"services\":[{\"name\":\"s\",\"kind\":\"proxy\",\"config\":0,\"router\":{\"type\":\"transparent\"},\"encryption\":0},"
	"{\"name\":\"t\",\"kind\":\"proxy\",\"config\":1,\"router\":{\"type\":\"transparent\"}}],"
	"\"rules\":[],\"callbacks\":3}";

static struct arena *arena;

static int setup(void **state)
{
	(void)state;
	arena = arena_create((size_t)64 << 20, 0);
	return arena == NULL;
}

static int teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

static const struct policy *build_whole(void)
{
	const struct policy *p = NULL;

	assert_string_equal(build_document(arena, slice_cstr(whole), &p), "");
	return p;
}

static void keys_and_certificates_are_read(void **state)
{
	const struct policy *p = build_whole();

	(void)state;
	assert_int_equal(p->n_secrets, 2);
	assert_int_equal(p->n_tls_keys, 2);
	assert_string_equal(p->tls_keys[0].file, "/keys/a\xe9.pem");
	assert_int_equal(p->tls_keys[0].secret, TLS_NO_SECRET);
	assert_int_equal(p->tls_keys[0].passphrase, 1);
	assert_int_equal(p->tls_keys[0].place.line, 1);
	assert_null(p->tls_keys[1].file);
	assert_int_equal(p->tls_keys[1].secret, 0);
	assert_int_equal(p->tls_keys[1].passphrase, TLS_NO_SECRET);
	assert_int_equal(p->n_tls_certificates, 2);
	assert_string_equal(p->tls_certificates[0].file, "/a.pem");
	assert_true(slice_equal(p->tls_certificates[0].pem, SLICE("-----BEGIN A\n")));
	assert_ptr_equal(p->tls_certificates[0].key, &p->tls_keys[0]);
	assert_null(p->tls_certificates[1].file);
	assert_int_equal(p->tls_certificates[1].index, 1);
}

static void the_client_side_is_read(void **state)
{
	const struct policy *p = build_whole();
	const struct encryption *e = &p->encryptions[0];
	const struct tls_side *c = &e->sides[TLS_CLIENT];

	(void)state;
	assert_string_equal(e->name, "both");
	assert_int_equal(e->handshake_timeout_ms, 5000);
	assert_true(e->server_first);
	assert_int_equal(e->place.line, 3);
	assert_int_equal(c->security, TLS_ACCEPT_STARTTLS);
	assert_int_equal(c->own.n_named, 2);
	assert_non_null(c->own.named[0].name.matcher);
	assert_ptr_equal(c->own.named[0].certificate, &p->tls_certificates[1]);
	assert_int_equal(c->own.named[1].name.callback, 2);
	assert_ptr_equal(c->own.fallback, &p->tls_certificates[0]);
	assert_null(c->own.bridge);
	assert_int_equal(c->own.setup_key.callback, 1);
	assert_int_equal(c->verifier.type, TLS_VERIFY_OPTIONAL_UNTRUSTED);
	assert_int_equal(c->verifier.depth, 7);
	assert_string_equal(c->verifier.ca_directory, "/ca");
	assert_string_equal(c->verifier.crl_directory, "/crl");
	assert_string_equal(c->verifier.hint_directory, "/hint");
	assert_string_equal(c->verifier.pinned_directory, "/pin");
	assert_true(c->verifier.permit_invalid && c->verifier.permit_missing_crl && !c->verifier.check_subject);
	assert_int_equal(c->verifier.verify.callback, 0);
	assert_int_equal(c->options.version_min, 0x0302);
	assert_int_equal(c->options.version_max, 0x0303);
	assert_string_equal(c->options.ciphers, "HIGH");
	assert_string_equal(c->options.ciphersuites, "TLS_AES_128_GCM_SHA256");
	assert_string_equal(c->options.groups, "X25519");
	assert_string_equal(c->options.dh_pem, "DH\n");
	assert_true(c->options.server_preference && !c->options.tickets);
	assert_int_equal(c->options.session_seconds, 60);
	assert_int_equal(c->options.n_alpn, 2);
	assert_string_equal(c->options.alpn[1], "http/1.1");
	assert_string_equal(c->options.ocsp_file, "/ocsp");
}

static void what_is_missing_has_safe_defaults(void **state)
{
	const struct policy *p = build_whole();
	const struct tls_side *s = &p->encryptions[0].sides[TLS_SERVER];

	(void)state;
	assert_int_equal(s->security, TLS_FORWARD_STARTTLS);
	assert_int_equal(s->own.setup_key.callback, -1);
	assert_null(s->own.fallback);
	assert_int_equal(s->verifier.type, TLS_VERIFY_REQUIRED_TRUSTED);
	assert_int_equal(s->verifier.depth, 4);
	assert_true(s->verifier.check_subject && !s->verifier.permit_invalid && !s->verifier.permit_missing_crl);
	assert_int_equal(s->verifier.dane, TLS_DANE_OFF);
	assert_null(s->verifier.mta_sts);
	assert_false(s->verifier.mta_sts_required);
	assert_int_equal(s->verifier.verify.callback, -1);
	assert_null(s->verifier.ca_directory);
	assert_int_equal(s->options.version_min, 0x0303);
	assert_int_equal(s->options.version_max, 0x0304);
	assert_string_equal(s->options.ciphers, "HIGH:!aNULL:@STRENGTH");
	assert_null(s->options.groups);
	assert_int_equal(s->options.session_seconds, 300);
	assert_int_equal(p->encryptions[1].handshake_timeout_ms, 30000);
	assert_false(p->encryptions[2].server_first);
	assert_true(p->encryptions[1].sides[TLS_CLIENT].options.tickets);
	assert_int_equal(p->encryptions[2].sides[TLS_CLIENT].security, TLS_OFF);
	assert_int_equal(p->encryptions[2].sides[TLS_CLIENT].own.setup_key.callback, -1);
}

static void bridges_are_read(void **state)
{
	const struct policy *p = build_whole();
	const struct tls_bridge *b = p->encryptions[1].sides[TLS_CLIENT].own.bridge;

	(void)state;
	assert_non_null(b);
	assert_ptr_equal(b->key, &p->tls_keys[1]);
	assert_ptr_equal(b->trusted_ca, &p->tls_certificates[0]);
	assert_ptr_equal(b->untrusted_ca, &p->tls_certificates[1]);
	assert_string_equal(b->cache_directory, "/cache");
	assert_int_equal(b->n_extensions, 1);
	assert_false(p->encryptions[1].sides[TLS_SERVER].verifier.check_subject);
}

static void services_and_configurations_name_theirs(void **state)
{
	const struct policy *p = build_whole();

	(void)state;
	assert_ptr_equal(p->services[0].encryption, &p->encryptions[0]);
	assert_ptr_equal(p->services[0].proxy->encryption, &p->encryptions[1]);
	assert_null(p->services[1].encryption);
	assert_null(p->services[1].proxy->encryption);
	assert_true(p->needs_host);
	assert_true(encryption_calls_host(&p->encryptions[0]));
	assert_false(encryption_calls_host(&p->encryptions[1]));
}

static const char *session_config(const struct policy *p, const char *members, struct proxy_config *out)
{
	struct policy_problems problems;
	const struct proxy_config_source source = { .registry = &sample_registry, .policy = p, .arena = arena,
						    .problems = &problems };
	json_t *json = json_loads(members, 0, NULL);
	int err;

	problems_init(&problems, arena);
	assert_non_null(json);
	err = proxy_config_read_session(&source, json, p->services[0].proxy, out);
	json_decref(json);
	return err == 0 ? "" : problems.first->message;
}

/* What the class had at load says nothing about a session that was configured anew. */
static void a_session_chooses_anew(void **state)
{
	const struct policy *p = build_whole();
	struct proxy_config config;

	(void)state;
	assert_string_equal(session_config(p, "{\"encryption\":0}", &config), "");
	assert_ptr_equal(config.encryption, &p->encryptions[0]);
	assert_true(config.has_callbacks);
	assert_string_equal(session_config(p, "{}", &config), "");
	assert_null(config.encryption);
	assert_non_null(strstr(session_config(p, "{\"encryption\":3}", &config), "must be from 0 to 2"));
	assert_non_null(strstr(session_config(p, "{\"encryption\":null}", &config), "must be an integer"));
}

/* The file of a certificate is watched by itself: what is in it is not what somebody changed in the policy. */
static const char *name_without_files(const char *pem, const char *other_pem)
{
	const struct policy *p = NULL;
	char *text;

	assert_true(asprintf(&text, "{\"format\":\"sallyport-policy\",\"version\":1,\"files\":[\"/p\"],\"instances\":[],\"zones\":[],"
			     "\"matchers\":[{\"match\":[[\"a\",\"a\"]],\"ignore\":[],\"files\":[\"/m\"]}],\"tls_keys\":[{\"file\":\"/k\"}],"
			     "\"tls_certificates\":[{\"file\":\"/c\",\"pem\":\"%s\",\"key\":0},{\"pem\":\"%s\",\"key\":0}],"
			     "\"configs\":[],\"services\":[],\"rules\":[],\"callbacks\":0}", pem, other_pem) > 0);
	assert_string_equal(build_document(arena, slice_cstr(text), &p), "");
	free(text);
	assert_non_null(p->fingerprint_without_files);
	return p->fingerprint_without_files;
}

static void certificates_of_files_are_no_change_of_the_policy(void **state)
{
	(void)state;
	assert_string_equal(name_without_files("A", "B"), name_without_files("C", "B"));
	assert_string_not_equal(name_without_files("A", "B"), name_without_files("A", "C"));
}

/* The first piece that is from becomes to; what is said then. */
static const char *changed(const char *from, const char *to)
{
	const char *at = strstr(whole, from);
	const struct policy *p = NULL;
	const char *says;
	char *text;

	if (at == NULL)
		fail_msg("no '%s' in the document", from);
	assert_true(asprintf(&text, "%.*s%s%s", (int)(at - whole), whole, to, at + strlen(from)) > 0);
	says = build_document(arena, slice_cstr(text), &p);
	free(text);
	return says;
}

static const struct {
	const char *from, *to, *says;
} refusals[] = {
	{ "\"secrets\":2", "\"secrets\":1", "tls_keys[0].passphrase: is 1, must be from 0 to 0" },
	{ "\"secrets\":2", "\"secrets\":0", "tls_keys[0].passphrase: is an index, but there are none" },
	{ "\"secrets\":2", "\"secrets\":-1", "must be from 0" },
	{ "\"secrets\":2", "\"secrets\":16385", "must be from 0 to 16384" },
	{ "\"secrets\":2", "\"secrets\":[\"x\"]", "must be an integer" },
	{ "{\"secret\":0}", "{}", "either a file or a secret" },
	{ "{\"secret\":0}", "{\"secret\":0,\"file\":\"/x\"}", "either a file or a secret" },
	{ "{\"secret\":0}", "{\"secret\":0,\"pem\":\"x\"}", "unknown member 'pem'" },
	{ "/keys/a\\u00e9.pem", "keys/a.pem", "absolute file name" },
	{ "/keys/a\\u00e9.pem", "", "must have from 1 to 4095" },
	{ "/keys/a\\u00e9.pem", "/\\u0100", "is not a string of octets" },
	{ "/a.pem\",\"pem\"", "/a\\u0000.pem\",\"pem\"", "NUL" },
	{ "\"pem\":\"B\",\"key\":1", "\"pem\":\"B\"", "must have pem and key" },
	{ "\"pem\":\"B\",\"key\":1", "\"pem\":\"\",\"key\":1", "must have from 1" },
	{ "\"pem\":\"B\",\"key\":1", "\"file\":\"/b\",\"key\":1", "must have pem and key" },
	{ "\"pem\":\"B\",\"key\":1", "\"pem\":\"B\",\"key\":2", "tls_certificates[1].key: is 2" },
	{ "\"handshake_timeout\":5000", "\"handshake_timeout\":0", "must be from 1" },
	{ "\"server_first\":true", "\"server_first\":3", "must be true or false" },
	{ "\"client\":{\"security\":2", "\"client\":{\"security\":3", "security can't be 3" },
	{ "\"client\":{\"security\":2", "\"client\":{\"security\":4", "must be from 0 to 3" },
	{ "\"client\":{\"security\":2", "\"client\":{\"security\":0", "unknown member 'certificate'" },
	{ "\"server\":{\"security\":3", "\"server\":{\"security\":2", "security can't be 2" },
	{ "\"server\":{\"security\":3", "\"server\":{\"secure\":3", "unknown member 'secure'" },
	{ ",\"server\":{\"security\":3,\"verifier\":{\"type\":4},\"options\":{}}", "", "server: must be an object" },
	{ "\"security\":3,\"verifier\":{\"type\":4},", "\"security\":3,", "verifier: must be an object" },
	{ "\"verifier\":{\"type\":4},\"options\":{}", "\"verifier\":{\"type\":4}", "options: must be an object" },
	{ "\"verifier\":{\"type\":4}", "\"verifier\":{}", "verifier.type: must be an integer" },
	{ "\"verifier\":{\"type\":4}", "\"verifier\":{\"type\":5}", "must be from 0 to 4" },
	{ "\"verifier\":{\"type\":4}", "\"verifier\":{\"type\":4,\"hint_directory\":\"/h\"}", "client's side" },
	{ "\"permit_invalid\":true", "\"check_subject\":true", "server's side" },
	{ "\"permit_invalid\":true", "\"dane\":1", "dane is for the server's side" },
	{ "\"verifier\":{\"type\":4}", "\"verifier\":{\"type\":4,\"dane\":3}", "must be from 0 to 2" },
	{ "\"verifier\":{\"type\":4}", "\"verifier\":{\"type\":4,\"dane\":-1}", "must be from 0 to 2" },
	{ "\"verifier\":{\"type\":4}", "\"verifier\":{\"type\":4,\"dane\":true}", "must be an integer" },
	{ "\"permit_invalid\":true", "\"mta_sts\":\"a.example\"", "mta_sts is for the server's side" },
	{ "\"verifier\":{\"type\":4}", "\"verifier\":{\"type\":4,\"mta_sts\":\"a.example\"}", "mta_sts needs ca_directory" },
	{ "\"verifier\":{\"type\":4}", "\"verifier\":{\"type\":4,\"mta_sts_required\":true}", "mta_sts_required needs mta_sts" },
	{ "\"verifier\":{\"type\":4}", "\"verifier\":{\"type\":4,\"ca_directory\":\"/ca\",\"mta_sts\":\"A.example\"}", "not the name of a domain" },
	{ "\"verifier\":{\"type\":4}", "\"verifier\":{\"type\":4,\"ca_directory\":\"/ca\",\"mta_sts\":\"192.0.2.1\"}", "not the name of a domain" },
	{ "\"verifier\":{\"type\":4}", "\"verifier\":{\"type\":4,\"ca_directory\":\"/ca\",\"mta_sts\":\"\"}", "mta_sts" },
	{ "\"verifier\":{\"type\":4}", "\"verifier\":{\"type\":4,\"ca_directory\":\"/ca\",\"mta_sts\":7}", "mta_sts" },
	{ "\"depth\":7", "\"depth\":101", "must be from 0 to 100" },
	{ "\"ca_directory\":\"/ca\"", "\"ca_directory\":\"ca\"", "absolute" },
	{ "\"verify\":{\"callback\":0}", "\"verify\":{\"callback\":3}", "must be from 0 to 2" },
	{ "\"verify\":{\"callback\":0}", "\"verify\":{\"native\":\"x\"}", "unknown member 'native'" },
	{ "\"verify\":{\"callback\":0}", "\"verify\":{}", "must be {\"callback\": N}" },
	{ "{\"matcher\":0},1", "{\"matcher\":1},1", "named[0]" },
	{ "{\"matcher\":0},1", "{\"matcher\":0},2", "must be from 0 to 1" },
	{ "{\"matcher\":0},1", "{\"matcher\":0}", "must be [matcher, certificate]" },
	{ "{\"matcher\":0},1", "null,1", "must be an object" },
	{ "{\"named\":[[{\"matcher\":0},1],[{\"callback\":2},0]],\"static\":0,\"setup_key\":{\"callback\":1}}", "{}",
	  "there is no certificate to show" },
	{ "\"static\":0,", "\"bridge\":{\"key\":0,\"trusted_ca\":0,\"untrusted_ca\":0,\"extensions\":[]},", "either bridged or not" },
	{ "\"server\":{\"security\":3,", "\"server\":{\"security\":3,\"certificate\":{\"named\":[[{\"matcher\":0},1]]},",
	  "servers do not ask" },
	{ "\"key\":1,\"trusted_ca\":0", "\"trusted_ca\":0", "must have key" },
	{ "\"untrusted_ca\":1,", "", "must have key" },
	{ "\"extensions\":[\"keyUsage\"]", "\"extensions\":[7]", "must be a string" },
	{ "\"server\":{\"security\":1,\"verifier\":{\"type\":3,\"check_subject\":false},\"options\":{}}",
	  "\"server\":{\"security\":0}", "which is not encrypted" },
	{ "\"server\":{\"security\":1,", "\"server\":{\"security\":1,\"certificate\":{\"bridge\":{\"key\":0,\"trusted_ca\":0,"
	  "\"untrusted_ca\":0,\"extensions\":[]}},", "only one side can be bridged" },
	{ "{\"type\":\"transparent\"},\"encryption\":0", "{\"type\":\"by_name\"},\"encryption\":0", "names: must be an array" },
	{ "{\"type\":\"transparent\"},\"encryption\":0", "{\"type\":\"by_name\",\"names\":[]},\"encryption\":0", "at least one name" },
	{ "{\"type\":\"transparent\"},\"encryption\":0",
	  "{\"type\":\"by_name\",\"names\":[[{\"callback\":0},[\"10.0.0.1\",25]]]},\"encryption\":0", "must not be policy code" },
	{ "{\"type\":\"transparent\"},\"encryption\":0",
	  "{\"type\":\"by_name\",\"names\":[[{\"matcher\":0},[\"10.0.0.1\",25]]],\"targets\":[[\"10.0.0.1\",1],[\"10.0.0.1\",2]]},"
	  "\"encryption\":0", "only one target" },
	{ "{\"type\":\"transparent\"},\"encryption\":0",
	  "{\"type\":\"by_name\",\"names\":[[{\"matcher\":0},[\"10.0.0.1\",25]]],\"overrideable\":true},\"encryption\":0", "not by both" },
	{ "\"bridged\",\"server_first\":true", "\"bridged\"", "whose handshake comes later" },
	{ "\"server\":{\"security\":1,\"verifier\":{\"type\":3", "\"server\":{\"security\":3,\"verifier\":{\"type\":3",
	  "whose handshake comes later" },
	{ "\"server\":{\"security\":3,", "\"server\":{\"security\":1,\"certificate\":{\"bridge\":{\"key\":0,\"trusted_ca\":0,"
	  "\"untrusted_ca\":0,\"extensions\":[]}},", "whose handshake comes later" },
	{ "[\"TLSv1.1\",\"TLSv1.2\"]", "[\"TLSv1.2\",\"TLSv1.1\"]", "the lowest is above the highest" },
	{ "[\"TLSv1.1\",\"TLSv1.2\"]", "[\"SSLv3\",\"TLSv1.2\"]", "there is no version 'SSLv3'" },
	{ "[\"TLSv1.1\",\"TLSv1.2\"]", "[\"TLSv1.1\"]", "must be [lowest, highest]" },
	{ "\"ciphers\":\"HIGH\"", "\"ciphers\":\"\"", "must not be empty" },
	{ "\"session_seconds\":60", "\"session_seconds\":604801", "must be from 0 to 604800" },
	{ "\"alpn\":[\"smtp\"", "\"alpn\":[\"\"", "must not be empty" },
	{ "\"verifier\":{\"type\":4},\"options\":{}", "\"verifier\":{\"type\":4},\"options\":{\"dh\":\"x\"}", "unknown member 'dh'" },
	{ "\"encryption\":1}", "\"encryption\":3}", "encryption: is 3" },
	{ "\"encryption\":0}", "\"encryption\":-1}", "encryption: is -1" },
	{ "\"class\":\"C\",\"class_number\":0,\"encryption\":1", "\"class\":\"C\",\"encryption\":0", "has no number" },
	{ "\"config\":0,", "\"config\":1,", "its class has no number" },
};

static void wrong_ones_are_refused_with_their_place(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		const char *says = changed(refusals[i].from, refusals[i].to);

		if (strstr(says, refusals[i].says) == NULL)
			fail_msg("%s -> %s: says '%s', should say '%s'", refusals[i].from, refusals[i].to, says,
				 refusals[i].says);
	}
}

static void references_to_what_is_missing_are_refused(void **state)
{
	(void)state;
	assert_non_null(strstr(changed("\"tls_keys\":", "\"x\":"), "unknown member 'x'"));
	assert_non_null(strstr(changed("\"callbacks\":3", "\"callbacks\":0"), "callback"));
}

/* The ceiling of the arena may be met at any place; each is an -ENOMEM and nothing else. */
static void every_shortage_of_memory_is_survived(void **state)
{
	size_t ceiling = 64;
	int err = -ENOMEM;

	(void)state;
	for (; err == -ENOMEM && ceiling < 1u << 20; ceiling += 64) {
		struct arena *small = arena_create(ceiling, 0);
		struct policy_problems problems;
		const struct policy *p = NULL;

		assert_non_null(small);
		problems_init(&problems, arena);
		err = policy_build(slice_cstr(whole), &sample_registry, small, &problems, &p);
		assert_true(err == 0 || err == -ENOMEM);
		assert_int_equal(problems.n_errors, 0);
		arena_free(&small);
	}
	assert_int_equal(err, 0);
}

/* The sample protocol has none: STARTTLS would never come, and all be plain text. */
static void starttls_needs_a_protocol_that_has_it(void **state)
{
	struct policy_problems problems;
	const struct policy *p = build_whole();

	(void)state;
	problems_init(&problems, arena);
	policy_check_runnable(p, &problems);
	assert_int_equal(problems.n_errors, 1);
	assert_non_null(strstr(problems.first->message, "waits for STARTTLS, which sample does not have"));
}

/* Which encryptions a router by name can be used with. */
static void a_router_by_name_needs_a_name_in_time(void **state)
{
	static const struct { enum tls_security client, server; bool fallback; const char *says; } table[] = {
		{ TLS_FORCE, TLS_OFF, false, NULL }, { TLS_FORCE, TLS_FORCE, false, NULL }, { TLS_FORCE, TLS_FORWARD_STARTTLS, false, NULL },
		{ TLS_ACCEPT_STARTTLS, TLS_OFF, true, NULL }, { TLS_ACCEPT_STARTTLS, TLS_FORCE, true, NULL },
		{ TLS_OFF, TLS_FORCE, true, "nothing to choose by" }, { TLS_ACCEPT_STARTTLS, TLS_OFF, false, "needs a default" },
		{ TLS_ACCEPT_STARTTLS, TLS_FORWARD_STARTTLS, true, "has the client's STARTTLS already" },
	};
	struct router router = { .kind = ROUTER_BY_NAME };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		const struct encryption e = { .sides = { { .security = table[i].client }, { .security = table[i].server } } };
		const char *flaw;

		router.n_targets = table[i].fallback;
		flaw = router_flaw(&router, &e);
		if ((flaw == NULL) != (table[i].says == NULL) || (flaw != NULL && strstr(flaw, table[i].says) == NULL))
			fail_msg("%zu: %s", i, flaw != NULL ? flaw : "fine");
	}
	{
		const struct tls_bridge bridge = { .key = NULL };
		struct encryption e = { .sides = { { .security = TLS_ACCEPT_STARTTLS, .own = { .bridge = &bridge } }, { .security = TLS_FORCE } } };

		router.n_targets = 1;
		assert_non_null(strstr(router_flaw(&router, &e), "would be made from that of the default server"));
		e.sides[TLS_CLIENT].security = TLS_FORCE;
		assert_null(router_flaw(&router, &e));
	}
	assert_non_null(router_flaw(&router, NULL));
	router.kind = ROUTER_DIRECTED;
	assert_null(router_flaw(&router, NULL));
}

/* The sample protocol knows no server by its name. Returns the verifier. */
static const struct tls_verifier *asks_for_a_name(const char *to, const char *who)
{
	static const char from[] = "\"verifier\":{\"type\":4}";
	const char *at = strstr(whole, from);
	char text[sizeof(whole) + 256];
	struct policy_problems problems;
	const struct policy *p = NULL;
	bool found = false;

	assert_non_null(at);
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - whole), whole, to, at + strlen(from));
	problems_init(&problems, arena);
	assert_int_equal(policy_build(slice_cstr(text), &sample_registry, arena, &problems, &p), 0);
	policy_check_runnable(p, &problems);
	for (const struct policy_problem *problem = problems.first; problem != NULL; problem = problem->next)
		found = found || (strstr(problem->message, "but the protocol knows no server by its name") != NULL && strstr(problem->message, who) != NULL);
	assert_true(found);
	return &p->encryptions[0].sides[TLS_SERVER].verifier;
}

/* Records, and lists of servers, are of names. */
static void dane_and_mta_sts_need_a_server_that_has_a_name(void **state)
{
	const struct tls_verifier *v = asks_for_a_name("\"verifier\":{\"type\":4,\"dane\":1}", "the server's zone (dane)");

	assert_int_equal(v->dane, TLS_DANE_OPPORTUNISTIC);
	v = asks_for_a_name("\"verifier\":{\"type\":4,\"ca_directory\":\"/ca\",\"mta_sts\":\"a.example\",\"mta_sts_required\":true}",
			    "it asks for a mail domain's policy (mta_sts)");
	assert_string_equal(v->mta_sts, "a.example");
	assert_true(v->mta_sts_required);
}

static struct slice some_name(const void *config)
{
	return SLICE("mail.example");
}

/* Said when the policy is loaded, and of a session that chooses its encryption itself. */
static void asking_before_a_bridged_client(void **state)
{
	static const struct tls_bridge bridge;
	static const struct { enum tls_security client, server; enum tls_dane dane; bool bridged; const char *says; } table[] = {
		{ TLS_ACCEPT_STARTTLS, TLS_FORCE, TLS_DANE_REQUIRED, true, "from whose certificate its own is to be made" },
		{ TLS_ACCEPT_STARTTLS, TLS_FORWARD_STARTTLS, TLS_DANE_OPPORTUNISTIC, true, "from whose certificate its own is to be made" },
		{ TLS_ACCEPT_STARTTLS, TLS_FORCE, TLS_DANE_REQUIRED, false, NULL }, { TLS_FORCE, TLS_FORCE, TLS_DANE_REQUIRED, true, NULL },
		{ TLS_ACCEPT_STARTTLS, TLS_FORCE, TLS_DANE_OFF, true, NULL }, { TLS_FORCE, TLS_OFF, TLS_DANE_REQUIRED, false, NULL },
	};

	(void)state;
	for (size_t n = 0; n < 2 * ARRAY_LEN(table); n++) {
		const size_t i = n / 2;
		const bool domain = n % 2 == 1;		/* the same of mta_sts */
		const struct encryption e = { .sides = {
			{ .security = table[i].client },
			{ .security = table[i].server,
			  .verifier = { .dane = domain ? TLS_DANE_OFF : table[i].dane,
					.mta_sts = domain && table[i].dane != TLS_DANE_OFF ? "a.example" : NULL },
			  .own = { .bridge = table[i].bridged ? &bridge : NULL } },
		} };
		const struct proxy_type named = { .server_name = some_name }, nameless = { .server_name = NULL };
		const bool asks = table[i].server != TLS_OFF && table[i].dane != TLS_DANE_OFF;
		const char *flaw = asking_flaw(&named, &e);

		if ((flaw == NULL) != (table[i].says == NULL) || (flaw != NULL && strstr(flaw, table[i].says) == NULL))
			fail_msg("%zu: %s", i, flaw != NULL ? flaw : "fine");
		assert_int_equal(asking_flaw(&nameless, &e) != NULL, asks);
	}
	assert_null(asking_flaw(&(struct proxy_type){ .name = "x" }, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(keys_and_certificates_are_read, setup, teardown),
		cmocka_unit_test(asking_before_a_bridged_client),
		cmocka_unit_test_setup_teardown(the_client_side_is_read, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_missing_has_safe_defaults, setup, teardown),
		cmocka_unit_test_setup_teardown(bridges_are_read, setup, teardown),
		cmocka_unit_test_setup_teardown(services_and_configurations_name_theirs, setup, teardown),
		cmocka_unit_test_setup_teardown(a_session_chooses_anew, setup, teardown),
		cmocka_unit_test_setup_teardown(certificates_of_files_are_no_change_of_the_policy, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_ones_are_refused_with_their_place, setup, teardown),
		cmocka_unit_test_setup_teardown(references_to_what_is_missing_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(every_shortage_of_memory_is_survived, setup, teardown),
		cmocka_unit_test_setup_teardown(starttls_needs_a_protocol_that_has_it, setup, teardown),
		cmocka_unit_test(a_router_by_name_needs_a_name_in_time),
		cmocka_unit_test_setup_teardown(dane_and_mta_sts_need_a_server_that_has_a_name, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
