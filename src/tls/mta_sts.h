/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a mail domain says of the servers that take its mail (MTA-STS, RFC 8461): a TXT record that says whether there
 * is a policy and which, and the policy, a text. Both are read to the letter of the RFC's grammar; what is not in it
 * is no policy at all, so that nobody reads it in another way than we do.
 */
#ifndef SALLYPORT_TLS_MTA_STS_H
#define SALLYPORT_TLS_MTA_STS_H

#include "base/attributes.h"
#include "base/buffer.h"

#define MTA_STS_ID_MAX 32u			/* octets */
#define MTA_STS_OCTETS_MAX (64u * 1024u)	/* of a policy (RFC 8461, 3.3) */
#define MTA_STS_MX_MAX 64u			/* patterns of one */
#define MTA_STS_AGE_MAX_S 31557600u		/* a year; who says more means that */
#define MTA_STS_WRITTEN_MAX (20u * 1024u)	/* octets of what mta_sts_write makes */

enum mta_sts_mode { MTA_STS_NONE, MTA_STS_TESTING, MTA_STS_ENFORCE, MTA_STS_MODES };
extern const char *const mta_sts_mode_names[MTA_STS_MODES];	/* "none", "testing", "enforce" */

struct mta_sts {
	struct slice octets;			/* as parsed */
	enum mta_sts_mode mode;
	uint32_t max_age_s;
	size_t n_mx;				/* at least one unless the mode is none */
};

/* A TXT record, its strings put together; *id stays in txt. 0; -ENOENT: it is about something else; -EBADMSG. */
int mta_sts_record_parse(struct slice txt, struct slice *id) MUST_CHECK;

/* Good as long as octets. 0; -E2BIG; -EBADMSG, and *why in words. */
int mta_sts_parse(struct slice octets, struct mta_sts *out, const char **why) MUST_CHECK;

/* A host's name, as DNS has it: does the policy list it? */
bool mta_sts_lists(const struct mta_sts *policy, struct slice host);

/* Nothing but what counts, appended; at most MTA_STS_WRITTEN_MAX. */
void mta_sts_write(const struct mta_sts *policy, struct buffer *out);

#endif
