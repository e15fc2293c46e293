/* SPDX-License-Identifier: Apache-2.0 */
/* Connections of peers that speak for others: which session, for whom, begins after the PROXY
 * header, and that none begins without it. */
#include "harness.h"
#include "proxy/smtp/smtp.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define SERVICE(name, more) \
	"{\"name\":\"" name "\",\"kind\":\"proxy\",\"at\":[0,1],\"config\":0," more \
	"\"router\":{\"type\":\"directed\",\"targets\":[[\"10.9.9.9\",25]],\"proxy_protocol\":1}}"
#define RULE(id, service, zone) \
	"{\"id\":" id ",\"instance\":0,\"service\":" service ",\"at\":[0,1],\"proto\":[6],\"src_zone\":[" zone "]}"
#define HEADER(src) "PROXY TCP4 " src " 192.0.2.25 40001 2525\r\n"

/* Zones: lb, its child, inside, denied, outside. Services: for each but the last. */
static const char document[] =
	"{\"format\":\"sallyport-policy\",\"version\":1,\"files\":[\"test\"],\"options\":{},\"instances\":[\"test\"],\"zones\":["
	"{\"name\":\"lb\",\"addrs\":[\"10.0.1.0/24\"],\"hostnames\":[],\"parent\":null,\"at\":[0,1]},"
	"{\"name\":\"lb.child\",\"addrs\":[\"10.0.2.0/24\"],\"hostnames\":[],\"parent\":0,\"at\":[0,1]},"
	"{\"name\":\"inside\",\"addrs\":[\"10.1.0.0/16\"],\"hostnames\":[],\"parent\":null,\"at\":[0,1]},"
	"{\"name\":\"denied\",\"addrs\":[\"10.2.0.0/16\"],\"hostnames\":[],\"parent\":null,\"at\":[0,1]}],"
	"\"configs\":[{\"proxy\":\"smtp\",\"class\":\"C\",\"class_number\":-1,\"per_session\":false,\"at\":[0,1],\"attributes\":{},"
	"\"tables\":{},\"hooks\":{}}],\"services\":["
	SERVICE("balanced", "\"accept_proxy_protocol\":[0],") ","
	SERVICE("inside", "\"max_instances\":1,") ","
	"{\"name\":\"no\",\"kind\":\"deny\",\"at\":[0,1]}],\"rules\":["
	RULE("1", "0", "0") "," RULE("2", "1", "2") "," RULE("3", "2", "3") "],\"callbacks\":0}";

struct fixture {
	struct harness h;
	uint32_t running[3];
	unsigned refused;
	int log_fd;
};

static void count_refused(struct session_env *env)
{
	struct harness *h = env->owner;

	((struct fixture *)h)->refused++;
}

static int set_up(void **state)
{
	static const struct proxy_type *const types[] = { &smtp_type, NULL };
	const struct proxy_registry registry = { types };
	struct fixture *f = calloc(1, sizeof(*f));
	json_t *config = json_pack("{s:s,s:s,s:i,s:b,s:[i,i]}", "proxy", "smtp", "class", "C", "class_number", -1,
				   "per_session", 0, "at", 0, 1);
	struct policy_problems problems;

	assert_non_null(f);
	f->log_fd = memfd_create("log", MFD_CLOEXEC);
	log_open(f->log_fd, LOG_FORMAT_TEXT, 10, NULL, NULL);
	assert_int_equal(harness_init(&f->h, config, NULL, NULL, &smtp_type), 0);
	json_decref(config);
	problems_init(&problems, f->h.arena);
	assert_int_equal(policy_build(slice_cstr(document), &registry, f->h.arena, &problems, &f->h.policy), 0);
	f->h.env.on_refused = count_refused;
	f->h.env.service_sessions = f->running;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	session_stop_arrivals(&f->h.env);
	harness_release(&f->h);
	assert_int_equal(f->h.env.arrivals.n, 0);
	assert_int_equal(f->running[0] + f->running[1], 0);
	close(f->log_fd);
	free(f);
	return 0;
}

static void client_sends(struct fixture *f, struct slice octets)
{
	assert_int_equal(send(f->h.client, octets.ptr, octets.len, MSG_NOSIGNAL), octets.len);
	harness_settle(&f->h);
}

static bool log_has(struct fixture *f, const char *text)
{
	static char log[16384];
	ssize_t n = pread(f->log_fd, log, sizeof(log) - 1, 0);

	assert_true(n >= 0);
	log[n] = '\0';
	return strstr(log, text) != NULL;
}

static void server_got(struct fixture *f, const char *wanted)
{
	char got[256];
	ssize_t n = read(f->h.server, got, sizeof(got) - 1);

	assert_true(n >= 0);
	got[n] = '\0';
	assert_string_equal(got, wanted);
}

static void client_closed(struct fixture *f)
{
	char octet;

	assert_true(recv(f->h.client, &octet, 1, MSG_DONTWAIT) <= 0);
	assert_true(errno != EAGAIN);
	assert_null(session_newest(&f->h.env));
	assert_int_equal(f->h.env.arrivals.n, 0);
	assert_int_equal(f->refused, 1);
}

static struct session *the_session(struct fixture *f, const char *id, const char *client)
{
	struct session *s = session_newest(&f->h.env);
	struct endpoint expected;

	assert_non_null(s);
	assert_int_equal(f->h.env.sessions.n, 1);
	assert_int_equal(f->h.env.arrivals.n, 0);
	assert_int_equal(endpoint_parse(slice_cstr(client), &expected), 0);
	assert_string_equal(s->id, id);
	assert_true(endpoint_equal(&s->client, &expected));
	assert_int_equal(f->refused, 0);
	return s;
}

/* The service, its number and limits, the zone and the server's view are those of the client. */
static void decided_for_the_client(void **state)
{
	struct fixture *f = *state;
	struct session *s;

	assert_int_equal(harness_connect(&f->h, "10.0.1.7:50000"), 0);
	assert_null(session_newest(&f->h.env));
	assert_int_equal(f->h.env.arrivals.n, 1);
	client_sends(f, SLICE(HEADER("10.1.2.3")));
	s = the_session(f, "svc/test/inside:0", "10.1.2.3:40001");
	assert_string_equal(s->decision.src_zone->name, "inside");
	assert_int_equal(s->decision.rule->id, 2);
	assert_int_equal(f->running[0], 0);
	assert_int_equal(f->running[1], 1);
	server_got(f, HEADER("10.1.2.3"));
	assert_true(log_has(f, "client_address='AF_INET(10.1.2.3:40001)', client_zone='Zone(inside)', client_local='AF_INET(10.9.9.1:25)'"));
	assert_true(log_has(f, "client_from='proxy-header', peer_address='AF_INET(10.0.1.7:50000)'"));
	harness_end(&f->h);
	assert_true(log_has(f, "client_from='proxy-header', peer_address='10.0.1.7', peer_port='50000'"));
}

static void octet_by_octet_from_a_child_zone(void **state)
{
	struct fixture *f = *state;
	const struct slice header = SLICE(HEADER("10.1.2.3"));

	assert_int_equal(harness_connect(&f->h, "10.0.2.7:50000"), 0);
	for (size_t i = 0; i < header.len; i++) {
		assert_null(session_newest(&f->h.env));
		client_sends(f, slice_of(header.ptr + i, 1));
	}
	the_session(f, "svc/test/inside:0", "10.1.2.3:40001");
}

/* What comes with the header is the proxy's: here octets before the greeting. */
static void octets_behind_the_header(void **state)
{
	struct fixture *f = *state;
	struct session *s;

	assert_int_equal(harness_connect(&f->h, "10.0.1.7:50000"), 0);
	client_sends(f, SLICE(HEADER("10.1.2.3") HEADER("10.2.2.2")));
	s = the_session(f, "svc/test/inside:0", "10.1.2.3:40001");
	/* Not read: it could have to go through TLS. */
	assert_int_equal(stream_peek(s->proxy.client).len, 0);
	assert_true(stream_fill_now(s->proxy.client) > 0);
	assert_true(slice_is(stream_peek(s->proxy.client), HEADER("10.2.2.2")));
}

/* A peer that is a client too: one header is enough. */
static void client_in_the_peers_zone(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(harness_connect(&f->h, "10.0.1.7:50000"), 0);
	client_sends(f, SLICE(HEADER("10.0.1.9")));
	the_session(f, "svc/test/balanced:0", "10.0.1.9:40001");
}

static void local(void **state)
{
	struct fixture *f = *state;
	struct session *s;

	assert_int_equal(harness_connect(&f->h, "10.0.1.7:50000"), 0);
	client_sends(f, SLICE("\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"));
	s = the_session(f, "svc/test/balanced:0", "10.0.1.7:50000");
	assert_int_equal(s->client_from, CLIENT_FROM_CONNECTION);
	server_got(f, "PROXY TCP4 10.0.1.7 10.9.9.1 50000 25\r\n");
}

/* Others are not asked, and not believed. */
static void untrusted_peer(void **state)
{
	struct fixture *f = *state;
	struct session *s;

	assert_int_equal(harness_connect(&f->h, "10.1.2.3:50000"), 0);
	s = the_session(f, "svc/test/inside:0", "10.1.2.3:50000");
	client_sends(f, SLICE(HEADER("10.1.9.9")));
	s = the_session(f, "svc/test/inside:0", "10.1.2.3:50000");
	assert_int_equal(s->client_from, CLIENT_FROM_CONNECTION);
	server_got(f, "PROXY TCP4 10.1.2.3 10.9.9.1 50000 25\r\n");
}

static void refused(void **state)
{
	static const struct { const char *octets, *log; } rows[] = {
		{ "EHLO x\r\n", "fault='client', reason='no-header', service='balanced', peer_address='AF_INET(10.0.1.7:50000)'" },
		{ "USER bob\r\nPASS secret\r\n", "octets='USER'" },
		{ "PROXY UNKNOWN\r\n", "reason='no-address'" },
		{ "PROXY UNKNOWN\r\nPASS secret\r\n", "octets='PROXY UNKNOWN'" },
		{ "\r\n\r\nxyz", "octets='\\x0d\\x0a\\x0d\\x0axyz'" },
		{ "PROXY TCP4 10.1.2.3 192.0.2.25 40001 2525 \r\n", "reason='malformed-port'" },
		{ HEADER("10.2.2.2"), "reason='the policy denies it', service='no', client_address='AF_INET(10.2.2.2:40001)'" },
		{ HEADER("10.3.3.3"), "reason='no rule matches', service='None', client_address='AF_INET(10.3.3.3:40001)'" },
		{ HEADER("10.3.3.3"), "peer_address='AF_INET(10.0.1.7:50000)'" },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct fixture *f;

		tear_down(state);
		set_up(state);
		f = *state;
		assert_int_equal(harness_connect(&f->h, "10.0.1.7:50000"), 0);
		client_sends(f, slice_cstr(rows[i].octets));
		client_closed(f);
		assert_true(log_has(f, rows[i].log));
		assert_int_equal(f->h.server, -1);
	}
}

static void too_late(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(harness_connect(&f->h, "10.0.1.7:50000"), 0);
	client_sends(f, SLICE("PROXY TCP4 10.1.2.3 "));
	f->h.now_ms += 4999;
	harness_settle(&f->h);
	assert_int_equal(f->h.env.arrivals.n, 1);
	f->h.now_ms += 1;
	harness_settle(&f->h);
	client_closed(f);
	assert_true(log_has(f, "core.violation(2)"));
	assert_true(log_has(f, "reason='timeout'"));
}

static void gone(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(harness_connect(&f->h, "10.0.1.7:50000"), 0);
	harness_close_client(&f->h);
	harness_settle(&f->h);
	assert_int_equal(f->h.env.arrivals.n, 0);
	assert_int_equal(f->refused, 1);
	assert_true(log_has(f, "core.session(4)"));
	assert_false(log_has(f, "core.violation"));
	assert_int_equal(harness_connect(&f->h, "10.0.1.7:50001"), 0);
	client_sends(f, SLICE("PROX"));
	harness_close_client(&f->h);
	harness_settle(&f->h);
	assert_int_equal(f->refused, 2);
	assert_true(log_has(f, "core.violation(2)"));
	assert_true(log_has(f, "octets='PROX'"));
}

/* The limit is that of the client's service. */
static void over_limit(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(harness_connect(&f->h, "10.0.1.7:50000"), 0);
	f->running[1] = 1;
	client_sends(f, SLICE(HEADER("10.1.2.3")));
	f->running[1] = 0;
	client_closed(f);
	assert_true(log_has(f, "Service has reached its limit of sessions"));
}

static void stopped(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(harness_connect(&f->h, "10.0.1.7:50000"), 0);
	session_stop_arrivals(&f->h.env);
	harness_settle(&f->h);
	client_closed(f);
	assert_true(log_has(f, "reason='stopped'"));
}

/* The process ends before the session does. */
static void record_of_a_session_that_did_not_end(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(harness_connect(&f->h, "10.1.2.3:50000"), 0);
	client_sends(f, SLICE("PROXY"));
	assert_false(log_has(f, "Connection summary"));
	session_record_lost(session_newest(&f->h.env));
	assert_true(log_has(f, "Connection summary"));
	assert_true(log_has(f, "fault='admin', reason='stopped'"));
	assert_true(log_has(f, "octets_to_server='39'"));	/* of streams that are open yet */
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(decided_for_the_client), CASE(octet_by_octet_from_a_child_zone), CASE(octets_behind_the_header),
		CASE(client_in_the_peers_zone), CASE(local), CASE(untrusted_peer), CASE(refused), CASE(too_late), CASE(gone),
		CASE(over_limit), CASE(stopped), CASE(record_of_a_session_that_did_not_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
