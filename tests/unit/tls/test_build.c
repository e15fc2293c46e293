/* SPDX-License-Identifier: Apache-2.0 */
/* What a policy says about its own side: keys, certificates, options; and what is wrong with them. */
#include "raw_client.h"

#include "policy/matcher.h"

#include <errno.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdlib.h>

static struct pair p;

/* A certificate of the CA, with a key of its own. */
static const struct tls_certificate *add_kind(const char *kind, const char *cn)
{
	struct cert_spec spec = { .cn = cn, .san = "DNS:mail.example", .issuer = w.ca, .issuer_key = w.ca_key, .serial = 50 };
	EVP_PKEY *key = make_key(kind);
	X509 *x = make_cert(&spec, key);
	const char *cert = folder_path("%s-%s.pem", kind, cn), *key_file = folder_path("%s-%s.key", kind, cn);

	put_chain(cert, x, NULL);
	put_key(key_file, key, NULL);
	X509_free(x);
	EVP_PKEY_free(key);
	return sample_add(&w.client_side, cert, key_file);
}

static void kinds_of_keys(void **state)
{
	static const char *const kinds[] = { "RSA", "EC", "ED25519" };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		for (uint16_t version = 0x0303; version <= 0x0304; version++) {
			world_setup(NULL);
			client_end()->own.fallback = add_kind(kinds[i], "kind");
			client_end()->options.version_max = version;
			world_build();
			world_shake(&p);
			assert_int_equal(p.client.result, 0);
			assert_int_equal(p.server.result, 0);
			assert_true(p.server.h.facts.trusted);
			pair_close(&p);
			world_teardown(NULL);
		}
}

/* Names that clients ask for. */

static struct tls_named_certificate rows[3];
static struct matchers *matchers;

static struct matcher_call native(const char *pattern)
{
	static struct matcher_pattern compiled[4];
	char why[100];
	size_t n = matchers_count(matchers);

	assert_int_equal(matchers_compile(matchers, slice_cstr(pattern), slice_cstr(pattern), &compiled[n], why, sizeof(why)), 0);
	assert_int_equal(matchers_add_regexp(matchers, &compiled[n], 1, NULL, 0, why, sizeof(why)), 0);
	return (struct matcher_call){ -1, matchers_at(matchers, n) };
}

static unsigned asked;

static co_waits int fits(void *arg, const struct matcher_call *matcher, struct slice name)
{
	asked++;
	assert_int_equal(matcher->callback, 5);
	assert_int_equal(co_sleep(co_now() + 5), 0);
	return slice_is(name, "code.example") ? 1 : slice_is(name, "broken.example") ? -EACCES : 0;
}

static void sni(void **state)
{
	static const struct { const char *name, *subject; const char *error; } cases[] = {
		{ "first.example", "/CN=first", NULL },
		{ "code.example", "/CN=second", NULL },
		{ "third.example", "/CN=third", NULL },
		{ "other.example", "/CN=mail", NULL },
		{ "", "/CN=mail", NULL },
		{ "broken.example", NULL, "it was given up: Permission denied" },
	};
	struct arena *arena = arena_create(1 << 20, 0);
	struct matcher_call first, third;

	matchers = matchers_create(arena, 4);
	first = native("(?i)FIRST");
	third = native("third");
	for (int fallback = 1; fallback >= 0; fallback--)
		for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
			const char *subject = cases[i].subject, *error = cases[i].error;

			world_setup(NULL);
			rows[0] = (struct tls_named_certificate){ first, add_kind("EC", "first") };
			rows[1] = (struct tls_named_certificate){ { 5, NULL }, add_kind("EC", "second") };
			rows[2] = (struct tls_named_certificate){ third, add_kind("EC", "third") };
			client_end()->own.named = rows;
			client_end()->own.n_named = 3;
			if (!fallback) {
				client_end()->own.fallback = NULL;
				if (subject != NULL && strcmp(subject, "/CN=mail") == 0) {
					subject = NULL;
					error = "there is no certificate for the name ";
				}
			}
			world_build();
			world_open(&p);
			p.client.h.asks.matches = fits;
			p.server.h.server_name = slice_cstr(cases[i].name);
			pair_run(&p);
			assert_slice(p.client.h.facts.server_name, cases[i].name);
			if (subject != NULL) {
				assert_int_equal(p.server.result, 0);
				assert_slice(p.server.h.facts.peer[0].subject, subject);
			} else {
				assert_int_equal(p.client.result, -EACCES);
				assert_memory_equal(p.client.h.error, error, strlen(error));
				assert_int_equal(p.server.result, -EPROTO);
				assert_string_equal(p.server.h.error, cases[i].error != NULL ?
						    "the server refused with the alert \"access denied\"" :
						    "the server refused with the alert \"unrecognized name\"");
			}
			pair_close(&p);
			world_teardown(NULL);
		}
	assert_true(asked > 0);
	arena_free(&arena);
}

/* A matcher of policy code that nobody can ask does not let anybody pass. */
static void unasked_matcher(void **state)
{
	rows[0] = (struct tls_named_certificate){ { 5, NULL }, client_end()->own.fallback };
	client_end()->own.named = rows;
	client_end()->own.n_named = 1;
	world_build();
	world_open(&p);
	p.server.h.server_name = SLICE("mail.example");
	pair_run(&p);
	assert_int_equal(p.client.result, -EACCES);
	pair_close(&p);
}

/* The policy's code gives another. */

static int given_result;
static bool gives;

static co_waits int give(void *arg, const struct tls_facts *facts, struct tls_given *given)
{
	assert_slice(facts->server_name, "mail.example");
	assert_int_equal(co_sleep(co_now() + 5), 0);
	if (gives) {
		given->pem = file_of_pem(w.client_file);
		given->key_pem = file_of_pem(given_result == -EIO ? w.leaf_key_file : w.client_key_file);
	}
	return given_result == -EIO ? 0 : given_result;
}

static void given_certificates(void **state)
{
	static const struct { bool gives; int result; const char *subject; } cases[] = {
		{ false, 0, "/CN=mail" }, { true, 0, "/CN=client" }, { false, -EACCES, NULL }, { true, -EIO, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		world_setup(NULL);
		client_end()->own.setup_key.callback = 3;
		world_build();
		world_open(&p);
		gives = cases[i].gives;
		given_result = cases[i].result;
		p.client.h.asks.certificate = give;
		p.server.h.server_name = SLICE("mail.example");
		pair_run(&p);
		assert_int_equal(p.client.result, cases[i].result);
		if (cases[i].subject != NULL)
			assert_slice(p.server.h.facts.peer[0].subject, cases[i].subject);
		else
			assert_false(p.client.h.peer_fault);
		pair_close(&p);
		world_teardown(NULL);
	}
}

/* The hello comes first; what it decides counts. */

static int hello_result;

static co_waits int on_hello(void *arg, const struct tls_facts *facts)
{
	assert_slice(facts->server_name, "mail.example");
	assert_slice(facts->alpn_offered, "smtp,h2");
	assert_int_equal(facts->ja4.len, 36);
	/* The server's handshake, say: longer than this one's own time. */
	assert_int_equal(co_sleep(co_now() + 25000), 0);
	return hello_result;
}

static void hello(void **state)
{
	static const char *const names[] = { "smtp", "h2" };
	static const struct { int answer; const char *alert; } cases[] = {
		{ 0, "" }, { -EACCES, "the server refused with the alert \"access denied\"" },
		{ -ECONNREFUSED, "the server refused with the alert \"internal error\"" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		world_setup(NULL);
		server_end()->options.alpn = names;
		server_end()->options.n_alpn = 2;
		w.client_side.encryption.handshake_timeout_ms = 20000;
		world_build();
		world_open(&p);
		hello_result = cases[i].answer;
		p.client.h.asks.hello = on_hello;
		p.server.h.server_name = SLICE("mail.example");
		pair_run(&p);
		assert_int_equal(p.client.result, cases[i].answer);
		assert_string_equal(p.server.h.error, cases[i].alert);
		pair_close(&p);
		world_teardown(NULL);
	}
}

/* ALPN. */

static void alpn(void **state)
{
	static const char *const offers[] = { "h2", "smtp" }, *const takes[] = { "lmtp", "smtp", "h2" }, *const other[] = { "ftp" };
	static const struct { const char *const *ours; size_t n; const char *chosen; int result; } cases[] = {
		{ takes, 3, "smtp", 0 }, { NULL, 0, "", 0 }, { other, 1, "", -EPROTO },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		world_setup(NULL);
		server_end()->options.alpn = offers;
		server_end()->options.n_alpn = 2;
		client_end()->options.alpn = cases[i].ours;
		client_end()->options.n_alpn = cases[i].n;
		world_build();
		world_shake(&p);
		assert_int_equal(p.client.result, cases[i].result);
		assert_slice(p.client.h.facts.alpn, cases[i].chosen);
		if (cases[i].result == 0)
			assert_slice(p.server.h.facts.alpn, cases[i].chosen);
		else
			assert_string_equal(p.server.h.error, "the server refused with the alert \"no application protocol\"");
		pair_close(&p);
		world_teardown(NULL);
	}
}

/* Options. */

static const char dh_2048[] =
	"-----BEGIN DH PARAMETERS-----\n"
	"MIIBDAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz\n"
	"+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a\n"
	"87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7\n"
	"YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi\n"
	"7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD\n"
	"ssbzSibBsu/6iGtCOGEoXJf//////////wIBAgICAOE=\n"
	"-----END DH PARAMETERS-----\n";

static void old_versions(void **state)
{
	client_end()->options.version_min = server_end()->options.version_min = 0x0301;
	client_end()->options.version_max = 0x0301;
	world_build();
	world_shake(&p);
	assert_int_equal(p.server.result, 0);
	assert_string_equal(p.server.h.facts.version, "TLSv1");
	pair_close(&p);
}

static void no_common_version(void **state)
{
	client_end()->options.version_min = 0x0304;
	server_end()->options.version_max = 0x0303;
	world_build();
	world_shake(&p);
	assert_int_equal(p.client.result, -EPROTO);
	assert_string_equal(p.client.h.error, "the client: unsupported protocol (alert \"protocol version\" was sent)");
	assert_int_equal(p.server.result, -EPROTO);
	pair_close(&p);
}

static void ciphers(void **state)
{
	static const struct { const char *ours, *theirs, *dh; const char *chosen; } cases[] = {
		{ "HIGH:!aNULL", "DHE-RSA-AES256-GCM-SHA384", dh_2048, "DHE-RSA-AES256-GCM-SHA384" },
		{ "HIGH:!aNULL", "DHE-RSA-AES256-GCM-SHA384", NULL, NULL },
		{ "HIGH:!aNULL", "AES256-SHA", NULL, NULL },		/* no forward secrecy */
		{ "HIGH:!aNULL", "ECDHE-RSA-AES128-SHA", NULL, "ECDHE-RSA-AES128-SHA" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		world_setup(NULL);
		client_end()->own.fallback = add_kind("RSA", "ciphers");
		client_end()->options.version_max = 0x0303;
		client_end()->options.ciphers = cases[i].ours;
		client_end()->options.dh_pem = cases[i].dh;
		server_end()->options.ciphers = cases[i].theirs;
		world_build();
		world_shake(&p);
		assert_int_equal(p.client.result, cases[i].chosen != NULL ? 0 : -EPROTO);
		if (cases[i].chosen != NULL)
			assert_string_equal(p.client.h.facts.cipher, cases[i].chosen);
		else
			assert_non_null(strstr(p.client.h.error, "no shared cipher"));
		pair_close(&p);
		world_teardown(NULL);
	}
}

static void preference(void **state)
{
	for (int ours = 0; ours < 2; ours++) {
		world_setup(NULL);
		client_end()->options.version_max = 0x0303;
		client_end()->options.ciphers = "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256";
		client_end()->options.server_preference = ours;
		server_end()->options.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384";
		server_end()->options.groups = "P-256";
		world_build();
		world_shake(&p);
		assert_string_equal(p.client.h.facts.cipher, ours ? "ECDHE-ECDSA-AES256-GCM-SHA384" : "ECDHE-ECDSA-AES128-GCM-SHA256");
		assert_string_equal(p.client.h.facts.group, "secp256r1");
		pair_close(&p);
		world_teardown(NULL);
	}
}

/* OCSP. */

/* About a certificate of ours, seconds from now on the clock of sessions. */
struct about {
	X509 *issuer;
	long serial;
	long from, to;			/* to 0: no end */
};

static void add_status(OCSP_BASICRESP *basic, const struct about *about)
{
	const time_t now = 1700000001;
	ASN1_INTEGER *serial = ASN1_INTEGER_new();
	ASN1_TIME *from = ASN1_TIME_adj(NULL, now, 0, about->from), *to = about->to != 0 ? ASN1_TIME_adj(NULL, now, 0, about->to) : NULL;
	OCSP_CERTID *id;

	ASN1_INTEGER_set(serial, about->serial);
	id = OCSP_cert_id_new(EVP_sha1(), X509_get_subject_name(about->issuer), X509_get0_pubkey_bitstr(about->issuer), serial);
	assert_non_null(OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_GOOD, 0, NULL, from, to));
	OCSP_CERTID_free(id);
	ASN1_INTEGER_free(serial);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
}

static const char *write_response(const struct about *about, size_t n_about)
{
	OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
	OCSP_RESPONSE *response;
	const char *path = folder_path("ocsp.der");
	uint8_t *der = NULL;
	int n;

	for (size_t i = 0; i < n_about; i++)
		add_status(basic, &about[i]);
	assert_int_equal(OCSP_basic_sign(basic, w.ca, w.ca_key, EVP_sha256(), NULL, 0), 1);
	response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
	n = i2d_OCSP_RESPONSE(response, &der);
	assert_true(n > 0);
	file_write(path, slice_of(der, (size_t)n));
	OPENSSL_free(der);
	OCSP_RESPONSE_free(response);
	OCSP_BASICRESP_free(basic);
	return path;
}

static struct raw_client raw;
static int answer;

static co_waits void shake_raw(void *arg)
{
	answer = raw_shake(&raw);
}

/* The staple that a client gets, or none. */
static void gets_staple(const char *path, bool asks, bool expected)
{
	struct slice response = file_of_pem(path);
	uint8_t *stapled;

	world_build();
	pair_open(&p, &w.toward_client, &w.client_side, NULL, NULL);
	raw_open(&raw, p.fd[1], 4096);
	if (asks)
		SSL_set_tlsext_status_type(raw.ssl, TLSEXT_STATUSTYPE_ocsp);
	assert_non_null(co_spawn(p.loop, shake_raw, NULL));
	pair_run(&p);
	assert_int_equal(answer, 1);
	assert_int_equal(SSL_get_tlsext_status_ocsp_resp(raw.ssl, &stapled), expected ? (long)response.len : -1);
	if (expected)
		assert_memory_equal(stapled, response.ptr, response.len);
	raw_close(&raw);
	pair_close(&p);
}

static X509 *other_ca(bool same_name)
{
	const struct cert_spec spec = { .cn = same_name ? "CA" : "Another", .is_ca = true };
	EVP_PKEY *key = make_key("EC");
	X509 *x = make_cert(&spec, key);

	assert_int_equal(X509_NAME_cmp(X509_get_subject_name(x), X509_get_subject_name(w.ca)) == 0, same_name);
	EVP_PKEY_free(key);
	return x;
}

static void staples(void **state)
{
	X509 *another = other_ca(false), *impostor = other_ca(true);
	const struct { struct about about[2]; size_t n; bool whole_chain, asks, expected; } cases[] = {
		{ { { w.ca, 7, -60, DAY } }, 1, false, true, true },
		{ { { w.ca, 7, -60, DAY } }, 1, true, true, true },
		{ { { w.ca, 7, -60, DAY } }, 1, false, false, false },
		{ { { w.ca, 7, -60, 0 } }, 1, false, true, true },
		{ { { w.ca, 7, 200, DAY } }, 1, false, true, true },		/* clocks differ */
		{ { { w.ca, 7, 400, DAY } }, 1, false, true, false },
		{ { { w.ca, 7, -DAY, -1 } }, 1, false, true, false },		/* over */
		{ { { w.ca, 7, -DAY, 0 }, { w.ca, 8, -DAY, DAY } }, 2, false, true, true },
		{ { { w.ca, 8, -60, DAY } }, 1, false, true, false },		/* about others */
		{ { { another, 7, -60, DAY } }, 1, false, true, false },
		{ { { impostor, 7, -60, DAY } }, 1, true, true, false },
		{ { { w.ca, 8, -60, DAY }, { w.ca, 7, -60, DAY } }, 2, false, true, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const char *path = write_response(cases[i].about, cases[i].n);

		world_setup(NULL);
		if (cases[i].whole_chain) {
			const char *chain = folder_path("whole.pem");

			put_chain(chain, w.leaf, w.ca);
			w.client_side.n_certificates = w.client_side.n_keys = 0;
			client_end()->own.fallback = sample_add(&w.client_side, chain, w.leaf_key_file);
		}
		client_end()->options.ocsp_file = path;
		gets_staple(path, cases[i].asks, cases[i].expected);
		world_teardown(NULL);
	}
	X509_free(another);
	X509_free(impostor);
}

/* With the one that it is about, and not with the one that another name gets. */
static void staples_by_name(void **state)
{
	const struct about about = { w.ca, 7, -60, DAY };

	for (int other = 0; other < 2; other++) {
		struct arena *arena = arena_create(1 << 20, 0);

		matchers = matchers_create(arena, 4);
		rows[0] = (struct tls_named_certificate){ native("nobody"), client_end()->own.fallback };
		client_end()->own.named = rows;
		client_end()->own.n_named = 1;
		if (other)
			client_end()->own.fallback = add_kind("EC", "other");
		client_end()->options.ocsp_file = write_response(&about, 1);
		gets_staple(client_end()->options.ocsp_file, true, !other);
		arena_free(&arena);
		world_teardown(NULL);
		world_setup(NULL);
	}
}

/* What is wrong, and is said so. */

static void refuse(const char *words, const char *place_file)
{
	build(&w.client_side, &w.toward_client);
	assert_int_equal(w.toward_client.err, -EINVAL);
	assert_true(has_problem(&w.toward_client, words));
	assert_string_equal(w.toward_client.problems.first->place.file, place_file);
	unbuild(&w.toward_client);
}

static void problems(void **state)
{
	static const char *const no_name[] = { "" };
	const char *encrypted;
	struct tls_verifier *v = &client_end()->verifier;
	struct tls_options *o = &client_end()->options;

	o->ciphers = "NONSENSE";
	refuse("client side: ciphers \"NONSENSE\": no cipher match", "policy.py");
	o->ciphers = "AES256-SHA";
	refuse("no cipher match", "policy.py");
	o->ciphers = "ADH-AES256-GCM-SHA384:@SECLEVEL=0";
	refuse("client side: ciphers", "policy.py");
	o->ciphers = "HIGH:!aNULL";
	server_end()->options.ciphers = "ADH-AES256-GCM-SHA384:@SECLEVEL=0";
	build(&w.server_side, &w.toward_server);
	assert_int_equal(w.toward_server.err, -EINVAL);
	unbuild(&w.toward_server);
	o->ciphersuites = "TLS_NONSENSE";
	refuse("ciphersuites \"TLS_NONSENSE\"", "policy.py");
	o->ciphersuites = NULL;
	o->groups = "no-group";
	refuse("groups \"no-group\"", "policy.py");
	o->groups = NULL;
	o->dh_pem = "no parameters";
	refuse("DH parameters", "policy.py");
	o->dh_pem = NULL;
	o->version_min = 0x0304;
	o->version_max = 0x0303;
	refuse("no version of TLS is left", "policy.py");
	o->version_min = 0x0303;
	o->alpn = no_name;
	o->n_alpn = 1;
	refuse("ALPN name", "policy.py");
	o->n_alpn = 0;
	o->ocsp_file = w.leaf_file;
	refuse("this is none", "policy.py");
	o->ocsp_file = folder_path("nothing");
	refuse("nothing: No such file or directory", "policy.py");
	o->ocsp_file = NULL;
	v->ca_directory = folder_path("nowhere");
	refuse("nowhere can't be read: No such file or directory", "policy.py");
	v->ca_directory = NULL;
	client_end()->own.fallback = sample_add(&w.client_side, w.leaf_file, w.client_key_file);
	refuse("leaf.pem does not belong to the private key", "policy.py");
	w.client_side.n_certificates = w.client_side.n_keys = 0;
	client_end()->own.fallback = sample_add(&w.client_side, w.leaf_key_file, w.leaf_key_file);
	refuse("leaf.key: there is no certificate in it", "policy.py");
	w.client_side.n_certificates = w.client_side.n_keys = 0;
	client_end()->own.fallback = sample_add(&w.client_side, w.leaf_file, w.leaf_file);
	refuse("leaf.pem: there is no private key in it", "policy.py");
	encrypted = folder_path("encrypted.key");
	put_key(encrypted, w.leaf_key, "secret");
	w.client_side.n_certificates = w.client_side.n_keys = 0;
	client_end()->own.fallback = sample_add(&w.client_side, w.leaf_file, encrypted);
	refuse("it is encrypted, and no passphrase is given", "policy.py");
}

static void short_key(void **state)
{
	EVP_PKEY *key = EVP_RSA_gen(1024);
	struct cert_spec spec = { .cn = "short", .issuer = w.ca, .issuer_key = w.ca_key };
	X509 *x = make_cert(&spec, key);
	const char *cert = folder_path("short.pem"), *key_file = folder_path("short.key");

	put_chain(cert, x, NULL);
	put_key(key_file, key, NULL);
	X509_free(x);
	EVP_PKEY_free(key);
	client_end()->own.fallback = sample_add(&w.client_side, cert, key_file);
	refuse("short.pem can't be used by encryption sample: ee key too small", "policy.py");
	/* The old versions do not make short keys good. */
	client_end()->options.version_min = 0x0301;
	refuse("short.pem can't be used by encryption sample: ee key too small", "policy.py");
	client_end()->options.version_min = 0x0303;
	client_end()->options.ciphers = "HIGH:!aNULL:@SECLEVEL=1";
	build(&w.client_side, &w.toward_client);
	assert_int_equal(w.toward_client.err, 0);
	unbuild(&w.toward_client);
}

/* Keys and passphrases that are secrets. */
static void secrets(void **state)
{
	const char *path = folder_path("secret.key");
	struct slice items[2];
	struct tls_secrets all = { items, 2 };
	struct tls_key *key = &w.client_side.keys[0];
	struct policy policy;
	struct built b = { .arena = arena_create(1 << 20, 0) };

	put_key(path, w.leaf_key, "pass");
	items[0] = file_of_pem(path);
	items[1] = SLICE("pass");
	problems_init(&b.problems, b.arena);
	*key = (struct tls_key){ .secret = 0, .passphrase = 1, .place = { "policy.py", 3 } };
	policy = (struct policy){ .tls_keys = key, .n_tls_keys = 1, .n_secrets = 2 };
	assert_int_equal(tls_keys_load(&policy, &all, &b.problems, &b.keys), 0);
	assert_int_equal(EVP_PKEY_eq(tls_keys_get(b.keys, key), w.leaf_key), 1);
	tls_keys_free(&b.keys);
	items[1] = SLICE("word");
	assert_int_equal(tls_keys_load(&policy, &all, &b.problems, &b.keys), -EINVAL);
	assert_true(has_problem(&b, "the passphrase does not open it"));
	arena_free(&b.arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_of_keys),
		cmocka_unit_test(sni),
		cmocka_unit_test_setup_teardown(unasked_matcher, world_setup, world_teardown),
		cmocka_unit_test(given_certificates),
		cmocka_unit_test(hello),
		cmocka_unit_test(alpn),
		cmocka_unit_test_setup_teardown(old_versions, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(no_common_version, world_setup, world_teardown),
		cmocka_unit_test(ciphers),
		cmocka_unit_test(preference),
		cmocka_unit_test(staples), cmocka_unit_test_setup_teardown(staples_by_name, world_setup, world_teardown),
		cmocka_unit_test_setup(problems, world_setup),
		cmocka_unit_test_setup(short_key, world_setup),
		cmocka_unit_test_setup(secrets, world_setup),
	};

	return cmocka_run_group_tests(tests, world_create, world_remove);
}
