/* SPDX-License-Identifier: Apache-2.0 */
#include "server/statistics.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "SPSTATS2"
#define COUNTERS_SIZE (COUNTERS_MAX * sizeof(uint64_t))	/* of a service */
#define TRIES 100		/* for a record that does not hold still */

static_assert(sizeof(struct stats_head) % 8 == 0 && sizeof(struct stats_service) % 8 == 0, "records are aligned");

static size_t file_size(uint32_t n_services, uint32_t n_sessions)
{
	return sizeof(struct stats_head) + (size_t)n_services * (sizeof(struct stats_service) + COUNTERS_SIZE) +
	       (size_t)n_sessions * sizeof(struct stats_session);
}

static void set_pointers(struct stats *st, void *memory, uint32_t n_services, uint32_t n_sessions)
{
	st->n_services = n_services;
	st->n_sessions = n_sessions;
	st->head = memory;
	st->services = (struct stats_service *)(st->head + 1);
	st->counters = (uint64_t *)(st->services + n_services);
	st->sessions = (struct stats_session *)(st->counters + (size_t)n_services * COUNTERS_MAX);
}

int stats_create(struct stats *st, uint32_t slot, uint32_t generation, uint32_t n_services, uint32_t n_sessions)
{
	size_t size = file_size(n_services, n_sessions);
	void *memory;
	int fd, err;

	if (n_services > STATS_SERVICES_MAX || n_sessions > STATS_SESSIONS_MAX)
		return -EINVAL;
	fd = memfd_create("sallyport-statistics", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)size) != 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0)
		goto fail;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		goto fail;
	st->fd = fd;
	st->size = size;
	set_pointers(st, memory, n_services, n_sessions);
	memcpy(st->head->magic, MAGIC, sizeof(st->head->magic));
	st->head->n_services = n_services;
	st->head->n_sessions = n_sessions;
	st->head->slot = slot;
	st->head->generation = generation;
	return 0;
fail:
	err = errno;
	close(fd);
	return -err;
}

/* The numbers are read once, from the file, before anything believes them. */
int stats_open(struct stats *st, int fd)
{
	const int seals = F_SEAL_SHRINK | F_SEAL_GROW;
	struct stats_head head;
	struct stat stat_;
	void *memory;
	int have = fcntl(fd, F_GET_SEALS);

	if (have < 0 || (have & seals) != seals || fstat(fd, &stat_) != 0 ||
	    pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
	    memcmp(head.magic, MAGIC, sizeof(head.magic)) != 0 ||
	    head.n_services > STATS_SERVICES_MAX || head.n_sessions > STATS_SESSIONS_MAX ||
	    (uint64_t)stat_.st_size != file_size(head.n_services, head.n_sessions))
		return -EBADMSG;
	memory = mmap(NULL, (size_t)stat_.st_size, PROT_READ, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	st->fd = fd;
	st->size = (size_t)stat_.st_size;
	set_pointers(st, memory, head.n_services, head.n_sessions);
	return 0;
}

void stats_close(struct stats *st)
{
	if (st->head == NULL)
		return;
	munmap(st->head, st->size);
	if (st->fd >= 0)
		close(st->fd);
	*st = (struct stats){ .fd = -1 };
}

static bool read_record(const void *record, const uint32_t *seq, size_t size, void *out)
{
	for (int i = 0; i < TRIES; i++) {
		uint32_t before = __atomic_load_n(seq, __ATOMIC_ACQUIRE), after;

		memcpy(out, record, size);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
		after = __atomic_load_n(seq, __ATOMIC_RELAXED);
		if (before == after && before % 2 == 0)
			return true;
	}
	return false;
}

bool stats_read_head(const struct stats *st, struct stats_head *out)
{
	return read_record(st->head, &st->head->seq, sizeof(*out), out);
}

bool stats_read_service(const struct stats *st, uint32_t index, struct stats_service *out)
{
	const struct stats_service *record = st->services + index;

	if (index >= st->n_services || !read_record(record, &record->seq, sizeof(*out), out))
		return false;
	out->name[sizeof(out->name) - 1] = '\0';
	out->proxy[sizeof(out->proxy) - 1] = '\0';
	return true;
}

bool stats_read_counters(const struct stats *st, uint32_t index, uint64_t out[COUNTERS_MAX])
{
	if (index >= st->n_services)
		return false;
	for (size_t i = 0; i < COUNTERS_MAX; i++)
		out[i] = __atomic_load_n(&st->counters[(size_t)index * COUNTERS_MAX + i], __ATOMIC_RELAXED);
	return true;
}

bool stats_read_session(const struct stats *st, uint32_t index, struct stats_session *out)
{
	const struct stats_session *record = st->sessions + index;

	if (index >= st->n_sessions || !read_record(record, &record->seq, sizeof(*out), out))
		return false;
	out->id[sizeof(out->id) - 1] = '\0';
	out->doing[sizeof(out->doing) - 1] = '\0';
	out->client_zone[sizeof(out->client_zone) - 1] = '\0';
	out->server_zone[sizeof(out->server_zone) - 1] = '\0';
	out->proxy[sizeof(out->proxy) - 1] = '\0';
	out->proxy_class[sizeof(out->proxy_class) - 1] = '\0';
	out->client_from[sizeof(out->client_from) - 1] = '\0';
	return true;
}

void stats_text(char *dst, size_t size, const char *text)
{
	size_t n = text != NULL ? strnlen(text, size - 1) : 0;

	if (n > 0)
		memcpy(dst, text, n);
	memset(dst + n, 0, size - n);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct stats_service *)a)->name, ((const struct stats_service *)b)->name);
}

/* Old records sorted by name, so that thousands of services cost no square. */
static struct stats_service *sorted_services(const struct stats *from, size_t *n)
{
	uint32_t count = from->n_services;
	struct stats_service *all = calloc(count + 1u, sizeof(*all));

	*n = 0;
	for (uint32_t i = 0; all != NULL && i < count; i++)
		if (stats_read_service(from, i, &all[*n]) && all[*n].name[0] != '\0')
			(*n)++;
	if (all != NULL)
		qsort(all, *n, sizeof(*all), compare_names);
	return all;
}

void stats_inherit(struct stats *st, const struct stats *from)
{
	size_t n;
	struct stats_head head;
	/* Read first: what becomes a session meanwhile is counted twice rather than not at all. */
	uint64_t arrivals = stats_read_head(from, &head) ? head.arrivals : 0;
	struct stats_service *old = sorted_services(from, &n);

	for (uint32_t i = 0; old != NULL && i < st->n_services; i++) {
		struct stats_service *mine = &st->services[i];
		const struct stats_service *was = bsearch(mine, old, n, sizeof(*old), compare_names);

		if (was == NULL)
			continue;
		stats_write_begin(&mine->seq);
		mine->started = was->started + arrivals;	/* any of them may become this service's */
		mine->last_started_wall_ms = was->last_started_wall_ms;
		stats_write_end(&mine->seq);
	}
	free(old);
}

void stats_clear_sessions(struct stats *st)
{
	for (uint32_t i = 0; i < st->n_services; i++) {
		st->services[i].seq = (st->services[i].seq + 1) & ~1u;	/* it may have died in the middle */
		st->services[i].running = 0;
	}
	for (uint32_t i = 0; i < st->head->sessions_used && i < st->n_sessions; i++) {
		st->sessions[i].seq = (st->sessions[i].seq + 1) & ~1u;
		st->sessions[i].in_use = 0;
	}
	st->head->seq = (st->head->seq + 1) & ~1u;
	st->head->sessions = 0;
	st->head->arrivals = 0;
	st->head->servers_idle = 0;
	st->head->pid = 0;
}
