/* SPDX-License-Identifier: Apache-2.0 */
/* Handshakes that must be strict (MTA-STS): whatever the verifier says, CAs must vouch for the server, by its name. */
#include "tls_test.h"

#include <errno.h>

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

/* Does a session go on? */
static bool shake(bool strict, const char *host, int result)
{
	static const struct endpoint peer = { { AF_INET, { 192, 0, 2, 1 } }, 25 };
	struct pair p;
	bool resumed;

	world_open(&p);
	p.client.then = p.server.then = talk;
	p.server.h.peer = &peer;
	p.server.h.server_name = SLICE("mail.example");
	p.server.h.strict = strict;
	p.server.h.must_fit = strict ? slice_cstr(host) : slice_of(NULL, 0);
	pair_run(&p);
	assert_int_equal(p.server.result, result);
	if (strict)
		assert_int_equal(p.server.h.facts.trusted, result == 0);
	resumed = p.server.h.facts.resumed;
	pair_close(&p);
	return resumed;
}

static const enum tls_verify types[] = {
	TLS_VERIFY_NONE, TLS_VERIFY_OPTIONAL_UNTRUSTED, TLS_VERIFY_OPTIONAL_TRUSTED, TLS_VERIFY_REQUIRED_UNTRUSTED, TLS_VERIFY_REQUIRED_TRUSTED,
};

static void of_a_known_ca(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		world_setup(NULL);
		server_end()->verifier.type = types[i];
		world_build();
		shake(true, "mail.example", 0);
		shake(true, "other.example", -EACCES);
		shake(false, NULL, 0);
		world_teardown(NULL);
	}
}

static void of_an_unknown_ca(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(types); i++) {
		bool lenient = types[i] != TLS_VERIFY_OPTIONAL_TRUSTED && types[i] != TLS_VERIFY_REQUIRED_TRUSTED;

		world_setup(NULL);
		server_end()->verifier.type = types[i];
		server_end()->verifier.permit_invalid = true;
		server_end()->verifier.ca_directory = NULL;
		world_build();
		shake(true, "mail.example", -EACCES);
		shake(false, NULL, lenient ? 0 : -EACCES);
		world_teardown(NULL);
	}
}

/* A session that began when nobody was strict does not go on when somebody is. */
static void resumption(void **state)
{
	server_end()->verifier.type = TLS_VERIFY_NONE;
	server_end()->verifier.ca_directory = NULL;
	world_build();
	assert_false(shake(false, NULL, 0));
	assert_true(shake(false, NULL, 0));
	assert_false(shake(true, "mail.example", -EACCES));
	assert_true(shake(false, NULL, 0));
}

static void strict_sessions_go_on(void **state)
{
	server_end()->verifier.type = TLS_VERIFY_NONE;
	world_build();
	assert_false(shake(true, "mail.example", 0));
	assert_true(shake(true, "mail.example", 0));
	/* Not as another host's. */
	shake(true, "other.example", -EACCES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_a_known_ca), cmocka_unit_test(of_an_unknown_ca),
		cmocka_unit_test_setup_teardown(resumption, world_setup, world_teardown),
		cmocka_unit_test_setup_teardown(strict_sessions_go_on, world_setup, world_teardown),
	};

	return cmocka_run_group_tests(tests, world_create, world_remove);
}
