/* SPDX-License-Identifier: Apache-2.0 */
/* What check, compile and explain share: a POLICY from the command line to a compiled policy. */
#ifndef SALLYPORT_CLI_LOAD_H
#define SALLYPORT_CLI_LOAD_H

#include "cli/cli.h"
#include "policy/policy.h"

#include <getopt.h>

#define CLI_INSTANCES_MAX 256

struct cli_load {
	const char *command;			/* for messages: "check" */
	const char *policy;			/* as given */
	const char *instances[CLI_INSTANCES_MAX];
	size_t n_instances;
	const char *user;
	struct arena *arena;
	struct policy_problems problems;
	struct slice document;
	bool is_document;			/* POLICY is a document itself */
	int secrets;				/* of the policy, a sealed memory file; -1 = none */
	const struct policy *built;		/* after cli_load_build */
};

/* Rows for getopt_long; each command adds its own. */
#define CLI_LOAD_OPTIONS \
	{ "instance", required_argument, NULL, 'i' }, { "user", required_argument, NULL, 'u' }, \
	{ "help", no_argument, NULL, 'h' }

/* One of the options above. CLI_OK, or CLI_USAGE (told). */
int cli_load_option(struct cli_load *load, int option);

/* The arguments that are left: exactly one POLICY. CLI_OK, or CLI_USAGE (told). */
int cli_load_arguments(struct cli_load *load, int argc, char **argv);

/*
 * Run the policy program (or read the document). CLI_OK; CLI_NO: errors are in load->problems;
 * CLI_REFUSED: told. Afterwards the process is nobody special any more.
 */
int cli_load_document(struct cli_load *load);

/* Build the policy. As above. */
int cli_load_build(struct cli_load *load);

/* Load its keys and certificates, to find out what is wrong with them. As above. */
int cli_load_tls(struct cli_load *load);

/* FILE:LINE: error: MESSAGE, one a line, hints below; or one JSON object a line. */
void cli_print_problems(const struct cli_load *load, bool json, bool warnings);

void cli_load_free(struct cli_load *load);

#endif
