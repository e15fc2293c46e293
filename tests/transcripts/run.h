/* SPDX-License-Identifier: Apache-2.0 */
/* A transcript that is run: what its lines act on, and what the files of the runner share. */
#ifndef SALLYPORT_TESTS_RUN_H
#define SALLYPORT_TESTS_RUN_H

#include "harness.h"
#include "tls_peer.h"

#include <stdio.h>

#define OCTETS_MAX (1u << 20)

enum side { CLIENT, SERVER, FORMER, SIDES };	/* FORMER: the server of the connection before this one */
extern const char *const side_names[SIDES];

struct octets {
	uint8_t *data;
	size_t len;
};

struct run {
	const char *presets, *directory, *file;
	unsigned line;
	bool in_drops;			/* the second pass */
	bool started, failed;
	struct harness h;
	bool have_harness;
	json_t *config, *document, *service;
	char client_address[64];
	int connect_error;
	struct octets from_proxy[SIDES];	/* what each received and nobody looked at yet */
	bool eof[SIDES];
	struct tls_peer *tls[SIDES];	/* NULL: it speaks plain text */
	unsigned servers_seen;		/* connections to servers */
	int log_fd;
	size_t records_seen;		/* accounting lines that a "record" was compared with */
	bool ends;			/* there was an "end" line */
	bool client_encrypted;
	bool at_once;			/* "at once": the outcome depends on the segments */
};

/* run.c: the transcript is wrong, or the session is; the first such line ends it. */
void fail(struct run *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
void show(const char *what, struct slice s);
/* The header is over: the policy is built. Negative: it was refused. */
int prepare(struct run *r);

/* peers.c: the far ends of the connections. Until nothing moves: settle(). */
int *far_end(struct run *r, int side);
ssize_t write_side(struct run *r, int side, const void *buf, size_t size);
void collect(struct run *r, int side);
void settle(struct run *r);
void close_side(struct run *r, int side);
void shut_down_side(struct run *r, int side);
void check_cut_off(struct run *r, int side);
void check_lost(struct run *r);

/* handshakes.c: TLS of the far ends. */
void speak_tls(struct run *r, int side, char *rest);
void check_subject(struct run *r, int side, const char *want);
void check_name(struct run *r, const char *want);

/* exchange.c: octets that a side sends, and must receive. */
void send_octets(struct run *r, int side, const char *text);
void receive_octets(struct run *r, int side, const char *text);
void check_waits(struct run *r, int side);

/* written.c: the log, records and counters. */
void check_log(struct run *r, const char *want, bool must);
void check_record(struct run *r, const char *want);
void check_messages(struct run *r, const char *want);
void check_counts(struct run *r, char *words);
void check_no_more_records(struct run *r);

/* header.c: a line before the first step; whether it was one. */
bool header_line(struct run *r, char *line);

/* policy_code.c: what callbacks do. */
void set_callback(struct run *r, char *text);

/* zone.c */
void set_zone(struct run *r, const char *words);
void set_domain(struct run *r, const char *words);
void check_asked(struct run *r, const char *want);

/* steps.c: a line of the conversation; whether it was one. start() comes before the first. */
bool step_line(struct run *r, char *line, int (*start)(struct run *r));

#endif
