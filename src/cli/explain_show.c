/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decision in words. It runs the same comparison as the engine, rule by rule, and the
 * engine's own decision is what is reported: should the two ever differ, that is said loudly.
 */
#include "cli/explain_priv.h"
#include "policy/decide.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>

#define SHOWN_MAX 50		/* rules in the human form; the rest is counted */
#define CANDIDATES_MAX 100	/* in the JSON form */

struct candidate {
	const struct rule *rule;
	struct rule_score score;
	size_t order;			/* in the policy */
};

struct candidates {
	struct candidate *items;
	size_t count;
};

static const char *const position_names[SCORE_COUNT] = {
	"incoming interface", "proto", "proto_type", "proto_subtype", "src_port", "dst_port", "source address",
	"destination address",
};

static const char *const position_keys[SCORE_COUNT] = {
	"incoming", "proto", "proto_type", "proto_subtype", "src_port", "dst_port", "src", "dst",
};


/* Best first: the winner of the engine's comparison, then the next ... */
static int compare(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	enum score_position where;
	int order = rule_score_compare(&y->score, &x->score, &where);

	if (order != 0)
		return order;
	if (x->rule->id != y->rule->id)
		return x->rule->id < y->rule->id ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

static struct candidates find_candidates(const struct policy *policy, const struct zoned_flow *zoned)
{
	struct candidates c = { calloc(policy->n_rules + 1, sizeof(struct candidate)), 0 };
	enum score_position failed;

	if (c.items == NULL)
		return c;
	for (size_t i = 0; i < policy->n_rules; i++) {
		struct candidate *next = &c.items[c.count];

		if (!rule_matches(&policy->rules[i], zoned, &next->score, &failed))
			continue;
		next->rule = &policy->rules[i];
		next->order = i;
		c.count++;
	}
	qsort(c.items, c.count, sizeof(*c.items), compare);
	return c;
}

static const char *service_kind_name(const struct service *s)
{
	static const char *const names[] = { [SERVICE_PROXY] = "proxy", [SERVICE_PF] = "pf", [SERVICE_DENY] = "deny" };

	return names[s->kind];
}

/* ---- JSON ---- */

static json_t *score_to_json(const struct rule_score *score)
{
	json_t *o = json_object();

	for (size_t i = 0; i < SCORE_COUNT; i++)
		if (score->at[i] > 0)
			json_object_set_new(o, position_keys[i], json_integer(score->at[i]));
	return o;
}

static json_t *candidate_to_json(const struct policy *policy, const struct candidate *c, const struct candidate *best)
{
	enum score_position where = SCORE_COUNT;
	json_t *o = json_pack("{s:i, s:s, s:s, s:s?, s:i, s:o}", "rule", (int)c->rule->id, "instance",
			      policy->instances[c->rule->instance], "service", c->rule->service->name, "file",
			      c->rule->place.file, "line", (int)c->rule->place.line, "score", score_to_json(&c->score));

	if (c != best) {
		rule_score_compare(&c->score, &best->score, &where);
		json_object_set_new(o, "lost_by", json_string(where == SCORE_COUNT ? "tie" : position_keys[where]));
	}
	return o;
}

static void print_json(json_t *json, FILE *out)
{
	char *text = json_dumps(json, JSON_COMPACT | JSON_ENSURE_ASCII);

	fprintf(out, "%s\n", text != NULL ? text : "{\"error\":\"out of memory\"}");
	free(text);
	json_decref(json);
}

void explain_json_error(const char *why, FILE *out)
{
	print_json(json_pack("{s:s}", "error", why), out);
}

void explain_json(const struct explain_view *view, const struct explain_flow *asked, FILE *out)
{
	const struct policy *policy = view->policy;
	const struct zone_names *names = view->names;
	const struct flow *flow = &asked->flow;
	const struct zoned_flow zoned = flow_with_zones(policy, names, flow);
	struct candidates c = find_candidates(policy, &zoned);
	json_t *answer, *list = json_array();
	struct decision d;

	policy_decide(policy, names, flow, &d);
	for (size_t i = 0; i < c.count && i < CANDIDATES_MAX; i++)
		json_array_append_new(list, candidate_to_json(policy, &c.items[i], &c.items[0]));
	answer = json_pack("{s:s?, s:o, s:s?, s:s?, s:o}", "service", d.service != NULL ? d.service->name : NULL, "rule",
			   d.rule != NULL ? json_integer(d.rule->id) : json_null(), "src_zone",
			   d.src_zone != NULL ? d.src_zone->name : NULL, "dst_zone",
			   d.dst_zone != NULL ? d.dst_zone->name : NULL, "candidates", list);
	if (d.rule != NULL) {
		json_object_set_new(answer, "instance", json_string(policy->instances[d.rule->instance]));
		json_object_set_new(answer, "kind", json_string(service_kind_name(d.service)));
	}
	if (d.tie != NULL)
		json_object_set_new(answer, "tie", json_integer(d.tie->id));
	explain_route_json(view, &d, asked, answer);
	print_json(answer, out);
	free(c.items);
}

/* ---- for people ---- */

static void show_zone(const char *what, const struct zone *zone, FILE *out)
{
	fprintf(out, "  %s zone: %s", what, zone != NULL ? zone->name : "none (in no zone)");
	for (const struct zone *up = zone != NULL ? zone->parent : NULL; up != NULL; up = up->parent)
		fprintf(out, ", within %s", up->name);
	fputc('\n', out);
}

static void show_flow(const struct flow *f, const struct decision *d, FILE *out)
{
	char from[ENDPOINT_TEXT_MAX], to[ENDPOINT_TEXT_MAX];

	fprintf(out, "Flow: protocol %u, from %s to %s", f->protocol, endpoint_text(&f->src, from),
		endpoint_text(&f->dst, to));
	if (f->iface[0] != '\0')
		fprintf(out, ", in through %s", f->iface);
	if (f->dst_iface[0] != '\0')
		fprintf(out, " (an address of that interface)");
	fputc('\n', out);
	show_zone("source", d->src_zone, out);
	show_zone("destination", d->dst_zone, out);
}

static void show_name(const struct policy *policy, const struct rule *r, FILE *out)
{
	fprintf(out, "rule %u", r->id);
	if (policy->n_instances > 1)
		fprintf(out, " of %s", policy->instances[r->instance]);
	fprintf(out, " -> %s '%s'", r->service->kind == SERVICE_PROXY ? "Service" :
		r->service->kind == SERVICE_PF ? "PFService" : "DenyService", r->service->name);
	if (r->place.file != NULL)
		fprintf(out, " (%s:%u)", r->place.file, r->place.line);
}

static const char *port_words(unsigned score)
{
	return score == 2 ? "single port" : "port range";
}

/* Prefix length, interface and zone of an address score. */
static void show_address(unsigned score, unsigned unit, const char *zone, FILE *out)
{
	const char *comma = "";

	if (score / unit > 0) {
		fprintf(out, "subnet /%u", score / unit - 1);
		comma = " and ";
	}
	if (unit == 128 && score % unit / 32 > 0) {
		static const char *const words[] = { "", "interface group", "interface", "interface and its group" };

		fprintf(out, "%s%s", comma, words[score % unit / 32]);
		comma = " and ";
	}
	if (score % 32 > 0)
		fprintf(out, "%szone %s (depth %u)", comma, zone, score % 32);
}

static void show_score(const struct candidate *c, const struct zoned_flow *z, enum score_position p, FILE *out)
{
	const struct rule *r = c->rule;
	unsigned score = c->score.at[p];
	const struct zone *zone;

	if (score == 0) {
		fputs("no such condition", out);
		return;
	}
	switch (p) {
	case SCORE_INCOMING:
		fprintf(out, "%s%s%s%s%s", score & 4 ? "reqid" : "", score > 4 ? " and " : "",
			score & 2 ? "name" : "", (score & 3) == 3 ? " and " : "", score & 1 ? "group" : "");
		break;
	case SCORE_SRC_PORT:
	case SCORE_DST_PORT:
		fputs(port_words(score), out);
		break;
	case SCORE_SRC:
		zone = zone_best_listed(r->src_zones, r->n_src_zones, z->src_zone);
		show_address(score, 32, zone != NULL ? zone->name : "", out);
		break;
	case SCORE_DST:
		zone = zone_best_listed(r->dst_zones, r->n_dst_zones, z->dst_zone);
		show_address(score, 128, zone != NULL ? zone->name : "", out);
		break;
	default:
		fputs("listed", out);
	}
	fprintf(out, " [%u]", score);
}

static void show_all_scores(const struct candidate *c, const struct zoned_flow *z, FILE *out)
{
	bool any = false;

	for (unsigned p = 0; p < SCORE_COUNT; p++) {
		if (c->score.at[p] == 0)
			continue;
		fprintf(out, "%s%s: ", any ? "; " : "      matches by ", position_names[p]);
		show_score(c, z, (enum score_position)p, out);
		any = true;
	}
	fputs(any ? "\n" : "      has no condition: matches everything\n", out);
}

static void show_loser(const struct candidate *c, const struct candidate *best, const struct zoned_flow *z, FILE *out)
{
	enum score_position where = SCORE_COUNT;

	rule_score_compare(&c->score, &best->score, &where);
	if (where == SCORE_COUNT) {
		fprintf(out, "      the same score as rule %u: a tie, which the lower id wins\n", best->rule->id);
		return;
	}
	fprintf(out, "      loses on %s: it has ", position_names[where]);
	show_score(c, z, where, out);
	fputs(", the winner has ", out);
	show_score(best, z, where, out);
	fputc('\n', out);
}

static void show_candidates(const struct policy *policy, const struct candidates *c, const struct zoned_flow *z,
			    FILE *out)
{
	for (size_t i = 0; i < c->count && i < SHOWN_MAX; i++) {
		fprintf(out, "  %zu. ", i + 1);
		show_name(policy, c->items[i].rule, out);
		fputc('\n', out);
		show_all_scores(&c->items[i], z, out);
		if (i > 0)
			show_loser(&c->items[i], &c->items[0], z, out);
	}
	if (c->count > SHOWN_MAX)
		fprintf(out, "  and %zu more that match less well\n", c->count - SHOWN_MAX);
}

static void show_others(const struct policy *policy, const struct zoned_flow *z, FILE *out)
{
	size_t shown = 0, hidden = 0;

	for (size_t i = 0; i < policy->n_rules; i++) {
		enum score_position failed;
		struct rule_score score;

		if (rule_matches(&policy->rules[i], z, &score, &failed))
			continue;
		if (shown == SHOWN_MAX) {
			hidden++;
			continue;
		}
		if (shown++ == 0)
			fputs("Rules that do not match:\n", out);
		fputs("  ", out);
		show_name(policy, &policy->rules[i], out);
		fprintf(out, ": %s\n", position_names[failed]);
	}
	if (hidden > 0)
		fprintf(out, "  and %zu more\n", hidden);
}

void explain_text(const struct explain_view *view, const struct explain_flow *asked, FILE *out)
{
	const struct policy *policy = view->policy;
	const struct zone_names *names = view->names;
	const struct flow *flow = &asked->flow;
	const struct zoned_flow zoned = flow_with_zones(policy, names, flow);
	struct candidates c = find_candidates(policy, &zoned);
	struct decision d;

	policy_decide(policy, names, flow, &d);
	show_flow(flow, &d, out);
	if (d.rule == NULL) {
		fprintf(out, "no rule matches: the connection gets no service\n");
	} else {
		fprintf(out, "Service: %s\n", d.service->name);
		if (c.count > 0 && c.items[0].rule != d.rule)
			fprintf(out, "BUG: the engine chose rule %u, the explanation rule %u\n", d.rule->id,
				c.items[0].rule->id);
		fputs("Rules that match, best first:\n", out);
		show_candidates(policy, &c, &zoned, out);
	}
	show_others(policy, &zoned, out);
	explain_route_text(view, &d, asked, out);
	free(c.items);
}
