/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a policy may say but this version can't do yet. Such a policy is refused before it runs,
 * with the reason, instead of leaving a gap that nobody sees.
 */
#include "policy/policy.h"

#define PROTO_UDP 17

static bool lists(const struct rule *r, uint8_t protocol)
{
	for (size_t i = 0; i < r->n_protocols; i++)
		if (r->protocols[i] == protocol)
			return true;
	return false;
}

static void check_rule(const struct rule *r, struct policy_problems *problems)
{
	if (r->service->kind != SERVICE_PROXY || r->n_protocols == 0)
		return;
	if (lists(r, PROTO_UDP))
		problems_add(problems, PROBLEM_ERROR, r->place, "proto=6",
			     "rule %u: proto 17: proxies do not serve UDP yet (Service '%s')", r->id,
			     r->service->name);
}

/* STARTTLS with a protocol that does not have it would be plain text, which nobody meant. */
static void check_starttls(const struct service *s, const struct encryption *e, struct policy_problems *problems)
{
	if (e == NULL || s->proxy->type->starttls || !encryption_needs_starttls(e))
		return;
	problems_add(problems, PROBLEM_ERROR, s->place, "an encryption that begins with the connection: ClientOnlyEncryption, "
		     "ServerOnlyEncryption or TwoSidedEncryption",
		     "service '%s': encryption '%s' waits for STARTTLS, which %s does not have", s->name, e->name, s->proxy->type->name);
}

const char *router_flaw(const struct router *router, const struct encryption *e)
{
	enum tls_security client = e != NULL ? e->sides[TLS_CLIENT].security : TLS_OFF;

	if (router->kind != ROUTER_BY_NAME)
		return NULL;
	if (client == TLS_OFF)
		return "clients name a server in TLS alone, and theirs is plain: SNIBasedRouter has nothing to choose by";
	if (client == TLS_ACCEPT_STARTTLS && router->n_targets == 0)
		return "SNIBasedRouter needs a default: the server of clients that use STARTTLS is connected before they name one";
	if (client == TLS_ACCEPT_STARTTLS && e->sides[TLS_SERVER].security == TLS_FORWARD_STARTTLS)
		return "SNIBasedRouter can't choose a server that has the client's STARTTLS already";
	if (client == TLS_ACCEPT_STARTTLS && e->sides[TLS_CLIENT].own.bridge != NULL)
		return "SNIBasedRouter: the client's certificate would be made from that of the default server, which is left then";
	return NULL;
}

static bool asks_zone(const struct tls_verifier *v)
{
	return v->dane != TLS_DANE_OFF;
}

static bool asks_domain(const struct tls_verifier *v)
{
	return v->mta_sts != NULL;
}

/* What others say of a server they say of a name, before it is connected. */
static const struct asking {
	bool (*asks)(const struct tls_verifier *v);
	const char *instead, *without_names, *too_early, *nameless;
} askings[] = {
	{ asks_zone, "DANE_OFF", "it asks the server's zone (dane), but the protocol knows no server by its name",
	  "it asks the server's zone (dane), so that its handshake may come before the client's, from whose certificate its own is to be made",
	  "it asks the server's zone (dane), but the server has no name" },
	{ asks_domain, "mta_sts=None", "it asks for a mail domain's policy (mta_sts), but the protocol knows no server by its name",
	  "it asks for a mail domain's policy (mta_sts), so that its handshake may come before the client's, from whose certificate its own is "
	  "to be made",
	  "it asks for a mail domain's policy (mta_sts), but the server has no name" },
};

static bool is_asked(const struct asking *a, const struct encryption *e)
{
	return e != NULL && e->sides[TLS_SERVER].security != TLS_OFF && a->asks(&e->sides[TLS_SERVER].verifier);
}

static const char *flaw_of(const struct asking *a, const struct proxy_type *type, const struct encryption *e)
{
	if (!is_asked(a, e))
		return NULL;
	if (type->server_name == NULL)
		return a->without_names;
	if (e->sides[TLS_SERVER].own.bridge != NULL && e->sides[TLS_CLIENT].security == TLS_ACCEPT_STARTTLS)
		return a->too_early;
	return NULL;
}

const char *asking_flaw(const struct proxy_type *type, const struct encryption *e)
{
	const char *flaw = NULL;

	for (size_t i = 0; i < ARRAY_LEN(askings) && flaw == NULL; i++)
		flaw = flaw_of(&askings[i], type, e);
	return flaw;
}

/* Where sessions are configured each for itself the name is missed when a server is wanted. */
static void check_asking(const struct asking *a, const struct service *s, const struct encryption *e, struct policy_problems *problems)
{
	const struct proxy_type *type = s->proxy->type;
	const char *flaw = flaw_of(a, type, e), *hint = a->instead;

	if (flaw == NULL && is_asked(a, e) && !s->proxy->per_session && type->server_name(s->proxy->block).len == 0) {
		flaw = a->nameless;
		hint = "self.server_name = \"mail.example.com\" in config()";
	}
	if (flaw != NULL)
		problems_add(problems, PROBLEM_ERROR, s->place, hint, "service '%s': encryption '%s': %s", s->name, e->name, flaw);
}

/* Where each session is configured for itself, that is when it is known. */
static void check_encryption(const struct service *s, struct policy_problems *problems)
{
	const struct encryption *e = s->encryption != NULL ? s->encryption : s->proxy->encryption;
	const struct proxy_type *type = s->proxy->type;
	const char *flaw;

	check_starttls(s, e, problems);
	for (size_t i = 0; i < ARRAY_LEN(askings); i++)
		check_asking(&askings[i], s, e, problems);
	if (s->proxy->per_session)
		return;
	flaw = router_flaw(&s->router, e);
	if (flaw == NULL && type->encryption_flaw != NULL)
		flaw = type->encryption_flaw(s->proxy->block, e);
	if (flaw != NULL)
		problems_add(problems, PROBLEM_ERROR, s->place, NULL, "service '%s': encryption '%s': %s", s->name,
			     e != NULL ? e->name : "none", flaw);
}

void policy_check_runnable(const struct policy *policy, struct policy_problems *problems)
{
	for (size_t i = 0; i < policy->n_services; i++)
		if (policy->services[i].kind == SERVICE_PROXY)
			check_encryption(&policy->services[i], problems);
	for (size_t i = 0; i < policy->n_rules; i++)
		check_rule(&policy->rules[i], problems);
}
