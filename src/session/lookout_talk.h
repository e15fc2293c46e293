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
	LOOKOUT_KINDS
};

#endif
