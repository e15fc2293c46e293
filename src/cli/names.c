/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/names.h"
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>

#define ARENA_MAX (64u << 20)
#define LINE_OCTETS_MAX 65536
#define BLANKS " \t\r\n"

static int wrong(char why[CLI_NAMES_WHY_MAX], const char *what, const char *word)
{
	snprintf(why, CLI_NAMES_WHY_MAX, "%s: '%.60s'", what, word);
	return -EINVAL;
}

static int prepare(struct cli_names *n)
{
	if (n->arena == NULL)
		n->arena = arena_create(ARENA_MAX, 0);
	if (n->arena != NULL && n->hosts == NULL)
		n->hosts = arena_array(n->arena, SNAPSHOT_HOSTS_MAX, sizeof(*n->hosts));
	return n->hosts != NULL ? 0 : -ENOMEM;
}

/* As the policy classes do it: lower case, and no dot at the end. */
static int take_host(struct cli_names *n, const char *word, char why[CLI_NAMES_WHY_MAX], struct slice *out)
{
	struct slice host = arena_copy(n->arena, slice_cstr(word));

	if (host.ptr == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < host.len; i++)
		((uint8_t *)(uintptr_t)host.ptr)[i] = ascii_lower(host.ptr[i]);
	if (host.len > 1 && host.ptr[host.len - 1] == '.')
		host.len--;
	if (!host_name_is_plain(host))
		return wrong(why, "this is no host name", word);
	for (size_t i = 0; i < n->n_hosts; i++)
		if (slice_equal(n->hosts[i].name, host))
			return wrong(why, "this host is there twice", word);
	*out = host;
	return 0;
}

static int take_addresses(struct cli_names *n, char **rest, char why[CLI_NAMES_WHY_MAX], struct host_record *h)
{
	struct ip_addr *addrs = arena_array(n->arena, HOST_ADDRESSES_MAX, sizeof(*addrs));

	if (addrs == NULL)
		return -ENOMEM;
	for (char *word; (word = strtok_r(NULL, BLANKS, rest)) != NULL; ) {
		if (h->n_addrs == HOST_ADDRESSES_MAX)
			return wrong(why, "these are too many addresses; one too many", word);
		if (ip_parse(slice_cstr(word), &addrs[h->n_addrs]) != 0)
			return wrong(why, "this is no address", word);
		h->n_addrs++;
	}
	h->addrs = addrs;
	return 0;
}

int cli_names_add(struct cli_names *n, char *line, char why[CLI_NAMES_WHY_MAX])
{
	struct host_record h = { .state = HOST_KNOWN };
	char *rest = NULL, *word;
	int err = prepare(n);

	if (err != 0)
		return err;
	word = strtok_r(line, BLANKS, &rest);
	if (word == NULL)
		return wrong(why, "a host name is missing", "");
	if (n->n_hosts == SNAPSHOT_HOSTS_MAX)
		return wrong(why, "there are too many hosts", word);
	err = take_host(n, word, why, &h.name);
	if (err == 0)
		err = take_addresses(n, &rest, why, &h);
	if (err == 0)
		n->hosts[n->n_hosts++] = h;
	return err;
}

static int read_lines(struct cli_names *n, const char *command, const char *file, FILE *in)
{
	int status = CLI_OK;
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	for (size_t number = 1; (len = getline(&line, &size, in)) >= 0; number++) {
		char why[CLI_NAMES_WHY_MAX] = "the line is too long, or has a NUL";
		int err = len > LINE_OCTETS_MAX || strlen(line) != (size_t)len ? -EINVAL : 0;

		if (err == 0)
			line[strcspn(line, "#")] = '\0';
		if (err == 0 && line[strspn(line, BLANKS)] != '\0')
			err = cli_names_add(n, line, why);
		if (err == -EINVAL) {
			fprintf(stderr, "%s:%zu: %s\n", file, number, why);
			status = CLI_USAGE;
		} else if (err != 0) {
			status = CLI_REFUSED;
			break;
		}
	}
	free(line);
	if (status == CLI_REFUSED || ferror(in)) {
		fprintf(stderr, "sallyport %s: %s can't be read\n", command, file);
		return CLI_REFUSED;
	}
	return status;
}

int cli_names_read(struct cli_names *n, const char *command, const char *file)
{
	FILE *in = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
	int status;

	if (in == NULL) {
		fprintf(stderr, "sallyport %s: %s: %s\n", command, file, strerror(errno));
		return CLI_REFUSED;
	}
	status = read_lines(n, command, file, in);
	if (in != stdin)
		fclose(in);
	return status;
}

static int by_name(const void *a, const void *b)
{
	const struct host_record *x = a, *y = b;
	int order = memcmp(x->name.ptr, y->name.ptr, x->name.len < y->name.len ? x->name.len : y->name.len);

	return order != 0 ? order : x->name.len < y->name.len ? -1 : x->name.len > y->name.len;
}

int cli_names_finish(struct cli_names *n, const struct policy *policy)
{
	struct names_snapshot snapshot;

	if (policy->n_hostnames == 0)
		return 0;
	if (n->n_hosts > 0)
		qsort(n->hosts, n->n_hosts, sizeof(*n->hosts), by_name);
	snapshot = (struct names_snapshot){ n->hosts, n->n_hosts };
	return zone_names_make(policy, &snapshot, NULL, &n->zones);
}

bool cli_names_has(const struct cli_names *n, const char *host)
{
	return names_find(&(struct names_snapshot){ n->hosts, n->n_hosts }, slice_cstr(host)) != NULL;
}

void cli_names_tell_missing(const struct cli_names *n, const struct policy *policy, const char *command)
{
	for (size_t i = 0; i < policy->n_zones; i++)
		for (size_t k = 0; k < policy->zones[i].n_hostnames; k++)
			if (!cli_names_has(n, policy->zones[i].hostnames[k]))
				fprintf(stderr, "sallyport %s: zone '%s': the addresses of %s are not known here: it counts as "
					"having none\n", command, policy->zones[i].name, policy->zones[i].hostnames[k]);
}

void cli_names_free(struct cli_names *n)
{
	zone_names_free(&n->zones);
	arena_free(&n->arena);
}
