/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host names with their addresses as text, where no firewall runs that could be asked: a line is
 *
 *     HOST [ADDRESS]...
 *
 * as `sallyport ctl names` prints it; "#" starts a comment.
 */
#ifndef SALLYPORT_CLI_NAMES_H
#define SALLYPORT_CLI_NAMES_H

#include "policy/names.h"

#include <stdio.h>

#define CLI_NAMES_WHY_MAX 200

struct cli_names {
	struct arena *arena;
	struct host_record *hosts;
	size_t n_hosts;
	struct zone_names *zones;		/* after cli_names_finish */
};

/* One line, without comment; it is taken apart. 0; -EINVAL with why; -ENOMEM. */
int cli_names_add(struct cli_names *n, char *line, char why[CLI_NAMES_WHY_MAX]) MUST_CHECK;

/* A whole file. CLI_OK, or another cli_status after telling what is wrong. */
int cli_names_read(struct cli_names *n, const char *command, const char *file) MUST_CHECK;

/* What follows for the zones of the policy; hosts that it does not have are no harm. 0; -ENOMEM. */
int cli_names_finish(struct cli_names *n, const struct policy *policy) MUST_CHECK;

/* Has it a line? */
bool cli_names_has(const struct cli_names *n, const char *host);

/* Says which host names of the policy's zones have no line. */
void cli_names_tell_missing(const struct cli_names *n, const struct policy *policy, const char *command);

void cli_names_free(struct cli_names *n);

#endif
