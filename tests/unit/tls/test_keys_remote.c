/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's end of the connection to the keeper; the test is the keeper. */
#include "../io/io_test.h"

#include "tls/key_ring.h"
#include "tls/keys_remote.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIGNERS_MAX (KEY_WINDOW + KEYS_QUEUE_MAX + 8)

struct signer {
	struct co *co;
	EVP_PKEY *key;
	bool ended, fine;
	int64_t at_ms;
};

static struct virtual_clock virtual;
static struct loop *loop;
static struct keys_remote *remote;
static struct key_ring *ring;
static EVP_PKEY *key, *remote_key;
static int keeper = -1;			/* the test's end of the connection */
static unsigned lost;
static int lost_error;
static struct signer signers[SIGNERS_MAX];
static unsigned n_signers, n_ended;

static void on_lost(void *arg, int err)
{
	lost++;
	lost_error = err;
}

static void connect_keeper(void)
{
	int pair[2];

	if (keeper >= 0)
		close(keeper);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	keeper = pair[0];
	assert_int_equal(keys_remote_connect(remote, loop, pair[1], on_lost, NULL), 0);
}

static int setup(void **state)
{
	unsigned char *der = NULL;
	int n;

	virtual_clock_init(&virtual);
	loop = loop_create(&virtual.clock);
	key = EVP_EC_gen("P-256");
	ring = key_ring_create(1);
	key_ring_permit(ring, 0, KEY_FOR_TLS13);
	assert_int_equal(key_ring_set(ring, 0, key), 0);
	assert_int_equal(keys_remote_create(&remote), 0);
	n = i2d_PUBKEY(key, &der);
	assert_int_equal(keys_remote_key(remote, slice_of(der, (size_t)n), &remote_key), 0);
	OPENSSL_free(der);
	lost = n_signers = n_ended = 0;
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(n_ended, n_signers);
	EVP_PKEY_free(remote_key);
	EVP_PKEY_free(key);
	keys_remote_free(&remote);
	key_ring_free(&ring);
	assert_int_equal(loop_coroutines(loop), 0);
	loop_free(&loop);
	if (keeper >= 0)
		close(keeper);
	keeper = -1;
	return 0;
}

static bool sign_with(EVP_PKEY *with, const char *text, size_t len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new(), *check = EVP_MD_CTX_new();
	uint8_t signature[256];
	size_t n = sizeof(signature);
	bool fine = EVP_DigestSignInit_ex(ctx, NULL, "SHA256", NULL, NULL, with, NULL) == 1 &&
		    EVP_DigestSign(ctx, signature, &n, (const void *)text, len) == 1;

	if (fine)
		assert_int_equal(EVP_DigestVerifyInit_ex(check, NULL, "SHA256", NULL, NULL, key, NULL) == 1 &&
				 EVP_DigestVerify(check, signature, n, (const void *)text, len) == 1, 1);
	EVP_MD_CTX_free(ctx);
	EVP_MD_CTX_free(check);
	return fine;
}

static void run_signer(void *arg)
{
	struct signer *s = arg;
	char text[32];
	int n = snprintf(text, sizeof(text), "text %td", s - signers);

	s->fine = sign_with(s->key, text, (size_t)n);
	s->at_ms = virtual.now;
	s->ended = true;
	s->co = NULL;
	n_ended++;
}

static struct signer *start(void)
{
	struct signer *s = &signers[n_signers++];

	assert_true(n_signers <= SIGNERS_MAX);
	*s = (struct signer){ .key = remote_key };
	s->co = co_spawn(loop, run_signer, s);
	assert_non_null(s->co);
	return s;
}

/* Turns that the clock has no part in. */
static void turn(void)
{
	for (int i = 0; i < 4; i++)
		loop_turn(loop, 0);
}

/* Requests that are there. */
static size_t take(uint8_t (*packets)[256], size_t *lens, size_t max)
{
	size_t n = 0;
	ssize_t len;

	while (n < max && (len = recv(keeper, packets[n], sizeof(packets[n]), MSG_DONTWAIT)) > 0)
		lens[n++] = (size_t)len;
	return n;
}

static void answer(const uint8_t *packet, size_t len)
{
	uint8_t reply[KEY_REPLY_MAX];
	size_t n = key_ring_answer(ring, slice_of(packet, len), reply);

	assert_true(n > 0);
	assert_int_equal(send(keeper, reply, n, MSG_DONTWAIT | MSG_NOSIGNAL), (ssize_t)n);
}

static uint8_t packets[KEY_WINDOW + 8][256];
static size_t lens[KEY_WINDOW + 8];

static void replies_in_any_order(void **state)
{
	connect_keeper();
	for (int i = 0; i < 5; i++)
		start();
	turn();
	assert_int_equal(take(packets, lens, 8), 5);
	for (int i = 4; i >= 0; i--)
		answer(packets[i], lens[i]);
	turn();
	for (int i = 0; i < 5; i++)
		assert_true(signers[i].ended && signers[i].fine);
	assert_int_equal(lost, 0);
}

static void errors_of_the_keeper(void **state)
{
	struct key_reply reply = { .result = -ENOENT };
	struct signer *s;

	connect_keeper();
	s = start();
	turn();
	assert_int_equal(take(packets, lens, 8), 1);
	reply.number = ((struct key_request *)packets[0])->number;
	assert_int_equal(send(keeper, &reply, sizeof(reply), 0), sizeof(reply));
	turn();
	assert_true(s->ended && !s->fine);
	assert_int_equal(lost, 0);
}

/* A reply that nobody asked for is nobody's; a signature of another one's text must not be taken. */
static void wrong_numbers(void **state)
{
	struct key_reply reply = { .number = 4711, .result = 0 };
	struct signer *s;

	connect_keeper();
	s = start();
	start();
	turn();
	assert_int_equal(take(packets, lens, 8), 2);
	assert_int_equal(send(keeper, &reply, sizeof(reply), 0), sizeof(reply));
	turn();
	assert_false(s->ended);
	answer(packets[0], lens[0]);
	turn();
	assert_true(s->ended && s->fine);
	assert_false(signers[1].ended);
	/* More replies than requests: whoever says that is no keeper. */
	answer(packets[0], lens[0]);
	turn();
	assert_int_equal(lost, 1);
	assert_true(signers[1].ended && !signers[1].fine);
}

static void a_late_reply(void **state)
{
	struct signer *s;

	connect_keeper();
	s = start();
	loop_run(loop);			/* virtual time goes on to the deadline */
	assert_true(s->ended && !s->fine);
	assert_int_equal(s->at_ms, 1000 + KEYS_SIGN_MS);
	start();
	turn();
	assert_int_equal(take(packets, lens, 8), 2);
	answer(packets[0], lens[0]);	/* the late one */
	turn();
	assert_false(signers[1].ended);
	answer(packets[1], lens[1]);
	turn();
	assert_true(signers[1].ended && signers[1].fine);
	assert_int_equal(lost, 0);
}

static void nonsense(void **state)
{
	static const struct { size_t len; int32_t result; } cases[] = {
		{ 1, 0 }, { sizeof(struct key_reply) - 1, 0 }, { sizeof(struct key_reply), 8 },
		{ sizeof(struct key_reply) + 8, 7 }, { sizeof(struct key_reply) + 8, -1 },
		{ sizeof(struct key_reply) + KEY_SIGNATURE_MAX + 1, KEY_SIGNATURE_MAX + 1 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		uint8_t octets[KEY_REPLY_MAX + 16] = { 0 };
		struct key_reply reply = { .result = cases[i].result };
		struct signer *s;

		connect_keeper();
		s = start();
		turn();
		assert_int_equal(take(packets, lens, 1), 1);
		reply.number = ((struct key_request *)packets[0])->number;
		memcpy(octets, &reply, sizeof(reply));
		assert_int_equal(send(keeper, octets, cases[i].len, 0), (ssize_t)cases[i].len);
		turn();
		assert_true(s->ended && !s->fine);
		assert_int_equal(lost, i + 1);
		assert_int_equal(lost_error, -EBADMSG);
	}
}

static void a_dead_keeper(void **state)
{
	connect_keeper();
	for (unsigned i = 0; i < KEY_WINDOW + 1; i++)
		start();
	turn();
	close(keeper);
	keeper = -1;
	turn();
	assert_int_equal(lost, 1);
	for (unsigned i = 0; i < KEY_WINDOW; i++)
		assert_true(signers[i].ended && !signers[i].fine);
	/* The last one had not been sent: the next keeper gets it. */
	assert_false(signers[KEY_WINDOW].ended);
	connect_keeper();
	turn();
	assert_int_equal(take(packets, lens, 8), 1);
	answer(packets[0], lens[0]);
	turn();
	assert_true(signers[KEY_WINDOW].ended && signers[KEY_WINDOW].fine);
}

static void no_keeper(void **state)
{
	struct signer *s = start();

	loop_run(loop);
	assert_true(s->ended && !s->fine);
	assert_int_equal(s->at_ms, 1000 + KEYS_SIGN_MS);
}

static void outside_of_a_coroutine(void **state)
{
	connect_keeper();
	assert_false(sign_with(remote_key, "x", 1));
	ERR_clear_error();
	assert_int_equal(take(packets, lens, 8), 0);
}

/* So many are with the keeper, so many wait, the next one is refused. */
static void bounds(void **state)
{
	size_t n, answered = 0;

	connect_keeper();
	for (unsigned i = 0; i < KEY_WINDOW + KEYS_QUEUE_MAX + 1; i++)
		start();
	turn();
	assert_int_equal(n_ended, 1);
	assert_true(signers[n_signers - 1].ended && !signers[n_signers - 1].fine);
	n = take(packets, lens, KEY_WINDOW + 8);
	assert_int_equal(n, KEY_WINDOW);
	while (n > 0) {
		for (size_t i = 0; i < n; i++)
			answer(packets[i], lens[i]);
		answered += n;
		turn();
		n = take(packets, lens, KEY_WINDOW + 8);
		assert_true(n <= KEY_WINDOW);
	}
	assert_int_equal(answered, KEY_WINDOW + KEYS_QUEUE_MAX);
	for (unsigned i = 0; i < KEY_WINDOW + KEYS_QUEUE_MAX; i++)
		assert_true(signers[i].ended && signers[i].fine);
	assert_int_equal(lost, 0);
}

static void canceled(void **state)
{
	struct signer *waiting;

	connect_keeper();
	for (unsigned i = 0; i < KEY_WINDOW + 2; i++)
		start();
	turn();
	waiting = &signers[KEY_WINDOW];
	co_cancel(waiting->co);
	co_cancel(signers[3].co);
	turn();
	assert_true(waiting->ended && !waiting->fine && signers[3].ended && !signers[3].fine);
	assert_int_equal(take(packets, lens, KEY_WINDOW + 8), KEY_WINDOW);
	for (unsigned i = 0; i < KEY_WINDOW; i++)
		answer(packets[i], lens[i]);
	turn();
	assert_int_equal(take(packets, lens, 8), 1);
	answer(packets[0], lens[0]);
	turn();
	assert_int_equal(n_ended, n_signers);
	assert_true(signers[KEY_WINDOW + 1].fine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(replies_in_any_order, setup, teardown),
		cmocka_unit_test_setup_teardown(errors_of_the_keeper, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(a_late_reply, setup, teardown),
		cmocka_unit_test_setup_teardown(nonsense, setup, teardown),
		cmocka_unit_test_setup_teardown(a_dead_keeper, setup, teardown),
		cmocka_unit_test_setup_teardown(no_keeper, setup, teardown),
		cmocka_unit_test_setup_teardown(outside_of_a_coroutine, setup, teardown),
		cmocka_unit_test_setup_teardown(bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(canceled, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
