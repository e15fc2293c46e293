/* SPDX-License-Identifier: Apache-2.0 */
#include "io_test.h"

#include "base/log.h"
#include "io/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static struct virtual_clock clock_;
static struct loop *loop;
static struct listener *listener;
static struct sockaddr_in where;
static int fd, clients[50], log_fd;
static unsigned n_clients, accepted, descriptors;
static struct {
	bool disarm, free;
} wish;

static void on_connection(void *arg, int new_fd, const struct endpoint *peer)
{
	struct sockaddr_in sa;
	socklen_t size = sizeof(sa);

	assert_ptr_equal(arg, &accepted);
	assert_true(fcntl(new_fd, F_GETFL) & O_NONBLOCK);
	assert_true(fcntl(new_fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(getpeername(new_fd, (struct sockaddr *)&sa, &size), 0);
	assert_int_equal(peer->ip.family, AF_INET);
	assert_int_equal(peer->port, ntohs(sa.sin_port));
	assert_memory_equal(peer->ip.octets, &sa.sin_addr, 4);
	close(new_fd);
	accepted++;
	if (wish.disarm)
		listener_disarm(listener);
	if (wish.free)
		listener_free(&listener);
}

static int setup(void **state)
{
	socklen_t size = sizeof(where);

	descriptors = open_descriptors();
	virtual_clock_init(&clock_);
	loop = loop_create(&clock_.clock);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	where = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	assert_int_equal(bind(fd, (struct sockaddr *)&where, size), 0);
	assert_int_equal(listen(fd, 128), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&where, &size), 0);
	listener = listener_create(loop, fd, on_connection, &accepted);
	n_clients = accepted = 0;
	wish.disarm = wish.free = false;
	return listener == NULL;
}

static int teardown(void **state)
{
	while (n_clients > 0)
		close(clients[--n_clients]);
	listener_free(&listener);
	close(fd);
	loop_free(&loop);
	assert_int_equal(open_descriptors(), descriptors);
	return 0;
}

static void connect_clients(unsigned n)
{
	while (n-- > 0) {
		int c = socket(AF_INET, SOCK_STREAM, 0);

		assert_int_equal(connect(c, (struct sockaddr *)&where, sizeof(where)), 0);
		clients[n_clients++] = c;
	}
}

static void all_come_in_bounded_batches(void **state)
{
	unsigned before = 0, most = 0;

	listener_arm(listener);
	listener_arm(listener);
	connect_clients(50);
	for (int i = 0; i < 20 && accepted < 50; i++) {
		loop_turn(loop, 0);
		most = accepted - before > most ? accepted - before : most;
		before = accepted;
	}
	assert_int_equal(accepted, 50);
	assert_true(most > 1 && most <= 16);
	loop_turn(loop, 0);
	connect_clients(0);
	assert_int_equal(accepted, 50);
}

static void only_when_armed(void **state)
{
	connect_clients(2);
	loop_turn(loop, 0);
	assert_int_equal(accepted, 0);
	listener_arm(listener);
	loop_turn(loop, 0);
	assert_int_equal(accepted, 1);
	listener_disarm(listener);
	listener_disarm(listener);
	loop_turn(loop, 0);
	assert_int_equal(accepted, 1);
	listener_arm(listener);
	loop_turn(loop, 0);
	loop_turn(loop, 0);
	assert_int_equal(accepted, 2);
}

static void disarmed_by_its_own_call(void **state)
{
	listener_arm(listener);
	connect_clients(10);
	loop_turn(loop, 0);
	wish.disarm = true;
	for (int i = 0; i < 5; i++)
		loop_turn(loop, 0);
	assert_int_equal(accepted, 2);
}

static void freed_by_its_own_call(void **state)
{
	listener_arm(listener);
	connect_clients(10);
	wish.free = true;
	for (int i = 0; i < 5; i++)
		loop_turn(loop, 0);
	assert_int_equal(accepted, 1);
	assert_null(listener);
}

/* Without descriptors it neither spins nor gives up. */
static void pauses_without_descriptors(void **state)
{
	struct rlimit before, low;
	char text[300] = "";

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	listener_arm(listener);
	connect_clients(1);
	/* The client got the lowest free one; below it all are taken. */
	low = (struct rlimit){ .rlim_cur = (rlim_t)clients[0] + 1, .rlim_max = before.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	loop_turn(loop, 0);
	assert_int_equal(accepted, 0);
	for (int i = 0; i < 10; i++)
		loop_turn(loop, 50);
	assert_true(loop_now(loop) >= 1000 + 300);
	assert_int_equal(accepted, 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	for (int i = 0; i < 4 && accepted == 0; i++)
		loop_turn(loop, 100);
	assert_int_equal(accepted, 1);
	assert_true(pread(log_fd, text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, "accepting pauses"));
	assert_null(strstr(strstr(text, "accepting pauses") + 1, "accepting pauses"));	/* said once */
}

/* Two workers on one socket: between them they get all. */
static void shared_by_two_loops(void **state)
{
	struct loop *other = loop_create(&clock_.clock);
	struct listener *second = listener_create(other, fd, on_connection, &accepted);

	listener_arm(listener);
	listener_arm(second);
	connect_clients(20);
	for (int i = 0; i < 20; i++) {
		loop_turn(loop, 0);
		loop_turn(other, 0);
	}
	assert_int_equal(accepted, 20);
	listener_free(&second);
	loop_free(&other);
}

/* What cannot be watched now is tried again. */
static void watched_later(void **state)
{
	int number = dup(fd);
	struct listener *l = listener_create(loop, number, on_connection, &accepted);

	assert_int_equal(close(number), 0);
	listener_arm(l);
	assert_int_equal(dup2(fd, number), number);
	connect_clients(1);
	loop_turn(loop, 0);
	assert_int_equal(accepted, 0);
	for (int i = 0; i < 4 && accepted == 0; i++)
		loop_turn(loop, 100);
	assert_int_equal(accepted, 1);
	listener_free(&l);
	listener_free(&l);
	close(number);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(all_come_in_bounded_batches), T(only_when_armed), T(disarmed_by_its_own_call), T(freed_by_its_own_call),
		T(pauses_without_descriptors), T(shared_by_two_loops), T(watched_later),
	};

	log_fd = memfd_create("log", MFD_CLOEXEC);
	if (log_fd < 0 || log_open(log_fd, LOG_FORMAT_TEXT, 3, "", NULL) < 0)
		return 1;
	return cmocka_run_group_tests_name("io: listener", tests, NULL, NULL);
}
