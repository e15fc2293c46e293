/* SPDX-License-Identifier: Apache-2.0 */
/* What a handshake found out, copied to the arena: nothing of the library's is kept. */
#include "tls/tls_priv.h"

#include <errno.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>

static bool copy_text(struct arena *arena, const char *text, struct slice *out)
{
	*out = text == NULL ? slice_of(NULL, 0) : arena_copy(arena, slice_cstr(text));
	return text != NULL && out->ptr != NULL;
}

static bool copy_name(struct arena *arena, const X509_NAME *name, struct slice *out)
{
	char *text = X509_NAME_oneline(name, NULL, 0);
	bool good = copy_text(arena, text, out);

	OPENSSL_free(text);
	return good;
}

static bool copy_serial(struct arena *arena, const X509 *x, struct slice *out)
{
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
	char *text = number == NULL ? NULL : BN_bn2dec(number);
	bool good = copy_text(arena, text, out);

	OPENSSL_free(text);
	BN_free(number);
	return good;
}

static bool copy_der(struct arena *arena, X509 *x, struct slice *out)
{
	uint8_t *der = NULL;
	int n = i2d_X509(x, &der);

	*out = n <= 0 ? slice_of(NULL, 0) : arena_copy(arena, slice_of(der, (size_t)n));
	OPENSSL_free(der);
	return out->ptr != NULL;
}

static bool copy_pem(struct arena *arena, X509 *x, struct slice *out)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long n = bio == NULL || PEM_write_bio_X509(bio, x) != 1 ? 0 : BIO_get_mem_data(bio, &text);

	*out = n <= 0 ? slice_of(NULL, 0) : arena_copy(arena, slice_of(text, (size_t)n));
	BIO_free(bio);
	return out->ptr != NULL;
}

static bool copy_certificate(struct arena *arena, X509 *x, struct tls_peer_certificate *out)
{
	return copy_name(arena, X509_get_subject_name(x), &out->subject) &&
	       copy_name(arena, X509_get_issuer_name(x), &out->issuer) && copy_serial(arena, x, &out->serial) &&
	       copy_der(arena, x, &out->der) && copy_pem(arena, x, &out->pem);
}

int tls_facts_peer(struct tls_hand *hand, STACK_OF(X509) *chain)
{
	struct arena *arena = hand->h->arena;
	int n = sk_X509_num(chain);
	struct tls_peer_certificate *peer;

	if (n > (int)TLS_PEER_CERTIFICATES)
		n = TLS_PEER_CERTIFICATES;
	if (n <= 0)
		return 0;
	peer = arena_array(arena, (size_t)n, sizeof(*peer));
	if (peer == NULL)
		return -ENOMEM;
	for (int i = 0; i < n; i++)
		if (!copy_certificate(arena, sk_X509_value(chain, i), &peer[i])) {
			ERR_clear_error();
			return -ENOMEM;
		}
	hand->h->facts.peer = peer;
	hand->h->facts.n_peer = (size_t)n;
	return 0;
}

/* What the client offers, for logs and policy code: "h2,http/1.1"; a comma within a name is left as it is. */
static bool join_alpn(struct tls_hand *hand, struct slice list)
{
	struct slice name;
	uint8_t *text = arena_alloc(hand->h->arena, list.len);
	size_t n = 0;

	if (text == NULL)
		return false;
	while (tls_alpn_next(&list, &name)) {
		if (n > 0)
			text[n++] = ',';
		memcpy(text + n, name.ptr, name.len);
		n += name.len;
	}
	hand->h->facts.alpn_offered = slice_of(text, n);
	return true;
}

int tls_facts_hello(struct tls_hand *hand, struct slice message)
{
	struct tls_facts *facts = &hand->h->facts;
	char ja4[TLS_JA4_OCTETS + 1];
	struct tls_hello hello;
	int err = tls_hello_parse(message, &hello);

	if (err == 0)
		err = tls_hello_ja4(&hello, ja4);
	if (err < 0)
		return err;
	facts->server_name = arena_copy(hand->h->arena, hello.server_name);
	if (facts->server_name.ptr == NULL || !copy_text(hand->h->arena, ja4, &facts->ja4) || !join_alpn(hand, hello.alpn))
		return -ENOMEM;
	return 0;
}

/* From a ticket that we made ourselves. */
static int add_enclosed(STACK_OF(X509) *chain, struct slice enclosed)
{
	struct slice der;

	while (tls_enclosed_next(&enclosed, &der)) {
		const unsigned char *at = der.ptr;
		X509 *x = d2i_X509(NULL, &at, (long)der.len);

		if (x == NULL || sk_X509_push(chain, x) <= 0) {
			X509_free(x);
			return -ENOMEM;
		}
	}
	return 0;
}

/* The peer of a session that goes on: nothing was shown in this handshake. */
static int resumed_peer(struct tls_hand *hand)
{
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(hand->ssl);
	X509 *leaf = SSL_get0_peer_certificate(hand->ssl);
	int err;

	if (hand->context->end == TLS_SERVER && chain != NULL)
		return tls_facts_peer(hand, chain);
	if (leaf == NULL)
		return 0;
	chain = sk_X509_new_null();
	err = chain == NULL || X509_add_cert(chain, leaf, X509_ADD_FLAG_UP_REF) != 1 ? -ENOMEM : add_enclosed(chain, hand->restored_chain);
	if (err == 0)
		err = tls_facts_peer(hand, chain);
	sk_X509_pop_free(chain, X509_free);
	return err;
}

static int copy_alpn(struct tls_hand *hand)
{
	const unsigned char *name;
	unsigned n;

	SSL_get0_alpn_selected(hand->ssl, &name, &n);
	if (n == 0)
		return 0;
	hand->h->facts.alpn = arena_copy(hand->h->arena, slice_of(name, n));
	return hand->h->facts.alpn.ptr == NULL ? -ENOMEM : 0;
}

/* A number that logs can be compared by. A TLS 1.3 server gives none with its tickets. */
static int copy_session_id(struct tls_hand *hand)
{
	static const char digits[] = "0123456789abcdef";
	const SSL_SESSION *session = SSL_get0_session(hand->ssl);
	unsigned n = 0;
	const unsigned char *id = session == NULL ? NULL : SSL_SESSION_get_id(session, &n);
	uint8_t *text = arena_alloc(hand->h->arena, 2 * (size_t)n);

	if (text == NULL)
		return -ENOMEM;
	for (unsigned i = 0; i < n; i++) {
		text[2 * i] = (uint8_t)digits[id[i] >> 4];
		text[2 * i + 1] = (uint8_t)digits[id[i] & 15];
	}
	hand->h->facts.session_id = slice_of(text, 2 * (size_t)n);
	return 0;
}

int tls_facts_done(struct tls_hand *hand)
{
	struct tls_facts *facts = &hand->h->facts;
	int err = 0, group = (int)SSL_get_negotiated_group(hand->ssl);

	facts->version = SSL_get_version(hand->ssl);
	facts->cipher = SSL_CIPHER_get_name(SSL_get_current_cipher(hand->ssl));
	facts->group = group == 0 ? NULL : SSL_group_to_name(hand->ssl, group);
	facts->resumed = SSL_session_reused(hand->ssl) == 1;
	if (facts->resumed && facts->n_peer == 0)
		err = resumed_peer(hand);
	if (err == 0)
		err = copy_session_id(hand);
	return err < 0 ? err : copy_alpn(hand);
}
