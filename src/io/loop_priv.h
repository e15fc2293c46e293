/* SPDX-License-Identifier: Apache-2.0 */
/* The insides of loop and coroutine, shared by the files of this folder. */
#ifndef SALLYPORT_IO_LOOP_PRIV_H
#define SALLYPORT_IO_LOOP_PRIV_H

#include "base/slice.h"
#include "io/co.h"
#include "io/loop.h"
#include "io/slab.h"
#include "io/switch.h"

#include <sys/epoll.h>

struct stream;

/* Ceilings of a worker. */
#define LOOP_EVENTS 64			/* taken from the kernel in one call */
#define LOOP_STACKS_WARM 64		/* free stacks whose pages are kept */
#define LOOP_STACKS_MAX 65536		/* coroutines */
#define LOOP_CHUNKS_WARM 64		/* free stream buffers whose pages are kept: 1 MiB */
#define LOOP_CHUNKS_MAX 16384		/* stream buffers: 256 MiB */
#define LOOP_LARGE_WARM 8		/* the large ones: 1 MiB */
#define LOOP_LARGE_MAX 128		/* 16 MiB; who gets none makes do with a small one */
#define LOOP_PIPES_MAX 64		/* relays that splice at the same time; two a relay at most */
#define LOOP_PIPES_WARM 8		/* free pipes kept open */
#define LOOP_LOG_HOLD_MS 25		/* log lines wait for company, this long after the last that went */
#define CO_BUDGET (64u * 1024u)		/* octets moved without waiting, then others run */

struct co {
	struct switch_point point;
	struct loop *loop;
	struct loop_timer timer;	/* always in the heap, so that a wait can't fail for memory */
	deadline_t deadline;		/* of the current wait; the timer may stand earlier */
	struct co *next;		/* in the run queue */
	struct co *joiner;		/* who waits for the end */
	co_fn fn;
	void *arg;
	void *stack;
	struct stream *unsent;		/* streams that this one wrote to and that hold octets yet */
	const struct stream *awaited[2];	/* that it waited for last; they may be gone, see co_keep_near */
	struct slice near[CO_NEAR_PLACES];
	unsigned valgrind_id;
	unsigned moved;			/* octets since the last wait */
	unsigned shield;
	bool queued, waiting, woken, canceled, joined, done;
};

/* Pipes for splicing, borrowed like everything else. */
struct pipe_pair {
	int fd[2];			/* read end, write end; -1 = none */
};

int pipe_borrow(struct loop *loop, struct pipe_pair *out) MUST_CHECK;	/* 0, -EMFILE also over the ceiling */
void pipe_return(struct loop *loop, struct pipe_pair *pipe, bool empty);	/* accepts none */

struct loop {
	int epoll_fd;
	struct clock *clock;
	int64_t now;
	int64_t log_due;		/* no log lines are written before */
	struct heap timers;
	struct co *head, *tail;		/* the run queue */
	unsigned n_queued;
	unsigned n_coroutines, n_watches;
	bool stop;
	struct switch_point main;	/* the worker's own stack, while a coroutine runs */
	void (*leaf)(void *);		/* asked of the main stack by a coroutine */
	void *leaf_arg;
	struct slab stacks, chunks, large_chunks;
	struct pipe_pair pipes[LOOP_PIPES_WARM];
	unsigned n_pipes_free, n_pipes;	/* open and free; open at all */
	void (*on_wait)(void *arg, struct co *co);
	void *on_wait_arg;
	/* Events being handed out; one whose watch is removed meanwhile is blanked. */
	struct epoll_event events[LOOP_EVENTS];
	int n_events, next_event;
};

/* The loop created last and not yet freed: a process has one. */
extern struct loop *loop_of_process;

void co_make_runnable(struct co *co);
void co_run(struct co *co);		/* from the main stack, until it waits or ends */
void co_fetch(const struct co *co);	/* it is to run soon: let the processor's cache have what it looks at */

/* Count octets moved without waiting; let others run when the budget is spent. */
void co_spend(size_t octets);
co_waits int co_breathe(void) MUST_CHECK;	/* 0 or -ECANCELED */

/* The coroutine ends: streams with octets that it queued are on their own. */
void streams_disown(struct co *co);

#endif
