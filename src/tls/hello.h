/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ClientHello (RFC 8446, 4.1.2; RFC 6066, 3; RFC 7301, 3.1), looked at beside OpenSSL: what
 * the client asks for, before anything is decided. Pure functions; at most 2^17 octets come here.
 */
#ifndef SALLYPORT_TLS_HELLO_H
#define SALLYPORT_TLS_HELLO_H

#include "base/attributes.h"
#include "base/slice.h"

#define TLS_JA4_OCTETS 36

/* Slices point into the message. */
struct tls_hello {
	struct slice server_name;	/* host_name; printable ASCII without blanks; empty: none */
	struct slice alpn;		/* ProtocolNameList without its length, checked; empty: none */
	struct slice ciphers;		/* two octets each */
	struct slice extensions;	/* the vector's octets, checked */
	struct slice signatures;	/* signature_algorithms, two octets each */
	uint16_t version;		/* the highest offered, GREASE apart */
	bool has_server_name;
};

/* message: the body of the handshake message. 0; -EBADMSG: it is none, or has a server name that is none. */
int tls_hello_parse(struct slice message, struct tls_hello *out) MUST_CHECK;

/* The next name of an ALPN list; false at the end. */
bool tls_alpn_next(struct slice *list, struct slice *name);

/* The JA4 fingerprint, "t13d1516h2_8daaf6152771_b186095e22b6". 0, -ENOMEM. */
int tls_hello_ja4(const struct tls_hello *hello, char out[TLS_JA4_OCTETS + 1]) MUST_CHECK;

#endif
