/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the policy says about a command or a reply: the tables, and the policy code that they
 * name. Policy code that fails or is late refuses the one command or reply it was asked about,
 * with the temporary code; an answer that means nothing ends the session.
 */
#include "proxy/smtp/line.h"
#include "proxy/smtp/smtp_priv.h"

#include <errno.h>

static const struct slice invalid_command = SLICE_INIT("5.5.1 Command not accepted");
#define LATE_TEXT "4.3.0 Temporary local problem, please try again later"

void smtp_set_error(struct smtp *s, const char *code, const char *text)
{
	s->error_code = slice_cstr(code);
	s->error_info = slice_cstr(text);
}

/* Values set for one command or reply do not reach the next. */
static void reset_error(struct smtp *s)
{
	s->error_code = SLICE("500");
	s->error_info = invalid_command;
}

/* class "." subject "." detail SP at the start of text (RFC 3463, 2). */
static bool has_enhanced_code(struct slice text)
{
	size_t n = 1;

	if (text.len < 6 || (text.ptr[0] != '2' && text.ptr[0] != '4' && text.ptr[0] != '5'))
		return false;
	for (unsigned part = 0; part < 2; part++) {
		size_t digits = 0;

		if (text.ptr[n++] != '.')
			return false;
		while (digits < 3 && n < text.len && ascii_is_digit(text.ptr[n])) {
			n++;
			digits++;
		}
		if (digits == 0 || n == text.len)
			return false;
	}
	return text.ptr[n] == ' ';
}

/*
 * Where enhanced codes were offered each reply has one, and of its own class (RFC 2034, 4; none
 * for HELO and EHLO). Our own text has one always.
 */
static struct slice enhance(struct smtp *s, const struct smtp_verb *verb, unsigned code, struct slice text)
{
	bool coded = has_enhanced_code(text), generic = text.ptr == invalid_command.ptr;
	uint8_t class = (uint8_t)('0' + code / 100), *copy;

	if (coded && text.ptr[0] == class)
		return text;
	if (!generic && ((s->active_extensions & SMTP_EXT_ENHANCEDSTATUSCODES) == 0 || verb == &smtp_verbs[SMTP_HELO] ||
			 verb == &smtp_verbs[SMTP_EHLO]))
		return text;
	copy = s->batch != NULL ? arena_alloc(s->batch, text.len + 6) : NULL;
	if (copy == NULL)
		return text;
	memcpy(copy, "2.0.0 ", 6);
	memcpy(copy + (coded ? 0 : 6), text.ptr, text.len);
	copy[0] = class;
	return slice_of(copy, text.len + (coded ? 0 : 6));
}

unsigned smtp_error_reply(struct smtp *s, const struct smtp_verb *verb, struct slice *text)
{
	unsigned code = 500;

	*text = s->error_info.len > 0 && smtp_is_line_safe(s->error_info) && s->error_info.len <= 500 ?
		s->error_info : invalid_command;
	if (!smtp_code_parse(s->error_code, &code) || code / 100 == 3) {
		proxy_log(s->proxy, LOG_SMTP_POLICY, 1, "error_code is no code of a reply", F_OCTETS("error_code", s->error_code));
		code = 500;
	} else if (smtp_code_is_positive(code)) {
		proxy_log(s->proxy, LOG_SMTP_POLICY, 3, "The policy refuses with a positive reply", F_INT("code", code));
	}
	*text = enhance(s, verb, code, *text);
	return code;
}

static const struct smtp_config *reread_config(struct smtp *s)
{
	s->config = s->proxy->config;
	return s->config;
}

static void refuse_entry(struct smtp *s, const struct table_entry *entry)
{
	if (entry->n_args > 0)
		s->error_code = entry->args[0];
	if (entry->n_args > 1)
		s->error_info = entry->args[1];
}

/*
 * Call policy code. 0 and *verdict; 1: it failed, and the error values say "try again"; negative:
 * the session is over.
 */
static co_waits int call_policy(struct smtp *s, const struct table_entry *entry, const struct call_value *args,
				size_t n_args, int64_t *verdict)
{
	struct policy_call call = entry->call;
	struct call_value result = { .kind = CALL_NONE };
	int err = proxy_call(s->proxy, &call, args, n_args, &result);

	reread_config(s);
	if (err == -ECANCELED || err == -ENOMEM)
		return err;
	if (err < 0) {
		smtp_set_error(s, "451", LATE_TEXT);
		proxy_log(s->proxy, LOG_SMTP_POLICY, 1, "Policy code failed, refusing for now", F_TEXT("error", strerror(-err)));
		return 1;
	}
	*verdict = result.kind == CALL_INT ? result.number : -1;
	return 0;
}

static struct call_value octets_value(struct slice s)
{
	return (struct call_value){ .kind = CALL_OCTETS, .octets = s };
}

/*
 * Policy code may write another verb and another parameter. Both are checked as if the client
 * had sent them; a verb whose exchange has more than one reply can't be exchanged.
 */
static int take_over_request(struct smtp *s, const struct smtp_verb *verb, struct slice *name,
			     struct smtp_argument *argument, enum smtp_decision *decision)
{
	struct smtp_syntax syntax = smtp_syntax_of(s);
	struct smtp_command renamed;
	struct smtp_flaw flaw = { 0 };
	/* What is checked now is what goes out: a further call may set the attributes again. */
	struct slice new_name = arena_copy(s->batch, s->request_cmd), new_param = arena_copy(s->batch, s->request_param);
	int err = 0;

	if (new_name.ptr == NULL || new_param.ptr == NULL)
		return -ENOMEM;
	if (!slice_equal(new_name, *name)) {
		if (smtp_command_parse(new_name, &renamed) < 0 || renamed.param.len > 0 || renamed.verb->refused ||
		    (renamed.verb != verb && (renamed.verb->on_reply != NULL || verb->on_reply != NULL)))
			goto unusable;
		*name = new_name;
	}
	if (slice_equal(new_param, argument->text))
		return 0;
	/* Another size would make commands of a chunk's octets; another mechanism has another first response. */
	if (verb == &smtp_verbs[SMTP_BDAT] || verb == &smtp_verbs[SMTP_AUTH])
		goto unusable;
	if (!smtp_is_line_safe(new_param) || smtp_has_control(new_param) ||
	    (smtp_has_8bit(new_param) && !(smtp_takes_utf8(s, verb) && smtp_is_address_text(new_param))))
		goto unusable;
	if (verb->parse == NULL) {
		argument->text = new_param;
		return 0;
	}
	*argument = (struct smtp_argument){ .text = { NULL, 0 } };
	err = verb->parse(&syntax, new_param, s->batch, argument, &flaw);
	if (err == -ENOMEM)
		return err;
	if (err == 0)
		return 0;
unusable:
	proxy_log(s->proxy, LOG_SMTP_POLICY, 1, "Policy code changed the request to something that can't be sent",
		  F_OCTETS("request", s->request_cmd), F_OCTETS("param", s->request_param));
	reset_error(s);
	*decision = SMTP_REFUSE;
	return 0;
}

/*
 * Policy code had the standard check accept one address and then wrote another: that one is
 * checked as well, so that no rewriting leads around the relay check.
 */
static co_waits int check_again(struct smtp *s, struct slice name, struct smtp_argument *argument, enum smtp_decision *decision)
{
	const struct call_value args[] = { octets_value(name), octets_value(argument->text) };
	struct call_value result = { .kind = CALL_NONE };
	int err;

	s->deciding = argument;
	err = s->checked(s->proxy, args, ARRAY_LEN(args), &result);
	s->deciding = NULL;
	reread_config(s);
	if (err == -ECANCELED || err == -ENOMEM)
		return err;
	if (err < 0)
		smtp_set_error(s, "451", LATE_TEXT);
	if (err < 0 || result.kind != CALL_INT || result.number != SMTP_REQ_ACCEPT)
		*decision = SMTP_REFUSE;
	return 0;
}

static co_waits int ask_about_request(struct smtp *s, const struct table_entry *entry, const struct smtp_verb *verb,
				      struct slice *name, struct smtp_argument *argument, enum smtp_decision *decision)
{
	const struct call_value args[] = { octets_value(*name), octets_value(argument->text) };
	int64_t verdict = -1;
	bool native = entry->call.callback < 0;	/* the call may change the entry */
	struct slice before = argument->text;
	int err;

	s->deciding = argument;
	s->checked = NULL;
	err = call_policy(s, entry, args, ARRAY_LEN(args), &verdict);
	s->deciding = NULL;
	*decision = SMTP_REFUSE;
	if (err != 0)
		return err < 0 ? err : 0;
	if (verdict == SMTP_REQ_ACCEPT) {
		*decision = SMTP_PASS;
		if (native)
			return 0;
		err = take_over_request(s, verb, name, argument, decision);
		if (err == 0 && *decision == SMTP_PASS && s->checked != NULL && !slice_equal(before, argument->text))
			err = check_again(s, *name, argument, decision);
		return err;
	}
	if (verdict != SMTP_REQ_REJECT) {
		*decision = SMTP_ABORT;
		if (verdict != SMTP_REQ_ABORT)
			proxy_log(s->proxy, LOG_SMTP_POLICY, 1, "Policy code gave no verdict", F_OCTETS("request", *name),
				  F_INT("verdict", verdict));
	}
	return 0;
}

static int answer_unlisted(struct smtp *s, const struct smtp_verb *verb)
{
	s->error_code = smtp_code_text(verb->unlisted_code, s->unlisted_code_text);
	s->error_info = slice_cstr(verb->unlisted_text);
	return 0;
}

/* What prepare derived holds for the service's tables only, not for what policy code of this
 * session made of them. */
static const struct table_entry *request_entry(const struct smtp *s, const struct smtp_verb *verb, struct slice name)
{
	if (verb != &smtp_unknown_verb && !proxy_has_own_tables(s->proxy))
		return s->config->verb_entries[verb - smtp_verbs];
	return table_find(proxy_table(s->proxy, &smtp_tables[0]), name, SLICE(""));
}

static const struct table_entry *response_entry(const struct smtp *s, const struct smtp_pending *p, unsigned code)
{
	/* Policy code may have given the command another name. */
	if (code == p->verb->usual && (const char *)p->name.ptr == p->verb->name && !proxy_has_own_tables(s->proxy))
		return s->config->usual_entries[p->verb - smtp_verbs];
	return table_find(proxy_table(s->proxy, &smtp_tables[1]), p->name, s->response_code);
}

co_waits int smtp_decide_request(struct smtp *s, const struct smtp_verb *verb, struct slice *name,
				 struct smtp_argument *argument, enum smtp_decision *decision)
{
	const struct table_entry *entry = request_entry(s, verb, *name);
	int err = 0;

	reset_error(s);
	s->request_cmd = *name;
	s->request_param = argument->text;
	*decision = SMTP_REFUSE;
	if (entry == NULL) {
		if (verb == &smtp_unknown_verb && s->config->permit_unknown_command)
			*decision = SMTP_PASS;
		if (verb->unlisted_code != 0 && s->config->permits_requests) {
			*decision = s->connected ? SMTP_REFUSE : SMTP_PASS;	/* without a server all get one answer */
			return answer_unlisted(s, verb);
		}
	} else if (entry->action == SMTP_REQ_ACCEPT) {
		*decision = SMTP_PASS;
	} else if (entry->action == SMTP_REQ_REJECT) {
		refuse_entry(s, entry);
	} else if (entry->action == SMTP_REQ_ABORT) {
		*decision = SMTP_ABORT;
	} else {
		err = ask_about_request(s, entry, verb, name, argument, decision);
	}
	if (err == 0 && *decision != SMTP_PASS) {
		if (verb == &smtp_unknown_verb && !s->config->permit_unknown_command)
			proxy_log(s->proxy, LOG_SMTP_VIOLATION, 2, "Unknown command", F_OCTETS("request", *name));
		else
			proxy_log(s->proxy, LOG_SMTP_POLICY, 2, "Request not allowed by the policy", F_OCTETS("request", *name),
				  F_INT("verdict", *decision == SMTP_ABORT ? SMTP_REQ_ABORT : SMTP_REQ_REJECT));
	}
	return err;
}

static co_waits int ask_about_response(struct smtp *s, const struct table_entry *entry, const struct smtp_pending *p,
				       unsigned *code, struct slice *text, enum smtp_decision *decision)
{
	const struct call_value args[] = { octets_value(p->name), octets_value(p->param), octets_value(s->response_code),
					   octets_value(s->response_param) };
	int64_t verdict = -1;
	unsigned changed;
	int err = call_policy(s, entry, args, ARRAY_LEN(args), &verdict);

	*decision = SMTP_REFUSE;
	if (err != 0)
		return err < 0 ? err : 0;
	if (verdict < 0 || verdict == SMTP_RSP_ABORT)
		*decision = SMTP_ABORT;
	if (verdict != SMTP_RSP_ACCEPT)
		return 0;
	*decision = SMTP_PASS;
	/* A go-ahead stays one, and nothing else becomes one. */
	if (!smtp_code_parse(s->response_code, &changed) || (changed != *code && (changed / 100 == 3 || *code / 100 == 3)) ||
	    (smtp_is_auth(p) && (smtp_code_is_positive(changed) != smtp_code_is_positive(*code) ||
				 (*code == 334 && s->response_param.len > 0))) ||
	    !smtp_is_line_safe(s->response_param) || smtp_has_control(s->response_param) || s->response_param.len > 500) {
		proxy_log(s->proxy, LOG_SMTP_POLICY, 1, "Policy code changed the response to something that can't be sent",
			  F_OCTETS("response", s->response_code), F_OCTETS("response_param", s->response_param));
		*decision = SMTP_ABORT;
		return 0;
	}
	if (smtp_code_is_positive(changed) && !smtp_code_is_positive(*code))
		proxy_log(s->proxy, LOG_SMTP_POLICY, 3, "The policy answers positively for a server that refused",
			  F_OCTETS("request", p->name), F_INT("response", *code));
	*code = changed;
	*text = s->response_param;
	return 0;
}

co_waits int smtp_decide_response(struct smtp *s, const struct smtp_pending *p, unsigned *code, struct slice *text,
				  enum smtp_decision *decision)
{
	struct slice digits = s->response_code;
	const struct table_entry *entry = response_entry(s, p, *code);
	int err = 0;

	reset_error(s);
	*decision = SMTP_REFUSE;
	if (entry == NULL)
		;
	else if (entry->action == SMTP_RSP_ACCEPT)
		*decision = SMTP_PASS;
	else if (entry->action == SMTP_RSP_REJECT)
		refuse_entry(s, entry);
	else if (entry->action == SMTP_RSP_ABORT)
		*decision = SMTP_ABORT;
	else
		err = ask_about_response(s, entry, p, code, text, decision);
	if (err == 0 && *decision != SMTP_PASS)
		proxy_log(s->proxy, LOG_SMTP_POLICY, 2, "Response not allowed by the policy", F_OCTETS("request", p->name),
			  F_OCTETS("response", digits));
	return err;
}

bool smtp_extension_permitted(struct smtp *s, struct slice keyword)
{
	const struct smtp_extension *extension = smtp_extension_named(keyword);
	const struct table_entry *entry;

	if (keyword.len == 0 || (extension != NULL && !extension->spoken))
		return false;
	if (extension != NULL && (s->config->permit_extensions & extension->bit) != 0)
		return true;
	entry = table_find(proxy_table(s->proxy, &smtp_tables[2]), keyword, SLICE(""));
	return entry != NULL && entry->action == SMTP_EXT_ACCEPT;
}

bool smtp_is_batchable(const struct smtp *s, const struct smtp_verb *verb)
{
	if (verb < smtp_verbs || verb >= smtp_verbs + SMTP_VERB_COUNT || verb->group == SMTP_GROUP_ALONE ||
	    (s->config->batchable & (1u << (verb - smtp_verbs))) == 0)
		return false;
	return !proxy_has_own_tables(s->proxy) || (proxy_table(s->proxy, &smtp_tables[0]) == s->config->request &&
						   proxy_table(s->proxy, &smtp_tables[1]) == s->config->response);
}
