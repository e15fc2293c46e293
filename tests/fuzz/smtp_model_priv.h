/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the model share. */
#ifndef SALLYPORT_TESTS_SMTP_MODEL_PRIV_H
#define SALLYPORT_TESTS_SMTP_MODEL_PRIV_H

#include "smtp_model.h"

#include "base/buffer.h"
#include "fuzz.h"

#define OCTETS_MAX (1u << 20)
#define OWED_MAX 4096

#define CHUNKS_MAX 4096

/* CHUNK is a BDAT, LAST one that ends the message; SASL a line of an AUTH exchange. */
enum verb { GREETING, HELLO, MAIL, RCPT, DATA, END, CHUNK, LAST, AUTH, SASL, RSET, QUIT, STARTTLS, OTHER };

/* Commands whose reply has not come, oldest first. */
struct owed {
	enum verb verbs[OWED_MAX];
	size_t first, n;
};

/* Extensions, by the parameters that they bring. */
#define HAS_SIZE 1u
#define HAS_8BITMIME 2u
#define HAS_DSN 4u
#define HAS_SMTPUTF8 8u
#define HAS_DELIVERBY 16u
#define HAS_FUTURERELEASE 32u
#define HAS_MT_PRIORITY 64u
#define HAS_MTRK 128u
#define HAS_CHUNKING 256u
#define HAS_BINARYMIME 512u
#define HAS_AUTH 1024u
#define HAS_STARTTLS 2048u

/* The replies of one direction, as lines come in. */
struct replies {
	struct buffer octets;
	unsigned code;			/* of the reply that is under way; 0: none */
	unsigned keywords;			/* HAS_* of its lines but the first */
};

/* A BDAT that the client sent, and as much of its octets as it sent. */
struct chunk {
	uint64_t octets;
	bool last;
	size_t start, len;		/* in chunk_octets */
};

/* A connection to the origin, as that sees it. It may serve several clients, one after the other. */
struct leg {
	enum { ORIGIN_COMMANDS, ORIGIN_DATA, ORIGIN_BODY, ORIGIN_CHUNK, ORIGIN_SASL, ORIGIN_STARTS_TLS } state;
	struct owed owes;
	struct replies server;
	struct buffer command, body;
	bool secure;			/* it has TLS */
	bool dead;			/* it said what it may not, or goodbye: it must receive nothing more */
	bool greeted, mail, rcpt;	/* as its replies and the commands before it make it */
	bool mail_before, rcpt_before;	/* a RSET or HELO that may yet be refused */
	bool ehlo;			/* the last of EHLO and HELO that it received */
	unsigned offered;		/* HAS_* of its last EHLO */
	bool mail_utf8;			/* its last MAIL had SMTPUTF8 */
	uint64_t chunked;		/* octets of the chunks announced to it, of this message */
	unsigned recipients;
	bool in_transaction;		/* as its replies alone make it */
	bool authenticated, cancelled;	/* by its last 235; the last line of an exchange was "*" */
	bool binary;			/* the message is BODY=BINARYMIME */
	bool chunks, chunk_refused;	/* a message is open in chunks; the origin refused one of them */
	uint64_t chunk_left;		/* of the BDAT that the origin is receiving */
	bool chunk_last;
	struct buffer chunk;		/* what it has of it; body has what it has of the message */
	unsigned client;		/* the number of the client that it serves */
	bool spoiled;			/* it received what might stay with it */
	bool fit;			/* for another client than the one that it served */
};

#define MODEL_COUNTED 5		/* verbs, see smtp_model_tls.c */

struct model {
	const struct model_rules *rules;
	struct leg legs[2], *leg;	/* the last connection and the one before; the one that something happened on last */
	unsigned client_number;		/* from 1 */
	unsigned epoch;			/* one more with each client, and with the TLS of each */

	/* Since the present client came, or was told to begin TLS. */
	unsigned origin_took[OTHER + 1], client_got[OTHER + 1];	/* positive replies, by verb */
	unsigned origin_messages, origin_chunks;
	unsigned origin_successes, origin_challenges;
	bool may_be[CHUNKS_MAX];	/* which of the client's chunks the origin is receiving */
	bool ended;			/* it has a whole message in chunks since the last model_settled */
	unsigned ended_recipients;

	unsigned said_verbs[MODEL_COUNTED], heard_verbs[MODEL_COUNTED];	/* that the client said, at most; that the origin got of it */

	/* Of the present client. */
	enum { CLIENT_COMMANDS, CLIENT_DATA, CLIENT_BODY, CLIENT_CHUNK, CLIENT_AUTH, CLIENT_SASL, CLIENT_STARTS_TLS } client;
	bool client_secure;
	bool client_broke_tls;		/* said in plain text what is no handshake */
	unsigned client_offered;	/* HAS_* of the last EHLO reply that it got */
	bool piped;			/* a STARTTLS that was forwarded, with passthrough */
	struct buffer up, down;		/* piped: what was sent and has not arrived */
	struct owed client_is_owed;
	struct replies proxy;
	struct buffer said;		/* all that it sent, since it has TLS if it has */
	struct buffer raw, client_body;	/* raw: sent, not yet taken for commands */
	bool client_dead;		/* sent what ends a session */
	bool went_ahead;		/* and its 354 has not come */
	bool blind, blind_body;		/* what the client sent can't be told apart any more */
	unsigned client_recipients, client_messages, client_chunks;
	struct chunk sent[CHUNKS_MAX];
	size_t n_sent;
	struct buffer chunk_octets;
	uint64_t client_chunk_left;
	struct buffer secret;		/* its last line of an AUTH exchange, or AUTH itself */
	unsigned client_successes, client_challenges;
	unsigned auths_refused;		/* as the origin shows, and the client has not heard yet */
	bool client_gone;
	bool unmarked;			/* the origin said MODEL_MARK by chance */
};

#define MODEL_MARK " for client "	/* in replies, and the epoch behind it */

/* smtp_model.c */
/* This client sent these octets, somewhere. */
void model_check_said(const struct model *m, struct slice octets);
void model_push(struct owed *o, enum verb verb);
enum verb model_pop(struct owed *o);

/* smtp_model_client.c: the origin has what the client sent behind an AUTH. Then that was refused. false: there is none. */
bool model_client_skips_auth(struct model *m);
/* The origin has a message that the client sent before its go-ahead, as it may with early_input: it will get that. */
void model_client_goes_ahead(struct model *m);

/* smtp_model_tls.c */
void model_origin_gets_starttls(struct model *m, struct slice line);
void model_origin_starts_tls(struct model *m);
void model_client_starts_tls(struct model *m);
/* A command of this kind may go to the origin as the two connections are. */
void model_check_security(const struct model *m, enum verb verb, struct slice word);
/* The client sent octets; said has them already. The origin got a command. */
void model_count_said(struct model *m, size_t octets);
void model_count_heard(struct model *m, struct slice word);
/* Behind passthrough. */
void model_pipe_arrived(struct buffer *pipe, struct slice octets);

/* smtp_model_text.c: pure functions on octets. */
enum verb model_verb_of(struct slice line);
/* size [SP "LAST"] behind BDAT. false: it can't be said where the chunk ends. */
bool model_chunk_of(struct slice line, struct chunk *chunk);
bool model_is_base64(struct slice s);
/* Only CRLF ends lines, and no NUL. */
bool model_is_clean(struct slice s);
/* Received fields before the first empty line. stuffed: a line's first dot is not its own. */
unsigned model_received_fields(struct slice s, bool stuffed);
/* Where a strict body ends: behind the first lone dot. 0: not yet. *bad: it never will. */
size_t model_body_end(struct slice s, bool *bad);
/* Of a whole transfer: without the last line, and without the dots that lines got for it. */
size_t model_message_octets(struct slice whole);
struct slice model_word_of(struct slice line, unsigned number);
/* One line off the front. false: none yet. */
bool model_next_line(struct buffer *b, bool strict, struct slice *line, size_t *used, bool *bad);
/* The next whole reply. 0: none yet, -1: not a reply, else its code. */
int model_next_reply(struct replies *r, bool strict);

static inline bool model_positive(int code)
{
	return code >= 200 && code < 300;
}

/* smtp_model_path.c: MAIL From:<...> and RCPT To:<...> as the origin receives them. */
void model_check_path(struct model *m, struct slice line, const char *start, bool rcpt);
/* Only addresses, and only where the server can take it, may be other than ASCII; and then nothing but UTF-8. */
void model_check_octets(const struct model *m, struct slice line);

/* smtp_model_command.c: any command. */
void model_origin_command(struct model *m, struct slice line);
void model_origin_chunk(struct model *m, struct slice octets);

#endif
