/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of mimicking, one by one: what is taken over, what is not, what is refused. */
#include "mint_scene.h"
#include "tls/key_provider.h"
#include "tls/key_ring.h"
#include "tls/mint_priv.h"

#include <errno.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static X509 *must_mint(struct mint *mint, X509 *original, bool trusted)
{
	const char *why = NULL;
	X509 *leaf = mint_scene_try(mint, original, trusted, NOW, &why);

	if (leaf == NULL)
		fail_msg("refused: %s", why);
	return leaf;
}

/* Mint once, with this list of extensions. */
static X509 *mint_with(const struct mint_scene *s, X509 *original, const char *const *extensions, size_t n, const char **why)
{
	struct mint_setup setup = mint_scene_setup(s, NULL);
	struct mint *mint;
	X509 *leaf;

	setup.extensions = extensions;
	setup.n_extensions = n;
	mint = mint_scene_mint(&setup);
	leaf = mint_scene_try(mint, original, true, NOW, why);
	mint_free(&mint);
	return leaf;
}

static X509 *mint_one(const struct mint_scene *s, X509 *original, const char **why)
{
	return mint_with(s, original, scene_extensions, ARRAY_LEN(scene_extensions), why);
}

static bool verifies(X509 *leaf, X509 *ca, const char *host)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	bool good;

	X509_STORE_add_cert(store, ca);
	X509_STORE_CTX_init(ctx, store, leaf, NULL);
	X509_VERIFY_PARAM_set_time(X509_STORE_CTX_get0_param(ctx), NOW);
	X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_X509_STRICT);
	X509_VERIFY_PARAM_set_purpose(X509_STORE_CTX_get0_param(ctx), X509_PURPOSE_SSL_SERVER);
	X509_VERIFY_PARAM_set1_host(X509_STORE_CTX_get0_param(ctx), host, 0);
	good = X509_verify_cert(ctx) == 1;
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	return good;
}

static bool has(X509 *certificate, int nid)
{
	return X509_get_ext_by_NID(certificate, nid, -1) >= 0;
}

static bool same_extension(X509 *a, X509 *b, int nid)
{
	X509_EXTENSION *x = X509_get_ext(a, X509_get_ext_by_NID(a, nid, -1)), *y = X509_get_ext(b, X509_get_ext_by_NID(b, nid, -1));

	return x != NULL && y != NULL && X509_EXTENSION_get_critical(x) == X509_EXTENSION_get_critical(y) &&
	       ASN1_OCTET_STRING_cmp(X509_EXTENSION_get_data(x), X509_EXTENSION_get_data(y)) == 0;
}

static void test_fields(void **state)
{
	static const char *const kinds[] = { "P-256", "RSA-1024", "P-384", "ED25519" };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct mint_scene s;
		struct mint_setup setup;
		struct recipe recipe;
		struct mint *mint;
		X509 *original, *leaf, *other;

		mint_scene_begin(&s, kinds[i], i % 2 == 0 ? "RSA-1024" : "P-256");
		recipe = mint_scene_original(&s);
		original = recipe_make(&recipe);
		setup = mint_scene_setup(&s, NULL);
		mint = mint_scene_mint(&setup);
		leaf = must_mint(mint, original, true);
		other = must_mint(mint, original, false);

		assert_int_equal(X509_get_version(leaf), X509_VERSION_3);
		assert_int_equal(X509_NAME_cmp(X509_get_subject_name(leaf), X509_get_subject_name(original)), 0);
		assert_int_equal(X509_NAME_cmp(X509_get_issuer_name(leaf), X509_get_subject_name(s.trusted.certificate)), 0);
		assert_int_equal(X509_NAME_cmp(X509_get_issuer_name(other), X509_get_subject_name(s.untrusted.certificate)), 0);
		assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(leaf), s.leaf_key), 1);
		assert_int_equal(ASN1_TIME_compare(X509_get0_notBefore(leaf), X509_get0_notBefore(original)), 0);
		assert_int_equal(ASN1_TIME_compare(X509_get0_notAfter(leaf), X509_get0_notAfter(original)), 0);
		assert_true(same_extension(leaf, original, NID_subject_alt_name));
		assert_true(same_extension(leaf, original, NID_ext_key_usage));
		assert_true(has(leaf, NID_key_usage));
		assert_false(has(leaf, NID_basic_constraints));
		assert_false(has(leaf, NID_certificate_policies));
		assert_false(has(leaf, NID_crl_distribution_points));
		/* Key identifiers of its own. */
		assert_int_equal(ASN1_OCTET_STRING_cmp(X509_get0_authority_key_id(leaf), X509_get0_subject_key_id(s.trusted.certificate)), 0);
		assert_int_equal(ASN1_STRING_length(X509_get0_subject_key_id(leaf)), 20);
		assert_int_not_equal(ASN1_OCTET_STRING_cmp(X509_get0_subject_key_id(leaf), X509_get0_subject_key_id(original)), 0);
		assert_true(verifies(leaf, s.trusted.certificate, "www.site.example"));
		assert_false(verifies(leaf, s.trusted.certificate, "other.example"));
		assert_false(verifies(leaf, s.untrusted.certificate, "site.example"));
		assert_true(verifies(other, s.untrusted.certificate, "site.example"));

		X509_free(leaf);
		X509_free(other);
		X509_free(original);
		mint_free(&mint);
		mint_scene_end(&s);
	}
}

/* Random, positive, of one length, and new for each certificate. */
static void test_serials(void **state)
{
	struct mint_scene s;
	struct recipe recipe;
	X509 *original, *leaves[20];
	const char *why;

	mint_scene_begin(&s, NULL, NULL);
	recipe = mint_scene_original(&s);
	original = recipe_make(&recipe);
	for (int i = 0; i < 20; i++) {
		leaves[i] = mint_one(&s, original, &why);
		assert_non_null(leaves[i]);
		assert_int_equal(ASN1_STRING_length(X509_get0_serialNumber(leaves[i])), 16);
		assert_int_equal(ASN1_STRING_type(X509_get0_serialNumber(leaves[i])), V_ASN1_INTEGER);
		for (int k = 0; k < i; k++)
			assert_int_not_equal(ASN1_INTEGER_cmp(X509_get0_serialNumber(leaves[i]), X509_get0_serialNumber(leaves[k])), 0);
	}
	for (int i = 0; i < 20; i++)
		X509_free(leaves[i]);
	X509_free(original);
	mint_scene_end(&s);
}

/* keyUsage: what the original has, what a leaf with such a key gets. */
static void test_key_usage(void **state)
{
	static const struct {
		const char *original, *leaf_kind;
		uint32_t usage;
		bool critical;
	} cases[] = {
		{ "critical,digitalSignature", "RSA-1024", KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, true },
		{ "nonRepudiation", "RSA-1024", KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT | KU_NON_REPUDIATION, false },
		{ "critical,keyAgreement", "RSA-1024", KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, true },
		{ "dataEncipherment", "RSA-1024", KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT | KU_DATA_ENCIPHERMENT, false },
		{ "keyCertSign,cRLSign", "RSA-1024", KU_DIGITAL_SIGNATURE | KU_KEY_ENCIPHERMENT, false },
		{ "critical,digitalSignature,keyEncipherment", "P-256", KU_DIGITAL_SIGNATURE, true },
		{ "keyAgreement,decipherOnly", "P-256", KU_DIGITAL_SIGNATURE, false },
		{ "keyCertSign,nonRepudiation", "P-256", KU_DIGITAL_SIGNATURE | KU_NON_REPUDIATION, false },
		{ "digitalSignature", "ED25519", KU_DIGITAL_SIGNATURE, false },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct mint_scene s;
		struct recipe recipe;
		X509 *original, *leaf;
		const char *why;
		int at;

		mint_scene_begin(&s, cases[i].leaf_kind, NULL);
		recipe = mint_scene_original(&s);
		recipe.extensions[1][1] = cases[i].original;
		original = recipe_make(&recipe);
		leaf = mint_one(&s, original, &why);
		assert_non_null(leaf);
		assert_int_equal(X509_get_key_usage(leaf), cases[i].usage);
		at = X509_get_ext_by_NID(leaf, NID_key_usage, -1);
		assert_int_equal(X509_EXTENSION_get_critical(X509_get_ext(leaf, at)), cases[i].critical);
		X509_free(leaf);
		X509_free(original);
		mint_scene_end(&s);
	}
}

/* An original without any extension: the leaf has none but the key identifiers. */
static void test_no_extensions(void **state)
{
	struct mint_scene s;
	struct recipe recipe;
	X509 *original, *leaf;
	const char *why;

	mint_scene_begin(&s, NULL, NULL);
	recipe = mint_scene_original(&s);
	recipe.extensions[0][0] = NULL;
	recipe.common_name = NULL;
	original = recipe_make(&recipe);
	leaf = mint_one(&s, original, &why);
	assert_non_null(leaf);
	assert_int_equal(X509_get_ext_count(leaf), 2);
	assert_int_equal(X509_NAME_entry_count(X509_get_subject_name(leaf)), 0);
	X509_free(leaf);
	X509_free(original);
	mint_scene_end(&s);
}

/* Whatever is on the list, no leaf is a CA. */
static void test_never_a_ca(void **state)
{
	static const char *const all[] = { "basicConstraints", "keyUsage", "subjectKeyIdentifier", "authorityKeyIdentifier" };
	struct mint_scene s;
	struct recipe recipe;
	X509 *original, *leaf;
	BASIC_CONSTRAINTS *constraints;
	const char *why;
	int critical;

	mint_scene_begin(&s, NULL, NULL);
	recipe = mint_scene_original(&s);
	recipe.extensions[0][1] = "critical,CA:TRUE,pathlen:3";
	recipe.extensions[1][1] = "critical,keyCertSign,cRLSign";
	original = recipe_make(&recipe);
	assert_int_equal(X509_check_ca(original), 1);
	leaf = mint_with(&s, original, all, ARRAY_LEN(all), &why);
	assert_non_null(leaf);
	assert_int_equal(X509_check_ca(leaf), 0);
	assert_int_equal(X509_get_key_usage(leaf), KU_DIGITAL_SIGNATURE);
	constraints = X509_get_ext_d2i(leaf, NID_basic_constraints, &critical, NULL);
	assert_non_null(constraints);
	assert_int_equal(constraints->ca, 0);
	assert_null(constraints->pathlen);
	assert_true(critical);
	BASIC_CONSTRAINTS_free(constraints);
	/* The key identifiers are there once, and are its own. */
	assert_int_equal(X509_get_ext_count(leaf), 4);
	assert_int_not_equal(ASN1_OCTET_STRING_cmp(X509_get0_subject_key_id(leaf), X509_get0_subject_key_id(original)), 0);
	X509_free(leaf);
	leaf = mint_one(&s, original, &why);
	assert_int_equal(X509_check_ca(leaf), 0);
	X509_free(leaf);
	X509_free(original);

	/* An old kind of CA flag, which nobody looks at but those who do. */
	recipe.extensions[0][0] = "nsCertType";
	recipe.extensions[0][1] = "sslCA";
	original = recipe_make(&recipe);
	assert_null(mint_with(&s, original, (const char *const[]){ "nsCertType" }, 1, &why));
	assert_string_equal(why, "with the policy's list of extensions the certificate would be a CA");
	X509_free(original);
	mint_scene_end(&s);
}

/* A list of one's own takes the place of the usual one; what the library can't parse is copied as it is. */
static void test_list(void **state)
{
	static const char *const list[] = { "certificatePolicies", "1.3.6.1.4.1.99999.1", "crlDistributionPoints" };
	struct mint_scene s;
	struct recipe recipe;
	X509 *original, *leaf;
	const char *why;

	mint_scene_begin(&s, NULL, NULL);
	recipe = mint_scene_original(&s);
	original = recipe_make(&recipe);
	recipe_add_raw(original, "1.3.6.1.4.1.99999.1", true, "\x01\x02\xff", 3);
	recipe_sign(original, &recipe);
	leaf = mint_with(&s, original, list, ARRAY_LEN(list), &why);
	assert_non_null(leaf);
	assert_int_equal(X509_get_ext_count(leaf), 5);
	assert_true(same_extension(leaf, original, NID_certificate_policies));
	assert_true(same_extension(leaf, original, NID_crl_distribution_points));
	assert_false(has(leaf, NID_subject_alt_name));
	assert_true(X509_EXTENSION_get_critical(X509_get_ext(leaf, 3)));
	assert_int_equal(ASN1_STRING_length(X509_EXTENSION_get_data(X509_get_ext(leaf, 3))), 3);
	X509_free(leaf);
	X509_free(original);
	mint_scene_end(&s);

	assert_true(mint_knows_extension("subjectAltName"));
	assert_true(mint_knows_extension("1.2.3.4.5"));
	assert_false(mint_knows_extension("subjectAltNames"));
	assert_false(mint_knows_extension(""));
}

/* The hash goes with the CA's key, whatever the original was signed with. */
static void test_digest(void **state)
{
	static const struct {
		const char *ca_kind, *original_digest;
		int signature;
	} cases[] = {
		{ "RSA-1024", "MD5", NID_sha256WithRSAEncryption },
		{ "RSA-1024", "SHA1", NID_sha256WithRSAEncryption },
		{ "RSA-1024", "SHA512", NID_sha256WithRSAEncryption },
		{ "P-256", "SHA1", NID_ecdsa_with_SHA256 },
		{ "P-384", "SHA256", NID_ecdsa_with_SHA384 },
		{ "P-521", "SHA256", NID_ecdsa_with_SHA512 },
		{ "ED25519", "SHA256", NID_ED25519 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct mint_scene s;
		struct recipe recipe;
		X509 *original, *leaf;
		const char *why;

		mint_scene_begin(&s, NULL, cases[i].ca_kind);
		EVP_PKEY_free(s.site_key);
		s.site_key = recipe_key("RSA-1024");		/* the one kind that goes with MD5 */
		recipe = mint_scene_original(&s);
		recipe.digest = cases[i].original_digest;
		original = recipe_make(&recipe);
		leaf = mint_one(&s, original, &why);
		assert_non_null(leaf);
		assert_int_equal(X509_get_signature_nid(leaf), cases[i].signature);
		assert_int_equal(X509_verify(leaf, s.trusted.key), 1);
		X509_free(leaf);
		X509_free(original);
		mint_scene_end(&s);
	}
}

#define LONGEST (DAYS(MINT_DAYS_MAX) - 1)

static void test_times(void **state)
{
	static const struct {
		struct mint_times original, leaf;
	} cases[] = {
		/* As it is, whatever the time. */
		{ { NOW - DAYS(20), NOW + DAYS(70) }, { NOW - DAYS(20), NOW + DAYS(70) } },
		{ { NOW - DAYS(90), NOW - 1 }, { NOW - DAYS(90), NOW - 1 } },
		{ { NOW + 1, NOW + DAYS(90) }, { NOW + 1, NOW + DAYS(90) } },
		{ { NOW - LONGEST, NOW }, { NOW - LONGEST, NOW } },
		{ { NOW - 10, NOW - 20 }, { NOW - 10, NOW - 20 } },
		{ { NOW, NOW }, { NOW, NOW } },
		/* Capped, and still valid, expired, or not yet valid. */
		{ { NOW - DAYS(3650), NOW + DAYS(3650) }, { NOW - DAYS(30), NOW - DAYS(30) + LONGEST } },
		{ { NOW - DAYS(3650), NOW + DAYS(5) }, { NOW - DAYS(30), NOW + DAYS(5) } },
		{ { NOW - DAYS(5), NOW + DAYS(3650) }, { NOW - DAYS(5), NOW - DAYS(5) + LONGEST } },
		{ { NOW - LONGEST - 1, NOW }, { NOW - DAYS(30), NOW } },
		{ { NOW - DAYS(3650), NOW - 1 }, { NOW - 1 - LONGEST, NOW - 1 } },
		{ { NOW + 1, NOW + DAYS(3650) }, { NOW + 1, NOW + 1 + LONGEST } },
		/* The years 1 and 9999. */
		{ { -62135596800, 253402300799 }, { NOW - DAYS(30), NOW - DAYS(30) + LONGEST } },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct mint_times leaf = mint_times_capped(cases[i].original, NOW);

		assert_int_equal(leaf.not_before, cases[i].leaf.not_before);
		assert_int_equal(leaf.not_after, cases[i].leaf.not_after);
		assert_true(mint_times_fit(cases[i].original, leaf, NOW));
	}
}

/* Until when a leaf of earlier can be used. */
static void test_times_fit(void **state)
{
	const struct mint_times ninety = { NOW - DAYS(20), NOW + DAYS(70) }, ages = { NOW - DAYS(3650), NOW + DAYS(3650) };
	const struct mint_times capped = mint_times_capped(ages, NOW), end = { NOW - DAYS(3650), NOW + DAYS(10) };
	struct mint_times late = mint_times_capped(end, NOW), never;

	/* An uncapped one is as the original, before, within and behind. */
	assert_true(mint_times_fit(ninety, ninety, NOW + DAYS(70)));
	assert_true(mint_times_fit(ninety, ninety, NOW + DAYS(70) + 1));
	assert_true(mint_times_fit(ninety, ninety, NOW - DAYS(21)));
	/* A capped one is made anew in time, and when the clock went back. */
	assert_true(mint_times_fit(ages, capped, NOW + DAYS(338) - 1));
	assert_false(mint_times_fit(ages, capped, NOW + DAYS(338)));
	assert_true(mint_times_fit(ages, capped, NOW - DAYS(30)));
	assert_false(mint_times_fit(ages, capped, NOW - DAYS(30) - 1));
	/* But not when the original ends as soon; and it is expired after that, as the original. */
	assert_true(mint_times_fit(end, late, NOW + DAYS(10)));
	assert_true(mint_times_fit(end, late, NOW + DAYS(10) + 1));
	/* Never more than the original, never too long, never valid for one that isn't. */
	assert_false(mint_times_fit(ninety, (struct mint_times){ NOW - DAYS(21), NOW + DAYS(70) }, NOW));
	assert_false(mint_times_fit(ninety, (struct mint_times){ NOW - DAYS(20), NOW + DAYS(71) }, NOW));
	assert_false(mint_times_fit(ages, (struct mint_times){ NOW - DAYS(30), NOW + DAYS(369) }, NOW));
	never = (struct mint_times){ NOW - DAYS(10), NOW - 1 };
	assert_false(mint_times_fit(ninety, never, NOW));
}

static void test_expired_stays_expired(void **state)
{
	struct mint_scene s;
	struct recipe recipe;
	X509 *original, *leaf;
	const char *why;

	mint_scene_begin(&s, NULL, NULL);
	recipe = mint_scene_original(&s);
	recipe.not_before = NOW - DAYS(2000);
	recipe.not_after = NOW - 1;
	original = recipe_make(&recipe);
	leaf = mint_one(&s, original, &why);
	assert_non_null(leaf);
	assert_int_equal(ASN1_TIME_compare(X509_get0_notAfter(leaf), X509_get0_notAfter(original)), 0);
	assert_false(verifies(leaf, s.trusted.certificate, "site.example"));
	X509_free(leaf);
	X509_free(original);
	mint_scene_end(&s);
}

/* Originals of peers who try something. change(): after it was made, before it is signed again. */
static void two_names(X509 *x)
{
	recipe_add_raw(x, "subjectAltName", false, "\x30\x09\x82\x07" "b.ample", 11);
}

static void torn_names(X509 *x)
{
	X509_EXTENSION_free(X509_delete_ext(x, X509_get_ext_by_NID(x, NID_subject_alt_name, -1)));
	recipe_add_raw(x, "subjectAltName", false, "\x30\x09\x82\x07" "b.ampl", 10);
}

static void nul_name(X509 *x)
{
	X509_EXTENSION_free(X509_delete_ext(x, X509_get_ext_by_NID(x, NID_subject_alt_name, -1)));
	recipe_add_raw(x, "subjectAltName", false, "\x30\x09\x82\x07" "bank\0.x", 11);
}

static void high_name(X509 *x)
{
	X509_EXTENSION_free(X509_delete_ext(x, X509_get_ext_by_NID(x, NID_subject_alt_name, -1)));
	recipe_add_raw(x, "subjectAltName", false, "\x30\x05\x82\x03" "b\xfc" "r", 7);
}

static void short_address(X509 *x)
{
	X509_EXTENSION_free(X509_delete_ext(x, X509_get_ext_by_NID(x, NID_subject_alt_name, -1)));
	recipe_add_raw(x, "subjectAltName", false, "\x30\x05\x87\x03" "\x7f\x00\x01", 7);
}

static void torn_usage(X509 *x)
{
	X509_EXTENSION_free(X509_delete_ext(x, X509_get_ext_by_NID(x, NID_key_usage, -1)));
	recipe_add_raw(x, "keyUsage", true, "\x03\x02\x07", 3);
}

static void torn_purposes(X509 *x)
{
	X509_EXTENSION_free(X509_delete_ext(x, X509_get_ext_by_NID(x, NID_ext_key_usage, -1)));
	recipe_add_raw(x, "extendedKeyUsage", true, "\x04\x00", 2);
}

static void nul_subject(X509 *x)
{
	X509_NAME *name = X509_NAME_new();

	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", V_ASN1_UTF8STRING, (const unsigned char *)"bank.example\0.x", 15, -1, 0), 1);
	assert_int_equal(X509_set_subject_name(x, name), 1);
	X509_NAME_free(name);
}

static void many_names(X509 *x)
{
	GENERAL_NAMES *names = sk_GENERAL_NAME_new_null();

	X509_EXTENSION_free(X509_delete_ext(x, X509_get_ext_by_NID(x, NID_subject_alt_name, -1)));
	for (int i = 0; i < 3000; i++) {
		GENERAL_NAME *name = a2i_GENERAL_NAME(NULL, NULL, NULL, GEN_DNS, "name.of.a.large.site.example", 0);

		sk_GENERAL_NAME_push(names, name);
	}
	assert_int_equal(X509_add1_ext_i2d(x, NID_subject_alt_name, names, 0, X509V3_ADD_DEFAULT), 1);
	sk_GENERAL_NAME_pop_free(names, GENERAL_NAME_free);
}

static void no_time(X509 *x)
{
	ASN1_TIME *time = X509_getm_notAfter(x);

	assert_int_equal(ASN1_STRING_set(time, "991332000000Z", 13), 1);	/* the 13th month */
	time->type = V_ASN1_UTCTIME;
}

static void test_refused(void **state)
{
	static const struct {
		void (*change)(X509 *);
		const char *why;
	} cases[] = {
		{ two_names, "it has the same extension twice" },
		{ torn_names, "one of its extensions can't be parsed" },
		{ nul_name, "its subjectAltName has a name that is none" },
		{ high_name, "its subjectAltName has a name that is none" },
		{ short_address, "its subjectAltName has a name that is none" },
		{ torn_usage, "one of its extensions can't be parsed" },
		{ torn_purposes, "one of its extensions can't be parsed" },
		{ nul_subject, "its subject has a name that is none" },
		{ many_names, "it is too long" },
		{ no_time, "its validity can't be read" },
	};
	struct mint_scene s;
	struct recipe recipe;
	const char *why;

	mint_scene_begin(&s, NULL, NULL);
	recipe = mint_scene_original(&s);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		X509 *original = recipe_make(&recipe);

		cases[i].change(original);
		recipe_sign(original, &recipe);
		why = NULL;
		assert_null(mint_one(&s, original, &why));
		assert_string_equal(why, cases[i].why);
		X509_free(original);
	}
	mint_scene_end(&s);
}

/* Cut off anywhere, or with something behind it, it is none. */
static void test_octets(void **state)
{
	struct mint_scene s;
	struct mint_setup setup;
	struct recipe recipe;
	struct mint *mint;
	X509 *original;
	unsigned char *der = NULL, *longer;
	const char *why;
	int len;

	mint_scene_begin(&s, NULL, NULL);
	recipe = mint_scene_original(&s);
	original = recipe_make(&recipe);
	setup = mint_scene_setup(&s, NULL);
	mint = mint_scene_mint(&setup);
	len = i2d_X509(original, &der);
	for (int n = 0; n < len; n++) {
		assert_null(mint_certificate(mint, slice_of(der, (size_t)n), true, NOW, &why));
		assert_string_equal(why, "it can't be parsed");
	}
	longer = calloc(1, (size_t)len + 1);
	memcpy(longer, der, (size_t)len);
	assert_null(mint_certificate(mint, slice_of(longer, (size_t)len + 1), true, NOW, &why));
	assert_string_equal(why, "it can't be parsed");
	free(longer);
	OPENSSL_free(der);
	X509_free(original);
	mint_free(&mint);
	mint_scene_end(&s);
}

/* The same again is the same object; other CAs, other originals and other times are not. */
static void test_memory(void **state)
{
	struct mint_scene s;
	struct mint_setup setup;
	struct recipe recipe;
	struct mint *mint;
	X509 *original, *first, *again;
	const char *why;

	mint_scene_begin(&s, NULL, NULL);
	recipe = mint_scene_original(&s);
	recipe.not_after = NOW + DAYS(2000);
	original = recipe_make(&recipe);
	setup = mint_scene_setup(&s, NULL);
	setup.memory_max = 16;
	mint = mint_scene_mint(&setup);
	first = must_mint(mint, original, true);
	again = must_mint(mint, original, true);
	assert_ptr_equal(first, again);
	X509_free(again);
	again = must_mint(mint, original, false);
	assert_ptr_not_equal(first, again);
	X509_free(again);
	/* A year later it would end too soon. */
	again = mint_scene_try(mint, original, true, NOW + DAYS(360), &why);
	assert_non_null(again);
	assert_ptr_not_equal(first, again);
	X509_free(again);
	X509_free(first);

	/* More than there is room for: each is minted, and the last is still there. */
	for (int i = 0; i < 60; i++) {
		char name[32];
		X509 *other;

		snprintf(name, sizeof(name), "host%d.example", i);
		recipe.common_name = name;
		other = recipe_make(&recipe);
		first = must_mint(mint, other, true);
		again = must_mint(mint, other, true);
		assert_ptr_equal(first, again);
		X509_free(first);
		X509_free(again);
		X509_free(other);
	}
	X509_free(original);
	mint_free(&mint);
	mint_scene_end(&s);
}

/* What is sent behind the leaf: intermediate CAs, no roots. */
static void test_chain(void **state)
{
	struct mint_scene s;
	struct mint_setup setup;
	struct recipe recipe;
	struct mint *mint;
	X509 *root, *middle, *leaf;
	EVP_PKEY *root_key = recipe_key("P-256");
	const char *why;

	mint_scene_begin(&s, NULL, NULL);
	root = mint_scene_ca(root_key, "Root");
	recipe = (struct recipe){ .common_name = "Middle", .not_before = NOW - DAYS(10), .not_after = NOW + DAYS(10), .key = s.trusted.key,
				  .issuer = root, .issuer_key = root_key,
				  .extensions = { { "basicConstraints", "critical,CA:TRUE,pathlen:0" }, { "subjectKeyIdentifier", "hash" } } };
	middle = recipe_make(&recipe);
	setup = mint_scene_setup(&s, NULL);
	setup.trusted.certificate = middle;
	setup.trusted.chain = sk_X509_new_null();
	sk_X509_push(setup.trusted.chain, root);
	mint = mint_scene_mint(&setup);
	sk_X509_free(setup.trusted.chain);
	assert_int_equal(sk_X509_num(mint_chain(mint, true)), 1);
	assert_ptr_equal(sk_X509_value(mint_chain(mint, true), 0), middle);
	assert_int_equal(sk_X509_num(mint_chain(mint, false)), 0);

	recipe = mint_scene_original(&s);
	leaf = mint_scene_try(mint, root, true, NOW, &why);
	assert_non_null(leaf);
	assert_int_equal(X509_check_issued(middle, leaf), X509_V_OK);
	X509_free(leaf);
	mint_free(&mint);
	X509_free(middle);
	X509_free(root);
	EVP_PKEY_free(root_key);
	mint_scene_end(&s);
}

static void refuse(const struct mint_setup *setup, const char *expected)
{
	struct mint *mint = NULL;
	const char *why = NULL;

	assert_int_equal(mint_create(setup, &mint, &why), -EINVAL);
	assert_null(mint);
	assert_string_equal(why, expected);
}

/* Bridges that can't work are found out when they are made. */
static void test_setup(void **state)
{
	struct mint_scene s;
	struct mint_setup good, bad;
	struct recipe recipe;
	X509 *x;
	const char *name = "noSuchExtension";

	mint_scene_begin(&s, NULL, NULL);
	good = bad = mint_scene_setup(&s, NULL);
	recipe = mint_scene_original(&s);
	recipe.key = s.trusted.key;
	x = recipe_make(&recipe);
	bad.trusted.certificate = x;
	refuse(&bad, "the CA's certificate has no CA flag");
	X509_free(x);

	recipe.extensions[0][1] = "critical,CA:TRUE";
	recipe.key = s.untrusted.key;
	x = recipe_make(&recipe);
	bad = good;
	bad.untrusted.certificate = x;
	refuse(&bad, "the CA's certificate may not sign certificates (keyUsage)");
	X509_free(x);

	bad = good;
	bad.untrusted.key = s.leaf_key;
	refuse(&bad, "the CA's key does not belong to its certificate");
	bad = good;
	bad.extensions = &name;
	bad.n_extensions = 1;
	refuse(&bad, "an extension in the list has a name that nobody knows");
	mint_scene_end(&s);
}

/* The leaf's key signs nothing here: the public half is enough. */
static void test_public_leaf_key(void **state)
{
	static const char *const kinds[] = { "RSA-1024", "P-256" };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct mint_scene s;
		struct recipe recipe;
		unsigned char *der = NULL;
		const unsigned char *p;
		X509 *original, *leaf;
		EVP_PKEY *private;
		const char *why;
		int len;

		mint_scene_begin(&s, kinds[i], NULL);
		recipe = mint_scene_original(&s);
		original = recipe_make(&recipe);
		private = s.leaf_key;
		len = i2d_PUBKEY(private, &der);
		p = der;
		s.leaf_key = d2i_PUBKEY(NULL, &p, len);
		leaf = mint_one(&s, original, &why);
		assert_non_null(leaf);
		assert_int_equal(X509_check_private_key(leaf, private), 1);
		X509_free(leaf);
		X509_free(original);
		OPENSSL_free(der);
		EVP_PKEY_free(private);
		mint_scene_end(&s);
	}
}

/* Both keys in another process: what is minted is the same, and the handshake has a key that fits. */

static struct key_ring *ring;

static int ask_ring(void *arg, uint64_t key, const struct key_scheme *scheme, struct slice input, uint8_t *out)
{
	uint8_t packet[sizeof(struct key_request) + EVP_MAX_MD_SIZE], answer[KEY_REPLY_MAX];
	const struct key_request head = { .number = 1, .scheme = scheme->number, .key = key };
	struct key_reply reply;

	assert_true(input.len <= sizeof(packet) - sizeof(head));
	memcpy(packet, &head, sizeof(head));
	memcpy(packet + sizeof(head), input.ptr, input.len);
	key_ring_answer(ring, slice_of(packet, sizeof(head) + input.len), answer);
	memcpy(&reply, answer, sizeof(reply));
	if (reply.result > 0)
		memcpy(out, answer + sizeof(reply), (size_t)reply.result);
	return reply.result;
}

static EVP_PKEY *move_away(struct key_provider *provider, size_t index, EVP_PKEY *key)
{
	unsigned char *der = NULL;
	EVP_PKEY *remote = NULL;
	int len = i2d_PUBKEY(key, &der);

	assert_int_equal(key_ring_set(ring, index, key), 0);
	assert_int_equal(key_provider_key(provider, slice_of(der, (size_t)len), &remote), 0);
	OPENSSL_free(der);
	EVP_PKEY_free(key);
	return remote;
}

static void test_remote_keys(void **state)
{
	static const char *const kinds[] = { "RSA-2048", "P-256", "P-384" };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct mint_scene s;
		struct recipe recipe;
		struct key_provider *provider;
		X509 *original, *leaf;
		const char *why = "";

		ring = key_ring_create(2);
		key_ring_permit(ring, 0, KEY_FOR_TLS12 | KEY_FOR_TLS13);
		key_ring_permit(ring, 1, KEY_FOR_CERTIFICATES);
		assert_int_equal(key_provider_create(ask_ring, NULL, &provider), 0);
		mint_scene_begin(&s, kinds[i], kinds[i]);
		s.leaf_key = move_away(provider, 0, s.leaf_key);
		s.trusted.key = move_away(provider, 1, s.trusted.key);
		recipe = mint_scene_original(&s);
		original = recipe_make(&recipe);
		leaf = mint_one(&s, original, &why);
		if (leaf == NULL)
			fail_msg("%s: %s", kinds[i], why);
		assert_true(verifies(leaf, s.trusted.certificate, "site.example"));
		assert_int_equal(EVP_PKEY_eq(X509_get0_pubkey(leaf), s.leaf_key), 1);
		X509_free(leaf);
		/* The key process is gone. */
		key_ring_free(&ring);
		ring = key_ring_create(2);
		assert_null(mint_one(&s, original, &why));
		assert_string_equal(why, "the CA's key could not sign");
		X509_free(original);
		mint_scene_end(&s);
		key_provider_free(&provider);
		key_ring_free(&ring);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),		cmocka_unit_test(test_serials),
		cmocka_unit_test(test_key_usage),	cmocka_unit_test(test_no_extensions),
		cmocka_unit_test(test_never_a_ca),	cmocka_unit_test(test_list),
		cmocka_unit_test(test_digest),		cmocka_unit_test(test_times),
		cmocka_unit_test(test_times_fit),	cmocka_unit_test(test_expired_stays_expired),
		cmocka_unit_test(test_refused),		cmocka_unit_test(test_octets),
		cmocka_unit_test(test_memory),		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_setup),		cmocka_unit_test(test_public_leaf_key),
		cmocka_unit_test(test_remote_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
