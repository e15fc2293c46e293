/* SPDX-License-Identifier: Apache-2.0 */
#include "session/asker.h"

#include "io/co.h"
#include "io/loop.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

/* Who waits for an answer; on the stack of its coroutine. */
struct waiter {
	struct waiter *next;
	struct co *co;
	bool done;
	int result;			/* once done */
	struct buffer *answer;
};

/*
 * Asked once, however many wait for the answer. One that the lookout has stays until it is answered, also when nobody waits any
 * more: who comes with the same again waits for that answer, and takes no second place there.
 */
struct question {
	struct question *next;
	struct waiter *waiters;
	enum lookout_kind kind;
	uint32_t number;
	bool sent;
	size_t len;
	uint8_t body[];
};

struct asker {
	struct loop *loop;
	struct loop_watch watch;	/* fd -1: not connected */
	void (*want)(void *arg);
	void *arg;
	bool wanted;			/* and not yet given */
	uint32_t number;		/* of the last question */
	unsigned n_sent, n_waiters;
	struct question *questions;	/* first come first */
	_Alignas(struct lookout_answer) uint8_t packet[sizeof(struct lookout_answer) + LOOKOUT_BODY_MAX + 1];
};

#define ASKER_OF(watch) ((struct asker *)((char *)(watch) - offsetof(struct asker, watch)))

static void want(struct asker *a)
{
	if (a->wanted || a->watch.fd >= 0)
		return;
	a->wanted = true;
	a->want(a->arg);
}

/* ---- questions ---- */

static void drop(struct asker *a, struct question *q)
{
	struct question **at = &a->questions;

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	a->n_sent -= q->sent;
	free(q);
}

/* All who wait have this answer. */
static void finish(struct asker *a, struct question *q, int result, struct slice body)
{
	for (struct waiter *w = q->waiters, *next; w != NULL; w = next) {
		next = w->next;
		if (result >= 0)
			buffer_append(w->answer, body);
		w->result = w->answer->broken ? -ENOMEM : result;
		w->done = true;
		if (w->co != co_current())
			co_wake(w->co);
	}
	drop(a, q);
}

/* 0; -EBUSY; -EPIPE: the connection broke, and on_ready is about to say so. */
static int send_question(struct asker *a, struct question *q)
{
	struct lookout_question head = { .number = ++a->number, .kind = q->kind };
	struct iovec iov[] = { { &head, sizeof(head) }, { q->body, q->len } };
	const struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	while (sendmsg(a->watch.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		if (errno != EINTR)
			return errno == EAGAIN ? -EBUSY : -EPIPE;
	q->number = head.number;
	q->sent = true;
	a->n_sent++;
	return 0;
}

/* As many as the lookout takes. */
static void send_questions(struct asker *a)
{
	for (struct question *q = a->questions, *next; q != NULL; q = next) {
		int err;

		next = q->next;
		if (q->sent)
			continue;
		if (a->watch.fd < 0)
			want(a);
		if (a->watch.fd < 0 || a->n_sent == LOOKOUT_WINDOW)
			return;
		err = send_question(a, q);
		if (err == -EPIPE)
			return;
		if (err != 0)
			finish(a, q, err, slice_of(NULL, 0));
	}
}

/* That what was sent will not be answered. */
static void disconnect(struct asker *a)
{
	if (a->watch.fd < 0)
		return;
	loop_watch_remove(a->loop, &a->watch);
	close(a->watch.fd);
	a->watch.fd = -1;
	for (struct question *q = a->questions, *next; q != NULL; q = next) {
		next = q->next;
		a->n_sent -= q->sent;
		q->sent = false;
		if (q->waiters == NULL)
			drop(a, q);
	}
}

/* ---- answers ---- */

static int take_answer(struct asker *a, const struct lookout_answer *head, struct slice body)
{
	struct question *q = a->questions;

	while (q != NULL && (!q->sent || q->number != head->number))
		q = q->next;
	if (q == NULL)
		return -EBADMSG;
	finish(a, q, head->result, body);
	send_questions(a);
	return 0;
}

/* 0; -EAGAIN; -errno: the connection is of no use any more. */
static int receive(struct asker *a)
{
	const struct lookout_answer *head = (const struct lookout_answer *)a->packet;
	ssize_t n = recv(a->watch.fd, a->packet, sizeof(a->packet), MSG_DONTWAIT);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -EPIPE;
	if ((size_t)n < sizeof(*head) || (size_t)n == sizeof(a->packet))
		return -EBADMSG;
	return take_answer(a, head, slice_of(a->packet + sizeof(*head), (size_t)n - sizeof(*head)));
}

static void on_ready(struct loop_watch *watch)
{
	struct asker *a = ASKER_OF(watch);
	int err;

	if ((watch->ready & (LOOP_READ | LOOP_HUP | LOOP_GONE)) == 0)
		return;
	do {
		err = receive(a);
	} while (err == 0);
	if (err == -EAGAIN) {
		watch->ready &= ~LOOP_READ;
		return;
	}
	disconnect(a);
	if (a->questions != NULL)
		want(a);
}

/* ---- asking ---- */

/* The same one, or another at the end; NULL: no memory. */
static struct question *find_question(struct asker *a, enum lookout_kind kind, struct slice body)
{
	struct question **end = &a->questions, *q;

	for (; *end != NULL; end = &(*end)->next)
		if ((*end)->kind == kind && slice_equal(slice_of((*end)->body, (*end)->len), body))
			return *end;
	q = malloc(sizeof(*q) + body.len);
	if (q == NULL)
		return NULL;
	*q = (struct question){ .kind = kind, .len = body.len };
	if (body.len > 0)
		memcpy(q->body, body.ptr, body.len);
	*end = q;
	return q;
}

/* Nobody waits for one that was not even sent: it is gone. */
static void give_up(struct asker *a, struct question *q, const struct waiter *w)
{
	struct waiter **at = &q->waiters;

	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	if (q->waiters == NULL && !q->sent)
		drop(a, q);
}

co_waits int asker_ask(struct asker *a, enum lookout_kind kind, struct slice question, deadline_t deadline,
		       struct buffer *answer)
{
	struct waiter w = { .co = co_current(), .answer = answer };
	struct question *q;
	int err = 0;

	if (question.len > LOOKOUT_BODY_MAX)
		return -EMSGSIZE;
	if (a->n_waiters == ASKER_QUEUE_MAX)
		return -EBUSY;
	q = find_question(a, kind, question);
	if (q == NULL)
		return -ENOMEM;
	w.next = q->waiters;
	q->waiters = &w;
	a->n_waiters++;
	send_questions(a);
	while (err == 0 && !w.done)
		err = co_wait(deadline);
	a->n_waiters--;
	if (w.done)
		return w.result;
	give_up(a, q, &w);
	return err;
}

/* ---- connecting ---- */

struct asker *asker_create(struct loop *loop, void (*want_fn)(void *arg), void *arg)
{
	struct asker *a = calloc(1, sizeof(*a));

	if (a == NULL)
		return NULL;
	a->loop = loop;
	a->watch.fd = -1;
	a->want = want_fn;
	a->arg = arg;
	return a;
}

void asker_free(struct asker **ap)
{
	struct asker *a = *ap;

	if (a == NULL)
		return;
	*ap = NULL;
	assert(a->n_waiters == 0);
	disconnect(a);
	assert(a->questions == NULL);
	free(a);
}

int asker_connect(struct asker *a, int fd)
{
	int err;

	disconnect(a);
	a->wanted = false;
	a->watch = (struct loop_watch){ .fd = fd, .on_ready = on_ready };
	err = loop_watch_add(a->loop, &a->watch);
	if (err != 0) {
		close(fd);
		a->watch.fd = -1;
		return err;
	}
	send_questions(a);
	return 0;
}
