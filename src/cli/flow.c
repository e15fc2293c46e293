/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/flow.h"

#include "base/attributes.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

static const struct { const char *name; uint8_t number; } protocols[] = {
	{ "tcp", 6 }, { "udp", 17 }, { "icmp", 1 }, { "icmpv6", 58 }, { "icmp6", 58 },
};

static int wrong(char *why, size_t size, const char *name, const char *what)
{
	snprintf(why, size, "%s: %s", name, what);
	return -EINVAL;
}

void flow_init(struct flow *flow)
{
	*flow = (struct flow){ .ifgroup = -1, .dst_ifgroup = -1, .reqid = -1, .icmp_type = -1, .icmp_code = -1 };
}

/* "1.2.3.4", "1.2.3.4:25", "::1", "[::1]:25": a bare IPv6 address has no port. */
static int set_endpoint(struct endpoint *out, const char *text)
{
	struct endpoint e = { .port = out->port };

	if (ip_parse(slice_cstr(text), &e.ip) < 0 && endpoint_parse(slice_cstr(text), &e) < 0)
		return -EINVAL;
	*out = e;
	return 0;
}

static int set_protocol(struct flow *flow, const char *text, char *why, size_t size)
{
	uint64_t number;

	for (size_t i = 0; i < ARRAY_LEN(protocols); i++) {
		if (slice_equal_nocase(slice_cstr(text), slice_cstr(protocols[i].name))) {
			flow->protocol = protocols[i].number;
			return 0;
		}
	}
	if (slice_parse_u64(slice_cstr(text), 255, &number) < 0 || number == 0)
		return wrong(why, size, "proto", "must be tcp, udp, icmp, icmpv6, or a number from 1 to 255");
	flow->protocol = (uint8_t)number;
	return 0;
}

static int set_iface(char dst[IFNAME_MAX], const char *name, const char *text, char *why, size_t size)
{
	if (strlen(text) == 0 || strlen(text) >= IFNAME_MAX)
		return wrong(why, size, name, "must be the name of an interface (1 to 15 characters)");
	memcpy(dst, text, strlen(text) + 1);
	return 0;
}

static int set_number(struct flow *flow, const char *name, const char *text, char *why, size_t size)
{
	static const struct { const char *name; uint64_t max; } limits[] = {
		{ "sport", UINT16_MAX }, { "dport", UINT16_MAX }, { "ifgroup", INT32_MAX }, { "dst_ifgroup", INT32_MAX },
		{ "reqid", UINT32_MAX }, { "icmp_type", 255 }, { "icmp_code", 255 },
	};
	size_t i = 0;
	uint64_t n;

	while (i < ARRAY_LEN(limits) && strcmp(limits[i].name, name) != 0)
		i++;
	if (i == ARRAY_LEN(limits))
		return wrong(why, size, name, "a flow has no such property");
	if (slice_parse_u64(slice_cstr(text), limits[i].max, &n) < 0) {
		snprintf(why, size, "%s: must be a number from 0 to %" PRIu64, name, limits[i].max);
		return -EINVAL;
	}
	switch (i) {
	case 0: flow->src.port = (uint16_t)n; break;
	case 1: flow->dst.port = (uint16_t)n; break;
	case 2: flow->ifgroup = (int32_t)n; break;
	case 3: flow->dst_ifgroup = (int32_t)n; break;
	case 4: flow->reqid = (int64_t)n; break;
	case 5: flow->icmp_type = (int16_t)n; break;
	default: flow->icmp_code = (int16_t)n; break;
	}
	return 0;
}

int flow_set(struct flow *flow, const char *name, const char *text, char *why, size_t size)
{
	if (strcmp(name, "proto") == 0)
		return set_protocol(flow, text, why, size);
	if (strcmp(name, "iface") == 0)
		return set_iface(flow->iface, name, text, why, size);
	if (strcmp(name, "dst_iface") == 0)
		return set_iface(flow->dst_iface, name, text, why, size);
	if (strcmp(name, "src") == 0 || strcmp(name, "dst") == 0) {
		if (set_endpoint(name[0] == 's' ? &flow->src : &flow->dst, text) < 0)
			return wrong(why, size, name, "must be an IP address, perhaps with a port: 1.2.3.4:25, [::1]:25");
		return 0;
	}
	return set_number(flow, name, text, why, size);
}

int flow_from_json(const struct json_t *json, struct flow *flow, char *why, size_t size)
{
	const char *name;
	json_t *value;

	flow_init(flow);
	if (!json_is_object(json))
		return wrong(why, size, "flow", "must be an object");
	json_object_foreach((json_t *)json, name, value) {
		char number[32];
		int err;

		if (json_is_null(value))
			continue;
		if (json_is_integer(value))
			snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
		else if (!json_is_string(value))
			return wrong(why, size, name, "must be a string or a number");
		err = flow_set(flow, name, json_is_integer(value) ? number : json_string_value(value), why, size);
		if (err < 0)
			return err;
	}
	return 0;
}

int flow_finish(struct flow *flow, bool *local, char *why, size_t size)
{
	if (local != NULL)
		*local = flow->dst_iface[0] != '\0' || flow->dst_ifgroup >= 0;
	if (flow->protocol == 0)
		return wrong(why, size, "proto", "is missing");
	if (flow->src.ip.family == AF_UNSPEC)
		return wrong(why, size, "src", "is missing");
	if (flow->dst.ip.family == AF_UNSPEC)
		return wrong(why, size, "dst", "is missing");
	if (flow->src.ip.family != flow->dst.ip.family)
		return wrong(why, size, "dst", "is not of the same family as src");
	if (flow->dst_iface[0] != '\0' && strcmp(flow->dst_iface, flow->iface) != 0) {
		flow->dst_iface[0] = '\0';
		flow->dst_ifgroup = -1;
	}
	/* Without names, the groups must at least not contradict each other. */
	if (flow->dst_iface[0] == '\0' && flow->dst_ifgroup != flow->ifgroup)
		flow->dst_ifgroup = -1;
	return 0;
}
