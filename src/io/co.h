/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coroutines: one per conversation, so that a protocol dialogue is straight-line code. They run
 * on one thread under an event loop; a switch happens only in functions marked co_waits.
 *
 * Waking is level-like: a wake that comes before the wait is remembered, so it can't be lost.
 * Cancelling makes the current and every later wait of the coroutine return -ECANCELED until
 * its function returned; clean-up that must wait itself (a last reply) does so inside
 * co_shield_begin()/co_shield_end(), under a short deadline.
 */
#ifndef SALLYPORT_IO_CO_H
#define SALLYPORT_IO_CO_H

#include "base/attributes.h"
#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>

struct co;
struct loop;

typedef void (*co_fn)(void *arg);

#define CO_STACK_SIZE (128u * 1024u)	/* virtual; an idle session touches one or two pages */
#define CO_GUARD_SIZE (64u * 1024u)

/* Start fn(arg) on a coroutine; it first runs when the loop does. NULL: out of memory. The
 * coroutine frees itself when fn returns, unless someone joins it (co_spawn_joined). */
struct co *co_spawn(struct loop *loop, co_fn fn, void *arg);
struct co *co_spawn_joined(struct loop *loop, co_fn fn, void *arg);

/* Wait until a joined child's function returned; frees it and sets *cop to NULL. Always waits
 * for the end (cancel the child first to hurry it), so that no child outlives its parent. A
 * cancel of the parent, before or meanwhile, is passed on to the child. */
co_waits void co_join(struct co **cop);

struct co *co_current(void);		/* NULL outside of any */
struct loop *co_loop(void);		/* the loop of the running coroutine */

/* Wait to be woken. 0; -ETIMEDOUT; -ECANCELED. Callers loop on their own condition. */
co_waits int co_wait(deadline_t deadline) MUST_CHECK;
void co_wake(struct co *co);

/*
 * What the running coroutine looks at whenever it goes on, besides its stack and the streams that it waits for:
 * the processor's cache gets it while another coroutine runs, so that it need not wait for each part in turn.
 * Nothing is read there; it may be gone when its time comes.
 */
#define CO_NEAR_PLACES 2
void co_keep_near(unsigned place, const void *at, size_t octets);

/* Let others run; come back at the tail of the run queue. 0 or -ECANCELED. */
co_waits int co_yield(void) MUST_CHECK;
co_waits int co_sleep(deadline_t until) MUST_CHECK;	/* 0 at the time, -ECANCELED */

void co_cancel(struct co *co);
bool co_canceled(void);
void co_shield_begin(void);
void co_shield_end(void);

/*
 * Run fn(arg) on the worker's main stack and return: for library calls, whose stack use is not
 * ours to bound. fn must not wait. Called outside a coroutine it calls fn directly.
 */
void co_leaf(void (*fn)(void *), void *arg);

/* The clock of the current loop, cached once per loop turn. */
deadline_t co_now(void);
static inline deadline_t deadline_in(int64_t ms)
{
	return ms <= 0 ? DEADLINE_NEVER : co_now() + ms;
}

static inline deadline_t deadline_min(deadline_t a, deadline_t b)
{
	return a < b ? a : b;
}

/*
 * Once per process: when a coroutine runs into its stack's guard, say so on standard error before
 * the signal does what it did before (end the process). 0 or -errno.
 */
int co_report_overflow(void) MUST_CHECK;

#endif
