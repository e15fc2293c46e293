/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connecting to servers. What makes it long are source addresses: those of clients, which are
 * not this host's, and source ports that the policy wants kept. With SO_REUSEADDR a port that
 * another connection of ours uses can be bound again, since only the pair of both ends must be
 * unique; whether it is, connect says (EADDRNOTAVAIL), and a walk over ports goes on with a new
 * socket.
 */
#include "io/connector.h"

#include "io/stream_priv.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef IPV6_TRANSPARENT
#define IPV6_TRANSPARENT 75
#endif

#define TRIES_A_TURN 64u	/* binds before others get to run */

void port_group(uint16_t port, uint16_t *first, uint16_t *last)
{
	if (port >= 1 && port <= 511) {
		*first = 1;
		*last = 511;
	} else if (port >= 512 && port <= 1023) {
		*first = 512;
		*last = 1023;
	} else {
		*first = 1024;
		*last = 65535;
	}
}

/* Sockets. */

static int set(int fd, int level, int name, int value)
{
	return setsockopt(fd, level, name, &value, sizeof(value)) < 0 ? -errno : 0;
}

static int set_options(int fd, const struct connect_request *r)
{
	bool v6 = r->remote.ip.family == AF_INET6;
	int err = set(fd, SOL_TCP, TCP_NODELAY, 1);

	if (err == 0 && r->transparent)
		err = v6 ? set(fd, SOL_IPV6, IPV6_TRANSPARENT, 1) : set(fd, SOL_IP, IP_TRANSPARENT, 1);
	if (err == 0 && r->mark != 0)
		err = set(fd, SOL_SOCKET, SO_MARK, (int)r->mark);
	if (err == 0 && r->tos != 0)
		err = v6 ? set(fd, SOL_IPV6, IPV6_TCLASS, r->tos) : set(fd, SOL_IP, IP_TOS, r->tos);
	if (err == 0 && r->keepalive)
		err = set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	/* The kernel then chooses the port when it knows both ends, else 28 000 is the limit over
	 * all servers. The IPv4 option is right for IPv6 sockets too. */
	if (err == 0 && r->bind == BIND_ADDRESS)
		err = set(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1);
	else if (err == 0 && r->bind != BIND_NONE)
		err = set(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	return err;
}

/* A socket with all options, not bound. The descriptor or -errno. */
static int make_socket(const struct connect_request *r)
{
	int fd = socket(r->remote.ip.family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int err;

	if (fd < 0)
		return -errno;
	err = set_options(fd, r);
	if (err < 0) {
		close(fd);
		return err;
	}
	return fd;
}

static int bind_port(int fd, const struct connect_request *r, uint16_t port)
{
	struct endpoint local = { .ip = r->local.ip, .port = port };
	struct sockaddr_storage sa;
	socklen_t size;

	if (local.ip.family == AF_UNSPEC)
		local.ip.family = r->remote.ip.family;	/* the wildcard: all octets are zero */
	size = endpoint_to_sockaddr(&local, &sa);
	return bind(fd, (struct sockaddr *)&sa, size) < 0 ? -errno : 0;
}

/* 0: under way or there; else -errno. */
static int start_connect(int fd, const struct connect_request *r)
{
	struct sockaddr_storage sa;
	socklen_t size = endpoint_to_sockaddr(&r->remote, &sa);

	if (connect(fd, (struct sockaddr *)&sa, size) < 0 && errno != EINPROGRESS)
		return -errno;
	return 0;
}

/* Bind as the style needs it, and start. The descriptor or -errno; -EADDRINUSE when another port
 * may do. An address that is not this host's fails for every port. */
static int try_port(const struct connect_request *r, uint16_t port)
{
	int fd = make_socket(r), err = 0;

	if (fd < 0)
		return fd;
	if (r->bind != BIND_NONE)
		err = bind_port(fd, r, port);
	if (err == 0) {
		err = start_connect(fd, r);
		if (err == -EADDRNOTAVAIL)
			err = -EADDRINUSE;
	}
	if (err < 0) {
		close(fd);
		return err;
	}
	return fd;
}

/* Walks over ports. */

struct walk {
	uint16_t first, last, at;	/* the sequential walk starts at the wanted port */
	unsigned random_left, left;
};

static void walk_begin(struct walk *w, const struct connect_request *r)
{
	unsigned size;

	port_group(r->local.port, &w->first, &w->last);
	size = w->last - w->first + 1u;
	w->at = r->local.port == 0 ? w->first : r->local.port;
	w->random_left = r->bind == BIND_RANDOM ? size / 8 : 0;
	w->left = size;
}

static bool walk_next(struct walk *w, uint16_t *port)
{
	if (w->random_left > 0) {
		w->random_left--;
		*port = (uint16_t)(w->first + arc4random_uniform(w->last - w->first + 1u));
		return true;
	}
	if (w->left == 0)
		return false;
	w->left--;
	*port = w->at;
	w->at = w->at == w->last ? w->first : (uint16_t)(w->at + 1);
	return true;
}

/* The next port of the group that is free for this server. The descriptor or -errno. */
static co_waits int walk_ports(const struct connect_request *r, deadline_t deadline)
{
	struct walk w;
	uint16_t port;
	int fd = -EADDRINUSE, err;

	walk_begin(&w, r);
	for (unsigned tries = 1; walk_next(&w, &port); tries++) {
		fd = try_port(r, port);
		if (fd != -EADDRINUSE)
			return fd;
		if (tries % TRIES_A_TURN != 0)
			continue;
		err = co_yield();
		if (err < 0)
			return err;
		if (co_now() >= deadline)
			return -ETIMEDOUT;
	}
	return fd;
}

static co_waits int open_socket(const struct connect_request *r, deadline_t deadline)
{
	switch (r->bind) {
	case BIND_LOOSE:
	case BIND_RANDOM:
		return walk_ports(r, deadline);
	case BIND_EXACT:
		return try_port(r, r->local.port);
	default:
		return try_port(r, 0);
	}
}

/* What became of the connection. The event tells of success without a further call. */
static int outcome(const struct stream *s)
{
	int err = 0;
	socklen_t size = sizeof(err);

	if ((s->watch.ready & LOOP_HUP) == 0)
		return 0;
	if (getsockopt(s->watch.fd, SOL_SOCKET, SO_ERROR, &err, &size) < 0)
		return -errno;
	return -err;
}

static bool is_sane(const struct connect_request *r)
{
	sa_family_t family = r->remote.ip.family;

	if ((family != AF_INET && family != AF_INET6) || r->remote.port == 0)
		return false;
	return r->bind == BIND_NONE || r->local.ip.family == AF_UNSPEC || r->local.ip.family == family;
}

static co_waits int kernel_connect(struct connector *connector, const struct connect_request *r,
				   deadline_t deadline, struct stream **out)
{
	struct stream *s;
	int fd, err = 0;

	if (!is_sane(r))
		return -EINVAL;
	if (co_canceled())
		return -ECANCELED;
	fd = open_socket(r, deadline);
	if (fd < 0)
		return fd;
	s = stream_open_ready(co_loop(), fd, 0);
	if (s == NULL) {
		err = -errno;
		close(fd);
		return err;
	}
	while (err == 0 && (s->watch.ready & LOOP_WRITE) == 0)
		err = stream_wait_news(s, deadline);
	if (err == 0)
		err = outcome(s);
	if (err < 0) {
		stream_close(&s);
		return err;
	}
	*out = s;
	return 0;
}

struct connector connector_kernel = { .connect = kernel_connect };
