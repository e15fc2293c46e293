/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session calls policy code, and the input is what the host says. Each line is a packet: on the
 * control connection when it starts with '!', on the first conversation that has a call otherwise.
 * Whatever is said, the call ends, and what policy code may not set stays what it was.
 */
#include "fuzz.h"
#include "io/loop.h"
#include "../unit/session/callback_toy.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define N_TALKS 2
#define PACKETS_MAX 64

static int64_t now_ms;

static int64_t read_clock(struct clock *clock)
{
	return now_ms;
}

static struct clock virtual_clock = { .monotonic_ms = read_clock, .wall_ms = read_clock };

struct world {
	struct loop *loop;
	struct callback_host *host;
	struct arena *arena;
	struct policy policy;
	struct proxy_config config;
	struct service service;
	struct session_env env;
	struct session session;
	int control, talks[N_TALKS];
	struct co *co;
	bool done;
};

static void renew(void *arg, bool kill)
{
}

static void turn(struct world *w, int64_t ms)
{
	now_ms += ms;
	for (int i = 0; i < 6; i++)
		loop_turn(w->loop, 0);
}

static void connect_server(struct world *w)
{
	int fds[1 + N_TALKS];

	for (int i = 0; i <= N_TALKS; i++) {
		int pair[2];

		FUZZ_CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair) == 0);
		fds[i] = pair[0];
		*(i == 0 ? &w->control : &w->talks[i - 1]) = pair[1];
	}
	FUZZ_CHECK(callback_host_connect(w->host, fds, 1 + N_TALKS) == 0);
}

static void open_world(struct world *w)
{
	struct session *s = &w->session;

	w->loop = loop_create(&virtual_clock);
	w->arena = arena_create(1u << 22, 0);
	FUZZ_CHECK(w->loop != NULL && w->arena != NULL);
	w->policy = (struct policy){ .n_callbacks = 10, .needs_host = true };
	FUZZ_CHECK(proxy_config_defaults(&toy, w->arena, &w->config) == 0);
	w->config.class_name = "MyToy";
	w->service = (struct service){ .name = "toys", .proxy = &w->config };
	w->env = (struct session_env){ .loop = w->loop, .policy = &w->policy };
	w->host = callback_host_create(&(struct callback_options){
		.loop = w->loop, .policy = &w->policy, .timeout_ms = TOY_TIMEOUT_MS, .renew = renew });
	FUZZ_CHECK(w->host != NULL);
	w->env.host = toy_host = callback_host_port(w->host);
	s->env = &w->env;
	s->service = &w->service;
	s->arena = w->arena;
	FUZZ_CHECK(proxy_state_init(&s->state, &w->policy, &w->config, w->arena) == 0);
	s->proxy = (struct proxy){ .type = &toy, .config = s->state.config, .run = s->state.run, .session = s,
				   .id = SLICE("svc/i/toys:0/i/toy"), .arena = w->arena };
	connect_server(w);
}

static void close_world(struct world *w)
{
	toy_host->forget(toy_host, &w->session.proxy);
	callback_host_free(&w->host);
	close(w->control);
	for (int i = 0; i < N_TALKS; i++)
		close(w->talks[i]);
	loop_free(&w->loop);
	arena_free(&w->arena);
}

static co_waits void call_main(void *arg)
{
	struct world *w = arg;
	struct call_value result = { .kind = CALL_NONE };

	/* The second one meets whatever the first one left behind. */
	for (int i = 0; i < 2; i++) {
		int err = toy_host->call(toy_host, &w->session.proxy, 1, i == 0 ? NULL : "config", NULL, 0, &result,
					 co_now() + TOY_TIMEOUT_MS);

		FUZZ_CHECK(err <= 0);
	}
	w->done = true;
}

/* The conversation with the call: the one on which something was sent. */
static int talking(const struct world *w)
{
	uint8_t octet;

	for (int i = 0; i < N_TALKS; i++)
		if (recv(w->talks[i], &octet, 1, MSG_DONTWAIT | MSG_PEEK) > 0)
			return w->talks[i];
	return w->talks[0];
}

static void say(const struct world *w, struct slice packet)
{
	bool control = packet.len > 0 && packet.ptr[0] == '!';
	int fd = control ? w->control : talking(w);

	if (control)
		packet = slice_skip(packet, 1);
	if (packet.len > 0)
		(void)!send(fd, packet.ptr, packet.len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void check_state(const struct world *w)
{
	const struct toy_run *run = w->session.proxy.run;

	FUZZ_CHECK(run->count >= 0 && run->count <= 100);
	FUZZ_CHECK(slice_index(run->error_info, '\r') == run->error_info.len);
	FUZZ_CHECK(slice_index(run->error_info, '\n') == run->error_info.len);
	FUZZ_CHECK(slice_index(run->error_info, 0) == run->error_info.len);
	FUZZ_CHECK(((const struct toy_config *)w->session.state.config)->limit == 10);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_of(data, size);
	struct world w = { .done = false };
	static bool quiet;

	if (!quiet)
		quiet = log_open(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_FORMAT_TEXT, 10, "", NULL) == 0;
	now_ms = 1000;
	open_world(&w);
	w.co = w.session.co = co_spawn(w.loop, call_main, &w);
	FUZZ_CHECK(w.co != NULL);
	turn(&w, 0);
	for (int i = 0; i < PACKETS_MAX && rest.len > 0; i++) {
		size_t end = slice_index(rest, '\n');

		say(&w, slice_take(rest, end));
		turn(&w, 1);
		check_state(&w);
		rest = slice_skip(rest, end + 1);
	}
	for (int i = 0; i < 50 && !w.done; i++)
		turn(&w, 500);
	FUZZ_CHECK(w.done);
	check_state(&w);
	close_world(&w);
	return 0;
}
