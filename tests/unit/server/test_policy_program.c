/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running the policy program: here it is one of the test's own, found by $SALLYPORT_PYTHONDIR,
 * that misbehaves in each way that policy code could make the real one.
 */
#include "server/policy_program.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[] = "/tmp/sallyport-program-XXXXXX";
static char policy_path[64];
static struct arena *arena;
static struct policy_problems problems;
static char why[500];

static const struct proxy_type *const no_types[] = { NULL };
static const struct proxy_registry no_proxies = { no_types };

static void write_file(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(path, 0644), 0);
}

static int setup_folder(void **state)
{
	char path[128];

	(void)state;
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chmod(folder, 0755), 0);
	snprintf(path, sizeof(path), "%s/sallyport", folder);
	assert_int_equal(mkdir(path, 0755), 0);
	write_file("sallyport/__init__.py", "");
	write_file("policy.py", "# not looked at\n");
	snprintf(policy_path, sizeof(policy_path), "%s/policy.py", folder);
	return setenv("SALLYPORT_PYTHONDIR", folder, 1);
}

static int teardown_folder(void **state)
{
	static const char *const names[] = { "sallyport/host.py", "sallyport/__init__.py", "sallyport", "policy.py",
					     "document", "" };
	char path[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		remove(path);
	}
	return 0;
}

static int setup(void **state)
{
	(void)state;
	arena = arena_create((size_t)64 << 20, 0);
	problems_init(&problems, arena);
	why[0] = '\0';
	return arena == NULL;
}

static int teardown(void **state)
{
	(void)state;
	arena_free(&arena);
	return 0;
}

/* The program's text; document and problems are the files it writes to. */
static int compile_with(const char *program, struct policy_program_output *out)
{
	struct policy_program_options options = { .policy = policy_path, .timeout_ms = 2000, .registry = &no_proxies };
	char text[2048];

	snprintf(text, sizeof(text), "import os, sys, time\ndocument, problems = open(3, 'w'), open(4, 'w')\n%s", program);
	write_file("sallyport/host.py", text);
	return policy_program_compile(&options, arena, &problems, out, why, sizeof(why));
}

static void the_document_comes_through(void **state)
{
	struct policy_program_output out;

	(void)state;
	assert_int_equal(compile_with("document.write('{\"a\":1}' * 100000)\n", &out), 0);
	assert_int_equal(out.document.len, 700000);
	assert_true(slice_starts_with(out.document, SLICE("{\"a\":1}{")));
	assert_false(out.is_document);
	assert_int_equal(out.host, 0);
	assert_int_equal(problems.n_errors + problems.n_warnings, 0);
}

static void it_gets_what_was_asked_for(void **state)
{
	static const char *const instances[] = { "one", "two" };
	struct policy_program_options options = { .policy = policy_path, .registry = &no_proxies, .n_instances = 2,
						  .instances = instances };
	struct policy_program_output out;
	char want[300];

	(void)state;
	write_file("sallyport/host.py", "import os, sys\nd = open(3, 'w')\n"
		   "d.write('%s|%s|%s' % (' '.join(sys.argv[1:]), open(sys.argv[3]).read().split(), sys.stdin.read()))\n"
		   "os.fstat(5)\nprint('not in the document')\n"
		   "os.fstat(7)\n"
		   "for fd in [6] + list(range(8, 50)):\n  try:\n    os.fstat(fd); d.write(' open %d' % fd)\n  except OSError: pass\n");
	assert_int_equal(policy_program_compile(&options, arena, &problems, &out, why, sizeof(why)), 0);
	snprintf(want, sizeof(want), "compile --schema /proc/self/fd/5 --document-fd 3 --problems-fd 4 --secrets-fd 7 --policy %s "
		 "--instance one --instance two|['{', '\"proxies\":', '{}', '}']|", policy_path);
	assert_string_equal(arena_cstr(arena, out.document), want);
}

/* They are complete, and nobody changes them any more, when the document is there. */
static void secrets_come_in_a_sealed_file(void **state)
{
	struct policy_program_output out = { .secrets = -1 };
	char octets[16];

	(void)state;
	assert_int_equal(compile_with("s = open(7, 'wb')\ns.write(b'\\0\\0\\0\\1x')\ns.truncate()\ns.close()\n"
				      "document.write('{}')\n", &out), 0);
	assert_true(out.secrets >= 0);
	assert_int_equal(pread(out.secrets, octets, sizeof(octets), 0), 5);
	assert_memory_equal(octets, "\0\0\0\1x", 5);
	assert_int_equal(fcntl(out.secrets, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	assert_int_equal(pwrite(out.secrets, "y", 1, 4), -1);
	close(out.secrets);
	assert_int_equal(compile_with("open(7, 'wb').truncate(0)\ndocument.write('{}')\n", &out), 0);
	assert_int_equal(out.secrets, -1);
}

static void secrets_have_a_ceiling(void **state)
{
	struct policy_program_output out;

	(void)state;
	assert_int_equal(compile_with("import errno\ntry:\n  os.pwrite(7, b'x', 16 << 20)\nexcept OSError as e:\n"
				      "  document.write('refused')\n", &out), 0);
	assert_true(slice_equal(out.document, SLICE("refused")));
	close(out.secrets);
}

/* Whoever keeps a way to change them afterwards gets no policy. */
static void secrets_that_stay_writable_are_refused(void **state)
{
	struct policy_program_output out;

	(void)state;
	assert_int_equal(compile_with("import mmap\nm = mmap.mmap(7, 4096)\nif os.fork() == 0:\n  os.setsid()\n  document.close()\n"
				      "  problems.close()\n  time.sleep(1)\n  os._exit(0)\n"
				      "document.write('{}')\n", &out), -EBUSY);
}

static void problems_come_through(void **state)
{
	struct policy_program_output out;
	struct policy_problem *p;

	(void)state;
	assert_int_equal(compile_with("problems.write('{\"file\":\"/a.py\",\"line\":7,\"severity\":\"warning\",\"message\":\"m\","
				      "\"hint\":null}\\n{\"file\":\"/b.py\",\"line\":8,\"severity\":\"error\",\"message\":\"n\","
				      "\"hint\":\"h\"}\\n')\nproblems.close()\nsys.exit(1)\n", &out), -EINVAL);
	assert_int_equal(problems.n_errors, 1);
	assert_int_equal(problems.n_warnings, 1);
	p = problems.first;
	assert_string_equal(p->place.file, "/a.py");
	assert_int_equal(p->place.line, 7);
	assert_null(p->hint);
	assert_string_equal(p->next->hint, "h");
}

static void warnings_alone_do_not_refuse(void **state)
{
	struct policy_program_output out;

	(void)state;
	assert_int_equal(compile_with("problems.write('{\"severity\":\"warning\",\"message\":\"m\"}\\n')\n"
				      "document.write('{}')\n", &out), 0);
	assert_int_equal(problems.n_warnings, 1);
}

/* An error is an error, whatever else was written and however it ended. */
static void an_error_with_a_document_refuses(void **state)
{
	struct policy_program_output out;

	(void)state;
	assert_int_equal(compile_with("problems.write('{\"severity\":\"error\",\"message\":\"m\"}\\n')\n"
				      "document.write('{}')\n", &out), -EINVAL);
	assert_int_equal(problems.n_errors, 1);
}

static void failures_are_told(void **state)
{
	static const struct { const char *program; int err; const char *says; } rows[] = {
		{ "sys.exit(1)\n", -ENOEXEC, "the policy program failed" },
		{ "sys.exit(0)\n", -ENOEXEC, "the policy program failed" },
		{ "document.write('{}')\nsys.exit(1)\n", -ENOEXEC, "the policy program failed" },
		{ "sys.exit(3)\n", -ENOEXEC, "failed (status 3)" },
		{ "os.kill(os.getpid(), 15)\n", -ENOEXEC, "ended by signal 15" },
		{ "problems.write('nonsense\\n')\n", -ENOEXEC, "the policy program failed" },
		{ "problems.write('[]\\n')\n", -ENOEXEC, "the policy program failed" },
		{ "problems.write('x' * (5 << 20))\n", -E2BIG, "more than can be taken" },
	};
	struct policy_program_output out;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		assert_int_equal(compile_with(rows[i].program, &out), rows[i].err);
		if (strstr(why, rows[i].says) == NULL)
			fail_msg("%s: says '%s'", rows[i].program, why);
	}
}

static void endless_programs_end(void **state)
{
	static const char *const programs[] = {
		"time.sleep(60)\n",
		"while True: pass\n",
		/* Output ends, the process does not. */
		"document.write('{}')\ndocument.close()\nproblems.close()\ntime.sleep(60)\n",
		/* The process ends, a child keeps its output open. */
		"document.write('{}')\ndocument.flush()\nif os.fork(): os._exit(0)\ntime.sleep(60)\n",
	};
	struct policy_program_options options = { .policy = policy_path, .timeout_ms = 700, .registry = &no_proxies };
	struct policy_program_output out;

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(programs); i++) {
		char text[500];

		snprintf(text, sizeof(text), "import os, sys, time\ndocument, problems = open(3, 'w'), open(4, 'w')\n%s",
			 programs[i]);
		write_file("sallyport/host.py", text);
		assert_int_equal(policy_program_compile(&options, arena, &problems, &out, why, sizeof(why)), -ETIMEDOUT);
		assert_non_null(strstr(why, "did not load within"));
	}
}

static void a_serving_program_stays(void **state)
{
	int pair[2];
	struct policy_program_options options = { .policy = policy_path, .timeout_ms = 5000, .registry = &no_proxies,
						  .serve = true };
	struct policy_program_output out;
	char answer[16] = "";

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	options.control_fd = pair[1];
	write_file("sallyport/host.py", "import os, socket, sys\nopen(3, 'w').write('{}')\nos.close(4)\n"
		   "assert sys.argv[1] == 'serve' and sys.argv[-2:] == ['--control-fd', '8']\n"
		   "s = socket.socket(fileno=8)\ns.send(b'here')\ns.recv(1)\n");
	assert_int_equal(policy_program_compile(&options, arena, &problems, &out, why, sizeof(why)), 0);
	close(pair[1]);
	assert_true(out.host > 0);
	assert_int_equal(read(pair[0], answer, sizeof(answer)), 4);
	assert_int_equal(kill(out.host, 0), 0);
	policy_program_end(out.host);
	assert_int_equal(kill(out.host, 0), -1);
	assert_int_equal(read(pair[0], answer, sizeof(answer)), 0);
	close(pair[0]);
}

static void a_document_needs_no_program(void **state)
{
	struct policy_program_options options = { .registry = &no_proxies };
	struct policy_program_output out;
	char path[128];

	(void)state;
	write_file("sallyport/host.py", "raise SystemExit(9)\n");
	write_file("document", " \r\n\t{\"x\": 1}\n");
	snprintf(path, sizeof(path), "%s/document", folder);
	options.policy = path;
	assert_int_equal(policy_program_compile(&options, arena, &problems, &out, why, sizeof(why)), 0);
	assert_true(out.is_document);
	assert_true(slice_is(out.document, " \r\n\t{\"x\": 1}\n"));
	options.policy = "/nonexistent/policy.py";
	assert_int_equal(policy_program_compile(&options, arena, &problems, &out, why, sizeof(why)), -ENOENT);
	options.policy = folder;
	assert_int_equal(policy_program_compile(&options, arena, &problems, &out, why, sizeof(why)), -EISDIR);
}

static void files_are_bounded(void **state)
{
	struct slice text;

	(void)state;
	assert_int_equal(policy_program_read_file(policy_path, 16, arena, &text), 0);
	assert_int_equal(text.len, 16);
	assert_int_equal(policy_program_read_file(policy_path, 15, arena, &text), -EFBIG);
	assert_int_equal(policy_program_read_file("/dev/zero", 15, arena, &text), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_document_comes_through, setup, teardown),
		cmocka_unit_test_setup_teardown(it_gets_what_was_asked_for, setup, teardown),
		cmocka_unit_test_setup_teardown(secrets_come_in_a_sealed_file, setup, teardown),
		cmocka_unit_test_setup_teardown(secrets_have_a_ceiling, setup, teardown),
		cmocka_unit_test_setup_teardown(secrets_that_stay_writable_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(problems_come_through, setup, teardown),
		cmocka_unit_test_setup_teardown(warnings_alone_do_not_refuse, setup, teardown),
		cmocka_unit_test_setup_teardown(an_error_with_a_document_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(failures_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(endless_programs_end, setup, teardown),
		cmocka_unit_test_setup_teardown(a_serving_program_stays, setup, teardown),
		cmocka_unit_test_setup_teardown(a_document_needs_no_program, setup, teardown),
		cmocka_unit_test_setup_teardown(files_are_bounded, setup, teardown),
	};

	return cmocka_run_group_tests(tests, setup_folder, teardown_folder);
}
