/* SPDX-License-Identifier: Apache-2.0 */
/* The service extensions (EHLO keywords) that the proxy knows: one row each. */
#ifndef SALLYPORT_PROXY_SMTP_EXTENSION_H
#define SALLYPORT_PROXY_SMTP_EXTENSION_H

#include "base/slice.h"

/* Bits of permit_extensions and active_extensions, as the policy language numbers them. */
#define SMTP_EXT_PIPELINING 0x01u
#define SMTP_EXT_SIZE 0x02u
#define SMTP_EXT_ETRN 0x04u
#define SMTP_EXT_8BITMIME 0x08u
#define SMTP_EXT_AUTH 0x10u
#define SMTP_EXT_STARTTLS 0x20u
#define SMTP_EXT_BITS 0x3f

struct smtp_extension {
	const char *keyword;
	unsigned bit;			/* 0: none in the policy language */
	bool spoken;			/* the proxy polices what it brings. False: never offered, whatever a policy says */
};

/* NULL: none of ours, which brings nothing that could get past the command parser. */
const struct smtp_extension *smtp_extension_named(struct slice keyword);

#define SMTP_KEYWORD_MAX 64

/*
 * ehlo-keyword = (ALPHA / DIGIT) *(ALPHA / DIGIT / "-"), up to a space, "=" (old forms of AUTH)
 * or the end. Upper case into buf; an empty slice: not a keyword.
 */
struct slice smtp_extension_keyword(struct slice line, char buf[SMTP_KEYWORD_MAX]);

#endif
