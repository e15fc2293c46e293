/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The header of HAProxy's PROXY protocol, version 1 (one line of text) and 2 (binary): how a
 * proxy tells the next one, before the first octet of the protocol, whose connection it carries.
 * Writer and parser are pure.
 *
 * A sender that is believed says who the client is, so the parser takes exactly what the
 * specification permits and guesses nothing: a header that names no client (v1 UNKNOWN, v2 with
 * an unspecified, UNIX or datagram family) is refused; only v2's LOCAL, a connection of the
 * sender's own, goes without.
 */
#ifndef SALLYPORT_SESSION_PROXY_HEADER_H
#define SALLYPORT_SESSION_PROXY_HEADER_H

#include "base/addr.h"
#include "base/attributes.h"

#define PROXY_HEADER_V1_MAX 107		/* octets, with CRLF */
#define PROXY_HEADER_V2_MAX 4096	/* octets that are read of one, TLVs included */
#define PROXY_HEADER_WRITE_MAX 108	/* of either version, as written here */

/*
 * src is the client, dst what it wanted to reach; both have an address. Where they are of two
 * families the IPv4 one is written as an IPv4-mapped IPv6 address, so that the client is told in
 * any case. version is 1 or 2. Returns the length.
 */
size_t proxy_header_write(unsigned version, const struct endpoint *src, const struct endpoint *dst,
			  uint8_t buf[PROXY_HEADER_WRITE_MAX]);

enum proxy_header_result { PROXY_HEADER_OK, PROXY_HEADER_MORE, PROXY_HEADER_BAD };

struct proxy_header {
	size_t octets;			/* of the header; what follows is the protocol's */
	unsigned version;
	bool local;			/* the sender speaks for itself: there are no addresses */
	struct endpoint src, dst;	/* IPv4-mapped addresses are unmapped: they may be of two families */
};

/*
 * octets: what came so far, from the first. *out on OK; *why on BAD: a static word list, fit for
 * a log. MORE is said only while the octets can still become a header.
 */
enum proxy_header_result proxy_header_parse(struct slice octets, struct proxy_header *out, const char **why);

/*
 * So many octets more (at least 1) are the header's in any case, when proxy_header_parse says MORE.
 * Who reads no more than that leaves what follows it untouched: it may be a TLS handshake.
 */
size_t proxy_header_missing(struct slice octets);

/* An address that a client can have: no wildcard, no multicast, no broadcast. */
bool ip_is_client(const struct ip_addr *ip);

#endif
