/* SPDX-License-Identifier: Apache-2.0 */
#include "server/lookout/lookout_resolver.h"

#include "base/log.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/stat.h>

#define RESOLV_CONF "/etc/resolv.conf"
#define TIMEOUT_MS 1500			/* of the first try; the second waits twice as long */
#define TRIES 2
#define ANSWERS_MAX 256			/* addresses that are looked at */
#define NOSESSION slice_cstr("nosession")

struct resolver {
	struct poller *poller;
	struct poller_timer timer;
	const char *servers;		/* NULL: RESOLV_CONF */
	struct stat conf;		/* as it was when it was read */
	ares_channel channel;
	unsigned inside;		/* calls of c-ares that are under way: the channel must stay */
};

struct question {
	resolver_fn fn;
	resolver_texts_fn texts_fn;	/* of a question for TXT */
	void *arg;
	int family;
};

/* ---- c-ares and the poller ---- */

static void set_timer(struct resolver *r)
{
	struct timeval limit, *next = ares_timeout(r->channel, NULL, &limit);

	if (next == NULL)
		poller_timer_clear(r->poller, &r->timer);
	else
		poller_timer_set(r->poller, &r->timer, next->tv_sec * 1000LL + next->tv_usec / 1000 + 1);
}

static void process(struct resolver *r, ares_socket_t readable, ares_socket_t writable)
{
	r->inside++;
	ares_process_fd(r->channel, readable, writable);
	r->inside--;
	set_timer(r);
}

static void on_timer(void *arg)
{
	process(arg, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

static void on_socket(void *arg, int fd, short revents)
{
	bool failed = (revents & (POLLERR | POLLHUP)) != 0;	/* reading and writing tell how */

	process(arg, (revents & POLLIN) != 0 || failed ? fd : ARES_SOCKET_BAD, (revents & POLLOUT) != 0 || failed ? fd : ARES_SOCKET_BAD);
}

/* A socket of c-ares: opened, wanting something else, or about to be closed. */
static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct resolver *r = arg;
	short events = (short)((readable ? POLLIN : 0) | (writable ? POLLOUT : 0));

	poller_remove(r->poller, fd);
	/* Without room nothing comes from it: the question runs into its timeout. */
	if (events != 0 && poller_add(r->poller, fd, events, on_socket, r) != 0)
		log_event(LOG_CORE_ERROR, 0, NOSESSION, "The lookout has no room for another connection to a name server");
}

static int open_channel(struct resolver *r)
{
	struct ares_options options = {
		.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS, .timeout = TIMEOUT_MS, .tries = TRIES,
		.ednspsz = 1232, .sock_state_cb = on_socket_state, .sock_state_cb_data = r,
	};
	int status = ares_init_options(&r->channel, &options, ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES |
				       ARES_OPT_EDNSPSZ | ARES_OPT_SOCK_STATE_CB);

	if (status != ARES_SUCCESS)
		return status == ARES_ENOMEM ? -ENOMEM : -EIO;
	if (r->servers == NULL || ares_set_servers_ports_csv(r->channel, r->servers) == ARES_SUCCESS)
		return 0;
	ares_destroy(r->channel);
	return -EINVAL;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/*
 * Who is asked may have changed. Questions under way fail with the old channel; those for host names are asked again. Not
 * from within an answer: c-ares goes on with the channel that gave it.
 */
static void look_at_conf(struct resolver *r)
{
	ares_channel old = r->channel;
	struct stat now;

	if (r->servers != NULL || r->inside > 0 || stat(RESOLV_CONF, &now) != 0 || is_same_file(&now, &r->conf))
		return;
	if (open_channel(r) != 0) {
		r->channel = old;
		return;
	}
	r->conf = now;
	log_event(LOG_CORE_INFO, 2, NOSESSION, "The name servers are those of the changed " RESOLV_CONF);
	ares_destroy(old);
}

int resolver_create(struct poller *poller, const char *servers, struct resolver **out)
{
	struct resolver *r = calloc(1, sizeof(*r));
	int err = r == NULL ? -ENOMEM : ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS ? 0 : -EIO;

	if (err == 0) {
		r->poller = poller;
		r->servers = servers;
		r->timer.fn = on_timer;
		r->timer.arg = r;
		(void)stat(RESOLV_CONF, &r->conf);
		err = open_channel(r);
	}
	if (err == 0)
		*out = r;
	else
		free(r);
	return err;
}

static void query(struct resolver *r, const char *name, int type, ares_callback fn, struct question *q)
{
	look_at_conf(r);
	r->inside++;
	ares_query(r->channel, name, ns_c_in, type, fn, q);
	r->inside--;
	set_timer(r);
}

/* ---- answers ---- */

/* Nobody's address: what such an answer means can only be harm. */
static bool is_hosts(const struct ip_addr *ip)
{
	static const uint8_t none[16] = { 0 }, mapped[12] = { [10] = 0xff, [11] = 0xff };

	if (memcmp(ip->octets, none, sizeof(none)) == 0)
		return false;
	if (ip->family == AF_INET)
		return ip->octets[0] < 224;
	return ip->octets[0] != 0xff && memcmp(ip->octets, mapped, sizeof(mapped)) != 0;
}

static int by_octets(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct ip_addr));	/* the address of each; one family; nothing stands between the octets */
}

struct found_address {
	struct ip_addr ip;		/* first */
	uint32_t ttl_s;
};

struct found {
	struct found_address all[ANSWERS_MAX];
	size_t n;
	struct ip_addr addrs[RESOLVER_ADDRESSES_MAX];
	bool cut;
};

static void add(struct found *f, int family, const void *octets, int ttl)
{
	struct ip_addr ip = { .family = (uint8_t)family };

	memcpy(ip.octets, octets, family == AF_INET ? 4 : 16);
	if (is_hosts(&ip))
		f->all[f->n++] = (struct found_address){ ip, ttl > 0 ? (uint32_t)ttl : 0 };
	else
		f->cut = true;
}

static int parse4(const unsigned char *octets, int len, struct found *f)
{
	struct ares_addrttl all[ANSWERS_MAX];
	int n = ANSWERS_MAX, status = ares_parse_a_reply(octets, len, NULL, all, &n);

	for (int i = 0; status == ARES_SUCCESS && i < n; i++)
		add(f, AF_INET, &all[i].ipaddr, all[i].ttl);
	return status;
}

static int parse6(const unsigned char *octets, int len, struct found *f)
{
	struct ares_addr6ttl *all = calloc(ANSWERS_MAX, sizeof(*all));
	int n = ANSWERS_MAX, status = all == NULL ? ARES_ENOMEM : ares_parse_aaaa_reply(octets, len, NULL, all, &n);

	for (int i = 0; status == ARES_SUCCESS && i < n; i++)
		add(f, AF_INET6, &all[i].ip6addr, all[i].ttl);
	free(all);
	return status;
}

/* What is left out says nothing about how long the rest is good. */
static void sort_out(struct found *f, struct resolver_answer *answer)
{
	size_t kept = 0;

	qsort(f->all, f->n, sizeof(f->all[0]), by_octets);
	for (size_t i = 0; i < f->n; i++) {
		bool again = kept > 0 && ip_equal(&f->all[i].ip, &f->addrs[kept - 1]);

		if (!again && kept == RESOLVER_ADDRESSES_MAX) {
			f->cut = true;
			break;
		}
		if (!again)
			f->addrs[kept++] = f->all[i].ip;
		if (i == 0 || f->all[i].ttl_s < answer->ttl_s)
			answer->ttl_s = f->all[i].ttl_s;
	}
	answer->cut = f->cut;
	answer->addrs = f->addrs;
	answer->n_addrs = kept;
}

/* "No such name" and "no such record" come from who knows; everything else says nothing of the name. */
static void on_answer(void *arg, int status, int timeouts, unsigned char *octets, int len)
{
	struct question *q = arg;
	struct resolver_answer answer = { .result = 0 };
	struct found *f = calloc(1, sizeof(*f));

	if (f == NULL)
		status = ARES_ENOMEM;
	else if (status == ARES_SUCCESS)
		status = q->family == AF_INET ? parse4(octets, len, f) : parse6(octets, len, f);
	if (status == ARES_SUCCESS) {
		sort_out(f, &answer);
	} else if (status != ARES_ENODATA && status != ARES_ENOTFOUND) {
		answer.result = -EIO;
		answer.why = ares_strerror(status);
	}
	q->fn(q->arg, &answer);
	free(f);
	free(q);
}

void resolver_ask(struct resolver *r, const char *name, int family, resolver_fn fn, void *arg)
{
	struct question *q = calloc(1, sizeof(*q));

	if (q == NULL) {
		fn(arg, &(struct resolver_answer){ .result = -ENOMEM, .why = "no memory" });
		return;
	}
	*q = (struct question){ .fn = fn, .arg = arg, .family = family };
	query(r, name, family == AF_INET ? ns_t_a : ns_t_aaaa, on_answer, q);
}

/* ---- texts ---- */

struct gathered {
	struct slice texts[RESOLVER_TEXTS_MAX];
	size_t n;
	uint8_t *octets;		/* of all of them, one behind the other */
	size_t len;
};

/* 0; -E2BIG. octets has room for all strings of the answer. */
static int gather(struct gathered *g, const struct ares_txt_ext *first)
{
	for (const struct ares_txt_ext *t = first; t != NULL; t = t->next) {
		if (t->record_start && g->n == RESOLVER_TEXTS_MAX)
			return -E2BIG;
		if (t->record_start || g->n == 0)
			g->texts[g->n++] = slice_of(g->octets + g->len, 0);
		memcpy(g->octets + g->len, t->txt, t->length);
		g->len += t->length;
		g->texts[g->n - 1].len += t->length;
	}
	return 0;
}

static void on_texts(void *arg, int status, int timeouts, unsigned char *octets, int len)
{
	struct question *q = arg;
	struct resolver_texts answer = { .result = 0 };
	struct ares_txt_ext *first = NULL;
	struct gathered g = { .n = 0 };

	if (status == ARES_SUCCESS)
		status = ares_parse_txt_reply_ext(octets, len, &first);
	if (status == ARES_SUCCESS) {
		g.octets = malloc((size_t)len);		/* strings are no longer than the answer they came in */
		status = g.octets == NULL ? ARES_ENOMEM : gather(&g, first) == 0 ? ARES_SUCCESS : ARES_EBADRESP;
	}
	if (status == ARES_SUCCESS) {
		answer.texts = g.texts;
		answer.n_texts = g.n;
	} else if (status != ARES_ENODATA && status != ARES_ENOTFOUND) {
		answer.result = -EIO;
		answer.why = ares_strerror(status);
	}
	q->texts_fn(q->arg, &answer);
	ares_free_data(first);
	free(g.octets);
	free(q);
}

void resolver_ask_texts(struct resolver *r, const char *name, resolver_texts_fn fn, void *arg)
{
	struct question *q = calloc(1, sizeof(*q));

	if (q == NULL) {
		fn(arg, &(struct resolver_texts){ .result = -ENOMEM, .why = "no memory" });
		return;
	}
	*q = (struct question){ .texts_fn = fn, .arg = arg };
	query(r, name, ns_t_txt, on_texts, q);
}
