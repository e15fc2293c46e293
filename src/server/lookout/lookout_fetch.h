/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file of a web server, by HTTPS from port 443, as RFC 8461, 3.3 wants it: the certificate is checked, no redirection
 * is followed, nothing is cached, only status 200 and text/plain count. By libcurl, which is used here alone, and loaded
 * when it is first needed: processes that carry traffic have no business with it and the many libraries behind it.
 */
#ifndef SALLYPORT_SERVER_LOOKOUT_FETCH_H
#define SALLYPORT_SERVER_LOOKOUT_FETCH_H

#include "base/addr.h"
#include "base/slice.h"
#include "server/poller.h"

#define FETCHES_MAX 32u			/* connections at a time; others wait for their turn */

struct fetcher;

/* Not needed any more when fetcher_get returns. */
struct fetch_request {
	const char *host;		/* its certificate must be of this name */
	const struct ip_addr *addrs;	/* where it is: no name is looked up */
	size_t n_addrs;
	const char *path;		/* "/index.txt" */
	const char *ca_directory;	/* the CAs that count, as `openssl rehash` names them */
	size_t octets_max;
	int64_t limit_ms;		/* for all of it, from its turn on: so many are fetched at a time (FETCHES_MAX) */
};

/* why NULL: body is the file; else why there is none, in words, some of them the server's. Both only good during the call. */
typedef void (*fetch_fn)(void *arg, const char *why, struct slice body);

int fetcher_create(struct poller *poller, struct fetcher **out) MUST_CHECK;	/* 0; -ELIBACC: no libcurl; -ENOMEM */
/* Calls once, from the poller or from within. */
void fetcher_get(struct fetcher *fetcher, const struct fetch_request *request, fetch_fn fn, void *arg);

#endif
