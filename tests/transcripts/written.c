/* SPDX-License-Identifier: Apache-2.0 */
/* What a session leaves in writing: lines of the log, accounting records, counters. */
#include "run.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *read_log(struct run *r)
{
	off_t size = lseek(r->log_fd, 0, SEEK_END);
	char *text = calloc(1, (size_t)size + 1);

	if (text != NULL && pread(r->log_fd, text, (size_t)size, 0) < 0)
		text[0] = '\0';
	return text;
}

void check_log(struct run *r, const char *want, bool must)
{
	char *text = read_log(r);
	bool found = strstr(text, want) != NULL;

	if (found != must) {
		fail(r, must ? "no line of the log has '%s'" : "a line of the log has '%s'", want);
		for (char *line, *rest = text; (line = strsep(&rest, "\n")) != NULL;)
			printf("#   %s\n", line);
	}
	free(text);
}

/* The next accounting line. */
void check_record(struct run *r, const char *want)
{
	char *text = read_log(r), *rest = text, *line;
	size_t skip = r->records_seen;
	bool found = false;

	while ((line = strsep(&rest, "\n")) != NULL) {
		if (strstr(line, " smtp.accounting(") == NULL || skip-- > 0)
			continue;
		found = strstr(line, want) != NULL;
		if (!found)
			fail(r, "the record is '%s'", line);
		break;
	}
	if (line == NULL)
		fail(r, "there is no further record");
	r->records_seen++;
	free(text);
}

/* How many messages have a smtp.record by now. */
void check_messages(struct run *r, const char *want)
{
	char *text = read_log(r);
	long n = 0;

	for (char *line, *rest = text; (line = strsep(&rest, "\n")) != NULL;)
		n += strstr(line, " smtp.record(") != NULL;
	if (n != strtol(want, NULL, 10))
		fail(r, "%ld messages have a record", n);
	free(text);
}

/* What was counted by now: "NAME=N NAME=N ...". */
void check_counts(struct run *r, char *words)
{
	const struct proxy_type *type = r->h.policy->services[0].proxy->type;
	const struct counter *c;
	char *word;

	settle(r);
	while ((word = strsep(&words, " ")) != NULL) {
		size_t n = strcspn(word, "="), i = 0;

		while ((c = counter_of(type, i)) != NULL && (strlen(c->name) != n || memcmp(c->name, word, n) != 0))
			i++;
		if (c == NULL || word[n] != '=')
			fail(r, "count NAME=N ...: '%s'", word);
		else if (r->h.counters[i] != strtoull(word + n + 1, NULL, 10))
			fail(r, "%s is %llu", c->name, (unsigned long long)r->h.counters[i]);
	}
}

void check_no_more_records(struct run *r)
{
	char *text = read_log(r);
	size_t n = 0;

	for (char *line, *rest = text; (line = strsep(&rest, "\n")) != NULL;)
		n += strstr(line, " smtp.accounting(") != NULL;
	if (n != r->records_seen)
		fail(r, "%zu accounting lines, %zu of them expected", n, r->records_seen);
	free(text);
}
