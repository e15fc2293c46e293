/* SPDX-License-Identifier: Apache-2.0 */
/* The waits of streams. */
#include "io/stream_priv.h"

#include <assert.h>
#include <errno.h>

/* A read counts at least this much, so that a peer that sends single octets fast can't keep the
 * others from running: 32 reads fill the budget. */
#define READ_COST_MIN (CO_BUDGET / 32)

void stream_set_waiter(struct stream *s, struct co *co)
{
	assert(co == NULL || s->watch.waiter == NULL || s->watch.waiter == co);
	s->watch.waiter = co;
	if (co == NULL)
		return;
	co->awaited[1] = co->awaited[0];
	co->awaited[0] = s;
}

/* A failure is remembered in its stream, where its user meets it. */
static void push_unsent(struct co *co)
{
	struct stream *next;

	for (struct stream *s = co->unsent; s != NULL; s = next) {
		next = s->next_unsent;
		if (stream_can_write(s))
			(void)!stream_push(s);
	}
}

void streams_push_unsent(void)
{
	push_unsent(co_current());
}

static void set_waiters(struct co *self, struct stream *s, struct co *waiter)
{
	stream_set_waiter(s, waiter);
	for (struct stream *u = self->unsent; u != NULL; u = u->next_unsent)
		stream_set_waiter(u, waiter);
}

int stream_wait_news(struct stream *s, deadline_t deadline)
{
	struct co *self = co_current();
	int err;

	push_unsent(self);
	set_waiters(self, s, self);
	err = co_wait(deadline);
	set_waiters(self, s, NULL);
	if (err == 0)
		push_unsent(self);
	return err;
}

ssize_t stream_fill(struct stream *s, deadline_t deadline)
{
	return stream_fill_most(s, SIZE_MAX, deadline);
}

ssize_t stream_fill_most(struct stream *s, size_t max, deadline_t deadline)
{
	ssize_t n = 1;
	int err = co_canceled() ? -ECANCELED : co_breathe();

	if (err < 0)
		return err;
	while (!s->fresh && (n = stream_read_some(s, max)) == -EAGAIN) {
		err = stream_wait_news(s, deadline);
		if (err < 0)
			return err;
	}
	if (n <= 0)
		return n;
	co_spend((size_t)n > READ_COST_MIN ? (size_t)n : READ_COST_MIN);
	s->fresh = false;
	return (ssize_t)buffered(&s->in);
}

int stream_shutdown_write(struct stream *s, deadline_t deadline)
{
	int err = stream_flush(s, deadline);

	while (err == 0) {
		unsigned want = LOOP_WRITE;

		err = s->ops->shutdown_write(s->self, &want);
		if (err == 0)
			return 0;
		if (err != -EAGAIN) {
			stream_write_failed(s, err);
			return err;
		}
		s->write_want = want;
		s->watch.ready &= ~want;
		err = stream_wait_news(s, deadline);
	}
	return err;
}

int stream_wait_hangup(struct stream *s, deadline_t deadline)
{
	int err = 0;

	while (err == 0 && !s->eof && (s->watch.ready & (LOOP_HUP | LOOP_GONE)) == 0)
		err = stream_wait_news(s, deadline);
	return err;
}

/* Reads ahead, but does not move what was peeked: a buffer whose end is reached counts as
 * readable when the socket is. */
static bool can_fill(struct stream *s)
{
	if (s->fresh || s->eof || s->read_error != 0)
		return true;
	if (!stream_can_read(s))
		return false;
	if (s->in.chunk != NULL && s->in.end == s->in.size)
		return true;
	return stream_read_some(s, SIZE_MAX) != -EAGAIN;
}

static int look(struct stream_wait *set, size_t n)
{
	int count = 0;

	for (size_t i = 0; i < n; i++) {
		struct stream *s = set[i].stream;

		set[i].got = 0;
		if (s == NULL)
			continue;
		if ((set[i].want & LOOP_READ) != 0 && can_fill(s))
			set[i].got |= LOOP_READ;
		if ((set[i].want & LOOP_WRITE) != 0 && (s->write_error != 0 || stream_can_write(s)))
			set[i].got |= LOOP_WRITE;
		if (set[i].got != 0)
			count++;
	}
	return count;
}

int streams_wait(struct stream_wait *set, size_t n, deadline_t deadline)
{
	struct co *self = co_current();
	int count, err = co_canceled() ? -ECANCELED : co_breathe();

	if (err < 0)
		return err;
	while ((count = look(set, n)) == 0) {
		for (size_t i = 0; i < n; i++) {
			if (set[i].stream != NULL)
				stream_set_waiter(set[i].stream, self);
		}
		err = co_wait(deadline);
		for (size_t i = 0; i < n; i++) {
			if (set[i].stream != NULL)
				stream_set_waiter(set[i].stream, NULL);
		}
		if (err < 0)
			return err;
	}
	co_spend(READ_COST_MIN);
	return count;
}
