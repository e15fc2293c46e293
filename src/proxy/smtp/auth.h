/* SPDX-License-Identifier: Apache-2.0 */
/* AUTH (RFC 4954): its grammar, and what a session keeps of it. The exchange is in auth.c. */
#ifndef SALLYPORT_PROXY_SMTP_AUTH_H
#define SALLYPORT_PROXY_SMTP_AUTH_H

#include "base/slice.h"

#define SMTP_MECHANISM_MAX 20		/* octets of a name; RFC 4422, 3.1 */
#define SMTP_MECHANISMS_MAX 256		/* of all that a client is offered */
#define SMTP_AUTH_LINE_MAX 12288	/* RFC 4954, 4; two octets more fit a stream's buffer */

/* Of one session. */
struct smtp_auth {
	char offered[SMTP_MECHANISMS_MAX];	/* mechanisms, in upper case, a space between them */
	size_t offered_length;
	char mechanism[SMTP_MECHANISM_MAX];	/* of the exchange under way, or the last one */
	size_t mechanism_length;
	unsigned steps;			/* of the exchange */
	unsigned failures;
	bool tried;			/* what comes and is no command may be a secret */
};

bool smtp_is_mechanism(struct slice s);
/* Whole groups of four, "=" only where it pads. Empty is. */
bool smtp_is_base64(struct slice s);
/* Is name, in any case, one of the words of list? */
bool smtp_has_mechanism(struct slice list, struct slice name);

#endif
