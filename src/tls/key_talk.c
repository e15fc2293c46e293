/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/key_talk.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <string.h>

#define NONE { NULL, 0 }
#define DER(text) SLICE_INIT(text)
#define RSA_PKCS1(octet) DER("\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01" octet "\x05\x00")
#define ECDSA(octet) DER("\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03" octet)

/* Looking digests up by name takes OpenSSL 3.0 longer than a signature with a curve, so they stand here. */
#define SHA_1 "SHA1", "SHA-1", EVP_sha1, 20
#define SHA_256 "SHA256", "SHA2-256", EVP_sha256, 32
#define SHA_384 "SHA384", "SHA2-384", EVP_sha384, 48
#define SHA_512 "SHA512", "SHA2-512", EVP_sha512, 64
#define MD5_SHA_1 "MD5-SHA1", "MD5-SHA1", EVP_md5_sha1, 36
#define TEXT NULL, NULL, NULL, 0

#define OLD KEY_FOR_OLD_TLS
#define V12 KEY_FOR_TLS12
#define V13 KEY_FOR_TLS13
#define CERT KEY_FOR_CERTIFICATES

/* Certificates are made with the digests of tls/mint.c. SHA-224 is in nobody's list but as the last resort. */
static const struct key_scheme schemes[] = {
	/* number  key type   digest     PSS    uses               algorithm */
	{ 0x0401, "RSA",     SHA_256,   false, V12 | CERT,        RSA_PKCS1("\x0b") },
	{ 0x0501, "RSA",     SHA_384,   false, V12,               RSA_PKCS1("\x0c") },
	{ 0x0601, "RSA",     SHA_512,   false, V12,               RSA_PKCS1("\x0d") },
	{ 0x0201, "RSA",     SHA_1,     false, OLD,               NONE },
	{ 0xfe01, "RSA",     MD5_SHA_1, false, OLD,               NONE },
	{ 0x0804, "RSA",     SHA_256,   true,  V12 | V13,         NONE },
	{ 0x0805, "RSA",     SHA_384,   true,  V12 | V13,         NONE },
	{ 0x0806, "RSA",     SHA_512,   true,  V12 | V13,         NONE },
	{ 0x0403, "EC",      SHA_256,   false, V12 | V13 | CERT,  ECDSA("\x02") },
	{ 0x0503, "EC",      SHA_384,   false, V12 | V13 | CERT,  ECDSA("\x03") },
	{ 0x0603, "EC",      SHA_512,   false, V12 | V13 | CERT,  ECDSA("\x04") },
	{ 0x0203, "EC",      SHA_1,     false, OLD,               NONE },
	{ 0x0807, "ED25519", TEXT,      false, V12 | V13 | CERT,  DER("\x30\x05\x06\x03\x2b\x65\x70") },
	{ 0x0808, "ED448",   TEXT,      false, V12 | V13 | CERT,  DER("\x30\x05\x06\x03\x2b\x65\x71") },
};

const struct key_scheme *key_scheme_numbered(uint16_t number)
{
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (schemes[i].number == number)
			return &schemes[i];
	return NULL;
}

static bool has_digest(const struct key_scheme *scheme, const char *name)
{
	if (scheme->digest == NULL || name == NULL || name[0] == '\0')
		return scheme->digest == NULL && (name == NULL || name[0] == '\0');
	return OPENSSL_strcasecmp(scheme->digest, name) == 0 || OPENSSL_strcasecmp(scheme->digest_too, name) == 0;
}

const struct key_scheme *key_scheme_find(const char *key_type, const char *digest, bool pss)
{
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (strcmp(schemes[i].key_type, key_type) == 0 && schemes[i].pss == pss &&
		    has_digest(&schemes[i], digest))
			return &schemes[i];
	return NULL;
}

/* There is one digest for each curve but in TLS 1.2. */
static bool is_of_curve(const struct key_scheme *scheme, const EVP_PKEY *key)
{
	int bits = EVP_PKEY_get_bits(key);

	return scheme->digest_octets == (bits > 384 ? 64 : bits > 256 ? 48 : 32);
}

bool key_scheme_fits(const struct key_scheme *scheme, const EVP_PKEY *key, unsigned uses)
{
	if (strcmp(scheme->key_type, "EC") == 0 && !is_of_curve(scheme, key))
		uses &= ~(unsigned)(KEY_FOR_TLS13 | KEY_FOR_CERTIFICATES);
	return (scheme->uses & uses) != 0;
}

const char *key_type_of(const EVP_PKEY *key)
{
	static const char *const types[] = { "RSA", "EC", "ED25519", "ED448" };

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		if (EVP_PKEY_is_a(key, types[i]))
			return types[i];
	return NULL;
}

uint64_t key_name(struct slice spki)
{
	uint8_t digest[SHA256_DIGEST_LENGTH];
	uint64_t name;

	(void)SHA256(spki.ptr, spki.len, digest);
	memcpy(&name, digest, sizeof(name));
	return name;
}

int key_name_of(const EVP_PKEY *key, uint64_t *name)
{
	unsigned char *der = NULL;
	int n = i2d_PUBKEY(key, &der);

	if (n <= 0)
		return -EINVAL;
	*name = key_name(slice_of(der, (size_t)n));
	OPENSSL_free(der);
	return 0;
}
