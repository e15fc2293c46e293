/* SPDX-License-Identifier: Apache-2.0 */
#include "server/poller.h"
#include "base/clock.h"

#include <errno.h>
#include <stddef.h>

void poller_init(struct poller *p)
{
	p->n = 0;
	p->timers = NULL;
}

/* poll() tells of a hang-up even where nothing is asked for: that would be a turn without end. */
static void ask(struct poller *p, unsigned i, short events)
{
	p->fds[i] = (struct pollfd){ .fd = events != 0 ? p->entries[i].fd : -1, .events = events };
}

int poller_add(struct poller *p, int fd, short events, poller_fn fn, void *arg)
{
	unsigned i = 0;

	while (i < p->n && p->entries[i].fd >= 0)
		i++;
	if (i == POLLER_FDS_MAX)
		return -ENOSPC;
	if (i == p->n)
		p->n++;
	p->entries[i] = (struct poller_entry){ fd, fn, arg };
	ask(p, i, events);
	return 0;
}

void poller_events(struct poller *p, int fd, short events)
{
	for (unsigned i = 0; fd >= 0 && i < p->n; i++)
		if (p->entries[i].fd == fd)
			ask(p, i, events);
}

void poller_remove(struct poller *p, int fd)
{
	for (unsigned i = 0; fd >= 0 && i < p->n; i++)
		if (p->entries[i].fd == fd) {
			p->entries[i].fd = -1;
			ask(p, i, 0);
		}
}

int64_t poller_now(void)
{
	return clock_system.monotonic_ms(&clock_system);
}

void poller_timer_clear(struct poller *p, struct poller_timer *timer)
{
	for (struct poller_timer **t = &p->timers; *t != NULL; t = &(*t)->next)
		if (*t == timer) {
			*t = timer->next;
			break;
		}
	timer->at_ms = 0;
}

void poller_timer_set(struct poller *p, struct poller_timer *timer, int64_t in_ms)
{
	poller_timer_clear(p, timer);
	timer->at_ms = poller_now() + in_ms;
	timer->next = p->timers;
	p->timers = timer;
}

static int next_timeout(const struct poller *p)
{
	int64_t now = poller_now(), first = INT64_MAX;

	for (const struct poller_timer *t = p->timers; t != NULL; t = t->next)
		if (t->at_ms < first)
			first = t->at_ms;
	if (first == INT64_MAX)
		return -1;
	if (first <= now)
		return 0;
	return first - now > 60000 ? 60000 : (int)(first - now);
}

static void run_timers(struct poller *p)
{
	int64_t now = poller_now();

	for (bool again = true; again; ) {
		again = false;
		for (struct poller_timer *t = p->timers; t != NULL; t = t->next)
			if (t->at_ms <= now) {
				poller_timer_clear(p, t);
				t->fn(t->arg);
				again = true;	/* the list may be another one now */
				break;
			}
	}
}

void poller_turn(struct poller *p)
{
	int ready = poll(p->fds, p->n, next_timeout(p));

	for (unsigned i = 0; ready > 0 && i < p->n; i++) {
		short revents = p->fds[i].revents;

		if (revents == 0)
			continue;
		p->fds[i].revents = 0;
		p->entries[i].fn(p->entries[i].arg, p->entries[i].fd, revents);
	}
	run_timers(p);
}
