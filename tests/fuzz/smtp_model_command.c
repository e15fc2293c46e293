/* SPDX-License-Identifier: Apache-2.0 */
/* What the origin receives: commands. */
#include "smtp_model_priv.h"

static size_t longest_line(const struct model *m, enum verb verb)
{
	size_t n = 512;

	if (verb == RCPT && (m->leg->offered & HAS_DSN) != 0)
		n += 500;
	if (verb == MAIL || verb == OTHER)
		n += 26 + 17 + 107 + 10 + 17 + 34 + 15 + 40;
	return n;
}

static void check_verb(const struct model *m, struct slice word)
{
	static const char *const never[] = { "TURN", "ATRN", "XCLIENT", "XFORWARD", "ADDR" };

	FUZZ_CHECK(word.len >= 1 && word.len <= 32 && ascii_is_alpha(word.ptr[0]));
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		FUZZ_CHECK(!slice_equal_nocase(word, slice_cstr(never[i])));
	for (size_t i = 0; i < word.len; i++)
		FUZZ_CHECK(word.ptr[i] == ascii_upper(word.ptr[i]));
}

/* Chunks of one message follow each other: none that the client sent between them is left out. */
static bool can_be(const struct model *m, size_t i, size_t first, const struct chunk *chunk)
{
	return (m->leg->chunks ? i > 0 && m->may_be[i - 1] : i >= first) && m->sent[i].octets == chunk->octets &&
	       m->sent[i].last == chunk->last;
}

/* The first of the client's chunks that the last one of the origin's can be. */
static size_t first_chunk(const struct model *m)
{
	for (size_t i = 0; i < m->n_sent; i++)
		if (m->may_be[i])
			return i;
	return m->leg->chunks ? m->n_sent : 0;
}

static bool was_sent(const struct model *m, const struct chunk *chunk)
{
	size_t first = first_chunk(m);

	for (size_t i = 0; i < m->n_sent; i++)
		if (can_be(m, i, first, chunk))
			return true;
	return false;
}

static void origin_chunk_starts(struct model *m, struct slice line)
{
	struct chunk chunk;
	bool before = m->leg->chunks;
	size_t first;

	FUZZ_CHECK((m->leg->offered & HAS_CHUNKING) != 0 && m->leg->rcpt && model_chunk_of(line, &chunk));
	while (!was_sent(m, &chunk) && model_client_skips_auth(m))
		;
	first = first_chunk(m);
	for (size_t i = m->n_sent; i-- > 0;)
		m->may_be[i] = can_be(m, i, first, &chunk);
	if (!before)
		buffer_clear(&m->leg->body);
	buffer_clear(&m->leg->chunk);
	m->leg->chunked = (before ? m->leg->chunked : 0) + chunk.octets;
	FUZZ_CHECK(m->rules->max_octets == 0 || m->leg->chunked <= m->rules->max_octets);
	m->leg->chunk_left = chunk.octets;
	m->leg->chunk_last = chunk.last;
	m->leg->state = ORIGIN_CHUNK;
	m->leg->chunks = true;
}

static bool is_same_auth(struct slice said, struct slice line)
{
	return slice_equal_nocase(model_word_of(said, 0), SLICE("AUTH")) && slice_equal_nocase(model_word_of(said, 1), model_word_of(line, 1)) &&
	       slice_equal(model_word_of(said, 2), model_word_of(line, 2));
}

/* The last one that the client said, or one behind it: it may not have heard yet that the last one was refused. */
static bool said_auth(const struct model *m, struct slice line)
{
	struct slice rest = buffer_slice(&m->raw);

	if (is_same_auth(buffer_slice(&m->secret), line))
		return true;
	while (rest.len > 0) {
		struct slice said = slice_take(rest, slice_index(rest, '\n'));

		rest = slice_skip(rest, said.len + 1);
		if (said.len > 0 && said.ptr[said.len - 1] == '\r' && is_same_auth(slice_take(said, said.len - 1), line))
			return true;
	}
	return false;
}

static void origin_auth(struct model *m, struct slice line)
{
	struct slice initial = model_word_of(line, 2);

	FUZZ_CHECK((m->rules->may_auth || m->client_secure) && m->leg->greeted && !m->leg->in_transaction && !m->leg->authenticated && m->leg->owes.n == 0);
	FUZZ_CHECK((m->leg->offered & HAS_AUTH) != 0);
	FUZZ_CHECK(said_auth(m, line));
	FUZZ_CHECK(model_word_of(line, 1).len > 0 && model_word_of(line, 3).len == 0);
	FUZZ_CHECK(model_is_base64(initial) || slice_is(initial, "="));
	m->leg->cancelled = false;
}

static void forget_transaction(struct model *m)
{
	m->leg->chunks = false;
	m->leg->mail_before = m->leg->mail;
	m->leg->rcpt_before = m->leg->rcpt;
	m->leg->mail = m->leg->rcpt = false;
}

/*
 * A connection that an earlier client left: nothing of him is on it, and the first that it receives is who
 * the next client is, or a goodbye.
 */
static void check_leg(struct model *m, enum verb verb)
{
	struct leg *leg = m->leg;

	if (leg->client == m->client_number || verb == QUIT)
		return;
	FUZZ_CHECK(leg->fit && verb == HELLO);
	leg->client = m->client_number;
	leg->greeted = false;
}

/* Behind these the origin gets nothing before it has answered (RFC 2920, 3.1; RFC 4954, 4). */
static void check_group(const struct leg *leg)
{
	for (size_t i = 0; i < leg->owes.n; i++) {
		enum verb owed = leg->owes.verbs[(leg->owes.first + i) % OWED_MAX];

		FUZZ_CHECK(owed != GREETING && owed != HELLO && owed != DATA && owed != AUTH && owed != SASL && owed != QUIT &&
			   owed != STARTTLS && owed != OTHER);
	}
}

/* Nobody knows what an unknown command leaves behind with the origin. */
static bool leaves_clean(struct slice word)
{
	static const char *const clean[] = { "NOOP", "VRFY", "EXPN", "HELP", "ETRN" };

	for (size_t i = 0; i < sizeof(clean) / sizeof(clean[0]); i++)
		if (slice_is(word, clean[i]))
			return true;
	return false;
}

void model_origin_command(struct model *m, struct slice line)
{
	enum verb verb = model_verb_of(line);
	struct slice word = slice_take(line, slice_index(line, ' '));
	struct chunk chunk = { 0 };

	FUZZ_CHECK(line.len <= longest_line(m, verb));
	m->leg->cancelled = false;
	check_verb(m, word);
	check_leg(m, verb);
	check_group(m->leg);
	FUZZ_CHECK(verb != OTHER || m->rules->any_verb || slice_is(word, "NOOP"));
	model_check_security(m, verb, word);
	model_count_heard(m, word);
	switch (verb) {
	case HELLO:
		FUZZ_CHECK(m->leg->owes.n == 0 && line.len > 5);
		model_check_said(m, slice_skip(line, 5));
		forget_transaction(m);
		m->leg->ehlo = slice_is(word, "EHLO");
		break;
	case MAIL:
		FUZZ_CHECK(m->leg->greeted);
		model_check_path(m, line, "MAIL From:<", false);
		FUZZ_CHECK(!m->leg->chunks);
		for (size_t i = 0; i < line.len; i++)
			m->leg->binary = (i > 0 && m->leg->binary) || slice_starts_with(slice_skip(line, i), SLICE(" BODY=BINARYMIME"));
		m->leg->mail = true;
		m->leg->rcpt = false;
		break;
	case RCPT:
		FUZZ_CHECK(m->leg->mail && !m->leg->chunks);
		model_check_path(m, line, "RCPT To:<", true);
		m->leg->rcpt = true;
		break;
	case DATA:
		FUZZ_CHECK(m->leg->rcpt && line.len == 4 && !m->leg->chunks && !m->leg->binary);
		m->leg->state = ORIGIN_DATA;
		break;
	case AUTH:
		origin_auth(m, line);
		break;
	case CHUNK:
		FUZZ_CHECK(model_chunk_of(line, &chunk));
		verb = chunk.last ? LAST : CHUNK;
		break;
	case RSET:
		forget_transaction(m);
		break;
	case STARTTLS:
		model_origin_gets_starttls(m, line);
		break;
	case OTHER:
		model_check_said(m, slice_trim_spaces(slice_skip(line, word.len)));
		m->leg->spoiled = m->leg->spoiled || !leaves_clean(word);
		break;
	default:
		break;
	}
	model_check_octets(m, line);
	model_push(&m->leg->owes, verb);
	if (verb == CHUNK || verb == LAST)
		origin_chunk_starts(m, line);
	if (m->leg->state == ORIGIN_CHUNK && m->leg->chunk_left == 0)
		model_origin_chunk(m, slice_of(NULL, 0));
}
