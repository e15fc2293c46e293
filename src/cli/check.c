/* SPDX-License-Identifier: Apache-2.0 */
/* sallyport check: every problem of a policy, silent when there is none. */
#include "cli/commands.h"
#include "cli/load.h"
#include "policy/doubts.h"

#include <stdio.h>

static const char usage[] =
	"usage: sallyport check POLICY [--instance NAME]... [--user USER] [--warnings] [--json]\n";

static int check(struct cli_load *load, bool json, bool warnings)
{
	int status = cli_load_document(load);

	if (status == CLI_OK)
		status = cli_load_build(load);
	if (status == CLI_OK) {
		policy_check_runnable(load->built, &load->problems);
		(void)cli_load_tls(load);
		if (warnings && policy_check_doubts(load->built, &load->problems) < 0) {
			fprintf(stderr, "sallyport check: out of memory\n");
			return CLI_REFUSED;
		}
		status = load->problems.n_errors > 0 ? CLI_NO : CLI_OK;
	}
	if (status == CLI_OK || status == CLI_NO)
		cli_print_problems(load, json, warnings);
	if (fflush(stdout) != 0)
		status = CLI_REFUSED;
	return status;
}

int cli_check(int argc, char **argv)
{
	static const struct option options[] = {
		CLI_LOAD_OPTIONS,
		{ "json", no_argument, NULL, 'j' },
		{ "warnings", no_argument, NULL, 'w' },
		{ NULL, 0, NULL, 0 },
	};
	struct cli_load load = { .command = "check" };
	bool json = false, warnings = false;
	int option, status = CLI_OK;

	while (status == CLI_OK && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return CLI_OK;
		}
		if (option == 'j')
			json = true;
		else if (option == 'w')
			warnings = true;
		else
			status = cli_load_option(&load, option);
	}
	if (status == CLI_OK)
		status = cli_load_arguments(&load, argc, argv);
	if (status != CLI_OK) {
		fputs(usage, stderr);
		return status;
	}
	status = check(&load, json, warnings);
	cli_load_free(&load);
	return status;
}
