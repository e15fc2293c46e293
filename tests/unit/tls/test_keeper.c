/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper and those it keeps keys for, in one process: what it tells of keys, handshakes that it
 * signs for, and files that change.
 */
#include "tls_test.h"

#include "tls/keeper_keys.h"
#include "tls/keys_kept.h"
#include "tls/tls_priv.h"
#include "tls/update.h"

#include <errno.h>
#include <openssl/ocsp.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static EVP_PKEY *ca_key;
static X509 *ca;
static struct sample ours, theirs;		/* towards a client, with keys; and what checks it */
static struct built kept, peer;
static struct keeper_keys *keeper;
static struct buffer records;
static struct arena *arena;
static struct policy_problems problems;
static const char *leaf_file, *key_file, *ca_directory;
static struct slice leaf_pem;
static const char *why;

static int prepare(void **state)
{
	const struct cert_spec spec = { .cn = "CA", .is_ca = true };

	ca_key = make_key("EC");
	ca = make_cert(&spec, ca_key);
	return 0;
}

static int finish(void **state)
{
	X509_free(ca);
	EVP_PKEY_free(ca_key);
	return 0;
}

static struct cert_spec leaf_spec(long serial)
{
	return (struct cert_spec){ .cn = "mail", .san = "DNS:mail.example", .issuer = ca, .issuer_key = ca_key, .serial = serial };
}

/* A new pair on the disk. */
static void put_pair(const char *kind, const struct cert_spec *spec)
{
	EVP_PKEY *key = make_key(kind);
	X509 *leaf = make_cert(spec, key);

	put_key(key_file, key, NULL);
	put_chain(leaf_file, leaf, NULL);
	X509_free(leaf);
	EVP_PKEY_free(key);
}

static int setup(void **state)
{
	folder_create();
	leaf_file = strdup(folder_path("leaf.pem"));
	key_file = strdup(folder_path("leaf.key"));
	ca_directory = strdup(folder_path("ca"));
	folder_make(ca_directory);
	put_hashed(ca_directory, ca);
	records = (struct buffer)BUFFER_INIT(1 << 20);
	arena = arena_create(1 << 20, 0);
	problems_init(&problems, arena);
	sample_init(&ours);
	ours.encryption.sides[TLS_SERVER].security = TLS_OFF;
	sample_init(&theirs);
	theirs.encryption.sides[TLS_CLIENT].security = TLS_OFF;
	theirs.encryption.sides[TLS_SERVER].verifier.type = TLS_VERIFY_REQUIRED_TRUSTED;
	theirs.encryption.sides[TLS_SERVER].verifier.ca_directory = ca_directory;
	build(&theirs, &peer);
	assert_int_equal(peer.err, 0);
	return 0;
}

static int teardown(void **state)
{
	unbuild(&kept);
	unbuild(&peer);
	keeper_keys_free(&keeper);
	buffer_release(&records);
	arena_free(&arena);
	free((void *)leaf_file);
	free((void *)key_file);
	free((void *)ca_directory);
	folder_remove();
	return 0;
}

/* ---- as leader and keeper do it ---- */

static void make_policy(void)
{
	ours.policy = (struct policy){ .encryptions = &ours.encryption, .n_encryptions = 1, .tls_keys = ours.keys,
				       .n_tls_keys = ours.n_keys, .tls_certificates = ours.certificates,
				       .n_tls_certificates = ours.n_certificates, .n_secrets = ours.policy.n_secrets };
}

static void keep(bool give, struct slice secrets)
{
	make_policy();
	assert_int_equal(keeper_keys_create(&ours.policy, secrets, give, &keeper), 0);
	keeper_keys_load(keeper, false, &records);
	kept = (struct built){ .arena = arena_create(1 << 20, 0) };
	problems_init(&kept.problems, kept.arena);
	kept.err = tls_keys_kept(&ours.policy, buffer_slice(&records), &kept.problems, &kept.keys);
	if (kept.err == 0)
		kept.err = tls_build(&ours.policy, kept.keys, &kept.problems, &kept.tls);
	buffer_clear(&records);
}

static void begin(const char *kind, bool give)
{
	const struct cert_spec spec = leaf_spec(7);

	put_pair(kind, &spec);
	ours.encryption.sides[TLS_CLIENT].own.fallback = sample_add(&ours, leaf_file, key_file);
	/* The test's own copy: the file changes. */
	leaf_pem = ours.certificates[0].pem;
	keep(give, slice_of(NULL, 0));
	assert_int_equal(kept.err, 0);
}

/* The keeper's end of a connection, served from the loop. */
struct served {
	struct loop_watch watch;
	struct loop *loop;
	unsigned requests;
	bool hangs_up;
};

static void serve(struct loop_watch *watch)
{
	struct served *s = (struct served *)watch;
	static uint8_t request[KEY_REQUEST_MAX], reply[KEY_REPLY_MAX];
	ssize_t n;

	while ((n = recv(watch->fd, request, sizeof(request), MSG_DONTWAIT)) > 0) {
		size_t len = keeper_keys_answer(keeper, slice_of(request, (size_t)n), reply);

		s->requests++;
		assert_true(len > 0);
		if (s->hangs_up) {
			loop_watch_remove(s->loop, watch);
			shutdown(watch->fd, SHUT_RDWR);
			return;
		}
		assert_int_equal(send(watch->fd, reply, len, 0), (ssize_t)len);
	}
	watch->ready &= ~LOOP_READ;
}

static void on_lost(void *arg, int err)
{
	(*(unsigned *)arg)++;
}

/* One handshake; how it ended is in p, which the caller closes. Returns the requests that it took. */
static unsigned shake_kept(struct pair *p, bool hangs_up)
{
	unsigned lost = 0;
	struct served s = { .hangs_up = hangs_up };
	int pair[2];

	pair_open(p, &kept, &ours, &peer, &theirs);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(tls_keys_connect(kept.keys, p->loop, pair[1], on_lost, &lost), 0);
	s.watch = (struct loop_watch){ .fd = pair[0], .on_ready = serve };
	s.loop = p->loop;
	assert_int_equal(loop_watch_add(p->loop, &s.watch), 0);
	pair_run(p);
	if (!hangs_up) {
		loop_watch_remove(p->loop, &s.watch);
		shutdown(pair[0], SHUT_RDWR);
		loop_turn(p->loop, 0);
	}
	assert_int_equal(lost, 1);
	close(pair[0]);
	return s.requests;
}

static void shows(const char *serial)
{
	struct pair p;

	(void)shake_kept(&p, false);
	assert_int_equal(p.client.result, 0);
	assert_int_equal(p.server.result, 0);
	assert_true(p.server.h.facts.n_peer > 0);
	assert_true(slice_is(p.server.h.facts.peer[0].serial, serial));
	pair_close(&p);
}

static void fails(void)
{
	struct pair p;

	(void)shake_kept(&p, false);
	assert_true(p.client.result < 0);
	pair_close(&p);
}

static bool has_problem_of_file(const char *words)
{
	for (const struct policy_problem *f = problems.first; f != NULL; f = f->next)
		if (strstr(f->message, words) != NULL)
			return true;
	for (const struct policy_problem *f = problems.first; f != NULL; f = f->next)
		print_message("# %s\n", f->message);
	return false;
}

/* ---- keys ---- */

static void signs_for_handshakes(void **state)
{
	static const char *const kinds[] = { "EC", "RSA", "ED25519" };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct pair p;

		if (i > 0) {
			teardown(state);
			setup(state);
		}
		begin(kinds[i], false);
		assert_int_equal(shake_kept(&p, false), 1);
		assert_int_equal(p.client.result, 0);
		assert_int_equal(p.server.result, 0);
		assert_true(p.server.h.facts.trusted);
		pair_close(&p);
	}
}

/* What the two ends agree upon is what the keeper signs, for each version that the policy has. */
static void signs_for_each_version(void **state)
{
	static const char *const kinds[] = { "EC", "RSA", "ED25519" };
	static const struct { uint16_t min, max, theirs; } versions[] = {
		{ 0x0301, 0x0304, 0x0301 }, { 0x0301, 0x0303, 0x0303 }, { 0x0303, 0x0304, 0x0303 }, { 0x0303, 0x0303, 0x0303 },
		{ 0x0304, 0x0304, 0x0304 }, { 0x0301, 0x0304, 0x0304 },
	};

	for (size_t i = 0; i < ARRAY_LEN(kinds) * ARRAY_LEN(versions); i++) {
		const char *kind = kinds[i % ARRAY_LEN(kinds)];
		size_t v = i / ARRAY_LEN(kinds);
		struct pair p;

		if (strcmp(kind, "ED25519") == 0 && versions[v].theirs < 0x0303)
			continue;
		teardown(state);
		setup(state);
		ours.encryption.sides[TLS_CLIENT].options.version_min = versions[v].min;
		ours.encryption.sides[TLS_CLIENT].options.version_max = versions[v].max;
		unbuild(&peer);
		theirs.encryption.sides[TLS_SERVER].options.version_min = versions[v].theirs;
		theirs.encryption.sides[TLS_SERVER].options.version_max = versions[v].theirs;
		build(&theirs, &peer);
		assert_int_equal(peer.err, 0);
		begin(kind, false);
		assert_int_equal(shake_kept(&p, false), 1);
		if (p.client.result != 0 || p.server.result != 0)
			fail_msg("%s, case %zu: %s", kind, v, p.client.h.error);
		pair_close(&p);
	}
}

/* Straight to the keeper, as a worker that was taken could. */
static void signs_nothing_else(void **state)
{
	static const struct { uint16_t scheme; size_t octets; int result; } cases[] = {
		{ 0x0804, 32, 256 }, { 0x0401, 32, 256 }, { 0x0201, 20, -EACCES }, { 0xfe01, 36, -EACCES }, { 0x0401, 31, -EINVAL },
		{ 0x0301, 28, -EINVAL },
	};
	struct key_request head = { .number = 1 };
	uint8_t request[sizeof(head) + 64] = { 0 }, reply[KEY_REPLY_MAX];
	struct key_reply answer;

	begin("RSA", false);
	assert_int_equal(key_name_of(X509_get0_pubkey(kept.tls->own[0].leaf), &head.key), 0);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		head.scheme = cases[i].scheme;
		memcpy(request, &head, sizeof(head));
		assert_true(keeper_keys_answer(keeper, slice_of(request, sizeof(head) + cases[i].octets), reply) > 0);
		memcpy(&answer, reply, sizeof(answer));
		assert_int_equal(answer.result, cases[i].result);
	}
}

static void whole_keys_need_nobody(void **state)
{
	struct pair p;

	begin("EC", true);
	assert_int_equal(shake_kept(&p, false), 0);
	assert_int_equal(p.server.result, 0);
	pair_close(&p);
}

static void a_keeper_that_dies(void **state)
{
	struct pair p;

	begin("EC", false);
	assert_int_equal(shake_kept(&p, true), 1);
	assert_true(p.client.result < 0);
	assert_true(p.server.result < 0);
	assert_non_null(strstr(p.client.h.error, "the keeper: Broken pipe"));
	pair_close(&p);
	shows("7");
}

static struct slice with_length(const char *text, uint8_t *out)
{
	size_t n = strlen(text);

	out[0] = out[1] = 0;
	out[2] = (uint8_t)(n >> 8);
	out[3] = (uint8_t)n;
	memcpy(out + 4, text, n);
	return slice_of(out, n + 4);
}

static void encrypt_key(const char *passphrase)
{
	EVP_PKEY *key = make_key("EC");
	const struct cert_spec spec = leaf_spec(7);
	X509 *leaf = make_cert(&spec, key);

	put_key(key_file, key, passphrase);
	put_chain(leaf_file, leaf, NULL);
	X509_free(leaf);
	EVP_PKEY_free(key);
	ours.encryption.sides[TLS_CLIENT].own.fallback = sample_add(&ours, leaf_file, key_file);
	ours.keys[0].passphrase = 0;
	ours.policy.n_secrets = 1;
}

static void passphrases_are_secrets(void **state)
{
	uint8_t octets[64];

	encrypt_key("open it");
	keep(false, with_length("open it", octets));
	assert_int_equal(kept.err, 0);
	shows("7");
}

static void a_wrong_passphrase(void **state)
{
	uint8_t octets[64];

	encrypt_key("open it");
	keep(false, with_length("something", octets));
	assert_int_equal(kept.err, -EINVAL);
	assert_true(has_problem(&kept, "the passphrase does not open it"));
}

static void secrets_that_are_none(void **state)
{
	uint8_t octets[64];
	struct slice whole = with_length("open it", octets);

	encrypt_key("open it");
	make_policy();
	for (size_t n = 0; n < whole.len; n++)
		assert_int_equal(keeper_keys_create(&ours.policy, slice_take(whole, n), false, &keeper), -EBADMSG);
}

static void keys_that_cannot_be_loaded(void **state)
{
	static const struct { const char *text, *words; } cases[] = {
		{ NULL, "can't be read" }, { "nothing", "no private key in it" },
		{ "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key in it" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		const struct cert_spec spec = leaf_spec(7);

		if (i > 0) {
			teardown(state);
			setup(state);
		}
		put_pair("EC", &spec);
		unlink(key_file);
		if (cases[i].text != NULL)
			file_write(key_file, slice_cstr(cases[i].text));
		ours.encryption.sides[TLS_CLIENT].own.fallback = sample_add(&ours, leaf_file, key_file);
		keep(false, slice_of(NULL, 0));
		assert_int_equal(kept.err, -EINVAL);
		assert_true(has_problem(&kept, cases[i].words));
		assert_int_equal(kept.problems.first->place.line, 1);	/* of the key */
	}
}

static void a_key_of_another_certificate(void **state)
{
	const struct cert_spec spec = leaf_spec(7);
	EVP_PKEY *other = make_key("EC");

	put_pair("EC", &spec);
	put_key(key_file, other, NULL);
	EVP_PKEY_free(other);
	ours.encryption.sides[TLS_CLIENT].own.fallback = sample_add(&ours, leaf_file, key_file);
	keep(false, slice_of(NULL, 0));
	assert_int_equal(kept.err, -EINVAL);
	assert_true(has_problem(&kept, "does not belong to the private key"));
}

static void records_that_are_cut(void **state)
{
	struct tls_keys *keys = NULL;
	struct slice whole;

	begin("EC", false);
	keeper_keys_load(keeper, false, &records);
	whole = buffer_slice(&records);
	for (size_t n = 0; n < whole.len; n++)
		assert_int_equal(tls_keys_kept(&ours.policy, slice_take(whole, n), &problems, &keys), -EBADMSG);
	assert_int_equal(problems.n_errors, 0);
	assert_null(keys);
}

/* ---- files that change ---- */

static int look_at(uint32_t certificate)
{
	buffer_clear(&records);
	problems_init(&problems, arena);
	return keeper_keys_read_chain(keeper, certificate, &problems, &records);
}

static int look_again(void)
{
	return look_at(0);
}

#define UNTIL_MS 1000

/* What was offered, as the leader takes it or not, and says so. */
static int take(void)
{
	int err = tls_update(kept.tls, kept.keys, buffer_slice(&records), &why);

	if (err == 0)
		keeper_keys_accept(keeper, UNTIL_MS);
	else
		keeper_keys_refuse(keeper);
	return err;
}

static void a_new_pair(void **state)
{
	static const char *const kinds[] = { "EC", "RSA", "EC" };

	begin("EC", false);
	shows("7");
	for (long i = 0; i < 3; i++) {
		const struct cert_spec spec = leaf_spec(8 + i);
		char serial[8];

		put_pair(kinds[i], &spec);
		assert_int_equal(look_again(), 0);
		assert_true(records.len > 0);
		assert_int_equal(take(), 0);
		snprintf(serial, sizeof(serial), "%ld", 8 + i);
		shows(serial);
		assert_int_equal(look_again(), 0);
		assert_int_equal(records.len, 0);	/* in use already */
	}
}

/* A worker that has not heard of the new pair yet goes on with the old one. */
static void the_old_pair_meanwhile(void **state)
{
	const struct cert_spec spec = leaf_spec(8);

	begin("EC", false);
	put_pair("EC", &spec);
	assert_int_equal(look_again(), 0);
	shows("7");
	keeper_keys_accept(keeper, UNTIL_MS);
	shows("7");
	assert_int_equal(keeper_keys_expire(keeper, UNTIL_MS - 1), UNTIL_MS);
	shows("7");
	assert_int_equal(keeper_keys_expire(keeper, UNTIL_MS), 0);
	fails();
}

/* Offered and refused, more than once, and not heard of before the leader's word. */
static void pairs_that_are_refused(void **state)
{
	const struct cert_spec spec = leaf_spec(8);

	begin("EC", false);
	for (int i = 0; i < 3; i++) {
		put_pair("EC", &spec);
		assert_int_equal(look_again(), 0);
		assert_true(records.len > 0);
		keeper_keys_refuse(keeper);
		shows("7");
	}
	assert_int_equal(look_again(), 0);
	assert_true(records.len > 0);		/* not what is in use */
	assert_int_equal(take(), 0);
	shows("8");
}

/* One key of two certificates, which are replaced one after the other. */
static void a_key_of_two_certificates(void **state)
{
	const char *const other_file = folder_path("other.pem");
	struct cert_spec spec = leaf_spec(7);
	EVP_PKEY *key;
	X509 *leaf;

	put_pair("EC", &spec);
	file_write(other_file, file_of_pem(leaf_file));
	ours.encryption.sides[TLS_CLIENT].own.fallback = sample_add(&ours, leaf_file, key_file);
	(void)sample_add(&ours, other_file, key_file);
	ours.certificates[1].key = &ours.keys[0];
	keep(false, slice_of(NULL, 0));
	assert_int_equal(kept.err, 0);

	key = make_key("EC");
	spec.serial = 8;
	leaf = make_cert(&spec, key);
	put_key(key_file, key, NULL);
	put_chain(other_file, leaf, NULL);
	assert_int_equal(look_at(1), 0);
	assert_int_equal(take(), 0);
	assert_int_equal(keeper_keys_expire(keeper, INT64_MAX - 1), INT64_MAX);
	shows("7");

	put_chain(leaf_file, leaf, NULL);
	assert_int_equal(look_at(0), 0);
	assert_int_equal(take(), 0);
	assert_int_equal(keeper_keys_expire(keeper, UNTIL_MS - 1), UNTIL_MS);
	shows("8");
	X509_free(leaf);
	EVP_PKEY_free(key);
}

static void a_new_certificate_for_the_same_key(void **state)
{
	struct cert_spec spec = leaf_spec(8);
	EVP_PKEY *key = make_key("EC");
	X509 *leaf;

	begin("EC", false);
	put_key(key_file, key, NULL);
	leaf = make_cert(&spec, key);
	put_chain(leaf_file, leaf, NULL);
	X509_free(leaf);
	assert_int_equal(look_again(), 0);
	assert_int_equal(take(), 0);
	spec.serial = 9;
	leaf = make_cert(&spec, key);
	put_chain(leaf_file, leaf, NULL);
	X509_free(leaf);
	EVP_PKEY_free(key);
	assert_int_equal(look_again(), 0);
	assert_int_equal(take(), 0);
	shows("9");
}

static void the_same_in_other_words(void **state)
{
	static char text[20000];

	begin("EC", false);
	assert_int_equal(look_again(), 0);
	assert_int_equal(records.len, 0);
	snprintf(text, sizeof(text), "a comment\n%.*s", SLICE_ARG(leaf_pem));
	file_write(leaf_file, slice_cstr(text));
	assert_int_equal(look_again(), 0);
	assert_int_equal(records.len, 0);
}

static void pairs_that_are_none(void **state)
{
	struct cert_spec spec = leaf_spec(8);
	EVP_PKEY *other = make_key("EC");

	begin("EC", false);
	put_key(key_file, other, NULL);
	assert_int_equal(look_again(), -EINVAL);
	assert_true(has_problem_of_file("does not belong to the private key"));
	EVP_PKEY_free(other);
	assert_int_equal(records.len, 0);

	spec.from = -2 * DAY;
	spec.to = -DAY;
	put_pair("EC", &spec);
	assert_int_equal(look_again(), -EINVAL);
	assert_true(has_problem_of_file("was valid until"));

	spec.from = DAY;
	spec.to = 2 * DAY;
	put_pair("EC", &spec);
	assert_int_equal(look_again(), -EINVAL);
	assert_true(has_problem_of_file("is not valid before"));

	file_write(leaf_file, slice_take(leaf_pem, leaf_pem.len / 2));
	assert_int_equal(look_again(), -EINVAL);
	assert_true(has_problem_of_file("no certificate in it"));
	unlink(leaf_file);
	assert_int_equal(look_again(), -EINVAL);
	assert_true(has_problem_of_file("can't be read"));
	assert_int_equal(records.len, 0);
	shows("7");
}

static const struct mint *mint_in_use(void)
{
	return tls_context_of(kept.tls, &ours.encryption, TLS_CLIENT)->mint;
}

static void the_ca_of_a_bridge(void **state)
{
	struct cert_spec spec = { .cn = "Bridge CA", .is_ca = true };
	static struct tls_bridge bridge;
	const struct mint *first, *second;
	const struct tls_context *context;
	const X509 *leaf;
	uint8_t identity[TLS_IDENTITY];
	EVP_PKEY *key = make_key("EC");

	put_pair("EC", &spec);
	put_key(folder_path("bridge.key"), key, NULL);
	EVP_PKEY_free(key);
	(void)sample_add(&ours, leaf_file, key_file);
	ours.keys[ours.n_keys] = (struct tls_key){ .file = strdup(folder_path("bridge.key")), .secret = TLS_NO_SECRET,
						   .passphrase = TLS_NO_SECRET, .index = (uint32_t)ours.n_keys };
	bridge = (struct tls_bridge){ .key = &ours.keys[ours.n_keys++], .trusted_ca = &ours.certificates[0],
				      .untrusted_ca = &ours.certificates[0] };
	ours.encryption.sides[TLS_CLIENT].own.bridge = &bridge;
	keep(false, slice_of(NULL, 0));
	assert_int_equal(kept.err, 0);
	first = mint_in_use();
	assert_non_null(first);
	context = tls_context_of(kept.tls, &ours.encryption, TLS_CLIENT);

	spec.serial = 2;
	put_pair("RSA", &spec);
	assert_int_equal(look_again(), 0);
	assert_int_equal(take(), 0);
	second = mint_in_use();
	assert_ptr_not_equal(first, second);

	/* Not a CA. */
	spec.is_ca = false;
	put_pair("EC", &spec);
	leaf = kept.tls->own[0].leaf;
	key = tls_keys_get(kept.keys, &ours.keys[0]);
	memcpy(identity, context->tickets.identity, sizeof(identity));
	assert_int_equal(look_again(), 0);
	assert_int_equal(take(), -EKEYREJECTED);
	assert_string_equal(why, "a bridge can't make certificates with it");
	assert_ptr_equal(mint_in_use(), second);
	assert_ptr_equal(kept.tls->own[0].leaf, leaf);
	assert_ptr_equal(tls_keys_get(kept.keys, &ours.keys[0]), key);
	assert_memory_equal(identity, context->tickets.identity, sizeof(identity));

	/* Its leaves' key. */
	key = make_key("RSA");
	put_key(ours.keys[1].file, key, NULL);
	EVP_PKEY_free(key);
	buffer_clear(&records);
	assert_int_equal(keeper_keys_read_key(keeper, 1, &problems, &records), 0);
	assert_true(records.len > 0);
	assert_int_equal(take(), 0);
	assert_ptr_not_equal(mint_in_use(), second);
	buffer_clear(&records);
	assert_int_equal(keeper_keys_read_key(keeper, 1, &problems, &records), 0);
	assert_int_equal(records.len, 0);
	file_write(ours.keys[1].file, slice_cstr("nothing"));
	assert_int_equal(keeper_keys_read_key(keeper, 1, &problems, &records), -EINVAL);
	free((void *)ours.keys[1].file);
}

/* OpenSSL's level would refuse it in each handshake. */
static void a_certificate_that_is_too_weak(void **state)
{
	const struct cert_spec spec = leaf_spec(8);
	EVP_PKEY *weak = EVP_RSA_gen(1024);
	X509 *leaf = make_cert(&spec, weak);

	begin("EC", false);
	put_key(key_file, weak, NULL);
	put_chain(leaf_file, leaf, NULL);
	assert_int_equal(look_again(), 0);
	assert_int_equal(take(), -EKEYREJECTED);
	shows("7");
	X509_free(leaf);
	EVP_PKEY_free(weak);
}

/* The last of several things can't be used: the others, a bridge's among them, are not changed either. */
static void updates_that_are_half_good(void **state)
{
	struct cert_spec spec = { .cn = "Bridge CA", .is_ca = true };
	static struct tls_bridge bridge;
	const struct mint *mint;
	EVP_PKEY *first, *second, *key = make_key("EC");
	struct keeper_record broken = { .kind = KEEPER_CHAIN, .index = 0, .parts = { SLICE_INIT("none") } };

	put_pair("EC", &spec);
	put_key(folder_path("bridge.key"), key, NULL);
	EVP_PKEY_free(key);
	(void)sample_add(&ours, leaf_file, key_file);
	ours.keys[ours.n_keys] = (struct tls_key){ .file = strdup(folder_path("bridge.key")), .secret = TLS_NO_SECRET,
						   .passphrase = TLS_NO_SECRET, .index = (uint32_t)ours.n_keys };
	bridge = (struct tls_bridge){ .key = &ours.keys[ours.n_keys++], .trusted_ca = &ours.certificates[0],
				      .untrusted_ca = &ours.certificates[0] };
	ours.encryption.sides[TLS_CLIENT].own.bridge = &bridge;
	keep(false, slice_of(NULL, 0));
	assert_int_equal(kept.err, 0);
	mint = mint_in_use();
	first = tls_keys_get(kept.keys, &ours.keys[0]);
	second = tls_keys_get(kept.keys, &ours.keys[1]);

	/* The key of its leaves, then its CA, which is none. */
	key = make_key("EC");
	put_key(ours.keys[1].file, key, NULL);
	EVP_PKEY_free(key);
	buffer_clear(&records);
	assert_int_equal(keeper_keys_read_key(keeper, 1, &problems, &records), 0);
	keeper_record_write(&records, &broken);
	assert_int_equal(take(), -EBADMSG);
	assert_ptr_equal(mint_in_use(), mint);
	assert_ptr_equal(tls_keys_get(kept.keys, &ours.keys[0]), first);
	assert_ptr_equal(tls_keys_get(kept.keys, &ours.keys[1]), second);
	free((void *)ours.keys[1].file);
}

static void updates_that_are_cut(void **state)
{
	const struct cert_spec spec = leaf_spec(8);
	struct slice whole;

	begin("EC", false);
	put_pair("EC", &spec);
	assert_int_equal(look_again(), 0);
	whole = buffer_slice(&records);
	for (size_t n = 1; n < whole.len; n++) {
		int err = tls_update(kept.tls, kept.keys, slice_take(whole, n), &why);

		/* Between two records nothing is missing. */
		assert_true(err == -EBADMSG || err == 0);
	}
	shows("7");
	assert_int_equal(tls_update(kept.tls, kept.keys, whole, &why), 0);
	shows("8");
}

static void updates_of_what_is_not_there(void **state)
{
	static const struct keeper_record wrong[] = {
		{ .kind = KEEPER_CHAIN, .index = 99 }, { .kind = KEEPER_KEY_PUBLIC, .index = 99 },
		{ .kind = KEEPER_KEY_PUBLIC, .index = 0 }, { .kind = KEEPER_CHAIN, .index = 0 },
		{ .kind = KEEPER_TRUST, .index = 0 },	/* has its own way */
		{ .kind = KEEPER_OCSP, .index = 99 }, { .kind = KEEPER_OCSP, .index = TLS_CLIENT }, { .kind = KEEPER_FILE },
	};

	begin("EC", false);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		buffer_clear(&records);
		keeper_record_write(&records, &wrong[i]);
		assert_int_equal(tls_update(kept.tls, kept.keys, buffer_slice(&records), &why), -EBADMSG);
	}
	shows("7");
}

/* As the leader and the workers do. */
static int believe(struct built *b)
{
	struct tls_trust trust;
	uint32_t context;
	int err = tls_update_read_trust(buffer_slice(&records), &problems, &context, &trust);

	if (err != 0)
		return err;
	err = tls_update_trust(b->tls, context, &trust);
	tls_trust_clear(&trust);
	return err;
}

static void trust_of_what_is_not_there(void **state)
{
	static const struct keeper_record wrong[] = {
		{ .kind = KEEPER_TRUST, .index = 99 }, { .kind = KEEPER_TRUST, .index = TLS_SERVER /* off */ },
		{ .kind = KEEPER_OCSP, .index = TLS_CLIENT }, { .kind = KEEPER_TRUST, .index = TLS_CLIENT, .parts = { SLICE_INIT("no records") } },
	};

	begin("EC", false);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		buffer_clear(&records);
		keeper_record_write(&records, &wrong[i]);
		assert_int_equal(believe(&kept), -EBADMSG);
	}
	keeper_record_write(&records, &wrong[0]);	/* two */
	assert_int_equal(believe(&kept), -EBADMSG);
	buffer_clear(&records);
	assert_int_equal(believe(&kept), -EBADMSG);
	shows("7");
}

/* What verifies is the other end here, so its directory is what changes. */
static void new_cas(void **state)
{
	struct cert_spec spec = { .cn = "Other CA", .is_ca = true };
	EVP_PKEY *other_key = make_key("EC");
	X509 *other = make_cert(&spec, other_key);
	struct keeper_keys *watcher;
	struct pair p;
	char path[300];

	begin("EC", false);
	theirs.policy.n_secrets = 0;
	assert_int_equal(keeper_keys_create(&theirs.policy, slice_of(NULL, 0), false, &watcher), 0);
	snprintf(path, sizeof(path), "%s/%08lx.0", ca_directory, X509_subject_name_hash(ca));
	assert_int_equal(unlink(path), 0);
	put_hashed(ca_directory, other);
	buffer_clear(&records);
	assert_int_equal(keeper_keys_read_trust(watcher, TLS_SERVER, &problems, &records), 0);
	assert_int_equal(believe(&peer), 0);
	(void)shake_kept(&p, false);
	assert_true(p.server.result < 0);
	pair_close(&p);

	put_hashed(ca_directory, ca);
	buffer_clear(&records);
	assert_int_equal(keeper_keys_read_trust(watcher, TLS_SERVER, &problems, &records), 0);
	assert_int_equal(believe(&peer), 0);
	shows("7");

	buffer_clear(&records);
	assert_int_equal(rename(ca_directory, folder_path("away")), 0);
	assert_int_equal(keeper_keys_read_trust(watcher, TLS_SERVER, &problems, &records), -EINVAL);
	assert_int_equal(records.len, 0);
	keeper_keys_free(&watcher);
	X509_free(other);
	EVP_PKEY_free(other_key);
}

static void put_ocsp(const char *path, bool good)
{
	static const uint8_t try_later[] = { 0x30, 0x03, 0x0a, 0x01, 0x03 };
	OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
	OCSP_CERTID *id = OCSP_cert_to_id(NULL, ca, ca);
	ASN1_TIME *now = X509_gmtime_adj(NULL, 0);
	OCSP_RESPONSE *response;
	uint8_t *der = NULL;
	int n;

	assert_non_null(OCSP_basic_add1_status(basic, id, V_OCSP_CERTSTATUS_GOOD, 0, NULL, now, NULL));
	assert_int_equal(OCSP_basic_sign(basic, ca, ca_key, EVP_sha256(), NULL, 0), 1);
	response = OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic);
	n = i2d_OCSP_RESPONSE(response, &der);
	file_write(path, good ? slice_of(der, (size_t)n) : slice_of(try_later, sizeof(try_later)));
	OPENSSL_free(der);
	OCSP_RESPONSE_free(response);
	OCSP_BASICRESP_free(basic);
	OCSP_CERTID_free(id);
	ASN1_TIME_free(now);
}

static void new_ocsp_responses(void **state)
{
	const char *path = folder_path("response.der");

	put_ocsp(path, true);
	ours.encryption.sides[TLS_CLIENT].options.ocsp_file = path;
	begin("EC", false);
	buffer_clear(&records);
	assert_int_equal(keeper_keys_read_ocsp(keeper, TLS_CLIENT, &problems, &records), 0);
	assert_int_equal(tls_update(kept.tls, kept.keys, buffer_slice(&records), &why), 0);
	shows("7");
	put_ocsp(path, false);
	buffer_clear(&records);
	assert_int_equal(keeper_keys_read_ocsp(keeper, TLS_CLIENT, &problems, &records), -EINVAL);
	assert_int_equal(records.len, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(signs_for_handshakes), TEST(signs_for_each_version), TEST(signs_nothing_else),
		TEST(whole_keys_need_nobody), TEST(a_keeper_that_dies),
		TEST(passphrases_are_secrets), TEST(a_wrong_passphrase), TEST(secrets_that_are_none),
		TEST(keys_that_cannot_be_loaded), TEST(a_key_of_another_certificate), TEST(records_that_are_cut),
		TEST(a_new_pair), TEST(the_old_pair_meanwhile), TEST(pairs_that_are_refused), TEST(a_key_of_two_certificates),
		TEST(a_new_certificate_for_the_same_key),
		TEST(the_same_in_other_words), TEST(pairs_that_are_none), TEST(the_ca_of_a_bridge),
		TEST(a_certificate_that_is_too_weak),
		TEST(updates_that_are_half_good), TEST(updates_that_are_cut), TEST(updates_of_what_is_not_there), TEST(trust_of_what_is_not_there), TEST(new_cas), TEST(new_ocsp_responses),
	};

	return cmocka_run_group_tests(tests, prepare, finish);
}
