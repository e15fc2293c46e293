/* SPDX-License-Identifier: Apache-2.0 */
/* One direction of a relay. */
#ifndef SALLYPORT_IO_RELAY_PRIV_H
#define SALLYPORT_IO_RELAY_PRIV_H

#include "io/relay.h"
#include "io/stream_priv.h"

struct relay_direction {
	struct stream *from, *to;
	bool discard;
	size_t buffer_octets, bulk_octets;	/* of a read; and where octets come in bulk */
	uint64_t max;			/* octets, 0 = no limit */
	uint64_t *octets, *reads;	/* in the counts */
	bool eof;			/* no more will be read: end of file, or the other side's */
	bool done;			/* all delivered, and the end passed on where wanted */
	unsigned streak;		/* full reads in a row while copying, small ones while splicing */
	struct pipe_pair pipe;
	size_t in_pipe;
	struct stream *failed;
};

/* Each moves what goes without waiting, about a buffer. Returns 1 if anything happened; 0;
 * -EDQUOT; -errno with failed set. */
int relay_copy(struct relay_direction *d) MUST_CHECK;
int relay_splice(struct relay_direction *d) MUST_CHECK;

static inline bool relay_splices(const struct relay_direction *d)
{
	return d->pipe.fd[0] >= 0;
}

/* Octets that may still go, without a limit more than ever asked for. */
static inline uint64_t relay_allowed(const struct relay_direction *d)
{
	return d->max == 0 ? UINT64_MAX : d->max - *d->octets;
}

void relay_splice_begin(struct relay_direction *d);	/* stays copying when there is no pipe */
void relay_splice_end(struct relay_direction *d);

#endif
