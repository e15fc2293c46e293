/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coroutines over the switch layer. All switching goes through the loop's own stack: a coroutine
 * jumps to the loop, the loop to the next runnable one. A wait's timer is lazy: it stays in the
 * heap where an earlier wait put it as long as that is not too late, since most waits end long
 * before their deadline and are followed by one with a later deadline.
 */
#include "io/stream_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef VALGRIND_STACK_REGISTER
#define VALGRIND_STACK_REGISTER(low, high) 0
#define VALGRIND_STACK_DEREGISTER(id) ((void)(id))
#endif

#define CACHE_LINE 64u
#define STACK_FETCHED 1024u		/* from where it stopped: what a conversation uses of its stack when it goes on */

static struct co *current;

struct co *co_current(void)
{
	return current;
}

struct loop *co_loop(void)
{
	assert(current != NULL);
	return current->loop;
}

/* A process may have several loops (tests do): a coroutine's time is its own loop's. */
deadline_t co_now(void)
{
	if (current != NULL)
		return current->loop->now;
	return loop_of_process != NULL ? loop_of_process->now : clock_system.monotonic_ms(&clock_system);
}

/* The timer was taken from the heap just now: putting it back needs no memory. */
static void timer_put(struct co *co, deadline_t at)
{
	int err = loop_timer_set(co->loop, &co->timer, at);

	assert(err == 0);
	(void)err;
}

static void timer_expired(struct loop_timer *timer)
{
	struct co *co = (struct co *)((char *)timer - offsetof(struct co, timer));
	bool due = co->waiting && co->deadline <= co->loop->now;

	timer_put(co, co->waiting && !due ? co->deadline : DEADLINE_NEVER);
	if (due)
		co_make_runnable(co);
}

static void run_fn(void *arg)
{
	struct co *co = arg;

	co->fn(co->arg);
	co->done = true;
	switch_leave(&co->point, &co->loop->main);
}

static struct co *spawn(struct loop *loop, co_fn fn, void *arg, bool joined)
{
	struct co *co = calloc(1, sizeof(*co));

	if (co == NULL)
		return NULL;
	co->loop = loop;
	co->fn = fn;
	co->arg = arg;
	co->joined = joined;
	co->timer.on_expire = timer_expired;
	co->stack = slab_get(&loop->stacks);
	if (co->stack == NULL)
		goto fail;
	if (loop_timer_set(loop, &co->timer, DEADLINE_NEVER) < 0)
		goto fail;
	co->valgrind_id = VALGRIND_STACK_REGISTER(co->stack, (char *)co->stack + CO_STACK_SIZE);
	switch_make(&co->point, co->stack, CO_STACK_SIZE, run_fn, co);
	loop->n_coroutines++;
	co_make_runnable(co);
	return co;
fail:
	if (co->stack != NULL)
		slab_put(&loop->stacks, co->stack);
	free(co);
	return NULL;
}

struct co *co_spawn(struct loop *loop, co_fn fn, void *arg)
{
	return spawn(loop, fn, arg, false);
}

struct co *co_spawn_joined(struct loop *loop, co_fn fn, void *arg)
{
	return spawn(loop, fn, arg, true);
}

/* Its function returned. A joined one stays until its parent fetches it, without its stack. */
static void finish(struct co *co)
{
	struct loop *loop = co->loop;

	streams_disown(co);
	loop_timer_clear(loop, &co->timer);
	VALGRIND_STACK_DEREGISTER(co->valgrind_id);
	slab_put(&loop->stacks, co->stack);
	co->stack = NULL;
	loop->n_coroutines--;
	if (!co->joined)
		free(co);
	else if (co->joiner != NULL)
		co_make_runnable(co->joiner);
}

void co_keep_near(unsigned place, const void *at, size_t octets)
{
	assert(place < CO_NEAR_PLACES);
	current->near[place] = slice_of(at, octets);
}

/* An address that nothing is at does no harm; a number, since such a pointer has no next octet. */
static inline void fetch(const void *at, size_t octets)
{
	#pragma GCC unroll 16
	for (size_t i = 0; i < octets; i += CACHE_LINE)
		__builtin_prefetch((const void *)((uintptr_t)at + i));
}

/* Between two runs of a coroutine come those of all others, and the kernel's: what it looks at is in no near cache
 * any more, and waiting for it piece by piece was a quarter of the time that a conversation took outside the kernel. */
void co_fetch(const struct co *co)
{
	fetch(co->point.context, STACK_FETCHED);
	for (size_t i = 0; i < ARRAY_LEN(co->awaited); i++)
		fetch(co->awaited[i], sizeof(struct stream));
	for (size_t i = 0; i < CO_NEAR_PLACES; i++)
		fetch(co->near[i].ptr, co->near[i].len);
	/* The one behind it is asked the same next. */
	fetch(co->next, sizeof(*co));
}

void co_run(struct co *co)
{
	struct loop *loop = co->loop;

	for (;;) {
		current = co;
		switch_jump(&loop->main, &co->point);
		current = NULL;
		if (loop->leaf == NULL)
			break;
		loop->leaf(loop->leaf_arg);
		loop->leaf = NULL;
	}
	if (co->done)
		finish(co);
}

void co_leaf(void (*fn)(void *), void *arg)
{
	struct co *self = current;

	if (self == NULL) {
		fn(arg);
		return;
	}
	self->loop->leaf = fn;
	self->loop->leaf_arg = arg;
	switch_jump(&self->point, &self->loop->main);
}

static bool is_canceled(const struct co *co)
{
	return co->canceled && co->shield == 0;
}

/* Let others run until somebody makes this one runnable. */
static void park(struct co *self, deadline_t deadline)
{
	struct loop *loop = self->loop;

	self->deadline = deadline;
	if (deadline < self->timer.node.key)
		timer_put(self, deadline);
	self->moved = 0;
	self->waiting = true;
	if (loop->on_wait != NULL)
		loop->on_wait(loop->on_wait_arg, self);
	switch_jump(&self->point, &loop->main);
	self->waiting = false;
}

int co_wait(deadline_t deadline)
{
	struct co *self = current;

	assert(self != NULL);
	for (;;) {
		if (is_canceled(self))
			return -ECANCELED;
		if (self->woken) {
			self->woken = false;
			return 0;
		}
		if (deadline <= self->loop->now)
			return -ETIMEDOUT;
		park(self, deadline);
	}
}

/* A wake meanwhile is not for this wait and stays remembered. */
int co_sleep(deadline_t until)
{
	struct co *self = current;

	assert(self != NULL);
	for (;;) {
		if (is_canceled(self))
			return -ECANCELED;
		if (until <= self->loop->now)
			return 0;
		park(self, until);
	}
}

int co_yield(void)
{
	struct co *self = current;

	assert(self != NULL);
	if (is_canceled(self))
		return -ECANCELED;
	self->moved = 0;
	co_make_runnable(self);
	switch_jump(&self->point, &self->loop->main);
	return is_canceled(self) ? -ECANCELED : 0;
}

void co_spend(size_t octets)
{
	if (octets > CO_BUDGET - current->moved)
		octets = CO_BUDGET - current->moved;
	current->moved += (unsigned)octets;
}

int co_breathe(void)
{
	return current->moved < CO_BUDGET ? 0 : co_yield();
}

void co_join(struct co **cop)
{
	struct co *self = current, *child = *cop;

	assert(self != NULL && child->joined && child->joiner == NULL);
	child->joiner = self;
	while (!child->done) {
		if (is_canceled(self) && !child->canceled)
			co_cancel(child);
		park(self, DEADLINE_NEVER);
	}
	free(child);
	*cop = NULL;
}

void co_wake(struct co *co)
{
	co->woken = true;
	if (co->waiting)
		co_make_runnable(co);
}

void co_cancel(struct co *co)
{
	co->canceled = true;
	if (co->waiting)
		co_make_runnable(co);
}

bool co_canceled(void)
{
	return current != NULL && is_canceled(current);
}

void co_shield_begin(void)
{
	current->shield++;
}

void co_shield_end(void)
{
	assert(current->shield > 0);
	current->shield--;
}
