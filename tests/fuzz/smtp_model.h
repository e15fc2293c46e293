/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the two far ends of an SMTP session may see, written from the standard and without a line
 * of the proxy's code. It is told everything in the order in which it happened, and aborts when
 * something may not have.
 */
#ifndef SALLYPORT_TESTS_SMTP_MODEL_H
#define SALLYPORT_TESTS_SMTP_MODEL_H

#include "base/slice.h"

struct model_rules {
	bool strict_lines;		/* the client's lines end with CRLF */
	bool may_auth;			/* also on a plain connection */
	bool early_input;		/* a message may come before the go-ahead */
	bool any_verb;			/* the policy permits every verb that can be permitted */
	const char *only_domain;	/* recipients must have it; NULL: any */
	unsigned max_hops;		/* Received fields of a message; 0: any */
	size_t max_octets;		/* of a message, dots of the transfer not counted; 0: any */
	bool client_tls, server_tls;	/* that side may get TLS by STARTTLS */
	bool client_tls_first, server_tls_first;	/* its connection begins with it */
	bool client_tls_needed;		/* without it the client gets nothing done */
	bool server_tls_needed;		/* without it the origin gets nothing to do: the proxy says STARTTLS itself, whatever the client does */
	bool passthrough;		/* behind a STARTTLS that was forwarded octets are copied */
};

struct model;

struct model *model_create(const struct model_rules *rules);
void model_free(struct model *m);

/* A connection to the origin was opened; the one before the last is not heard of any more. */
void model_new_leg(struct model *m);
/* The session before is over, and a further client comes. It may be served over what that left. */
void model_next_client(struct model *m);

/* former: the connection to the origin before the last one. */
void model_client_sends(struct model *m, struct slice octets);
void model_server_sends(struct model *m, bool former, struct slice octets);
void model_origin_received(struct model *m, bool former, struct slice octets);
void model_client_received(struct model *m, struct slice octets);

/* The client was told to begin TLS, the origin said that it does, or the connection begins so: nothing that is said in
 * plain text counts any more. */
bool model_client_expects_tls(const struct model *m);
bool model_origin_expects_tls(const struct model *m, bool former);
/* The handshake is done: what is sent and received from here on went through it. trusted: the origin's certificate may be. */
void model_client_secured(struct model *m);
void model_origin_secured(struct model *m, bool former, bool trusted);
/* That side sent beneath its TLS what ends it. */
void model_client_breaks_tls(struct model *m);
void model_server_breaks_tls(struct model *m, bool former);

/* The client can't hear any more. */
void model_client_closed(struct model *m);
/* Both ends were told all that there is for now. */
void model_settled(struct model *m);

/* The server sends what a well-behaved one would say to all that it owes an answer: in out. Each reply but the
 * greeting names the client that it is for, and how it spoke then; no other may get it. */
size_t model_server_answers(struct model *m, bool former, char *out, size_t size);

#endif
