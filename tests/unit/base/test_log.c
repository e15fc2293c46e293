/* SPDX-License-Identifier: Apache-2.0 */
#include "base/attributes.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int pipe_fds[2];
static char got[1 << 17];

static int setup(void **state)
{
	return pipe(pipe_fds);
}

static int teardown(void **state)
{
	log_set_fd(-1);
	close(pipe_fds[0]);
	close(pipe_fds[1]);
	return 0;
}

/* Everything that is in the pipe, as a string. */
static const char *take(void)
{
	size_t len = 0;
	ssize_t n;

	fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
	while ((n = read(pipe_fds[0], got + len, sizeof(got) - 1 - len)) > 0)
		len += (size_t)n;
	got[len] = '\0';
	return got;
}

/* Text lines start with "Mon DD HH:MM:SS ". */
static const char *take_text(void)
{
	const char *line = take();

	assert_true(strlen(line) > 16);
	assert_int_equal(line[3], ' ');
	assert_int_equal(line[6], ' ');
	assert_int_equal(line[9], ':');
	assert_int_equal(line[15], ' ');
	return line + 16;
}

static void test_text_lines(void **state)
{
	uint64_t dropped = log_dropped();

	assert_int_equal(log_open(pipe_fds[1], LOG_FORMAT_TEXT, 3, NULL, NULL), 0);
	log_event(LOG_SMTP_VIOLATION, 2, SLICE("svc/default/mail:7/default/smtp"), "Unknown command",
		  F_OCTETS("request", SLICE("FOO")));
	assert_string_equal(take_text(), "smtp.violation(2): (svc/default/mail:7/default/smtp): Unknown command; request='FOO'\n");
	log_event(LOG_CORE_INFO, 3, SLICE(""), "Started");
	assert_string_equal(take_text(), "core.info(3): (nosession): Started\n");
	log_event(LOG_CORE_ERROR, 0, SLICE("s"), "Odd", F_TEXT("a", "x"), F_INT("b", -5), F_UINT("c", UINT64_MAX), F_TEXT("d", ""),
		  F_OCTETS("e", slice_of(NULL, 0)));
	assert_string_equal(take_text(), "core.error(0): (s): Odd; a='x', b='-5', c='18446744073709551615', d='', e=''\n");
	log_event(LOG_CORE_INFO, 4, SLICE(""), "Too detailed");
	assert_string_equal(take(), "");
	assert_int_equal(log_dropped(), dropped);
}

static void test_nobody_forges_a_line(void **state)
{
	assert_int_equal(log_open(pipe_fds[1], LOG_FORMAT_TEXT, 3, "", NULL), 0);
	log_event(LOG_SMTP_INFO, 3, SLICE("s"), "Said",
		  F_OCTETS("what", SLICE("a'\r\nb\\\"\x7f\xff\0\x1b[")), F_TEXT("then", "z"));
	assert_string_equal(take_text(), "smtp.info(3): (s): Said; what='a\\x27\\x0d\\x0ab\\x5c\\x22\\x7f\\xff\\x00\\x1b[', then='z'\n");
	log_write_name(SLICE("my.tag\n"), 1, SLICE("x\ny"), SLICE("msg; key='v'\nforged"));
	assert_string_equal(take_text(), "my.tag\\x0a(1): (x\\x0ay): msg; key='v'\\x0aforged\n");
}

static void each_octet_at(size_t place, size_t length)
{
	static const char around[] = "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~";
	int before = (int)place, behind = (int)(length - place - 1);

	for (unsigned octet = 0; octet < 256; octet++) {
		bool plain = octet >= ' ' && octet < 0x7f && strchr("'\"\\", (int)octet) == NULL;
		char value[sizeof(around)], expected[128], one[5];

		memset(value, '~', sizeof(value));
		value[place] = (char)octet;
		snprintf(one, sizeof(one), plain ? "%c" : "\\x%02x", octet);
		snprintf(expected, sizeof(expected), "smtp.info(3): (s): Said; what='%.*s%s%.*s'\n", before, around, one, behind, around);
		log_event(LOG_SMTP_INFO, 3, SLICE("s"), "Said", F_OCTETS("what", slice_of(value, length)));
		assert_string_equal(take_text(), expected);
	}
}

/* Each octet at each place of a value: what stands around it changes nothing. */
static void test_each_octet_at_each_place(void **state)
{
	static const size_t lengths[] = { 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 20, 33 };	/* around those of words and vectors */

	assert_int_equal(log_open(pipe_fds[1], LOG_FORMAT_TEXT, 3, "", NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(lengths); i++)
		for (size_t place = 0; place < lengths[i]; place++)
			each_octet_at(place, lengths[i]);
}

/* Numbers, and where they end. */
static void test_numbers(void **state)
{
	assert_int_equal(log_open(pipe_fds[1], LOG_FORMAT_TEXT, 3, "", NULL), 0);
	log_event(LOG_SMTP_INFO, 3, SLICE("s"), "Said", F_UINT("a", 0), F_UINT("b", UINT64_MAX), F_INT("c", INT64_MIN), F_INT("d", 10));
	assert_string_equal(take_text(), "smtp.info(3): (s): Said; a='0', b='18446744073709551615', c='-9223372036854775808', d='10'\n");
}

static void test_escape_bounds(void **state)
{
	static const struct {
		const char *in;
		size_t size;
		const char *out;
	} cases[] = {
		{ "abc", 4, "abc" },
		{ "abc", 3, "ab" },
		{ "abc", 1, "" },
		{ "a\nb", 7, "a\\x0ab" },
		{ "a\nb", 6, "a\\x0a" },
		{ "a\nb", 5, "a" },	/* never half an escape */
		{ "", 1, "" },
	};
	char text[16] = "untouched";

	assert_int_equal(log_escape(text, 0, SLICE("abc")), 0);
	assert_string_equal(text, "untouched");
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		assert_int_equal(log_escape(text, cases[i].size, slice_cstr(cases[i].in)), strlen(cases[i].out));
		assert_string_equal(text, cases[i].out);
	}
}

static json_t *take_json(void)
{
	const char *line = take();
	json_t *root = json_loads(line, JSON_REJECT_DUPLICATES, NULL);

	assert_non_null(root);
	assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);	/* one line */
	return root;
}

static void test_json_lines(void **state)
{
	const char *session, *tag, *message, *request, *time;
	json_int_t level, n;
	json_t *root;

	assert_int_equal(log_open(pipe_fds[1], LOG_FORMAT_JSON, 5, NULL, NULL), 0);
	log_event(LOG_SMTP_REQUEST, 4, SLICE("svc/x"), "Request", F_OCTETS("request", SLICE("a\"\n'")), F_INT("n", 7));
	root = take_json();
	assert_int_equal(json_unpack(root, "{s:s,s:s,s:I,s:s,s:s,s:{s:s,s:I}}", "time", &time, "tag", &tag, "level", &level,
				     "session", &session, "message", &message, "fields", "request", &request, "n", &n), 0);
	assert_int_equal(strlen(time), strlen("2026-01-02T03:04:05.678Z"));
	assert_int_equal(time[10], 'T');
	assert_int_equal(time[23], 'Z');
	assert_string_equal(tag, "smtp.request");
	assert_int_equal(level, 4);
	assert_string_equal(session, "svc/x");
	assert_string_equal(message, "Request");
	assert_string_equal(request, "a\\x22\\x0a\\x27");
	assert_int_equal(n, 7);
	json_decref(root);

	log_write_name(SLICE("own.tag"), 1, SLICE(""), SLICE("quotes \"x\" and \\ and \n"));
	root = take_json();
	assert_string_equal(json_string_value(json_object_get(root, "message")), "quotes \"x\" and \\x5c and \\x0a");
	assert_string_equal(json_string_value(json_object_get(root, "session")), "nosession");
	json_decref(root);
}

/* Lines stay whole and valid however long the values are. */
static void test_long_values(void **state)
{
	static uint8_t octets[5000];

	for (int fill = 0; fill < 2; fill++) {
		memset(octets, fill == 0 ? 'a' : '\n', sizeof(octets));
		for (size_t len = 0; len <= sizeof(octets); len += 61) {
			struct slice s = slice_of(octets, len);
			json_t *root;

			assert_int_equal(log_open(pipe_fds[1], LOG_FORMAT_TEXT, 3, NULL, NULL), 0);
			log_event(LOG_SMTP_INFO, 3, slice_take(s, 100), "Long", F_OCTETS("a", s), F_OCTETS("b", s),
				  F_OCTETS("c", s), F_OCTETS("d", s), F_INT("e", 1));
			take();
			assert_true(strlen(got) <= LOG_LINE_MAX);
			assert_string_equal(got + strlen(got) - 2, "'\n");
			assert_ptr_equal(strchr(got, '\n'), got + strlen(got) - 1);

			assert_int_equal(log_open(pipe_fds[1], LOG_FORMAT_JSON, 3, NULL, NULL), 0);
			log_event(LOG_SMTP_INFO, 3, slice_take(s, 100), "Long", F_OCTETS("a", s), F_OCTETS("b", s),
				  F_OCTETS("c", s), F_OCTETS("d", s), F_INT("e", 1));
			root = take_json();
			assert_true(strlen(got) <= LOG_LINE_MAX);
			assert_non_null(json_object_get(json_object_get(root, "fields"), "a"));
			json_decref(root);

			log_write_name(s, 1, s, s);
			json_decref(take_json());
		}
	}
	assert_int_equal(log_open(pipe_fds[1], LOG_FORMAT_TEXT, 3, NULL, NULL), 0);
	memset(octets, 'a', sizeof(octets));
	log_event(LOG_SMTP_INFO, 3, SLICE("s"), "Long", F_OCTETS("v", slice_of(octets, LOG_VALUE_MAX)));
	assert_null(strstr(take(), "..."));
	log_event(LOG_SMTP_INFO, 3, SLICE("s"), "Long", F_OCTETS("v", slice_of(octets, LOG_VALUE_MAX + 1)), F_INT("n", 1));
	assert_non_null(strstr(take(), "a...', n='1'\n"));
}

/* As many rows as are given, each with an address of so many octets; 5 more that nobody kept. */
static const char *log_rows(enum log_format format, size_t n, size_t octets)
{
	static struct log_row rows[200];
	static char address[512];
	struct log_list list = { { "recipient", "response", "text" }, rows, n, 5 };

	memset(address, 'a', sizeof(address));
	for (size_t i = 0; i < n; i++)
		rows[i] = (struct log_row){ { slice_of(address, octets), SLICE("250"), SLICE("say \"Ok\"") } };
	assert_int_equal(log_open(pipe_fds[1], format, 3, NULL, NULL), 0);
	log_event(LOG_CORE_INFO, 3, SLICE("s"), "Rows", F_LIST("recipients", &list));
	return format == LOG_FORMAT_TEXT ? take_text() : take();
}

static void test_lists(void **state)
{
	assert_string_equal(log_rows(LOG_FORMAT_TEXT, 2, 1), "core.info(3): (s): Rows; recipients='a 250 say \\x22Ok\\x22; "
							     "a 250 say \\x22Ok\\x22; and 5 more'\n");
	assert_string_equal(log_rows(LOG_FORMAT_TEXT, 0, 1), "core.info(3): (s): Rows; recipients='5 more'\n");
}

/* Whatever fits: the object is whole, and all rows are on the line or counted. */
static void test_lists_in_json(void **state)
{
	for (size_t octets = 0; octets < 300; octets += 7) {
		for (size_t n = 0; n < 200; n += octets > 10 ? 13 : 1) {
			const char *line = log_rows(LOG_FORMAT_JSON, n, octets);
			json_t *object = json_loads(line, 0, NULL), *fields, *rows;
			json_int_t more;

			assert_non_null(object);
			assert_true(strlen(line) <= LOG_LINE_MAX);
			fields = json_object_get(object, "fields");
			rows = json_object_get(fields, "recipients");
			more = json_integer_value(json_object_get(fields, "recipients_more"));
			assert_int_equal(json_array_size(rows) + (size_t)more, n + 5);
			assert_true(json_array_size(rows) == n || strlen(line) > LOG_LINE_MAX - 2 * LOG_CELL_MAX);
			if (n > 0)
				assert_string_equal(json_string_value(json_object_get(json_array_get(rows, 0), "text")),
						    "say \\x22Ok\\x22");
			json_decref(object);
		}
	}
}

static void test_spec(void **state)
{
	const char *bad = NULL;
	const char *spec = "core.debug:6,smtp:1,*.accounting:4";

	assert_int_equal(log_open(pipe_fds[1], LOG_FORMAT_TEXT, 3, spec, NULL), 0);
	assert_true(log_wants(LOG_CORE_DEBUG, 6));
	assert_false(log_wants(LOG_CORE_DEBUG, 7));
	assert_false(log_wants(LOG_SMTP_DEBUG, 2));
	assert_false(log_wants(LOG_SMTP_ACCOUNTING, 4));	/* the first match decides */
	assert_true(log_wants(LOG_PLUG_ACCOUNTING, 4));
	assert_true(log_wants(LOG_CORE_INFO, 3));
	assert_false(log_wants(LOG_CORE_INFO, 4));
	assert_true(log_wants_name(SLICE("own.accounting"), 4));
	assert_false(log_wants_name(SLICE("own.tag"), 4));
	assert_true(log_wants(LOG_SMTP_DEBUG, 0));
	assert_int_equal(log_spec_unreachable().len, 0);

	/* A bad one changes nothing. */
	assert_int_equal(log_set_spec(9, "core:5,x_y:1", &bad), -EINVAL);
	assert_string_equal(bad, "_y:1");
	assert_int_equal(log_set_spec(9, "core:5,", NULL), -EINVAL);
	assert_int_equal(log_set_spec(11, "", NULL), -EINVAL);
	assert_int_equal(log_set_spec(-1, "", NULL), -EINVAL);
	assert_string_equal(log_spec(), spec);
	assert_int_equal(log_verbosity(), 3);
	assert_true(log_wants_name(SLICE("core.debug"), 6));

	/* Another verbosity with the spec that is in use. */
	assert_int_equal(log_set_spec(4, log_spec(), NULL), 0);
	assert_true(log_wants(LOG_CORE_INFO, 4));
	assert_string_equal(log_spec(), spec);
	assert_int_equal(log_set_spec(4, "*:1,core:2", NULL), 0);
	assert_true(slice_is(log_spec_unreachable(), "core"));

	static char huge[LOG_SPEC_MAX + 2];

	memset(huge, ',', LOG_SPEC_MAX + 1);
	memcpy(huge + LOG_SPEC_MAX - 3, "a:1", 4);
	assert_int_equal(log_set_spec(3, huge, NULL), 0);
	memcpy(huge + LOG_SPEC_MAX - 3, ",a:1", 5);
	assert_int_equal(log_set_spec(3, huge, &bad), -EINVAL);
}

static void test_full_channel_drops_and_tells(void **state)
{
	uint64_t before = log_dropped(), dropped;
	unsigned lines = 0;
	char expected[200];

	assert_int_equal(log_open(pipe_fds[1], LOG_FORMAT_TEXT, 3, NULL, NULL), 0);
	fcntl(pipe_fds[1], F_SETPIPE_SZ, 4096);
	for (int i = 0; i < 500; i++)
		log_event(LOG_CORE_INFO, 3, SLICE(""), "Line", F_INT("n", i));
	dropped = log_dropped() - before;
	assert_true(dropped > 0 && dropped < 500);
	for (const char *at = take(); *at != '\0'; at = strchr(at, '\n') + 1)
		lines++;
	assert_int_equal(lines + dropped, 500);

	log_event(LOG_CORE_INFO, 3, SLICE(""), "After");
	snprintf(expected, sizeof(expected),
		 "core.error(1): (nosession): Log lines were dropped, since the log was not read in time; count='%u'\n",
		 (unsigned)dropped);
	assert_memory_equal(take_text(), expected, strlen(expected));
	assert_non_null(strstr(got, "core.info(3): (nosession): After\n"));
	log_event(LOG_CORE_INFO, 3, SLICE(""), "Quiet");
	assert_string_equal(take_text(), "core.info(3): (nosession): Quiet\n");
}

static void test_batch(void **state)
{
	char expected[100];
	uint8_t text[1000];

	memset(text, 'x', sizeof(text));
	assert_int_equal(log_open(pipe_fds[1], LOG_FORMAT_TEXT, 3, NULL, NULL), 0);
	log_batch(true);
	log_event(LOG_CORE_INFO, 3, SLICE(""), "One");
	log_event(LOG_CORE_INFO, 3, SLICE(""), "Two");
	assert_string_equal(take(), "");
	assert_true(log_flush());
	assert_memory_equal(take_text(), "core.info(3): (nosession): One\n", 31);
	assert_non_null(strstr(got, "Two\n"));
	assert_true(log_flush());
	assert_string_equal(take(), "");

	/* Level 0 takes the others along, at once. */
	log_event(LOG_CORE_INFO, 3, SLICE(""), "Three");
	log_event(LOG_CORE_ERROR, 0, SLICE(""), "Four");
	assert_non_null(strstr(take(), "Three\n"));
	assert_non_null(strstr(got, "Four\n"));

	/* Nor does it wait when it does not fit with them. */
	log_event(LOG_CORE_INFO, 3, SLICE(""), "Five", F_OCTETS("text", slice_of(text, sizeof(text))),
		  F_OCTETS("text", slice_of(text, sizeof(text))), F_OCTETS("text", slice_of(text, sizeof(text))));
	log_event(LOG_CORE_ERROR, 0, SLICE(""), "Six", F_OCTETS("text", slice_of(text, sizeof(text))));
	assert_non_null(strstr(take(), "Five;"));
	assert_non_null(strstr(got, "Six;"));

	/* A full batch goes, in order and whole. */
	for (int i = 0; i < 200; i++)
		log_event(LOG_CORE_INFO, 3, SLICE(""), "Line", F_INT("n", i));
	log_batch(false);
	take();
	for (int i = 0, at = 0; i < 200; i++) {
		snprintf(expected, sizeof(expected), "core.info(3): (nosession): Line; n='%d'\n", i);
		assert_memory_equal(got + at + 16, expected, strlen(expected));
		at += 16 + (int)strlen(expected);
	}
	log_event(LOG_CORE_INFO, 3, SLICE(""), "Alone");
	assert_string_equal(take_text(), "core.info(3): (nosession): Alone\n");

	/* Another channel does not get what was meant for this one: a forked worker, say. */
	log_batch(true);
	log_event(LOG_CORE_INFO, 3, SLICE(""), "Of the parent");
	log_set_fd(pipe_fds[1]);
	log_batch(false);
	assert_string_equal(take(), "");
}

static void test_batch_on_a_full_channel(void **state)
{
	uint64_t before = log_dropped();
	size_t lines = 0;

	assert_int_equal(log_open(pipe_fds[1], LOG_FORMAT_TEXT, 3, NULL, NULL), 0);
	fcntl(pipe_fds[1], F_SETPIPE_SZ, 4096);
	log_batch(true);
	for (int i = 0; i < 500; i++)
		log_event(LOG_CORE_INFO, 3, SLICE(""), "Line", F_INT("n", i));
	assert_false(log_flush());
	for (const char *at = take(); *at != '\0'; at = strchr(at, '\n') + 1)
		lines++;
	assert_true(log_flush());
	for (const char *at = take(); *at != '\0'; at = strchr(at, '\n') + 1)
		lines++;
	assert_int_equal(lines + (log_dropped() - before), 500);
	assert_true(log_dropped() > before);
	log_batch(false);
}

static void *read_all(void *arg)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(pipe_fds[0], got + len, sizeof(got) - 1 - len)) > 0)
		len += (size_t)n;
	got[len] = '\0';
	return NULL;
}

/* The last lines of a process, and how many are missing, wait for the reader. */
static void test_the_end(void **state)
{
	uint64_t dropped, before = log_dropped();
	size_t lines = 0;
	char expected[20];
	pthread_t reader;

	assert_int_equal(log_open(pipe_fds[1], LOG_FORMAT_TEXT, 3, NULL, NULL), 0);
	assert_true(log_finish(0));	/* what other tests dropped */
	take();
	fcntl(pipe_fds[0], F_SETFL, 0);
	fcntl(pipe_fds[1], F_SETPIPE_SZ, 4096);
	log_batch(true);
	for (int i = 0; i < 500; i++)
		log_event(LOG_CORE_INFO, 3, SLICE(""), "Line", F_INT("n", i));
	dropped = log_dropped() - before;
	assert_true(dropped > 0);
	assert_false(log_finish(1));
	assert_true(log_is_held());

	assert_int_equal(pthread_create(&reader, NULL, read_all, NULL), 0);
	assert_true(log_finish(60000));
	log_set_fd(-1);
	close(pipe_fds[1]);
	assert_int_equal(pthread_join(reader, NULL), 0);
	pipe_fds[1] = -1;
	for (const char *at = got; *at != '\0'; at = strchr(at, '\n') + 1)
		lines++;
	assert_int_equal(lines + dropped, 500 + 1);
	snprintf(expected, sizeof(expected), "count='%u'\n", (unsigned)dropped);
	assert_string_equal(got + strlen(got) - strlen(expected), expected);
}

/* Nobody will ever read: no reason to wait. */
static void test_the_end_without_a_reader(void **state)
{
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(log_open(pipe_fds[1], LOG_FORMAT_TEXT, 3, NULL, NULL), 0);
	log_batch(true);
	log_event(LOG_CORE_INFO, 3, SLICE(""), "Line");
	close(pipe_fds[0]);
	pipe_fds[0] = -1;
	alarm(10);
	assert_false(log_finish(60000));
	alarm(0);
}

/* A shell's other children write to the same pipe: their writes must go on waiting. */
static void test_pipe_stays_blocking_for_others(void **state)
{
	assert_int_equal(log_open(pipe_fds[1], LOG_FORMAT_TEXT, 3, NULL, NULL), 0);
	assert_int_equal(fcntl(pipe_fds[1], F_GETFL) & O_NONBLOCK, 0);
}

/* A stream socket may take half a line; the rest goes first, or lines would run into each other. */
static void test_partial_writes(void **state)
{
	int sv[2], size = 4608;
	size_t len = 0;
	ssize_t n;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv), 0);
	setsockopt(sv[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	assert_int_equal(log_open(sv[0], LOG_FORMAT_TEXT, 3, NULL, NULL), 0);
	for (int round = 0; round < 200; round++) {
		for (int i = 0; i < 20; i++)
			log_event(LOG_CORE_INFO, 3, SLICE(""), "Some line of medium length", F_INT("n", i));
		if (len < sizeof(got) / 2 && (n = read(sv[1], got + len, 777)) > 0)
			len += (size_t)n;
	}
	while ((n = read(sv[1], got + len, sizeof(got) - 1 - len)) > 0)
		len += (size_t)n;
	got[len] = '\0';
	for (char *at = got, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
		assert_int_equal(at[15], ' ');
		assert_true(memcmp(at + 16, "core.", 5) == 0);
		assert_int_equal(end[-1], '\'');
	}
	log_set_fd(-1);
	close(sv[0]);
	close(sv[1]);
}

static void test_violations_are_known_by_name(void **state)
{
#define NAME(id, name) name,
	static const char *const names[] = { LOG_TAGS(NAME) };

	for (enum log_tag tag = 0; tag < LOG_TAG_COUNT; tag++)
		assert_int_equal(log_tag_is_violation(tag), strcmp(strchr(names[tag], '.'), ".violation") == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_text_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nobody_forges_a_line, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_octet_at_each_place, setup, teardown),
		cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_escape_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_json_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_values, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lists, setup, teardown),
		cmocka_unit_test_setup_teardown(test_lists_in_json, setup, teardown),
		cmocka_unit_test_setup_teardown(test_spec, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full_channel_drops_and_tells, setup, teardown),
		cmocka_unit_test_setup_teardown(test_batch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_batch_on_a_full_channel, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_end_without_a_reader, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pipe_stays_blocking_for_others, setup, teardown),
		cmocka_unit_test(test_violations_are_known_by_name),
		cmocka_unit_test_setup_teardown(test_partial_writes, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
