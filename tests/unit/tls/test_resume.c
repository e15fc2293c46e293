/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions that go on, and those that must not. */
#include "tls_test.h"

#include "tls/ratchet.h"
#include "tls/resume.h"

#include <errno.h>
#include <openssl/x509_vfy.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static const struct endpoint peer = { { AF_INET, { 192, 0, 2, 1 } }, 25 };

/* A word from the client side so that its reads take in the tickets of TLS 1.3. */
static co_waits void talk(struct end *e)
{
	if (e->h.end == TLS_CLIENT) {
		/* The peer may know already that it wants no more of this. */
		assert_int_equal(stream_write(e->stream, SLICE("220"), DEADLINE_NEVER), 0);
		if (stream_flush(e->stream, DEADLINE_NEVER) == 0)
			(void)!stream_fill(e->stream, DEADLINE_NEVER);
		return;
	}
	assert_int_equal(stream_fill(e->stream, DEADLINE_NEVER), 3);
	stream_consume(e->stream, 3);
	assert_int_equal(stream_shutdown_write(e->stream, DEADLINE_NEVER), 0);
}

/* The clock of the tickets is the virtual one; hour moves it. */
static void converse(struct pair *p, const struct endpoint *to, int64_t hour)
{
	world_open(p);
	p->clock.now += hour * 3600 * 1000;
	p->client.then = p->server.then = talk;
	p->server.h.peer = to;
	p->server.h.server_name = p->server.h.must_fit = SLICE("mail.example");
	pair_run(p);
}

static unsigned client_chain = 1;	/* certificates that the client shows */

static bool resumes_at(int64_t hour)
{
	struct pair p;
	bool resumed;

	converse(&p, &peer, hour);
	assert_int_equal(p.client.result, 0);
	assert_int_equal(p.server.result, 0);
	resumed = p.server.h.facts.resumed;
	assert_int_equal(p.client.h.facts.resumed, resumed);
	assert_true(p.server.h.facts.trusted);
	assert_int_equal(p.server.h.facts.n_peer, 1);
	assert_slice(p.server.h.facts.peer[0].subject, "/CN=mail");
	if (client_end()->verifier.type != TLS_VERIFY_NONE) {
		assert_true(p.client.h.facts.trusted);
		assert_int_equal(p.client.h.facts.n_peer, client_chain);
		assert_slice(p.client.h.facts.peer[0].subject, "/CN=client");
	}
	pair_close(&p);
	return resumed;
}

static bool resumes(void)
{
	return resumes_at(0);
}

static void only(uint16_t version)
{
	client_end()->options.version_min = client_end()->options.version_max = version;
}

static void both_versions(void **state)
{
	for (uint16_t version = 0x0303; version <= 0x0304; version++) {
		only(version);
		world_build();
		assert_false(resumes());
		assert_true(resumes());
		assert_true(resumes());
		world_teardown(NULL);
	}
}

static void with_client_certificate(void **state)
{
	for (uint16_t version = 0x0303; version <= 0x0304; version++) {
		world_setup(NULL);
		world_mutual(TLS_VERIFY_REQUIRED_TRUSTED);
		only(version);
		world_build();
		assert_false(resumes());
		assert_true(resumes());
		world_teardown(NULL);
	}
}

static void other_server(void **state)
{
	struct endpoint other = peer;
	struct pair p;

	world_build();
	assert_false(resumes());
	other.port = 26;
	converse(&p, &other, 0);
	assert_false(p.server.h.facts.resumed);
	pair_close(&p);
	assert_true(resumes());
}

static void not_wanted(void **state)
{
	client_end()->options.tickets = false;
	world_build();
	assert_false(resumes());
	assert_false(resumes());
}

/* Another generation, or another worker, with the same secret. */
static void rebuild_client_end(const struct tls_ratchet *ratchet)
{
	unbuild(&w.toward_client);
	build(&w.client_side, &w.toward_client);
	assert_int_equal(w.toward_client.err, 0);
	tls_set_ratchet(w.toward_client.tls, ratchet);
}

static void over_generations(void **state)
{
	struct tls_ratchet r;

	assert_int_equal(tls_ratchet_start(&r, 1700000000), 0);
	world_build();
	rebuild_client_end(&r);
	assert_false(resumes());
	rebuild_client_end(&r);
	assert_true(resumes());
	/* Another secret: they are strangers. */
	assert_int_equal(tls_ratchet_start(&r, 1700000000), 0);
	rebuild_client_end(&r);
	assert_false(resumes());
}

static void other_configuration(void **state)
{
	struct tls_ratchet r;

	assert_int_equal(tls_ratchet_start(&r, 1700000000), 0);
	world_build();
	rebuild_client_end(&r);
	assert_false(resumes());
	client_end()->verifier.depth++;
	rebuild_client_end(&r);
	assert_false(resumes());
	client_end()->own.fallback = sample_add(&w.client_side, w.leaf_file, w.leaf_key_file);
	rebuild_client_end(&r);
	assert_true(resumes());
}

/* An hour later a ticket is good and made anew; two hours later it is not. */
static void hours(void **state)
{
	struct tls_ratchet r;

	assert_int_equal(tls_ratchet_start(&r, 1700000000), 0);
	client_end()->options.session_seconds = server_end()->options.session_seconds = 10 * 3600;
	world_build();
	rebuild_client_end(&r);
	assert_false(resumes_at(0));
	assert_true(resumes_at(1));
	assert_true(resumes_at(2));
	assert_false(resumes_at(4));
	assert_true(resumes_at(5));
	/* Back in time: the keys are gone; the newest serve, but not for what was verified later than now. */
	assert_false(resumes_at(0));
	assert_true(resumes_at(0));
}

/* What a peer was verified by ends in half an hour: a CA between, or a revocation list. */

static bool goes_on_at(int64_t hour)
{
	struct pair p;
	bool resumed;

	converse(&p, &peer, hour);
	assert_int_equal(p.client.result, 0);
	assert_int_equal(p.server.result, 0);
	resumed = p.server.h.facts.resumed;
	pair_close(&p);
	return resumed;
}

static const struct tls_certificate *show_by_short_ca(struct sample *s)
{
	struct cert_spec spec = { .cn = "short", .is_ca = true, .from = -60, .to = 1800, .issuer = w.ca, .issuer_key = w.ca_key, .serial = 70 };
	EVP_PKEY *ca_key = make_key("EC"), *key = make_key("EC");
	X509 *ca = make_cert(&spec, ca_key), *x;

	spec = (struct cert_spec){ .cn = "mail", .san = "DNS:mail.example", .issuer = ca, .issuer_key = ca_key, .serial = 71 };
	x = make_cert(&spec, key);
	put_chain(folder_path("short.pem"), x, ca);
	put_key(folder_path("short.key"), key, NULL);
	X509_free(x);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(key);
	return sample_add(s, folder_path("short.pem"), folder_path("short.key"));
}

static const char *short_list(void)
{
	X509_CRL *list = make_crl(w.ca, w.ca_key, 0);
	ASN1_TIME *next = X509_gmtime_adj(NULL, 1800);
	const char *directory = folder_path("short-list");

	X509_CRL_set1_nextUpdate(list, next);
	assert_true(X509_CRL_sign(list, w.ca_key, EVP_sha256()) > 0);
	folder_make(directory);
	put_hashed_crl(directory, list);
	ASN1_TIME_free(next);
	X509_CRL_free(list);
	return directory;
}

static void not_longer_than_believed(void **state)
{
	enum { NOTHING, SERVER_CA, SERVER_LIST, CLIENT_CA, CLIENT_LIST, CASES };
	const char *lists = short_list();

	for (int what = NOTHING; what < CASES; what++)
		for (uint16_t version = 0x0303; version <= 0x0304; version++) {
			struct tls_ratchet r;

			world_setup(NULL);
			assert_int_equal(tls_ratchet_start(&r, 1700000000), 0);
			world_mutual(TLS_VERIFY_REQUIRED_TRUSTED);
			client_end()->options.session_seconds = server_end()->options.session_seconds = 10 * 3600;
			only(version);
			if (what == SERVER_CA)
				client_end()->own.fallback = show_by_short_ca(&w.client_side);
			if (what == CLIENT_CA)
				server_end()->own.fallback = show_by_short_ca(&w.server_side);
			if (what == SERVER_LIST)
				server_end()->verifier.crl_directory = lists;
			if (what == CLIENT_LIST)
				client_end()->verifier.crl_directory = lists;
			world_build();
			rebuild_client_end(&r);
			assert_false(goes_on_at(0));
			assert_true(goes_on_at(0));
			if (goes_on_at(1) != (what == NOTHING))
				fail_msg("case %d, version %x", what, version);
			world_teardown(NULL);
		}
}

static void ratchet(void **state)
{
	struct tls_ratchet a = { 100, { 1, 2, 3 } }, b = a, c = a;
	uint8_t next[32];

	tls_ratchet_step(&a, 103 * 3600 + 5);
	assert_int_equal(a.epoch, 102);
	tls_ratchet_step(&b, 102 * 3600);
	assert_int_equal(b.epoch, 101);
	tls_ratchet_next(b.secret, next);
	assert_memory_equal(next, a.secret, 32);
	tls_ratchet_step(&b, 103 * 3600 + 3599);
	assert_memory_equal(&a, &b, sizeof(a));
	tls_ratchet_step(&c, 101 * 3600);
	assert_int_equal(c.epoch, 100);
	tls_ratchet_step(&c, 5 * 3600);
	assert_int_equal(c.epoch, 100);
	/* A clock that jumped by centuries does not stop the worker. */
	tls_ratchet_step(&c, INT64_MAX / 2);
	assert_int_equal(c.epoch, 100);
}

/* The name is looked at each time. */
static void other_name(void **state)
{
	struct pair p;

	world_build();
	assert_false(resumes());
	world_open(&p);
	p.server.h.peer = &peer;
	p.server.h.server_name = SLICE("mail.example");
	p.server.h.must_fit = SLICE("other.example");
	pair_run(&p);
	assert_int_equal(p.server.result, -EACCES);
	assert_true(p.server.h.facts.resumed);
	assert_false(p.server.h.facts.trusted);
	pair_close(&p);
}

/* What only the policy's code let in is asked again. */

static int verdict;

static co_waits int answer(void *arg, const struct tls_facts *facts)
{
	assert_int_equal(facts->verify_error, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
	assert_false(facts->trusted);
	return verdict;
}

static int ask_again(int v, bool *resumed)
{
	struct pair p;
	int result;

	verdict = v;
	world_open(&p);
	p.client.then = p.server.then = talk;
	p.server.h.peer = &peer;
	p.server.h.asks.verified = answer;
	pair_run(&p);
	result = p.server.result;
	*resumed = p.server.h.facts.resumed;
	pair_close(&p);
	return result;
}

static void accepted_by_policy(void **state)
{
	bool resumed;

	only(0x0303);
	server_end()->verifier.ca_directory = NULL;
	world_build();
	assert_int_equal(ask_again(1, &resumed), 0);
	assert_false(resumed);
	assert_int_equal(ask_again(1, &resumed), 0);
	assert_true(resumed);
	assert_int_equal(ask_again(0, &resumed), -EACCES);
	assert_true(resumed);
	assert_int_equal(ask_again(-EACCES, &resumed), -EACCES);
}

/* As talk, with a client end that may refuse what the other one believed to be done (TLS 1.3). */
static co_waits void talk_if_let(struct end *e)
{
	if (e->h.end == TLS_SERVER && stream_fill(e->stream, DEADLINE_NEVER) < 0)
		return;
	if (e->h.end == TLS_SERVER)
		assert_int_equal(stream_shutdown_write(e->stream, DEADLINE_NEVER), 0);
	else
		talk(e);
}

/* Towards a client: each ticket that is made while a session goes on says the same as the first. */
static int client_again(int v, const struct endpoint *from, bool *resumed)
{
	struct pair p;
	int result;

	verdict = v;
	world_open(&p);
	p.client.then = p.server.then = talk_if_let;
	p.server.h.peer = &peer;
	p.server.h.server_name = SLICE("mail.example");
	p.client.h.peer = from;
	p.client.h.asks.verified = v == 0 ? NULL : answer;
	pair_run(&p);
	result = p.client.result;
	*resumed = p.client.h.facts.resumed;
	pair_close(&p);
	return result;
}

static void accepted_client(void **state)
{
	bool resumed;

	for (uint16_t version = 0x0303; version <= 0x0304; version++) {
		world_setup(NULL);
		world_mutual(TLS_VERIFY_REQUIRED_TRUSTED);
		client_end()->verifier.ca_directory = NULL;
		only(version);
		world_build();
		assert_int_equal(client_again(1, &peer, &resumed), 0);
		assert_false(resumed);
		for (int i = 0; i < 3; i++) {
			assert_int_equal(client_again(1, &peer, &resumed), 0);
			assert_true(resumed);
		}
		assert_int_equal(client_again(0, &peer, &resumed), -EACCES);
		world_teardown(NULL);
	}
}

static void verified_client(void **state)
{
	bool resumed;

	world_mutual(TLS_VERIFY_REQUIRED_TRUSTED);
	only(0x0304);
	world_build();
	assert_false(resumes());
	for (int i = 0; i < 3; i++)
		assert_true(resumes());		/* and is trusted */
	assert_int_equal(client_again(0, &peer, &resumed), 0);
	assert_true(resumed);
}

/* A pin is for an address, and so is the ticket that it led to. */
static void pinned_elsewhere(void **state)
{
	static const struct endpoint pinned = { { AF_INET, { 192, 0, 2, 9 } }, 40000 };
	bool resumed;

	folder_make(folder_path("resume-pins"));
	put_chain(folder_path("resume-pins/192.0.2.9"), w.client, NULL);
	world_mutual(TLS_VERIFY_REQUIRED_TRUSTED);
	client_end()->verifier.ca_directory = NULL;
	client_end()->verifier.pinned_directory = folder_path("resume-pins");
	only(0x0304);
	world_build();
	assert_int_equal(client_again(0, &pinned, &resumed), 0);
	assert_false(resumed);
	assert_int_equal(client_again(0, &pinned, &resumed), 0);
	assert_true(resumed);
	assert_int_equal(client_again(0, &peer, &resumed), -EACCES);
	assert_false(resumed);
}

/* The time counts from when the peer was really verified, however often the session went on. */
static void for_so_long(void **state)
{
	struct tls_ratchet r;

	assert_int_equal(tls_ratchet_start(&r, 1700000000), 0);
	client_end()->options.session_seconds = server_end()->options.session_seconds = 2 * 3600 + 600;
	world_build();
	rebuild_client_end(&r);
	assert_false(resumes_at(0));
	assert_true(resumes_at(1));
	assert_true(resumes_at(2));
	assert_false(resumes_at(3));
	assert_true(resumes_at(4));
}

/* Policy code that chooses our certificate is asked each time. */
static void asked_for_the_key(void **state)
{
	client_end()->own.setup_key.callback = 1;
	world_build();
	assert_false(resumes());
	assert_false(resumes());
}

/* The client's certificate has one between it and the CA, with that many octets of names. */
static void use_chain(size_t octets)
{
	char *san = calloc(1, octets + 64);
	struct cert_spec spec = { .cn = "between", .san = san, .is_ca = true, .issuer = w.ca, .issuer_key = w.ca_key, .serial = 30 };
	EVP_PKEY *key = make_key("EC"), *leaf_key = make_key("EC");
	X509 *between, *leaf;
	const char *chain = folder_path("chain.pem"), *key_file = folder_path("chain.key");
	size_t n = (size_t)sprintf(san, "DNS:between.example");

	while (n < octets)
		n += (size_t)sprintf(san + n, ",DNS:name-%zu.example", n);
	between = make_cert(&spec, key);
	spec = (struct cert_spec){ .cn = "client", .issuer = between, .issuer_key = key, .serial = 31 };
	leaf = make_cert(&spec, leaf_key);
	put_chain(chain, leaf, between);
	put_key(key_file, leaf_key, NULL);
	world_mutual(TLS_VERIFY_REQUIRED_TRUSTED);
	server_end()->own.fallback = sample_add(&w.server_side, chain, key_file);
	X509_free(between);
	X509_free(leaf);
	EVP_PKEY_free(key);
	EVP_PKEY_free(leaf_key);
	free(san);
}

/* Who looks at a session that goes on, hook or record, sees the chain that was shown when it began. */
static void whole_chains(void **state)
{
	static const struct { size_t octets; bool resumes; } cases[] = { { 100, true }, { 4000, true }, { 12000, false } };

	client_chain = 2;
	for (size_t i = 0; i < 2 * ARRAY_LEN(cases); i++) {
		world_setup(NULL);
		use_chain(cases[i / 2].octets);
		only(i % 2 == 0 ? 0x0303 : 0x0304);
		world_build();
		assert_false(resumes());
		for (int again = 0; again < 3; again++)
			assert_int_equal(resumes(), cases[i / 2].resumes);
		world_teardown(NULL);
	}
	client_chain = 1;
}

static void what_is_enclosed(void **state)
{
	static const struct { struct slice octets; size_t n; } cases[] = {
		{ SLICE_INIT(""), 0 }, { SLICE_INIT("\0"), 0 }, { SLICE_INIT("\0\1"), 0 }, { SLICE_INIT("\0\1a"), 1 },
		{ SLICE_INIT("\0\1a\0\2bc"), 2 }, { SLICE_INIT("\0\1a\0\3bc"), 1 }, { SLICE_INIT("\377\377abc"), 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct slice rest = cases[i].octets, der;
		size_t n = 0;

		while (tls_enclosed_next(&rest, &der))
			n++;
		assert_int_equal(n, cases[i].n);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(both_versions, world_setup),
		cmocka_unit_test(with_client_certificate),
		cmocka_unit_test_setup_teardown(other_server, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(not_wanted, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(over_generations, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(other_configuration, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(hours, world_setup, world_teardown),
		cmocka_unit_test(ratchet),
		cmocka_unit_test_setup_teardown(other_name, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(accepted_by_policy, world_setup, world_teardown),
		cmocka_unit_test(accepted_client),
		cmocka_unit_test_setup_teardown(verified_client, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(pinned_elsewhere, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(for_so_long, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(asked_for_the_key, world_setup, world_teardown),
		cmocka_unit_test(not_longer_than_believed), cmocka_unit_test(whole_chains), cmocka_unit_test(what_is_enclosed),
	};

	return cmocka_run_group_tests(tests, world_create, world_remove);
}
