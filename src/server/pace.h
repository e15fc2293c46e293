/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work that is asked for again and again, by whom we do not control: never at once again, and the dearer it was the
 * later, so that it takes a share of the time at most. Times are monotonic milliseconds.
 */
#ifndef SALLYPORT_SERVER_PACE_H
#define SALLYPORT_SERVER_PACE_H

#include <stdint.h>

struct pace {
	int64_t pause_ms;		/* from its end, at least */
	unsigned times;			/* at least so many times what it took; 4: a fifth of the time */
	int64_t began_ms, ready_ms;	/* 0: never */
};

static inline void pace_begin(struct pace *p, int64_t now_ms)
{
	p->began_ms = now_ms;
}

static inline void pace_end(struct pace *p, int64_t now_ms)
{
	int64_t took_ms = (now_ms - p->began_ms) * p->times;

	p->ready_ms = now_ms + (took_ms > p->pause_ms ? took_ms : p->pause_ms);
}

/* Until it may begin. */
static inline int64_t pace_wait(const struct pace *p, int64_t now_ms)
{
	return p->ready_ms > now_ms ? p->ready_ms - now_ms : 0;
}

#endif
