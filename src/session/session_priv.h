/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of session/ share. */
#ifndef SALLYPORT_SESSION_SESSION_PRIV_H
#define SALLYPORT_SESSION_SESSION_PRIV_H

#include "session/session.h"

/* An accepted connection that is to become a session. */
struct connection {
	int fd;				/* -1: it is a stream already: */
	struct stream *stream;
	const struct flow *flow;	/* src is the client */
	struct endpoint peer, wanted;	/* as in struct session */
	enum client_from client_from;
};

/* The session that was decided on, or the end of the connection, which is taken over in any
 * case. As session_start. (session.c) */
int session_begin(struct session_env *env, struct connection *c, const struct decision *decision);
/* Refuse with RST: nothing is owed to the peer, and no TIME_WAIT is left behind. */
void session_refuse_fd(int fd);

/* Wait for the PROXY header of a connection that must have one, then session_begin. fd is taken
 * over in any case. 0; -ENOMEM. (arrival.c) */
int arrival_begin(struct session_env *env, int fd, const struct flow *flow, const struct decision *decision);

/* Log lines of the life of a session, and its accounting records (account.c). */
void account_started(const struct session *s, int client_fd);
void account_refused(struct session_env *env, const struct connection *c, const struct decision *d, enum refusal why);
void account_over_limit(struct session *s);
void account_no_resources(struct session_env *env, const char *what);
/* The connection of a peer that had to begin with a PROXY header and did not. */
void account_no_header(struct session_env *env, const struct flow *flow, const struct zone *zone, const struct service *service, bool harmless,
		       const char *reason, struct slice octets);
void account_client_named(const struct session *s);
void account_connected(const struct session *s, int server_fd);
void account_connect_failed(const struct session *s, int err);
void account_target_refused(const struct session *s);
void account_ending(const struct session *s, int err);
void account_stream(const struct session *s, const struct stream *stream, bool server);
void account_summary(const struct session *s);


/*
 * Where the server leg goes and whom it speaks for: fills the session's server, server_zone, leg and
 * server_local, and *out. 0; -EACCES (the policy does not let this service reach that zone);
 * -EAFNOSUPPORT and others as connect_plan. Logs nothing (connect.c).
 */
int session_plan_server(struct session *s, struct connect_request *out) MUST_CHECK;

/* The client names a server in its handshake: where the router goes by that, the way is settled. 0; -EACCES (no
 * server for it; logged). WAITS (connect.c). */
co_waits int session_route_by_name(struct session *s, struct slice name) MUST_CHECK;

/* The leg is open: counted from now, logged, told (connect.c). */
void session_server_opened(struct session *s, const struct connect_request *how);

/* What closing a stream adds to session->octets, with its accounting line (session.c). */
void session_close_server(struct session *s, bool reset);
/* The same for a stream that lives on in the pool. */
void session_left_server(struct session *s);

/* Verdicts only get worse: the first that is not VERDICT_ACCEPTED stays. */
void session_set_verdict(struct session *s, enum verdict verdict);

/* Tell the environment (state, addresses or counters changed). */
void session_changed(struct session *s);

#endif
