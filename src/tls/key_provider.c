/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of the provider, and how it is loaded. */
#include "tls/key_provider_priv.h"

#include <errno.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <openssl/x509.h>
#include <stdlib.h>

#define PROVIDER_NAME "sallyport-keys"
#define PARAM_SPKI "sallyport-spki"

/* ---- one key ---- */

static void *key_new(void *arg, const char *type)
{
	struct provider_key *key = calloc(1, sizeof(*key));

	if (key == NULL)
		return NULL;
	key->provider = arg;
	key->type = type;
	return key;
}

static void *rsa_new(void *arg)
{
	return key_new(arg, "RSA");
}

static void *ec_new(void *arg)
{
	return key_new(arg, "EC");
}

static void *ed25519_new(void *arg)
{
	return key_new(arg, "ED25519");
}

static void *ed448_new(void *arg)
{
	return key_new(arg, "ED448");
}

static void key_free(void *arg)
{
	struct provider_key *key = arg;

	if (key == NULL)
		return;
	EVP_PKEY_free(key->public_key);
	free(key);
}

static int key_has(const void *arg, int selection)
{
	const struct provider_key *key = arg;

	if (key->public_key == NULL)
		return 0;
	return (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) == 0 || key->has_private;
}

static int key_match(const void *a, const void *b, int selection)
{
	const struct provider_key *one = a, *other = b;

	if (one->public_key == NULL || other->public_key == NULL)
		return 0;
	if ((selection & OSSL_KEYMGMT_SELECT_KEYPAIR) == 0)
		return EVP_PKEY_parameters_eq(one->public_key, other->public_key) == 1;
	return EVP_PKEY_eq(one->public_key, other->public_key) == 1;
}

/* One of ours: the private half is elsewhere. */
static int import_spki(struct provider_key *key, const OSSL_PARAM *param)
{
	const unsigned char *at = param->data;

	if (param->data_type != OSSL_PARAM_OCTET_STRING || param->data_size > LONG_MAX)
		return 0;
	key->public_key = d2i_PUBKEY(NULL, &at, (long)param->data_size);
	if (key->public_key == NULL || !EVP_PKEY_is_a(key->public_key, key->type))
		return 0;
	key->name = key_name(slice_of(param->data, param->data_size));
	key->has_private = true;
	return 1;
}

/* A certificate's key, for a comparison. */
static int import_public(struct provider_key *key, const OSSL_PARAM params[])
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, key->type, NULL);
	bool fine = ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
		    EVP_PKEY_fromdata(ctx, &key->public_key, EVP_PKEY_PUBLIC_KEY, (OSSL_PARAM *)params) == 1;

	EVP_PKEY_CTX_free(ctx);
	return fine;
}

static int key_import(void *arg, int selection, const OSSL_PARAM params[])
{
	struct provider_key *key = arg;
	const OSSL_PARAM *spki = OSSL_PARAM_locate_const(params, PARAM_SPKI);

	if (key->public_key != NULL)
		return 0;
	if (spki != NULL)
		return import_spki(key, spki);
	return (selection & OSSL_KEYMGMT_SELECT_PUBLIC_KEY) != 0 ? import_public(key, params) : 0;
}

static const OSSL_PARAM *key_import_types(int selection)
{
	static const OSSL_PARAM types[] = {
		{ PARAM_SPKI, OSSL_PARAM_OCTET_STRING, NULL, 0, 0 },
		{ OSSL_PKEY_PARAM_PUB_KEY, OSSL_PARAM_OCTET_STRING, NULL, 0, 0 },
		{ OSSL_PKEY_PARAM_GROUP_NAME, OSSL_PARAM_UTF8_STRING, NULL, 0, 0 },
		{ OSSL_PKEY_PARAM_RSA_N, OSSL_PARAM_UNSIGNED_INTEGER, NULL, 0, 0 },
		{ OSSL_PKEY_PARAM_RSA_E, OSSL_PARAM_UNSIGNED_INTEGER, NULL, 0, 0 },
		{ NULL, 0, NULL, 0, 0 },
	};

	return types;
}

/* Who asks for the private half, to work with it in a provider of its own, is told that it can't
 * be had; then the library comes to this one. */
static int key_export(void *arg, int selection, OSSL_CALLBACK *callback, void *callback_arg)
{
	const struct provider_key *key = arg;
	OSSL_PARAM *params = NULL;
	int fine;

	if (key->public_key == NULL || (selection & OSSL_KEYMGMT_SELECT_PRIVATE_KEY) != 0)
		return 0;
	if (EVP_PKEY_todata(key->public_key, EVP_PKEY_PUBLIC_KEY, &params) != 1)
		return 0;
	fine = callback(params, callback_arg);
	OSSL_PARAM_free(params);
	return fine;
}

static int key_get_params(void *arg, OSSL_PARAM params[])
{
	const struct provider_key *key = arg;

	return key->public_key != NULL && EVP_PKEY_get_params(key->public_key, params) == 1;
}

static const OSSL_PARAM *key_gettable_params(void *arg)
{
	static const OSSL_PARAM types[] = {
		{ OSSL_PKEY_PARAM_BITS, OSSL_PARAM_INTEGER, NULL, 0, 0 },
		{ OSSL_PKEY_PARAM_SECURITY_BITS, OSSL_PARAM_INTEGER, NULL, 0, 0 },
		{ OSSL_PKEY_PARAM_MAX_SIZE, OSSL_PARAM_INTEGER, NULL, 0, 0 },
		{ OSSL_PKEY_PARAM_DEFAULT_DIGEST, OSSL_PARAM_UTF8_STRING, NULL, 0, 0 },
		{ OSSL_PKEY_PARAM_MANDATORY_DIGEST, OSSL_PARAM_UTF8_STRING, NULL, 0, 0 },
		{ OSSL_PKEY_PARAM_GROUP_NAME, OSSL_PARAM_UTF8_STRING, NULL, 0, 0 },
		{ OSSL_PKEY_PARAM_EC_POINT_CONVERSION_FORMAT, OSSL_PARAM_UTF8_STRING, NULL, 0, 0 },
		{ OSSL_PKEY_PARAM_EC_FIELD_TYPE, OSSL_PARAM_UTF8_STRING, NULL, 0, 0 },
		{ OSSL_PKEY_PARAM_PUB_KEY, OSSL_PARAM_OCTET_STRING, NULL, 0, 0 },
		{ OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, OSSL_PARAM_OCTET_STRING, NULL, 0, 0 },
		{ OSSL_PKEY_PARAM_RSA_N, OSSL_PARAM_UNSIGNED_INTEGER, NULL, 0, 0 },
		{ OSSL_PKEY_PARAM_RSA_E, OSSL_PARAM_UNSIGNED_INTEGER, NULL, 0, 0 },
		{ NULL, 0, NULL, 0, 0 },
	};

	return types;
}

static const char *ec_operation(int operation)
{
	return operation == OSSL_OP_SIGNATURE ? "ECDSA" : NULL;
}

#define FN(id, function) { OSSL_FUNC_KEYMGMT_##id, (void (*)(void))(function) }
#define KEY_FUNCTIONS(new) \
	FN(NEW, new), FN(FREE, key_free), FN(HAS, key_has), FN(MATCH, key_match), FN(IMPORT, key_import), \
	FN(IMPORT_TYPES, key_import_types), FN(EXPORT, key_export), FN(EXPORT_TYPES, key_import_types), \
	FN(GET_PARAMS, key_get_params), FN(GETTABLE_PARAMS, key_gettable_params)

static const OSSL_DISPATCH rsa_functions[] = { KEY_FUNCTIONS(rsa_new), { 0, NULL } };
static const OSSL_DISPATCH ec_functions[] = { KEY_FUNCTIONS(ec_new), FN(QUERY_OPERATION_NAME, ec_operation), { 0, NULL } };
static const OSSL_DISPATCH ed25519_functions[] = { KEY_FUNCTIONS(ed25519_new), { 0, NULL } };
static const OSSL_DISPATCH ed448_functions[] = { KEY_FUNCTIONS(ed448_new), { 0, NULL } };

/* ---- the provider ---- */

#define PROPERTY "provider=" PROVIDER_NAME
#define RSA_NAMES "RSA:rsaEncryption:1.2.840.113549.1.1.1"
#define ED25519_NAMES "ED25519:1.3.101.112"
#define ED448_NAMES "ED448:1.3.101.113"

/* Names as in the library's own provider: that is how keys of both are known to be of one kind. */
static const OSSL_ALGORITHM keys[] = {
	{ RSA_NAMES, PROPERTY, rsa_functions, NULL },
	{ "EC:id-ecPublicKey:1.2.840.10045.2.1", PROPERTY, ec_functions, NULL },
	{ ED25519_NAMES, PROPERTY, ed25519_functions, NULL },
	{ ED448_NAMES, PROPERTY, ed448_functions, NULL },
	{ NULL, NULL, NULL, NULL },
};

static const OSSL_ALGORITHM signatures[] = {
	{ RSA_NAMES, PROPERTY, key_provider_signature, NULL },
	{ "ECDSA", PROPERTY, key_provider_signature, NULL },
	{ ED25519_NAMES, PROPERTY, key_provider_signature, NULL },
	{ ED448_NAMES, PROPERTY, key_provider_signature, NULL },
	{ NULL, NULL, NULL, NULL },
};

static const OSSL_ALGORITHM *query(void *arg, int operation, int *no_cache)
{
	*no_cache = 0;
	return operation == OSSL_OP_KEYMGMT ? keys : operation == OSSL_OP_SIGNATURE ? signatures : NULL;
}

/* The context outlives the provider: it is what loaded it. */
static void teardown(void *arg)
{
}

static int init(const OSSL_CORE_HANDLE *handle, const OSSL_DISPATCH *in, const OSSL_DISPATCH **out, void **context)
{
	static const OSSL_DISPATCH functions[] = {
		{ OSSL_FUNC_PROVIDER_TEARDOWN, (void (*)(void))teardown },
		{ OSSL_FUNC_PROVIDER_QUERY_OPERATION, (void (*)(void))query },
		{ 0, NULL },
	};

	*context = calloc(1, sizeof(struct key_provider));
	*out = functions;
	return *context != NULL;
}

int key_provider_create(key_sign_fn sign, void *arg, struct key_provider **out)
{
	OSSL_LIB_CTX *library = OSSL_LIB_CTX_new();
	OSSL_PROVIDER *loaded;
	struct key_provider *p;

	if (library == NULL)
		return -ENOMEM;
	loaded = OSSL_PROVIDER_add_builtin(library, PROVIDER_NAME, init) == 1 ?
		 OSSL_PROVIDER_load(library, PROVIDER_NAME) : NULL;
	if (loaded == NULL) {
		OSSL_LIB_CTX_free(library);
		return -ENOTSUP;
	}
	p = OSSL_PROVIDER_get0_provider_ctx(loaded);
	*p = (struct key_provider){ library, loaded, sign, arg };
	*out = p;
	return 0;
}

void key_provider_free(struct key_provider **pp)
{
	struct key_provider *p = *pp;
	OSSL_LIB_CTX *library;

	if (p == NULL)
		return;
	*pp = NULL;
	library = p->library;
	(void)OSSL_PROVIDER_unload(p->loaded);
	OSSL_LIB_CTX_free(library);
	free(p);
}

int key_provider_key(struct key_provider *provider, struct slice spki, EVP_PKEY **out)
{
	const unsigned char *at = spki.ptr;
	EVP_PKEY *public_key = spki.len <= LONG_MAX ? d2i_PUBKEY(NULL, &at, (long)spki.len) : NULL;
	const char *type = public_key != NULL ? key_type_of(public_key) : NULL;
	OSSL_PARAM params[] = { OSSL_PARAM_construct_octet_string(PARAM_SPKI, (void *)spki.ptr, spki.len),
				OSSL_PARAM_construct_end() };
	EVP_PKEY_CTX *ctx = NULL;
	EVP_PKEY *key = NULL;
	int err = -EINVAL;

	if (type != NULL && EVP_PKEY_get_size(public_key) <= (int)KEY_SIGNATURE_MAX) {
		ctx = EVP_PKEY_CTX_new_from_name(provider->library, type, NULL);
		err = ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
		      EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_KEYPAIR, params) == 1 ? 0 : -ENOMEM;
	}
	EVP_PKEY_CTX_free(ctx);
	EVP_PKEY_free(public_key);
	if (err == 0)
		*out = key;
	return err;
}
