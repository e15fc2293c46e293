/* SPDX-License-Identifier: Apache-2.0 */
/*
 * DANE for servers of mail (RFC 7672). What the zone says is asked each time before a server is
 * connected, and the lookout remembers as long as it is good:
 *
 *	signed records		TLS is a must, and the certificate must fit one of them; CAs do not count
 *	none that is usable	TLS is a must, the certificate is judged as without them
 *	none (signed)		as without
 *	zone is not signed	as without
 *	bogus, or no answer	somebody may be in between: the server is not used, the client comes again
 *
 * With DANE required whatever is not the first is no reason to use the server.
 */
#include "base/buffer.h"
#include "base/log.h"
#include "session/secure_priv.h"

#include <errno.h>
#include <stdio.h>

#define DANE_OCTETS_MAX (2u * LOOKOUT_BODY_MAX)
#define OWNER_MAX 320u			/* "_25._tcp." and a name */

static const char *const verdicts[LOOKOUT_TLSA_RESULTS] = {
	[LOOKOUT_TLSA_SECURE] = "secure", [LOOKOUT_TLSA_DENIED] = "denied", [LOOKOUT_TLSA_UNSIGNED] = "unsigned",
	[LOOKOUT_TLSA_BOGUS] = "bogus", [LOOKOUT_TLSA_FAILED] = "failed",
	[LOOKOUT_TLSA_EXPANDED] = "secure",
};

void secure_forget_dane(struct secure_dane *dane)
{
	arena_free(&dane->arena);
	*dane = (struct secure_dane){ .verdict = NULL };
}

struct parsing {
	struct slice octets;
	struct tlsa_set *set;
	int err;
};

static void parse(void *arg)
{
	struct parsing *p = arg;

	p->err = tlsa_set_parse(p->octets, p->set);
}

/* 0; -EBADMSG, -E2BIG: they can't be used at all; -ENOMEM. */
static co_waits int keep_records(struct secure_dane *dane, struct slice octets, struct tlsa_set **out)
{
	struct parsing p = { .set = NULL };

	dane->arena = arena_create(DANE_OCTETS_MAX, 0);
	p.set = dane->arena != NULL ? ARENA_NEW(dane->arena, struct tlsa_set) : NULL;
	p.octets = p.set != NULL ? arena_copy(dane->arena, octets) : slice_of(NULL, 0);
	if (p.octets.ptr == NULL)
		return -ENOMEM;
	*out = p.set;
	co_leaf(parse, &p);
	return p.err;
}

static void say(const struct session *s, const char *owner, const struct tlsa_set *set, struct slice why, bool used)
{
	const struct secure_dane *dane = &s->secure.known.dane;

	if (used)
		log_event(LOG_CORE_INFO, 4, s->proxy.id, "The server's zone was asked for its certificate", F_TEXT("name", owner),
			  F_TEXT("verdict", dane->verdict), F_INT("records", set != NULL ? set->n : 0),
			  F_INT("unusable", set != NULL ? set->n_unusable : 0));
	else
		log_event(LOG_CORE_POLICY, 1, s->proxy.id, "The server is not used: its zone does not vouch for its certificate",
			  F_TEXT("name", owner), F_TEXT("verdict", dane->verdict), F_OCTETS("reason", why));
}

/* Cuts the name off that stands before the records. */
static int cut_host(struct slice *body, struct slice *host)
{
	size_t n = body->len < 2 ? SIZE_MAX : (size_t)body->ptr[0] << 8 | body->ptr[1];

	if (body->len < 2 || n > body->len - 2)
		return -EBADMSG;
	*host = slice_take(slice_skip(*body, 2), n);
	*body = slice_skip(*body, 2 + n);
	return 0;
}

/* May the server be used? Fills what is to be kept of it. *why, where it may not, is what the answer does not say itself. */
static co_waits int judge(struct session *s, int result, struct slice body, const struct tlsa_set **seen, const char **why)
{
	struct secure_dane *dane = &s->secure.known.dane;
	bool required = secure_server_verifier(s)->dane == TLS_DANE_REQUIRED;
	struct slice host = slice_of(NULL, 0);
	struct tlsa_set *set = NULL;
	int err = 0;

	dane->verdict = verdicts[result];
	*why = NULL;
	if (result == LOOKOUT_TLSA_DENIED)
		*why = "there is no record of it, and the policy requires one";
	if (result == LOOKOUT_TLSA_UNSIGNED)
		*why = "the zone is not signed, and the policy requires that";
	if (result == LOOKOUT_TLSA_DENIED || result == LOOKOUT_TLSA_UNSIGNED)
		return required ? -EHOSTDOWN : 0;
	if (result != LOOKOUT_TLSA_SECURE && result != LOOKOUT_TLSA_EXPANDED)
		return -EHOSTDOWN;
	if (result == LOOKOUT_TLSA_EXPANDED)
		err = cut_host(&body, &host);
	if (err == 0)
		err = keep_records(dane, body, &set);
	if (err == -ENOMEM)
		return err;
	if (err < 0) {
		dane->verdict = verdicts[LOOKOUT_TLSA_FAILED];
		*why = err == -E2BIG ? "there are too many records" : "the lookout's answer is none";
		return -EHOSTDOWN;
	}
	*seen = set;
	s->secure.known.must_encrypt = true;
	if (set->n == 0) {
		dane->verdict = "unusable";
		*why = "no record is of a kind that counts, and the policy requires one";
		return required ? -EHOSTDOWN : 0;
	}
	dane->set = set;
	dane->host = host.len > 0 ? arena_copy(dane->arena, host) : host;
	return host.len == 0 || dane->host.ptr != NULL ? 0 : -ENOMEM;
}

co_waits int secure_look_up_dane(struct session *s, struct slice host)
{
	struct buffer answer = BUFFER_INIT(LOOKOUT_BODY_MAX + 128);
	const struct tlsa_set *set = NULL;
	const char *why = NULL;
	char owner[OWNER_MAX];
	int result, err;

	if (host.len == 0) {
		s->secure.known.dane.verdict = "nameless";
		say(s, "", NULL, SLICE("the policy names no server"), false);
		return -EHOSTDOWN;
	}
	snprintf(owner, sizeof(owner), "_%u._tcp.%.*s", s->server.port, SLICE_ARG(host));
	result = secure_ask_lookout(s, LOOKOUT_TLSA, slice_cstr(owner), LOOKOUT_TLSA_RESULTS, LOOKOUT_TLSA_FAILED, &answer);
	err = result < 0 ? result : judge(s, result, buffer_slice(&answer), &set, &why);
	if (err == 0 || err == -EHOSTDOWN)
		say(s, owner, set, why != NULL ? slice_cstr(why) : buffer_slice(&answer), err == 0);
	buffer_release(&answer);
	return err;
}
