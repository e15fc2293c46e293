/* SPDX-License-Identifier: Apache-2.0 */
/* Who is let in: every type of verifier against every kind of certificate. */
#include "raw_client.h"

#include <errno.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>

/* Both ends of one policy. */
static void shake_with(struct pair *p, const struct sample *s)
{
	pair_open(p, &w.toward_client, s, &w.toward_client, s);
	pair_run(p);
}

/* Certificates of servers: kinds, and what each has. */

enum kind { GOOD, EXPIRED, FUTURE, SELF_SIGNED, UNKNOWN_CA, WRONG_PURPOSE, REVOKED, KINDS };

static const struct tls_certificate *show(enum kind kind)
{
	struct cert_spec spec = { .cn = "peer", .san = "DNS:mail.example", .issuer = w.ca, .issuer_key = w.ca_key, .serial = 20 + kind };
	EVP_PKEY *key = make_key("EC"), *other_key = make_key("EC");
	struct cert_spec other_spec = { .cn = "stranger", .is_ca = true };
	X509 *other = make_cert(&other_spec, other_key), *x;
	const char *cert = folder_path("kind%d.pem", kind), *key_file = folder_path("kind%d.key", kind);

	switch (kind) {
	case EXPIRED:
		spec.from = -2 * DAY;
		spec.to = -DAY;
		break;
	case FUTURE:
		spec.from = DAY;
		spec.to = 2 * DAY;
		break;
	case SELF_SIGNED:
		spec.issuer = NULL;
		spec.issuer_key = NULL;
		break;
	case UNKNOWN_CA:
		spec.issuer = other;
		spec.issuer_key = other_key;
		break;
	case WRONG_PURPOSE:
		spec.usage = "codeSigning";
		break;
	default:
		break;
	}
	x = make_cert(&spec, key);
	put_chain(cert, x, NULL);
	put_key(key_file, key, NULL);
	X509_free(x);
	X509_free(other);
	EVP_PKEY_free(key);
	EVP_PKEY_free(other_key);
	return sample_add(&w.client_side, cert, key_file);
}

/* CRL directories: of one CRL that revokes nothing, or serial REVOKED, or none at all. */
enum crl { NO_CRLS, CRL_MISSING, CRL_THERE };

static const char *crl_directory(enum crl crl)
{
	static unsigned n;
	const char *directory;
	X509_CRL *list;

	if (crl == NO_CRLS)
		return NULL;
	directory = folder_path("crl%u", n++);
	folder_make(directory);
	if (crl == CRL_MISSING)
		return directory;
	list = make_crl(w.ca, w.ca_key, 20 + REVOKED);
	put_hashed_crl(directory, list);
	X509_CRL_free(list);
	return directory;
}

struct expected {
	int result;
	bool trusted;
	int error;
};

static void check(const struct expected *e, const char *what, int type, int kind)
{
	struct pair p;

	world_build();
	world_shake(&p);
	if (p.server.result != e->result || p.server.h.facts.trusted != e->trusted || p.server.h.facts.verify_error != e->error)
		print_message("# %s, type %d, kind %d: %s\n", what, type, kind, p.server.h.error);
	assert_int_equal(p.server.result, e->result);
	assert_int_equal(p.server.h.facts.trusted, e->trusted);
	assert_int_equal(p.server.h.facts.verify_error, e->error);
	assert_int_equal(p.server.h.facts.n_peer, 1);
	assert_true((p.server.result < 0) == (p.server.h.error[0] != '\0'));
	if (p.server.result < 0)
		assert_true(p.client.result < 0 || client_end()->options.version_max == 0x0304);
	pair_close(&p);
	world_teardown(NULL);
}

#define PASS(e) { 0, false, e }
#define FAIL(e) { -EACCES, false, e }
#define TRUST { 0, true, X509_V_OK }

static const int error_of[KINDS] = {
	[GOOD] = X509_V_OK,
	[EXPIRED] = X509_V_ERR_CERT_HAS_EXPIRED,
	[FUTURE] = X509_V_ERR_CERT_NOT_YET_VALID,
	[SELF_SIGNED] = X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
	[UNKNOWN_CA] = X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
	[WRONG_PURPOSE] = X509_V_ERR_INVALID_PURPOSE,
	[REVOKED] = X509_V_OK,			/* without CRLs nobody knows */
};

/* Without CRLs: each type against each kind, with and without permit_invalid. */
static void types_and_kinds(void **state)
{
	for (int type = TLS_VERIFY_NONE; type <= TLS_VERIFY_REQUIRED_TRUSTED; type++)
		for (int kind = GOOD; kind < KINDS; kind++)
			for (int invalid = 0; invalid < 2; invalid++) {
				bool lenient = type == TLS_VERIFY_OPTIONAL_UNTRUSTED || type == TLS_VERIFY_REQUIRED_UNTRUSTED;
				bool unknown = kind == SELF_SIGNED || kind == UNKNOWN_CA;
				bool pass = error_of[kind] == X509_V_OK || type == TLS_VERIFY_NONE ||
					    (lenient && (unknown || invalid));
				struct expected e = { pass ? 0 : -EACCES, error_of[kind] == X509_V_OK, error_of[kind] };

				world_setup(NULL);
				client_end()->own.fallback = show(kind);
				server_end()->verifier.type = type;
				server_end()->verifier.permit_invalid = invalid;
				check(&e, invalid ? "invalid permitted" : "strict", type, kind);
			}
}

static void revocation(void **state)
{
	static const struct {
		enum tls_verify type;
		enum kind kind;
		enum crl crl;
		bool permit_missing, permit_invalid;
		struct expected e;
	} rows[] = {
		{ TLS_VERIFY_REQUIRED_TRUSTED, GOOD, CRL_THERE, false, false, TRUST },
		{ TLS_VERIFY_REQUIRED_TRUSTED, REVOKED, CRL_THERE, false, false, FAIL(X509_V_ERR_CERT_REVOKED) },
		{ TLS_VERIFY_REQUIRED_TRUSTED, REVOKED, CRL_THERE, true, false, FAIL(X509_V_ERR_CERT_REVOKED) },
		{ TLS_VERIFY_REQUIRED_TRUSTED, REVOKED, NO_CRLS, false, false, TRUST },
		{ TLS_VERIFY_REQUIRED_UNTRUSTED, REVOKED, CRL_THERE, false, false, FAIL(X509_V_ERR_CERT_REVOKED) },
		{ TLS_VERIFY_REQUIRED_UNTRUSTED, REVOKED, CRL_THERE, false, true, PASS(X509_V_ERR_CERT_REVOKED) },
		{ TLS_VERIFY_NONE, REVOKED, CRL_THERE, false, false, PASS(X509_V_ERR_CERT_REVOKED) },
		/* No CRL: fails in every mode unless that is permitted; and then nobody is trusted. */
		{ TLS_VERIFY_REQUIRED_TRUSTED, GOOD, CRL_MISSING, false, false, FAIL(X509_V_ERR_UNABLE_TO_GET_CRL) },
		{ TLS_VERIFY_REQUIRED_TRUSTED, GOOD, CRL_MISSING, true, false, PASS(X509_V_ERR_UNABLE_TO_GET_CRL) },
		{ TLS_VERIFY_REQUIRED_UNTRUSTED, GOOD, CRL_MISSING, false, true, FAIL(X509_V_ERR_UNABLE_TO_GET_CRL) },
		{ TLS_VERIFY_OPTIONAL_UNTRUSTED, GOOD, CRL_MISSING, false, false, FAIL(X509_V_ERR_UNABLE_TO_GET_CRL) },
		{ TLS_VERIFY_OPTIONAL_TRUSTED, GOOD, CRL_MISSING, true, false, PASS(X509_V_ERR_UNABLE_TO_GET_CRL) },
		{ TLS_VERIFY_NONE, GOOD, CRL_MISSING, false, false, PASS(X509_V_ERR_UNABLE_TO_GET_CRL) },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		world_setup(NULL);
		client_end()->own.fallback = show(rows[i].kind);
		server_end()->verifier.type = rows[i].type;
		server_end()->verifier.permit_missing_crl = rows[i].permit_missing;
		server_end()->verifier.permit_invalid = rows[i].permit_invalid;
		server_end()->verifier.crl_directory = crl_directory(rows[i].crl);
		check(&rows[i].e, "row", (int)i, rows[i].kind);
	}
}

/* A newer list that has only what changed, and so does not name who was revoked before. */
static void delta(void **state)
{
	X509_CRL *whole = make_crl(w.ca, w.ca_key, 20 + REVOKED), *changes = make_crl(w.ca, w.ca_key, 0);
	ASN1_INTEGER *number = ASN1_INTEGER_new();
	ASN1_TIME *now = X509_gmtime_adj(NULL, -10);
	unsigned long hash = X509_subject_name_hash(w.ca);
	const char *directory = folder_path("delta");
	struct pair p;

	ASN1_INTEGER_set(number, 1);
	X509_CRL_set1_lastUpdate(changes, now);
	assert_int_equal(X509_CRL_add1_ext_i2d(changes, NID_delta_crl, number, 1, 0), 1);
	assert_true(X509_CRL_sign(changes, w.ca_key, EVP_sha256()) > 0);
	folder_make(directory);
	put_hashed_crl(directory, whole);
	assert_int_equal(rename(folder_path("delta/%08lx.r0", hash), folder_path("delta/%08lx.r1", hash)), 0);
	put_hashed_crl(directory, changes);
	client_end()->own.fallback = show(REVOKED);
	server_end()->verifier.crl_directory = directory;
	world_build();
	assert_true(has_problem(&w.toward_server, "it has only changes to another list (delta CRL); it is skipped"));
	world_shake(&p);
	assert_int_equal(p.server.result, -EACCES);
	assert_int_equal(p.server.h.facts.verify_error, X509_V_ERR_CERT_REVOKED);
	pair_close(&p);
	ASN1_INTEGER_free(number);
	ASN1_TIME_free(now);
	X509_CRL_free(whole);
	X509_CRL_free(changes);
}

/* A chain: leaf, sub, CA; the leaf at depth 0. */
static void depths(void **state)
{
	struct cert_spec spec = { .cn = "sub", .is_ca = true, .issuer = w.ca, .issuer_key = w.ca_key, .serial = 40 };
	EVP_PKEY *sub_key = make_key("EC"), *key = make_key("EC");
	X509 *sub = make_cert(&spec, sub_key), *x;
	const char *cert = folder_path("deep.pem"), *key_file = folder_path("deep.key");

	spec = (struct cert_spec){ .cn = "peer", .issuer = sub, .issuer_key = sub_key, .serial = 41 };
	x = make_cert(&spec, key);
	put_chain(cert, x, sub);
	put_key(key_file, key, NULL);
	for (unsigned depth = 0; depth <= 3; depth++) {
		struct pair p;

		world_setup(NULL);
		client_end()->own.fallback = sample_add(&w.client_side, cert, key_file);
		server_end()->verifier.depth = depth;
		world_build();
		world_shake(&p);
		assert_int_equal(p.server.result, depth >= 2 ? 0 : -EACCES);
		assert_int_equal(p.server.h.facts.trusted, depth >= 2);
		assert_int_equal(p.server.h.facts.n_peer, 2);
		if (depth < 2) {
			assert_int_equal(p.server.h.facts.verify_error, X509_V_ERR_CERT_CHAIN_TOO_LONG);
			assert_string_equal(p.server.h.error, "certificate /CN=CA at depth 2: certificate chain too long");
		} else {
			assert_slice(p.server.h.facts.peer[1].subject, "/CN=sub");
		}
		pair_close(&p);
		world_teardown(NULL);
	}
	X509_free(x);
	X509_free(sub);
	EVP_PKEY_free(key);
	EVP_PKEY_free(sub_key);
}

/* Two CAs of the same name: the second has the next index. */
static void same_hash(void **state)
{
	struct cert_spec spec = { .cn = "CA", .is_ca = true };
	EVP_PKEY *key = make_key("EC");
	X509 *other = make_cert(&spec, key);
	const char *directory = folder_path("two");
	struct pair p;

	folder_make(directory);
	put_hashed(directory, other);
	put_hashed(directory, w.ca);
	X509_free(other);
	EVP_PKEY_free(key);
	server_end()->verifier.ca_directory = directory;
	world_build();
	world_shake(&p);
	assert_int_equal(p.server.result, 0);
	assert_true(p.server.h.facts.trusted);
	pair_close(&p);
}

/* A file whose name does not fit is not believed; the policy's reader learns of it. */
static void misnamed(void **state)
{
	const char *directory = folder_path("misnamed");
	struct pair p;

	folder_make(directory);
	put_chain(folder_path("misnamed/01234567.0"), w.ca, NULL);
	put_chain(folder_path("misnamed/ca.pem"), w.ca, NULL);
	server_end()->verifier.ca_directory = directory;
	world_build();
	assert_true(has_problem(&w.toward_server, "01234567.0: the name is not the hash of its subject"));
	assert_int_equal(w.toward_server.problems.n_warnings, 1);
	world_shake(&p);
	assert_int_equal(p.server.result, -EACCES);
	pair_close(&p);
}

/* Pins. */

static int pinned(const char *name, X509 *x, struct pair *p)
{
	static unsigned n;
	static const struct endpoint peer = { { AF_INET, { 192, 0, 2, 1 } }, 25 };
	const char *directory = folder_path("pins%u", n++);
	char path[300];

	folder_make(directory);
	snprintf(path, sizeof(path), "%s/%s", directory, name);
	if (x != NULL)
		put_chain(path, x, NULL);
	else
		file_write(path, SLICE("nothing"));
	world_setup(NULL);
	server_end()->verifier.ca_directory = NULL;
	server_end()->verifier.pinned_directory = directory;
	world_build();
	world_open(p);
	p->server.h.peer = &peer;
	p->server.h.must_fit = SLICE("another.example");
	pair_run(p);
	return p->server.result;
}

static void pins(void **state)
{
	struct pair p;

	/* Without a CA that knows it, for another name: a pin is enough. */
	assert_int_equal(pinned("192.0.2.1:25", w.leaf, &p), 0);
	assert_true(p.server.h.facts.trusted);
	assert_true(p.server.h.facts.pinned);
	pair_close(&p);
	world_teardown(NULL);
	/* One that differs refuses. */
	assert_int_equal(pinned("192.0.2.1:25", w.ca, &p), -EACCES);
	assert_false(p.server.h.facts.trusted);
	assert_string_equal(p.server.h.error, "the certificate differs from the one that is pinned for 192.0.2.1:25");
	pair_close(&p);
	world_teardown(NULL);
	/* So does one that is broken. */
	assert_int_equal(pinned("192.0.2.1:25", NULL, &p), -EACCES);
	assert_true(has_problem(&w.toward_server, "192.0.2.1:25: there is no certificate in it"));
	pair_close(&p);
	world_teardown(NULL);
	/* Another peer's: the usual rules. */
	assert_int_equal(pinned("192.0.2.1:26", w.leaf, &p), -EACCES);
	assert_string_equal(p.server.h.error, "certificate /CN=mail at depth 0: unable to get local issuer certificate");
	pair_close(&p);
	world_teardown(NULL);
}

static void pinned_client(void **state)
{
	static const struct endpoint peer = { { AF_INET6, { 0x20, 1, 0xd, 0xb8, [15] = 1 } }, 40000 };
	struct pair p;

	folder_make(folder_path("client-pins"));
	put_chain(folder_path("client-pins/2001:db8::1"), w.client, NULL);
	world_mutual(TLS_VERIFY_REQUIRED_TRUSTED);
	client_end()->verifier.ca_directory = NULL;
	client_end()->verifier.pinned_directory = folder_path("client-pins");
	world_build();
	world_open(&p);
	p.client.h.peer = &peer;
	pair_run(&p);
	assert_int_equal(p.client.result, 0);
	assert_true(p.client.h.facts.trusted);
	pair_close(&p);
}

/* Both ends of one encryption believe the same directories, which are read once. */
static void shared(void **state)
{
	const struct tls_certificate *certificate = client_end()->own.fallback;
	struct sample *s = &w.client_side;
	struct pair p;

	folder_make(folder_path("shared-pins"));
	put_chain(folder_path("shared-pins/192.0.2.9"), w.leaf, NULL);
	file_write(folder_path("shared-pins/none"), SLICE("nothing"));
	for (int end = 0; end < TLS_ENDS; end++) {
		struct tls_side *side = &s->encryption.sides[end];

		side->security = TLS_FORCE;
		side->own.fallback = certificate;
		side->verifier.type = TLS_VERIFY_REQUIRED_TRUSTED;
		side->verifier.ca_directory = side->verifier.hint_directory = w.ca_directory;
		side->verifier.pinned_directory = folder_path("shared-pins");
	}
	world_build();
	assert_int_equal(w.toward_client.problems.n_warnings, 1);
	shake_with(&p, s);
	assert_int_equal(p.client.result, 0);
	assert_int_equal(p.server.result, 0);
	assert_true(p.client.h.facts.trusted && p.server.h.facts.trusted);
	pair_close(&p);
}

/* Clients. */

static void clients(void **state)
{
	static const struct {
		enum tls_verify type;
		bool shows, known;
		int result;
	} rows[] = {
		{ TLS_VERIFY_NONE, true, true, 0 },
		{ TLS_VERIFY_OPTIONAL_UNTRUSTED, false, true, 0 },
		{ TLS_VERIFY_OPTIONAL_UNTRUSTED, true, false, 0 },
		{ TLS_VERIFY_OPTIONAL_TRUSTED, false, true, 0 },
		{ TLS_VERIFY_OPTIONAL_TRUSTED, true, true, 0 },
		{ TLS_VERIFY_OPTIONAL_TRUSTED, true, false, -EACCES },
		{ TLS_VERIFY_REQUIRED_UNTRUSTED, false, true, -EPROTO },
		{ TLS_VERIFY_REQUIRED_UNTRUSTED, true, false, 0 },
		{ TLS_VERIFY_REQUIRED_TRUSTED, false, true, -EPROTO },
		{ TLS_VERIFY_REQUIRED_TRUSTED, true, true, 0 },
		{ TLS_VERIFY_REQUIRED_TRUSTED, true, false, -EACCES },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool asked = rows[i].type != TLS_VERIFY_NONE;
		struct pair p;

		world_setup(NULL);
		world_mutual(rows[i].type);
		if (!rows[i].known)
			client_end()->verifier.ca_directory = NULL;
		if (!rows[i].shows)
			server_end()->own.fallback = NULL;
		world_build();
		world_shake(&p);
		assert_int_equal(p.client.result, rows[i].result);
		assert_int_equal(p.client.h.facts.n_peer, asked && rows[i].shows ? 1 : 0);
		assert_int_equal(p.client.h.facts.trusted, asked && rows[i].shows && rows[i].known);
		if (rows[i].result == -EPROTO)
			assert_non_null(strstr(p.client.h.error, "peer did not return a certificate"));
		pair_close(&p);
		world_teardown(NULL);
	}
}

static struct raw_client raw;
static int shaken;

static co_waits void shake_raw(void *arg)
{
	shaken = raw_shake(&raw);
}

/* The CAs that clients are told of are not those that are believed. */
static void hints(void **state)
{
	const char *bundle = folder_path("hints/bundle.pem");
	struct pair p;

	folder_make(folder_path("hints"));
	put_chain(bundle, w.ca, w.leaf);
	put_chain(folder_path("hints/again"), w.ca, NULL);
	file_write(folder_path("hints/README"), SLICE("not a certificate\n"));
	client_end()->verifier.type = TLS_VERIFY_OPTIONAL_TRUSTED;
	client_end()->verifier.hint_directory = folder_path("hints");
	world_build();
	assert_true(has_problem(&w.toward_client, "README: there is no certificate"));
	pair_open(&p, &w.toward_client, &w.client_side, NULL, NULL);
	raw_open(&raw, p.fd[1], 4096);
	assert_non_null(co_spawn(p.loop, shake_raw, NULL));
	pair_run(&p);
	assert_int_equal(shaken, 1);
	assert_int_equal(p.client.result, 0);
	assert_int_equal(sk_X509_NAME_num(SSL_get_client_CA_list(raw.ssl)), 2);
	assert_int_equal(X509_NAME_cmp(sk_X509_NAME_value(SSL_get_client_CA_list(raw.ssl), 0), X509_get_subject_name(w.ca)), 0);
	raw_close(&raw);
	pair_close(&p);
}

/* The policy's code. */

static int answer;
static unsigned asked;

static co_waits int on_verified(void *arg, const struct tls_facts *facts)
{
	asked++;
	assert_int_equal(facts->n_peer, 1);
	return co_sleep(co_now() + 5) < 0 ? -ECANCELED : answer;
}

static void policy_code(void **state)
{
	static const struct {
		enum kind kind;
		int answer, result;
		bool trusted;
	} rows[] = {
		{ GOOD, 0, 0, true }, { GOOD, 1, 0, true }, { GOOD, -EACCES, -EACCES, true },
		{ EXPIRED, 0, -EACCES, false }, { EXPIRED, 1, 0, false }, { EXPIRED, -EACCES, -EACCES, false },
		{ GOOD, -ETIMEDOUT, -ETIMEDOUT, true },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pair p;

		world_setup(NULL);
		client_end()->own.fallback = show(rows[i].kind);
		world_build();
		world_open(&p);
		answer = rows[i].answer;
		asked = 0;
		p.server.h.asks.verified = on_verified;
		pair_run(&p);
		assert_int_equal(p.server.result, rows[i].result);
		assert_int_equal(p.server.h.facts.trusted, rows[i].trusted);
		assert_int_equal(asked, 1);
		assert_true((rows[i].result == 0) == (p.server.h.error[0] == '\0'));
		assert_int_equal(p.server.h.peer_fault, rows[i].result == -EACCES);
		pair_close(&p);
		world_teardown(NULL);
	}
}

/* Names. */

static void hosts(void **state)
{
	static const struct { const char *host; bool fits; } rows[] = {
		{ "mail.example", true }, { "MAIL.Example", true }, { "mail.example.", true }, { "ail.example", false },
		{ "x.mail.example", false }, { "a.wild.example", true }, { "A.WILD.EXAMPLE", true }, { "wild.example", false },
		{ "a.b.wild.example", false }, { ".wild.example", false }, { "mail", false }, { "", false },
		{ "b\xc3\xbc" "cher.example", true }, { "B\xc3\x9c" "CHER.example", true }, { "xn--bcher-kva.example", true },
		{ "b\xff" "cher.example", false }, { "192.0.2.1", true }, { "192.0.2.2", false }, { "2001:db8::1", true },
		{ "2001:DB8:0:0::1", true }, { "2001:db8::2", false },
	};
	struct pair p;

	world_build();
	world_shake(&p);
	assert_int_equal(p.server.result, 0);
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		bool fits = tls_fits_host(&p.server.h.facts, slice_cstr(rows[i].host));

		if (fits != rows[i].fits)
			print_message("# %s\n", rows[i].host);
		assert_int_equal(fits, rows[i].fits);
	}
	assert_false(tls_fits_host(&p.server.h.facts, slice_of("mail.example\0x", 14)));
	assert_false(tls_fits_host(&p.client.h.facts, SLICE("mail.example")));
	pair_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(types_and_kinds),
		cmocka_unit_test(revocation),
		cmocka_unit_test(depths),
		cmocka_unit_test_setup_teardown(same_hash, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(misnamed, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(delta, world_setup, world_teardown), cmocka_unit_test(pins),
		cmocka_unit_test_setup_teardown(pinned_client, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(shared, world_setup, world_teardown),
		cmocka_unit_test(clients),
		cmocka_unit_test_setup_teardown(hints, world_setup, world_teardown),
		cmocka_unit_test(policy_code),
		cmocka_unit_test_setup_teardown(hosts, world_setup, world_teardown),
	};

	return cmocka_run_group_tests(tests, world_create, world_remove);
}
