/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions that go on. Towards clients by tickets (RFC 5077, RFC 8446 4.6.1) whose keys all workers
 * of all generations come to by themselves; towards servers from a small table in each worker.
 * What was found out about the peer goes with a session: its certificate, and whether it is trusted.
 */
#ifndef SALLYPORT_TLS_RESUME_H
#define SALLYPORT_TLS_RESUME_H

#include "base/addr.h"
#include "base/attributes.h"
#include "policy/encryption.h"

#include <openssl/ssl.h>

struct tls;
struct tls_context;
struct tls_hand;
struct tls_link;

#define TLS_TICKET_SECONDS 3600		/* an epoch */
#define TLS_SESSIONS_MAX 512u		/* kept of servers, in each process */

/*
 * The secret of an hour, from which that of the next is made and never that of the one before.
 * It is the oldest that is still accepted: tickets are made with the next one's.
 */
struct tls_ratchet {
	int64_t epoch;			/* hours since 1970; 0: none set, no tickets */
	uint8_t secret[32];
};

/* Tickets of one context: its own keys from the ratchet's, for the two hours that count. */
struct tls_ticket_keys {
	uint8_t identity[32];		/* of the configuration: another one, another key */
	int64_t epoch;			/* of keys[0]; 0: not made yet */
	struct tls_ticket_key {
		uint8_t name[16], cipher[32], mac[32];
	} keys[2];			/* the older, the current */
};

struct tls_session_key {
	uint8_t octets[32];
};

/* A first state, of random octets, at that wall time (seconds). 0, -EIO. */
int tls_ratchet_start(struct tls_ratchet *ratchet, int64_t now) MUST_CHECK;
/* On to the hour of now; a clock that goes back changes nothing. */
void tls_ratchet_step(struct tls_ratchet *ratchet, int64_t now);

/* Callbacks and modes of a context. */
int tls_resume_setup(struct tls_context *context) MUST_CHECK;		/* 0, -ENOMEM */
/* The context's configuration, or what it trusts, is another now: old tickets are worthless. */
int tls_resume_identify(struct tls_context *context) MUST_CHECK;	/* 0, -ENOMEM */

/* Towards a server: try to go on with a session that this process has. */
void tls_resume_offer(struct tls_hand *hand);
/* The handshake is over: what it found out goes with the sessions that come of it, or came with this one. */
void tls_resume_done(struct tls_hand *hand);

void tls_sessions_clear(struct tls *tls);

#endif
