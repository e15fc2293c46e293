/* SPDX-License-Identifier: Apache-2.0 */
/* The lookout as a process; the test is the supervisor and the workers. */
#include "base/log.h"
#include "base/slice.h"
#include "server/lookout/lookout_priv.h"
#include "server/message.h"
#include "session/lookout_talk.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 20000

static int supervisor = -1;
static pid_t pid;

static int start(const struct run_options *options)
{
	int pair[2];

	assert_int_equal(message_pair(pair), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		const struct lookout_setup lookout = { .options = options, .supervisor = pair[1] };

		close(pair[0]);
		_exit(log_open(STDERR_FILENO, LOG_FORMAT_TEXT, 3, "", NULL) == 0 ? lookout_run(&lookout) : 1);
	}
	close(pair[1]);
	supervisor = pair[0];
	return 0;
}

static int setup(void **state)
{
	return start(&(const struct run_options){ .workers = 1, .trust_anchor = "/nonexistent" });
}

/* Its questions go to somebody who does not answer. */
static char anchor[32];
static int deaf;

static int setup_with_a_deaf_resolver(void **state)
{
	static const char key[] = ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n";
	struct run_options options = { .workers = 1, .trust_anchor = anchor };
	char name_server[ENDPOINT_TEXT_MAX];
	struct sockaddr_storage at;
	socklen_t size = sizeof(at);
	int fd;

	snprintf(anchor, sizeof(anchor), "/tmp/sallyport-anchor-XXXXXX");
	fd = mkstemp(anchor);
	assert_int_equal(write(fd, key, sizeof(key) - 1), sizeof(key) - 1);
	close(fd);
	deaf = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(endpoint_parse(slice_cstr("127.0.0.1"), &options.dns_forwarder), 0);
	size = endpoint_to_sockaddr(&options.dns_forwarder, &at);
	assert_int_equal(bind(deaf, (struct sockaddr *)&at, size), 0);
	size = sizeof(at);
	assert_int_equal(getsockname(deaf, (struct sockaddr *)&at, &size), 0);
	assert_int_equal(endpoint_from_sockaddr(&at, &options.dns_forwarder), 0);
	options.resolvers = endpoint_text(&options.dns_forwarder, name_server);
	return start(&options);
}

/* It ends by itself when the supervisor is gone. */
static int teardown(void **state)
{
	int status = -1;

	close(supervisor);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return 0;
}

static int teardown_with_a_deaf_resolver(void **state)
{
	close(deaf);
	unlink(anchor);
	return teardown(state);
}

static int connect_slot(uint32_t generation, uint32_t slot)
{
	struct message m = { .type = MSG_LOOKOUT_PEER, .number = generation, .slot = slot, .n_fds = 1 };
	int pair[2];

	assert_int_equal(message_pair(pair), 0);
	m.fds[0] = pair[1];
	assert_int_equal(message_send(supervisor, &m), 0);
	close(pair[1]);
	return pair[0];
}

static int connect_worker(void)
{
	static uint32_t slot;

	return connect_slot(1, slot++);
}

static void ask_octets(int worker, uint32_t number, uint32_t kind, struct slice body)
{
	const struct lookout_question head = { .number = number, .kind = kind };
	static uint8_t octets[8192];

	memcpy(octets, &head, sizeof(head));
	memcpy(octets + sizeof(head), body.ptr, body.len);
	assert_int_equal(send(worker, octets, sizeof(head) + body.len, MSG_NOSIGNAL), sizeof(head) + body.len);
}

static void ask(int worker, uint32_t number, uint32_t kind, const char *body)
{
	ask_octets(worker, number, kind, slice_cstr(body));
}

/* Octets of the next packet; 0: the connection is closed. */
static size_t receive(int worker, void *out, size_t size)
{
	struct pollfd polled = { .fd = worker, .events = POLLIN };
	ssize_t n;

	assert_int_equal(poll(&polled, 1, PATIENCE_MS), 1);
	n = recv(worker, out, size, 0);
	return n > 0 ? (size_t)n : 0;
}

static void expect(int worker, uint32_t number, int result, const char *body)
{
	_Alignas(struct lookout_answer) uint8_t octets[320];
	const struct lookout_answer *head = (const void *)octets;

	assert_int_equal(receive(worker, octets, sizeof(octets)), sizeof(*head) + strlen(body));
	assert_int_equal(head->number, number);
	assert_int_equal(head->result, result);
	assert_memory_equal(octets + sizeof(*head), body, strlen(body));
}

static void expect_closed(int worker)
{
	uint8_t octets[64];

	assert_int_equal(receive(worker, octets, sizeof(octets)), 0);
	close(worker);
}

static void test_answers(void **state)
{
	int one = connect_worker(), other = connect_worker();

	ask(one, 7, LOOKOUT_NOTHING, "here");
	ask(other, 7, LOOKOUT_KINDS, "there");
	ask(other, 8, UINT32_MAX, "");
	expect(other, 7, -ENOSYS, "");
	expect(other, 8, -ENOSYS, "");
	expect(one, 7, 0, "here");
	close(one);
	ask(other, 9, LOOKOUT_NOTHING, "");
	expect(other, 9, 0, "");
	close(other);
}

/* One worker's nonsense is no other's harm. */
static void test_nonsense(void **state)
{
	static uint8_t large[sizeof(struct lookout_question) + LOOKOUT_BODY_MAX + 1];
	int good = connect_worker(), bad = connect_worker();

	assert_int_equal(send(bad, "abc", 3, 0), 3);
	expect_closed(bad);
	bad = connect_worker();
	assert_int_equal(send(bad, large, sizeof(large), 0), sizeof(large));
	expect_closed(bad);
	ask(good, 1, LOOKOUT_NOTHING, "");
	expect(good, 1, 0, "");
	close(good);
}

/* What is no name is not given to a library that has its own way to read it; without a trust anchor nobody is asked. */
static void test_names(void **state)
{
	static const char *const wrong[] = { "", ".", "a..b", ".a", "a b", "a\\046b", "\xc3\xa1.example", "a/b", "*.example" };
	int worker = connect_worker();
	char longest[256];

	for (uint32_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ask(worker, i, LOOKOUT_TLSA, wrong[i]);
		expect(worker, i, -EINVAL, "");
	}
	memset(longest, 'a', sizeof(longest));
	longest[254] = '\0';
	ask(worker, 100, LOOKOUT_TLSA, longest);
	expect(worker, 100, -EINVAL, "");
	for (uint32_t i = 0; i < 2; i++) {
		ask(worker, 200 + i, LOOKOUT_TLSA, "_25._tcp.mail.example");
		expect(worker, 200 + i, LOOKOUT_TLSA_FAILED, "the trust anchor /nonexistent can't be read: No such file or directory");
	}
	close(worker);
}

/* Questions for policies of mail domains that are none: nobody is asked. */
static void test_domains(void **state)
{
	static const struct slice wrong[] = {
		SLICE_INIT(""), SLICE_INIT("a.example"), SLICE_INIT("a.example\0"), SLICE_INIT("a.example\0ca"), SLICE_INIT("\0/ca"),
		SLICE_INIT("A.example\0/ca"), SLICE_INIT("*.example\0/ca"), SLICE_INIT("a..b\0/ca"), SLICE_INIT("192.0.2.1\0/ca"),
		SLICE_INIT("a.example\0/c\0a"), SLICE_INIT("a.example.\0/ca"), SLICE_INIT("a/b\0/ca"),
	};
	static uint8_t large[6000];
	int worker = connect_worker();

	for (uint32_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		ask_octets(worker, i, LOOKOUT_STS, wrong[i]);
		expect(worker, i, -EINVAL, "");
	}
	memset(large, 'a', sizeof(large));
	memcpy(large + 9, "\0/", 2);
	ask_octets(worker, 100, LOOKOUT_STS, slice_of(large, sizeof(large)));
	expect(worker, 100, -EINVAL, "");
	for (size_t i = 0; i < 245; i++)	/* one too many: "_mta-sts." stands before it */
		large[i] = i % 60 == 59 ? '.' : 'a';
	memcpy(large + 245, "\0/ca", 4);
	ask_octets(worker, 101, LOOKOUT_STS, slice_of(large, 249));
	expect(worker, 101, -EINVAL, "");
	close(worker);
}

static bool is_there(int worker)
{
	const struct lookout_question head = { .kind = LOOKOUT_NOTHING };
	uint8_t octets[64];

	return send(worker, &head, sizeof(head), MSG_NOSIGNAL) > 0 && receive(worker, octets, sizeof(octets)) > 0;
}

/* A worker that is connected again has one connection: the last. */
static void test_one_connection_a_worker(void **state)
{
	int first = connect_slot(1, 5), other = connect_slot(2, 5), second;

	assert_true(is_there(first));
	second = connect_slot(1, 5);
	assert_true(is_there(second));
	expect_closed(first);
	assert_true(is_there(other));
	close(second);
	close(other);
}

/* Where there is no room, the workers of the oldest generation do without. */
static void test_too_many_workers(void **state)
{
	static int workers[LOOKOUT_PEERS_MAX];
	int newest, again;

	for (uint32_t i = 0; i < LOOKOUT_PEERS_MAX; i++) {
		workers[i] = connect_slot(3 + i / WORKERS_MAX, i % WORKERS_MAX);
		assert_true(is_there(workers[i]));
	}
	expect_closed(connect_slot(2, 0));
	for (uint32_t i = 0; i < WORKERS_MAX; i++) {
		newest = connect_slot(5, i);
		assert_true(is_there(newest));
		expect_closed(workers[i]);
		workers[i] = newest;
	}
	expect_closed(connect_slot(3, 0));
	assert_true(is_there(workers[LOOKOUT_PEERS_MAX - 1]));
	again = connect_slot(4, 0);
	assert_true(is_there(again));
	expect_closed(workers[WORKERS_MAX]);
	workers[WORKERS_MAX] = again;
	for (size_t i = 0; i < LOOKOUT_PEERS_MAX; i++)
		close(workers[i]);
}

/* Another name each time. */
static void ask_dns(int worker, uint32_t number, enum lookout_kind kind)
{
	char name[64];
	int n = snprintf(name, sizeof(name), kind == LOOKOUT_TLSA ? "_25._tcp.host%u.example" : "domain%u.example%c/ca", number, '\0');

	ask_octets(worker, number, kind, slice_of(name, (size_t)n));
}

/* Whether a question has to wait for its answer: what is asked behind it is answered first. Answers to others may come late. */
static bool is_taken(int worker, uint32_t number, enum lookout_kind kind)
{
	_Alignas(struct lookout_answer) uint8_t octets[320];
	const struct lookout_answer *head = (const void *)octets;

	ask_dns(worker, number, kind);
	ask(worker, number, LOOKOUT_NOTHING, "");
	do
		assert_true(receive(worker, octets, sizeof(octets)) > 0);
	while (head->number != number);
	if (head->result >= 0)
		return true;
	assert_int_equal(head->result, -EBUSY);
	return false;
}

/* However much others ask there is something left; and who is gone asks nothing. */
static void test_each_has_its_share(void **state)
{
	enum { WORKERS = 9, EACH = LOOKOUT_WINDOW - 2 };
	int workers[WORKERS], late = connect_slot(2, 0);
	unsigned taken = 0;

	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = connect_slot(1, i);
		for (unsigned k = 0; k < EACH; k++)
			taken += is_taken(workers[i], i * EACH + k, LOOKOUT_TLSA);
	}
	assert_true(taken >= LOOKOUT_DNS_QUESTIONS_MAX / 2);
	assert_true(is_taken(late, 1000, LOOKOUT_TLSA));
	for (unsigned i = 0; i < WORKERS; i++)
		close(workers[i]);
	for (unsigned k = 1, number = 1000; k < EACH;)	/* as soon as it has seen them go */
		k += is_taken(late, ++number, LOOKOUT_TLSA);
	close(late);
}

/* Mail domains are asked for by whoever comes; who is gone asks nothing. */
static void test_domains_of_who_is_gone(void **state)
{
	enum { WORKERS = 9, EACH = LOOKOUT_WINDOW - 2 };
	int workers[WORKERS], late = connect_slot(2, 0);
	unsigned taken = 0;

	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = connect_slot(1, i);
		for (unsigned k = 0; k < EACH; k++)
			taken += is_taken(workers[i], i * EACH + k, LOOKOUT_STS);
	}
	assert_true(taken >= LOOKOUT_STS_QUESTIONS_MAX);
	for (unsigned i = 0; i < WORKERS; i++)
		close(workers[i]);
	assert_true(is_there(late) && is_there(late));	/* it has seen them go */
	for (unsigned k = 0; k < EACH; k++)
		assert_true(is_taken(late, 1000 + k, LOOKOUT_STS));
	close(late);
}

static void test_hangs_up_on_who_reads_nothing(void **state)
{
	int worker = connect_worker();
	struct lookout_question head = { .kind = LOOKOUT_NOTHING };
	uint8_t octets[2048] = { 0 };

	memcpy(octets, &head, sizeof(head));
	for (;;) {
		ssize_t n = send(worker, octets, sizeof(octets), MSG_NOSIGNAL);

		if (n < 0 && errno != EAGAIN)
			break;
	}
	assert_true(errno == EPIPE || errno == ECONNRESET);
	close(worker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_answers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
		cmocka_unit_test_setup_teardown(test_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_connection_a_worker, setup, teardown),
		cmocka_unit_test_setup_teardown(test_domains, setup, teardown),
		cmocka_unit_test_setup_teardown(test_too_many_workers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_each_has_its_share, setup_with_a_deaf_resolver, teardown_with_a_deaf_resolver),
		cmocka_unit_test_setup_teardown(test_domains_of_who_is_gone, setup_with_a_deaf_resolver, teardown_with_a_deaf_resolver),
		cmocka_unit_test_setup_teardown(test_hangs_up_on_who_reads_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
