/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sallyport test: flows and the services that they must get, in a file that is kept beside the
 * policy. A line is
 *
 *     PROTO FROM[:PORT] -> TO[:PORT] [PROPERTY=VALUE]... => SERVICE
 *
 * or
 *
 *     name HOST [ADDRESS]...
 *
 * for the addresses of the host names in zones, all of which the file must have. "none" stands for
 * a flow that no rule may match; "#" starts a comment. All lines are read before the first is
 * tried: a file with a mistake in it tests nothing.
 */
#include "cli/commands.h"
#include "cli/flow.h"
#include "cli/load.h"
#include "cli/names.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define LINE_OCTETS_MAX 4096
#define CASES_MAX 1000000u
#define WHY_MAX 200
#define NO_SERVICE "none"

static const char usage[] = "usage: sallyport test POLICY TESTFILE [--instance NAME]... [--user USER] [--json]\n";

struct test_case {
	struct flow flow;
	char *expected;			/* name of a service, or NO_SERVICE */
	char *text;			/* the flow as written */
	size_t line;
};

struct test {
	struct cli_load load;
	const char *file;
	bool json;
	struct cli_names names;
	struct test_case *cases;
	size_t n_cases, room;
	size_t passed, failed;
};

static int wrong(char why[WHY_MAX], const char *what)
{
	snprintf(why, WHY_MAX, "%s", what);
	return -EINVAL;
}

static int take_property(struct flow *flow, char *word, char why[WHY_MAX])
{
	char *value = strchr(word, '=');

	if (value == NULL) {
		snprintf(why, WHY_MAX, "'%.60s' is no PROPERTY=VALUE", word);
		return -EINVAL;
	}
	*value++ = '\0';
	return flow_set(flow, word, value, why, WHY_MAX);
}

/* PROTO FROM -> TO [PROPERTY=VALUE]...; text is taken apart. */
static int parse_flow(char *text, struct flow *flow, char why[WHY_MAX])
{
	static const char *const properties[] = { "proto", "src", NULL, "dst" };
	char *rest = NULL, *word = strtok_r(text, " \t", &rest);
	int err = 0;

	flow_init(flow);
	for (size_t i = 0; err == 0 && i < ARRAY_LEN(properties); i++) {
		if (word == NULL)
			return wrong(why, "a flow is written as PROTO FROM -> TO");
		if (properties[i] != NULL)
			err = flow_set(flow, properties[i], word, why, WHY_MAX);
		else if (strcmp(word, "->") != 0)
			return wrong(why, "'->' is expected between the addresses");
		word = strtok_r(NULL, " \t", &rest);
	}
	for (; err == 0 && word != NULL; word = strtok_r(NULL, " \t", &rest))
		err = take_property(flow, word, why);
	return err == 0 ? flow_finish(flow, NULL, why, WHY_MAX) : err;
}

static char *trim(char *text)
{
	size_t n;

	text += strspn(text, " \t\r\n");
	for (n = strlen(text); n > 0 && strchr(" \t\r\n", text[n - 1]) != NULL; n--)
		text[n - 1] = '\0';
	return text;
}

static struct test_case *new_case(struct test *t)
{
	size_t room = t->room == 0 ? 64 : t->room * 2;
	struct test_case *more;

	if (t->n_cases < t->room)
		return &t->cases[t->n_cases];
	more = t->n_cases < CASES_MAX ? realloc(t->cases, room * sizeof(*more)) : NULL;
	if (more == NULL)
		return NULL;
	t->cases = more;
	t->room = room;
	return &t->cases[t->n_cases];
}

static int take_line(struct test *t, char *line, size_t number, char why[WHY_MAX])
{
	struct test_case *c;
	char *arrow, *expected;
	int err;

	line[strcspn(line, "#")] = '\0';
	line = trim(line);
	if (*line == '\0')
		return 0;
	if (strncmp(line, "name", 4) == 0 && (line[4] == ' ' || line[4] == '\t'))
		return cli_names_add(&t->names, line + 5, why);
	arrow = strstr(line, "=>");
	if (arrow == NULL)
		return wrong(why, "'=> SERVICE' is missing ('=> none': no rule may match)");
	*arrow = '\0';
	expected = trim(arrow + 2);
	if (*expected == '\0')
		return wrong(why, "which service is expected? ('none': no rule may match)");
	line = trim(line);
	c = new_case(t);
	if (c == NULL)
		return -ENOMEM;
	*c = (struct test_case){ .line = number, .text = strdup(line), .expected = strdup(expected) };
	t->n_cases++;
	if (c->text == NULL || c->expected == NULL)
		return -ENOMEM;
	err = parse_flow(line, &c->flow, why);
	return err;
}

/* All lines; every mistake is told. */
static int read_cases(struct test *t, FILE *in)
{
	int status = CLI_OK;
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	for (size_t number = 1; (n = getline(&line, &size, in)) >= 0; number++) {
		char why[WHY_MAX] = "the line is too long, or has a NUL";
		int err = n > LINE_OCTETS_MAX || strlen(line) != (size_t)n ? -EINVAL : take_line(t, line, number, why);

		if (err == -ENOMEM) {
			fprintf(stderr, "sallyport test: %s: too many lines\n", t->file);
			status = CLI_REFUSED;
			break;
		}
		if (err < 0) {
			fprintf(stderr, "%s:%zu: %s\n", t->file, number, why);
			status = CLI_USAGE;
		}
	}
	free(line);
	if (ferror(in)) {
		fprintf(stderr, "sallyport test: %s can't be read\n", t->file);
		return CLI_REFUSED;
	}
	return status;
}

/* A name that the policy does not have would fail for the wrong reason, or hide a typing error. */
static int check_names(const struct test *t)
{
	int status = CLI_OK;

	for (size_t i = 0; i < t->n_cases; i++) {
		const struct test_case *c = &t->cases[i];

		if (strcmp(c->expected, NO_SERVICE) == 0 ||
		    policy_service_named(t->load.built, slice_cstr(c->expected)) != NULL)
			continue;
		fprintf(stderr, "%s:%zu: the policy has no service '%s'\n", t->file, c->line, c->expected);
		status = CLI_USAGE;
	}
	return status;
}

/* Without an answer for each the outcome would depend on who asks, and when. */
static int check_hosts(const struct test *t)
{
	const struct policy *p = t->load.built;
	int status = CLI_OK;

	for (size_t i = 0; i < p->n_zones; i++)
		for (size_t k = 0; k < p->zones[i].n_hostnames; k++) {
			if (cli_names_has(&t->names, p->zones[i].hostnames[k]))
				continue;
			fprintf(stderr, "%s: the policy has the host %s in zone '%s': say its addresses in a line 'name %s ADDRESS...'\n",
				t->file, p->zones[i].hostnames[k], p->zones[i].name, p->zones[i].hostnames[k]);
			status = CLI_USAGE;
		}
	return status;
}

static void show_json(const struct test *t, const struct test_case *c, const struct decision *d, bool passed)
{
	json_t *json = json_pack("{s:s, s:I, s:s, s:s, s:s?, s:o, s:b}", "file", t->file, "line", (json_int_t)c->line,
				 "flow", c->text, "expected", c->expected, "service",
				 d->service != NULL ? d->service->name : NULL, "rule",
				 d->rule != NULL ? json_integer(d->rule->id) : json_null(), "passed", (int)passed);
	char *text = json == NULL ? NULL : json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII);

	printf("%s\n", text != NULL ? text : "{\"error\":\"not UTF-8\"}");
	free(text);
	json_decref(json);
}

static void show_failure(const struct test *t, const struct test_case *c, const struct decision *d)
{
	printf("%s:%zu: %s: expected %s, ", t->file, c->line, c->text, c->expected);
	if (d->rule == NULL)
		printf("no rule matches\n");
	else
		printf("got %s by rule %u (%s:%u)\n", d->service->name, d->rule->id,
		       d->rule->place.file != NULL ? d->rule->place.file : "?", d->rule->place.line);
}

static void try_case(struct test *t, const struct test_case *c)
{
	struct decision d;
	bool passed;

	policy_decide(t->load.built, t->names.zones, &c->flow, &d);
	passed = strcmp(c->expected, d.service != NULL ? d.service->name : NO_SERVICE) == 0;
	if (passed)
		t->passed++;
	else
		t->failed++;
	if (t->json)
		show_json(t, c, &d, passed);
	else if (!passed)
		show_failure(t, c, &d);
}

static int run(struct test *t)
{
	int status = cli_load_document(&t->load);

	if (status == CLI_OK)
		status = cli_load_build(&t->load);
	if (status == CLI_NO)
		cli_print_problems(&t->load, false, false);
	if (status == CLI_OK)
		status = check_names(t);
	if (status == CLI_OK && cli_names_finish(&t->names, t->load.built) != 0)
		status = CLI_REFUSED;
	if (status == CLI_OK)
		status = check_hosts(t);
	if (status != CLI_OK)
		return status;
	for (size_t i = 0; i < t->n_cases; i++)
		try_case(t, &t->cases[i]);
	if (!t->json)
		printf("%zu passed, %zu failed\n", t->passed, t->failed);
	if (fflush(stdout) != 0)
		return CLI_REFUSED;
	return t->failed == 0 ? CLI_OK : CLI_NO;
}

/* Read before the policy runs: afterwards this process is nobody special any more. */
static int read_file(struct test *t)
{
	FILE *in = strcmp(t->file, "-") == 0 ? stdin : fopen(t->file, "re");
	int status;

	if (in == NULL) {
		fprintf(stderr, "sallyport test: %s: %s\n", t->file, strerror(errno));
		return CLI_REFUSED;
	}
	status = read_cases(t, in);
	if (in != stdin)
		fclose(in);
	if (status == CLI_OK && t->n_cases == 0) {
		fprintf(stderr, "sallyport test: %s has no flow in it\n", t->file);
		return CLI_USAGE;
	}
	return status;
}

/* POLICY and TESTFILE, in this order among the options. */
static int take_options(struct test *t, int argc, char **argv, bool *help)
{
	static const struct option options[] = {
		CLI_LOAD_OPTIONS, { "json", no_argument, NULL, 'j' }, { NULL, 0, NULL, 0 },
	};
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h')
			*help = true;
		else if (option == 'j')
			t->json = true;
		else if (cli_load_option(&t->load, option) != CLI_OK)
			return CLI_USAGE;
	}
	if (*help)
		return CLI_OK;
	if (argc - optind != 2) {
		fputs("sallyport test: a policy and a file with flows are needed\n", stderr);
		return CLI_USAGE;
	}
	t->file = argv[argc - 1];
	return cli_load_arguments(&t->load, argc - 1, argv);
}

static void free_test(struct test *t)
{
	for (size_t i = 0; i < t->n_cases; i++) {
		free(t->cases[i].text);
		free(t->cases[i].expected);
	}
	free(t->cases);
	cli_names_free(&t->names);
	cli_load_free(&t->load);
	free(t);
}

int cli_test(int argc, char **argv)
{
	struct test *t = calloc(1, sizeof(*t));
	bool help = false;
	int status;

	if (t == NULL)
		return CLI_REFUSED;
	t->load.command = "test";
	status = take_options(t, argc, argv, &help);
	if (help)
		fputs(usage, stdout);
	else if (status == CLI_USAGE)
		fputs(usage, stderr);
	else
		status = read_file(t);
	if (!help && status == CLI_OK)
		status = run(t);
	free_test(t);
	return status;
}
