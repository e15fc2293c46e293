/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/smtp/extension.h"

#include "base/attributes.h"

/*
 * What brings commands, parameters or framing that the proxy does not speak is not offered, even
 * if a policy accepts it: the client would be told of something that is then refused, or worse,
 * passed without being understood (the octets of a BDAT chunk read as commands).
 */
static const struct smtp_extension extensions[] = {
	/* keyword               bit                  spoken */
	{ "PIPELINING",          SMTP_EXT_PIPELINING, true },
	{ "SIZE",                SMTP_EXT_SIZE,       true },
	{ "ETRN",                SMTP_EXT_ETRN,       true },
	{ "8BITMIME",            SMTP_EXT_8BITMIME,   true },
	{ "AUTH",                SMTP_EXT_AUTH,       false },
	{ "STARTTLS",            SMTP_EXT_STARTTLS,   false },
	{ "CHUNKING",            0,                   false },
	{ "BINARYMIME",          0,                   false },
	{ "DSN",                 0,                   false },
	{ "SMTPUTF8",            0,                   false },
	{ "UTF8SMTP",            0,                   false },
	{ "BURL",                0,                   false },
	{ "CHECKPOINT",          0,                   false },
	{ "DELIVERBY",           0,                   false },
	{ "FUTURERELEASE",       0,                   false },
	{ "MT-PRIORITY",         0,                   false },
	{ "REQUIRETLS",          0,                   false },
	{ "SUBMITTER",           0,                   false },
	{ "TURN",                0,                   false },
	{ "ATRN",                0,                   false },
	{ "XCLIENT",             0,                   false },
	{ "XFORWARD",            0,                   false },
	{ "XEXCH50",             0,                   false },
	{ "ADDR",                0,                   false },
};

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
