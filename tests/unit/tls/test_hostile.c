/* SPDX-License-Identifier: Apache-2.0 */
/* Clients that do what none should, and the end of everything at every wait. */
#include "hello_text.h"
#include "raw_client.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct pair p;
static struct raw_client raw;
static int answer;

static void open_client(void)
{
	world_build();
	pair_open(&p, &w.toward_client, &w.client_side, NULL, NULL);
}

static void run_with(co_fn fn)
{
	assert_non_null(co_spawn(p.loop, fn, NULL));
	pair_run(&p);
}

/* The hello in small pieces. */

static co_waits void shake_raw(void *arg)
{
	answer = raw_shake(&raw);
}

static void single_octets(void **state)
{
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		world_setup(NULL);
		open_client();
		raw_open(&raw, p.fd[1], 1);
		SSL_set_max_proto_version(raw.ssl, version);
		SSL_set_tlsext_host_name(raw.ssl, "mail.example");
		run_with(shake_raw);
		assert_int_equal(answer, 1);
		assert_int_equal(p.client.result, 0);
		assert_slice(p.client.h.facts.server_name, "mail.example");
		raw_close(&raw);
		pair_close(&p);
		world_teardown(NULL);
	}
}

/* More than three records' worth; the list is remembered whole. */
static void large_hello(void **state)
{
	static uint8_t list[60000];

	for (size_t i = 0; i < sizeof(list); i += 200) {
		memset(list + i, 'a', 200);
		list[i] = 199;
	}
	open_client();
	raw_open(&raw, p.fd[1], 4096);
	assert_int_equal(SSL_set_alpn_protos(raw.ssl, list, sizeof(list)), 0);
	run_with(shake_raw);
	assert_int_equal(answer, 1);
	assert_int_equal(p.client.result, 0);
	assert_int_equal(p.client.h.facts.alpn_offered.len, sizeof(list) - 1);
	raw_close(&raw);
	pair_close(&p);
}

/* Octets by hand. */

static struct text hello, records;

/* The handshake message in as many records as it takes. */
static void wrap(void)
{
	size_t at = 0, total = hello.n + 4;
	static struct text message;

	message.n = 0;
	put(&message, 1, 1);
	put(&message, 3, hello.n);
	put_octets(&message, hello.octets, hello.n);
	records.n = 0;
	while (at < total) {
		size_t n = total - at < 16384 ? total - at : 16384;

		put(&records, 3, 0x160301);
		put(&records, 2, n);
		put_octets(&records, message.octets + at, n);
		at += n;
	}
}

static co_waits void send_records(void *arg)
{
	size_t at = 0;
	char buf[2048];

	while (at < records.n) {
		ssize_t n = send(p.fd[1], records.octets + at, records.n - at, MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			break;
		at += n > 0 ? (size_t)n : 0;
		assert_int_equal(co_sleep(co_now() + 1), 0);
	}
	/* What is answered does not matter. */
	for (int i = 0; i < 20; i++) {
		(void)!recv(p.fd[1], buf, sizeof(buf), 0);
		assert_int_equal(co_sleep(co_now() + 1), 0);
	}
	shutdown(p.fd[1], SHUT_RDWR);
}

static void begin_modern(void)
{
	static const uint16_t ciphers[] = { 0xc02b, 0xc02f, 0x1301 };

	begin(&hello, ciphers, ARRAY_LEN(ciphers));
}

static void put_usual(void)
{
	put_extension(&hello, 10, "\x00\x04\x00\x1d\x00\x17", 6);
	put_extension(&hello, 13, "\x00\x04\x04\x03\x08\x04", 6);
	put_extension(&hello, 11, "\x01\x00", 2);
}

static void thousands_of_extensions(void **state)
{
	size_t from;

	open_client();
	begin_modern();
	from = begin_extensions(&hello);
	put_usual();
	for (unsigned i = 0; i < 15000; i++)
		put_extension(&hello, 0x3000 + i, "", 0);
	end_extensions(&hello, from);
	wrap();
	run_with(send_records);
	/* A legal hello: it was answered, and then nothing came. */
	assert_int_equal(p.client.result, -EPROTO);
	assert_string_equal(p.client.h.error, "the client closed the connection during the handshake");
	assert_memory_equal(p.client.h.facts.ja4.ptr, "t12i0399", 8);
	pair_close(&p);
}

/* The library takes no more than 128 KiB, whatever the length says. */
static void endless_hello(void **state)
{
	open_client();
	memset(hello.octets, 'x', sizeof(hello.octets));
	records.n = 0;
	put(&records, 3, 0x160301);
	put(&records, 2, 16384);
	put(&records, 4, 0x01ffffff);
	put_octets(&records, hello.octets, 16380);
	run_with(send_records);
	assert_int_equal(p.client.result, -EPROTO);
	assert_true(p.client.h.peer_fault);
	assert_non_null(strstr(p.client.h.error, "excessive message size"));
	pair_close(&p);
}

static void bad_hellos(void **state)
{
	static const struct { const char *name; size_t n; } rows[] = { { "a b.example", 11 }, { "a\0b", 3 }, { "", 0 } };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t from;

		world_setup(NULL);
		open_client();
		begin_modern();
		from = begin_extensions(&hello);
		put_usual();
		put_name(&hello, rows[i].name, rows[i].n);
		end_extensions(&hello, from);
		wrap();
		run_with(send_records);
		assert_int_equal(p.client.result, -EPROTO);
		assert_true(p.client.h.peer_fault);
		assert_string_equal(p.client.h.error, "the client's hello is malformed");
		pair_close(&p);
		world_teardown(NULL);
	}
}

static void garbage(void **state)
{
	static const struct { const char *octets; size_t n; } rows[] = {
		{ "EHLO client.example\r\n", 21 },
		{ "GET / HTTP/1.0\r\n\r\n", 18 },
		{ "\x16\x03\x01\x00\x00", 5 },
		{ "\x16\x03\x01\xff\xff\x01\x00\x00\x00\x00", 10 },
		{ "\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10", 11 },
		{ "\x15\x03\x01\x00\x02\x02\x28", 7 },
		{ "\x17\x03\x03\x00\x05hello", 10 },
		{ "\x14\x03\x03\x00\x01\x01", 6 },
		{ "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 16 },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		world_setup(NULL);
		open_client();
		records.n = 0;
		put_octets(&records, rows[i].octets, rows[i].n);
		run_with(send_records);
		assert_int_equal(p.client.result, -EPROTO);
		assert_true(p.client.h.peer_fault);
		assert_true(p.client.h.error[0] != '\0');
		pair_close(&p);
		world_teardown(NULL);
	}
}

/* What comes later. */

static co_waits void renegotiate(void *arg)
{
	char buf[16];

	answer = raw_shake(&raw);
	assert_int_equal(answer, 1);
	assert_int_equal(SSL_renegotiate(raw.ssl), 1);
	(void)SSL_do_handshake(raw.ssl);
	raw_push(&raw);
	answer = raw_read(&raw, buf, sizeof(buf));
}

static int ended;

static co_waits void read_on(struct end *e)
{
	ended = (int)stream_fill(e->stream, DEADLINE_NEVER);
	assert_int_equal(stream_error(e->stream), ended);
	assert_int_equal(stream_peek(e->stream).len, 0);
	stream_close(&e->stream);
}

static void renegotiation(void **state)
{
	client_end()->options.version_max = 0x0303;
	open_client();
	raw_open(&raw, p.fd[1], 4096);
	p.client.then = read_on;
	run_with(renegotiate);
	assert_int_equal(p.client.result, 0);
	assert_int_equal(ended, -EPROTO);
	assert_int_equal(answer, -1);
	raw_close(&raw);
	pair_close(&p);
}

/* The connection ends where TLS has not: an error, never an end of file. */
static co_waits void cut_off(void *arg)
{
	assert_int_equal(raw_shake(&raw), 1);
	shutdown(p.fd[1], SHUT_RDWR);
}

static co_waits void cut_record(void *arg)
{
	assert_int_equal(raw_shake(&raw), 1);
	assert_int_equal(send(p.fd[1], "\x17\x03\x03\x01\x00ha", 7, MSG_NOSIGNAL), 7);
	shutdown(p.fd[1], SHUT_RDWR);
}

static co_waits void break_record(void *arg)
{
	assert_int_equal(raw_shake(&raw), 1);
	assert_int_equal(send(p.fd[1], "\x17\x03\x03\x00\x20hahahahahahahahahahahahahahahaha", 37, MSG_NOSIGNAL), 37);
	answer = raw_read(&raw, (char[16]){ 0 }, 16);
}

static void truncation(void **state)
{
	static const co_fn rows[] = { cut_off, cut_record, break_record };

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		for (uint16_t version = 0x0303; version <= 0x0304; version++) {
			world_setup(NULL);
			client_end()->options.version_max = version;
			open_client();
			raw_open(&raw, p.fd[1], 4096);
			p.client.then = read_on;
			ended = 1;
			run_with(rows[i]);
			assert_int_equal(p.client.result, 0);
			assert_int_equal(ended, -EPROTO);
			raw_close(&raw);
			pair_close(&p);
			world_teardown(NULL);
		}
}

/* A flood of key updates ends the connection. */
static co_waits void update_keys(void *arg)
{
	char buf[16];

	assert_int_equal(raw_shake(&raw), 1);
	for (int i = 0; i < 100; i++) {
		(void)SSL_key_update(raw.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
		(void)SSL_do_handshake(raw.ssl);
	}
	raw_push(&raw);
	answer = raw_read(&raw, buf, sizeof(buf));
}

static void key_updates(void **state)
{
	open_client();
	raw_open(&raw, p.fd[1], 4096);
	p.client.then = read_on;
	run_with(update_keys);
	assert_int_equal(ended, -EPROTO);
	raw_close(&raw);
	pair_close(&p);
}

/* Both ends, canceled at each wait of either. */

struct torture {
	struct end client, server;
};

static void prepare(void *arg, struct loop *loop)
{
	struct torture *t = arg;
	int fd[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd), 0);
	*t = (struct torture){
		.client = { .tls = w.toward_client.tls, .h = { .encryption = &w.client_side.encryption, .end = TLS_CLIENT },
			    .stream = stream_open(loop, fd[0]) },
		.server = { .tls = w.toward_server.tls, .h = { .encryption = &w.server_side.encryption, .end = TLS_SERVER },
			    .stream = stream_open(loop, fd[1]) },
	};
	t->client.h.arena = t->client.arena = arena_create(1 << 20, 0);
	t->server.h.arena = t->server.arena = arena_create(1 << 20, 0);
}

static co_waits void shake_end(void *arg)
{
	struct end *e = arg;

	e->result = tls_handshake(e->tls, e->stream, &e->h, co_now() + 5000);
	stream_close(&e->stream);
}

static co_waits void shake_both(void *arg)
{
	struct torture *t = arg;
	struct co *other = co_spawn_joined(co_loop(), shake_end, &t->server);

	assert_non_null(other);
	shake_end(&t->client);
	co_join(&other);
}

static void check(void *arg, bool canceled)
{
	struct torture *t = arg;

	if (canceled)
		assert_true(t->client.result < 0 || t->server.result < 0 || t->client.result == 0);
	else
		assert_int_equal(t->client.result | t->server.result, 0);
	if (t->client.result == -ECANCELED)
		assert_string_equal(t->client.h.error, "the session was ended");
	arena_free(&t->client.arena);
	arena_free(&t->server.arena);
}

static void canceled_everywhere(void **state)
{
	struct torture t;

	world_build();
	assert_true(cancel_at_every_wait(prepare, shake_both, check, &t) >= 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(single_octets),
		cmocka_unit_test_setup_teardown(large_hello, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(thousands_of_extensions, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(endless_hello, world_setup, world_teardown),
		cmocka_unit_test(bad_hellos),
		cmocka_unit_test(garbage),
		cmocka_unit_test_setup_teardown(renegotiation, world_setup, world_teardown),
		cmocka_unit_test(truncation),
		cmocka_unit_test_setup_teardown(key_updates, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(canceled_everywhere, world_setup, world_teardown),
	};

	return cmocka_run_group_tests(tests, world_create, world_remove);
}
