/* SPDX-License-Identifier: Apache-2.0 */
#include "server/lookout/lookout_priv.h"

#include "base/log.h"
#include "server/lookout/lookout_resolver.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define NOSESSION slice_cstr("nosession")

/* ---- services ---- */

static void answer_nothing(struct lookout *l, const struct lookout_asked *who, struct slice body)
{
	lookout_answer(l, who, 0, body);
}

static const lookout_service_fn services[LOOKOUT_KINDS] = {
	[LOOKOUT_NOTHING] = answer_nothing,
	[LOOKOUT_TLSA] = lookout_dns_tlsa,
	[LOOKOUT_STS] = lookout_sts_policy,
};

/* ---- workers ---- */

static void drop_peer(struct lookout_peer *p, const char *why)
{
	if (why != NULL)
		log_event(LOG_CORE_ERROR, 1, NOSESSION, "A worker's connection to the lookout is closed", F_TEXT("reason", why));
	poller_remove(&p->lookout->poller, p->fd);
	close(p->fd);
	p->fd = -1;
	p->serial++;
	p->asked = 0;
	lookout_dns_forget(p->lookout, (uint32_t)(p - p->lookout->peers));
	lookout_sts_forget(p->lookout, (uint32_t)(p - p->lookout->peers));
}

void lookout_answer(struct lookout *l, const struct lookout_asked *who, int result, struct slice body)
{
	struct lookout_peer *p = &l->peers[who->peer];
	bool fits = body.len <= LOOKOUT_BODY_MAX;
	struct lookout_answer head = { .number = who->number, .result = fits ? result : -EMSGSIZE };
	struct iovec iov[] = { { &head, sizeof(head) }, { (void *)body.ptr, fits ? body.len : 0 } };
	const struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2 };

	if (p->fd < 0 || p->serial != who->serial)
		return;
	p->asked--;
	while (sendmsg(p->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		if (errno != EINTR) {
			drop_peer(p, errno == EAGAIN ? "it reads no answers" : strerror(errno));
			return;
		}
}

static void take_question(struct lookout_peer *p, const struct lookout_question *head, struct slice body)
{
	struct lookout *l = p->lookout;
	const struct lookout_asked who = { .peer = (uint32_t)(p - l->peers), .serial = p->serial, .number = head->number };

	p->asked++;
	if (head->kind < LOOKOUT_KINDS)
		services[head->kind](l, &who, body);
	else
		lookout_answer(l, &who, -ENOSYS, slice_of(NULL, 0));
}

/* One question a call, and the poller calls everybody in turn. */
static void on_peer(void *arg, int fd, short revents)
{
	struct lookout_peer *p = arg;
	struct lookout *l = p->lookout;
	const struct lookout_question *head = (const struct lookout_question *)l->packet;
	ssize_t n = recv(fd, l->packet, sizeof(l->packet), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		drop_peer(p, NULL);
	else if ((size_t)n < sizeof(*head) || (size_t)n == sizeof(l->packet))
		drop_peer(p, "it sends nonsense");
	else if (p->asked == LOOKOUT_WINDOW)
		drop_peer(p, "it asks too much");
	else
		take_question(p, head, slice_of(l->packet + sizeof(*head), (size_t)n - sizeof(*head)));
}

/* Where that worker was connected before; else a free place; else one of the oldest generation, if that is older. NULL: none. */
static struct lookout_peer *place_of(struct lookout *l, uint32_t generation, uint32_t slot)
{
	struct lookout_peer *unused = NULL, *oldest = NULL;

	for (struct lookout_peer *p = l->peers; p < l->peers + LOOKOUT_PEERS_MAX; p++) {
		if (p->fd < 0)
			unused = unused == NULL ? p : unused;
		else if (p->generation == generation && p->slot == slot)
			return p;
		else if (p->generation < generation && (oldest == NULL || p->generation < oldest->generation))
			oldest = p;
	}
	return unused != NULL ? unused : oldest;
}

/* One that can't be taken is closed, and the worker told by that. */
static void take_peer(struct lookout *l, struct message *m)
{
	struct lookout_peer *p = place_of(l, m->number, m->slot);

	if (m->n_fds != 1 || p == NULL)
		return;
	if (p->fd >= 0)
		drop_peer(p, NULL);
	if (poller_add(&l->poller, m->fds[0], POLLIN, on_peer, p) != 0)
		return;
	p->generation = m->number;
	p->slot = m->slot;
	p->fd = m->fds[0];
	m->n_fds = 0;
}

/* ---- the supervisor ---- */

static void set_log(const struct message *m)
{
	char spec[LOG_SPEC_MAX];

	if (slice_to_cstr(m->body, spec, sizeof(spec)) == 0)
		(void)log_set_spec((int)m->number, spec, NULL);
}

static void on_supervisor(void *arg, int fd, short revents)
{
	struct lookout *l = arg;
	struct message m;
	int n = message_receive(fd, &m, &l->room);

	if (n == -EAGAIN)
		return;
	if (n <= 0)
		exit(n == 0 ? 0 : 1);
	if (m.type == MSG_LOOKOUT_PEER)
		take_peer(l, &m);
	else if (m.type == MSG_NAMES || m.type == MSG_SNAPSHOT)
		lookout_names_take(l, &m);
	else if (m.type == MSG_NAMES_GONE)
		lookout_names_gone(l, m.number);
	else if (m.type == MSG_LOG)
		set_log(&m);
	message_close_fds(&m);
}

int lookout_run(const struct lookout_setup *setup)
{
	struct lookout *l = calloc(1, sizeof(*l));
	int err = l != NULL ? 0 : -ENOMEM;

	(void)signal(SIGPIPE, SIG_IGN);
	if (err == 0) {
		l->setup = setup;
		poller_init(&l->poller);
		for (size_t i = 0; i < LOOKOUT_PEERS_MAX; i++)
			l->peers[i] = (struct lookout_peer){ .lookout = l, .fd = -1 };
		err = poller_add(&l->poller, setup->supervisor, POLLIN, on_supervisor, l);
	}
	if (err == 0)
		err = resolver_create(&l->poller, setup->options->resolvers, &l->resolver);
	if (err == 0)
		err = lookout_names_create(l);
	if (err != 0) {
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "The lookout cannot start", F_TEXT("error", strerror(-err)));
		free(l);
		return 1;
	}
	for (;;)
		poller_turn(&l->poller);
}
