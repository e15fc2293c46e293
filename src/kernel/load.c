/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running the nft program: by fixed path, without a shell, with an environment of our own, the
 * rules on its standard input. It has half a minute; a policy of thousands of zones loads in
 * well under one second.
 */
#include "kernel/host_priv.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NFT_TIMEOUT_MS 30000

static const char *const nft_paths[] = { "/usr/sbin/nft", "/sbin/nft", "/usr/local/sbin/nft", "/usr/bin/nft" };

const char *nft_path(void)
{
	for (size_t i = 0; i < ARRAY_LEN(nft_paths); i++)
		if (access(nft_paths[i], X_OK) == 0)
			return nft_paths[i];
	return NULL;
}

void say_why(char *why, size_t size, const char *format, ...)
{
	va_list ap;

	if (size == 0)
		return;
	va_start(ap, format);
	vsnprintf(why, size, format, ap);
	va_end(ap);
}

/* The rules as a file that is ready to be read: a pipe would need somebody to fill it. */
static int input_file(struct slice rules)
{
	int fd = memfd_create("sallyport-rules", MFD_CLOEXEC);

	while (fd >= 0 && rules.len > 0) {
		ssize_t n = write(fd, rules.ptr, rules.len);

		if (n <= 0) {
			int err = n < 0 ? -errno : -EIO;

			close(fd);
			return err;
		}
		rules = slice_skip(rules, (size_t)n);
	}
	if (fd < 0)
		return -errno;
	return lseek(fd, 0, SEEK_SET) < 0 ? -errno : fd;
}

static void be_nft(const char *path, const char *const *options, int in, int out)
{
	const char *argv[8] = { "nft" };
	char *env[] = { (char[]){ "PATH=/usr/sbin:/usr/bin:/sbin:/bin" }, (char[]){ "LC_ALL=C" }, NULL };
	size_t n = 1;
	sigset_t none;

	for (; *options != NULL && n < ARRAY_LEN(argv) - 1; options++)
		argv[n++] = *options;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(126);
	execve(path, (char *const *)(uintptr_t)argv, env);
	_exit(127);
}

/* options end with NULL. */
static int begin(const char *const *options, struct slice input, struct kernel_loading *l)
{
	const char *path = nft_path();
	int in, channel[2], err = 0;

	if (path == NULL)
		return -ENOENT;
	in = input_file(input);
	if (in < 0)
		return in;
	if (pipe2(channel, O_CLOEXEC) < 0) {
		err = -errno;
		close(in);
		return err;
	}
	*l = (struct kernel_loading){ .words_fd = channel[0] };
	l->pid = fork();
	if (l->pid == 0)
		be_nft(path, options, in, channel[1]);
	if (l->pid < 0) {
		err = -errno;
		l->pid = 0;
		close(channel[0]);
	}
	close(in);
	close(channel[1]);
	return err;
}

/* One piece: as much of it as fits, the rest is dropped. 1; 0: there is nothing more to come; -errno. */
static int hear(struct kernel_loading *l)
{
	char piece[512];
	size_t room = sizeof(l->words) - 1 - l->used;
	ssize_t n = read(l->words_fd, piece, sizeof(piece));

	if (n < 0)
		return -errno;
	if (room > (size_t)n)
		room = (size_t)n;
	memcpy(l->words + l->used, piece, room);
	l->used += room;
	l->words[l->used] = '\0';
	return n > 0;
}

/* Until it closes. */
static int hear_all(struct kernel_loading *l)
{
	int64_t end = clock_system.monotonic_ms(&clock_system) + NFT_TIMEOUT_MS;

	for (;;) {
		int64_t left = end - clock_system.monotonic_ms(&clock_system);
		struct pollfd p = { .fd = l->words_fd, .events = POLLIN };
		int ready = left <= 0 ? 0 : poll(&p, 1, (int)left);

		if (ready == 0)
			return -ETIMEDOUT;
		if (ready > 0 && hear(l) == 0)
			return 0;
	}
}

static int end_of(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* Its exit status, or -errno. */
static int run(const char *const *options, struct slice input, struct kernel_loading *l)
{
	int err = begin(options, input, l), status;

	if (err != 0)
		return err;
	err = hear_all(l);
	close(l->words_fd);
	if (err < 0)
		kill(l->pid, SIGKILL);
	status = end_of(l->pid);
	return err < 0 ? err : status;
}

/* From its exit status or an error number to what is returned, with the reason. */
static int judge(int err, const char *words, char *why, size_t size)
{
	if (err == 0)
		return 0;
	if (err == -ENOENT)
		say_why(why, size, "there is no nft program; install the package nftables");
	else if (err < 0)
		say_why(why, size, "running nft: %s", strerror(-err));
	else
		say_why(why, size, "nft: %s", words[0] != '\0' ? words : "ended without a word");
	if (err > 0)
		err = strstr(words, "Operation not permitted") != NULL ? -EPERM : -EINVAL;
	return err;
}

static const char *const load_options[] = { "-f", "-", NULL };

static int load(const char *const *options, struct slice rules, char *why, size_t size)
{
	struct kernel_loading l = { 0 };
	int err = run(options, rules, &l);

	return judge(err, l.words, why, size);
}

int kernel_load(struct slice rules, char *why, size_t size)
{
	return load(load_options, rules, why, size);
}

int kernel_load_begin(struct slice rules, struct kernel_loading *out)
{
	int err = begin(load_options, rules, out);

	if (err == 0)
		(void)fcntl(out->words_fd, F_SETFL, O_NONBLOCK);
	return err;
}

bool kernel_load_hear(struct kernel_loading *l)
{
	int n;

	while ((n = hear(l)) > 0)
		continue;
	return n == -EAGAIN || n == -EINTR;
}

int kernel_load_end(struct kernel_loading *l, int status, char *why, size_t size)
{
	int err = WIFEXITED(status) ? WEXITSTATUS(status) : -ETIMEDOUT;

	(void)kernel_load_hear(l);
	close(l->words_fd);
	l->words_fd = -1;
	l->pid = 0;
	return judge(err, l->words, why, size);
}

int kernel_try(struct slice rules, char *why, size_t size)
{
	static const char *const options[] = { "-c", "-f", "-", NULL };

	return load(options, rules, why, size);
}

int kernel_is_loaded(void)
{
	static const char *const options[] = { "-t", "list", "table", "inet", KERNEL_TABLE, NULL };
	struct kernel_loading l = { 0 };
	int err = run(options, slice_of(NULL, 0), &l);

	if (err == 0)
		return 1;
	if (err < 0)
		return err;
	return strstr(l.words, "No such file or directory") != NULL ? 0 : -EPERM;
}

int kernel_clear(char *why, size_t size)
{
	static const char remove[] = "table inet " KERNEL_TABLE "\ndelete table inet " KERNEL_TABLE "\n";
	int err = kernel_load(slice_cstr(remove), why, size);
	int route_err;
	char route_why[256];

	/* No nft: then nothing of ours can be in the tables either. */
	if (err == -ENOENT)
		err = 0;
	route_err = route_remove(route_why, sizeof(route_why));
	if (err == 0 && route_err < 0) {
		say_why(why, size, "%s", route_why);
		err = route_err;
	}
	return err;
}
