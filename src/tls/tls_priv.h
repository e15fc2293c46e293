/* SPDX-License-Identifier: Apache-2.0 */
/* The insides of tls/. */
#ifndef SALLYPORT_TLS_TLS_PRIV_H
#define SALLYPORT_TLS_TLS_PRIV_H

#include "io/stream_priv.h"
#include "tls/hello.h"
#include "tls/mint.h"
#include "tls/resume.h"
#include "tls/staple.h"
#include "tls/tls.h"
#include "tls/trust.h"

#include <openssl/ssl.h>

/* Ceilings. */
/* At a time, in each process: each has a deep stack and the library's buffers. For each end, so that clients that
 * begin handshakes and say no more can't keep sessions from their servers. */
#define TLS_HANDSHAKES_MAX 4096u
#define TLS_PEER_CHAIN_OCTETS 65536	/* of the certificates that a peer may show */
#define TLS_PEER_CERTIFICATES 32u	/* of them in the facts */

/* A certificate that we show, with its chain. Replaced as a whole; nobody keeps a pointer over a wait. */
struct tls_chain {
	X509 *leaf;				/* NULL: could not be loaded */
	STACK_OF(X509) *rest;
	EVP_PKEY *key;				/* a reference: the keys may have another one by now */
};

/* One end of one encryption. */
struct tls_context {
	struct tls *tls;
	const struct encryption *encryption;
	const struct tls_side *side;
	enum tls_end end;
	SSL_CTX *ctx;				/* NULL: this end is off */
	struct tls_trust trust;
	struct mint *mint;			/* of a bridge; NULL: none */
	struct tls_staple *staple;		/* NULL: none */
	bool staple_told;			/* that it is not sent */
	uint8_t *alpn;				/* as the library wants it */
	unsigned alpn_octets;
	struct tls_ticket_keys tickets;
};

struct tls {
	const struct policy *policy;
	const struct tls_keys *keys;
	BIO_METHOD *bio;			/* sockets, without SIGPIPE */
	struct tls_chain *own;			/* by tls_certificate.index */
	struct tls_context *contexts;		/* by encryption, then end */
	unsigned n_handshakes[TLS_ENDS];	/* under way in this process */
	struct tls_ratchet ratchet;
	struct tls_sessions *sessions;		/* of servers, to resume; this process's own; NULL: none yet */
};

struct tls_hand;

/* TLS on a stream; the transport's self. */
struct tls_link {
	SSL *ssl;
	struct tls_context *context;
	struct tls_hand *hand;			/* while the handshake runs */
	int fd;
	int io_error;				/* -errno of the socket, which the library does not keep */
	bool at_eof, ended;			/* ended: we said that nothing follows */
	bool killed;				/* the peer may not go on, reads fail */
	unsigned refusals, messages;		/* of renegotiation; that brought no data */
	size_t committed;			/* octets of a write that was begun and must be repeated */
	/* Where the peer's new sessions belong, and what is known of it. */
	struct tls_session_key session_key;
	bool resumable;
	struct tls_verdict verdict;
};

/* A handshake under way, on its coroutine. */
struct tls_hand {
	const struct tls *tls;
	struct tls_context *context;
	struct tls_handshake *h;
	struct stream *stream;
	struct tls_link *link;
	SSL *ssl;
	deadline_t limit, until;		/* the caller's, and that of the part now running */
	int err;				/* why it ends, where the library did not decide that */
	bool waiting;				/* err came while the peer was waited for */
	bool peer_fault;			/* of err */
	int alert_sent, alert_read;		/* level << 8 | number; 0 = none */
	int hello_err;				/* of parsing it */
	bool hello_seen, hello_asked;
	const struct tls_certificate *chosen;	/* of ours; NULL: none */
	/* Verification. */
	bool pinned;				/* by us, or by the server's own TLSA record: good whatever its name */
	bool tolerated;				/* an error was passed over */
	bool accepted;				/* it failed, but the policy's code accepts the peer */
	int64_t believed_until;			/* as tls_verdict.until */
	struct tls_verdict restored;		/* of the session that may go on */
	struct slice restored_chain;		/* of a client's: what it had shown behind its certificate (resume.h) */
	int verify_depth;			/* of verify_error */
	char verify_words[256];			/* of verify_error, which certificate and where */
};

static inline struct tls_link *tls_link_of(const SSL *ssl)
{
	return SSL_get_app_data(ssl);
}

static inline struct tls_context *tls_context_of(const struct tls *tls, const struct encryption *e, enum tls_end end)
{
	return &tls->contexts[e->index * TLS_ENDS + end];
}

/* transport.c */
extern const struct transport_ops transport_tls;
BIO_METHOD *tls_bio_method(void);
int tls_link_open(struct tls_context *context, int fd, struct tls_link **out) MUST_CHECK;	/* 0, -ENOMEM */
void tls_link_close(struct tls_link **link);

/* own.c: the certificates that we show. */
int tls_own_load(struct tls *tls, struct policy_problems *problems) MUST_CHECK;	/* 0, -EINVAL, -ENOMEM */
void tls_chain_clear(struct tls_chain *chain);
/* PEM text, leaf first; what precedes the first certificate is skipped. 0; -EINVAL (*why); -ENOMEM. */
int tls_chain_parse(struct slice pem, struct tls_chain *out, const char **why) MUST_CHECK;
/* Its key; a reference of the chain's own. 0; -EINVAL: it is for another certificate, or there is none; -ENOMEM. */
int tls_chain_key(struct tls_chain *chain, EVP_PKEY *key) MUST_CHECK;
/* Which one for the name that the client asked for? 0; -ENOENT: none; -errno. */
co_waits int tls_own_choose(struct tls_hand *hand) MUST_CHECK;
co_waits int tls_own_install(SSL *ssl, void *unused);		/* a cert_cb */

/* bridge.c: certificates made from those of the other end. For a context whose policy has a bridge. 0, -EINVAL, -ENOMEM */
int tls_bridge_make(const struct tls_context *context, struct policy_problems *problems, struct mint **out) MUST_CHECK;
co_waits int tls_bridge_install(SSL *ssl, struct tls_hand *hand);	/* as a cert_cb */
/* Is the other end's certificate trusted in all that it says? */
bool tls_bridge_trusts(const struct tls_facts *other);

/* options.c */
int tls_options_apply(struct tls_context *context, struct policy_problems *problems) MUST_CHECK;	/* 0, -EINVAL, -ENOMEM */

/* The response of an encryption's client end. 0; -EINVAL and a problem; -ENOMEM. */
int tls_ocsp_read(const struct encryption *e, struct policy_problems *problems, struct tls_staple **out) MUST_CHECK;

/* tls.c */
/* Does the context believe what the directories of that verifier hold? */
bool tls_context_has_sources(const struct tls_context *context, const struct tls_verifier *of);
/* The CAs that it would name to clients; NULL: none. Of the caller's own. 0, -ENOMEM. And: it does, taken over. */
int tls_context_hints(const struct tls_context *context, const struct tls_trust *trust, STACK_OF(X509_NAME) **out) MUST_CHECK;
void tls_context_name(struct tls_context *context, STACK_OF(X509_NAME) *hints);

/* Would OpenSSL show it at all? 0; -EKEYREJECTED (*why); -ENOMEM. */
int tls_context_try(const struct tls_context *context, const struct tls_chain *chain, const char **why) MUST_CHECK;

/* handshake.c */
void tls_handshake_setup(struct tls_context *context);

/* verify.c */
void tls_verify_setup(struct tls_context *context);
/* A session that goes on was verified when it began; who it is with is judged again. 0; -EACCES; -errno of the asks. */
co_waits int tls_verify_resumed(struct tls_hand *hand) MUST_CHECK;
/* 1 it is the certificate that is pinned for the peer's address, 0 there is no pin, -EACCES it is another. */
int tls_pin_of(const struct tls_hand *hand, X509 *leaf) MUST_CHECK;

int tls_stapled_setup(struct tls_context *context) MUST_CHECK;	/* stapled.c: OCSP responses of servers. 0, -ENOMEM */

/* dane.c: TLSA records of servers. */
int tls_dane_setup(struct tls_context *context) MUST_CHECK;	/* 0, -ENOMEM */
int tls_dane_offer(struct tls_hand *hand) MUST_CHECK;		/* 0; -EACCES: none can be used; -ENOMEM */
/* The chain was verified: did a record name the leaf itself? */
bool tls_dane_names_leaf(const struct tls_hand *hand);

/* name.c: a host's name as it stands in certificates and is asked for: A-labels, no dot at the end. 0; -EINVAL. */
int tls_name_to_ascii(struct slice host, char out[TLS_NAME_MAX + 1]) MUST_CHECK;
/* Does the certificate name that host, and nobody else? */
bool tls_names_only(X509 *x, struct slice host);

/* facts.c */
int tls_facts_hello(struct tls_hand *hand, struct slice message) MUST_CHECK;	/* 0, -EBADMSG, -ENOMEM */
int tls_facts_peer(struct tls_hand *hand, STACK_OF(X509) *chain) MUST_CHECK;	/* 0, -ENOMEM */
int tls_facts_done(struct tls_hand *hand) MUST_CHECK;		/* the handshake succeeded: the rest of them */

/* failure.c: why a handshake ended, in words and as an error number. */
int tls_failure(struct tls_hand *hand, int ssl_error) MUST_CHECK;
void tls_say(struct tls_hand *hand, const char *format, ...) __attribute__((format(printf, 2, 3)));	/* the first counts */

#endif
