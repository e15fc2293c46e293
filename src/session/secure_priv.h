/* SPDX-License-Identifier: Apache-2.0 */
/* What a handshake asks policy code for (secure_ask.c), and what is asked of the lookout before a server is connected. */
#ifndef SALLYPORT_SESSION_SECURE_PRIV_H
#define SALLYPORT_SESSION_SECURE_PRIV_H

#include "session/lookout_talk.h"
#include "session/session_priv.h"

struct buffer;

struct secure_asking {
	struct session *session;
	struct tls_handshake *handshake;
};

/* Those that the policy's code answers; asks->arg is asking in any case. */
void secure_set_asks(struct secure_asking *asking, struct tls_asks *asks);

/* The host that the policy names for the server; empty: none. */
struct slice secure_named_host(const struct session *s);

/* ---- secure_look_up.c and what it consists of ---- */

/* The server's verifier; NULL: there is no TLS with it. */
const struct tls_verifier *secure_server_verifier(const struct session *s);

/* As asker_ask, but whatever goes wrong is the result failed, with the reason as the answer; results are below n. Also
 * -ECANCELED. */
co_waits int secure_ask_lookout(struct session *s, enum lookout_kind kind, struct slice question, int n, int failed,
				struct buffer *answer) MUST_CHECK;

/* What each finds out of the host; results as secure_look_up's. */
co_waits int secure_look_up_dane(struct session *s, struct slice host) MUST_CHECK;
co_waits int secure_look_up_sts(struct session *s, struct slice host) MUST_CHECK;
void secure_forget_dane(struct secure_dane *dane);

/* The server's handshake was done. */
void secure_judge_sts(struct session *s);

#endif
