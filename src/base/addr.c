/* SPDX-License-Identifier: Apache-2.0 */
#include "base/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

bool ip_equal(const struct ip_addr *a, const struct ip_addr *b)
{
	return a->family == b->family && memcmp(a->octets, b->octets, sizeof(a->octets)) == 0;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
	return a->port == b->port && ip_equal(&a->ip, &b->ip);
}

unsigned ip_bits(const struct ip_addr *ip)
{
	return ip->family == AF_INET ? 32 : ip->family == AF_INET6 ? 128 : 0;
}

void ip_unmap(struct ip_addr *ip)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct ip_addr v4 = { .family = AF_INET };

	if (ip->family != AF_INET6 || memcmp(ip->octets, mapped, sizeof(mapped)) != 0)
		return;
	memcpy(v4.octets, ip->octets + sizeof(mapped), 4);
	*ip = v4;
}

bool ip_in_prefix(const struct ip_addr *ip, const struct ip_prefix *prefix)
{
	unsigned whole = prefix->bits / 8, rest = prefix->bits % 8;

	if (ip->family != prefix->ip.family || ip_bits(ip) == 0)
		return false;
	if (memcmp(ip->octets, prefix->ip.octets, whole) != 0)
		return false;
	return rest == 0 || ((ip->octets[whole] ^ prefix->ip.octets[whole]) & (0xff00 >> rest) & 0xff) == 0;
}

int ip_parse(struct slice text, struct ip_addr *out)
{
	struct ip_addr ip = { 0 };
	char cstr[IP_TEXT_MAX];

	if (slice_to_cstr(text, cstr, sizeof(cstr)) < 0)
		return -EINVAL;
	ip.family = strchr(cstr, ':') != NULL ? AF_INET6 : AF_INET;
	if (inet_pton(ip.family, cstr, ip.octets) != 1)
		return -EINVAL;
	*out = ip;
	return 0;
}

static void mask_host_bits(struct ip_addr *ip, unsigned bits)
{
	for (unsigned i = bits; i < 8 * sizeof(ip->octets); i++)
		ip->octets[i / 8] &= (uint8_t)~(0x80 >> i % 8);
}

int prefix_parse(struct slice text, struct ip_prefix *out)
{
	struct ip_prefix prefix = { 0 };
	size_t slash = slice_index(text, '/');
	uint64_t bits;

	if (ip_parse(slice_take(text, slash), &prefix.ip) < 0)
		return -EINVAL;
	bits = ip_bits(&prefix.ip);
	if (slash < text.len && slice_parse_u64(slice_skip(text, slash + 1), bits, &bits) < 0)
		return -EINVAL;
	prefix.bits = (uint8_t)bits;
	mask_host_bits(&prefix.ip, prefix.bits);
	*out = prefix;
	return 0;
}

/* "", or ":" and a port. */
static int parse_port_part(struct slice text, uint16_t *out)
{
	uint64_t port = 0;

	if (text.len > 0 && (text.ptr[0] != ':' || slice_parse_u64(slice_skip(text, 1), UINT16_MAX, &port) < 0))
		return -EINVAL;
	*out = (uint16_t)port;
	return 0;
}

int endpoint_parse(struct slice text, struct endpoint *out)
{
	struct endpoint e = { 0 };
	struct slice ip = text, port = { NULL, 0 };

	if (text.len > 0 && text.ptr[0] == '[') {
		size_t end = slice_index(text, ']');

		if (end == text.len)
			return -EINVAL;
		ip = slice_of(text.ptr + 1, end - 1);
		port = slice_skip(text, end + 1);
	} else {
		size_t colon = slice_index(text, ':');

		/* A second colon: a bare IPv6 address, which has no port. */
		if (slice_index(slice_skip(text, colon + 1), ':') == slice_skip(text, colon + 1).len) {
			ip = slice_take(text, colon);
			port = slice_skip(text, colon);
		}
	}
	if (ip_parse(ip, &e.ip) < 0 || parse_port_part(port, &e.port) < 0)
		return -EINVAL;
	if (text.ptr[0] == '[' && e.ip.family != AF_INET6)
		return -EINVAL;
	*out = e;
	return 0;
}

/* Each appends at `at` and returns where the text ends now; a NUL is not written. These are on
 * every session's way (its log lines), and snprintf is not cheap. */
static char *append_number(char *at, unsigned number)
{
	char digits[10];
	size_t n = 0;

	do
		digits[n++] = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	while (n > 0)
		*at++ = digits[--n];
	return at;
}

static char *append_text(char *at, const char *text)
{
	size_t n = strlen(text);

	memcpy(at, text, n);
	return at + n;
}

static char *append_octet(char *at, unsigned octet)
{
	if (octet >= 100)
		*at++ = (char)('0' + octet / 100);
	if (octet >= 10)
		*at++ = (char)('0' + octet / 10 % 10);
	*at++ = (char)('0' + octet % 10);
	return at;
}

static char *append_ip(char *at, const struct ip_addr *ip)
{
	char text[IP_TEXT_MAX];

	if (ip->family == AF_INET6)
		return inet_ntop(AF_INET6, ip->octets, text, sizeof(text)) == NULL ? at : append_text(at, text);
	if (ip->family != AF_INET)
		return at;
	for (int i = 0; i < 4; i++) {
		if (i > 0)
			*at++ = '.';
		at = append_octet(at, ip->octets[i]);
	}
	return at;
}

const char *ip_text(const struct ip_addr *ip, char buf[IP_TEXT_MAX])
{
	*append_ip(buf, ip) = '\0';
	return buf;
}

const char *endpoint_text(const struct endpoint *e, char buf[ENDPOINT_TEXT_MAX])
{
	bool v6 = e->ip.family == AF_INET6;
	char *at = append_ip(append_text(buf, v6 ? "[" : ""), &e->ip);

	at = append_text(at, v6 ? "]:" : ":");
	*append_number(at, e->port) = '\0';
	return buf;
}

const char *endpoint_log_text(const struct endpoint *e, char buf[ENDPOINT_TEXT_MAX])
{
	char *at;

	if (ip_bits(&e->ip) == 0) {
		*append_text(buf, "None") = '\0';
		return buf;
	}
	at = append_ip(append_text(buf, e->ip.family == AF_INET6 ? "AF_INET6(" : "AF_INET("), &e->ip);
	at = append_number(append_text(at, ":"), e->port);
	*append_text(at, ")") = '\0';
	return buf;
}

socklen_t endpoint_to_sockaddr(const struct endpoint *e, struct sockaddr_storage *out)
{
	memset(out, 0, sizeof(*out));
	if (e->ip.family == AF_INET) {
		struct sockaddr_in *in = (struct sockaddr_in *)out;

		in->sin_family = AF_INET;
		in->sin_port = htons(e->port);
		memcpy(&in->sin_addr, e->ip.octets, 4);
		return sizeof(*in);
	}
	if (e->ip.family == AF_INET6) {
		struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(e->port);
		memcpy(&in6->sin6_addr, e->ip.octets, 16);
		return sizeof(*in6);
	}
	return 0;
}

int endpoint_from_sockaddr(const struct sockaddr_storage *sa, struct endpoint *out)
{
	struct endpoint e = { 0 };

	if (sa->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

		e.ip.family = AF_INET;
		memcpy(e.ip.octets, &in->sin_addr, 4);
		e.port = ntohs(in->sin_port);
	} else if (sa->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;

		e.ip.family = AF_INET6;
		memcpy(e.ip.octets, &in6->sin6_addr, 16);
		ip_unmap(&e.ip);
		e.port = ntohs(in6->sin6_port);
	} else {
		return -EAFNOSUPPORT;
	}
	*out = e;
	return 0;
}
