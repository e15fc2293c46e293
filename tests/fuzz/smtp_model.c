/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp_model_priv.h"

#include <string.h>

void model_push(struct owed *o, enum verb verb)
{
	FUZZ_CHECK(o->n < OWED_MAX);
	o->verbs[(o->first + o->n++) % OWED_MAX] = verb;
}

enum verb model_pop(struct owed *o)
{
	enum verb verb = o->verbs[o->first];

	o->first = (o->first + 1) % OWED_MAX;
	o->n--;
	return verb;
}

static const struct buffer empty = BUFFER_INIT(OCTETS_MAX);

static void leg_open(const struct model *m, struct leg *leg, unsigned client)
{
	*leg = (struct leg){ .client = client, .state = m->rules->server_tls_first ? ORIGIN_STARTS_TLS : ORIGIN_COMMANDS };
	leg->server.octets = leg->command = leg->body = leg->chunk = empty;
	model_push(&leg->owes, GREETING);
}

static void leg_release(struct leg *leg)
{
	buffer_release(&leg->server.octets);
	buffer_release(&leg->command);
	buffer_release(&leg->body);
	buffer_release(&leg->chunk);
}

/* Nothing is owed, open or left on it that an earlier client did. */
static bool is_fit(const struct leg *leg)
{
	return leg->client != 0 && leg->owes.n == 0 && leg->state == ORIGIN_COMMANDS && !leg->in_transaction && !leg->chunks &&
	       !leg->authenticated && !leg->spoiled && !leg->dead && leg->command.len == 0 && leg->server.octets.len == 0;
}

struct model *model_create(const struct model_rules *rules)
{
	struct model *m = calloc(1, sizeof(*m));

	FUZZ_CHECK(m != NULL);
	m->rules = rules;
	m->leg = &m->legs[0];
	leg_open(m, &m->legs[0], 0);
	leg_open(m, &m->legs[1], 0);
	m->up = m->down = empty;
	m->proxy.octets = m->said = m->raw = m->client_body = m->chunk_octets = m->secret = empty;
	model_next_client(m);
	return m;
}

void model_free(struct model *m)
{
	leg_release(&m->legs[0]);
	leg_release(&m->legs[1]);
	buffer_release(&m->proxy.octets);
	buffer_release(&m->said);
	buffer_release(&m->raw);
	buffer_release(&m->client_body);
	buffer_release(&m->secret);
	buffer_release(&m->chunk_octets);
	buffer_release(&m->up);
	buffer_release(&m->down);
	free(m);
}

void model_new_leg(struct model *m)
{
	leg_release(&m->legs[1]);
	m->legs[1] = m->legs[0];
	m->leg = &m->legs[0];
	leg_open(m, m->leg, m->client_number);
}

void model_next_client(struct model *m)
{
	bool greeting = false;

	for (size_t i = 0; i < 2; i++) {
		m->legs[i].fit = is_fit(&m->legs[i]);
		greeting = greeting || m->legs[i].fit;
	}
	m->client_number++;
	m->epoch++;
	m->client_secure = m->client_broke_tls = m->piped = false;
	m->client_offered = 0;
	memset(m->said_verbs, 0, sizeof(m->said_verbs));
	memset(m->heard_verbs, 0, sizeof(m->heard_verbs));
	buffer_clear(&m->up);
	buffer_clear(&m->down);
	memset(m->origin_took, 0, sizeof(m->origin_took));
	memset(m->client_got, 0, sizeof(m->client_got));
	m->origin_took[GREETING] = greeting;	/* it may be given again to those whom the same connection serves */
	m->origin_messages = m->origin_chunks = m->origin_successes = m->origin_challenges = 0;
	m->ended = false;
	m->client = m->rules->client_tls_first ? CLIENT_STARTS_TLS : CLIENT_COMMANDS;
	m->client_is_owed = (struct owed){ .n = 0 };
	model_push(&m->client_is_owed, GREETING);
	m->proxy.code = 0;
	m->client_dead = m->went_ahead = m->blind = m->blind_body = m->client_gone = false;
	m->client_recipients = m->client_messages = m->client_chunks = 0;
	m->n_sent = 0;
	m->client_chunk_left = 0;
	m->client_successes = m->client_challenges = m->auths_refused = 0;
	buffer_clear(&m->proxy.octets);
	buffer_clear(&m->said);
	buffer_clear(&m->raw);
	buffer_clear(&m->client_body);
	buffer_clear(&m->chunk_octets);
	buffer_clear(&m->secret);
}

void model_check_said(const struct model *m, struct slice octets)
{
	FUZZ_CHECK(octets.len == 0 || memmem(m->said.data, m->said.len, octets.ptr, octets.len) != NULL);
}

void model_client_closed(struct model *m)
{
	m->client_gone = true;
}

void model_settled(struct model *m)
{
	FUZZ_CHECK(!m->ended || m->blind || m->client_gone || m->ended_recipients == m->client_recipients);
	m->ended = false;
}
