/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A far end of a session that is fuzzed: plain text at first, then perhaps TLS, which is OpenSSL's
 * own. From where TLS is next, all that the proxy sends there must be TLS's records; anything else aborts.
 */
#ifndef SALLYPORT_TESTS_FAR_END_H
#define SALLYPORT_TESTS_FAR_END_H

#include "base/buffer.h"
#include "fuzz.h"
#include "tls_peer.h"

/* Records (RFC 8446, 5.1), one after the other, as far as they came. */
struct tls_records {
	uint8_t head[5];
	size_t n;			/* of the head */
	size_t left;			/* of what is behind it */
};

/* TLS's client, or its server, that know the newest version or TLS 1.2; a server with a certificate of a CA that nobody knows. */
enum far_end_kind { FAR_END_CLIENT, FAR_END_CLIENT_12, FAR_END_SERVER, FAR_END_SERVER_12, FAR_END_UNKNOWN_SERVER, FAR_END_KINDS };

struct far_end {
	bool tls_is_next;
	struct tls_peer *tls;		/* NULL: its handshake has not begun */
	enum far_end_kind kind;		/* of the handshake */
	bool secured;			/* the caller knows that it is done */
	bool silent;			/* it said close_notify, or something that is no TLS: nothing more of it counts */
	struct buffer held;		/* what came for a handshake that has not begun */
	struct tls_records records;
};

void far_end_open(struct far_end *e);
void far_end_release(struct far_end *e);

/* The descriptor is the caller's, and may be -1: then nothing is sent, nor comes. Released before it is closed. */

/* What comes from here on is TLS. */
void far_end_expect_tls(struct far_end *e);
/* Its handshake begins, if TLS is next and it did not yet. */
void far_end_begin_tls(struct far_end *e, int fd, enum far_end_kind kind);
/* The handshake goes on as far as it goes. true, once: it is done now. */
bool far_end_becomes_secure(struct far_end *e);

/* Octets of SMTP that it says now would get there: plain text where that is due, or through TLS. */
bool far_end_can_speak(const struct far_end *e);
void far_end_send(struct far_end *e, int fd, struct slice octets);
size_t far_end_receive(struct far_end *e, int fd, uint8_t *buf, size_t size);	/* 0: no more for now */

/* Octets beneath TLS. false: it is not done, or they might be TLS; they are not sent. */
bool far_end_disturb(struct far_end *e, int fd, struct slice octets);
void far_end_close_notify(struct far_end *e);

/* These can't begin a record, nor what older versions began with. */
bool far_end_is_no_tls(struct slice octets);
/* Changes with what TLS does. */
uint64_t far_end_progress(const struct far_end *e);

#endif
