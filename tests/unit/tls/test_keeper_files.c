/* SPDX-License-Identifier: Apache-2.0 */
/* Files that change under a keeper: pairs, CAs, OCSP responses, and what the leader takes of them. */
#include "keeper_scene.h"

#include <errno.h>
#include <openssl/ocsp.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *why;

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

/* A bridge with one CA, of which the pair on the disk is, and a key for its leaves. */
static void begin_bridge(const struct cert_spec *ca_spec)
{
	static struct tls_bridge bridge;
	EVP_PKEY *key = make_key("EC");

	put_pair("EC", ca_spec);
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
}

static void the_ca_of_a_bridge(void **state)
{
	struct cert_spec spec = { .cn = "Bridge CA", .is_ca = true };
	const struct mint *first, *second;
	const struct tls_context *context;
	const X509 *leaf;
	uint8_t identity[TLS_IDENTITY];
	EVP_PKEY *key;

	begin_bridge(&spec);
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
	const struct mint *mint;
	EVP_PKEY *first, *second, *key;
	struct keeper_record broken = { .kind = KEEPER_CHAIN, .index = 0, .parts = { SLICE_INIT("none") } };

	begin_bridge(&spec);
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
	uint64_t state_before;
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
	state_before = tls_state(peer.tls, &theirs.encryption, TLS_SERVER);
	assert_int_equal(believe(&peer), 0);
	assert_int_not_equal(tls_state(peer.tls, &theirs.encryption, TLS_SERVER), state_before);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_new_pair), TEST(the_old_pair_meanwhile), TEST(pairs_that_are_refused), TEST(a_key_of_two_certificates),
		TEST(a_new_certificate_for_the_same_key), TEST(the_same_in_other_words), TEST(pairs_that_are_none),
		TEST(the_ca_of_a_bridge), TEST(a_certificate_that_is_too_weak), TEST(updates_that_are_half_good),
		TEST(updates_that_are_cut), TEST(updates_of_what_is_not_there), TEST(trust_of_what_is_not_there), TEST(new_cas),
		TEST(new_ocsp_responses),
	};

	return cmocka_run_group_tests(tests, scene_prepare, scene_finish);
}
