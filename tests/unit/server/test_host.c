/* SPDX-License-Identifier: Apache-2.0 */
/* The leader's side of the policy host, against a zygote that the test plays. Its process is a
 * child that only waits to be killed. */
#include "base/log.h"
#include "policy/fingerprint.h"
#include "server/leader/host.h"
#include "policy/policy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

#define SLOTS 2
#define CONVERSATIONS 3
#define DOCUMENT "{\"a document\":1,\"tls_certificates\":[{\"file\":\"/c\",\"pem\":\"one\"}]}"
#define RENEWED "{\"a document\":1,\"tls_certificates\":[{\"file\":\"/c\",\"pem\":\"two\"}]}"

static struct world {
	struct poller poller;
	struct host *host;
	struct arena *arena;
	int zygote, document;		/* our ends */
	pid_t pid;
	unsigned spawned, connected[SLOTS];
	int spawn_error;
	int worker[SLOTS];		/* control connection of the last server */
} w;

static pid_t waiting_child(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		alarm(20);
		for (;;)
			pause();
	}
	assert_true(pid > 0);
	return pid;
}

static int spawn(void *arg, struct host_process *out)
{
	int pair[2], pipes[2];

	w.spawned++;
	if (w.spawn_error != 0)
		return w.spawn_error;
	w.pid = waiting_child();	/* before there is anything to inherit */
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair), 0);
	assert_int_equal(pipe(pipes), 0);
	w.zygote = pair[1];
	w.document = pipes[1];
	*out = (struct host_process){ .pid = w.pid, .control = pair[0], .document = pipes[0] };
	return 0;
}

static void connected(void *arg, unsigned slot, const int *fds, size_t n_fds)
{
	assert_int_equal(n_fds, CONVERSATIONS + 1);
	w.connected[slot]++;
	if (w.worker[slot] >= 0)
		close(w.worker[slot]);
	w.worker[slot] = dup(fds[0]);
}

static void nothing(void *arg)
{
}

/* Timers of the host run, and a timer of ours lets the turn end. What is said in several pieces,
 * octets and then their end, is heard in as many turns, however long each takes. */
static void turn(int64_t ms)
{
	struct poller_timer timer = { .fn = nothing };
	int64_t until = poller_now() + ms;

	for (int i = 0; i < 3 || poller_now() < until; i++) {
		poller_timer_set(&w.poller, &timer, 5);
		poller_turn(&w.poller);
	}
	poller_timer_clear(&w.poller, &timer);
}

static int set_up(void **state)
{
	memset(&w, 0, sizeof(w));
	poller_init(&w.poller);
	w.zygote = w.document = -1;
	for (int i = 0; i < SLOTS; i++)
		w.worker[i] = -1;
	w.arena = arena_create(1u << 20, 0);
	w.host = host_create(&(struct host_setup){
		.poller = &w.poller, .slots = SLOTS, .conversations = CONVERSATIONS, .spawn = spawn,
		.fingerprint = fingerprint(SLICE(DOCUMENT), w.arena),
		.fingerprint_without_files = policy_fingerprint_without_files(SLICE(DOCUMENT), w.arena), .connected = connected },
		&(struct host_process){ .pid = 0 });
	assert_non_null(w.host);
	assert_int_equal(w.spawned, 1);
	return 0;
}

static void close_zygote(void)
{
	if (w.zygote >= 0)
		close(w.zygote);
	if (w.document >= 0)
		close(w.document);
	w.zygote = w.document = -1;
}

static int tear_down(void **state)
{
	int status;

	host_free(&w.host);
	close_zygote();
	for (int i = 0; i < SLOTS; i++)
		if (w.worker[i] >= 0)
			close(w.worker[i]);
	arena_free(&w.arena);
	while (waitpid(-1, &status, 0) > 0)
		assert_int_equal(WTERMSIG(status), SIGKILL);	/* none was left to end by itself */
	return 0;
}

static void say(const char *packet)
{
	assert_int_equal(send(w.zygote, packet, strlen(packet), MSG_NOSIGNAL), strlen(packet));
	turn(1);
}

static void say_document(const char *text)
{
	assert_int_equal(write(w.document, text, strlen(text)), strlen(text));
	close(w.document);
	w.document = -1;
	turn(1);
}

static void get_ready(void)
{
	say_document(DOCUMENT);
	say("{\"op\":\"ready\"}");
}

/* The next packet; its descriptors are closed. NULL: none. */
static const char *heard(unsigned *n_fds)
{
	static char buf[256];
	char room[CMSG_SPACE(64 * sizeof(int))];
	struct iovec iov = { buf, sizeof(buf) - 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = room, .msg_controllen = sizeof(room) };
	ssize_t n = recvmsg(w.zygote, &msg, MSG_DONTWAIT);
	struct cmsghdr *cmsg;

	*n_fds = 0;
	if (n <= 0)
		return NULL;
	buf[n] = '\0';
	cmsg = CMSG_FIRSTHDR(&msg);
	if (cmsg != NULL) {
		int fds[64];

		*n_fds = (unsigned)((cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(fds, CMSG_DATA(cmsg), *n_fds * sizeof(int));
		for (unsigned i = 0; i < *n_fds; i++)
			close(fds[i]);
	}
	return buf;
}

static void expect(const char *packet, unsigned want_fds)
{
	unsigned n_fds;
	const char *got = heard(&n_fds);

	assert_non_null(got);
	assert_string_equal(got, packet);
	assert_int_equal(n_fds, want_fds);
}

static void expect_nothing(void)
{
	unsigned n_fds;

	assert_null(heard(&n_fds));
}

#define FORK(slot) "{\"op\":\"fork\",\"slot\":" #slot "}"

static void test_a_server_for_each_slot(void **state)
{
	get_ready();
	host_want(w.host, 1, false);
	expect(FORK(1), CONVERSATIONS + 1);
	assert_int_equal(w.connected[1], 1);
	say("{\"op\":\"forked\",\"slot\":1,\"pid\":4711}");
	host_want(w.host, 0, false);
	expect(FORK(0), CONVERSATIONS + 1);
	expect_nothing();
}

static void test_wishes_wait_for_the_zygote(void **state)
{
	host_want(w.host, 0, false);
	expect_nothing();
	say("{\"op\":\"ready\"}");
	expect_nothing();		/* its document is not there */
	say_document(DOCUMENT);
	expect(FORK(0), CONVERSATIONS + 1);
	expect_nothing();
}

static void test_another_document_is_not_served(void **state)
{
	host_want(w.host, 0, false);
	say("{\"op\":\"ready\"}");
	say_document("{\"a document\":2}");
	assert_int_equal(w.connected[0], 0);
	turn(150);
	assert_int_equal(w.spawned, 2);
	get_ready();
	expect(FORK(0), CONVERSATIONS + 1);
}

/* The file of a certificate changes while a generation lives. */
static void test_a_renewed_certificate_is_no_other_document(void **state)
{
	host_want(w.host, 0, false);
	say("{\"op\":\"ready\"}");
	say_document(RENEWED);
	expect(FORK(0), CONVERSATIONS + 1);
}

static void test_a_stuck_server_is_killed(void **state)
{
	get_ready();
	host_want(w.host, 0, false);
	expect(FORK(0), CONVERSATIONS + 1);
	say("{\"op\":\"forked\",\"slot\":0,\"pid\":4711}");
	host_want(w.host, 0, true);
	expect("{\"op\":\"kill\",\"pid\":4711}", 0);
	turn(150);
	expect(FORK(0), CONVERSATIONS + 1);
	assert_int_equal(w.connected[0], 2);
}

static void test_a_server_that_was_given_up_before_it_was_born(void **state)
{
	get_ready();
	host_want(w.host, 0, false);
	expect(FORK(0), CONVERSATIONS + 1);
	host_want(w.host, 0, true);
	turn(150);
	expect(FORK(0), CONVERSATIONS + 1);
	say("{\"op\":\"forked\",\"slot\":0,\"pid\":4711}");
	expect("{\"op\":\"kill\",\"pid\":4711}", 0);
	say("{\"op\":\"forked\",\"slot\":0,\"pid\":4712}");
	expect_nothing();
	host_want(w.host, 0, true);
	expect("{\"op\":\"kill\",\"pid\":4712}", 0);
}

static void test_servers_that_end_at_once_are_started_with_pauses(void **state)
{
	unsigned forks = 0, n_fds;
	int64_t until = poller_now() + 650;

	get_ready();
	while (poller_now() < until) {
		host_want(w.host, 0, false);
		turn(2);
		while (heard(&n_fds) != NULL)
			if (n_fds > 0) {
				forks++;
				say("{\"op\":\"forked\",\"slot\":0,\"pid\":0,\"message\":\"no memory\"}");
			}
	}
	assert_in_range(forks, 2, 4);	/* at 0, 100, 300, 700 ms */
}

static void test_a_lost_zygote_is_started_again(void **state)
{
	pid_t first;

	get_ready();
	host_want(w.host, 1, false);
	expect(FORK(1), CONVERSATIONS + 1);
	first = w.pid;
	close_zygote();
	turn(1);
	assert_int_equal(waitpid(first, NULL, 0), first);
	host_want(w.host, 1, false);
	turn(150);
	assert_int_equal(w.spawned, 2);
	get_ready();
	expect(FORK(1), CONVERSATIONS + 1);
	assert_int_equal(w.connected[1], 2);
}

static void test_its_process_ended(void **state)
{
	get_ready();
	assert_false(host_child_ended(w.host, getpid()));
	kill(w.pid, SIGKILL);
	assert_true(host_child_ended(w.host, w.pid));
	assert_false(host_child_ended(w.host, w.pid));
	close_zygote();
	turn(150);
	assert_int_equal(w.spawned, 2);
}

static void test_a_zygote_that_cannot_be_started(void **state)
{
	w.spawn_error = -ENOMEM;
	close_zygote();
	turn(400);			/* at 100, 300, 700 ms */
	assert_in_range(w.spawned, 3, 3);
	w.spawn_error = 0;
	turn(450);
	assert_int_equal(w.spawned, 4);
	get_ready();
	host_want(w.host, 0, false);
	expect(FORK(0), CONVERSATIONS + 1);
}

static void test_nonsense_from_the_zygote(void **state)
{
	static const char *const rows[] = {
		"x", "[]", "{}", "{\"op\":\"dance\"}", "{\"op\":\"forked\",\"slot\":0,\"pid\":1}",
		"{\"op\":\"forked\",\"slot\":2,\"pid\":1}", "{\"op\":\"forked\",\"slot\":-1,\"pid\":1}",
		"{\"op\":\"forked\",\"slot\":0,\"pid\":-1}",
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		get_ready();
		say(rows[i]);
		close_zygote();
		turn(150);
		assert_int_equal(w.spawned, 2);
		tear_down(state);	/* the pauses would grow, and the test is not about them */
		set_up(state);
	}
}

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(test_a_server_for_each_slot),
		CASE(test_wishes_wait_for_the_zygote),
		CASE(test_another_document_is_not_served),
		CASE(test_a_renewed_certificate_is_no_other_document),
		CASE(test_a_stuck_server_is_killed),
		CASE(test_a_server_that_was_given_up_before_it_was_born),
		CASE(test_servers_that_end_at_once_are_started_with_pauses),
		CASE(test_a_lost_zygote_is_started_again),
		CASE(test_its_process_ended),
		CASE(test_a_zygote_that_cannot_be_started),
		CASE(test_nonsense_from_the_zygote),
	};
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	if (log_open(null, LOG_FORMAT_TEXT, 3, "", NULL) != 0)
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
