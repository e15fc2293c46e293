/* SPDX-License-Identifier: Apache-2.0 */
/* A session of any length takes no more memory than its longest texts: what policy code may do again and again. */
#include "harness.h"
#include "proxy/smtp/smtp.h"
#include "proxy/smtp/smtp_priv.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#define ACCEPT(key) "{\"key\":[" key "],\"action\":1}"
#define CONFIG \
	"{\"proxy\":\"smtp\",\"class\":\"Test\",\"class_number\":0,\"per_session\":false,\"at\":[0,1],\"attributes\":" \
	"{\"domain_name\":\"fw.example\"},\"tables\":{\"request\":[" ACCEPT("\"*\"") "]," \
	"\"response\":[" ACCEPT("\"*\",\"*\"") ",{\"key\":[\"RCPT\",\"2\"],\"action\":6,\"call\":{\"callback\":0}}]," \
	"\"extensions\":[" ACCEPT("\"*\"") "]}}"

static struct harness harness;

static int setup(void **state)
{
	json_t *config = json_loads(CONFIG, 0, NULL);

	(void)state;
	assert_non_null(config);
	log_open(2, LOG_FORMAT_TEXT, 0, "*.*:-1", NULL);
	assert_int_equal(harness_init(&harness, config, NULL, NULL, &smtp_type), 0);
	json_decref(config);
	assert_int_equal(harness_connect(&harness, "10.0.0.1"), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	harness_release(&harness);
	return 0;
}

static void drain(int fd)
{
	char buf[1024];

	while (read(fd, buf, sizeof(buf)) > 0)
		;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
	harness_settle(&harness);
	drain(harness.client);
	drain(harness.server);
	assert_false(harness.ended);
}

static void start_transaction(void)
{
	say(harness.server, "220 mx\r\n");
	say(harness.client, "EHLO c.example\r\n");
	say(harness.server, "250 mx\r\n");
	say(harness.client, "MAIL FROM:<a@b.example>\r\n");
	say(harness.server, "250 m\r\n");
}

static size_t memory(void)
{
	return arena_used(session_newest(&harness.env)->proxy.arena);
}

static void generate(void)
{
	struct call_value header = { .kind = CALL_NONE };

	assert_int_equal(smtp_generate_received(&session_newest(&harness.env)->proxy, NULL, 0, &header), 0);
	assert_true(header.kind == CALL_OCTETS && slice_starts_with(header.octets, SLICE("Received: from ")));
}

static void trace_headers(void **state)
{
	size_t before;

	(void)state;
	generate();
	before = memory();
	for (int i = 0; i < 20000; i++)
		generate();
	assert_int_equal(memory(), before);
	start_transaction();
	generate();
	before = memory();
	for (int i = 0; i < 20000; i++)
		generate();
	assert_int_equal(memory(), before);
}

/* Policy code puts recipients of its own there behind each one that was accepted. */
static void recipients(void **state)
{
	static char own[4096];
	struct smtp *s;
	size_t before = 0;

	(void)state;
	memset(own, 'x', sizeof(own) - 1);
	start_transaction();
	s = smtp_of(&session_newest(&harness.env)->proxy);
	harness.callbacks[0] = (struct harness_callback){ .does = CALLBACK_RETURNS, .result = { .kind = CALL_INT, .number = 1 } };
	for (int i = 0; i < 500; i++) {
		own[0] = (char)('a' + i % 2);
		json_decref(harness.callbacks[0].attributes);
		harness.callbacks[0].attributes = json_pack("{s:s}", "recipients", own);
		say(harness.client, "RCPT TO:<c@d.example>\r\n");
		say(harness.server, "250 r\r\n");
		assert_int_equal(s->recipients.len, sizeof(own) - 1 + strlen(" c@d.example"));
		assert_memory_equal(s->recipients.ptr, own, sizeof(own) - 1);
		assert_true(slice_ends_with_nocase(s->recipients, SLICE("x c@d.example")));
		before = i == 0 ? memory() : before;
	}
	assert_true(memory() <= before + 64 * 1024);	/* the record has a row for each of 64 */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(trace_headers, setup, teardown),
		cmocka_unit_test_setup_teardown(recipients, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
