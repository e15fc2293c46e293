/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the DNS says and DNSSEC vouches for (RFC 4033), by libunbound, which asks the zones' servers itself
 * or a resolver that it does not believe a word, checks all signatures, and remembers answers as long as they are good.
 * It works in a thread of its own and tells this one over a pipe.
 */
#include "server/lookout/lookout_priv.h"

#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unbound.h>

#define TRUST_ANCHOR "/usr/share/dns/root.key"
#define DNS_NAME_MAX 253
#define DNS_PORT 53
#define TYPE_A 1
#define TYPE_CNAME 5
#define TYPE_TLSA 52
#define CLASS_IN 1
#define NOSESSION slice_cstr("nosession")
#define START_PAUSE_MS 1000		/* from one try that failed to the next */

enum { RCODE_NOERROR = 0, RCODE_NXDOMAIN = 3 };

struct dns_question;

/* Takes an answer that is one. false: the question is over, and was answered; else another step is under way. */
typedef bool (*dns_step_fn)(struct dns_question *q, const struct ub_result *r);

struct dns_question {
	struct lookout_dns *dns;	/* NULL: free */
	struct lookout_asked who;
	int id;				/* the library's, of this step */
	dns_step_fn step;		/* that takes the next answer */
	char owner[DNS_NAME_MAX + 1];	/* as it was asked for */
	size_t prefix;			/* octets of "_25._tcp." in it; behind it stands the host */
	char alias_of[DNS_NAME_MAX + 1];	/* what the host's name stands for, and the records are looked for first; empty: itself */
};

struct lookout_dns {
	struct lookout *l;
	struct ub_ctx *ctx;
	char broken[512];		/* why nothing can be asked; empty: it can */
	int64_t tried_ms;		/* to start it */
	struct stat anchor;		/* as it was then */
	struct dns_question questions[LOOKOUT_DNS_QUESTIONS_MAX];
	uint8_t body[LOOKOUT_BODY_MAX];
};

/* ---- names ---- */

/* A host's name and what stands before it: nothing that has another meaning in a text form of names. */
static bool is_name(const char *name)
{
	for (const char *c = name; *c != '\0'; c++)
		if (!isalnum((unsigned char)*c) && *c != '-' && *c != '_' && (*c != '.' || c == name || c[1] == '.'))
			return false;
	return name[0] != '\0';
}

/* ---- answers ---- */

static int compare_records(const struct ub_result *r, int a, int b)
{
	int n = r->len[a] < r->len[b] ? r->len[a] : r->len[b];
	int order = memcmp(r->data[a], r->data[b], (size_t)n);

	return order != 0 ? order : r->len[a] - r->len[b];
}

/* The next one behind the one at last (-1: the first) in an order that does not depend on who answered; -1: no more. */
static int next_record(const struct ub_result *r, int last)
{
	int best = -1;

	for (int i = 0; r->data[i] != NULL; i++)
		if ((last < 0 || compare_records(r, i, last) > 0) && (best < 0 || compare_records(r, i, best) < 0))
			best = i;
	return best;
}

static size_t put_name(struct lookout_dns *dns, const char *name)
{
	size_t len = strlen(name);

	dns->body[0] = (uint8_t)(len >> 8);
	dns->body[1] = (uint8_t)len;
	memcpy(dns->body + 2, name, len);
	return len + 2;
}

/* Octets in dns->body, the first n of which there are already; -E2BIG. */
static int put_records(struct lookout_dns *dns, const struct ub_result *r, size_t n)
{
	for (int i = next_record(r, -1); i >= 0; i = next_record(r, i)) {
		size_t len = (size_t)r->len[i];

		if (len > UINT16_MAX || len + 2 > sizeof(dns->body) - n)
			return -E2BIG;
		dns->body[n] = (uint8_t)(len >> 8);
		dns->body[n + 1] = (uint8_t)len;
		memcpy(dns->body + n + 2, r->data[i], len);
		n += 2 + len;
	}
	return (int)n;
}

static void answer_words(struct dns_question *q, enum lookout_tlsa result, const char *words)
{
	lookout_answer(q->dns->l, &q->who, result, slice_cstr(words));
}

static void answer_records(struct dns_question *q, const struct ub_result *r)
{
	bool expanded = q->alias_of[0] != '\0';
	int n = put_records(q->dns, r, expanded ? put_name(q->dns, q->alias_of) : 0);

	if (n < 0)
		answer_words(q, LOOKOUT_TLSA_FAILED, "too many records");
	else
		lookout_answer(q->dns->l, &q->who, expanded ? LOOKOUT_TLSA_EXPANDED : LOOKOUT_TLSA_SECURE,
			       slice_of(q->dns->body, (size_t)n));
}

/* Nothing was found out, for one of these reasons, which are the answer. */
static bool is_no_answer(struct dns_question *q, int err, const struct ub_result *r)
{
	char words[64];

	if (err != 0) {
		answer_words(q, LOOKOUT_TLSA_FAILED, ub_strerror(err));
	} else if (r->bogus) {
		answer_words(q, LOOKOUT_TLSA_BOGUS, r->why_bogus != NULL ? r->why_bogus : "");
	} else if (r->rcode != RCODE_NOERROR && r->rcode != RCODE_NXDOMAIN) {
		snprintf(words, sizeof(words), "the answer has the code %d", r->rcode);
		answer_words(q, LOOKOUT_TLSA_FAILED, words);
	} else {
		return false;
	}
	return true;
}

/* ---- steps ---- */

static void on_answer(void *arg, int err, struct ub_result *r)
{
	struct dns_question *q = arg;

	if (is_no_answer(q, err, r) || !q->step(q, r))
		q->dns = NULL;
	ub_resolve_free(r);
}

static bool ask_for(struct dns_question *q, const char *name, int type, dns_step_fn step)
{
	int err;

	q->step = step;
	err = ub_resolve_async(q->dns->ctx, name, type, CLASS_IN, q, on_answer, &q->id);
	if (err != 0)
		answer_words(q, LOOKOUT_TLSA_FAILED, ub_strerror(err));
	return err == 0;
}

static bool take_records(struct dns_question *q, const struct ub_result *r);

static bool ask_records(struct dns_question *q)
{
	char name[2 * DNS_NAME_MAX + 1];

	if (q->alias_of[0] == '\0')
		return ask_for(q, q->owner, TYPE_TLSA, take_records);
	memcpy(name, q->owner, q->prefix);
	memcpy(name + q->prefix, q->alias_of, sizeof(q->alias_of));
	return ask_for(q, name, TYPE_TLSA, take_records);
}

/* Where the name behind the alias has none, those of the alias itself count. */
static bool take_records(struct dns_question *q, const struct ub_result *r)
{
	if (r->secure && r->havedata) {
		answer_records(q, r);
		return false;
	}
	if (q->alias_of[0] != '\0') {
		q->alias_of[0] = '\0';
		return ask_records(q);
	}
	answer_words(q, r->secure ? LOOKOUT_TLSA_DENIED : LOOKOUT_TLSA_UNSIGNED, "");
	return false;
}

/* The host's name is an alias, and it leads out of what is signed. Is it signed itself? */
static bool take_alias(struct dns_question *q, const struct ub_result *r)
{
	if (r->secure)
		return ask_records(q);
	answer_words(q, LOOKOUT_TLSA_UNSIGNED, "");
	return false;
}

/* What the host's name stands for in the end; false: for itself, or for something that is no host's name. */
static bool find_alias(const struct dns_question *q, const struct ub_result *r, char out[DNS_NAME_MAX + 1])
{
	size_t n = r->canonname != NULL ? strlen(r->canonname) : 0;

	if (n > 0 && r->canonname[n - 1] == '.')
		n--;
	if (n == 0 || n + q->prefix > DNS_NAME_MAX)
		return false;
	memcpy(out, r->canonname, n);
	out[n] = '\0';
	return is_name(out) && strcasecmp(out, q->owner + q->prefix) != 0;
}

/*
 * Are the host's own addresses signed? Where they are not, so are no TLSA records below, and name servers that can't tell those
 * from an error must not cost mail. Whether it has an address of this kind does not matter.
 */
static bool take_address(struct dns_question *q, const struct ub_result *r)
{
	char alias_of[DNS_NAME_MAX + 1] = "";
	bool is_alias = find_alias(q, r, alias_of);

	if (r->secure) {
		if (is_alias)
			memcpy(q->alias_of, alias_of, sizeof(alias_of));
		return ask_records(q);
	}
	/* Whatever name the unsigned part of the way says: it may be one that is no host's only so that nobody looks further. */
	if (r->canonname != NULL)
		return ask_for(q, q->owner + q->prefix, TYPE_CNAME, take_alias);
	answer_words(q, LOOKOUT_TLSA_UNSIGNED, "");
	return false;
}

static void on_news(void *arg, int fd, short revents)
{
	struct lookout_dns *dns = arg;

	ub_process(dns->ctx);
}

/* ---- the resolver ---- */

/* Whatever it is asked of is no more believed than the zones' servers are. */
static int set_forwarder(struct ub_ctx *ctx, const struct endpoint *forwarder)
{
	char text[IP_TEXT_MAX + 8], ip[IP_TEXT_MAX];
	int err;

	if (forwarder->ip.family == AF_UNSPEC)
		return 0;
	snprintf(text, sizeof(text), "%s@%u", ip_text(&forwarder->ip, ip), forwarder->port != 0 ? forwarder->port : DNS_PORT);
	err = ub_ctx_set_option(ctx, "do-not-query-localhost:", "no");
	return err == 0 ? ub_ctx_set_fwd(ctx, text) : err;
}

static const char *anchor_path(const struct lookout_dns *dns)
{
	const char *path = dns->l->setup->options->trust_anchor;

	return path != NULL ? path : TRUST_ANCHOR;
}

static int set_up(struct lookout_dns *dns, const struct run_options *o)
{
	static const char *const settings[][2] = {
		{ "msg-cache-size:", "4m" }, { "rrset-cache-size:", "8m" }, { "key-cache-size:", "4m" }, { "neg-cache-size:", "1m" },
		{ "cache-max-ttl:", "3600" }, { "rrset-roundrobin:", "no" },
	};
	int err = 0;

	for (size_t i = 0; i < ARRAY_LEN(settings) && err == 0; i++)
		err = ub_ctx_set_option(dns->ctx, settings[i][0], settings[i][1]);
	if (err == 0)
		err = set_forwarder(dns->ctx, &o->dns_forwarder);
	if (err == 0)
		err = ub_ctx_add_ta_file(dns->ctx, anchor_path(dns));
	return err == 0 ? ub_ctx_async(dns->ctx, 1) : err;
}

static bool has_key(char *line)
{
	char *rest = line;

	line[strcspn(line, ";")] = '\0';
	for (const char *word; (word = strtok_r(rest, " \t\r\n", &rest)) != NULL;)
		if (strcasecmp(word, "DS") == 0 || strcasecmp(word, "DNSKEY") == 0)
			return true;
	return false;
}

/* A zone file (RFC 1035, 5) with at least one DS or DNSKEY? The library is content with none. 0; -ENODATA; -errno. */
static int check_anchor(const char *path)
{
	FILE *f = fopen(path, "re");
	char line[2048];
	int err = -ENODATA;

	if (f == NULL)
		return -errno;
	while (err != 0 && fgets(line, sizeof(line), f) != NULL)
		err = has_key(line) ? 0 : -ENODATA;
	fclose(f);
	return err;
}

static void stop(struct lookout_dns *dns)
{
	if (dns->ctx == NULL)
		return;
	poller_remove(&dns->l->poller, ub_fd(dns->ctx));
	ub_ctx_delete(dns->ctx);
	dns->ctx = NULL;
}

/* Without a trust anchor nothing would be signed, and all would be believed to be as it is. */
static void say_flaw(struct lookout_dns *dns, int flaw)
{
	if (flaw == -ENODATA)
		snprintf(dns->broken, sizeof(dns->broken), "the trust anchor %s has no DS or DNSKEY record", anchor_path(dns));
	else
		snprintf(dns->broken, sizeof(dns->broken), "the trust anchor %s can't be read: %s", anchor_path(dns), strerror(-flaw));
}

static void start(struct lookout_dns *dns)
{
	char before[sizeof(dns->broken)];
	int err = 0, flaw;

	memcpy(before, dns->broken, sizeof(before));
	dns->broken[0] = '\0';
	dns->tried_ms = poller_now();
	if (stat(anchor_path(dns), &dns->anchor) != 0)
		dns->anchor = (struct stat){ .st_ino = 0 };
	flaw = check_anchor(anchor_path(dns));
	if (flaw != 0) {
		say_flaw(dns, flaw);
	} else {
		dns->ctx = ub_ctx_create();
		err = dns->ctx != NULL ? set_up(dns, dns->l->setup->options) : UB_NOMEM;
		if (err == 0 && poller_add(&dns->l->poller, ub_fd(dns->ctx), POLLIN, on_news, dns) != 0)
			err = UB_PIPE;
	}
	if (err != 0) {
		snprintf(dns->broken, sizeof(dns->broken), "the resolver does not start: %s", ub_strerror(err));
		ub_ctx_delete(dns->ctx);
		dns->ctx = NULL;
	}
	if (dns->broken[0] != '\0' && strcmp(dns->broken, before) != 0)
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "Nothing can be asked of the DNS", F_TEXT("reason", dns->broken));
}

static bool is_idle(const struct lookout_dns *dns)
{
	for (size_t i = 0; i < LOOKOUT_DNS_QUESTIONS_MAX; i++)
		if (dns->questions[i].dns != NULL)
			return false;
	return true;
}

/* Another file, or another content, with keys in it. */
static bool anchor_changed(const struct lookout_dns *dns)
{
	struct stat now;

	return stat(anchor_path(dns), &now) == 0 && (now.st_ino != dns->anchor.st_ino || now.st_dev != dns->anchor.st_dev ||
	       now.st_size != dns->anchor.st_size || now.st_mtim.tv_sec != dns->anchor.st_mtim.tv_sec ||
	       now.st_mtim.tv_nsec != dns->anchor.st_mtim.tv_nsec) && check_anchor(anchor_path(dns)) == 0;
}

/* Keys of the root change, and files that are not there yet come: between questions the anchor is read again. */
static void look_at_anchor(struct lookout_dns *dns)
{
	if (dns->ctx == NULL && (dns->tried_ms == 0 || poller_now() - dns->tried_ms >= START_PAUSE_MS))
		start(dns);
	if (dns->ctx != NULL && anchor_changed(dns) && is_idle(dns)) {
		stop(dns);
		start(dns);
	}
}

/* ---- questions ---- */

/* NULL: none, or the worker has more than are left, which are for others. */
static struct dns_question *free_question(struct lookout_dns *dns, uint32_t peer)
{
	struct dns_question *unused = NULL;
	size_t own = 0, n_unused = 0;

	for (size_t i = 0; i < LOOKOUT_DNS_QUESTIONS_MAX; i++) {
		if (dns->questions[i].dns == NULL) {
			unused = &dns->questions[i];
			n_unused++;
		} else {
			own += dns->questions[i].who.peer == peer;
		}
	}
	return own > n_unused ? NULL : unused;
}

void lookout_dns_forget(struct lookout *l, uint32_t peer)
{
	struct lookout_dns *dns = l->dns;

	for (size_t i = 0; dns != NULL && i < LOOKOUT_DNS_QUESTIONS_MAX; i++) {
		struct dns_question *q = &dns->questions[i];

		if (q->dns == NULL || q->who.peer != peer)
			continue;
		(void)ub_cancel(dns->ctx, q->id);
		q->dns = NULL;
	}
}

/* Octets of "_25._tcp."; 0: it does not begin like that. */
static size_t prefix_of(const char *owner)
{
	const char *at = owner;

	for (int i = 0; i < 2; i++) {
		const char *dot = at[0] == '_' ? strchr(at, '.') : NULL;

		if (dot == NULL)
			return 0;
		at = dot + 1;
	}
	return (size_t)(at - owner);
}

static void ask(struct lookout_dns *dns, const struct lookout_asked *who, const char *name)
{
	struct dns_question *q = free_question(dns, who->peer);
	bool goes_on;

	if (q == NULL) {
		lookout_answer(dns->l, who, -EBUSY, slice_of(NULL, 0));
		return;
	}
	*q = (struct dns_question){ .dns = dns, .who = *who, .prefix = prefix_of(name) };
	memcpy(q->owner, name, strlen(name) + 1);
	goes_on = q->prefix > 0 ? ask_for(q, q->owner + q->prefix, TYPE_A, take_address) : ask_records(q);
	if (!goes_on)
		q->dns = NULL;
}

void lookout_dns_tlsa(struct lookout *l, const struct lookout_asked *who, struct slice body)
{
	char name[DNS_NAME_MAX + 1];

	if (slice_to_cstr(body, name, sizeof(name)) != 0 || !is_name(name)) {
		lookout_answer(l, who, -EINVAL, slice_of(NULL, 0));
		return;
	}
	if (l->dns == NULL) {
		l->dns = calloc(1, sizeof(*l->dns));
		if (l->dns == NULL) {
			lookout_answer(l, who, -ENOMEM, slice_of(NULL, 0));
			return;
		}
		l->dns->l = l;
	}
	look_at_anchor(l->dns);
	if (l->dns->broken[0] == '\0')
		ask(l->dns, who, name);
	else
		lookout_answer(l, who, LOOKOUT_TLSA_FAILED, slice_cstr(l->dns->broken));
}
