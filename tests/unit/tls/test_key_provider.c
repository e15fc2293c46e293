/* SPDX-License-Identifier: Apache-2.0 */
/* Keys whose private half is in a ring of another process (here: beside), and what the ring refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "tls/key_provider.h"
#include "tls/key_ring.h"

#include <cmocka.h>
#include <errno.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

static struct key_ring *ring;
static struct key_provider *provider;
static unsigned asked;

#define EVERYTHING (KEY_FOR_OLD_TLS | KEY_FOR_TLS12 | KEY_FOR_TLS13 | KEY_FOR_CERTIFICATES)

/* As the keeper would: through a packet. */
static int ask_ring(void *arg, uint64_t key, const struct key_scheme *scheme, struct slice input, uint8_t *out)
{
	uint8_t packet[sizeof(struct key_request) + 1024], answer[KEY_REPLY_MAX];
	const struct key_request head = { .number = ++asked, .scheme = scheme->number, .key = key };
	struct key_reply reply;
	size_t n;

	assert_true(input.len <= 1024);
	memcpy(packet, &head, sizeof(head));
	memcpy(packet + sizeof(head), input.ptr, input.len);
	n = key_ring_answer(ring, slice_of(packet, sizeof(head) + input.len), answer);
	assert_true(n >= sizeof(reply));
	memcpy(&reply, answer, sizeof(reply));
	assert_int_equal(reply.number, asked);
	assert_int_equal(n, sizeof(reply) + (reply.result > 0 ? (size_t)reply.result : 0));
	if (reply.result > 0)
		memcpy(out, answer + sizeof(reply), (size_t)reply.result);
	/* What others left in the queue while we waited. */
	ERR_raise(ERR_LIB_USER, 1);
	return reply.result;
}

static int setup(void **state)
{
	ring = key_ring_create(2);
	assert_non_null(ring);
	for (size_t i = 0; i < 2; i++)
		key_ring_permit(ring, i, EVERYTHING);
	assert_int_equal(key_provider_create(ask_ring, NULL, &provider), 0);
	return 0;
}

static int teardown(void **state)
{
	key_provider_free(&provider);
	key_ring_free(&ring);
	return 0;
}

enum kind { RSA_KEY, RSA_LARGE, P256, P384, P521, X25519_ED, X448_ED };

static EVP_PKEY *generate(enum kind kind)
{
	EVP_PKEY *key = kind == RSA_KEY ? EVP_RSA_gen(2048) : kind == RSA_LARGE ? EVP_RSA_gen(3072) :
			kind == P256 ? EVP_EC_gen("P-256") : kind == P384 ? EVP_EC_gen("P-384") :
			kind == P521 ? EVP_EC_gen("P-521") :
			EVP_PKEY_Q_keygen(NULL, NULL, kind == X25519_ED ? "ED25519" : "ED448");

	assert_non_null(key);
	return key;
}

static EVP_PKEY *remote_of(EVP_PKEY *key)
{
	unsigned char *der = NULL;
	EVP_PKEY *remote = NULL;
	int n = i2d_PUBKEY(key, &der);

	assert_true(n > 0);
	assert_int_equal(key_provider_key(provider, slice_of(der, (size_t)n), &remote), 0);
	OPENSSL_free(der);
	return remote;
}

static const struct signing {
	enum kind kind;
	const char *digest;
	int padding;
} signings[] = {
	{ RSA_KEY, "SHA256", RSA_PKCS1_PADDING }, { RSA_KEY, "SHA384", RSA_PKCS1_PADDING },
	{ RSA_KEY, "SHA512", RSA_PKCS1_PADDING },
	{ RSA_KEY, "SHA1", RSA_PKCS1_PADDING }, { RSA_KEY, "MD5-SHA1", RSA_PKCS1_PADDING },
	{ RSA_KEY, "SHA2-256", RSA_PKCS1_PSS_PADDING }, { RSA_KEY, "SHA384", RSA_PKCS1_PSS_PADDING },
	{ RSA_KEY, "SHA512", RSA_PKCS1_PSS_PADDING }, { RSA_LARGE, "SHA256", RSA_PKCS1_PSS_PADDING },
	{ P256, "SHA256", 0 }, { P256, "SHA1", 0 }, { P384, "SHA384", 0 }, { P521, "SHA512", 0 },
	{ X25519_ED, NULL, 0 }, { X448_ED, NULL, 0 },
};

static bool set_padding(EVP_PKEY_CTX *ctx, int padding)
{
	return padding == 0 || (EVP_PKEY_CTX_set_rsa_padding(ctx, padding) == 1 &&
				(padding != RSA_PKCS1_PSS_PADDING ||
				 EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) == 1));
}

static bool sign(EVP_PKEY *key, const struct signing *how, const char *text, uint8_t *out, size_t *len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;
	bool fine = EVP_DigestSignInit_ex(ctx, &pctx, how->digest, NULL, NULL, key, NULL) == 1 &&
		    set_padding(pctx, how->padding) &&
		    EVP_DigestSign(ctx, NULL, len, (const void *)text, strlen(text)) == 1 &&
		    EVP_DigestSign(ctx, out, len, (const void *)text, strlen(text)) == 1;

	EVP_MD_CTX_free(ctx);
	return fine;
}

static bool verify(EVP_PKEY *key, const struct signing *how, const char *text, const uint8_t *signature, size_t len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pctx;
	bool fine = EVP_DigestVerifyInit_ex(ctx, &pctx, how->digest, NULL, NULL, key, NULL) == 1 &&
		    set_padding(pctx, how->padding) &&
		    EVP_DigestVerify(ctx, signature, len, (const void *)text, strlen(text)) == 1;

	EVP_MD_CTX_free(ctx);
	return fine;
}

static void every_way_of_signing(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(signings); i++) {
		EVP_PKEY *key = generate(signings[i].kind), *remote;
		uint8_t signature[KEY_SIGNATURE_MAX];
		size_t len = sizeof(signature);
		unsigned before = asked;

		assert_int_equal(key_ring_set(ring, 0, key), 0);
		remote = remote_of(key);
		assert_int_equal(EVP_PKEY_eq(key, remote), 1);
		assert_int_equal(EVP_PKEY_eq(remote, key), 1);
		assert_int_equal(EVP_PKEY_get_bits(remote), EVP_PKEY_get_bits(key));
		if (!sign(remote, &signings[i], "text", signature, &len))
			fail_msg("signing %zu", i);
		assert_int_equal(asked, before + 1);	/* once: the size is known without */
		assert_int_equal(ERR_peek_error(), 0);
		assert_true(verify(key, &signings[i], "text", signature, len));
		assert_false(verify(key, &signings[i], "texT", signature, len));
		EVP_PKEY_free(remote);
		EVP_PKEY_free(key);
	}
}

static void what_tls_does_not_sign(void **state)
{
	static const struct signing others[] = {
		{ RSA_KEY, "SHA1", RSA_PKCS1_PSS_PADDING }, { RSA_KEY, "MD5", RSA_PKCS1_PADDING },
		{ RSA_KEY, "SHA3-256", RSA_PKCS1_PADDING }, { RSA_KEY, "SHA256", RSA_X931_PADDING },
		{ P256, "SHA3-256", 0 }, { P256, "MD5", 0 },
		{ RSA_KEY, "SHA224", RSA_PKCS1_PADDING }, { P256, "SHA224", 0 },
	};

	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		EVP_PKEY *key = generate(others[i].kind), *remote;
		uint8_t signature[KEY_SIGNATURE_MAX];
		size_t len = sizeof(signature);
		unsigned before = asked;

		assert_int_equal(key_ring_set(ring, 0, key), 0);
		remote = remote_of(key);
		assert_false(sign(remote, &others[i], "text", signature, &len));
		assert_int_equal(asked, before);
		EVP_PKEY_free(remote);
		EVP_PKEY_free(key);
	}
	ERR_clear_error();
}

static void the_private_half_is_not_to_be_had(void **state)
{
	static const enum kind kinds[] = { RSA_KEY, P256, X25519_ED };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		EVP_PKEY *key = generate(kinds[i]), *remote, *other = generate(kinds[i]);
		unsigned char *der = NULL;
		OSSL_PARAM *params = NULL;
		uint8_t out[1024];
		size_t n = sizeof(out);
		EVP_PKEY_CTX *ctx;

		remote = remote_of(key);
		assert_true(i2d_PrivateKey(remote, &der) <= 0);
		assert_int_not_equal(EVP_PKEY_todata(remote, EVP_PKEY_KEYPAIR, &params), 1);
		ctx = EVP_PKEY_CTX_new_from_pkey(NULL, remote, NULL);
		assert_true(ctx == NULL || EVP_PKEY_decrypt_init(ctx) != 1 ||
			    EVP_PKEY_decrypt(ctx, out, &n, (const uint8_t *)"x", 1) != 1);
		EVP_PKEY_CTX_free(ctx);
		assert_int_not_equal(EVP_PKEY_eq(other, remote), 1);
		assert_int_not_equal(EVP_PKEY_eq(remote, other), 1);
		EVP_PKEY_free(remote);
		EVP_PKEY_free(key);
		EVP_PKEY_free(other);
	}
	ERR_clear_error();
}

static void no_keys(void **state)
{
	static const uint8_t nonsense[] = { 0x30, 0x03, 0x02, 0x01, 0x00 };
	EVP_PKEY *agreement = EVP_PKEY_Q_keygen(NULL, NULL, "X25519"), *out = NULL;
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(agreement, &der);

	assert_int_equal(key_provider_key(provider, slice_of(nonsense, sizeof(nonsense)), &out), -EINVAL);
	assert_int_equal(key_provider_key(provider, slice_of(NULL, 0), &out), -EINVAL);
	assert_int_equal(key_provider_key(provider, slice_of(der, (size_t)n), &out), -EINVAL);
	assert_int_equal(key_ring_set(ring, 0, agreement), -EINVAL);
	assert_null(out);
	OPENSSL_free(der);
	EVP_PKEY_free(agreement);
	ERR_clear_error();
}

/* Certificates, and handshakes of each version with each kind of key. */

static X509 *certificate_of(EVP_PKEY *subject, EVP_PKEY *signer, const EVP_MD *md)
{
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);

	assert_int_equal(X509_set_version(x, X509_VERSION_3), 1);
	assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(x), 7), 1);
	assert_non_null(X509_gmtime_adj(X509_getm_notBefore(x), -60));
	assert_non_null(X509_gmtime_adj(X509_getm_notAfter(x), 3600));
	assert_int_equal(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const uint8_t *)"a", -1, -1, 0), 1);
	assert_int_equal(X509_set_issuer_name(x, name), 1);
	assert_int_equal(X509_set_pubkey(x, subject), 1);
	assert_true(X509_sign(x, signer, md) > 0);
	return x;
}

static void certificates_are_signed(void **state)
{
	static const struct { enum kind kind; const char *md; } cases[] = {
		{ RSA_KEY, "SHA256" }, { RSA_KEY, "SHA512" }, { P256, "SHA256" }, { P384, "SHA384" }, { X25519_ED, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		EVP_PKEY *key = generate(cases[i].kind), *remote;
		const EVP_MD *md = cases[i].md != NULL ? EVP_get_digestbyname(cases[i].md) : NULL;
		X509 *x, *again;
		unsigned char *der = NULL;
		const unsigned char *at;
		int n;

		assert_int_equal(key_ring_set(ring, 0, key), 0);
		remote = remote_of(key);
		x = certificate_of(key, remote, md);
		n = i2d_X509(x, &der);
		at = der;
		again = d2i_X509(NULL, &at, n);
		assert_non_null(again);
		assert_int_equal(X509_verify(again, key), 1);
		X509_free(x);
		X509_free(again);
		OPENSSL_free(der);
		EVP_PKEY_free(remote);
		EVP_PKEY_free(key);
	}
}

struct shown {
	X509 *certificate;
	EVP_PKEY *key;
};

static int show(SSL *ssl, void *arg)
{
	const struct shown *shown = arg;

	return SSL_use_cert_and_key(ssl, shown->certificate, shown->key, NULL, 1);
}

static SSL *end_of(const SSL_METHOD *method, int version, struct shown *shown, bool server)
{
	SSL_CTX *ctx = SSL_CTX_new(method);
	SSL *ssl;

	SSL_CTX_set_security_level(ctx, 0);
	assert_int_equal(SSL_CTX_set_min_proto_version(ctx, version), 1);
	assert_int_equal(SSL_CTX_set_max_proto_version(ctx, version), 1);
	assert_int_equal(SSL_CTX_set_cipher_list(ctx, "ALL:!aNULL:!kRSA:@SECLEVEL=0"), 1);
	SSL_CTX_set_cert_cb(ctx, show, shown);
	ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	if (server) {
		SSL_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
		assert_int_equal(X509_STORE_add_cert(SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl)), shown->certificate), 1);
		SSL_set_accept_state(ssl);
	} else {
		SSL_set_connect_state(ssl);
	}
	return ssl;
}

static bool shake_hands(SSL *client, SSL *server)
{
	BIO *one, *other;
	int c = 0, s = 0;

	assert_int_equal(BIO_new_bio_pair(&one, 0, &other, 0), 1);
	SSL_set_bio(client, one, one);
	SSL_set_bio(server, other, other);
	for (int i = 0; i < 20 && (c != 1 || s != 1); i++) {
		c = SSL_do_handshake(client);
		s = SSL_do_handshake(server);
	}
	return c == 1 && s == 1;
}

/* Client and server both show the key, so that both kinds of proof are signed. */
static void handshakes(void **state)
{
	static const enum kind kinds[] = { RSA_KEY, P256, P384, X25519_ED };
	static const int versions[] = { TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION, TLS1_3_VERSION };

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		EVP_PKEY *key = generate(kinds[i]), *remote;
		struct shown shown;

		assert_int_equal(key_ring_set(ring, 0, key), 0);
		remote = remote_of(key);
		shown = (struct shown){ certificate_of(key, key, kinds[i] == X25519_ED ? NULL : EVP_sha256()), remote };
		for (size_t j = kinds[i] == X25519_ED ? 2 : 0; j < ARRAY_LEN(versions); j++) {
			SSL *client = end_of(TLS_client_method(), versions[j], &shown, false);
			SSL *server = end_of(TLS_server_method(), versions[j], &shown, true);
			unsigned before = asked;

			if (!shake_hands(client, server))
				fail_msg("key %zu, version %x: %s", i, versions[j], ERR_error_string(ERR_peek_last_error(), NULL));
			assert_int_equal(asked, before + 2);
			SSL_free(client);
			SSL_free(server);
		}
		X509_free(shown.certificate);
		EVP_PKEY_free(remote);
		EVP_PKEY_free(key);
	}
	ERR_clear_error();
}

static void a_handshake_without_signature_fails(void **state)
{
	EVP_PKEY *key = generate(P256), *remote = remote_of(key);	/* not in the ring */
	struct shown shown = { certificate_of(key, key, EVP_sha256()), remote };
	SSL *client = end_of(TLS_client_method(), TLS1_3_VERSION, &shown, false);
	SSL *server = end_of(TLS_server_method(), TLS1_3_VERSION, &shown, true);

	assert_false(shake_hands(client, server));
	SSL_free(client);
	SSL_free(server);
	X509_free(shown.certificate);
	EVP_PKEY_free(remote);
	EVP_PKEY_free(key);
	ERR_clear_error();
}

/* ---- the ring itself ---- */

static int32_t ask(uint64_t key, uint16_t scheme, size_t input_len)
{
	uint8_t packet[sizeof(struct key_request) + 256] = { 0 }, answer[KEY_REPLY_MAX];
	const struct key_request head = { .number = 99, .scheme = scheme, .key = key };
	struct key_reply reply;

	memcpy(packet, &head, sizeof(head));
	assert_true(key_ring_answer(ring, slice_of(packet, sizeof(head) + input_len), answer) >= sizeof(reply));
	memcpy(&reply, answer, sizeof(reply));
	assert_int_equal(reply.number, 99);
	return reply.result;
}

static void refusals(void **state)
{
	EVP_PKEY *rsa = generate(RSA_KEY), *ec = generate(P256);
	uint64_t rsa_name, ec_name;

	assert_int_equal(key_ring_set(ring, 0, rsa), 0);
	assert_int_equal(key_ring_set(ring, 1, ec), 0);
	assert_int_equal(key_name_of(rsa, &rsa_name), 0);
	assert_int_equal(key_name_of(ec, &ec_name), 0);
	assert_int_equal(ask(rsa_name, 0x0804, 32), 256);
	assert_true(ask(ec_name, 0x0403, 32) > 0);
	assert_int_equal(ask(rsa_name ^ 1, 0x0804, 32), -ENOENT);
	assert_int_equal(ask(rsa_name, 0x0804, 31), -EINVAL);
	assert_int_equal(ask(rsa_name, 0x0804, 33), -EINVAL);
	assert_int_equal(ask(rsa_name, 0x0804, 0), -EINVAL);
	assert_int_equal(ask(rsa_name, 0x0403, 32), -EINVAL);	/* another kind of key */
	assert_int_equal(ask(ec_name, 0x0401, 32), -EINVAL);
	assert_int_equal(ask(ec_name, 0x0807, 32), -EINVAL);
	assert_int_equal(ask(ec_name, 0x0000, 32), -EINVAL);	/* no way to sign */
	EVP_PKEY_free(rsa);
	EVP_PKEY_free(ec);
}

/* A worker that was taken must not get more out of a key than what its policy needs it for. */
static void what_a_key_is_for(void **state)
{
	static const struct { enum kind kind; unsigned uses; const char *signs; } cases[] = {
		/*				   PKCS#1: 256 384 512 SHA-1 MD5+SHA-1, PSS: 256 384 512 */
		{ RSA_KEY, KEY_FOR_TLS13,	  "-----+++" },
		{ RSA_KEY, KEY_FOR_TLS12,	  "+++--+++" },
		{ RSA_KEY, KEY_FOR_OLD_TLS,	  "---++---" },
		{ RSA_KEY, KEY_FOR_CERTIFICATES,  "+-------" },
		{ RSA_KEY, 0,			  "--------" },
		/*			 SHA-256 384 512 SHA-1 */
		{ P256, KEY_FOR_TLS13,		  "+---" },
		{ P384, KEY_FOR_TLS13,		  "-+--" },
		{ P521, KEY_FOR_TLS13,		  "--+-" },
		{ P384, KEY_FOR_TLS12,		  "+++-" },
		{ P256, KEY_FOR_OLD_TLS,	  "---+" },
		{ P384, KEY_FOR_CERTIFICATES,	  "-+--" },
		{ P256, 0,			  "----" },
		{ X25519_ED, KEY_FOR_OLD_TLS,	  "-" },
		{ X25519_ED, KEY_FOR_TLS13,	  "+" },
	};
	static const struct { uint16_t number; size_t octets; } rsa[] = {
		{ 0x0401, 32 }, { 0x0501, 48 }, { 0x0601, 64 }, { 0x0201, 20 }, { 0xfe01, 36 }, { 0x0804, 32 }, { 0x0805, 48 }, { 0x0806, 64 },
	}, ec[] = { { 0x0403, 32 }, { 0x0503, 48 }, { 0x0603, 64 }, { 0x0203, 20 } }, ed[] = { { 0x0807, 100 } };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		EVP_PKEY *key = generate(cases[i].kind);
		uint64_t name;

		key_ring_permit(ring, 0, cases[i].uses);
		assert_int_equal(key_ring_set(ring, 0, key), 0);
		assert_int_equal(key_name_of(key, &name), 0);
		for (size_t j = 0; cases[i].signs[j] != '\0'; j++) {
			uint16_t number = cases[i].kind == RSA_KEY ? rsa[j].number : cases[i].kind == X25519_ED ? ed[j].number : ec[j].number;
			size_t octets = cases[i].kind == RSA_KEY ? rsa[j].octets : cases[i].kind == X25519_ED ? ed[j].octets : ec[j].octets;
			int32_t result = ask(name, number, octets);

			if (cases[i].signs[j] == '+' ? result <= 0 : result != -EACCES)
				fail_msg("case %zu, way %zu: %d", i, j, (int)result);
		}
		EVP_PKEY_free(key);
	}
}

static void no_requests(void **state)
{
	static uint8_t packet[KEY_REQUEST_MAX + 1];
	uint8_t answer[KEY_REPLY_MAX];

	for (size_t n = 0; n < sizeof(struct key_request); n++)
		assert_int_equal(key_ring_answer(ring, slice_of(packet, n), answer), 0);
	assert_int_equal(key_ring_answer(ring, slice_of(packet, sizeof(packet)), answer), 0);
	assert_true(key_ring_answer(ring, slice_of(packet, sizeof(packet) - 1), answer) > 0);
}

static EVP_PKEY *keys[4];
static uint64_t names[4];

static void make_keys(void)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		keys[i] = generate(P256);
		assert_int_equal(key_name_of(keys[i], &names[i]), 0);
	}
	assert_int_equal(key_ring_set(ring, 0, keys[0]), 0);
}

static void free_keys(void)
{
	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		EVP_PKEY_free(keys[i]);
}

/* "+" signs, "-" does not; each of the keys. */
static void sign_these(const char *which)
{
	for (size_t i = 0; which[i] != '\0'; i++)
		assert_int_equal(ask(names[i], 0x0403, 32) > 0, which[i] == '+');
}

static void take(size_t i, int64_t until_ms)
{
	assert_int_equal(key_ring_offer(ring, 0, keys[i]), 0);
	key_ring_accept(ring, 0, until_ms);
}

static void replaced_keys(void **state)
{
	make_keys();
	take(1, 1000);
	sign_these("++--");
	take(1, 9000);				/* the same again is no change */
	assert_int_equal(key_ring_expire(ring, 999), 1000);
	sign_these("++--");
	assert_int_equal(key_ring_expire(ring, 1000), 0);
	sign_these("-+--");
	take(2, 2000);
	take(3, 3000);
	sign_these("--++");
	assert_int_equal(key_ring_expire(ring, 5000), 0);
	sign_these("---+");
	assert_int_equal(key_ring_set(ring, 0, keys[0]), 0);
	sign_these("+---");
	free_keys();
}

/* What is in use, and what handshakes may still need, stay however often something else is refused. */
static void refused_keys(void **state)
{
	make_keys();
	take(1, 1000);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(key_ring_offer(ring, 0, keys[2 + i % 2]), 0);
		assert_true(ask(names[2 + i % 2], 0x0403, 32) > 0);
		key_ring_refuse(ring, 0);
		sign_these("++--");
	}
	key_ring_refuse(ring, 0);
	key_ring_accept(ring, 0, 1000);		/* nothing is offered */
	sign_these("++--");
	free_keys();
}

/* By certificates that have not got another one. */
static void keys_that_are_needed(void **state)
{
	make_keys();
	take(1, KEY_RING_NEEDED);
	assert_int_equal(key_ring_expire(ring, INT64_MAX - 1), KEY_RING_NEEDED);
	sign_these("++--");
	take(1, 1000);
	assert_int_equal(key_ring_expire(ring, 1000), 0);
	sign_these("-+--");
	free_keys();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_way_of_signing, setup, teardown),
		cmocka_unit_test_setup_teardown(what_tls_does_not_sign, setup, teardown),
		cmocka_unit_test_setup_teardown(the_private_half_is_not_to_be_had, setup, teardown),
		cmocka_unit_test_setup_teardown(no_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(certificates_are_signed, setup, teardown),
		cmocka_unit_test_setup_teardown(handshakes, setup, teardown),
		cmocka_unit_test_setup_teardown(a_handshake_without_signature_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(what_a_key_is_for, setup, teardown),
		cmocka_unit_test_setup_teardown(no_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(replaced_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(refused_keys, setup, teardown),
		cmocka_unit_test_setup_teardown(keys_that_are_needed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
