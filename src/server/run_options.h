/* SPDX-License-Identifier: Apache-2.0 */
/* What `sallyport run` was told. */
#ifndef SALLYPORT_SERVER_RUN_OPTIONS_H
#define SALLYPORT_SERVER_RUN_OPTIONS_H

#include "base/addr.h"
#include "base/log.h"

#define WORKERS_MAX 256u
#define DRAIN_MAX_S 86400		/* of a limit below */

struct run_options {
	const char *policy;		/* absolute path: a policy or a document */
	const char *const *instances;
	size_t n_instances;
	unsigned workers;		/* 1..WORKERS_MAX */
	bool no_kernel;
	const char *control;		/* path of the control socket; NULL = the usual one */
	const char *user;		/* NULL = the usual one */
	int ready_fd;			/* -1 = none */
	int verbosity;
	const char *logspec;
	enum log_format log_format;
	const char *resolvers;		/* name servers, as server/lookout/lookout_resolver.h takes them; NULL = the system's */
	const char *trust_anchor;	/* file with the keys of DNSSEC's root, or of another zone; NULL = Debian's */
	struct endpoint dns_forwarder;	/* the resolver to ask; family AF_UNSPEC = the zones' own servers */
	unsigned reload_drain_s, stop_drain_s;	/* how long sessions may go on: of a replaced generation; at the end */
};

#endif
