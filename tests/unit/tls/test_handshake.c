/* SPDX-License-Identifier: Apache-2.0 */
/* Handshakes between our two ends, and with peers that are not what they should be. */
#include "tls_test.h"

#include "io/relay.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static EVP_PKEY *ca_key, *leaf_key;
static X509 *ca, *leaf;
static const char *ca_directory, *leaf_file, *leaf_key_file;
static struct sample client_side, server_side;
static struct built toward_client, toward_server;

static int prepare(void **state)
{
	struct cert_spec spec = { .cn = "CA", .is_ca = true };

	folder_create();
	ca_key = make_key("EC");
	ca = make_cert(&spec, ca_key);
	leaf_key = make_key("EC");
	spec = (struct cert_spec){ .cn = "mail", .san = "DNS:mail.example,DNS:*.wild.example,IP:192.0.2.1,IP:2001:db8::1",
				   .issuer = ca, .issuer_key = ca_key, .serial = 7 };
	leaf = make_cert(&spec, leaf_key);
	ca_directory = strdup(folder_path("ca"));
	folder_make(ca_directory);
	put_hashed(ca_directory, ca);
	leaf_file = strdup(folder_path("leaf.pem"));
	leaf_key_file = strdup(folder_path("leaf.key"));
	put_chain(leaf_file, leaf, NULL);
	put_key(leaf_key_file, leaf_key, NULL);
	return 0;
}

static int finish(void **state)
{
	X509_free(ca);
	X509_free(leaf);
	EVP_PKEY_free(ca_key);
	EVP_PKEY_free(leaf_key);
	free((void *)ca_directory);
	free((void *)leaf_file);
	free((void *)leaf_key_file);
	folder_remove();
	return 0;
}

static int setup(void **state)
{
	sample_init(&client_side);
	client_side.encryption.sides[TLS_SERVER].security = TLS_OFF;
	client_side.encryption.sides[TLS_CLIENT].own.fallback = sample_add(&client_side, leaf_file, leaf_key_file);
	sample_init(&server_side);
	server_side.encryption.sides[TLS_CLIENT].security = TLS_OFF;
	server_side.encryption.sides[TLS_SERVER].verifier.type = TLS_VERIFY_REQUIRED_TRUSTED;
	server_side.encryption.sides[TLS_SERVER].verifier.ca_directory = ca_directory;
	return 0;
}

static void build_both(void)
{
	build(&client_side, &toward_client);
	build(&server_side, &toward_server);
	assert_int_equal(toward_client.err, 0);
	assert_int_equal(toward_server.err, 0);
}

static int teardown(void **state)
{
	unbuild(&toward_client);
	unbuild(&toward_server);
	return 0;
}

static void open_both(struct pair *p)
{
	pair_open(p, &toward_client, &client_side, &toward_server, &server_side);
}

#define assert_slice(s, text) \
	do { \
		struct slice s_ = (s); \
		assert_int_equal(s_.len, strlen(text)); \
		assert_memory_equal(s_.ptr, (text), s_.len); \
	} while (0)

/* Octets there and back. */

static co_waits void say_hello(struct end *e)
{
	assert_int_equal(stream_write(e->stream, SLICE("hello"), DEADLINE_NEVER), 0);
	assert_int_equal(stream_flush(e->stream, DEADLINE_NEVER), 0);
	assert_int_equal(stream_fill(e->stream, DEADLINE_NEVER), 5);
	assert_slice(stream_peek(e->stream), "HELLO");
	stream_consume(e->stream, 5);
	assert_true(stream_is_quiet(e->stream));
	assert_int_equal(stream_shutdown_write(e->stream, DEADLINE_NEVER), 0);
	assert_int_equal(stream_fill(e->stream, DEADLINE_NEVER), 0);
	assert_true(stream_at_eof(e->stream));
}

static co_waits void answer_hello(struct end *e)
{
	assert_int_equal(stream_fill(e->stream, DEADLINE_NEVER), 5);
	stream_consume(e->stream, 5);
	assert_int_equal(stream_write(e->stream, SLICE("HELLO"), DEADLINE_NEVER), 0);
	/* The end of what the peer says does not end what it is told. */
	assert_int_equal(stream_fill(e->stream, DEADLINE_NEVER), 0);
	assert_int_equal(stream_error(e->stream), 0);
	assert_int_equal(stream_shutdown_write(e->stream, DEADLINE_NEVER), 0);
}

static void versions(void **state)
{
	static const struct { uint16_t version; const char *name; } rows[] = { { 0x0303, "TLSv1.2" }, { 0x0304, "TLSv1.3" } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pair p;

		client_side.encryption.sides[TLS_CLIENT].options.version_min = rows[i].version;
		client_side.encryption.sides[TLS_CLIENT].options.version_max = rows[i].version;
		build_both();
		open_both(&p);
		p.client.then = answer_hello;
		p.server.then = say_hello;
		p.server.h.server_name = SLICE("mail.example");
		p.server.h.must_fit = SLICE("mail.example");
		pair_run(&p);
		assert_string_equal(p.server.h.error, "");
		assert_string_equal(p.client.h.error, "");
		assert_int_equal(p.server.result, 0);
		assert_int_equal(p.client.result, 0);
		assert_true(stream_is_encrypted(p.client.stream));
		assert_string_equal(p.client.h.facts.version, rows[i].name);
		assert_string_equal(p.server.h.facts.version, rows[i].name);
		assert_non_null(p.server.h.facts.cipher);
		assert_string_equal(p.server.h.facts.group, "x25519");
		assert_slice(p.client.h.facts.server_name, "mail.example");
		assert_int_equal(p.client.h.facts.ja4.len, 36);
		assert_true(p.server.h.facts.trusted);
		assert_int_equal(p.server.h.facts.n_peer, 1);
		assert_slice(p.server.h.facts.peer[0].subject, "/CN=mail");
		assert_slice(p.server.h.facts.peer[0].issuer, "/CN=CA");
		assert_slice(p.server.h.facts.peer[0].serial, "7");
		assert_true(slice_starts_with(p.server.h.facts.peer[0].pem, SLICE("-----BEGIN CERTIFICATE-----")));
		assert_false(p.client.h.facts.trusted);
		assert_int_equal(stream_octets_in(p.client.stream), 5);
		pair_close(&p);
		unbuild(&toward_client);
		unbuild(&toward_server);
	}
}

/* What the verification refuses, and what each side then knows. */

static void unknown_ca(void **state)
{
	struct pair p;

	server_side.encryption.sides[TLS_SERVER].verifier.ca_directory = NULL;
	build_both();
	open_both(&p);
	pair_run(&p);
	assert_int_equal(p.server.result, -EACCES);
	assert_true(p.server.h.peer_fault);
	assert_string_equal(p.server.h.error, "certificate /CN=mail at depth 0: unable to get local issuer certificate");
	assert_int_equal(p.server.h.facts.verify_error, X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY);
	assert_int_equal(p.server.h.facts.n_peer, 1);
	assert_false(p.server.h.facts.trusted);
	assert_int_equal(p.client.result, -EPROTO);
	assert_string_equal(p.client.h.error, "the client refused with the alert \"unknown CA\"");
	pair_close(&p);
}

static void wrong_name(void **state)
{
	struct pair p;

	build_both();
	open_both(&p);
	p.server.h.must_fit = SLICE("other.example");
	pair_run(&p);
	assert_int_equal(p.server.result, -EACCES);
	assert_string_equal(p.server.h.error, "the certificate /CN=mail is not for the host other.example");
	assert_false(p.server.h.facts.trusted);
	pair_close(&p);
}

/* Peers that are none. */

static void plain_text_before(void **state)
{
	struct pair p;

	build_both();
	pair_open(&p, &toward_client, &client_side, NULL, NULL);
	assert_int_equal(write(p.fd[1], "MAIL FROM:<>\r\n", 14), 14);
	p.client.deadline = 5000;
	pair_run(&p);
	assert_int_equal(p.client.result, -EPROTO);
	assert_true(p.client.h.peer_fault);
	pair_close(&p);
}

static void hangs(void **state)
{
	struct pair p;

	client_side.encryption.handshake_timeout_ms = 700;
	build_both();
	pair_open(&p, &toward_client, &client_side, NULL, NULL);
	pair_run(&p);
	assert_int_equal(p.client.result, -ETIMEDOUT);
	assert_string_equal(p.client.h.error, "the client did not finish in time");
	assert_int_equal(p.clock.now, 1700);
	pair_close(&p);
}

static void hangs_up(void **state)
{
	struct pair p;

	build_both();
	pair_open(&p, &toward_client, &client_side, NULL, NULL);
	close(p.fd[1]);
	p.fd[1] = -1;
	pair_run(&p);
	assert_int_equal(p.client.result, -EPROTO);
	assert_string_equal(p.client.h.error, "the client closed the connection during the handshake");
	pair_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(versions, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_ca, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_name, setup, teardown),
		cmocka_unit_test_setup_teardown(plain_text_before, setup, teardown),
		cmocka_unit_test_setup_teardown(hangs, setup, teardown),
		cmocka_unit_test_setup_teardown(hangs_up, setup, teardown),
	};

	return cmocka_run_group_tests(tests, prepare, finish);
}
