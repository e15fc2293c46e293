/* SPDX-License-Identifier: Apache-2.0 */
/* What a handshake asks policy code for (secure_ask.c). */
#ifndef SALLYPORT_SESSION_SECURE_PRIV_H
#define SALLYPORT_SESSION_SECURE_PRIV_H

#include "session/session_priv.h"

struct secure_asking {
	struct session *session;
	struct tls_handshake *handshake;
};

/* Those that the policy's code answers; asks->arg is asking in any case. */
void secure_set_asks(struct secure_asking *asking, struct tls_asks *asks);

/* The host that the policy names for the server; empty: none. */
struct slice secure_named_host(const struct session *s);

#endif
