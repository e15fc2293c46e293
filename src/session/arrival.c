/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections that must say first whose they are: where the service that the policy chose for the
 * peer trusts PROXY headers from the peer's zone. Such a connection is no session yet, since the
 * service, with its limits and its proxy, is the one that is chosen for the client of the header.
 * It has a stream and a coroutine, which ends when the session's begins or the connection is
 * refused.
 *
 * The header is required: a peer that may speak for others, and doesn't, can't be told from one
 * that forgot to. What comes behind it is not read: it may have to go through TLS first.
 */
#include "io/loop.h"
#include "session/proxy_header.h"
#include "session/session_priv.h"

#include <errno.h>
#include <stdlib.h>

#define HEADER_WAIT_MS 5000

struct arrival {
	struct session_env *env;
	struct list_node place;		/* in env->arrivals */
	struct flow flow;		/* src is the peer, until the header is read */
	const struct service *service;	/* of the peer */
	const struct zone *zone;	/* of the peer */
	struct stream *stream;
	struct co *co;
};

/* 0 and *header; -EBADMSG with *why; -ETIMEDOUT; -EPIPE; -ECANCELED; -errno of the connection. */
static co_waits int read_header(struct arrival *a, struct proxy_header *header, const char **why)
{
	deadline_t due = deadline_in(HEADER_WAIT_MS);
	enum proxy_header_result result;

	while ((result = proxy_header_parse(stream_peek(a->stream), header, why)) == PROXY_HEADER_MORE) {
		ssize_t n = stream_fill_most(a->stream, proxy_header_missing(stream_peek(a->stream)), due);

		if (n <= 0)
			return n == 0 ? -EPIPE : (int)n;
	}
	if (result == PROXY_HEADER_BAD)
		return -EBADMSG;
	stream_consume(a->stream, header->octets);
	return 0;
}

/* Of what came instead of a header, enough to tell what it is. It may be a client's own words, so
 * not enough to tell what they say. */
static struct slice shown(struct slice octets)
{
	if (slice_starts_with(octets, SLICE("PROXY ")))
		return slice_take(slice_take(octets, PROXY_HEADER_V1_MAX), slice_index(octets, '\r'));
	return slice_take(octets, slice_starts_with(octets, SLICE("\r\n\r\n")) ? 16 : 4);
}

/* Health checks of load balancers come and go without a word: that is nobody's fault. */
static void report_no_header(struct arrival *a, int err, const char *why)
{
	struct slice octets = shown(stream_peek(a->stream));
	bool silent = err != -EBADMSG && err != -ETIMEDOUT && octets.len == 0;
	const char *reason = err == -EBADMSG ? why : err == -ETIMEDOUT ? "timeout" : err == -ECANCELED ? "stopped" : "closed";

	account_no_header(a->env, &a->flow, a->zone, a->service, silent || err == -ECANCELED, reason, octets);
}

/* The client is known: decide as if it had connected itself. No second header is waited for. */
static int begin_session(struct arrival *a, const struct proxy_header *header)
{
	struct connection c = { .fd = -1, .stream = a->stream, .flow = &a->flow, .peer = a->flow.src, .wanted = a->flow.dst };
	struct decision decision;

	a->stream = NULL;
	if (!header->local) {
		a->flow.src = header->src;
		c.wanted = header->dst;
		c.client_from = CLIENT_FROM_PROXY_HEADER;
	}
	policy_decide(a->env->policy, a->env->names, &a->flow, &decision);
	return session_begin(a->env, &c, &decision);
}

static co_waits void arrival_main(void *arg)
{
	struct arrival *a = arg;
	struct session_env *env = a->env;
	struct proxy_header header;
	const char *why = "";
	int err = read_header(a, &header, &why);

	list_remove(&env->arrivals, &a->place);
	if (err == 0)
		err = begin_session(a, &header);
	else
		report_no_header(a, err, why);
	stream_reset(&a->stream);
	free(a);
	if (err != 0 && env->on_refused != NULL)
		env->on_refused(env);
}

int arrival_begin(struct session_env *env, int fd, const struct flow *flow, const struct decision *decision)
{
	struct arrival *a = calloc(1, sizeof(*a));

	if (a == NULL) {
		session_refuse_fd(fd);
		return -ENOMEM;
	}
	a->env = env;
	a->flow = *flow;
	a->service = decision->service;
	a->zone = decision->src_zone;
	a->stream = stream_open(env->loop, fd);
	if (a->stream == NULL)
		session_refuse_fd(fd);
	else
		a->co = co_spawn(env->loop, arrival_main, a);
	if (a->co == NULL) {
		stream_reset(&a->stream);
		free(a);
		return -ENOMEM;
	}
	list_add_first(&env->arrivals, &a->place);
	return 0;
}

void session_stop_arrivals(struct session_env *env)
{
	LIST_EACH(a, &env->arrivals, struct arrival, place)
		co_cancel(a->co);
}
