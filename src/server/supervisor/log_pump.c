/* SPDX-License-Identifier: Apache-2.0 */
#include "server/supervisor/log_pump.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAUSE_MS 50		/* a source that has more within that time is left alone for that time */
#define ROOM_OCTETS 65536u
#define READS_A_TURN 8u		/* what a worker's pipe holds */
#define READS_AT_END 16u	/* a pipe's most, to count what is lost with it */

struct source {
	struct source *next;
	int fd;
	bool resting;
	int64_t read_at;	/* ms */
	size_t kept;		/* octets of an unfinished line */
	char line[PIPE_BUF];
};

struct log_pump {
	struct poller *poller;
	int out;
	bool file;		/* our output is a file, which is always ready */
	struct source *sources;
	struct poller_timer rest;
	uint64_t dropped;	/* lines that nobody was told of yet */
	size_t at, left;	/* what is still to be written of room; while there is some, nothing is read */
	char room[PIPE_BUF + ROOM_OCTETS];
};

static void on_out(void *arg, int fd, short revents);
static void on_rested(void *arg);

struct log_pump *log_pump_create(struct poller *poller, int out)
{
	struct log_pump *p = calloc(1, sizeof(*p));
	struct stat st;

	if (p == NULL)
		return NULL;
	if (poller_add(poller, out, 0, on_out, p) != 0) {
		free(p);
		return NULL;
	}
	p->poller = poller;
	p->rest.fn = on_rested;
	p->rest.arg = p;
	p->out = out;
	p->file = fstat(out, &st) == 0 && S_ISREG(st.st_mode);
	return p;
}

/* end: poller_now() until which we wait, if need be; 0: we do not */
static bool writable(const struct log_pump *p, int64_t end)
{
	struct pollfd fd = { .fd = p->out, .events = POLLOUT };
	int64_t wait_ms = end == 0 ? 0 : end - poller_now();

	return p->file || poll(&fd, 1, wait_ms > 0 ? (int)wait_ms : 0) == 1;
}

static void count_dropped(struct log_pump *p, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		p->dropped += text[i] == '\n';
}

static void report_dropped(struct log_pump *p)
{
	if (p->dropped > 0)
		log_event(LOG_CORE_ERROR, 1, slice_cstr(""), "Log lines were dropped, since they could not be written",
			  F_UINT("count", p->dropped));
	p->dropped = 0;
}

/* A pipe that is ready takes PIPE_BUF octets whole without waiting. Ends at the end of a line if one fits. */
static size_t piece(const struct log_pump *p)
{
	const char *text = p->room + p->at;
	size_t most = p->left < PIPE_BUF || p->file ? p->left : PIPE_BUF, n = most;

	while (n > 0 && text[n - 1] != '\n')
		n--;
	return n > 0 ? n : most;
}

/* false: there is no room now, the rest is kept. */
static bool write_left(struct log_pump *p, int64_t end)
{
	while (p->left > 0) {
		ssize_t written;

		if (!writable(p, end))
			return false;
		written = write(p->out, p->room + p->at, piece(p));
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0 && errno == EAGAIN)
			return false;
		if (written <= 0) {	/* a full disk, a reader that is gone */
			count_dropped(p, p->room + p->at, p->left);
			p->left = 0;
			return true;
		}
		p->at += (size_t)written;
		p->left -= (size_t)written;
		if (p->left == 0)
			report_dropped(p);
	}
	return true;
}

/* The first octets of room, now or when they can be. */
static void write_room(struct log_pump *p, size_t len, int64_t end)
{
	p->at = 0;
	p->left = len;
	(void)write_left(p, end);
}

static void source_end(struct log_pump *p, struct source *s, int64_t end)
{
	poller_remove(p->poller, s->fd);
	close(s->fd);
	for (struct source **i = &p->sources; *i != NULL; i = &(*i)->next)
		if (*i == s) {
			*i = s->next;
			break;
		}
	if (s->kept > 0) {
		memcpy(p->room, s->line, s->kept);
		p->room[s->kept] = '\n';
		write_room(p, s->kept + 1, end);
	}
	free(s);
}

/*
 * One reading, when nothing is left to be written. false: end of file, the source is gone;
 * *octets of it came: all that there was, unless they are ROOM_OCTETS.
 */
static bool source_read(struct log_pump *p, struct source *s, size_t *octets, int64_t end)
{
	ssize_t n = read(s->fd, p->room + s->kept, ROOM_OCTETS);
	size_t len, whole;

	*octets = 0;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0) {
		source_end(p, s, end);
		return false;
	}
	memcpy(p->room, s->line, s->kept);
	len = s->kept + (size_t)n;
	for (whole = len; whole > 0 && p->room[whole - 1] != '\n'; )
		whole--;
	if (len - whole > sizeof(s->line))	/* longer than any line of ours: as it is */
		whole = len;
	s->kept = len - whole;
	memcpy(s->line, p->room + whole, s->kept);
	write_room(p, whole, end);
	*octets = (size_t)n;
	return true;
}

static void set_events(struct log_pump *p)
{
	for (struct source *s = p->sources; s != NULL; s = s->next)
		poller_events(p->poller, s->fd, p->left > 0 || s->resting ? 0 : POLLIN);
	poller_events(p->poller, p->out, p->left > 0 ? POLLOUT : 0);
}

static void on_out(void *arg, int fd, short revents)
{
	struct log_pump *p = arg;

	if (write_left(p, 0))
		set_events(p);
}

static void rest(struct log_pump *p, struct source *s)
{
	s->resting = true;
	if (p->rest.at_ms == 0)
		poller_timer_set(p->poller, &p->rest, PAUSE_MS);
}

/* What is there, in some readings; then a rest, if there was something again. */
static void serve(struct log_pump *p, struct source *s, bool busy)
{
	size_t octets = ROOM_OCTETS, all = 0;

	for (unsigned i = 0; octets == ROOM_OCTETS && p->left == 0 && i < READS_A_TURN; i++) {
		if (!source_read(p, s, &octets, 0))
			return;
		all += octets;
	}
	/* The end of a rest is a wake-up too, which pays only where lines come in numbers. It also bounds what a
	 * writer can make us do. */
	if (busy && all > 0)
		rest(p, s);
}

/* Who rested is read at once: asking first whether there is something would be one more call. */
static void on_rested(void *arg)
{
	struct log_pump *p = arg;

	for (struct source *s = p->sources, *next; s != NULL; s = next) {
		next = s->next;
		if (s->resting) {
			s->resting = false;
			if (p->left == 0)
				serve(p, s, true);
		}
	}
	set_events(p);
}

static void on_source(void *arg, int fd, short revents)
{
	struct log_pump *p = arg;
	struct source *s = p->sources;
	int64_t before;

	while (s != NULL && s->fd != fd)
		s = s->next;
	if (s == NULL)
		return;
	before = s->read_at;
	s->read_at = poller_now();
	serve(p, s, s->read_at - before < PAUSE_MS);
	set_events(p);
}

/*
 * Descriptors come from processes that are not trusted. Only a pipe surely never blocks, and
 * O_NONBLOCK belongs to all who hold a copy of the descriptor, so ours is opened anew.
 */
static int own_pipe(int fd)
{
	char path[32];
	int own;

	if (fcntl(fd, F_GETPIPE_SZ) < 0) {
		close(fd);
		return -EBADMSG;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	own = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (own < 0) {		/* somebody else's, and root may not */
		(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		return fd;
	}
	close(fd);
	return own;
}

int log_pump_add(struct log_pump *p, int fd)
{
	struct source *s;
	int err;

	fd = own_pipe(fd);
	if (fd < 0)
		return fd;
	s = calloc(1, sizeof(*s));
	err = s == NULL ? -ENOMEM : poller_add(p->poller, fd, p->left > 0 ? 0 : POLLIN, on_source, p);
	if (err != 0) {
		free(s);
		close(fd);
		return err;
	}
	s->fd = fd;
	s->next = p->sources;
	p->sources = s;
	return 0;
}

void log_pump_flush(struct log_pump *p, int max_ms)
{
	int64_t end = poller_now() + max_ms;

	(void)write_left(p, end);
	for (struct source *s = p->sources, *next; s != NULL; s = next) {
		size_t octets = ROOM_OCTETS;

		next = s->next;
		while (octets == ROOM_OCTETS && p->left == 0 && poller_now() <= end)
			if (!source_read(p, s, &octets, end))
				break;
	}
	set_events(p);
}

/* What goes with a source that is not at its end. */
static void source_lose(struct log_pump *p, struct source *s)
{
	ssize_t n = 1;

	count_dropped(p, p->room + p->at, p->left);
	p->left = 0;
	for (unsigned i = 0; n > 0 && i < READS_AT_END; i++) {
		n = read(s->fd, p->room, ROOM_OCTETS);
		if (n > 0) {
			count_dropped(p, p->room, (size_t)n);
			s->kept = 0;		/* its end is lost */
		}
	}
	source_end(p, s, 0);
}

void log_pump_free(struct log_pump **pp)
{
	struct log_pump *p = *pp;

	if (p == NULL)
		return;
	*pp = NULL;
	poller_timer_clear(p->poller, &p->rest);
	while (p->sources != NULL)
		source_lose(p, p->sources);
	count_dropped(p, p->room + p->at, p->left);
	report_dropped(p);
	poller_remove(p->poller, p->out);
	free(p);
}
