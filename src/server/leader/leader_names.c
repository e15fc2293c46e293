/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host names of the policy's zones, as the leader has to do with them: it says which ones there are, waits a
 * moment for their addresses before it goes on, hands each snapshot to the workers, and makes the kernel's
 * part of the policy anew when zones have other members.
 */
#include "base/log.h"
#include "policy/names.h"
#include "server/leader/leader.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define FIRST_ANSWERS_MS 5000
#define RETRY_MS 5000			/* after there was no memory */
#define PLAN_PAUSE_MS 500		/* from one plan to the next, at least */
#define PLAN_TIMES 4			/* and so many times what it took */
#define PLAN_RETRY_MS 30000		/* of one that can't be made of these addresses */
#define CONFLICT_LINES_MAX 20
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

/* ---- what is known ---- */

static bool have_address(const struct zone_conflict *sorted, size_t n, const struct ip_addr *ip, size_t *at)
{
	while (*at < n && memcmp(&sorted[*at].ip, ip, sizeof(*ip)) < 0)
		++*at;
	return *at < n && ip_equal(&sorted[*at].ip, ip);
}

/* Those of one that the other has not; both ascend. However many there are, it is some lines only. */
static void log_conflicts(const struct zone_names *of, const struct zone_names *without, const char *what)
{
	size_t n, m, at = 0, told = 0;
	const struct zone_conflict *all = zone_names_conflicts(of, &n), *known = zone_names_conflicts(without, &m);
	char ip[IP_TEXT_MAX];

	for (size_t i = 0; i < n; i++) {
		if (have_address(known, m, &all[i].ip, &at))
			continue;
		if (++told <= CONFLICT_LINES_MAX)
			log_event(LOG_CORE_ERROR, 1, NOSESSION, what, F_TEXT("address", ip_text(&all[i].ip, ip)),
				  F_TEXT("zone", all[i].a->name), F_TEXT("other_zone", all[i].b->name));
	}
	if (told > CONFLICT_LINES_MAX)
		log_event(LOG_CORE_ERROR, 1, NOSESSION, "And others of the same kind", F_TEXT("kind", what),
			  F_INT("addresses", told - CONFLICT_LINES_MAX));
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

/* ---- the kernel's part ---- */

static void plan(void *arg)
{
	struct leader *l = arg;
	struct message m = { .type = MSG_PLAN_CHANGED, .n_fds = 1 };

	if (l->phase == LEADER_DRAINING)
		return;
	pace_begin(&l->planning, poller_now());
	m.fds[0] = leader_plan_again(l);
	pace_end(&l->planning, poller_now());
	if (m.fds[0] < 0) {
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "The kernel rules stay behind the addresses of host names",
			  F_TEXT("error", strerror(-m.fds[0])), F_INT("again_in_s", PLAN_RETRY_MS / 1000));
		poller_timer_set(&l->poller, &l->plan_again, PLAN_RETRY_MS);
		return;
	}
	leader_tell_supervisor(l, &m);
	close(m.fds[0]);
}

/* Made when it may be, of what is known then: in a large policy a plan takes its time, and names with short TTLs change all the time. */
static void plan_soon(struct leader *l)
{
	int64_t now = poller_now(), wait_ms;

	if (!l->setup->kernel)
		return;
	l->planning.pause_ms = PLAN_PAUSE_MS;
	l->planning.times = PLAN_TIMES;
	l->plan_again.fn = plan;
	l->plan_again.arg = l;
	wait_ms = pace_wait(&l->planning, now);
	if (l->plan_again.at_ms == 0 || l->plan_again.at_ms > now + wait_ms)
		poller_timer_set(&l->poller, &l->plan_again, wait_ms);
}

/* ---- the workers' part ---- */

static void tell_members(struct leader *l)
{
	struct buffer octets = BUFFER_INIT(MEMBERS_OCTETS_MAX);
	struct message m = { .type = MSG_MEMBERS, .n_fds = 1 };

	zone_names_pack(l->names, &octets);
	m.fds[0] = octets.broken ? -ENOMEM : message_file(buffer_slice(&octets));
	buffer_release(&octets);
	l->members_owed = m.fds[0] < 0;
	if (l->members_owed) {
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "The workers stay behind the addresses of host names; they are told later",
			  F_TEXT("error", strerror(-m.fds[0])));
		poller_timer_set(&l->poller, &l->names_again, RETRY_MS);
		return;
	}
	leader_workers_tell(l, &m);
	close(m.fds[0]);
}

/* ---- snapshots ---- */

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
		err = zone_names_make(l->policy, &snapshot, l->names, out);
	if (err == 0)
		l->names_pending = count_pending(l->policy, &snapshot);
	free(octets);
	arena_free(&arena);
	return err;
}

static void look_at_snapshot(struct leader *l)
{
	struct zone_names *before = l->names, *now;
	int err = read_snapshot(l, l->snapshot, &now);
	bool again = err == -ENOMEM;

	if (!again) {
		close(l->snapshot);
		l->snapshot = -1;
	}
	if (err != 0) {
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "Addresses of host names are of no use; what was known stays",
			  F_TEXT("error", strerror(-err)));
		if (again)
			poller_timer_set(&l->poller, &l->names_again, RETRY_MS);
		return;
	}
	log_conflicts(now, before, "An address is in two zones by their host names: it is in neither until that ends");
	log_conflicts(before, now, "An address is no longer in two zones by their host names");
	l->names = now;
	if (l->workers != NULL && !zone_names_equal(before, now)) {
		l->members_owed = true;
		plan_soon(l);
	}
	zone_names_free(&before);
}

static void look(void *arg)
{
	struct leader *l = arg;

	if (l->snapshot >= 0)
		look_at_snapshot(l);
	if (l->members_owed)
		tell_members(l);
}

/* The newest one counts, whatever came before it and was not looked at. */
void leader_names_take(struct leader *l, struct message *m)
{
	if (l->policy == NULL || l->policy->n_hostnames == 0 || m->n_fds != 1)
		return;
	if (l->snapshot >= 0)
		close(l->snapshot);
	l->snapshot = m->fds[0];
	m->n_fds = 0;
	l->names_again.fn = look;
	l->names_again.arg = l;
	if (l->workers == NULL)
		look(l);
	else
		poller_timer_set(&l->poller, &l->names_again, 0);
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
			(void)leader_hear_supervisor(l);
	}
	if (err == 0 && l->names_pending > 0)
		log_event(LOG_CORE_ERROR, 1, NOSESSION, "Host names of zones are not resolved yet; they have no addresses until they are",
			  F_INT("names", l->names_pending));
	return err;
}
