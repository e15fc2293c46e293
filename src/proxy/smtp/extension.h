/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service extensions (EHLO keywords) that the proxy knows: one row each. One is offered to a
 * client if the server offers it, the policy permits it, and the proxy polices what it brings.
 */
#ifndef SALLYPORT_PROXY_SMTP_EXTENSION_H
#define SALLYPORT_PROXY_SMTP_EXTENSION_H

#include "base/slice.h"

/* Bits of permit_extensions and active_extensions, as the policy language numbers them. The first
 * six are the original's. */
#define SMTP_EXT_PIPELINING 0x01u
#define SMTP_EXT_SIZE 0x02u
#define SMTP_EXT_ETRN 0x04u
#define SMTP_EXT_8BITMIME 0x08u
#define SMTP_EXT_AUTH 0x10u
#define SMTP_EXT_STARTTLS 0x20u
#define SMTP_EXT_ENHANCEDSTATUSCODES 0x40u
#define SMTP_EXT_DSN 0x80u
#define SMTP_EXT_SMTPUTF8 0x100u
#define SMTP_EXT_CHUNKING 0x200u
#define SMTP_EXT_BINARYMIME 0x400u
#define SMTP_EXT_LIMITS 0x800u
#define SMTP_EXT_DELIVERBY 0x1000u
#define SMTP_EXT_FUTURERELEASE 0x2000u
#define SMTP_EXT_MT_PRIORITY 0x4000u
#define SMTP_EXT_MTRK 0x8000u
#define SMTP_EXT_BITS 0xffff

/* What the proxy itself limits: what a server offers is cut to it. */
struct smtp_own_limits {
	uint64_t message_octets;	/* 0: none */
	uint64_t recipients;
};

#define SMTP_OFFER_MAX 264	/* octets; the mechanisms of AUTH are the longest */

/*
 * The line that the client gets for one of the server's, whose arguments are given. It points
 * into buf, or is line itself. An argument that is none is dropped.
 */
typedef struct slice (*smtp_offer_fn)(const struct smtp_own_limits *own, struct slice line, struct slice arguments,
				      char buf[SMTP_OFFER_MAX]);

struct smtp_extension {
	const char *keyword;
	unsigned bit;			/* 0: none in the policy language */
	bool spoken;			/* the proxy polices what it brings. False: never offered, whatever a policy says */
	unsigned mail_octets;		/* by which lines of MAIL, VRFY and EXPN may be longer */
	unsigned rcpt_octets;		/* and those of RCPT */
	smtp_offer_fn offer;		/* NULL: the line goes out as it came */
};

/* NULL: none of ours, which brings nothing that could get past the command parser. */
const struct smtp_extension *smtp_extension_named(struct slice keyword);

/* The octets that extensions (SMTP_EXT_* bits) together add to the longest command line. */
unsigned smtp_extension_allowance(unsigned extensions, bool rcpt);

#define SMTP_KEYWORD_MAX 64

/*
 * ehlo-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-"), up to a space, "=" (old forms of AUTH)
 * or the end. Upper case into buf; an empty slice: not a keyword.
 */
struct slice smtp_extension_keyword(struct slice line, char buf[SMTP_KEYWORD_MAX]);

#endif
