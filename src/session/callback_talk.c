/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call on a conversation, from sending it to its end, with the native functions that policy
 * code calls meanwhile. They run on the caller's coroutine, and may call policy code again: then
 * the same conversation carries the inner call, and both ends of it work like one stack.
 */
#include "session/callback_priv.h"

#include <errno.h>
#include <sys/socket.h>

#define SCRATCH_MAX (512u * 1024u)	/* what the packets of one call may need */
#define PACKETS_A_TURN 50		/* then others run, and the clock is read */
#define LOG_LINES_MAX 2000		/* of one call; what comes after is only counted */

/* The conversation is of no use any more. */
static int fail(struct conversation *c, int err)
{
	if (c->error == 0)
		c->error = err;
	conversation_shut(c);
	return c->error;
}

static co_waits int send_packet(struct conversation *c, const struct callback_request *request)
{
	uint8_t *packet = c->server->host->packet;
	int n;

	if (c->error != 0)
		return c->error;
	n = callback_packet_write(request, packet, CALLBACK_PACKET_MAX);
	if (n < 0)
		return n;
	/* The other side only waits for this packet, so there is room for it. */
	if (send(c->watch.fd, packet, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	if (errno == EAGAIN)
		return fail(c, -EPIPE);
	if (!c->server->leaving)
		server_lost(c->server, false);	/* sets c->error */
	return fail(c, -EPIPE);
}

/* The next packet, into the host's buffer: use it before anything waits. */
static co_waits int receive_packet(struct conversation *c, deadline_t deadline, struct slice *out)
{
	uint8_t *packet = c->server->host->packet;
	ssize_t n;
	int err;

	for (;;) {
		while (c->error == 0 && (c->watch.ready & LOOP_READ) == 0) {
			c->watch.waiter = co_current();
			err = co_wait(deadline);
			c->watch.waiter = NULL;
			if (err < 0)
				return c->error != 0 ? c->error : err;
		}
		if (c->error != 0)
			return c->error;
		n = recv(c->watch.fd, packet, CALLBACK_PACKET_MAX + 1, MSG_DONTWAIT);
		if (n > 0 && (size_t)n <= CALLBACK_PACKET_MAX) {
			c->unheard = false;
			*out = slice_of(packet, (size_t)n);
			return 0;
		}
		if (n >= 0)
			return fail(c, n == 0 ? -EPIPE : -EBADMSG);
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)	/* reset: the server ended and had not read it */
			return fail(c, errno == ECONNRESET && c->unheard ? -EAGAIN : -EPIPE);
		c->watch.ready &= ~LOOP_READ;
	}
}

static void log_lines(const struct proxy *proxy, const struct callback_answer *answer)
{
	for (size_t i = 0; i < answer->n_lines; i++)
		log_write_name(SLICE("core.error"), 3, proxy->id, answer->lines[i]);
}

static hook_native_fn find_function(const struct callback_answer *up)
{
	return up->function != NULL ? up->function->native : callback_engine_function(up->function_name);
}

/* Run what policy code asked for, and answer. */
static co_waits int answer_up(struct conversation *c, const struct callback_request *call,
			      const struct callback_answer *up)
{
	struct call_value result = { .kind = CALL_NONE };
	struct callback_request answer = { .proxy = call->proxy, .session = call->session, .result = &result };
	hook_native_fn fn = find_function(up);
	int err = fn == NULL ? -ENOSYS : fn(call->proxy, up->args, up->n_args, &result);

	if (c->error != 0)		/* an inner call broke the conversation */
		return c->error;
	if (err == -ETIMEDOUT || err == -ECANCELED || err == -ENOMEM)
		return err;
	answer.kind = err == 0 ? REQUEST_VALUE : REQUEST_ERROR;
	answer.message = err == -ENOSYS ? "there is no such function" :
			 err == -EBADMSG ? "wrong arguments" : "the engine could not do it";
	return send_packet(c, &answer);
}

/* One packet of the host. 1 = the call ended; 0 = it goes on; else the error that ends it. */
static co_waits int take_answer(struct conversation *c, const struct callback_request *call,
				const struct callback_answer *answer, unsigned *n_log_lines, struct call_value *result)
{
	switch (answer->op) {
	case CALLBACK_DONE:
		c->open_calls--;
		*result = answer->result;
		return 1;
	case CALLBACK_RAISED:
		c->open_calls--;
		log_lines(call->proxy, answer);
		return -EREMOTEIO;
	case CALLBACK_LOG:
		if ((*n_log_lines)++ < LOG_LINES_MAX)
			log_write_name(answer->tag, answer->level,
				       answer->log_session.len != 0 ? answer->log_session : call->proxy->id,
				       answer->lines[0]);
		return 0;
	default:
		return answer_up(c, call, answer);
	}
}

static co_waits int read_answer(struct conversation *c, const struct callback_request *call, deadline_t deadline,
				struct arena *scratch, struct callback_answer *answer)
{
	struct proxy *proxy = call->proxy;
	bool configure = call->method != NULL && strcmp(call->method, "config") == 0;
	struct slice packet;
	int err = receive_packet(c, deadline, &packet);

	if (err < 0)
		return err;
	err = callback_packet_read(proxy, &c->server->host->options, configure, packet, scratch, answer);
	proxy->config = proxy->session->state.config;
	if (err == -EBADMSG) {
		proxy_log(proxy, LOG_CORE_POLICY, 2, "Policy code answered what can't be used",
			  F_TEXT("reason", answer->why));
		/* An answer to our call all the same: the conversation goes on after it. */
		if (answer->op == CALLBACK_DONE || answer->op == CALLBACK_RAISED)
			c->open_calls--;
		else
			fail(c, -EBADMSG);
	}
	return err;
}

static co_waits int until_end(struct conversation *c, const struct callback_request *call, deadline_t deadline,
			      struct arena *scratch, struct call_value *result)
{
	unsigned n_packets = 0, n_log_lines = 0;
	int err = 0;

	while (err == 0) {
		struct callback_answer *answer;

		arena_reset(scratch);
		answer = ARENA_NEW(scratch, struct callback_answer);
		err = answer == NULL ? -ENOMEM : read_answer(c, call, deadline, scratch, answer);
		if (err == 0)
			err = take_answer(c, call, answer, &n_log_lines, result);
		if (err == 0 && ++n_packets % PACKETS_A_TURN == 0) {
			err = co_yield();
			if (err == 0 && co_now() >= deadline)
				err = -ETIMEDOUT;
		}
	}
	if (n_log_lines > LOG_LINES_MAX)
		proxy_log(call->proxy, LOG_CORE_POLICY, 2, "Policy code logged too much in one call, the rest is left out",
			  F_UINT("count", n_log_lines - LOG_LINES_MAX));
	return err == 1 ? 0 : err;
}

/* Between calls the other side says nothing: what it said all the same must not be taken for the
 * answer to the next one. */
static int expect_silence(struct conversation *c)
{
	uint8_t octet;

	if (c->error != 0)
		return c->error;
	if (recv(c->watch.fd, &octet, 1, MSG_DONTWAIT | MSG_PEEK) < 0 && errno == EAGAIN) {
		c->watch.ready &= ~LOOP_READ;
		return 0;
	}
	return fail(c, -EAGAIN);
}

co_waits int conversation_call(struct conversation *c, struct callback_request *request, deadline_t deadline,
			       struct call_value *result)
{
	struct arena *scratch;
	int err;

	if (c->open_calls == CALLBACK_NESTING_MAX)
		return -EBADMSG;
	scratch = arena_child(request->proxy->arena, SCRATCH_MAX, 0);
	if (scratch == NULL)
		return -ENOMEM;
	err = c->open_calls == 0 ? expect_silence(c) : 0;
	if (err == 0)
		err = send_packet(c, request);
	if (err == 0) {
		c->unheard = c->open_calls++ == 0;
		err = until_end(c, request, deadline, scratch, result);
	}
	arena_free(&scratch);
	return err;
}
