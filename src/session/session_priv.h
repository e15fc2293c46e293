/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of session/ share. */
#ifndef SALLYPORT_SESSION_SESSION_PRIV_H
#define SALLYPORT_SESSION_SESSION_PRIV_H

#include "session/session.h"

/* Log lines of the life of a session, and its accounting records (account.c). */
void account_started(const struct session *s, int client_fd);
void account_refused(const struct session_env *env, const struct flow *flow, const struct decision *d,
		     const char *reason);
void account_connected(const struct session *s, int server_fd);
void account_connect_failed(const struct session *s, int err);
void account_target_refused(const struct session *s);
void account_ending(const struct session *s, int err);
void account_stream(const struct session *s, const struct stream *stream, bool server);
void account_summary(const struct session *s);


/* What closing a stream adds to session->octets, with its accounting line (session.c). */
void session_close_server(struct session *s, bool reset);

/* Verdicts only get worse: the first that is not VERDICT_ACCEPTED stays. */
void session_set_verdict(struct session *s, enum verdict verdict);

/* Tell the environment (state, addresses or counters changed). */
void session_changed(struct session *s);

#endif
