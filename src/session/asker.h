/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions of sessions to the lookout (server/lookout/lookout.h). It is asked for when the first question
 * comes, and again when the connection breaks: questions that were with it are asked once more of the next
 * one, until their deadline. What several ask at a time is asked once.
 */
#ifndef SALLYPORT_SESSION_ASKER_H
#define SALLYPORT_SESSION_ASKER_H

#include "base/attributes.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "session/lookout_talk.h"

#define ASKER_QUEUE_MAX 1024u		/* coroutines that wait for an answer */

struct asker;
struct loop;

/* want(arg) is called when a connection is needed; whoever has one gives it to asker_connect. NULL: no memory. */
struct asker *asker_create(struct loop *loop, void (*want)(void *arg), void *arg);
void asker_free(struct asker **ap);		/* nobody may be asking */

/* The connection (SOCK_SEQPACKET, non-blocking) from now on; taken over in any case. 0 or -errno. */
int asker_connect(struct asker *a, int fd) MUST_CHECK;

/*
 * Ask, and wait for the answer. WAITS. Its body is appended to answer, whose ceiling should be
 * LOOKOUT_BODY_MAX or more. Returns the result, >= 0 as the kind says, or what the lookout says went wrong;
 * -ETIMEDOUT; -ECANCELED; -EBUSY (too many ask); -EMSGSIZE; -ENOMEM.
 */
co_waits int asker_ask(struct asker *a, enum lookout_kind kind, struct slice question, deadline_t deadline,
		       struct buffer *answer) MUST_CHECK;

#endif
