/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control connection to a host server: does it still execute Python code? A regular
 * expression that backtracks holds the interpreter, and with it every thread of the server, so
 * the only way to learn of it is to ask, and the only cure is to kill the process.
 */
#include "session/callback_priv.h"

#include <errno.h>
#include <sys/socket.h>

#define WATCH_MS 250		/* calls that run longer are looked after */
#define LATE_ANSWER_MS 1000	/* for a ping when a call is late: a busy machine is no stuck server */
#define ANSWER_CPU_MS 200	/* a server that answers does so within much less processor time, whatever else it runs */
#define STARVED_TIMES 4		/* so much longer may it take without processor time */

/* The server must not be used after this returns false: it is gone. */
static bool send_control(struct callback_server *s, const char *packet, int len)
{
	if (s->control.fd < 0)
		return false;
	/* A full socket is a server that reads nothing any more. */
	if (len >= 0 && send(s->control.fd, packet, (size_t)len, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	server_lost(s, errno == EAGAIN);
	return false;
}

static bool send_number(struct callback_server *s, const char *op, const char *key, uint64_t number)
{
	char packet[128];

	return send_control(s, packet, control_packet_write(packet, sizeof(packet), op, key, number));
}

void control_send_hello(struct callback_server *s)
{
	char packet[1024];
	int len = control_hello_write(packet, sizeof(packet));

	if (len > 0)
		(void)send_control(s, packet, len);
}

void control_forget(struct callback_server *s, uint64_t session)
{
	(void)send_number(s, "forget", "session", session);
}

static void set_watchdog(struct callback_host *h, int64_t at_ms)
{
	h->watching = loop_timer_set(h->options.loop, &h->watchdog, at_ms) == 0;
}

void control_watch(struct callback_host *h)
{
	if (!h->watching)
		set_watchdog(h, loop_now(h->options.loop) + WATCH_MS);
}

/* Processor time that the server has used, in all its threads; 0 if that can't be known. */
static int64_t cpu_ms(const struct callback_server *s)
{
	struct timespec t;

	if (!s->has_cpu_clock || clock_gettime(s->cpu_clock, &t) < 0)
		return 0;
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void learn_cpu_clock(struct callback_server *s, uint64_t pid)
{
	s->has_cpu_clock = pid > 0 && pid <= INT32_MAX && clock_getcpuclockid((pid_t)pid, &s->cpu_clock) == 0;
}

/*
 * A server that had no processor to answer on is not stuck; one that used it and did not answer
 * is. What blocks without using it, with the interpreter held, gets some times as long.
 */
static bool is_stuck(const struct callback_server *s, int64_t now)
{
	int64_t within_ms = s->answer_by_ms - s->ping_ms;

	if (!s->ping_open || now < s->answer_by_ms)
		return false;
	return !s->has_cpu_clock || now - s->ping_ms >= STARVED_TIMES * within_ms ||
	       cpu_ms(s) - s->ping_cpu_ms >= ANSWER_CPU_MS;
}

/* Ask for an answer within the given time; an open ping is good enough. False: the server is gone. */
static bool ping(struct callback_server *s, int64_t within_ms)
{
	int64_t now = loop_now(s->host->options.loop);

	if (!s->ping_open) {
		s->ping_open = true;
		s->ping_ms = now;
		s->ping_cpu_ms = cpu_ms(s);
		s->answer_by_ms = now + within_ms;
		return send_number(s, "ping", "number", ++s->pings);
	}
	if (s->answer_by_ms > s->ping_ms + within_ms)
		s->answer_by_ms = s->ping_ms + within_ms;
	return true;
}

void control_retire(struct callback_server *s, unsigned number)
{
	struct callback_host *h = s->host;

	if (s->n_retired < ARRAY_LEN(s->retired))
		s->retired[s->n_retired++] = number;
	if (!send_number(s, "retire", "connection", number) || !ping(s, LATE_ANSWER_MS))
		return;
	set_watchdog(h, s->answer_by_ms);
	server_wear_out(s);
}

static int64_t longest_call_ms(const struct callback_server *s, int64_t now)
{
	int64_t longest = -1;

	for (const struct conversation *c = s->conversations; c != NULL; c = c->next)
		if (c->busy && c->open_calls > 0 && now - c->since_ms > longest)
			longest = now - c->since_ms;
	return longest;
}

/* Looks only after the current server: one that leaves is its leader's to kill. */
void control_watchdog(struct loop_timer *timer)
{
	struct callback_host *h = (struct callback_host *)((char *)timer - offsetof(struct callback_host, watchdog));
	struct callback_server *s = h->server;
	int64_t now = loop_now(h->options.loop), next = now + WATCH_MS, longest;

	h->watching = false;
	if (s == NULL)
		return;
	if (is_stuck(s, now)) {
		server_lost(s, true);
		return;
	}
	longest = longest_call_ms(s, now);
	if (longest >= WATCH_MS && !ping(s, h->options.timeout_ms / 2))
		return;
	if (s->ping_open && s->answer_by_ms > now && s->answer_by_ms < next)
		next = s->answer_by_ms;
	if (s->ping_open || longest >= 0)
		set_watchdog(h, next);
}

/* A thread is gone: one that was given up, or one that met something it did not understand. */
static void thread_ended(struct callback_server *s, uint64_t number)
{
	for (unsigned i = 0; i < s->n_retired; i++) {
		if (s->retired[i] == number) {
			s->retired[i] = s->retired[--s->n_retired];
			return;
		}
	}
}

static void take_packet(struct callback_server *s, const struct control_packet *p)
{
	switch (p->op) {
	case CONTROL_SERVING:
		learn_cpu_clock(s, p->number);
		break;
	case CONTROL_PONG:
		if (p->number == s->pings)
			s->ping_open = false;
		break;
	case CONTROL_ENDED:
		thread_ended(s, p->number);
		break;
	case CONTROL_LOG:
		log_write_name(slice_cstr(p->tag), p->level, slice_cstr("nosession"),
			       slice_of(p->message, p->message_len));
		break;
	}
}

void control_ready(struct loop_watch *watch)
{
	struct callback_server *s = (struct callback_server *)((char *)watch - offsetof(struct callback_server, control));
	struct callback_host *h = s->host;
	struct control_packet packet;

	for (;;) {
		ssize_t n = recv(watch->fd, h->packet, CALLBACK_PACKET_MAX + 1, MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			watch->ready &= ~LOOP_READ;
			return;
		}
		if (n <= 0 || control_packet_read(slice_of(h->packet, (size_t)n), &packet) < 0) {
			server_lost(s, false);
			return;
		}
		take_packet(s, &packet);
	}
}
