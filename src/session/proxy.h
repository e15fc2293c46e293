/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a protocol proxy sees of the engine: its two streams, its configuration, its session,
 * and the few things it asks the engine for. A proxy's run() reads from greeting to close and
 * returns; the session accounts and closes the streams afterwards.
 */
#ifndef SALLYPORT_SESSION_PROXY_H
#define SALLYPORT_SESSION_PROXY_H

#include "base/arena.h"
#include "base/clock.h"
#include "base/log.h"
#include "io/co.h"
#include "io/stream.h"
#include "policy/attribute.h"
#include "policy/counter.h"
#include "policy/policy.h"
#include "tls/tls.h"

struct session;

#define PROXY_GOODBYE_MS 4000	/* what run() may wait for at its end, under its shield, all in all */

/* Whose doing the end of a session was. */
enum fault {
	FAULT_NONE,		/* both sides agreed to end */
	FAULT_CLIENT,
	FAULT_SERVER,
	FAULT_POLICY,		/* the policy said so */
	FAULT_CALLBACK,		/* policy code failed, or was late */
	FAULT_ADMIN,		/* stop-session, shutdown */
	FAULT_RESOURCE,		/* memory, descriptors, a limit of ours */
	FAULT_OWN,		/* a broken promise of our own code */
	FAULT_COUNT
};
extern const char *const fault_names[FAULT_COUNT];	/* "none", "client", ... */

/* The verdicts of the accounting record; names as the policy language has them. */
enum verdict {
	VERDICT_ACCEPTED, VERDICT_DENIED_BY_POLICY, VERDICT_DENIED_BY_LIMIT, VERDICT_DENIED_BY_CONNECTION_FAIL,
	VERDICT_DENIED_BY_UNKNOWN_FAIL, VERDICT_ABORTED_BY_POLICY_ACTION, VERDICT_INVALID_POLICY_CALL,
	VERDICT_COUNT
};
extern const char *const verdict_names[VERDICT_COUNT];

struct proxy {
	const struct proxy_type *type;
	const void *config;		/* the typed block: the service's, or this session's own */
	void *run;			/* type->run_size octets, zeroed: run-time attributes and what the proxy keeps */
	struct session *session;
	struct slice id;		/* "svc/inst/service:7/inst/smtp" for log lines */
	struct stream *client;		/* open from the start */
	struct stream *server;		/* NULL until proxy_connect_server succeeded */
	struct arena *arena;		/* the session's; a transaction makes a child */
	uint64_t *counters;		/* COUNTERS_MAX, of the service (policy/counter.h) */
	void *host_state;		/* the policy host's: NULL until policy code was called */
	const char *doing;		/* what it waits for, in words: shown by ctl sessions and in logs */
	bool idle;			/* it waits and nothing is under way: the wait is cancelled when it is asked to stop */
	/* How it ended, set by proxy_end; FAULT_NONE and NULL at the start. */
	enum fault fault;
	const char *reason;		/* a static word list: "reply-code-changed"; NULL = none */
};

/*
 * Open the server side as the policy says (router, chainer, forged address, PROXY header) and set
 * proxy->server, where a header is already queued: flush it before another transport comes on
 * top. WAITS. 0; -EACCES (the policy refuses that target); -ETIMEDOUT; -ECANCELED;
 * -errno of the connection. Logged and accounted here, the proxy only tells its client.
 */
co_waits int proxy_connect_server(struct proxy *proxy) MUST_CHECK;

/*
 * TLS. Where the policy wants it from the first octet (TLS_FORCE) the engine sees to it: the client's
 * handshake is done before run(), the server's when it is connected (a failure there is a failed
 * connection). Where a protocol switches to it (STARTTLS) the proxy asks for it.
 */

/* What the session's encryption says of one end. */
enum tls_security proxy_security(const struct proxy *proxy, enum tls_end end);

/*
 * Both sides of this end's protocol agreed to speak TLS now: what is queued is flushed, then the
 * handshake runs. Octets that were sent ahead of it in plain text are refused, so nothing that was
 * read may be left over. The end must be open, not encrypted yet, and have an encryption. WAITS. 0;
 * negative: nothing more can be said on that end, and proxy_end has been told whose fault it was
 * (not of -ECANCELED).
 */
co_waits int proxy_start_tls(struct proxy *proxy, enum tls_end end) MUST_CHECK;

/* The same of both ends at once, in the policy's order. */
co_waits int proxy_start_tls_both(struct proxy *proxy) MUST_CHECK;

/*
 * What the server's own zone (DANE, RFC 7672) and the mail domain (MTA-STS, RFC 8461) say, where the policy's
 * verifier wants to know; of the server that proxy_connect_server connected, or tried to. It must be encrypted:
 * whatever the client does. It is doubtful: it was not used, and that may be otherwise later, so a client is to
 * come again. What was found out, in a word ("secure", "denied", ...; "enforce", "unmet", ...); "": nothing was asked.
 */
bool proxy_server_must_be_encrypted(const struct proxy *proxy);
bool proxy_server_is_doubtful(const struct proxy *proxy);
const char *proxy_server_dane(const struct proxy *proxy);
const char *proxy_server_mta_sts(const struct proxy *proxy);

/* What is known of an end that speaks TLS; good as long as its stream. NULL: it speaks plain text. */
const struct tls_facts *proxy_tls(const struct proxy *proxy, enum tls_end end);

/*
 * Server connections that outlive their session (session/pool.h), for protocols that can make one
 * as good as new. note is what the protocol must know of such a connection.
 *
 * proxy_reuse_server: instead of proxy_connect_server, one that an earlier session of the same
 * service left and that this session would open just the same: target, source address, whom it
 * speaks for, and TLS. switched: this session would ask the server to switch to TLS on its own account,
 * and one that did is wanted. Does not wait. 0, proxy->server and *note (on the session's arena);
 * -ENOENT: connect.
 */
int proxy_reuse_server(struct proxy *proxy, bool switched, struct slice *note) MUST_CHECK;

struct server_keep {
	unsigned idle_max, messages_max;	/* of this service to this target; over the connection's life */
	int64_t idle_ms, age_ms;		/* unused; since it was opened */
	unsigned messages;			/* in this session; none counts as one */
	struct slice note;			/* copied */
	struct slice goodbye;			/* static; said when nobody took it */
};

/* Could this session's connection be another's? Not what it was used for: the protocol knows that. */
bool proxy_may_keep_server(const struct proxy *proxy, const struct server_keep *keep);

/* Leave the connection, on which nobody owes anything, to others: 0, and proxy->server is NULL.
 * Negative (see pool_put): it stays this session's. */
int proxy_keep_server(struct proxy *proxy, const struct server_keep *keep) MUST_CHECK;

/*
 * The protocol named another server (the policy language's setServerAddress). Has an effect only
 * where the policy's router lets the proxy choose, and policy code has not chosen: else false.
 */
bool proxy_set_target(struct proxy *proxy, const struct endpoint *target);

/*
 * The protocol says whose connection this peer carries (XCLIENT): from now on the client's address
 * and zone are these, for checks, logs and the next proxy_connect_server. Rule and service stay.
 * wanted: what that client wanted to reach; family AF_UNSPEC: as before.
 */
void proxy_set_client(struct proxy *proxy, const struct endpoint *client, const struct endpoint *wanted);

/* What the client wanted to reach: the original destination, or as its peer said. */
const struct endpoint *proxy_client_wanted(const struct proxy *proxy);

/* The client has named a server in its TLS handshake, and the router would go elsewhere now than where the
 * connection leads: close it and connect anew, before anything is said that matters. */
bool proxy_server_is_stale(const struct proxy *proxy);

/* Close the server side in good order; what was not pushed is lost. Another may be connected then. */
void proxy_close_server(struct proxy *proxy);

/* Close the server side early (a message must not be taken as complete): RST, no goodbye. */
void proxy_drop_server(struct proxy *proxy);

/*
 * Say how the session ends: whose fault, and a short machine-readable reason (the transcripts'
 * "end fault=... reason=..."). The first call counts. err (0 or -errno) adds its text to the
 * log line. Logged once, with what the proxy was doing.
 */
void proxy_end(struct proxy *proxy, enum fault fault, const char *reason, int err);

/* The administrator or a shutdown wants the session to end at the next good moment. */
bool proxy_should_stop(const struct proxy *proxy);

/* The client as the policy sees it. */
const struct endpoint *proxy_client_address(const struct proxy *proxy);
const struct zone *proxy_client_zone(const struct proxy *proxy);	/* NULL = none */
const struct endpoint *proxy_client_local(const struct proxy *proxy);	/* the original destination */
/* The server, and the own address towards it (a forged one is the client's); family AF_UNSPEC: not connected yet. */
const struct endpoint *proxy_server_address(const struct proxy *proxy);
const struct endpoint *proxy_server_local(const struct proxy *proxy);
const struct policy *proxy_policy(const struct proxy *proxy);
int64_t proxy_wall_ms(const struct proxy *proxy);

/*
 * Call policy code, or its native form. Octets of the result, and of attributes that policy code
 * set, are good until this proxy's next call (proxy_match included): copy what must last. The
 * call's deadline is the policy's (default 5 s); run-time attributes and tables that the code
 * changed are taken over before this returns, each checked as its row says.
 * WAITS (if it is not native). 0 and *result; -ETIMEDOUT (too late); -EREMOTEIO (the code
 * raised; logged); -EBADMSG (unusable value or answer); -EPIPE (the policy host died);
 * -ECANCELED; -ENOSYS (call is not set).
 */
co_waits int proxy_call(struct proxy *proxy, const struct policy_call *call, const struct call_value *args,
			size_t n_args, struct call_value *result) MUST_CHECK;

/*
 * Does the text fit? A matcher in C answers at once; one in policy code is called as proxy_call
 * does, and WAITS. 1 yes, 0 no; negative: it can't tell, which must never open a gate. -EOVERFLOW
 * (a pattern needs more steps or memory than it may have; logged) or as proxy_call.
 */
co_waits int proxy_match(struct proxy *proxy, const struct matcher_call *call, struct slice text) MUST_CHECK;

/* The session's table: the service's, under what callbacks of this session changed. */
const struct compiled_table *proxy_table(struct proxy *proxy, const struct policy_table *type);
/* Is any of the session's tables not the service's? */
bool proxy_has_own_tables(const struct proxy *proxy);

static inline void proxy_count_violation(const struct proxy *proxy, enum log_tag tag)
{
	if (log_tag_is_violation(tag))
		proxy->counters[COUNT_VIOLATIONS]++;
}

/* Write one record into the accounting log of the session: a tag, a word, and fields. Violations are
 * counted, whether the log wants them or not. */
#define proxy_log(proxy, tag, level, summary, ...) \
	do { \
		proxy_count_violation((proxy), (tag)); \
		log_event((tag), (level), (proxy)->id, (summary), ##__VA_ARGS__); \
	} while (0)

#endif
