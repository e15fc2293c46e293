/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the SMTP proxy share: its configuration, the state of one conversation, and
 * the queue of commands whose replies are still owed.
 */
#ifndef SALLYPORT_PROXY_SMTP_SMTP_PRIV_H
#define SALLYPORT_PROXY_SMTP_SMTP_PRIV_H

#include "proxy/smtp/auth.h"
#include "proxy/smtp/body.h"
#include "proxy/smtp/command.h"
#include "proxy/smtp/extension.h"
#include "proxy/smtp/hops.h"
#include "proxy/smtp/limits.h"
#include "proxy/smtp/record.h"
#include "proxy/smtp/smtp.h"

/* Actions of the policy tables, as the policy language numbers them. */
enum { SMTP_REQ_ACCEPT = 1, SMTP_REQ_REJECT = 3, SMTP_REQ_ABORT = 4, SMTP_REQ_POLICY = 6 };
enum { SMTP_RSP_ACCEPT = 1, SMTP_RSP_REJECT = 3, SMTP_RSP_ABORT = 4, SMTP_RSP_POLICY = 6 };
enum { SMTP_EXT_ACCEPT = 1, SMTP_EXT_DROP = 5 };

/* Ceilings of one session. */
#define SMTP_BATCH_COMMANDS 64			/* replies owed at a time */
#define SMTP_BATCH_OCTETS (16u * 1024u)		/* of commands whose replies are owed */
#define SMTP_HELO_MAX 255
#define SMTP_TRANSACTION_OCTETS (512u * 1024u)	/* sender and recipients */
#define SMTP_QUEUE_OCTETS (128u * 1024u)	/* the batch, as parsed */
#define SMTP_GOODBYE_MS 2000			/* to get the last reply out */
#define SMTP_SWALLOW_OCTETS (16u * 1024u * 1024u)	/* of a refused message, before the client is cut short */
#define SMTP_LINGER_OCTETS (256u * 1024u)	/* read and dropped behind a refused end */
#define SMTP_DISCARD_MAX (64u * 1024u * 1024u)	/* of a refused chunk; a longer one ends the session */
#define SMTP_GREETING_KEPT_MAX 2047		/* octets of a greeting that the pool remembers */
#define SMTP_LINE_BUFFER_MAX 8192		/* of a command line; two fit a stream's buffer */

struct smtp_config {
	int64_t timeout_ms, interval_transfer_noop_ms, unconnected_response_code;
	int64_t max_request_length, max_auth_request_length, max_response_length, max_line_length;
	int64_t max_recipients, max_message_size, max_received_hops, permit_extensions;
	int64_t reuse_idle_timeout_ms, reuse_max_idle, reuse_max_messages, reuse_max_age_ms;
	bool reuse_server_sessions;
	/* limits.c, delay.c; timeouts of 0 become timeout_ms in prepare. */
	int64_t max_commands, max_idle_commands, max_errors, max_messages, max_session_recipients;
	int64_t max_session_time_ms, min_data_rate;
	int64_t timeout_greeting_ms, timeout_command_ms, timeout_line_ms, timeout_data_block_ms, timeout_final_ms;
	int64_t greeting_delay_ms, tarpit_after, tarpit_delay_ms;
	bool require_crlf, permit_unknown_command, permit_long_responses, permit_omission_of_angle_brackets;
	int64_t max_auth_steps, max_auth_failures;
	struct string_list permit_auth_mechanisms;
	bool auth_requires_tls;
	bool require_client_tls, require_server_tls;
	struct slice server_name;
	bool add_received_header, tls_passthrough, permit_early_input, permit_source_routes, require_8bitmime;
	struct slice append_domain, banner;
	/* Of the standard policy class. */
	bool resolve_host, relay_check, permit_percent_hack, permit_exclamation_mark, error_soft;
	struct slice domain_name, autodetect_domain_from;
	bool send_xclient;
	struct string_list accept_xclient_zones;
	struct string_list relay_zones, relay_domains;
	struct matcher_call relay_domains_matcher, sender_matcher, recipient_matcher;
	struct policy_call request_stack;
	struct policy_call relay_check_hook, zone_check_hook, generate_received_hook, request_stack_hook;
	struct compiled_table *request, *response, *extensions;
	/* Derived by prepare. */
	bool permits_requests;			/* the request table is not empty */
	uint32_t batchable;			/* bit: smtp_verb_id whose commands need not wait for earlier replies */
	/* What the tables say of each verb, and of the usual reply to it; NULL: nothing. */
	const struct table_entry *verb_entries[SMTP_VERB_COUNT], *usual_entries[SMTP_VERB_COUNT];
	struct slice own_name;			/* the "by" of the trace header */
	struct string_list relay_domains_ascii;	/* relay_domains, as idna.h has them */
};

/* A command whose reply the client is owed, in the order of the commands. */
struct smtp_pending {
	struct smtp_pending *next;
	const struct smtp_verb *verb;
	struct slice name, param;		/* as forwarded */
	struct slice mailbox;			/* of MAIL and RCPT, as far as they were understood; else NULL */
	struct smtp_mail_options mail;		/* of MAIL */
	size_t octets;				/* forwarded */
	uint64_t chunk_octets;			/* of BDAT: behind the command */
	bool chunk_last;
	deadline_t since, sent;			/* when it was queued; of BDAT: when all of the chunk was with the server */
	bool local;				/* the reply is ours: */
	unsigned code;
	struct slice text;
	bool closes;				/* and the session ends with it */
	enum fault fault;
	const char *reason;
	bool cancels;				/* an AUTH exchange: it can't succeed, or go on */
	bool fell_back;				/* of HELO: the client said EHLO */
	bool silent;				/* a RSET of our own, or the end of an AUTH exchange: the client must not see the reply */
};

/* The octets behind a BDAT that are coming in now. They are no commands, whatever became of the BDAT. */
struct smtp_chunk {
	struct smtp_pending *reply;		/* not given before they are all there; NULL: no chunk is under way */
	uint64_t left;				/* still to come, or held back */
	bool last;
	bool forward;				/* to the server; else they are dropped */
};

/* What reuse.c keeps of a conversation; all zero when server sessions are not reused. */
struct smtp_reuse {
	struct slice greeting;			/* the server's, as it came; empty: not fit to be remembered */
	struct slice replay;			/* what the client was not told of it yet: an earlier session read it */
	uint8_t *note;				/* what the pool gets: an octet for told, and behind it the greeting */
	unsigned told;				/* SMTP_XCLIENT_* that the leg was told, for this client or one before */
	bool untested;				/* the leg was taken from the pool and has answered nothing yet */
	bool held;				/* the second in the queue goes out when the first was answered */
	bool spoiled;				/* the leg is for nobody else */
	bool quit;				/* the client's QUIT was answered here */
	unsigned messages, refusals;		/* of this leg in this session; refusals since the last accepted message */
	unsigned legs;				/* how often it was replaced */
};

/* Who the client says that it is. */
struct smtp_hello {
	struct slice name, protocol;		/* empty: it did not say */
	char octets[SMTP_HELO_MAX];
};

/* A 220 to STARTTLS was given: what comes now is TLS. */
enum smtp_switch { SMTP_NO_SWITCH, SMTP_SWITCH_CLIENT, SMTP_SWITCH_BOTH };

/* One conversation: proxy->run. */
struct smtp {
	/* Run-time attributes. */
	struct slice request_cmd, request_param, response_code, response_param;
	struct slice sender, recipients, error_code, error_info, helo_string, protocol;
	int64_t active_extensions;		/* offered to the client */
	bool error_abort;

	struct proxy *proxy;
	const struct smtp_config *config;	/* proxy->config; read again after each call of policy code */
	unsigned state;				/* what the replies so far made it */
	unsigned assumed;			/* what it will be if the commands under way are accepted */
	struct smtp_mail_options assumed_mail;	/* the same of mail */
	struct smtp_pending *head, **tail;	/* replies owed */
	unsigned n_pending;
	size_t pending_octets;
	struct arena *batch;			/* of the queue; reset when it is empty */
	struct arena *transaction;		/* sender and recipients; NULL: none */
	struct arena *spare;			/* of the last transaction, empty, for the next one; NULL while there is one */
	struct smtp_record *record;		/* of the transaction, on its arena; NULL: none, or it is written */
	struct smtp_reply_parser parser;
	struct smtp_reuse reuse;
	const struct smtp_argument *deciding;	/* of the request that policy decides on now */
	struct arena_room sanitized;		/* the last result of smtp_sanitize_address */
	struct arena_room trace;		/* the last result of smtp_generate_received */
	hook_native_fn checked;			/* the standard check that accepted it; NULL: none yet */
	struct arena_room recipients_room;	/* what recipients points to, unless policy code wrote it; of the transaction */
	unsigned n_recipients;
	struct smtp_mail_options mail;		/* of the transaction */
	bool client_authenticated;
	uint64_t body_octets;			/* of the message, dot line included */
	unsigned server_extensions;		/* SMTP_EXT_* bits that the last EHLO reply named */
	struct smtp_auth auth;
	struct smtp_chunk chunk;
	struct smtp_hops chunk_hops;		/* of the message in chunks */
	uint64_t chunks_octets;			/* that came of the message in chunks, as far as the client sent it */
	deadline_t client_due, server_due;
	struct smtp_usage usage;
	struct smtp_rate rate;			/* of the message under way */
	bool pipelining;			/* the server takes groups of commands */
	bool connected;
	bool announced;				/* the server knows the client by XCLIENT */
	enum smtp_switch switching;
	bool client_named;			/* it spoke for another by XCLIENT, in plain text */
	bool may_announce;			/* the client may speak for others by XCLIENT */
	char *client_name_room;			/* what client_name points to; NULL: no XCLIENT named one yet */
	struct slice client_name;		/* by XCLIENT; empty: not known */
	bool blocked;				/* no further command before the replies owed */
	bool diverged;				/* the server is in a transaction that the client was refused */
	bool reset_by_us;			/* the client's transaction ended with our RSET */
	bool data_by_lf;			/* the DATA command ended with bare LF */
	bool transfer;				/* 354 was given: the body comes */
	bool in_message;			/* the server has a part of a message, but not its end */
	bool chunks_open;			/* it took chunks of a message that is not accounted */
	bool chunk_cr;				/* the chunks so far end with CR */
	bool accounted;				/* the message of the transaction */
	struct slice farewell;			/* text of the 421 by which the server left; empty: without a word */
	bool final_owed;			/* the server has the message but did not say what becomes of it */
	bool client_eof, client_gone;
	bool linger;				/* the client may be writing still when it is told off */
	bool ending;
	char unlisted_code_text[4];		/* what error_code points to, of a verb that no table names */
	char code_text[4];			/* what response_code points to */
	struct smtp_hello hello;		/* that was accepted */
	struct slice hello_said;		/* the name in the HELO or EHLO under way; of the batch */
};

static inline struct smtp *smtp_of(struct proxy *proxy)
{
	return proxy->run;
}

/* For native forms of methods: policy code may call them before the conversation begins. */
static inline const struct smtp_config *smtp_config_of(const struct proxy *proxy)
{
	return proxy->config;
}

/* Does it answer a line of an AUTH exchange? */
static inline bool smtp_is_auth(const struct smtp_pending *p)
{
	return p->verb == &smtp_verbs[SMTP_AUTH] || p->verb == &smtp_verbs[SMTP_SASL];
}

/* Is the reply to it the last word on a message? */
static inline bool smtp_is_final(const struct smtp_pending *p)
{
	return p->verb == &smtp_verbs[SMTP_BODY] || (p->verb == &smtp_verbs[SMTP_BDAT] && p->chunk_last);
}

/* May the reply that is owed next be given without the server? */
static inline bool smtp_answer_is_ready(const struct smtp *s)
{
	return s->head != NULL && s->head->local && s->head != s->chunk.reply;
}

/* session.c: the conversation. WAITS. */
co_waits void smtp_run(struct proxy *proxy);
/* Ends the conversation, telling the client 421 if it is still there. Returns -ECONNABORTED. */
int smtp_fail(struct smtp *s, enum fault fault, const char *reason, int err);
/* The same without a reply of its own. */
int smtp_end(struct smtp *s, enum fault fault, const char *reason, int err);
struct slice smtp_code_text(unsigned code, char buf[4]);
deadline_t smtp_due(const struct smtp *s);
void smtp_end_transaction(struct smtp *s);
/* As after connecting: what the client said so far does not count any more. */
void smtp_begin_anew(struct smtp *s);

/* The server side from its start: connects, and its greeting is owed to the client. WAITS. */
co_waits int smtp_connect(struct smtp *s) MUST_CHECK;

/* identity.c: XCLIENT. */
/* May the server have this command of the client before what we have to tell it ahead of EHLO or HELO:
 * who the client is, or STARTTLS? */
bool smtp_may_precede_hello(const struct smtp *s, const struct smtp_verb *verb);
/* Before EHLO or HELO with this name goes to the server: tell it who the client is, unless it knows.
 * A leg of the pool that can't be told is replaced; one that was told is tested. WAITS. */
co_waits int smtp_announce_client(struct smtp *s, const struct smtp_verb *verb, struct slice helo) MUST_CHECK;
/* The next reply of the server, outside the queue; it lies in the server's buffer until reply->raw is consumed, and
 * nothing is behind it. 0; SMTP_LEG_LOST: the leg was untested, and is closed; negative. WAITS. */
#define SMTP_LEG_LOST 1
co_waits int smtp_hear_server(struct smtp *s, deadline_t due, struct smtp_reply *reply) MUST_CHECK;
/* A command of our own, "VERB " and its parameter, and the reply to it, as smtp_hear_server. WAITS. */
co_waits int smtp_ask_server(struct smtp *s, struct slice verb, struct slice param, struct smtp_reply *reply) MUST_CHECK;
/* Is this client's zone named in accept_xclient_zones? Once, at the start: later it names others. */
bool smtp_may_announce(const struct smtp *s);
/* The client says whose connection it carries. WAITS. */
co_waits int smtp_take_xclient(struct smtp *s, struct slice param) MUST_CHECK;

/* queue.c: replies owed. */
struct smtp_pending *smtp_queue_add(struct smtp *s, const struct smtp_verb *verb);
int smtp_queue_reply(struct smtp *s, const struct smtp_verb *verb, unsigned code, struct slice text);
/* Of a MAIL or RCPT that was understood; argument is of the others, too. */
int smtp_queue_refusal(struct smtp *s, const struct smtp_verb *verb, const struct smtp_argument *argument, unsigned code,
		       struct slice text);
struct smtp_pending *smtp_queue_last(struct smtp *s);	/* there must be one */
/* The session ends behind this reply, which is ours. */
void smtp_pending_close(struct smtp *s, struct smtp_pending *p, enum fault fault, const char *reason);
/* And this is what it says; text: static. */
void smtp_pending_say_goodbye(struct smtp *s, struct smtp_pending *p, unsigned code, const char *text, enum fault fault,
			      const char *reason);
int smtp_queue_goodbye(struct smtp *s, unsigned code, const char *text, enum fault fault, const char *reason);
/* In front of those that are there. */
struct smtp_pending *smtp_queue_put_first(struct smtp *s, const struct smtp_verb *verb);
void smtp_queue_pop(struct smtp *s);

/* request.c: takes the client's commands as far as they may go on now. WAITS (policy code). */
co_waits int smtp_take_commands(struct smtp *s) MUST_CHECK;
/* What arguments of the client's commands are parsed against now. */
struct smtp_syntax smtp_syntax_of(const struct smtp *s);
/* May the parameter of this verb be other than ASCII now? */
bool smtp_takes_utf8(const struct smtp *s, const struct smtp_verb *verb);

/* expect.c: does the reply fit what it answers? 0: the policy is next; 1: no one need hear more of it; < 0. WAITS. */
co_waits int smtp_expect(struct smtp *s, struct smtp_pending *p, const struct smtp_reply *reply) MUST_CHECK;

/* response.c: gives the client the replies that are there. WAITS (policy code). */
co_waits int smtp_answer(struct smtp *s) MUST_CHECK;
co_waits int smtp_write_reply(struct smtp *s, unsigned code, struct slice text) MUST_CHECK;
/* A client that talks out of turn is told so, and the session ends. Returns -ECONNABORTED. */
co_waits int smtp_refuse_early_input(struct smtp *s);
struct smtp_reply_limits smtp_reply_limits_of(const struct smtp *s);

/* diverge.c: the server accepted what the client was told it did not. */
#define SMTP_RESET_TEXT "4.3.0 Transaction was reset, please start again"	/* behind 451 */
/* The server said yes to p, the client was told no. */
void smtp_forget_transaction(struct smtp *s, const struct smtp_pending *p);
/* Does this reply leave it open whether the server is in a transaction? */
bool smtp_leaves_doubt(const struct smtp *s, const struct smtp_pending *p, unsigned code);
/* A yes of the server, or a go-ahead, while s->diverged. 1: the client was told no; 0: it goes on as ever. WAITS. */
co_waits int smtp_answer_diverged(struct smtp *s, struct smtp_pending *p, unsigned code) MUST_CHECK;
/* Once no reply is owed: make the server forget. WAITS. */
co_waits int smtp_reset_server(struct smtp *s) MUST_CHECK;

/*
 * hello.c: HELO and EHLO. The name in it counts when both the policy and the server accepted it: what was refused
 * must not show in records and trace headers. Policy code that decides on it, or on the reply to it, sees it already.
 */
void smtp_hello_show(struct smtp *s, const struct smtp_verb *verb);	/* before a call of policy code about this verb */
void smtp_hello_hide(struct smtp *s);					/* behind it */
void smtp_hello_accept(struct smtp *s, const struct smtp_verb *verb);
void smtp_hello_forget(struct smtp *s);
/* And what the client gets to know of the server. */
void smtp_forget_offers(struct smtp *s);	/* of extensions */
/* The extensions that its reply to EHLO names. */
void smtp_note_extensions(struct smtp *s, const struct smtp_reply *reply);
/* A line of that reply: does the client get it, and how? *out points into line or buf. */
bool smtp_offer(struct smtp *s, struct slice line, char buf[SMTP_OFFER_MAX], struct slice *out);
/* The text that the policy has instead of the server's. */
bool smtp_banner(const struct smtp *s, const struct smtp_pending *p, unsigned code, struct slice *text);
/* The server does not know EHLO: 1 and HELO was sent for p, 0: no; negative. WAITS. */
co_waits int smtp_fall_back_to_helo(struct smtp *s, struct smtp_pending *p, const struct smtp_reply *reply) MUST_CHECK;
/* The proxy's own lines behind the server's, one a call; *n starts with 0. false: there is no further one. */
bool smtp_own_offer(struct smtp *s, unsigned *n, struct slice *line);

/* starttls.c */
/* Is a STARTTLS of the client the server's to answer, and so the server's to offer? */
bool smtp_starttls_forwards(const struct smtp *s);
/* Does the proxy offer its own? Notes it in active_extensions. */
bool smtp_starttls_is_offered(struct smtp *s);
/* May the client say it now? 0; -EBADMSG with *flaw. */
int smtp_starttls_check(struct smtp *s, struct smtp_flaw *flaw) MUST_CHECK;
/* It may, and the policy has accepted it: our 220. */
int smtp_starttls_answer(struct smtp *s) MUST_CHECK;
/* The server's reply, before anybody gets to see it. 0; else the session ended. WAITS. */
co_waits int smtp_starttls_judge(struct smtp *s, const struct smtp_reply *reply) MUST_CHECK;
/* s->switching: the handshakes, and a fresh start. WAITS. */
co_waits int smtp_switch_to_tls(struct smtp *s) MUST_CHECK;
/* require_client_tls: not without TLS. */
bool smtp_tls_is_missing(const struct smtp *s, const struct smtp_verb *verb);
/* Is STARTTLS to the server the proxy's own business? And then: must it still be said? */
bool smtp_starttls_is_ours(const struct smtp *s);
bool smtp_needs_server_tls(const struct smtp *s);
/* If it must: say it, before EHLO or HELO with this name. 0; negative: the session ended. WAITS. */
co_waits int smtp_secure_server(struct smtp *s, struct slice helo) MUST_CHECK;

/* delay.c. 0; -ECANCELED; -ECONNABORTED. WAIT. */
co_waits int smtp_delay_greeting(struct smtp *s) MUST_CHECK;
co_waits int smtp_tarpit(struct smtp *s, unsigned code) MUST_CHECK;	/* before a reply with that code */

/* request.c: in canonical form. WAITS. */
co_waits int smtp_write_command(struct smtp *s, const struct smtp_pending *p, const struct smtp_argument *argument) MUST_CHECK;

/* reuse.c: server sessions that serve several clients. */
/* Take one from the pool instead of connecting. 0; -ENOENT. */
int smtp_reuse_start(struct smtp *s) MUST_CHECK;
/* The server is gone or talks nonsense: replace it if nothing is lost by that (0), else end. WAITS. */
co_waits int smtp_server_lost(struct smtp *s, const char *reason, int err) MUST_CHECK;
/* A reply must be there by then; sooner from an untested leg. */
deadline_t smtp_reuse_due(const struct smtp *s, deadline_t due);
/* An untested leg was of no use for XCLIENT: a fresh one, whose greeting is heard. Nothing may be owed. WAITS. */
co_waits int smtp_reuse_replace(struct smtp *s) MUST_CHECK;
/* The server is another one from now on: as smtp_reuse_replace, of a leg on which nobody owes anything. WAITS. */
co_waits int smtp_reuse_exchange(struct smtp *s) MUST_CHECK;
/* The first command to an untested leg. WAITS. */
co_waits int smtp_reuse_send(struct smtp *s, struct smtp_pending *p) MUST_CHECK;
/* Behind the greeting of a fresh leg: what waited for it. WAITS. */
co_waits int smtp_reuse_send_held(struct smtp *s, const struct smtp_reply *greeting) MUST_CHECK;
/* Each reply of the server, before anything else becomes of it. 1: it is nothing to the client, and the
 * stream that it stood in is gone. WAITS. */
co_waits int smtp_reuse_hear(struct smtp *s, const struct smtp_pending *p, const struct smtp_reply *reply) MUST_CHECK;
/* Is QUIT, which the policy has accepted, answered here, since the leg may serve others? */
bool smtp_reuse_answers_quit(struct smtp *s, struct slice name);
/* The conversation is over: leave the leg to others if there is no doubt about it. WAITS. */
co_waits void smtp_reuse_leave(struct smtp *s);

/* transfer.c: the message, from 354 to the lone dot. WAITS. */
co_waits int smtp_transfer(struct smtp *s) MUST_CHECK;
/* Its next octets. Did it come by more hops than max_received_hops? */
bool smtp_is_looping(const struct smtp *s, struct smtp_hops *hops, struct slice octets);
#define SMTP_LOOP_REASON "mail-loop"
#define SMTP_LOOP_TEXT "5.4.6 Too many hops, mail is looping, closing transmission channel"	/* behind 554 */

/* The client is gone, silent (err -ETIMEDOUT) or sends no more (0: it may listen yet), in the middle of a message.
 * Returns -ECONNABORTED. */
co_waits int smtp_client_lost(struct smtp *s, const char *why, int err);

/* auth.c: AUTH. */
/* May the client say AUTH now, with this? 0; -EBADMSG with *flaw. */
int smtp_auth_check(const struct smtp *s, struct slice param, struct smtp_flaw *flaw) MUST_CHECK;
/* For logs: of AUTH's parameter the mechanism; of what is no command nothing, if it could be a password. */
struct slice smtp_auth_shown(const struct smtp *s, struct slice param);
struct slice smtp_shown_line(const struct smtp *s, struct slice line);
/* The server's line of EHLO with the mechanisms that are permitted, in buf. false: it is dropped. */
bool smtp_auth_offer(struct smtp *s, struct slice line, char buf[SMTP_OFFER_MAX], struct slice *out);
void smtp_auth_forget_offer(struct smtp *s);
void smtp_auth_start(struct smtp *s, struct slice mechanism);
/* Is this a reply that may stand in an exchange? 0; else the session ended. WAITS. */
co_waits int smtp_auth_judge(struct smtp *s, const struct smtp_pending *p, const struct smtp_reply *reply) MUST_CHECK;
/* End the exchange without the client. WAITS. */
co_waits int smtp_auth_cancel(struct smtp *s) MUST_CHECK;
/* In SMTP_STATE_AUTH: the client's next line. 1: taken; 0: not there yet. WAITS. */
co_waits int smtp_auth_take_line(struct smtp *s) MUST_CHECK;

/* chunk.c: BDAT. */
/* Must the replies owed be there before it is looked at? */
bool smtp_chunk_must_wait(const struct smtp *s, uint64_t octets, bool last);
/* The line may be a BDAT that can't be understood: nobody knows where the next command starts. */
bool smtp_announces_chunk(struct slice line);
int smtp_refuse_chunk_line(struct smtp *s, struct slice line);
/* About to be forwarded: what goes in front of the message. WAITS (policy code). */
co_waits int smtp_chunk_prepare(struct smtp *s, struct smtp_argument *argument) MUST_CHECK;
/* A BDAT was taken, forwarded or refused; its reply is the last that is owed. Its octets come now. */
void smtp_chunk_begin(struct smtp *s, uint64_t octets, bool last);
/* The octets that are there. s->chunk.reply is NULL when that was all. WAITS. */
co_waits int smtp_chunk_pass(struct smtp *s) MUST_CHECK;
bool smtp_chunk_wants_more(const struct smtp *s);
/* The server closed, or answered a chunk that it does not have: the client learns it at the chunk's end. */
void smtp_chunk_lose_server(struct smtp *s, const char *why, int err);
/* The reply to a BDAT was given, and it was our own. */
void smtp_chunk_answered(struct smtp *s, const struct smtp_pending *p);

/* policy.c */
enum smtp_decision { SMTP_PASS, SMTP_REFUSE, SMTP_ABORT };
/* s->error_code and error_info say how it is refused. Negative: -ECANCELED, -ENOMEM. WAITS. */
co_waits int smtp_decide_request(struct smtp *s, const struct smtp_verb *verb, struct slice *name,
				 struct smtp_argument *argument, enum smtp_decision *decision) MUST_CHECK;
co_waits int smtp_decide_response(struct smtp *s, const struct smtp_pending *p, unsigned *code, struct slice *text,
				  enum smtp_decision *decision) MUST_CHECK;
bool smtp_extension_permitted(struct smtp *s, struct slice keyword);
bool smtp_is_batchable(const struct smtp *s, const struct smtp_verb *verb);
void smtp_set_error(struct smtp *s, const char *code, const char *text);
/* error_code and error_info, made safe to send in reply to verb. The text may be on the batch's arena. */
unsigned smtp_error_reply(struct smtp *s, const struct smtp_verb *verb, struct slice *text);
extern const struct policy_table smtp_tables[];

/* check.c: native forms of the standard policy class's methods. */
co_waits int smtp_check_sender(struct proxy *, const struct call_value *, size_t, struct call_value *);
co_waits int smtp_check_recipient(struct proxy *, const struct call_value *, size_t, struct call_value *);
co_waits int smtp_relay_check(struct proxy *, const struct call_value *, size_t, struct call_value *);
co_waits int smtp_zone_check(struct proxy *, const struct call_value *, size_t, struct call_value *);
int smtp_sanitize_address(struct proxy *, const struct call_value *, size_t, struct call_value *);

/* received.c */
/* What the client's messages come by: "ESMTPSA" and its like (RFC 3848, RFC 6531). utf8: SMTPUTF8 was said. */
const char *smtp_protocol_name(struct proxy *proxy, bool utf8);
int smtp_generate_received(struct proxy *, const struct call_value *, size_t, struct call_value *);
/* The trace header, whole lines fit for a message; empty if there is none. WAITS. */
co_waits int smtp_trace_header(struct smtp *s, struct slice *out) MUST_CHECK;
int smtp_find_own_name(const struct smtp_config *config, struct arena *arena, struct slice *out);

/* accounting.c */
void smtp_account_sender(struct smtp *s, const struct smtp_pending *p, const struct smtp_reply *reply);
void smtp_account_recipient(struct smtp *s, const struct smtp_pending *p, const struct smtp_reply *reply);
void smtp_account_message(struct smtp *s, unsigned code, struct slice text, bool success);
/* The server is lost: each message that was under way, unless the client had given it up. */
void smtp_account_lost(struct smtp *s);
struct slice smtp_queue_id(struct slice reply_text);

#endif
