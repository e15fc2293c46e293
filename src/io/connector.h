/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections to servers. A port: whole sessions are tested and fuzzed with a connector that
 * hands out socketpairs.
 */
#ifndef SALLYPORT_IO_CONNECTOR_H
#define SALLYPORT_IO_CONNECTOR_H

#include "base/addr.h"
#include "base/attributes.h"
#include "base/clock.h"

#include <stdbool.h>

struct stream;
struct loop;

enum bind_style {
	BIND_NONE,		/* the kernel chooses everything */
	BIND_ADDRESS,		/* address only, port when connecting (IP_BIND_ADDRESS_NO_PORT) */
	BIND_EXACT,		/* address and port, failure = connect failure */
	BIND_LOOSE,		/* address; the port, else upwards in its port group, wrapping */
	BIND_RANDOM,		/* address; some random ports of the group, then as BIND_LOOSE */
};

struct connect_request {
	struct endpoint remote;
	struct endpoint local;		/* as bind_style says; address may be AF_UNSPEC = wildcard */
	enum bind_style bind;
	bool transparent;		/* the local address is not this host's (IP_TRANSPARENT) */
	uint32_t mark;			/* SO_MARK, 0 = none */
	uint8_t tos;			/* 0 = leave */
	bool keepalive;
};

struct connector {
	/* WAITS. 0 and *out; -ETIMEDOUT; -ECANCELED; -errno of socket, bind or connect. */
	co_waits int (*connect)(struct connector *, const struct connect_request *,
				deadline_t deadline, struct stream **out);
};

/* The real one, on the running coroutine's loop. */
extern struct connector connector_kernel;

/* The first and last port of the group that port belongs to (1-511, 512-1023, 1024-65535). */
void port_group(uint16_t port, uint16_t *first, uint16_t *last);

#endif
