/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a handshake asks policy code (docs/policy-document.md, "TLS"): which certificate to show, and
 * whether the peer's is accepted. Code that fails, is late or answers something else refuses.
 */
#include "base/log.h"
#include "session/secure_priv.h"

#include <errno.h>

#define GIVEN_OCTETS_MAX (256u * 1024u)	/* a chain and its key */

/* The policy language's numbers (SSL_HS_*). */
enum { ANSWER_ACCEPT = 1, ANSWER_VERIFIED = 10 };

/* 0 and *answer; negative: the handshake ends. */
static co_waits int call(struct session *s, const struct policy_call *call, const struct call_value *args, size_t n_args,
			 int64_t *answer)
{
	struct call_value result = { .kind = CALL_NONE };
	int err;

	s->secure.changes++;		/* of the facts, since the last call */
	err = proxy_call(&s->proxy, call, args, n_args, &result);
	if (err == -ECANCELED || err == -ENOMEM)
		return err;
	if (err == 0 && result.kind == CALL_INT) {
		*answer = result.number;
		return 0;
	}
	s->secure.call_failed = true;
	log_event(LOG_CORE_POLICY, 1, s->proxy.id, "Policy code gave no usable verdict on a TLS handshake",
		  F_TEXT("error", err != 0 ? strerror(-err) : "not a number"));
	return -EACCES;
}

static co_waits int ask_certificate(void *arg, const struct tls_facts *facts, struct tls_given *given)
{
	struct secure_asking *a = arg;
	struct session *s = a->session;
	enum tls_end end = a->handshake->end;
	const struct call_value args[] = { { .kind = CALL_INT, .number = end } };
	int64_t answer;
	int err;

	/* The library asks again behind a HelloRetryRequest. */
	s->secure.given = (struct tls_given){ .pem = { NULL, 0 } };
	arena_free(&s->secure.given_arena);
	s->secure.given_arena = arena_create(GIVEN_OCTETS_MAX, ARENA_WIPE);
	if (s->secure.given_arena == NULL)
		return -ENOMEM;
	err = call(s, &a->handshake->encryption->sides[end].own.setup_key, args, ARRAY_LEN(args), &answer);
	if (err < 0)
		return err;
	if (answer != ANSWER_ACCEPT)
		return -EACCES;
	*given = s->secure.given;
	return 0;
}

static co_waits int ask_verified(void *arg, const struct tls_facts *facts)
{
	struct secure_asking *a = arg;
	struct session *s = a->session;
	enum tls_end end = a->handshake->end;
	const struct call_value args[] = {
		{ .kind = CALL_INT, .number = end }, { .kind = CALL_INT, .number = facts->trusted },
		{ .kind = CALL_INT, .number = facts->verify_error },
	};
	int64_t answer;
	int err;

	if (facts->verify_error != 0)
		log_event(LOG_CORE_INFO, 3, s->proxy.id, "Verification failed, the policy's code decides",
			  F_TEXT("error", facts->verify_text != NULL ? facts->verify_text : ""));
	err = call(s, &a->handshake->encryption->sides[end].verifier.verify, args, ARRAY_LEN(args), &answer);
	if (err < 0)
		return err;
	if (answer == ANSWER_ACCEPT)
		return 0;
	return answer == ANSWER_VERIFIED ? 1 : -EACCES;
}

static co_waits int ask_matches(void *arg, const struct matcher_call *matcher, struct slice name)
{
	struct secure_asking *a = arg;
	int answer = proxy_match(&a->session->proxy, matcher, name);

	if (answer >= 0 || answer == -ECANCELED || answer == -ENOMEM)
		return answer;
	a->session->secure.call_failed = true;
	return -EACCES;
}

void secure_set_asks(struct secure_asking *asking, struct tls_asks *asks)
{
	const struct tls_side *side = &asking->handshake->encryption->sides[asking->handshake->end];

	asks->arg = asking;
	asks->matches = ask_matches;
	if (policy_call_is_set(&side->own.setup_key))
		asks->certificate = ask_certificate;
	if (policy_call_is_set(&side->verifier.verify))
		asks->verified = ask_verified;
}
