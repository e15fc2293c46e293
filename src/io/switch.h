/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Switching stacks: the only code that differs between the coroutine backends. Two are built,
 * Boost.Context's assembly (switch_boost.c) and ucontext (switch_ucontext.c); the build option
 * "coroutines" chooses, the tests run both.
 *
 * A switch saves the callee-saved registers and the floating point control words. Sanitizers
 * are told of each switch here, so that nobody else has to think of them.
 */
#ifndef SALLYPORT_IO_SWITCH_H
#define SALLYPORT_IO_SWITCH_H

#include <stddef.h>

typedef void (*switch_fn)(void *arg);

/* A place where execution stopped and can go on. The program's own stack needs no make: zeroed,
 * it is filled in by the first jump away from it. */
struct switch_point {
	void *context;		/* the backend's; it stands where the part of the stack that is in use begins */
	const void *low;	/* lowest address of the stack */
	size_t size;
	void *fake_stack;	/* ASan's, while stopped */
	switch_fn fn;
	void *arg;
};

/* Prepare p so that the first jump to it calls fn(arg) on the stack of size octets at low. fn
 * must not return; its last act is switch_leave. */
void switch_make(struct switch_point *p, void *low, size_t size, switch_fn fn, void *arg);

/* Stop here, go on at to. Returns when somebody jumps to from. */
void switch_jump(struct switch_point *from, struct switch_point *to);

/* As switch_jump, for the last time: the stack of from is not used again. */
_Noreturn void switch_leave(struct switch_point *from, struct switch_point *to);

#endif
