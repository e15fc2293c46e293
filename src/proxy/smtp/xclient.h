/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XCLIENT, Postfix's SMTP extension by which a proxy tells a server whose connection it carries
 * (Postfix, XCLIENT_README): "XCLIENT" 1*( SP attribute "=" xtext ). Pure functions on slices.
 */
#ifndef SALLYPORT_PROXY_SMTP_XCLIENT_H
#define SALLYPORT_PROXY_SMTP_XCLIENT_H

#include "base/addr.h"
#include "base/attributes.h"

#define SMTP_XCLIENT_NAME 1u
#define SMTP_XCLIENT_ADDR 2u
#define SMTP_XCLIENT_PORT 4u
#define SMTP_XCLIENT_PROTO 8u
#define SMTP_XCLIENT_HELO 16u
#define SMTP_XCLIENT_LOGIN 32u
#define SMTP_XCLIENT_DESTADDR 64u
#define SMTP_XCLIENT_DESTPORT 128u

#define SMTP_XCLIENT_VALUE_MAX 255	/* octets, decoded */
#define SMTP_XCLIENT_LINE_MAX 510	/* octets of a command, without CRLF */

/*
 * What we take from clients. PROTO and HELO are not offered, since the EHLO that must follow says
 * both; LOGIN is not, since nothing here would go by it.
 */
#define SMTP_XCLIENT_OFFER "XCLIENT NAME ADDR PORT DESTADDR DESTPORT"

struct smtp_xclient {
	struct endpoint client, wanted;	/* family AF_UNSPEC, port 0: not known */
	struct slice name;		/* of the client; empty: not known */
	struct slice helo, protocol;	/* protocol: "SMTP", "ESMTP". Not parsed */
};

/* The attributes that an EHLO line names: "XCLIENT NAME ADDR". 0: it is no such line. */
unsigned smtp_xclient_offered(struct slice line);

/*
 * The command for a server that takes these attributes, without CRLF. What is not known is said
 * to be [UNAVAILABLE], and so is a name that does not fit. Returns the length.
 */
size_t smtp_xclient_write(unsigned offered, const struct smtp_xclient *what, char buf[SMTP_XCLIENT_LINE_MAX]);

/*
 * The parameter of a client's command. ADDR must be there and be an address that a client can
 * have; what is not mentioned, or [UNAVAILABLE], is not known afterwards. 0 and *out, whose name is in
 * name_room; -EBADMSG with *why: a static text for the reply. Then *out is as it was.
 */
int smtp_xclient_parse(struct slice param, char name_room[SMTP_XCLIENT_VALUE_MAX], struct smtp_xclient *out,
		       const char **why) MUST_CHECK;

#endif
