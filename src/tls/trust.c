/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of CAs are named HASH.N and those of CRLs HASH.rN, with the hash of the subject or issuer
 * as `openssl rehash` makes it, and N from 0 on. Both kinds may stand in either directory. A file
 * with another hash than its content has was never found by that name, so it is not believed.
 */
#include "tls/trust.h"

#include "tls/crl.h"
#include "tls/keys_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdlib.h>

struct builder {
	struct tls_trust trust;
	struct policy_place place;
	struct policy_problems *problems;
	EVP_MD_CTX *digest;
};

static void warn(struct builder *b, const struct tls_file *file, const char *what)
{
	problems_add(b->problems, PROBLEM_WARNING, b->place, NULL, "%s: %s; it is skipped", file->name, what);
}

static int note(struct builder *b, const char *kind, const void *octets, size_t n)
{
	uint32_t length = (uint32_t)n;

	return EVP_DigestUpdate(b->digest, kind, strlen(kind) + 1) == 1 &&
	       EVP_DigestUpdate(b->digest, &length, sizeof(length)) == 1 && EVP_DigestUpdate(b->digest, octets, n) == 1 ? 0 : -ENOMEM;
}

/* Names. */

static bool is_number(const char *text)
{
	size_t n = strspn(text, "0123456789");

	return n > 0 && text[n] == '\0';
}

static bool parse_name(const char *name, unsigned long *hash, bool *is_crl)
{
	if (strspn(name, "0123456789abcdefABCDEF") != 8 || name[8] != '.')
		return false;
	*hash = strtoul(name, NULL, 16);
	*is_crl = name[9] == 'r';
	return is_number(name + 9 + *is_crl);
}

static bool has_hash(const X509_NAME *name, unsigned long hash)
{
	int good = 0;

	return X509_NAME_hash_ex(name, NULL, NULL, &good) == hash && good == 1;
}

/* CAs and CRLs. */

static int add_ca(struct builder *b, X509 *x)
{
	uint8_t *der = NULL;
	int n = i2d_X509(x, &der), err;

	err = n < 0 || X509_STORE_add_cert(b->trust.store, x) != 1 ? -ENOMEM : note(b, "ca", der, (size_t)n);
	OPENSSL_free(der);
	return err;
}

static int add_crl(struct builder *b, X509_CRL *crl)
{
	uint8_t *der = NULL;
	int n = i2d_X509_CRL(crl, &der), err;

	err = n < 0 || X509_STORE_add_crl(b->trust.store, crl) != 1 ? -ENOMEM : note(b, "crl", der, (size_t)n);
	OPENSSL_free(der);
	return err;
}

static int read_cas(struct builder *b, const struct tls_file *file, BIO *bio, unsigned long hash)
{
	size_t found = 0, fit = 0;
	int err = 0;
	X509 *x;

	while (err == 0 && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		found++;
		if (has_hash(X509_get_subject_name(x), hash)) {
			fit++;
			err = add_ca(b, x);
		}
		X509_free(x);
	}
	if (err == 0 && fit == 0)
		warn(b, file, found == 0 ? "there is no certificate in it" : "the name is not the hash of its subject");
	return err;
}

/* Of all lists of a CA the newest alone counts for OpenSSL, and it takes one that has only changes for a whole one. */
static bool is_delta(const X509_CRL *crl)
{
	return X509_CRL_get_ext_by_NID(crl, NID_delta_crl, -1) >= 0;
}

static int read_crls(struct builder *b, const struct tls_file *file, BIO *bio, unsigned long hash)
{
	size_t found = 0, fit = 0;
	int n, err = 0;
	X509_CRL *crl;

	while (err == 0 && (n = tls_crl_read(bio, &crl)) != 0) {
		if (n < 0)
			return n;
		found++;
		if (has_hash(X509_CRL_get_issuer(crl), hash)) {
			fit++;
			if (is_delta(crl))
				warn(b, file, "it has only changes to another list (delta CRL)");
			else
				err = add_crl(b, crl);
		}
		X509_CRL_free(crl);
	}
	if (err == 0 && fit == 0)
		warn(b, file, found == 0 ? "there is no CRL in it" : "the name is not the hash of its issuer");
	return err;
}

static int with_bio(struct builder *b, const struct tls_file *file, unsigned long hash,
		    int (*fn)(struct builder *, const struct tls_file *, BIO *, unsigned long))
{
	BIO *bio;
	int err;

	if (file->err < 0) {
		warn(b, file, strerror(-file->err));
		return 0;
	}
	bio = BIO_new_mem_buf(file->octets.len == 0 ? "" : (const void *)file->octets.ptr, (int)file->octets.len);
	if (bio == NULL)
		return -ENOMEM;
	err = fn(b, file, bio, hash);
	BIO_free(bio);
	ERR_clear_error();
	return err;
}

static int add_hashed(struct builder *b, const struct tls_directory *directory)
{
	unsigned long hash;
	bool is_crl;
	int err = 0;

	for (size_t i = 0; i < directory->n && err == 0; i++)
		if (parse_name(directory->files[i].name, &hash, &is_crl))
			err = with_bio(b, &directory->files[i], hash, is_crl ? read_crls : read_cas);
	return err;
}

/* Hints. */

static int add_hint(struct builder *b, const X509_NAME *subject)
{
	STACK_OF(X509_NAME) *hints = b->trust.hints;
	X509_NAME *copy;

	for (int i = 0; i < sk_X509_NAME_num(hints); i++)
		if (X509_NAME_cmp(sk_X509_NAME_value(hints, i), subject) == 0)
			return 0;
	copy = X509_NAME_dup(subject);
	if (copy != NULL && sk_X509_NAME_push(hints, copy) > 0)
		return 0;
	X509_NAME_free(copy);
	return -ENOMEM;
}

static int read_hints(struct builder *b, const struct tls_file *file, BIO *bio, unsigned long unused)
{
	size_t found = 0;
	int err = 0;
	X509 *x;

	while (err == 0 && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		found++;
		err = add_hint(b, X509_get_subject_name(x));
		X509_free(x);
	}
	if (err == 0 && found == 0 && file->octets.len > 0)
		warn(b, file, "there is no certificate in it to name to clients");
	return err;
}

/* Pins. A file that is none lets nothing pass, as one that differs does. */

static int read_pin(struct builder *b, const struct tls_file *file, BIO *bio, unsigned long unused)
{
	struct tls_pin *pin = &b->trust.pins[b->trust.n_pins];
	X509 *x = PEM_read_bio_X509(bio, NULL, NULL, NULL);
	uint8_t *der = NULL;
	int n = 0;

	if (x == NULL)
		problems_add(b->problems, PROBLEM_WARNING, b->place, NULL, "%s: there is no certificate in it; none fits that peer",
			     file->name);
	else
		n = i2d_X509(x, &der);
	X509_free(x);
	pin->name = strdup(file->name);
	pin->der = slice_of(der, n < 0 ? 0 : (size_t)n);
	b->trust.n_pins++;
	return n < 0 || pin->name == NULL || note(b, pin->name, der, (size_t)n) < 0 ? -ENOMEM : 0;
}

static int add_pins(struct builder *b, const struct tls_directory *directory)
{
	int err = 0;

	b->trust.pins = calloc(directory->n + 1, sizeof(b->trust.pins[0]));
	if (b->trust.pins == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < directory->n && err == 0; i++) {
		struct tls_file file = directory->files[i];

		file.err = 0;		/* unreadable: a pin that nothing fits */
		err = with_bio(b, &file, 0, read_pin);
	}
	return err;
}

const struct tls_pin *tls_trust_pin(const struct tls_trust *trust, const char *name)
{
	for (size_t i = 0; i < trust->n_pins; i++)
		if (strcmp(trust->pins[i].name, name) == 0)
			return &trust->pins[i];
	return NULL;
}

/* All of it. */

static int build(struct builder *b, const struct tls_trust_sources *sources)
{
	int err = add_hashed(b, &sources->ca);

	if (err == 0)
		err = add_hashed(b, &sources->crl);
	for (size_t i = 0; i < sources->hints.n && err == 0; i++)
		err = with_bio(b, &sources->hints.files[i], 0, read_hints);
	if (err == 0)
		err = add_pins(b, &sources->pins);
	if (err == 0 && EVP_DigestFinal_ex(b->digest, b->trust.digest, NULL) != 1)
		err = -ENOMEM;
	return err;
}

int tls_trust_build(const struct tls_trust_sources *sources, struct policy_place place, struct policy_problems *problems,
		    struct tls_trust *out)
{
	struct builder b = { .place = place, .problems = problems, .digest = EVP_MD_CTX_new() };
	int err = -ENOMEM;

	b.trust.store = X509_STORE_new();
	b.trust.hints = sk_X509_NAME_new_null();
	if (b.trust.store != NULL && b.trust.hints != NULL && b.digest != NULL &&
	    EVP_DigestInit_ex(b.digest, EVP_sha256(), NULL) == 1)
		err = build(&b, sources);
	EVP_MD_CTX_free(b.digest);
	if (err < 0)
		tls_trust_clear(&b.trust);
	else
		*out = b.trust;
	return err;
}

void tls_trust_clear(struct tls_trust *trust)
{
	X509_STORE_free(trust->store);
	sk_X509_NAME_pop_free(trust->hints, X509_NAME_free);
	for (size_t i = 0; i < trust->n_pins; i++) {
		free(trust->pins[i].name);
		OPENSSL_free((void *)trust->pins[i].der.ptr);
	}
	free(trust->pins);
	*trust = (struct tls_trust){ 0 };
}

static int copy_pins(const struct tls_trust *from, struct tls_trust *to)
{
	to->pins = calloc(from->n_pins + 1, sizeof(to->pins[0]));
	if (to->pins == NULL)
		return -ENOMEM;
	for (; to->n_pins < from->n_pins; to->n_pins++) {
		const struct tls_pin *pin = &from->pins[to->n_pins];
		void *der = pin->der.len == 0 ? NULL : OPENSSL_memdup(pin->der.ptr, pin->der.len);

		to->pins[to->n_pins] = (struct tls_pin){ strdup(pin->name), slice_of(der, der == NULL ? 0 : pin->der.len) };
		if (to->pins[to->n_pins].name == NULL || (der == NULL && pin->der.len > 0)) {
			to->n_pins++;
			return -ENOMEM;
		}
	}
	return 0;
}

int tls_trust_share(const struct tls_trust *from, struct tls_trust *out)
{
	struct tls_trust trust = { .hints = SSL_dup_CA_list(from->hints) };

	if (trust.hints == NULL || copy_pins(from, &trust) < 0) {
		tls_trust_clear(&trust);
		return -ENOMEM;
	}
	X509_STORE_up_ref(from->store);
	trust.store = from->store;
	memcpy(trust.digest, from->digest, sizeof(trust.digest));
	*out = trust;
	return 0;
}

/* Reading. */

static int read_directory(const char *path, struct policy_place place, struct policy_problems *problems,
			  struct tls_directory *out)
{
	int err = path == NULL ? 0 : tls_directory_read(path, out);

	if (err == 0 || err == -ENOMEM)
		return err;
	tls_report_unreadable(problems, place, "directory", path, err);
	return -EINVAL;
}

int tls_trust_read(const struct tls_verifier *verifier, struct policy_place place, struct policy_problems *problems,
		   struct tls_trust_sources *out)
{
	struct tls_trust_sources sources = { 0 };
	int errs[] = {
		read_directory(verifier->ca_directory, place, problems, &sources.ca),
		read_directory(verifier->crl_directory, place, problems, &sources.crl),
		read_directory(verifier->hint_directory, place, problems, &sources.hints),
		read_directory(verifier->pinned_directory, place, problems, &sources.pins),
	};

	for (size_t i = 0; i < ARRAY_LEN(errs); i++) {
		if (errs[i] == 0)
			continue;
		tls_trust_sources_free(&sources);
		return errs[i];
	}
	*out = sources;
	return 0;
}

void tls_trust_sources_free(struct tls_trust_sources *sources)
{
	tls_directory_free(&sources->ca);
	tls_directory_free(&sources->crl);
	tls_directory_free(&sources->hints);
	tls_directory_free(&sources->pins);
}
