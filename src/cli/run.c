/* SPDX-License-Identifier: Apache-2.0 */
/* sallyport run POLICY: the firewall itself, in the foreground. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "base/addr.h"
#include "server/supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define USUAL_LOGSPEC "*.summary:4,*.accounting:4"
#define USUAL_VERBOSITY 3
#define USUAL_RELOAD_DRAIN_S 3600
#define USUAL_STOP_DRAIN_S 30
#define RESOLVERS_OCTETS 512u		/* of all name servers as text */
#define DNS_PORT 53

enum { OPT_INSTANCE = 256, OPT_WORKERS, OPT_NO_KERNEL, OPT_CONTROL, OPT_USER, OPT_READY_FD, OPT_VERBOSE, OPT_LOGSPEC,
       OPT_LOG_FORMAT, OPT_RELOAD_DRAIN, OPT_STOP_DRAIN, OPT_RESOLVER, OPT_TRUST_ANCHOR,
       OPT_DNS_FORWARDER };

static const struct option options[] = {
	{ "instance", required_argument, NULL, OPT_INSTANCE },
	{ "workers", required_argument, NULL, OPT_WORKERS },
	{ "no-kernel", no_argument, NULL, OPT_NO_KERNEL },
	{ "control", required_argument, NULL, OPT_CONTROL },
	{ "user", required_argument, NULL, OPT_USER },
	{ "ready-fd", required_argument, NULL, OPT_READY_FD },
	{ "verbose", required_argument, NULL, OPT_VERBOSE },
	{ "logspec", required_argument, NULL, OPT_LOGSPEC },
	{ "log-format", required_argument, NULL, OPT_LOG_FORMAT },
	{ "reload-drain", required_argument, NULL, OPT_RELOAD_DRAIN },
	{ "stop-drain", required_argument, NULL, OPT_STOP_DRAIN },
	{ "resolver", required_argument, NULL, OPT_RESOLVER },
	{ "trust-anchor", required_argument, NULL, OPT_TRUST_ANCHOR },
	{ "dns-forwarder", required_argument, NULL, OPT_DNS_FORWARDER },
	{ NULL, 0, NULL, 0 },
};

static int wrong(const char *option, const char *value, const char *right)
{
	fprintf(stderr, "sallyport run: --%s %s: %s\n", option, value, right);
	return CLI_USAGE;
}

static int number(const char *option, const char *value, long min, long max, long *out)
{
	char *end, right[64];

	errno = 0;
	*out = strtol(value, &end, 10);
	if (errno == 0 && *value != '\0' && *end == '\0' && *out >= min && *out <= max)
		return 0;
	snprintf(right, sizeof(right), "must be a number from %ld to %ld", min, max);
	return wrong(option, value, right);
}

/* One more name server, in the form in which the lookout gives them to its resolver. */
static int add_resolver(const char *value, char servers[RESOLVERS_OCTETS])
{
	struct endpoint at;
	char text[ENDPOINT_TEXT_MAX];
	size_t used = strlen(servers);

	if (endpoint_parse(slice_cstr(value), &at) != 0)
		return wrong("resolver", value, "must be an address, or ADDRESS:PORT");
	if (at.port == 0)
		at.port = DNS_PORT;
	endpoint_text(&at, text);
	if (used + 1 + strlen(text) >= RESOLVERS_OCTETS)
		return wrong("resolver", value, "is one too many");
	snprintf(servers + used, RESOLVERS_OCTETS - used, "%s%s", used > 0 ? "," : "", text);
	return 0;
}

/* Sets what an option says. 0 or CLI_USAGE. */
static int take_option(int which, const char *value, struct run_options *o, const char **instances, char resolvers[RESOLVERS_OCTETS])
{
	long n = 0;
	int status = 0;

	switch (which) {
	case OPT_INSTANCE:
		instances[o->n_instances++] = value;
		break;
	case OPT_WORKERS:
		status = number("workers", value, 1, WORKERS_MAX, &n);
		o->workers = (unsigned)n;
		break;
	case OPT_NO_KERNEL:
		o->no_kernel = true;
		break;
	case OPT_CONTROL:
		o->control = value;
		break;
	case OPT_USER:
		o->user = value;
		break;
	case OPT_READY_FD:
		status = number("ready-fd", value, 0, INT_MAX, &n);
		if (status == 0 && (n <= STDERR_FILENO || fcntl((int)n, F_GETFD) < 0))
			status = wrong("ready-fd", value, "must be an open descriptor of its own");
		o->ready_fd = (int)n;
		break;
	case OPT_VERBOSE:
		status = number("verbose", value, 0, 10, &n);
		o->verbosity = (int)n;
		break;
	case OPT_LOGSPEC:
		o->logspec = value;
		break;
	case OPT_LOG_FORMAT:
		if (strcmp(value, "json") == 0)
			o->log_format = LOG_FORMAT_JSON;
		else if (strcmp(value, "text") != 0)
			status = wrong("log-format", value, "must be text or json");
		break;
	case OPT_RELOAD_DRAIN:
		status = number("reload-drain", value, 0, DRAIN_MAX_S, &n);
		o->reload_drain_s = (unsigned)n;
		break;
	case OPT_STOP_DRAIN:
		status = number("stop-drain", value, 0, DRAIN_MAX_S, &n);
		o->stop_drain_s = (unsigned)n;
		break;
	case OPT_RESOLVER:
		status = add_resolver(value, resolvers);
		o->resolvers = resolvers;
		break;
	case OPT_TRUST_ANCHOR:
		o->trust_anchor = value;
		if (value[0] != '/')
			status = wrong("trust-anchor", value, "must be the whole name of a file");
		break;
	case OPT_DNS_FORWARDER:
		if (endpoint_parse(slice_cstr(value), &o->dns_forwarder) != 0)
			status = wrong("dns-forwarder", value, "must be an address, or an address and a port: 192.0.2.1:53");
		break;
	default:
		status = CLI_USAGE;
	}
	return status;
}

static unsigned usual_workers(void)
{
	cpu_set_t cpus;
	int n = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;

	return n < 1 ? 1 : n > (int)WORKERS_MAX ? WORKERS_MAX : (unsigned)n;
}

int cli_run(int argc, char **argv)
{
	struct run_options o = { .ready_fd = -1, .verbosity = USUAL_VERBOSITY, .logspec = USUAL_LOGSPEC,
				 .reload_drain_s = USUAL_RELOAD_DRAIN_S, .stop_drain_s = USUAL_STOP_DRAIN_S };
	const char **instances = calloc((size_t)argc + 1, sizeof(*instances));
	char *policy = NULL, resolvers[RESOLVERS_OCTETS] = "";
	int which, status = 0;

	if (instances == NULL)
		return CLI_REFUSED;
	o.instances = instances;
	o.workers = usual_workers();
	while (status == 0 && (which = getopt_long(argc, argv, "", options, NULL)) != -1)
		status = take_option(which, optarg, &o, instances, resolvers);
	if (status == 0 && optind != argc - 1) {
		fprintf(stderr, "usage: sallyport run POLICY [options]: exactly one POLICY is needed\n");
		status = CLI_USAGE;
	}
	if (status == 0) {
		policy = realpath(argv[optind], NULL);	/* problems name it like that, wherever we stand */
		if (policy == NULL) {
			fprintf(stderr, "%s: error: the policy cannot be read: %s\n", argv[optind], strerror(errno));
			status = CLI_NO;
		}
	}
	if (status == 0) {
		o.policy = policy;
		status = supervisor_run(&o);
	}
	free(policy);
	free(instances);
	return status;
}
