/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control process: clients on one side, the supervisor and the workers' statistics on the
 * other. It can break without harm to sessions; the supervisor starts another.
 */
#include "server/control/control.h"
#include "base/buffer.h"
#include "base/log.h"
#include "server/control/control_priv.h"
#include "server/poller.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS_MAX 32u
#define REQUEST_OCTETS_MAX 65536u
#define REPLY_OCTETS_MAX (64u << 20)
#define ANSWER_LIMIT_MS 150000	/* a reload may take as long as loading may */

struct client {
	struct control *control;
	struct client *next;
	int fd;
	uint32_t request;		/* the supervisor owes an answer; 0 = none */
	struct buffer in, out;
	struct poller_timer limit;
};

struct control {
	struct poller poller;
	struct control_view view;
	int listener, supervisor;
	uid_t owner;
	uint32_t next_request;
	struct client *clients;
	unsigned n_clients;
	struct message_room room;
};

static void client_free(struct client *c)
{
	struct control *k = c->control;

	for (struct client **i = &k->clients; *i != NULL; i = &(*i)->next)
		if (*i == c) {
			*i = c->next;
			break;
		}
	poller_timer_clear(&k->poller, &c->limit);
	poller_remove(&k->poller, c->fd);
	close(c->fd);
	buffer_release(&c->in);
	buffer_release(&c->out);
	free(c);
	if (k->n_clients-- == CLIENTS_MAX)
		poller_events(&k->poller, k->listener, POLLIN);
}

/* false: the client is gone. */
static bool client_flush(struct client *c)
{
	while (c->out.len > 0) {
		ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			client_free(c);
			return false;
		}
		buffer_consume(&c->out, (size_t)n);
	}
	poller_events(&c->control->poller, c->fd, c->out.len > 0 ? POLLOUT : POLLIN);
	return true;
}

/* Takes the object over. false: the client is gone. */
static bool client_answer(struct client *c, json_t *reply)
{
	char *text = reply != NULL ? json_dumps(reply, JSON_COMPACT) : NULL;

	json_decref(reply);
	if (text != NULL) {
		buffer_append(&c->out, slice_cstr(text));
		buffer_append_octet(&c->out, '\n');
	}
	free(text);
	if (text == NULL || c->out.broken) {
		client_free(c);
		return false;
	}
	return client_flush(c);
}

static void on_limit(void *arg)
{
	struct client *c = arg;

	c->request = 0;
	(void)client_answer(c, control_refusal(3, "the supervisor does not answer"));
}

/* Pass it on; the answer comes later. */
static bool ask_supervisor(struct client *c, const struct control_request *r)
{
	struct control *k = c->control;
	struct message m = { .type = MSG_CONTROL_REQUEST, .number = ++k->next_request,
			     .body = slice_of(r, sizeof(*r)) };

	if (message_send(k->supervisor, &m) != 0)
		return client_answer(c, control_refusal(3, "the supervisor does not answer"));
	c->request = m.number;
	c->limit.fn = on_limit;
	c->limit.arg = c;
	poller_timer_set(&k->poller, &c->limit, ANSWER_LIMIT_MS);
	return true;
}

static bool serve_line(struct client *c, struct slice line)
{
	struct control_request r;
	json_t *reply = control_answer(&c->control->view, line, &r);

	return reply != NULL ? client_answer(c, reply) : ask_supervisor(c, &r);
}

/* One request at a time: the rest waits in the buffer. */
static void serve(struct client *c)
{
	while (c->request == 0) {
		struct slice in = buffer_slice(&c->in);
		size_t n = slice_index(in, '\n');

		if (n == in.len)
			break;
		if (!serve_line(c, slice_take(in, n)))
			return;
		buffer_consume(&c->in, n + 1);
	}
	if (c->in.broken && c->request == 0)
		client_free(c);
}

static void on_client(void *arg, int fd, short revents)
{
	struct client *c = arg;
	char octets[2048];
	ssize_t n;

	if ((revents & POLLOUT) != 0) {
		if (client_flush(c))
			serve(c);
		return;
	}
	n = recv(fd, octets, sizeof(octets), 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		client_free(c);
		return;
	}
	buffer_append(&c->in, slice_of(octets, (size_t)n));
	serve(c);
}

static void on_connection(void *arg, int fd, short revents)
{
	struct control *k = arg;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int client_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c;

	if (client_fd < 0)
		return;
	/* The file's mode says the same; this also holds when somebody moved the file. */
	c = getsockopt(client_fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	    (peer.uid == 0 || peer.uid == k->owner) ? calloc(1, sizeof(*c)) : NULL;
	if (c == NULL || poller_add(&k->poller, client_fd, POLLIN, on_client, c) != 0) {
		free(c);
		close(client_fd);
		return;
	}
	c->control = k;
	c->fd = client_fd;
	c->in = (struct buffer)BUFFER_INIT(REQUEST_OCTETS_MAX);
	c->out = (struct buffer)BUFFER_INIT(REPLY_OCTETS_MAX);
	c->next = k->clients;
	k->clients = c;
	if (++k->n_clients == CLIENTS_MAX)
		poller_events(&k->poller, k->listener, 0);
}

static void supervisor_answered(struct control *k, const struct message *m)
{
	struct client *c = k->clients;

	while (c != NULL && c->request != m->number)
		c = c->next;
	if (c == NULL)
		return;
	c->request = 0;
	poller_timer_clear(&k->poller, &c->limit);
	if (client_answer(c, control_outcome(m)))
		serve(c);
}

static void on_supervisor(void *arg, int fd, short revents)
{
	struct control *k = arg;
	struct message m;
	int n = message_receive(fd, &m, &k->room);

	if (n == -EAGAIN)
		return;
	if (n <= 0)
		exit(0);	/* clients see the end of their connections */
	if (m.type == MSG_STATUS)
		control_view_status(&k->view, m.body);
	else if (m.type == MSG_CHANNEL)
		control_view_channel(&k->view, &m);
	else if (m.type == MSG_SNAPSHOT)
		control_view_names(&k->view, &m);
	else if (m.type == MSG_CERTIFICATES)
		control_view_certificates(&k->view, &m);
	else if (m.type == MSG_CONTROL_REPLY && m.number != 0)
		supervisor_answered(k, &m);
	message_close_fds(&m);
}

int control_run(int listener, int supervisor, uid_t owner)
{
	struct control *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return 1;
	(void)signal(SIGPIPE, SIG_IGN);
	poller_init(&k->poller);
	k->listener = listener;
	k->supervisor = supervisor;
	k->owner = owner;
	if (poller_add(&k->poller, listener, POLLIN, on_connection, k) != 0 ||
	    poller_add(&k->poller, supervisor, POLLIN, on_supervisor, k) != 0)
		return 1;
	for (;;)
		poller_turn(&k->poller);
}
