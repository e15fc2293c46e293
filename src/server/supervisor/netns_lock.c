/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules of all instances of a network namespace compete in one best-match decision, and there
 * is one rule set: two supervisors would take it from each other. The lock ends with the
 * process that holds it, however it ends.
 */
#include "server/supervisor/supervisor_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_DIRECTORY "/run/sallyport"

int netns_lock(pid_t *pid)
{
	char path[64], text[24] = "";
	struct stat ns;
	int fd, err;

	*pid = 0;
	if (stat("/proc/self/ns/net", &ns) != 0)
		return -errno;
	if (mkdir(LOCK_DIRECTORY, 0755) != 0 && errno != EEXIST)
		return -errno;
	snprintf(path, sizeof(path), LOCK_DIRECTORY "/netns-%llu.lock", (unsigned long long)ns.st_ino);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		err = errno == EWOULDBLOCK ? EBUSY : errno;
		if (pread(fd, text, sizeof(text) - 1, 0) > 0)
			*pid = (pid_t)strtol(text, NULL, 10);
		close(fd);
		return -err;
	}
	snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(fd, 0) != 0 || pwrite(fd, text, strlen(text), 0) < 0) {
		err = errno;
		close(fd);
		return -err;
	}
	return fd;
}
