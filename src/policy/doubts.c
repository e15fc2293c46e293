/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/doubts.h"
#include "policy/shadow.h"

#include <errno.h>
#include <stdlib.h>

#define SCRATCH_MAX ((size_t)1 << 30)

/* ---- rules ---- */

static void warn_of_rule(const struct policy *policy, const struct rule *r, const struct shadow *shadow,
			 struct arena *arena, struct policy_problems *problems)
{
	const struct rule *by = shadow->by;
	const char *where = arena_printf(arena, "rule %u of %s is in %s, line %u", by->id, policy->instances[by->instance],
					 by->place.file != NULL ? by->place.file : "the document", by->place.line);

	if (shadow->same)
		problems_add(problems, PROBLEM_WARNING, r->place, where,
			     "rule %u can never win: rule %u has the same conditions, and comes first", r->id, by->id);
	else
		problems_add(problems, PROBLEM_WARNING, r->place, where,
			     "rule %u can never win: what it matches, rule %u matches at least as well", r->id, by->id);
}

static int check_rules(const struct policy *policy, struct arena *arena, struct policy_problems *problems)
{
	bool whole;
	const struct shadow *shadows = policy_shadows(policy, arena, &whole);

	if (shadows == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < policy->n_rules; i++)
		if (shadows[i].by != NULL)
			warn_of_rule(policy, &policy->rules[i], &shadows[i], arena, problems);
	if (!whole)
		problems_add(problems, PROBLEM_WARNING, (struct policy_place){ policy->file, 0 }, NULL,
			     "there are too many similar rules to look for all that can never win");
	return 0;
}

/* ---- services ---- */

static int check_services(const struct policy *policy, struct arena *arena, struct policy_problems *problems)
{
	bool *led_to = arena_array(arena, policy->n_services, sizeof(*led_to));

	if (led_to == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < policy->n_rules; i++)
		led_to[policy->rules[i].service->index] = true;
	for (size_t i = 0; i < policy->n_services; i++)
		if (!led_to[i])
			problems_add(problems, PROBLEM_WARNING, policy->services[i].place, NULL,
				     "service '%s': no rule leads to it", policy->services[i].name);
	return 0;
}

/* ---- zones ---- */

struct zone_uses {
	const struct policy *policy;
	bool *used;			/* by zones' index: named, or within or above one that is */
};

/* A name counts for all zones within it. */
static void use(struct zone_uses *u, const struct zone *const *zones, size_t n)
{
	for (size_t i = 0; i < n; i++)
		u->used[zones[i]->index] = true;
}

static void use_names(struct zone_uses *u, const struct string_list *names)
{
	for (size_t i = 0; i < names->count; i++) {
		const struct zone *zone = policy_zone_named(u->policy, names->items[i]);

		if (zone != NULL)	/* not "*" */
			use(u, &zone, 1);
	}
}

static void use_attributes(struct zone_uses *u, const struct proxy_config *config)
{
	const struct proxy_type *type = config->type;

	for (size_t i = 0; i < type->n_attributes; i++) {
		const struct attribute *a = &type->attributes[i];

		if (a->alias_of == NULL && a->type == ATTR_ZONES && (a->access & ATTR_HOME_RUN) == 0)
			use_names(u, (const struct string_list *)(const void *)((const char *)config->block + a->offset));
	}
}

static void use_all_named(struct zone_uses *u)
{
	const struct policy *p = u->policy;

	for (size_t i = 0; i < p->n_rules; i++) {
		use(u, p->rules[i].src_zones, p->rules[i].n_src_zones);
		use(u, p->rules[i].dst_zones, p->rules[i].n_dst_zones);
	}
	for (size_t i = 0; i < p->n_services; i++) {
		use(u, p->services[i].target_zones, p->services[i].n_target_zones);
		use(u, p->services[i].header_zones, p->services[i].n_header_zones);
	}
	for (size_t i = 0; i < p->n_configs; i++)
		use_attributes(u, p->configs[i]);
}

/* Zones within one that is named have its name's effect; those above hold such zones together. */
static void use_kin(struct zone_uses *u, bool *named)
{
	const struct zone *zones = u->policy->zones;

	memcpy(named, u->used, u->policy->n_zones * sizeof(*named));
	for (size_t i = 0; i < u->policy->n_zones; i++)
		for (const struct zone *z = zones[i].parent; z != NULL; z = z->parent) {
			u->used[i] = u->used[i] || named[z->index];
			u->used[z->index] = u->used[z->index] || named[i];
		}
}

/* The zone that its first addresses would belong to without it; NULL: none. */
static const struct zone *zone_around(const struct policy *policy, const struct zone *zone)
{
	const struct zone *found = NULL;
	uint8_t bits = 0;

	for (size_t j = 0; j < policy->n_zones && zone->n_prefixes > 0; j++)
		for (size_t k = 0; k < policy->zones[j].n_prefixes; k++) {
			const struct ip_prefix *p = &zone->prefixes[0], *q = &policy->zones[j].prefixes[k];

			if (j != zone->index && q->bits < p->bits && (found == NULL || q->bits >= bits) &&
			    q->ip.family == p->ip.family && ip_in_prefix(&p->ip, q)) {
				found = &policy->zones[j];
				bits = q->bits;
			}
		}
	return found;
}

static void warn_of_zone(const struct policy *policy, const struct zone *zone, struct arena *arena,
			 struct policy_problems *problems)
{
	const struct zone *around = zone_around(policy, zone);
	const char *hint = around == NULL ? NULL :
			   arena_printf(arena, "it only keeps its addresses out of zone '%s'", around->name);

	problems_add(problems, PROBLEM_WARNING, zone->place, hint, "zone '%s' is named nowhere", zone->name);
}

static int check_zones(const struct policy *policy, struct arena *arena, struct policy_problems *problems)
{
	struct zone_uses u = { policy, arena_array(arena, policy->n_zones, sizeof(bool)) };
	bool *named = arena_array(arena, policy->n_zones, sizeof(*named));

	if (u.used == NULL || named == NULL)
		return -ENOMEM;
	use_all_named(&u);
	use_kin(&u, named);
	for (size_t i = 0; i < policy->n_zones; i++)
		if (!u.used[i])
			warn_of_zone(policy, &policy->zones[i], arena, problems);
	return 0;
}

int policy_check_rules(const struct policy *policy, struct policy_problems *problems)
{
	struct arena *arena = arena_create(SCRATCH_MAX, 0);
	int err = arena != NULL ? check_rules(policy, arena, problems) : -ENOMEM;

	arena_free(&arena);
	return err;
}

int policy_check_doubts(const struct policy *policy, struct policy_problems *problems)
{
	struct arena *arena = arena_create(SCRATCH_MAX, 0);
	int err = arena != NULL ? policy_check_rules(policy, problems) : -ENOMEM;

	if (err == 0)
		err = check_services(policy, arena, problems);
	if (err == 0)
		err = check_zones(policy, arena, problems);
	arena_free(&arena);
	return err;
}
