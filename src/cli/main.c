/* SPDX-License-Identifier: Apache-2.0 */
/* The program's entry: finds the command's row and runs it. */
#include "cli/cli.h"
#include "cli/commands.h"

#include <stdio.h>
#include <string.h>

static const struct cli_command commands[] = {
	{ "check", cli_check, "check POLICY [--instance NAME]... [--warnings] [--json]",
	  "every problem of a policy, with its place" },
	{ "compile", cli_compile, "compile POLICY [--instance NAME]...", "the policy document" },
	{ "explain", cli_explain, "explain POLICY --proto P --from ADDR[:PORT] --to ADDR[:PORT] ... | --flows FILE",
	  "which rule a connection gets, and why" },
	{ "test", cli_test, "test POLICY TESTFILE [--instance NAME]... [--json]", "flows, and the services that they must get" },
	{ "kernel", cli_kernel, "kernel POLICY [--instance NAME]...", "the rule set that run loads, without loading it" },
	{ "run", cli_run,
	  "run POLICY [--instance NAME]... [--workers N] [--no-kernel] [--control PATH] [--user U] [--ready-fd N] "
	  "[--verbose N] [--logspec S] [--log-format text|json] [--reload-drain S] [--stop-drain S]"
	  " [--trust-anchor FILE] [--dns-forwarder ADDRESS[:PORT]]",
	  "runs the firewall in the foreground" },
	{ "ctl", cli_ctl,
	  "ctl [--control PATH] [--json] status | sessions | stats | stop-session ID | reload | log ... | stop [--open]",
	  "asks and steers a running one" },
	{ "schema", cli_schema, "schema [--markdown PROXY]", "what the proxies' tables say, as JSON" },
	{ NULL, NULL, NULL, NULL },
};

static void print_usage(FILE *out)
{
	fprintf(out, "usage: sallyport COMMAND ...\n\n");
	for (const struct cli_command *c = commands; c->name != NULL; c++)
		fprintf(out, "  %s\n      %s\n", c->usage, c->does);
}

int main(int argc, char **argv)
{
	if (argc >= 2 && strcmp(argv[1], "--version") == 0) {
		printf("sallyport %s\n", SALLYPORT_VERSION);
		return CLI_OK;
	}
	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
		print_usage(stdout);
		return CLI_OK;
	}
	for (const struct cli_command *c = commands; argc >= 2 && c->name != NULL; c++)
		if (strcmp(argv[1], c->name) == 0)
			return c->run(argc - 1, argv + 1);
	if (argc >= 2)
		fprintf(stderr, "sallyport: there is no command '%s'\n", argv[1]);
	print_usage(stderr);
	return CLI_USAGE;
}
