/* SPDX-License-Identifier: Apache-2.0 */
/* A socket without anything on top. */
#include "io/stream_priv.h"

#include <errno.h>
#include <sys/socket.h>

static int fd_of(void *self)
{
	return (int)(intptr_t)self;
}

static ssize_t plain_read(void *self, void *buf, size_t size, unsigned *want)
{
	ssize_t n;

	do
		n = recv(fd_of(self), buf, size, 0);
	while (n < 0 && errno == EINTR);
	*want = LOOP_READ;
	return n < 0 ? -errno : n;
}

static ssize_t plain_writev(void *self, const struct iovec *iov, int n_iov, unsigned *want)
{
	struct msghdr message = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)n_iov };
	ssize_t n;

	do {
		if (n_iov == 1)
			n = send(fd_of(self), iov->iov_base, iov->iov_len, MSG_NOSIGNAL);
		else
			n = sendmsg(fd_of(self), &message, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	*want = LOOP_WRITE;
	return n < 0 ? -errno : n;
}

static int plain_shutdown_write(void *self, unsigned *want)
{
	*want = 0;
	return shutdown(fd_of(self), SHUT_WR) < 0 ? -errno : 0;
}

static void plain_close(void *self)
{
}

const struct transport_ops transport_plain = {
	.name = "tcp",
	.read = plain_read,
	.writev = plain_writev,
	.shutdown_write = plain_shutdown_write,
	.close = plain_close,
	.splices = true,
};
