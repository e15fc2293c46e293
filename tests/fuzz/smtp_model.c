/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp_model_priv.h"

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

struct model *model_create(const struct model_rules *rules)
{
	static const struct buffer empty = BUFFER_INIT(OCTETS_MAX);
	struct model *m = calloc(1, sizeof(*m));

	FUZZ_CHECK(m != NULL);
	m->rules = rules;
	m->server.octets = m->proxy.octets = m->command = m->origin_body = m->raw = m->client_body = m->chunk = m->chunk_octets =
		m->secret = empty;
	model_push(&m->origin_owes, GREETING);
	model_push(&m->client_is_owed, GREETING);
	return m;
}

void model_free(struct model *m)
{
	buffer_release(&m->server.octets);
	buffer_release(&m->proxy.octets);
	buffer_release(&m->command);
	buffer_release(&m->origin_body);
	buffer_release(&m->raw);
	buffer_release(&m->client_body);
	buffer_release(&m->chunk);
	buffer_release(&m->secret);
	buffer_release(&m->chunk_octets);
	free(m);
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
