/* SPDX-License-Identifier: Apache-2.0 */
/* Finding, starting and entering the policy program; see policy_run.c for what comes out of it. */
#include "server/policy_program.h"

#include "policy/schema.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCHEMA_OCTETS_MAX (16u << 20)
#define PATH_OCTETS 1024
#define FIRST_FD 3
#define FDS_MAX 8

static bool has_program(const char *dir)
{
	char path[PATH_OCTETS];

	return snprintf(path, sizeof(path), "%s/sallyport/__init__.py", dir) < (int)sizeof(path) &&
	       access(path, R_OK) == 0;
}

/* The folder of the running program, without a slash at the end. */
static int own_directory(char *dir, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", dir, size - 1);
	char *slash;

	if (n < 0)
		return -errno;
	dir[n] = '\0';
	slash = strrchr(dir, '/');
	if (slash == NULL)
		return -ENOENT;
	*slash = '\0';
	return 0;
}

static bool try(char *dir, size_t size, const char *base, const char *below)
{
	char path[PATH_OCTETS];
	int n = snprintf(path, sizeof(path), "%s%s", base, below);

	if (n < 0 || (size_t)n >= sizeof(path) || (size_t)n >= size || !has_program(path))
		return false;
	memcpy(dir, path, (size_t)n + 1);
	return true;
}

int policy_program_directory(char *dir, size_t size)
{
	const char *given = getenv("SALLYPORT_PYTHONDIR");
	char own[PATH_OCTETS];

	if (given != NULL && given[0] != '\0')
		return try(dir, size, given, "") ? 0 : -ENOENT;
	if (own_directory(own, sizeof(own)) < 0)
		return -ENOENT;
	if (strcmp(own, SALLYPORT_BUILD_DIR) == 0 && try(dir, size, SALLYPORT_SOURCE_DIR, "/python"))
		return 0;
	if (try(dir, size, own, "/../share/sallyport/python") || try(dir, size, SALLYPORT_PYTHON_DIR, ""))
		return 0;
	return -ENOENT;
}

static int write_all(int fd, struct slice s)
{
	while (s.len > 0) {
		ssize_t n = write(fd, s.ptr, s.len);

		if (n < 0 && errno != EINTR)
			return -errno;
		s = slice_skip(s, n < 0 ? 0 : (size_t)n);
	}
	return 0;
}

int policy_program_schema_fd(const struct proxy_registry *registry)
{
	struct buffer text = BUFFER_INIT(SCHEMA_OCTETS_MAX);
	int fd = memfd_create("schema.json", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int err = fd < 0 ? -errno : schema_write(registry, &text);

	if (err == 0)
		err = write_all(fd, buffer_slice(&text));
	/* Its reader is another user, who opens it by its path in /proc. */
	if (err == 0 && (fchmod(fd, 0444) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0))
		err = -errno;
	buffer_release(&text);
	if (err < 0 && fd >= 0)
		close(fd);
	return err < 0 ? err : fd;
}

/* Move each descriptor out of the way first: fds may hold the very numbers that are wanted. */
static int place_fds(const int *fds, size_t n_fds)
{
	int away[FDS_MAX];

	if (n_fds > FDS_MAX)
		return -E2BIG;
	for (size_t i = 0; i < n_fds; i++) {
		away[i] = fcntl(fds[i], F_DUPFD, FIRST_FD + FDS_MAX);
		if (away[i] < 0)
			return -errno;
	}
	for (size_t i = 0; i < n_fds; i++)
		if (dup2(away[i], FIRST_FD + (int)i) < 0)
			return -errno;
	return close_range(FIRST_FD + (unsigned)n_fds, ~0u, CLOSE_RANGE_CLOEXEC) < 0 ? -errno : 0;
}

static int set_environment(const char *dir)
{
	const char *old = getenv("PYTHONPATH");
	bool had = old != NULL && old[0] != '\0';
	char *path;
	int err;

	if (asprintf(&path, "%s%s%s", dir, had ? ":" : "", had ? old : "") < 0)
		return -ENOMEM;
	/* With -m the current folder would come first on the import path: a json.py there is not
	 * meant to be ours. (Python before 3.11 does not know the variable.) */
	err = setenv("PYTHONPATH", path, 1) < 0 || setenv("PYTHONSAFEPATH", "1", 1) < 0 || unsetenv("PYTHONHOME") < 0 ?
	      -errno : 0;
	free(path);
	return err;
}

int policy_program_enter(const char *dir, const int *fds, size_t n_fds, const struct unprivileged *user, pid_t parent)
{
	const struct rlimit no_core = { 0, 0 };
	int null, err;

	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return -errno;
	err = place_fds(fds, n_fds);
	if (err == 0)
		err = set_environment(dir);
	if (err < 0)
		return err;
	if (setrlimit(RLIMIT_CORE, &no_core) < 0)
		return -errno;
	return privileges_drop(user, 0, parent);
}
