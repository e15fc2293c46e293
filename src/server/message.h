/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What our processes say to each other: records over SOCK_SEQPACKET pairs, with descriptors.
 * Each side was started by the other or by the same parent; all the same the supervisor, which
 * is the privileged one, checks types, lengths and ranges of everything that comes in.
 */
#ifndef SALLYPORT_SERVER_MESSAGE_H
#define SALLYPORT_SERVER_MESSAGE_H

#include "base/addr.h"
#include "base/attributes.h"

#define MESSAGE_BODY_MAX 8192u	/* octets */
#define MESSAGE_FDS_MAX 128u

enum message_type {
	/* Supervisor to leader; those marked with W go on to every worker. */
	MSG_LISTENERS = 1,	/* body: struct listener_record[], as many fds; number: how many are still to come */
	MSG_FORK,		/* all listeners are there: start the workers. number: 1 = sources can be forged */
	MSG_INHERIT,		/* slot, fd: the statistics of that slot in the generation before */
	MSG_ACCEPT,		/* W: accept connections */
	MSG_PAUSE,		/* W: stop accepting */
	MSG_DRAIN,		/* W: finish the sessions. value: at most so many ms; number: 1 = ask them to end */
	MSG_QUIT,		/* W: end at once */
	MSG_STOP_SESSION,	/* W: body: the session's id; number: the request */
	MSG_LOG,		/* W: number: verbosity; body: specification; to the lookout, too */
	/* Leader (or worker, marked W) to supervisor. */
	MSG_FAILED,		/* number: exit status; fd: text of what is wrong with the policy */
	MSG_PLAN,		/* fd: struct plan_head, then the packed kernel plan */
	MSG_CHANNEL,		/* slot, fds: read end of its log, its statistics */
	MSG_WORKER,		/* slot; number: pid, 0 = it died; value: wait status */
	MSG_READY,		/* W: could accept */
	MSG_ACCEPTING,		/* W */
	MSG_PAUSED,		/* W */
	MSG_FILES_CHANGED,	/* files that matchers were read from */
	/* Between worker and leader, about the worker's server of the policy host. */
	MSG_HOST_WANTED,	/* worker: value: 1 = kill the one before */
	MSG_HOST_FDS,		/* leader: its connections; the first one is the control connection */
	MSG_CERTIFICATES,	/* fd: what is shown of certificates (server/keeper/certificate_records.h); number: generation, to control */
	MSG_SESSION_STOPPED,	/* W: number: the request; value: 1 = there was such a session */
	/* Between leader, workers and the keeper of the private keys. */
	MSG_KEEPER_LOADED,	/* keeper: fd: records of all keys (tls/keeper_file.h) */
	MSG_KEEPER_PEER,	/* leader to keeper: slot, fd: a worker's connection */
	MSG_KEYS_WANTED,	/* worker: its connection to the keeper is lost */
	MSG_KEYS,		/* leader to worker: fd: a new one */
	MSG_KEEPER_UPDATE,	/* keeper: fd: records of what changed, an offer; when taken, leader to each worker */
	MSG_KEEPER_TRUST,	/* the same, of one record of CAs, CRLs and pins; to workers: number: its context */
	MSG_KEEPER_VERDICT,	/* leader to keeper: value: 0 = that was taken, else body: why not */
	/* Workers' connections to the lookout (server/lookout/lookout.h). */
	MSG_LOOKOUT_WANTED,	/* worker: it has none, or lost it */
	MSG_LOOKOUT,		/* leader to worker: fd: a new one */
	MSG_LOOKOUT_PEER,	/* leader, by the supervisor to the lookout: slot, fd: the other end; then number: generation */
	/* Host names of zones (policy/names.h), between lookout, supervisor and leaders. */
	MSG_NAMES,		/* leader, on to the lookout: fd: hosts that it wants, without addresses; number: generation */
	MSG_NAMES_GONE,		/* to the lookout: number: a generation that wants none any more */
	MSG_SNAPSHOT,		/* lookout, to leaders, control and the next lookout: fd: what is known now */
	MSG_MEMBERS,		/* leader to worker: fd: what zones have by that (zone_names_pack) */
	MSG_PLAN_CHANGED,	/* leader: as MSG_PLAN, with other addresses */
	/* Between the supervisor and the control process; number: the request. */
	MSG_CONTROL_REQUEST,	/* body: struct control_request */
	MSG_CONTROL_REPLY,	/* value: 0 fine, else enum cli_status; body: text */
	MSG_STATUS,		/* body: struct status_record */
	MSG_TYPE_COUNT
};

struct listener_record {
	struct endpoint at;
	bool transparent;	/* delivered by the kernel's rules: the local address is the original destination */
};

/* What a generation needs of the supervisor, before the packed plan. */
struct plan_head {
	uint64_t plan_octets;
	uint32_t n_services, n_rules, n_callbacks;
	char fingerprint[65], fingerprint_without_files[65];
};

struct message {
	uint32_t type;
	uint32_t slot;
	uint32_t number;
	int64_t value;
	struct slice body;		/* received: in the room that was given */
	unsigned n_fds;
	int fds[MESSAGE_FDS_MAX];
};

/* Room for a received body; part of the process's struct, since stacks are small. */
struct message_room {
	_Alignas(16) uint8_t octets[MESSAGE_BODY_MAX];
};

/* A pair for two of our processes: close-on-exec and non-blocking. 0 or -errno. */
int message_pair(int fds[2]) MUST_CHECK;

/* 0; -EAGAIN when the other side does not read; -EPIPE. The descriptors stay the caller's. */
int message_send(int sock, const struct message *m) MUST_CHECK;
/* Without body and descriptors. */
int message_send_simple(int sock, enum message_type type, uint32_t slot, uint32_t number, int64_t value) MUST_CHECK;

/* 1 = received, the descriptors in it are the caller's; 0 = the other side is gone; -EAGAIN;
 * -EBADMSG (not one of our records). */
int message_receive(int sock, struct message *m, struct message_room *room) MUST_CHECK;
void message_close_fds(struct message *m);

/* A memory file with that content, sealed, for what is larger than a body. fd or -errno. */
int message_file(struct slice content);
/* Its content, up to max octets; malloc'ed. 0; -EBADMSG (no sealed memory file: reading another
 * one could take as long as whoever is behind it likes); -errno. */
int message_file_read(int fd, size_t max, uint8_t **out, size_t *len) MUST_CHECK;
/* The same, mapped read-only instead, until the caller unmaps it. */
int message_file_map(int fd, size_t max, void **out, size_t *len) MUST_CHECK;

#endif
