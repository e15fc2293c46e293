/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sallyport kernel: the rule set that run would load, on standard output, as nft -f takes it.
 * The listeners' ports are chosen when run starts; here stand KERNEL_PORT4 and KERNEL_PORT6.
 * As root it also says on standard error which settings of this host would break it.
 */
#include "cli/commands.h"
#include "cli/load.h"
#include "cli/names.h"
#include "kernel/host.h"
#include "kernel/plan.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define RULES_MAX (256u << 20)

static const char usage[] = "usage: sallyport kernel POLICY [--instance NAME]... [--user USER] [--names FILE]\n";

static void print_problems(const struct policy_problems *problems)
{
	for (const struct policy_problem *p = problems->first; p != NULL; p = p->next)
		fprintf(stderr, "sallyport kernel: %s: %s\n    %s\n", p->severity == PROBLEM_ERROR ? "error" : "warning",
			p->message, p->hint);
}

/* Before the policy is read: afterwards the process is nobody special any more. */
static void report_host(struct arena *arena)
{
	struct policy_problems problems;

	if (geteuid() != 0)
		return;
	problems_init(&problems, arena);
	kernel_check_host(&problems);
	print_problems(&problems);
}

static void warn_of_forwarding(const struct kernel_plan *plan, struct arena *arena)
{
	struct policy_problems problems;

	problems_init(&problems, arena);
	kernel_check_forwarding(plan, &problems);
	print_problems(&problems);
}

static int print_rules(const struct policy *policy, const struct zone_names *names, struct arena *arena)
{
	struct buffer rules = BUFFER_INIT(RULES_MAX);
	struct kernel_plan plan;
	int err = kernel_plan_make(policy, names, arena, &plan), status = CLI_OK;

	if (err == -E2BIG) {
		fprintf(stderr, "sallyport kernel: error: " KERNEL_EXCESS_FORMAT "\n    %s\n", plan.excess.max, plan.excess.what,
			plan.excess.remedy);
		return CLI_NO;
	}
	if (err == 0)
		err = kernel_plan_check(&plan);
	if (err == 0) {
		kernel_plan_render(&plan, KERNEL_PORT4, KERNEL_PORT6, &rules);
		err = rules.broken ? -ENOMEM : 0;
	}
	if (err < 0) {
		fprintf(stderr, "sallyport kernel: making the rules: %s\n", strerror(-err));
		status = CLI_REFUSED;
	} else if (fwrite(rules.data, 1, rules.len, stdout) != rules.len || fflush(stdout) != 0) {
		fprintf(stderr, "sallyport kernel: can't write the rules\n");
		status = CLI_REFUSED;
	} else if (plan.widened) {
		fprintf(stderr, "sallyport kernel: warning: there are so many different rules that some conditions are wider; "
			"what no rule matches may be refused by the proxy, or dropped, also where it is for this host itself\n");
	}
	if (status == CLI_OK)
		warn_of_forwarding(&plan, arena);
	buffer_release(&rules);
	return status;
}

int cli_kernel(int argc, char **argv)
{
	static const struct option options[] = { CLI_LOAD_OPTIONS, { "names", required_argument, NULL, 'n' }, { NULL, 0, NULL, 0 } };
	struct cli_load load = { .command = "kernel" };
	struct cli_names names = { .arena = NULL };
	const char *names_file = NULL;
	struct arena *arena;
	int option, status = CLI_OK;

	while (status == CLI_OK && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(usage, stdout);
			return CLI_OK;
		}
		if (option == 'n')
			names_file = optarg;
		else
			status = cli_load_option(&load, option);
	}
	if (status == CLI_OK)
		status = cli_load_arguments(&load, argc, argv);
	if (status != CLI_OK) {
		fputs(usage, stderr);
		return status;
	}
	arena = arena_create(RULES_MAX, 0);
	if (arena == NULL)
		return CLI_REFUSED;
	report_host(arena);
	if (names_file != NULL)
		status = cli_names_read(&names, "kernel", names_file);
	if (status == CLI_OK)
		status = cli_load_document(&load);
	if (status == CLI_OK)
		status = cli_load_build(&load);
	if (status == CLI_NO)
		cli_print_problems(&load, false, false);
	if (status == CLI_OK && cli_names_finish(&names, load.built) != 0)
		status = CLI_REFUSED;
	if (status == CLI_OK) {
		cli_names_tell_missing(&names, load.built, "kernel");
		status = print_rules(load.built, names.zones, arena);
	}
	cli_names_free(&names);
	cli_load_free(&load);
	arena_free(&arena);
	return status;
}
