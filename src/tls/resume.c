/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/tls_priv.h"

#include <assert.h>
#include <errno.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <time.h>

/* The identity of a configuration: whoever was let in under another one has to come again. */

struct digest {
	EVP_MD_CTX *md;
	bool failed;
};

static void add(struct digest *d, const void *octets, size_t n)
{
	uint64_t length = n;

	d->failed |= EVP_DigestUpdate(d->md, &length, sizeof(length)) != 1 || EVP_DigestUpdate(d->md, octets, n) != 1;
}

static void add_number(struct digest *d, uint64_t number)
{
	add(d, &number, sizeof(number));
}

static void add_certificate(struct digest *d, X509 *x)
{
	uint8_t *der = NULL;
	int n = x == NULL ? 0 : i2d_X509(x, &der);

	d->failed |= n < 0;
	add(d, der, n < 0 ? 0 : (size_t)n);
	OPENSSL_free(der);
}

static void add_own(struct digest *d, const struct tls_context *c, const struct tls_certificate *certificate)
{
	if (certificate != NULL)
		add_certificate(d, c->tls->own[certificate->index].leaf);
}

static void add_all(struct digest *d, const struct tls_context *c)
{
	const struct tls_own_certificate *own = &c->side->own;
	const struct tls_verifier *v = &c->side->verifier;
	const struct tls_options *o = &c->side->options;

	add(d, c->encryption->name, strlen(c->encryption->name));
	add_number(d, c->end);
	add_number(d, (uint64_t)v->type << 32 | v->depth);
	add_number(d, (uint64_t)v->permit_invalid | (uint64_t)v->permit_missing_crl << 1 | (uint64_t)v->check_subject << 2 |
			      (uint64_t)(v->crl_directory != NULL) << 3 | (uint64_t)v->dane << 4);
	add_number(d, (uint64_t)o->version_min << 16 | o->version_max);
	add(d, c->trust.digest, sizeof(c->trust.digest));
	add_own(d, c, own->fallback);
	for (size_t i = 0; i < own->n_named; i++)
		add_own(d, c, own->named[i].certificate);
	if (own->bridge != NULL) {
		add_own(d, c, own->bridge->trusted_ca);
		add_own(d, c, own->bridge->untrusted_ca);
	}
}

int tls_resume_identity(const struct tls_context *c, uint8_t out[TLS_IDENTITY])
{
	struct digest d = { .md = EVP_MD_CTX_new() };

	d.failed = d.md == NULL || EVP_DigestInit_ex(d.md, EVP_sha256(), NULL) != 1;
	if (!d.failed)
		add_all(&d, c);
	d.failed = d.failed || EVP_DigestFinal_ex(d.md, out, NULL) != 1;
	EVP_MD_CTX_free(d.md);
	return d.failed ? -ENOMEM : 0;
}

static_assert(TLS_IDENTITY <= SSL_MAX_SID_CTX_LENGTH, "OpenSSL takes it");

void tls_resume_become(struct tls_context *c, const uint8_t identity[TLS_IDENTITY])
{
	memcpy(c->tickets.identity, identity, TLS_IDENTITY);
	c->tickets.epoch = 0;
	c->tickets.changes++;
	(void)SSL_CTX_set_session_id_context(c->ctx, identity, TLS_IDENTITY);
}

static int identify(struct tls_context *c)
{
	uint8_t identity[TLS_IDENTITY];
	int err = tls_resume_identity(c, identity);

	if (err == 0)
		tls_resume_become(c, identity);
	return err;
}

/* Keys of tickets. */

enum purpose { TICKET_NAME, TICKET_CIPHER, TICKET_MAC };

static void derive(const uint8_t secret[32], const uint8_t identity[32], struct tls_ticket_key *out)
{
	uint8_t name[32];

	tls_ratchet_expand(secret, identity, TICKET_NAME, name);
	memcpy(out->name, name, sizeof(out->name));
	tls_ratchet_expand(secret, identity, TICKET_CIPHER, out->cipher);
	tls_ratchet_expand(secret, identity, TICKET_MAC, out->mac);
}

static int64_t wall_seconds(const struct tls_hand *hand)
{
	return loop_wall_ms(hand->stream->loop) / 1000;
}

/* Those of this hour. */
static struct tls_ticket_keys *keys_now(struct tls_hand *hand)
{
	struct tls_ratchet *ratchet = &hand->context->tls->ratchet;
	struct tls_ticket_keys *keys = &hand->context->tickets;
	uint8_t next[32];

	tls_ratchet_step(ratchet, wall_seconds(hand));
	if (keys->epoch == ratchet->epoch)
		return keys;
	derive(ratchet->secret, keys->identity, &keys->keys[0]);
	tls_ratchet_next(ratchet->secret, next);
	derive(next, keys->identity, &keys->keys[1]);
	OPENSSL_cleanse(next, sizeof(next));
	keys->epoch = ratchet->epoch;
	return keys;
}

static bool set_up(const struct tls_ticket_key *key, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int making)
{
	OSSL_PARAM params[] = {
		OSSL_PARAM_octet_string(OSSL_MAC_PARAM_KEY, (void *)key->mac, sizeof(key->mac)),
		OSSL_PARAM_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
		OSSL_PARAM_END,
	};

	return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, making) == 1 &&
	       EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* OpenSSL's: -1 error, 0 not ours or too old, 1 good, 2 good and to be made anew. */
static int on_ticket_key(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int making)
{
	struct tls_hand *hand = tls_link_of(ssl)->hand;
	struct tls_ticket_keys *keys;

	if (hand == NULL)
		return 0;
	keys = keys_now(hand);
	if (making) {
		memcpy(name, keys->keys[1].name, sizeof(keys->keys[1].name));
		return RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) == 1 &&
		       set_up(&keys->keys[1], iv, cipher, mac, 1) ? 1 : -1;
	}
	for (int i = 0; i < 2; i++) {
		if (memcmp(name, keys->keys[i].name, sizeof(keys->keys[i].name)) != 0)
			continue;
		if (!set_up(&keys->keys[i], iv, cipher, mac, 0))
			return -1;
		/* A client of TLS 1.3 uses a ticket once, and gets the next. */
		return i == 0 || SSL_version(ssl) == TLS1_3_VERSION ? 2 : 1;
	}
	return 0;
}

/* What goes with a ticket. */

#define ENCLOSED 54u		/* format, flags, error, digest of what is bridged, times; then the chain */
#define ENCLOSED_FORMAT 4
#define WORTHLESS_FORMAT 0	/* to be opened by nobody: the library does not do without a ticket once it makes one */
/* A client carries its chain to us in each hello. The library's session has the leaf, and no chain. */
#define CHAIN_MAX 8192u
#define LEAF_MAX 16384u		/* with which there is a chain: a ticket has at most 65280 octets */

enum { FLAG_TRUSTED = 1, FLAG_PINNED = 2, FLAG_ACCEPTED = 4 };

/* Behind the same name there may be another server today, for which the client would have got another certificate. */
static bool digest_bridged(const struct tls_hand *hand, uint8_t out[32])
{
	const struct tls_facts *other = hand->h->bridged;
	struct slice der = other == NULL || other->n_peer == 0 ? slice_of("", 0) : other->peer[0].der;

	memset(out, 0, 32);
	if (hand->context->side->own.bridge == NULL)
		return true;
	if (EVP_Digest(der.ptr, der.len, out, NULL, EVP_sha256(), NULL) != 1)
		return false;
	out[0] = (uint8_t)(out[0] & ~1) | (other != NULL && tls_bridge_trusts(other));
	return true;
}

struct tls_verdict tls_verdict_of(const struct tls_hand *hand)
{
	const struct tls_facts *f = &hand->h->facts;
	bool reused = SSL_session_reused(hand->ssl);

	return (struct tls_verdict){ f->trusted, hand->pinned, f->narrow, hand->accepted, f->verify_error,
				     reused ? hand->restored.since : wall_seconds(hand),
				     reused ? hand->restored.until : hand->believed_until };
}

/* What goes with a session that is made while the handshake is under way. Where it goes on from another one, that
 * one's verdict does, too: ours is not spoken before the end. */
static struct tls_verdict verdict_so_far(const struct tls_hand *hand)
{
	return SSL_session_reused(hand->ssl) ? hand->restored : tls_verdict_of(hand);
}

/* However often a session went on: only so long after the peer was really verified, and while what it was verified by lasts. */
static bool is_recent(const struct tls_hand *hand, const struct tls_verdict *v)
{
	int64_t now = wall_seconds(hand), age = now - v->since;

	return age >= 0 && age <= (int64_t)hand->context->side->options.session_seconds && now < v->until;
}

static void put_be(uint8_t *out, uint64_t number, unsigned octets)
{
	for (unsigned i = 0; i < octets; i++)
		out[i] = (uint8_t)(number >> (8 * (octets - 1 - i)));
}

static uint64_t get_be(const uint8_t *in, unsigned octets)
{
	uint64_t number = 0;

	for (unsigned i = 0; i < octets; i++)
		number = number << 8 | in[i];
	return number;
}

bool tls_enclosed_next(struct slice *chain, struct slice *der)
{
	size_t n;

	if (chain->len < 2)
		return false;
	n = (size_t)get_be(chain->ptr, 2);
	if (n > chain->len - 2)
		return false;
	*der = slice_take(slice_skip(*chain, 2), n);
	*chain = slice_skip(*chain, 2 + n);
	return true;
}

/* What stands behind the leaf, in out, which has room for CHAIN_MAX. Octets, or -EMSGSIZE. */
static int enclose_chain(const struct tls_hand *hand, uint8_t *out)
{
	const struct tls_facts *f = &hand->h->facts;
	size_t n = 0;

	if (SSL_session_reused(hand->ssl)) {	/* and n_peer is 0 */
		if (hand->restored_chain.len > 0)
			memcpy(out, hand->restored_chain.ptr, hand->restored_chain.len);
		return (int)hand->restored_chain.len;
	}
	if (f->n_peer > 1 && f->peer[0].der.len > LEAF_MAX)
		return -EMSGSIZE;
	for (size_t i = 1; i < f->n_peer; i++) {
		struct slice der = f->peer[i].der;

		if (der.len > CHAIN_MAX || n + 2 + der.len > CHAIN_MAX)
			return -EMSGSIZE;
		put_be(out + n, der.len, 2);
		memcpy(out + n + 2, der.ptr, der.len);
		n += 2 + der.len;
	}
	return (int)n;
}

static int on_ticket_made(SSL *ssl, void *unused)
{
	struct tls_hand *hand = tls_link_of(ssl)->hand;
	struct tls_verdict v;
	uint8_t *enclosed;
	int n;

	if (hand == NULL)
		return 0;
	enclosed = arena_alloc(hand->h->arena, ENCLOSED + (hand->h->facts.n_peer > 1 ? CHAIN_MAX : hand->restored_chain.len));
	if (enclosed == NULL)
		return 0;
	v = verdict_so_far(hand);
	n = enclose_chain(hand, enclosed + ENCLOSED);
	enclosed[0] = n < 0 ? WORTHLESS_FORMAT : ENCLOSED_FORMAT;
	enclosed[1] = (uint8_t)((v.trusted ? FLAG_TRUSTED : 0) | (v.pinned ? FLAG_PINNED : 0) | (v.accepted ? FLAG_ACCEPTED : 0));
	put_be(enclosed + 2, (uint32_t)v.error, 4);
	put_be(enclosed + 38, (uint64_t)v.since, 8);
	put_be(enclosed + 46, (uint64_t)v.until, 8);
	return digest_bridged(hand, enclosed + 6) &&
	       SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), enclosed, ENCLOSED + (n < 0 ? 0 : (size_t)n)) == 1;
}

static bool open_enclosed(struct tls_hand *hand, SSL_SESSION *session, struct tls_verdict *out)
{
	uint8_t digest[32];
	const uint8_t *e;
	void *data;
	size_t n;

	if (SSL_SESSION_get0_ticket_appdata(session, &data, &n) != 1 || n < ENCLOSED || n > ENCLOSED + CHAIN_MAX ||
	    !digest_bridged(hand, digest))
		return false;
	e = data;
	hand->restored_chain = arena_copy(hand->h->arena, slice_of(e + ENCLOSED, n - ENCLOSED));
	if (hand->restored_chain.ptr == NULL)
		return false;
	*out = (struct tls_verdict){
		.trusted = (e[1] & FLAG_TRUSTED) != 0,
		.pinned = (e[1] & FLAG_PINNED) != 0,
		.accepted = (e[1] & FLAG_ACCEPTED) != 0,
		.error = (int)(uint32_t)get_be(e + 2, 4),
		.since = (int64_t)get_be(e + 38, 8),
		.until = (int64_t)get_be(e + 46, 8),
	};
	return e[0] == ENCLOSED_FORMAT && memcmp(digest, e + 6, sizeof(digest)) == 0;
}

static bool is_over(SSL_SESSION *session)
{
	X509 *peer = SSL_SESSION_get0_peer(session);

	return peer != NULL && X509_cmp_time(X509_get0_notAfter(peer), NULL) <= 0;
}

/* The pins of the address that comes with it today, which need not be the one that it was given to. */
static bool fits_pin(struct tls_hand *hand, SSL_SESSION *session)
{
	X509 *peer = SSL_SESSION_get0_peer(session);

	return peer == NULL || tls_pin_of(hand, peer) == (hand->restored.pinned ? 1 : 0);
}

/* A ticket that is not good any more costs its owner a whole handshake, no more. */
static SSL_TICKET_RETURN on_ticket_opened(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t name_len,
					  SSL_TICKET_STATUS status, void *unused)
{
	struct tls_hand *hand = tls_link_of(ssl)->hand;

	if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW)
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	if (hand == NULL || is_over(session) || !open_enclosed(hand, session, &hand->restored) ||
	    !is_recent(hand, &hand->restored) || !fits_pin(hand, session))
		return SSL_TICKET_RETURN_IGNORE_RENEW;
	return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

/* Where policy code chooses our certificate, or refuses to, it is asked each time. */
static bool gives_tickets(const struct tls_context *c)
{
	return c->side->options.tickets && c->side->options.session_seconds > 0 &&
	       !policy_call_is_set(&c->side->own.setup_key);
}

/* Servers. */

static bool make_session_key(struct tls_hand *hand, struct tls_session_key *out)
{
	struct digest d = { .md = EVP_MD_CTX_new() };

	d.failed = d.md == NULL || EVP_DigestInit_ex(d.md, EVP_sha256(), NULL) != 1;
	if (!d.failed) {
		add(&d, hand->context->tickets.identity, sizeof(hand->context->tickets.identity));
		add(&d, hand->h->peer->ip.octets, sizeof(hand->h->peer->ip.octets));
		add_number(&d, hand->h->peer->port);
		add(&d, hand->h->facts.server_name.ptr, hand->h->facts.server_name.len);
		/* What TLSA records said once counts as long as they say the same. */
		if (hand->h->dane != NULL)
			add(&d, hand->h->dane->octets.ptr, hand->h->dane->octets.len);
		/* Nor was one that was let in without that verified so strictly. */
		add_number(&d, hand->h->strict);
	}
	d.failed = d.failed || EVP_DigestFinal_ex(d.md, out->octets, NULL) != 1;
	EVP_MD_CTX_free(d.md);
	return !d.failed;
}

/* Also comes from reads, long after the handshake (TLS 1.3). 1: the reference is ours now. */
static int on_new_session(SSL *ssl, SSL_SESSION *session)
{
	struct tls_link *link = tls_link_of(ssl);
	struct tls *tls = link->context->tls;

	if (link->hand != NULL)
		link->verdict = verdict_so_far(link->hand);
	if (!link->resumable)
		return 0;
	if (tls->sessions == NULL)
		tls->sessions = tls_sessions_create();
	if (tls->sessions == NULL)
		return 0;
	tls_sessions_put(tls->sessions, &link->session_key, session, &link->verdict);
	return 1;
}

/* A certificate of ours that policy code gives may differ from session to session, so those don't go on. */
void tls_resume_offer(struct tls_hand *hand)
{
	struct tls_link *link = hand->link;
	struct tls *tls = hand->context->tls;
	SSL_SESSION *session;

	if (hand->h->peer == NULL || hand->context->side->options.session_seconds == 0 || hand->context->side->own.bridge != NULL ||
	    policy_call_is_set(&hand->context->side->own.setup_key) || !make_session_key(hand, &link->session_key))
		return;
	link->resumable = true;
	if (tls->sessions == NULL)
		return;
	session = tls_sessions_take(tls->sessions, &link->session_key, time(NULL), &hand->restored);
	if (session == NULL)
		return;
	if (!is_over(session) && is_recent(hand, &hand->restored) && SSL_set_session(hand->ssl, session) != 1)
		ERR_clear_error();
	SSL_SESSION_free(session);
}

void tls_sessions_clear(struct tls *tls)
{
	tls_sessions_free(&tls->sessions);
}

int tls_resume_setup(struct tls_context *c)
{
	SSL_CTX_set_timeout(c->ctx, c->side->options.session_seconds);
	if (c->end == TLS_SERVER) {
		SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(c->ctx, on_new_session);
		return identify(c);
	}
	SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(c->ctx, gives_tickets(c) ? 1 : 0);
	if (!gives_tickets(c))
		SSL_CTX_set_options(c->ctx, SSL_OP_NO_TICKET);
	if (SSL_CTX_set_tlsext_ticket_key_evp_cb(c->ctx, on_ticket_key) != 1 ||
	    SSL_CTX_set_session_ticket_cb(c->ctx, on_ticket_made, on_ticket_opened, NULL) != 1)
		return -ENOMEM;
	return identify(c);
}
