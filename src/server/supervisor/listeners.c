/* SPDX-License-Identifier: Apache-2.0 */
/* The listening sockets: one an address, kept over generations, shared by all workers. */
#include "server/interfaces.h"
#include "server/supervisor/supervisor_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 4096	/* connections that wait while a reload hands over; the kernel caps it */

static int set_options(int fd, const struct listener_record *r)
{
	const int on = 1;
	bool v4 = r->at.ip.family == AF_INET;

	/* What accepted sockets inherit is set here, once: no delay for our whole writes. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
	    (!v4 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) != 0))
		return -errno;
	if (r->transparent && (v4 ? setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT, &on, sizeof(on)) :
				    setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT, &on, sizeof(on))) != 0)
		return -errno;
	return interfaces_prepare_listener(fd, r->at.ip.family);
}

static int open_listener(struct listener_record *r)
{
	struct sockaddr_storage sa;
	socklen_t len = endpoint_to_sockaddr(&r->at, &sa);
	int fd = socket(r->at.ip.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return -errno;
	err = set_options(fd, r);
	if (err == 0 && (bind(fd, (struct sockaddr *)&sa, len) != 0 || listen(fd, BACKLOG) != 0))
		err = -errno;
	len = sizeof(sa);
	if (err == 0 && getsockname(fd, (struct sockaddr *)&sa, &len) != 0)
		err = -errno;
	if (err == 0)
		err = endpoint_from_sockaddr(&sa, &r->at);
	if (err != 0) {
		close(fd);
		return err;
	}
	return fd;
}

static int want(struct supervisor *s, const struct listener_record *r)
{
	struct supervisor_listener *more;
	struct listener_record opened = *r;
	int fd;

	for (size_t i = 0; i < s->n_listeners; i++)
		if (s->listeners[i].record.transparent == r->transparent &&
		    endpoint_equal(&s->listeners[i].record.at, &r->at)) {
			s->listeners[i].wanted = true;
			return 0;
		}
	more = realloc(s->listeners, (s->n_listeners + 1) * sizeof(*more));
	if (more == NULL)
		return -ENOMEM;
	s->listeners = more;
	fd = open_listener(&opened);
	if (fd < 0)
		return fd;
	memset(&more[s->n_listeners], 0, sizeof(more[0]));
	more[s->n_listeners].record = opened;
	more[s->n_listeners].fd = fd;
	more[s->n_listeners].wanted = true;
	s->n_listeners++;
	return 0;
}

/* On the loopback address, so that nobody reaches it from outside; any free port does. */
static int want_transparent(struct supervisor *s, const char *address, uint16_t *port)
{
	struct listener_record r = { .transparent = true };
	int err;

	err = ip_parse(slice_cstr(address), &r.at.ip);
	if (err != 0)
		return err;
	r.at.port = *port;
	err = want(s, &r);
	if (err == 0 && *port == 0)
		*port = s->listeners[s->n_listeners - 1].record.at.port;
	return err;
}

static int want_all(struct supervisor *s, const struct kernel_plan *plan, struct endpoint *which)
{
	int err = 0;

	if (s->kernel) {
		err = want_transparent(s, "127.0.0.1", &s->port4);
		if (err == 0)
			err = want_transparent(s, "::1", &s->port6);
		/* A host without IPv6 gets no IPv6 service, and needs none. */
		return err == -EAFNOSUPPORT || err == -EADDRNOTAVAIL ? 0 : err;
	}
	for (size_t i = 0; err == 0 && i < plan->n_listens; i++) {
		const struct listener_record r = { .at = plan->listens[i].at };

		*which = r.at;
		err = want(s, &r);
	}
	return err;
}

int listeners_open(struct supervisor *s, const struct kernel_plan *plan, struct endpoint *which)
{
	memset(which, 0, sizeof(*which));
	for (size_t i = 0; i < s->n_listeners; i++)
		s->listeners[i].wanted = false;
	return want_all(s, plan, which);
}

int listeners_send(struct supervisor *s, int sock)
{
	struct listener_record records[MESSAGE_FDS_MAX];
	struct message m = { .type = MSG_LISTENERS };
	int err = 0;

	for (size_t i = 0; err == 0 && i < s->n_listeners; i++) {
		if (!s->listeners[i].wanted)
			continue;
		records[m.n_fds] = s->listeners[i].record;
		m.fds[m.n_fds++] = s->listeners[i].fd;
		if (m.n_fds < MESSAGE_FDS_MAX && (m.n_fds + 1) * sizeof(records[0]) <= MESSAGE_BODY_MAX)
			continue;
		m.body = slice_of(records, m.n_fds * sizeof(records[0]));
		err = message_send(sock, &m);
		m.n_fds = 0;
	}
	if (err == 0 && m.n_fds > 0) {
		m.body = slice_of(records, m.n_fds * sizeof(records[0]));
		err = message_send(sock, &m);
	}
	return err;
}

void listeners_close_unwanted(struct supervisor *s, const struct kernel_plan *plan)
{
	struct endpoint ignored;
	size_t kept = 0;

	/* Opens nothing: all that the plan wants is open. */
	if (listeners_open(s, plan, &ignored) != 0)
		return;
	for (size_t i = 0; i < s->n_listeners; i++)
		if (s->listeners[i].wanted)
			s->listeners[kept++] = s->listeners[i];
		else
			close(s->listeners[i].fd);
	s->n_listeners = kept;
}

void listeners_close_all(struct supervisor *s)
{
	for (size_t i = 0; i < s->n_listeners; i++)
		close(s->listeners[i].fd);
	free(s->listeners);
	s->listeners = NULL;
	s->n_listeners = 0;
}
