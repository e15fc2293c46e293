/* SPDX-License-Identifier: Apache-2.0 */
#include "server/worker/session_records.h"
#include "io/loop.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static_assert(SESSION_OCTETS == STATS_OCTETS, "a place for each count");
static_assert(VERDICT_COUNT == STATS_VERDICTS, "a place for each verdict");

int session_records_init(struct session_records *r, const struct stats *stats, const struct policy *policy)
{
	uint32_t n = stats->n_sessions;

	r->stats = *stats;
	r->policy = policy;
	r->kept_before = stats->head->servers_kept;
	r->reused_before = stats->head->servers_reused;
	r->free_slots = calloc(n + 1u, sizeof(*r->free_slots));
	if (r->free_slots == NULL)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++)
		r->free_slots[i] = n - 1 - i;
	r->n_free = n;
	return 0;
}

void session_records_release(struct session_records *r)
{
	free(r->free_slots);
	r->free_slots = NULL;
}

void session_records_running(struct session_records *r, pid_t pid)
{
	struct stats_head *head = r->stats.head;

	stats_write_begin(&head->seq);
	head->pid = (uint32_t)pid;
	if (pid != 0)
		head->start_wall_ms = clock_system.wall_ms(&clock_system);
	stats_write_end(&head->seq);
}

void session_records_accepted(struct session_records *r)
{
	stats_write_begin(&r->stats.head->seq);
	r->stats.head->accepted++;
	stats_write_end(&r->stats.head->seq);
}

void session_records_refused(struct session_records *r)
{
	stats_write_begin(&r->stats.head->seq);
	r->stats.head->refused++;
	stats_write_end(&r->stats.head->seq);
}

void session_records_arrivals(struct session_records *r, unsigned n)
{
	if (r->stats.head->arrivals == n)
		return;
	stats_write_begin(&r->stats.head->seq);
	r->stats.head->arrivals = n;
	stats_write_end(&r->stats.head->seq);
}

void session_records_log_dropped(struct session_records *r, uint64_t lines)
{
	stats_write_begin(&r->stats.head->seq);
	r->stats.head->log_dropped = lines;
	stats_write_end(&r->stats.head->seq);
}

void session_records_pool(struct session_records *r, const struct pool_counts *counts)
{
	struct stats_head *head = r->stats.head;

	stats_write_begin(&head->seq);
	head->servers_idle = counts->idle;
	head->servers_kept = r->kept_before + counts->kept;
	head->servers_reused = r->reused_before + counts->reused;
	stats_write_end(&head->seq);
}

static void count_started(struct session_records *r, const struct session *s)
{
	struct stats_service *service = &r->stats.services[s->service->index];
	struct stats_head *head = r->stats.head;

	stats_write_begin(&service->seq);
	service->started = s->number + 1;
	service->last_started_wall_ms = s->start_wall_ms;
	if (++service->running > service->running_max)
		service->running_max = service->running;
	stats_write_end(&service->seq);
	stats_write_begin(&head->seq);
	if (++head->sessions > head->sessions_max)
		head->sessions_max = head->sessions;
	stats_write_end(&head->seq);
}

void session_records_start(struct session_records *r, struct session *s)
{
	struct stats_session *record;
	uint32_t slot;

	count_started(r, s);
	if (r->n_free == 0)
		return;
	slot = r->free_slots[--r->n_free];
	if (slot >= r->stats.head->sessions_used)
		r->stats.head->sessions_used = slot + 1;
	record = &r->stats.sessions[slot];
	stats_write_begin(&record->seq);
	record->in_use = 1;
	record->service = s->service->index;
	record->rule = s->decision.rule != NULL ? s->decision.rule->id : 0;
	record->client_local = s->client_local;
	stats_text(record->id, sizeof(record->id), s->id);
	stats_text(record->proxy, sizeof(record->proxy), s->proxy.type->name);
	stats_text(record->proxy_class, sizeof(record->proxy_class), s->service->proxy->class_name);
	record->start_wall_ms = s->start_wall_ms;
	stats_write_end(&record->seq);
	s->slot = record;
	session_records_update(s);
}

void session_records_update(struct session *s)
{
	struct stats_session *record = s->slot;

	if (record == NULL)
		return;
	stats_write_begin(&record->seq);
	record->client = s->client;		/* XCLIENT */
	record->peer = s->peer;
	stats_text(record->client_from, sizeof(record->client_from), client_from_names[s->client_from]);
	stats_text(record->client_zone, sizeof(record->client_zone),
		   s->decision.src_zone != NULL ? s->decision.src_zone->name : "");
	record->server = s->server;
	record->server_local = s->server_local;
	stats_text(record->server_zone, sizeof(record->server_zone), s->server_zone != NULL ? s->server_zone->name : "");
	stats_text(record->doing, sizeof(record->doing), s->proxy.doing);
	session_octets_now(s, record->octets);
	stats_write_end(&record->seq);
}

void session_records_end(struct session_records *r, struct session *s)
{
	struct stats_service *service = &r->stats.services[s->service->index];
	struct stats_session *record = s->slot;

	stats_write_begin(&service->seq);
	service->running--;
	service->verdicts[s->verdict]++;
	for (unsigned i = 0; i < STATS_OCTETS; i++)
		service->octets[i] += s->octets[i];
	stats_write_end(&service->seq);
	stats_write_begin(&r->stats.head->seq);
	r->stats.head->sessions--;
	stats_write_end(&r->stats.head->seq);
	if (record == NULL)
		return;
	stats_write_begin(&record->seq);
	record->in_use = 0;
	stats_write_end(&record->seq);
	r->free_slots[r->n_free++] = (uint32_t)(record - r->stats.sessions);
	s->slot = NULL;
}
