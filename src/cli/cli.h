/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line (docs/reference/command-line.md is its contract). Each command is one
 * function in a file of its own; argv[0] is the command's name. Exit status: */
#ifndef SALLYPORT_CLI_CLI_H
#define SALLYPORT_CLI_CLI_H

enum cli_status {
	CLI_OK = 0,
	CLI_NO = 1,		/* the answer is no: policy has errors, no such session */
	CLI_USAGE = 2,		/* wrong usage */
	CLI_REFUSED = 3,	/* the system refused: no permission, port in use, another supervisor */
};

struct cli_command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *usage;	/* one line, without the program's name */
	const char *does;	/* a few words */
};

#endif
