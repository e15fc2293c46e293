/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The control socket: one JSON object a line asks, one answers. An unprivileged process of its
 * own reads the clients' JSON and the workers' statistics; what changes something it asks of
 * the supervisor, in the fixed records below.
 *
 *	{"command":"status"}  {"command":"sessions"}  {"command":"stats"}  {"command":"names"}  {"command":"reload"}
 *	{"command":"stop-session","id":"svc/..."}  {"command":"stop","open":false}
 *	{"command":"log","level":5,"spec":"core:5"}	(both may be missing)
 *
 * Answers have "ok"; if it is false, "error" says why and "exit" is the exit status for ctl.
 */
#ifndef SALLYPORT_SERVER_CONTROL_H
#define SALLYPORT_SERVER_CONTROL_H

#include "server/message.h"
#include "server/privileges.h"

#define GENERATIONS_MAX 8u
#define LOGSPEC_MAX 512u	/* octets with NUL, of what the control socket may set */

enum control_op {
	CONTROL_RELOAD = 1,
	CONTROL_STOP,		/* number: 1 = open: remove the kernel rules too */
	CONTROL_STOP_SESSION,	/* text: the id */
	CONTROL_LOG,		/* number: verbosity, -1 = as it is; text: specification if has_text */
};

struct control_request {
	uint32_t op;
	int32_t number;
	bool has_text;
	char text[1024];	/* terminated */
};

enum generation_state {
	GENERATION_LOADING, GENERATION_STARTING, GENERATION_READY, GENERATION_TAKING,
	GENERATION_CURRENT, GENERATION_DRAINING, GENERATION_ENDING, GENERATION_STATES
};
extern const char *const generation_state_names[GENERATION_STATES];

/* What the supervisor tells the control process whenever it changes. */
struct status_record {
	int32_t supervisor_pid;
	int32_t lookout_pid;		/* 0 = none runs */
	uint32_t workers, worker_restarts;
	bool kernel, stopping, can_forge;
	int32_t verbosity;
	int64_t start_wall_ms;
	char policy[1024], logspec[LOGSPEC_MAX];
	int64_t reload_wall_ms;		/* of the last attempt; 0 = none yet */
	bool reload_ok;
	char reload_error[2048];
	uint32_t n_generations;
	struct status_generation {
		uint32_t number, state;
		int32_t leader_pid;
		uint32_t n_services, n_rules, n_callbacks;
		int64_t loaded_wall_ms;
		char fingerprint[65];
	} generations[GENERATIONS_MAX];
};

_Static_assert(sizeof(struct status_record) <= MESSAGE_BODY_MAX, "it goes into one message");

/* The control process. Returns its exit status. */
int control_run(int listener, int supervisor, uid_t owner);

/* A listening socket at path, mode 0600; missing directories are made. -EADDRINUSE: somebody
 * answers there, *pid says who. fd or -errno. */
int control_listen(const char *path, pid_t *pid);

/* For ctl: send one request line, give the reply line (malloc'ed). 0 or -errno. */
int control_ask(const char *path, const char *request, char **reply, int *connection) MUST_CHECK;

#endif
