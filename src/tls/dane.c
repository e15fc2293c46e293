/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Servers by their TLSA records (RFC 7671, RFC 7672). The library compares them with the chain; what is
 * ours is that names are judged in one place (verify.c), and that nothing but the records counts: a
 * certificate that is named itself is good whatever its name and dates, and no list of ours revokes it.
 */
#include "tls/tls_priv.h"

#include <errno.h>
#include <openssl/err.h>

int tls_dane_setup(struct tls_context *c)
{
	return c->side->verifier.dane == TLS_DANE_OFF || SSL_CTX_dane_enable(c->ctx) > 0 ? 0 : -ENOMEM;
}

/* 1 it counts, 0 the library can't use it, negative: no memory. */
static int add(SSL *ssl, const struct tlsa *r)
{
	return SSL_dane_tlsa_add(ssl, r->usage, r->selector, r->matching, r->data.ptr, r->data.len);
}

int tls_dane_offer(struct tls_hand *hand)
{
	const struct tlsa_set *set = hand->h->dane;
	X509_VERIFY_PARAM *param = SSL_get0_param(hand->ssl);
	char name[TLS_NAME_MAX + 1];
	size_t n = 0;

	if (tls_name_to_ascii(hand->h->must_fit, name) < 0 || SSL_dane_enable(hand->ssl, name) <= 0 ||
	    X509_VERIFY_PARAM_set1_host(param, NULL, 0) != 1)
		return -ENOMEM;
	SSL_dane_set_flags(hand->ssl, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
	X509_VERIFY_PARAM_clear_flags(param, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
	for (size_t i = 0; i < set->n; i++)
		n += add(hand->ssl, &set->records[i]) == 1;
	ERR_clear_error();
	if (n > 0)
		return 0;
	tls_say(hand, "none of the server's TLSA records is usable");
	return -EACCES;
}

bool tls_dane_names_leaf(const struct tls_hand *hand)
{
	uint8_t usage, selector, matching;
	const unsigned char *data;
	size_t n;

	return SSL_get0_dane_tlsa(hand->ssl, &usage, &selector, &matching, &data, &n) >= 0 && usage == TLSA_DANE_EE;
}
