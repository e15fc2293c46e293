/* SPDX-License-Identifier: Apache-2.0 */
/* Host names for zones: asked for, kept, and published whenever something changed, but not too often. */
#include "server/lookout/lookout_priv.h"

#include "base/clock.h"
#include "base/log.h"
#include "server/lookout/lookout_resolver.h"
#include "server/lookout/names_cache.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define PUBLISH_PAUSE_MS 1000		/* from one snapshot to the next */
#define PUBLISH_RETRY_MS 5000		/* after there was no memory for one */
#define PUBLISH_GATHER_MS 1000		/* for names that were never answered */
#define WISH_ARENA_MAX (16u << 20)
#define NOSESSION slice_cstr("nosession")

struct lookout_names {
	struct lookout *lookout;
	struct names_cache *cache;
	struct poller_timer ask, publish;
	uint64_t published;		/* version */
	int64_t published_ms;		/* 0: never */
};

/* A question and who is to hear of it. */
struct under_way {
	struct lookout_names *names;
	struct names_question *question;
};

/* ---- publishing ---- */

static void publish(void *arg)
{
	struct lookout_names *n = arg;
	struct buffer octets = BUFFER_INIT(SNAPSHOT_OCTETS_MAX);
	struct message m = { .type = MSG_SNAPSHOT, .n_fds = 1 };

	names_cache_pack(n->cache, &octets);
	m.fds[0] = octets.broken ? -ENOMEM : message_file(buffer_slice(&octets));
	buffer_release(&octets);
	if (m.fds[0] < 0) {
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "Addresses of host names cannot be published",
			  F_TEXT("error", strerror(-m.fds[0])));
		poller_timer_set(&n->lookout->poller, &n->publish, PUBLISH_RETRY_MS);
		return;
	}
	n->published = names_cache_version(n->cache);
	n->published_ms = poller_now();
	if (message_send(n->lookout->setup->supervisor, &m) != 0)
		exit(1);		/* a supervisor that does not read is none */
	close(m.fds[0]);
}

/* When nothing is awaited that a new policy can't do without, at once. */
static void publish_soon(struct lookout_names *n)
{
	int64_t wait_ms = names_cache_pending(n->cache) ? PUBLISH_GATHER_MS : 0, now = poller_now();

	if (n->published == names_cache_version(n->cache))
		return;
	if (n->published_ms != 0 && n->published_ms + PUBLISH_PAUSE_MS > now + wait_ms)
		wait_ms = n->published_ms + PUBLISH_PAUSE_MS - now;
	if (n->publish.at_ms == 0 || n->publish.at_ms > now + wait_ms)
		poller_timer_set(&n->lookout->poller, &n->publish, wait_ms);
}

/* ---- asking ---- */

static void log_addresses(const struct names_question *q, const struct resolver_answer *a)
{
	struct buffer text = BUFFER_INIT(4096);
	char ip[IP_TEXT_MAX];

	for (size_t i = 0; i < a->n_addrs; i++)
		buffer_printf(&text, "%s%s", i > 0 ? " " : "", ip_text(&a->addrs[i], ip));
	log_event(LOG_CORE_INFO, 2, NOSESSION, "A host name has other addresses", F_TEXT("host", q->name),
		  F_TEXT("family", q->family == AF_INET ? "IPv4" : "IPv6"), F_OCTETS("addresses", buffer_slice(&text)),
		  F_INT("ttl", a->ttl_s));
	if (a->cut)
		log_event(LOG_CORE_ERROR, 1, NOSESSION, "Some addresses of a host name are left out: too many, or nobody's",
			  F_TEXT("host", q->name), F_INT("used", a->n_addrs));
	buffer_release(&text);
}

static void on_answer(void *arg, const struct resolver_answer *a)
{
	struct under_way *w = arg;
	struct lookout_names *n = w->names;
	struct names_question *q = w->question;
	const struct names_question copy = *q;
	char host[HOST_OCTETS_MAX + 1];
	int64_t now = poller_now(), wall_ms = clock_system.wall_ms(&clock_system);

	/* The question ends here, and with it maybe its name. */
	memcpy(host, q->name, strlen(q->name) + 1);
	free(w);
	if (a->result != 0) {
		if (names_cache_failed(n->cache, q, now, wall_ms))
			log_event(LOG_CORE_ERROR, 1, NOSESSION, "A host name cannot be resolved; what was known of it stays",
				  F_TEXT("host", host), F_TEXT("family", copy.family == AF_INET ? "IPv4" : "IPv6"),
				  F_TEXT("reason", a->why));
	} else if (names_cache_answered(n->cache, q, a->addrs, a->n_addrs, a->ttl_s, now, wall_ms)) {
		log_addresses(&(struct names_question){ host, copy.family }, a);
	}
	publish_soon(n);
	poller_timer_set(&n->lookout->poller, &n->ask, 0);
}

static void ask(void *arg)
{
	struct lookout_names *n = arg;
	struct names_question *q;
	int64_t at_ms, now = poller_now();

	while ((q = names_cache_next(n->cache, now, &at_ms)) != NULL) {
		struct under_way *w = calloc(1, sizeof(*w));

		if (w == NULL) {
			(void)names_cache_failed(n->cache, q, now, clock_system.wall_ms(&clock_system));
			continue;
		}
		*w = (struct under_way){ n, q };
		resolver_ask(n->lookout->resolver, q->name, q->family, on_answer, w);
	}
	if (at_ms != 0)
		poller_timer_set(&n->lookout->poller, &n->ask, at_ms > now ? at_ms - now : 0);
}

/* ---- what the supervisor says ---- */

static void take_wish(struct lookout_names *n, uint32_t generation, const struct names_snapshot *hosts)
{
	int left_out = names_cache_want(n->cache, generation, hosts);

	if (left_out < 0)
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "Some host names are not resolved", F_TEXT("error", strerror(-left_out)));
	else if (left_out > 0)
		log_event(LOG_CORE_ERROR, 1, NOSESSION, "Host names of the oldest policies that have sessions are not resolved any more: too many",
			  F_INT("names", left_out));
	publish_soon(n);
	poller_timer_set(&n->lookout->poller, &n->ask, 0);
}

void lookout_names_take(struct lookout *l, const struct message *m)
{
	struct arena *arena = arena_create(WISH_ARENA_MAX, 0);
	struct names_snapshot hosts = { NULL, 0 };
	uint8_t *octets = NULL;
	size_t len = 0;
	int err = arena == NULL ? -ENOMEM : m->n_fds == 1 ? message_file_read(m->fds[0], SNAPSHOT_OCTETS_MAX, &octets, &len) : -EBADMSG;

	if (err == 0)
		err = names_unpack(slice_of(octets, len), arena, &hosts);
	if (err == 0 && m->type == MSG_SNAPSHOT)
		names_cache_seed(l->names->cache, &hosts, clock_system.wall_ms(&clock_system));
	else if (err == 0)
		take_wish(l->names, m->number, &hosts);
	else
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "A list of host names is of no use", F_INT("generation", m->number),
			  F_TEXT("error", strerror(-err)));
	free(octets);
	arena_free(&arena);
}

void lookout_names_gone(struct lookout *l, uint32_t generation)
{
	take_wish(l->names, generation, &(struct names_snapshot){ NULL, 0 });
}

int lookout_names_create(struct lookout *l)
{
	struct lookout_names *n = calloc(1, sizeof(*n));

	if (n == NULL)
		return -ENOMEM;
	n->lookout = l;
	n->ask.fn = ask;
	n->publish.fn = publish;
	n->ask.arg = n->publish.arg = n;
	n->cache = names_cache_create();
	if (n->cache == NULL) {
		free(n);
		return -ENOMEM;
	}
	l->names = n;
	return 0;
}
