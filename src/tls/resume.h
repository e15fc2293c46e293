/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions that go on. Towards clients by tickets (RFC 5077; RFC 8446, 4.6.1), whose keys all workers
 * of all generations come to by themselves (ratchet.h); towards servers from a small table in each worker.
 * What was found out about the peer goes with a session: its certificates, and whether it is trusted.
 */
#ifndef SALLYPORT_TLS_RESUME_H
#define SALLYPORT_TLS_RESUME_H

#include "base/attributes.h"
#include "base/slice.h"
#include "tls/ratchet.h"

#include <openssl/ssl.h>
#include <stdbool.h>

struct tls;
struct tls_context;
struct tls_hand;
struct tls_link;

#define TLS_SESSIONS_MAX 512u		/* kept of servers, in each process */

#define TLS_IDENTITY 32u

/* Keys of the tickets of one context, for the two hours that count. */
struct tls_ticket_keys {
	uint8_t identity[TLS_IDENTITY];	/* of the configuration: another one, another key */
	int64_t epoch;			/* of keys[0]; 0: not made yet */
	uint64_t changes;		/* of identity */
	struct tls_ticket_key {
		uint8_t name[16], cipher[32], mac[32];
	} keys[2];			/* the older, the current */
};

/* What a verification came to, as it goes with a session. */
struct tls_verdict {
	bool trusted, pinned, narrow;	/* narrow: of servers alone, so it is in no ticket of ours */
	bool accepted;			/* it failed, and the policy's code accepted the peer nevertheless */
	int error;			/* X509_V_* */
	int64_t since;			/* wall seconds: when the peer was really verified */
	int64_t until;			/* and when the first certificate or list ends that was believed; INT64_MAX: there was none */
};

/* Certificates as they are in a ticket: two octets of length, DER. Takes one off the front; false: there is none. */
bool tls_enclosed_next(struct slice *chain, struct slice *der);

struct tls_session_key {
	uint8_t octets[32];
};

/* Callbacks and modes of a context, and its identity. 0, -ENOMEM. */
int tls_resume_setup(struct tls_context *context) MUST_CHECK;
/* Of the context as it is now. 0, -ENOMEM. And: it is that one from now on; if it is another one, old tickets are worthless. */
int tls_resume_identity(const struct tls_context *context, uint8_t out[TLS_IDENTITY]) MUST_CHECK;
void tls_resume_become(struct tls_context *context, const uint8_t identity[TLS_IDENTITY]);

/* Towards a server: try to go on with a session that this process has. */
void tls_resume_offer(struct tls_hand *hand);

/* What the handshake came to, once it is done. */
struct tls_verdict tls_verdict_of(const struct tls_hand *hand);

void tls_sessions_clear(struct tls *tls);

/* sessions.c: the table. */
struct tls_sessions;
struct tls_sessions *tls_sessions_create(void);
void tls_sessions_free(struct tls_sessions **sessions);
void tls_sessions_put(struct tls_sessions *sessions, const struct tls_session_key *key, SSL_SESSION *session,
		      const struct tls_verdict *verdict);	/* takes the reference */
/* A reference of the caller's own; NULL: none that is still good at now, seconds. */
SSL_SESSION *tls_sessions_take(struct tls_sessions *sessions, const struct tls_session_key *key, int64_t now,
			       struct tls_verdict *verdict);

#endif
