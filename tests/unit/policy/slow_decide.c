/* SPDX-License-Identifier: Apache-2.0 */
#include "slow_decide.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define DOCUMENT_MAX 131072

static const char *const list_names[SLOW_LISTS] = {
	"iface", "ifgroup", "reqid", "proto", "proto_type", "proto_subtype", "src_port", "dst_port", "src_zone",
	"dst_zone", "dst_iface", "dst_ifgroup",
};

static unsigned (*pick)(unsigned n);

/* ---- making them ---- */

static const unsigned protos[] = { 6, 17, 1, 58, 47 };
static const unsigned ports[] = { 0, 25, 80, 81, 1024, 65535 };

static slow_wide random_address(bool six)
{
	if (six)
		return ((slow_wide)0x20010db8 << 96) | ((slow_wide)pick(3) << 64) | pick(4);
	return (10u << 24) | (pick(3) << 16) | (pick(3) << 8) | pick(4);
}

static struct slow_net random_net(void)
{
	static const unsigned bits4[] = { 0, 8, 16, 24, 30, 32 }, bits6[] = { 0, 32, 64, 127, 128 };
	struct slow_net net = { .six = pick(3) == 0 };
	unsigned width = net.six ? 128 : 32;

	net.bits = net.six ? bits6[pick(5)] : bits4[pick(6)];
	net.value = random_address(net.six);
	if (net.bits == 0)
		net.value = 0;
	else
		net.value = net.value >> (width - net.bits) << (width - net.bits);
	return net;
}

static bool is_taken(const struct slow_policy *p, const struct slow_net *net)
{
	for (size_t i = 0; i < p->n_zones; i++)
		for (size_t j = 0; j < p->zones[i].n; j++)
			if (p->zones[i].nets[j].six == net->six && p->zones[i].nets[j].bits == net->bits &&
			    p->zones[i].nets[j].value == net->value)
				return true;
	return false;
}

static unsigned random_value(const struct slow_policy *p, int list)
{
	switch (list) {
	case PROTO:
		return protos[pick(5)];
	case SPORT:
	case DPORT:
		return ports[pick(6)];
	case SZONE:
	case DZONE:
		return pick((unsigned)p->n_zones);
	default:
		return pick(3);
	}
}

static void random_list(const struct slow_policy *p, int which, struct slow_list *list)
{
	list->n = pick(3) == 0 ? 1 + pick(SLOW_LIST_MAX) : 0;
	for (size_t i = 0; i < list->n; i++) {
		list->v[i] = list->w[i] = random_value(p, which);
		if ((which == SPORT || which == DPORT) && pick(2) == 0)
			list->w[i] = ports[pick(6)];
		if (list->w[i] < list->v[i])
			list->w[i] = 65535;
	}
}

static void random_nets(struct slow_nets *nets)
{
	nets->n = pick(4) == 0 ? 1 + pick(SLOW_LIST_MAX) : 0;
	for (size_t i = 0; i < nets->n; i++)
		nets->v[i] = random_net();
}

static void random_conditions(const struct slow_policy *p, struct slow_rule *r)
{
	for (int l = 0; l < SLOW_LISTS; l++)
		random_list(p, l, &r->lists[l]);
	random_nets(&r->src);
	random_nets(&r->dst);
}

void slow_policy_make(struct slow_policy *p, unsigned (*choose)(unsigned n))
{
	pick = choose;
	memset(p, 0, sizeof(*p));
	for (unsigned want = 1 + pick(SLOW_ZONES_MAX); p->n_zones < want; p->n_zones++) {
		struct slow_zone *z = &p->zones[p->n_zones];

		z->parent = p->n_zones > 0 && pick(2) == 0 ? (int)pick((unsigned)p->n_zones) : -1;
		for (unsigned i = pick(SLOW_LIST_MAX + 1); i > 0; i--) {
			struct slow_net net = random_net();
			bool twice = is_taken(p, &net);

			for (size_t j = 0; j < z->n; j++)
				twice |= z->nets[j].six == net.six && z->nets[j].bits == net.bits &&
					 z->nets[j].value == net.value;
			if (!twice)
				z->nets[z->n++] = net;
		}
	}
	p->n_rules = pick(SLOW_RULES_MAX + 1);
	for (size_t i = 0; i < p->n_rules; i++) {
		struct slow_rule *r = &p->rules[i];

		if (i > 0 && pick(5) == 0)
			*r = p->rules[pick((unsigned)i)];	/* a tie, if it wins */
		else
			random_conditions(p, r);
		/* Ids go down as often as up, and the two instances use the same ones. */
		r->instance = (unsigned)(i & 1);
		r->id = 1 + (unsigned)(i / 2 * 5 % 7);
	}
}

/* ---- as a document ---- */

struct text { char *s; size_t n, size; };

static void put(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void put(struct text *t, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	t->n += (size_t)vsnprintf(t->s + t->n, t->size - t->n, format, ap);
	va_end(ap);
	if (t->n >= t->size)
		abort();
}

static void put_net(struct text *t, const struct slow_net *net)
{
	if (net->six) {
		for (int i = 7; i >= 0; i--)
			put(t, "%s%x%s", i == 7 ? "\"" : "", (unsigned)(net->value >> (16 * i)) & 0xffff, i > 0 ? ":" : "");
	} else {
		for (int i = 3; i >= 0; i--)
			put(t, "%s%u%s", i == 3 ? "\"" : "", (unsigned)(net->value >> (8 * i)) & 0xff, i > 0 ? "." : "");
	}
	put(t, "/%u\"", net->bits);
}

static void put_nets(struct text *t, const struct slow_net *nets, size_t n)
{
	put(t, "[");
	for (size_t i = 0; i < n; i++) {
		put(t, "%s", i > 0 ? "," : "");
		put_net(t, &nets[i]);
	}
	put(t, "]");
}

static void put_rule(struct text *t, const struct slow_rule *r)
{
	put(t, "{\"id\":%u,\"instance\":%u,\"service\":0", r->id, r->instance);
	for (int l = 0; l < SLOW_LISTS; l++) {
		put(t, ",\"%s\":[", list_names[l]);
		for (size_t i = 0; i < r->lists[l].n; i++) {
			const char *comma = i > 0 ? "," : "";
			unsigned v = r->lists[l].v[i];

			if (l == IFACE || l == DIFACE)
				put(t, "%s\"eth%u\"", comma, v);
			else if (l == SPORT || l == DPORT)
				put(t, "%s[%u,%u]", comma, v, r->lists[l].w[i]);
			else
				put(t, "%s%u", comma, v);
		}
		put(t, "]");
	}
	put(t, ",\"src_subnet\":");
	put_nets(t, r->src.v, r->src.n);
	put(t, ",\"dst_subnet\":");
	put_nets(t, r->dst.v, r->dst.n);
	put(t, "}");
}

char *slow_document(const struct slow_policy *p)
{
	struct text t = { malloc(DOCUMENT_MAX), 0, DOCUMENT_MAX };

	if (t.s == NULL)
		abort();
	put(&t, "{\"format\":\"sallyport-policy\",\"version\":1,\"files\":[\"/p.py\"],\"instances\":[\"a\",\"b\"],"
	    "\"configs\":[],\"services\":[{\"name\":\"no\",\"kind\":\"deny\"}],\"callbacks\":0,\"zones\":[");
	for (size_t i = 0; i < p->n_zones; i++) {
		put(&t, "%s{\"name\":\"z%zu\",\"addrs\":", i > 0 ? "," : "", i);
		put_nets(&t, p->zones[i].nets, p->zones[i].n);
		if (p->zones[i].parent >= 0)
			put(&t, ",\"parent\":%d", p->zones[i].parent);
		put(&t, "}");
	}
	put(&t, "],\"rules\":[");
	for (size_t i = 0; i < p->n_rules; i++) {
		put(&t, "%s", i > 0 ? "," : "");
		put_rule(&t, &p->rules[i]);
	}
	put(&t, "]}");
	return t.s;
}

/* ---- the second evaluator ---- */

static bool in_net(const struct slow_net *net, bool six, slow_wide a)
{
	unsigned shift = (net->six ? 128 : 32) - net->bits;

	return net->six == six && (shift == 128 || (a >> shift) == (net->value >> shift));
}

static int zone_of(const struct slow_policy *p, bool six, slow_wide a)
{
	for (int bits = 128; bits >= 0; bits--)
		for (size_t i = 0; i < p->n_zones; i++)
			for (size_t j = 0; j < p->zones[i].n; j++)
				if ((int)p->zones[i].nets[j].bits == bits && in_net(&p->zones[i].nets[j], six, a))
					return (int)i;
	return -1;
}

static unsigned depth_of(const struct slow_policy *p, int zone)
{
	return zone < 0 ? 0 : 1 + depth_of(p, p->zones[zone].parent);
}

static bool has(const struct slow_list *list, int value)
{
	for (size_t i = 0; i < list->n; i++)
		if (value >= 0 && list->v[i] == (unsigned)value)
			return true;
	return false;
}

/* From the zone upwards: the first that is listed is the deepest. */
static unsigned zone_points(const struct slow_policy *p, const struct slow_list *list, int zone)
{
	for (; zone >= 0; zone = p->zones[zone].parent)
		if (has(list, zone))
			return depth_of(p, zone);
	return 0;
}

static unsigned subnet_points(const struct slow_nets *nets, bool six, slow_wide a)
{
	for (int bits = 128; bits >= 0; bits--)
		for (size_t i = 0; i < nets->n; i++)
			if ((int)nets->v[i].bits == bits && in_net(&nets->v[i], six, a))
				return (unsigned)bits + 1;
	return 0;
}

static unsigned port_points(const struct slow_list *list, unsigned port)
{
	for (size_t i = 0; i < list->n; i++)
		if (list->v[i] == port && list->w[i] == port)
			return 2;
	for (size_t i = 0; i < list->n; i++)
		if (list->v[i] <= port && port <= list->w[i])
			return 1;
	return 0;
}

/* -1: no match. Else all positions in one number, the first at the high end. */
static int64_t packed_score(const struct slow_policy *p, const struct slow_rule *r, const struct slow_flow *f)
{
	const struct slow_list *l = r->lists;
	bool icmp = f->proto == 1 || f->proto == 58, with_ports = f->proto == 6 || f->proto == 17;
	unsigned in = 0, src, dst;
	int64_t score = 0;

	if (f->iface >= 0 || f->group >= 0)
		in = (unsigned)(has(&l[IFGROUP], f->group) + 2 * has(&l[IFACE], f->iface) + 4 * has(&l[REQID], f->reqid));
	if (l[IFACE].n + l[IFGROUP].n + l[REQID].n > 0 && in == 0)
		return -1;
	score = in;
	for (int i = PROTO; i <= CODE; i++) {
		int value = i == PROTO ? (int)f->proto : !icmp ? -1 : i == TYPE ? f->type : f->code;

		if (l[i].n > 0 && !has(&l[i], value))
			return -1;
		score = score * 2 + (l[i].n > 0);
	}
	for (int i = SPORT; i <= DPORT; i++) {
		unsigned points = port_points(&l[i], !with_ports ? 0 : i == SPORT ? f->sport : f->dport);

		if (l[i].n > 0 && points == 0)
			return -1;
		score = score * 4 + points;
	}
	src = subnet_points(&r->src, f->six, f->src) * 32 + zone_points(p, &l[SZONE], zone_of(p, f->six, f->src));
	if (r->src.n + l[SZONE].n > 0 && src == 0)
		return -1;
	dst = subnet_points(&r->dst, f->six, f->dst) * 128 + zone_points(p, &l[DZONE], zone_of(p, f->six, f->dst));
	if (f->own)
		dst += 32 * (unsigned)has(&l[DIFGROUP], f->group) + 64 * (unsigned)has(&l[DIFACE], f->iface);
	if (r->dst.n + l[DZONE].n + l[DIFACE].n + l[DIFGROUP].n > 0 && dst == 0)
		return -1;
	return (score << 28) + ((int64_t)src << 15) + dst;
}

const struct slow_rule *slow_decide(const struct slow_policy *p, const struct slow_flow *f, size_t *n_best)
{
	const struct slow_rule *best = NULL;
	int64_t most = -1;

	*n_best = 0;
	for (size_t i = 0; i < p->n_rules; i++) {
		int64_t score = packed_score(p, &p->rules[i], f);

		if (score > most) {
			most = score;
			best = NULL;
			*n_best = 0;
		}
		if (score < 0 || score != most)
			continue;
		(*n_best)++;
		if (best == NULL || p->rules[i].id < best->id)
			best = &p->rules[i];
	}
	return best;
}

/* ---- flows ---- */

struct slow_flow slow_flow_make(unsigned (*choose)(unsigned n))
{
	struct slow_flow f;

	pick = choose;
	f = (struct slow_flow){ .six = pick(3) == 0, .proto = protos[pick(5)], .sport = ports[pick(6)],
				.dport = ports[pick(6)], .iface = (int)pick(4) - 1, .group = (int)pick(4) - 1,
				.reqid = (int)pick(4) - 1, .type = (int)pick(4) - 1, .code = (int)pick(4) - 1 };

	f.src = random_address(f.six);
	f.dst = random_address(f.six);
	f.own = f.iface >= 0 && pick(2) == 0;
	return f;
}

static void set_address(struct ip_addr *ip, bool six, slow_wide value)
{
	unsigned octets = six ? 16 : 4;

	ip->family = six ? AF_INET6 : AF_INET;
	for (unsigned i = 0; i < octets; i++)
		ip->octets[i] = (uint8_t)(value >> (8 * (octets - 1 - i)));
}

struct flow slow_flow_real(const struct slow_flow *t)
{
	struct flow f = { .protocol = (uint8_t)t->proto, .ifgroup = t->group, .dst_ifgroup = t->own ? t->group : -1,
			  .reqid = t->reqid, .icmp_type = (int16_t)t->type, .icmp_code = (int16_t)t->code };

	set_address(&f.src.ip, t->six, t->src);
	set_address(&f.dst.ip, t->six, t->dst);
	f.src.port = (uint16_t)t->sport;
	f.dst.port = (uint16_t)t->dport;
	if (t->iface >= 0)
		snprintf(f.iface, sizeof(f.iface), "eth%d", t->iface);
	if (t->own)
		memcpy(f.dst_iface, f.iface, sizeof(f.iface));
	return f;
}
