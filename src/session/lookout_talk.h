/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What workers ask the lookout, the process that talks to the network for them: one packet a
 * question, one packet an answer, in any order. A worker has at most LOOKOUT_WINDOW questions there
 * at a time; over that its connection is closed.
 */
#ifndef SALLYPORT_SESSION_LOOKOUT_TALK_H
#define SALLYPORT_SESSION_LOOKOUT_TALK_H

#include <stdint.h>

#define LOOKOUT_BODY_MAX 32768u		/* octets of a question or an answer */
#define LOOKOUT_WINDOW 64u

struct lookout_question {
	uint32_t number;		/* the worker's; comes back in the answer */
	uint32_t kind;			/* enum lookout_kind */
};

struct lookout_answer {
	uint32_t number;
	int32_t result;			/* >= 0 as the kind says; -errno; -ENOSYS: no such kind */
};

enum lookout_kind {
	LOOKOUT_NOTHING,		/* answered with 0 and the question's body: is anybody there? */
	/* The TLSA records of a name, "_25._tcp.mail.example", as far as DNSSEC vouches for them: a result is one of
	 * enum lookout_tlsa. Only so that what nobody may have changed on the way is told from what somebody may. Not asked for
	 * where the host's own zone is not signed; those of the name that the host's is an alias of come first (RFC 7672, 2.2.2). */
	LOOKOUT_TLSA,
	/* The policy of a mail domain (MTA-STS, RFC 8461): the domain, a NUL, and the folder of the CAs that vouch for
	 * who publishes it. A result is one of enum lookout_sts_answer. */
	LOOKOUT_STS,
	LOOKOUT_KINDS
};

enum lookout_tlsa {
	LOOKOUT_TLSA_SECURE,		/* signed records: the body has them, each behind its length (tls/tlsa.h) */
	LOOKOUT_TLSA_DENIED,		/* signed: there are none */
	LOOKOUT_TLSA_UNSIGNED,		/* the zone is not signed, so whatever it says does not count */
	LOOKOUT_TLSA_BOGUS,		/* signatures are missing or wrong; the body says why, in words */
	LOOKOUT_TLSA_FAILED,		/* no answer; the body says why */
	LOOKOUT_TLSA_EXPANDED,		/* as secure, of another host: before the records its name, behind its length like them */
	LOOKOUT_TLSA_RESULTS
};

enum lookout_sts_answer {
	LOOKOUT_STS_POLICY,		/* the body has it, as mta_sts_write writes it (tls/mta_sts.h) */
	LOOKOUT_STS_ABSENT,		/* the domain says of none, and none is known */
	LOOKOUT_STS_FAILED,		/* whether there is one can't be told; the body says why */
	LOOKOUT_STS_RESULTS
};

#endif
