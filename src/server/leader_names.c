/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host names of the policy's zones, as the leader has to do with them: it says which ones there are, waits a
 * moment for their addresses before it goes on, hands each snapshot to the workers, and makes the kernel's
 * part of the policy anew when zones have other members.
 */
#include "base/log.h"
#include "policy/names.h"
#include "server/leader.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define FIRST_ANSWERS_MS 5000
#define SNAPSHOT_ARENA_MAX (64u << 20)
#define NOSESSION slice_cstr("nosession")

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* All hosts of the policy, ascending, each once, as records without addresses. */
static int collect(const struct policy *policy, struct arena *arena, struct names_snapshot *out)
{
	const char **names = arena_array(arena, policy->n_hostnames, sizeof(*names));
	struct host_record *hosts = arena_array(arena, policy->n_hostnames, sizeof(*hosts));
	size_t n = 0, kept = 0;

	if (names == NULL || hosts == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < policy->n_zones; i++)
		for (size_t k = 0; k < policy->zones[i].n_hostnames; k++)
			names[n++] = policy->zones[i].hostnames[k];
	qsort(names, n, sizeof(*names), by_name);
	for (size_t i = 0; i < n; i++)
		if (i == 0 || strcmp(names[i - 1], names[i]) != 0)
			hosts[kept++].name = slice_cstr(names[i]);
	*out = (struct names_snapshot){ hosts, kept };
	return 0;
}

static int tell_wish(struct leader *l)
{
	struct arena *arena = arena_create(SNAPSHOT_ARENA_MAX, 0);
	struct buffer octets = BUFFER_INIT(SNAPSHOT_OCTETS_MAX);
	struct message m = { .type = MSG_NAMES, .n_fds = 1 };
	struct names_snapshot hosts;
	int err = arena != NULL ? collect(l->policy, arena, &hosts) : -ENOMEM;

	if (err == 0) {
		names_pack(&hosts, &octets);
		m.fds[0] = octets.broken ? -ENOMEM : message_file(buffer_slice(&octets));
		err = m.fds[0] < 0 ? m.fds[0] : 0;
	}
	if (err == 0) {
		leader_tell_supervisor(l, &m);
		close(m.fds[0]);
	}
	buffer_release(&octets);
	arena_free(&arena);
	return err;
}

/* ---- snapshots ---- */

static bool is_conflict_of(const struct zone_conflict *all, size_t n, const struct zone_conflict *one)
{
	for (size_t i = 0; i < n; i++)
		if (ip_equal(&all[i].ip, &one->ip))
			return true;
	return false;
}

static void log_conflicts(const struct zone_names *of, const struct zone_names *without, const char *what)
{
	size_t n, m;
	const struct zone_conflict *all = zone_names_conflicts(of, &n), *known = zone_names_conflicts(without, &m);
	char ip[IP_TEXT_MAX];

	for (size_t i = 0; i < n; i++)
		if (!is_conflict_of(known, m, &all[i]))
			log_event(LOG_CORE_ERROR, 1, NOSESSION, what, F_TEXT("address", ip_text(&all[i].ip, ip)),
				  F_TEXT("zone", all[i].a->name), F_TEXT("other_zone", all[i].b->name));
}

/* Which of the policy's hosts nothing is known of yet. */
static size_t count_pending(const struct policy *policy, const struct names_snapshot *s)
{
	size_t n = 0;

	for (size_t i = 0; i < policy->n_zones; i++)
		for (size_t k = 0; k < policy->zones[i].n_hostnames; k++) {
			const struct host_record *h = names_find(s, slice_cstr(policy->zones[i].hostnames[k]));

			n += h == NULL || h->state == HOST_PENDING;
		}
	return n;
}

static void update_plan(struct leader *l)
{
	struct message m = { .type = MSG_PLAN_CHANGED, .n_fds = 1 };

	if (!l->setup->kernel || l->phase == LEADER_DRAINING)
		return;
	m.fds[0] = leader_plan_again(l);
	if (m.fds[0] < 0) {
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "The kernel rules stay behind the addresses of host names",
			  F_TEXT("error", strerror(-m.fds[0])));
		return;
	}
	leader_tell_supervisor(l, &m);
	close(m.fds[0]);
}

static int read_snapshot(struct leader *l, int fd, struct zone_names **out)
{
	struct arena *arena = arena_create(SNAPSHOT_ARENA_MAX, 0);
	struct names_snapshot snapshot;
	uint8_t *octets = NULL;
	size_t len;
	int err = arena != NULL ? message_file_read(fd, SNAPSHOT_OCTETS_MAX, &octets, &len) : -ENOMEM;

	if (err == 0)
		err = names_unpack(slice_of(octets, len), arena, &snapshot);
	if (err == 0)
		err = zone_names_make(l->policy, &snapshot, out);
	if (err == 0)
		l->names_pending = count_pending(l->policy, &snapshot);
	free(octets);
	arena_free(&arena);
	return err;
}

void leader_names_take(struct leader *l, const struct message *m)
{
	struct zone_names *before = l->names, *now;
	bool changed;
	int err;

	if (l->policy == NULL || l->policy->n_hostnames == 0 || m->n_fds != 1)
		return;
	err = read_snapshot(l, m->fds[0], &now);
	if (err != 0) {
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "Addresses of host names are of no use; what was known stays",
			  F_TEXT("error", strerror(-err)));
		return;
	}
	log_conflicts(now, before, "An address is in two zones by their host names: it is in neither until that ends");
	log_conflicts(before, now, "An address is no longer in two zones by their host names");
	changed = !zone_names_equal(before, now);
	l->names = now;
	zone_names_free(&before);
	if (!changed || l->workers == NULL)
		return;
	leader_workers_tell(l, m);
	update_plan(l);
}

/* ---- at load ---- */

int leader_names_load(struct leader *l)
{
	int64_t end_ms = poller_now() + FIRST_ANSWERS_MS, left;
	int err;

	if (l->policy->n_hostnames == 0)
		return 0;
	l->names_pending = l->policy->n_hostnames;
	err = tell_wish(l);
	while (err == 0 && l->names_pending > 0 && (left = end_ms - poller_now()) > 0) {
		struct pollfd polled = { .fd = l->setup->supervisor, .events = POLLIN };

		if (poll(&polled, 1, (int)left) == 1)
			leader_hear_supervisor(l);
	}
	if (err == 0 && l->names_pending > 0)
		log_event(LOG_CORE_ERROR, 1, NOSESSION, "Host names of zones are not resolved yet; they have no addresses until they are",
			  F_INT("names", l->names_pending));
	return err;
}
