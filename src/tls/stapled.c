/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What servers staple: their CA's word that their certificate is not revoked (RFC 6066, 8). It counts where the CA's word counts
 * at all. One that does not come, or that nobody may believe, is missed only where the certificate says that it comes
 * (RFC 7633): whoever stole it would leave it out.
 */
#include "tls/tls_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

static bool must_staple(X509 *leaf)
{
	TLS_FEATURE *features = X509_get_ext_d2i(leaf, NID_tlsfeature, NULL, NULL);
	bool must = false;

	for (int i = 0; i < sk_ASN1_INTEGER_num(features); i++)
		must = must || ASN1_INTEGER_get(sk_ASN1_INTEGER_value(features, i)) == TLSEXT_TYPE_status_request;
	sk_ASN1_INTEGER_pop_free(features, ASN1_INTEGER_free);
	return must;
}

/* As verify.c decides about any error but that of an unknown CA. */
static int refuse(struct tls_hand *hand, int error)
{
	const struct tls_verifier *v = &hand->context->side->verifier;
	struct tls_facts *facts = &hand->h->facts;

	facts->trusted = false;
	facts->verify_error = error;
	facts->verify_text = X509_verify_cert_error_string(error);
	if (v->permit_invalid && !hand->h->strict && (v->type == TLS_VERIFY_OPTIONAL_UNTRUSTED || v->type == TLS_VERIFY_REQUIRED_UNTRUSTED))
		return 1;
	if (error == X509_V_ERR_CERT_REVOKED)
		tls_say(hand, "the server's certificate is revoked, as the OCSP response says that came with it");
	else
		tls_say(hand, "the server's certificate must come with an OCSP response, and none came that counts");
	hand->err = -EACCES;
	hand->peer_fault = true;
	return 0;
}

/* CAs vouch for it, though perhaps without the list that a response makes up for. */
static bool is_vouched_for(const struct tls_facts *facts)
{
	return facts->trusted || facts->verify_error == X509_V_ERR_UNABLE_TO_GET_CRL;
}

/* Behind the server's part of a handshake, whether it stapled or not. 1 go on, 0 an alert. */
static int on_status(SSL *ssl, void *unused)
{
	struct tls_hand *hand = tls_link_of(ssl)->hand;
	STACK_OF(X509) *chain = SSL_get0_verified_chain(ssl);
	enum tls_staple_status status = TLS_STAPLE_SAYS_NOTHING;
	int64_t until = INT64_MAX;
	const unsigned char *der;
	long n;
	int go_on = 1;

	if (hand == NULL || sk_X509_num(chain) <= 0 || !is_vouched_for(&hand->h->facts) || hand->h->facts.pinned || hand->h->dane != NULL ||
	    (hand->context->side->verifier.type == TLS_VERIFY_NONE && !hand->h->strict))
		return 1;
	n = SSL_get_tlsext_status_ocsp_resp(ssl, &der);
	if (n > 0)
		status = tls_staple_judge(slice_of(der, (size_t)n), chain, hand->context->trust.store,
					  loop_wall_ms(hand->stream->loop) / 1000, &until);
	if (status == TLS_STAPLE_SAYS_REVOKED)
		go_on = refuse(hand, X509_V_ERR_CERT_REVOKED);
	else if (status == TLS_STAPLE_SAYS_NOTHING && must_staple(sk_X509_value(chain, 0)))
		go_on = refuse(hand, X509_V_ERR_OCSP_VERIFY_NEEDED);
	if (until < hand->believed_until)
		hand->believed_until = until;
	ERR_clear_error();
	return go_on;
}

int tls_stapled_setup(struct tls_context *c)
{
	const struct tls_verifier *v = &c->side->verifier;

	if (c->end == TLS_CLIENT || (v->type == TLS_VERIFY_NONE && v->mta_sts == NULL))
		return 0;
	return SSL_CTX_set_tlsext_status_type(c->ctx, TLSEXT_STATUSTYPE_ocsp) == 1 &&
	       SSL_CTX_set_tlsext_status_cb(c->ctx, on_status) == 1 ? 0 : -ENOMEM;
}
