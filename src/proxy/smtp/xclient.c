/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/smtp/xclient.h"

#include "proxy/smtp/address.h"
#include "session/proxy_header.h"

#include <errno.h>
#include <stdio.h>

#define UNAVAILABLE SLICE("[UNAVAILABLE]")

/* ---- values ---- */

/* The value's own octets, unquoted. 0; -EBADMSG (no xtext, or over the limit). */
static int decode(struct slice in, char out[SMTP_XCLIENT_VALUE_MAX], size_t *len)
{
	size_t n = 0;

	for (size_t i = 0; i < in.len; i++) {
		uint8_t octet = in.ptr[i];

		if (octet <= ' ' || octet > '~' || octet == '=' || n == SMTP_XCLIENT_VALUE_MAX)
			return -EBADMSG;
		if (octet == '+') {
			unsigned value = 0;

			if (in.len - i < 3)
				return -EBADMSG;
			for (unsigned k = 1; k <= 2; k++) {
				uint8_t digit = in.ptr[i + k];

				if (ascii_is_digit(digit))
					value = value * 16 + (digit - '0');
				else if (digit >= 'A' && digit <= 'F')	/* hexchar has no lower case */
					value = value * 16 + (digit - 'A') + 10u;
				else
					return -EBADMSG;
			}
			octet = (uint8_t)value;
			i += 2;
		}
		out[n++] = (char)octet;
	}
	*len = n;
	return 0;
}

static bool is_unknown(struct slice value)
{
	return slice_equal_nocase(value, UNAVAILABLE) || slice_equal_nocase(value, SLICE("[TEMPUNAVAIL]"));
}

/* ADDR and DESTADDR: an IPv4 address, or "IPV6:" and an IPv6 address. */
static int parse_address(struct slice value, struct ip_addr *out)
{
	bool v6 = slice_starts_with_nocase(value, SLICE("IPV6:"));
	struct ip_addr ip;

	if (ip_parse(v6 ? slice_skip(value, 5) : value, &ip) < 0 || (ip.family == AF_INET6) != v6)
		return -EBADMSG;
	ip_unmap(&ip);
	*out = ip;
	return 0;
}

static int parse_port(struct slice value, uint16_t *out)
{
	uint64_t port;

	if (value.len > 5 || slice_parse_u64(value, UINT16_MAX, &port) < 0 || port == 0)
		return -EBADMSG;
	*out = (uint16_t)port;
	return 0;
}

/* ---- reading ---- */

static int take_client_address(struct slice value, struct smtp_xclient *out)
{
	return parse_address(value, &out->client.ip) < 0 || !ip_is_client(&out->client.ip) ? -EBADMSG : 0;
}

static int take_client_port(struct slice value, struct smtp_xclient *out)
{
	return parse_port(value, &out->client.port);
}

static int take_wanted_address(struct slice value, struct smtp_xclient *out)
{
	return parse_address(value, &out->wanted.ip);
}

static int take_wanted_port(struct slice value, struct smtp_xclient *out)
{
	return parse_port(value, &out->wanted.port);
}

/* It ends up in trace headers and in the command to the next server. */
static int take_name(struct slice value, struct smtp_xclient *out)
{
	if (!smtp_is_domain(value))
		return -EBADMSG;
	out->name = value;
	return 0;
}

static const struct attribute_row {
	const char *name;
	unsigned bit;
	int (*take)(struct slice value, struct smtp_xclient *out);	/* NULL: not offered to clients */
	const char *why;
} rows[] = {
	{ "NAME",     SMTP_XCLIENT_NAME,     take_name,           "5.5.4 NAME is no host name" },
	{ "ADDR",     SMTP_XCLIENT_ADDR,     take_client_address, "5.5.4 ADDR is no address of a client" },
	{ "PORT",     SMTP_XCLIENT_PORT,     take_client_port,    "5.5.4 PORT is no port" },
	{ "PROTO",    SMTP_XCLIENT_PROTO,    NULL,                NULL },
	{ "HELO",     SMTP_XCLIENT_HELO,     NULL,                NULL },
	{ "LOGIN",    SMTP_XCLIENT_LOGIN,    NULL,                NULL },
	{ "DESTADDR", SMTP_XCLIENT_DESTADDR, take_wanted_address, "5.5.4 DESTADDR is no address" },
	{ "DESTPORT", SMTP_XCLIENT_DESTPORT, take_wanted_port,    "5.5.4 DESTPORT is no port" },
};

static const struct attribute_row *row_named(struct slice name)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (slice_equal_nocase(name, slice_cstr(rows[i].name)))
			return &rows[i];
	return NULL;
}

static int refuse(const char **why, const char *text)
{
	*why = text;
	return -EBADMSG;
}

static int parse_item(struct slice item, char room[SMTP_XCLIENT_VALUE_MAX], unsigned *seen, struct smtp_xclient *out,
		      const char **why)
{
	size_t sign = slice_index(item, '='), len;
	const struct attribute_row *row = row_named(slice_take(item, sign));
	char scratch[SMTP_XCLIENT_VALUE_MAX], *decoded;

	if (row == NULL || row->take == NULL || sign == item.len)
		return refuse(why, "5.5.4 Unknown XCLIENT attribute");
	if ((*seen & row->bit) != 0)
		return refuse(why, "5.5.4 XCLIENT attribute given twice");
	*seen |= row->bit;
	decoded = row->bit == SMTP_XCLIENT_NAME ? room : scratch;	/* the name is kept */
	if (decode(slice_skip(item, sign + 1), decoded, &len) < 0)
		return refuse(why, row->why);
	if (is_unknown(slice_of(decoded, len)) && row->bit != SMTP_XCLIENT_ADDR)
		return 0;
	return row->take(slice_of(decoded, len), out) < 0 ? refuse(why, row->why) : 0;
}

int smtp_xclient_parse(struct slice param, char name_room[SMTP_XCLIENT_VALUE_MAX], struct smtp_xclient *out,
		       const char **why)
{
	struct smtp_xclient x = { .client.ip.family = AF_UNSPEC };
	unsigned seen = 0;

	while (param.len > 0) {
		struct slice item = slice_take(param, slice_index(param, ' '));
		int err;

		param = slice_skip(param, item.len + 1);
		if (item.len == 0)
			continue;
		err = parse_item(item, name_room, &seen, &x, why);
		if (err < 0)
			return err;
	}
	if ((seen & SMTP_XCLIENT_ADDR) == 0)
		return refuse(why, "5.5.4 XCLIENT needs ADDR");
	*out = x;
	return 0;
}

unsigned smtp_xclient_offered(struct slice line)
{
	unsigned offered = 0;
	size_t word = slice_index(line, ' ');

	if (!slice_equal_nocase(slice_take(line, word), SLICE("XCLIENT")))
		return 0;
	while (line.len > 0) {
		const struct attribute_row *row = row_named(slice_take(line, slice_index(line, ' ')));

		offered |= row != NULL ? row->bit : 0;	/* later versions may know more */
		line = slice_skip(line, slice_index(line, ' ') + 1);
	}
	return offered;
}

/* ---- writing ---- */

struct writer {
	char *buf;
	size_t len;
	unsigned offered;
};

/* " NAME=value", the value as xtext, or [UNAVAILABLE] for one that is empty or has no room. keep:
 * octets that must stay free for what comes behind. */
static void put(struct writer *w, unsigned bit, struct slice value, size_t keep)
{
	static const char hex[] = "0123456789ABCDEF";
	const char *name = NULL;
	size_t start, n = 0;

	if ((w->offered & bit) == 0)
		return;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		if (rows[i].bit == bit)
			name = rows[i].name;
	w->len += (size_t)snprintf(w->buf + w->len, SMTP_XCLIENT_LINE_MAX - w->len, " %s=", name);
	start = w->len;
	if (value.len == 0 || value.len > SMTP_XCLIENT_VALUE_MAX)
		value = UNAVAILABLE;
	for (size_t i = 0; i < value.len; i++) {
		uint8_t c = value.ptr[i];
		bool quote = c <= ' ' || c > '~' || c == '+' || c == '=';

		if (start + n + (quote ? 3 : 1) + keep > SMTP_XCLIENT_LINE_MAX) {
			memcpy(w->buf + start, UNAVAILABLE.ptr, UNAVAILABLE.len);
			n = UNAVAILABLE.len;
			break;
		}
		if (quote) {
			w->buf[start + n++] = '+';
			w->buf[start + n++] = hex[c >> 4];
			c = (uint8_t)hex[c & 15];
		}
		w->buf[start + n++] = (char)c;
	}
	w->len = start + n;
}

static void put_endpoint(struct writer *w, unsigned address_bit, unsigned port_bit, const struct endpoint *e)
{
	char ip[IP_TEXT_MAX], text[IP_TEXT_MAX + 8], port[8];
	int n = snprintf(text, sizeof(text), "%s%s", e->ip.family == AF_INET6 ? "IPV6:" : "", ip_text(&e->ip, ip));

	put(w, address_bit, slice_of(text, (size_t)n), 0);
	n = e->port != 0 ? snprintf(port, sizeof(port), "%u", e->port) : 0;
	put(w, port_bit, slice_of(port, (size_t)n), 0);
}

size_t smtp_xclient_write(unsigned offered, const struct smtp_xclient *what, char buf[SMTP_XCLIENT_LINE_MAX])
{
	struct writer w = { .buf = buf, .offered = offered };

	memcpy(buf, "XCLIENT", 7);
	w.len = 7;
	/* What is short and matters most comes first, names have what room is left. */
	put_endpoint(&w, SMTP_XCLIENT_ADDR, SMTP_XCLIENT_PORT, &what->client);
	put_endpoint(&w, SMTP_XCLIENT_DESTADDR, SMTP_XCLIENT_DESTPORT, &what->wanted);
	put(&w, SMTP_XCLIENT_PROTO, what->protocol, 0);
	put(&w, SMTP_XCLIENT_LOGIN, slice_of(NULL, 0), 0);
	put(&w, SMTP_XCLIENT_NAME, what->name, sizeof(" HELO=[UNAVAILABLE]") - 1);
	put(&w, SMTP_XCLIENT_HELO, what->helo, 0);
	return w.len;
}
