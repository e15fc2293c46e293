/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The leader of a generation: reads the policy once, builds it, forks the workers, which share
 * it copy-on-write, and starts those again that die. Unprivileged; the supervisor does for it
 * what needs a privilege.
 */
#ifndef SALLYPORT_SERVER_LEADER_H
#define SALLYPORT_SERVER_LEADER_H

#include "policy/policy.h"
#include "server/leader/host.h"
#include "server/leader/leader_files.h"
#include "server/message.h"
#include "server/pace.h"
#include "server/policy_program.h"
#include "server/poller.h"
#include "server/run_options.h"
#include "server/statistics.h"
#include "tls/ratchet.h"
#include "tls/tls.h"

struct leader_setup {
	const struct run_options *options;
	int supervisor;			/* message socket */
	uint32_t generation;
	bool kernel;			/* with kernel rules; else ordinary listeners */
	int verbosity;			/* as they are now; options has what they were at the start */
	const char *logspec;
	struct tls_ratchet *ratchet;	/* of session tickets; the leader's own copy, which it steps */
};

/* Runs until told to end. Returns the process's exit status. */
int leader_run(const struct leader_setup *setup);

/* ---- inside the leader ---- */

enum leader_phase {
	LEADER_LOADED,			/* the plan is with the supervisor */
	LEADER_FORKED,			/* workers get ready */
	LEADER_IDLE,			/* workers are ready, or paused */
	LEADER_ACCEPTING,
	LEADER_DRAINING,
};

struct leader;

struct leader_worker {
	struct leader *leader;
	uint32_t slot;
	pid_t pid;			/* 0 = not running */
	int sock;			/* -1 = none */
	int log;			/* write end; stays over restarts */
	struct stats stats;
	bool answered;			/* what leader->awaited asks for */
	int64_t started_ms, backoff_ms;
	struct poller_timer restart;
	int64_t keys_ms;		/* when it got its connection to the keeper */
	struct poller_timer keys_again;
	int64_t lookout_ms;		/* when it got its connection to the lookout; 0 = never */
	struct poller_timer lookout_again;
};

struct leader {
	const struct leader_setup *setup;
	struct poller poller;
	struct arena *arena;
	const struct policy *policy;
	enum leader_phase phase;
	uint32_t awaited;		/* message type that every worker owes; 0 = none */
	bool can_forge;
	unsigned keep;			/* KEEP_* capabilities of workers */
	struct listener_record *listeners;
	int *listener_fds;
	size_t n_listeners;
	struct leader_worker *workers;	/* setup->options->workers */
	uint32_t *service_sessions;
	int signals;
	struct host *host;		/* NULL: the policy needs none */
	int secrets;			/* of the policy: a memory file for the keeper, not read here; -1 = none */
	struct leader_keeper *keeper;	/* NULL: the policy has no encryptions, nor the next two */
	struct tls_keys *tls_keys;
	struct tls *tls;
	struct zone_names *names;	/* what zones have by their host names now; NULL: nothing */
	size_t names_pending;		/* host names that nothing is known of yet */
	int snapshot;			/* not looked at yet; -1 = none */
	bool members_owed;		/* workers have not got what follows of the last one */
	struct pace planning;
	struct poller_timer names_again, plan_again;
	struct poller_timer ratchet;
	struct message_room room;
	struct poller_timer answer_limit, drain_limit, look_at_files;
	struct file_watch *files;	/* of matchers; NULL: none to be watched */
};

/* The policy of setup, built, on leader->arena; also says what ports and rights it wants. What
 * is wrong goes to problems. 0; -EINVAL with errors in problems; -ENOMEM. (leader_policy.c) */
int leader_read_policy(struct leader *l, struct policy_problems *problems) MUST_CHECK;
/* The plan of the policy, as MSG_PLAN wants it: fd of a message file. */
int leader_plan(struct leader *l, struct policy_problems *problems);
int leader_plan_again(struct leader *l);	/* with the addresses that host names have now; likewise */

/* Workers (leader_workers.c). */
int leader_workers_create(struct leader *l) MUST_CHECK;		/* channels and statistics; tells the supervisor */
int leader_worker_start(struct leader_worker *w) MUST_CHECK;
void leader_worker_ended(struct leader_worker *w, int status);
bool leader_workers_answered(const struct leader *l);
unsigned leader_workers_running(const struct leader *l);
void leader_workers_tell(struct leader *l, const struct message *m);

/* The policy host: starts servers for workers, kills stuck ones, notes that it died itself
 * (leader_host.c). program is the policy program that serves behind control; both are taken over. */
struct policy_program_options leader_program_options(const struct leader *l, int control_fd);
int leader_host_start(struct leader *l, pid_t program, int control) MUST_CHECK;
void leader_host_wanted(struct leader_worker *w, bool kill_old);	/* MSG_HOST_WANTED */
void leader_host_child_ended(struct leader *l, pid_t pid, int status);

/*
 * The keeper of the private keys (leader_keeper.c). Starts it, waits for what it has loaded, builds
 * the contexts with that; nothing when the policy has no encryptions. 0; -EINVAL with errors in
 * problems; -errno.
 */
int leader_keeper_load(struct leader *l, struct policy_problems *problems) MUST_CHECK;
void leader_keeper_connect(struct leader_worker *w);		/* a worker that was started */
void leader_keeper_wanted(struct leader_worker *w);		/* MSG_KEYS_WANTED */
void leader_keeper_log_changed(struct leader *l, const struct message *m);
void leader_keeper_free(struct leader *l);

/* Host names of zones (leader_names.c). Says which ones, and waits for their first addresses, but not for ever. 0 or -errno. */
int leader_names_load(struct leader *l) MUST_CHECK;
void leader_names_take(struct leader *l, struct message *m);	/* MSG_SNAPSHOT; takes the descriptor */

bool leader_hear_supervisor(struct leader *l);			/* one message; false: there is none */
void leader_lookout_wanted(struct leader_worker *w);		/* MSG_LOOKOUT_WANTED (leader_lookout.c) */

void leader_tell_supervisor(struct leader *l, const struct message *m);
void leader_check_awaited(struct leader *l);

#endif
