/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parameters of MAIL and RCPT (RFC 5321, 4.1.2): one row each, with the extension that brings
 * it and the grammar of its value. What no row names is refused: a parameter that is passed
 * without being understood could change what the server does with the message.
 */
#ifndef SALLYPORT_PROXY_SMTP_PARAM_H
#define SALLYPORT_PROXY_SMTP_PARAM_H

#include "base/arena.h"
#include "base/attributes.h"

#define SMTP_ENVID_MAX 100		/* octets; RFC 3461, 4.4 */
#define SMTP_ORCPT_MAX 500		/* RFC 3461, 4.2 */

struct smtp_syntax;
struct smtp_flaw;

/* BODY of MAIL. */
enum smtp_body_type {
	SMTP_TYPE_UNSAID,
	SMTP_TYPE_7BIT,
	SMTP_TYPE_8BITMIME,
	SMTP_TYPE_BINARYMIME,
};

/* What the parameters of a MAIL command say of its transaction. */
struct smtp_mail_options {
	uint64_t size;			/* SIZE */
	bool has_size;
	bool utf8;			/* SMTPUTF8: its addresses need not be ASCII */
	enum smtp_body_type body;
};

/*
 * *(SP esmtp-keyword ["=" esmtp-value]) behind the path of MAIL, or of RCPT. *text: the same in
 * canonical form, in arena, each behind a space; in the order of the table. options: of MAIL; may
 * be NULL for RCPT. 0; -EBADMSG with *flaw; -ENOMEM.
 */
int smtp_parameters_parse(const struct smtp_syntax *syntax, bool rcpt, struct slice rest, struct arena *arena,
			  struct smtp_mail_options *options, struct slice *text, struct smtp_flaw *flaw) MUST_CHECK;

#endif
