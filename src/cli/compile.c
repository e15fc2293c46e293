/* SPDX-License-Identifier: Apache-2.0 */
/* sallyport compile: the policy document on standard output, if it is one that can be built. */
#include "cli/commands.h"
#include "cli/load.h"

#include <stdio.h>

static const char usage[] = "usage: sallyport compile POLICY [--instance NAME]... [--user USER]\n";

static int write_document(const struct cli_load *load)
{
	struct slice d = load->document;

	if (fwrite(d.ptr, 1, d.len, stdout) == d.len && (d.ptr[d.len - 1] == '\n' || fputc('\n', stdout) != EOF) &&
	    fflush(stdout) == 0)
		return CLI_OK;
	fprintf(stderr, "sallyport compile: can't write the document\n");
	return CLI_REFUSED;
}

int cli_compile(int argc, char **argv)
{
	static const struct option options[] = { CLI_LOAD_OPTIONS, { NULL, 0, NULL, 0 } };
	struct cli_load load = { .command = "compile" };
	int option, status = CLI_OK;

	while (status == CLI_OK && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return CLI_OK;
		}
		status = cli_load_option(&load, option);
	}
	if (status == CLI_OK)
		status = cli_load_arguments(&load, argc, argv);
	if (status != CLI_OK) {
		fputs(usage, stderr);
		return status;
	}
	status = cli_load_document(&load);
	if (status == CLI_OK)
		status = cli_load_build(&load);
	if (status == CLI_NO)
		cli_print_problems(&load, false, false);
	if (status == CLI_OK)
		status = write_document(&load);
	cli_load_free(&load);
	return status;
}
