/* SPDX-License-Identifier: Apache-2.0 */
/*
 * STARTTLS (RFC 3207): where it may come, where it must have come, and that both sides of a connection
 * forget then what was said before. The client is told to begin by a 220, the origin says it by one; the octets
 * of the handshakes are not the model's business (far_end.h).
 */
#include "smtp_model_priv.h"

#include <assert.h>
#include <string.h>

/* The one that the present client's commands go to. */
static struct leg *own_leg(struct model *m)
{
	return &m->legs[m->legs[0].client == m->client_number ? 0 : 1];
}

/* Perhaps behind others whose replies it was not seen to get yet. */
static bool client_waits_for(const struct model *m, enum verb verb)
{
	for (size_t i = 0; i < m->client_is_owed.n; i++)
		if (m->client_is_owed.verbs[(m->client_is_owed.first + i) % OWED_MAX] == verb)
			return true;
	return false;
}

/* Every yes from before that the client did not get yet is void. */
static void void_yeses(struct model *m)
{
	memcpy(m->origin_took, m->client_got, sizeof(m->origin_took));
	m->origin_messages = m->client_messages;
	m->origin_chunks = m->client_chunks;
	m->origin_successes = m->client_successes;
	m->origin_challenges = m->client_challenges;
}

/* ---- the origin ---- */

/* Said by the proxy itself before the client's EHLO or HELO, where it needs no client for it; else for the client. */
void model_origin_gets_starttls(struct model *m, struct slice line)
{
	struct leg *leg = m->leg;
	bool own = m->rules->server_tls_needed || m->client_secure;

	FUZZ_CHECK(m->rules->server_tls && !m->rules->server_tls_first && !leg->secure && line.len == strlen("STARTTLS"));
	FUZZ_CHECK(leg->greeted && leg->ehlo && (leg->offered & HAS_STARTTLS) != 0 && leg->owes.n == 0 && !leg->in_transaction);
	FUZZ_CHECK(own || m->rules->client_tls);
	FUZZ_CHECK(client_waits_for(m, own ? HELLO : STARTTLS));
	leg->spoiled = leg->spoiled || !own;
}

void model_origin_starts_tls(struct model *m)
{
	struct leg *leg = m->leg;

	leg->state = ORIGIN_STARTS_TLS;
	leg->greeted = leg->ehlo = leg->mail = leg->rcpt = leg->mail_before = leg->rcpt_before = false;
	leg->authenticated = leg->mail_utf8 = leg->binary = leg->chunks = leg->chunk_refused = false;
	leg->offered = leg->recipients = 0;
	if (leg->client == m->client_number)
		void_yeses(m);
}

bool model_origin_expects_tls(const struct model *m, bool former)
{
	return m->legs[former].state == ORIGIN_STARTS_TLS && !m->rules->passthrough;
}

void model_origin_secured(struct model *m, bool former, bool trusted)
{
	struct leg *leg = &m->legs[former];

	FUZZ_CHECK(trusted && !leg->dead && leg->state == ORIGIN_STARTS_TLS && leg->client == m->client_number);
	leg->secure = true;
	leg->state = ORIGIN_COMMANDS;
}

void model_server_breaks_tls(struct model *m, bool former)
{
	m->legs[former].dead = true;
}

void model_check_security(const struct model *m, enum verb verb, struct slice word)
{
	const struct model_rules *rules = m->rules;
	bool harmless = verb == HELLO || verb == STARTTLS || verb == RSET || verb == QUIT || slice_is(word, "NOOP");
	bool server_needs = rules->server_tls_needed || (rules->server_tls && m->client_secure);

	FUZZ_CHECK(harmless || !server_needs || m->leg->secure);
	FUZZ_CHECK(harmless || !rules->client_tls_needed || m->client_secure);
}

/* ---- the client ---- */

/* It begins anew; of its connection to the origin only what the origin itself has of it is left. */
static void forget_client(struct model *m, struct leg *leg)
{
	leg->greeted = leg->mail = leg->rcpt = leg->mail_before = leg->rcpt_before = false;
	m->client_offered = m->client_recipients = m->auths_refused = 0;
	m->n_sent = 0;
	memset(m->may_be, 0, sizeof(m->may_be));
	memset(m->said_verbs, 0, sizeof(m->said_verbs));
	memset(m->heard_verbs, 0, sizeof(m->heard_verbs));
	buffer_clear(&m->said);
	buffer_clear(&m->client_body);
	buffer_clear(&m->chunk_octets);
	buffer_clear(&m->secret);
	void_yeses(m);
	m->epoch++;
}

/* Nobody is told to go on who went on already; nor where the origin is still spoken to in plain text, and need not be. */
void model_client_starts_tls(struct model *m)
{
	struct leg *leg = own_leg(m);
	bool forwarded = leg->state == ORIGIN_STARTS_TLS;

	FUZZ_CHECK(m->rules->client_tls && !m->client_secure && (m->client_offered & HAS_STARTTLS) != 0);
	FUZZ_CHECK(m->raw.len == 0 && m->client_is_owed.n == 0 && m->proxy.octets.len == 0);
	FUZZ_CHECK(forwarded ? !leg->dead : !leg->authenticated && (!m->rules->server_tls || leg->secure));
	m->client = CLIENT_STARTS_TLS;
	m->piped = forwarded && m->rules->passthrough;
	forget_client(m, leg);
}

bool model_client_expects_tls(const struct model *m)
{
	return m->client == CLIENT_STARTS_TLS && !m->piped;
}

void model_client_secured(struct model *m)
{
	FUZZ_CHECK(m->client == CLIENT_STARTS_TLS && !m->client_broke_tls);
	m->client = CLIENT_COMMANDS;
	m->client_secure = true;
}

void model_client_breaks_tls(struct model *m)
{
	m->client_broke_tls = true;
}

/* ---- what the origin gets was said by this client, since it has TLS ---- */

static const char *const counted[] = { "MAIL", "RCPT", "DATA", "BDAT", "AUTH" };
static_assert(sizeof(counted) / sizeof(counted[0]) == MODEL_COUNTED, "the model has room for each");
#define COUNTED_OCTETS 4u

/* Anywhere, also where it is no command. */
void model_count_said(struct model *m, size_t octets)
{
	size_t first = m->said.len - octets;

	first = first < COUNTED_OCTETS - 1 ? 0 : first - (COUNTED_OCTETS - 1);
	for (size_t at = first; at + COUNTED_OCTETS <= m->said.len; at++)
		for (size_t i = 0; i < MODEL_COUNTED; i++)
			m->said_verbs[i] += slice_equal_nocase(slice_of(m->said.data + at, COUNTED_OCTETS), slice_cstr(counted[i]));
}

void model_count_heard(struct model *m, struct slice word)
{
	for (size_t i = 0; i < MODEL_COUNTED; i++) {
		m->heard_verbs[i] += slice_is(word, counted[i]);
		FUZZ_CHECK(m->heard_verbs[i] <= m->said_verbs[i]);
	}
}

/* ---- passthrough ---- */

void model_pipe_arrived(struct buffer *pipe, struct slice octets)
{
	FUZZ_CHECK(octets.len <= pipe->len && slice_equal(octets, slice_take(buffer_slice(pipe), octets.len)));
	buffer_consume(pipe, octets.len);
}
