/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of idle connections, oldest last. It is short (POOL_MAX), so that it is searched from
 * one end to the other; a hash would only be more to get wrong.
 */
#include "session/pool.h"
#include "base/list.h"
#include "base/log.h"
#include "io/loop.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

struct entry {
	struct list_node place;		/* the next was put in before */
	struct pool *pool;
	struct pool_key key;
	struct pooled c;		/* its note lies in octets */
	struct stream_idler idler;
	struct loop_timer timer;
	uint8_t octets[];
};

struct pool {
	struct loop *loop;
	struct list entries;		/* the newest first */
	bool shut;
	struct pool_counts counts;
	void (*on_change)(void *arg);
	void *on_change_arg;
};

#define ENTRY_OF(pointer, member) ((struct entry *)((char *)(pointer) - offsetof(struct entry, member)))

bool pool_key_equal(const struct pool_key *a, const struct pool_key *b)
{
	const struct connect_request *x = &a->how, *y = &b->how;

	return a->service == b->service && endpoint_equal(&x->remote, &y->remote) && endpoint_equal(&x->local, &y->local) &&
	       x->bind == y->bind && x->transparent == y->transparent && x->mark == y->mark && x->tos == y->tos &&
	       x->keepalive == y->keepalive && leg_identity_equal(&a->leg, &b->leg) && secure_identity_equal(&a->secure, &b->secure);
}

bool pool_key_may_repeat(const struct pool_key *key)
{
	return (key->how.bind == BIND_NONE || key->how.bind == BIND_ADDRESS) && key->leg.proxy_protocol == 0;
}

static void changed(struct pool *pool)
{
	if (pool->on_change != NULL)
		pool->on_change(pool->on_change_arg);
}

static void unlink_entry(struct entry *e)
{
	struct pool *pool = e->pool;

	list_remove(&pool->entries, &e->place);
	pool->counts.idle = pool->entries.n;
	loop_timer_clear(pool->loop, &e->timer);
	stream_set_idle(e->c.stream, NULL);
}

static struct entry *entry_at(struct list_node *place)
{
	return LIST_ITEM(place, struct entry, place);
}

/* The goodbye is a courtesy: as much of it as goes at once, and nobody waits for an answer. */
static void close_entry(struct entry *e, const char *why, bool polite)
{
	struct pool *pool = e->pool;
	char server[ENDPOINT_TEXT_MAX];

	unlink_entry(e);
	log_event(LOG_CORE_DEBUG, 6, slice_of(NULL, 0), "Idle server connection closed",
		  F_TEXT("server_address", endpoint_log_text(&e->key.how.remote, server)), F_TEXT("reason", why),
		  F_INT("sessions", e->c.sessions), F_INT("messages", e->c.messages));
	if (polite && stream_write(e->c.stream, e->c.goodbye, 0) == 0)
		(void)!stream_push(e->c.stream);
	stream_close(&e->c.stream);
	arena_free(&e->c.tls_arena);
	free(e);
	pool->counts.closed++;
	changed(pool);
}

static void on_news(struct stream_idler *idler)
{
	close_entry(ENTRY_OF(idler, idler), "the server closed it or spoke", false);
}

static void on_expire(struct loop_timer *timer)
{
	close_entry(ENTRY_OF(timer, timer), "unused for too long, or too old", true);
}

struct pool *pool_create(struct loop *loop)
{
	struct pool *pool = calloc(1, sizeof(*pool));

	if (pool != NULL)
		pool->loop = loop;
	return pool;
}

bool pool_takes(const struct pool *pool)
{
	return !pool->shut;
}

void pool_shut(struct pool *pool)
{
	if (pool == NULL)
		return;
	pool->shut = true;
	while (pool->entries.first != NULL)
		close_entry(entry_at(pool->entries.first), "the generation ends", true);
}

void pool_free(struct pool **poolp)
{
	struct pool *pool = *poolp;

	if (pool == NULL)
		return;
	*poolp = NULL;
	pool_shut(pool);
	free(pool);
}

/* Room for one more: of this service to this target, and at all. */
static void make_room(struct pool *pool, const struct pool_key *key, unsigned idle_max)
{
	struct entry *oldest = NULL;
	unsigned n = 0;

	LIST_EACH(e, &pool->entries, struct entry, place) {
		if (e->key.service != key->service || !endpoint_equal(&e->key.how.remote, &key->how.remote))
			continue;
		oldest = e;
		n++;
	}
	if (n >= idle_max)
		close_entry(oldest, "one more than may be idle", true);
	else if (pool->counts.idle >= POOL_MAX)
		close_entry(entry_at(pool->entries.last), "the pool is full", true);
}

int pool_put(struct pool *pool, const struct pool_key *key, struct pooled *c, const struct pool_limits *limits)
{
	int64_t now = loop_now(pool->loop), until = now + limits->idle_ms;
	struct entry *e;

	if (pool->shut)
		return -ESHUTDOWN;
	if (!pool_key_may_repeat(key))
		return -EADDRINUSE;
	if (until > c->opened_ms + limits->age_ms)
		until = c->opened_ms + limits->age_ms;
	if (until <= now || limits->idle_max == 0)
		return -ESTALE;
	if (c->note.len > POOL_NOTE_MAX)
		return -EMSGSIZE;
	if (!stream_is_quiet(c->stream))
		return -ENOTCONN;
	e = calloc(1, sizeof(*e) + c->note.len);
	if (e == NULL || loop_timer_set(pool->loop, &e->timer, until) != 0) {
		free(e);
		return -ENOMEM;
	}
	make_room(pool, key, limits->idle_max);
	e->pool = pool;
	e->key = *key;
	e->c = *c;
	if (c->note.len > 0)
		memcpy(e->octets, c->note.ptr, c->note.len);
	e->c.note = slice_of(e->octets, c->note.len);
	e->timer.on_expire = on_expire;
	e->idler.on_news = on_news;
	stream_set_idle(c->stream, &e->idler);
	c->stream = NULL;
	c->tls_arena = NULL;
	c->tls = NULL;
	list_add_first(&pool->entries, &e->place);
	pool->counts.idle = pool->entries.n;
	pool->counts.kept++;
	changed(pool);
	return 0;
}

static int take_entry(struct entry *e, struct arena *arena, struct pooled *out)
{
	struct pool *pool = e->pool;
	struct slice note = arena_copy(arena, e->c.note);

	if (note.ptr == NULL)
		return -ENOMEM;
	unlink_entry(e);
	stream_count_anew(e->c.stream);
	*out = e->c;
	out->note = note;
	free(e);
	pool->counts.reused++;
	changed(pool);
	return 0;
}

int pool_take(struct pool *pool, const struct pool_key *key, struct arena *arena, struct pooled *out)
{
	struct entry *e, *next;

	for (e = entry_at(pool->entries.first); e != NULL; e = next) {
		next = entry_at(e->place.next);
		if (!pool_key_equal(&e->key, key))
			continue;
		/* What it said since the loop's last turn. */
		if (stream_is_quiet(e->c.stream))
			return take_entry(e, arena, out);
		close_entry(e, "the server closed it or spoke", false);
	}
	return -ENOENT;
}

const struct pool_counts *pool_counts(const struct pool *pool)
{
	return &pool->counts;
}

void pool_on_change(struct pool *pool, void (*fn)(void *arg), void *arg)
{
	pool->on_change = fn;
	pool->on_change_arg = arg;
}
