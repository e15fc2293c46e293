/* SPDX-License-Identifier: Apache-2.0 */
/* What the client sends and receives. */
#include "smtp_model_priv.h"

#include <string.h>

static void client_chunk_starts(struct model *m, struct slice line)
{
	struct chunk *chunk = &m->sent[m->n_sent];

	FUZZ_CHECK(m->n_sent < CHUNKS_MAX);
	m->client_dead = !model_chunk_of(line, chunk);
	if (m->client_dead)
		return;
	model_push(&m->client_is_owed, chunk->last ? LAST : CHUNK);
	chunk->start = m->chunk_octets.len;
	chunk->len = 0;
	m->client_chunk_left = chunk->octets;
	m->n_sent++;
	m->client = CLIENT_CHUNK;
}

static void client_chunk(struct model *m)
{
	struct slice octets = slice_take(buffer_slice(&m->raw), (size_t)(m->client_chunk_left < m->raw.len ? m->client_chunk_left : m->raw.len));

	buffer_append(&m->chunk_octets, octets);
	m->sent[m->n_sent - 1].len += octets.len;
	m->client_chunk_left -= octets.len;
	buffer_consume(&m->raw, octets.len);
	if (m->client_chunk_left == 0)
		m->client = CLIENT_COMMANDS;
}

static void take_client_octets(struct model *m)
{
	while (!m->client_dead && m->client != CLIENT_DATA && m->client != CLIENT_AUTH && m->raw.len > 0) {
		struct slice line;
		size_t used;
		bool bad;

		if (m->client == CLIENT_CHUNK) {
			client_chunk(m);
			continue;
		}
		if (m->client == CLIENT_BODY) {
			size_t before = m->client_body.len, end;

			buffer_append(&m->client_body, buffer_slice(&m->raw));
			end = model_body_end(buffer_slice(&m->client_body), &bad);
			buffer_consume(&m->raw, end > 0 ? end - before : m->raw.len);
			m->client_dead = bad;
			if (end == 0)
				return;
			m->client_body.len = end;
			m->client = CLIENT_COMMANDS;
			model_push(&m->client_is_owed, END);
			continue;
		}
		if (!model_next_line(&m->raw, m->rules->strict_lines, &line, &used, &bad))
			return;
		m->client_dead = bad;
		if (bad)
			return;
		if (m->client == CLIENT_SASL || model_verb_of(line) == AUTH) {
			model_push(&m->client_is_owed, m->client == CLIENT_SASL ? SASL : AUTH);
			buffer_clear(&m->secret);
			buffer_append(&m->secret, line);
			m->client = CLIENT_AUTH;
			buffer_consume(&m->raw, used);
			continue;
		}
		if (model_verb_of(line) == CHUNK)
			client_chunk_starts(m, line);
		else
			model_push(&m->client_is_owed, model_verb_of(line));
		if (model_verb_of(line) == DATA)
			m->client = CLIENT_DATA;
		buffer_consume(&m->raw, used);
	}
}

bool model_client_skips_auth(struct model *m)
{
	if (m->client != CLIENT_AUTH)
		return false;
	m->auths_refused++;
	m->client = CLIENT_COMMANDS;
	take_client_octets(m);
	return true;
}

void model_client_goes_ahead(struct model *m)
{
	if (!m->rules->early_input || m->client != CLIENT_DATA)
		return;
	m->went_ahead = true;
	m->client = CLIENT_BODY;
	buffer_clear(&m->client_body);
	take_client_octets(m);
}

void model_client_sends(struct model *m, struct slice octets)
{
	if (m->piped) {
		buffer_append(&m->up, octets);
		return;
	}
	if (m->client == CLIENT_STARTS_TLS) {
		m->client_broke_tls = m->client_broke_tls || octets.len > 0;
		return;
	}
	buffer_append(&m->said, octets);
	model_count_said(m, octets.len);
	if (m->blind)
		return;
	buffer_append(&m->raw, octets);
	take_client_octets(m);
}

static void client_told(struct model *m, enum verb verb, int code)
{
	if (verb == DATA && m->went_ahead) {
		FUZZ_CHECK(code == 354);
		m->went_ahead = false;
	} else if (verb == DATA) {
		m->client = code == 354 ? CLIENT_BODY : CLIENT_COMMANDS;
		buffer_clear(&m->client_body);
		/* A go-ahead is not given to those who went ahead. */
		FUZZ_CHECK(code != 354 || (m->raw.len == 0 && m->leg->state == ORIGIN_BODY));
		m->blind = m->blind_body = code == 354 && !m->rules->strict_lines;
	} else if (verb == AUTH && m->auths_refused > 0) {
		m->auths_refused--;
		FUZZ_CHECK(code >= 400);
	} else if (verb == AUTH || verb == SASL) {
		m->client = code == 334 ? CLIENT_SASL : CLIENT_COMMANDS;
		m->client_successes += code == 235;
		m->client_challenges += code == 334;
		FUZZ_CHECK((code != 334 && code != 235) || m->raw.len == 0);
		FUZZ_CHECK(!model_positive(code) || code == 235);
		FUZZ_CHECK(m->client_successes <= m->origin_successes && m->client_challenges <= m->origin_challenges);
	} else if (verb == RCPT) {
		m->client_recipients += model_positive(code);
	} else if (verb == END) {
		m->client_messages += model_positive(code);
		m->client_recipients = 0;
	} else if (verb == LAST) {
		/* Whatever the origin says to a message, it is over; what was refused here is not. */
		m->client_messages += model_positive(code);
		m->client_recipients = model_positive(code) ? 0 : m->client_recipients;
	} else if (verb == CHUNK) {
		m->client_chunks += model_positive(code);
	} else if ((verb == MAIL || verb == RSET || verb == HELLO) && model_positive(code)) {
		m->client_recipients = 0;
		m->client_offered = verb == HELLO ? m->proxy.keywords : m->client_offered;
	} else if (verb == STARTTLS && code == 220) {
		model_client_starts_tls(m);
		return;
	}
	m->client_got[verb] += model_positive(code);
	/* No yes that the origin did not say. */
	FUZZ_CHECK(verb == QUIT || verb == OTHER || verb == AUTH || verb == SASL || m->client_got[verb] <= m->origin_took[verb]);
	FUZZ_CHECK(code / 100 != 3 || (verb == DATA && code == 354) || ((verb == AUTH || verb == SASL) && code == 334));
	FUZZ_CHECK(m->client_messages <= m->origin_messages && m->client_chunks <= m->origin_chunks);
}

/* What the origin said to other clients is not for this one, nor what it said to this one before it had TLS. */
static void check_marks(const struct model *m, struct slice octets)
{
	char own[32];

	snprintf(own, sizeof(own), MODEL_MARK "%u\r\n", m->epoch);
	for (size_t i = 0; !m->unmarked && i < octets.len; i++) {
		struct slice rest = slice_skip(octets, i);

		FUZZ_CHECK(rest.len < strlen(own) || !slice_starts_with(rest, SLICE(MODEL_MARK)) || slice_starts_with(rest, slice_cstr(own)));
	}
}

void model_client_received(struct model *m, struct slice octets)
{
	int code;

	if (m->piped) {
		model_pipe_arrived(&m->down, octets);
		return;
	}
	check_marks(m, octets);
	buffer_append(&m->proxy.octets, octets);
	while ((code = model_next_reply(&m->proxy, true)) != 0) {
		FUZZ_CHECK(code >= 200 && code < 600);
		if (m->blind) {
			/* The reply behind a go-ahead is the message's. */
			m->client_messages += m->blind_body && model_positive(code);
			m->blind_body = code == 354;
			FUZZ_CHECK(m->client_messages <= m->origin_messages);
			continue;
		}
		if (m->client_is_owed.n == 0) {
			FUZZ_CHECK(code >= 400);
			continue;
		}
		client_told(m, model_pop(&m->client_is_owed), code);
		take_client_octets(m);
	}
}
