/* SPDX-License-Identifier: Apache-2.0 */
/* sallyport ctl: asks the control socket, and says the answer for people or (--json) programs. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "kernel/host.h"
#include "server/control/control.h"
#include "server/supervisor/supervisor.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define STOP_WAIT_MS 45000	/* the supervisor's own limits are shorter */

struct ctl {
	const char *path;
	char usual_path[108];
	bool json, open;
	const char *words[5];
	int n_words;
	json_t *reply;
	int connection;		/* open until everything is said; -1 */
};

static const char usage_text[] =
	"usage: sallyport ctl [--control PATH] [--json] COMMAND\n"
	"  status                what runs, since when, with which policy\n"
	"  sessions              the running sessions\n"
	"  stats                 counters of all services\n"
	"  names                 host names of zones, with their addresses now\n"
	"  stop-session ID       end a session now\n"
	"  reload                load the policy again; the answer is its outcome\n"
	"  log [level N] [spec SPEC]   show or change what is logged\n"
	"  stop [--open]         finish the sessions and end; --open also removes the kernel rules,\n"
	"                        also those that a killed supervisor left\n";

static int usage(const char *why)
{
	fprintf(stderr, "sallyport ctl: %s\n%s", why, usage_text);
	return CLI_USAGE;
}

/* ---- asking ---- */

/* Send the request (taken over); 0, or the exit status after saying what is wrong. */
static int ask(struct ctl *c, json_t *request)
{
	char *text = json_dumps(request, JSON_COMPACT), *line = NULL;
	int err = text == NULL ? -ENOMEM : control_ask(c->path, text, &line, &c->connection);

	json_decref(request);
	free(text);
	if (err != 0 && c->open && (err == -ENOENT || err == -ECONNREFUSED))
		return CLI_REFUSED;	/* ctl_stop knows what to do without one */
	if (err != 0) {
		fprintf(stderr, "sallyport ctl: no supervisor answers at %s: %s\n", c->path, strerror(-err));
		if (err == -ENOENT || err == -ECONNREFUSED)
			fprintf(stderr, "Is it running? 'sallyport run POLICY' starts it; --control says where its socket is.\n");
		else if (err == -EACCES || err == -ECONNRESET)
			fprintf(stderr, "Only root and the user that started it may ask.\n");
		return CLI_REFUSED;
	}
	c->reply = json_loads(line, 0, NULL);
	if (c->json)
		printf("%s\n", line);
	free(line);
	if (json_is_true(json_object_get(c->reply, "ok")))
		return CLI_OK;
	if (!c->json) {
		const char *error = json_string_value(json_object_get(c->reply, "error"));

		fprintf(stderr, "sallyport ctl: %s\n", error != NULL ? error : "the answer is not understood");
	}
	err = (int)json_integer_value(json_object_get(c->reply, "exit"));
	return err >= CLI_NO && err <= CLI_REFUSED ? err : CLI_REFUSED;
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "-";
}

static long long number_of(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static const char *time_text(long long ms, char buf[32])
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm;

	if (ms == 0 || localtime_r(&t, &tm) == NULL || strftime(buf, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		return "-";
	return buf;
}

/* ---- commands ---- */

static void print_last_load(const json_t *status)
{
	const json_t *load = json_object_get(status, "last_load");
	char at[32];

	if (json_is_null(load) || load == NULL)
		return;
	if (json_is_true(json_object_get(load, "ok")))
		printf("last load: %s, fine\n", time_text(number_of(load, "at_ms"), at));
	else
		printf("last load: %s, FAILED, the policy stays as it was:\n%s\n",
		       time_text(number_of(load, "at_ms"), at), text_of(load, "error"));
}

static int ctl_status(struct ctl *c)
{
	int status = ask(c, json_pack("{s:s}", "command", "status"));
	const json_t *s = c->reply, *one;
	char at[32];
	size_t i;

	if (status != CLI_OK || c->json)
		return status;
	printf("sallyport %s, process %lld, since %s%s\n", text_of(s, "version"), number_of(s, "pid"),
	       time_text(number_of(s, "started_ms"), at), json_is_true(json_object_get(s, "stopping")) ? ", stopping" : "");
	printf("policy:    %s\n", text_of(s, "policy"));
	print_last_load(s);
	printf("kernel:    rules %s, forged sources %s\n", json_is_true(json_object_get(s, "kernel_rules")) ? "on" : "off",
	       json_is_true(json_object_get(s, "forging")) ? "on" : "off");
	printf("log:       level %lld, spec '%s'\n", number_of(s, "verbose_level"), text_of(s, "logspec"));
	printf("sessions:  %lld\n", number_of(s, "sessions"));
	printf("workers:   %lld, started again %lld times\n", number_of(s, "workers"), number_of(s, "worker_restarts"));
	json_array_foreach(json_object_get(s, "generations"), i, one)
		printf("generation %lld: %s, leader %lld, %lld services, %lld rules, loaded %s, fingerprint %.16s\n",
		       number_of(one, "generation"), text_of(one, "state"), number_of(one, "leader_pid"),
		       number_of(one, "services"), number_of(one, "rules"), time_text(number_of(one, "loaded_ms"), at),
		       text_of(one, "fingerprint"));
	json_array_foreach(json_object_get(s, "worker_processes"), i, one)
		printf("worker %lld.%lld: process %lld, %lld sessions (most %lld), %lld connections, %lld refused\n",
		       number_of(one, "generation"), number_of(one, "slot"), number_of(one, "pid"),
		       number_of(one, "sessions"), number_of(one, "sessions_max"), number_of(one, "accepted"),
		       number_of(one, "refused"));
	return CLI_OK;
}

static int ctl_sessions(struct ctl *c)
{
	int status = ask(c, json_pack("{s:s}", "command", "sessions"));
	const json_t *one;
	long long now = (long long)time(NULL);
	size_t i;

	if (status != CLI_OK || c->json)
		return status;
	json_array_foreach(json_object_get(c->reply, "sessions"), i, one) {
		printf("%s  %s", text_of(one, "id"), text_of(one, "client_address"));
		if (strcmp(text_of(one, "peer_address"), text_of(one, "client_address")) != 0)
			printf(" (by %s, %s)", text_of(one, "peer_address"), text_of(one, "client_from"));
		printf(" -> %s  rule %lld, %lld s, %lld octets in, %lld out, %s\n", text_of(one, "server_address"),
		       number_of(one, "rule"), now - number_of(one, "started_ms") / 1000,
		       number_of(one, "octets_from_client"), number_of(one, "octets_to_client"), text_of(one, "doing"));
	}
	return CLI_OK;
}

static void print_certificates(const json_t *all)
{
	static const char *const keys[] = { "not_before", "not_after", "since_ms", "replaced", "refused" };
	const json_t *one;
	size_t i;

	json_array_foreach(all, i, one)
		for (size_t j = 0; j < sizeof(keys) / sizeof(keys[0]); j++)
			printf("certificate.%zu.%s.%s: %lld\n", i, text_of(one, "file"), keys[j], number_of(one, keys[j]));
}

static int ctl_stats(struct ctl *c)
{
	int status = ask(c, json_pack("{s:s}", "command", "stats"));
	static const char *const counters[] = { "accepted", "refused", "sessions_running", "log_lines_dropped",
						"servers_idle", "servers_kept", "servers_reused" };
	json_t *row, *value;
	const char *name, *key;

	if (status != CLI_OK || c->json)
		return status;
	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
		printf("stats.%s: %lld\n", counters[i], number_of(c->reply, counters[i]));
	json_object_foreach(json_object_get(c->reply, "services"), name, row) {
		json_object_foreach(row, key, value)
			if (json_is_integer(value))
				printf("service.%s.%s: %lld\n", name, key, (long long)json_integer_value(value));
		json_object_foreach(json_object_get(row, "counters"), key, value)
			printf("service.%s.counters.%s: %lld\n", name, key, (long long)json_integer_value(value));
	}
	print_certificates(json_object_get(c->reply, "certificates"));
	return CLI_OK;
}

/* As `explain --names` and the others take it. */
static int ctl_names(struct ctl *c)
{
	int status = ask(c, json_pack("{s:s}", "command", "names"));
	const json_t *one, *address;
	char at[32];
	size_t i, k;

	if (status != CLI_OK || c->json)
		return status;
	json_array_foreach(json_object_get(c->reply, "names"), i, one) {
		printf("%s", text_of(one, "host"));
		json_array_foreach(json_object_get(one, "addresses"), k, address)
			printf(" %s", json_string_value(address));
		printf("  # %s since %s\n", text_of(one, "state"), time_text(number_of(one, "since_ms"), at));
	}
	return CLI_OK;
}

static int ctl_stop_session(struct ctl *c)
{
	if (c->n_words != 2)
		return usage("stop-session needs one ID, as 'sessions' shows it");
	return ask(c, json_pack("{s:s,s:s}", "command", "stop-session", "id", c->words[1]));
}

static int ctl_reload(struct ctl *c)
{
	int status = ask(c, json_pack("{s:s}", "command", "reload"));

	if (status == CLI_OK && !c->json)
		printf("policy loaded\n");
	return status;
}

static int ctl_log(struct ctl *c)
{
	json_t *request = json_pack("{s:s}", "command", "log");
	bool change = c->n_words > 1;
	int status;

	for (int i = 1; i < c->n_words; i += 2) {
		const char *value = i + 1 < c->n_words ? c->words[i + 1] : NULL;
		char *end;

		if (value != NULL && strcmp(c->words[i], "spec") == 0) {
			json_object_set_new(request, "spec", json_string(value));
		} else if (value != NULL && strcmp(c->words[i], "level") == 0) {
			json_object_set_new(request, "level", json_integer(strtol(value, &end, 10)));
			if (*value == '\0' || *end != '\0') {
				json_decref(request);
				return usage("a level is a number from 0 to 10");
			}
		} else {
			json_decref(request);
			return usage("log: say 'level N' or 'spec SPEC', or nothing to see both");
		}
	}
	status = ask(c, request);
	if (status == CLI_OK && !c->json && !change)
		printf("verbose_level=%lld, logspec='%s'\n", number_of(c->reply, "verbose_level"), text_of(c->reply, "logspec"));
	return status;
}

/* Nobody runs: then what one left in the kernel is ours to remove. */
static int open_kernel(void)
{
	char why[512] = "";
	int err = kernel_clear(why, sizeof(why));

	if (err == 0) {
		fprintf(stderr, "sallyport ctl: no supervisor runs; its kernel rules and routes are removed, if there were any\n");
		return CLI_OK;
	}
	fprintf(stderr, "sallyport ctl: the kernel rules cannot be removed: %s\n", why[0] != '\0' ? why : strerror(-err));
	return CLI_REFUSED;
}

static int ctl_stop(struct ctl *c)
{
	struct pollfd end;
	json_t *request = json_pack("{s:s,s:b}", "command", "stop", "open", c->open);
	char octet;
	int status;

	status = ask(c, request);
	if (status == CLI_REFUSED && c->open && c->connection < 0)
		return open_kernel();
	/* The supervisor's end is the end of our connection: then nothing of it is left. */
	end = (struct pollfd){ .fd = c->connection, .events = POLLIN };
	if (status == CLI_OK && (poll(&end, 1, STOP_WAIT_MS) != 1 || recv(c->connection, &octet, 1, MSG_DONTWAIT) != 0)) {
		fprintf(stderr, "sallyport ctl: it is stopping, but has not ended yet\n");
		return CLI_NO;
	}
	return status;
}

static const struct {
	const char *name;
	int (*run)(struct ctl *c);
	int max_words;
} commands[] = {
	{ "status", ctl_status, 1 },
	{ "sessions", ctl_sessions, 1 },
	{ "stats", ctl_stats, 1 },
	{ "names", ctl_names, 1 },
	{ "stop-session", ctl_stop_session, 2 },
	{ "reload", ctl_reload, 1 },
	{ "log", ctl_log, 5 },
	{ "stop", ctl_stop, 1 },
};

static int take_arguments(struct ctl *c, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0)
			c->json = true;
		else if (strcmp(argv[i], "--open") == 0)
			c->open = true;
		else if (strncmp(argv[i], "--control=", 10) == 0)
			c->path = argv[i] + 10;
		else if (strcmp(argv[i], "--control") == 0 && i + 1 < argc)
			c->path = argv[++i];
		else if (strncmp(argv[i], "--", 2) == 0)
			return usage("unknown option, or one without its value");
		else if (c->n_words < (int)(sizeof(c->words) / sizeof(c->words[0])))
			c->words[c->n_words++] = argv[i];
		else
			return usage("too many arguments");
	}
	if (c->n_words == 0)
		return usage("a command is needed");
	if (c->open && strcmp(c->words[0], "stop") != 0)
		return usage("--open belongs to stop");
	if (c->path != NULL)
		return 0;
	if (control_path_usual(c->usual_path, sizeof(c->usual_path)) != 0)
		return usage("there is no usual place for the control socket here: say --control PATH");
	c->path = c->usual_path;
	return 0;
}

int cli_ctl(int argc, char **argv)
{
	struct ctl c = { .connection = -1 };
	int status = take_arguments(&c, argc, argv);

	for (size_t i = 0; status == 0 && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(c.words[0], commands[i].name) != 0)
			continue;
		status = c.n_words > commands[i].max_words ? usage("too many arguments") : commands[i].run(&c);
		json_decref(c.reply);
		if (c.connection >= 0)
			close(c.connection);
		return status;
	}
	if (status == 0)
		status = usage("there is no such command");
	return status;
}
