/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervisor takes from processes that it does not trust must not make it wait. */
#include "server/log_pump.h"
#include "server/message.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

static void refuse_file(int fd)
{
	uint8_t *octets = NULL;
	size_t len;

	assert_true(fd >= 0);
	assert_int_equal(message_file_read(fd, 1000, &octets, &len), -EBADMSG);
	assert_null(octets);
	close(fd);
}

static void test_only_sealed_files(void **state)
{
	int pair[2], fd = memfd_create("half", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	refuse_file(fd);
	refuse_file(open("/proc/self/status", O_RDONLY | O_CLOEXEC));
	refuse_file(open("/dev/zero", O_RDONLY | O_CLOEXEC));
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	refuse_file(pair[0]);
	close(pair[1]);
}

/* A pump that would block never gets to the end of this. */
static void test_log_that_is_made_to_block(void **state)
{
	static char lines[65536];
	struct poller poller;
	struct log_pump *pump;
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC), pair[2], copy;

	poller_init(&poller);
	pump = log_pump_create(&poller, null);
	assert_non_null(pump);
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	assert_true(fcntl(pair[1], F_SETPIPE_SZ, 2 * sizeof(lines)) > 0);
	copy = dup(pair[0]);
	assert_int_equal(log_pump_add(pump, pair[0]), 0);
	assert_int_equal(fcntl(copy, F_SETFL, 0), 0);
	memset(lines, '\n', sizeof(lines));
	assert_int_equal(write(pair[1], lines, sizeof(lines)), sizeof(lines));
	alarm(5);
	log_pump_flush(pump, 1000);
	alarm(0);
	log_pump_free(&pump);
	close(copy);
	close(pair[1]);
	close(null);
}

static void test_log_that_is_no_pipe(void **state)
{
	struct poller poller;
	struct log_pump *pump;

	poller_init(&poller);
	pump = log_pump_create(&poller, STDERR_FILENO);
	assert_int_equal(log_pump_add(pump, open("/dev/zero", O_RDONLY | O_CLOEXEC)), -EBADMSG);
	assert_int_equal(log_pump_add(pump, open("/proc/self/status", O_RDONLY | O_CLOEXEC)), -EBADMSG);
	log_pump_free(&pump);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_sealed_files),
		cmocka_unit_test(test_log_that_is_made_to_block),
		cmocka_unit_test(test_log_that_is_no_pipe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
