/* SPDX-License-Identifier: Apache-2.0 */
/* Between the session layer, which calls policy code, and the leader, which starts servers. */
#include "server/worker/worker_host.h"

#include "session/callback.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct worker_host {
	struct callback_host *callbacks;
	int leader;
	uint32_t slot;
};

static void renew(void *arg, bool kill)
{
	const struct worker_host *h = arg;

	/* A leader that does not read is none; the worker is about to learn of it by itself. */
	(void)!message_send_simple(h->leader, MSG_HOST_WANTED, h->slot, 0, kill);
}

int worker_host_create(struct loop *loop, const struct policy *policy, int leader, uint32_t slot,
		       int64_t timeout_ms, struct worker_host **out)
{
	struct worker_host *h;

	*out = NULL;
	if (!policy->needs_host)
		return 0;
	h = calloc(1, sizeof(*h));
	if (h == NULL)
		return -ENOMEM;
	h->leader = leader;
	h->slot = slot;
	h->callbacks = callback_host_create(&(struct callback_options){
		.loop = loop, .policy = policy, .timeout_ms = timeout_ms, .renew = renew, .arg = h });
	if (h->callbacks == NULL) {
		free(h);
		return -ENOMEM;
	}
	*out = h;
	return 0;
}

struct policy_host *worker_host_port(struct worker_host *h)
{
	return h != NULL ? callback_host_port(h->callbacks) : NULL;
}

void worker_host_connect(struct worker_host *h, struct message *m)
{
	int err;

	if (h == NULL)
		return;			/* its sender's descriptors are closed with the message */
	err = callback_host_connect(h->callbacks, m->fds, m->n_fds);
	m->n_fds = 0;
	if (err < 0)
		log_event(LOG_CORE_ERROR, 1, slice_cstr("nosession"), "Cannot use a server of the policy host",
			  F_TEXT("error", strerror(-err)));
}

void worker_host_log_changed(struct worker_host *h)
{
	if (h != NULL)
		callback_host_log_changed(h->callbacks);
}

void worker_host_free(struct worker_host **hp)
{
	struct worker_host *h = *hp;

	if (h == NULL)
		return;
	*hp = NULL;
	callback_host_free(&h->callbacks);
	free(h);
}
