/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line is put together in the channel's own room (no log call waits, so there is never a
 * second one under way) and handed over with one write, or with the other lines of a batch. What makes this hard: whoever reads
 * the log must be able to trust its lines, though half of what is in them was chosen by a peer,
 * and nobody may be able to stop the process by not reading the log.
 */
#include "base/log.h"
#include "base/attributes.h"
#include "base/clock.h"
#include "base/logspec.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define ENTRIES_MAX 256u
#define TAIL_ROOM 16u	/* octets at the end of a line that values leave free for what closes it */

static_assert(LOG_LINE_MAX <= PIPE_BUF, "a line goes into a pipe whole or not at all");

#define LOG_TAG_NAME(id, name) SLICE_INIT(name),
static const struct slice tag_names[] = { LOG_TAGS(LOG_TAG_NAME) };
static_assert(ARRAY_LEN(tag_names) == LOG_TAG_COUNT, "a name for each tag");

/* This process's log. Before log_open: level 0 only, to standard error. */
static struct {
	int fd;
	bool fd_ours;			/* reopened by us */
	enum log_format format;
	int verbosity;
	char spec[LOG_SPEC_MAX + 1];
	struct logspec_entry entries[ENTRIES_MAX];
	size_t n_entries;
	signed char threshold[LOG_TAG_COUNT];
	uint64_t dropped, unreported;	/* lines */
	int64_t stamp_s;		/* the second that stamp is the text of */
	char stamp[80];
	bool batch;
	char rest[LOG_LINE_MAX];	/* lines of a batch, or what a socket or terminal left of the last line */
	size_t rest_len;
	char line[LOG_LINE_MAX];
	size_t len;			/* octets of line */
} log_state = { .fd = STDERR_FILENO, .stamp_s = -1 };

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
	log_state.format = format;
	log_state.stamp_s = -1;
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

void log_batch(bool batch)
{
	log_state.batch = batch;
	if (!batch)
		(void)log_flush();	/* what does not go now goes before the next line */
}

/* Put the line behind what is still to be written. */
static void keep(size_t from)
{
	memcpy(log_state.rest + log_state.rest_len, log_state.line + from, log_state.len - from);
	log_state.rest_len += log_state.len - from;
}

static bool write_line(int level)
{
	bool fits = log_state.len <= sizeof(log_state.rest) - log_state.rest_len;
	ssize_t n = 0;

	/* What is at stake when the process dies is level 0; that does not wait for company. */
	if (log_state.batch && fits) {
		keep(0);
		if (level == 0)
			(void)log_flush();
		return true;
	}
	if (!log_flush())
		return false;
	if (!log_state.batch)
		n = write_now(log_state.line, log_state.len);
	if (n < 0)
		return false;
	keep((size_t)n);
	return true;
}

/* ---- putting a line together ---- */

static bool is_plain(uint8_t c, bool quotes)
{
	return c >= 0x20 && c < 0x7f && c != '\\' && (quotes || (c != '\'' && c != '"'));
}

/* quotes: whether they stay. The rest is as log_escape. */
static size_t escape(char *dst, size_t size, struct slice s, bool quotes)
{
	static const char hex[] = "0123456789abcdef";
	size_t len = 0;

	if (size == 0)
		return 0;
	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = s.ptr[i];
		bool plain = is_plain(c, quotes);

		if (size - len <= (plain ? 1u : 4u))
			break;
		if (plain) {
			dst[len++] = (char)c;
		} else {
			dst[len++] = '\\';
			dst[len++] = 'x';
			dst[len++] = hex[c >> 4];
			dst[len++] = hex[c & 15];
		}
	}
	dst[len] = '\0';
	return len;
}

size_t log_escape(char *dst, size_t size, struct slice s)
{
	return escape(dst, size, s, false);
}

/* All of text or nothing, so that what closes a line never stands half. */
static bool put(struct slice text, size_t room)
{
	if (log_state.len + room > LOG_LINE_MAX || text.len > LOG_LINE_MAX - room - log_state.len)
		return false;
	if (text.len > 0)	/* an empty slice may have no pointer, which memcpy must not see */
		memcpy(log_state.line + log_state.len, text.ptr, text.len);
	log_state.len += text.len;
	return true;
}

static bool put_cstr(const char *text)
{
	return put(slice_cstr(text), TAIL_ROOM);
}

/* Digit by digit: a session's lines have dozens of numbers, and printf would be most of their cost. */
static bool put_unsigned(uint64_t number)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	return put(slice_of(digits + at, sizeof(digits) - at), TAIL_ROOM);
}

static bool put_number(const struct log_field *field)
{
	uint64_t number = (uint64_t)field->number;

	if (field->kind == LOG_FIELD_UINT || field->number >= 0)
		return put_unsigned(number);
	return put_cstr("-") && put_unsigned(0 - number);
}

/* Escaped text: nothing in it needs care in JSON but backslashes and double quotes. */
static bool put_escaped(struct slice text)
{
	if (log_state.format == LOG_FORMAT_TEXT)
		return put(text, TAIL_ROOM);
	for (size_t i = 0; i < text.len; i++) {
		char pair[2] = { '\\', (char)text.ptr[i] };
		bool special = pair[1] == '\\' || pair[1] == '"';

		if (!put(slice_of(special ? pair : pair + 1, special ? 2 : 1), TAIL_ROOM))
			return false;
	}
	return true;
}

/* How many octets at the start go into the line as they are. */
static size_t plain_run(struct slice s, bool quotes)
{
	bool json = log_state.format == LOG_FORMAT_JSON;
	size_t n = 0;

	while (n < s.len && is_plain(s.ptr[n], quotes) && !(json && s.ptr[n] == '"'))
		n++;
	return n;
}

/* As much as there is room for. false: that was not all. */
static bool put_part(struct slice text)
{
	size_t taken = log_state.len + TAIL_ROOM;
	size_t room = taken < LOG_LINE_MAX ? LOG_LINE_MAX - taken : 0;

	return put(slice_take(text, room), TAIL_ROOM) && text.len <= room;
}

/* At most limit octets in escaped form. false: the line is full. */
static bool put_octets(struct slice octets, bool quotes, size_t limit)
{
	while (octets.len > 0) {
		struct slice run = slice_take(octets, plain_run(octets, quotes)), text = run;
		bool plain = run.len > 0;
		char escaped[8];

		if (!plain) {
			run = slice_take(octets, 1);
			text = slice_of(escaped, escape(escaped, sizeof(escaped), run, quotes));
		}
		if (text.len > limit)
			return (!plain || put_part(slice_take(text, limit))) && put_cstr("...");
		if (plain ? !put_part(text) : !put_escaped(text))
			return false;
		limit -= text.len;
		octets = slice_skip(octets, run.len);
	}
	return true;
}

/* Messages of policy code hold quotes of their own. */
static void put_message(struct slice message)
{
	put_octets(message, true, LOG_LINE_MAX);
}

static void put_value(struct slice value)
{
	put_octets(value, false, LOG_VALUE_MAX);
}

/* "Jan  2 03:04:05 ", or "2026-01-02T03:04:05." in JSON; made anew once a second. */
static const char *stamp(int64_t wall_s)
{
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t t = (time_t)wall_s;
	struct tm tm;

	if (wall_s == log_state.stamp_s)
		return log_state.stamp;
	if (log_state.format == LOG_FORMAT_JSON && gmtime_r(&t, &tm) != NULL)
		snprintf(log_state.stamp, sizeof(log_state.stamp), "%04d-%02d-%02dT%02d:%02d:%02d.", tm.tm_year + 1900,
			 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	else if (log_state.format == LOG_FORMAT_TEXT && localtime_r(&t, &tm) != NULL)
		snprintf(log_state.stamp, sizeof(log_state.stamp), "%s %2d %02d:%02d:%02d ", months[tm.tm_mon],
			 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	log_state.stamp_s = wall_s;
	return log_state.stamp;
}

static void begin_text(struct slice tag, int level, struct slice session)
{
	put_cstr(stamp(clock_system.wall_ms(&clock_system) / 1000));
	put_value(tag);
	put_cstr("(");
	put_unsigned((unsigned)level);
	put_cstr("): (");
	put_value(session.len > 0 ? session : SLICE("nosession"));
	put_cstr("): ");
}

static void begin_json(struct slice tag, int level, struct slice session)
{
	int64_t wall_ms = clock_system.wall_ms(&clock_system);
	unsigned ms = (unsigned)(wall_ms % 1000);
	char fraction[] = { (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z', '\0' };

	put_cstr("{\"time\":\"");
	put_cstr(stamp(wall_ms / 1000));
	put_cstr(fraction);
	put_cstr("\",\"tag\":\"");
	put_value(tag);
	put_cstr("\",\"level\":");
	put_unsigned((unsigned)level);
	put_cstr(",\"session\":\"");
	put_value(session.len > 0 ? session : SLICE("nosession"));
	put_cstr("\",\"message\":\"");
}

static void begin_line(struct slice tag, int level, struct slice session)
{
	log_state.len = 0;
	if (log_state.format == LOG_FORMAT_JSON)
		begin_json(tag, level, session);
	else
		begin_text(tag, level, session);
}

/*
 * One field. false: the line is full. The room for a value's closing quote is never used by
 * the value itself (TAIL_ROOM), so a field that was begun always ends.
 */
static bool put_field(const struct log_field *field, bool first)
{
	bool json = log_state.format == LOG_FORMAT_JSON;
	bool quoted = !json || field->kind == LOG_FIELD_OCTETS;
	const char *quote = json ? "\"" : "'";
	bool whole;

	/* A number must fit with its head, or JSON would have a key without a value. */
	if (strlen(field->key) + 32 + TAIL_ROOM > LOG_LINE_MAX - log_state.len)
		return false;
	put_cstr(first ? json ? "\"" : "; " : json ? ",\"" : ", ");
	put_cstr(field->key);
	put_cstr(json ? "\":" : "=");
	if (quoted)
		put_cstr(quote);
	whole = field->kind == LOG_FIELD_OCTETS ? put_octets(field->octets, false, LOG_VALUE_MAX) : put_number(field);
	if (quoted)
		put(slice_cstr(quote), TAIL_ROOM - 1);
	return whole;
}

static void put_fields(const struct log_field *fields, size_t n)
{
	bool json = log_state.format == LOG_FORMAT_JSON;

	if (json)
		put(SLICE("\",\"fields\":{"), 2);
	for (size_t i = 0; i < n; i++)
		if (!put_field(&fields[i], i == 0))
			break;
	if (json)
		put(SLICE("}}"), 1);
	put(SLICE("\n"), 0);
}

static void compose(struct slice tag, int level, struct slice session, const char *summary,
		    const struct log_field *fields, size_t n_fields)
{
	begin_line(tag, level, session);
	put_message(slice_cstr(summary));
	put_fields(fields, n_fields);
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
	compose(tag_names[LOG_CORE_ERROR], 1, SLICE(""), "Log lines were dropped, since the log was not read in time",
		&count, 1);
	if (!write_line(1))
		return false;
	log_state.unreported = 0;
	return true;
}

void log_write(enum log_tag tag, int level, struct slice session, const char *summary,
	       const struct log_field *fields, size_t n_fields)
{
	if (!log_wants(tag, level))
		return;
	if (!report_drops()) {
		drop();
		return;
	}
	compose(tag_names[tag], level, session, summary, fields, n_fields);
	if (!write_line(level))
		drop();
}

void log_write_name(struct slice tag, int level, struct slice session, struct slice message)
{
	if (!log_wants_name(tag, level))
		return;
	if (!report_drops()) {
		drop();
		return;
	}
	begin_line(tag, level, session);
	put_message(message);
	put_fields(NULL, 0);
	if (!write_line(level))
		drop();
}
