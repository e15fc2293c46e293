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

static const struct key_scheme schemes[] = {
	/* number  key type   digest      octets  PSS    algorithm */
	{ 0x0401, "RSA",     "SHA256",   32,     false, RSA_PKCS1("\x0b") },
	{ 0x0501, "RSA",     "SHA384",   48,     false, RSA_PKCS1("\x0c") },
	{ 0x0601, "RSA",     "SHA512",   64,     false, RSA_PKCS1("\x0d") },
	{ 0x0301, "RSA",     "SHA224",   28,     false, RSA_PKCS1("\x0e") },
	{ 0x0201, "RSA",     "SHA1",     20,     false, NONE },
	{ 0xfe01, "RSA",     "MD5-SHA1", 36,     false, NONE },
	{ 0x0804, "RSA",     "SHA256",   32,     true,  NONE },
	{ 0x0805, "RSA",     "SHA384",   48,     true,  NONE },
	{ 0x0806, "RSA",     "SHA512",   64,     true,  NONE },
	{ 0x0403, "EC",      "SHA256",   32,     false, ECDSA("\x02") },
	{ 0x0503, "EC",      "SHA384",   48,     false, ECDSA("\x03") },
	{ 0x0603, "EC",      "SHA512",   64,     false, ECDSA("\x04") },
	{ 0x0303, "EC",      "SHA224",   28,     false, ECDSA("\x01") },
	{ 0x0203, "EC",      "SHA1",     20,     false, NONE },
	{ 0x0807, "ED25519", NULL,       0,      false, DER("\x30\x05\x06\x03\x2b\x65\x70") },
	{ 0x0808, "ED448",   NULL,       0,      false, DER("\x30\x05\x06\x03\x2b\x65\x71") },
};

const struct key_scheme *key_scheme_numbered(uint16_t number)
{
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (schemes[i].number == number)
			return &schemes[i];
	return NULL;
}

static bool same_digest(const char *ours, const char *name)
{
	const EVP_MD *a, *b;

	if (ours == NULL || name == NULL || name[0] == '\0')
		return ours == NULL && (name == NULL || name[0] == '\0');
	if (OPENSSL_strcasecmp(ours, name) == 0)
		return true;
	a = EVP_get_digestbyname(ours);		/* "SHA2-256" is one more name of "SHA256" */
	b = EVP_get_digestbyname(name);
	return a != NULL && a == b;
}

const struct key_scheme *key_scheme_find(const char *key_type, const char *digest, bool pss)
{
	for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
		if (strcmp(schemes[i].key_type, key_type) == 0 && schemes[i].pss == pss &&
		    same_digest(schemes[i].digest, digest))
			return &schemes[i];
	return NULL;
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
