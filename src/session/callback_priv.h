/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the callback machinery share.
 *
 *	callback.c		the host: sessions, the queue for conversations, servers come and go
 *	callback_control.c	the control connection: pings, threads that ended
 *	callback_talk.c		one call on a conversation, with all that it calls in turn
 *	callback_packet.c	packets to and from JSON
 *	callback_tls.c		and in them TLS
 */
#ifndef SALLYPORT_SESSION_CALLBACK_PRIV_H
#define SALLYPORT_SESSION_CALLBACK_PRIV_H

#include "io/loop.h"
#include "session/callback.h"

#include <jansson.h>
#include <time.h>

struct callback_server;

struct conversation {
	struct callback_server *server;
	struct loop_watch watch;
	unsigned number;		/* as the server knows it */
	bool busy;			/* belongs to a session's outermost call, or to a waiter that will wake */
	bool unheard;			/* one packet sent, nothing received: it may not even have been read */
	unsigned open_calls;		/* not ended yet; 0 = the server waits for our next call */
	int error;			/* remembered: -EPIPE, -EBADMSG; -EAGAIN = ask another server */
	deadline_t deadline;		/* of the outermost call */
	int64_t since_ms;		/* it runs */
	struct conversation *next;	/* of the same server */
};

/* One host server: a process with a control connection and conversations. */
struct callback_server {
	struct callback_host *host;
	struct loop_watch control;
	uint64_t generation;		/* 1.. */
	struct conversation *conversations;
	unsigned n_conversations, n_busy, last_number;
	unsigned n_retired;		/* closed by us, thread not ended yet */
	unsigned retired[CALLBACK_CONVERSATIONS_MAX + 8];	/* their numbers */
	uint64_t pings;			/* sent; the number of the last */
	bool ping_open;
	int64_t ping_ms;		/* when it was sent */
	int64_t answer_by_ms;
	bool has_cpu_clock;		/* its process said which one it is */
	clockid_t cpu_clock;		/* of all its threads */
	int64_t ping_cpu_ms;		/* what it had used when the ping was sent */
	bool leaving;			/* not the current one: ends with its last busy conversation */
	struct callback_server *next_leaving;
};

struct callback_waiter {
	struct co *co;
	struct conversation *given;
	struct callback_waiter *next;
};

struct callback_host {
	struct policy_host port;
	struct callback_options options;
	struct callback_server *server;		/* the current one; NULL: waiting for it */
	struct callback_server *leaving;
	struct callback_waiter *first, **tail;
	struct loop_timer watchdog;
	bool watching, renewing;
	int64_t asked_ms;			/* for a server; meaningful while renewing */
	uint64_t generations, sessions;		/* numbers given so far */
	struct callback_counts counts;
	uint8_t *packet;			/* CALLBACK_PACKET_MAX + 1 octets; never in use across a wait */
};

/* What the host knows of a proxy that called policy code; on the session's arena. */
struct callback_session {
	uint64_t number;			/* the server's name for it; a new one for each instance */
	uint64_t first_generation;		/* of its first call: only there its own callback numbers mean something */
	uint64_t told_generation;		/* server that has an instance of it; 0 = none */
	struct endpoint told_client, told_server, told_target;
	const struct zone *told_zone;
	unsigned told_tls;			/* changes of secure that it was told */
	struct conversation *conversation;	/* of the outermost call; NULL = none runs */
	struct co *owner;
	struct callback_waiter waiter;		/* its place in the queue */
	struct arena_room result;		/* octets of the last result */
};

/* --- callback_packet.c: everything that touches JSON. The functions run through co_leaf. */

struct callback_request {			/* a packet to build */
	struct proxy *proxy;
	struct callback_session *session;
	enum { REQUEST_CALL, REQUEST_VALUE, REQUEST_ERROR } kind;
	bool with_info, with_tls;
	int32_t callback;			/* REQUEST_CALL: number, or method when it is not NULL */
	const char *method;
	const struct call_value *args;
	size_t n_args;
	const struct call_value *result;	/* REQUEST_VALUE */
	const char *message;			/* REQUEST_ERROR */
};

/* The packet's octets into buf. Returns their number; -EMSGSIZE; -ENOMEM. */
co_waits int callback_packet_write(const struct callback_request *request, uint8_t *buf, size_t size) MUST_CHECK;

enum callback_op { CALLBACK_UP, CALLBACK_DONE, CALLBACK_RAISED, CALLBACK_LOG, CALLBACK_OP_COUNT };

#define CALLBACK_ARGS_MAX 8
#define CALLBACK_LINES_MAX 128			/* of a traceback */

struct callback_answer {			/* a packet that was read; octets on arena */
	enum callback_op op;
	struct call_value result;		/* DONE */
	const struct hook *function;		/* UP: NULL = one of the engine's own */
	struct slice function_name;
	struct call_value args[CALLBACK_ARGS_MAX];
	size_t n_args;
	struct slice lines[CALLBACK_LINES_MAX];	/* RAISED: the traceback, else the message; LOG: the message */
	size_t n_lines;
	struct slice tag, log_session;		/* LOG */
	int level;
	char why[160];				/* what was wrong with it, when it was refused */
};

/*
 * Read a packet and take over what policy code changed, into the proxy's state; configure: the
 * answer is a configuration, for session->own_config. Octets of a DONE result go to the
 * session's room for them, all others on scratch. 0; -EBADMSG (answer->why says what is wrong); -ENOMEM.
 */
co_waits int callback_packet_read(struct proxy *proxy, const struct callback_options *options, bool configure,
				  struct slice packet, struct arena *scratch, struct callback_answer *answer) MUST_CHECK;

/* --- callback_tls.c: on co_leaf, too. */

/* What is known of the session's handshakes. NULL: no memory. */
json_t *callback_tls_to_json(const struct session *s);
/* The member "tls" of a packet, if it has one: to s->secure.given. 0; -EBADMSG (nobody asked for it, or it is none). */
int callback_tls_read(struct session *s, const json_t *packet) MUST_CHECK;

/* Packets of the control connection. */
enum control_op { CONTROL_SERVING, CONTROL_PONG, CONTROL_ENDED, CONTROL_LOG };

struct control_packet {
	enum control_op op;
	uint64_t number;			/* process, ping or conversation */
	char tag[64];
	int level;
	uint8_t message[1024];
	size_t message_len;
};

int control_packet_read(struct slice packet, struct control_packet *out) MUST_CHECK;	/* 0, -EBADMSG */
/* {"op":op,"<key>":number}. Returns the length, below size. */
int control_packet_write(char *buf, size_t size, const char *op, const char *key, uint64_t number);
int control_hello_write(char *buf, size_t size);		/* length; -EMSGSIZE; -ENOMEM */

/* --- callback_control.c */

void control_ready(struct loop_watch *watch);			/* of callback_server.control */
void control_watchdog(struct loop_timer *timer);
void control_send_hello(struct callback_server *server);
void control_forget(struct callback_server *server, uint64_t session);
void control_watch(struct callback_host *h);			/* a call begins: look after it */
/* A conversation was closed with a call open: what its thread does is to be found out. */
void control_retire(struct callback_server *server, unsigned number);

/* --- callback.c */

/* The server is stuck, or gone: its calls end, another is asked for. */
void server_lost(struct callback_server *server, bool stuck);
/* Too many threads hang: ask for another, this one serves until it comes. */
void server_wear_out(struct callback_server *server);
/* One more conversation, made here and sent over the control connection. 0 or -errno. */
int server_add_conversation(struct callback_server *server);
void conversation_shut(struct conversation *c);

/* --- callback_engine.c */

/* What policy code may call besides the hooks of the proxy's type; NULL: no such function. */
hook_native_fn callback_engine_function(struct slice name);

/* --- callback_talk.c */

/* One call, from sending it to its end. Errors as struct policy_host says; -EAGAIN: the server
 * never saw it. Afterwards c->open_calls says whether the conversation can be used again. */
co_waits int conversation_call(struct conversation *c, struct callback_request *request, deadline_t deadline,
			       struct call_value *result) MUST_CHECK;

#endif
