/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/smtp/extension.h"

#include "base/attributes.h"

/*
 * What brings commands, parameters or framing that the proxy does not speak is not offered, even
 * if a policy accepts it: the client would be told of something that is then refused, or worse,
 * passed without being understood (the octets of a BDAT chunk read as commands).
 */
static const struct smtp_extension extensions[] = {
	/* keyword               bit                           spoken  octets of MAIL, RCPT: the RFC that says so */
	{ "PIPELINING",          SMTP_EXT_PIPELINING,          true,   0,   0 },
	{ "SIZE",                SMTP_EXT_SIZE,                true,   26,  0 },	/* 1870, 3 */
	{ "ETRN",                SMTP_EXT_ETRN,                true,   0,   0 },
	{ "8BITMIME",            SMTP_EXT_8BITMIME,            true,   17,  0 },	/* 6152, 2 */
	{ "ENHANCEDSTATUSCODES", SMTP_EXT_ENHANCEDSTATUSCODES, true,   0,   0 },
	{ "DSN",                 SMTP_EXT_DSN,                 true,   107, 500 },	/* 3461, 4 */
	{ "SMTPUTF8",            SMTP_EXT_SMTPUTF8,            true,   10,  0 },	/* 6531, 3.1 */
	{ "DELIVERBY",           SMTP_EXT_DELIVERBY,           true,   17,  0 },	/* 2852, 3 */
	{ "FUTURERELEASE",       SMTP_EXT_FUTURERELEASE,       true,   34,  0 },	/* 4865, 4 */
	{ "MT-PRIORITY",         SMTP_EXT_MT_PRIORITY,         true,   15,  0 },	/* 6710, 3 */
	{ "MTRK",                SMTP_EXT_MTRK,                true,   40,  0 },	/* 3885, 2 */
	{ "EXPN",                0,                            true,   0,   0 },
	{ "HELP",                0,                            true,   0,   0 },
	{ "VRFY",                0,                            true,   0,   0 },
	{ "AUTH",                SMTP_EXT_AUTH,                false,  500, 0 },	/* 4954, 3 */
	{ "STARTTLS",            SMTP_EXT_STARTTLS,            false,  0,   0 },
	{ "CHUNKING",            SMTP_EXT_CHUNKING,            true,   0,   0 },
	{ "BINARYMIME",          SMTP_EXT_BINARYMIME,          true,   0,   0 },
	{ "LIMITS",              SMTP_EXT_LIMITS,              false,  0,   0 },
	{ "UTF8SMTP",            0,                            false,  0,   0 },
	{ "BURL",                0,                            false,  0,   0 },
	{ "CHECKPOINT",          0,                            false,  0,   0 },
	{ "CONNEG",              0,                            false,  0,   0 },
	{ "CONPERM",             0,                            false,  0,   0 },
	{ "NO-SOLICITING",       0,                            false,  0,   0 },
	{ "REQUIRETLS",          0,                            false,  0,   0 },
	{ "RRVS",                0,                            false,  0,   0 },
	{ "SUBMITTER",           0,                            false,  0,   0 },
	{ "TURN",                0,                            false,  0,   0 },
	{ "ATRN",                0,                            false,  0,   0 },
	{ "SEND",                0,                            false,  0,   0 },
	{ "SOML",                0,                            false,  0,   0 },
	{ "SAML",                0,                            false,  0,   0 },
	{ "VERB",                0,                            false,  0,   0 },
	{ "ONEX",                0,                            false,  0,   0 },
	{ "PIPECONNECT",         0,                            false,  0,   0 },
	{ "XCLIENT",             0,                            false,  0,   0 },
	{ "XFORWARD",            0,                            false,  0,   0 },
	{ "XEXCH50",             0,                            false,  0,   0 },
	{ "ADDR",                0,                            false,  0,   0 },
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
