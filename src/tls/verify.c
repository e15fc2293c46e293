/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May this peer be who it shows? The library walks the chain and finds errors; for each of them
 * the verifier's type says whether it counts. Trusted is only what had none at all, or is pinned.
 * Where TLSA records say which certificate is the server's, each of them counts, whatever the type;
 * where a mail domain's policy wants it (h->strict), the type is the strictest.
 */
#include "tls/tls_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>

static struct tls_hand *hand_of(X509_STORE_CTX *store_ctx)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(store_ctx, SSL_get_ex_data_X509_STORE_CTX_idx());

	return tls_link_of(ssl)->hand;
}

/* The decision for one error. */

static bool is_of_unknown_ca(int error)
{
	switch (error) {
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_CERT_UNTRUSTED:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		return true;
	default:
		return false;
	}
}

static enum tls_verify type_of(const struct tls_hand *hand)
{
	return hand->h->strict ? TLS_VERIFY_REQUIRED_TRUSTED : hand->context->side->verifier.type;
}

/* First match counts; the order is that of the policy language's reference. */
static bool passes(const struct tls_hand *hand, int error, int depth)
{
	const struct tls_verifier *v = &hand->context->side->verifier;
	enum tls_verify type = type_of(hand);
	bool lenient = type == TLS_VERIFY_OPTIONAL_UNTRUSTED || type == TLS_VERIFY_REQUIRED_UNTRUSTED;

	if (hand->h->dane != NULL)
		return error == X509_V_OK && depth <= (int)v->depth;
	if (type == TLS_VERIFY_NONE)
		return true;
	if (depth > (int)v->depth)
		return false;
	if (error == X509_V_OK)
		return true;
	if (error == X509_V_ERR_UNABLE_TO_GET_CRL)
		return v->permit_missing_crl;
	return lenient && (v->permit_invalid || is_of_unknown_ca(error));
}

static void remember(struct tls_hand *hand, X509_STORE_CTX *store_ctx, int error, int depth)
{
	char subject[160];
	X509 *x = X509_STORE_CTX_get_current_cert(store_ctx);

	if (hand->h->facts.verify_error != X509_V_OK)
		return;
	hand->h->facts.verify_error = error;
	hand->h->facts.verify_text = X509_verify_cert_error_string(error);
	hand->verify_depth = depth;
	if (x == NULL || X509_NAME_oneline(X509_get_subject_name(x), subject, sizeof(subject)) == NULL)
		snprintf(subject, sizeof(subject), "?");
	snprintf(hand->verify_words, sizeof(hand->verify_words), "certificate %s at depth %d: %s", subject, depth,
		 hand->h->facts.verify_text);
}

/* For each certificate of the chain, and each error. */
static int judge(int good, X509_STORE_CTX *store_ctx)
{
	struct tls_hand *hand = hand_of(store_ctx);
	const struct tls_verifier *v = &hand->context->side->verifier;
	int depth = X509_STORE_CTX_get_error_depth(store_ctx);
	int error = good ? X509_V_OK : X509_STORE_CTX_get_error(store_ctx);
	bool pass = passes(hand, error, depth);

	if (depth > (int)v->depth)
		error = X509_V_ERR_CERT_CHAIN_TOO_LONG;
	if (error == X509_V_OK)
		return 1;
	remember(hand, store_ctx, error, depth);
	hand->tolerated = true;
	if (!pass)
		X509_STORE_CTX_set_error(store_ctx, error);
	return pass;
}

/* Pins. */

static void pin_name(const struct tls_hand *hand, char *out, size_t size)
{
	const struct endpoint *peer = hand->h->peer;
	char ip[IP_TEXT_MAX];

	if (hand->context->end == TLS_CLIENT)
		snprintf(out, size, "%s", ip_text(&peer->ip, ip));
	else
		snprintf(out, size, "%s:%u", ip_text(&peer->ip, ip), peer->port);
}

static bool is_der(X509 *x, struct slice der)
{
	uint8_t *own = NULL;
	int n = i2d_X509(x, &own);
	bool equal = n > 0 && slice_equal(slice_of(own, (size_t)n), der);

	OPENSSL_free(own);
	return equal;
}

int tls_pin_of(const struct tls_hand *hand, X509 *leaf)
{
	char name[ENDPOINT_TEXT_MAX];
	const struct tls_pin *pin;

	if (hand->context->trust.n_pins == 0 || hand->h->peer == NULL)
		return 0;
	pin_name(hand, name, sizeof(name));
	pin = tls_trust_pin(&hand->context->trust, name);
	if (pin == NULL)
		return 0;
	return is_der(leaf, pin->der) ? 1 : -EACCES;
}

static void say_pin_differs(struct tls_hand *hand)
{
	char name[ENDPOINT_TEXT_MAX];

	pin_name(hand, name, sizeof(name));
	tls_say(hand, "the certificate differs from the one that is pinned for %s", name);
}

/* The name. */

static int check_name(struct tls_hand *hand)
{
	struct slice host = hand->h->must_fit;

	if (hand->context->end == TLS_CLIENT || host.len == 0 || hand->pinned || tls_fits_host(&hand->h->facts, host))
		return 0;
	if (hand->h->facts.verify_error == X509_V_OK) {
		hand->h->facts.verify_error = X509_V_ERR_HOSTNAME_MISMATCH;
		hand->h->facts.verify_text = X509_verify_cert_error_string(X509_V_ERR_HOSTNAME_MISMATCH);
	}
	hand->h->facts.trusted = false;
	tls_say(hand, "the certificate %.*s is not for the host %.*s", hand->h->facts.n_peer == 0 ? 0 :
		(int)hand->h->facts.peer[0].subject.len, hand->h->facts.n_peer == 0 ? "" :
		(const char *)hand->h->facts.peer[0].subject.ptr, SLICE_ARG(host));
	return -EACCES;
}

/* How long it counts. */

/* Until when, in seconds from now by the clock that the library judged by. */
static int64_t seconds_left(const ASN1_TIME *end)
{
	int days, seconds;

	return ASN1_TIME_diff(&days, &seconds, NULL, end) == 1 ? (int64_t)days * 86400 + seconds : 0;
}

/* Which of an issuer's lists the library took is not known; those that are over it did not. */
static int64_t lists_left(const STACK_OF(X509_CRL) *lists)
{
	int64_t least = INT64_MAX;

	for (int i = 0; i < sk_X509_CRL_num(lists); i++) {
		const ASN1_TIME *next = X509_CRL_get0_nextUpdate(sk_X509_CRL_value(lists, i));
		int64_t left = next != NULL ? seconds_left(next) : INT64_MAX;

		if (left > 0 && left < least)
			least = left;
	}
	return least;
}

/* A session that goes on is not verified again: it must not outlast what it was verified by. */
static int64_t believed_until(const struct tls_hand *hand, X509_STORE_CTX *store_ctx)
{
	const STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(store_ctx);
	bool listed = (X509_VERIFY_PARAM_get_flags(X509_STORE_CTX_get0_param(store_ctx)) & X509_V_FLAG_CRL_CHECK) != 0;
	int64_t least = INT64_MAX;

	for (int i = 0; i < sk_X509_num(chain); i++) {
		X509 *x = sk_X509_value(chain, i);
		STACK_OF(X509_CRL) *lists = listed ? X509_STORE_CTX_get1_crls(store_ctx, X509_get_issuer_name(x)) : NULL;
		int64_t lists_end = lists_left(lists), left = seconds_left(X509_get0_notAfter(x));

		sk_X509_CRL_pop_free(lists, X509_CRL_free);
		left = lists_end < left ? lists_end : left;
		least = left < least ? left : least;
	}
	ERR_clear_error();
	return least == INT64_MAX ? least : loop_wall_ms(hand->stream->loop) / 1000 + least;
}

/* The whole. */

/* As the library and the verifier say: 0 or -EACCES. */
static int verify_chain(struct tls_hand *hand, X509_STORE_CTX *store_ctx)
{
	struct tls_facts *facts = &hand->h->facts;
	int r, pin = tls_pin_of(hand, X509_STORE_CTX_get0_cert(store_ctx));

	if (pin < 0) {
		say_pin_differs(hand);
		facts->verify_error = X509_V_ERR_CERT_REJECTED;
		facts->verify_text = "not the pinned certificate";
		return pin;
	}
	hand->pinned = facts->pinned = facts->trusted = pin == 1;
	if (pin == 1)
		return 0;
	X509_STORE_CTX_set_verify_cb(store_ctx, judge);
	r = X509_verify_cert(store_ctx);
	if (r != 1 && facts->verify_error == X509_V_OK)
		remember(hand, store_ctx, X509_V_ERR_UNSPECIFIED, 0);
	facts->trusted = r == 1 && !hand->tolerated && facts->verify_error == X509_V_OK;
	if (r == 1 && hand->h->dane != NULL)
		hand->pinned = tls_dane_names_leaf(hand);
	facts->narrow = facts->trusted && hand->h->dane != NULL && !tls_names_only(X509_STORE_CTX_get0_cert(store_ctx), hand->h->must_fit);
	if (r == 1 || (type_of(hand) == TLS_VERIFY_NONE && hand->h->dane == NULL))
		return check_name(hand);
	tls_say(hand, "%s", hand->verify_words);
	return -EACCES;
}

/* The policy's code has the last word. */
static co_waits int ask(struct tls_hand *hand, int verdict)
{
	const struct tls_asks *asks = &hand->h->asks;
	int answer = asks->verified == NULL ? 0 : asks->verified(asks->arg, &hand->h->facts);

	ERR_clear_error();
	if (answer < 0) {
		tls_say(hand, "the policy refuses the certificate");
		return answer;
	}
	if (answer == 0)
		return verdict;
	hand->accepted = verdict < 0;
	hand->h->error[0] = '\0';
	return 0;
}

static co_waits int verify(X509_STORE_CTX *store_ctx, void *unused)
{
	struct tls_hand *hand = hand_of(store_ctx);
	int err = tls_facts_peer(hand, X509_STORE_CTX_get0_untrusted(store_ctx));

	if (err == 0) {
		hand->h->facts.verify_text = X509_verify_cert_error_string(X509_V_OK);
		err = verify_chain(hand, store_ctx);
		hand->believed_until = believed_until(hand, store_ctx);
		err = ask(hand, err);
	}
	if (err == 0) {
		X509_STORE_CTX_set_error(store_ctx, X509_V_OK);
		return 1;
	}
	hand->err = err;
	hand->peer_fault = err == -EACCES;
	if (hand->h->facts.verify_error != X509_V_OK)
		X509_STORE_CTX_set_error(store_ctx, hand->h->facts.verify_error);
	else
		X509_STORE_CTX_set_error(store_ctx, X509_V_ERR_APPLICATION_VERIFICATION);
	return 0;
}

co_waits int tls_verify_resumed(struct tls_hand *hand)
{
	struct tls_facts *facts = &hand->h->facts;
	int verdict;

	if (facts->n_peer == 0)
		return 0;
	facts->trusted = hand->restored.trusted;
	facts->narrow = hand->restored.narrow;
	facts->verify_error = hand->restored.error;
	facts->verify_text = X509_verify_cert_error_string(facts->verify_error);
	hand->pinned = hand->restored.pinned;
	facts->pinned = hand->pinned && tls_pin_of(hand, SSL_get0_peer_certificate(hand->ssl)) == 1;
	verdict = check_name(hand);
	if (hand->restored.accepted) {
		tls_say(hand, "the certificate was accepted by the policy alone: %s", facts->verify_text);
		verdict = -EACCES;
	}
	verdict = ask(hand, verdict);
	hand->peer_fault = verdict == -EACCES;
	return verdict;
}

void tls_verify_setup(struct tls_context *c)
{
	const struct tls_verifier *v = &c->side->verifier;
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(c->ctx);
	int mode = SSL_VERIFY_PEER;

	if (c->end == TLS_CLIENT && v->type == TLS_VERIFY_NONE)
		mode = SSL_VERIFY_NONE;
	if (c->end == TLS_CLIENT && (v->type == TLS_VERIFY_REQUIRED_TRUSTED || v->type == TLS_VERIFY_REQUIRED_UNTRUSTED))
		mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	SSL_CTX_set_verify(c->ctx, mode, NULL);
	SSL_CTX_set_cert_verify_callback(c->ctx, verify, NULL);
	if (v->crl_directory != NULL)
		X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL);
}
