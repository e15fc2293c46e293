/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stack switching by ucontext: two system calls a switch, but plain libc. For machines that
 * Boost.Context does not know, and to tell a mistake of ours from one of the other backend.
 */
#include "io/switch_priv.h"

#include <stdint.h>
#include <stdlib.h>
#include <ucontext.h>

/* Who jumped last. One thread switches, and reads it right after the jump. */
static struct switch_point *jumped_from;

/* makecontext passes ints only. */
static void entry(unsigned high, unsigned low)
{
	struct switch_point *self = (struct switch_point *)((uintptr_t)high << 32 | (uintptr_t)low);

	switch_finish(self, jumped_from);
	self->fn(self->arg);
	abort();
}

/* The first context stands at the top of the new stack; later ones in the frame of the jump. */
void switch_make(struct switch_point *p, void *low, size_t size, switch_fn fn, void *arg)
{
	size_t room = (sizeof(ucontext_t) + 63) & ~(size_t)63;
	ucontext_t *context = (ucontext_t *)((char *)low + size - room);

	*p = (struct switch_point){ .context = context, .low = low, .size = size, .fn = fn, .arg = arg };
	if (getcontext(context) < 0)
		abort();
	context->uc_stack.ss_sp = low;
	context->uc_stack.ss_size = size - room;
	context->uc_link = NULL;
	makecontext(context, (void (*)(void))entry, 2, (unsigned)((uintptr_t)p >> 32),
		    (unsigned)(uintptr_t)p);
}

void switch_jump(struct switch_point *from, struct switch_point *to)
{
	ucontext_t here;

	from->context = &here;
	jumped_from = from;
	switch_start(&from->fake_stack, to);
	if (swapcontext(&here, to->context) < 0)
		abort();
	switch_finish(from, jumped_from);
}

_Noreturn void switch_leave(struct switch_point *from, struct switch_point *to)
{
	jumped_from = from;
	switch_start(NULL, to);
	setcontext(to->context);
	abort();
}
