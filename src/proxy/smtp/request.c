/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the client's octets to commands that the server gets: each line is taken apart, checked
 * against the state, its argument parsed, the policy asked, and the canonical form written.
 *
 * Commands that the client sends in a group go on in a group as long as nothing that comes back
 * could change what becomes of them; what can't go on yet stays in the client's buffer.
 */
#include "proxy/smtp/counters.h"
#include "proxy/smtp/line.h"
#include "proxy/smtp/smtp_priv.h"

#include <errno.h>

#define NOT_HERE_TEXT "5.5.1 Bad sequence of commands"
#define NOT_SPOKEN_TEXT "5.5.1 Command not implemented"
#define SYNTAX_TEXT "5.5.2 Syntax error, command not accepted"

/* What happens to a line. */
enum step {
	STEP_DONE,		/* consumed */
	STEP_WAIT,		/* not before the replies owed are there */
};

struct smtp_syntax smtp_syntax_of(const struct smtp *s)
{
	return (struct smtp_syntax){
		.active_extensions = (unsigned)s->active_extensions,
		.bare_paths = s->config->permit_omission_of_angle_brackets,
		.source_routes = s->config->permit_source_routes,
		.client_authenticated = s->client_authenticated,
		.utf8 = s->assumed_mail.utf8,
		.append_domain = s->config->append_domain,
	};
}

bool smtp_takes_utf8(const struct smtp *s, const struct smtp_verb *verb)
{
	return verb->utf8 && (s->active_extensions & SMTP_EXT_SMTPUTF8) != 0;
}

/* The longest line of a command: extensions bring parameters, and room for them. */
static size_t longest_line(const struct smtp *s, const struct smtp_verb *verb)
{
	unsigned extensions = (unsigned)s->active_extensions;
	size_t octets = (size_t)s->config->max_request_length;

	if (verb == &smtp_verbs[SMTP_MAIL] || verb == &smtp_verbs[SMTP_RCPT])
		octets += smtp_extension_allowance(extensions, verb == &smtp_verbs[SMTP_RCPT]);
	else if (verb->utf8)
		octets += smtp_extension_allowance(extensions & SMTP_EXT_SMTPUTF8, false);
	return octets;
}

/* What extensions add need not be known of the lines that are short enough without: almost all. */
static bool is_too_long(const struct smtp *s, const struct smtp_verb *verb, size_t octets)
{
	return octets > (size_t)s->config->max_request_length && octets > longest_line(s, verb);
}

static void violation(struct smtp *s, const char *summary, const char *key, struct slice value)
{
	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, summary, F_OCTETS(key, value));
}

/*
 * May the command go on before the replies owed are there? All of them must be replies that
 * policy can't turn, and the command must be one that it decides at once. Where one was turned
 * nevertheless, the server is reset first.
 */
static bool may_join(const struct smtp *s, const struct smtp_verb *verb)
{
	if (s->head == NULL)
		return true;
	return s->pipelining && !s->diverged && verb->group != SMTP_GROUP_ALONE && smtp_is_batchable(s, verb);
}

/* For logs. */
static struct slice shown_param(const struct smtp *s, const struct smtp_command *c)
{
	if (c->verb->refused)
		return SLICE("(not shown)");
	return c->verb == &smtp_verbs[SMTP_AUTH] ? smtp_auth_shown(s, c->param) : c->param;
}

static int refuse_syntax(struct smtp *s, const struct smtp_command *c, const struct smtp_flaw *flaw)
{
	if (flaw->text != NULL)
		violation(s, flaw->text, flaw->key, shown_param(s, c));
	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "Invalid command", F_OCTETS("request", smtp_command_name(c)),
		  F_OCTETS("param", shown_param(s, c)));
	return smtp_queue_reply(s, c->verb, flaw->code != 0 ? flaw->code : 500,
				slice_cstr(flaw->reply != NULL ? flaw->reply : SYNTAX_TEXT));
}

/* What the state will be if the server accepts. */
static unsigned state_after(unsigned state, const struct smtp_verb *verb, const struct smtp_argument *argument)
{
	if (verb == &smtp_verbs[SMTP_MAIL])
		return SMTP_STATE_MAIL;
	if (verb == &smtp_verbs[SMTP_RCPT])
		return SMTP_STATE_RCPT;
	if (verb == &smtp_verbs[SMTP_RSET] && state != SMTP_STATE_INITIAL)
		return SMTP_STATE_EHLO;
	if (verb == &smtp_verbs[SMTP_BDAT])
		return argument->chunk_last ? SMTP_STATE_EHLO : SMTP_STATE_CHUNKS;
	return state;
}

co_waits int smtp_write_command(struct smtp *s, const struct smtp_pending *p, const struct smtp_argument *argument)
{
	const struct slice space = SLICE(" "), none = { NULL, 0 };
	const struct slice parts[] = {
		p->name, p->param.len > 0 ? space : none, p->param, argument->secret.len > 0 ? space : none, argument->secret,
		SLICE("\r\n"), argument->chunk_start,
	};

	return stream_write_parts(s->proxy->server, parts, ARRAY_LEN(parts), smtp_due(s));
}

static co_waits int forward(struct smtp *s, const struct smtp_verb *verb, struct slice name,
			    const struct smtp_argument *argument)
{
	struct smtp_pending *p = smtp_queue_add(s, verb);
	int err;

	if (p == NULL)
		return -ENOMEM;
	p->name = verb == &smtp_unknown_verb || !slice_is(name, verb->name) ? arena_copy(s->batch, name) : slice_cstr(verb->name);
	/* What was parsed to a path is on the batch already, other text may be the client's line. */
	p->mailbox = argument->has_path ? argument->path.mailbox : slice_of("", 0);
	p->param = argument->has_path ? argument->text : argument->text.len > 0 ? arena_copy(s->batch, argument->text) : slice_of("", 0);
	if (p->name.ptr == NULL || p->param.ptr == NULL || p->mailbox.ptr == NULL)
		return -ENOMEM;
	p->octets = p->name.len + 1 + p->param.len + 2;
	s->pending_octets += p->octets;
	p->mail = argument->mail;
	p->chunk_octets = argument->chunk_octets;
	p->chunk_last = argument->chunk_last;
	if (verb == &smtp_verbs[SMTP_MAIL])
		s->assumed_mail = argument->mail;
	if (verb == &smtp_verbs[SMTP_MAIL] || verb == &smtp_verbs[SMTP_RCPT])
		smtp_use(s, verb == &smtp_verbs[SMTP_MAIL] ? SMTP_LIMIT_MESSAGES : SMTP_LIMIT_RECIPIENTS);
	s->assumed = state_after(s->assumed, verb, argument);
	if (verb->group != SMTP_GROUP_ANY || !s->pipelining || !smtp_is_batchable(s, verb))
		s->blocked = true;
	proxy_log(s->proxy, LOG_SMTP_DEBUG, 6, "Copying request to the server", F_OCTETS("request", p->name),
		  F_OCTETS("param", p->param));
	if (verb == &smtp_verbs[SMTP_AUTH])
		smtp_auth_start(s, p->param);
	err = s->reuse.untested ? smtp_reuse_send(s, p) : smtp_write_command(s, p, argument);
	return err < 0 && err != -ECANCELED ? smtp_server_lost(s, "server-closed", err) : err;
}

static int refuse_by_policy(struct smtp *s, const struct smtp_verb *verb, const struct smtp_argument *argument,
			    enum smtp_decision decision)
{
	static const char goodbye[] = "4.3.0 Service not available, closing transmission channel";
	struct slice text = slice_cstr(goodbye);
	unsigned code = 421;

	if (decision != SMTP_ABORT)
		code = smtp_error_reply(s, verb, &text);
	if (smtp_queue_refusal(s, verb, argument, code, text) < 0)
		return -ENOMEM;
	if (s->error_abort || decision == SMTP_ABORT)
		smtp_pending_close(s, smtp_queue_last(s), FAULT_POLICY, "policy-abort");
	return 0;
}

/* Without a server (spec: unconnected mode) every command that is right gets the same answer. */
static int answer_unconnected(struct smtp *s, const struct smtp_verb *verb)
{
	if (verb == &smtp_verbs[SMTP_QUIT])
		return smtp_queue_goodbye(s, 221, "2.0.0 Closing transmission channel", FAULT_NONE, "quit");
	return smtp_queue_reply(s, verb, 503, SLICE("5.5.1 Server not available"));
}

static int check_recipients_limit(struct smtp *s, const struct smtp_argument *argument, bool *over)
{
	unsigned n = s->n_recipients;

	for (const struct smtp_pending *p = s->head; p != NULL; p = p->next) {
		if (p->verb == &smtp_verbs[SMTP_BODY] || (p->verb == &smtp_verbs[SMTP_MAIL] && !p->local))
			n = 0;		/* those before are another message's */
		n += p->verb == &smtp_verbs[SMTP_RCPT] && !p->local;
	}
	*over = n >= (uint64_t)s->config->max_recipients || smtp_is_used_up(s, SMTP_LIMIT_RECIPIENTS);
	if (!*over)
		return 0;
	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 3, "Too many recipients", F_INT("max", s->config->max_recipients));
	return smtp_queue_refusal(s, &smtp_verbs[SMTP_RCPT], argument, 452, SLICE("4.5.3 Too many recipients"));
}

/* SIZE (RFC 1870, 6.1): a message that says that it is too large need not come. */
static int check_declared_size(struct smtp *s, const struct smtp_argument *argument, bool *over)
{
	uint64_t max = (uint64_t)s->config->max_message_size;

	*over = max > 0 && argument->mail.size > max;
	if (!*over)
		return 0;
	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 3, "Declared message size over the limit", F_INT("size", argument->mail.size),
		  F_INT("max", max));
	return smtp_queue_refusal(s, &smtp_verbs[SMTP_MAIL], argument, 552, SLICE("5.3.4 Message size exceeds the limit"));
}

/* The octets of a message in chunks are known before they come. */
static int check_chunk_size(struct smtp *s, const struct smtp_argument *argument, bool *over)
{
	uint64_t max = (uint64_t)s->config->max_message_size, before = s->assumed == SMTP_STATE_RCPT ? 0 : s->chunks_octets;

	*over = max > 0 && (argument->chunk_octets > max || before > max - argument->chunk_octets);
	if (!*over)
		return 0;
	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "Message refused", F_TEXT("reason", "message-too-large"),
		  F_INT("octets", before), F_INT("max", max));
	return smtp_queue_reply(s, &smtp_verbs[SMTP_BDAT], 552, SLICE("5.3.4 Message size exceeds the limit"));
}

static co_waits int decide_and_forward(struct smtp *s, const struct smtp_command *c, struct smtp_argument *argument)
{
	struct slice name = smtp_command_name(c);
	enum smtp_decision decision;
	bool over = false;
	int err;

	smtp_hello_show(s, c->verb);
	err = smtp_decide_request(s, c->verb, &name, argument, &decision);
	smtp_hello_hide(s);
	if (err < 0)
		return err;
	if (decision != SMTP_PASS)
		return refuse_by_policy(s, c->verb, argument, decision);
	if (!s->connected)
		return answer_unconnected(s, c->verb);
	if (c->verb == &smtp_verbs[SMTP_RCPT])
		err = check_recipients_limit(s, argument, &over);
	else if (c->verb == &smtp_verbs[SMTP_MAIL])
		err = check_declared_size(s, argument, &over);
	else if (c->verb == &smtp_verbs[SMTP_BDAT])
		err = check_chunk_size(s, argument, &over);
	if (err < 0 || over)
		return err;
	if (c->verb == &smtp_verbs[SMTP_BDAT]) {
		err = smtp_chunk_prepare(s, argument);
		if (err < 0)
			return err;
	}
	if (is_too_long(s, c->verb, name.len + 1 + argument->text.len)) {
		proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "Request too long once rewritten",
			  F_INT("length", name.len + 1 + argument->text.len), F_INT("max", longest_line(s, c->verb)));
		return smtp_queue_reply(s, c->verb, 500, slice_cstr(SYNTAX_TEXT));
	}
	if (c->verb == &smtp_verbs[SMTP_QUIT] && smtp_reuse_answers_quit(s, name)) {
		s->reuse.quit = true;
		return smtp_queue_goodbye(s, 221, "2.0.0 Closing transmission channel", FAULT_NONE, "quit");
	}
	if (c->verb == &smtp_verbs[SMTP_STARTTLS] && !smtp_starttls_forwards(s))
		return smtp_starttls_answer(s);
	if (!smtp_may_precede_hello(s, c->verb))
		return smtp_queue_reply(s, c->verb, 503, SLICE(NOT_HERE_TEXT));
	if (c->verb->on_reply == smtp_on_hello) {
		err = smtp_secure_server(s, argument->text);
		if (err == 0)
			err = smtp_announce_client(s, c->verb, argument->text);
		if (err < 0)
			return err;
	}
	return forward(s, c->verb, name, argument);
}

/* Wrong in this state. If replies are owed the state may still change: wait and look again. */
static int refuse_state(struct smtp *s, const struct smtp_command *c, enum step *step)
{
	bool after_reset = s->reset_by_us && s->state == SMTP_STATE_EHLO &&
			   (c->verb == &smtp_verbs[SMTP_RCPT] || c->verb == &smtp_verbs[SMTP_DATA] ||
			    c->verb == &smtp_verbs[SMTP_BDAT]);

	if (s->head != NULL) {
		*step = STEP_WAIT;
		return 0;
	}
	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 4, "Command not permitted in this state",
		  F_OCTETS("request", smtp_command_name(c)), F_INT("state", s->state));
	if (after_reset)
		return smtp_queue_reply(s, c->verb, 451, SLICE(SMTP_RESET_TEXT));
	return smtp_queue_reply(s, c->verb, 503, SLICE(NOT_HERE_TEXT));
}

/* A command that is one by its form. */
static co_waits int judge_command(struct smtp *s, const struct smtp_command *c, enum step *step)
{
	struct smtp_syntax syntax = smtp_syntax_of(s);
	struct smtp_argument argument = { .text = { NULL, 0 } };
	struct smtp_flaw flaw = { 0 };
	bool xclient = s->may_announce && c->verb == &smtp_verbs[SMTP_XCLIENT];
	int err;

	*step = STEP_DONE;
	if (!may_join(s, c->verb)) {
		*step = STEP_WAIT;
		return 0;
	}
	/* A binary message has no lines that a dot could end (RFC 3030, 3). */
	if ((c->verb->states & s->assumed) == 0 || (c->verb == &smtp_verbs[SMTP_DATA] && s->assumed_mail.body == SMTP_TYPE_BINARYMIME))
		return refuse_state(s, c, step);
	err = smtp_check_verb_limits(s, c->verb);
	if (err != 0)
		return err < 0 ? err : 0;
	proxy_log(s->proxy, LOG_SMTP_REQUEST, 7, "Request parsed", F_OCTETS("request", smtp_command_name(c)),
		  F_OCTETS("param", xclient ? c->param : shown_param(s, c)));
	if (xclient)
		return smtp_take_xclient(s, c->param);
	if (c->verb->refused) {
		proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "Command not implemented", F_OCTETS("request", smtp_command_name(c)));
		return smtp_queue_reply(s, c->verb, 502, SLICE(NOT_SPOKEN_TEXT));
	}
	if (smtp_tls_is_missing(s, c->verb))
		return smtp_queue_reply(s, c->verb, 530, SLICE("5.7.0 Must issue a STARTTLS command first"));
	if (c->verb == &smtp_verbs[SMTP_AUTH]) {
		if (s->auth.failures >= (uint64_t)s->config->max_auth_failures)
			return smtp_queue_goodbye(s, 421, "4.7.0 Too many failed authentications, closing transmission channel",
						  FAULT_CLIENT, "auth-failures");
		err = smtp_auth_check(s, c->param, &flaw);
		if (err < 0)
			return refuse_syntax(s, c, &flaw);
	}
	if (c->verb == &smtp_verbs[SMTP_STARTTLS]) {
		err = smtp_starttls_check(s, &flaw);
		if (err < 0)
			return refuse_syntax(s, c, &flaw);
	}
	if (s->batch == NULL)
		s->batch = arena_child(s->proxy->arena, SMTP_QUEUE_OCTETS, 0);
	if (s->batch == NULL)
		return -ENOMEM;
	argument.text = c->param;
	if (c->verb->parse != NULL) {
		err = c->verb->parse(&syntax, c->param, s->batch, &argument, &flaw);
		if (err == -EBADMSG)
			return refuse_syntax(s, c, &flaw);
		if (err < 0)
			return err;
	}
	if (c->verb->on_reply == smtp_on_hello) {
		s->hello_said = arena_copy(s->batch, c->param);
		if (s->hello_said.ptr == NULL)
			return -ENOMEM;
	}
	/* Policy code that decides on MAIL sees the sender already. */
	if (argument.has_path && c->verb == &smtp_verbs[SMTP_MAIL] && s->head == NULL)
		s->sender = argument.path.mailbox;
	err = decide_and_forward(s, c, &argument);
	/* These pointed into the line, which is about to go. */
	s->request_cmd = s->request_param = slice_of(NULL, 0);
	if (s->transaction == NULL)
		s->sender = slice_of(NULL, 0);
	return err;
}

/* One whole line. */
static co_waits int take_command(struct smtp *s, struct slice line, enum step *step)
{
	struct smtp_command c = { .verb = &smtp_unknown_verb };
	uint64_t octets = 0;
	bool last = false, chunk;
	int err = smtp_command_parse(line, &c);

	*step = STEP_DONE;
	/* Also one that can't be taken apart: what comes next may be a password all the same. */
	if (slice_starts_with_nocase(line, SLICE("AUTH")))
		s->auth.tried = true;
	if (is_too_long(s, c.verb, line.len)) {
		proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "Request too long", F_INT("length", line.len),
			  F_INT("max", longest_line(s, c.verb)));
		return smtp_announces_chunk(line) ? smtp_refuse_chunk_line(s, line) :
		       smtp_queue_reply(s, &smtp_unknown_verb, 500, SLICE("5.5.2 Line too long"));
	}
	if (err < 0 || (c.utf8 && !smtp_takes_utf8(s, c.verb)) || (s->auth.tried && c.verb == &smtp_unknown_verb)) {
		violation(s, "Invalid command line", "line", smtp_shown_line(s, line));
		return smtp_announces_chunk(line) ? smtp_refuse_chunk_line(s, line) :
		       smtp_queue_reply(s, &smtp_unknown_verb, 500, SLICE(SYNTAX_TEXT));
	}
	chunk = c.verb == &smtp_verbs[SMTP_BDAT];
	if (chunk && smtp_chunk_parse(c.param, &octets, &last) < 0)
		return smtp_refuse_chunk_line(s, line);
	if (chunk && smtp_chunk_must_wait(s, octets, last)) {
		*step = STEP_WAIT;
		return 0;
	}
	s->auth.tried = c.verb == &smtp_verbs[SMTP_AUTH];
	err = judge_command(s, &c, step);
	/* Also where we refuse it: what is behind it is not for us to read as commands (response.c). */
	if (err == 0 && *step == STEP_DONE && c.verb == &smtp_verbs[SMTP_DATA])
		s->blocked = true;
	if (err == 0 && chunk && *step == STEP_DONE)
		smtp_chunk_begin(s, octets, last);
	return err;
}

/* A line that ends the session: it can't be told where it ends, or it is an attack. */
static int refuse_line(struct smtp *s, enum smtp_line flaw)
{
	struct slice start = smtp_shown_line(s, slice_take(stream_peek(s->proxy->client), 64));

	proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "Line of the client is no SMTP line", F_TEXT("reason", smtp_line_names[flaw]),
		  F_OCTETS("line", start));
	stream_consume(s->proxy->client, stream_peek(s->proxy->client).len);
	s->linger = true;
	if (flaw == SMTP_LINE_TOO_LONG)
		return smtp_queue_goodbye(s, 421, "4.7.0 Line too long, closing transmission channel", FAULT_CLIENT,
					  smtp_line_names[flaw]);
	return smtp_queue_goodbye(s, 500, "5.5.2 Lines end with CRLF, closing transmission channel", FAULT_CLIENT,
				  smtp_line_names[flaw]);
}

/* Its start is there: the rest must not take for ever. */
static void line_has_begun(struct smtp *s)
{
	if (s->usage.line_due == 0)
		s->usage.line_due = deadline_in(s->config->timeout_line_ms);
}

co_waits int smtp_take_commands(struct smtp *s)
{
	while (!s->ending) {
		struct slice buffered, line = { NULL, 0 };
		enum smtp_line result;
		enum step step;
		size_t used = 0;
		int err = s->chunk.reply != NULL ? smtp_chunk_pass(s) : 0;

		if (err < 0 || s->chunk.reply != NULL)
			return err;
		buffered = stream_peek(s->proxy->client);
		if (buffered.len == 0 || s->blocked || s->n_pending >= SMTP_BATCH_COMMANDS ||
		    s->pending_octets >= SMTP_BATCH_OCTETS)
			return 0;
		if (s->state == SMTP_STATE_AUTH) {
			err = smtp_auth_take_line(s);
			if (err < 0)
				return err;
			if (err == 0) {
				line_has_begun(s);
				return 0;
			}
			s->usage.line_due = 0;
			continue;
		}
		result = smtp_line_take(buffered, s->config->require_crlf, (size_t)s->config->max_line_length, &line, &used);
		if (result == SMTP_LINE_MORE) {
			line_has_begun(s);
			return 0;
		}
		if (result != SMTP_LINE_OK)
			return refuse_line(s, result);
		s->usage.line_due = 0;
		err = smtp_check_session_limits(s);
		if (err != 0)
			return err < 0 ? err : 0;
		err = take_command(s, line, &step);
		if (err < 0)
			return err;
		if (step == STEP_WAIT) {
			s->blocked = true;
			return 0;
		}
		smtp_use(s, SMTP_LIMIT_COMMANDS);
		s->proxy->counters[SMTP_COUNT_COMMANDS]++;
		s->data_by_lf = used == line.len + 1;
		stream_consume(s->proxy->client, used);
	}
	return 0;
}
