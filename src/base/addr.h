/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network addresses as values: an IP address, a prefix (subnet), an endpoint (address and
 * port). IPv4-mapped IPv6 addresses are unmapped wherever one is read from a socket.
 */
#ifndef SALLYPORT_BASE_ADDR_H
#define SALLYPORT_BASE_ADDR_H

#include "base/slice.h"

#include <sys/socket.h>

struct ip_addr {
	uint8_t family;		/* AF_INET, AF_INET6; AF_UNSPEC = no address */
	uint8_t octets[16];	/* network order; IPv4 uses the first four, the rest is zero */
};

struct ip_prefix {
	struct ip_addr ip;	/* host bits are zero */
	uint8_t bits;		/* 0..32, 0..128 */
};

struct endpoint {
	struct ip_addr ip;
	uint16_t port;		/* host order */
};

#define IP_TEXT_MAX 46		/* longest text of an IP address, with its NUL */
#define ENDPOINT_TEXT_MAX 72	/* longest of the forms below, with its NUL */

bool ip_equal(const struct ip_addr *a, const struct ip_addr *b);
bool endpoint_equal(const struct endpoint *a, const struct endpoint *b);
unsigned ip_bits(const struct ip_addr *ip);	/* 32 or 128; 0 for no address */
void ip_unmap(struct ip_addr *ip);		/* an IPv4-mapped IPv6 address to what it stands for; others stay */
bool ip_in_prefix(const struct ip_addr *ip, const struct ip_prefix *prefix);

/* All return 0 or -EINVAL and leave *out alone on failure. */
int ip_parse(struct slice text, struct ip_addr *out) __attribute__((warn_unused_result));
int prefix_parse(struct slice text, struct ip_prefix *out) __attribute__((warn_unused_result)); /* "a/n" or "a"; host bits are masked */
int endpoint_parse(struct slice text, struct endpoint *out) __attribute__((warn_unused_result)); /* "1.2.3.4:25", "[::1]:25", or without port (0) */

/* Text into buf of at least the size named above; return buf. */
const char *ip_text(const struct ip_addr *ip, char buf[IP_TEXT_MAX]);			/* "1.2.3.4"; "" for no address */
const char *endpoint_text(const struct endpoint *e, char buf[ENDPOINT_TEXT_MAX]);	/* "1.2.3.4:25", "[::1]:25" */
const char *endpoint_log_text(const struct endpoint *e, char buf[ENDPOINT_TEXT_MAX]);	/* "AF_INET(1.2.3.4:25)", "AF_INET6(::1:25)", "None" */

/* Between these and the kernel's form. The length is 0 for no address. */
socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out);
int endpoint_from_sockaddr(const struct sockaddr_storage *sa, struct endpoint *out) __attribute__((warn_unused_result)); /* -EAFNOSUPPORT */

#endif
