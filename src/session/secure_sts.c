/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MTA-STS for servers of mail (RFC 8461). Which mail domain is meant the policy says: nobody here looks for a
 * recipient's servers. The lookout fetches the domain's policy and keeps it as long as that says. If it is
 *
 *	enforce		the domain must list the server by its name, TLS is a must, and CAs must vouch for the certificate
 *	testing		the same is tried and noted, and mail passes; where a policy is required it counts as enforce
 *	none, absent	as without; where one is required the server is not used
 *	failed		nobody knows: likewise
 *
 * A lookout that does not answer in time is no reason to do without: the client may come again.
 *
 * What the server's own zone says of the certificate (DANE) counts more than CAs, which it does not need (RFC 8461, 2).
 */
#include "base/buffer.h"
#include "base/log.h"
#include "session/secure_priv.h"
#include "tls/mta_sts.h"

#include <errno.h>

#define UNANSWERED LOOKOUT_STS_RESULTS	/* the lookout said nothing: it may well know a policy */
#define QUESTION_MAX 8192u		/* a domain and the name of a folder */

static void say(const struct session *s, enum log_tag tag, int level, const char *what, struct slice reason)
{
	log_event(tag, level, s->proxy.id, what, F_TEXT("domain", secure_server_verifier(s)->mta_sts),
		  F_OCTETS("server", secure_named_host(s)), F_TEXT("verdict", s->secure.known.sts.verdict), F_OCTETS("reason", reason));
}

static void say_unmet(const struct session *s, const char *reason)
{
	say(s, LOG_CORE_POLICY, 3, "The server does not meet the mail domain's policy, which is only being tested", slice_cstr(reason));
}

/* 0; -EHOSTDOWN, and *why. */
static int judge_policy(struct secure_sts *sts, const struct mta_sts *policy, struct slice host, bool required, struct slice *why)
{
	sts->verdict = mta_sts_mode_names[policy->mode];
	sts->listed = mta_sts_lists(policy, host);
	sts->testing = policy->mode == MTA_STS_TESTING && !required;
	sts->enforced = policy->mode != MTA_STS_NONE && !sts->testing;
	if (sts->enforced)
		sts->verdict = mta_sts_mode_names[MTA_STS_ENFORCE];
	if (sts->enforced && !sts->listed) {
		*why = SLICE("the domain does not list the server");
		return -EHOSTDOWN;
	}
	return required && !sts->enforced ? -EHOSTDOWN : 0;
}

static int judge(struct session *s, int result, struct slice host, struct slice body, struct slice *why)
{
	struct secure_sts *sts = &s->secure.known.sts;
	bool required = secure_server_verifier(s)->mta_sts_required;
	struct mta_sts policy;
	const char *flaw = NULL;

	if (result == LOOKOUT_STS_POLICY && mta_sts_parse(body, &policy, &flaw) == 0)
		return judge_policy(sts, &policy, host, required, why);
	sts->verdict = result == LOOKOUT_STS_ABSENT ? "absent" : "failed";
	*why = flaw != NULL ? slice_cstr(flaw) : body;
	return required || result == UNANSWERED ? -EHOSTDOWN : 0;
}

static void report(struct session *s, int err, struct slice why)
{
	const struct secure_sts *sts = &s->secure.known.sts;

	if (err != 0)
		say(s, LOG_CORE_POLICY, 1, "The server is not used: the mail domain's policy does not vouch for it", why);
	else if (why.len > 0)
		say(s, LOG_CORE_POLICY, 3, "The server is used without the mail domain's policy, which nobody could tell", why);
	else
		say(s, LOG_CORE_INFO, 4, "The mail domain was asked for its policy", why);
	if (err == 0 && sts->testing && !sts->listed)
		say_unmet(s, "the domain does not list the server");
}

/* "DOMAIN\0FOLDER" (session/lookout_talk.h) */
static void write_question(const struct tls_verifier *v, struct buffer *out)
{
	buffer_append(out, slice_cstr(v->mta_sts));
	buffer_append_octet(out, '\0');
	buffer_append(out, slice_cstr(v->ca_directory));
}

co_waits int secure_look_up_sts(struct session *s, struct slice host)
{
	struct buffer question = BUFFER_INIT(QUESTION_MAX), answer = BUFFER_INIT(LOOKOUT_BODY_MAX + 128);
	struct slice why = { NULL, 0 };
	int result, err;

	write_question(secure_server_verifier(s), &question);
	result = question.broken ? -ENOMEM : secure_ask_lookout(s, LOOKOUT_STS, buffer_slice(&question), LOOKOUT_STS_RESULTS,
								UNANSWERED, &answer);
	err = result < 0 ? result : judge(s, result, host, buffer_slice(&answer), &why);
	if (err == 0 || err == -EHOSTDOWN)
		report(s, err, why);
	s->secure.known.must_encrypt |= s->secure.known.sts.enforced;
	buffer_release(&question);
	buffer_release(&answer);
	return err;
}

void secure_judge_sts(struct session *s)
{
	struct secure_sts *sts = &s->secure.known.sts;
	const struct tls_facts *facts = proxy_tls(&s->proxy, TLS_SERVER);
	bool fits = facts != NULL && tls_fits_host(facts, secure_named_host(s));

	if (!sts->testing)
		return;
	sts->met = sts->listed && fits && facts->trusted;
	if (sts->listed && !sts->met)
		say_unmet(s, fits ? "no CA vouches for its certificate" : "its certificate is not that of the host");
}
