/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies of mail domains (MTA-STS, RFC 8461). Each question asks for the domain's TXT record anew; the policy is
 * fetched when the record has another id than the one that is known, when none is known, and now and then so that one
 * that is in use does not run out. What is known counts until its max_age, whatever happens to the record or the web server
 * meanwhile: else who can disturb those could take the policy away (RFC 8461, 5.1, 10.2).
 *
 * Who asks while the same is looked up for somebody else waits for that.
 */
#include "server/lookout/lookout_priv.h"

#include "base/log.h"
#include "policy/names.h"
#include "server/lookout/lookout_fetch.h"
#include "server/lookout/lookout_resolver.h"
#include "tls/mta_sts.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define RECORD_PREFIX "_mta-sts."
#define HOST_PREFIX "mta-sts."
#define PATH "/.well-known/mta-sts.txt"
#define DOMAIN_MAX (HOST_OCTETS_MAX - (sizeof(RECORD_PREFIX) - 1))
#define FETCH_MS 20000			/* with the DNS's time it may be over a session's, which then has no answer */
#define FAILED_MS 300000		/* a version that could not be fetched is left alone so long (RFC 8461, 3.3) */
#define REFRESH_MAX_MS 86400000		/* a policy in use is fetched again after a day, or half its life */
#define WHY_MAX 320u
#define NOSESSION slice_cstr("nosession")

struct question {
	struct question *next;
	struct lookout_asked who;
};

/* What is known of one domain by one folder of CAs. */
struct known {
	struct known *next;
	struct lookout_sts *sts;
	char domain[DOMAIN_MAX + 1];
	char *ca_directory;
	int64_t asked_ms;		/* the last question */
	struct question *waiting;
	/* The policy. */
	struct buffer policy;		/* as mta_sts_write writes it; empty: none was ever fetched */
	char id[MTA_STS_ID_MAX + 1];
	int64_t fetched_ms, max_age_ms;
	/* The last fetch that failed, if it was not followed by one that did not. */
	char failed_id[MTA_STS_ID_MAX + 1];	/* "": none */
	int64_t failed_ms;
	char why[WHY_MAX];
	/* Under way. */
	bool busy;
	char wanted_id[MTA_STS_ID_MAX + 1];	/* "": the record is not there yet */
	unsigned awaited;		/* answers of the resolver */
	char trouble[WHY_MAX];		/* why there is no address */
	struct ip_addr addrs[2 * RESOLVER_ADDRESSES_MAX];
	size_t n_addrs;
};

struct lookout_sts {
	struct lookout *l;
	struct fetcher *fetcher;	/* NULL: not needed yet, or it can't be */
	struct known *all;
	size_t n_all, n_questions;
};

static bool is_good(const struct known *k)
{
	return k->policy.len > 0 && poller_now() < k->fetched_ms + k->max_age_ms;
}

/* And it is the one that the record is about. */
static bool is_current(const struct known *k)
{
	return is_good(k) && strcmp(k->id, k->wanted_id) == 0;
}

static bool is_to_be_refreshed(const struct known *k)
{
	int64_t after_ms = k->max_age_ms / 2 < REFRESH_MAX_MS ? k->max_age_ms / 2 : REFRESH_MAX_MS;

	return poller_now() >= k->fetched_ms + after_ms;
}

static bool has_failed(const struct known *k)
{
	return strcmp(k->failed_id, k->wanted_id) == 0 && poller_now() < k->failed_ms + FAILED_MS;
}

/* ---- answers ---- */

static void answer(struct known *k, enum lookout_sts_answer result, struct slice body)
{
	struct question *q;

	while ((q = k->waiting) != NULL) {
		k->waiting = q->next;
		k->sts->n_questions--;
		lookout_answer(k->sts->l, &q->who, result, body);
		free(q);
	}
}

static void answer_policy(struct known *k)
{
	answer(k, LOOKOUT_STS_POLICY, buffer_slice(&k->policy));
}

/* It is over, without a new policy. */
static void settle(struct known *k, enum lookout_sts_answer result, const char *why)
{
	k->busy = false;
	if (is_good(k))
		answer_policy(k);
	else
		answer(k, result, slice_cstr(why));
}

/* ---- fetching ---- */

static void note_failure(struct known *k, const char *why)
{
	log_event(LOG_CORE_ERROR, 1, NOSESSION, "The policy of a mail domain can't be fetched; what was known of it stays",
		  F_TEXT("domain", k->domain), F_TEXT("id", k->wanted_id), F_OCTETS("reason", slice_cstr(why)));
	memcpy(k->failed_id, k->wanted_id, sizeof(k->failed_id));
	k->failed_ms = poller_now();
	snprintf(k->why, sizeof(k->why), "the policy can't be fetched: %s", why);
	settle(k, LOOKOUT_STS_FAILED, k->why);
}

static void on_file(void *arg, const char *why, struct slice body)
{
	struct known *k = arg;
	struct mta_sts policy;
	struct buffer text = BUFFER_INIT(MTA_STS_WRITTEN_MAX);

	if (why == NULL && mta_sts_parse(body, &policy, &why) == 0) {
		mta_sts_write(&policy, &text);
		why = text.broken ? "no memory" : NULL;
	}
	if (why != NULL) {
		buffer_release(&text);
		note_failure(k, why);
		return;
	}
	log_event(LOG_CORE_INFO, 2, NOSESSION, "The policy of a mail domain was fetched", F_TEXT("domain", k->domain), F_TEXT("id", k->wanted_id),
		  F_TEXT("mode", mta_sts_mode_names[policy.mode]), F_INT("max_age", policy.max_age_s), F_INT("mx", policy.n_mx));
	buffer_release(&k->policy);
	k->policy = text;
	memcpy(k->id, k->wanted_id, sizeof(k->id));
	k->failed_id[0] = '\0';
	k->fetched_ms = poller_now();
	k->max_age_ms = policy.max_age_s * INT64_C(1000);
	k->busy = false;
	answer_policy(k);		/* also one that is kept for no time */
}

static void fetch(struct known *k)
{
	struct lookout_sts *sts = k->sts;
	char host[HOST_OCTETS_MAX + 1];
	const struct fetch_request request = {
		.host = host, .addrs = k->addrs, .n_addrs = k->n_addrs, .path = PATH, .ca_directory = k->ca_directory,
		.octets_max = MTA_STS_OCTETS_MAX, .limit_ms = FETCH_MS,
	};

	snprintf(host, sizeof(host), HOST_PREFIX "%s", k->domain);
	if (sts->fetcher != NULL || fetcher_create(&sts->l->poller, &sts->fetcher) == 0)
		fetcher_get(sts->fetcher, &request, on_file, k);
	else
		note_failure(k, "libcurl can't be used");
}

static void on_addresses(void *arg, const struct resolver_answer *a)
{
	struct known *k = arg;

	if (a->n_addrs > 0)
		memcpy(k->addrs + k->n_addrs, a->addrs, a->n_addrs * sizeof(k->addrs[0]));
	k->n_addrs += a->n_addrs;
	if (a->result != 0)
		snprintf(k->trouble, sizeof(k->trouble), HOST_PREFIX "%s: %s", k->domain, a->why);
	if (--k->awaited > 0)
		return;
	if (k->n_addrs > 0)
		fetch(k);
	else
		note_failure(k, k->trouble);
}

static void find_host(struct known *k)
{
	static const int families[] = { AF_INET, AF_INET6 };
	char host[HOST_OCTETS_MAX + 1];

	snprintf(host, sizeof(host), HOST_PREFIX "%s", k->domain);
	snprintf(k->trouble, sizeof(k->trouble), "%s has no address", host);
	k->n_addrs = 0;
	k->awaited = ARRAY_LEN(families);
	for (size_t i = 0; i < ARRAY_LEN(families); i++)
		resolver_ask(k->sts->l->resolver, host, families[i], on_addresses, k);
}

/* ---- the record ---- */

/* RFC 8461, 3.1: exactly one, and a good one; else there is no policy. */
static bool find_id(const struct resolver_texts *t, struct slice *id)
{
	int found = -ENOENT;
	size_t n = 0;

	for (size_t i = 0; i < t->n_texts; i++) {
		int err = mta_sts_record_parse(t->texts[i], id);

		n += err != -ENOENT;
		found = err != -ENOENT ? err : found;
	}
	return n == 1 && found == 0;
}

static void on_record(void *arg, const struct resolver_texts *t)
{
	struct known *k = arg;
	char why[WHY_MAX];
	struct slice id;

	if (t->result != 0) {
		snprintf(why, sizeof(why), RECORD_PREFIX "%s: %s", k->domain, t->why);
		settle(k, LOOKOUT_STS_FAILED, why);
		return;
	}
	if (!find_id(t, &id) || slice_to_cstr(id, k->wanted_id, sizeof(k->wanted_id)) != 0) {
		settle(k, LOOKOUT_STS_ABSENT, "");
		return;
	}
	if (has_failed(k)) {
		settle(k, LOOKOUT_STS_FAILED, k->why);
		return;
	}
	if (is_current(k)) {
		answer_policy(k);
		k->busy = is_to_be_refreshed(k);
		if (!k->busy)
			return;
	}
	find_host(k);
}

/* ---- questions ---- */

static struct known *find(struct lookout_sts *sts, const char *domain, const char *ca_directory)
{
	for (struct known *k = sts->all; k != NULL; k = k->next)
		if (strcmp(k->domain, domain) == 0 && strcmp(k->ca_directory, ca_directory) == 0)
			return k;
	return NULL;
}

static void forget_oldest(struct lookout_sts *sts)
{
	struct known **oldest = NULL, *k;

	for (struct known **at = &sts->all; *at != NULL; at = &(*at)->next)
		if (!(*at)->busy && (oldest == NULL || (*at)->asked_ms < (*oldest)->asked_ms))
			oldest = at;
	if (oldest == NULL)
		return;
	k = *oldest;
	*oldest = k->next;
	sts->n_all--;
	buffer_release(&k->policy);
	free(k->ca_directory);
	free(k);
}

/* NULL: no memory, or all are busy. */
static struct known *add(struct lookout_sts *sts, const char *domain, const char *ca_directory)
{
	struct known *k;

	if (sts->n_all == LOOKOUT_STS_POLICIES_MAX)
		forget_oldest(sts);
	k = sts->n_all < LOOKOUT_STS_POLICIES_MAX ? calloc(1, sizeof(*k)) : NULL;
	if (k == NULL)
		return NULL;
	*k = (struct known){ .sts = sts, .policy = BUFFER_INIT(MTA_STS_WRITTEN_MAX), .ca_directory = strdup(ca_directory), .next = sts->all };
	if (k->ca_directory == NULL) {
		free(k);
		return NULL;
	}
	memcpy(k->domain, domain, strlen(domain) + 1);
	sts->all = k;
	sts->n_all++;
	return k;
}

static int ask(struct lookout_sts *sts, const struct lookout_asked *who, const char *domain, const char *ca_directory)
{
	struct known *k = find(sts, domain, ca_directory);
	char name[HOST_OCTETS_MAX + 1];
	struct question *q;

	if (sts->n_questions == LOOKOUT_STS_QUESTIONS_MAX && k != NULL && is_good(k)) {
		lookout_answer(sts->l, who, LOOKOUT_STS_POLICY, buffer_slice(&k->policy));
		return 0;
	}
	if (sts->n_questions == LOOKOUT_STS_QUESTIONS_MAX)
		return -EBUSY;
	k = k != NULL ? k : add(sts, domain, ca_directory);
	q = k != NULL ? calloc(1, sizeof(*q)) : NULL;
	if (q == NULL)
		return -EBUSY;
	*q = (struct question){ k->waiting, *who };
	k->waiting = q;
	sts->n_questions++;
	k->asked_ms = poller_now();
	if (k->busy && is_current(k))	/* it is only being fetched again */
		answer_policy(k);
	if (k->busy)
		return 0;
	k->busy = true;
	k->wanted_id[0] = '\0';
	snprintf(name, sizeof(name), RECORD_PREFIX "%s", domain);
	resolver_ask_texts(sts->l->resolver, name, on_record, k);
	return 0;
}

/* Also from within an answer to it. What is under way for its questions goes on. */
void lookout_sts_forget(struct lookout *l, uint32_t peer)
{
	for (struct known *k = l->sts != NULL ? l->sts->all : NULL; k != NULL; k = k->next)
		for (struct question **at = &k->waiting, *q; (q = *at) != NULL;) {
			if (q->who.peer != peer) {
				at = &q->next;
				continue;
			}
			*at = q->next;
			l->sts->n_questions--;
			free(q);
		}
}

/* "DOMAIN\0FOLDER" */
static int parse(struct slice body, char domain[DOMAIN_MAX + 1], char ca_directory[PATH_MAX])
{
	size_t end = slice_index(body, '\0');
	struct slice name = slice_take(body, end), folder = slice_skip(body, end + 1);

	if (!host_name_is_plain(name) || slice_to_cstr(name, domain, DOMAIN_MAX + 1) != 0 || folder.len == 0 || folder.ptr[0] != '/' ||
	    slice_to_cstr(folder, ca_directory, PATH_MAX) != 0)
		return -EINVAL;
	return 0;
}

void lookout_sts_policy(struct lookout *l, const struct lookout_asked *who, struct slice body)
{
	char domain[DOMAIN_MAX + 1], *ca_directory = malloc(PATH_MAX);
	int err = ca_directory == NULL ? -ENOMEM : parse(body, domain, ca_directory);

	if (err == 0 && l->sts == NULL) {
		l->sts = calloc(1, sizeof(*l->sts));
		if (l->sts == NULL)
			err = -ENOMEM;
		else
			l->sts->l = l;
	}
	if (err == 0)
		err = ask(l->sts, who, domain, ca_directory);
	if (err != 0)
		lookout_answer(l, who, err, slice_of(NULL, 0));
	free(ca_directory);
}
