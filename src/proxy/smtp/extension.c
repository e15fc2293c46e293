/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/smtp/extension.h"

#include "base/attributes.h"

#include <stdio.h>

/* SIZE [1*20DIGIT] (RFC 1870, 4): the smaller limit of the two; 0 is none. */
static struct slice offer_size(const struct smtp_own_limits *own, struct slice line, struct slice arguments,
			       char buf[SMTP_OFFER_MAX])
{
	uint64_t server = 0;
	bool valid = arguments.len == 0 || slice_parse_u64(arguments, UINT64_MAX, &server) == 0;
	int n;

	if (own->message_octets == 0 && valid)
		return line;
	if (own->message_octets == 0)
		return SLICE("SIZE");
	if (!valid || server == 0 || server > own->message_octets)
		server = own->message_octets;
	n = snprintf(buf, SMTP_OFFER_MAX, "SIZE %llu", (unsigned long long)server);
	return slice_of(buf, (size_t)n);
}

/*
 * LIMITS *(SP limit-name ["=" limit-value]) (RFC 9422, 3): those that are known, the recipients of
 * a message not above our own limit. What the server limits it enforces; we enforce ours.
 */
static struct slice offer_limits(const struct smtp_own_limits *own, struct slice line, struct slice arguments,
				 char buf[SMTP_OFFER_MAX])
{
	static const char *const names[] = { "MAILMAX", "RCPTMAX", "RCPTDOMAINMAX" };
	uint64_t values[] = { 0, own->recipients, 0 };
	size_t n = 6;

	while (arguments.len > 0) {
		struct slice word = slice_take(arguments, slice_index(arguments, ' '));
		struct slice name = slice_take(word, slice_index(word, '='));
		uint64_t value;

		arguments = slice_skip(arguments, word.len + 1);
		if (slice_parse_u64(slice_skip(word, name.len + 1), 999999, &value) < 0 || value == 0)
			continue;
		for (size_t i = 0; i < ARRAY_LEN(names); i++)
			if (slice_equal_nocase(name, slice_cstr(names[i])) && (values[i] == 0 || value < values[i]))
				values[i] = value;
	}
	memcpy(buf, "LIMITS", n);
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (values[i] > 0 && values[i] <= 999999)
			n += (size_t)snprintf(buf + n, SMTP_OFFER_MAX - n, " %s=%llu", names[i], (unsigned long long)values[i]);
	return slice_of(buf, n);
}

/*
 * What brings commands, parameters or framing that the proxy does not speak is not offered, even
 * if a policy accepts it: the client would be told of something that is then refused, or worse,
 * passed without being understood (the octets of a BDAT chunk read as commands).
 */
static const struct smtp_extension extensions[] = {
	/* keyword               bit                           spoken  octets of MAIL, RCPT: the RFC that says so */
	{ "PIPELINING",          SMTP_EXT_PIPELINING,          true,   0,   0, NULL },
	{ "SIZE",                SMTP_EXT_SIZE,                true,   26,  0, offer_size },	/* 1870, 3 */
	{ "ETRN",                SMTP_EXT_ETRN,                true,   0,   0, NULL },
	{ "8BITMIME",            SMTP_EXT_8BITMIME,            true,   17,  0, NULL },	/* 6152, 2 */
	{ "ENHANCEDSTATUSCODES", SMTP_EXT_ENHANCEDSTATUSCODES, true,   0,   0, NULL },
	{ "DSN",                 SMTP_EXT_DSN,                 true,   107, 500, NULL },	/* 3461, 4 */
	{ "SMTPUTF8",            SMTP_EXT_SMTPUTF8,            true,   10,  0, NULL },	/* 6531, 3.1 */
	{ "DELIVERBY",           SMTP_EXT_DELIVERBY,           true,   17,  0, NULL },	/* 2852, 3 */
	{ "FUTURERELEASE",       SMTP_EXT_FUTURERELEASE,       true,   34,  0, NULL },	/* 4865, 4 */
	{ "MT-PRIORITY",         SMTP_EXT_MT_PRIORITY,         true,   15,  0, NULL },	/* 6710, 3 */
	{ "MTRK",                SMTP_EXT_MTRK,                true,   40,  0, NULL },	/* 3885, 2 */
	{ "LIMITS",              SMTP_EXT_LIMITS,              true,   0,   0, offer_limits },
	{ "EXPN",                0,                            true,   0,   0, NULL },
	{ "HELP",                0,                            true,   0,   0, NULL },
	{ "VRFY",                0,                            true,   0,   0, NULL },
	{ "AUTH",                SMTP_EXT_AUTH,                true,   500, 0, NULL },	/* 4954, 3 */
	{ "STARTTLS",            SMTP_EXT_STARTTLS,            true,   0,   0, NULL },
	{ "CHUNKING",            SMTP_EXT_CHUNKING,            true,   0,   0, NULL },
	{ "BINARYMIME",          SMTP_EXT_BINARYMIME,          true,   0,   0, NULL },
	{ "UTF8SMTP",            0,                            false,  0,   0, NULL },
	{ "BURL",                0,                            false,  0,   0, NULL },
	{ "CHECKPOINT",          0,                            false,  0,   0, NULL },
	{ "CONNEG",              0,                            false,  0,   0, NULL },
	{ "CONPERM",             0,                            false,  0,   0, NULL },
	{ "NO-SOLICITING",       0,                            false,  0,   0, NULL },
	{ "REQUIRETLS",          0,                            false,  0,   0, NULL },
	{ "RRVS",                0,                            false,  0,   0, NULL },
	{ "SUBMITTER",           0,                            false,  0,   0, NULL },
	{ "TURN",                0,                            false,  0,   0, NULL },
	{ "ATRN",                0,                            false,  0,   0, NULL },
	{ "SEND",                0,                            false,  0,   0, NULL },
	{ "SOML",                0,                            false,  0,   0, NULL },
	{ "SAML",                0,                            false,  0,   0, NULL },
	{ "VERB",                0,                            false,  0,   0, NULL },
	{ "ONEX",                0,                            false,  0,   0, NULL },
	{ "PIPECONNECT",         0,                            false,  0,   0, NULL },
	{ "XCLIENT",             0,                            false,  0,   0, NULL },
	{ "XFORWARD",            0,                            false,  0,   0, NULL },
	{ "XEXCH50",             0,                            false,  0,   0, NULL },
	{ "ADDR",                0,                            false,  0,   0, NULL },
};

unsigned smtp_extension_allowance(unsigned active, bool rcpt)
{
	unsigned octets = 0;

	for (size_t i = 0; i < ARRAY_LEN(extensions); i++)
		if ((active & extensions[i].bit) != 0)
			octets += rcpt ? extensions[i].rcpt_octets : extensions[i].mail_octets;
	return octets;
}

const struct smtp_extension *smtp_extension_named(struct slice keyword)
{
	for (size_t i = 0; i < ARRAY_LEN(extensions); i++)
		if (slice_is(keyword, extensions[i].keyword))
			return &extensions[i];
	return NULL;
}

struct slice smtp_extension_keyword(struct slice line, char buf[SMTP_KEYWORD_MAX])
{
	size_t n = 0;

	while (n < line.len && n < SMTP_KEYWORD_MAX &&
	       (ascii_is_alpha(line.ptr[n]) || ascii_is_digit(line.ptr[n]) || (n > 0 && line.ptr[n] == '-'))) {
		buf[n] = (char)ascii_upper(line.ptr[n]);
		n++;
	}
	if (n == SMTP_KEYWORD_MAX || (n < line.len && line.ptr[n] != ' ' && line.ptr[n] != '='))
		n = 0;
	return slice_of(buf, n);
}
