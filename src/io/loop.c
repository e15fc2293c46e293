/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One turn of the loop: take what the kernel has, fire the timers that are due, let each
 * coroutine run that was runnable by then, once. Nothing is allocated for an event. Handing out
 * events only marks watches and coroutines; the exception are on_ready functions, which may
 * remove other watches, so a removed watch's event that still waits here is blanked.
 */
#include "io/loop_priv.h"
#include "base/log.h"
#include "io/stream.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

struct loop *loop_of_process;

struct loop *loop_create(struct clock *clock)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (loop == NULL)
		return NULL;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		free(loop);
		return NULL;
	}
	loop->clock = clock;
	loop->now = clock->monotonic_ms(clock);
	slab_init(&loop->stacks, CO_STACK_SIZE, CO_GUARD_SIZE, 32, LOOP_STACKS_WARM, LOOP_STACKS_MAX);
	slab_init(&loop->chunks, STREAM_CHUNK, 0, 64, LOOP_CHUNKS_WARM, LOOP_CHUNKS_MAX);
	slab_init(&loop->large_chunks, STREAM_LARGE_CHUNK, 0, 8, LOOP_LARGE_WARM, LOOP_LARGE_MAX);
	signal(SIGPIPE, SIG_IGN);
	loop_of_process = loop;
	return loop;
}

void loop_free(struct loop **loopp)
{
	struct loop *loop = *loopp;

	if (loop == NULL)
		return;
	*loopp = NULL;
	assert(loop->n_coroutines == 0);
	while (loop->n_pipes_free > 0) {
		loop->n_pipes_free--;
		close(loop->pipes[loop->n_pipes_free].fd[0]);
		close(loop->pipes[loop->n_pipes_free].fd[1]);
	}
	heap_release(&loop->timers);
	slab_release(&loop->stacks);
	slab_release(&loop->chunks);
	slab_release(&loop->large_chunks);
	close(loop->epoll_fd);
	if (loop_of_process == loop)
		loop_of_process = NULL;
	free(loop);
}

int64_t loop_now(const struct loop *loop)
{
	return loop->now;
}

int64_t loop_wall_ms(const struct loop *loop)
{
	return loop->clock->wall_ms(loop->clock);
}

unsigned loop_coroutines(const struct loop *loop)
{
	return loop->n_coroutines;
}

void loop_stop(struct loop *loop)
{
	loop->stop = true;
}

void loop_on_wait(struct loop *loop, void (*fn)(void *arg, struct co *co), void *arg)
{
	loop->on_wait = fn;
	loop->on_wait_arg = arg;
}

/* Timers. */

int loop_timer_set(struct loop *loop, struct loop_timer *timer, int64_t at_ms)
{
	heap_remove(&loop->timers, &timer->node);
	return heap_insert(&loop->timers, &timer->node, at_ms);
}

void loop_timer_clear(struct loop *loop, struct loop_timer *timer)
{
	heap_remove(&loop->timers, &timer->node);
}

static int64_t next_timer(const struct loop *loop)
{
	const struct heap_node *first = heap_first(&loop->timers);

	return first == NULL ? DEADLINE_NEVER : first->key;
}

static bool fire_timers(struct loop *loop)
{
	bool fired = false;

	while (next_timer(loop) <= loop->now) {
		struct heap_node *node = heap_first(&loop->timers);
		struct loop_timer *timer = (struct loop_timer *)((char *)node - offsetof(struct loop_timer, node));

		heap_remove(&loop->timers, node);
		timer->on_expire(timer);
		fired = true;
	}
	return fired;
}

/* Descriptors. */

static int watch_add(struct loop *loop, struct loop_watch *watch, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = watch };

	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) < 0)
		return -errno;
	loop->n_watches++;
	return 0;
}

int loop_watch_add(struct loop *loop, struct loop_watch *watch)
{
	return watch_add(loop, watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
}

int loop_watch_listen(struct loop *loop, struct loop_watch *watch, bool exclusive)
{
	return watch_add(loop, watch, exclusive ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN);
}

static void watch_forget(struct loop *loop, const struct loop_watch *watch)
{
	loop->n_watches--;
	for (int i = loop->next_event; i < loop->n_events; i++) {
		if (loop->events[i].data.ptr == watch)
			loop->events[i].data.ptr = NULL;
	}
}

void loop_watch_remove(struct loop *loop, struct loop_watch *watch)
{
	if (watch->fd >= 0 && epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL) == 0)
		watch_forget(loop, watch);
}

/* If another process held a copy, events would come for a watch that is gone. */
void loop_watch_close(struct loop *loop, struct loop_watch *watch)
{
	close(watch->fd);
	watch->fd = -1;
	watch_forget(loop, watch);
}

static unsigned ready_of(uint32_t events)
{
	unsigned ready = 0;

	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		ready |= LOOP_READ;
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		ready |= LOOP_WRITE;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		ready |= LOOP_HUP;
	if (events & (EPOLLHUP | EPOLLERR))
		ready |= LOOP_GONE;
	return ready;
}

static void hand_out(struct loop_watch *watch, unsigned ready)
{
	bool news = (ready & ~watch->ready) != 0;

	watch->ready |= ready;
	if (watch->on_ready != NULL)
		watch->on_ready(watch);
	else if (watch->waiter != NULL && news)
		co_wake(watch->waiter);
}

/*
 * A busy worker logs a line or two a turn, and each turn's would be a system call here and in
 * whoever reads them; so those that come soon after others wait. On virtual time nothing does.
 * Returns how long the kernel may let us sleep.
 */
static int flush_log(struct loop *loop, int timeout_ms)
{
	int64_t wait_ms = loop->log_due - loop->now;

	if (!log_is_held())
		return timeout_ms;
	if (wait_ms > 0 && loop->clock->advance == NULL)
		return timeout_ms < 0 || timeout_ms > wait_ms ? (int)wait_ms : timeout_ms;
	loop->log_due = loop->now + LOOP_LOG_HOLD_MS;
	if (log_flush() || loop->clock->advance != NULL)
		return timeout_ms;
	return timeout_ms < 0 || timeout_ms > LOOP_LOG_HOLD_MS ? LOOP_LOG_HOLD_MS : timeout_ms;
}

static bool take_events(struct loop *loop, int timeout_ms)
{
	int n;

	timeout_ms = flush_log(loop, timeout_ms);
	n = epoll_wait(loop->epoll_fd, loop->events, LOOP_EVENTS, timeout_ms);
	loop->now = loop->clock->monotonic_ms(loop->clock);
	loop->n_events = n < 0 ? 0 : n;
	for (loop->next_event = 0; loop->next_event < loop->n_events;) {
		struct epoll_event *event = &loop->events[loop->next_event++];

		if (event->data.ptr != NULL)
			hand_out(event->data.ptr, ready_of(event->events));
	}
	loop->n_events = 0;
	return n > 0;
}

/* Turns. */

void co_make_runnable(struct co *co)
{
	struct loop *loop = co->loop;

	if (co->queued)
		return;
	co->queued = true;
	co->next = NULL;
	if (loop->tail == NULL)
		loop->head = co;
	else
		loop->tail->next = co;
	loop->tail = co;
	loop->n_queued++;
}

/* Those that were there at the start: who becomes runnable meanwhile waits for the next turn, so
 * that descriptors and timers get their say. */
static bool run_queue(struct loop *loop)
{
	unsigned n = loop->n_queued;

	for (unsigned i = 0; i < n; i++) {
		struct co *co = loop->head;

		loop->head = co->next;
		if (loop->head != NULL)
			co_fetch(loop->head);
		else
			loop->tail = NULL;
		loop->n_queued--;
		co->queued = false;
		co_run(co);
	}
	return n > 0;
}

/* How long the kernel may let us sleep. */
static int sleep_ms(struct loop *loop, int max_wait_ms)
{
	int64_t next = next_timer(loop), ms;

	if (loop->n_queued > 0 || loop->clock->advance != NULL || max_wait_ms == 0)
		return 0;
	if (next == DEADLINE_NEVER)
		return max_wait_ms;
	loop->now = loop->clock->monotonic_ms(loop->clock);
	ms = next > loop->now ? next - loop->now : 0;
	if (max_wait_ms >= 0 && ms > max_wait_ms)
		ms = max_wait_ms;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

static void advance_clock(struct loop *loop, int max_wait_ms)
{
	int64_t to = next_timer(loop);

	if (max_wait_ms >= 0 && to > loop->now + max_wait_ms)
		to = loop->now + max_wait_ms;
	if (to == DEADLINE_NEVER || to <= loop->now)
		return;
	loop->clock->advance(loop->clock, to);
	loop->now = loop->clock->monotonic_ms(loop->clock);
}

/* Did anything happen? */
static bool turn(struct loop *loop, int max_wait_ms)
{
	bool happened = take_events(loop, sleep_ms(loop, max_wait_ms));

	if (!happened && loop->n_queued == 0 && loop->clock->advance != NULL)
		advance_clock(loop, max_wait_ms);
	if (fire_timers(loop))
		happened = true;
	if (run_queue(loop))
		happened = true;
	return happened;
}

void loop_turn(struct loop *loop, int max_wait_ms)
{
	turn(loop, max_wait_ms);
}

static bool could_happen(const struct loop *loop)
{
	return loop->n_queued > 0 || loop->n_watches > 0 || next_timer(loop) != DEADLINE_NEVER;
}

void loop_run(struct loop *loop)
{
	log_batch(true);	/* see flush_log */
	while (!loop->stop && could_happen(loop)) {
		if (!turn(loop, -1) && loop->clock->advance != NULL)
			break;
	}
	log_batch(false);
	loop->stop = false;
}
