/* SPDX-License-Identifier: Apache-2.0 */
/* Files that changed: read, tested as a load would test them, and told as records. */
#include "tls/keeper_keys_priv.h"

#include "tls/keys_priv.h"
#include "tls/tls_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define CHAIN_OCTETS_MAX ((size_t)256 << 10)	/* as of a policy document */

static const char *name_of(const struct tls_certificate *c)
{
	return c->file != NULL ? c->file : "given as a text";
}

/* ---- certificates ---- */

static int add_to_digest(EVP_MD_CTX *ctx, X509 *x)
{
	unsigned char *der = NULL;
	int n = i2d_X509(x, &der);
	int fine = n > 0 && EVP_DigestUpdate(ctx, der, (size_t)n) == 1;

	OPENSSL_free(der);
	return fine;
}

/* Of all its certificates: the same ones in another file, or with other words around them, are no change. */
static int digest_of(const struct tls_chain *chain, uint8_t out[KEEPER_DIGEST])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int fine = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1 && add_to_digest(ctx, chain->leaf);

	for (int i = 0; fine && i < sk_X509_num(chain->rest); i++)
		fine = add_to_digest(ctx, sk_X509_value(chain->rest, i));
	fine = fine && EVP_DigestFinal_ex(ctx, out, NULL) == 1;
	EVP_MD_CTX_free(ctx);
	return fine ? 0 : -ENOMEM;
}

static void time_text(const ASN1_TIME *time, char *out, size_t size)
{
	struct tm tm;

	if (ASN1_TIME_to_tm(time, &tm) != 1 || strftime(out, size, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
		snprintf(out, size, "?");
}

static int check_dates(const struct tls_certificate *c, const X509 *leaf, struct policy_problems *problems)
{
	const ASN1_TIME *from = X509_get0_notBefore(leaf), *to = X509_get0_notAfter(leaf);
	char text[64];

	/* 0: the library can't read the time */
	if (X509_cmp_current_time(from) < 0 && X509_cmp_current_time(to) > 0)
		return 0;
	time_text(X509_cmp_current_time(to) > 0 ? from : to, text, sizeof(text));
	problems_add(problems, PROBLEM_ERROR, c->place, "one that is valid now", "certificate %s: %s %s", name_of(c),
		     X509_cmp_current_time(to) > 0 ? "is not valid before" : "was valid until", text);
	return -EINVAL;
}

static int check_pair(const struct tls_certificate *c, const struct tls_chain *chain, const EVP_PKEY *key,
		      struct policy_problems *problems)
{
	if (EVP_PKEY_eq(X509_get0_pubkey(chain->leaf), key) == 1)
		return check_dates(c, chain->leaf, problems);
	ERR_clear_error();
	problems_add(problems, PROBLEM_ERROR, c->place, "the certificate and the key must be replaced together",
		     "certificate %s does not belong to the private key %s", name_of(c),
		     c->key->file != NULL ? c->key->file : "given with it");
	return -EINVAL;
}

static int parse(const struct tls_certificate *c, struct slice pem, struct tls_chain *chain, struct policy_problems *problems)
{
	const char *why = "";
	int err = tls_chain_parse(pem, chain, &why);

	if (err == -EINVAL)
		problems_add(problems, PROBLEM_ERROR, c->place,
			     "PEM texts that begin with -----BEGIN CERTIFICATE-----, the server's own first",
			     "certificate %s: %s", name_of(c), why);
	return err;
}

static int read_pem(const struct tls_certificate *c, struct policy_problems *problems, struct slice *out)
{
	int err = tls_read_file(c->file, CHAIN_OCTETS_MAX, out);

	if (err == 0 || err == -ENOMEM)
		return err;
	tls_report_unreadable(problems, c->place, "certificate", c->file, err);
	return -EINVAL;
}

/* The key as it is now: another one, or the same. A reference of the caller's own. */
static EVP_PKEY *current_key(const struct keeper_keys *k, const struct tls_key *key, struct policy_problems *problems)
{
	EVP_PKEY *now = k->now[key->index];

	if (key->file != NULL || now == NULL)
		return tls_key_load(key, &k->secrets, problems);
	return EVP_PKEY_up_ref(now) == 1 ? now : NULL;
}

static bool is_same(const struct keeper_keys *k, const struct tls_certificate *c, const EVP_PKEY *key,
		    const uint8_t digest[KEEPER_DIGEST])
{
	const EVP_PKEY *now = k->now[c->key->index];

	return memcmp(k->chains[c->index].digest, digest, KEEPER_DIGEST) == 0 && now != NULL && EVP_PKEY_eq(now, key) == 1;
}

static int64_t seconds_of(const ASN1_TIME *time)
{
	struct tm tm;

	return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static void note_leaf(struct keeper_chain *chain, X509 *leaf)
{
	if (key_name_of(X509_get0_pubkey(leaf), &chain->key) != 0)
		chain->key = 0;
	chain->from = seconds_of(X509_get0_notBefore(leaf));
	chain->to = seconds_of(X509_get0_notAfter(leaf));
}

void keeper_keys_dates(const struct keeper_keys *k, uint32_t certificate, int64_t *from, int64_t *to)
{
	*from = k->chains[certificate].from;
	*to = k->chains[certificate].to;
}

static int offer_pair(struct keeper_keys *k, const struct tls_certificate *c, struct slice pem, EVP_PKEY *key,
		      const struct keeper_chain *chain, struct policy_problems *problems, struct buffer *records)
{
	struct keeper_record record = { .kind = KEEPER_CHAIN, .index = c->index, .parts = { pem } };
	int err = keeper_keys_write(k, c->key->index, key, records);

	if (err == 0 && EVP_PKEY_up_ref(key) != 1)
		err = -ENOMEM;
	if (err != 0)
		return err;
	err = keeper_keys_offer(k, c->key->index, key, problems);
	if (err != 0) {
		EVP_PKEY_free(key);
		return err;
	}
	keeper_record_write(records, &record);
	k->offer.has_chain = true;
	k->offer.certificate = c->index;
	k->offer.chain = *chain;
	return 0;
}

static int read_pair(struct keeper_keys *k, const struct tls_certificate *c, struct slice pem, struct policy_problems *problems,
		     struct buffer *records)
{
	struct keeper_chain new = { .from = 0 };
	struct tls_chain chain;
	EVP_PKEY *key = NULL;
	int err = parse(c, pem, &chain, problems);

	if (err != 0)
		return err;
	note_leaf(&new, chain.leaf);
	err = digest_of(&chain, new.digest);
	if (err == 0) {
		key = current_key(k, c->key, problems);
		err = key == NULL ? -EINVAL : 0;
	}
	if (err == 0 && is_same(k, c, key, new.digest)) {
		k->chains[c->index] = new;
	} else if (err == 0) {
		err = check_pair(c, &chain, key, problems);
		if (err == 0)
			err = offer_pair(k, c, pem, key, &new, problems, records);
	}
	EVP_PKEY_free(key);
	tls_chain_clear(&chain);
	return err;
}

int keeper_keys_read_chain(struct keeper_keys *k, uint32_t certificate, struct policy_problems *problems, struct buffer *records)
{
	const struct tls_certificate *c = &k->policy->tls_certificates[certificate];
	struct slice pem = c->pem;
	int err = c->file != NULL ? read_pem(c, problems, &pem) : 0;

	if (err != 0)
		return err;
	err = read_pair(k, c, pem, problems, records);
	if (c->file != NULL)
		free((void *)pem.ptr);
	return err;
}

/* A key without a certificate: that of a bridge's leaves. */
int keeper_keys_read_key(struct keeper_keys *k, uint32_t index, struct policy_problems *problems, struct buffer *records)
{
	EVP_PKEY *now = k->now[index], *key = tls_key_load(&k->policy->tls_keys[index], &k->secrets, problems);
	int err = key == NULL ? -EINVAL : 0;

	if (err == 0 && now != NULL && EVP_PKEY_eq(now, key) == 1) {
		EVP_PKEY_free(key);
		return 0;
	}
	ERR_clear_error();
	if (err == 0)
		err = keeper_keys_write(k, index, key, records);
	if (err == 0)
		err = keeper_keys_offer(k, index, key, problems);
	if (err != 0)
		EVP_PKEY_free(key);
	return err;
}

void keeper_keys_know(struct keeper_keys *k)
{
	for (size_t i = 0; i < k->policy->n_tls_certificates; i++) {
		struct tls_chain chain;
		const char *why;

		if (tls_chain_parse(k->policy->tls_certificates[i].pem, &chain, &why) != 0)
			continue;	/* the leader says so */
		if (digest_of(&chain, k->chains[i].digest) != 0)
			memset(k->chains[i].digest, 0, KEEPER_DIGEST);
		note_leaf(&k->chains[i], chain.leaf);
		tls_chain_clear(&chain);
	}
}

/* ---- CAs, CRLs, pins: as they are. Signatures wait meanwhile, and parsing takes long, so it is left to the leader. ---- */

static void write_directory(const struct tls_directory *directory, struct buffer *out)
{
	for (size_t i = 0; i < directory->n; i++) {
		const struct tls_file *file = &directory->files[i];
		const struct keeper_record record = { .kind = KEEPER_FILE, .index = (uint32_t)-file->err,
						      .parts = { slice_cstr(file->name), file->octets } };

		keeper_record_write(out, &record);
	}
}

static void write_trust(uint32_t context, const struct tls_trust_sources *sources, struct buffer *records)
{
	const struct tls_directory *const directories[] = { &sources->ca, &sources->crl, &sources->hints, &sources->pins };
	struct buffer packed[ARRAY_LEN(directories)];
	struct keeper_record record = { .kind = KEEPER_TRUST, .index = context };
	bool broken = false;

	for (size_t i = 0; i < ARRAY_LEN(directories); i++) {
		packed[i] = (struct buffer)BUFFER_INIT(KEEPER_FILE_MAX);
		write_directory(directories[i], &packed[i]);
		record.parts[i] = buffer_slice(&packed[i]);
		broken |= packed[i].broken;
	}
	keeper_record_write(records, &record);
	records->broken |= broken;
	for (size_t i = 0; i < ARRAY_LEN(directories); i++)
		buffer_release(&packed[i]);
}

int keeper_keys_read_trust(struct keeper_keys *k, uint32_t context, struct policy_problems *problems, struct buffer *records)
{
	const struct encryption *e = &k->policy->encryptions[context / TLS_ENDS];
	struct tls_trust_sources sources;
	int err = tls_trust_read(&e->sides[context % TLS_ENDS].verifier, e->place, problems, &sources);

	if (err != 0)
		return err;
	write_trust(context, &sources, records);
	tls_trust_sources_free(&sources);
	return 0;
}

/* ---- OCSP ---- */

int keeper_keys_read_ocsp(struct keeper_keys *k, uint32_t context, struct policy_problems *problems, struct buffer *records)
{
	const struct encryption *e = &k->policy->encryptions[context / TLS_ENDS];
	struct keeper_record record = { .kind = KEEPER_OCSP, .index = context };
	struct tls_staple *staple;
	int err = tls_ocsp_read(e, problems, &staple);

	if (err != 0)
		return err;
	record.parts[0] = tls_staple_der(staple);
	keeper_record_write(records, &record);
	tls_staple_free(&staple);
	return 0;
}
