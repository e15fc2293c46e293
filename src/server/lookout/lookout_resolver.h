/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses and texts of names from DNS, by c-ares, which is used here alone. A name is asked for as it stands: no search
 * list, no hosts file. CNAMEs are the recursive server's business; those in its answer are followed.
 */
#ifndef SALLYPORT_SERVER_LOOKOUT_RESOLVER_H
#define SALLYPORT_SERVER_LOOKOUT_RESOLVER_H

#include "base/addr.h"
#include "base/slice.h"
#include "server/poller.h"

#define RESOLVER_ADDRESSES_MAX 32u	/* of one answer; of more, the lowest */
#define RESOLVER_TEXTS_MAX 64u		/* TXT records of one answer */

struct resolver;

struct resolver_answer {
	int result;			/* 0: it has these addresses, or none; -errno: nothing was found out */
	const char *why;		/* in words, of a failure */
	const struct ip_addr *addrs;	/* ascending, of the family that was asked for, each once */
	size_t n_addrs;
	bool cut;			/* there were more, or some that can't be a host's */
	uint32_t ttl_s;			/* the least of what led to these; 0 with no addresses */
};

struct resolver_texts {
	int result;			/* 0: it has these records, or none; -errno: nothing was found out */
	const char *why;		/* as above */
	const struct slice *texts;	/* each record's strings put together */
	size_t n_texts;
};

/* Called once, from the poller or from within what asks. */
typedef void (*resolver_fn)(void *arg, const struct resolver_answer *answer);
typedef void (*resolver_texts_fn)(void *arg, const struct resolver_texts *answer);

/* servers: "ADDR:PORT,[ADDR]:PORT..."; NULL: what /etc/resolv.conf says, now and after it changed. 0; -EINVAL; -ENOMEM; -errno. */
int resolver_create(struct poller *poller, const char *servers, struct resolver **out) MUST_CHECK;
void resolver_ask(struct resolver *r, const char *name, int family, resolver_fn fn, void *arg);
void resolver_ask_texts(struct resolver *r, const char *name, resolver_texts_fn fn, void *arg);	/* TXT */

#endif
