/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The policy host as a leader keeps it: one zygote (python/sallyport/serve.py) that has loaded
 * the policy, and one server a worker slot, forked from it. Nothing here waits: the zygote is
 * talked to over a socket, a lost one is started again with growing pauses, and what workers
 * asked for meanwhile is done when it is there.
 *
 * A zygote that was started again has run the policy again. It is only used when it made the same
 * document: callback numbers mean something in that one document alone. What comes from files of
 * patterns and certificates, which change while a generation lives, may differ.
 */
#ifndef SALLYPORT_SERVER_LEADER_HOST_H
#define SALLYPORT_SERVER_LEADER_HOST_H

#include "server/poller.h"

#include <stddef.h>
#include <sys/types.h>

struct host;

struct host_process {
	pid_t pid;
	int control;		/* connection to the zygote, SOCK_SEQPACKET */
	int document;		/* pipe on which it writes its document; -1: it is known to be right */
};

struct host_setup {
	struct poller *poller;
	unsigned slots;
	unsigned conversations;		/* of a server, beside its control connection */
	const char *fingerprint;	/* of the document that is loaded */
	const char *fingerprint_without_files;	/* as the policy has it; may be NULL */
	/* Start the policy program again. 0 or -errno; must not wait for it. */
	int (*spawn)(void *arg, struct host_process *out);
	/* Connections of a new server, for the worker of that slot; fds[0] is the control connection.
	 * They stay the caller's, which closes them afterwards. */
	void (*connected)(void *arg, unsigned slot, const int *fds, size_t n_fds);
	void *arg;
};

/* process is taken over (pid 0: start one). NULL: errno. */
struct host *host_create(const struct host_setup *setup, const struct host_process *process);

/* A worker wants a server. kill: end the one that it has, which does not answer; else that one
 * ends by itself, and is killed if it takes too long. */
void host_want(struct host *h, unsigned slot, bool kill);

/* A child of this process ended. true: it was the zygote. */
bool host_child_ended(struct host *h, pid_t pid);

/* Ends the zygote, and with it all servers. */
void host_free(struct host **hp);

#endif
