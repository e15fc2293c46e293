/* SPDX-License-Identifier: Apache-2.0 */
/* What a policy may say about SMTP: attributes, tables, methods. The one source of truth. */
#include "proxy/smtp/counters.h"
#include "proxy/smtp/idna.h"
#include "proxy/smtp/line.h"
#include "proxy/smtp/smtp_priv.h"

#include <errno.h>

#define CONFIG(member) offsetof(struct smtp_config, member)
#define RUN(member) offsetof(struct smtp, member)
#define CFG_R (ATTR_CONFIG | ATTR_RUN_R)
#define CFG_RW (ATTR_CONFIG | ATTR_RUN)
#define RUN_R (ATTR_RUN_R | ATTR_HOME_RUN)
#define RUN_RW (ATTR_RUN | ATTR_HOME_RUN)

static const struct attribute smtp_attributes[] = {
	{ .name = "timeout", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(timeout_ms), .min = 1, .max = INT32_MAX,
	  .number = 600000, .doc = "Milliseconds that either side may stay silent when it is its turn." },
	{ .name = "interval_transfer_noop", .type = ATTR_INT, .access = CFG_RW | ATTR_NO_EFFECT,
	  .offset = CONFIG(interval_transfer_noop_ms), .min = 0, .max = INT32_MAX, .number = 60000,
	  .doc = "Period of the NOOPs to the server while a stacked object holds back a message. Without effect until "
		 "content can be inspected." },
	{ .name = "unconnected_response_code", .type = ATTR_INT, .access = CFG_RW, .offset = CONFIG(unconnected_response_code),
	  .min = 400, .max = 599, .number = 451, .doc = "Code of the greeting when there is no server." },
	{ .name = "max_request_length", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(max_request_length), .min = 32,
	  .max = SMTP_LINE_BUFFER_MAX, .number = 512, .doc = "Longest command line, its end not counted; longer ones are refused." },
	{ .name = "max_auth_request_length", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(max_auth_request_length),
	  .min = 1, .max = SMTP_AUTH_LINE_MAX, .number = SMTP_AUTH_LINE_MAX,
	  .doc = "Longest line of an AUTH exchange, its end not counted; a longer one ends the session." },
	{ .name = "max_auth_steps", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(max_auth_steps), .min = 1, .max = 1000,
	  .number = 32, .doc = "Lines that the server may ask for in one AUTH exchange; if it asks for more the session ends." },
	{ .name = "max_auth_failures", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(max_auth_failures), .min = 1, .max = 1000,
	  .number = 5, .doc = "AUTH commands that may fail at the server; the next one ends the session." },
	{ .name = "permit_auth_mechanisms", .type = ATTR_STRINGS, .access = CFG_R, .offset = CONFIG(permit_auth_mechanisms),
	  .doc = "Mechanisms of AUTH that are offered and accepted, if the server offers them; empty: all." },
	{ .name = "auth_requires_tls", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(auth_requires_tls), .number = 1,
	  .doc = "TRUE: AUTH is offered and accepted only where the client's connection is encrypted." },
	{ .name = "max_response_length", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(max_response_length), .min = 32,
	  .max = SMTP_LINE_BUFFER_MAX, .number = 512, .doc = "Longest line of a server's reply, its end not counted." },
	{ .name = "max_line_length", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(max_line_length), .min = 64,
	  .max = SMTP_LINE_BUFFER_MAX, .number = 4096,
	  .doc = "A command or reply line over this ends the session; lines of messages may be longer." },
	{ .name = "max_recipients", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(max_recipients), .min = 1, .max = 100000,
	  .number = 1000, .doc = "Accepted recipients of one message; further ones are refused for now (452)." },
	{ .name = "max_message_size", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(max_message_size), .min = 0,
	  .max = INT64_C(1) << 50, .doc = "Octets of a message, as SIZE counts them; larger ones are refused (552), and SIZE is offered "
	  "with no more. 0: no limit." },
	{ .name = "max_received_hops", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(max_received_hops), .min = 0,
	  .max = INT32_MAX, .number = 100, .doc = "Received fields in the header of a message; one with more is in a loop and refused "
	  "(554). 0: any number." },
	{ .name = "require_8bitmime", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(require_8bitmime),
	  .doc = "TRUE: a message with 8-bit octets is refused unless its MAIL said BODY=8BITMIME, BODY=BINARYMIME or SMTPUTF8." },
	{ .name = "max_session_recipients", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(max_session_recipients), .min = 1,
	  .max = UINT32_MAX, .number = 100000, .doc = "Recipients of all messages of a session; further ones are refused for now "
						       "(452), and the next MAIL ends the session (421)." },
	{ .name = "max_messages", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(max_messages), .min = 1, .max = UINT32_MAX,
	  .number = 10000, .doc = "MAIL commands that the server gets in a session; the next one ends it (421)." },
	{ .name = "max_commands", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(max_commands), .min = 1, .max = UINT32_MAX,
	  .number = 200000, .doc = "Commands of a session; the next one ends it (421)." },
	{ .name = "max_idle_commands", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(max_idle_commands), .min = 1,
	  .max = UINT32_MAX, .number = 100,
	  .doc = "Commands that bring no mail nearer (NOOP, RSET, HELO, EHLO, VRFY, EXPN, HELP, ETRN, unknown ones), counted from the "
		 "last message that was accepted; the next of them ends the session (421)." },
	{ .name = "max_errors", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(max_errors), .min = 1, .max = UINT32_MAX,
	  .number = 100, .doc = "Permanent refusals (5xx) that a client is given, counted from the last message that was accepted; "
				"the next command ends the session (421)." },
	{ .name = "max_session_time", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(max_session_time_ms), .min = 1,
	  .max = INT32_MAX, .number = 14400000, .doc = "Milliseconds that a session may last altogether." },
	{ .name = "min_data_rate", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(min_data_rate), .min = 0, .max = INT32_MAX,
	  .number = 100, .doc = "Octets a second of a message, on average over each 300 seconds spent waiting for the client; slower "
				"ones are cut off. 0: any rate." },
	{ .name = "timeout_greeting", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(timeout_greeting_ms), .min = 0,
	  .max = INT32_MAX, .doc = "Milliseconds for the server's greeting. 0: as timeout." },
	{ .name = "timeout_command", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(timeout_command_ms), .min = 0,
	  .max = INT32_MAX, .doc = "Milliseconds for the client's next command, and for the server's whole reply to one. 0: as timeout." },
	{ .name = "timeout_line", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(timeout_line_ms), .min = 0, .max = INT32_MAX,
	  .number = 120000, .doc = "Milliseconds for a whole command line once its first octet is there. 0: as timeout." },
	{ .name = "timeout_data_block", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(timeout_data_block_ms), .min = 0,
	  .max = INT32_MAX, .doc = "Milliseconds for the next octets of a message, from the client or to the server. 0: as timeout." },
	{ .name = "timeout_final", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(timeout_final_ms), .min = 0, .max = INT32_MAX,
	  .doc = "Milliseconds for the server's reply to a whole message. 0: as timeout." },
	{ .name = "greeting_delay", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(greeting_delay_ms), .min = 0, .max = 300000,
	  .doc = "Milliseconds that the client waits for its greeting, before the server is connected to; one that sends meanwhile is "
		 "refused (554) unless permit_early_input is TRUE." },
	{ .name = "tarpit_after", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(tarpit_after), .min = 0, .max = UINT32_MAX,
	  .number = 5, .doc = "Errors (as max_errors counts them) behind which tarpit_delay begins." },
	{ .name = "tarpit_delay", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(tarpit_delay_ms), .min = 0, .max = 300000,
	  .doc = "Milliseconds that each further permanent refusal (5xx) is held back. 0: not at all." },
	{ .name = "require_crlf", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(require_crlf), .number = 1,
	  .doc = "TRUE: a line that ends with LF alone ends the session. FALSE: it is rewritten to CRLF. A CR that stands "
		 "alone is never accepted." },
	{ .name = "permit_unknown_command", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(permit_unknown_command),
	  .doc = "TRUE: a verb that the proxy does not know is forwarded unless the request table says otherwise." },
	{ .name = "permit_long_responses", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(permit_long_responses),
	  .doc = "TRUE: reply lines over max_response_length are cut. FALSE: they end the session." },
	{ .name = "permit_omission_of_angle_brackets", .type = ATTR_BOOL, .access = CFG_R,
	  .offset = CONFIG(permit_omission_of_angle_brackets),
	  .doc = "TRUE: the paths of MAIL and RCPT may lack both angle brackets; the server gets them." },
	{ .name = "permit_source_routes", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(permit_source_routes), .number = 1,
	  .doc = "TRUE: a source route in a path ('<@a:user@b>') is dropped. FALSE: the command is refused." },
	{ .name = "permit_early_input", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(permit_early_input),
	  .doc = "TRUE: a client may send before the greeting, and its message before the server asked for it." },
	{ .name = "append_domain", .type = ATTR_STRING, .access = CFG_RW | ATTR_LINE, .offset = CONFIG(append_domain), .text = "",
	  .doc = "Domain for addresses that have none; empty: such addresses are refused." },
	{ .name = "banner", .type = ATTR_STRING, .access = CFG_R | ATTR_LINE, .offset = CONFIG(banner), .text = "",
	  .doc = "A host name and text for the greeting, instead of the server's; the name alone for the first line of the reply "
		 "to HELO and EHLO. Empty: the server's own." },
	{ .name = "reuse_server_sessions", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(reuse_server_sessions),
	  .doc = "TRUE: a session leaves its connection to the server, once it is clean, to the next one that would open the "
		 "same; its client's QUIT is then answered by the proxy. With send_xclient the server is told each "
		 "session's client anew." },
	{ .name = "reuse_idle_timeout", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(reuse_idle_timeout_ms), .min = 1,
	  .max = 600000, .number = 10000, .doc = "Milliseconds that such a connection may wait for the next session; less than the "
						 "server's own patience." },
	{ .name = "reuse_max_idle", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(reuse_max_idle), .min = 1, .max = 128,
	  .number = 16, .doc = "Connections that may wait, by worker, service and server address." },
	{ .name = "reuse_max_messages", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(reuse_max_messages), .min = 1,
	  .max = 1000000, .number = 100,
	  .doc = "A connection that carried so many messages is not left to others any more; a session without one counts as one." },
	{ .name = "reuse_max_age", .type = ATTR_INT, .access = CFG_R, .offset = CONFIG(reuse_max_age_ms), .min = 1, .max = 86400000,
	  .number = 300000, .doc = "Milliseconds since a connection was opened, after which it waits for nobody any more." },
	{ .name = "add_received_header", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(add_received_header),
	  .doc = "TRUE: each message gets a trace header, folded at 78 columns: how it came (ESMTP, ESMTPA, UTF8SMTP and so on), and for "
	  "whom if it has one recipient." },
	{ .name = "tls_passthrough", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(tls_passthrough),
	  .doc = "TRUE: behind a STARTTLS that was forwarded and that the server accepted, octets are copied without a look at them. "
		 "Nothing is inspected then. Only with an encryption that accepts STARTTLS and forwards it." },
	{ .name = "require_client_tls", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(require_client_tls),
	  .doc = "TRUE: a client whose connection is not encrypted gets 530 for all but HELO, EHLO, STARTTLS, NOOP, RSET, HELP and QUIT." },
	{ .name = "require_server_tls", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(require_server_tls),
	  .doc = "TRUE: no mail without TLS to the server, whether the client uses STARTTLS or not. Where the encryption has "
		 "SSL_FORWARD_STARTTLS for the server, the proxy says STARTTLS itself, before EHLO, and answers the client's STARTTLS; a "
		 "server that does not take it, or whose certificate the verifier refuses, gets nothing, and the client 421." },
	{ .name = "server_name", .type = ATTR_STRING, .access = CFG_R | ATTR_LINE, .offset = CONFIG(server_name), .text = "",
	  .doc = "The server's host name: in a TLS handshake it is asked for by this name, and its certificate must be of it if the "
		 "verifier checks subjects. Empty: it is asked for by the name that the client's own handshake had, and a "
		 "certificate may be of any name." },
	{ .name = "permit_extensions", .type = ATTR_INT, .access = CFG_RW, .offset = CONFIG(permit_extensions), .min = 0,
	  .max = SMTP_EXT_BITS, .doc = "SMTP_EXT_* bits of extensions that are permitted whatever the extensions table says." },

	/* Of the standard policy class. */
	{ .name = "request_stack", .type = ATTR_STACK, .access = CFG_R, .offset = CONFIG(request_stack),
	  .doc = "What inspects messages." },
	{ .name = "resolve_host", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(resolve_host),
	  .doc = "Look up the client's name for the trace header. Only FALSE until a resolver exists." },
	{ .name = "domain_name", .type = ATTR_STRING, .access = CFG_R | ATTR_LINE, .offset = CONFIG(domain_name), .text = "",
	  .doc = "This host's name, or its address as '[192.0.2.1]', in trace headers; empty: autodetect_domain_from decides." },
	{ .name = "autodetect_domain_from", .type = ATTR_STRING, .access = CFG_R | ATTR_LINE, .offset = CONFIG(autodetect_domain_from),
	  .text = "", .doc = "'mailname' (/etc/mailname) or 'fqdn' (this host's full name), looked up when the policy is loaded." },
	{ .name = "send_xclient", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(send_xclient),
	  .doc = "TRUE: the server is told the client's address by XCLIENT before it gets the client's EHLO or HELO. A server that "
		 "does not offer XCLIENT with ADDR gets no mail: the session ends with 421." },
	{ .name = "accept_xclient_zones", .type = ATTR_ZONES, .access = CFG_R, .offset = CONFIG(accept_xclient_zones),
	  .doc = "Zones whose clients may say by XCLIENT whose connection they carry: they are offered it, and the session goes on "
		 "as that client's, under the same rule and service. Not '*'." },
	{ .name = "relay_check", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(relay_check), .number = 1,
	  .doc = "TRUE: recipients must pass relayCheck." },
	{ .name = "relay_zones", .type = ATTR_ZONES, .access = CFG_R, .offset = CONFIG(relay_zones),
	  .doc = "Zones whose clients may send to anywhere; '*': all clients." },
	{ .name = "relay_domains", .type = ATTR_STRINGS, .access = CFG_R, .offset = CONFIG(relay_domains),
	  .doc = "Domains to which anybody may send; with a dot in front their subdomains, and only these." },
	{ .name = "relay_domains_matcher", .type = ATTR_MATCHER, .access = CFG_R, .offset = CONFIG(relay_domains_matcher),
	  .doc = "Recipient domains that match may be sent to by anybody." },
	{ .name = "sender_matcher", .type = ATTR_MATCHER, .access = CFG_R, .offset = CONFIG(sender_matcher),
	  .doc = "Senders that match are refused." },
	{ .name = "recipient_matcher", .type = ATTR_MATCHER, .access = CFG_R, .offset = CONFIG(recipient_matcher),
	  .doc = "Recipients that match are refused." },
	{ .name = "permit_percent_hack", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(permit_percent_hack),
	  .doc = "Allow '%' in the local part of recipients." },
	{ .name = "permit_exclamation_mark", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(permit_exclamation_mark),
	  .doc = "Allow '!' in the local part of recipients." },
	{ .name = "error_soft", .type = ATTR_BOOL, .access = CFG_R, .offset = CONFIG(error_soft),
	  .doc = "TRUE: what matchers refuse is refused for now (450)." },

	/* At run time. */
	{ .name = "active_extensions", .type = ATTR_INT, .access = RUN_R, .offset = RUN(active_extensions), .min = 0,
	  .max = SMTP_EXT_BITS, .doc = "Extensions that the client was offered." },
	{ .name = "helo_string", .type = ATTR_STRING, .access = RUN_R, .offset = RUN(helo_string), .text = "",
	  .doc = "Argument of the last HELO or EHLO that was accepted; where policy code decides on one, of that one." },
	{ .name = "protocol", .type = ATTR_STRING, .access = RUN_R, .offset = RUN(protocol), .text = "",
	  .doc = "'SMTP' after HELO, 'ESMTP' after EHLO; of the same one as helo_string." },
	{ .name = "request_cmd", .type = ATTR_STRING, .access = RUN_RW | ATTR_LINE, .offset = RUN(request_cmd), .text = "",
	  .doc = "The command, in upper case." },
	{ .name = "request_command", .alias_of = "request_cmd" },
	{ .name = "request_param", .type = ATTR_STRING, .access = RUN_RW | ATTR_LINE, .offset = RUN(request_param), .text = "",
	  .doc = "What follows the command, canonical for MAIL and RCPT." },
	{ .name = "response_code", .type = ATTR_STRING, .access = RUN_RW | ATTR_LINE, .offset = RUN(response_code), .text = "",
	  .doc = "Three digits." },
	{ .name = "response_value", .alias_of = "response_code" },
	{ .name = "response_param", .type = ATTR_STRING, .access = RUN_RW | ATTR_LINE, .offset = RUN(response_param), .text = "",
	  .doc = "Text of the first line of the reply." },
	{ .name = "sender", .type = ATTR_STRING, .access = RUN_RW | ATTR_LINE, .offset = RUN(sender), .text = "",
	  .doc = "Mailbox of the last MAIL command." },
	{ .name = "recipients", .type = ATTR_STRING, .access = RUN_RW | ATTR_LINE, .offset = RUN(recipients), .text = "",
	  .doc = "Accepted recipients, joined by one space." },
	{ .name = "error_code", .type = ATTR_STRING, .access = RUN_RW | ATTR_LINE, .offset = RUN(error_code), .text = "500",
	  .doc = "Code of the reply when the command is refused." },
	{ .name = "error_info", .type = ATTR_STRING, .access = RUN_RW | ATTR_LINE, .offset = RUN(error_info), .text = "",
	  .doc = "Text of the reply when the command is refused." },
	{ .name = "error_abort", .type = ATTR_BOOL, .access = RUN_RW, .offset = RUN(error_abort),
	  .doc = "TRUE: the session ends behind the refusal." },
};

static const struct table_action request_actions[] = {
	{ "ACCEPT", SMTP_REQ_ACCEPT, 0, 0, false },
	{ "REJECT", SMTP_REQ_REJECT, 0, 2, false },
	{ "ABORT", SMTP_REQ_ABORT, 0, 0, false },
	{ "POLICY", SMTP_REQ_POLICY, 0, 0, true },
};

static const struct table_action response_actions[] = {
	{ "ACCEPT", SMTP_RSP_ACCEPT, 0, 0, false },
	{ "REJECT", SMTP_RSP_REJECT, 0, 2, false },
	{ "ABORT", SMTP_RSP_ABORT, 0, 0, false },
	{ "POLICY", SMTP_RSP_POLICY, 0, 0, true },
};

static const struct table_action extension_actions[] = {
	{ "ACCEPT", SMTP_EXT_ACCEPT, 0, 0, false },
	{ "DROP", SMTP_EXT_DROP, 0, 0, false },
};

const struct policy_table smtp_tables[] = {
	{ .name = "request", .key_parts = 1, .lookup = TABLE_EXACT, .actions = request_actions,
	  .n_actions = ARRAY_LEN(request_actions), .offset = CONFIG(request), .doc = "What becomes of a command, by its verb." },
	{ .name = "response", .key_parts = 2, .lookup = TABLE_VERB_CODE, .actions = response_actions,
	  .n_actions = ARRAY_LEN(response_actions), .offset = CONFIG(response),
	  .doc = "What becomes of a reply, by the verb that it answers ('Null': the greeting) and the start of its code." },
	{ .name = "extensions", .key_parts = 1, .lookup = TABLE_EXACT, .actions = extension_actions,
	  .n_actions = ARRAY_LEN(extension_actions), .offset = CONFIG(extensions),
	  .doc = "Which extensions of the server are offered to the client, by keyword." },
};

/* The standard class's requestStack: what request_stack says, and that can't be set yet. */
static co_waits int request_stack_none(struct proxy *proxy, const struct call_value *args, size_t n_args,
				       struct call_value *result)
{
	if (n_args != 0)
		return -EBADMSG;
	*result = (struct call_value){ .kind = CALL_NONE };
	return 0;
}

#define STANDARD "SmtpProxy"
#define ABSTRACT "AbstractSmtpProxy SmtpProxy"

static const struct hook smtp_hooks[] = {
	{ .name = "checkSender", .classes = STANDARD, .arguments = "cmd param", .native = smtp_check_sender, .offset = SIZE_MAX,
	  .doc = "May this sender send? Called for MAIL." },
	{ .name = "checkRecipient", .classes = STANDARD, .arguments = "cmd param", .native = smtp_check_recipient,
	  .offset = SIZE_MAX, .doc = "May mail go to this recipient? Called for RCPT." },
	{ .name = "relayCheck", .classes = STANDARD, .arguments = "email", .native = smtp_relay_check,
	  .offset = CONFIG(relay_check_hook), .doc = "May this client have mail relayed to this address?" },
	{ .name = "zoneCheck", .classes = STANDARD, .arguments = "zone", .native = smtp_zone_check,
	  .offset = CONFIG(zone_check_hook), .doc = "Is this zone, or one that it belongs to, among relay_zones?" },
	{ .name = "sanitizeAddress", .classes = ABSTRACT, .arguments = "path", .native = smtp_sanitize_address, .offset = SIZE_MAX,
	  .doc = "The mailbox of a path, canonical." },
	{ .name = "generateReceived", .classes = ABSTRACT, .arguments = "", .native = smtp_generate_received,
	  .offset = CONFIG(generate_received_hook), .doc = "The trace header, with its line end." },
	{ .name = "requestStack", .classes = ABSTRACT, .arguments = "", .native = request_stack_none,
	  .offset = CONFIG(request_stack_hook), .doc = "What inspects this message, or None." },
};

static void problem(struct policy_problems *problems, const char *hint, const char *what)
{
	problems_add(problems, PROBLEM_ERROR, (struct policy_place){ NULL, 0 }, hint, "%s", what);
}

/* Refusals of a table: a code, and a text that fits on a reply line. */
static bool check_refusal(void *arg, struct slice key1, struct slice key2, const struct table_entry *entry)
{
	struct policy_problems *problems = arg;
	unsigned code;

	if (entry->n_args > 0 && (!smtp_code_parse(entry->args[0], &code) || code / 100 == 3))
		problems_add(problems, PROBLEM_ERROR, (struct policy_place){ NULL, 0 },
			     "a reply code is three digits, 200 to 259 or 400 to 559",
			     "refusal of %.*s: '%.*s' is no code of a reply", SLICE_ARG(key1), SLICE_ARG(entry->args[0]));
	if (entry->n_args > 1 && (!smtp_is_line_safe(entry->args[1]) || entry->args[1].len > 500))
		problems_add(problems, PROBLEM_ERROR, (struct policy_place){ NULL, 0 },
			     "one line of at most 500 octets", "refusal of %.*s: the text does not fit on a reply line",
			     SLICE_ARG(key1));
	return true;
}

static bool note_entry(void *arg, struct slice key1, struct slice key2, const struct table_entry *entry)
{
	*(bool *)arg = true;
	return false;
}

/*
 * Is a request of this verb decided without waiting for policy code? Then it can be forwarded
 * behind commands whose replies are not there yet.
 */
static bool request_waits(const struct table_entry *entry, const struct smtp_config *c)
{
	if (entry == NULL || entry->action != SMTP_REQ_POLICY)
		return false;
	if (entry->call.native == smtp_check_sender)
		return c->sender_matcher.callback >= 0;
	if (entry->call.native == smtp_check_recipient)
		return c->recipient_matcher.callback >= 0 || c->relay_domains_matcher.callback >= 0 ||
		       c->relay_check_hook.callback >= 0 || c->zone_check_hook.callback >= 0;
	return true;
}

/* Can policy turn an acceptance of the server into a refusal? Codes without an entry are no
 * ordinary replies to the verb; they are dealt with when one comes. */
static bool acceptance_is_open(const struct smtp_config *c, const struct smtp_verb *verb)
{
	for (unsigned code = 200; code <= 354; code = code == 259 ? 354 : code + 1) {
		char text[4];
		const struct table_entry *entry;

		entry = table_find(c->response, slice_cstr(verb->name), smtp_code_text(code, text));
		if (entry != NULL && entry->action != SMTP_RSP_ACCEPT)
			return true;
	}
	return false;
}

/* relay_domains as they are compared; a dot in front stays. */
static int make_ascii(struct smtp_config *c, struct arena *arena, struct policy_problems *problems)
{
	struct slice *items = arena_alloc(arena, (c->relay_domains.count + 1) * sizeof(*items));

	if (items == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < c->relay_domains.count; i++) {
		struct slice given = c->relay_domains.items[i], name = given, ascii;
		bool dot = given.len > 0 && given.ptr[0] == '.';
		uint8_t *text;
		int err;

		items[i] = given;
		if (!smtp_has_8bit(given))
			continue;
		if (dot)
			name = slice_skip(given, 1);
		err = smtp_domain_to_ascii(name, arena, &ascii);
		if (err == -EBADMSG)
			problem(problems, "write the ASCII form, 'xn--...'", "relay_domains has a name that has no one ASCII form");
		if (err < 0)
			return err == -EBADMSG ? 0 : err;
		text = arena_alloc(arena, ascii.len + 1);
		if (text == NULL)
			return -ENOMEM;
		text[0] = '.';
		memcpy(text + 1, ascii.ptr, ascii.len);
		items[i] = slice_of(text + !dot, ascii.len + dot);
	}
	c->relay_domains_ascii = (struct string_list){ items, c->relay_domains.count };
	return 0;
}

/* Those that the policy does not set are the one it always had. */
static void derive_timeouts(struct smtp_config *c)
{
	int64_t *const derived[] = { &c->timeout_greeting_ms, &c->timeout_command_ms, &c->timeout_line_ms,
				     &c->timeout_data_block_ms, &c->timeout_final_ms };

	for (size_t i = 0; i < ARRAY_LEN(derived); i++)
		if (*derived[i] == 0)
			*derived[i] = c->timeout_ms;
}

static int smtp_prepare(void *block, const struct policy *policy, struct arena *arena, struct policy_problems *problems)
{
	struct smtp_config *c = block;

	if (c->server_name.len > 0 && (!smtp_is_domain(c->server_name) || c->server_name.ptr[0] == '[' || c->server_name.ptr[0] == '#' ||
				       smtp_has_8bit(c->server_name)))
		problem(problems, "a name like 'mail.example.com', in ASCII", "server_name is no host name");
	if (c->tls_passthrough && c->require_server_tls)
		problem(problems, "one of the two", "tls_passthrough and require_server_tls: STARTTLS is forwarded, or said by the proxy itself");
	if (c->request_stack_hook.callback >= 0)
		problem(problems, "remove the method", "requestStack needs content inspection, which does not exist yet");
	if (c->resolve_host)
		problem(problems, "leave resolve_host FALSE", "resolve_host needs a resolver, which does not exist yet");
	if (c->append_domain.len > 0 && !smtp_is_domain(c->append_domain))
		problem(problems, "a name like 'example.com'", "append_domain is no domain");
	/* "#1" is what some old servers take in EHLO, and no name of a host. */
	if (c->domain_name.len > 0 && (!smtp_is_domain(c->domain_name) || c->domain_name.ptr[0] == '#'))
		problem(problems, "a name like 'mail.example.com', or an address like '[192.0.2.1]'",
			"domain_name is no domain and no address literal");
	if (c->banner.len > 0 && (!smtp_is_domain(slice_take(c->banner, slice_index(c->banner, ' '))) || c->banner.len > 400 ||
				  smtp_has_control(c->banner) || smtp_has_8bit(c->banner)))
		problem(problems, "like 'mail.example.com ESMTP'", "banner is no host name with text behind it");
	for (size_t i = 0; i < c->accept_xclient_zones.count; i++)
		if (slice_is(c->accept_xclient_zones.items[i], "*"))
			problem(problems, "name the zones of hosts that you trust", "accept_xclient_zones: everybody could be anybody");
	if (c->autodetect_domain_from.len > 0 && !slice_is(c->autodetect_domain_from, "mailname") &&
	    !slice_is(c->autodetect_domain_from, "fqdn"))
		problem(problems, "SMTP_GETDOMAIN_MAILNAME or SMTP_GETDOMAIN_FQDN", "autodetect_domain_from is neither");
	if (c->max_line_length < c->max_request_length)
		problem(problems, "max_line_length bounds all lines", "max_request_length is larger than max_line_length");
	for (size_t i = 0; i < c->permit_auth_mechanisms.count; i++)
		if (!smtp_is_mechanism(c->permit_auth_mechanisms.items[i]))
			problem(problems, "names like 'PLAIN' or 'SCRAM-SHA-256'", "permit_auth_mechanisms: not the name of a mechanism");
	table_each(c->request, check_refusal, problems);
	table_each(c->response, check_refusal, problems);
	table_each(c->request, note_entry, &c->permits_requests);
	derive_timeouts(c);
	c->batchable = 0;
	for (unsigned i = 0; i < SMTP_VERB_COUNT; i++) {
		const struct smtp_verb *verb = &smtp_verbs[i];
		char code[4];

		c->verb_entries[i] = table_find(c->request, slice_cstr(verb->name), SLICE(""));
		c->usual_entries[i] = table_find(c->response, slice_cstr(verb->name), smtp_code_text(verb->usual, code));
		if (!request_waits(c->verb_entries[i], c) && !acceptance_is_open(c, verb))
			c->batchable |= 1u << i;
	}
	if (make_ascii(c, arena, problems) < 0)
		return -ENOMEM;
	return c->add_received_header ? smtp_find_own_name(c, arena, &c->own_name) : 0;
}

static struct slice server_name(const void *config)
{
	return ((const struct smtp_config *)config)->server_name;
}

static const char *encryption_flaw(const void *config, const struct encryption *e)
{
	const struct smtp_config *c = config;

	if (!c->require_server_tls)
		return NULL;
	if (e == NULL || e->sides[TLS_SERVER].security == TLS_OFF)
		return "require_server_tls needs one that has TLS with the server";
	if (e->sides[TLS_SERVER].own.bridge != NULL && e->sides[TLS_CLIENT].security == TLS_ACCEPT_STARTTLS)
		return "with require_server_tls the server's handshake comes before the client's, from whose certificate its own is to be made";
	return NULL;
}

const struct proxy_type smtp_type = {
	.name = "smtp",
	.starttls = true,
	.server_name = server_name,
	.encryption_flaw = encryption_flaw,
	.attributes = smtp_attributes,
	.n_attributes = ARRAY_LEN(smtp_attributes),
	.tables = smtp_tables,
	.n_tables = ARRAY_LEN(smtp_tables),
	.hooks = smtp_hooks,
	.n_hooks = ARRAY_LEN(smtp_hooks),
	.counters = smtp_counters,
	.n_counters = ARRAY_LEN(smtp_counters),
	.config_size = sizeof(struct smtp_config),
	.run_size = sizeof(struct smtp),
	.prepare = smtp_prepare,
	.run = smtp_run,
};
