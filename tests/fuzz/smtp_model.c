/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp_model.h"

#include "base/buffer.h"
#include "base/utf8.h"
#include "fuzz.h"

#include <strings.h>

#define OCTETS_MAX (1u << 20)
#define OWED_MAX 4096

#define CHUNKS_MAX 4096

/* CHUNK is a BDAT, LAST one that ends the message; SASL a line of an AUTH exchange. */
enum verb { GREETING, HELLO, MAIL, RCPT, DATA, END, CHUNK, LAST, AUTH, SASL, RSET, QUIT, OTHER };

/* Commands whose reply has not come, oldest first. */
struct owed {
	enum verb verbs[OWED_MAX];
	size_t first, n;
};

/* Extensions, by the parameters that they bring. */
#define HAS_SIZE 1u
#define HAS_8BITMIME 2u
#define HAS_DSN 4u
#define HAS_SMTPUTF8 8u
#define HAS_DELIVERBY 16u
#define HAS_FUTURERELEASE 32u
#define HAS_MT_PRIORITY 64u
#define HAS_MTRK 128u
#define HAS_CHUNKING 256u
#define HAS_BINARYMIME 512u
#define HAS_AUTH 1024u

/* The replies of one direction, as lines come in. */
struct replies {
	struct buffer octets;
	unsigned code;			/* of the reply that is under way; 0: none */
	unsigned keywords;			/* HAS_* of its lines but the first */
};

/* A BDAT that the client sent, and as much of its octets as it sent. */
struct chunk {
	uint64_t octets;
	bool last;
	size_t start, len;		/* in chunk_octets */
};

struct model {
	const struct model_rules *rules;

	enum { ORIGIN_COMMANDS, ORIGIN_DATA, ORIGIN_BODY, ORIGIN_CHUNK, ORIGIN_SASL } origin;
	struct owed origin_owes;
	struct replies server;
	struct buffer command, origin_body;
	bool origin_dead;		/* it said what it may not, or goodbye: it must receive nothing more */
	bool greeted, mail, rcpt;	/* as its replies and the commands before it make it */
	bool mail_before, rcpt_before;	/* a RSET or HELO that may yet be refused */
	bool ehlo;			/* the last of EHLO and HELO that it received */
	unsigned offered;		/* HAS_* of its last EHLO */
	bool mail_utf8;			/* its last MAIL had SMTPUTF8 */
	uint64_t chunked;		/* octets of the chunks announced to it, of this message */
	unsigned origin_took[OTHER + 1], client_got[OTHER + 1];	/* positive replies, by verb */
	unsigned origin_recipients, origin_messages, origin_chunks;
	bool in_transaction;		/* as its replies alone make it */
	bool authenticated, cancelled;	/* by its last 235; the last line of an exchange was "*" */
	unsigned origin_successes, origin_challenges;
	bool binary;			/* the message is BODY=BINARYMIME */
	bool chunks, chunk_refused;	/* a message is open in chunks; the origin refused one of them */
	uint64_t chunk_left;		/* of the BDAT that the origin is receiving */
	bool chunk_last;
	struct buffer chunk;		/* what it has of it; origin_body has what it has of the message */
	bool may_be[CHUNKS_MAX];	/* which of the client's chunks that can be */
	bool ended;			/* it has a whole message in chunks since the last model_settled */
	unsigned ended_recipients;

	enum { CLIENT_COMMANDS, CLIENT_DATA, CLIENT_BODY, CLIENT_CHUNK, CLIENT_AUTH, CLIENT_SASL } client;
	struct owed client_is_owed;
	struct replies proxy;
	struct buffer raw, client_body;	/* raw: sent, not yet taken for commands */
	bool client_dead;		/* sent what ends a session */
	bool blind, blind_body;		/* what the client sent can't be told apart any more */
	unsigned client_recipients, client_messages, client_chunks;
	struct chunk sent[CHUNKS_MAX];
	size_t n_sent;
	struct buffer chunk_octets;
	uint64_t client_chunk_left;
	struct buffer secret;		/* its last line of an AUTH exchange, or AUTH itself */
	unsigned client_successes, client_challenges;
	bool client_gone;
};

static void push(struct owed *o, enum verb verb)
{
	FUZZ_CHECK(o->n < OWED_MAX);
	o->verbs[(o->first + o->n++) % OWED_MAX] = verb;
}

static enum verb pop(struct owed *o)
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
	push(&m->origin_owes, GREETING);
	push(&m->client_is_owed, GREETING);
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

static enum verb verb_of(struct slice line)
{
	static const struct { const char *name; enum verb verb; } names[] = {
		{ "HELO", HELLO }, { "EHLO", HELLO }, { "MAIL", MAIL }, { "RCPT", RCPT }, { "DATA", DATA }, { "RSET", RSET },
		{ "QUIT", QUIT }, { "BDAT", CHUNK }, { "AUTH", AUTH },
	};
	struct slice word = slice_take(line, slice_index(line, ' '));

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (word.len == 4 && strncasecmp((const char *)word.ptr, names[i].name, 4) == 0)
			return names[i].verb;
	return OTHER;
}

/* size [SP "LAST"] behind BDAT. false: it can't be said where the chunk ends. */
static bool chunk_of(struct slice line, struct chunk *chunk)
{
	struct slice size = slice_trim_spaces(slice_skip(line, 4)), rest;
	size_t digits = 0;

	while (digits < size.len && ascii_is_digit(size.ptr[digits]))
		digits++;
	rest = slice_skip(size, digits);
	if (digits == 0 || digits > 20 || (rest.len > 0 && rest.ptr[0] != ' '))
		return false;
	rest = slice_trim_spaces(rest);
	if (rest.len > 0 && !slice_equal_nocase(rest, SLICE("LAST")))
		return false;
	chunk->last = rest.len > 0;
	chunk->octets = 0;
	for (size_t i = 0; i < digits; i++) {
		unsigned digit = size.ptr[i] - '0';

		if (chunk->octets > ((uint64_t)INT64_MAX - digit) / 10)
			return false;
		chunk->octets = chunk->octets * 10 + digit;
	}
	return true;
}

/* Groups of four, of which only the last may be padded. */
static bool is_base64(struct slice s)
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < s.len; i++) {
		bool pads = s.ptr[i] == '=' && i + 2 >= s.len && (i + 1 == s.len || s.ptr[i + 1] == '=');

		if (!pads && (s.ptr[i] == '\0' || strchr(alphabet, s.ptr[i]) == NULL))
			return false;
	}
	return s.len % 4 == 0;
}

/* Only CRLF ends lines, and no NUL. */
static bool is_clean(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] == '\0' || (s.ptr[i] == '\n' && (i == 0 || s.ptr[i - 1] != '\r')) ||
		    (s.ptr[i] == '\r' && (i + 1 == s.len || s.ptr[i + 1] != '\n')))
			return false;
	return true;
}

/* Received fields before the first empty line. stuffed: a line's first dot is not its own. */
static unsigned received_fields(struct slice s, bool stuffed)
{
	unsigned n = 0;

	while (s.len > 0) {
		struct slice line = slice_take(s, slice_index(s, '\n')), name = slice_take(line, slice_index(line, ':'));

		s = slice_skip(s, line.len + 1);
		if (stuffed && name.len > 0 && name.ptr[0] == '.')
			name = slice_skip(name, 1);
		if (line.len == 0 || slice_is(line, "\r"))
			break;
		while (name.len > 0 && (name.ptr[name.len - 1] == ' ' || name.ptr[name.len - 1] == '\t'))
			name.len--;
		n += slice_index(line, ':') < line.len && slice_equal_nocase(name, SLICE("Received"));
	}
	return n;
}

static void check_hops(const struct model *m, struct slice message, bool stuffed)
{
	FUZZ_CHECK(m->rules->max_hops == 0 || received_fields(message, stuffed) <= m->rules->max_hops);
}

/* Where a strict body ends: behind the first lone dot. 0: not yet. *bad: it never will. */
static size_t body_end(struct slice s, bool *bad)
{
	size_t line = 0;

	*bad = false;
	for (size_t i = 0; i < s.len; i++) {
		bool crlf = s.ptr[i] == '\r' && i + 1 < s.len && s.ptr[i + 1] == '\n';

		if (s.ptr[i] == '\r' && i + 1 == s.len)
			return 0;
		if (s.ptr[i] == '\0' || s.ptr[i] == '\n' || (s.ptr[i] == '\r' && !crlf)) {
			*bad = true;
			return 0;
		}
		if (!crlf)
			continue;
		if (i == line + 1 && s.ptr[line] == '.')
			return i + 2;
		line = i + 2;
		i++;
	}
	return 0;
}

/* ---- replies ---- */

/* One line off the front. false: none yet. */
static bool next_line(struct buffer *b, bool strict, struct slice *line, size_t *used, bool *bad)
{
	struct slice all = buffer_slice(b);
	size_t lf = slice_index(all, '\n');

	*bad = false;
	if (lf == all.len)
		return false;
	*used = lf + 1;
	*line = slice_take(all, lf);
	if (line->len > 0 && line->ptr[line->len - 1] == '\r')
		line->len--;
	else
		*bad = strict;
	if (slice_index(*line, '\r') < line->len || slice_index(*line, '\0') < line->len)
		*bad = true;
	return true;
}

/* What a line of an EHLO reply offers. */
static unsigned keyword_of(struct slice text)
{
	static const struct { const char *name; unsigned bit; } names[] = {
		{ "SIZE", HAS_SIZE }, { "8BITMIME", HAS_8BITMIME }, { "DSN", HAS_DSN }, { "SMTPUTF8", HAS_SMTPUTF8 },
		{ "DELIVERBY", HAS_DELIVERBY }, { "FUTURERELEASE", HAS_FUTURERELEASE }, { "MT-PRIORITY", HAS_MT_PRIORITY },
		{ "MTRK", HAS_MTRK }, { "CHUNKING", HAS_CHUNKING }, { "BINARYMIME", HAS_BINARYMIME },
		{ "AUTH", HAS_AUTH },
	};
	size_t n = 0;

	while (n < text.len && (ascii_is_alpha(text.ptr[n]) || ascii_is_digit(text.ptr[n]) || text.ptr[n] == '-'))
		n++;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (slice_equal_nocase(slice_take(text, n), slice_cstr(names[i].name)))
			return names[i].bit;
	return 0;
}

/* The next whole reply. 0: none yet, -1: not a reply, else its code. */
static int next_reply(struct replies *r, bool strict)
{
	struct slice line;
	size_t used;
	bool bad, last;
	unsigned code;

	while (next_line(&r->octets, strict, &line, &used, &bad)) {
		if (bad || line.len < 3 || !ascii_is_digit(line.ptr[0]) || !ascii_is_digit(line.ptr[1]) || !ascii_is_digit(line.ptr[2]))
			return -1;
		code = (unsigned)(line.ptr[0] - '0') * 100 + (unsigned)(line.ptr[1] - '0') * 10 + (unsigned)(line.ptr[2] - '0');
		if ((line.len > 3 && line.ptr[3] != ' ' && line.ptr[3] != '-') || (r->code != 0 && code != r->code) || code == 0)
			return -1;
		last = line.len == 3 || line.ptr[3] == ' ';
		r->keywords = r->code == 0 ? 0 : r->keywords | keyword_of(slice_skip(line, 4));
		r->code = last ? 0 : code;
		buffer_consume(&r->octets, used);
		if (last)
			return (int)code;
	}
	return 0;
}

static bool positive(int code)
{
	return code >= 200 && code < 300;
}

static void origin_replied(struct model *m, enum verb verb, int code)
{
	bool auth = verb == AUTH || verb == SASL;
	bool go_ahead = (verb == DATA && code == 354) || (auth && code == 334);

	if (auth && ((positive(code) && code != 235) || (m->cancelled && code < 400)))
		m->origin_dead = true;

	/* A chunk that it does not have yet, or the end of a message whose start it refused. */
	if ((verb == CHUNK || verb == LAST) && ((m->origin == ORIGIN_CHUNK && m->origin_owes.n == 0) ||
						(positive(code) && m->chunk_refused)))
		m->origin_dead = true;
	if (code < 200 || code >= 600 || code == 421 || (code / 100 == 3 && !go_ahead) || (verb == DATA && positive(code)))
		m->origin_dead = true;
	if (m->origin_dead)
		return;
	if (verb == END || verb == LAST || (positive(code) && (verb == MAIL || verb == RSET || verb == HELLO)))
		m->in_transaction = verb == MAIL;
	m->origin_took[verb] += positive(code);
	if (verb == DATA) {
		m->origin = go_ahead ? ORIGIN_BODY : ORIGIN_COMMANDS;
		buffer_clear(&m->origin_body);
	} else if (auth) {
		m->origin = go_ahead ? ORIGIN_SASL : ORIGIN_COMMANDS;
		m->authenticated = m->authenticated || code == 235;
		m->origin_successes += code == 235;
		m->origin_challenges += go_ahead;
	} else if (verb == RCPT && positive(code)) {
		m->origin_recipients++;
	} else if (verb == END) {
		m->origin_messages += positive(code);
		m->origin_recipients = 0;
	} else if ((verb == MAIL || verb == RSET || verb == HELLO) && positive(code)) {
		m->origin_recipients = 0;
		m->chunk_refused = false;
		m->greeted = m->greeted || verb == HELLO;
		if (verb == HELLO)
			m->offered = m->ehlo ? m->server.keywords : 0;
	} else if (verb == CHUNK) {
		m->origin_chunks += positive(code);
		m->chunk_refused = !positive(code);
	} else if (verb == LAST) {
		m->origin_messages += positive(code);
		m->origin_recipients = 0;
		m->chunk_refused = false;
	} else if ((verb == RSET || verb == HELLO) && !m->mail) {
		m->mail = m->mail_before;
		m->rcpt = m->rcpt_before;
	} else if (verb == QUIT && positive(code)) {
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
		code = next_reply(&m->server, m->rules->strict_lines);
		if (code == 0)
			return;
		if (code < 0)
			m->origin_dead = true;
		else
			origin_replied(m, pop(&m->origin_owes), code);
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

/* ---- what the origin receives ---- */

static bool is_number(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!ascii_is_digit(s.ptr[i]))
			return false;
	return s.len > 0;
}

static bool is_one_of(struct slice s, const char *words)
{
	size_t n;

	for (; *words != '\0'; words += n + (words[n] == ' ')) {
		n = strcspn(words, " ");
		if (slice_equal(s, slice_of(words, n)))
			return true;
	}
	return false;
}

/* One of each, in canonical form, and only what the server offered. */
static bool is_parameter(const struct model *m, struct slice word, bool rcpt)
{
	static const struct { const char *name; bool rcpt; unsigned needs; const char *values; } names[] = {
		{ "SIZE", false, HAS_SIZE, NULL }, { "BODY", false, HAS_8BITMIME, "7BIT 8BITMIME" },
		{ "BODY", false, HAS_BINARYMIME, "BINARYMIME" }, { "SMTPUTF8", false, HAS_SMTPUTF8, "" },
		{ "AUTH", false, HAS_AUTH, NULL },
		{ "RET", false, HAS_DSN, "FULL HDRS" }, { "ENVID", false, HAS_DSN, NULL }, { "ORCPT", true, HAS_DSN, NULL },
		{ "NOTIFY", true, HAS_DSN, "NEVER SUCCESS FAILURE SUCCESS,FAILURE DELAY SUCCESS,DELAY FAILURE,DELAY SUCCESS,FAILURE,DELAY" },
		{ "BY", false, HAS_DELIVERBY, NULL }, { "HOLDFOR", false, HAS_FUTURERELEASE, NULL },
		{ "HOLDUNTIL", false, HAS_FUTURERELEASE, NULL }, { "MT-PRIORITY", false, HAS_MT_PRIORITY, NULL }, { "MTRK", false, HAS_MTRK, NULL },
	};
	struct slice name = slice_take(word, slice_index(word, '=')), value = slice_skip(word, name.len + 1);

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (names[i].rcpt != rcpt || !slice_is(name, names[i].name))
			continue;
		if (slice_is(value, "BINARYMIME") != (names[i].needs == HAS_BINARYMIME))
			continue;
		if ((m->offered & names[i].needs) == 0)
			return false;
		if (names[i].values != NULL)
			return names[i].values[0] == '\0' ? name.len == word.len : is_one_of(value, names[i].values);
		return is_one_of(name, "SIZE HOLDFOR") ? is_number(value) : value.len > 0;
	}
	return false;
}

/* Where the ">" of a path stands that starts at s: not in a quoted string. s.len: nowhere. */
static size_t path_end(struct slice s)
{
	bool quoted = false;

	for (size_t i = 0; i < s.len; i++) {
		if (quoted && s.ptr[i] == '\\')
			i++;
		else if (s.ptr[i] == '"')
			quoted = !quoted;
		else if (!quoted && s.ptr[i] == '>')
			return i;
	}
	return s.len;
}

static void check_path(struct model *m, struct slice line, const char *start, bool rcpt)
{
	struct slice path, rest;
	bool utf8 = false;
	size_t end;

	FUZZ_CHECK(slice_starts_with(line, slice_cstr(start)));
	rest = slice_skip(line, strlen(start));
	end = path_end(rest);
	FUZZ_CHECK(end < rest.len);
	path = slice_take(rest, end);
	rest = slice_skip(rest, end + 1);
	while (rest.len > 0) {
		struct slice word;

		FUZZ_CHECK(rest.ptr[0] == ' ');
		rest = slice_skip(rest, 1);
		word = slice_take(rest, slice_index(rest, ' '));
		FUZZ_CHECK(is_parameter(m, word, rcpt));
		utf8 = utf8 || slice_is(word, "SMTPUTF8");
		rest = slice_skip(rest, word.len);
	}
	if (!rcpt) {
		m->mail_utf8 = utf8;
		return;
	}
	/* The postmaster of the server itself has no domain. */
	if (m->rules->only_domain == NULL || slice_equal_nocase(path, SLICE("postmaster")))
		return;
	FUZZ_CHECK(slice_index(path, '%') == path.len && slice_index(path, '!') == path.len);
	FUZZ_CHECK(slice_equal_nocase(slice_skip(path, slice_index(path, '@') + 1), slice_cstr(m->rules->only_domain)));
}

/* Only addresses, and only where the server can take it, may be other than ASCII; and then nothing but UTF-8. */
static void check_octets(const struct model *m, struct slice line)
{
	bool ascii = true;

	for (size_t i = 0; i < line.len; i++) {
		FUZZ_CHECK(line.ptr[i] >= 0x20 && line.ptr[i] != 0x7f);
		ascii = ascii && line.ptr[i] < 0x80;
	}
	FUZZ_CHECK(ascii || ((m->offered & HAS_SMTPUTF8) != 0 && utf8_is_valid(line)));
	if (ascii || slice_starts_with(line, SLICE("VRFY ")) || slice_starts_with(line, SLICE("EXPN ")))
		return;
	FUZZ_CHECK(slice_starts_with(line, SLICE("MAIL ")) || slice_starts_with(line, SLICE("RCPT ")));
	FUZZ_CHECK(m->mail_utf8);
}

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

	FUZZ_CHECK((m->offered & HAS_CHUNKING) != 0 && m->rcpt && chunk_of(line, &chunk));
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

static void origin_chunk_ends(struct model *m)
{
	m->origin = ORIGIN_COMMANDS;
	if (!m->chunk_last)
		return;
	FUZZ_CHECK(m->binary || is_clean(buffer_slice(&m->origin_body)));
	FUZZ_CHECK(m->origin_owes.n == 1);
	check_hops(m, buffer_slice(&m->origin_body), false);
	m->ended = true;
	m->ended_recipients = m->origin_recipients;
	m->mail = m->rcpt = m->chunks = false;
}

static void origin_chunk(struct model *m, struct slice octets)
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
	FUZZ_CHECK(m->cancelled || (is_base64(line) && slice_equal(line, buffer_slice(&m->secret))));
	m->origin = ORIGIN_COMMANDS;
	push(&m->origin_owes, SASL);
}

static struct slice word_of(struct slice line, unsigned number)
{
	line = slice_trim_spaces(line);
	while (number-- > 0)
		line = slice_trim_spaces(slice_skip(line, slice_index(line, ' ')));
	return slice_take(line, slice_index(line, ' '));
}

static bool is_same_auth(struct slice said, struct slice line)
{
	return slice_equal_nocase(word_of(said, 0), SLICE("AUTH")) && slice_equal_nocase(word_of(said, 1), word_of(line, 1)) &&
	       slice_equal(word_of(said, 2), word_of(line, 2));
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
	struct slice initial = word_of(line, 2);

	FUZZ_CHECK(m->rules->may_auth && m->greeted && !m->in_transaction && !m->authenticated && m->origin_owes.n == 0);
	FUZZ_CHECK((m->offered & HAS_AUTH) != 0);
	FUZZ_CHECK(said_auth(m, line));
	FUZZ_CHECK(word_of(line, 1).len > 0 && word_of(line, 3).len == 0);
	FUZZ_CHECK(is_base64(initial) || slice_is(initial, "="));
	m->cancelled = false;
}

static void forget_transaction(struct model *m)
{
	m->chunks = false;
	m->mail_before = m->mail;
	m->rcpt_before = m->rcpt;
	m->mail = m->rcpt = false;
}

static void origin_command(struct model *m, struct slice line)
{
	enum verb verb = verb_of(line);
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
		check_path(m, line, "MAIL From:<", false);
		FUZZ_CHECK(!m->chunks);
		for (size_t i = 0; i < line.len; i++)
			m->binary = (i > 0 && m->binary) || slice_starts_with(slice_skip(line, i), SLICE(" BODY=BINARYMIME"));
		m->mail = true;
		m->rcpt = false;
		break;
	case RCPT:
		FUZZ_CHECK(m->mail && !m->chunks);
		check_path(m, line, "RCPT To:<", true);
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
		FUZZ_CHECK(chunk_of(line, &chunk));
		verb = chunk.last ? LAST : CHUNK;
		break;
	case RSET:
		forget_transaction(m);
		break;
	default:
		break;
	}
	check_octets(m, line);
	push(&m->origin_owes, verb);
	if (verb == CHUNK || verb == LAST)
		origin_chunk_starts(m, line);
	if (m->origin == ORIGIN_CHUNK && m->chunk_left == 0)
		origin_chunk(m, slice_of(NULL, 0));
}

/* Of a whole transfer: without the last line, and without the dots that lines got for it. */
static size_t message_octets(struct slice whole)
{
	size_t n = whole.len - 3;

	for (size_t i = 0; i < whole.len - 3; i++)
		n -= whole.ptr[i] == '.' && (i == 0 || whole.ptr[i - 1] == '\n');
	return n;
}

static void origin_body(struct model *m, struct slice octets, size_t *used)
{
	size_t before = m->origin_body.len, end;
	bool bad;

	buffer_append(&m->origin_body, octets);
	end = body_end(buffer_slice(&m->origin_body), &bad);
	FUZZ_CHECK(!bad);
	*used = end > 0 ? end - before : octets.len;
	if (m->rules->strict_lines) {
		size_t n = before + *used;

		FUZZ_CHECK(n <= m->client_body.len && memcmp(m->origin_body.data, m->client_body.data, n) == 0);
	}
	if (end == 0)
		return;
	FUZZ_CHECK(m->rules->max_octets == 0 || message_octets(slice_take(buffer_slice(&m->origin_body), end)) <= m->rules->max_octets);
	check_hops(m, slice_take(buffer_slice(&m->origin_body), end), true);
	FUZZ_CHECK(m->blind || m->origin_recipients == m->client_recipients);
	m->origin = ORIGIN_COMMANDS;
	m->mail = m->rcpt = false;
	push(&m->origin_owes, END);
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
			origin_chunk(m, slice_take(octets, used));
			octets = slice_skip(octets, used);
			continue;
		}
		/* Up to a line end at a time: behind DATA the meaning changes. */
		used = slice_index(octets, '\n');
		used = used < octets.len ? used + 1 : used;
		buffer_append(&m->command, slice_take(octets, used));
		octets = slice_skip(octets, used);
		if (!next_line(&m->command, true, &line, &used, &bad))
			continue;
		FUZZ_CHECK(!bad);
		if (m->origin == ORIGIN_SASL)
			origin_sasl_line(m, line);
		else
			origin_command(m, line);
		buffer_consume(&m->command, used);
	}
}

/* ---- what the client sends and receives ---- */

static void client_chunk_starts(struct model *m, struct slice line)
{
	struct chunk *chunk = &m->sent[m->n_sent];

	FUZZ_CHECK(m->n_sent < CHUNKS_MAX);
	m->client_dead = !chunk_of(line, chunk);
	if (m->client_dead)
		return;
	push(&m->client_is_owed, chunk->last ? LAST : CHUNK);
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
			end = body_end(buffer_slice(&m->client_body), &bad);
			buffer_consume(&m->raw, end > 0 ? end - before : m->raw.len);
			m->client_dead = bad;
			if (end == 0)
				return;
			m->client_body.len = end;
			m->client = CLIENT_COMMANDS;
			push(&m->client_is_owed, END);
			continue;
		}
		if (!next_line(&m->raw, m->rules->strict_lines, &line, &used, &bad))
			return;
		m->client_dead = bad;
		if (bad)
			return;
		if (m->client == CLIENT_SASL || verb_of(line) == AUTH) {
			push(&m->client_is_owed, m->client == CLIENT_SASL ? SASL : AUTH);
			buffer_clear(&m->secret);
			buffer_append(&m->secret, line);
			m->client = CLIENT_AUTH;
			buffer_consume(&m->raw, used);
			continue;
		}
		if (verb_of(line) == CHUNK)
			client_chunk_starts(m, line);
		else
			push(&m->client_is_owed, verb_of(line));
		if (verb_of(line) == DATA)
			m->client = CLIENT_DATA;
		buffer_consume(&m->raw, used);
	}
}

void model_client_sends(struct model *m, struct slice octets)
{
	if (m->blind)
		return;
	buffer_append(&m->raw, octets);
	take_client_octets(m);
}

static void client_told(struct model *m, enum verb verb, int code)
{
	if (verb == DATA) {
		m->client = code == 354 ? CLIENT_BODY : CLIENT_COMMANDS;
		buffer_clear(&m->client_body);
		/* A go-ahead is not given to those who went ahead. */
		FUZZ_CHECK(code != 354 || (m->raw.len == 0 && m->origin == ORIGIN_BODY));
		m->blind = m->blind_body = code == 354 && !m->rules->strict_lines;
	} else if (verb == AUTH || verb == SASL) {
		m->client = code == 334 ? CLIENT_SASL : CLIENT_COMMANDS;
		m->client_successes += code == 235;
		m->client_challenges += code == 334;
		FUZZ_CHECK((code != 334 && code != 235) || m->raw.len == 0);
		FUZZ_CHECK(!positive(code) || code == 235);
		FUZZ_CHECK(m->client_successes <= m->origin_successes && m->client_challenges <= m->origin_challenges);
	} else if (verb == RCPT) {
		m->client_recipients += positive(code);
	} else if (verb == END) {
		m->client_messages += positive(code);
		m->client_recipients = 0;
	} else if (verb == LAST) {
		/* Whatever the origin says to a message, it is over; what was refused here is not. */
		m->client_messages += positive(code);
		m->client_recipients = positive(code) ? 0 : m->client_recipients;
	} else if (verb == CHUNK) {
		m->client_chunks += positive(code);
	} else if ((verb == MAIL || verb == RSET || verb == HELLO) && positive(code)) {
		m->client_recipients = 0;
	}
	m->client_got[verb] += positive(code);
	/* No yes that the origin did not say. */
	FUZZ_CHECK(verb == QUIT || verb == OTHER || verb == AUTH || verb == SASL || m->client_got[verb] <= m->origin_took[verb]);
	FUZZ_CHECK(code / 100 != 3 || (verb == DATA && code == 354) || ((verb == AUTH || verb == SASL) && code == 334));
	FUZZ_CHECK(m->client_messages <= m->origin_messages && m->client_chunks <= m->origin_chunks);
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

void model_client_received(struct model *m, struct slice octets)
{
	int code;

	buffer_append(&m->proxy.octets, octets);
	while ((code = next_reply(&m->proxy, true)) != 0) {
		FUZZ_CHECK(code >= 200 && code < 600);
		if (m->blind) {
			/* The reply behind a go-ahead is the message's. */
			m->client_messages += m->blind_body && positive(code);
			m->blind_body = code == 354;
			FUZZ_CHECK(m->client_messages <= m->origin_messages);
			continue;
		}
		if (m->client_is_owed.n == 0) {
			FUZZ_CHECK(code >= 400);
			continue;
		}
		client_told(m, pop(&m->client_is_owed), code);
		take_client_octets(m);
	}
}
