/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs transcripts: data files that say, octet by octet, what both sides of a session send and
 * must receive (README.md has the format). Each runs twice: as its segments are written, and
 * with every octet sent alone; the outcome must be the same.
 *
 *	transcripts PRESETS DIRECTORY [FILE]
 */
#include "proxy/smtp/smtp.h"
#include "run.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const char *const side_names[SIDES] = { "client", "server", "former server" };

static void print_octets(FILE *out, struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '\r')
			fputs("\\r", out);
		else if (s.ptr[i] == '\n')
			fputs(i + 1 < s.len ? "\\n\n#         " : "\\n", out);
		else if (s.ptr[i] < 0x20 || s.ptr[i] > 0x7e || s.ptr[i] == '\\')
			fprintf(out, "\\x%02x", s.ptr[i]);
		else
			fputc(s.ptr[i], out);
	}
}

void fail(struct run *r, const char *format, ...)
{
	va_list ap;

	r->failed = true;
	fprintf(stdout, "# %s:%u%s: ", r->file, r->line, r->in_drops ? " (octet by octet)" : "");
	va_start(ap, format);
	vfprintf(stdout, format, ap);
	va_end(ap);
	fputc('\n', stdout);
}

void show(const char *what, struct slice s)
{
	printf("#   %s: ", what);
	print_octets(stdout, s);
	printf("\n");
}

/* The header is over: the policy is built. */
int prepare(struct run *r)
{
	int err;

	if (r->have_harness)
		return 0;
	r->have_harness = true;
	err = harness_init(&r->h, r->config, r->document, r->service, &smtp_type);
	r->h.connect_error = r->connect_error;
	r->h.client_encrypted = r->client_encrypted;
	if (err < 0)
		fail(r, "the policy is refused: %s", strerror(-err));
	return err;
}

static int start(struct run *r)
{
	int err = prepare(r);

	if (r->started || err < 0)
		return err;
	r->started = true;
	err = harness_connect(&r->h, r->client_address);
	if (err < 0)
		fail(r, "the session does not start: %s", strerror(-err));
	return err;
}

static void run_file(struct run *r, FILE *f);

/* use NAME: the lines of parts/NAME. */
static void use_part(struct run *r, const char *name)
{
	const char *file = r->file;
	unsigned line = r->line;
	char path[1024];
	FILE *f;

	snprintf(path, sizeof(path), "%s/parts/%s", r->directory, name);
	f = fopen(path, "re");
	if (f == NULL) {
		fail(r, "use %s: %s", name, strerror(errno));
		return;
	}
	r->file = path;
	run_file(r, f);
	fclose(f);
	r->file = file;
	r->line = line;
}

static void run_line(struct run *r, char *line)
{
	if (strncmp(line, "use ", 4) == 0) {
		use_part(r, line + 4);
		return;
	}
	if (header_line(r, line))
		return;
	if (strncmp(line, "callback ", 9) == 0) {
		set_callback(r, line + 9);
		return;
	}
	if (strncmp(line, "zone ", 5) == 0) {
		set_zone(r, line + 5);
		return;
	}
	if (strncmp(line, "domain ", 7) == 0) {
		set_domain(r, line + 7);
		return;
	}
	if (!step_line(r, line, start))
		fail(r, "what does '%s' mean?", line);
}

/* A line that starts with a blank continues the one before. */
static void run_file(struct run *r, FILE *f)
{
	char *line = NULL, *whole = NULL;
	size_t size = 0, whole_len = 0;
	unsigned number = 0;

	while (!r->failed) {
		ssize_t n = getline(&line, &size, f);
		bool continues = n > 0 && (line[0] == ' ' || line[0] == '\t');

		if (n > 0 && line[n - 1] == '\n')
			line[--n] = '\0';
		number++;
		if (whole != NULL && !continues) {
			run_line(r, whole);
			free(whole);
			whole = NULL;
		}
		if (n < 0)
			break;
		if (n == 0 || line[0] == '#')
			continue;
		if (whole == NULL) {
			whole = strdup(line);
			whole_len = (size_t)n;
			r->line = number;
		} else {
			whole = realloc(whole, whole_len + (size_t)n + 1);
			memcpy(whole + whole_len, line, (size_t)n + 1);
			whole_len += (size_t)n;
		}
	}
	free(whole);
	free(line);
}

/* Nobody may have received what the transcript does not show. */
static void check_rest(struct run *r)
{
	for (int side = 0; side < SIDES && !r->failed; side++) {
		collect(r, side);
		if (r->from_proxy[side].len == 0)
			continue;
		fail(r, "the %s received what the transcript does not show", side_names[side]);
		show("has", slice_of(r->from_proxy[side].data, r->from_proxy[side].len));
	}
	if (!r->failed)
		check_no_more_records(r);
}

static bool run_once(const char *presets, const char *directory, const char *file, bool in_drops, bool *at_once)
{
	static uint8_t room[SIDES][OCTETS_MAX];
	struct run *r = calloc(1, sizeof(*r));
	FILE *f = fopen(file, "re");
	bool failed;

	if (r == NULL || f == NULL) {
		printf("# %s: %s\n", file, strerror(errno));
		return false;
	}
	r->presets = presets;
	r->directory = directory;
	r->file = file;
	r->in_drops = in_drops;
	r->config = json_pack("{s:s,s:s,s:i,s:b,s:[i,i]}", "proxy", "smtp", "class", "Transcript", "class_number", 0,
			      "per_session", 0, "at", 0, 1);
	for (int side = 0; side < SIDES; side++)
		r->from_proxy[side].data = room[side];
	snprintf(r->client_address, sizeof(r->client_address), "10.0.0.1:40000");
	r->log_fd = memfd_create("log", MFD_CLOEXEC);
	log_open(r->log_fd, LOG_FORMAT_TEXT, 10, NULL, NULL);
	run_file(r, f);
	if (!r->failed && !r->ends)
		fail(r, "there is no end line");
	if (!r->failed)
		check_rest(r);
	if (r->have_harness)
		harness_release(&r->h);
	for (int side = 0; side < SIDES; side++)
		tls_peer_free(&r->tls[side]);
	failed = r->failed;
	*at_once = r->at_once;
	json_decref(r->config);
	json_decref(r->document);
	json_decref(r->service);
	close(r->log_fd);
	fclose(f);
	free(r);
	return !failed;
}

static int is_transcript(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return n > 4 && strcmp(entry->d_name + n - 4, ".txt") == 0;
}

int main(int argc, char **argv)
{
	struct dirent **entries = NULL;
	bool all_fine = true;
	int n;

	if (argc != 3 && argc != 4) {
		fprintf(stderr, "usage: transcripts PRESETS DIRECTORY [FILE]\n");
		return 2;
	}
	n = scandir(argv[2], &entries, is_transcript, alphasort);
	if (n <= 0) {
		fprintf(stderr, "transcripts: there is none in %s\n", argv[2]);
		return 1;
	}
	printf("1..%d\n", argc == 4 ? 1 : n);
	for (int i = 0; i < n; i++) {
		char path[1024];
		bool fine, at_once = false;

		snprintf(path, sizeof(path), "%s/%s", argv[2], entries[i]->d_name);
		if (argc == 3 || strcmp(entries[i]->d_name, argv[3]) == 0) {
			fine = run_once(argv[1], argv[2], path, false, &at_once) &&
			       (at_once || run_once(argv[1], argv[2], path, true, &at_once));
			printf("%s %d - %s\n", fine ? "ok" : "not ok", argc == 4 ? 1 : i + 1, entries[i]->d_name);
			all_fine = all_fine && fine;
		}
		free(entries[i]);
	}
	free(entries);
	return all_fine ? 0 : 1;
}
