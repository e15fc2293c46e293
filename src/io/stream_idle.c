/* SPDX-License-Identifier: Apache-2.0 */
/* Streams that nobody converses on: kept for later, and watched meanwhile. */
#include "io/stream_priv.h"

#include <assert.h>
#include <errno.h>

bool stream_is_quiet(struct stream *s)
{
	if (buffered(&s->in) > 0 || buffered(&s->out) > 0 || s->eof || s->read_error != 0 || s->write_error != 0)
		return false;
	/* What came since the loop's last turn counts, too: so ask, whatever was seen. */
	s->watch.ready |= s->read_want;
	return stream_read_some(s, STREAM_CHUNK) == -EAGAIN;
}

static void on_idle_ready(struct loop_watch *watch)
{
	struct stream *s = (struct stream *)((char *)watch - offsetof(struct stream, watch));

	if ((watch->ready & (LOOP_READ | LOOP_HUP)) != 0)
		s->idler->on_news(s->idler);
}

void stream_set_idle(struct stream *s, struct stream_idler *idler)
{
	assert(s->watch.waiter == NULL && s->writer == NULL);
	s->idler = idler;
	s->watch.on_ready = idler != NULL ? on_idle_ready : NULL;
}

void stream_count_anew(struct stream *s)
{
	s->octets_in = s->octets_out = 0;
}
