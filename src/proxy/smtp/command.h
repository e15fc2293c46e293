/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SMTP commands: one row a verb. The row says where the verb is legal, how its argument is
 * parsed, how it may be pipelined, which replies it may get, and who handles the reply. The
 * parsers are pure functions on slices.
 */
#ifndef SALLYPORT_PROXY_SMTP_COMMAND_H
#define SALLYPORT_PROXY_SMTP_COMMAND_H

#include "proxy/smtp/address.h"
#include "proxy/smtp/param.h"
#include "proxy/smtp/reply.h"

#define SMTP_CHUNK_MAX INT64_MAX	/* octets of a chunk of BDAT; larger ones have no size that can be right */
#define SMTP_VERB_MAX 32		/* octets; longer ones are refused before any lookup */

/* Protocol states; the numbers are what logs show. */
#define SMTP_STATE_INITIAL 1u
#define SMTP_STATE_EHLO 2u		/* greeted, no transaction */
#define SMTP_STATE_AUTH 4u		/* the next line is a part of an AUTH exchange, and no command */
#define SMTP_STATE_MAIL 8u		/* a sender is known */
#define SMTP_STATE_RCPT 16u		/* and a recipient */
#define SMTP_STATE_CHUNKS 32u		/* and a part of the message, but not its end */
#define SMTP_STATE_FAILED 128u		/* a part of the message was refused: nothing but a reset helps */
#define SMTP_STATE_ANY \
	(SMTP_STATE_INITIAL | SMTP_STATE_EHLO | SMTP_STATE_MAIL | SMTP_STATE_RCPT | SMTP_STATE_CHUNKS | SMTP_STATE_FAILED)

/* Where in a group of pipelined commands a verb may stand (RFC 2920, 3.1). */
enum smtp_group {
	SMTP_GROUP_ALONE,		/* waits for all earlier replies, and for its own */
	SMTP_GROUP_ANY,
	SMTP_GROUP_LAST,		/* waits for its own reply */
};

/* What every reply to the verb must be: anything else is a server out of step. */
#define SMTP_REPLIES_2 1u
#define SMTP_REPLIES_354 2u
#define SMTP_REPLIES_45 4u
#define SMTP_REPLIES_334 8u
#define SMTP_REPLIES_235 16u
#define SMTP_REPLIES_220 32u
#define SMTP_REPLIES_AUTH (SMTP_REPLIES_334 | SMTP_REPLIES_235 | SMTP_REPLIES_45)
#define SMTP_REPLIES_NORMAL (SMTP_REPLIES_2 | SMTP_REPLIES_45)

enum smtp_verb_id {
	SMTP_GREETING,			/* the server's greeting, as if it answered a verb "Null" */
	SMTP_HELO, SMTP_EHLO, SMTP_MAIL, SMTP_RCPT, SMTP_DATA, SMTP_BODY, SMTP_RSET, SMTP_NOOP, SMTP_QUIT,
	SMTP_ETRN, SMTP_VRFY, SMTP_EXPN, SMTP_HELP,
	SMTP_AUTH, SMTP_SASL, SMTP_STARTTLS, SMTP_BDAT, SMTP_TURN, SMTP_ATRN, SMTP_XCLIENT, SMTP_XFORWARD, SMTP_ADDR,
	SMTP_VERB_COUNT
};

struct smtp;
struct smtp_pending;
struct smtp_verb;

/* What an argument is parsed against. */
struct smtp_syntax {
	unsigned active_extensions;	/* SMTP_EXT_* that the client was offered */
	bool bare_paths;		/* permit_omission_of_angle_brackets */
	bool source_routes;		/* permit_source_routes */
	bool client_authenticated;	/* its AUTH= parameters count */
	bool utf8;			/* the transaction's MAIL had SMTPUTF8 */
	struct slice append_domain;
};

struct smtp_argument {
	struct slice text;		/* canonical: what is forwarded behind the verb */
	struct smtp_path path;		/* of MAIL and RCPT; the mailbox is a part of text */
	bool has_path;
	struct smtp_mail_options mail;	/* of MAIL */
	struct slice secret;		/* of AUTH: the initial response, behind text; not for logs or policy code */
	uint64_t chunk_octets;		/* of BDAT: what the client sends behind the line */
	bool chunk_last;
	struct slice chunk_start;	/* of BDAT: what the server gets before that, not counted in chunk_octets */
};

/* Why an argument is refused: for the log, and the reply when it is not the usual 500. */
struct smtp_flaw {
	const char *text;		/* summary of a log line */
	const char *key;		/* its field: "path", "extensions", "param" */
	unsigned code;
	const char *reply;
};

typedef int (*smtp_argument_fn)(const struct smtp_syntax *syntax, struct slice param, struct arena *arena,
				struct smtp_argument *out, struct smtp_flaw *flaw);
typedef void (*smtp_reply_fn)(struct smtp *s, struct smtp_pending *p, unsigned code);

struct smtp_verb {
	const char *name;
	unsigned states;		/* SMTP_STATE_* where it is legal */
	enum smtp_group group;
	unsigned replies;
	unsigned usual;			/* the reply that it mostly gets; 0: not to be expected often */
	bool built_in;			/* of the original's own: others are "unknown" to permit_unknown_command */
	bool refused;			/* not spoken: 502, whatever the tables say */
	bool internal;			/* not a verb of the protocol */
	bool utf8;			/* its parameter need not be ASCII where SMTPUTF8 was offered */
	bool idle;			/* brings no mail nearer: max_idle_commands */
	unsigned unlisted_code;		/* the reply where the request table says nothing of it; 0: the usual refusal */
	const char *unlisted_text;
	smtp_argument_fn parse;		/* NULL: passed as it is */
	smtp_reply_fn on_reply;		/* state changes of an accepted reply; NULL: none */
};

extern const struct smtp_verb smtp_verbs[SMTP_VERB_COUNT];
extern const struct smtp_verb smtp_unknown_verb;

const struct smtp_verb *smtp_verb_named(struct slice name);	/* &smtp_unknown_verb: none */
bool smtp_verb_takes(const struct smtp_verb *verb, unsigned code);

struct smtp_command {
	const struct smtp_verb *verb;
	char name_octets[SMTP_VERB_MAX];
	size_t name_length;
	struct slice param;		/* in the line, leading spaces skipped */
	bool utf8;			/* param is not ASCII; it is UTF-8 */
};

static inline struct slice smtp_command_name(const struct smtp_command *c)
{
	return slice_of(c->name_octets, c->name_length);
}

/*
 * A line without its end: verb = ALPHA *(ALPHA / DIGIT / "-"), folded to upper case, then
 * spaces and the parameter. 0; -EBADMSG (no verb, or octets that no command may have); then
 * *out is as it was.
 */
int smtp_command_parse(struct slice line, struct smtp_command *out) MUST_CHECK;

/* The parameter of BDAT. 0; -EBADMSG: nobody knows how many octets follow. */
int smtp_chunk_parse(struct slice param, uint64_t *octets, bool *last) MUST_CHECK;

/* Argument parsers: 0; -EBADMSG with *flaw; -ENOMEM. */
int smtp_parse_helo(const struct smtp_syntax *, struct slice, struct arena *, struct smtp_argument *, struct smtp_flaw *);
int smtp_parse_mail(const struct smtp_syntax *, struct slice, struct arena *, struct smtp_argument *, struct smtp_flaw *);
int smtp_parse_rcpt(const struct smtp_syntax *, struct slice, struct arena *, struct smtp_argument *, struct smtp_flaw *);
int smtp_parse_etrn(const struct smtp_syntax *, struct slice, struct arena *, struct smtp_argument *, struct smtp_flaw *);
int smtp_parse_verify(const struct smtp_syntax *, struct slice, struct arena *, struct smtp_argument *, struct smtp_flaw *);
int smtp_parse_none(const struct smtp_syntax *, struct slice, struct arena *, struct smtp_argument *, struct smtp_flaw *);
int smtp_parse_data(const struct smtp_syntax *, struct slice, struct arena *, struct smtp_argument *, struct smtp_flaw *);

int smtp_parse_auth(const struct smtp_syntax *, struct slice, struct arena *, struct smtp_argument *, struct smtp_flaw *);
int smtp_parse_starttls(const struct smtp_syntax *, struct slice, struct arena *, struct smtp_argument *, struct smtp_flaw *);
int smtp_parse_bdat(const struct smtp_syntax *, struct slice, struct arena *, struct smtp_argument *, struct smtp_flaw *);

/* Reply handlers, in session.c, auth.c, starttls.c and chunk.c. */
void smtp_on_hello(struct smtp *s, struct smtp_pending *p, unsigned code);
void smtp_on_mail(struct smtp *s, struct smtp_pending *p, unsigned code);
void smtp_on_rcpt(struct smtp *s, struct smtp_pending *p, unsigned code);
void smtp_on_data(struct smtp *s, struct smtp_pending *p, unsigned code);
void smtp_on_body(struct smtp *s, struct smtp_pending *p, unsigned code);
void smtp_on_rset(struct smtp *s, struct smtp_pending *p, unsigned code);
void smtp_on_quit(struct smtp *s, struct smtp_pending *p, unsigned code);
void smtp_on_auth(struct smtp *s, struct smtp_pending *p, unsigned code);
void smtp_on_starttls(struct smtp *s, struct smtp_pending *p, unsigned code);
void smtp_on_chunk(struct smtp *s, struct smtp_pending *p, unsigned code);

#endif
