/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/load.h"
#include "proxy/registry.h"
#include "server/policy_program.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ARENA_MAX ((size_t)4 << 30)

int cli_load_option(struct cli_load *load, int option)
{
	switch (option) {
	case 'i':
		if (load->n_instances == CLI_INSTANCES_MAX) {
			fprintf(stderr, "sallyport %s: more than %d instances\n", load->command, CLI_INSTANCES_MAX);
			return CLI_USAGE;
		}
		load->instances[load->n_instances++] = optarg;
		return CLI_OK;
	case 'u':
		load->user = optarg;
		return CLI_OK;
	default:
		return CLI_USAGE;	/* getopt_long has said what is wrong */
	}
}

int cli_load_arguments(struct cli_load *load, int argc, char **argv)
{
	if (argc - optind != 1) {
		fprintf(stderr, "sallyport %s: %s\n", load->command,
			argc == optind ? "which policy?" : "one policy at a time");
		return CLI_USAGE;
	}
	load->policy = argv[optind];
	return CLI_OK;
}

/* Nothing is left to do as root: what is read from here on was written by policy code. */
static int become_nobody_special(const struct cli_load *load)
{
	struct unprivileged user;
	int err = privileges_user(load->user, &user);

	if (err == 0)
		err = privileges_drop(&user, 0, 0);
	if (err == 0)
		return CLI_OK;
	fprintf(stderr, "sallyport %s: can't become an unprivileged user: %s\n", load->command, strerror(-err));
	return CLI_REFUSED;
}

int cli_load_document(struct cli_load *load)
{
	const struct policy_program_options options = {
		.policy = load->policy, .instances = load->instances, .n_instances = load->n_instances,
		.user = load->user, .registry = &proxy_registry_all,
	};
	struct policy_program_output output = { .secrets = -1 };
	char why[1024] = "";
	int err;

	load->secrets = -1;
	load->arena = arena_create(ARENA_MAX, 0);
	if (load->arena == NULL) {
		fprintf(stderr, "sallyport %s: %s\n", load->command, strerror(ENOMEM));
		return CLI_REFUSED;
	}
	problems_init(&load->problems, load->arena);
	err = policy_program_compile(&options, load->arena, &load->problems, &output, why, sizeof(why));
	load->secrets = output.secrets;
	if (err < 0 && load->problems.n_errors == 0) {
		fprintf(stderr, "sallyport %s: %s\n", load->command, why);
		return CLI_REFUSED;
	}
	if (become_nobody_special(load) != CLI_OK)
		return CLI_REFUSED;
	load->document = output.document;
	load->is_document = output.is_document;
	return err < 0 ? CLI_NO : CLI_OK;
}

/* A document has its instances chosen already: naming others can only be a mistake. */
static int check_instances(struct cli_load *load)
{
	bool same = load->n_instances == load->built->n_instances;

	if (!load->is_document || load->n_instances == 0)
		return CLI_OK;
	for (size_t i = 0; i < load->n_instances && same; i++) {
		size_t j = 0;

		while (j < load->built->n_instances && strcmp(load->instances[i], load->built->instances[j]) != 0)
			j++;
		same = j < load->built->n_instances;
	}
	if (same)
		return CLI_OK;
	fprintf(stderr, "sallyport %s: %s: the instances of a document were chosen when it was compiled\n",
		load->command, load->policy);
	return CLI_USAGE;
}

int cli_load_build(struct cli_load *load)
{
	int err = policy_build(load->document, &proxy_registry_all, load->arena, &load->problems, &load->built);

	if (err == -ENOMEM) {
		fprintf(stderr, "sallyport %s: %s: %s\n", load->command, load->policy, strerror(ENOMEM));
		return CLI_REFUSED;
	}
	return err < 0 ? CLI_NO : check_instances(load);
}

static const char *severity_name(const struct policy_problem *p)
{
	return p->severity == PROBLEM_ERROR ? "error" : "warning";
}

static void print_json(const struct policy_problem *p, const char *file)
{
	json_t *o = json_pack("{s:s, s:I, s:s, s:s, s:s?}", "file", file, "line", (json_int_t)p->place.line, "severity",
			      severity_name(p), "message", p->message, "hint", p->hint);
	char *text = o == NULL ? NULL : json_dumps(o, JSON_ENSURE_ASCII);

	/* What is not UTF-8 can't be JSON; it must not make an error invisible. */
	printf("%s\n", text != NULL ? text : "{\"severity\": \"error\", \"message\": \"a problem that is not UTF-8\"}");
	free(text);
	json_decref(o);
}

static void print_text(const struct policy_problem *p, const char *file)
{
	if (p->place.line > 0)
		fprintf(stderr, "%s:%u: %s: %s\n", file, p->place.line, severity_name(p), p->message);
	else
		fprintf(stderr, "%s: %s: %s\n", file, severity_name(p), p->message);
	if (p->hint != NULL)
		fprintf(stderr, "    %s\n", p->hint);
}

void cli_print_problems(const struct cli_load *load, bool json, bool warnings)
{
	unsigned shown = 0, wanted = load->problems.n_errors + (warnings ? load->problems.n_warnings : 0);

	for (const struct policy_problem *p = load->problems.first; p != NULL; p = p->next) {
		const char *file = p->place.file != NULL ? p->place.file : load->policy;

		if (p->severity == PROBLEM_WARNING && !warnings)
			continue;
		shown++;
		if (json)
			print_json(p, file);
		else
			print_text(p, file);
	}
	if (shown < wanted)
		fprintf(stderr, "sallyport %s: %u more problems are not shown\n", load->command, wanted - shown);
}

void cli_load_free(struct cli_load *load)
{
	if (load->arena != NULL && load->secrets >= 0)
		close(load->secrets);
	arena_free(&load->arena);
}
