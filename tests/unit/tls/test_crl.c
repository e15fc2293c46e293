/* SPDX-License-Identifier: Apache-2.0 */
/* CRLs prepared beforehand lead to the same verdicts as OpenSSL's own, which the same lists are read by first. */
#include "tls_test.h"

#include "tls/crl.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

enum { ROOT_SERIAL = 1, SUB_SERIAL = 2, LEAF_SERIAL = 300 };

struct entry_spec {
	long serial;			/* 0: none */
	int reason;			/* as a CRLReason; -1: none */
	const char *issuer;		/* certificateIssuer; NULL: none */
};

struct spec {
	const char *what;
	const char *key;		/* of the issuers; "PSS": RSA, and lists are signed that way */
	bool of_root;			/* the list under test is the root's, else that of the CA between */
	unsigned others;		/* entries of other certificates, in no order */
	struct entry_spec entry;
	long next;			/* seconds from now; 0: a day */
	bool wrong_key, late_start, cut;
	int nid;			/* of an extension */
	const char *extension;
	int result;			/* X509_V_* */
};

static const struct spec specs[] = {
	{ "nobody", "EC", .result = X509_V_OK },
	{ "nobody", "RSA", .result = X509_V_OK },
	{ "nobody", "PSS", .result = X509_V_OK },
	{ "nobody", "ED25519", .result = X509_V_OK },
	{ "others", "EC", .others = 1000, .result = X509_V_OK },
	{ "others of the root's", "RSA", .of_root = true, .others = 1000, .result = X509_V_OK },
	{ "alone", "EC", .entry = { LEAF_SERIAL, -1, NULL }, .result = X509_V_ERR_CERT_REVOKED },
	{ "first", "EC", .others = 299, .entry = { LEAF_SERIAL, -1, NULL }, .result = X509_V_ERR_CERT_REVOKED },
	{ "among many", "EC", .others = 1000, .entry = { LEAF_SERIAL, CRL_REASON_KEY_COMPROMISE, NULL }, .result = X509_V_ERR_CERT_REVOKED },
	{ "among many", "RSA", .others = 1001, .entry = { LEAF_SERIAL, -1, NULL }, .result = X509_V_ERR_CERT_REVOKED },
	{ "among many", "PSS", .others = 1002, .entry = { LEAF_SERIAL, -1, NULL }, .result = X509_V_ERR_CERT_REVOKED },
	{ "among many", "ED25519", .others = 1003, .entry = { LEAF_SERIAL, -1, NULL }, .result = X509_V_ERR_CERT_REVOKED },
	{ "the CA between", "EC", .of_root = true, .others = 500, .entry = { SUB_SERIAL, -1, NULL }, .result = X509_V_ERR_CERT_REVOKED },
	{ "the CA between", "RSA", .of_root = true, .entry = { SUB_SERIAL, -1, NULL }, .result = X509_V_ERR_CERT_REVOKED },
	{ "serial of another CA's", "EC", .of_root = true, .entry = { LEAF_SERIAL, -1, NULL }, .result = X509_V_OK },
	{ "taken off again", "EC", .entry = { LEAF_SERIAL, CRL_REASON_REMOVE_FROM_CRL, NULL }, .result = X509_V_OK },
	{ "on hold", "EC", .entry = { LEAF_SERIAL, CRL_REASON_CERTIFICATE_HOLD, NULL }, .result = X509_V_ERR_CERT_REVOKED },
	{ "entry of its own issuer", "EC", .entry = { LEAF_SERIAL, -1, "sub" }, .result = X509_V_ERR_CERT_REVOKED },
	{ "too old", "EC", .next = -60, .result = X509_V_ERR_CRL_HAS_EXPIRED },
	{ "too old", "RSA", .of_root = true, .next = -60, .result = X509_V_ERR_CRL_HAS_EXPIRED },
	{ "too early", "EC", .late_start = true, .result = X509_V_ERR_CRL_NOT_YET_VALID },
	{ "another key", "EC", .wrong_key = true, .result = X509_V_ERR_CRL_SIGNATURE_FAILURE },
	{ "another key", "RSA", .wrong_key = true, .result = X509_V_ERR_CRL_SIGNATURE_FAILURE },
	{ "another key", "PSS", .wrong_key = true, .result = X509_V_ERR_CRL_SIGNATURE_FAILURE },
	{ "another key", "ED25519", .of_root = true, .wrong_key = true, .result = X509_V_ERR_CRL_SIGNATURE_FAILURE },
	{ "changed", "EC", .others = 3, .cut = true, .result = X509_V_ERR_CRL_SIGNATURE_FAILURE },
	{ "changed", "RSA", .others = 3, .cut = true, .result = X509_V_ERR_CRL_SIGNATURE_FAILURE },
	{ "indirect", "EC", .nid = NID_issuing_distribution_point, .extension = "critical,indirectCRL:TRUE", .result = X509_V_ERR_UNABLE_TO_GET_CRL },
	{ "of some reasons", "EC", .nid = NID_issuing_distribution_point, .extension = "critical,onlysomereasons:keyCompromise",
	  .result = X509_V_ERR_UNABLE_TO_GET_CRL },
	{ "of CAs alone", "EC", .nid = NID_issuing_distribution_point, .extension = "critical,onlyCA:TRUE", .result = X509_V_ERR_DIFFERENT_CRL_SCOPE },
	{ "of users alone", "EC", .nid = NID_issuing_distribution_point, .extension = "critical,onlyuser:TRUE", .result = X509_V_OK },
	/* Which is why those never come so far (trust.c). */
	{ "delta", "EC", .nid = NID_delta_crl, .extension = "critical,DER:02:01:01", .result = X509_V_OK },
	{ "unknown, critical", "EC", .nid = NID_netscape_comment, .extension = "critical,what", .result = X509_V_ERR_UNHANDLED_CRITICAL_CRL_EXTENSION },
	{ "unknown", "EC", .nid = NID_netscape_comment, .extension = "what", .result = X509_V_OK },
};

/* ---- making ---- */

struct scene {
	EVP_PKEY *root_key, *sub_key, *leaf_key, *other_key;
	X509 *root, *sub, *leaf;
	char *pem[2];			/* the lists under test and the other CA's */
	long octets[2];
	int result[2];			/* by OpenSSL alone, and by ours */
};

static struct scene scenes[ARRAY_LEN(specs)];

enum role { ROOT, SUB, OTHER, LEAF, ROLES };

/* Made once for each kind: those of RSA take their time. */
static struct {
	const char *kind;
	EVP_PKEY *keys[ROLES];
} kept[] = { { "EC", { NULL } }, { "RSA", { NULL } }, { "ED25519", { NULL } } };

static EVP_PKEY *key_of(const char *kind, enum role role)
{
	for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
		if (strcmp(kept[i].kind, strcmp(kind, "PSS") == 0 ? "RSA" : kind) != 0)
			continue;
		if (kept[i].keys[role] == NULL)
			kept[i].keys[role] = make_key(kept[i].kind);
		return kept[i].keys[role];
	}
	fail();
	return NULL;
}

static void add_entry(X509_CRL *crl, const struct entry_spec *e, const ASN1_TIME *when)
{
	X509_REVOKED *r = X509_REVOKED_new();
	ASN1_INTEGER *serial = ASN1_INTEGER_new();

	ASN1_INTEGER_set(serial, e->serial);
	X509_REVOKED_set_serialNumber(r, serial);
	X509_REVOKED_set_revocationDate(r, (ASN1_TIME *)when);
	ASN1_INTEGER_free(serial);
	if (e->reason >= 0) {
		ASN1_ENUMERATED *reason = ASN1_ENUMERATED_new();

		ASN1_ENUMERATED_set(reason, e->reason);
		assert_int_equal(X509_REVOKED_add1_ext_i2d(r, NID_crl_reason, reason, 0, 0), 1);
		ASN1_ENUMERATED_free(reason);
	}
	if (e->issuer != NULL) {
		GENERAL_NAMES *names = GENERAL_NAMES_new();
		GENERAL_NAME *name = GENERAL_NAME_new();

		name->type = GEN_DIRNAME;
		name->d.directoryName = X509_NAME_new();
		X509_NAME_add_entry_by_txt(name->d.directoryName, "CN", MBSTRING_ASC, (const uint8_t *)e->issuer, -1, -1, 0);
		sk_GENERAL_NAME_push(names, name);
		assert_int_equal(X509_REVOKED_add1_ext_i2d(r, NID_certificate_issuer, names, 1, 0), 1);
		GENERAL_NAMES_free(names);
	}
	X509_CRL_add0_revoked(crl, r);
}

static void sign(X509_CRL *crl, EVP_PKEY *key, const char *kind)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;

	assert_int_equal(EVP_DigestSignInit(ctx, &pctx, strcmp(kind, "ED25519") == 0 ? NULL : EVP_sha256(), NULL, key), 1);
	if (strcmp(kind, "PSS") == 0)
		assert_int_equal(EVP_PKEY_CTX_set_rsa_padding(pctx, RSA_PKCS1_PSS_PADDING), 1);
	assert_true(X509_CRL_sign_ctx(crl, ctx) > 0);
	EVP_MD_CTX_free(ctx);
}

static void extend(X509_CRL *crl, const struct spec *s)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, NULL, NULL, NULL, crl, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, s->nid, s->extension);
	assert_non_null(e);
	assert_int_equal(X509_CRL_add_ext(crl, e, -1), 1);
	X509_EXTENSION_free(e);
}

static X509_CRL *make(const struct spec *s, X509 *issuer, EVP_PKEY *key)
{
	ASN1_TIME *now = X509_gmtime_adj(NULL, s->late_start ? 3600 : -3600), *next = X509_gmtime_adj(NULL, s->next != 0 ? s->next : DAY);
	X509_CRL *crl = X509_CRL_new();

	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(issuer));
	X509_CRL_set1_lastUpdate(crl, now);
	X509_CRL_set1_nextUpdate(crl, next);
	for (unsigned i = 0; i < s->others; i++) {
		long serial = (long)((i * 7919u + 13u) % 100003u) + 1000;

		add_entry(crl, &(struct entry_spec){ i % 2 == 0 ? serial : -serial, -1, NULL }, now);
		if (i == s->others / 2 && s->entry.serial != 0)
			add_entry(crl, &s->entry, now);
	}
	if (s->others == 0 && s->entry.serial != 0)
		add_entry(crl, &s->entry, now);
	if (s->nid != 0)
		extend(crl, s);
	sign(crl, key, s->key);
	ASN1_TIME_free(now);
	ASN1_TIME_free(next);
	return crl;
}

/* Another serial number than was signed, in the octets. */
static void change(uint8_t *der, size_t n)
{
	for (size_t i = 0; i + 4 < n; i++)
		if (der[i] == V_ASN1_INTEGER && der[i + 1] == 2 && der[i + 2] >= 3 && der[i + 2] < 0x7f) {
			der[i + 3] ^= 1;
			return;
		}
	fail();
}

static void put(struct scene *c, int i, X509_CRL *crl, bool cut)
{
	BIO *bio = BIO_new(BIO_s_mem());
	uint8_t *der = NULL;
	int n = i2d_X509_CRL(crl, &der);
	char *text;

	assert_true(n > 0);
	if (cut)
		change(der, (size_t)n);
	assert_true(PEM_write_bio(bio, PEM_STRING_X509_CRL, "", der, n) > 0);
	c->octets[i] = BIO_get_mem_data(bio, &text);
	c->pem[i] = malloc((size_t)c->octets[i]);
	memcpy(c->pem[i], text, (size_t)c->octets[i]);
	OPENSSL_free(der);
	BIO_free(bio);
	X509_CRL_free(crl);
}

static void prepare_scene(struct scene *c, const struct spec *s)
{
	const struct spec plain = { .key = s->key };
	struct cert_spec spec = { .cn = "root", .is_ca = true, .serial = ROOT_SERIAL };

	c->root_key = key_of(s->key, ROOT);
	c->sub_key = key_of(s->key, SUB);
	c->other_key = key_of(s->key, OTHER);
	c->leaf_key = key_of("EC", LEAF);
	c->root = make_cert(&spec, c->root_key);
	spec = (struct cert_spec){ .cn = "sub", .is_ca = true, .serial = SUB_SERIAL, .issuer = c->root, .issuer_key = c->root_key };
	c->sub = make_cert(&spec, c->sub_key);
	spec = (struct cert_spec){ .cn = "leaf", .serial = LEAF_SERIAL, .issuer = c->sub, .issuer_key = c->sub_key };
	c->leaf = make_cert(&spec, c->leaf_key);
	put(c, 0, make(s, s->of_root ? c->root : c->sub, s->wrong_key ? c->other_key : s->of_root ? c->root_key : c->sub_key), s->cut);
	put(c, 1, make(&plain, s->of_root ? c->sub : c->root, s->of_root ? c->sub_key : c->root_key), false);
}

static void clear_scene(struct scene *c)
{
	X509_free(c->root);
	X509_free(c->sub);
	X509_free(c->leaf);
	free(c->pem[0]);
	free(c->pem[1]);
}

/* ---- judging ---- */

static X509_CRL *read_crl(const struct scene *c, int i, bool ours)
{
	BIO *bio = BIO_new_mem_buf(c->pem[i], (int)c->octets[i]);
	X509_CRL *crl = NULL, *more;

	if (ours)
		assert_int_equal(tls_crl_read(bio, &crl), 1);
	else
		crl = PEM_read_bio_X509_CRL(bio, NULL, NULL, NULL);
	assert_non_null(crl);
	if (ours)
		assert_int_equal(tls_crl_read(bio, &more), 0);
	BIO_free(bio);
	ERR_clear_error();
	return crl;
}

static int judge(const struct scene *c, bool ours)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	STACK_OF(X509) *chain = sk_X509_new_null();
	int results[2];

	X509_STORE_add_cert(store, c->root);
	for (int i = 0; i < 2; i++) {
		X509_CRL *crl = read_crl(c, i, ours);

		X509_STORE_add_crl(store, crl);
		X509_CRL_free(crl);
	}
	sk_X509_push(chain, c->sub);
	for (int i = 0; i < 2; i++) {		/* twice: as the first handshake, so the next */
		X509_STORE_CTX_init(ctx, store, c->leaf, chain);
		X509_VERIFY_PARAM_set_flags(X509_STORE_CTX_get0_param(ctx), X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
		results[i] = X509_verify_cert(ctx) == 1 ? X509_V_OK : X509_STORE_CTX_get_error(ctx);
		X509_STORE_CTX_cleanup(ctx);
	}
	assert_int_equal(results[0], results[1]);
	sk_X509_free(chain);
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	ERR_clear_error();
	return results[0];
}

/* All by OpenSSL, before the first is read by us. */
static int prepare(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
		prepare_scene(&scenes[i], &specs[i]);
		scenes[i].result[0] = judge(&scenes[i], false);
	}
	return 0;
}

static int finish(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(specs); i++)
		clear_scene(&scenes[i]);
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		for (int role = ROOT; role < ROLES; role++)
			EVP_PKEY_free(kept[i].keys[role]);
	return 0;
}

static void verdicts(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
		scenes[i].result[1] = judge(&scenes[i], true);
		if (scenes[i].result[0] != specs[i].result || scenes[i].result[1] != specs[i].result)
			print_message("# %zu %s, %s: OpenSSL says %s, we say %s\n", i, specs[i].what, specs[i].key,
				      X509_verify_cert_error_string(scenes[i].result[0]),
				      X509_verify_cert_error_string(scenes[i].result[1]));
		assert_int_equal(scenes[i].result[0], specs[i].result);
		assert_int_equal(scenes[i].result[1], specs[i].result);
	}
}

/* Entries in order, so that no handshake sorts them; and no key is believed that did not sign. */
static void prepared(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(specs); i++) {
		struct scene *c = &scenes[i];
		X509_CRL *crl = read_crl(c, 0, true);
		EVP_PKEY *keys[] = { c->root_key, c->sub_key, c->other_key, c->leaf_key };
		const EVP_PKEY *signer = specs[i].cut ? NULL : specs[i].wrong_key ? c->other_key : specs[i].of_root ? c->root_key : c->sub_key;

		if (X509_CRL_get_REVOKED(crl) != NULL)
			assert_true(sk_X509_REVOKED_is_sorted(X509_CRL_get_REVOKED(crl)));
		for (size_t k = 0; k < ARRAY_LEN(keys); k++)
			assert_int_equal(X509_CRL_verify(crl, keys[k]), keys[k] == signer);
		X509_CRL_free(crl);
	}
}

/* Every entry is found, and none that is not there. */
static void found(void **state)
{
	static const struct spec spec = { .key = "EC", .others = 777 };
	struct scene c = { .root_key = NULL };
	X509_REVOKED *found_entry;
	ASN1_INTEGER *serial = ASN1_INTEGER_new();
	X509_CRL *crl;

	prepare_scene(&c, &spec);
	crl = read_crl(&c, 0, true);
	for (unsigned i = 0; i < spec.others; i++) {
		long number = (long)((i * 7919u + 13u) % 100003u) + 1000;

		ASN1_INTEGER_set(serial, i % 2 == 0 ? number : -number);
		assert_int_equal(X509_CRL_get0_by_serial(crl, &found_entry, serial), 1);
		assert_int_equal(ASN1_INTEGER_cmp(X509_REVOKED_get0_serialNumber(found_entry), serial), 0);
		ASN1_INTEGER_set(serial, i % 2 == 0 ? -number : number);
		assert_int_equal(X509_CRL_get0_by_serial(crl, &found_entry, serial), 0);
	}
	ASN1_INTEGER_free(serial);
	X509_CRL_free(crl);
	clear_scene(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(verdicts), cmocka_unit_test(prepared), cmocka_unit_test(found) };

	return cmocka_run_group_tests(tests, prepare, finish);
}
