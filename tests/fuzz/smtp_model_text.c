/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp_model_priv.h"

enum verb model_verb_of(struct slice line)
{
	static const struct { const char *name; enum verb verb; } names[] = {
		{ "HELO", HELLO }, { "EHLO", HELLO }, { "MAIL", MAIL }, { "RCPT", RCPT }, { "DATA", DATA }, { "RSET", RSET },
		{ "QUIT", QUIT }, { "BDAT", CHUNK }, { "AUTH", AUTH }, { "STARTTLS", STARTTLS },
	};
	struct slice word = slice_take(line, slice_index(line, ' '));

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (slice_equal_nocase(word, slice_cstr(names[i].name)))
			return names[i].verb;
	return OTHER;
}

/* size [SP "LAST"] behind BDAT. false: it can't be said where the chunk ends. */
bool model_chunk_of(struct slice line, struct chunk *chunk)
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
bool model_is_base64(struct slice s)
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
bool model_is_clean(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] == '\0' || (s.ptr[i] == '\n' && (i == 0 || s.ptr[i - 1] != '\r')) ||
		    (s.ptr[i] == '\r' && (i + 1 == s.len || s.ptr[i + 1] != '\n')))
			return false;
	return true;
}

/* Received fields before the first empty line. stuffed: a line's first dot is not its own. */
unsigned model_received_fields(struct slice s, bool stuffed)
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

/* Where a strict body ends: behind the first lone dot. 0: not yet. *bad: it never will. */
size_t model_body_end(struct slice s, bool *bad)
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

/* Of a whole transfer: without the last line, and without the dots that lines got for it. */
size_t model_message_octets(struct slice whole)
{
	size_t n = whole.len - 3;

	for (size_t i = 0; i < whole.len - 3; i++)
		n -= whole.ptr[i] == '.' && (i == 0 || whole.ptr[i - 1] == '\n');
	return n;
}

struct slice model_word_of(struct slice line, unsigned number)
{
	line = slice_trim_spaces(line);
	while (number-- > 0)
		line = slice_trim_spaces(slice_skip(line, slice_index(line, ' ')));
	return slice_take(line, slice_index(line, ' '));
}

/* One line off the front. false: none yet. */
bool model_next_line(struct buffer *b, bool strict, struct slice *line, size_t *used, bool *bad)
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
		{ "AUTH", HAS_AUTH }, { "STARTTLS", HAS_STARTTLS },
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
int model_next_reply(struct replies *r, bool strict)
{
	struct slice line;
	size_t used;
	bool bad, last;
	unsigned code;

	while (model_next_line(&r->octets, strict, &line, &used, &bad)) {
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
