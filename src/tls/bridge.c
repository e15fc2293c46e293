/* SPDX-License-Identifier: Apache-2.0 */
/* Key bridging in a handshake: this end shows what the other end's peer showed, in a certificate of ours. */
#include "tls/tls_priv.h"

#include <errno.h>
#include <openssl/err.h>

static int refuse(const struct tls_context *c, struct policy_problems *problems, const char *hint, const char *why)
{
	problems_add(problems, PROBLEM_ERROR, c->encryption->place, hint, "the bridge of encryption %s can't make certificates: %s",
		     c->encryption->name, why);
	return -EINVAL;
}

static bool ca_of(const struct tls_context *c, const struct tls_certificate *certificate, struct mint_ca *out)
{
	const struct tls_chain *chain = &c->tls->own[certificate->index];

	*out = (struct mint_ca){ chain->leaf, chain->rest, chain->key };
	return chain->leaf != NULL && chain->key != NULL;
}

static int check_extensions(const struct tls_context *c, struct policy_problems *problems)
{
	const struct tls_bridge *bridge = c->side->own.bridge;

	for (size_t i = 0; i < bridge->n_extensions; i++) {
		if (mint_knows_extension(bridge->extensions[i]))
			continue;
		problems_add(problems, PROBLEM_ERROR, c->encryption->place, "short names, such as subjectAltName, or numbers with dots",
			     "encryption %s: no extension of certificates is called %s", c->encryption->name, bridge->extensions[i]);
		return -EINVAL;
	}
	return 0;
}

int tls_bridge_make(const struct tls_context *c, struct policy_problems *problems, struct mint **out)
{
	const struct tls_bridge *bridge = c->side->own.bridge;
	struct mint_setup setup = { 0 };
	const char *why;
	int err = check_extensions(c, problems);
	if (err < 0)
		return err;
	setup.leaf_key = tls_keys_get(c->tls->keys, bridge->key);
	setup.cache_directory = bridge->cache_directory;
	setup.extensions = bridge->extensions;
	setup.n_extensions = bridge->n_extensions;
	if (!ca_of(c, bridge->trusted_ca, &setup.trusted) || !ca_of(c, bridge->untrusted_ca, &setup.untrusted))
		return -EINVAL;		/* said when they were loaded */
	if (setup.leaf_key == NULL)
		return refuse(c, problems, NULL, "its key could not be loaded");
	err = mint_create(&setup, out, &why);
	return err == -EINVAL ? refuse(c, problems, "a CertificateCA with the CA flag, keyCertSign, and its own key", why) : err;
}

static const char *who(const struct tls_hand *hand)
{
	return hand->context->end == TLS_CLIENT ? "server" : "client";
}

static int show(SSL *ssl, struct tls_hand *hand, X509 *leaf, STACK_OF(X509) *chain)
{
	EVP_PKEY *key = tls_keys_get(hand->tls->keys, hand->context->side->own.bridge->key);

	ERR_clear_error();
	if (key != NULL && SSL_use_cert_and_key(ssl, leaf, key, chain, 1) == 1)
		return 1;
	tls_say(hand, "the certificate made from the %s's can't be used: %s", who(hand),
		key == NULL ? "its key is gone" : ERR_reason_error_string(ERR_peek_error()));
	hand->err = -EIO;
	return 0;
}

/*
 * TLSA records say of one host that the certificate is its own, and nothing of what else stands in it: else whoever has a
 * zone could have any name vouched for by our CA.
 */
bool tls_bridge_trusts(const struct tls_facts *other)
{
	return other->trusted && !other->narrow;
}

static co_waits int make_and_show(SSL *ssl, struct tls_hand *hand, struct mint *mint)
{
	const struct tls_facts *other = hand->h->bridged;
	bool trusted = tls_bridge_trusts(other);
	const char *why;
	X509 *leaf = mint_certificate(mint, other->peer[0].der, trusted, loop_wall_ms(hand->stream->loop) / 1000, &why);
	int good;

	if (leaf == NULL) {
		tls_say(hand, "no certificate can be made from the %s's: %s", who(hand), why);
		hand->err = -EACCES;
		return 0;
	}
	good = show(ssl, hand, leaf, mint_chain(mint, trusted));
	X509_free(leaf);
	return good;
}

/* Towards a server none is an answer, as it was the client's. */
co_waits int tls_bridge_install(SSL *ssl, struct tls_hand *hand)
{
	const struct tls_facts *other = hand->h->bridged;
	struct mint *mint;
	int good;

	if (other == NULL || other->n_peer == 0) {
		if (hand->context->end == TLS_SERVER)
			return 1;
		tls_say(hand, "there is no certificate of the server's that one for the client could be made from");
		hand->err = -EACCES;
		return 0;
	}
	mint = mint_hold(hand->context->mint);
	good = make_and_show(ssl, hand, mint);
	mint_free(&mint);
	return good;
}
