/* SPDX-License-Identifier: Apache-2.0 */
/* What the origin receives: commands. */
#include "smtp_model_priv.h"

static size_t longest_line(const struct model *m, enum verb verb)
{
	size_t n = 512;

	if (verb == RCPT && (m->offered & HAS_DSN) != 0)
		n += 500;
	if (verb == MAIL || verb == OTHER)
		n += 26 + 17 + 107 + 10 + 17 + 34 + 15 + 40;
	return n;
}

static void check_verb(const struct model *m, struct slice word)
{
	static const char *const never[] = { "STARTTLS", "TURN", "ATRN", "XCLIENT", "XFORWARD", "ADDR" };

	FUZZ_CHECK(word.len >= 1 && word.len <= 32 && ascii_is_alpha(word.ptr[0]));
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++)
		FUZZ_CHECK(!slice_equal_nocase(word, slice_cstr(never[i])));
	for (size_t i = 0; i < word.len; i++)
		FUZZ_CHECK(word.ptr[i] == ascii_upper(word.ptr[i]));
}

/* Chunks of one message follow each other: none that the client sent between them is left out. */
static void origin_chunk_starts(struct model *m, struct slice line)
{
	struct chunk chunk;
	bool before = m->chunks;
	size_t first = m->n_sent;

	FUZZ_CHECK((m->offered & HAS_CHUNKING) != 0 && m->rcpt && model_chunk_of(line, &chunk));
	for (size_t i = 0; i < m->n_sent && first == m->n_sent; i++)
		if (m->may_be[i])
			first = i;
	if (first == m->n_sent && !before)
		first = 0;
	for (size_t i = m->n_sent; i-- > 0;)
		m->may_be[i] = (before ? i > 0 && m->may_be[i - 1] : i >= first) && m->sent[i].octets == chunk.octets &&
			       m->sent[i].last == chunk.last;
	if (!before)
		buffer_clear(&m->origin_body);
	buffer_clear(&m->chunk);
	m->chunked = (before ? m->chunked : 0) + chunk.octets;
	FUZZ_CHECK(m->rules->max_octets == 0 || m->chunked <= m->rules->max_octets);
	m->chunk_left = chunk.octets;
	m->chunk_last = chunk.last;
	m->origin = ORIGIN_CHUNK;
	m->chunks = true;
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

	FUZZ_CHECK(m->rules->may_auth && m->greeted && !m->in_transaction && !m->authenticated && m->origin_owes.n == 0);
	FUZZ_CHECK((m->offered & HAS_AUTH) != 0);
	FUZZ_CHECK(said_auth(m, line));
	FUZZ_CHECK(model_word_of(line, 1).len > 0 && model_word_of(line, 3).len == 0);
	FUZZ_CHECK(model_is_base64(initial) || slice_is(initial, "="));
	m->cancelled = false;
}

static void forget_transaction(struct model *m)
{
	m->chunks = false;
	m->mail_before = m->mail;
	m->rcpt_before = m->rcpt;
	m->mail = m->rcpt = false;
}

void model_origin_command(struct model *m, struct slice line)
{
	enum verb verb = model_verb_of(line);
	struct slice word = slice_take(line, slice_index(line, ' '));
	struct chunk chunk = { 0 };

	FUZZ_CHECK(line.len <= longest_line(m, verb));
	m->cancelled = false;
	check_verb(m, word);
	for (size_t i = 0; i < m->origin_owes.n; i++) {
		enum verb owed = m->origin_owes.verbs[(m->origin_owes.first + i) % OWED_MAX];

		FUZZ_CHECK(owed != AUTH && owed != SASL);
	}
	FUZZ_CHECK(verb != OTHER || m->rules->any_verb || slice_is(word, "NOOP"));
	/* The greeting comes first. */
	FUZZ_CHECK(m->origin_owes.n == 0 || m->origin_owes.verbs[m->origin_owes.first] != GREETING);
	switch (verb) {
	case HELLO:
		FUZZ_CHECK(m->origin_owes.n == 0 && line.len > 5);
		forget_transaction(m);
		m->ehlo = slice_is(word, "EHLO");
		break;
	case MAIL:
		FUZZ_CHECK(m->greeted);
		model_check_path(m, line, "MAIL From:<", false);
		FUZZ_CHECK(!m->chunks);
		for (size_t i = 0; i < line.len; i++)
			m->binary = (i > 0 && m->binary) || slice_starts_with(slice_skip(line, i), SLICE(" BODY=BINARYMIME"));
		m->mail = true;
		m->rcpt = false;
		break;
	case RCPT:
		FUZZ_CHECK(m->mail && !m->chunks);
		model_check_path(m, line, "RCPT To:<", true);
		m->rcpt = true;
		break;
	case DATA:
		FUZZ_CHECK(m->rcpt && line.len == 4 && !m->chunks && !m->binary);
		m->origin = ORIGIN_DATA;
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
	default:
		break;
	}
	model_check_octets(m, line);
	model_push(&m->origin_owes, verb);
	if (verb == CHUNK || verb == LAST)
		origin_chunk_starts(m, line);
	if (m->origin == ORIGIN_CHUNK && m->chunk_left == 0)
		model_origin_chunk(m, slice_of(NULL, 0));
}
