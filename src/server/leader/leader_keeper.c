/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The leader's keeper, the process with the private keys: started before the workers, waited for
 * once, started again when it ends. The leader itself has the public halves alone: of what the
 * keeper reads it knows no more than the keeper tells.
 */
#include "base/log.h"
#include "server/keeper/certificate_records.h"
#include "server/keeper/keeper.h"
#include "server/leader/leader.h"
#include "server/privileges.h"
#include "tls/keys_kept.h"
#include "tls/update.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LOAD_LIMIT_MS 60000		/* of all keys; passphrases are made to take their time */
#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 10000
#define HEALTHY_MS 10000		/* a keeper, or a worker's connection, that lived so long is replaced at once */
#define RECONNECT_MS 1000
#define PROBLEMS_ARENA_MAX (4u << 20)
#define NOSESSION slice_cstr("nosession")

struct leader_keeper {
	struct leader *leader;
	pid_t pid;			/* 0 = not running */
	int sock;
	int certificates;		/* what is shown of them, for each keeper; -1 = there are none */
	bool loaded;
	int64_t started_ms, backoff_ms;
	struct poller_timer restart;
};

static bool is_needed(const struct policy *policy)
{
	return policy->n_encryptions > 0;
}

/* ---- its process ---- */

static int be_keeper(const struct leader_keeper *k, int sock, pid_t leader_pid)
{
	const struct leader *l = k->leader;
	const struct keeper_setup setup = {
		.policy = l->policy, .leader = sock, .secrets = l->secrets, .give = l->policy->keys_in_workers,
		.again = l->tls != NULL, .certificates = k->certificates,
	};
	sigset_t none;

	privileges_die_with(leader_pid);
	explicit_bzero(l->setup->ratchet, sizeof(*l->setup->ratchet));
	if (privileges_reduce(0) != 0)
		return 1;
	privileges_close_others((const int[]){ sock, l->secrets, k->certificates }, 3);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	return keeper_run(&setup);
}

static int start(struct leader_keeper *k)
{
	pid_t self = getpid(), pid;
	int pair[2], err = message_pair(pair);

	if (err != 0)
		return err;
	pid = fork();
	if (pid == 0)
		_exit(be_keeper(k, pair[1], self));
	err = pid < 0 ? -errno : 0;
	close(pair[1]);
	if (err != 0) {
		close(pair[0]);
		return err;
	}
	k->pid = pid;
	k->sock = pair[0];
	k->loaded = false;
	k->started_ms = poller_now();
	return 0;
}

static int64_t grow(int64_t backoff_ms)
{
	if (backoff_ms == 0)
		return BACKOFF_FIRST_MS;
	return backoff_ms * 2 < BACKOFF_MAX_MS ? backoff_ms * 2 : BACKOFF_MAX_MS;
}

static void restart(void *arg);

static void schedule_restart(struct leader_keeper *k)
{
	k->backoff_ms = poller_now() - k->started_ms >= HEALTHY_MS ? BACKOFF_FIRST_MS : grow(k->backoff_ms);
	k->restart.fn = restart;
	k->restart.arg = k;
	poller_timer_set(&k->leader->poller, &k->restart, k->backoff_ms);
}

static void lost(struct leader_keeper *k, const char *why)
{
	if (k->pid == 0)
		return;
	log_event(LOG_CORE_ERROR, 0, NOSESSION, "The keeper of the private keys ended; handshakes fail until there is another",
		  F_INT("pid", k->pid), F_TEXT("reason", why));
	kill(k->pid, SIGKILL);		/* SIGCHLD reaps it */
	k->pid = 0;
	k->loaded = false;
	poller_remove(&k->leader->poller, k->sock);
	close(k->sock);
	k->sock = -1;
	schedule_restart(k);
}

/* ---- workers' connections ---- */

static void connect_again(void *arg)
{
	leader_keeper_connect(arg);
}

void leader_keeper_connect(struct leader_worker *w)
{
	struct leader_keeper *k = w->leader->keeper;
	struct message m = { .type = MSG_KEEPER_PEER, .slot = w->slot, .n_fds = 1 };
	int pair[2];

	if (k == NULL || !k->loaded || w->pid == 0)
		return;
	if (message_pair(pair) != 0) {
		w->keys_again.fn = connect_again;
		w->keys_again.arg = w;
		poller_timer_set(&w->leader->poller, &w->keys_again, RECONNECT_MS);
		return;
	}
	w->keys_ms = poller_now();
	m.fds[0] = pair[0];
	if (message_send(k->sock, &m) != 0) {
		lost(k, "it does not take a worker's connection");
	} else {
		m.type = MSG_KEYS;
		m.fds[0] = pair[1];
		if (message_send(w->sock, &m) != 0)
			kill(w->pid, SIGKILL);
	}
	close(pair[0]);
	close(pair[1]);
}

/* One whose connection breaks as soon as it has it must not keep us busy. */
void leader_keeper_wanted(struct leader_worker *w)
{
	int64_t lived_ms = poller_now() - w->keys_ms;

	if (lived_ms >= RECONNECT_MS) {
		leader_keeper_connect(w);
		return;
	}
	w->keys_again.fn = connect_again;
	w->keys_again.arg = w;
	poller_timer_set(&w->leader->poller, &w->keys_again, RECONNECT_MS - lived_ms);
}

static void connect_all(struct leader *l)
{
	for (unsigned i = 0; l->workers != NULL && i < l->setup->options->workers; i++)
		leader_keeper_connect(&l->workers[i]);
}

/* ---- what it says ---- */

static const char *file_of(const struct policy *policy, const struct keeper_record *record)
{
	const struct encryption *e;

	switch (record->kind) {
	case KEEPER_CHAIN:
		return policy->tls_certificates[record->index].file;
	case KEEPER_OCSP:
		e = &policy->encryptions[record->index / TLS_ENDS];
		return e->sides[record->index % TLS_ENDS].options.ocsp_file;
	case KEEPER_TRUST:
		return policy->encryptions[record->index / TLS_ENDS].name;
	default:
		return NULL;
	}
}

static void tell_what_is_in_use(const struct policy *policy, struct slice records)
{
	static const char *const words[KEEPER_KINDS] = {
		[KEEPER_CHAIN] = "A changed certificate is in use", [KEEPER_OCSP] = "A changed OCSP response is in use",
		[KEEPER_TRUST] = "Changed CAs, CRLs or pinned certificates are in use",
	};
	struct keeper_record record;

	while (keeper_record_next(&records, &record) == 1) {
		const char *file = file_of(policy, &record);

		if (record.kind == KEEPER_ERROR)
			log_event(LOG_CORE_ERROR, 0, NOSESSION, "A private key can't be loaded again; handshakes with it fail",
				  F_OCTETS("reason", record.parts[0]), F_OCTETS("hint", record.parts[1]));
		if (words[record.kind] != NULL)
			log_event(LOG_CORE_INFO, 2, NOSESSION, words[record.kind],
				  F_TEXT(record.kind == KEEPER_TRUST ? "encryption" : "file", file != NULL ? file : ""));
	}
}

/* Another keeper read the files as they are now, which may be in the middle of a change. */
static void tell_what_has_no_key(const struct leader *l, struct slice records)
{
	for (uint32_t i = 0; i < l->policy->n_tls_certificates && !l->policy->keys_in_workers; i++) {
		const struct tls_certificate *c = &l->policy->tls_certificates[i];

		if (!tls_has_key(l->tls, l->tls_keys, records, i))
			log_event(LOG_CORE_ERROR, 0, NOSESSION,
				  "A certificate has no key now; handshakes with it fail until both files fit together again",
				  F_TEXT("file", c->file != NULL ? c->file : "given as a text"),
				  F_TEXT("key", c->key->file != NULL ? c->key->file : "given as a text"));
	}
}

static void answer(struct leader_keeper *k, int err, const char *why)
{
	const struct message m = { .type = MSG_KEEPER_VERDICT, .value = err, .body = slice_cstr(err != 0 ? why : "") };

	if (message_send(k->sock, &m) != 0)
		lost(k, "it reads nothing");
}

/* Single files in a directory are passed over. */
static void tell_warnings(const struct encryption *e, const struct policy_problems *problems)
{
	for (const struct policy_problem *p = problems->first; p != NULL; p = p->next)
		log_event(LOG_CORE_ERROR, 3, NOSESSION, "CAs, CRLs or pinned certificates changed, but not all that is there can be used",
			  F_TEXT("encryption", e->name), F_TEXT("reason", p->message));
}

/* Parsed here before anybody else does; who waits for the leader meanwhile is no session. */
static int believe(struct leader *l, struct slice records, uint32_t *context)
{
	struct arena *arena = arena_create(PROBLEMS_ARENA_MAX, 0);
	struct policy_problems problems;
	struct tls_trust trust;
	int err;

	if (arena == NULL)
		return -ENOMEM;
	problems_init(&problems, arena);
	err = tls_update_read_trust(records, &problems, context, &trust);
	if (err == 0) {
		err = tls_update_trust(l->tls, *context, &trust);
		tls_trust_clear(&trust);
	}
	if (err == 0)
		tell_warnings(&l->policy->encryptions[*context / TLS_ENDS], &problems);
	arena_free(&arena);
	return err;
}

static int take(struct leader *l, enum message_type type, struct slice records, uint32_t *context, const char **why)
{
	int err;

	if (type != MSG_KEEPER_TRUST)
		return tls_update(l->tls, l->tls_keys, records, why);
	err = believe(l, records, context);
	*why = strerror(-err);
	return err;
}

/* Taken: the keeper hears so, then the workers; it tells why something was not. */
static void apply(struct leader_keeper *k, const struct message *m)
{
	struct leader *l = k->leader;
	struct message on = { .type = m->type == MSG_KEEPER_TRUST ? MSG_KEEPER_TRUST : MSG_KEEPER_UPDATE, .n_fds = 1 };
	uint8_t *records = NULL;
	const char *why;
	size_t len;
	int err = m->n_fds == 1 ? message_file_read(m->fds[0], KEEPER_FILE_MAX, &records, &len) : -EBADMSG;

	why = strerror(-err);
	if (err == 0)
		err = take(l, m->type, slice_of(records, len), &on.number, &why);
	if (err == 0)
		tell_what_is_in_use(l->policy, slice_of(records, len));
	else if (m->type == MSG_KEEPER_LOADED)
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "What the keeper loaded can't be used; what was in use stays",
			  F_TEXT("reason", why));
	if (m->type != MSG_KEEPER_LOADED)
		answer(k, err, why);
	else if (records != NULL)
		tell_what_has_no_key(l, slice_of(records, len));
	if (records != NULL)
		explicit_bzero(records, len);
	free(records);
	/* A worker that is forked later has it from us. */
	on.fds[0] = m->fds[0];
	if (err == 0 && l->workers != NULL)
		leader_workers_tell(l, &on);
}

static void on_keeper(void *arg, int fd, short revents)
{
	struct leader_keeper *k = arg;
	struct leader *l = k->leader;
	struct message m;
	int n = message_receive(fd, &m, &l->room);

	if (n == -EAGAIN)
		return;
	if (n <= 0) {
		lost(k, n == 0 ? "it closed its connection" : strerror(-n));
		return;
	}
	if (m.type == MSG_KEEPER_LOADED || m.type == MSG_KEEPER_UPDATE || m.type == MSG_KEEPER_TRUST)
		apply(k, &m);
	if (m.type == MSG_KEEPER_LOADED && k->pid != 0) {
		k->loaded = true;
		log_event(LOG_CORE_INFO, 1, NOSESSION, "There is a keeper of the private keys again", F_INT("pid", k->pid));
		connect_all(l);
	}
	message_close_fds(&m);
}

static void restart(void *arg)
{
	struct leader_keeper *k = arg;
	int err = start(k);

	if (err == 0)
		err = poller_add(&k->leader->poller, k->sock, POLLIN, on_keeper, k);
	if (err == 0)
		return;
	log_event(LOG_CORE_ERROR, 0, NOSESSION, "The keeper of the private keys cannot be started", F_TEXT("error", strerror(-err)));
	if (k->pid != 0)
		lost(k, strerror(-err));
	else
		schedule_restart(k);
}

/* ---- tickets ---- */

/* Whoever gets hold of this process's memory must not learn of more hours than those that still count. */
static void step_ratchet(void *arg)
{
	struct leader *l = arg;

	tls_ratchet_step(l->setup->ratchet, time(NULL));
	tls_set_ratchet(l->tls, l->setup->ratchet);
	l->ratchet.fn = step_ratchet;
	l->ratchet.arg = l;
	poller_timer_set(&l->poller, &l->ratchet, TLS_EPOCH_SECONDS * 1000LL);
}

/* ---- at load ---- */

/* The one time that the leader waits for it: nothing else is to be done yet. */
static int wait_loaded(struct leader_keeper *k, struct message *m)
{
	struct pollfd polled = { .fd = k->sock, .events = POLLIN };
	int64_t end_ms = poller_now() + LOAD_LIMIT_MS, left;
	int n = 0;

	while (n == 0 && (left = end_ms - poller_now()) > 0) {
		n = poll(&polled, 1, (int)left);
		if (n < 0 && errno == EINTR)
			n = 0;
	}
	if (n <= 0)
		return n == 0 ? -ETIMEDOUT : -errno;
	n = message_receive(k->sock, m, &k->leader->room);
	if (n == 1 && (m->type != MSG_KEEPER_LOADED || m->n_fds != 1)) {
		message_close_fds(m);
		return -EBADMSG;
	}
	return n == 1 ? 0 : n == 0 ? -EPIPE : n;
}

static int load_keys(struct leader_keeper *k, struct policy_problems *problems)
{
	struct message m;
	uint8_t *records = NULL;
	size_t len = 0;
	int err = wait_loaded(k, &m);

	if (err != 0)
		return err;
	err = message_file_read(m.fds[0], KEEPER_FILE_MAX, &records, &len);
	message_close_fds(&m);
	if (err == 0)
		err = tls_keys_kept(k->leader->policy, slice_of(records, len), problems, &k->leader->tls_keys);
	if (records != NULL)
		explicit_bzero(records, len);
	free(records);
	k->loaded = err == 0;
	return err;
}

static void say_where_keys_are(const struct leader *l)
{
	if (l->policy->n_tls_keys == 0)
		return;
	if (l->policy->keys_in_workers)
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "The private keys are in the memory of the workers, which carry traffic: "
			  "config.options.keys_in_workers is on", F_INT("keys", l->policy->n_tls_keys));
}

static int show_certificates(struct leader_keeper *k)
{
	struct leader *l = k->leader;
	struct message m = { .type = MSG_CERTIFICATES, .n_fds = 1 };

	if (l->policy->n_tls_certificates == 0)
		return 0;
	k->certificates = certificate_records_create((uint32_t)l->policy->n_tls_certificates);
	if (k->certificates < 0)
		return k->certificates;
	m.fds[0] = k->certificates;
	leader_tell_supervisor(l, &m);
	return 0;
}

int leader_keeper_load(struct leader *l, struct policy_problems *problems)
{
	int err;

	if (!is_needed(l->policy))
		return 0;
	l->keeper = calloc(1, sizeof(*l->keeper));
	if (l->keeper == NULL)
		return -ENOMEM;
	*l->keeper = (struct leader_keeper){ .leader = l, .sock = -1, .certificates = -1 };
	say_where_keys_are(l);
	err = show_certificates(l->keeper);
	if (err == 0)
		err = start(l->keeper);
	if (err == 0)
		err = load_keys(l->keeper, problems);
	if (err != 0 && err != -EINVAL)
		problems_add(problems, PROBLEM_ERROR, (struct policy_place){ NULL, 0 }, NULL, "the private keys cannot be loaded: %s",
			     strerror(-err));
	if (err == 0)
		err = tls_build(l->policy, l->tls_keys, problems, &l->tls);
	if (err == 0)
		step_ratchet(l);
	return err != 0 ? err : poller_add(&l->poller, l->keeper->sock, POLLIN, on_keeper, l->keeper);
}

void leader_keeper_log_changed(struct leader *l, const struct message *m)
{
	if (l->keeper != NULL && l->keeper->pid != 0 && message_send(l->keeper->sock, m) != 0)
		lost(l->keeper, "it reads nothing");
}

void leader_keeper_free(struct leader *l)
{
	struct leader_keeper *k = l->keeper;

	l->keeper = NULL;
	if (k != NULL) {
		poller_timer_clear(&l->poller, &k->restart);
		poller_remove(&l->poller, k->sock);
		if (k->sock >= 0)
			close(k->sock);
		if (k->certificates >= 0)
			close(k->certificates);
		if (k->pid != 0)
			kill(k->pid, SIGKILL);
		free(k);
	}
	poller_timer_clear(&l->poller, &l->ratchet);
	tls_free(&l->tls);
	tls_keys_free(&l->tls_keys);
}
