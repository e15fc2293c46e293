/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signing with keys of the provider. Only in one piece (EVP_DigestSign), which is all that TLS
 * and certificates need: the digest is made here, the rest is asked for.
 */
#include "tls/key_provider_priv.h"

#include <errno.h>
#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/proverr.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#define DIGEST_NAME_MAX 50

struct signature {
	const struct provider_key *key;		/* the library holds it while this lives */
	char digest[DIGEST_NAME_MAX];
	bool pss;
};

static void *signature_new(void *arg, const char *properties)
{
	return calloc(1, sizeof(struct signature));
}

static void signature_free(void *arg)
{
	free(arg);
}

static void *signature_dup(void *arg)
{
	struct signature *s = malloc(sizeof(*s));

	if (s != NULL)
		*s = *(const struct signature *)arg;
	return s;
}

/* Integers and names are both in use. */
static int read_padding(struct signature *s, const OSSL_PARAM *p)
{
	int padding;

	if (p->data_type == OSSL_PARAM_UTF8_STRING)
		padding = strcmp(p->data, OSSL_PKEY_RSA_PAD_MODE_PSS) == 0 ? RSA_PKCS1_PSS_PADDING :
			  strcmp(p->data, OSSL_PKEY_RSA_PAD_MODE_PKCSV15) == 0 ? RSA_PKCS1_PADDING : 0;
	else if (OSSL_PARAM_get_int(p, &padding) != 1)
		return 0;
	s->pss = padding == RSA_PKCS1_PSS_PADDING;
	return s->pss || padding == RSA_PKCS1_PADDING;
}

/* TLS knows one length. */
static int check_salt(const OSSL_PARAM *p)
{
	int octets;

	if (p->data_type == OSSL_PARAM_UTF8_STRING)
		return strcmp(p->data, OSSL_PKEY_RSA_PSS_SALT_LEN_DIGEST) == 0;
	return OSSL_PARAM_get_int(p, &octets) == 1 && octets == RSA_PSS_SALTLEN_DIGEST;
}

static int read_digest(struct signature *s, const OSSL_PARAM *p)
{
	char *name = s->digest;

	return OSSL_PARAM_get_utf8_string(p, &name, sizeof(s->digest));
}

static int set_params(void *arg, const OSSL_PARAM params[])
{
	struct signature *s = arg;
	const OSSL_PARAM *padding = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PAD_MODE);
	const OSSL_PARAM *salt = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_PSS_SALTLEN);
	const OSSL_PARAM *digest = OSSL_PARAM_locate_const(params, OSSL_SIGNATURE_PARAM_DIGEST);

	if ((padding != NULL && !read_padding(s, padding)) || (salt != NULL && !check_salt(salt)) ||
	    (digest != NULL && !read_digest(s, digest))) {
		ERR_raise(ERR_LIB_PROV, PROV_R_NOT_SUPPORTED);
		return 0;
	}
	return 1;
}

static const OSSL_PARAM *settable_params(void *arg, void *provider)
{
	static const OSSL_PARAM types[] = {
		{ OSSL_SIGNATURE_PARAM_PAD_MODE, OSSL_PARAM_UTF8_STRING, NULL, 0, 0 },
		{ OSSL_SIGNATURE_PARAM_PSS_SALTLEN, OSSL_PARAM_UTF8_STRING, NULL, 0, 0 },
		{ OSSL_SIGNATURE_PARAM_DIGEST, OSSL_PARAM_UTF8_STRING, NULL, 0, 0 },
		{ NULL, 0, NULL, 0, 0 },
	};

	return types;
}

static const struct key_scheme *scheme_of(const struct signature *s)
{
	return key_scheme_find(s->key->type, s->digest, s->pss);
}

/* Certificates name the way in which they are signed. */
static int get_params(void *arg, OSSL_PARAM params[])
{
	const struct signature *s = arg;
	const struct key_scheme *scheme = s->key != NULL ? scheme_of(s) : NULL;
	OSSL_PARAM *p = OSSL_PARAM_locate(params, OSSL_SIGNATURE_PARAM_ALGORITHM_ID);

	if (p == NULL)
		return 1;
	return scheme != NULL && scheme->algorithm.len > 0 &&
	       OSSL_PARAM_set_octet_string(p, scheme->algorithm.ptr, scheme->algorithm.len);
}

static const OSSL_PARAM *gettable_params(void *arg, void *provider)
{
	static const OSSL_PARAM types[] = {
		{ OSSL_SIGNATURE_PARAM_ALGORITHM_ID, OSSL_PARAM_OCTET_STRING, NULL, 0, 0 },
		{ NULL, 0, NULL, 0, 0 },
	};

	return types;
}

static int digest_sign_init(void *arg, const char *digest, void *key, const OSSL_PARAM params[])
{
	struct signature *s = arg;

	if (key == NULL && s->key == NULL) {
		ERR_raise(ERR_LIB_PROV, PROV_R_NO_KEY_SET);
		return 0;
	}
	if (key != NULL)
		*s = (struct signature){ .key = key };
	if (!s->key->has_private) {
		ERR_raise(ERR_LIB_PROV, PROV_R_NOT_A_PRIVATE_KEY);
		return 0;
	}
	if (digest != NULL && strlen(digest) >= sizeof(s->digest)) {
		ERR_raise(ERR_LIB_PROV, PROV_R_INVALID_DIGEST);
		return 0;
	}
	if (digest != NULL)
		memcpy(s->digest, digest, strlen(digest) + 1);
	return params == NULL || set_params(s, params);
}

static co_waits int ask(const struct signature *s, const struct key_scheme *scheme, struct slice input, uint8_t *out,
			size_t *len)
{
	const struct key_provider *provider = s->key->provider;
	int n = provider->sign(provider->arg, s->key->name, scheme, input, out);

	/* Others ran meanwhile, and the queue of errors is the thread's: what is in it is not ours. */
	ERR_clear_error();
	if (n <= 0) {
		ERR_raise_data(ERR_LIB_PROV, PROV_R_FAILED_TO_SIGN, "the keeper: %s", strerror(-n));
		return 0;
	}
	*len = (size_t)n;
	return 1;
}

static co_waits int digest_sign(void *arg, unsigned char *out, size_t *len, size_t size, const unsigned char *text,
				size_t text_len)
{
	const struct signature *s = arg;
	const struct key_scheme *scheme = scheme_of(s);
	size_t max = (size_t)EVP_PKEY_get_size(s->key->public_key);
	uint8_t digest[EVP_MAX_MD_SIZE], made[KEY_SIGNATURE_MAX];
	unsigned digest_len;
	size_t n;

	if (out == NULL) {
		*len = max;
		return 1;
	}
	if (scheme == NULL) {
		ERR_raise(ERR_LIB_PROV, PROV_R_INVALID_DIGEST);
		return 0;
	}
	if (scheme->digest == NULL) {
		if (!ask(s, scheme, slice_of(text, text_len), made, &n))
			return 0;
	} else if (EVP_Digest(text, text_len, digest, &digest_len, scheme->md(), NULL) != 1 ||
		   !ask(s, scheme, slice_of(digest, digest_len), made, &n)) {
		return 0;
	}
	if (n > size || n > max) {
		ERR_raise(ERR_LIB_PROV, PROV_R_OUTPUT_BUFFER_TOO_SMALL);
		return 0;
	}
	memcpy(out, made, n);
	*len = n;
	return 1;
}

#define FN(id, function) { OSSL_FUNC_SIGNATURE_##id, (void (*)(void))(function) }

const OSSL_DISPATCH key_provider_signature[] = {
	FN(NEWCTX, signature_new),
	FN(FREECTX, signature_free),
	FN(DUPCTX, signature_dup),
	FN(DIGEST_SIGN_INIT, digest_sign_init),
	FN(DIGEST_SIGN, digest_sign),
	FN(SET_CTX_PARAMS, set_params),
	FN(SETTABLE_CTX_PARAMS, settable_params),
	FN(GET_CTX_PARAMS, get_params),
	FN(GETTABLE_CTX_PARAMS, gettable_params),
	{ 0, NULL },
};
