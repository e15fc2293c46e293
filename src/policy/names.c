/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A snapshot as octets: numbers least significant octet first, counts before what they count.
 *
 *	"SPNAMES1" n { length name state since n { family address } }
 */
#include "policy/names.h"

#include "base/octets.h"

#include <errno.h>

#define LABEL_MAX 63u

static const uint8_t magic[8] = "SPNAMES1";

const char *const host_state_names[HOST_STATES] = {
	[HOST_PENDING] = "pending",
	[HOST_KNOWN] = "known",
	[HOST_STALE] = "stale",
};

static bool is_host_octet(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || ascii_is_digit(c) || c == '-' || c == '_';
}

bool host_name_is_plain(struct slice name)
{
	struct ip_addr ip;
	size_t label = 0;

	if (name.len == 0 || name.len > HOST_OCTETS_MAX || ip_parse(name, &ip) == 0)
		return false;
	for (size_t i = 0; i < name.len; i++) {
		if (name.ptr[i] == '.' ? label == 0 : !is_host_octet(name.ptr[i]))
			return false;
		label = name.ptr[i] == '.' ? 0 : label + 1;
		if (label > LABEL_MAX)
			return false;
	}
	return label > 0;
}

static int compare_ips(const struct ip_addr *a, const struct ip_addr *b)
{
	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	return memcmp(a->octets, b->octets, sizeof(a->octets));
}

static int compare_names(struct slice a, struct slice b)
{
	int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

	return order != 0 ? order : a.len < b.len ? -1 : a.len > b.len;
}

/* ---- writing ---- */

void names_pack(const struct names_snapshot *s, struct buffer *out)
{
	buffer_append(out, slice_of(magic, sizeof(magic)));
	octets_put_number(out, s->n_hosts, 4);
	for (size_t i = 0; i < s->n_hosts; i++) {
		const struct host_record *h = &s->hosts[i];

		octets_put_number(out, h->name.len, 1);
		buffer_append(out, h->name);
		octets_put_number(out, h->state, 1);
		octets_put_number(out, (uint64_t)h->since_wall_ms, 8);
		octets_put_number(out, h->n_addrs, 1);
		for (size_t k = 0; k < h->n_addrs; k++) {
			octets_put_number(out, h->addrs[k].family == AF_INET ? 4 : 6, 1);
			octets_put_address(out, &h->addrs[k]);
		}
	}
}

/* ---- reading ---- */

static void get_address(struct octets_reader *r, struct ip_addr *out)
{
	uint64_t version = octets_number(r, 1);

	r->bad = r->bad || (version != 4 && version != 6);
	octets_address(r, version == 4 ? AF_INET : AF_INET6, out);
}

static int get_addresses(struct octets_reader *r, struct arena *arena, struct host_record *h)
{
	size_t n = octets_number(r, 1);
	struct ip_addr *addrs;

	if (r->bad || n > HOST_ADDRESSES_MAX)
		return -EINVAL;
	addrs = arena_array(arena, n, sizeof(*addrs));
	if (addrs == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		get_address(r, &addrs[i]);
		if (r->bad || (i > 0 && compare_ips(&addrs[i - 1], &addrs[i]) >= 0))
			return -EINVAL;
	}
	h->addrs = addrs;
	h->n_addrs = n;
	return 0;
}

static int get_host(struct octets_reader *r, struct arena *arena, struct host_record *h)
{
	h->name = octets_take(r, octets_number(r, 1));
	h->state = (uint8_t)octets_number(r, 1);
	h->since_wall_ms = (int64_t)octets_number(r, 8);
	if (r->bad || !host_name_is_plain(h->name) || h->state >= HOST_STATES)
		return -EINVAL;
	return get_addresses(r, arena, h);
}

int names_unpack(struct slice octets, struct arena *arena, struct names_snapshot *out)
{
	struct octets_reader r = { octets, false };
	bool ours = slice_equal(octets_take(&r, sizeof(magic)), slice_of(magic, sizeof(magic)));
	size_t n = octets_number(&r, 4);
	struct host_record *hosts;
	int err = 0;

	if (!ours || r.bad || n > SNAPSHOT_HOSTS_MAX)
		return -EINVAL;
	hosts = arena_array(arena, n, sizeof(*hosts));
	if (hosts == NULL)
		return -ENOMEM;
	for (size_t i = 0; err == 0 && i < n; i++) {
		err = get_host(&r, arena, &hosts[i]);
		if (err == 0 && i > 0 && compare_names(hosts[i - 1].name, hosts[i].name) >= 0)
			err = -EINVAL;
	}
	if (err == 0 && r.rest.len > 0)
		err = -EINVAL;
	if (err == 0)
		*out = (struct names_snapshot){ hosts, n };
	return err;
}

const struct host_record *names_find(const struct names_snapshot *s, struct slice name)
{
	size_t low = 0, high = s->n_hosts;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = compare_names(s->hosts[middle].name, name);

		if (order == 0)
			return &s->hosts[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}
