/* SPDX-License-Identifier: Apache-2.0 */
/* What the origin says, and what it receives besides commands. */
#include "smtp_model_priv.h"

#include <string.h>

static void origin_replied(struct model *m, enum verb verb, int code)
{
	bool auth = verb == AUTH || verb == SASL;
	bool go_ahead = (verb == DATA && code == 354) || (auth && code == 334);

	if (auth && ((model_positive(code) && code != 235) || (m->leg->cancelled && code < 400)))
		m->leg->dead = true;

	/* A chunk that it does not have yet, or the end of a message whose start it refused. */
	if ((verb == CHUNK || verb == LAST) && ((m->leg->state == ORIGIN_CHUNK && m->leg->owes.n == 0) ||
						(model_positive(code) && m->leg->chunk_refused)))
		m->leg->dead = true;
	if (code < 200 || code >= 600 || code == 421 || (code / 100 == 3 && !go_ahead) || (verb == DATA && model_positive(code)))
		m->leg->dead = true;
	if (m->leg->dead)
		return;
	if (verb == STARTTLS && code == 220) {
		model_origin_starts_tls(m);
		return;
	}
	if (verb == END || verb == LAST || (model_positive(code) && (verb == MAIL || verb == RSET || verb == HELLO)))
		m->leg->in_transaction = verb == MAIL;
	m->origin_took[verb] += model_positive(code);
	if (verb == DATA) {
		m->leg->state = go_ahead ? ORIGIN_BODY : ORIGIN_COMMANDS;
		buffer_clear(&m->leg->body);
	} else if (auth) {
		m->leg->state = go_ahead ? ORIGIN_SASL : ORIGIN_COMMANDS;
		m->leg->authenticated = m->leg->authenticated || code == 235;
		m->origin_successes += code == 235;
		m->origin_challenges += go_ahead;
	} else if (verb == RCPT && model_positive(code)) {
		m->leg->recipients++;
	} else if (verb == END) {
		m->origin_messages += model_positive(code);
		m->leg->recipients = 0;
	} else if ((verb == MAIL || verb == RSET || verb == HELLO) && model_positive(code)) {
		m->leg->recipients = 0;
		m->leg->chunk_refused = false;
		m->leg->greeted = m->leg->greeted || verb == HELLO;
		if (verb == HELLO)
			m->leg->offered = m->leg->ehlo ? m->leg->server.keywords : 0;
	} else if (verb == CHUNK) {
		m->origin_chunks += model_positive(code);
		m->leg->chunk_refused = !model_positive(code);
	} else if (verb == LAST) {
		m->origin_messages += model_positive(code);
		m->leg->recipients = 0;
		m->leg->chunk_refused = false;
	} else if (verb == RSET && m->leg->in_transaction) {
		m->leg->dead = true;	/* nobody knows which transaction it is in */
	} else if ((verb == RSET || verb == HELLO) && !m->leg->mail) {
		m->leg->mail = m->leg->mail_before;
		m->leg->rcpt = m->leg->rcpt_before;
	} else if (verb == QUIT && model_positive(code)) {
		m->leg->dead = true;
	}
}

static void server_said(struct model *m, struct slice octets)
{
	struct leg *leg = m->leg;

	buffer_append(&leg->server.octets, octets);
	for (;;) {
		int code;

		/* What answers nothing ends the conversation, and what is no handshake where one is due. */
		if ((leg->owes.n == 0 || leg->state == ORIGIN_STARTS_TLS) && leg->server.octets.len > 0)
			leg->dead = true;
		if (leg->dead)
			return;
		code = model_next_reply(&leg->server, m->rules->strict_lines);
		if (code == 0)
			return;
		if (code < 0)
			leg->dead = true;
		else
			origin_replied(m, model_pop(&leg->owes), code);
	}
}

void model_server_sends(struct model *m, bool former, struct slice octets)
{
	if (octets.len == 0)
		return;
	m->leg = &m->legs[former];
	if (m->piped && m->leg->state == ORIGIN_STARTS_TLS) {
		buffer_append(&m->down, octets);
		return;
	}
	m->unmarked = m->unmarked || memmem(octets.ptr, octets.len, MODEL_MARK, strlen(MODEL_MARK)) != NULL;
	server_said(m, octets);
}

/* Of a reply of good will but the greeting and a challenge: whom it is for. */
static size_t mark(const struct model *m, enum verb verb, char *out, size_t size)
{
	if (verb == GREETING || verb == AUTH)
		return (size_t)snprintf(out, size, "\r\n");
	return (size_t)snprintf(out, size, MODEL_MARK "%u\r\n", m->epoch);
}

/* A good one offers TLS until it has it. */
#define OFFERS \
	"250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n250-CHUNKING\r\n250-BINARYMIME\r\n" \
	"250-AUTH PLAIN LOGIN\r\n250-SMTPUTF8\r\n250 HELP"

static const char *answer_to(const struct leg *leg, enum verb verb)
{
	static const char *const answers[] = {
		[GREETING] = "220 origin", [HELLO] = ("250-origin\r\n250-STARTTLS\r\n" OFFERS), [MAIL] = "250 m", [RCPT] = "250 r",
		[DATA] = "354 d", [END] = "250 queued as 1", [AUTH] = "334 AAAA", [SASL] = "235 a", [CHUNK] = "250 c",
		[LAST] = "250 queued as 2", [RSET] = "250 x", [QUIT] = "221 q", [STARTTLS] = "220 t", [OTHER] = "250 o",
	};

	return verb == HELLO && leg->secure ? "250-origin\r\n" OFFERS : answers[verb];
}

size_t model_server_answers(struct model *m, bool former, char *out, size_t size)
{
	const struct leg *leg = m->leg = &m->legs[former];
	size_t len = 0;

	for (size_t i = 0; leg->state != ORIGIN_STARTS_TLS && i < leg->owes.n; i++) {
		enum verb verb = leg->owes.verbs[(leg->owes.first + i) % OWED_MAX];
		const char *answer = leg->owes.n == 1 && leg->cancelled ? "501 c" : answer_to(leg, verb);

		if (len + strlen(answer) + 64 > size || (i + 1 == leg->owes.n && leg->state == ORIGIN_CHUNK))
			break;
		memcpy(out + len, answer, strlen(answer));
		len += strlen(answer);
		len += mark(m, verb, out + len, size - len);
	}
	server_said(m, slice_of(out, len));
	return len;
}

static void check_hops(const struct model *m, struct slice message, bool stuffed)
{
	FUZZ_CHECK(m->rules->max_hops == 0 || model_received_fields(message, stuffed) <= m->rules->max_hops);
}

static void origin_chunk_ends(struct model *m)
{
	m->leg->state = ORIGIN_COMMANDS;
	if (!m->leg->chunk_last)
		return;
	FUZZ_CHECK(m->leg->binary || model_is_clean(buffer_slice(&m->leg->body)));
	FUZZ_CHECK(m->leg->owes.n == 1);
	check_hops(m, buffer_slice(&m->leg->body), false);
	m->ended = true;
	m->ended_recipients = m->leg->recipients;
	m->leg->mail = m->leg->rcpt = m->leg->chunks = false;
}

void model_origin_chunk(struct model *m, struct slice octets)
{
	bool some = m->blind;

	buffer_append(&m->leg->chunk, octets);
	buffer_append(&m->leg->body, octets);
	for (size_t i = 0; i < m->n_sent; i++) {
		const struct chunk *sent = &m->sent[i];

		m->may_be[i] = m->may_be[i] && m->leg->chunk.len <= sent->len &&
			       (m->leg->chunk.len == 0 || memcmp(m->leg->chunk.data, m->chunk_octets.data + sent->start, m->leg->chunk.len) == 0);
		some = some || m->may_be[i];
	}
	FUZZ_CHECK(some);
	m->leg->chunk_left -= octets.len;
	if (m->leg->chunk_left == 0)
		origin_chunk_ends(m);
}

/* "*" may be the proxy's own. */
static void origin_sasl_line(struct model *m, struct slice line)
{
	FUZZ_CHECK(m->leg->owes.n == 0 && line.len <= 12288);
	m->leg->cancelled = slice_is(line, "*");
	FUZZ_CHECK(m->leg->cancelled || (model_is_base64(line) && slice_equal(line, buffer_slice(&m->secret))));
	m->leg->state = ORIGIN_COMMANDS;
	model_push(&m->leg->owes, SASL);
}

static void origin_body(struct model *m, struct slice octets, size_t *used)
{
	size_t before = m->leg->body.len, end;
	bool bad;

	model_client_goes_ahead(m);
	buffer_append(&m->leg->body, octets);
	end = model_body_end(buffer_slice(&m->leg->body), &bad);
	FUZZ_CHECK(!bad);
	*used = end > 0 ? end - before : octets.len;
	if (m->rules->strict_lines) {
		size_t n = before + *used;

		FUZZ_CHECK(n <= m->client_body.len && memcmp(m->leg->body.data, m->client_body.data, n) == 0);
	}
	if (end == 0)
		return;
	FUZZ_CHECK(m->rules->max_octets == 0 || model_message_octets(slice_take(buffer_slice(&m->leg->body), end)) <= m->rules->max_octets);
	check_hops(m, slice_take(buffer_slice(&m->leg->body), end), true);
	FUZZ_CHECK(m->blind || m->went_ahead || m->leg->recipients == m->client_recipients);
	m->leg->state = ORIGIN_COMMANDS;
	m->leg->mail = m->leg->rcpt = false;
	model_push(&m->leg->owes, END);
}

void model_origin_received(struct model *m, bool former, struct slice octets)
{
	if (octets.len == 0)
		return;
	m->leg = &m->legs[former];
	if (m->piped && m->leg->state == ORIGIN_STARTS_TLS) {
		model_pipe_arrived(&m->up, octets);
		return;
	}
	FUZZ_CHECK(!m->leg->dead);
	while (octets.len > 0) {
		struct slice line;
		size_t used = octets.len;
		bool bad;

		FUZZ_CHECK(m->leg->state != ORIGIN_DATA && m->leg->state != ORIGIN_STARTS_TLS);
		FUZZ_CHECK(m->leg->state == ORIGIN_COMMANDS || m->leg->client == m->client_number);
		if (m->leg->state == ORIGIN_BODY) {
			origin_body(m, octets, &used);
			octets = slice_skip(octets, used);
			continue;
		}
		if (m->leg->state == ORIGIN_CHUNK) {
			used = octets.len < m->leg->chunk_left ? octets.len : (size_t)m->leg->chunk_left;
			model_origin_chunk(m, slice_take(octets, used));
			octets = slice_skip(octets, used);
			continue;
		}
		/* Up to a line end at a time: behind DATA the meaning changes. */
		used = slice_index(octets, '\n');
		used = used < octets.len ? used + 1 : used;
		buffer_append(&m->leg->command, slice_take(octets, used));
		octets = slice_skip(octets, used);
		if (!model_next_line(&m->leg->command, true, &line, &used, &bad))
			continue;
		FUZZ_CHECK(!bad);
		if (m->leg->state == ORIGIN_SASL)
			origin_sasl_line(m, line);
		else
			model_origin_command(m, line);
		buffer_consume(&m->leg->command, used);
	}
}
