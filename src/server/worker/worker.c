/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a worker does besides its sessions: accept when it may, obey its leader, show its state.
 * It has no way to end sessions of others, and nothing of what it holds outlives it: when it
 * dies, its sessions die, and the listening sockets stay with everybody else.
 */
#include "server/worker/worker.h"
#include "base/log.h"
#include "io/co.h"
#include "io/listener.h"
#include "io/loop.h"
#include "kernel/plan.h"
#include "server/interfaces.h"
#include "server/worker/session_records.h"
#include "server/worker/worker_host.h"
#include "server/worker/worker_names.h"
#include "server/worker/worker_tls.h"
#include "session/asker.h"
#include "session/pool.h"
#include "session/session.h"

#include <errno.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SESSION_ARENA_MAX (4u << 20)	/* octets that one session may use */
#define REFRESH_MS 1000			/* how old what is shown of running sessions may be */
#define LOG_FINISH_MS 200		/* at the end, for the last lines to be read */
#define FDS_A_SESSION 2u		/* client, server; pipes of the relay come from a bounded pool */
#define FDS_OTHER (192u + POOL_MAX)

struct worker_listener {
	struct worker *worker;
	struct listener *listener;
	struct endpoint at;
	bool transparent;
	int fd;
};

struct worker {
	const struct worker_setup *setup;
	struct session_env env;
	struct session_records records;
	struct loop *loop;
	struct worker_host *host;		/* NULL: the policy needs none */
	struct worker_tls tls;
	struct asker *asker;
	struct worker_names names;
	struct interfaces *interfaces;		/* NULL: no rule looks at interfaces */
	struct loop_watch leader;
	struct message_room room;
	struct worker_listener *listeners;
	uint64_t *numbers;
	struct loop_timer refresh, drain_limit, drain_check;
	unsigned sessions_max;
	bool accepting;				/* told so */
	bool full;				/* no room for another session: listeners are disarmed */
	bool draining, canceled;
	char slot_name[16];
};

#define WORKER_OF(pointer, member) ((struct worker *)((char *)(pointer) - offsetof(struct worker, member)))

/* At once, whatever the sessions do; what they logged goes first. */
static _Noreturn void quit(int status)
{
	(void)log_finish(LOG_FINISH_MS);
	_exit(status);
}

/* A timer that can't be set would be a drain without end, or numbers that stand still. */
static void set_timer(struct worker *w, struct loop_timer *timer, int64_t in_ms)
{
	if (loop_timer_set(w->loop, timer, loop_now(w->loop) + in_ms) == 0)
		return;
	log_event(LOG_CORE_ERROR, 0, slice_cstr("nosession"), "A worker is out of memory");
	quit(1);
}

/* ---- accepting ---- */

static void disarm(struct worker *w)
{
	for (size_t i = 0; i < w->setup->n_listeners; i++)
		if (w->listeners[i].listener != NULL)
			listener_disarm(w->listeners[i].listener);
}

static void arm(struct worker *w)
{
	for (size_t i = 0; i < w->setup->n_listeners; i++)
		listener_arm(w->listeners[i].listener);
}

/* Sessions, and those that may become some. */
static unsigned connections(const struct worker *w)
{
	return w->env.sessions.n + w->env.arrivals.n;
}

/* The original destination, which the listener knows unless it is transparent or for any address. */
static int local_endpoint(const struct worker_listener *l, int fd, struct endpoint *out)
{
	static const struct ip_addr any = { 0 };
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	if (!l->transparent && memcmp(l->at.ip.octets, any.octets, sizeof(any.octets)) != 0) {
		*out = l->at;
		return 0;
	}
	if (getsockname(fd, (struct sockaddr *)&sa, &len) != 0)
		return -errno;
	return endpoint_from_sockaddr(&sa, out);
}

static void on_connection(void *arg, int fd, const struct endpoint *peer)
{
	struct worker_listener *l = arg;
	struct worker *w = l->worker;
	struct flow flow = { .protocol = 6, .src = *peer, .ifgroup = -1, .dst_ifgroup = -1, .reqid = -1,
			     .icmp_type = -1, .icmp_code = -1 };

	session_records_accepted(&w->records);
	if (local_endpoint(l, fd, &flow.dst) != 0) {	/* gone already */
		session_records_refused(&w->records);
		close(fd);
		return;
	}
	/* Whoever reaches a transparent listener by its own address was not sent by the rules. */
	if (l->transparent && endpoint_equal(&flow.dst, &l->at)) {
		char text[ENDPOINT_TEXT_MAX];

		log_event(LOG_CORE_POLICY, 1, slice_cstr("nosession"), "Connection to the listener itself refused",
			  F_TEXT("client_address", endpoint_log_text(peer, text)));
		session_records_refused(&w->records);
		close(fd);
		return;
	}
	if (w->interfaces != NULL)
		interfaces_of_connection(w->interfaces, fd, &flow);
	if (session_start(&w->env, fd, &flow) != 0)
		session_records_refused(&w->records);
	session_records_arrivals(&w->records, w->env.arrivals.n);
	if (connections(w) >= w->sessions_max && !w->full) {
		w->full = true;
		disarm(w);
		log_event(LOG_CORE_ERROR, 1, slice_cstr("nosession"), "No room for more sessions in this worker",
			  F_INT("sessions", w->env.sessions.n));
	}
}

/* ---- what the environment of sessions tells ---- */

static void on_start(struct session_env *env, struct session *s)
{
	struct worker *w = env->owner;

	session_records_start(&w->records, s);
	session_records_arrivals(&w->records, w->env.arrivals.n);
	if (w->refresh.node.place == 0)
		set_timer(w, &w->refresh, REFRESH_MS);
}

static void on_change(struct session_env *env, struct session *s)
{
	session_records_update(s);
}

static void one_less(struct worker *w)
{
	if (w->draining)		/* a session is still in the list: look again in the next turn */
		set_timer(w, &w->drain_check, 0);
	if (w->full) {
		w->full = false;
		if (w->accepting)
			arm(w);
	}
}

static void on_end(struct session_env *env, struct session *s)
{
	struct worker *w = env->owner;

	session_records_end(&w->records, s);
	one_less(w);
}

static void on_refused(struct session_env *env)
{
	struct worker *w = env->owner;

	session_records_refused(&w->records);
	session_records_arrivals(&w->records, w->env.arrivals.n);
	one_less(w);
}

static void on_refresh(struct loop_timer *timer)
{
	struct worker *w = WORKER_OF(timer, refresh);

	LIST_EACH(s, &w->env.sessions, struct session, place)
		session_records_update(s);
	session_records_log_dropped(&w->records, log_dropped());
	if (w->env.sessions.n > 0)
		set_timer(w, &w->refresh, REFRESH_MS);
}

static void on_pool_change(void *arg)
{
	struct worker *w = arg;

	session_records_pool(&w->records, pool_counts(w->env.pool));
}

/* ---- the end ---- */

static void check_drained(struct loop_timer *timer)
{
	struct worker *w = WORKER_OF(timer, drain_check);

	if (connections(w) == 0)
		loop_stop(w->loop);
}

static void on_drain_limit(struct loop_timer *timer)
{
	struct worker *w = WORKER_OF(timer, drain_limit);

	if (w->canceled) {		/* somebody does not unwind: the process ends all the same */
		log_event(LOG_CORE_ERROR, 0, slice_cstr("nosession"), "Sessions did not end",
			  F_INT("sessions", w->env.sessions.n));
		LIST_EACH(s, &w->env.sessions, struct session, place)
			session_record_lost(s);
		quit(1);
	}
	w->canceled = true;
	LIST_EACH(s, &w->env.sessions, struct session, place)
		session_stop(s, true);
	session_stop_arrivals(&w->env);
	set_timer(w, &w->drain_limit, WORKER_CANCEL_GRACE_MS);
}

static void close_listeners(struct worker *w)
{
	for (size_t i = 0; i < w->setup->n_listeners; i++) {
		listener_free(&w->listeners[i].listener);
		if (w->listeners[i].fd >= 0)
			close(w->listeners[i].fd);
		w->listeners[i].fd = -1;
	}
}

static void drain(struct worker *w, int64_t limit_ms, bool ask_to_end)
{
	w->accepting = false;
	if (!w->draining)
		close_listeners(w);
	pool_shut(w->env.pool);
	w->draining = true;
	if (limit_ms < 0 || limit_ms > DRAIN_MAX_S * 1000LL)
		limit_ms = DRAIN_MAX_S * 1000LL;
	if (ask_to_end) {
		LIST_EACH(s, &w->env.sessions, struct session, place)
			session_stop(s, false);
		session_stop_arrivals(&w->env);
	}
	set_timer(w, &w->drain_limit, limit_ms);
	set_timer(w, &w->drain_check, 0);
}

/* ---- the leader ---- */

static void tell(struct worker *w, enum message_type type, uint32_t number, int64_t value)
{
	if (message_send_simple(w->leader.fd, type, w->setup->slot, number, value) != 0)
		quit(1);	/* a leader that does not listen is none */
}

static void inherit(struct worker *w, struct message *m)
{
	struct stats from;

	if (m->n_fds != 1 || stats_open(&from, m->fds[0]) != 0)
		return;
	stats_inherit(&w->records.stats, &from);
	m->n_fds = 0;
	stats_close(&from);
	for (size_t i = 0; i < w->setup->policy->n_services; i++)
		w->numbers[i] = w->setup->stats.services[i].started;
}

static void stop_session(struct worker *w, const struct message *m)
{
	bool found = false;

	LIST_EACH(s, &w->env.sessions, struct session, place)
		if (slice_is(m->body, s->id)) {
			session_stop(s, true);
			found = true;
		}
	tell(w, MSG_SESSION_STOPPED, m->number, found);
}

static void set_log(struct worker *w, const struct message *m)
{
	char spec[1024];

	if (slice_to_cstr(m->body, spec, sizeof(spec)) == 0)
		(void)log_set_spec((int)m->number, spec, NULL);
	worker_host_log_changed(w->host);
}

/* ---- the lookout ---- */

static void want_lookout(void *arg)
{
	tell(arg, MSG_LOOKOUT_WANTED, 0, 0);
}

static void connect_asker(struct worker *w, struct message *m)
{
	int err;

	if (m->n_fds != 1)
		return;
	err = asker_connect(w->asker, m->fds[0]);
	m->n_fds = 0;
	if (err != 0)
		log_event(LOG_CORE_ERROR, 1, slice_cstr("nosession"), "A worker has no connection to the lookout",
			  F_INT("slot", w->setup->slot), F_TEXT("error", strerror(-err)));
}

static void obey(struct worker *w, struct message *m)
{
	switch (m->type) {
	case MSG_INHERIT:
		inherit(w, m);
		break;
	case MSG_ACCEPT:
		w->accepting = true;
		if (!w->full)
			arm(w);
		tell(w, MSG_ACCEPTING, 0, 0);
		break;
	case MSG_PAUSE:
		w->accepting = false;
		disarm(w);
		tell(w, MSG_PAUSED, 0, 0);
		break;
	case MSG_DRAIN:
		drain(w, m->value, m->number == 1);
		break;
	case MSG_STOP_SESSION:
		stop_session(w, m);
		break;
	case MSG_LOG:
		set_log(w, m);
		break;
	case MSG_HOST_FDS:
		worker_host_connect(w->host, m);
		break;
	case MSG_KEYS:
		worker_tls_connect(&w->tls, m);
		break;
	case MSG_KEEPER_UPDATE:
		worker_tls_update(&w->tls, m);
		break;
	case MSG_KEEPER_TRUST:
		worker_tls_believe(&w->tls, m);
		break;
	case MSG_MEMBERS:
		worker_names_take(&w->names, m);
		break;
	case MSG_LOOKOUT:
		connect_asker(w, m);
		break;
	case MSG_QUIT:
		quit(0);
	default:
		break;
	}
}

static void on_leader(struct loop_watch *watch)
{
	struct worker *w = WORKER_OF(watch, leader);
	struct message m;

	for (;;) {
		int n = message_receive(watch->fd, &m, &w->room);

		if (n == -EAGAIN)
			break;
		if (n <= 0)
			quit(1);	/* without its leader nobody would ever tell it to end */
		obey(w, &m);
		message_close_fds(&m);
	}
	watch->ready &= ~LOOP_READ;
}

/* ---- start ---- */

static unsigned sessions_limit(const struct worker_setup *setup)
{
	struct rlimit limit = { 1024, 1024 };
	rlim_t fds;

	(void)getrlimit(RLIMIT_NOFILE, &limit);
	fds = limit.rlim_cur > FDS_OTHER + setup->n_listeners ? limit.rlim_cur - FDS_OTHER - setup->n_listeners : 16;
	fds /= FDS_A_SESSION;
	return fds < setup->stats.n_sessions ? (unsigned)fds : setup->stats.n_sessions;
}

static int create_listeners(struct worker *w)
{
	const struct worker_setup *setup = w->setup;

	w->listeners = calloc(setup->n_listeners + 1, sizeof(*w->listeners));
	if (w->listeners == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < setup->n_listeners; i++) {
		struct worker_listener *l = &w->listeners[i];

		l->worker = w;
		l->at = setup->listeners[i].at;
		l->transparent = setup->listeners[i].transparent;
		l->fd = setup->listener_fds[i];
		l->listener = listener_create(w->loop, l->fd, on_connection, l);
		if (l->listener == NULL)
			return -errno;
	}
	return 0;
}

static int prepare(struct worker *w)
{
	const struct worker_setup *setup = w->setup;
	int err;

	w->loop = loop_create(&clock_system);
	w->numbers = calloc(setup->policy->n_services + 1, sizeof(*w->numbers));
	w->env.pool = w->loop != NULL ? pool_create(w->loop) : NULL;
	w->asker = w->loop != NULL ? asker_create(w->loop, want_lookout, w) : NULL;
	if (w->env.pool == NULL || w->numbers == NULL || w->asker == NULL)
		return -ENOMEM;
	err = co_report_overflow();
	if (err != 0)
		return err;
	for (size_t i = 0; i < setup->policy->n_services; i++)
		w->numbers[i] = setup->stats.services[i].started;
	if (interfaces_needed(setup->policy))
		w->interfaces = interfaces_create();
	w->env = (struct session_env){
		.loop = w->loop,
		.policy = setup->policy,
		.tls = setup->tls,
		.connector = &connector_kernel,
		.slot = w->slot_name,
		.next_number = w->numbers,
		.can_forge = setup->can_forge,
		.forged_mark = setup->can_forge ? KERNEL_FORGED_MARK : 0,
		.pool = w->env.pool,
		.asker = w->asker,
		.session_arena_max = SESSION_ARENA_MAX,
		.callback_timeout_ms = WORKER_CALLBACK_TIMEOUT_MS,
		.on_refused = on_refused,
		.on_start = on_start,
		.on_change = on_change,
		.on_end = on_end,
		.owner = w,
		.service_sessions = setup->service_sessions,
		.counters = setup->stats.counters,
	};
	err = session_records_init(&w->records, &setup->stats, setup->policy);
	if (err != 0)
		return err;
	pool_on_change(w->env.pool, on_pool_change, w);
	err = worker_host_create(w->loop, setup->policy, setup->leader, setup->slot, WORKER_CALLBACK_TIMEOUT_MS, &w->host);
	if (err != 0)
		return err;
	w->env.host = worker_host_port(w->host);
	w->tls = (struct worker_tls){ .loop = w->loop, .tls = setup->tls, .keys = setup->tls_keys,
				      .leader = setup->leader, .slot = setup->slot };
	err = worker_tls_start(&w->tls);
	if (err != 0)
		return err;
	worker_names_start(&w->names, w->loop, setup->policy, setup->names, &w->env.names);
	w->sessions_max = sessions_limit(setup);
	w->leader.fd = setup->leader;
	w->leader.on_ready = on_leader;
	w->refresh.on_expire = on_refresh;
	w->drain_limit.on_expire = on_drain_limit;
	w->drain_check.on_expire = check_drained;
	err = create_listeners(w);
	return err != 0 ? err : loop_watch_add(w->loop, &w->leader);
}

static void release(struct worker *w)
{
	loop_timer_clear(w->loop, &w->refresh);
	loop_timer_clear(w->loop, &w->drain_limit);
	loop_timer_clear(w->loop, &w->drain_check);
	loop_watch_remove(w->loop, &w->leader);
	close_listeners(w);
	refusals_finish(&w->env.refusals);
	pool_free(&w->env.pool);
	worker_host_free(&w->host);
	asker_free(&w->asker);
	worker_tls_stop(&w->tls);
	worker_names_stop(&w->names);
	session_records_release(&w->records);
	interfaces_free(&w->interfaces);
	loop_free(&w->loop);
	free(w->listeners);
	free(w->numbers);
}

/*
 * Whoever wakes a worker mostly has more for it at once. On a processor that both want, a worker that
 * interrupted for each message would switch twice for it; so it waits until the other has finished or
 * used up its slice (some milliseconds), and then finds all of it. Where a processor is free nothing changes.
 */
static void prefer_full_turns(void)
{
	const struct sched_param none = { 0 };

	if (sched_getscheduler(0) == SCHED_OTHER)	/* else the administrator chose */
		(void)sched_setscheduler(0, SCHED_BATCH, &none);
}

int worker_run(const struct worker_setup *setup)
{
	struct worker *w = calloc(1, sizeof(*w));
	int err;

	if (w == NULL)
		return 1;
	prefer_full_turns();
	w->setup = setup;
	snprintf(w->slot_name, sizeof(w->slot_name), "#%u", setup->slot);
	err = prepare(w);
	if (err != 0) {
		log_event(LOG_CORE_ERROR, 0, slice_cstr("nosession"), "A worker cannot start",
			  F_TEXT("error", strerror(-err)));
		(void)log_finish(LOG_FINISH_MS);
		return 1;
	}
	session_records_running(&w->records, getpid());
	tell(w, MSG_READY, (uint32_t)getpid(), 0);
	loop_run(w->loop);
	session_records_running(&w->records, 0);
	release(w);
	free(w);
	(void)log_finish(LOG_FINISH_MS);
	return 0;
}
