/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/decide's inner loop: reads a policy document, decides a set of flows again and again,
 * and does the same by looking at every rule, which is what the index is measured against.
 * Prints one JSON object.
 */
#include "policy/rule_index.h"
#include "proxy/registry.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define N_FLOWS 65536u		/* different ones, more than a cache holds */
#define ARENA_OCTETS ((size_t)8 << 30)

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct slice read_file(const char *name)
{
	FILE *f = fopen(name, "rb");
	char *text = NULL;
	size_t n = 0, room = 0;

	if (f == NULL)
		return slice_of(NULL, 0);
	while (!feof(f) && !ferror(f)) {
		if (n == room) {
			room = room == 0 ? 1 << 20 : room * 2;
			text = realloc(text, room);
			if (text == NULL)
				break;
		}
		n += fread(text + n, 1, room - n, f);
	}
	fclose(f);
	return slice_of(text, text == NULL ? 0 : n);
}

/* A flow that has to do with the policy: addresses out of its zones, ports out of its rules. */
static struct ip_addr address_in(const struct policy *policy, unsigned *seed)
{
	const struct zone *zone = &policy->zones[(size_t)rand_r(seed) % policy->n_zones];
	struct ip_addr ip = { .family = AF_INET, .octets = { 192, 0, 2, 1 } };

	if (zone->n_prefixes == 0)
		return ip;
	ip = zone->prefixes[0].ip;
	ip.octets[ip_bits(&ip) / 8 - 1] |= (uint8_t)(rand_r(seed) & 0xff);
	return ip;
}

static struct flow random_flow(const struct policy *policy, unsigned *seed)
{
	const struct rule *rule = &policy->rules[(size_t)rand_r(seed) % policy->n_rules];
	struct flow f = { .protocol = 6, .src = { address_in(policy, seed), 40000 }, .dst = { address_in(policy, seed), 25 },
			  .iface = "eth0", .ifgroup = 0, .dst_ifgroup = -1, .reqid = -1, .icmp_type = -1, .icmp_code = -1 };

	if (rule->n_dst_ports > 0)
		f.dst.port = rule->dst_ports[0].first;
	if (rule->n_dst_subnets > 0)
		f.dst.ip = rule->dst_subnets[0].ip;
	return f;
}

static double decide_ns(const struct policy *policy, const struct flow *flows, unsigned rounds, size_t *matched)
{
	uint64_t start = now_ns();
	struct decision d;

	*matched = 0;
	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned i = 0; i < N_FLOWS; i++) {
			policy_decide(policy, NULL, &flows[i], &d);
			*matched += d.rule != NULL;
		}
	}
	return (double)(now_ns() - start) / ((double)rounds * N_FLOWS);
}

/* Every rule, for few flows: and the answer must be the same. */
static double scan_ns(const struct policy *policy, const struct flow *flows, unsigned n, bool *same)
{
	uint64_t spent = 0;

	for (unsigned i = 0; i < n; i++) {
		struct rule_score score, best = { { 0 } };
		const struct rule *found = NULL;
		enum score_position where;
		struct zoned_flow zoned;
		struct decision d;
		uint64_t start = now_ns();

		zoned = flow_with_zones(policy, NULL, &flows[i]);
		for (size_t r = 0; r < policy->n_rules; r++) {
			if (!rule_matches(&policy->rules[r], &zoned, &score, &where))
				continue;
			if (found != NULL && rule_score_compare(&score, &best, &where) <= 0)
				continue;
			found = &policy->rules[r];
			best = score;
		}
		spent += now_ns() - start;
		policy_decide(policy, NULL, &flows[i], &d);
		*same = *same && d.rule == found;
	}
	return (double)spent / n;
}

int main(int argc, char **argv)
{
	struct arena *arena = arena_create(ARENA_OCTETS, 0);
	struct flow *flows = calloc(N_FLOWS, sizeof(*flows));
	const struct policy *policy = NULL;
	struct policy_problems problems;
	struct rule_index_size size;
	bool same = true;
	unsigned seed = 1;
	size_t matched, octets;
	uint64_t start;
	struct slice text;
	double scan, decide;

	if (argc != 2 || arena == NULL || flows == NULL) {
		fputs("usage: decide-loop DOCUMENT\n", stderr);
		return 2;
	}
	text = read_file(argv[1]);
	problems_init(&problems, arena);
	start = now_ns();
	if (text.len == 0 || policy_build(text, &proxy_registry_all, arena, &problems, &policy) < 0 || policy->n_zones == 0 ||
	    policy->n_rules == 0) {
		fprintf(stderr, "decide-loop: %s is no policy document with zones and rules\n", argv[1]);
		for (const struct policy_problem *p = problems.first; p != NULL; p = p->next)
			fprintf(stderr, "  %s\n", p->message);
		return 1;
	}
	start = now_ns() - start;
	octets = arena_used(arena);
	for (unsigned i = 0; i < N_FLOWS; i++)
		flows[i] = random_flow(policy, &seed);
	(void)decide_ns(policy, flows, 1, &matched);
	decide = decide_ns(policy, flows, 8, &matched);
	scan = scan_ns(policy, flows, policy->n_rules > 20000 ? 50 : 500, &same);
	size = rule_index_size(policy->rule_index);
	printf("{\"rules\": %zu, \"zones\": %zu, \"build_ms\": %.1f, \"decide_ns\": %.0f, \"scan_ns\": %.0f, \"same\": %s, "
	       "\"matched\": %.2f, \"shapes\": %zu, \"cases\": %zu, \"wide_rules\": %zu, \"index_octets\": %zu, "
	       "\"policy_octets\": %zu}\n",
	       policy->n_rules, policy->n_zones, (double)start / 1e6, decide, scan, same ? "true" : "false",
	       (double)matched / (8.0 * N_FLOWS), size.shapes, size.cases, size.wide_rules, size.octets, octets);
	arena_free(&arena);
	free(flows);
	return same ? 0 : 1;
}
