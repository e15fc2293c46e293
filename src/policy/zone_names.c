/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The members of zones by their host names: sorted out once, by whoever has the snapshot, into one array in the order of
 * addresses. That is what is searched, what a plan is made of, and what goes to workers as it stands, who map it.
 */
#include "policy/names.h"
#include "policy/zone_priv.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#define ZONE_NAMES_ARENA_MAX (512u << 20)
#define MAPPED_ARENA_MAX 4096u

struct family_known {
	const struct ip_addr *addrs;
	size_t n;
};

struct zone_names {
	struct arena *arena;
	const struct zone *zones;
	size_t n_zones;
	const struct zone_member *members;	/* ascending */
	size_t n_members;
	struct zone_conflict *conflicts;	/* ascending */
	size_t n_conflicts;
	struct family_known *known;		/* IPv4 and IPv6 of each host name, in the order of zones; NULL: mapped */
	size_t n_known;				/* addresses of all */
	void *mapped;				/* where the members are; NULL: on the arena */
	size_t mapped_octets;
};

/* As octets, before the members. */
struct members_head {
	uint8_t magic[8];
	uint32_t n_zones, n_members;
};

static const uint8_t magic[8] = "SPZONES1";

static_assert(sizeof(struct members_head) % _Alignof(struct zone_member) == 0, "members stand behind it");

static int by_address(const void *a, const void *b)
{
	const struct zone_member *x = a, *y = b;
	int order = memcmp(&x->ip, &y->ip, sizeof(x->ip));	/* the family comes first, and nothing is between */

	return order != 0 ? order : (x->zone > y->zone) - (x->zone < y->zone);
}

/* What a snapshot says of the addresses of one family. */
static size_t copy_family(const struct host_record *h, int family, struct ip_addr *out)
{
	size_t n = 0;

	for (size_t i = 0; h != NULL && i < h->n_addrs; i++)
		if (h->addrs[i].family == family) {
			if (out != NULL)
				out[n] = h->addrs[i];
			n++;
		}
	return n;
}

/* Of a host that the snapshot does not know (yet) what was known of each family stays. */
static int learn_family(struct zone_names *names, size_t at, const struct host_record *h, int family, const struct zone_names *before)
{
	struct family_known *k = &names->known[at];
	size_t n = copy_family(h, family, NULL);
	struct ip_addr *addrs;

	if (n == 0 && (h == NULL || h->state == HOST_PENDING) && before != NULL && before->known != NULL) {
		*k = before->known[at];
		n = k->n;
	}
	addrs = arena_array(names->arena, n, sizeof(*addrs));
	if (addrs == NULL)
		return -ENOMEM;
	if (k->n > 0)
		memcpy(addrs, k->addrs, n * sizeof(*addrs));
	else
		copy_family(h, family, addrs);
	*k = (struct family_known){ addrs, n };
	names->n_known += n;
	return 0;
}

static int learn(struct zone_names *names, const struct policy *policy, const struct names_snapshot *snapshot,
		 const struct zone_names *before)
{
	size_t at = 0;
	int err = 0;

	names->known = arena_array(names->arena, 2 * policy->n_hostnames, sizeof(*names->known));
	if (names->known == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < policy->n_zones; i++)
		for (size_t k = 0; err == 0 && k < policy->zones[i].n_hostnames; k++) {
			const struct host_record *h = names_find(snapshot, slice_cstr(policy->zones[i].hostnames[k]));

			err = learn_family(names, at++, h, AF_INET, before);
			if (err == 0)
				err = learn_family(names, at++, h, AF_INET6, before);
		}
	return err;
}

static void collect(const struct zone_names *names, const struct policy *policy, struct zone_member *out)
{
	size_t at = 0, n = 0;

	for (size_t i = 0; i < policy->n_zones; i++)
		for (size_t k = 0; k < 2 * policy->zones[i].n_hostnames; k++, at++)
			for (size_t a = 0; a < names->known[at].n; a++)
				out[n++] = (struct zone_member){ names->known[at].addrs[a], (uint32_t)i };
}

/* From all that names have to what counts; all is sorted, and members may be the same array. */
static void sort_out(struct zone_names *names, const struct policy *policy, struct zone_member *members, const struct zone_member *all,
		     size_t n)
{
	for (size_t i = 0, next; i < n; i = next) {
		const struct zone *zone = &policy->zones[all[i].zone], *other = NULL;

		for (next = i + 1; next < n && ip_equal(&all[next].ip, &all[i].ip); next++)
			if (other == NULL && all[next].zone != all[i].zone)
				other = &policy->zones[all[next].zone];
		if (zone_tree_has_host(policy->zone_tree, &all[i].ip))
			continue;
		if (other != NULL)
			names->conflicts[names->n_conflicts++] = (struct zone_conflict){ all[i].ip, zone, other };
		else
			members[names->n_members++] = all[i];
	}
}

static int make(struct zone_names *names, const struct policy *policy, const struct names_snapshot *snapshot,
		const struct zone_names *before)
{
	struct zone_member *members;
	int err = learn(names, policy, snapshot, before);

	if (err != 0)
		return err;
	members = arena_array(names->arena, names->n_known, sizeof(*members));
	names->conflicts = arena_array(names->arena, names->n_known, sizeof(*names->conflicts));
	if (members == NULL || names->conflicts == NULL)
		return -ENOMEM;
	names->members = members;
	collect(names, policy, members);
	qsort(members, names->n_known, sizeof(*members), by_address);
	sort_out(names, policy, members, members, names->n_known);
	return 0;
}

int zone_names_make(const struct policy *policy, const struct names_snapshot *snapshot, const struct zone_names *before,
		    struct zone_names **out)
{
	struct arena *arena = arena_create(ZONE_NAMES_ARENA_MAX, 0);
	struct zone_names *names = arena != NULL ? ARENA_NEW(arena, struct zone_names) : NULL;
	int err = -ENOMEM;

	if (names != NULL) {
		*names = (struct zone_names){ .arena = arena, .zones = policy->zones, .n_zones = policy->n_zones };
		err = make(names, policy, snapshot, before);
	}
	if (err == 0)
		*out = names;
	else
		arena_free(&arena);
	return err;
}

/* ---- to another process ---- */

void zone_names_pack(const struct zone_names *names, struct buffer *out)
{
	struct members_head head = { .n_zones = (uint32_t)names->n_zones, .n_members = (uint32_t)names->n_members };

	memcpy(head.magic, magic, sizeof(magic));
	buffer_append(out, slice_of(&head, sizeof(head)));
	buffer_append(out, slice_of(names->members, names->n_members * sizeof(*names->members)));
}

int zone_names_map(const struct policy *policy, void *mapped, size_t octets, struct zone_names **out)
{
	const struct members_head *head = mapped;
	struct arena *arena;
	struct zone_names *names;

	if (octets < sizeof(*head) || memcmp(head->magic, magic, sizeof(magic)) != 0 || head->n_zones != policy->n_zones ||
	    head->n_members != (octets - sizeof(*head)) / sizeof(struct zone_member) ||
	    (octets - sizeof(*head)) % sizeof(struct zone_member) != 0)
		return -EINVAL;
	arena = arena_create(MAPPED_ARENA_MAX, 0);
	names = arena != NULL ? ARENA_NEW(arena, struct zone_names) : NULL;
	if (names == NULL) {
		arena_free(&arena);
		return -ENOMEM;
	}
	*names = (struct zone_names){ .arena = arena, .zones = policy->zones, .n_zones = policy->n_zones,
				      .members = (const void *)(head + 1), .n_members = head->n_members,
				      .mapped = mapped, .mapped_octets = octets };
	*out = names;
	return 0;
}

void zone_names_free(struct zone_names **zp)
{
	struct zone_names *names = *zp;
	struct arena *arena = names != NULL ? names->arena : NULL;

	*zp = NULL;
	if (names != NULL && names->mapped != NULL)
		munmap(names->mapped, names->mapped_octets);
	arena_free(&arena);
}

/* ---- what is in it ---- */

const struct zone_member *zone_names_members(const struct zone_names *names, size_t *n)
{
	*n = names != NULL ? names->n_members : 0;
	return names != NULL ? names->members : NULL;
}

const struct zone_conflict *zone_names_conflicts(const struct zone_names *names, size_t *n)
{
	*n = names != NULL ? names->n_conflicts : 0;
	return names != NULL ? names->conflicts : NULL;
}

const struct zone *zone_names_find(const struct zone_names *names, const struct ip_addr *ip)
{
	size_t low = 0, high = names->n_members;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct zone_member *m = &names->members[middle];
		int order = memcmp(&m->ip, ip, sizeof(*ip));

		if (order == 0)		/* what is mapped was made by whoever made us, but not looked through */
			return m->zone < names->n_zones ? &names->zones[m->zone] : NULL;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

bool zone_names_equal(const struct zone_names *a, const struct zone_names *b)
{
	size_t n, m;
	const struct zone_member *x = zone_names_members(a, &n), *y = zone_names_members(b, &m);

	if (n != m)
		return false;
	for (size_t i = 0; i < n; i++)
		if (x[i].zone != y[i].zone || !ip_equal(&x[i].ip, &y[i].ip))
			return false;
	return true;
}
