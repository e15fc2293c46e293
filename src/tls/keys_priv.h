/* SPDX-License-Identifier: Apache-2.0 */
/* What is behind struct tls_keys, wherever the keys are; and what reads keys and files for all of tls/. */
#ifndef SALLYPORT_TLS_KEYS_PRIV_H
#define SALLYPORT_TLS_KEYS_PRIV_H

#include "tls/keys.h"

struct tls_keys_ops {
	EVP_PKEY *(*get)(const struct tls_keys *keys, uint32_t index);
	void (*free)(struct tls_keys *keys);
};

/* First member of what each kind of keys really is. */
struct tls_keys {
	const struct tls_keys_ops *ops;
};

#define TLS_KEY_OCTETS_MAX 65536u	/* of a PEM text */

/* The first private key of a PEM text. passphrase may be empty. NULL: *why says what is wrong, in words. */
EVP_PKEY *tls_key_parse(struct slice pem, struct slice passphrase, const char **why);

/*
 * A whole file, at most max octets of it, in memory that the caller frees; wipe it first where it
 * is secret. An empty one gives no memory. 0; -EFBIG; -ENOMEM; -errno.
 */
int tls_read_file(const char *path, size_t max, struct slice *out) MUST_CHECK;
void tls_free_secret(struct slice *secret);	/* wiped */

/* The problem that this ("private key", "directory") can't be read; a hint where that is a matter of rights. */
void tls_report_unreadable(struct policy_problems *problems, struct policy_place place, const char *what, const char *path,
			   int err);

/* The text of a declared key and its passphrase: octets from the file or of the secrets, to be
 * freed with tls_free_secret. 0; -EINVAL and a problem at its place. */
int tls_key_text(const struct tls_key *key, const struct tls_secrets *secrets, struct policy_problems *problems,
		 struct slice *text, struct slice *passphrase) MUST_CHECK;

/* Load one declared key; what is wrong is a problem at its place, and the result NULL. */
EVP_PKEY *tls_key_load(const struct tls_key *key, const struct tls_secrets *secrets, struct policy_problems *problems);

#endif
