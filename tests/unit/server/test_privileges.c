/* SPDX-License-Identifier: Apache-2.0 */
/* What is left of capabilities in children that need not change their user. */
#include "server/confine.h"
#include "server/privileges.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define NOBODY 65534

/* Run fn in a child; it passes when fn returns true. */
static void in_child(bool (*fn)(pid_t parent))
{
	pid_t parent = getpid(), pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(fn(parent) ? 0 : 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static bool drop(unsigned keep, pid_t parent)
{
	struct unprivileged user;

	return privileges_user(NULL, &user) == 0 && !user.change && privileges_drop(&user, keep, parent) == 0;
}

/* As a service manager starts a program with capabilities and a user of its own. */
static bool become_capable(void)
{
	static const unsigned wanted[] = { CAP_NET_ADMIN, CAP_NET_RAW };

	if (prctl(PR_SET_KEEPCAPS, 1) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
		return false;
	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_INHERITABLE, wanted[i]);
	if (capng_apply(CAPNG_SELECT_CAPS) != 0)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, wanted[i], 0, 0) != 0)
			return false;
	return privileges_have_net_admin() && privileges_have_net_raw();
}

static bool keeps_only_raw(pid_t parent)
{
	return become_capable() && drop(KEEP_NET_RAW, parent) && privileges_have_net_raw() &&
	       !privileges_have_net_admin() && prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_ADMIN, 0, 0) == 0 &&
	       prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_NET_RAW, 0, 0) == 0;
}

static bool keeps_nothing(pid_t parent)
{
	return become_capable() && drop(0, parent) && !privileges_have_net_raw() && !privileges_have_net_admin();
}

static bool has_nothing_to_drop(pid_t parent)
{
	if (geteuid() == 0 && setuid(NOBODY) != 0)
		return false;
	return drop(KEEP_NET_RAW, parent) && !privileges_have_net_raw();
}

static bool fails(int result, int want)
{
	return result < 0 && errno == want;
}

/* What it was for goes on: reading, sockets, threads. */
static bool only_reads(pid_t parent)
{
	char *const argv[] = { (char[]){ "true" }, NULL };
	int file = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), err = -1;

	if (file < 0 || (geteuid() == 0 && setuid(NOBODY) != 0) || !drop(0, parent))
		return false;
	err = confine_to_reading();
	if (err == -EOPNOTSUPP) {
		print_message("no Landlock here: not tested\n");
		return true;
	}
	return err == 0 && open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 && write(file, "x", 1) == 1 &&
	       socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) >= 0 &&
	       fails(open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), EACCES) &&
	       fails(open("/dev/null", O_WRONLY | O_CLOEXEC), EACCES) &&
	       fails(mkdir("/tmp/sallyport-test-confined", 0700), EACCES) && fails(execv("/bin/true", argv), EACCES);
}

static void the_lookouts_user(void **state)
{
	const struct unprivileged mail = { .change = true, .uid = 12345, .gid = 12345, .name = "mail" }, nobody = { true, NOBODY, NOBODY, "nobody" },
				  same = { .uid = 12345, .gid = 12345 };
	struct unprivileged out;

	assert_int_equal(privileges_user_apart("no-such-user", &mail, &out), 0);
	assert_string_equal(out.name, "nobody");
	assert_int_equal(out.uid, NOBODY);
	assert_true(out.change);
	assert_int_equal(privileges_user_apart("no-such-user", &nobody, &out), 0);
	assert_int_equal(out.uid, NOBODY);
	assert_int_equal(privileges_user_apart("no-such-user", &same, &out), 0);
	assert_int_equal(out.uid, 12345);
	assert_false(out.change);
}

static void writes_nothing(void **state)
{
	in_child(only_reads);
}

/* The signal comes when the thread that forked ends: a command of ours is not its caller's child
 * in that sense. */
static bool dies_only_with_a_parent(pid_t parent)
{
	int with = -1, without = -1;

	if (geteuid() == 0 && setuid(NOBODY) != 0)
		return false;
	return drop(0, 0) && prctl(PR_GET_PDEATHSIG, &without) == 0 && without == 0 &&
	       drop(0, parent) && prctl(PR_GET_PDEATHSIG, &with) == 0 && with == SIGKILL;
}

static void test_capable_user_keeps_only_raw(void **state)
{
	in_child(keeps_only_raw);
}

static void test_capable_user_keeps_nothing(void **state)
{
	in_child(keeps_nothing);
}

static void test_plain_user(void **state)
{
	in_child(has_nothing_to_drop);
}

static void test_death_of_the_parent(void **state)
{
	in_child(dies_only_with_a_parent);
}

int main(void)
{
	/* Only root can give capabilities away. */
	const struct CMUnitTest as_root[] = {
		cmocka_unit_test(test_capable_user_keeps_only_raw),
		cmocka_unit_test(test_capable_user_keeps_nothing),
		cmocka_unit_test(test_plain_user), cmocka_unit_test(test_death_of_the_parent), cmocka_unit_test(writes_nothing),
		cmocka_unit_test(the_lookouts_user),
	};
	const struct CMUnitTest as_anybody[] = { cmocka_unit_test(test_plain_user),
						cmocka_unit_test(test_death_of_the_parent), cmocka_unit_test(writes_nothing) };

	return geteuid() == 0 ? cmocka_run_group_tests(as_root, NULL, NULL) :
				cmocka_run_group_tests(as_anybody, NULL, NULL);
}
