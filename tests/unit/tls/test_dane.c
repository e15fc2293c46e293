/* SPDX-License-Identifier: Apache-2.0 */
/* TLSA records: what is one, and which servers are let in by them. */
#include "tls_test.h"

#include "tls/tlsa.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>

/* ---- records ---- */

#define DIGEST "\0\43\3\1\1xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"	/* 3 1 1, 32 octets */
#define SPKI "\60\52\60\5\6\3\53\145\160\3\41\0"		/* of an Ed25519 key, which is what follows */

static void parsing(void **state)
{
	static const struct {
		struct slice octets;
		int result;
		size_t n, n_unusable;
	} rows[] = {
		{ SLICE_INIT(""), 0, 0, 0 },
		{ SLICE_INIT("\0"), -EBADMSG, 0, 0 },
		{ SLICE_INIT("\0\4\3\0\0"), -EBADMSG, 0, 0 },
		{ SLICE_INIT(DIGEST), 0, 1, 0 },
		{ SLICE_INIT(DIGEST "\0"), -EBADMSG, 0, 0 },
		{ SLICE_INIT(DIGEST "\0\43\2\0\1yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"), 0, 2, 0 },
		/* Not a record at all: neither is another harmed by it. */
		{ SLICE_INIT("\0\0"), 0, 0, 1 },
		{ SLICE_INIT("\0\3\3\0\0" DIGEST), 0, 1, 1 },
		/* Whole, and no certificate, or no key, or one and something more. */
		{ SLICE_INIT("\0\4\3\0\0x"), 0, 0, 1 },
		{ SLICE_INIT("\0\5\2\1\0yz"), 0, 0, 1 },
		{ SLICE_INIT("\0\57\3\1\0" SPKI "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"), 0, 1, 0 },
		{ SLICE_INIT("\0\60\3\1\0" SPKI "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"), 0, 0, 1 },
		{ SLICE_INIT("\0\56\3\1\0" SPKI "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"), 0, 0, 1 },
		{ SLICE_INIT("\0\57\3\0\0" SPKI "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"), 0, 0, 1 },
		/* Of public CAs, of unknown kinds, of the wrong length. */
		{ SLICE_INIT("\0\4\0\0\0x"), 0, 0, 1 },
		{ SLICE_INIT("\0\4\1\0\0x"), 0, 0, 1 },
		{ SLICE_INIT("\0\4\4\0\0x"), 0, 0, 1 },
		{ SLICE_INIT("\0\4\377\0\0x"), 0, 0, 1 },
		{ SLICE_INIT("\0\4\3\2\0x"), 0, 0, 1 },
		{ SLICE_INIT("\0\4\3\0\3x"), 0, 0, 1 },
		{ SLICE_INIT("\0\4\3\0\1x"), 0, 0, 1 },
		{ SLICE_INIT("\0\42\3\1\1xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), 0, 0, 1 },		/* 31 */
		{ SLICE_INIT("\0\43\3\1\1xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), 0, 1, 0 },		/* 32 */
		{ SLICE_INIT("\0\44\3\1\1xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), 0, 0, 1 },		/* 33 */
		{ SLICE_INIT("\0\43\3\1\2xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"), 0, 0, 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct tlsa_set set = { .n = 77 };

		assert_int_equal(tlsa_set_parse(rows[i].octets, &set), rows[i].result);
		assert_int_equal(set.n, rows[i].result == 0 ? rows[i].n : 77);
		assert_int_equal(set.n_unusable, rows[i].n_unusable);
	}
}

static void at_most_so_many(void **state)
{
	enum { ONE = sizeof(DIGEST) - 1 };
	static uint8_t many[ONE * (TLSA_RECORDS_MAX + 1)];
	struct tlsa_set set;

	for (size_t i = 0; i < sizeof(many); i += ONE)
		memcpy(many + i, DIGEST, ONE);
	assert_int_equal(tlsa_set_parse(slice_of(many, sizeof(many) - ONE), &set), 0);
	assert_int_equal(set.n, TLSA_RECORDS_MAX);
	assert_slice(set.records[TLSA_RECORDS_MAX - 1].data, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
	assert_int_equal(tlsa_set_parse(slice_of(many, sizeof(many)), &set), -E2BIG);
	many[2] = 0;		/* those that can't be used count, too */
	assert_int_equal(tlsa_set_parse(slice_of(many, sizeof(many)), &set), -E2BIG);
}

/* ---- servers ---- */

static uint8_t octets[4096];		/* of the records under test */

/* A record of this certificate. */
static size_t put_record(uint8_t *out, uint8_t usage, uint8_t selector, uint8_t matching, X509 *x)
{
	uint8_t *der = NULL, *at = out + 5;
	int len = selector == 0 ? i2d_X509(x, &der) : i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);
	unsigned n = 0;

	assert_true(len > 0);
	if (matching == 0) {
		memcpy(at, der, (size_t)len);
		n = (unsigned)len;
	} else {
		assert_int_equal(EVP_Digest(der, (size_t)len, at, &n, matching == 1 ? EVP_sha256() : EVP_sha512(), NULL), 1);
	}
	OPENSSL_free(der);
	memcpy(out, (uint8_t[]){ (uint8_t)((n + 3) >> 8), (uint8_t)(n + 3), usage, selector, matching }, 5);
	return 5 + n;
}

static void shake(struct pair *p, const struct tlsa_set *set, const char *host)
{
	static const struct endpoint peer = { { AF_INET, { 192, 0, 2, 1 } }, 25 };

	world_open(p);
	p->server.h.peer = &peer;
	p->server.h.server_name = p->server.h.must_fit = slice_cstr(host);
	p->server.h.dane = set;
	pair_run(p);
}

/* What the server shows: signed by "CA", which is believed (or not), or by itself, too old. */
enum shown { SIGNED, OLD, WITH_CA };

static X509 *show(enum shown shown)
{
	struct cert_spec spec = { .cn = "dane", .san = "DNS:mail.example", .issuer = w.ca, .issuer_key = w.ca_key, .serial = 60 };
	EVP_PKEY *key = make_key("EC");
	X509 *x;

	if (shown == OLD) {
		spec.issuer = NULL;
		spec.issuer_key = NULL;
		spec.from = -2 * DAY;
		spec.to = -DAY;
	}
	x = make_cert(&spec, key);
	put_chain(folder_path("dane.pem"), x, shown == WITH_CA ? w.ca : NULL);
	put_key(folder_path("dane.key"), key, NULL);
	EVP_PKEY_free(key);
	client_end()->own.fallback = sample_add(&w.client_side, folder_path("dane.pem"), folder_path("dane.key"));
	return x;
}

static void servers(void **state)
{
	static const struct {
		enum shown shown;
		uint8_t usage, selector, matching;
		bool of_ca, of_other;		/* whose certificate the record is of; else the leaf */
		const char *host;
		int result;
	} rows[] = {
		/* The leaf itself: whatever its name and its dates, whether a CA is known or not. */
		{ SIGNED, 3, 0, 0, false, false, "mail.example", 0 },
		{ SIGNED, 3, 0, 1, false, false, "mail.example", 0 },
		{ SIGNED, 3, 0, 2, false, false, "mail.example", 0 },
		{ SIGNED, 3, 1, 0, false, false, "mail.example", 0 },
		{ SIGNED, 3, 1, 1, false, false, "mail.example", 0 },
		{ SIGNED, 3, 1, 2, false, false, "mail.example", 0 },
		{ SIGNED, 3, 1, 1, false, false, "other.example", 0 },
		{ OLD, 3, 1, 1, false, false, "other.example", 0 },
		/* Another leaf; a CA that is no leaf. */
		{ SIGNED, 3, 1, 1, false, true, "mail.example", -EACCES },
		{ OLD, 3, 1, 1, false, true, "mail.example", -EACCES },
		{ WITH_CA, 3, 1, 1, true, false, "mail.example", -EACCES },
		/* Its CA, which must be in the chain, with the right name and dates. */
		{ WITH_CA, 2, 0, 1, true, false, "mail.example", 0 },
		{ WITH_CA, 2, 1, 1, true, false, "mail.example", 0 },
		{ WITH_CA, 2, 0, 1, true, false, "other.example", -EACCES },
		{ SIGNED, 2, 0, 1, true, false, "mail.example", -EACCES },
		{ WITH_CA, 2, 0, 1, false, true, "mail.example", -EACCES },
		{ OLD, 2, 0, 1, false, false, "mail.example", -EACCES },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (int type = TLS_VERIFY_NONE; type <= TLS_VERIFY_REQUIRED_TRUSTED; type += TLS_VERIFY_REQUIRED_TRUSTED) {
			struct tlsa_set set;
			struct pair p;
			X509 *x;

			world_setup(NULL);
			x = show(rows[i].shown);
			server_end()->verifier.type = type;
			server_end()->verifier.dane = TLS_DANE_OPPORTUNISTIC;
			/* A CA that we believe makes nothing better, one that we do not nothing worse. */
			if (rows[i].result == 0)
				server_end()->verifier.ca_directory = NULL;
			world_build();
			assert_int_equal(tlsa_set_parse(slice_of(octets, put_record(octets, rows[i].usage, rows[i].selector, rows[i].matching,
										    rows[i].of_ca ? w.ca : rows[i].of_other ? w.client : x)), &set), 0);
			shake(&p, &set, rows[i].host);
			if (p.server.result != rows[i].result)
				print_message("# row %zu, type %d: %s\n", i, type, p.server.h.error);
			assert_int_equal(p.server.result, rows[i].result);
			assert_int_equal(p.server.h.facts.trusted, rows[i].result == 0);
			assert_int_equal(p.server.h.facts.verify_error == X509_V_OK, rows[i].result == 0);
			assert_int_equal(p.server.h.error[0] != '\0', rows[i].result != 0);
			pair_close(&p);
			X509_free(x);
			world_teardown(NULL);
		}
}

static X509 *show_named(const char *cn, const char *san)
{
	struct cert_spec spec = { .cn = cn, .san = san, .issuer = w.ca, .issuer_key = w.ca_key, .serial = 61 };
	EVP_PKEY *key = make_key("EC");
	X509 *x = make_cert(&spec, key);

	put_chain(folder_path("dane.pem"), x, w.ca);
	put_key(folder_path("dane.key"), key, NULL);
	EVP_PKEY_free(key);
	client_end()->own.fallback = sample_add(&w.client_side, folder_path("dane.pem"), folder_path("dane.key"));
	return x;
}

/* A zone vouches for its own host, and not for what else a certificate says. */
static void names(void **state)
{
	static const struct {
		const char *cn, *san;
		bool narrow;
	} rows[] = {
		{ "mail.example", "DNS:mail.example", false },
		{ "Mail.Example", "DNS:MAIL.example", false },
		{ "mail.example", "DNS:mail.example,DNS:bank.example", true },
		{ "mail.example", "DNS:bank.example,DNS:mail.example", true },
		{ "mail.example", "DNS:mail.example,DNS:*.example", true },
		{ "mail.example", "DNS:mail.example,IP:192.0.2.1", true },
		{ "mail.example", "DNS:mail.example,email:a@bank.example", true },
		{ "mail.example", "DNS:mail.example,URI:https://bank.example/", true },
		{ "bank.example", "DNS:mail.example", true },
		{ "bank.example", NULL, true },
		{ "mail.example", NULL, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (uint8_t usage = TLSA_DANE_TA; usage <= TLSA_DANE_EE; usage++) {
			struct tlsa_set set;
			struct pair p;
			X509 *x;

			if (usage == TLSA_DANE_TA && rows[i].san == NULL)
				continue;	/* its name would have to fit */
			world_setup(NULL);
			x = show_named(rows[i].cn, rows[i].san);
			server_end()->verifier.dane = TLS_DANE_OPPORTUNISTIC;
			world_build();
			assert_int_equal(tlsa_set_parse(slice_of(octets, put_record(octets, usage, 1, 1, usage == TLSA_DANE_TA ? w.ca : x)), &set), 0);
			shake(&p, &set, "mail.example");
			assert_int_equal(p.server.result, 0);
			assert_true(p.server.h.facts.trusted);
			if (p.server.h.facts.narrow != rows[i].narrow)
				print_message("# row %zu, usage %u\n", i, usage);
			assert_int_equal(p.server.h.facts.narrow, rows[i].narrow);
			pair_close(&p);
			X509_free(x);
			world_teardown(NULL);
		}
}

/* One of several is enough; one that is nothing does not count. */
static void several(void **state)
{
	size_t n = put_record(octets, 3, 1, 1, w.client);
	struct tlsa_set set;
	struct pair p;

	server_end()->verifier.dane = TLS_DANE_REQUIRED;
	world_build();
	memcpy(octets + n, "\0\4\3\0\0x", 6);
	n += 6;
	assert_int_equal(tlsa_set_parse(slice_of(octets, n), &set), 0);
	shake(&p, &set, "mail.example");
	assert_int_equal(p.server.result, -EACCES);
	pair_close(&p);
	n += put_record(octets + n, 3, 1, 1, w.leaf);
	assert_int_equal(tlsa_set_parse(slice_of(octets, n), &set), 0);
	shake(&p, &set, "mail.example");
	assert_int_equal(p.server.result, 0);
	pair_close(&p);
}

/* ---- sessions that go on ---- */

static co_waits void talk(struct end *e)
{
	if (e->h.end == TLS_CLIENT) {
		assert_int_equal(stream_write(e->stream, SLICE("220"), DEADLINE_NEVER), 0);
		if (stream_flush(e->stream, DEADLINE_NEVER) == 0)
			(void)!stream_fill(e->stream, DEADLINE_NEVER);
		return;
	}
	assert_int_equal(stream_fill(e->stream, DEADLINE_NEVER), 3);
	stream_consume(e->stream, 3);
	assert_int_equal(stream_shutdown_write(e->stream, DEADLINE_NEVER), 0);
}

static bool resumes(const struct tlsa_set *set, int result)
{
	static const struct endpoint peer = { { AF_INET, { 192, 0, 2, 1 } }, 25 };
	struct pair p;
	bool resumed;

	world_open(&p);
	p.client.then = p.server.then = talk;
	p.server.h.peer = &peer;
	p.server.h.server_name = p.server.h.must_fit = SLICE("other.example");
	p.server.h.dane = set;
	pair_run(&p);
	assert_int_equal(p.server.result, result);
	assert_int_equal(p.server.h.facts.trusted, result == 0);
	resumed = p.server.h.facts.resumed;
	pair_close(&p);
	return resumed;
}

/* A verdict lasts as long as the records that it is from, and no longer. */
static void resumption(void **state)
{
	uint8_t first[128], second[128];
	size_t n = put_record(first, 3, 1, 1, w.leaf);
	struct tlsa_set one, other;

	server_end()->verifier.dane = TLS_DANE_OPPORTUNISTIC;
	world_build();
	assert_int_equal(tlsa_set_parse(slice_of(first, n), &one), 0);
	assert_int_equal(tlsa_set_parse(slice_of(second, put_record(second, 3, 1, 2, w.leaf)), &other), 0);
	assert_false(resumes(&one, 0));
	assert_true(resumes(&one, 0));
	assert_false(resumes(&other, 0));
	assert_true(resumes(&other, 0));
	assert_int_equal(tlsa_set_parse(slice_of(second, put_record(second, 3, 1, 1, w.client)), &other), 0);
	assert_false(resumes(&other, -EACCES));
	assert_false(resumes(NULL, -EACCES));		/* no records: another's name */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parsing), cmocka_unit_test(at_most_so_many), cmocka_unit_test(servers), cmocka_unit_test(names),
		cmocka_unit_test_setup_teardown(several, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(resumption, world_setup, world_teardown),
	};

	return cmocka_run_group_tests(tests, world_create, world_remove);
}
