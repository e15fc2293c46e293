/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket as a place in the file system: made by the supervisor, found by ctl. */
#include "server/control/control.h"
#include "server/supervisor/supervisor.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define REPLY_OCTETS_MAX (256u << 20)

int control_path_usual(char *buf, size_t size)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int n;

	if (geteuid() == 0)
		n = snprintf(buf, size, "/run/sallyport/control");
	else if (runtime != NULL && runtime[0] == '/')
		n = snprintf(buf, size, "%s/sallyport/control", runtime);
	else
		n = snprintf(buf, size, "/tmp/sallyport-%u/control", (unsigned)geteuid());
	return n > 0 && (size_t)n < size ? 0 : -ENAMETOOLONG;
}

static int address_of(const char *path, struct sockaddr_un *sa)
{
	memset(sa, 0, sizeof(*sa));
	sa->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(sa->sun_path))
		return -ENAMETOOLONG;
	memcpy(sa->sun_path, path, strlen(path) + 1);
	return 0;
}

/* The last directory of the path, if it is missing; and in /tmp nobody else's. */
static int make_directory(const char *path)
{
	char directory[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const char *slash = strrchr(path, '/');
	struct stat st;

	if (slash == NULL || slash == path)
		return 0;
	memcpy(directory, path, (size_t)(slash - path));
	directory[slash - path] = '\0';
	if (mkdir(directory, geteuid() == 0 ? 0755 : 0700) != 0 && errno != EEXIST)
		return -errno;
	if (strncmp(directory, "/tmp/sallyport-", 15) == 0 &&
	    (lstat(directory, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid()))
		return -EPERM;
	return 0;
}

static int connect_to(const struct sockaddr_un *sa)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)sa, sizeof(*sa)) != 0) {
		int err = errno;

		close(fd);
		return -err;
	}
	return fd;
}

/* Remove what one that was killed left. Connecting to an ordinary file is refused with the same
 * error; whoever gave its name did not mean that it goes. */
static int remove_stale(const char *path)
{
	struct stat st;

	if (lstat(path, &st) != 0)
		return -errno;
	if (!S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	return unlink(path) != 0 ? -errno : 0;
}

int control_listen(const char *path, pid_t *pid)
{
	struct sockaddr_un sa;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	mode_t mask;
	int fd, err = address_of(path, &sa);

	if (err == 0)
		err = make_directory(path);
	if (err != 0)
		return err;
	fd = connect_to(&sa);
	if (fd >= 0) {
		if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
			*pid = peer.pid;
		close(fd);
		return -EADDRINUSE;
	}
	err = fd == -ECONNREFUSED ? remove_stale(path) : 0;
	if (err != 0)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	mask = umask(0177);
	err = bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) != 0 || listen(fd, 64) != 0 ? errno : 0;
	umask(mask);
	if (err == 0)
		return fd;
	close(fd);
	return -err;
}

static int read_line(int fd, char **out)
{
	size_t size = 65536, len = 0;
	char *line = malloc(size);

	while (line != NULL && len < REPLY_OCTETS_MAX) {
		ssize_t n = read(fd, line + len, size - len - 1);
		char *bigger;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			int err = n < 0 ? errno : ECONNRESET;

			free(line);
			return -err;
		}
		len += (size_t)n;
		if (line[len - 1] == '\n') {
			line[len - 1] = '\0';
			*out = line;
			return 0;
		}
		if (len + 1 < size)
			continue;
		bigger = realloc(line, size *= 2);
		if (bigger == NULL)
			break;
		line = bigger;
	}
	free(line);
	return -ENOMEM;
}

int control_ask(const char *path, const char *request, char **reply, int *connection)
{
	struct sockaddr_un sa;
	size_t len = strlen(request);
	int fd, err = address_of(path, &sa);

	if (err != 0)
		return err;
	fd = connect_to(&sa);
	if (fd < 0)
		return fd;
	if (send(fd, request, len, MSG_NOSIGNAL) != (ssize_t)len || send(fd, "\n", 1, MSG_NOSIGNAL) != 1)
		err = -EPIPE;
	else
		err = read_line(fd, reply);
	if (err == 0 && connection != NULL)
		*connection = fd;
	else
		close(fd);
	return err;
}
