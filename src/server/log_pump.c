/* SPDX-License-Identifier: Apache-2.0 */
#include "server/log_pump.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAUSE_MS 20		/* a source that has more within that time is left alone for that time */
#define ROOM_OCTETS 65536u
#define READS_A_TURN 4u

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
	bool blocked;		/* nobody reads our output */
	bool file;		/* our output is a file, which is always ready */
	struct source *sources;
	struct poller_timer rest;
	char room[PIPE_BUF + ROOM_OCTETS];
};

struct log_pump *log_pump_create(struct poller *poller, int out)
{
	struct log_pump *p = calloc(1, sizeof(*p));
	struct stat st;

	if (p == NULL)
		return NULL;
	p->poller = poller;
	p->out = out;
	p->file = fstat(out, &st) == 0 && S_ISREG(st.st_mode);
	return p;
}

static bool writable(const struct log_pump *p, int wait_ms)
{
	struct pollfd fd = { .fd = p->out, .events = POLLOUT };

	return p->file || poll(&fd, 1, wait_ms) == 1;
}

/* A pipe that is ready takes PIPE_BUF octets whole without waiting. */
static void write_lines(struct log_pump *p, const char *text, size_t len, int wait_ms)
{
	while (len > 0) {
		size_t n = len < PIPE_BUF || p->file ? len : PIPE_BUF;
		ssize_t written;

		if (!writable(p, wait_ms))
			return;
		while (n < len && n > 0 && text[n - 1] != '\n')	/* end at the end of a line if one fits */
			n--;
		if (n == 0)
			n = len < PIPE_BUF ? len : PIPE_BUF;
		written = write(p->out, text, n);
		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return;
		text += written;
		len -= (size_t)written;
	}
}

static void source_end(struct log_pump *p, struct source *s)
{
	poller_remove(p->poller, s->fd);
	close(s->fd);
	for (struct source **i = &p->sources; *i != NULL; i = &(*i)->next)
		if (*i == s) {
			*i = s->next;
			break;
		}
	if (s->kept > 0) {
		write_lines(p, s->line, s->kept, 0);
		write_lines(p, "\n", 1, 0);
	}
	free(s);
}

/* One reading. false: end of file, the source is gone; *more says whether there may be more. */
static bool source_read(struct log_pump *p, struct source *s, bool *more, int wait_ms)
{
	ssize_t n = read(s->fd, p->room + s->kept, ROOM_OCTETS);
	size_t len, whole;

	*more = false;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return true;
	if (n <= 0) {
		source_end(p, s);
		return false;
	}
	memcpy(p->room, s->line, s->kept);
	len = s->kept + (size_t)n;
	for (whole = len; whole > 0 && p->room[whole - 1] != '\n'; )
		whole--;
	if (len - whole > sizeof(s->line))	/* longer than any line of ours: as it is */
		whole = len;
	write_lines(p, p->room, whole, wait_ms);
	s->kept = len - whole;
	memcpy(s->line, p->room + whole, s->kept);
	*more = n == ROOM_OCTETS;
	return true;
}

static void set_events(struct log_pump *p)
{
	for (struct source *s = p->sources; s != NULL; s = s->next)
		poller_events(p->poller, s->fd, p->blocked || s->resting ? 0 : POLLIN);
}

static void on_out(void *arg, int fd, short revents)
{
	struct log_pump *p = arg;

	poller_remove(p->poller, p->out);
	p->blocked = false;
	set_events(p);
}

static void on_rested(void *arg)
{
	struct log_pump *p = arg;

	for (struct source *s = p->sources; s != NULL; s = s->next)
		s->resting = false;
	set_events(p);
}

static void on_source(void *arg, int fd, short revents)
{
	struct log_pump *p = arg;
	struct source *s = p->sources;
	int64_t before, now = poller_now();
	bool more = true;

	while (s != NULL && s->fd != fd)
		s = s->next;
	if (s == NULL)
		return;
	if (!writable(p, 0)) {
		p->blocked = poller_add(p->poller, p->out, POLLOUT, on_out, p) == 0;
		set_events(p);
		return;
	}
	before = s->read_at;
	s->read_at = now;
	for (unsigned i = 0; more && i < READS_A_TURN; i++)
		if (!source_read(p, s, &more, 0))
			return;
	/* The end of a pause is a wake-up too, which pays only where lines come in numbers. */
	if (now - before >= PAUSE_MS)
		return;
	s->resting = true;
	poller_events(p->poller, fd, 0);
	if (p->rest.at_ms == 0) {
		p->rest.fn = on_rested;
		p->rest.arg = p;
		poller_timer_set(p->poller, &p->rest, PAUSE_MS);
	}
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
	err = s == NULL ? -ENOMEM : poller_add(p->poller, fd, p->blocked ? 0 : POLLIN, on_source, p);
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

	for (struct source *s = p->sources, *next; s != NULL; s = next) {
		bool more = true;

		next = s->next;
		while (more && poller_now() <= end)
			if (!source_read(p, s, &more, max_ms))
				break;
	}
}

void log_pump_free(struct log_pump **pp)
{
	struct log_pump *p = *pp;

	if (p == NULL)
		return;
	*pp = NULL;
	poller_timer_clear(p->poller, &p->rest);
	while (p->sources != NULL)
		source_end(p, p->sources);
	if (p->blocked)
		poller_remove(p->poller, p->out);
	free(p);
}
