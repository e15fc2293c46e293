/* SPDX-License-Identifier: Apache-2.0 */
/*
 * smtp-pipeline: mail like smtp-source, but with the commands of a message in one group (RFC 2920):
 * MAIL, RCPT and DATA in one write. Prints nothing when all went well; the first wrong reply ends it
 * with status 1.
 *
 *	smtp-pipeline [-d] [-s SESSIONS] [-l OCTETS] -m MESSAGES -f SENDER -t RECIPIENT ADDRESS:PORT
 *
 * -d keeps connections, as with smtp-source; else each message has its own.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define SESSIONS_MAX 1000
#define BODY_MAX (16u << 20)
#define LINE 72			/* octets of a body line, without its end */
#define REPLY_MAX 4096

/* What a connection waits for; each step has the code of the reply that it wants. */
enum step { GREETING, HELLO, ENVELOPE, BODY, GOODBYE, STEPS };

struct connection {
	int fd;
	enum step step;
	unsigned replies;	/* still owed in this step */
	size_t body_sent;
	char buf[REPLY_MAX];
	size_t len;
};

static struct {
	struct sockaddr_in to;
	bool keep;
	long sessions, messages, octets;
	const char *sender, *recipient;
	char envelope[512];
	char *body;
	size_t body_len;
	long started, done;
	int epoll;
} g = { .sessions = 1, .octets = 1024 };

static _Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

static _Noreturn void die(const char *format, ...)
{
	va_list ap;

	fprintf(stderr, "fatal: ");
	va_start(ap, format);
	vfprintf(stderr, format, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static void send_text(struct connection *c, const char *text)
{
	size_t len = strlen(text);

	if (send(c->fd, text, len, MSG_NOSIGNAL) != (ssize_t)len)
		die("send: %s", strerror(errno));
}

static void open_connection(struct connection *c)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
	int on = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&g.to, sizeof(g.to)) < 0)
		die("connect: %s", strerror(errno));
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	if (epoll_ctl(g.epoll, EPOLL_CTL_ADD, c->fd, &event) < 0)
		die("epoll_ctl: %s", strerror(errno));
	c->step = GREETING;
	c->replies = 1;
	c->len = 0;
}

/* As much of the body as goes; the rest when the socket takes it. */
static void send_body(struct connection *c)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };

	while (c->body_sent < g.body_len) {
		ssize_t n = send(c->fd, g.body + c->body_sent, g.body_len - c->body_sent, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno != EAGAIN)
			die("send: %s", strerror(errno));
		if (n < 0) {
			event.events |= EPOLLOUT;
			break;
		}
		c->body_sent += (size_t)n;
	}
	if (g.body_len > 65536 && epoll_ctl(g.epoll, EPOLL_CTL_MOD, c->fd, &event) < 0)
		die("epoll_ctl: %s", strerror(errno));
}

/* A further message on this connection, or the end of it. */
static void next_message(struct connection *c)
{
	if (g.started == g.messages) {
		send_text(c, "QUIT\r\n");
		c->step = GOODBYE;
		c->replies = 1;
		return;
	}
	g.started++;
	send_text(c, g.envelope);
	c->step = ENVELOPE;
	c->replies = 3;
}

static void end_connection(struct connection *c)
{
	close(c->fd);
	c->fd = -1;
	if (g.started < g.messages)
		open_connection(c);
}

static void step_done(struct connection *c)
{
	switch (c->step) {
	case GREETING:
		send_text(c, "EHLO client.example.net\r\n");
		c->step = HELLO;
		c->replies = 1;
		return;
	case HELLO:
		next_message(c);
		return;
	case ENVELOPE:
		c->step = BODY;
		c->replies = 1;
		c->body_sent = 0;
		send_body(c);
		return;
	case BODY:
		g.done++;
		if (g.keep) {
			next_message(c);
			return;
		}
		send_text(c, "QUIT\r\n");
		c->step = GOODBYE;
		c->replies = 1;
		return;
	default:
		end_connection(c);
	}
}

/* A whole line of the server's: the last of a reply counts. */
static void take_line(struct connection *c, const char *line, size_t len)
{
	static const char codes[STEPS] = { [GREETING] = '2', [HELLO] = '2', [ENVELOPE] = '2', [BODY] = '2', [GOODBYE] = '2' };
	char want = c->step == ENVELOPE && c->replies == 1 ? '3' : codes[c->step];

	if (len < 4 || line[0] != want)
		die("step %d: the server says '%.*s'", c->step, (int)len, line);
	if (line[3] == '-')
		return;
	if (--c->replies == 0)
		step_done(c);
}

static void receive(struct connection *c)
{
	ssize_t n = recv(c->fd, c->buf + c->len, sizeof(c->buf) - c->len, MSG_DONTWAIT);
	size_t at = 0;
	char *lf;

	if (n < 0 && errno == EAGAIN)
		return;
	if (n <= 0)
		die("step %d: the server closed the connection", c->step);
	c->len += (size_t)n;
	while (c->fd >= 0 && (lf = memchr(c->buf + at, '\n', c->len - at)) != NULL) {
		size_t len = (size_t)(lf - c->buf) - at;

		take_line(c, c->buf + at, len > 0 && lf[-1] == '\r' ? len - 1 : len);
		if (c->step == GREETING && c->len == 0)	/* the next connection's */
			return;
		at = (size_t)(lf - c->buf) + 1;
	}
	memmove(c->buf, c->buf + at, c->len - at);
	c->len -= at;
	if (c->len == sizeof(c->buf))
		die("the server's line does not end");
}

static void make_texts(void)
{
	static const char header[] = "Subject: measured\r\n\r\n", end[] = ".\r\n";
	size_t lines = (size_t)g.octets / (LINE + 2) + 1, at = sizeof(header) - 1;

	snprintf(g.envelope, sizeof(g.envelope), "MAIL FROM:<%s>\r\nRCPT TO:<%s>\r\nDATA\r\n", g.sender, g.recipient);
	g.body = malloc(sizeof(header) + lines * (LINE + 2) + sizeof(end));
	if (g.body == NULL)
		die("no memory");
	memcpy(g.body, header, sizeof(header) - 1);
	for (size_t i = 0; i < lines; i++) {
		memset(g.body + at, 'x', LINE);
		memcpy(g.body + at + LINE, "\r\n", 2);
		at += LINE + 2;
	}
	memcpy(g.body + at, end, sizeof(end) - 1);
	g.body_len = at + sizeof(end) - 1;
}

static long number(const char *text, long max)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*text == '\0' || *end != '\0' || n < 1 || n > max)
		die("'%s' is no number from 1 to %ld", text, max);
	return n;
}

static void take_arguments(int argc, char **argv)
{
	int option;
	char *colon;

	while ((option = getopt(argc, argv, "ds:l:m:f:t:")) != -1) {
		if (option == 'd')
			g.keep = true;
		else if (option == 's')
			g.sessions = number(optarg, SESSIONS_MAX);
		else if (option == 'l')
			g.octets = number(optarg, BODY_MAX);
		else if (option == 'm')
			g.messages = number(optarg, 100000000);
		else if (option == 'f')
			g.sender = optarg;
		else if (option == 't')
			g.recipient = optarg;
		else
			exit(2);
	}
	colon = optind + 1 == argc ? strrchr(argv[optind], ':') : NULL;
	if (colon == NULL || g.messages == 0 || g.sender == NULL || g.recipient == NULL)
		die("usage: smtp-pipeline [-d] [-s SESSIONS] [-l OCTETS] -m MESSAGES -f SENDER -t RECIPIENT ADDRESS:PORT");
	*colon = '\0';
	g.to.sin_family = AF_INET;
	g.to.sin_port = htons((uint16_t)number(colon + 1, 65535));
	if (inet_pton(AF_INET, argv[optind], &g.to.sin_addr) != 1)
		die("'%s' is no IPv4 address", argv[optind]);
}

int main(int argc, char **argv)
{
	static struct connection connections[SESSIONS_MAX];

	take_arguments(argc, argv);
	make_texts();
	g.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (g.sessions > g.messages)
		g.sessions = g.messages;
	for (long i = 0; i < g.sessions; i++)
		open_connection(&connections[i]);
	while (g.done < g.messages) {
		struct epoll_event events[64];
		int n = epoll_wait(g.epoll, events, 64, 30000);

		if (n == 0)
			die("nothing happens for 30 s");
		for (int i = 0; i < n; i++) {
			struct connection *c = events[i].data.ptr;

			if (c->fd >= 0 && c->step == BODY && (events[i].events & EPOLLOUT) != 0)
				send_body(c);
			if (c->fd >= 0)
				receive(c);
		}
	}
	free(g.body);
	return 0;
}
