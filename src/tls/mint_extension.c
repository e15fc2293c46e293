/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extensions of the original that the leaf takes over. Each is parsed and encoded anew; one that
 * can't be parsed, or that is there twice (RFC 5280, 4.2), refuses the certificate: a leaf without
 * it could mean more than the original did.
 */
#include "tls/mint_priv.h"

#include <errno.h>
#include <openssl/x509v3.h>

/* Bits of keyUsage (RFC 5280, 4.2.1.3). */
enum { DIGITAL_SIGNATURE, NON_REPUDIATION, KEY_ENCIPHERMENT, DATA_ENCIPHERMENT, KEY_USAGE_BITS = 9 };

#define BIT(n) (1u << (n))

/*
 * What a leaf may do with the key it has: never what a CA does (keyCertSign, cRLSign), encipher
 * only with RSA (RFC 3279, RFC 8813), and agree on keys with none, since that is done with
 * ephemeral ones. What it must be able to do, in order to be used at all: sign, and with RSA
 * also the key exchange of TLS 1.2.
 */
static unsigned usage_possible(const EVP_PKEY *key)
{
	unsigned always = BIT(DIGITAL_SIGNATURE) | BIT(NON_REPUDIATION);

	return EVP_PKEY_is_a(key, "RSA") ? always | BIT(KEY_ENCIPHERMENT) | BIT(DATA_ENCIPHERMENT) : always;
}

static unsigned usage_needed(const EVP_PKEY *key)
{
	return EVP_PKEY_is_a(key, "RSA") ? BIT(DIGITAL_SIGNATURE) | BIT(KEY_ENCIPHERMENT) : BIT(DIGITAL_SIGNATURE);
}

static int copy_key_usage(const struct mint_rules *rules, void *value, bool critical, X509 *leaf)
{
	ASN1_BIT_STRING *to = ASN1_BIT_STRING_new();
	unsigned bits = 0;
	int ok = to != NULL;

	for (int n = 0; n < KEY_USAGE_BITS; n++)
		bits |= ASN1_BIT_STRING_get_bit(value, n) ? BIT(n) : 0;
	bits = (bits & usage_possible(rules->leaf_key)) | usage_needed(rules->leaf_key);
	for (int n = 0; ok && n < KEY_USAGE_BITS; n++)
		ok = !(bits & BIT(n)) || ASN1_BIT_STRING_set_bit(to, n, 1);
	ok = ok && X509_add1_ext_i2d(leaf, NID_key_usage, to, critical, X509V3_ADD_DEFAULT) == 1;
	ASN1_BIT_STRING_free(to);
	return ok ? 0 : -ENOMEM;
}

/* A name ends at a NUL for some readers and goes on for others: nobody signs such a one here. */
bool mint_name_is_sound(const X509_NAME *name)
{
	for (int i = 0; i < X509_NAME_entry_count(name); i++) {
		const ASN1_STRING *data = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, i));
		unsigned char *utf8 = NULL;
		int len = ASN1_STRING_to_UTF8(&utf8, data);
		bool sound = len >= 0 && memchr(utf8, '\0', (size_t)len) == NULL;

		OPENSSL_free(utf8);
		if (!sound)
			return false;
	}
	return true;
}

static bool is_printable(const ASN1_STRING *string)
{
	const unsigned char *octets = ASN1_STRING_get0_data(string);

	for (int i = 0; i < ASN1_STRING_length(string); i++)
		if (octets[i] < 0x20 || octets[i] > 0x7e)
			return false;
	return true;
}

static bool is_sound_general_name(const GENERAL_NAME *name)
{
	int length;

	switch (name->type) {
	case GEN_DNS:
	case GEN_EMAIL:
	case GEN_URI:
		return is_printable(name->d.ia5);
	case GEN_IPADD:
		length = ASN1_STRING_length(name->d.iPAddress);
		return length == 4 || length == 16;
	case GEN_DIRNAME:
		return mint_name_is_sound(name->d.directoryName);
	default:
		return true;
	}
}

static int copy_names(const struct mint_rules *rules, void *value, bool critical, X509 *leaf)
{
	const GENERAL_NAMES *names = value;

	for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
		if (!is_sound_general_name(sk_GENERAL_NAME_value(names, i)))
			return -EINVAL;
	return X509_add1_ext_i2d(leaf, NID_subject_alt_name, value, critical, X509V3_ADD_DEFAULT) == 1 ? 0 : -ENOMEM;
}

/* Whatever the original is, the leaf is no CA. */
static int copy_basic_constraints(const struct mint_rules *rules, void *value, bool critical, X509 *leaf)
{
	BASIC_CONSTRAINTS *to = BASIC_CONSTRAINTS_new();
	bool ok = to != NULL && X509_add1_ext_i2d(leaf, NID_basic_constraints, to, critical, X509V3_ADD_DEFAULT) == 1;

	BASIC_CONSTRAINTS_free(to);
	return ok ? 0 : -ENOMEM;
}

/* The leaf has its own, of its own key and CA. */
static int leave_out(const struct mint_rules *rules, void *value, bool critical, X509 *leaf)
{
	return 0;
}

/* Those that are more than a copy. */
static const struct {
	int nid;
	int (*copy)(const struct mint_rules *rules, void *value, bool critical, X509 *leaf);
	const char *bad;
} kinds[] = {
	{ NID_key_usage, copy_key_usage, "its keyUsage can't be taken over" },
	{ NID_subject_alt_name, copy_names, "its subjectAltName has a name that is none" },
	{ NID_basic_constraints, copy_basic_constraints, "its basicConstraints can't be taken over" },
	{ NID_subject_key_identifier, leave_out, NULL },
	{ NID_authority_key_identifier, leave_out, NULL },
};

static void free_value(const X509V3_EXT_METHOD *method, void *value)
{
	if (value == NULL)
		return;
	if (method->it != NULL)
		ASN1_item_free(value, ASN1_ITEM_ptr(method->it));
	else
		method->ext_free(value);
}

/* One of a kind that the library can parse. */
static int copy_parsed(const struct mint_rules *rules, X509_EXTENSION *extension, const X509V3_EXT_METHOD *method, X509 *leaf,
		       const char **why)
{
	void *value = X509V3_EXT_d2i(extension);
	bool critical = X509_EXTENSION_get_critical(extension);
	int err = -EINVAL;

	*why = "one of its extensions can't be parsed";
	if (value == NULL)
		return err;
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (kinds[i].nid == method->ext_nid) {
			err = kinds[i].copy(rules, value, critical, leaf);
			*why = kinds[i].bad;
			goto out;
		}
	}
	err = X509_add1_ext_i2d(leaf, method->ext_nid, value, critical, X509V3_ADD_DEFAULT) == 1 ? 0 : -EINVAL;
out:
	free_value(method, value);
	return err;
}

static int copy_one(const struct mint_rules *rules, const ASN1_OBJECT *object, X509 *original, X509 *leaf, const char **why)
{
	int at = X509_get_ext_by_OBJ(original, object, -1);
	X509_EXTENSION *extension;
	const X509V3_EXT_METHOD *method;

	if (at < 0)
		return 0;
	if (X509_get_ext_by_OBJ(original, object, at) >= 0) {
		*why = "it has the same extension twice";
		return -EINVAL;
	}
	extension = X509_get_ext(original, at);
	method = X509V3_EXT_get(extension);
	if (method != NULL)
		return copy_parsed(rules, extension, method, leaf, why);
	/* Unknown to the library: whoever put it on the list knows what it says. */
	*why = "out of memory";
	return X509_add_ext(leaf, extension, -1) == 1 ? 0 : -ENOMEM;
}

int mint_extensions_copy(const struct mint_rules *rules, X509 *original, X509 *leaf, const char **why)
{
	for (size_t i = 0; i < rules->n_extensions; i++) {
		int err = copy_one(rules, rules->extensions[i], original, leaf, why);

		if (err < 0)
			return err;
	}
	return 0;
}

bool mint_knows_extension(const char *name)
{
	ASN1_OBJECT *object = OBJ_txt2obj(name, 0);
	bool known = object != NULL;

	ASN1_OBJECT_free(object);
	return known;
}
