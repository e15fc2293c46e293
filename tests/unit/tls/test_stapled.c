/* SPDX-License-Identifier: Apache-2.0 */
/* What a server staples, and what comes of it. */
#include "tls_test.h"

#include "tls/staple.h"

#include <errno.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

enum signer { BY_CA, BY_DELEGATE, BY_NOBODY, BY_OTHER };

struct about {
	bool sent;
	int status;
	enum signer signer;
	long to;		/* seconds from now on the clock of sessions; 0: no end */
};

static void add_status(OCSP_BASICRESP *basic, const struct about *about)
{
	const time_t now = 1700000001;
	ASN1_INTEGER *serial = ASN1_INTEGER_new();
	ASN1_TIME *from = ASN1_TIME_adj(NULL, now, 0, -60), *to = about->to != 0 ? ASN1_TIME_adj(NULL, now, 0, about->to) : NULL;
	OCSP_CERTID *id;

	ASN1_INTEGER_set(serial, 80);
	id = OCSP_cert_id_new(EVP_sha1(), X509_get_subject_name(w.ca), X509_get0_pubkey_bitstr(w.ca), serial);
	assert_non_null(OCSP_basic_add1_status(basic, id, about->status, OCSP_REVOKED_STATUS_KEYCOMPROMISE, from, from, to));
	OCSP_CERTID_free(id);
	ASN1_INTEGER_free(serial);
	ASN1_TIME_free(from);
	ASN1_TIME_free(to);
}

static void sign(OCSP_BASICRESP *basic, enum signer signer)
{
	struct cert_spec spec = { .cn = "CA", .is_ca = true };
	EVP_PKEY *key;
	X509 *x;

	if (signer == BY_CA) {
		assert_int_equal(OCSP_basic_sign(basic, w.ca, w.ca_key, EVP_sha256(), NULL, 0), 1);
		return;
	}
	if (signer != BY_OTHER)
		spec = (struct cert_spec){ .cn = "responder", .issuer = w.ca, .issuer_key = w.ca_key, .serial = 81,
					   .usage = signer == BY_DELEGATE ? "OCSPSigning" : "serverAuth" };
	key = make_key("EC");
	x = make_cert(&spec, key);
	assert_int_equal(OCSP_basic_sign(basic, x, key, EVP_sha256(), NULL, 0), 1);
	X509_free(x);
	EVP_PKEY_free(key);
}

static const char *write_response(const struct about *about)
{
	OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
	OCSP_RESPONSE *response;
	const char *path = folder_path("staple.der");
	uint8_t *der = NULL;
	int n;

	add_status(basic, about);
	sign(basic, about->signer);
	response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
	n = i2d_OCSP_RESPONSE(response, &der);
	assert_true(n > 0);
	file_write(path, slice_of(der, (size_t)n));
	OPENSSL_free(der);
	OCSP_RESPONSE_free(response);
	OCSP_BASICRESP_free(basic);
	return path;
}

/* The server's certificate, with or without its promise. */
static X509 *show(bool must)
{
	struct cert_spec spec = { .cn = "mail", .san = "DNS:mail.example", .issuer = w.ca, .issuer_key = w.ca_key, .serial = 80 };
	EVP_PKEY *key = make_key("EC");
	X509 *x = make_cert(&spec, key);

	if (must) {
		X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, NID_tlsfeature, "status_request");

		assert_int_equal(X509_add_ext(x, e, -1), 1);
		assert_true(X509_sign(x, w.ca_key, EVP_sha256()) > 0);
		X509_EXTENSION_free(e);
	}
	put_chain(folder_path("mail.pem"), x, NULL);
	put_key(folder_path("mail.key"), key, NULL);
	EVP_PKEY_free(key);
	client_end()->own.fallback = sample_add(&w.client_side, folder_path("mail.pem"), folder_path("mail.key"));
	return x;
}

#define GOOD V_OCSP_CERTSTATUS_GOOD
#define REVOKED V_OCSP_CERTSTATUS_REVOKED
#define UNKNOWN V_OCSP_CERTSTATUS_UNKNOWN
#define NOTHING { false, 0, BY_CA, 0 }

static void staples(void **state)
{
	static const struct {
		bool must;
		struct about about;
		enum tls_verify type;
		bool permit_invalid;
		int result, error;
	} rows[] = {
		{ false, NOTHING, TLS_VERIFY_REQUIRED_TRUSTED, false, 0, X509_V_OK },
		{ false, { true, GOOD, BY_CA, DAY }, TLS_VERIFY_REQUIRED_TRUSTED, false, 0, X509_V_OK },
		{ false, { true, GOOD, BY_CA, 0 }, TLS_VERIFY_REQUIRED_TRUSTED, false, 0, X509_V_OK },
		{ false, { true, UNKNOWN, BY_CA, DAY }, TLS_VERIFY_REQUIRED_TRUSTED, false, 0, X509_V_OK },
		/* Revoked, by who may say so. */
		{ false, { true, REVOKED, BY_CA, DAY }, TLS_VERIFY_REQUIRED_TRUSTED, false, -EACCES, X509_V_ERR_CERT_REVOKED },
		{ false, { true, REVOKED, BY_DELEGATE, DAY }, TLS_VERIFY_REQUIRED_TRUSTED, false, -EACCES, X509_V_ERR_CERT_REVOKED },
		{ false, { true, REVOKED, BY_NOBODY, DAY }, TLS_VERIFY_REQUIRED_TRUSTED, false, 0, X509_V_OK },
		{ false, { true, REVOKED, BY_OTHER, DAY }, TLS_VERIFY_REQUIRED_TRUSTED, false, 0, X509_V_OK },
		{ false, { true, REVOKED, BY_CA, DAY }, TLS_VERIFY_REQUIRED_UNTRUSTED, false, -EACCES, X509_V_ERR_CERT_REVOKED },
		{ false, { true, REVOKED, BY_CA, DAY }, TLS_VERIFY_REQUIRED_UNTRUSTED, true, 0, X509_V_ERR_CERT_REVOKED },
		{ false, { true, REVOKED, BY_CA, DAY }, TLS_VERIFY_NONE, false, 0, X509_V_OK },
		/* Promised. */
		{ true, { true, GOOD, BY_CA, DAY }, TLS_VERIFY_REQUIRED_TRUSTED, false, 0, X509_V_OK },
		{ true, { true, GOOD, BY_DELEGATE, DAY }, TLS_VERIFY_REQUIRED_TRUSTED, false, 0, X509_V_OK },
		{ true, NOTHING, TLS_VERIFY_REQUIRED_TRUSTED, false, -EACCES, X509_V_ERR_OCSP_VERIFY_NEEDED },
		{ true, { true, UNKNOWN, BY_CA, DAY }, TLS_VERIFY_REQUIRED_TRUSTED, false, -EACCES, X509_V_ERR_OCSP_VERIFY_NEEDED },
		{ true, { true, GOOD, BY_NOBODY, DAY }, TLS_VERIFY_REQUIRED_TRUSTED, false, -EACCES, X509_V_ERR_OCSP_VERIFY_NEEDED },
		{ true, { true, GOOD, BY_OTHER, DAY }, TLS_VERIFY_REQUIRED_TRUSTED, false, -EACCES, X509_V_ERR_OCSP_VERIFY_NEEDED },
		{ true, NOTHING, TLS_VERIFY_REQUIRED_UNTRUSTED, true, 0, X509_V_ERR_OCSP_VERIFY_NEEDED },
		{ true, NOTHING, TLS_VERIFY_NONE, false, 0, X509_V_OK },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (uint16_t version = 0x0303; version <= 0x0304; version++) {
			struct pair p;

			world_setup(NULL);
			X509_free(show(rows[i].must));
			client_end()->options.version_min = client_end()->options.version_max = version;
			server_end()->verifier.type = rows[i].type;
			server_end()->verifier.permit_invalid = rows[i].permit_invalid;
			if (rows[i].about.sent)
				client_end()->options.ocsp_file = write_response(&rows[i].about);
			world_build();
			world_shake(&p);
			if (p.server.result != rows[i].result)
				print_message("# row %zu, version %x: %s\n", i, version, p.server.h.error);
			assert_int_equal(p.server.result, rows[i].result);
			assert_int_equal(p.server.h.facts.verify_error, rows[i].error);
			assert_int_equal(p.server.h.facts.trusted, rows[i].error == X509_V_OK);
			if (rows[i].result < 0)
				assert_non_null(strstr(p.server.h.error, rows[i].error == X509_V_ERR_CERT_REVOKED ? "is revoked" : "must come with"));
			pair_close(&p);
			world_teardown(NULL);
		}
}

/* A good word ends, the other does not; and octets that are none say nothing. */
static void ages(void **state)
{
	static const struct about good = { true, GOOD, BY_CA, 3600 }, revoked = { true, REVOKED, BY_CA, 3600 };
	const int64_t now = 1700000001;
	STACK_OF(X509) *chain = sk_X509_new_null();
	X509_STORE *store = X509_STORE_new();
	X509 *leaf = show(false);
	int64_t until = 0;
	struct slice der;

	sk_X509_push(chain, leaf);
	sk_X509_push(chain, w.ca);
	X509_STORE_add_cert(store, w.ca);
	der = file_of_pem(write_response(&good));
	assert_int_equal(tls_staple_judge(der, chain, store, now, &until), TLS_STAPLE_SAYS_GOOD);
	assert_int_equal(until, now + 3600);
	assert_int_equal(tls_staple_judge(der, chain, store, now + 3600, &until), TLS_STAPLE_SAYS_NOTHING);
	assert_int_equal(tls_staple_judge(der, chain, store, now - 60 - 301, &until), TLS_STAPLE_SAYS_NOTHING);
	for (size_t n = 0; n < der.len; n++)
		assert_int_equal(tls_staple_judge(slice_take(der, n), chain, store, now, &until), TLS_STAPLE_SAYS_NOTHING);
	der = file_of_pem(write_response(&revoked));
	assert_int_equal(tls_staple_judge(der, chain, store, now + DAY, &until), TLS_STAPLE_SAYS_REVOKED);
	sk_X509_free(chain);
	X509_STORE_free(store);
	X509_free(leaf);
}

/* A pin counts before everything, and so before what is promised. */
static void pinned(void **state)
{
	static const struct endpoint peer = { { AF_INET, { 192, 0, 2, 1 } }, 25 };
	X509 *x = show(true);
	struct pair p;

	folder_make(folder_path("stapled-pins"));
	put_chain(folder_path("stapled-pins/192.0.2.1:25"), x, NULL);
	X509_free(x);
	server_end()->verifier.pinned_directory = folder_path("stapled-pins");
	world_build();
	world_open(&p);
	p.server.h.peer = &peer;
	pair_run(&p);
	assert_int_equal(p.server.result, 0);
	assert_true(p.server.h.facts.trusted);
	pair_close(&p);
}

/* Where a handshake is strict the CA's word counts whatever the verifier tolerates. */
static void strict(void **state)
{
	static const enum tls_verify types[] = { TLS_VERIFY_NONE, TLS_VERIFY_REQUIRED_UNTRUSTED };
	static const struct about revoked = { true, REVOKED, BY_CA, DAY };

	for (size_t i = 0; i < 2 * ARRAY_LEN(types); i++) {
		bool is_strict = i % 2 == 1;
		struct pair p;

		world_setup(NULL);
		X509_free(show(false));
		server_end()->verifier.type = types[i / 2];
		server_end()->verifier.permit_invalid = true;
		server_end()->verifier.mta_sts = "domain.example";
		client_end()->options.ocsp_file = write_response(&revoked);
		world_build();
		world_open(&p);
		p.server.h.strict = is_strict;
		pair_run(&p);
		assert_int_equal(p.server.result, is_strict ? -EACCES : 0);
		pair_close(&p);
		world_teardown(NULL);
	}
}

/* Where there is no list, and the verifier can do without, a response is all that tells who is revoked. */
static void instead_of_a_list(void **state)
{
	static const struct about good = { true, GOOD, BY_CA, DAY }, revoked = { true, REVOKED, BY_CA, DAY };

	for (int i = 0; i < 2; i++) {
		const char *lists;
		struct pair p;

		world_setup(NULL);
		X509_free(show(false));
		lists = folder_path("lists%d", i);
		folder_make(lists);
		server_end()->verifier.type = TLS_VERIFY_REQUIRED_TRUSTED;
		server_end()->verifier.crl_directory = lists;
		server_end()->verifier.permit_missing_crl = true;
		client_end()->options.ocsp_file = write_response(i == 0 ? &good : &revoked);
		world_build();
		world_open(&p);
		pair_run(&p);
		assert_int_equal(p.server.result, i == 0 ? 0 : -EACCES);
		pair_close(&p);
		world_teardown(NULL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(staples), cmocka_unit_test(strict), cmocka_unit_test(instead_of_a_list), cmocka_unit_test_setup_teardown(ages, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(pinned, world_setup, world_teardown),
	};

	return cmocka_run_group_tests(tests, world_create, world_remove);
}
