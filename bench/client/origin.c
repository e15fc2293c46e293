/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands behind the proxies of bench/tls: a client writes how many octets it wants (eight
 * digits), gets so many, and may ask again. One process, thousands of connections.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST 8		/* octets of a request */
#define CHUNK 65536

struct peer {
	int fd;
	size_t asked;		/* octets of the request that are there */
	char request[REQUEST + 1];
	uint64_t owed;		/* octets that it still gets */
};

static const uint8_t chunk[CHUNK];

static void check(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
}

static int listen_on(uint16_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;

	check(fd, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	check(bind(fd, (struct sockaddr *)&address, sizeof(address)), "bind");
	check(listen(fd, 4096), "listen");
	return fd;
}

static void accept_all(int poll, int listener)
{
	int fd, on = 1;

	while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
		struct peer *peer = calloc(1, sizeof(*peer));
		struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = peer };

		if (peer == NULL)
			exit(1);
		peer->fd = fd;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		check(epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event), "epoll_ctl");
	}
}

/* 1: go on; 0: wait; -1: the peer is gone. */
static int step(struct peer *peer)
{
	ssize_t n;

	if (peer->owed > 0) {
		n = send(peer->fd, chunk, peer->owed < CHUNK ? (size_t)peer->owed : CHUNK, MSG_NOSIGNAL);
		if (n > 0)
			peer->owed -= (uint64_t)n;
	} else {
		n = recv(peer->fd, peer->request + peer->asked, REQUEST - peer->asked, 0);
		if (n == 0)
			return -1;
		peer->asked += n > 0 ? (size_t)n : 0;
		if (peer->asked == REQUEST) {
			peer->owed = strtoull(peer->request, NULL, 10);
			peer->asked = 0;
		}
	}
	return n > 0 ? 1 : errno == EAGAIN ? 0 : -1;
}

static void serve(struct peer *peer)
{
	int more;

	while ((more = step(peer)) > 0)
		;
	if (more < 0) {
		close(peer->fd);
		free(peer);
	}
}

int main(int argc, char **argv)
{
	struct epoll_event events[64], event = { .events = EPOLLIN };
	int listener, poll = epoll_create1(0);

	if (argc != 2) {
		fprintf(stderr, "usage: origin PORT\n");
		return 2;
	}
	listener = listen_on((uint16_t)atoi(argv[1]));
	check(epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event), "epoll_ctl");
	for (;;) {
		int n = epoll_wait(poll, events, 64, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr == NULL)
				accept_all(poll, listener);
			else
				serve(events[i].data.ptr);
		}
	}
}
