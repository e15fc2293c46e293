/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SALLYPORT_TLS_KEY_PROVIDER_PRIV_H
#define SALLYPORT_TLS_KEY_PROVIDER_PRIV_H

#include "tls/key_provider.h"

#include <openssl/core.h>

/* What the library knows as a key of ours. */
struct provider_key {
	const struct key_provider *provider;
	const char *type;
	EVP_PKEY *public_key;		/* of the library's own provider */
	bool has_private;		/* elsewhere; false: a public key that is to be compared with others */
	uint64_t name;
};

/* The context of the provider as the library hands it to each function. */
struct key_provider {
	OSSL_LIB_CTX *library;
	OSSL_PROVIDER *loaded;
	key_sign_fn sign;
	void *arg;
};

extern const OSSL_DISPATCH key_provider_signature[];	/* of every type of key (key_provider_sign.c) */

#endif
