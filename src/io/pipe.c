/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of pipes for splicing. A pipe with octets of a dead session in it is closed. */
#include "io/loop_priv.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int pipe_borrow(struct loop *loop, struct pipe_pair *out)
{
	if (loop->n_pipes_free > 0) {
		*out = loop->pipes[--loop->n_pipes_free];
		return 0;
	}
	if (loop->n_pipes >= LOOP_PIPES_MAX)
		return -EMFILE;
	if (pipe2(out->fd, O_NONBLOCK | O_CLOEXEC) < 0)
		return -errno;
	loop->n_pipes++;
	return 0;
}

void pipe_return(struct loop *loop, struct pipe_pair *pipe, bool empty)
{
	if (pipe->fd[0] < 0)
		return;
	if (empty && loop->n_pipes_free < LOOP_PIPES_WARM) {
		loop->pipes[loop->n_pipes_free++] = *pipe;
	} else {
		close(pipe->fd[0]);
		close(pipe->fd[1]);
		loop->n_pipes--;
	}
	*pipe = (struct pipe_pair){ { -1, -1 } };
}
