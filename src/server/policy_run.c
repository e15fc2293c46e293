/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run of the policy program: what it writes to its two pipes is collected under a time limit
 * and bounds, and it does not outlive the call. Policy code runs in it, so nothing it does or
 * writes is trusted; a loop without end, or a document without end, is a refusal like any other.
 */
#include "server/policy_program.h"

#include "base/buffer.h"
#include "base/clock.h"
#include "policy/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PYTHON "/usr/bin/python3"
#define DOCUMENT_MAX ((size_t)256 << 20)
#define PROBLEMS_MAX ((size_t)4 << 20)
#define READ_OCTETS 65536
#define SAID_ABOVE "; what it said is above"

/* What the child tells when it can't become the policy program. */
struct start_failure {
	int err;			/* -errno */
	enum { START_ENTER, START_POLICY, START_EXEC } doing;
};

struct run {
	pid_t pid;
	int64_t end_ms;				/* monotonic */
	int document, problems, failure;	/* ends of pipes to read */
	int secrets;				/* the memory file it writes */
	struct buffer document_text, problems_text, failure_text;
};

static int fail(char *why, size_t size, int err, const char *format, ...) __attribute__((format(printf, 4, 5)));

static int fail(char *why, size_t size, int err, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(why, size, format, ap);
	va_end(ap);
	return err;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int policy_program_read_file(const char *path, size_t max, struct arena *arena, struct slice *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	uint8_t *text;
	size_t len = 0;
	int err = 0;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	}
	if ((uint64_t)st.st_size > max) {
		close(fd);
		return -EFBIG;
	}
	text = arena_alloc(arena, (size_t)st.st_size);
	while (text != NULL && len < (size_t)st.st_size && err == 0) {
		ssize_t n = read(fd, text + len, (size_t)st.st_size - len);

		if (n < 0 && errno != EINTR)
			err = -errno;
		if (n == 0)
			break;
		len += n > 0 ? (size_t)n : 0;
	}
	close(fd);
	if (text == NULL)
		return -ENOMEM;
	if (err == 0)
		*out = slice_of(text, len);
	return err;
}

/* What the child gets, from descriptor 3 on; control only with serve. */
enum { FD_DOCUMENT, FD_PROBLEMS, FD_SCHEMA, FD_FAILURE, FD_SECRETS, FD_CONTROL, FD_COUNT };

#define CHILD_FD(fd) (3 + (fd))

/* In the child. */
static void run_program(const struct policy_program_options *o, const char *dir, const struct unprivileged *user,
			pid_t parent, char **argv, const int fds[FD_COUNT])
{
	struct start_failure failure = { .doing = START_ENTER };
	int report = fds[FD_FAILURE];

	setpgid(0, 0);
	failure.err = policy_program_enter(dir, fds, o->serve ? FD_COUNT : FD_CONTROL, user, parent);
	if (failure.err == 0) {
		report = CHILD_FD(FD_FAILURE);
		failure.doing = START_POLICY;
		if (access(o->policy, R_OK) < 0)
			failure.err = -errno;
	}
	if (failure.err == 0 && fcntl(report, F_SETFD, FD_CLOEXEC) == 0) {
		execv(PYTHON, argv);
		failure.doing = START_EXEC;
		failure.err = -errno;
	}
	if (write(report, &failure, sizeof(failure)) != sizeof(failure))
		_exit(125);
	_exit(126);
}

static char **make_argv(const struct policy_program_options *o, struct arena *arena)
{
	const char *const head[] = { PYTHON, "-B", "-s", "-m", "sallyport.host", o->serve ? "serve" : "compile",
				     "--schema", "/proc/self/fd/5", "--document-fd", "3", "--problems-fd", "4", "--secrets-fd",
				     "7", "--policy", o->policy };
	char **argv = arena_array(arena, ARRAY_LEN(head) + 3 + 2 * o->n_instances, sizeof(char *));
	size_t n = 0;

	_Static_assert(CHILD_FD(FD_DOCUMENT) == 3 && CHILD_FD(FD_PROBLEMS) == 4 && CHILD_FD(FD_SCHEMA) == 5 &&
		       CHILD_FD(FD_SECRETS) == 7 && CHILD_FD(FD_CONTROL) == 8, "as the arguments say");
	if (argv == NULL)
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(head); i++)
		argv[n++] = (char *)head[i];
	for (size_t i = 0; i < o->n_instances; i++) {
		argv[n++] = (char *)"--instance";
		argv[n++] = (char *)o->instances[i];
	}
	if (o->serve) {
		argv[n++] = (char *)"--control-fd";
		argv[n++] = (char *)"8";
	}
	return argv;
}

/* As large as it may become, and no larger: the program cuts it to what it wrote. fd or -errno. */
static int secrets_create(void)
{
	int fd = memfd_create("secrets", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int err = fd < 0 ? -errno : 0;

	if (err == 0 && (ftruncate(fd, SECRETS_FILE_MAX) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_GROW) < 0))
		err = -errno;
	if (err < 0 && fd >= 0)
		close(fd);
	return err < 0 ? err : fd;
}

/* The document is there, so they are complete: from here on nobody changes them. */
static int secrets_seal(struct run *r)
{
	struct stat st;

	if (fcntl(r->secrets, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL) < 0 || fstat(r->secrets, &st) < 0)
		return -errno;
	if (st.st_size == 0)
		close_fd(&r->secrets);
	return 0;
}

/* 0, -errno; r->pid and the read ends are set on success. */
static int start(const struct policy_program_options *o, const char *dir, const struct unprivileged *user,
		 struct arena *arena, struct run *r)
{
	int document[2] = { -1, -1 }, problems[2] = { -1, -1 }, failure[2] = { -1, -1 };
	char **argv = make_argv(o, arena);
	int schema = policy_program_schema_fd(o->registry);
	int secrets = secrets_create();
	int err = schema < 0 ? schema : secrets < 0 ? secrets : 0;
	pid_t parent = getpid();

	if (argv == NULL)
		err = -ENOMEM;
	if (err == 0 && (pipe2(document, O_CLOEXEC) < 0 || pipe2(problems, O_CLOEXEC) < 0 ||
			 pipe2(failure, O_CLOEXEC) < 0))
		err = -errno;
	if (err == 0) {
		r->pid = fork();
		if (r->pid == 0)
			run_program(o, dir, user, parent, argv,
				    (int[]){ document[1], problems[1], schema, failure[1], secrets, o->control_fd });
		if (r->pid < 0)
			err = -errno;
	}
	close_fd(&document[1]);
	close_fd(&problems[1]);
	close_fd(&failure[1]);
	close_fd(&schema);
	r->document = document[0];
	r->problems = problems[0];
	r->failure = failure[0];
	r->secrets = secrets;
	return err;
}

/* Read what is there. *fd is closed at its end. 0; -E2BIG; -ENOMEM; -errno. */
static int collect(int *fd, struct buffer *text)
{
	static const size_t step = READ_OCTETS;
	uint8_t *chunk = malloc(step);
	ssize_t n = chunk == NULL ? -1 : read(*fd, chunk, step);
	int err = 0;

	if (chunk == NULL)
		return -ENOMEM;
	if (n > 0) {
		buffer_append(text, slice_of(chunk, (size_t)n));
		if (text->broken)
			err = text->len + (size_t)n > text->ceiling ? -E2BIG : -ENOMEM;
	} else if (n == 0) {
		close_fd(fd);
	} else if (errno != EINTR && errno != EAGAIN) {
		err = -errno;
	}
	free(chunk);
	return err;
}

/* Until all pipes ended. */
static int collect_all(struct run *r)
{
	int *const fds[] = { &r->document, &r->problems, &r->failure };
	struct buffer *const texts[] = { &r->document_text, &r->problems_text, &r->failure_text };

	while (r->document >= 0 || r->problems >= 0 || r->failure >= 0) {
		struct pollfd polled[3];
		int64_t left = r->end_ms - clock_system.monotonic_ms(&clock_system);

		for (size_t i = 0; i < 3; i++)
			polled[i] = (struct pollfd){ .fd = *fds[i], .events = POLLIN };
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(polled, 3, (int)left) < 0 && errno != EINTR)
			return -errno;
		for (size_t i = 0; i < 3; i++) {
			int err = polled[i].fd >= 0 && polled[i].revents != 0 ? collect(fds[i], texts[i]) : 0;

			if (err < 0)
				return err;
		}
	}
	return 0;
}

/* Closing its pipes does not end a process: policy code may do that and go on. */
static int wait_for_end(const struct run *r)
{
	int fd = pidfd_open(r->pid, 0);
	struct pollfd polled = { .fd = fd, .events = POLLIN };
	int64_t left;
	int n = 0;

	if (fd < 0)
		return -errno;
	do {
		left = r->end_ms - clock_system.monotonic_ms(&clock_system);
		n = left > 0 ? poll(&polled, 1, (int)left) : 0;
	} while (n < 0 && errno == EINTR);
	close(fd);
	return n > 0 ? 0 : -ETIMEDOUT;
}

/* It has ended; what it left in its process group ends too. Its wait status; -1: none. */
static int reap(const struct run *r)
{
	int status;

	kill(-r->pid, SIGKILL);
	while (waitpid(r->pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return status;
}

/* It ends now. The group may not exist yet. */
static int finish(const struct run *r)
{
	kill(r->pid, SIGKILL);
	return reap(r);
}

void policy_program_end(pid_t host)
{
	finish(&(struct run){ .pid = host });
}

static int explain_failure(const struct run *r, const struct policy_program_options *o,
			   const struct unprivileged *user, char *why, size_t size)
{
	struct start_failure failure;

	memcpy(&failure, r->failure_text.data, sizeof(failure));
	if (failure.doing == START_POLICY && user->change)
		return fail(why, size, failure.err, "%s: user '%s', as whom policies run, can't read it: %s; make the file "
			    "and its folders readable for that user, or name another one with --user", o->policy,
			    user->name, strerror(-failure.err));
	if (failure.doing == START_POLICY)
		return fail(why, size, failure.err, "%s: %s", o->policy, strerror(-failure.err));
	if (failure.doing == START_EXEC)
		return fail(why, size, -ENOEXEC, "can't run %s: %s", PYTHON, strerror(-failure.err));
	return fail(why, size, failure.err, "can't start the policy program: %s", strerror(-failure.err));
}

static int judge(const struct run *r, int err, int wait_status, const struct policy_program_options *o,
		 const struct unprivileged *user, char *why, size_t size)
{
	if (err == -ETIMEDOUT)
		return fail(why, size, err, "%s: the policy did not load within %u seconds", o->policy,
			    (o->timeout_ms != 0 ? o->timeout_ms : POLICY_PROGRAM_TIMEOUT_MS) / 1000);
	if (err == -E2BIG)
		return fail(why, size, err, "%s: the policy program wrote more than can be taken", o->policy);
	if (err < 0)
		return fail(why, size, err, "%s: %s", o->policy, strerror(-err));
	if (r->failure_text.len == sizeof(struct start_failure))
		return explain_failure(r, o, user, why, size);
	if (WIFSIGNALED(wait_status))
		return fail(why, size, -ENOEXEC, "%s: the policy program was ended by signal %d", o->policy,
			    WTERMSIG(wait_status));
	if (!WIFEXITED(wait_status) || WEXITSTATUS(wait_status) > 1)
		return fail(why, size, -ENOEXEC, "%s: the policy program failed (status %d)" SAID_ABOVE, o->policy,
			    WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1);
	return 0;
}

/* A program that serves callbacks stays after it wrote its document; any other one ends. */
static int await(struct run *r, const struct policy_program_options *o, const struct unprivileged *user,
		 struct policy_program_texts *out, char *why, size_t size)
{
	int err = collect_all(r), wait_status;

	if (err == 0 && o->serve && r->document_text.len > 0 && r->failure_text.len == 0) {
		out->status = 0;
		out->host = r->pid;
		return 0;
	}
	if (err == 0)
		err = wait_for_end(r);
	wait_status = err == 0 ? reap(r) : finish(r);
	out->status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : -1;
	return judge(r, err, wait_status, o, user, why, size);
}

static int keep_texts(const struct run *r, struct arena *arena, struct policy_program_texts *out)
{
	out->document = arena_copy(arena, buffer_slice(&r->document_text));
	out->problems = arena_copy(arena, buffer_slice(&r->problems_text));
	return out->document.ptr == NULL || out->problems.ptr == NULL ? -ENOMEM : 0;
}

static int keep(struct run *r, struct arena *arena, struct policy_program_texts *out)
{
	int err = keep_texts(r, arena, out);

	if (err < 0 || out->document.len == 0)
		return err;
	err = secrets_seal(r);
	if (err < 0)
		return err;
	out->secrets = r->secrets;
	r->secrets = -1;
	return 0;
}

static void run_release(struct run *r)
{
	close_fd(&r->document);
	close_fd(&r->problems);
	close_fd(&r->failure);
	close_fd(&r->secrets);
	buffer_release(&r->document_text);
	buffer_release(&r->problems_text);
	buffer_release(&r->failure_text);
}

static int find_user(const char *name, struct unprivileged *user, char *why, size_t size)
{
	int err = privileges_user(name, user);

	if (err == -EPERM)
		return fail(why, size, err, "--user: only root can become another user");
	if (err == -EINVAL)
		return fail(why, size, err, "--user: policies do not run as root");
	if (err < 0)
		return fail(why, size, err, "there is no user '%s'", name != NULL ? name : "nobody");
	return 0;
}

int policy_program_run(const struct policy_program_options *options, struct arena *arena,
		       struct policy_program_texts *out, char *why, size_t why_size)
{
	unsigned timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : POLICY_PROGRAM_TIMEOUT_MS;
	struct run r = { .document = -1, .problems = -1, .failure = -1, .secrets = -1, .document_text = BUFFER_INIT(DOCUMENT_MAX),
			 .problems_text = BUFFER_INIT(PROBLEMS_MAX), .failure_text = BUFFER_INIT(4096),
			 .end_ms = clock_system.monotonic_ms(&clock_system) + timeout_ms };
	struct policy_program_texts made = { .host = 0, .secrets = -1 };
	struct unprivileged user;
	char dir[1024];
	int err = policy_program_directory(dir, sizeof(dir));

	if (err < 0)
		return fail(why, why_size, err, "the Python part of sallyport is not where it should be "
			    "(see SALLYPORT_PYTHONDIR)");
	err = find_user(options->user, &user, why, why_size);
	if (err < 0)
		return err;
	err = start(options, dir, &user, arena, &r);
	if (err < 0)
		fail(why, why_size, err, "can't start the policy program: %s", strerror(-err));
	else
		err = await(&r, options, &user, &made, why, why_size);
	if (err == 0) {
		err = keep(&r, arena, &made);
		if (err < 0 && made.host > 0)
			finish(&r);
		if (err < 0)
			fail(why, why_size, err, "%s: %s", options->policy, strerror(-err));
	}
	run_release(&r);
	if (err == 0)
		*out = made;
	return err;
}

/* One line: {"file", "line", "severity", "message", "hint"}. */
static int read_problem(struct slice line, struct policy_problems *problems)
{
	json_t *json = json_loadb((const char *)line.ptr, line.len, 0, NULL);
	const char *file, *severity, *message = json_string_value(json_object_get(json, "message"));
	json_int_t number = json_integer_value(json_object_get(json, "line"));
	struct policy_place place = { NULL, 0 };

	if (message == NULL) {
		json_decref(json);
		return -EINVAL;
	}
	file = json_string_value(json_object_get(json, "file"));
	severity = json_string_value(json_object_get(json, "severity"));
	if (file != NULL) {
		place.file = arena_strdup(problems->arena, file);
		place.line = number > 0 && number < INT_MAX ? (unsigned)number : 0;
	}
	problems_add(problems, severity != NULL && strcmp(severity, "warning") == 0 ? PROBLEM_WARNING : PROBLEM_ERROR,
		     place, json_string_value(json_object_get(json, "hint")), "%s", message);
	json_decref(json);
	return 0;
}

int policy_program_problems(struct slice problems_text, int status, struct policy_problems *problems)
{
	unsigned errors = problems->n_errors;

	while (problems_text.len > 0) {
		size_t end = slice_index(problems_text, '\n');

		if (end > 0 && read_problem(slice_take(problems_text, end), problems) < 0)
			return -EBADMSG;
		problems_text = slice_skip(problems_text, end + 1);
	}
	if (problems->n_errors > errors)
		return -EINVAL;
	return status == 0 ? 0 : -EBADMSG;	/* it says no, but not why */
}

static bool starts_document(struct slice text)
{
	size_t i = 0;

	while (i < text.len && (text.ptr[i] == ' ' || text.ptr[i] == '\t' || text.ptr[i] == '\n' || text.ptr[i] == '\r'))
		i++;
	return i < text.len && text.ptr[i] == '{';
}

/* 1: the file is a document, 0: it is not, -errno. Only its first octets are read for that. */
static int is_document(const char *path)
{
	uint8_t head[256];
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, head, sizeof(head));
	n = n < 0 ? -errno : n;
	close(fd);
	return n < 0 ? (int)n : starts_document(slice_of(head, (size_t)n));
}

static int compile(const struct policy_program_options *options, struct arena *arena,
		   struct policy_problems *problems, struct policy_program_output *out, char *why, size_t why_size)
{
	struct policy_program_texts texts;
	int err = policy_program_run(options, arena, &texts, why, why_size);

	if (err < 0)
		return err;
	err = policy_program_problems(texts.problems, texts.status, problems);
	if (err == 0 && texts.document.len == 0)
		err = -EBADMSG;
	if (err < 0 && texts.host > 0)
		policy_program_end(texts.host);
	if (err < 0)
		close_fd(&texts.secrets);
	if (err == -EBADMSG)
		return fail(why, why_size, -ENOEXEC, "%s: the policy program failed" SAID_ABOVE, options->policy);
	if (err == 0)
		*out = (struct policy_program_output){ .document = texts.document, .secrets = texts.secrets, .host = texts.host };
	return err;
}

int policy_program_compile(const struct policy_program_options *options, struct arena *arena,
			   struct policy_problems *problems, struct policy_program_output *out, char *why,
			   size_t why_size)
{
	struct slice document = { NULL, 0 };
	int kind = is_document(options->policy);
	int err;

	if (kind == 0)
		return compile(options, arena, problems, out, why, why_size);
	err = kind < 0 ? kind : policy_program_read_file(options->policy, DOCUMENT_MAX, arena, &document);
	if (err < 0)
		return fail(why, why_size, err, "%s: %s", options->policy, strerror(-err));
	*out = (struct policy_program_output){ .document = document, .is_document = true, .secrets = -1 };
	return 0;
}
