/* SPDX-License-Identifier: Apache-2.0 */
#include "recipe.h"

#include <openssl/conf.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			ERR_print_errors_fp(stderr); \
			abort(); \
		} \
	} while (0)

EVP_PKEY *recipe_key(const char *kind)
{
	EVP_PKEY *key;

	if (strncmp(kind, "RSA-", 4) == 0)
		key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)strtoul(kind + 4, NULL, 10));
	else if (strcmp(kind, "ED25519") == 0)
		key = EVP_PKEY_Q_keygen(NULL, NULL, kind);
	else
		key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", kind);
	MUST(key != NULL);
	return key;
}

void recipe_sign(X509 *certificate, const struct recipe *recipe)
{
	EVP_PKEY *key = recipe->issuer_key != NULL ? recipe->issuer_key : recipe->key;
	const EVP_MD *digest = EVP_get_digestbyname(recipe->digest != NULL ? recipe->digest : "SHA256");

	MUST(X509_sign(certificate, key, EVP_PKEY_is_a(key, "ED25519") ? NULL : digest) > 0);
}

static void add_extension(X509 *certificate, X509 *issuer, const char *name, const char *value)
{
	CONF *empty = NCONF_new(NULL);		/* some kinds want one */
	X509_EXTENSION *extension;
	X509V3_CTX ctx;

	X509V3_set_ctx(&ctx, issuer, certificate, NULL, NULL, 0);
	X509V3_set_nconf(&ctx, empty);
	extension = X509V3_EXT_nconf(empty, &ctx, name, value);
	MUST(extension != NULL && X509_add_ext(certificate, extension, -1) == 1);
	X509_EXTENSION_free(extension);
	NCONF_free(empty);
}

void recipe_add_raw(X509 *certificate, const char *oid, bool critical, const void *octets, int len)
{
	ASN1_OBJECT *object = OBJ_txt2obj(oid, 0);
	ASN1_OCTET_STRING *data = ASN1_OCTET_STRING_new();
	X509_EXTENSION *extension;

	MUST(object != NULL && data != NULL && ASN1_OCTET_STRING_set(data, octets, len) == 1);
	extension = X509_EXTENSION_create_by_OBJ(NULL, object, critical, data);
	MUST(extension != NULL && X509_add_ext(certificate, extension, -1) == 1);
	X509_EXTENSION_free(extension);
	ASN1_OCTET_STRING_free(data);
	ASN1_OBJECT_free(object);
}

X509 *recipe_make(const struct recipe *recipe)
{
	X509 *certificate = X509_new(), *issuer = recipe->issuer != NULL ? recipe->issuer : certificate;
	X509_NAME *subject = X509_NAME_new();

	MUST(certificate != NULL && subject != NULL);
	MUST(recipe->common_name == NULL ||
	     X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8, (const unsigned char *)recipe->common_name, -1, -1, 0) == 1);
	MUST(X509_set_version(certificate, X509_VERSION_3) == 1);
	MUST(ASN1_INTEGER_set(X509_get_serialNumber(certificate), 4711) == 1);
	MUST(X509_set_subject_name(certificate, subject) == 1);
	MUST(X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1);
	MUST(ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)recipe->not_before) != NULL);
	MUST(ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)recipe->not_after) != NULL);
	MUST(X509_set_pubkey(certificate, recipe->key) == 1);
	for (int i = 0; i < RECIPE_EXTENSIONS && recipe->extensions[i][0] != NULL; i++)
		add_extension(certificate, issuer, recipe->extensions[i][0], recipe->extensions[i][1]);
	recipe_sign(certificate, recipe);
	X509_NAME_free(subject);
	return certificate;
}
