/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A listening socket watched by a worker. The descriptor belongs to the supervisor and is shared
 * by all workers of all generations, so it is watched level triggered with EPOLLEXCLUSIVE; each
 * turn accepts a bounded number. When descriptors run out, or it cannot be watched, accepting
 * pauses until it is tried again by a timer.
 */
#ifndef SALLYPORT_IO_LISTENER_H
#define SALLYPORT_IO_LISTENER_H

#include "base/addr.h"
#include "base/attributes.h"

struct listener;
struct loop;

/* fd is a new connection, non-blocking and close-on-exec; the callee owns it. */
typedef void (*listener_fn)(void *arg, int fd, const struct endpoint *peer);

/* Created disarmed. fd stays the caller's. NULL: errno. */
struct listener *listener_create(struct loop *loop, int fd, listener_fn on_connection, void *arg);
void listener_arm(struct listener *l);
void listener_disarm(struct listener *l);	/* when it returns, no further call comes */
void listener_free(struct listener **lp);

#endif
