/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the lookout: what its services share. */
#ifndef SALLYPORT_SERVER_LOOKOUT_PRIV_H
#define SALLYPORT_SERVER_LOOKOUT_PRIV_H

#include "server/lookout/lookout.h"
#include "server/message.h"
#include "server/poller.h"
#include "session/lookout_talk.h"

struct lookout_peer {
	struct lookout *lookout;
	int fd;				/* -1: free */
	uint32_t generation, slot;	/* whose */
	uint32_t serial;		/* of the connection: answers to one before it are dropped */
	unsigned asked;			/* questions not yet answered */
};

struct lookout_names;
struct lookout_dns;			/* lookout_dns.c */
struct lookout_sts;			/* lookout_sts.c */
struct resolver;

struct lookout {
	const struct lookout_setup *setup;
	struct poller poller;
	struct message_room room;
	struct resolver *resolver;
	struct lookout_names *names;
	struct lookout_peer peers[LOOKOUT_PEERS_MAX];
	struct lookout_dns *dns;	/* NULL: nobody asked yet */
	struct lookout_sts *sts;	/* likewise */
	_Alignas(struct lookout_question) uint8_t packet[sizeof(struct lookout_question) + LOOKOUT_BODY_MAX + 1];
};

/* Who asked; a copy is all that a service keeps of a question until it answers. */
struct lookout_asked {
	uint32_t peer, serial, number;
};

/*
 * What answers one kind of question, now or later, exactly once. The body is the worker's, to be
 * checked as such, and only good during the call. Limits to what is under way are the service's own.
 */
typedef void (*lookout_service_fn)(struct lookout *l, const struct lookout_asked *who, struct slice body);

/* result and body as in lookout_talk.h; a body over LOOKOUT_BODY_MAX is answered with -EMSGSIZE.
 * Nothing happens when the worker is not there any more. */
void lookout_answer(struct lookout *l, const struct lookout_asked *who, int result, struct slice body);

/* lookout_names.c: host names that policies have in their zones. */
int lookout_names_create(struct lookout *l) MUST_CHECK;
void lookout_names_take(struct lookout *l, const struct message *m);	/* MSG_NAMES, MSG_SNAPSHOT */
void lookout_names_gone(struct lookout *l, uint32_t generation);

/* lookout_dns.c */
#define LOOKOUT_DNS_QUESTIONS_MAX 512u	/* at a time */
void lookout_dns_forget(struct lookout *l, uint32_t peer);	/* its connection is gone, and with it its questions */
void lookout_dns_tlsa(struct lookout *l, const struct lookout_asked *who, struct slice name);

/* lookout_sts.c: policies of mail domains, kept as long as they say; here the process's life. */
#define LOOKOUT_STS_QUESTIONS_MAX 512u	/* at a time */
#define LOOKOUT_STS_POLICIES_MAX 1024u	/* kept; over that the one that was not asked for the longest goes */
void lookout_sts_policy(struct lookout *l, const struct lookout_asked *who, struct slice body);
void lookout_sts_forget(struct lookout *l, uint32_t peer);	/* its questions; it is gone */

#endif
