/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A second evaluator of rules, written from the definition in another way than the engine's:
 * addresses are wide integers, a rule's score is one packed number, and everything is tried.
 * Policies and flows are made from a source of choices (random numbers, or a fuzzer's octets)
 * with few different values, so that rules overlap and tie.
 */
#ifndef TEST_SLOW_DECIDE_H
#define TEST_SLOW_DECIDE_H

#include "policy/policy.h"

#define SLOW_ZONES_MAX 12
#define SLOW_RULES_MAX 14
#define SLOW_LIST_MAX 3

typedef unsigned __int128 slow_wide;

struct slow_net { bool six; unsigned bits; slow_wide value; };	/* value: the address, at the low end */

struct slow_zone { int parent; size_t n; struct slow_net nets[SLOW_LIST_MAX]; };

struct slow_list { size_t n; unsigned v[SLOW_LIST_MAX], w[SLOW_LIST_MAX]; };	/* w: ends of ranges */
struct slow_nets { size_t n; struct slow_net v[SLOW_LIST_MAX]; };

enum { IFACE, IFGROUP, REQID, PROTO, TYPE, CODE, SPORT, DPORT, SZONE, DZONE, DIFACE, DIFGROUP, SLOW_LISTS };

struct slow_rule { unsigned id, instance; struct slow_list lists[SLOW_LISTS]; struct slow_nets src, dst; };

struct slow_policy {
	size_t n_zones, n_rules;
	struct slow_zone zones[SLOW_ZONES_MAX];
	struct slow_rule rules[SLOW_RULES_MAX];
};

struct slow_flow {
	bool six, own;			/* own: the destination is an address of the incoming interface */
	slow_wide src, dst;
	unsigned proto, sport, dport;
	int iface, group, reqid, type, code;	/* -1 = none */
};

/* choose(n) gives a number below n. */
void slow_policy_make(struct slow_policy *p, unsigned (*choose)(unsigned n));
struct slow_flow slow_flow_make(unsigned (*choose)(unsigned n));

/* The policy as a document, to be freed; the flow as the engine has it. */
char *slow_document(const struct slow_policy *p);
struct flow slow_flow_real(const struct slow_flow *t);

/* The winner, or NULL; *n_best rules have its score. */
const struct slow_rule *slow_decide(const struct slow_policy *p, const struct slow_flow *f, size_t *n_best);

#endif
