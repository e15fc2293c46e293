/* SPDX-License-Identifier: Apache-2.0 */
/* Octets: from their text in the file to what is sent and what must be received. */
#include "run.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int hex(int c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

#define ANY_OCTETS 0x100u	/* "\*": any octets of a line */
#define BOUNDARY 0x101u		/* "|": a segment ends here */

/* Text with C escapes into codes of octets, and the two above. Returns the number. */
static size_t unescape(struct run *r, const char *text, uint16_t *out)
{
	size_t n = 0;

	for (const char *p = text; *p != '\0'; p++) {
		if (*p == '|') {
			out[n++] = BOUNDARY;
			continue;
		}
		if (*p != '\\') {
			out[n++] = (uint8_t)*p;
			continue;
		}
		p++;
		switch (*p) {
		case 'r': out[n++] = '\r'; break;
		case 'n': out[n++] = '\n'; break;
		case 't': out[n++] = '\t'; break;
		case '0': out[n++] = 0; break;
		case 's': out[n++] = ' '; break;
		case '*': out[n++] = ANY_OCTETS; break;
		case '\\': case '|': case '#': out[n++] = (uint8_t)*p; break;
		case 'x':
			if (hex(p[1]) < 0 || hex(p[2]) < 0) {
				fail(r, "\\x wants two hexadecimal digits");
				return n;
			}
			out[n++] = (uint16_t)(hex(p[1]) * 16 + hex(p[2]));
			p += 2;
			break;
		case '{': {	/* \{N*C}: the octet C, N times */
			char *end;
			unsigned long count = strtoul(p + 1, &end, 10);

			if (*end != '*' || end[1] == '\0' || end[2] != '}' || count > OCTETS_MAX / 4) {
				fail(r, "a repetition is \\{N*C}");
				return n;
			}
			for (unsigned long i = 0; i < count; i++)
				out[n++] = (uint8_t)end[1];
			p = end + 2;
			break;
		}
		default:
			fail(r, "unknown escape \\%c", *p);
			return n;
		}
	}
	return n;
}

void send_octets(struct run *r, int side, const char *text)
{
	static uint16_t codes[OCTETS_MAX];
	static uint8_t segment[OCTETS_MAX];
	int *fd = far_end(r, side);
	size_t n = unescape(r, text, codes), len = 0;

	if (r->tls[side] != NULL && tls_peer_step(r->tls[side]) != TLS_PEER_DONE)
		fail(r, "the TLS handshake of the %s is not done", side_names[side]);
	for (size_t i = 0; i <= n; i++) {
		bool boundary = i == n || codes[i] == BOUNDARY;

		if (!boundary)
			segment[len++] = (uint8_t)codes[i];
		if (!boundary && !r->in_drops)
			continue;
		for (size_t sent = 0; sent < len;) {
			ssize_t k = *fd >= 0 ? write_side(r, side, segment + sent, len - sent) : -1;

			/* A side that was cut off may write into nothing: what it must not do is see an answer. */
			if (k < 0 && errno != EAGAIN)
				break;
			sent += k > 0 ? (size_t)k : 0;
			settle(r);
			if (k < 0 && errno == EAGAIN && r->h.ended)
				break;
		}
		len = 0;
		settle(r);
	}
}

static bool matches(const uint16_t *want, size_t n_want, struct slice have, size_t *used)
{
	size_t at = 0;

	for (size_t i = 0; i < n_want; i++) {
		if (want[i] == BOUNDARY)
			continue;
		if (want[i] == ANY_OCTETS) {
			while (at < have.len && have.ptr[at] != '\r' && have.ptr[at] != '\n' &&
			       (i + 1 == n_want || have.ptr[at] != want[i + 1]))
				at++;
			continue;
		}
		if (at == have.len || have.ptr[at] != want[i])
			return false;
		at++;
	}
	*used = at;
	return true;
}

void receive_octets(struct run *r, int side, const char *text)
{
	static uint16_t codes[OCTETS_MAX];
	static uint8_t wanted[OCTETS_MAX];
	size_t n = unescape(r, text, codes), used = 0, len = 0;
	struct octets *o = &r->from_proxy[side];

	settle(r);
	if (matches(codes, n, slice_of(o->data, o->len), &used)) {
		memmove(o->data, o->data + used, o->len - used);
		o->len -= used;
		return;
	}
	for (size_t i = 0; i < n; i++)
		if (codes[i] != BOUNDARY)
			wanted[len++] = codes[i] == ANY_OCTETS ? '*' : (uint8_t)codes[i];
	fail(r, "the %s did not receive what it must", side_names[side]);
	show("must", slice_of(wanted, len));
	show("has ", slice_of(o->data, o->len));
	side = side == CLIENT ? SERVER : CLIENT;
	show(side == CLIENT ? "client has" : "server has", slice_of(r->from_proxy[side].data, r->from_proxy[side].len));
	if (r->h.ended)
		printf("#   the session ended: fault=%s reason=%s\n", fault_names[r->h.fault], r->h.reason);
}

void check_waits(struct run *r, int side)
{
	const struct octets *o = &r->from_proxy[side];

	settle(r);
	if (o->len == 0)
		return;
	fail(r, "the %s received more than it must", side_names[side]);
	show("has ", slice_of(o->data, o->len));
}
