/* SPDX-License-Identifier: Apache-2.0 */
/* The leader's policy host: the program that evaluated the policy stays and serves callbacks. */
#include "server/leader/host.h"
#include "server/leader/leader.h"
#include "server/policy_program.h"
#include "server/privileges.h"
#include "proxy/registry.h"
#include "session/callback.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEEPER_ARENA_MAX ((size_t)1 << 30)

struct policy_program_options leader_program_options(const struct leader *l, int control_fd)
{
	const struct run_options *o = l->setup->options;

	/* The leader has given up root already, if it had it. */
	return (struct policy_program_options){
		.policy = o->policy, .instances = o->instances, .n_instances = o->n_instances,
		.serve = true, .control_fd = control_fd, .registry = &proxy_registry_all,
	};
}

static bool write_all(int fd, struct slice s)
{
	while (s.len > 0) {
		ssize_t n = write(fd, s.ptr, s.len);

		if (n < 0 && errno != EINTR)
			return false;
		s = slice_skip(s, n < 0 ? 0 : (size_t)n);
	}
	return true;
}

/*
 * In a child: run the policy program again, hand its document over, and stay as its parent. The
 * leader must not wait for a policy to load, and everything that runs a policy program waits.
 */
static int keep_program(const struct leader *l, int control, int document)
{
	const struct policy_program_options options = leader_program_options(l, control);
	struct arena *arena = arena_create(KEEPER_ARENA_MAX, 0);
	struct policy_program_texts texts = { .host = 0, .secrets = -1 };
	char why[512] = "";

	if (arena == NULL || policy_program_run(&options, arena, &texts, why, sizeof(why)) < 0 || texts.host == 0) {
		log_event(LOG_CORE_ERROR, 1, slice_cstr("nosession"), "The policy cannot be loaded again",
			  F_TEXT("reason", why[0] != '\0' ? why : "the policy has errors now"));
		return 1;
	}
	if (texts.secrets >= 0)
		close(texts.secrets);	/* the generation has those of its first load */
	close(control);			/* the program's end: its end of file is the leader's to see */
	if (!write_all(document, texts.document))
		return 1;
	close(document);
	arena_free(&arena);
	while (waitpid(texts.host, NULL, 0) < 0 && errno == EINTR)
		continue;
	return 0;
}

static int spawn(void *arg, struct host_process *out)
{
	const struct leader *l = arg;
	int control[2], document[2];
	pid_t self = getpid(), pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control) < 0)
		return -errno;
	if (pipe2(document, O_CLOEXEC) < 0) {
		int err = -errno;

		close(control[0]);
		close(control[1]);
		return err;
	}
	pid = fork();
	if (pid == 0) {
		sigset_t none;

		privileges_die_with(self);
		privileges_close_others((const int[]){ control[1], document[1] }, 2);
		sigemptyset(&none);
		(void)sigprocmask(SIG_SETMASK, &none, NULL);
		_exit(keep_program(l, control[1], document[1]));
	}
	close(control[1]);
	close(document[1]);
	if (pid < 0) {
		close(control[0]);
		close(document[0]);
		return -ENOMEM;
	}
	*out = (struct host_process){ .pid = pid, .control = control[0], .document = document[0] };
	return 0;
}

static void connected(void *arg, unsigned slot, const int *fds, size_t n_fds)
{
	struct leader *l = arg;
	struct leader_worker *w = &l->workers[slot];
	struct message m = { .type = MSG_HOST_FDS, .slot = slot, .n_fds = (unsigned)n_fds };

	memcpy(m.fds, fds, n_fds * sizeof(*fds));
	/* A worker that is gone, or broken, has no use for them: the server ends with its connections. */
	if (w->pid != 0)
		(void)!message_send(w->sock, &m);
}

int leader_host_start(struct leader *l, pid_t program, int control)
{
	const struct host_process process = { .pid = program, .control = control, .document = -1 };

	l->host = host_create(&(struct host_setup){
		.poller = &l->poller, .slots = l->setup->options->workers, .conversations = CALLBACK_CONVERSATIONS,
		.fingerprint = l->policy->fingerprint,
		.fingerprint_without_files = l->policy->fingerprint_without_files, .spawn = spawn, .connected = connected, .arg = l }, &process);
	return l->host != NULL ? 0 : -errno;
}

void leader_host_wanted(struct leader_worker *w, bool kill_old)
{
	if (w->leader->host != NULL)
		host_want(w->leader->host, w->slot, kill_old);
}

void leader_host_child_ended(struct leader *l, pid_t pid, int status)
{
	if (l->host != NULL)
		(void)host_child_ended(l->host, pid);
}
