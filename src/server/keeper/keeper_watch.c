/* SPDX-License-Identifier: Apache-2.0 */
#include "server/keeper/keeper_watch.h"

#include "base/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_MS 1000
/* What could not be used is tried again, without a word: that it is not valid yet may end by itself. Twice as long from each time
 * to the next, since a key's passphrase takes its time, in which nothing is signed. */
#define AGAIN_MS 60000
#define AGAIN_MAX_MS (16 * AGAIN_MS)
#define BUSY_MS 50			/* of one look: workers wait for signatures meanwhile */
#define PROBLEMS_ARENA_MAX (4u << 20)
#define ITEM_PATHS_MAX 4
#define NOSESSION slice_cstr("nosession")

struct watched {
	const char *path;
	bool directory;
	uint64_t look;			/* digest of how it looks */
};

/* What is read together. */
struct item {
	enum keeper_kind kind;		/* KEEPER_CHAIN, KEEPER_KEY_PUBLIC, KEEPER_TRUST, KEEPER_OCSP */
	uint32_t index;
	const char *paths[ITEM_PATHS_MAX];
	uint64_t in_use, seen;		/* digests of its paths; in_use 0: read it in any case */
	uint64_t told;			/* looks like this, can't be used, and was said so */
	int64_t tried_ms, pause_ms;	/* when it was tried, and until it is again */
	bool due;
};

struct keeper_watch {
	struct keeper_watch_setup setup;
	struct watched *watched;	/* by path */
	size_t n_watched;
	struct item *items;
	size_t n_items;
	struct item *offered;		/* the leader has not spoken about it; NULL: none */
	int64_t busy_until_ms;
	struct poller_timer timer;
};

/* ---- how things look ---- */

#define DIGEST_START 14695981039346656037u

static uint64_t digest(uint64_t d, const void *octets, size_t n)
{
	const uint8_t *at = octets;

	for (size_t i = 0; i < n; i++)
		d = (d ^ at[i]) * 1099511628211u;
	return d;
}

static uint64_t look_of_stat(uint64_t d, const struct stat *st)
{
	const uint64_t facts[] = { st->st_dev, st->st_ino, (uint64_t)st->st_size, st->st_mode, st->st_uid, st->st_gid,
				   (uint64_t)st->st_mtim.tv_sec, (uint64_t)st->st_mtim.tv_nsec,
				   (uint64_t)st->st_ctim.tv_sec, (uint64_t)st->st_ctim.tv_nsec };

	return digest(d, facts, sizeof(facts));
}

static uint64_t look_at(int dir, const char *name)
{
	struct stat st;
	int err = fstatat(dir, name, &st, 0) == 0 ? 0 : errno;

	return err == 0 ? look_of_stat(DIGEST_START, &st) : digest(DIGEST_START, &err, sizeof(err));
}

static uint64_t look_into(const char *path)
{
	uint64_t sum = look_at(AT_FDCWD, path);
	DIR *dir = opendir(path);
	const struct dirent *entry;

	if (dir == NULL)
		return sum + (uint64_t)errno;
	/* A sum: entries come in any order. */
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			sum += digest(look_at(dirfd(dir), entry->d_name), entry->d_name, strlen(entry->d_name));
	closedir(dir);
	return sum;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct watched *)a)->path, ((const struct watched *)b)->path);
}

static uint64_t look_of_item(const struct keeper_watch *w, const struct item *item)
{
	uint64_t d = DIGEST_START;

	for (size_t i = 0; i < ITEM_PATHS_MAX; i++) {
		const struct watched key = { .path = item->paths[i] };
		const struct watched *found = key.path == NULL ? NULL :
			bsearch(&key, w->watched, w->n_watched, sizeof(key), by_path);

		if (found != NULL)
			d = digest(d, &found->look, sizeof(found->look));
	}
	return d | 1;			/* never 0 */
}

static void look(struct keeper_watch *w)
{
	for (size_t i = 0; i < w->n_watched; i++) {
		struct watched *one = &w->watched[i];

		one->look = one->directory ? look_into(one->path) : look_at(AT_FDCWD, one->path);
	}
}

/* ---- what changed ---- */

static const char *name_of(const struct item *item)
{
	size_t i = 0;

	while (i + 1 < ITEM_PATHS_MAX && item->paths[i] == NULL)
		i++;
	return item->paths[i] != NULL ? item->paths[i] : "";
}

static void tell_refusal(const struct item *item, const char *reason, const char *hint)
{
	log_event(LOG_CORE_ERROR, 1, NOSESSION, "A changed file can't be used; what was in use stays",
		  F_TEXT("file", name_of(item)), F_TEXT("reason", reason), F_TEXT("hint", hint != NULL ? hint : ""));
}

static int read_item(struct keeper_watch *w, const struct item *item, struct policy_problems *problems, struct buffer *records)
{
	switch (item->kind) {
	case KEEPER_CHAIN:
		return keeper_keys_read_chain(w->setup.keys, item->index, problems, records);
	case KEEPER_KEY_PUBLIC:
		return keeper_keys_read_key(w->setup.keys, item->index, problems, records);
	case KEEPER_TRUST:
		return keeper_keys_read_trust(w->setup.keys, item->index, problems, records);
	default:
		return keeper_keys_read_ocsp(w->setup.keys, item->index, problems, records);
	}
}

/* Once, as long as it looks like this. */
static bool is_told(struct item *item)
{
	bool told = item->told == item->seen;

	item->pause_ms = !told ? AGAIN_MS : item->pause_ms < AGAIN_MAX_MS ? 2 * item->pause_ms : AGAIN_MAX_MS;
	item->told = item->seen;
	return told;
}

static void note_refusal(struct keeper_watch *w, const struct item *item)
{
	if (item->kind == KEEPER_CHAIN)
		w->setup.tried(w->setup.arg, item->index, false);
}

static void try(struct keeper_watch *w, struct item *item)
{
	struct arena *arena = arena_create(PROBLEMS_ARENA_MAX, 0);
	struct buffer records = BUFFER_INIT(KEEPER_FILE_MAX);
	struct policy_problems problems;
	int err = -ENOMEM;

	if (arena != NULL) {
		problems_init(&problems, arena);
		err = read_item(w, item, &problems, &records);
	}
	item->tried_ms = poller_now();
	if (err == 0 && !records.broken && records.len > 0) {
		w->offered = item;
		w->setup.offer(w->setup.arg, item->kind == KEEPER_TRUST, &records);
	} else if (err == 0 && !records.broken) {
		item->in_use = item->seen;	/* the same in other words */
	} else {
		keeper_keys_refuse(w->setup.keys);
		if (err == -EINVAL && !is_told(item)) {
			for (const struct policy_problem *p = problems.first; p != NULL; p = p->next)
				tell_refusal(item, p->message, p->hint);
			note_refusal(w, item);
		}
	}
	if (records.data != NULL)
		explicit_bzero(records.data, records.size);
	buffer_release(&records);
	arena_free(&arena);
}

static bool is_due(const struct keeper_watch *w, struct item *item)
{
	uint64_t now = look_of_item(w, item);
	bool calm = now == item->seen;

	item->seen = now;
	if (!calm || now == item->in_use)
		return false;
	return now != item->told || poller_now() - item->tried_ms >= item->pause_ms;
}

static void try_all(struct keeper_watch *w)
{
	for (size_t i = 0; i < w->n_items && w->offered == NULL; i++) {
		struct item *item = &w->items[i];

		if (!item->due || poller_now() >= w->busy_until_ms)
			continue;
		item->due = false;
		try(w, item);
	}
}

static void on_look(void *arg)
{
	struct keeper_watch *w = arg;

	poller_timer_set(w->setup.poller, &w->timer, LOOK_MS);
	if (w->offered != NULL)
		return;
	look(w);
	for (size_t i = 0; i < w->n_items; i++)
		w->items[i].due = is_due(w, &w->items[i]);
	w->busy_until_ms = poller_now() + BUSY_MS;
	try_all(w);
}

void keeper_watch_settle(struct keeper_watch *w, const char *why_not, int64_t until_ms)
{
	struct item *item = w->offered;

	if (item == NULL)
		return;
	w->offered = NULL;
	if (why_not == NULL) {
		keeper_keys_accept(w->setup.keys, until_ms);
		item->in_use = item->seen;
		if (item->kind == KEEPER_CHAIN)
			w->setup.tried(w->setup.arg, item->index, true);
	} else {
		keeper_keys_refuse(w->setup.keys);
		if (!is_told(item)) {
			tell_refusal(item, why_not, NULL);
			note_refusal(w, item);
		}
	}
	try_all(w);
}

/* ---- what there is ---- */

static void watch_path(struct keeper_watch *w, struct item *item, unsigned i, const char *path, bool directory)
{
	item->paths[i] = path;
	if (path != NULL)
		w->watched[w->n_watched++] = (struct watched){ .path = path, .directory = directory };
}

static struct item *add_item(struct keeper_watch *w, enum keeper_kind kind, uint32_t index)
{
	struct item *item = &w->items[w->n_items++];

	*item = (struct item){ .kind = kind, .index = index };
	return item;
}

/* The key of a bridge's leaves, if it is no certificate's. */
static void add_key(struct keeper_watch *w, const struct policy *policy, const struct tls_key *key)
{
	for (size_t i = 0; i < w->n_items; i++) {
		const struct item *item = &w->items[i];

		if ((item->kind == KEEPER_KEY_PUBLIC && item->index == key->index) ||
		    (item->kind == KEEPER_CHAIN && policy->tls_certificates[item->index].key == key))
			return;
	}
	watch_path(w, add_item(w, KEEPER_KEY_PUBLIC, key->index), 0, key->file, false);
}

static bool is_same(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Contexts with the same directories get what is in them together. */
static bool has_trust(const struct keeper_watch *w, const char *const directories[ITEM_PATHS_MAX])
{
	for (size_t i = 0; i < w->n_items; i++) {
		const char *const *paths = w->items[i].paths;

		if (w->items[i].kind == KEEPER_TRUST && is_same(paths[0], directories[0]) && is_same(paths[1], directories[1]) &&
		    is_same(paths[2], directories[2]) && is_same(paths[3], directories[3]))
			return true;
	}
	return false;
}

static void add_trust(struct keeper_watch *w, uint32_t index, const struct tls_verifier *v)
{
	const char *const directories[ITEM_PATHS_MAX] = { v->ca_directory, v->crl_directory, v->hint_directory, v->pinned_directory };
	struct item *item;

	if ((directories[0] == NULL && directories[1] == NULL && directories[2] == NULL && directories[3] == NULL) ||
	    has_trust(w, directories))
		return;
	item = add_item(w, KEEPER_TRUST, index);
	for (unsigned i = 0; i < ITEM_PATHS_MAX; i++)
		watch_path(w, item, i, directories[i], true);
}

static void add_side(struct keeper_watch *w, uint32_t index, const struct tls_side *side, enum tls_end end)
{
	if (side->security == TLS_OFF)
		return;
	if (side->own.bridge != NULL && side->own.bridge->key->file != NULL)
		add_key(w, w->setup.policy, side->own.bridge->key);
	add_trust(w, index, &side->verifier);
	if (end == TLS_CLIENT && side->options.ocsp_file != NULL)
		watch_path(w, add_item(w, KEEPER_OCSP, index), 0, side->options.ocsp_file, false);
}

static void add_all(struct keeper_watch *w, const struct policy *policy)
{
	size_t n = 0;

	for (uint32_t i = 0; i < policy->n_tls_certificates; i++) {
		const struct tls_certificate *c = &policy->tls_certificates[i];
		struct item *item;

		if (c->file == NULL && c->key->file == NULL)
			continue;
		item = add_item(w, KEEPER_CHAIN, i);
		watch_path(w, item, 0, c->file != NULL ? c->file : c->key->file, false);
		if (c->file != NULL)
			watch_path(w, item, 1, c->key->file, false);
	}
	for (uint32_t i = 0; i < policy->n_encryptions * TLS_ENDS; i++)
		add_side(w, i, &policy->encryptions[i / TLS_ENDS].sides[i % TLS_ENDS], i % TLS_ENDS);
	qsort(w->watched, w->n_watched, sizeof(*w->watched), by_path);
	for (size_t i = 0; i < w->n_watched; i++) {
		if (n > 0 && by_path(&w->watched[n - 1], &w->watched[i]) == 0)
			w->watched[n - 1].directory |= w->watched[i].directory;
		else
			w->watched[n++] = w->watched[i];
	}
	w->n_watched = n;
}

int keeper_watch_create(const struct keeper_watch_setup *setup, struct keeper_watch **out)
{
	const struct policy *policy = setup->policy;
	size_t n_items = policy->n_tls_certificates + policy->n_encryptions * TLS_ENDS * 3;
	struct keeper_watch *w = calloc(1, sizeof(*w));

	if (w == NULL)
		return -ENOMEM;
	w->setup = *setup;
	w->items = calloc(n_items + 1, sizeof(*w->items));
	w->watched = calloc(n_items * ITEM_PATHS_MAX + 1, sizeof(*w->watched));
	if (w->items == NULL || w->watched == NULL) {
		free(w->items);
		free(w->watched);
		free(w);
		return -ENOMEM;
	}
	add_all(w, policy);
	look(w);
	for (size_t i = 0; i < w->n_items; i++)
		if (!setup->again && w->items[i].kind != KEEPER_CHAIN && w->items[i].kind != KEEPER_KEY_PUBLIC)
			w->items[i].in_use = look_of_item(w, &w->items[i]);
	w->timer.fn = on_look;
	w->timer.arg = w;
	*out = w;
	return 0;
}

void keeper_watch_start(struct keeper_watch *w)
{
	if (w->n_items > 0)
		poller_timer_set(w->setup.poller, &w->timer, LOOK_MS);
}
