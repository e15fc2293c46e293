/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files and directories of certificates, keys, CAs, CRLs and OCSP responses, looked at once a
 * second. By stat() and not by inotify: a certificate's name is often a symbolic link through
 * directories that are themselves replaced, and file systems of other machines report nothing.
 *
 * What looks different is read when it has held still from one look to the next, so that neither a half-written
 * file nor a new certificate whose key is on its way counts. What can't be used is told once, and
 * changes nothing.
 */
#ifndef SALLYPORT_SERVER_KEEPER_WATCH_H
#define SALLYPORT_SERVER_KEEPER_WATCH_H

#include "server/poller.h"
#include "tls/keeper_keys.h"

struct keeper_watch;

struct keeper_watch_setup {
	struct poller *poller;
	const struct policy *policy;
	struct keeper_keys *keys;
	bool again;			/* nothing is known of what is in use: all is read once */
	/* Answered by keeper_watch_settle. is_trust: a KEEPER_TRUST record, else others. */
	void (*offer)(void *arg, bool is_trust, const struct buffer *records);
	void (*tried)(void *arg, uint32_t certificate, bool used);	/* one that changed; told once */
	void *arg;
};

/* How everything looks now is what is in use, but for certificates, which are compared with the
 * policy's. 0; -ENOMEM. */
int keeper_watch_create(const struct keeper_watch_setup *setup, struct keeper_watch **out) MUST_CHECK;
void keeper_watch_start(struct keeper_watch *w);
/* What was offered last: why_not NULL: it is in use, and what it replaces signs until until_ms. Nothing is offered meanwhile. */
void keeper_watch_settle(struct keeper_watch *w, const char *why_not, int64_t until_ms);

#endif
