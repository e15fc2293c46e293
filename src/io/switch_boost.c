/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stack switching by Boost.Context's assembly routines, which have a C interface but no header
 * for it. About as cheap as a function call; no system call.
 */
#include "io/switch_priv.h"

#include <stdlib.h>

typedef struct {
	void *fctx;
	void *data;
} transfer_t;

extern transfer_t jump_fcontext(void *to, void *vp);
extern void *make_fcontext(void *sp, size_t size, void (*fn)(transfer_t));

/* What a jump hands over: who jumped, and to where. */
struct passage {
	struct switch_point *from, *to;
};

static void arrive(transfer_t t, struct switch_point *self)
{
	struct switch_point *from = ((struct passage *)t.data)->from;

	from->context = t.fctx;
	switch_finish(self, from);
}

static void entry(transfer_t t)
{
	struct switch_point *self = ((struct passage *)t.data)->to;

	arrive(t, self);
	self->fn(self->arg);
	abort();
}

void switch_make(struct switch_point *p, void *low, size_t size, switch_fn fn, void *arg)
{
	*p = (struct switch_point){ .low = low, .size = size, .fn = fn, .arg = arg };
	p->context = make_fcontext((char *)low + size, size, entry);
}

void switch_jump(struct switch_point *from, struct switch_point *to)
{
	struct passage passage = { from, to };
	transfer_t t;

	switch_start(&from->fake_stack, to);
	t = jump_fcontext(to->context, &passage);
	arrive(t, from);
}

_Noreturn void switch_leave(struct switch_point *from, struct switch_point *to)
{
	struct passage passage = { from, to };

	switch_start(NULL, to);
	jump_fcontext(to->context, &passage);
	abort();
}
