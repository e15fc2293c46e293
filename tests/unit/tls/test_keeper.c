/* SPDX-License-Identifier: Apache-2.0 */
/* What the keeper tells of keys, and the handshakes that it signs for. */
#include "keeper_scene.h"

#include <errno.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void signs_for_handshakes(void **state)
{
	static const char *const kinds[] = { "EC", "RSA", "ED25519" };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct pair p;

		if (i > 0) {
			scene_teardown(state);
			scene_setup(state);
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
		scene_teardown(state);
		scene_setup(state);
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
			scene_teardown(state);
			scene_setup(state);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(signs_for_handshakes), TEST(signs_for_each_version), TEST(signs_nothing_else),
		TEST(whole_keys_need_nobody), TEST(a_keeper_that_dies),
		TEST(passphrases_are_secrets), TEST(a_wrong_passphrase), TEST(secrets_that_are_none),
		TEST(keys_that_cannot_be_loaded), TEST(a_key_of_another_certificate), TEST(records_that_are_cut),
	};

	return cmocka_run_group_tests(tests, scene_prepare, scene_finish);
}
