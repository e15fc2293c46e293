/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An OpenSSL provider of keys whose private half is somewhere else: everything that needs only the
 * public half is done by the library's own code, a signature is asked for. It has a library context
 * of its own, so nothing but these keys ever gets to it; the library finds its way from the key to
 * the provider of the key by itself (EVP_DigestSignInit).
 *
 * There is no decryption: TLS needs it for RSA key exchange alone, which has no forward secrecy and is not offered.
 */
#ifndef SALLYPORT_TLS_KEY_PROVIDER_H
#define SALLYPORT_TLS_KEY_PROVIDER_H

#include "tls/key_talk.h"

/*
 * Sign input (the digest that the scheme is about, or the text) with the key of that name. At most
 * KEY_SIGNATURE_MAX octets go to out. WAITS, where it does. Octets of the signature, or -errno.
 */
typedef co_waits int (*key_sign_fn)(void *arg, uint64_t key, const struct key_scheme *scheme, struct slice input,
				    uint8_t *out);

struct key_provider;

/* 0; -ENOMEM; -ENOTSUP: the library refuses it. */
int key_provider_create(key_sign_fn sign, void *arg, struct key_provider **out) MUST_CHECK;
/* After the last of its keys. */
void key_provider_free(struct key_provider **pp);

/* A key that has this public half (DER, SubjectPublicKeyInfo). 0; -EINVAL: no key, or one of a kind that can't sign
 * here; -ENOMEM. */
int key_provider_key(struct key_provider *provider, struct slice spki, EVP_PKEY **out) MUST_CHECK;

#endif
