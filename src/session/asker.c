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

/* A question; on the stack of its coroutine. */
struct pending {
	struct pending *next;
	struct co *co;
	uint32_t number;
	bool sent, done;
	int result;			/* once done */
	struct buffer *answer;
};

struct asker {
	struct loop *loop;
	struct loop_watch watch;	/* fd -1: not connected */
	void (*want)(void *arg);
	void *arg;
	bool wanted;			/* and not yet given */
	uint32_t number;		/* of the last question */
	unsigned owed;			/* answers */
	struct pending *questions;	/* first come first */
	unsigned n_questions;
	_Alignas(struct lookout_answer) uint8_t packet[sizeof(struct lookout_answer) + LOOKOUT_BODY_MAX + 1];
};

#define ASKER_OF(watch) ((struct asker *)((char *)(watch) - offsetof(struct asker, watch)))

static bool has_room(const struct asker *a)
{
	return a->watch.fd >= 0 && a->owed < LOOKOUT_WINDOW;
}

/* As many as the lookout takes. */
static void wake_unsent(struct asker *a)
{
	unsigned room = a->watch.fd >= 0 ? LOOKOUT_WINDOW - a->owed : 0;

	for (struct pending *p = a->questions; p != NULL && room > 0; p = p->next)
		if (!p->sent && !p->done) {
			co_wake(p->co);
			room--;
		}
}

static void want(struct asker *a)
{
	if (a->wanted || a->watch.fd >= 0)
		return;
	a->wanted = true;
	a->want(a->arg);
}

static void disconnect(struct asker *a)
{
	if (a->watch.fd < 0)
		return;
	loop_watch_remove(a->loop, &a->watch);
	close(a->watch.fd);
	a->watch.fd = -1;
	a->owed = 0;
	for (struct pending *p = a->questions; p != NULL; p = p->next)
		p->sent = false;
}

/* ---- answers ---- */

static void take_answer(struct asker *a, const struct lookout_answer *head, struct slice body)
{
	struct pending *p = a->questions;

	a->owed--;
	while (p != NULL && (p->done || !p->sent || p->number != head->number))
		p = p->next;
	if (p != NULL) {		/* else: given up */
		if (head->result >= 0)
			buffer_append(p->answer, body);
		p->result = p->answer->broken ? -ENOMEM : head->result;
		p->done = true;
		co_wake(p->co);
	}
	wake_unsent(a);
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
	if ((size_t)n < sizeof(*head) || (size_t)n == sizeof(a->packet) || a->owed == 0)
		return -EBADMSG;
	take_answer(a, head, slice_of(a->packet + sizeof(*head), (size_t)n - sizeof(*head)));
	return 0;
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

/* ---- questions ---- */

/* 0: it is on its way, or the connection broke and on_ready is about to say so. */
static int send_question(struct asker *a, struct pending *p, enum lookout_kind kind, struct slice question)
{
	struct lookout_question head = { .number = ++a->number, .kind = kind };
	struct iovec iov[] = { { &head, sizeof(head) }, { (void *)question.ptr, question.len } };
	const struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	while (sendmsg(a->watch.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
		if (errno != EINTR)
			return errno == EAGAIN ? -EBUSY : 0;
	p->number = head.number;
	p->sent = true;
	a->owed++;
	return 0;
}

static void add_question(struct asker *a, struct pending *p)
{
	struct pending **end = &a->questions;

	while (*end != NULL)
		end = &(*end)->next;
	*end = p;
	a->n_questions++;
}

static void remove_question(struct asker *a, struct pending *p)
{
	struct pending **at = &a->questions;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	a->n_questions--;
	wake_unsent(a);
}

co_waits int asker_ask(struct asker *a, enum lookout_kind kind, struct slice question, deadline_t deadline,
		       struct buffer *answer)
{
	struct pending p = { .co = co_current(), .answer = answer };
	int err = 0;

	if (question.len > LOOKOUT_BODY_MAX)
		return -EMSGSIZE;
	if (a->n_questions == ASKER_QUEUE_MAX)
		return -EBUSY;
	add_question(a, &p);
	while (err == 0 && !p.done) {
		if (!p.sent && has_room(a))
			err = send_question(a, &p, kind, question);
		else if (!p.sent)
			want(a);
		if (err == 0)
			err = co_wait(deadline);
	}
	remove_question(a, &p);
	return p.done ? p.result : err;
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
	assert(a->questions == NULL);
	disconnect(a);
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
	wake_unsent(a);
	return 0;
}
