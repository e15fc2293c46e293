/* SPDX-License-Identifier: Apache-2.0 */
/* The contexts of a policy: built once, in the leader, and shared by the workers copy-on-write. */
#include "tls/tls_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <time.h>

static bool is_same(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool tls_context_has_sources(const struct tls_context *c, const struct tls_verifier *of)
{
	const struct tls_verifier *own = &c->side->verifier;

	return is_same(own->ca_directory, of->ca_directory) && is_same(own->crl_directory, of->crl_directory) &&
	       is_same(own->hint_directory, of->hint_directory) && is_same(own->pinned_directory, of->pinned_directory);
}

/* Policies have many encryptions and few directories: what was loaded once is shared. */
static const struct tls_context *find_loaded(const struct tls_context *c)
{
	for (const struct tls_context *other = c->tls->contexts; other < c; other++)
		if (other->trust.store != NULL && tls_context_has_sources(other, &c->side->verifier))
			return other;
	return NULL;
}

static int read_trust(struct tls_context *c, struct policy_problems *problems, struct tls_trust *out)
{
	struct tls_trust_sources sources;
	const struct tls_context *loaded = find_loaded(c);
	struct policy_place place = c->encryption->place;
	int err;

	if (loaded != NULL)
		return tls_trust_share(&loaded->trust, out);
	err = tls_trust_read(&c->side->verifier, place, problems, &sources);
	if (err < 0)
		return err;
	err = tls_trust_build(&sources, place, problems, out);
	tls_trust_sources_free(&sources);
	return err;
}

int tls_context_hints(const struct tls_context *c, const struct tls_trust *trust, STACK_OF(X509_NAME) **out)
{
	STACK_OF(X509_NAME) *hints = NULL;

	if (c->end == TLS_CLIENT && sk_X509_NAME_num(trust->hints) > 0) {
		hints = SSL_dup_CA_list(trust->hints);
		if (hints == NULL)
			return -ENOMEM;
	}
	*out = hints;
	return 0;
}

void tls_context_name(struct tls_context *c, STACK_OF(X509_NAME) *hints)
{
	if (c->end == TLS_CLIENT)
		SSL_CTX_set_client_CA_list(c->ctx, hints);
}

static int load_trust(struct tls_context *c, struct policy_problems *problems)
{
	STACK_OF(X509_NAME) *hints;
	int err = read_trust(c, problems, &c->trust);

	if (err == 0)
		err = tls_context_hints(c, &c->trust, &hints);
	if (err == 0)
		tls_context_name(c, hints);
	return err;
}

static int load_bridge(struct tls_context *c, struct policy_problems *problems)
{
	return c->side->own.bridge != NULL ? tls_bridge_make(c, problems, &c->mint) : 0;
}

int tls_context_try(const struct tls_context *c, const struct tls_chain *chain, const char **why)
{
	SSL *ssl = SSL_new(c->ctx);
	int good;

	if (ssl == NULL)
		return -ENOMEM;
	good = SSL_use_cert_and_key(ssl, chain->leaf, chain->key, chain->rest, 1);
	*why = good == 1 ? NULL : ERR_reason_error_string(ERR_peek_error());
	if (good != 1 && *why == NULL)
		*why = "OpenSSL does not say why";
	ERR_clear_error();
	SSL_free(ssl);
	return good == 1 ? 0 : -EKEYREJECTED;
}

/* A key that is too short for OpenSSL's level comes out here and not in the first session. */
static int try_certificate(struct tls_context *c, const struct tls_certificate *certificate, struct policy_problems *problems)
{
	const struct tls_chain *chain = &c->tls->own[certificate->index];
	const char *why;
	int err;

	if (chain->leaf == NULL || chain->key == NULL)
		return 0;	/* said before */
	err = tls_context_try(c, chain, &why);
	if (err != -EKEYREJECTED)
		return err;
	problems_add(problems, PROBLEM_ERROR, certificate->place,
		     "a newer certificate, or @SECLEVEL=1 at the end of the encryption's ciphers",
		     "certificate %s can't be used by encryption %s: %s",
		     certificate->file != NULL ? certificate->file : "given as a text", c->encryption->name, why);
	return -EINVAL;
}

static int try_certificates(struct tls_context *c, struct policy_problems *problems)
{
	const struct tls_own_certificate *own = &c->side->own;
	int err = own->fallback == NULL ? 0 : try_certificate(c, own->fallback, problems);

	for (size_t i = 0; i < own->n_named && err != -ENOMEM; i++) {
		int one = try_certificate(c, own->named[i].certificate, problems);

		if (one < 0)
			err = one;
	}
	return err;
}

static int build_context(struct tls_context *c, struct policy_problems *problems)
{
	int errs[6];

	if (c->side->security == TLS_OFF)
		return 0;
	c->ctx = SSL_CTX_new(c->end == TLS_CLIENT ? TLS_server_method() : TLS_client_method());
	if (c->ctx == NULL)
		return -ENOMEM;
	errs[0] = tls_options_apply(c, problems);
	errs[1] = load_trust(c, problems);
	errs[2] = load_bridge(c, problems);
	errs[3] = try_certificates(c, problems);
	errs[4] = tls_dane_setup(c);
	errs[5] = tls_stapled_setup(c);
	for (size_t i = 0; i < ARRAY_LEN(errs); i++)
		if (errs[i] < 0)
			return errs[i];
	tls_verify_setup(c);
	tls_handshake_setup(c);
	return tls_resume_setup(c);
}

static int build_contexts(struct tls *tls, struct policy_problems *problems)
{
	const struct policy *policy = tls->policy;
	int err = 0;

	tls->contexts = calloc(policy->n_encryptions * TLS_ENDS + 1, sizeof(tls->contexts[0]));
	if (tls->contexts == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < policy->n_encryptions * TLS_ENDS && err != -ENOMEM; i++) {
		struct tls_context *c = &tls->contexts[i];
		int one;

		c->tls = tls;
		c->encryption = &policy->encryptions[i / TLS_ENDS];
		c->end = i % TLS_ENDS;
		c->side = &c->encryption->sides[c->end];
		one = build_context(c, problems);
		if (one < 0)
			err = one;
	}
	return err;
}

int tls_build(const struct policy *policy, struct tls_keys *keys, struct policy_problems *problems, struct tls **out)
{
	struct tls *tls = calloc(1, sizeof(*tls));
	int err, contexts;

	if (tls == NULL)
		return -ENOMEM;
	tls->policy = policy;
	tls->keys = keys;
	tls->bio = tls_bio_method();
	err = tls->bio == NULL ? -ENOMEM : tls_ratchet_start(&tls->ratchet, time(NULL));
	if (err == 0)
		err = tls_own_load(tls, problems);
	contexts = err == -ENOMEM || err == -EIO ? -ENOMEM : build_contexts(tls, problems);
	ERR_clear_error();
	if (err < 0 || contexts < 0) {
		tls_free(&tls);
		return contexts == -ENOMEM ? -ENOMEM : -EINVAL;
	}
	*out = tls;
	return 0;
}

void tls_set_ratchet(struct tls *tls, const struct tls_ratchet *ratchet)
{
	tls->ratchet = *ratchet;
	for (size_t i = 0; i < tls->policy->n_encryptions * TLS_ENDS; i++)
		tls->contexts[i].tickets.epoch = 0;
}

static void free_context(struct tls_context *c)
{
	SSL_CTX_free(c->ctx);
	tls_trust_clear(&c->trust);
	mint_free(&c->mint);
	tls_staple_free(&c->staple);
	free(c->alpn);
	OPENSSL_cleanse(&c->tickets, sizeof(c->tickets));
}

void tls_free(struct tls **tlsp)
{
	struct tls *tls = *tlsp;

	if (tls == NULL)
		return;
	*tlsp = NULL;
	tls_sessions_clear(tls);
	for (size_t i = 0; tls->contexts != NULL && i < tls->policy->n_encryptions * TLS_ENDS; i++)
		free_context(&tls->contexts[i]);
	for (size_t i = 0; tls->own != NULL && i < tls->policy->n_tls_certificates; i++)
		tls_chain_clear(&tls->own[i]);
	free(tls->contexts);
	free(tls->own);
	BIO_meth_free(tls->bio);
	OPENSSL_cleanse(&tls->ratchet, sizeof(tls->ratchet));
	free(tls);
}
