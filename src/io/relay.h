/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Full-duplex copying between two streams: copies first, switches to splice after two full
 * buffers in a row where both transports allow it, and back when the bulk is over; half-close is
 * kept. A direction is read only when everything it read before has been delivered. Octets that
 * the streams held already, read or queued, go first.
 */
#ifndef SALLYPORT_IO_RELAY_H
#define SALLYPORT_IO_RELAY_H

#include "base/attributes.h"
#include "base/clock.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream;

#define RELAY_DRAIN_MS 30000

struct relay_counts {
	uint64_t to_client, to_server;			/* octets delivered, or discarded */
	uint64_t reads_to_client, reads_to_server;
};

struct relay_options {
	int64_t idle_ms;		/* both directions together; 0 = none */
	int64_t total_ms;		/* 0 = none */
	/* false: end of file on either side ends both, after what was read by then is delivered
	 * (in RELAY_DRAIN_MS at most) */
	bool half_close;
	bool discard_to_client;		/* read and throw away */
	bool discard_to_server;
	size_t buffer_octets;		/* a direction, at most STREAM_CHUNK; 0 = that, or more in bulk */
	uint64_t max_to_client;		/* octets, 0 = no limit */
	uint64_t max_to_server;
	/* Called after each interval_reads reads or interval_ms, when set; non-zero ends. WAITS. */
	co_waits int (*on_interval)(void *arg, const struct relay_counts *counts);
	void *arg;
	unsigned interval_reads;
	int64_t interval_ms;
};

/* WAITS. 0 = both sides ended; -ETIMEDOUT (idle or total); -ECANCELED; -EDQUOT (octet limit);
 * what on_interval returned; -errno with *fault_server telling whose side failed. */
co_waits int relay_run(struct stream *client, struct stream *server, const struct relay_options *options,
		       struct relay_counts *counts, bool *fault_server) MUST_CHECK;

#endif
