/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS on a stream. A policy's encryptions become contexts once, in the leader, which the workers
 * share; a stream gets TLS by tls_handshake(), which runs it on a coroutine with a stack of its
 * own, so that whatever the handshake asks for (a certificate that must first be made from the
 * server's, policy code, a signature from the key process) may wait, and so that the session's
 * own stack stays small. Afterwards the stream reads and writes as before, through TLS.
 *
 * OpenSSL is used in this folder alone.
 */
#ifndef SALLYPORT_TLS_TLS_H
#define SALLYPORT_TLS_TLS_H

#include "io/stream.h"
#include "policy/encryption.h"
#include "policy/policy.h"
#include "tls/keys.h"
#include "tls/tlsa.h"

#define TLS_NAME_MAX 255		/* octets of a server name (RFC 6066, RFC 1035) */

/* The contexts of a policy: for each encryption and end what OpenSSL wants. */
struct tls;

/*
 * Build them. What OpenSSL or the files find wrong (cipher list, certificate that does not fit
 * its key, CA without the CA flag, directory that can't be read) is a problem at the place of its
 * declaration. 0; -EINVAL with at least one error in problems; -ENOMEM.
 */
int tls_build(const struct policy *policy, struct tls_keys *keys, struct policy_problems *problems,
	      struct tls **out) MUST_CHECK;
void tls_free(struct tls **tls);

/* Tickets of sessions by this secret from now on, instead of a random one of this leader's own: then those of other
 * generations are good here. Before the workers are forked. */
struct tls_ratchet;			/* tls/ratchet.h */
void tls_set_ratchet(struct tls *tls, const struct tls_ratchet *ratchet);

/* One certificate of a peer's chain, as policy code and logs see it. */
struct tls_peer_certificate {
	struct slice pem, der;
	struct slice subject, issuer;		/* "/C=HU/O=x/CN=y" */
	struct slice serial;			/* decimal, of any size */
};

/* What is known of a handshake; all of it from the peer but the last lines. On the arena given to it. */
struct tls_facts {
	struct slice server_name;		/* SNI; empty: none */
	struct slice alpn;			/* chosen; empty: none */
	struct slice alpn_offered;		/* client end: comma separated */
	struct slice ja4;			/* client end: fingerprint of the ClientHello */
	const char *version, *cipher, *group;	/* "TLSv1.3", "TLS_AES_256_GCM_SHA384", "x25519"; static; NULL until done */
	struct slice session_id;		/* hexadecimal; empty: none */
	bool resumed;
	const struct tls_peer_certificate *peer;	/* leaf first; n_peer 0: none was shown */
	size_t n_peer;
	bool trusted;				/* the chain was really verified, by CAs or DANE, or is pinned */
	bool narrow;				/* trusted, but by its zone as one host, while it names others as well */
	bool pinned;				/* by the policy: that counted, and nothing else */
	int verify_error;			/* X509_V_*, 0 = fine */
	const char *verify_text;		/* of verify_error */
	uint64_t duration_us;
};

/* A certificate with its chain, leaf first, and its private key, as PEM. Borrowed until the handshake goes on. */
struct tls_given {
	struct slice pem, key_pem, passphrase;
};

/*
 * What a handshake asks on its way, each on the handshake's coroutine, where it may WAIT. NULL: as the policy says.
 * A negative result ends the handshake.
 */
struct tls_asks {
	void *arg;
	/* Client end: the ClientHello is there; facts has server_name, alpn_offered, ja4. Here the server's
	 * handshake runs where it comes first. */
	co_waits int (*hello)(void *arg, const struct tls_facts *facts);
	/* Client end: does the name fit a matcher of policy code? 1, 0. NULL: nobody knows, and the handshake ends. */
	co_waits int (*matches)(void *arg, const struct matcher_call *matcher, struct slice name);
	/* A certificate of ours is wanted: policy code (setup_key) may give another; leave given->pem empty if not. */
	co_waits int (*certificate)(void *arg, const struct tls_facts *facts, struct tls_given *given);
	/* The peer showed a certificate, and it was verified or not (facts): 0 as the verification says, 1 accept. */
	co_waits int (*verified)(void *arg, const struct tls_facts *facts);
};

/*
 * Another number whenever what this end shows or believes has changed (certificates, CAs, CRLs, pins): peers of one
 * number were judged alike. Of this process alone.
 */
uint64_t tls_state(const struct tls *tls, const struct encryption *encryption, enum tls_end end);

struct tls_handshake {
	const struct encryption *encryption;
	enum tls_end end;
	struct arena *arena;			/* of facts; at least as long as the stream */
	struct slice server_name;		/* server end: SNI to send; empty: none */
	const struct endpoint *peer;		/* of pinned certificates, and of the sessions to resume */
	struct slice must_fit;			/* server end: the certificate must be of this host; empty: not checked */
	/* Server end: its TLSA records, which alone say what is its certificate, whatever CAs we believe; must_fit is
	 * the name they belong to. The encryption's verifier must have dane. NULL: as the verifier says. */
	const struct tlsa_set *dane;
	bool strict;				/* server end: CAs must vouch for the certificate, whatever the verifier's type */
	const struct tls_facts *bridged;	/* the other end's: what a bridge mimics */
	struct tls_asks asks;
	/* Filled also when the handshake fails, as far as it came. */
	struct tls_facts facts;
	uint64_t state;				/* tls_state() when it began */
	char error[256];			/* in words: what the peer or we did, at which depth, with which certificate */
	bool peer_fault;			/* the peer broke the rules or hung up, no misfortune of ours */
};

/*
 * Put TLS on top of a stream. Nothing may be buffered in either direction: octets that came in
 * plain text behind a STARTTLS are refused with -EPROTO. The deadline is at most the policy's
 * handshake_timeout from now, and from the end of asks.hello. WAITS. 0; -ETIMEDOUT; -ECANCELED;
 * -EPROTO (what the peer did); -EACCES (verification, or the policy's code); -EBUSY (TLS is on
 * already, octets are queued, or too many handshakes are under way); -EINVAL (that end has no TLS
 * in the policy, or server_name is none); -EIO (a certificate or key of ours does not work);
 * -ENOMEM; -errno of the connection or of an ask. After a failure nothing more can be said on the
 * stream, except that the alert was sent.
 */
co_waits int tls_handshake(const struct tls *tls, struct stream *stream, struct tls_handshake *handshake,
			   deadline_t deadline) MUST_CHECK;

/* Does the certificate fit the host (RFC 9525: DNS and IP names, IDNA, wildcard as the whole left-most label)? */
bool tls_fits_host(const struct tls_facts *facts, struct slice host);

#endif
