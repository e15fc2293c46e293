/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS of a session: which encryption it has, when each side's handshake runs, and what was
 * learned. The two are tied to each other: the client's name for the server goes on to the server,
 * and where certificates are bridged one side's handshake needs what the other side showed.
 *
 * Where both sides begin at once, who is first is the policy's (encryption->server_first). If that
 * is the server, the client's ClientHello is read, for the name in it; then the server is connected
 * (TLS from the first octet) and its handshake runs, and then the client's goes on.
 *
 * What is learned of a server leg lives on an arena that goes with the leg: also into the pool.
 */
#ifndef SALLYPORT_SESSION_SECURE_H
#define SALLYPORT_SESSION_SECURE_H

#include "base/arena.h"
#include "io/co.h"
#include "policy/encryption.h"
#include "tls/tls.h"

struct session;

#define SECURE_ARENA_MAX (512u * 1024u)		/* octets of what is known of one handshake */

/* One end. */
struct secured {
	struct arena *arena;			/* of the handshake and its facts; NULL: none began, or the pool has it */
	struct tls_handshake *handshake;	/* filled as far as it came; NULL as arena */
	/* Of the last one that was done, for the session's record. Static; NULL: none. */
	const char *version, *cipher;
	bool trusted;
};

/* What the server's zone says of its certificate (secure_dane.c). */
struct secure_dane {
	const char *verdict;			/* static: "secure", "denied" and so on; NULL: nothing was asked */
	struct arena *arena;			/* of the set */
	const struct tlsa_set *set;		/* what the certificate must fit; NULL: as the verifier says without it */
	struct slice host;			/* that they are of, where the server's name is an alias; empty: of that name */
};

/* What the mail domain that the policy names says of the server (secure_sts.c). */
struct secure_sts {
	const char *verdict;			/* static: "enforce", "absent" and so on; NULL: nothing was asked */
	bool enforced;				/* the certificate must be verified by CAs, and be that of the host */
	bool testing;				/* it need not, but it is noted if it is not so: */
	bool met;				/* as far as it is known: the domain lists the server, and its certificate was good */
	bool listed;
};

/* Both of them, of the server that is connected, or was tried last (secure_look_up.c). */
struct secure_looked_up {
	struct secure_dane dane;
	struct secure_sts sts;
	bool must_encrypt;			/* no mail in plain text, whatever the client does */
	bool doubtful;				/* the server is not used, for a reason that may be gone later */
};

struct session_secure {
	const struct encryption *encryption;	/* NULL: both ends are plain */
	struct secured ends[TLS_ENDS];
	bool server_inside;			/* its handshake runs behind the client's hello */
	bool early;				/* the server was connected for the client's handshake; nobody took it yet */
	int early_error;			/* why it could not be */
	unsigned changes;			/* of what is known: policy code is told anew */
	bool call_failed;			/* policy code did, in a handshake */
	struct secure_looked_up known;
	/* What setup_key gives while it runs; the arena wipes. NULL: it does not run. */
	struct arena *given_arena;
	struct tls_given given;
};

/* The configuration is there: from now on the session has an encryption, or none. 0; -EPROTONOSUPPORT
 * (it waits for a STARTTLS that the protocol does not have, or does not fit the configuration, as policy code can
 * choose for one session). */
int secure_configure(struct session *s) MUST_CHECK;

/* TLS from the first octet, where the policy wants it: of the client before its proxy runs (a
 * failure is told by proxy_end); of the server when it is connected and its PROXY header queued.
 * 0 also where there is nothing to do. WAIT. Negative as tls_handshake. */
co_waits int secure_client(struct session *s) MUST_CHECK;
co_waits int secure_server(struct session *s) MUST_CHECK;

/*
 * Before the server is connected: what its zone (DANE) and the mail domain (MTA-STS) say of it, where the encryption's
 * verifier wants to know. WAITS, for each at most as long as connecting may take. 0, also where nothing is to be asked;
 * -EHOSTDOWN (logged): it may not be used, nobody knows or what is known forbids it; -ECANCELED; -ENOMEM.
 */
co_waits int secure_look_up(struct session *s) MUST_CHECK;
void secure_forget_looked_up(struct session *s);

/*
 * What a server leg's TLS is to be: the name that the server is asked for and that its certificate
 * must be of. Legs that differ in it are not each other's. All empty: the leg is plain text.
 */
struct secure_identity {
	const struct encryption *encryption;
	struct slice server_name, must_fit;
	uint64_t state;			/* tls_state(): a leg does not outlive the CAs, CRLs and pins that let it in */
};
/* Of a leg that is opened now; switched: it is to be one that begins in plain text and has switched to TLS. */
struct secure_identity secure_identity_wanted(const struct session *s, bool switched);
struct secure_identity secure_identity_of_leg(const struct session *s);		/* of the one that is open; lives as long as it */
bool secure_identity_equal(const struct secure_identity *a, const struct secure_identity *b);

/* May the server leg serve other sessions? Not where the policy's code decides on it, or where it
 * showed a certificate that was made for this client, or where it is good only as long as others say so. */
bool secure_leg_may_repeat(const struct session *s);
bool secure_looks_up(const struct session *s);		/* secure_look_up has something to ask */

/* A leg is about to be opened: what the one before it has shown is nobody's any more. */
void secure_new_leg(struct session *s);

/* A leg that comes with its handshake, or goes with it. */
void secure_take_leg(struct session *s, struct arena *arena, struct tls_handshake *handshake);
void secure_give_leg(struct session *s, struct arena **arena, struct tls_handshake **handshake);

/* The session is over; its streams are closed, its record is written. */
void secure_release(struct session *s);

#endif
