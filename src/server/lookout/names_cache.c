/* SPDX-License-Identifier: Apache-2.0 */
#include "server/lookout/names_cache.h"

#include "server/control/control.h"

#include <errno.h>
#include <stdlib.h>

struct cached_answer {
	struct names_question question;	/* first */
	struct cached_host *host;
	uint8_t state;			/* enum host_state */
	bool under_way;
	int64_t again_ms;		/* 0: at once */
	unsigned failures;		/* in a row */
	size_t n_addrs;
	struct ip_addr addrs[NAMES_FAMILY_MAX];
};

struct cached_host {
	char name[HOST_OCTETS_MAX + 1];
	struct cached_answer answers[2];
	uint8_t state;			/* of both together */
	int64_t since_wall_ms;
	bool wanted;			/* while names are looked through */
	bool forgotten;			/* freed when the last question ends */
};

/* The names that one generation wants. */
struct wish {
	uint32_t generation;
	char **names;
	size_t n;
};

struct names_cache {
	struct cached_host **hosts;	/* ascending by name; room for what was wanted and what is now */
	size_t n_hosts;
	struct wish wishes[GENERATIONS_MAX];
	size_t cursor;			/* where the next question is looked for, so that all get their turn */
	unsigned under_way;
	uint64_t version;
};

static struct slice name_of(const struct cached_host *h)
{
	return slice_cstr(h->name);
}

/* ---- what is wanted ---- */

/* Among the first n, which are sorted. */
static struct cached_host *find(const struct names_cache *c, const char *name, size_t n)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(c->hosts[middle]->name, name);

		if (order == 0)
			return c->hosts[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static struct cached_host *new_host(const char *name)
{
	static const int families[2] = { AF_INET, AF_INET6 };
	struct cached_host *h = calloc(1, sizeof(*h));

	if (h == NULL)
		return NULL;
	memcpy(h->name, name, strlen(name) + 1);
	for (size_t i = 0; i < 2; i++) {
		h->answers[i].question = (struct names_question){ h->name, families[i] };
		h->answers[i].host = h;
	}
	return h;
}

static void free_names(char **names, size_t n)
{
	for (size_t i = 0; names != NULL && i < n; i++)
		free(names[i]);
	free(names);
}

static char **copy_names(const struct names_snapshot *hosts)
{
	char **names = calloc(hosts->n_hosts + 1, sizeof(*names));

	for (size_t i = 0; names != NULL && i < hosts->n_hosts; i++) {
		names[i] = strndup((const char *)hosts->hosts[i].name.ptr, hosts->hosts[i].name.len);
		if (names[i] == NULL) {
			free_names(names, i);
			return NULL;
		}
	}
	return names;
}

static void forget(struct cached_host *h)
{
	h->forgotten = true;
	if (!h->answers[0].under_way && !h->answers[1].under_way)
		free(h);
}

static int by_name(const void *a, const void *b)
{
	return strcmp((*(struct cached_host *const *)a)->name, (*(struct cached_host *const *)b)->name);
}

static void drop_unwanted(struct names_cache *c)
{
	size_t kept = 0;

	for (size_t i = 0; i < c->n_hosts; i++) {
		if (c->hosts[i]->wanted)
			c->hosts[kept++] = c->hosts[i];
		else
			forget(c->hosts[i]);
	}
	c->version += kept != c->n_hosts;
	c->n_hosts = kept;
}

/* What a wish names is kept, or made, while there is room, which is counted down. 0; -ENOMEM: some could not be made. */
static int take_wish(struct names_cache *c, const struct wish *w, size_t *room, int *left_out)
{
	size_t before = c->n_hosts;
	int err = 0;

	for (size_t i = 0; i < w->n; i++) {
		struct cached_host *h = find(c, w->names[i], before);

		if (h != NULL && h->wanted)
			continue;
		if (*room == 0) {
			++*left_out;
			continue;
		}
		if (h == NULL) {
			h = new_host(w->names[i]);
			if (h == NULL) {
				err = -ENOMEM;
				continue;
			}
			c->hosts[c->n_hosts++] = h;
		}
		h->wanted = true;
		--*room;
	}
	if (c->n_hosts != before) {
		qsort(c->hosts, c->n_hosts, sizeof(*c->hosts), by_name);
		c->version++;
	}
	return err;
}

static int newest_first(const void *a, const void *b)
{
	const struct wish *x = a, *y = b;

	return (x->generation < y->generation) - (x->generation > y->generation);
}

/* Whoever serves, or is about to, comes before those that only have sessions left. */
static int look_through(struct names_cache *c)
{
	size_t room = SNAPSHOT_HOSTS_MAX;
	int left_out = 0, err = 0;

	qsort(c->wishes, GENERATIONS_MAX, sizeof(c->wishes[0]), newest_first);
	for (size_t i = 0; i < c->n_hosts; i++)
		c->hosts[i]->wanted = false;
	for (size_t g = 0; g < GENERATIONS_MAX; g++)
		if (take_wish(c, &c->wishes[g], &room, &left_out) != 0)
			err = -ENOMEM;
	drop_unwanted(c);
	return err != 0 ? err : left_out;
}

/* Its place; else a free one. */
static struct wish *place_of(struct names_cache *c, uint32_t generation)
{
	struct wish *place = NULL;

	for (size_t g = 0; g < GENERATIONS_MAX; g++) {
		if (c->wishes[g].n > 0 && c->wishes[g].generation == generation)
			return &c->wishes[g];
		if (c->wishes[g].n == 0)
			place = &c->wishes[g];
	}
	return place;
}

int names_cache_want(struct names_cache *c, uint32_t generation, const struct names_snapshot *hosts)
{
	struct wish *w = place_of(c, generation);
	char **names;

	if (w == NULL)
		return -ENOMEM;
	names = copy_names(hosts);
	if (names == NULL)
		return -ENOMEM;
	free_names(w->names, w->n);
	*w = (struct wish){ generation, names, hosts->n_hosts };
	return look_through(c);
}

struct names_cache *names_cache_create(void)
{
	struct names_cache *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->hosts = calloc(2 * (size_t)SNAPSHOT_HOSTS_MAX, sizeof(struct cached_host *));
	if (c->hosts == NULL) {
		free(c);
		return NULL;
	}
	return c;
}

void names_cache_free(struct names_cache **cp)
{
	struct names_cache *c = *cp;

	if (c == NULL)
		return;
	*cp = NULL;
	for (size_t i = 0; i < c->n_hosts; i++)
		free(c->hosts[i]);
	for (size_t g = 0; g < GENERATIONS_MAX; g++)
		free_names(c->wishes[g].names, c->wishes[g].n);
	free(c->hosts);
	free(c);
}

/* ---- what is known ---- */

static uint8_t joined_state(const struct cached_host *h)
{
	uint8_t a = h->answers[0].state, b = h->answers[1].state;

	if (a == HOST_PENDING || b == HOST_PENDING)
		return HOST_PENDING;
	return a == HOST_STALE || b == HOST_STALE ? HOST_STALE : HOST_KNOWN;
}

/* Something of the host changed. */
static void note(struct names_cache *c, struct cached_host *h, bool addresses, int64_t now_wall_ms)
{
	uint8_t state = joined_state(h);

	if (h->forgotten || (!addresses && state == h->state))
		return;
	h->state = state;
	h->since_wall_ms = now_wall_ms;
	c->version++;
}

static bool set_addresses(struct cached_answer *a, const struct ip_addr *addrs, size_t n)
{
	bool changed;

	if (n > NAMES_FAMILY_MAX)
		n = NAMES_FAMILY_MAX;
	changed = n != a->n_addrs || (n > 0 && memcmp(addrs, a->addrs, n * sizeof(*addrs)) != 0);
	if (n > 0)
		memcpy(a->addrs, addrs, n * sizeof(*addrs));
	a->n_addrs = n;
	return changed;
}

/* Of one family; the record's state is of both: pending with addresses in one, the other is what is awaited. */
static bool seed_answer(struct cached_answer *a, const struct host_record *known)
{
	size_t first = 0, n = 0;

	while (first < known->n_addrs && known->addrs[first].family != a->question.family)
		first++;
	while (first + n < known->n_addrs && known->addrs[first + n].family == a->question.family)
		n++;
	if (a->state != HOST_PENDING || (known->state == HOST_PENDING && n == 0))
		return false;
	(void)set_addresses(a, known->addrs + first, n);
	a->state = HOST_STALE;
	return true;
}

void names_cache_seed(struct names_cache *c, const struct names_snapshot *snapshot, int64_t now_wall_ms)
{
	for (size_t i = 0; i < c->n_hosts; i++) {
		struct cached_host *h = c->hosts[i];
		const struct host_record *known = names_find(snapshot, name_of(h));
		bool taken = false;

		for (size_t k = 0; known != NULL && k < 2; k++)
			taken = seed_answer(&h->answers[k], known) || taken;
		if (taken)
			note(c, h, true, now_wall_ms);
	}
}

static struct names_question *take_due(struct names_cache *c, struct cached_answer *a, int64_t now_ms, int64_t *at_ms)
{
	if (a->under_way)
		return NULL;
	if (a->again_ms > now_ms) {
		if (*at_ms == 0 || a->again_ms < *at_ms)
			*at_ms = a->again_ms;
		return NULL;
	}
	a->under_way = true;
	c->under_way++;
	return &a->question;
}

struct names_question *names_cache_next(struct names_cache *c, int64_t now_ms, int64_t *at_ms)
{
	struct names_question *q = NULL;

	*at_ms = 0;
	if (c->under_way >= NAMES_UNDER_WAY_MAX)
		return NULL;
	for (size_t i = 0; q == NULL && i < 2 * c->n_hosts; i++) {
		c->cursor = (c->cursor + 1) % (2 * c->n_hosts);
		q = take_due(c, &c->hosts[c->cursor / 2]->answers[c->cursor % 2], now_ms, at_ms);
	}
	return q;
}

/* The host of the question, which is over; NULL: it was forgotten meanwhile. */
static struct cached_host *end_question(struct names_cache *c, struct cached_answer *a)
{
	struct cached_host *h = a->host;

	a->under_way = false;
	c->under_way--;
	if (!h->forgotten)
		return h;
	forget(h);
	return NULL;
}

bool names_cache_answered(struct names_cache *c, struct names_question *q, const struct ip_addr *addrs, size_t n, uint32_t ttl_s,
			  int64_t now_ms, int64_t now_wall_ms)
{
	struct cached_answer *a = (struct cached_answer *)q;
	struct cached_host *h = end_question(c, a);
	bool changed;

	if (h == NULL)
		return false;
	if (n == 0)
		ttl_s = NAMES_NONE_S;
	ttl_s = ttl_s < NAMES_TTL_MIN_S ? NAMES_TTL_MIN_S : ttl_s > NAMES_TTL_MAX_S ? NAMES_TTL_MAX_S : ttl_s;
	changed = set_addresses(a, addrs, n);
	a->state = HOST_KNOWN;
	a->failures = 0;
	a->again_ms = now_ms + ttl_s * 1000LL;
	note(c, h, changed, now_wall_ms);
	return changed;
}

bool names_cache_failed(struct names_cache *c, struct names_question *q, int64_t now_ms, int64_t now_wall_ms)
{
	struct cached_answer *a = (struct cached_answer *)q;
	struct cached_host *h = end_question(c, a);
	int64_t pause_s = NAMES_RETRY_FIRST_S;
	bool first;

	if (h == NULL)
		return false;
	for (unsigned i = 0; i < a->failures && pause_s < NAMES_RETRY_MAX_S; i++)
		pause_s *= 2;
	first = a->failures == 0;
	a->failures += a->failures < 16;
	if (a->state != HOST_PENDING)		/* what nobody ever told is not stale */
		a->state = HOST_STALE;
	a->again_ms = now_ms + (pause_s < NAMES_RETRY_MAX_S ? pause_s : NAMES_RETRY_MAX_S) * 1000;
	note(c, h, false, now_wall_ms);
	return first;
}

/* ---- showing it ---- */

uint64_t names_cache_version(const struct names_cache *c)
{
	return c->version;
}

bool names_cache_pending(const struct names_cache *c)
{
	for (size_t i = 0; i < c->n_hosts; i++)
		if (joined_state(c->hosts[i]) == HOST_PENDING)
			return true;
	return false;
}

void names_cache_pack(const struct names_cache *c, struct buffer *out)
{
	struct host_record *records = calloc(c->n_hosts + 1, sizeof(*records));
	struct ip_addr *addrs = calloc(c->n_hosts + 1, HOST_ADDRESSES_MAX * sizeof(*addrs));

	out->broken = out->broken || records == NULL || addrs == NULL;
	for (size_t i = 0; !out->broken && i < c->n_hosts; i++) {
		const struct cached_host *h = c->hosts[i];
		struct ip_addr *own = addrs + i * HOST_ADDRESSES_MAX;

		memcpy(own, h->answers[0].addrs, h->answers[0].n_addrs * sizeof(*own));
		memcpy(own + h->answers[0].n_addrs, h->answers[1].addrs, h->answers[1].n_addrs * sizeof(*own));
		records[i] = (struct host_record){ name_of(h), joined_state(h), h->since_wall_ms, own,
						   h->answers[0].n_addrs + h->answers[1].n_addrs };
	}
	if (!out->broken)
		names_pack(&(struct names_snapshot){ records, c->n_hosts }, out);
	free(records);
	free(addrs);
}
