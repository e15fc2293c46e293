/* SPDX-License-Identifier: Apache-2.0 */
/* Handshakes between our two ends, and with peers that are not what they should be. */
#include "tls_test.h"

#include "io/relay.h"
#include "tls/tls_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

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

		client_end()->options.version_min = rows[i].version;
		client_end()->options.version_max = rows[i].version;
		world_build();
		world_open(&p);
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
		world_teardown(NULL);
	}
}

/* What the verification refuses, and what each side then knows. */

static void unknown_ca(void **state)
{
	struct pair p;

	server_end()->verifier.ca_directory = NULL;
	world_build();
	world_open(&p);
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

	world_build();
	world_open(&p);
	p.server.h.must_fit = SLICE("other.example");
	pair_run(&p);
	assert_int_equal(p.server.result, -EACCES);
	assert_string_equal(p.server.h.error, "the certificate /CN=mail is not for the host other.example");
	assert_false(p.server.h.facts.trusted);
	pair_close(&p);
}

/* Names that a server is asked for: as they stand in certificates. */
static void names_to_ask_for(void **state)
{
	static const struct { const char *name, *asked; } rows[] = {
		{ "mail.example", "mail.example" }, { "mail.example.", "mail.example" },
		{ "b\xc3\xbc" "cher.example", "xn--bcher-kva.example" }, { "192.0.2.1", "" }, { "2001:db8::1", "" }, { "", "" },
		{ "b\xff.example", NULL }, { ".", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct pair p;

		world_setup(NULL);
		world_build();
		world_open(&p);
		p.server.h.server_name = slice_cstr(rows[i].name);
		pair_run(&p);
		assert_int_equal(p.server.result, rows[i].asked != NULL ? 0 : -EINVAL);
		if (rows[i].asked != NULL) {
			assert_slice(p.client.h.facts.server_name, rows[i].asked);
			assert_slice(p.server.h.facts.server_name, rows[i].asked);
		} else {
			assert_non_null(strstr(p.server.h.error, "is no name that a server can be asked for"));
		}
		pair_close(&p);
		world_teardown(NULL);
	}
}

/* Peers that are none. */

static void plain_text_before(void **state)
{
	struct pair p;

	world_build();
	pair_open(&p, &w.toward_client, &w.client_side, NULL, NULL);
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

	w.client_side.encryption.handshake_timeout_ms = 700;
	world_build();
	pair_open(&p, &w.toward_client, &w.client_side, NULL, NULL);
	pair_run(&p);
	assert_int_equal(p.client.result, -ETIMEDOUT);
	assert_string_equal(p.client.h.error, "the client did not finish in time");
	assert_int_equal(p.clock.now, 1700);
	pair_close(&p);
}

static void hangs_up(void **state)
{
	struct pair p;

	world_build();
	pair_open(&p, &w.toward_client, &w.client_side, NULL, NULL);
	close(p.fd[1]);
	p.fd[1] = -1;
	pair_run(&p);
	assert_int_equal(p.client.result, -EPROTO);
	assert_string_equal(p.client.h.error, "the client closed the connection during the handshake");
	pair_close(&p);
}

/* What else the caller said is on its way before the peer is waited for. */

static struct stream *other;

static co_waits void speak_and_shake(void *arg)
{
	struct pair *p = arg;

	assert_int_equal(stream_write(other, SLICE("220 go ahead"), DEADLINE_NEVER), 0);
	p->client.result = tls_handshake(p->client.tls, p->client.stream, &p->client.h, co_now() + 100);
}

static void sends_before(void **state)
{
	struct pair p;
	char buf[20];
	int fd[2];

	world_build();
	pair_open(&p, &w.toward_client, &w.client_side, NULL, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	other = stream_open(p.loop, fd[0]);
	assert_non_null(co_spawn(p.loop, speak_and_shake, &p));
	loop_turn(p.loop, 0);
	loop_turn(p.loop, 0);
	assert_int_equal(read(fd[1], buf, sizeof(buf)), 12);
	loop_run(p.loop);
	assert_int_equal(p.client.result, -ETIMEDOUT);
	stream_close(&other);
	close(fd[1]);
	pair_close(&p);
}

/* Not with octets of its own still queued, nor twice. */

static co_waits void shake_unsent(void *arg)
{
	struct pair *p = arg;

	assert_int_equal(stream_write(p->client.stream, SLICE("220"), DEADLINE_NEVER), 0);
	p->client.result = tls_handshake(p->client.tls, p->client.stream, &p->client.h, DEADLINE_NEVER);
	assert_string_equal(p->client.h.error, "octets in plain text were not sent before the handshake");
}

static void unsent_plain_text(void **state)
{
	struct pair p;

	world_build();
	pair_open(&p, &w.toward_client, &w.client_side, NULL, NULL);
	assert_non_null(co_spawn(p.loop, shake_unsent, &p));
	loop_run(p.loop);
	assert_int_equal(p.client.result, -EBUSY);
	pair_close(&p);
}

static co_waits void shake_again(struct end *e)
{
	if (e->h.end == TLS_SERVER)
		return;
	assert_int_equal(tls_handshake(e->tls, e->stream, &e->h, DEADLINE_NEVER), -EBUSY);
	assert_string_equal(e->h.error, "TLS is on already");
}

static void tls_in_tls(void **state)
{
	struct pair p;

	world_build();
	world_open(&p);
	p.client.then = p.server.then = shake_again;
	pair_run(&p);
	assert_int_equal(p.server.result, 0);
	pair_close(&p);
}

/* Clients that say nothing more fill their own places, and nobody else's; the other way round as well. */
static void as_many_as_there_may_be(void **state)
{
	static const struct { enum tls_end full; bool fine; const char *error; } cases[] = {
		{ TLS_CLIENT, false, "4096 handshakes with clients are under way already" },
		{ TLS_SERVER, false, "4096 handshakes with servers are under way already" },
		{ TLS_ENDS, true, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct pair p;

		if (i > 0) {
			world_teardown(NULL);
			world_setup(NULL);
		}
		world_build();
		for (int end = 0; end < TLS_ENDS; end++) {
			struct tls *tls = end == TLS_CLIENT ? w.toward_client.tls : w.toward_server.tls;

			tls->n_handshakes[1 - end] = TLS_HANDSHAKES_MAX;	/* the other end's do not count */
			tls->n_handshakes[end] = cases[i].full == (enum tls_end)end ? TLS_HANDSHAKES_MAX : TLS_HANDSHAKES_MAX - 1;
		}
		world_shake(&p);
		assert_int_equal(p.client.result == 0, cases[i].fine);
		assert_int_equal(p.server.result == 0, cases[i].fine);
		if (cases[i].error != NULL)
			assert_string_equal(cases[i].full == TLS_CLIENT ? p.client.h.error : p.server.h.error, cases[i].error);
		pair_close(&p);
		assert_int_equal(w.toward_server.tls->n_handshakes[TLS_SERVER],
				 cases[i].full == TLS_SERVER ? TLS_HANDSHAKES_MAX : TLS_HANDSHAKES_MAX - 1);
	}
}

/* The facts need memory: every ceiling either does or ends the handshake. */
static void little_memory(void **state)
{
	int succeeded = 0, failed = 0;

	world_mutual(TLS_VERIFY_REQUIRED_TRUSTED);
	world_build();
	for (size_t ceiling = 16; ceiling < 16384 && succeeded < 3; ceiling += 160) {
		struct pair p;

		world_open(&p);
		arena_free(&p.client.arena);
		arena_free(&p.server.arena);
		p.client.h.arena = p.client.arena = arena_create(ceiling, 0);
		p.server.h.arena = p.server.arena = arena_create(ceiling, 0);
		p.server.h.server_name = SLICE("mail.example");
		pair_run(&p);
		if (p.client.result == 0 && p.server.result == 0) {
			succeeded++;
		} else {
			failed++;
			assert_true(p.client.result == -ENOMEM || p.server.result == -ENOMEM);
		}
		pair_close(&p);
	}
	assert_int_equal(succeeded, 3);
	assert_true(failed > 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(versions, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(unknown_ca, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(wrong_name, world_setup, world_teardown),
		cmocka_unit_test(names_to_ask_for),
		cmocka_unit_test_setup_teardown(plain_text_before, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(hangs, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(hangs_up, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(sends_before, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(unsent_plain_text, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(tls_in_tls, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(as_many_as_there_may_be, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(little_memory, world_setup, world_teardown),
	};

	return cmocka_run_group_tests(tests, world_create, world_remove);
}
