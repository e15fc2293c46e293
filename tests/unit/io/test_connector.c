/* SPDX-License-Identifier: Apache-2.0 */
#include "io_test.h"

#include "io/connector.h"
#include "io/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct loop *loop;
static unsigned descriptors;
static int server[2];
static struct endpoint server_at[2];

static struct endpoint at(const char *text)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse(slice_cstr(text), &e), 0);
	return e;
}

static int listen_at(const char *text, int backlog, struct endpoint *where)
{
	struct sockaddr_storage sa;
	struct endpoint e = at(text);
	socklen_t size = endpoint_to_sockaddr(&e, &sa);
	int fd = socket(e.ip.family, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	if (bind(fd, (struct sockaddr *)&sa, size) < 0 || listen(fd, backlog) < 0) {
		close(fd);
		return -1;
	}
	size = sizeof(sa);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &size), 0);
	assert_int_equal(endpoint_from_sockaddr(&sa, where), 0);
	return fd;
}

static int setup(void **state)
{
	descriptors = open_descriptors();
	loop = loop_create(&clock_system);
	for (int i = 0; i < 2; i++)
		server[i] = listen_at("127.0.0.1:0", 100, &server_at[i]);
	return 0;
}

static int teardown(void **state)
{
	close(server[0]);
	close(server[1]);
	assert_int_equal(loop_coroutines(loop), 0);
	loop_free(&loop);
	assert_int_equal(open_descriptors(), descriptors);
	return 0;
}

struct attempt {
	struct connect_request request;
	int64_t limit_ms;
	struct stream *stream;
	struct co *co;
	int result;
};

static void attempt_run(void *arg)
{
	struct attempt *a = arg;

	a->result = connector_kernel.connect(&connector_kernel, &a->request, deadline_in(a->limit_ms), &a->stream);
	loop_stop(loop);
}

static int attempt(struct attempt *a)
{
	a->result = 1;
	if (a->limit_ms == 0)
		a->limit_ms = 10000;
	a->co = co_spawn(loop, attempt_run, a);
	assert_non_null(a->co);
	loop_run(loop);
	assert_true((a->result == 0) == (a->stream != NULL));
	return a->result;
}

/* The address and port that the server sees. */
static struct endpoint seen_by_server(int fd)
{
	struct sockaddr_storage sa;
	socklen_t size = sizeof(sa);
	struct endpoint e;
	int c = accept(fd, (struct sockaddr *)&sa, &size);

	assert_true(c >= 0);
	close(c);
	assert_int_equal(endpoint_from_sockaddr(&sa, &e), 0);
	return e;
}

static uint16_t connect_from(struct attempt *a, enum bind_style style, const char *local, int to)
{
	struct endpoint peer, own;

	*a = (struct attempt){ .request = { .remote = server_at[to], .local = at(local), .bind = style } };
	assert_int_equal(attempt(a), 0);
	assert_int_equal(stream_local(a->stream, &own), 0);
	peer = seen_by_server(server[to]);
	assert_true(endpoint_equal(&peer, &own));
	assert_true(ip_equal(&peer.ip, &a->request.local.ip));
	return peer.port;
}

static int fail_from(enum bind_style style, const char *local, int to)
{
	struct attempt a = { .request = { .remote = server_at[to], .local = at(local), .bind = style } };

	assert_int_not_equal(attempt(&a), 0);
	return a.result;
}

static void simple(void **state)
{
	struct attempt a = { .request = { .remote = server_at[0], .keepalive = true, .tos = 0x20 } };
	struct endpoint peer;
	int value = 0;
	socklen_t size = sizeof(value);

	assert_int_equal(attempt(&a), 0);
	assert_int_equal(stream_peer(a.stream, &peer), 0);
	assert_true(endpoint_equal(&peer, &server_at[0]));
	assert_int_equal(getsockopt(stream_fd(a.stream), SOL_SOCKET, SO_KEEPALIVE, &value, &size), 0);
	assert_int_equal(value, 1);
	assert_int_equal(getsockopt(stream_fd(a.stream), SOL_IP, IP_TOS, &value, &size), 0);
	assert_int_equal(value, 0x20);
	stream_close(&a.stream);
}

static void version_six(void **state)
{
	struct attempt a = { .request = { .bind = BIND_ADDRESS, .local = at("[::1]:0") } };
	struct endpoint peer;
	int fd = listen_at("[::1]:0", 5, &a.request.remote);

	assert_true(fd >= 0);
	assert_int_equal(attempt(&a), 0);
	peer = seen_by_server(fd);
	assert_true(ip_equal(&peer.ip, &a.request.local.ip));
	stream_close(&a.stream);
	close(fd);
}

static void refused(void **state)
{
	struct attempt a = { 0 };
	int fd = listen_at("127.0.0.1:0", 5, &a.request.remote);

	close(fd);
	assert_int_equal(attempt(&a), -ECONNREFUSED);
}

static void nonsense(void **state)
{
	struct attempt a = { .request = { .remote = at("127.0.0.1:0") } };

	assert_int_equal(attempt(&a), -EINVAL);
	a.request.remote = (struct endpoint){ 0 };
	assert_int_equal(attempt(&a), -EINVAL);
	assert_int_equal(fail_from(BIND_ADDRESS, "[::1]:0", 0), -EINVAL);
}

/* A full accept queue swallows the SYN: like a server that does not answer. */
static int full_server(struct attempt *a, int filler[3])
{
	struct sockaddr_storage sa;
	int fd = listen_at("127.0.0.1:0", 0, &a->request.remote);
	socklen_t size = endpoint_to_sockaddr(&a->request.remote, &sa);

	for (int i = 0; i < 3; i++) {
		filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(filler[i], (struct sockaddr *)&sa, size);
	}
	return fd;
}

static void close_all(int fd, const int filler[3])
{
	for (int i = 0; i < 3; i++)
		close(filler[i]);
	close(fd);
}

static void silence_times_out(void **state)
{
	struct attempt a = { .limit_ms = 80 };
	int filler[3], fd = full_server(&a, filler);
	int64_t start = clock_system.monotonic_ms(&clock_system);

	assert_int_equal(attempt(&a), -ETIMEDOUT);
	assert_true(clock_system.monotonic_ms(&clock_system) - start >= 79);
	close_all(fd, filler);
}

static void cancel(void **state)
{
	struct attempt a = { .limit_ms = 10000, .result = 1 };
	int filler[3], fd = full_server(&a, filler);

	a.co = co_spawn(loop, attempt_run, &a);
	loop_turn(loop, 0);
	loop_turn(loop, 0);
	assert_int_equal(a.result, 1);
	co_cancel(a.co);
	loop_run(loop);
	assert_int_equal(a.result, -ECANCELED);
	assert_null(a.stream);
	close_all(fd, filler);
}

/* Source addresses. */

static void bind_address(void **state)
{
	struct attempt a, b;

	assert_int_not_equal(connect_from(&a, BIND_ADDRESS, "127.0.0.5:0", 0), 0);
	assert_int_not_equal(connect_from(&b, BIND_ADDRESS, "127.0.0.5:7777", 0), 7777);	/* address only */
	stream_close(&a.stream);
	stream_close(&b.stream);
}

static void bind_exact(void **state)
{
	struct attempt a, b;

	assert_int_equal(connect_from(&a, BIND_EXACT, "127.0.0.6:23456", 0), 23456);
	/* The same port to another server is another connection ... */
	assert_int_equal(connect_from(&b, BIND_EXACT, "127.0.0.6:23456", 1), 23456);
	/* ... but not to the same. */
	assert_int_equal(fail_from(BIND_EXACT, "127.0.0.6:23456", 0), -EADDRINUSE);
	stream_reset(&a.stream);
	stream_reset(&b.stream);
}

static void bind_exact_beside_a_listener(void **state)
{
	struct endpoint where;
	int fd = listen_at("127.0.0.6:23457", 1, &where);

	assert_int_equal(fail_from(BIND_EXACT, "127.0.0.6:23457", 0), -EADDRINUSE);
	close(fd);
}

static void bind_wildcard(void **state)
{
	struct attempt a = { .request = { .remote = server_at[0], .bind = BIND_EXACT } };

	a.request.local.port = 23461;
	assert_int_equal(attempt(&a), 0);
	assert_int_equal(seen_by_server(server[0]).port, 23461);
	stream_reset(&a.stream);
}

static void bind_loose(void **state)
{
	struct attempt a[4];

	assert_int_equal(connect_from(&a[0], BIND_LOOSE, "127.0.0.7:23456", 0), 23456);
	assert_int_equal(connect_from(&a[1], BIND_LOOSE, "127.0.0.7:23456", 0), 23457);
	assert_int_equal(connect_from(&a[2], BIND_LOOSE, "127.0.0.7:65535", 0), 65535);
	assert_int_equal(connect_from(&a[3], BIND_LOOSE, "127.0.0.7:65535", 0), 1024);	/* wraps in its group */
	for (int i = 0; i < 4; i++)
		stream_reset(&a[i].stream);
}

static void low_ports_stay_low(void **state)
{
	struct attempt a[2];

	if (geteuid() != 0) {
		assert_int_equal(fail_from(BIND_LOOSE, "127.0.0.7:511", 0), -EACCES);
		return;
	}
	assert_int_equal(connect_from(&a[0], BIND_LOOSE, "127.0.0.7:511", 0), 511);
	assert_int_equal(connect_from(&a[1], BIND_LOOSE, "127.0.0.7:511", 0), 1);
	stream_reset(&a[0].stream);
	stream_reset(&a[1].stream);
}

static void bind_random(void **state)
{
	struct attempt a[8];
	bool differ = false;

	for (int i = 0; i < 8; i++) {
		uint16_t port = connect_from(&a[i], BIND_RANDOM, "127.0.0.8:2000", 0);

		assert_true(port >= 1024);
		differ |= port != 2000;
	}
	assert_true(differ);
	for (int i = 0; i < 8; i++)
		stream_reset(&a[i].stream);
}

/* An address that is not this host's fails at once, not after a walk over all ports. */
static void a_foreign_address_is_refused(void **state)
{
	assert_int_equal(fail_from(BIND_ADDRESS, "192.0.2.1:0", 0), -EADDRNOTAVAIL);
	assert_int_equal(fail_from(BIND_EXACT, "192.0.2.1:2000", 0), -EADDRNOTAVAIL);
	assert_int_equal(fail_from(BIND_LOOSE, "192.0.2.1:2000", 0), -EADDRNOTAVAIL);
	assert_int_equal(fail_from(BIND_RANDOM, "192.0.2.1:2000", 0), -EADDRNOTAVAIL);
}

/* With the right, a transparent socket takes it; the answers then go elsewhere. */
static void a_transparent_socket_takes_it(void **state)
{
	struct attempt a = { .limit_ms = 60, .request = { .remote = server_at[0], .local = at("192.0.2.1:2000"),
							  .bind = BIND_EXACT, .transparent = true } };
	int on = 1, fd = socket(AF_INET, SOCK_STREAM, 0);
	bool may = setsockopt(fd, SOL_IP, IP_TRANSPARENT, &on, sizeof(on)) == 0;

	close(fd);
	attempt(&a);
	if (!may)
		assert_int_equal(a.result, -EPERM);
	else
		assert_true(a.result != -EADDRNOTAVAIL && a.result != -EPERM);
	stream_close(&a.stream);
}

static void groups(void **state)
{
	static const struct {
		uint16_t port, first, last;
	} want[] = { { 1, 1, 511 },	    { 511, 1, 511 },	    { 512, 512, 1023 },	 { 1023, 512, 1023 },
		     { 1024, 1024, 65535 }, { 65535, 1024, 65535 }, { 0, 1024, 65535 } };

	for (size_t i = 0; i < ARRAY_LEN(want); i++) {
		uint16_t first, last;

		port_group(want[i].port, &first, &last);
		assert_int_equal(first, want[i].first);
		assert_int_equal(last, want[i].last);
	}
}

static bool has_version_six(void)
{
	struct sockaddr_in6 sa = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd = socket(AF_INET6, SOCK_STREAM, 0);
	bool has = fd >= 0 && bind(fd, (struct sockaddr *)&sa, sizeof(sa)) == 0;

	if (fd >= 0)
		close(fd);
	return has;
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(simple), T(refused), T(nonsense), T(silence_times_out), T(cancel), T(bind_address),
		T(bind_exact), T(bind_exact_beside_a_listener), T(bind_wildcard), T(bind_loose), T(low_ports_stay_low),
		T(bind_random), T(a_foreign_address_is_refused), T(a_transparent_socket_takes_it), T(groups),
		T(version_six),		/* last: left out on a host without IPv6 */
	};
	size_t n = ARRAY_LEN(tests) - !has_version_six();

	return _cmocka_run_group_tests("io: connector", tests, n, NULL, NULL);
}
