/* SPDX-License-Identifier: Apache-2.0 */
/* The certificates that we show: loaded with the policy, chosen in each handshake. */
#include "tls/tls_priv.h"
#include "policy/matcher.h"
#include "tls/keys_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>

#define CHAIN_MAX 16	/* certificates behind the leaf */

void tls_chain_clear(struct tls_chain *chain)
{
	X509_free(chain->leaf);
	sk_X509_pop_free(chain->rest, X509_free);
	EVP_PKEY_free(chain->key);
	*chain = (struct tls_chain){ 0 };
}

/* Reading. */

static int read_rest(BIO *bio, STACK_OF(X509) *rest, const char **why)
{
	X509 *x;

	while ((x = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL) {
		if (sk_X509_num(rest) == CHAIN_MAX) {
			X509_free(x);
			*why = "its chain has more than 16 certificates";
			return -EINVAL;
		}
		if (sk_X509_push(rest, x) <= 0) {
			X509_free(x);
			return -ENOMEM;
		}
	}
	if (ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE)
		return 0;
	*why = "a certificate of its chain is damaged";
	return -EINVAL;
}

int tls_chain_parse(struct slice pem, struct tls_chain *out, const char **why)
{
	BIO *bio = BIO_new_mem_buf(pem.len == 0 ? "" : (const void *)pem.ptr, (int)pem.len);
	struct tls_chain chain = { .rest = sk_X509_new_null() };
	int err = -ENOMEM;

	*why = "there is no memory";
	if (bio != NULL && chain.rest != NULL) {
		ERR_clear_error();
		chain.leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL);
		*why = "there is no certificate in it";
		err = chain.leaf == NULL ? -EINVAL : read_rest(bio, chain.rest, why);
	}
	BIO_free(bio);
	ERR_clear_error();
	if (err < 0)
		tls_chain_clear(&chain);
	else
		*out = chain;
	return err;
}

int tls_chain_key(struct tls_chain *chain, EVP_PKEY *key)
{
	int fits = key != NULL ? EVP_PKEY_eq(X509_get0_pubkey(chain->leaf), key) : 0;

	ERR_clear_error();
	if (fits != 1)
		return -EINVAL;
	if (EVP_PKEY_up_ref(key) != 1)
		return -ENOMEM;
	chain->key = key;
	return 0;
}

static const char *certificate_name(const struct tls_certificate *c)
{
	return c->file != NULL ? c->file : "given as a text";
}

static int load_chain(struct tls *tls, const struct tls_certificate *c, struct policy_problems *problems)
{
	struct tls_chain *chain = &tls->own[c->index];
	const char *why;
	int err = tls_chain_parse(c->pem, chain, &why);

	if (err == -ENOMEM)
		return err;
	if (err < 0) {
		problems_add(problems, PROBLEM_ERROR, c->place,
			     "PEM texts that begin with -----BEGIN CERTIFICATE-----, the server's own first",
			     "certificate %s: %s", certificate_name(c), why);
		return err;
	}
	err = tls_chain_key(chain, tls_keys_get(tls->keys, c->key));
	if (err != -EINVAL)
		return err;
	problems_add(problems, PROBLEM_ERROR, c->place, "the certificate must be made for this key",
		     "certificate %s does not belong to the private key %s", certificate_name(c),
		     c->key->file != NULL ? c->key->file : "given with it");
	return -EINVAL;
}

int tls_own_load(struct tls *tls, struct policy_problems *problems)
{
	size_t n = tls->policy->n_tls_certificates;
	int err = 0;

	tls->own = calloc(n + 1, sizeof(tls->own[0]));
	if (tls->own == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n && err != -ENOMEM; i++) {
		int one = load_chain(tls, &tls->policy->tls_certificates[i], problems);

		if (one < 0)
			err = one;
	}
	return err;
}

/* Choosing. */

struct test {
	const struct matcher *matcher;
	struct slice text;
	enum matcher_answer answer;
};

static void test_leaf(void *arg)
{
	struct test *t = arg;

	t->answer = matcher_test(t->matcher, t->text, NULL);
}

/* 1 it fits, 0 it does not, -errno: nobody knows. */
static co_waits int fits(struct tls_hand *hand, const struct matcher_call *name)
{
	const struct tls_asks *asks = &hand->h->asks;
	struct test t = { .matcher = name->matcher, .text = hand->h->facts.server_name };

	if (name->matcher == NULL)
		return asks->matches == NULL ? -EACCES : asks->matches(asks->arg, name, t.text);
	co_leaf(test_leaf, &t);
	return t.answer == MATCHER_UNSURE ? -EACCES : t.answer == MATCHER_YES;
}

co_waits int tls_own_choose(struct tls_hand *hand)
{
	const struct tls_own_certificate *own = &hand->context->side->own;

	hand->chosen = NULL;
	for (size_t i = 0; i < own->n_named && hand->h->facts.server_name.len > 0; i++) {
		int answer = fits(hand, &own->named[i].name);

		if (answer < 0)
			return answer;
		if (answer > 0) {
			hand->chosen = own->named[i].certificate;
			return 0;
		}
	}
	hand->chosen = own->fallback;
	return own->fallback == NULL && own->n_named > 0 ? -ENOENT : 0;
}

/* Showing. */

static int use(SSL *ssl, struct tls_hand *hand, const struct tls_chain *chain)
{
	ERR_clear_error();
	if (SSL_use_cert_and_key(ssl, chain->leaf, chain->key, chain->rest, 1) == 1)
		return 1;
	tls_say(hand, "our certificate can't be used: %s", ERR_reason_error_string(ERR_peek_error()));
	hand->err = -EIO;
	return 0;
}

static int use_given(SSL *ssl, struct tls_hand *hand, const struct tls_given *given)
{
	struct tls_chain chain = { 0 };
	const char *why = "";
	int good = 0;

	hand->err = -EACCES;
	if (tls_chain_parse(given->pem, &chain, &why) < 0) {
		tls_say(hand, "the certificate that the policy gave is none: %s", why);
		return 0;
	}
	chain.key = tls_key_parse(given->key_pem, given->passphrase, &why);
	if (chain.key == NULL) {
		tls_say(hand, "the private key that the policy gave is none: %s", why);
	} else {
		hand->err = 0;
		good = use(ssl, hand, &chain);
	}
	tls_chain_clear(&chain);
	return good;
}

/* As a client's certificate none is an answer; as a server's it is not, and OpenSSL says so. */
co_waits int tls_own_install(SSL *ssl, void *unused)
{
	struct tls_hand *hand = tls_link_of(ssl)->hand;
	struct tls_asks *asks = &hand->h->asks;
	struct tls_given given = { .pem = { NULL, 0 } };

	if (policy_call_is_set(&hand->context->side->own.setup_key) && asks->certificate != NULL) {
		int err = asks->certificate(asks->arg, &hand->h->facts, &given);

		ERR_clear_error();
		if (err < 0) {
			tls_say(hand, "the policy gave no certificate");
			hand->err = err;
			return 0;
		}
		if (given.pem.len > 0)
			return use_given(ssl, hand, &given);
	}
	if (hand->context->mint != NULL)
		return tls_bridge_install(ssl, hand);
	if (hand->chosen != NULL)
		return use(ssl, hand, &hand->tls->own[hand->chosen->index]);
	return 1;
}
