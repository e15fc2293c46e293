/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervisor takes from processes that it does not trust must not make it wait. */
#include "base/log.h"
#include "server/supervisor/log_pump.h"
#include "server/message.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void refuse_file(int fd)
{
	uint8_t *octets = NULL;
	void *mapped = NULL;
	size_t len;

	assert_true(fd >= 0);
	assert_int_equal(message_file_read(fd, 1000, &octets, &len), -EBADMSG);
	assert_null(octets);
	assert_int_equal(message_file_map(fd, 1000, &mapped, &len), -EBADMSG);
	assert_null(mapped);
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

static void test_files(void **state)
{
	int fd = message_file(slice_cstr("some octets"));
	uint8_t *octets;
	void *mapped;
	size_t len;

	assert_true(fd >= 0);
	assert_int_equal(message_file_read(fd, 10, &octets, &len), -EFBIG);
	assert_int_equal(message_file_map(fd, 10, &mapped, &len), -EFBIG);
	assert_int_equal(message_file_read(fd, 11, &octets, &len), 0);
	assert_string_equal((char *)octets, "some octets");
	assert_int_equal(message_file_map(fd, 11, &mapped, &len), 0);
	assert_int_equal(len, 11);
	assert_memory_equal(mapped, octets, 11);
	munmap(mapped, len);
	free(octets);
	close(fd);
	fd = message_file(slice_of(NULL, 0));
	assert_int_equal(message_file_map(fd, 11, &mapped, &len), -EBADMSG);
	close(fd);
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

static void nothing(void *arg)
{
}

static void on_any(void *arg, int fd, short revents)
{
	++*(unsigned *)arg;
}

/* Or whoever waits for something else would get no sleep. */
static void test_hang_up_that_nobody_asked_for(void **state)
{
	struct poller_timer timer = { .fn = nothing };
	struct poller poller;
	unsigned called = 0;
	int pair[2];

	poller_init(&poller);
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	assert_int_equal(poller_add(&poller, pair[0], 0, on_any, &called), 0);
	close(pair[1]);
	poller_timer_set(&poller, &timer, 1);
	while (timer.at_ms != 0)
		poller_turn(&poller);
	assert_int_equal(called, 0);
	poller_events(&poller, pair[0], POLLIN);
	poller_turn(&poller);
	assert_int_equal(called, 1);
	poller_remove(&poller, pair[0]);
	close(pair[0]);
}

#define LINES 5000u

/* A pump between two pipes: LINES lines in the one, little room in the other. */
static struct pumped {
	struct poller poller;
	struct log_pump *pump;
	int in, out[2], log[2];
	size_t lines;
	char text[65536];
} pumped;

static void pumped_start(void)
{
	int pair[2];

	pumped.lines = 0;
	poller_init(&pumped.poller);
	assert_int_equal(pipe2(pumped.out, O_CLOEXEC | O_NONBLOCK), 0);
	assert_true(fcntl(pumped.out[1], F_SETPIPE_SZ, 4096) > 0);
	assert_int_equal(pipe2(pumped.log, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(log_open(pumped.log[1], LOG_FORMAT_TEXT, 3, NULL, NULL), 0);
	pumped.pump = log_pump_create(&pumped.poller, pumped.out[1]);
	assert_non_null(pumped.pump);
	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	assert_true(fcntl(pair[1], F_SETPIPE_SZ, 1 << 18) > 0);
	for (unsigned i = 0; i < LINES; i++)
		assert_int_equal(dprintf(pair[1], "line number %08u of them\n", i), 29);
	assert_int_equal(log_pump_add(pumped.pump, pair[0]), 0);
	pumped.in = pair[1];
}

static void pumped_turn(void)
{
	struct poller_timer timer = { .fn = nothing };

	poller_timer_set(&pumped.poller, &timer, 30);
	poller_turn(&pumped.poller);
	poller_timer_clear(&pumped.poller, &timer);
}

/* Whole lines, since pieces end with one. */
static void pumped_take(void)
{
	ssize_t n = read(pumped.out[0], pumped.text, sizeof(pumped.text));

	for (ssize_t i = 0; i < n; i += 29)
		assert_int_equal(strtoul(pumped.text + i + 12, NULL, 10), pumped.lines++);
}

static void pumped_end(void)
{
	log_pump_free(&pumped.pump);
	log_set_fd(STDERR_FILENO);
	close(pumped.out[0]);
	close(pumped.out[1]);
	close(pumped.log[0]);
	close(pumped.log[1]);
}

/* What was read is kept until it can be written; the rest stays with its writer. */
static void test_log_that_is_read_late(void **state)
{
	unsigned n;

	pumped_start();
	for (unsigned i = 0; i < 10; i++)
		pumped_turn();
	close(pumped.in);
	n = pumped.poller.n;
	for (unsigned i = 0; i < 10; i++)
		pumped_turn();
	assert_int_equal(pumped.poller.n, n);
	alarm(60);
	while (pumped.lines < LINES) {
		pumped_take();
		pumped_turn();
	}
	alarm(0);
	assert_int_equal(read(pumped.log[0], pumped.text, sizeof(pumped.text)), -1);
	pumped_end();
}

/* A busy source rests between readings; one that has no more is waited for without waking up. */
static void test_log_in_numbers(void **state)
{
	struct poller poller;
	struct log_pump *pump;
	int in[2], out[2];
	char text[64];

	poller_init(&poller);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	pump = log_pump_create(&poller, out[1]);
	assert_int_equal(log_pump_add(pump, in[0]), 0);
	alarm(60);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(dprintf(in[1], "line %d\n", i), 7);
		do
			poller_turn(&poller);
		while (read(out[0], text, sizeof(text)) != 7);
		assert_int_equal(text[5], '0' + i);
	}
	while (poller.timers != NULL)
		poller_turn(&poller);
	assert_int_equal(dprintf(in[1], "the last\n"), 9);
	poller_turn(&poller);
	assert_int_equal(read(out[0], text, sizeof(text)), 9);
	/* Its end, at rest. */
	assert_int_equal(dprintf(in[1], "torn"), 4);
	close(in[1]);
	while (read(out[0], text, sizeof(text)) != 5)
		poller_turn(&poller);
	assert_memory_equal(text, "torn\n", 5);
	alarm(0);
	log_pump_free(&pump);
	close(out[0]);
	close(out[1]);
}

/* At the end nobody waits for a reader for long: what is lost is counted. */
static void test_log_that_is_not_read_at_the_end(void **state)
{
	char *count;
	ssize_t n;

	pumped_start();
	log_pump_flush(pumped.pump, 1);
	log_pump_free(&pumped.pump);
	pumped_take();
	assert_true(pumped.lines > 0 && pumped.lines < LINES);
	n = read(pumped.log[0], pumped.text, sizeof(pumped.text) - 1);
	assert_true(n > 0);
	pumped.text[n] = '\0';
	count = strstr(pumped.text, "count='");
	assert_non_null(count);
	assert_int_equal(strtoul(count + 7, NULL, 10) + pumped.lines, LINES);
	close(pumped.in);
	pumped_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_sealed_files),
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_log_that_is_made_to_block),
		cmocka_unit_test(test_log_that_is_no_pipe),
		cmocka_unit_test(test_hang_up_that_nobody_asked_for),
		cmocka_unit_test(test_log_that_is_read_late),
		cmocka_unit_test(test_log_in_numbers),
		cmocka_unit_test(test_log_that_is_not_read_at_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
