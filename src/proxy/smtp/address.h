/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mail addresses (RFC 5321, 4.1.2 and 4.1.3), as MAIL, RCPT, HELO and ETRN carry them. What is
 * checked and forwarded is the canonical mailbox that comes out of here, never the octets that
 * came in. Pure functions on slices.
 */
#ifndef SALLYPORT_PROXY_SMTP_ADDRESS_H
#define SALLYPORT_PROXY_SMTP_ADDRESS_H

#include "base/arena.h"
#include "base/attributes.h"

#define SMTP_LOCAL_PART_MAX 64		/* RFC 5321, 4.5.3.1.1 */
#define SMTP_DOMAIN_MAX 255		/* 4.5.3.1.2 */
#define SMTP_PATH_MAX 256		/* 4.5.3.1.3, with the angle brackets and a source route */

enum smtp_address_flaw {
	SMTP_ADDRESS_OK,
	SMTP_ADDRESS_LOCAL_PART,
	SMTP_ADDRESS_NO_AT,		/* no domain, and none to append */
	SMTP_ADDRESS_DOMAIN,
	SMTP_ADDRESS_NO_BRACKET,	/* does not start with "<" */
	SMTP_ADDRESS_ROUTE,
	SMTP_ADDRESS_ROUTE_REFUSED,
	SMTP_ADDRESS_EMPTY,
	SMTP_ADDRESS_BRACKETS,		/* one angle bracket without the other */
	SMTP_ADDRESS_TOO_LONG,
	SMTP_ADDRESS_NO_MEMORY,
	SMTP_ADDRESS_FLAW_COUNT
};
extern const char *const smtp_address_flaw_texts[SMTP_ADDRESS_FLAW_COUNT];	/* for logs */

#define SMTP_PATH_MAY_BE_EMPTY 1u	/* "<>": the null reverse-path */
#define SMTP_PATH_BARE 2u		/* without angle brackets too */
#define SMTP_PATH_POSTMASTER 4u		/* "<Postmaster>" needs no domain (RFC 5321, 4.5.1) */
#define SMTP_PATH_UTF8 8u		/* need not be ASCII (RFC 6531, 3.3) */
#define SMTP_PATH_NO_ROUTE 16u		/* a source route is refused */

struct smtp_path {
	struct slice mailbox;		/* canonical: local part, "@", domain; no source route. Empty for "<>" */
	struct slice local;		/* as in mailbox: quoted only where it must be */
	struct slice domain;		/* empty: there is none */
	struct slice rest;		/* what follows the path */
	bool routed;			/* a source route was dropped */
	bool utf8;			/* mailbox is not ASCII */
};

/*
 * path = ["<"] [source-route] mailbox [">"] at the start of text; leading spaces are skipped.
 * append_domain is put behind a mailbox without one unless it is empty. The result points into
 * text where it can, else into arena. SMTP_ADDRESS_OK and *out, or the flaw.
 */
enum smtp_address_flaw smtp_path_parse(struct slice text, unsigned flags, struct slice append_domain,
				       struct arena *arena, struct smtp_path *out) MUST_CHECK;

/* Length of the domain, address literal or "#number" at the start of text, all ASCII; 0: there is none. */
size_t smtp_domain_length(struct slice text);

/* atext (RFC 5322) at the start of text, octets. */
size_t smtp_atom_length(struct slice text);

/* Is text ASCII, or UTF-8 of characters that addresses may have? Control octets are not looked for. */
bool smtp_is_address_text(struct slice text);

/* The whole of text is one. */
bool smtp_is_domain(struct slice text);

#endif
