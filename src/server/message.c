/* SPDX-License-Identifier: Apache-2.0 */
#include "server/message.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* What goes before the body. */
struct message_head {
	uint32_t type, slot, number, body_len;
	int64_t value;
};

int message_pair(int fds[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0)
		return -errno;
	return 0;
}

int message_send(int sock, const struct message *m)
{
	char control[CMSG_SPACE(sizeof(int) * MESSAGE_FDS_MAX)];
	struct message_head head = { m->type, m->slot, m->number, (uint32_t)m->body.len, m->value };
	struct iovec iov[] = { { &head, sizeof(head) }, { (void *)m->body.ptr, m->body.len } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	if (m->body.len > MESSAGE_BODY_MAX || m->n_fds > MESSAGE_FDS_MAX)
		return -EINVAL;
	if (m->n_fds > 0) {
		struct cmsghdr *cmsg;

		memset(control, 0, sizeof(control));
		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * m->n_fds);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int) * m->n_fds);
		memcpy(CMSG_DATA(cmsg), m->fds, sizeof(int) * m->n_fds);
	}
	while (sendmsg(sock, &msg, MSG_NOSIGNAL) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

int message_send_simple(int sock, enum message_type type, uint32_t slot, uint32_t number, int64_t value)
{
	const struct message m = { .type = type, .slot = slot, .number = number, .value = value };

	return message_send(sock, &m);
}

/* Descriptors that came along; more than fit were closed by the kernel (MSG_CTRUNC). */
static void take_fds(struct msghdr *msg, struct message *m)
{
	m->n_fds = 0;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c != NULL; c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(m->fds + m->n_fds, CMSG_DATA(c), n * sizeof(int));
		m->n_fds += (unsigned)n;
	}
}

int message_receive(int sock, struct message *m, struct message_room *room)
{
	char control[CMSG_SPACE(sizeof(int) * MESSAGE_FDS_MAX)];
	struct message_head head;
	struct iovec iov[] = { { &head, sizeof(head) }, { room->octets, sizeof(room->octets) } };
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2, .msg_control = control,
			      .msg_controllen = sizeof(control) };
	ssize_t n;

	do {
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	take_fds(&msg, m);
	if (n == 0 && m->n_fds == 0)
		return 0;
	if ((size_t)n < sizeof(head) || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0 ||
	    head.body_len != (size_t)n - sizeof(head) || head.type == 0 || head.type >= MSG_TYPE_COUNT) {
		message_close_fds(m);
		return -EBADMSG;
	}
	m->type = head.type;
	m->slot = head.slot;
	m->number = head.number;
	m->value = head.value;
	m->body = slice_of(room->octets, head.body_len);
	return 1;
}

void message_close_fds(struct message *m)
{
	for (unsigned i = 0; i < m->n_fds; i++)
		close(m->fds[i]);
	m->n_fds = 0;
}

int message_file(struct slice content)
{
	int fd = memfd_create("sallyport-message", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int err;

	if (fd < 0)
		return -errno;
	for (struct slice rest = content; rest.len > 0; ) {
		ssize_t n = write(fd, rest.ptr, rest.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			err = errno;
			close(fd);
			return -err;
		}
		rest = slice_skip(rest, (size_t)n);
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) != 0) {
		err = errno;
		close(fd);
		return -err;
	}
	return fd;
}

static int sealed_size(int fd, size_t max, size_t *size)
{
	const int sealed = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || (seals & sealed) != sealed)
		return -EBADMSG;
	if (fstat(fd, &st) != 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < 0 || (uint64_t)st.st_size > max)
		return -EFBIG;
	*size = (size_t)st.st_size;
	return 0;
}

/* A private mapping: until Linux 6.7 a sealed file can't be mapped shared, not even for reading. The pages are the file's. */
int message_file_map(int fd, size_t max, void **out, size_t *len)
{
	size_t size = 0;
	void *mapped;
	int err = sealed_size(fd, max, &size);

	if (err != 0)
		return err;
	if (size == 0)
		return -EBADMSG;
	mapped = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (mapped == MAP_FAILED)
		return -errno;
	*out = mapped;
	*len = size;
	return 0;
}

int message_file_read(int fd, size_t max, uint8_t **out, size_t *len)
{
	uint8_t *octets;
	size_t at = 0, size = 0;
	int err = sealed_size(fd, max, &size);

	if (err != 0)
		return err;
	octets = malloc(size + 1);
	if (octets == NULL)
		return -ENOMEM;
	while (at < size) {
		ssize_t n = pread(fd, octets + at, size - at, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	octets[at] = '\0';
	*out = octets;
	*len = at;
	return 0;
}
