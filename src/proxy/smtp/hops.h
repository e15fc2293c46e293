/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How often a message was relayed: the Received fields of its header section (RFC 5321, 6.3), counted
 * as the octets go by. Nothing is kept of them but where in a line they ended, so any pieces will do and
 * a line may be of any length. Pure.
 *
 * The header section ends with the first empty line and with nothing else: a line that is no field
 * is still in it. Behind its end nothing is looked at.
 */
#ifndef SALLYPORT_PROXY_SMTP_HOPS_H
#define SALLYPORT_PROXY_SMTP_HOPS_H

#include "base/slice.h"

enum smtp_hops_place {
	SMTP_HOPS_LINE,			/* at the start of a line */
	SMTP_HOPS_NAME,			/* all of the line so far is the start of the field name */
	SMTP_HOPS_COLON,		/* all of the name was there */
	SMTP_HOPS_REST,			/* the rest of a line says nothing */
	SMTP_HOPS_EMPTY,		/* behind a CR that starts a line */
	SMTP_HOPS_BODY
};

/* Zeroed, but for stuffed: at the start of a message. */
struct smtp_hops {
	bool stuffed;			/* the first dot of a line is the transfer's (RFC 5321, 4.5.2) */
	bool behind_dot;
	enum smtp_hops_place place;
	unsigned matched;		/* octets of the name */
	unsigned count;			/* Received fields so far */
};

/* The next octets of the message. */
void smtp_hops_scan(struct smtp_hops *hops, struct slice octets);

#endif
