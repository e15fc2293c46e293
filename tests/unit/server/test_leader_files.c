/* SPDX-License-Identifier: Apache-2.0 */
/* When a file counts as changed. */
#include "server/leader/leader_files.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define READ_MS INT64_C(1000000)	/* when the files were read */
#define NOW_MS (READ_MS + 5000)

static char directory[] = "/tmp/sallyport-files-XXXXXX";
static char one[64], two[64];

static void write_file(const char *path, const char *text, int64_t mtime_ms)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	const struct timespec when = { mtime_ms / 1000, mtime_ms % 1000 * 1000000 };

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(futimens(fd, (const struct timespec[]){ when, when }), 0);
	close(fd);
}

static struct file_watch *watch_both(void)
{
	struct file_watch *w = file_watch_create((const char *const[]){ one, two }, 2, READ_MS);

	assert_non_null(w);
	return w;
}

static int setup(void **state)
{
	write_file(one, "1", READ_MS - 100000);
	write_file(two, "2", READ_MS - 100000);
	return 0;
}

static void unchanged(void **state)
{
	struct file_watch *w = watch_both();

	for (int i = 0; i < 3; i++)
		assert_false(file_watch_look(w, NOW_MS));
	file_watch_free(&w);
	assert_null(w);
	file_watch_free(&w);
}

/* Told once, when it has been the same for two looks. */
static void changed(void **state)
{
	struct file_watch *w = watch_both();

	write_file(two, "22", READ_MS + 1000);
	assert_false(file_watch_look(w, NOW_MS));
	write_file(two, "222", READ_MS + 1000);		/* it is still being written */
	assert_false(file_watch_look(w, NOW_MS));
	assert_true(file_watch_look(w, NOW_MS));
	assert_false(file_watch_look(w, NOW_MS));
	write_file(one, "x", READ_MS - 200000);		/* an older one, of the same size */
	assert_false(file_watch_look(w, NOW_MS));
	assert_true(file_watch_look(w, NOW_MS));
	assert_false(file_watch_look(w, NOW_MS));
	file_watch_free(&w);
}

static void replaced_by_another_with_the_same_looks(void **state)
{
	struct file_watch *w = watch_both();
	char other[80];

	snprintf(other, sizeof(other), "%s.new", one);
	write_file(other, "3", READ_MS - 100000);
	assert_int_equal(rename(other, one), 0);
	assert_false(file_watch_look(w, NOW_MS));
	assert_true(file_watch_look(w, NOW_MS));
	file_watch_free(&w);
}

static void written_while_it_was_read(void **state)
{
	struct file_watch *w;

	write_file(one, "1", READ_MS + 1);
	w = watch_both();
	assert_true(file_watch_look(w, NOW_MS));
	assert_false(file_watch_look(w, NOW_MS));
	file_watch_free(&w);
}

/* Else it would be read again for ever. */
static void from_the_future(void **state)
{
	struct file_watch *w;

	write_file(one, "1", NOW_MS + 3600000);
	w = watch_both();
	for (int i = 0; i < 3; i++)
		assert_false(file_watch_look(w, NOW_MS));
	write_file(one, "11", NOW_MS + 3600000);
	assert_false(file_watch_look(w, NOW_MS));
	assert_true(file_watch_look(w, NOW_MS));
	file_watch_free(&w);
}

static void missing(void **state)
{
	struct file_watch *w = watch_both();

	assert_int_equal(unlink(one), 0);
	for (int i = 0; i < 3; i++)
		assert_false(file_watch_look(w, NOW_MS));
	write_file(one, "1", READ_MS + 1000);
	assert_false(file_watch_look(w, NOW_MS));
	assert_true(file_watch_look(w, NOW_MS));
	file_watch_free(&w);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		T(unchanged), T(changed), T(replaced_by_another_with_the_same_looks), T(written_while_it_was_read),
		T(from_the_future), T(missing),
	};
	int failed;

	if (mkdtemp(directory) == NULL)
		return 1;
	snprintf(one, sizeof(one), "%s/one", directory);
	snprintf(two, sizeof(two), "%s/two", directory);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	unlink(one);
	unlink(two);
	rmdir(directory);
	return failed;
}
