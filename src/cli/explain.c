/* SPDX-License-Identifier: Apache-2.0 */
/* sallyport explain: which rule a flow gets, and why; explain_show.c says it. */
#include "cli/commands.h"
#include "cli/explain_priv.h"
#include "cli/flow.h"
#include "cli/load.h"
#include "cli/names.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LINE_OCTETS_MAX 65536
#define PLAN_ARENA_MAX (512u << 20)

static const char usage[] =
	"usage: sallyport explain POLICY [--instance NAME]... [--user USER] [--no-kernel] [--names FILE] [--json]\n"
	"           --proto P --from ADDR[:PORT] --to ADDR[:PORT] [--iface I] [--ifgroup N] [--reqid N]\n"
	"           [--dst-iface I] [--dst-ifgroup N] [--icmp-type N] [--icmp-code N]\n"
	"       sallyport explain POLICY [--instance NAME]... [--user USER] [--no-kernel] [--names FILE] --flows FILE\n";

/* The option's name on the command line and the property's in JSON. */
static const struct { const char *option, *property; } flow_options[] = {
	{ "proto", "proto" }, { "from", "src" }, { "to", "dst" }, { "iface", "iface" }, { "ifgroup", "ifgroup" },
	{ "reqid", "reqid" }, { "dst-iface", "dst_iface" }, { "dst-ifgroup", "dst_ifgroup" },
	{ "icmp-type", "icmp_type" }, { "icmp-code", "icmp_code" },
};

#define FLOW_OPTION_BASE 1000

struct explain {
	struct cli_load load;
	struct explain_view view;
	struct explain_flow asked;
	bool has_flow, json;
	const char *flows;		/* NULL; "-" = standard input */
	const char *names_file;		/* likewise */
	struct cli_names names;
};

static int usage_error(const char *what)
{
	fprintf(stderr, "sallyport explain: %s\n%s", what, usage);
	return CLI_USAGE;
}

/* why begins with a property's name: here it is the option's. */
static int flow_error(const char *why)
{
	size_t n = strcspn(why, ":");
	char text[256];

	for (size_t i = 0; i < ARRAY_LEN(flow_options); i++) {
		if (!slice_is(slice_of(why, n), flow_options[i].property))
			continue;
		snprintf(text, sizeof(text), "--%s%s", flow_options[i].option, why + n);
		return usage_error(text);
	}
	return usage_error(why);
}

static int take_flow_option(struct explain *e, const char *property)
{
	char why[200];

	if (flow_set(&e->asked.flow, property, optarg, why, sizeof(why)) < 0)
		return flow_error(why);
	e->has_flow = true;
	return CLI_OK;
}

static int take_options(struct explain *e, int argc, char **argv, bool *help)
{
	struct option options[ARRAY_LEN(flow_options) + 8] = {
		CLI_LOAD_OPTIONS,
		{ "json", no_argument, NULL, 'j' },
		{ "flows", required_argument, NULL, 'f' },
		{ "names", required_argument, NULL, 'n' },
		{ "no-kernel", no_argument, NULL, 'k' },
	};
	int option;

	for (size_t i = 0; i < ARRAY_LEN(flow_options); i++)
		options[7 + i] = (struct option){ flow_options[i].option, required_argument, NULL,
						  FLOW_OPTION_BASE + (int)i };
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		int status = CLI_OK;

		if (option == 'h') {
			*help = true;
			return CLI_OK;
		}
		if (option == 'j')
			e->json = true;
		else if (option == 'k')
			e->view.no_kernel = true;
		else if (option == 'f')
			e->flows = optarg;
		else if (option == 'n')
			e->names_file = optarg;
		else if (option >= FLOW_OPTION_BASE)
			status = take_flow_option(e, flow_options[option - FLOW_OPTION_BASE].property);
		else if (cli_load_option(&e->load, option) != CLI_OK)
			status = usage_error("which option is that?");
		if (status != CLI_OK)
			return status;
	}
	return CLI_OK;
}

static int check_usage(struct explain *e, int argc, char **argv)
{
	char why[200];

	if (cli_load_arguments(&e->load, argc, argv) != CLI_OK) {
		fputs(usage, stderr);
		return CLI_USAGE;
	}
	if (e->flows != NULL && e->names_file != NULL && strcmp(e->flows, e->names_file) == 0)
		return usage_error("--flows and --names want a file each");
	if (e->flows != NULL && e->has_flow)
		return usage_error("either one flow by options, or --flows");
	if (e->flows != NULL)
		return CLI_OK;
	if (!e->has_flow)
		return usage_error("which flow?");
	if (e->asked.flow.src.ip.family == AF_UNSPEC || e->asked.flow.dst.ip.family == AF_UNSPEC)
		return usage_error("--from and --to are needed");
	return flow_finish(&e->asked.flow, &e->asked.local, why, sizeof(why)) < 0 ? flow_error(why) : CLI_OK;
}

static int answer_line(const struct explain *e, const char *text, size_t len, size_t number)
{
	json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	struct explain_flow asked;
	char why[200] = "not JSON";
	int err = json == NULL ? -EINVAL : flow_from_json(json, &asked.flow, why, sizeof(why));

	if (err == 0)
		err = flow_finish(&asked.flow, &asked.local, why, sizeof(why));
	if (err == 0) {
		explain_json(&e->view, &asked, stdout);
	} else {
		explain_json_error(why, stdout);
		fprintf(stderr, "sallyport explain: line %zu: %s\n", number, why);
	}
	json_decref(json);
	return err == 0 ? CLI_OK : CLI_USAGE;
}

/* One answer for each line, in order; a wrong line gets an answer that says so. */
static int answer_lines(const struct explain *e, FILE *in)
{
	int status = CLI_OK;
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	for (size_t number = 1; (n = getline(&line, &size, in)) >= 0; number++) {
		if (line[strspn(line, " \t\r\n")] == '\0')
			continue;
		if (n > LINE_OCTETS_MAX || answer_line(e, line, (size_t)n, number) != CLI_OK)
			status = CLI_USAGE;
	}
	free(line);
	if (ferror(in)) {
		fprintf(stderr, "sallyport explain: can't read the flows\n");
		return CLI_REFUSED;
	}
	return status;
}

static int make_view(struct explain *e, struct arena *arena)
{
	int err;

	e->view.policy = e->load.built;
	e->view.names = e->names.zones;
	err = explain_view_make(&e->view, arena);
	if (err < 0)
		fprintf(stderr, "sallyport explain: what would be loaded can't be found out: %s\n", strerror(-err));
	return err;
}

static int run(struct explain *e, struct arena *arena, FILE *in)
{
	int status = cli_load_document(&e->load);

	if (status == CLI_OK)
		status = cli_load_build(&e->load);
	if (status == CLI_NO)
		cli_print_problems(&e->load, false, false);
	if (status == CLI_OK && cli_names_finish(&e->names, e->load.built) != 0)
		status = CLI_REFUSED;
	if (status != CLI_OK)
		return status;
	cli_names_tell_missing(&e->names, e->load.built, "explain");
	if (make_view(e, arena) != 0)
		return CLI_REFUSED;
	if (in != NULL)
		status = answer_lines(e, in);
	else if (e->json)
		explain_json(&e->view, &e->asked, stdout);
	else
		explain_text(&e->view, &e->asked, stdout);
	return fflush(stdout) == 0 ? status : CLI_REFUSED;
}

/* Opened before the policy runs: afterwards this process is nobody special any more. */
static FILE *open_flows(const char *name)
{
	FILE *in = strcmp(name, "-") == 0 ? stdin : fopen(name, "re");

	if (in == NULL)
		fprintf(stderr, "sallyport explain: %s: %s\n", name, strerror(errno));
	return in;
}

static int explain(struct explain *e, int argc, char **argv)
{
	bool help = false;
	struct arena *arena;
	FILE *in = NULL;
	int status;

	flow_init(&e->asked.flow);
	status = take_options(e, argc, argv, &help);
	if (help) {
		fputs(usage, stdout);
		return CLI_OK;
	}
	if (status == CLI_OK)
		status = check_usage(e, argc, argv);
	if (status != CLI_OK)
		return status;
	/* Like the flows, before the policy runs. */
	if (e->names_file != NULL)
		status = cli_names_read(&e->names, "explain", e->names_file);
	if (status != CLI_OK)
		return status;
	if (e->flows != NULL && (in = open_flows(e->flows)) == NULL)
		return CLI_REFUSED;
	arena = arena_create(PLAN_ARENA_MAX, 0);
	status = arena == NULL ? CLI_REFUSED : run(e, arena, in);
	arena_free(&arena);
	if (in != NULL && in != stdin)
		fclose(in);
	cli_load_free(&e->load);
	return status;
}

int cli_explain(int argc, char **argv)
{
	struct explain *e = calloc(1, sizeof(*e));
	int status;

	if (e == NULL)
		return CLI_REFUSED;
	e->load.command = "explain";
	status = explain(e, argc, argv);
	cli_names_free(&e->names);
	free(e);
	return status;
}
