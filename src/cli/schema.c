/* SPDX-License-Identifier: Apache-2.0 */
/* sallyport schema: what the proxies' tables say. */
#include "cli/cli.h"
#include "cli/commands.h"
#include "policy/schema.h"
#include "proxy/registry.h"

#include <stdio.h>

#define SCHEMA_OCTETS_MAX (16u << 20)

static int print(struct buffer *out, int err)
{
	if (err == 0 && (fwrite(out->data, 1, out->len, stdout) != out->len || fflush(stdout) != 0))
		err = -1;
	buffer_release(out);
	if (err < 0)
		fprintf(stderr, "sallyport schema: can't write\n");
	return err < 0 ? CLI_REFUSED : CLI_OK;
}

static int page(const char *name)
{
	struct buffer out = BUFFER_INIT(SCHEMA_OCTETS_MAX);

	for (const struct proxy_type *const *t = proxy_registry_all.types; *t != NULL; t++)
		if (strcmp((*t)->name, name) == 0)
			return print(&out, schema_write_page(*t, &out));
	fprintf(stderr, "sallyport schema: there is no proxy '%s'\n", name);
	return CLI_NO;
}

int cli_schema(int argc, char **argv)
{
	struct buffer out = BUFFER_INIT(SCHEMA_OCTETS_MAX);

	if (argc == 3 && strcmp(argv[1], "--markdown") == 0)
		return page(argv[2]);
	if (argc != 1) {
		fprintf(stderr, "usage: sallyport schema [--markdown PROXY]\n");
		return CLI_USAGE;
	}
	return print(&out, schema_write(&proxy_registry_all, &out));
}
