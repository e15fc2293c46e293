/* SPDX-License-Identifier: Apache-2.0 */
#include "session/proxy_header.h"

#include <stdio.h>

#define V2_FIXED 16u			/* octets before the addresses */
#define V2_LOCAL 0x20			/* version 2, command LOCAL */
#define V2_PROXY 0x21
#define V2_TCP4 0x11			/* AF_INET, STREAM */
#define V2_TCP6 0x21
#define MAPPED_OCTETS 12u		/* of an IPv6 address before an IPv4 one */

static const uint8_t v2_signature[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };
static const uint8_t mapped_start[MAPPED_OCTETS] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

static void map_to_v6(struct ip_addr *ip)
{
	if (ip->family != AF_INET)
		return;
	memcpy(ip->octets + MAPPED_OCTETS, ip->octets, 4);
	memcpy(ip->octets, mapped_start, MAPPED_OCTETS);
	ip->family = AF_INET6;
}

bool ip_is_client(const struct ip_addr *ip)
{
	static const struct ip_addr wildcard;

	if (ip_bits(ip) == 0 || memcmp(ip->octets, wildcard.octets, sizeof(ip->octets)) == 0)
		return false;
	/* 224.0.0.0/4 and above, that is reserved addresses and the broadcast too; ff00::/8. */
	return ip->octets[0] < (ip->family == AF_INET ? 0xe0 : 0xff);
}

/* ---- writing ---- */

static size_t write_v1(const struct endpoint *src, const struct endpoint *dst, uint8_t *buf)
{
	char from[IP_TEXT_MAX], to[IP_TEXT_MAX];
	int n = snprintf((char *)buf, PROXY_HEADER_WRITE_MAX, "PROXY TCP%c %s %s %u %u\r\n",
			 src->ip.family == AF_INET ? '4' : '6', ip_text(&src->ip, from), ip_text(&dst->ip, to), src->port,
			 dst->port);

	return (size_t)n;
}

static uint8_t *put(uint8_t *at, const void *octets, size_t n)
{
	memcpy(at, octets, n);
	return at + n;
}

static uint8_t *put_port(uint8_t *at, uint16_t port)
{
	*at++ = (uint8_t)(port >> 8);
	*at++ = (uint8_t)port;
	return at;
}

static size_t write_v2(const struct endpoint *src, const struct endpoint *dst, uint8_t *buf)
{
	size_t address = ip_bits(&src->ip) / 8;
	uint8_t *at = put(buf, v2_signature, sizeof(v2_signature));

	*at++ = V2_PROXY;
	*at++ = src->ip.family == AF_INET ? V2_TCP4 : V2_TCP6;
	at = put_port(at, (uint16_t)(2 * address + 4));
	at = put(at, src->ip.octets, address);
	at = put(at, dst->ip.octets, address);
	at = put_port(put_port(at, src->port), dst->port);
	return (size_t)(at - buf);
}

size_t proxy_header_write(unsigned version, const struct endpoint *src, const struct endpoint *dst,
			  uint8_t buf[PROXY_HEADER_WRITE_MAX])
{
	struct endpoint from = *src, to = *dst;

	if (from.ip.family != to.ip.family) {
		map_to_v6(&from.ip);
		map_to_v6(&to.ip);
	}
	return version == 1 ? write_v1(&from, &to, buf) : write_v2(&from, &to, buf);
}

/* ---- reading ---- */

static enum proxy_header_result bad(const char **why, const char *what)
{
	*why = what;
	return PROXY_HEADER_BAD;
}

/* Both addresses are there: what is said of them in either version. */
static enum proxy_header_result finish(struct proxy_header *h, struct proxy_header *out, const char **why)
{
	ip_unmap(&h->src.ip);
	ip_unmap(&h->dst.ip);
	if (!ip_is_client(&h->src.ip))
		return bad(why, "address-of-no-client");
	*out = *h;
	return PROXY_HEADER_OK;
}

/* The next word of a line whose words are divided by exactly one space. */
static struct slice take_word(struct slice *line)
{
	struct slice word = slice_take(*line, slice_index(*line, ' '));

	*line = slice_skip(*line, word.len + 1);
	return word;
}

/* "Heading zeroes are not permitted", in ports and in the parts of IPv4 addresses. */
static int parse_port(struct slice word, uint16_t *out)
{
	uint64_t port;

	if ((word.len > 1 && word.ptr[0] == '0') || slice_parse_u64(word, UINT16_MAX, &port) < 0)
		return -1;
	*out = (uint16_t)port;
	return 0;
}

static int parse_ip(struct slice word, uint8_t family, struct ip_addr *out)
{
	return ip_parse(word, out) < 0 || out->family != family ? -1 : 0;
}

/*
 * "PROXY" SP ("TCP4" / "TCP6") SP address SP address SP port SP port, without the CRLF. Empty
 * words (two spaces, one at the end) fail as addresses or ports.
 */
static enum proxy_header_result parse_v1_line(struct slice line, struct proxy_header *h, struct proxy_header *out,
					      const char **why)
{
	struct slice rest = slice_skip(line, sizeof("PROXY ") - 1), protocol = take_word(&rest);
	uint8_t family = slice_is(protocol, "TCP6") ? AF_INET6 : AF_INET;

	if (slice_is(protocol, "UNKNOWN"))
		return bad(why, "no-address");
	if (!slice_is(protocol, "TCP4") && !slice_is(protocol, "TCP6"))
		return bad(why, "unknown-protocol");
	if (parse_ip(take_word(&rest), family, &h->src.ip) < 0 || parse_ip(take_word(&rest), family, &h->dst.ip) < 0)
		return bad(why, "malformed-address");
	if (parse_port(take_word(&rest), &h->src.port) < 0)
		return bad(why, "malformed-port");
	/* The last word is the rest: a space in it is no digit. */
	if (parse_port(rest, &h->dst.port) < 0)
		return bad(why, "malformed-port");
	return finish(h, out, why);
}

static enum proxy_header_result parse_v1(struct slice octets, struct proxy_header *out, const char **why)
{
	struct slice start = slice_take(octets, PROXY_HEADER_V1_MAX);
	struct proxy_header h = { .version = 1 };
	size_t end;

	for (end = 0; end < start.len && start.ptr[end] >= 0x20 && start.ptr[end] <= 0x7e; end++)
		;
	if (end == start.len)
		return start.len < PROXY_HEADER_V1_MAX ? PROXY_HEADER_MORE : bad(why, "line-too-long");
	if (start.ptr[end] != '\r')
		return bad(why, "control-octet");
	if (end + 1 == start.len)
		return start.len < PROXY_HEADER_V1_MAX ? PROXY_HEADER_MORE : bad(why, "line-too-long");
	if (start.ptr[end + 1] != '\n')
		return bad(why, "bare-cr");
	h.octets = end + 2;
	return parse_v1_line(slice_take(start, end), &h, out, why);
}

static unsigned two_octets(const uint8_t *at)
{
	return (unsigned)at[0] << 8 | at[1];
}

static enum proxy_header_result parse_v2(struct slice octets, struct proxy_header *out, const char **why)
{
	struct proxy_header h = { .version = 2 };
	const uint8_t *p = octets.ptr;
	size_t address, length;

	/* Each octet is judged as soon as it is there: a sender that is wrong is told so at once. */
	if (octets.len > 12 && p[12] != V2_LOCAL && p[12] != V2_PROXY)
		return bad(why, "unknown-version-or-command");
	if (octets.len > 13 && p[12] == V2_PROXY && p[13] != V2_TCP4 && p[13] != V2_TCP6)
		return bad(why, "no-address");
	if (octets.len < V2_FIXED)
		return PROXY_HEADER_MORE;
	length = two_octets(p + 14);
	if (length > PROXY_HEADER_V2_MAX - V2_FIXED)
		return bad(why, "header-too-long");
	address = p[13] == V2_TCP4 ? 4 : 16;
	if (p[12] == V2_PROXY && length < 2 * address + 4)
		return bad(why, "header-too-short");
	if (octets.len < V2_FIXED + length)
		return PROXY_HEADER_MORE;
	h.octets = V2_FIXED + length;
	if (p[12] == V2_LOCAL) {
		h.local = true;
		*out = h;
		return PROXY_HEADER_OK;
	}
	h.src.ip.family = h.dst.ip.family = p[13] == V2_TCP4 ? AF_INET : AF_INET6;
	memcpy(h.src.ip.octets, p + V2_FIXED, address);
	memcpy(h.dst.ip.octets, p + V2_FIXED + address, address);
	h.src.port = (uint16_t)two_octets(p + V2_FIXED + 2 * address);
	h.dst.port = (uint16_t)two_octets(p + V2_FIXED + 2 * address + 2);
	return finish(&h, out, why);
}

/* As far as both go. */
static bool may_become(struct slice octets, struct slice start)
{
	return slice_equal(slice_take(octets, start.len), slice_take(start, octets.len));
}

enum proxy_header_result proxy_header_parse(struct slice octets, struct proxy_header *out, const char **why)
{
	if (octets.len == 0)
		return PROXY_HEADER_MORE;
	if (may_become(octets, SLICE("PROXY ")))
		return octets.len < sizeof("PROXY ") - 1 ? PROXY_HEADER_MORE : parse_v1(octets, out, why);
	if (may_become(octets, slice_of(v2_signature, sizeof(v2_signature))))
		return parse_v2(octets, out, why);
	return bad(why, "no-header");
}

#define V1_SHORTEST (sizeof("PROXY TCP6 ::1 ::1 1 1\r\n") - 1)

/* Both versions are longer than the fixed part of the second. */
size_t proxy_header_missing(struct slice octets)
{
	size_t whole = octets.len > 0 && octets.ptr[0] == 'P' ? V1_SHORTEST : V2_FIXED;

	if (octets.len >= V2_FIXED && octets.ptr[0] == v2_signature[0])
		whole = V2_FIXED + two_octets(octets.ptr + 14);
	if (octets.len < whole)
		return whole - octets.len;
	return octets.ptr[octets.len - 1] == '\r' ? 1 : 2;
}
