/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SALLYPORT_SERVER_SUPERVISOR_PRIV_H
#define SALLYPORT_SERVER_SUPERVISOR_PRIV_H

#include "kernel/host.h"
#include "kernel/plan.h"
#include "server/supervisor/child_link.h"
#include "server/control/control.h"
#include "server/supervisor/log_pump.h"
#include "server/pace.h"
#include "server/poller.h"
#include "server/run_options.h"
#include "server/supervisor/supervisor.h"
#include "tls/ratchet.h"

#define EXIT_FINE 0		/* as enum cli_status; cli is above us */
#define EXIT_NO 1
#define EXIT_REFUSED 3

struct supervisor;

struct supervisor_listener {
	struct listener_record record;
	int fd;
	bool wanted;			/* by the generation that is being looked at */
};

struct generation {
	struct supervisor *supervisor;
	struct generation *next;
	uint32_t number;
	enum generation_state state;
	pid_t pid;			/* 0 = ended */
	int sock;			/* -1 = closed */
	struct arena *arena;		/* of the plan */
	struct kernel_plan plan;
	struct plan_head head;
	int64_t loaded_wall_ms;
	int certificates;		/* what its keeper shows of them; -1 = none */
	int names;			/* hosts that its zones want; -1 = none */
	bool snapshot_owed;		/* it has not got the last one yet */
	int plan_changed;		/* the last MSG_PLAN_CHANGED, not looked at yet; -1 = none */
	struct poller_timer plan_again;
	struct pace looks;		/* at plans that came to nothing */
	int *stats_fds;			/* one a worker, -1 = none yet */
	bool *seen;			/* worker k was started before */
	bool for_files;			/* only since files of matchers changed, not the policy */
	struct poller_timer limit;	/* for the step it is in */
};

/* The lookout, as the supervisor keeps it. */
struct lookout_link {
	bool needed;			/* from the first time that somebody needed it */
	struct child_link child;
	int snapshot;			/* what is known of host names: the last one published; -1 = none */
	struct pace told;		/* of leaders */
	struct poller_timer again;
};

/* The kernel's rules on their way to those of other addresses (rules_change.c). */
struct rules_change {
	struct kernel_loading run;	/* pid 0: nothing is on its way */
	struct generation *generation;	/* whose; NULL: gone meanwhile */
	int file;			/* its MSG_PLAN_CHANGED; -1 = none */
	struct arena *arena;		/* of the plan in it */
	struct kernel_plan plan;
	bool whole;			/* the table, not elements of sets */
	struct poller_timer limit;
	struct pace pace;
};

struct supervisor {
	const struct run_options *options;
	struct poller poller;
	pid_t pid;
	struct unprivileged user;
	bool kernel;
	bool can_forge;
	int signals;
	int lock;			/* of the network namespace, -1 = none */
	char control_path[108];
	int control_listener;
	struct child_link control;
	struct lookout_link lookout;
	struct log_pump *pump;
	struct supervisor_listener *listeners;
	size_t n_listeners;
	uint16_t port4, port6;		/* transparent listeners; 0 = none */
	struct generation *generations;	/* newest first */
	struct generation *ruling;	/* whose plan the kernel has; NULL: nobody's, or one's that is gone */
	struct rules_change change;
	bool rules_doubtful;		/* a load is under way, or failed somewhere: the kernel may have that plan, another, or half of it */
	struct generation *current, *upcoming;	/* one that serves, one that is to replace it */
	uint32_t next_generation;
	bool ready_said;
	bool stopping, stop_open;
	bool again;			/* another reload was asked for while one was under way */
	uint32_t reload_request;	/* of the control process; 0 = nobody waits */
	uint32_t session_request, session_answers;	/* stop-session under way: who waits, answers to come */
	bool session_found;
	struct poller_timer files_changed;	/* set: matchers are to be read again then */
	int64_t files_reloaded_ms;
	struct poller_timer recover;
	int64_t recover_ms;		/* back-off */
	int verbosity;
	char logspec[LOGSPEC_MAX];
	int64_t start_wall_ms, reload_wall_ms;
	bool reload_ok;
	char reload_error[2048];
	uint32_t worker_restarts;
	struct tls_ratchet ratchet;	/* of session tickets: what leaders start with */
	struct poller_timer ratchet_step;
	int exit_status;
	bool over;
	struct message_room room;
};

/* supervisor.c */
int64_t wall_ms(void);
void supervisor_stop(struct supervisor *s, bool open);
void supervisor_check_over(struct supervisor *s);
void supervisor_set_log(struct supervisor *s, int verbosity, const char *spec);
pid_t supervisor_fork(struct supervisor *s, int *sock);	/* in the child 0; sock is its end of a pair */

/* generation.c */
void generation_reload(struct supervisor *s, uint32_t request);
int generation_start(struct supervisor *s);
void generation_ended(struct generation *g, int status);
void generation_kill(struct generation *g);
void generation_drain(struct generation *g, int64_t limit_ms, bool ask_to_end);
unsigned generations_live(const struct supervisor *s);

/* rules_change.c */
#define RULES_PAUSE_MS 500		/* from one change to the next, at least */
#define RULES_PAUSE_TIMES 4		/* and so many times what it took */
#define RULES_RETRY_MS 5000		/* until a change that the kernel did not take is tried again */
/* To that plan of the generation that rules; takes file and arena. Nothing may be under way. */
void rules_change_begin(struct supervisor *s, struct generation *g, int file, struct arena *arena, const struct kernel_plan *plan);
bool rules_change_runs(const struct supervisor *s);
void rules_change_ended(struct supervisor *s, int status);	/* its process was reaped */
void rules_change_stop(struct supervisor *s);			/* whoever calls loads the whole table, or wants nothing changed any more */
void rules_change_forget(struct supervisor *s, const struct generation *g);

/* generation_plan.c */
void generation_plan_changed(struct generation *g, struct message *m);	/* MSG_PLAN_CHANGED; takes the descriptor */
/* Nothing of it is believed; arena is made, and owns it. 0; -EINVAL; -errno. */
int generation_read_plan(int fd, struct arena **arena, struct kernel_plan *plan, struct plan_head *head) MUST_CHECK;
void generation_look_at_plan(struct generation *g, int64_t wait_ms);	/* at what MSG_PLAN_CHANGED brought */
void generation_adopt_plan(struct generation *g, struct arena **arena, const struct kernel_plan *plan);
void generation_check_forwarding(const struct generation *g);	/* warns of a host that does not */
int generation_load_rules(struct supervisor *s, const struct kernel_plan *plan, char *why, size_t size) MUST_CHECK;

/* listeners.c */
/* Open what the plan wants and is not open yet; marks it wanted. 0 or -errno, *which says where. */
int listeners_open(struct supervisor *s, const struct kernel_plan *plan, struct endpoint *which) MUST_CHECK;
int listeners_send(struct supervisor *s, int sock) MUST_CHECK;	/* the wanted ones */
void listeners_close_unwanted(struct supervisor *s, const struct kernel_plan *plan);
void listeners_close_all(struct supervisor *s);

/* control_link.c */
void control_link_init(struct supervisor *s);
int control_link_start(struct supervisor *s) MUST_CHECK;
void control_link_status(struct supervisor *s);
void control_link_channel(struct supervisor *s, const struct generation *g, uint32_t slot);
void control_link_names(struct supervisor *s);
void control_link_certificates(struct supervisor *s, const struct generation *g);
void control_link_reply(struct supervisor *s, uint32_t request, int exit_status, const char *text);
void control_link_ended(struct supervisor *s);	/* its process was reaped */
void control_link_close(struct supervisor *s);

/* lookout_link.c */
void lookout_link_init(struct supervisor *s);
void lookout_link_peer(struct supervisor *s, const struct generation *g, struct message *m);	/* MSG_LOOKOUT_PEER */
void lookout_link_names(struct supervisor *s, struct generation *g, struct message *m);	/* MSG_NAMES; takes the descriptor */
void lookout_link_gone(struct supervisor *s, const struct generation *g);
void lookout_link_log(struct supervisor *s, const struct message *m);	/* MSG_LOG */
void lookout_link_ended(struct supervisor *s);
void lookout_link_close(struct supervisor *s);

/* netns_lock.c: one supervisor with kernel rules a network namespace. fd; -EBUSY with *pid. */
int netns_lock(pid_t *pid);

#endif
