/* SPDX-License-Identifier: Apache-2.0 */
/* TLS in the packets of the callback conversation: what policy code is told, and what it may give. */
#include "session/callback_priv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define BIG_OCTETS (20u * 1024u)

static struct session session;
static struct tls_handshake ends[TLS_ENDS];
static struct tls_peer_certificate peer[3];
static char big[BIG_OCTETS];

static int setup(void **state)
{
	(void)state;
	memset(&session, 0, sizeof(session));
	memset(ends, 0, sizeof(ends));
	memset(big, 'x', sizeof(big));
	for (size_t i = 0; i < ARRAY_LEN(peer); i++)
		peer[i] = (struct tls_peer_certificate){ .pem = SLICE("PEM"), .subject = SLICE("/CN=\xe9"), .issuer = SLICE("/CN=ca"),
							 .serial = SLICE("340282366920938463463374607431768211456") };
	return 0;
}

static void has_begun(enum tls_end end, struct slice server_name)
{
	ends[end].facts.server_name = server_name;
	session.secure.ends[end].handshake = &ends[end];
}

static char *told(void)
{
	json_t *json = callback_tls_to_json(&session);
	char *text = json != NULL ? json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY) : NULL;

	json_decref(json);
	return text;
}

static void assert_told(const char *want)
{
	char *text = told();

	assert_non_null(text);
	assert_string_equal(text, want);
	free(text);
}

static void of_plain_text_nothing_is_told(void **state)
{
	(void)state;
	assert_told("{}");
}

/* A hook runs in the middle of a handshake: what is not known yet is not there. */
static void a_handshake_that_goes_on(void **state)
{
	(void)state;
	has_begun(TLS_CLIENT, SLICE("mail.example"));
	ends[TLS_CLIENT].facts.alpn_offered = SLICE("h2,smtp");
	ends[TLS_CLIENT].facts.ja4 = SLICE("t13");
	assert_told("{\"client\":{\"alpn_offered\":\"h2,smtp\",\"error\":0,\"ja4\":\"t13\",\"peer\":[],\"trusted\":0},"
		    "\"server_name\":\"mail.example\"}");
}

static void a_handshake_that_is_done(void **state)
{
	(void)state;
	has_begun(TLS_SERVER, slice_of(NULL, 0));
	ends[TLS_SERVER].facts = (struct tls_facts){ .version = "TLSv1.3", .cipher = "C", .resumed = true, .peer = peer, .n_peer = 1,
						     .trusted = true };
	assert_told("{\"server\":{\"alpn\":\"\",\"alpn_offered\":\"\",\"cipher\":\"C\",\"error\":0,\"group\":null,\"ja4\":\"\","
		    "\"peer\":[{\"issuer\":\"/CN=ca\",\"pem\":\"PEM\",\"serial\":\"340282366920938463463374607431768211456\","
		    "\"subject\":\"/CN=\xc3\xa9\"}],\"resumed\":1,\"trusted\":1,\"version\":\"TLSv1.3\"}}");
}

/* The name that the policy has for the server is not one that the client asked for. */
static void a_name_is_the_clients(void **state)
{
	(void)state;
	has_begun(TLS_CLIENT, slice_of(NULL, 0));
	has_begun(TLS_SERVER, SLICE("policy.example"));
	assert_told("{\"client\":{\"alpn_offered\":\"\",\"error\":0,\"ja4\":\"\",\"peer\":[],\"trusted\":0},"
		    "\"server\":{\"alpn_offered\":\"\",\"error\":0,\"ja4\":\"\",\"peer\":[],\"trusted\":0}}");
}

/* It is cut at a certificate, the leaf first. */
static void a_long_chain_is_cut(void **state)
{
	json_t *json, *chain;

	(void)state;
	has_begun(TLS_CLIENT, slice_of(NULL, 0));
	for (size_t i = 0; i < ARRAY_LEN(peer); i++)
		peer[i].pem = slice_of(big, sizeof(big));
	peer[0].subject = SLICE("/CN=leaf");
	ends[TLS_CLIENT].facts.peer = peer;
	ends[TLS_CLIENT].facts.n_peer = ARRAY_LEN(peer);
	json = callback_tls_to_json(&session);
	chain = json_object_get(json_object_get(json, "client"), "peer");
	assert_int_equal(json_array_size(chain), 2);
	assert_string_equal(json_string_value(json_object_get(json_array_get(chain, 0), "subject")), "/CN=leaf");
	json_decref(json);
}

/* The facts of a leg that is gone are not those of the one that is opened next. */
static void a_new_leg_has_shown_nothing(void **state)
{
	unsigned changes = session.secure.changes;

	(void)state;
	has_begun(TLS_SERVER, slice_of(NULL, 0));
	session.secure.ends[TLS_SERVER].arena = arena_create(4096, 0);
	ends[TLS_SERVER].facts = (struct tls_facts){ .version = "TLSv1.3", .trusted = true };
	secure_new_leg(&session);
	assert_told("{}");
	assert_null(session.secure.ends[TLS_SERVER].arena);
	assert_int_not_equal(session.secure.changes, changes);	/* policy code is told */
}

static const struct { const char *packet; int err; const char *pem, *key, *passphrase; } given[] = {
	{ "{}", 0, "", "", "" },
	{ "{\"tls\":{\"certificate\":\"P\",\"key\":\"K\"}}", 0, "P", "K", "" },
	{ "{\"tls\":{\"certificate\":\"P\",\"key\":\"K\",\"passphrase\":\"\\u00e9\"}}", 0, "P", "K", "\xe9" },
	{ "{\"tls\":[]}", -EBADMSG, "", "", "" },
	{ "{\"tls\":null}", -EBADMSG, "", "", "" },
	{ "{\"tls\":{\"key\":\"K\"}}", -EBADMSG, "", "", "" },
	{ "{\"tls\":{\"certificate\":\"\",\"key\":\"K\"}}", -EBADMSG, "", "", "" },
	{ "{\"tls\":{\"certificate\":7,\"key\":\"K\"}}", -EBADMSG, "", "", "" },
	{ "{\"tls\":{\"certificate\":\"P\",\"key\":[]}}", -EBADMSG, "", "", "" },
	{ "{\"tls\":{\"certificate\":\"P\",\"key\":\"K\",\"passphrase\":\"\\u0100\"}}", -EBADMSG, "", "", "" },
};

static bool is(struct slice s, const char *text)
{
	return slice_equal(s, slice_cstr(text));
}

static void what_setup_key_gives(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(given); i++) {
		json_t *packet = json_loads(given[i].packet, 0, NULL);
		const struct tls_given *got = &session.secure.given;
		int err;

		session.secure.given = (struct tls_given){ .pem = { NULL, 0 } };
		session.secure.given_arena = arena_create(65536, ARENA_WIPE);
		err = callback_tls_read(&session, packet);
		if (err != given[i].err || !is(got->pem, given[i].pem) || !is(got->key_pem, given[i].key) ||
		    !is(got->passphrase, given[i].passphrase))
			fail_msg("%s: %d", given[i].packet, err);
		arena_free(&session.secure.given_arena);
		json_decref(packet);
	}
}

/* Of other calls nobody wants a certificate. */
static void nobody_asked(void **state)
{
	json_t *packet = json_loads(given[1].packet, 0, NULL);

	(void)state;
	assert_int_equal(callback_tls_read(&session, packet), -EBADMSG);
	json_decref(packet);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(of_plain_text_nothing_is_told, setup),
		cmocka_unit_test_setup(a_handshake_that_goes_on, setup),
		cmocka_unit_test_setup(a_handshake_that_is_done, setup),
		cmocka_unit_test_setup(a_name_is_the_clients, setup),
		cmocka_unit_test_setup(a_long_chain_is_cut, setup),
		cmocka_unit_test_setup(a_new_leg_has_shown_nothing, setup),
		cmocka_unit_test_setup(what_setup_key_gives, setup),
		cmocka_unit_test_setup(nobody_asked, setup),
	};

	return cmocka_run_group_tests_name("callback-tls", tests, NULL, NULL);
}
