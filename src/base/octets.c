/* SPDX-License-Identifier: Apache-2.0 */
#include "base/octets.h"

static size_t address_octets(uint8_t family)
{
	return family == AF_INET ? 4 : 16;
}

struct slice octets_take(struct octets_reader *r, size_t n)
{
	struct slice out = slice_take(r->rest, n);

	r->bad = r->bad || r->rest.len < n;
	if (r->bad)
		return slice_of(NULL, 0);
	r->rest = slice_skip(r->rest, n);
	return out;
}

uint64_t octets_number(struct octets_reader *r, size_t n)
{
	struct slice raw = octets_take(r, n);
	uint64_t value = 0;

	for (size_t i = 0; i < raw.len; i++)
		value |= (uint64_t)raw.ptr[i] << (8 * i);
	return value;
}

void octets_address(struct octets_reader *r, uint8_t family, struct ip_addr *out)
{
	struct slice raw = octets_take(r, address_octets(family));

	*out = (struct ip_addr){ .family = family };
	if (raw.len > 0)
		memcpy(out->octets, raw.ptr, raw.len);
}

void octets_put_number(struct buffer *out, uint64_t value, size_t n)
{
	uint8_t raw[8];

	for (size_t i = 0; i < n; i++)
		raw[i] = (uint8_t)(value >> (8 * i));
	buffer_append(out, slice_of(raw, n));
}

void octets_put_address(struct buffer *out, const struct ip_addr *ip)
{
	buffer_append(out, slice_of(ip->octets, address_octets(ip->family)));
}
