/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever original a peer shows: it is refused, or what is signed for it is a sound leaf that says no more than the original. */
#include "fuzz.h"
#include "mint_scene.h"
#include "tls/mint_priv.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#define LISTS 2
#define LONGEST (DAYS(MINT_DAYS_MAX) - 1)

/* Also what no policy should have on its list. */
static const char *const wide[] = {
	"subjectAltName", "keyUsage", "extendedKeyUsage", "basicConstraints", "nsCertType", "nameConstraints", "certificatePolicies",
	"crlDistributionPoints", "authorityInfoAccess", "tlsfeature", "ct_precert_scts", "issuerAltName", "subjectKeyIdentifier",
	"authorityKeyIdentifier", "1.2.3.4",
};

static struct mint_scene scene;
static struct mint *mints[LISTS];

static void prepare(void)
{
	struct mint_setup setup;

	if (mints[0] != NULL)
		return;
	mint_scene_begin(&scene, NULL, NULL);
	setup = mint_scene_setup(&scene, NULL);
	setup.memory_max = 64;
	mints[0] = mint_scene_mint(&setup);
	setup.extensions = wide;
	setup.n_extensions = ARRAY_LEN(wide);
	mints[1] = mint_scene_mint(&setup);
}

static int phase(struct mint_times t)
{
	return NOW > t.not_after ? 1 : NOW < t.not_before ? -1 : 0;
}

static void check_names(X509 *original, X509 *leaf)
{
	unsigned char *was = NULL, *is = NULL;
	GENERAL_NAMES *had = X509_get_ext_d2i(original, NID_subject_alt_name, NULL, NULL);
	GENERAL_NAMES *has = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);

	FUZZ_CHECK((had == NULL) == (has == NULL));
	if (had != NULL) {
		int was_len = i2d_GENERAL_NAMES(had, &was), is_len = i2d_GENERAL_NAMES(has, &is);

		FUZZ_CHECK(was_len == is_len && memcmp(was, is, (size_t)is_len) == 0);
		for (int i = 0; i < sk_GENERAL_NAME_num(has); i++) {
			GENERAL_NAME *name = sk_GENERAL_NAME_value(has, i);

			if (name->type == GEN_DNS)
				FUZZ_CHECK(memchr(ASN1_STRING_get0_data(name->d.dNSName), 0, (size_t)ASN1_STRING_length(name->d.dNSName)) == NULL);
		}
	}
	OPENSSL_free(was);
	OPENSSL_free(is);
	GENERAL_NAMES_free(had);
	GENERAL_NAMES_free(has);
}

static void check_leaf(X509 *original, X509 *leaf)
{
	struct mint_times was, is;

	FUZZ_CHECK(X509_get_version(leaf) == X509_VERSION_3);
	FUZZ_CHECK(X509_verify(leaf, scene.trusted.key) == 1);
	FUZZ_CHECK(EVP_PKEY_eq(X509_get0_pubkey(leaf), scene.leaf_key) == 1);
	FUZZ_CHECK(X509_check_ca(leaf) == 0);
	FUZZ_CHECK((X509_get_extension_flags(leaf) & EXFLAG_CA) == 0);
	FUZZ_CHECK(!(X509_get_extension_flags(leaf) & EXFLAG_KUSAGE) || !(X509_get_key_usage(leaf) & (KU_KEY_CERT_SIGN | KU_CRL_SIGN)));
	FUZZ_CHECK(X509_NAME_cmp(X509_get_subject_name(leaf), X509_get_subject_name(original)) == 0);
	FUZZ_CHECK(mint_times_of(original, &was) == 0 && mint_times_of(leaf, &is) == 0);
	FUZZ_CHECK(is.not_after - is.not_before <= LONGEST);
	FUZZ_CHECK(is.not_before >= was.not_before && is.not_after <= was.not_after && phase(is) == phase(was));
	check_names(original, leaf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	prepare();
	for (int i = 0; i < LISTS; i++) {
		const unsigned char *p = data;
		const char *why = NULL;
		X509 *leaf = mint_certificate(mints[i], slice_of(data, size), true, NOW, &why), *original, *again;

		FUZZ_CHECK(ERR_peek_error() == 0);
		if (leaf == NULL) {
			FUZZ_CHECK(why != NULL);
			continue;
		}
		original = d2i_X509(NULL, &p, (long)size);
		FUZZ_CHECK(original != NULL);
		check_leaf(original, leaf);
		again = mint_certificate(mints[i], slice_of(data, size), true, NOW, &why);
		FUZZ_CHECK(again == leaf || i2d_X509(leaf, NULL) > 8192);
		X509_free(again);
		X509_free(leaf);
		X509_free(original);
		ERR_clear_error();
	}
	return 0;
}
