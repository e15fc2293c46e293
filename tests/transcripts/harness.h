/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole session in one process: the real session and proxy code on socketpairs, under a clock
 * that stands still until it is moved, with a connector that hands out a socketpair and a policy
 * host that does what it is told. Transcripts and the fuzzer of whole sessions run on it.
 */
#ifndef SALLYPORT_TESTS_HARNESS_H
#define SALLYPORT_TESTS_HARNESS_H

#include "io/loop.h"
#include "session/lookout_talk.h"
#include "session/session.h"
#include "tls/tls.h"

#include <jansson.h>

#define HARNESS_CALLBACKS 16

struct harness_callback {
	enum { CALLBACK_RETURNS, CALLBACK_RAISES, CALLBACK_LATE, CALLBACK_DIES } does;
	struct call_value result;
	json_t *attributes, *tables;	/* what it changes; NULL: nothing */
	struct slice pem, key_pem;	/* of setup_key: the certificate that it gives; empty: none */
};

struct harness {
	struct clock clock;
	int64_t now_ms;
	struct arena *arena;		/* of the policy */
	const struct policy *policy;
	struct tls_keys *keys;		/* of its encryptions; NULL: it has none */
	struct tls *tls;
	struct loop *loop;
	struct connector connector;
	struct policy_host host;
	struct session_env env;
	uint64_t counters[4 * COUNTERS_MAX];	/* over all sessions */
	uint64_t next_number[4];	/* services of a policy that a test puts in place of its own */
	int connect_error;		/* -errno that connecting gives; 0: a socketpair */
	bool client_encrypted;		/* the session takes the client's connection for encrypted */
	int client, server;		/* the far ends; -1: closed, or never opened */
	int server_near, former_near;	/* the near ends of these, as long as they are open */
	int former;			/* of the connection to a server before this one; those before that are closed */
	unsigned n_connections;		/* to servers */
	struct harness_callback callbacks[HARNESS_CALLBACKS];
	/* The lookout's end of the sessions' questions, and what it says to each. */
	int lookout;
	bool lookout_wanted;
	struct harness_says {
		bool nothing;
		int result;
		uint8_t body[2048];
		size_t octets;		/* of the body */
	} lookout_says[LOOKOUT_KINDS];
	unsigned lookout_asked;		/* questions so far */
	char lookout_question[300];	/* the last one */
	bool ended;
	enum fault fault;
	enum verdict verdict;
	char reason[64];
};

/*
 * A policy with one service for everybody: config is a CONFIG of the policy document (borrowed);
 * members go over those of the document, service over those of its SERVICE (router: over those of
 * its ROUTER); either may be NULL. 0, or -EINVAL with the problems on standard error.
 */
int harness_init(struct harness *h, const json_t *config, const json_t *members, const json_t *service,
		 const struct proxy_type *type);

/* Accept a client and run until nothing moves. A further one, when the session before has ended. */
int harness_connect(struct harness *h, const char *client_address);

/* The session's connection to a server is the former one. */
bool harness_uses_former(const struct harness *h);

/* Give the session its turns until nothing is left to do. */
void harness_settle(struct harness *h);

void harness_close_client(struct harness *h);
void harness_close_server(struct harness *h);

/* Ends what still runs, empties the pool of server connections and closes the far ends; another session
 * may be connected then. */
void harness_end(struct harness *h);

/* The same, and frees. */
void harness_release(struct harness *h);

#endif
