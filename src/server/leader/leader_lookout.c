/* SPDX-License-Identifier: Apache-2.0 */
/* Workers' connections to the lookout, which is the supervisor's: made here, one end to each. */
#include "server/leader/leader.h"

#include <signal.h>
#include <unistd.h>

#define RECONNECT_MS 1000

static void connect_again(void *arg)
{
	struct leader_worker *w = arg;
	struct message m = { .type = MSG_LOOKOUT_PEER, .slot = w->slot, .n_fds = 1 };
	int pair[2];

	if (w->pid == 0)
		return;
	w->lookout_ms = poller_now();
	if (message_pair(pair) != 0) {
		poller_timer_set(&w->leader->poller, &w->lookout_again, RECONNECT_MS);
		return;
	}
	m.fds[0] = pair[0];
	leader_tell_supervisor(w->leader, &m);
	m.type = MSG_LOOKOUT;
	m.fds[0] = pair[1];
	if (message_send(w->sock, &m) != 0)
		kill(w->pid, SIGKILL);
	close(pair[0]);
	close(pair[1]);
}

/* One whose connection breaks as soon as it has it must not keep us busy. */
void leader_lookout_wanted(struct leader_worker *w)
{
	int64_t lived_ms = w->lookout_ms != 0 ? poller_now() - w->lookout_ms : RECONNECT_MS;

	w->lookout_again.fn = connect_again;
	w->lookout_again.arg = w;
	if (lived_ms >= RECONNECT_MS)
		connect_again(w);
	else
		poller_timer_set(&w->leader->poller, &w->lookout_again, RECONNECT_MS - lived_ms);
}
