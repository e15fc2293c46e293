/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running the policy program (Python): it evaluates a policy file and writes the policy
 * document. It runs as an unprivileged user, under a time limit, and what it writes is bounded.
 * These calls block; they are for the command line and for the process that starts a generation.
 *
 * The program is found in $SALLYPORT_PYTHONDIR; else, for a program in its build folder, in the
 * source tree; else below the prefix it was installed to.
 */
#ifndef SALLYPORT_SERVER_POLICY_PROGRAM_H
#define SALLYPORT_SERVER_POLICY_PROGRAM_H

#include "policy/policy.h"
#include "server/privileges.h"

#define POLICY_PROGRAM_TIMEOUT_MS 60000

struct policy_program_options {
	const char *policy;			/* a policy file, or a policy document (starts with '{') */
	const char *const *instances;		/* none: what the policy program chooses */
	size_t n_instances;
	const char *user;			/* when root; NULL: "sallyport", else "nobody" */
	unsigned timeout_ms;			/* 0 = POLICY_PROGRAM_TIMEOUT_MS */
	/* The program stays and serves callbacks on control_fd, if the policy has any. */
	bool serve;
	int control_fd;				/* the caller's; the program gets a copy */
	const struct proxy_registry *registry;
};

struct policy_program_output {
	struct slice document;			/* on the arena; empty when there were errors */
	bool is_document;			/* the file itself was one: no policy program ran */
	/* The policy's secrets (policy/secrets.h), a sealed memory file; the caller's, who need not
	 * read it to hand it on. -1: there are none, or the file was a document. */
	int secrets;
	pid_t host;				/* with serve: the program, leader of a process group; else 0 */
};

/*
 * From a file to a document. 0; -EINVAL: the policy is wrong, with at least one error in
 * problems; another -errno: the system refused (no such file, no permission, -ETIMEDOUT, -E2BIG,
 * -ENOEXEC: the policy program failed), with the reason in why. Warnings may be added on success.
 */
int policy_program_compile(const struct policy_program_options *options, struct arena *arena,
			   struct policy_problems *problems, struct policy_program_output *out, char *why,
			   size_t why_size) MUST_CHECK;

/*
 * The same in two steps, for a process that must not parse what an unprivileged one wrote: run,
 * then hand both texts on. status is the policy program's exit status (0 while it serves).
 */
struct policy_program_texts {
	struct slice document, problems;	/* on the arena */
	int secrets;				/* as above */
	int status;
	pid_t host;
};
int policy_program_run(const struct policy_program_options *options, struct arena *arena,
		       struct policy_program_texts *out, char *why, size_t why_size) MUST_CHECK;
int policy_program_problems(struct slice problems_text, int status, struct policy_problems *problems) MUST_CHECK;

/* End a program that serves, with its process group; waits for it. */
void policy_program_end(pid_t host);

/* A whole file of at most max octets. 0, or -errno. */
int policy_program_read_file(const char *path, size_t max, struct arena *arena, struct slice *out) MUST_CHECK;

/* The folder with the packages Zorp and sallyport. 0; -ENOENT; -ENAMETOOLONG. */
int policy_program_directory(char *dir, size_t size) MUST_CHECK;

/* A memfd with the schema of the registry, open for reading; anybody may read it. Or -errno. */
int policy_program_schema_fd(const struct proxy_registry *registry) MUST_CHECK;

/*
 * In a child process, before exec: stdin from /dev/null, stdout to stderr, fds[i] becomes
 * descriptor 3 + i, all others are closed at exec, the user is changed, core dumps are off, the
 * process dies with its parent, PYTHONPATH starts with dir. 0 or -errno.
 */
int policy_program_enter(const char *dir, const int *fds, size_t n_fds, const struct unprivileged *user,
			 pid_t parent) MUST_CHECK;

#endif
