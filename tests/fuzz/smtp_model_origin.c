/* SPDX-License-Identifier: Apache-2.0 */
/* What the origin says, and what it receives besides commands. */
#include "smtp_model_priv.h"

static void origin_replied(struct model *m, enum verb verb, int code)
{
	bool auth = verb == AUTH || verb == SASL;
	bool go_ahead = (verb == DATA && code == 354) || (auth && code == 334);

	if (auth && ((model_positive(code) && code != 235) || (m->cancelled && code < 400)))
		m->origin_dead = true;

	/* A chunk that it does not have yet, or the end of a message whose start it refused. */
	if ((verb == CHUNK || verb == LAST) && ((m->origin == ORIGIN_CHUNK && m->origin_owes.n == 0) ||
						(model_positive(code) && m->chunk_refused)))
		m->origin_dead = true;
	if (code < 200 || code >= 600 || code == 421 || (code / 100 == 3 && !go_ahead) || (verb == DATA && model_positive(code)))
		m->origin_dead = true;
	if (m->origin_dead)
		return;
	if (verb == END || verb == LAST || (model_positive(code) && (verb == MAIL || verb == RSET || verb == HELLO)))
		m->in_transaction = verb == MAIL;
	m->origin_took[verb] += model_positive(code);
	if (verb == DATA) {
		m->origin = go_ahead ? ORIGIN_BODY : ORIGIN_COMMANDS;
		buffer_clear(&m->origin_body);
	} else if (auth) {
		m->origin = go_ahead ? ORIGIN_SASL : ORIGIN_COMMANDS;
		m->authenticated = m->authenticated || code == 235;
		m->origin_successes += code == 235;
		m->origin_challenges += go_ahead;
	} else if (verb == RCPT && model_positive(code)) {
		m->origin_recipients++;
	} else if (verb == END) {
		m->origin_messages += model_positive(code);
		m->origin_recipients = 0;
	} else if ((verb == MAIL || verb == RSET || verb == HELLO) && model_positive(code)) {
		m->origin_recipients = 0;
		m->chunk_refused = false;
		m->greeted = m->greeted || verb == HELLO;
		if (verb == HELLO)
			m->offered = m->ehlo ? m->server.keywords : 0;
	} else if (verb == CHUNK) {
		m->origin_chunks += model_positive(code);
		m->chunk_refused = !model_positive(code);
	} else if (verb == LAST) {
		m->origin_messages += model_positive(code);
		m->origin_recipients = 0;
		m->chunk_refused = false;
	} else if ((verb == RSET || verb == HELLO) && !m->mail) {
		m->mail = m->mail_before;
		m->rcpt = m->rcpt_before;
	} else if (verb == QUIT && model_positive(code)) {
		m->origin_dead = true;
	}
}

void model_server_sends(struct model *m, struct slice octets)
{
	if (octets.len == 0)
		return;
	buffer_append(&m->server.octets, octets);
	for (;;) {
		int code;

		/* What answers nothing ends the conversation. */
		if (m->origin_owes.n == 0 && m->server.octets.len > 0)
			m->origin_dead = true;
		if (m->origin_dead)
			return;
		code = model_next_reply(&m->server, m->rules->strict_lines);
		if (code == 0)
			return;
		if (code < 0)
			m->origin_dead = true;
		else
			origin_replied(m, model_pop(&m->origin_owes), code);
	}
}

size_t model_good_answer(const struct model *m, char *out, size_t size)
{
	static const char *const answers[] = {
		[GREETING] = "220 origin\r\n",
		[HELLO] = ("250-origin\r\n250-PIPELINING\r\n250-SIZE\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-DSN\r\n"
			   "250-CHUNKING\r\n250-BINARYMIME\r\n250-AUTH PLAIN LOGIN\r\n250 SMTPUTF8\r\n"),
		[MAIL] = "250 m\r\n", [RCPT] = "250 r\r\n", [DATA] = "354 d\r\n", [END] = "250 queued as 1\r\n",
		[AUTH] = "334 AAAA\r\n", [SASL] = "235 a\r\n", [CHUNK] = "250 c\r\n", [LAST] = "250 queued as 2\r\n", [RSET] = "250 x\r\n", [QUIT] = "221 q\r\n", [OTHER] = "250 o\r\n",
	};
	size_t len = 0;

	for (size_t i = 0; i < m->origin_owes.n; i++) {
		const char *answer = answers[m->origin_owes.verbs[(m->origin_owes.first + i) % OWED_MAX]];

		if (m->origin_owes.n == 1 && m->cancelled)
			answer = "501 c\r\n";
		if (len + strlen(answer) > size || (i + 1 == m->origin_owes.n && m->origin == ORIGIN_CHUNK))
			break;
		memcpy(out + len, answer, strlen(answer));
		len += strlen(answer);
	}
	return len;
}

static void check_hops(const struct model *m, struct slice message, bool stuffed)
{
	FUZZ_CHECK(m->rules->max_hops == 0 || model_received_fields(message, stuffed) <= m->rules->max_hops);
}

static void origin_chunk_ends(struct model *m)
{
	m->origin = ORIGIN_COMMANDS;
	if (!m->chunk_last)
		return;
	FUZZ_CHECK(m->binary || model_is_clean(buffer_slice(&m->origin_body)));
	FUZZ_CHECK(m->origin_owes.n == 1);
	check_hops(m, buffer_slice(&m->origin_body), false);
	m->ended = true;
	m->ended_recipients = m->origin_recipients;
	m->mail = m->rcpt = m->chunks = false;
}

void model_origin_chunk(struct model *m, struct slice octets)
{
	bool some = m->blind;

	buffer_append(&m->chunk, octets);
	buffer_append(&m->origin_body, octets);
	for (size_t i = 0; i < m->n_sent; i++) {
		const struct chunk *sent = &m->sent[i];

		m->may_be[i] = m->may_be[i] && m->chunk.len <= sent->len &&
			       (m->chunk.len == 0 || memcmp(m->chunk.data, m->chunk_octets.data + sent->start, m->chunk.len) == 0);
		some = some || m->may_be[i];
	}
	FUZZ_CHECK(some);
	m->chunk_left -= octets.len;
	if (m->chunk_left == 0)
		origin_chunk_ends(m);
}

/* "*" may be the proxy's own. */
static void origin_sasl_line(struct model *m, struct slice line)
{
	FUZZ_CHECK(m->origin_owes.n == 0 && line.len <= 12288);
	m->cancelled = slice_is(line, "*");
	FUZZ_CHECK(m->cancelled || (model_is_base64(line) && slice_equal(line, buffer_slice(&m->secret))));
	m->origin = ORIGIN_COMMANDS;
	model_push(&m->origin_owes, SASL);
}

static void origin_body(struct model *m, struct slice octets, size_t *used)
{
	size_t before = m->origin_body.len, end;
	bool bad;

	buffer_append(&m->origin_body, octets);
	end = model_body_end(buffer_slice(&m->origin_body), &bad);
	FUZZ_CHECK(!bad);
	*used = end > 0 ? end - before : octets.len;
	if (m->rules->strict_lines) {
		size_t n = before + *used;

		FUZZ_CHECK(n <= m->client_body.len && memcmp(m->origin_body.data, m->client_body.data, n) == 0);
	}
	if (end == 0)
		return;
	FUZZ_CHECK(m->rules->max_octets == 0 || model_message_octets(slice_take(buffer_slice(&m->origin_body), end)) <= m->rules->max_octets);
	check_hops(m, slice_take(buffer_slice(&m->origin_body), end), true);
	FUZZ_CHECK(m->blind || m->origin_recipients == m->client_recipients);
	m->origin = ORIGIN_COMMANDS;
	m->mail = m->rcpt = false;
	model_push(&m->origin_owes, END);
}

void model_origin_received(struct model *m, struct slice octets)
{
	FUZZ_CHECK(!m->origin_dead);
	while (octets.len > 0) {
		struct slice line;
		size_t used = octets.len;
		bool bad;

		FUZZ_CHECK(m->origin != ORIGIN_DATA);
		if (m->origin == ORIGIN_BODY) {
			origin_body(m, octets, &used);
			octets = slice_skip(octets, used);
			continue;
		}
		if (m->origin == ORIGIN_CHUNK) {
			used = octets.len < m->chunk_left ? octets.len : (size_t)m->chunk_left;
			model_origin_chunk(m, slice_take(octets, used));
			octets = slice_skip(octets, used);
			continue;
		}
		/* Up to a line end at a time: behind DATA the meaning changes. */
		used = slice_index(octets, '\n');
		used = used < octets.len ? used + 1 : used;
		buffer_append(&m->command, slice_take(octets, used));
		octets = slice_skip(octets, used);
		if (!model_next_line(&m->command, true, &line, &used, &bad))
			continue;
		FUZZ_CHECK(!bad);
		if (m->origin == ORIGIN_SASL)
			origin_sasl_line(m, line);
		else
			model_origin_command(m, line);
		buffer_consume(&m->command, used);
	}
}
