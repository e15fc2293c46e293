/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls to policy code against a host that the test plays: both ends of every socket are here,
 * time is virtual. What the host may send is tried as carefully as what it should send.
 */
#ifndef SALLYPORT_TESTS_CALLBACK_TEST_H
#define SALLYPORT_TESTS_CALLBACK_TEST_H

#include "callback_toy.h"
#include "io/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

#define N_TALKS 2		/* conversations of a server in these tests */
#define N_CALLERS 4
#define TIMEOUT_MS TOY_TIMEOUT_MS

struct caller {
	struct session session;
	struct co *co;
	int32_t callback;
	const char *method;
	struct call_value arg;
	int64_t limit_ms;
	struct call_value result;
	int err;
	bool done;
};

struct server_end {
	int control, talks[N_TALKS];
};

struct world {
	struct loop *loop;
	struct callback_host *host;
	struct arena *arena;
	struct policy policy;
	struct proxy_config config;
	struct service service;
	struct rule rule;
	struct session_env env;
	struct caller callers[N_CALLERS];
	unsigned renewals, kills;
	struct server_end end;
};

extern struct world w;		/* of the test that runs */
extern int64_t now_ms;
extern int null_fd;		/* where log lines go */

/* Time passes, and everybody gets some turns of the loop. */
void turn(int64_t ms);
/* A server of the policy host, with its conversations; the far ends. */
struct server_end connect_server(void);
void close_end(struct server_end *end);
/* Setup and teardown of a test; connected: with a server, whose ends are w.end. */
int set_up(void **state);
int set_up_connected(void **state);
int tear_down(void **state);
/* A session calls policy code. */
struct caller *start(int i, int32_t callback, int64_t limit_ms);
/* What the host got; NULL: nothing. expect: the next, of this kind. */
json_t *hear(int fd);
void expect(int fd, const char *op);
/* The host says something. */
void say_octets(int fd, const void *octets, size_t n);
void say(int fd, const char *text);
/* The conversation that has a packet; -1: none. */
int speaking(void);
/* The conversation that a call came on, which is taken. */
int called(void);
/* On the control connection; -1: it was not asked. */
int64_t ping_number(void);
void pong(int64_t number);
/* The run block of a session. */
const struct toy_run *run_of(int i);

#define CASE(fn) cmocka_unit_test_setup_teardown(fn, set_up_connected, tear_down)

#endif
