/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/hello.h"

#include <errno.h>

enum { EXT_SERVER_NAME = 0, EXT_SIGNATURES = 13, EXT_ALPN = 16, EXT_VERSIONS = 43 };

/* Reading; a failure leaves nothing. */

static bool take(struct slice *from, size_t n, struct slice *out)
{
	if (from->len < n)
		return false;
	*out = slice_take(*from, n);
	*from = slice_skip(*from, n);
	return true;
}

static bool take_number(struct slice *from, size_t octets, size_t *out)
{
	struct slice s;

	if (!take(from, octets, &s))
		return false;
	*out = 0;
	for (size_t i = 0; i < octets; i++)
		*out = *out << 8 | s.ptr[i];
	return true;
}

/* A vector with a length of that many octets. */
static bool take_vector(struct slice *from, size_t length_octets, struct slice *out)
{
	size_t n;

	return take_number(from, length_octets, &n) && take(from, n, out);
}

/* The whole of it is one vector. */
static bool is_vector(struct slice whole, size_t length_octets, struct slice *out)
{
	return take_vector(&whole, length_octets, out) && whole.len == 0;
}

/* 0x0a0a, 0x1a1a ... (RFC 8701): sent so that nobody gets used to the known values. */
static bool is_grease(size_t value)
{
	return (value & 0x0f0f) == 0x0a0a && (value >> 8) == (value & 0xff);
}

/* Extensions. */

static bool is_server_name(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] <= ' ' || s.ptr[i] > '~')
			return false;
	return s.len > 0 && s.len <= 255;
}

/* One name of the type that exists; a list of more is refused by the library too. */
static bool parse_server_name(struct slice data, struct tls_hello *hello)
{
	struct slice list, name;
	size_t type;

	if (!is_vector(data, 2, &list) || !take_number(&list, 1, &type) || type != 0 || !take_vector(&list, 2, &name))
		return false;
	hello->server_name = name;
	hello->has_server_name = true;
	return list.len == 0 && is_server_name(name);
}

static bool parse_alpn(struct slice data, struct tls_hello *hello)
{
	struct slice list, rest, name;

	if (!is_vector(data, 2, &list) || list.len == 0)
		return false;
	for (rest = list; rest.len > 0;)
		if (!take_vector(&rest, 1, &name) || name.len == 0)
			return false;
	hello->alpn = list;
	return true;
}

static bool parse_versions(struct slice data, struct tls_hello *hello)
{
	struct slice list;
	size_t version, highest = 0;

	if (!is_vector(data, 1, &list) || list.len % 2 != 0)
		return false;
	while (take_number(&list, 2, &version))
		if (!is_grease(version) && version > highest)
			highest = version;
	hello->version = (uint16_t)highest;
	return true;
}

static bool parse_signatures(struct slice data, struct tls_hello *hello)
{
	return is_vector(data, 2, &hello->signatures) && hello->signatures.len % 2 == 0;
}

static const struct {
	uint16_t type;
	bool (*parse)(struct slice data, struct tls_hello *hello);
} known[] = {
	{ EXT_SERVER_NAME, parse_server_name },
	{ EXT_SIGNATURES, parse_signatures },
	{ EXT_ALPN, parse_alpn },
	{ EXT_VERSIONS, parse_versions },
};

static bool parse_extension(size_t type, struct slice data, struct tls_hello *hello, unsigned *seen)
{
	for (size_t i = 0; i < ARRAY_LEN(known); i++) {
		if (known[i].type != type)
			continue;
		if ((*seen & 1u << i) != 0)
			return false;
		*seen |= 1u << i;
		return known[i].parse(data, hello);
	}
	return true;
}

static bool next_extension(struct slice *rest, size_t *type, struct slice *data)
{
	return take_number(rest, 2, type) && take_vector(rest, 2, data);
}

int tls_hello_parse(struct slice message, struct tls_hello *out)
{
	struct tls_hello hello = { 0 };
	struct slice skipped, rest, data;
	size_t version, type;
	unsigned seen = 0;

	if (!take_number(&message, 2, &version) || !take(&message, 32, &skipped) || !take_vector(&message, 1, &skipped) ||
	    !take_vector(&message, 2, &hello.ciphers) || hello.ciphers.len % 2 != 0 || !take_vector(&message, 1, &skipped))
		return -EBADMSG;
	hello.version = (uint16_t)version;
	if (message.len > 0 && !is_vector(message, 2, &hello.extensions))
		return -EBADMSG;
	for (rest = hello.extensions; rest.len > 0;)
		if (!next_extension(&rest, &type, &data) || !parse_extension(type, data, &hello, &seen))
			return -EBADMSG;
	*out = hello;
	return 0;
}

bool tls_alpn_next(struct slice *list, struct slice *name)
{
	return list->len > 0 && take_vector(list, 1, name);
}
