/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line is put together in one place (no log call waits, so there is never a second one under
 * way) and handed over with one write, or with the other lines of a batch. What makes this hard:
 * nobody may be able to stop the process by not reading the log.
 */
#include "base/log.h"
#include "base/attributes.h"
#include "base/clock.h"
#include "base/log_line.h"
#include "base/logspec.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define ENTRIES_MAX 256u

static_assert(LOG_LINE_MAX <= PIPE_BUF, "a line goes into a pipe whole or not at all");

#define LOG_TAG_NAME(id, name) SLICE_INIT(name),
static const struct slice tag_names[] = { LOG_TAGS(LOG_TAG_NAME) };
static_assert(ARRAY_LEN(tag_names) == LOG_TAG_COUNT, "a name for each tag");

/* This process's log. Before log_open: level 0 only, to standard error. */
static struct {
	int fd;
	bool fd_ours;			/* reopened by us */
	int verbosity;
	char spec[LOG_SPEC_MAX + 1];
	struct logspec_entry entries[ENTRIES_MAX];
	size_t n_entries;
	signed char threshold[LOG_TAG_COUNT];
	uint64_t dropped, unreported;	/* lines */
	bool batch;
	char rest[LOG_LINE_MAX];	/* lines of a batch, or what a socket or terminal left of the last line */
	size_t rest_len;
	struct log_line line;
} log_state = { .fd = STDERR_FILENO, .line.stamp_s = -1 };

/* ---- what to log ---- */

static int check_spec(const char *spec, struct logspec_entry *entries, const char **bad)
{
	const char *ignored;
	int n;

	if (bad == NULL)
		bad = &ignored;
	if (strlen(spec) > LOG_SPEC_MAX) {
		*bad = spec + LOG_SPEC_MAX;
		return -EINVAL;
	}
	*bad = spec;
	n = logspec_parse(spec, entries, ENTRIES_MAX, bad);
	return n < 0 ? -EINVAL : n;
}

int log_set_spec(int verbosity, const char *spec, const char **bad)
{
	struct slice text;
	int n;

	if (verbosity < 0 || verbosity > LOGSPEC_LEVEL_MAX)
		return -EINVAL;
	if (spec == NULL)
		spec = "";
	/* The entries in use stay until the new ones are known to be good. */
	n = check_spec(spec, log_state.entries, bad);
	if (n < 0) {
		n = logspec_parse(log_state.spec, log_state.entries, ENTRIES_MAX, &spec);
		assert(n >= 0);
		return -EINVAL;
	}
	text = slice_cstr(spec);
	memmove(log_state.spec, text.ptr, text.len + 1);
	n = logspec_parse(log_state.spec, log_state.entries, ENTRIES_MAX, &spec);
	assert(n >= 0);
	log_state.n_entries = (size_t)n;
	log_state.verbosity = verbosity;
	for (size_t i = 0; i < LOG_TAG_COUNT; i++)
		log_state.threshold[i] = (signed char)logspec_level(log_state.entries, log_state.n_entries,
								    tag_names[i], verbosity);
	return 0;
}

int log_verbosity(void)
{
	return log_state.verbosity;
}

const char *log_spec(void)
{
	return log_state.spec;
}

struct slice log_spec_unreachable(void)
{
	size_t i = logspec_unreachable(log_state.entries, log_state.n_entries);

	return i < log_state.n_entries ? log_state.entries[i].pattern : slice_of(NULL, 0);
}

bool log_wants(enum log_tag tag, int level)
{
	return level <= log_state.threshold[tag];
}

bool log_wants_name(struct slice tag, int level)
{
	return level <= logspec_level(log_state.entries, log_state.n_entries, tag, log_state.verbosity);
}

/* ---- where to ---- */

/*
 * O_NONBLOCK belongs to the open file description, which a shell, say, shares with everything
 * it started on that pipe: set it there and the others' writes fail. Hence our own, if possible.
 */
static int reopen_pipe(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
}

void log_set_fd(int fd)
{
	struct stat st;
	int flags, own;

	if (log_state.fd_ours)
		close(log_state.fd);
	log_state.fd = fd;
	log_state.fd_ours = false;
	log_state.rest_len = 0;

	flags = fcntl(fd, F_GETFL);
	if (flags < 0 || (flags & O_NONBLOCK) || fstat(fd, &st) < 0 || !S_ISFIFO(st.st_mode))
		return;
	own = reopen_pipe(fd);
	if (own >= 0) {
		log_state.fd = own;
		log_state.fd_ours = true;
	} else {
		fcntl(fd, F_SETFL, flags | O_NONBLOCK);
	}
}

int log_open(int fd, enum log_format format, int verbosity, const char *spec, const char **bad)
{
	if (log_set_spec(verbosity, spec, bad) < 0)
		return -EINVAL;
	log_state.line.format = format;
	log_state.line.stamp_s = -1;
	log_set_fd(fd);
	return 0;
}

uint64_t log_dropped(void)
{
	return log_state.dropped;
}

/* Octets written, or -errno. */
static ssize_t write_now(const char *data, size_t len)
{
	ssize_t n;

	do
		n = write(log_state.fd, data, len);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

bool log_flush(void)
{
	ssize_t n;

	if (log_state.rest_len == 0)
		return true;
	n = write_now(log_state.rest, log_state.rest_len);
	if (n < 0)
		return false;
	log_state.rest_len -= (size_t)n;
	memmove(log_state.rest, log_state.rest + n, log_state.rest_len);
	return log_state.rest_len == 0;
}

bool log_is_held(void)
{
	return log_state.rest_len > 0;
}

void log_batch(bool batch)
{
	log_state.batch = batch;
	if (!batch)
		(void)log_flush();	/* what does not go now goes before the next line */
}

/* Put the line behind what is still to be written. */
static void keep(size_t from)
{
	memcpy(log_state.rest + log_state.rest_len, log_state.line.text + from, log_state.line.len - from);
	log_state.rest_len += log_state.line.len - from;
}

static bool write_line(int level)
{
	bool fits = log_state.line.len <= sizeof(log_state.rest) - log_state.rest_len;
	ssize_t n = 0;

	/* What is at stake when the process dies is level 0; that does not wait for company. */
	if (!log_state.batch || !fits) {
		if (!log_flush())
			return false;
		if (!log_state.batch)
			n = write_now(log_state.line.text, log_state.line.len);
		if (n < 0)
			return false;
	}
	keep((size_t)n);
	if (level == 0)
		(void)log_flush();
	return true;
}

static void drop(void)
{
	log_state.dropped++;
	log_state.unreported++;
}

/*
 * Tell of dropped lines before the next one gets through. The line that is about to be written
 * must be composed afterwards: both are made in the same place.
 */
static bool report_drops(void)
{
	const struct log_field count = F_UINT("count", log_state.unreported);

	if (log_state.unreported == 0)
		return true;
	log_line_compose(&log_state.line, tag_names[LOG_CORE_ERROR], 1, SLICE(""),
			 SLICE("Log lines were dropped, since the log was not read in time"), &count, 1);
	if (!write_line(1))
		return false;
	log_state.unreported = 0;
	return true;
}

/* false: nobody reads there any more. */
static bool wait_for_room(int64_t end)
{
	struct pollfd fd = { .fd = log_state.fd, .events = POLLOUT };
	int64_t wait_ms = end - clock_system.monotonic_ms(&clock_system);

	return wait_ms > 0 && poll(&fd, 1, (int)wait_ms) >= 0 && (fd.revents & (POLLERR | POLLHUP | POLLNVAL)) == 0;
}

bool log_finish(int max_ms)
{
	int64_t end = clock_system.monotonic_ms(&clock_system) + max_ms;

	log_state.batch = false;
	while (!log_flush() || !report_drops() || log_is_held())
		if (!wait_for_room(end))
			return false;
	return true;
}

static void write_event(struct slice tag, int level, struct slice session, struct slice message,
			const struct log_field *fields, size_t n_fields)
{
	if (!report_drops()) {
		drop();
		return;
	}
	log_line_compose(&log_state.line, tag, level, session, message, fields, n_fields);
	if (!write_line(level))
		drop();
}

void log_write(enum log_tag tag, int level, struct slice session, const char *summary,
	       const struct log_field *fields, size_t n_fields)
{
	if (log_wants(tag, level))
		write_event(tag_names[tag], level, session, slice_cstr(summary), fields, n_fields);
}

void log_write_name(struct slice tag, int level, struct slice session, struct slice message)
{
	if (log_wants_name(tag, level))
		write_event(tag, level, session, message, NULL, 0);
}
