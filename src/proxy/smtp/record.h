/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of a message: one event smtp.record(4) for each transaction that a MAIL command
 * began or was refused, however it ended. It is kept on the transaction's arena, and only while
 * somebody logs it. docs/reference/smtp-record.md says what the fields mean.
 */
#ifndef SALLYPORT_PROXY_SMTP_RECORD_H
#define SALLYPORT_PROXY_SMTP_RECORD_H

#include "base/log.h"
#include "base/clock.h"

struct smtp;
struct smtp_pending;

#define SMTP_RECORD_LEVEL 4
#define SMTP_RECORD_RECIPIENTS 64	/* whose replies are kept; further ones are counted */
#define SMTP_RECORD_TEXT 128		/* octets of a reply's text */

/* What a message goes through, in this order: the last one that began is where it ended. */
enum smtp_phase {
	SMTP_PHASE_MAIL,		/* MAIL, to its reply */
	SMTP_PHASE_RCPT,		/* the first RCPT, to the reply to the last */
	SMTP_PHASE_DATA,		/* DATA, to its reply */
	SMTP_PHASE_BODY,		/* the go-ahead, to the end of the message */
	SMTP_PHASE_FINAL,		/* the end of the message, to the server's word on it */
	SMTP_PHASE_COUNT
};

enum smtp_result { SMTP_RESULT_ACCEPTED, SMTP_RESULT_REFUSED, SMTP_RESULT_ABORTED, SMTP_RESULT_COUNT };

struct smtp_record {
	deadline_t began[SMTP_PHASE_COUNT], ended[SMTP_PHASE_COUNT];	/* 0: did not */
	struct slice sender;
	struct log_row *rows;		/* recipient, code, text */
	unsigned n_rows, room;
	unsigned accepted, refused;	/* recipients */
	unsigned code;			/* of the last refusal; 0: none */
	struct slice text;
	bool bdat;
};

/* MAIL was accepted: s->transaction is there. No memory: there is no record. */
void smtp_record_begin(struct smtp *s, const struct smtp_pending *mail);
/* MAIL was forwarded, and nobody will say what became of it. */
void smtp_record_unanswered(struct smtp *s, const struct smtp_pending *mail, unsigned code, struct slice text);
/* The client is told this about a command. */
void smtp_record_told(struct smtp *s, const struct smtp_pending *p, unsigned code, struct slice text);
/* A BDAT, answered or not: its octets are a part of the body. */
void smtp_record_chunk(struct smtp *s, const struct smtp_pending *p);
void smtp_record_phase(struct smtp *s, enum smtp_phase phase, bool begins);
/* The message's fate. Nothing if its record was written already. */
void smtp_record_write(struct smtp *s, enum smtp_result result, unsigned code, struct slice text);
/* The transaction ends; if nobody said how, it was given up, or nobody wanted it. */
void smtp_record_end(struct smtp *s);

#endif
