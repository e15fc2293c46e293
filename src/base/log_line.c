/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A busy session logs some fifteen hundred octets, most of them its own names and numbers, so the
 * common way is short: what needs no escape is found by a table and copied in one piece, and
 * numbers are made digit by digit.
 */
#include "base/log_line.h"
#include "base/attributes.h"
#include "base/clock.h"
#include "base/word.h"

#include <stdio.h>
#include <time.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define TAIL_ROOM 16u	/* octets at the end of a line that values leave free for what closes it */
#define LIST_ROOM 80u	/* what a list leaves free for its own end */
#define FIELD_ROOM 32u	/* of a number with all that stands around it and its key */

#define DIGITS_MAX 20u	/* of a number of 64 bits */

/* What an octet may stand in unescaped. */
enum {
	IN_VALUE = 1,		/* no control octet, no quote, no backslash */
	IN_MESSAGE = 2,		/* messages of policy code hold quotes of their own */
	IN_JSON_MESSAGE = 4,
	IN_ALL = 7,
};

static const uint8_t octet_class[256] = {
	[' ' ... '!'] = IN_ALL, ['"'] = IN_MESSAGE, ['#' ... '&'] = IN_ALL, ['\''] = IN_MESSAGE | IN_JSON_MESSAGE,
	['(' ... '['] = IN_ALL, [']' ... '~'] = IN_ALL,
};

/* So short that all of it is copied, whatever its length. */
struct mark {
	char text[4];
	size_t len;
};
#define MARK(lit) { lit, sizeof(lit) - 1 }

/* How the two formats write a field around its key and value. */
static const struct field_style {
	struct mark first, next;		/* before the key */
	struct mark to_octets, to_number, to_list;	/* between key and value */
	struct mark octets_end, number_end;
} field_styles[] = {
	[LOG_FORMAT_TEXT] = { MARK("; "), MARK(", "), MARK("='"), MARK("='"), MARK("="), MARK("'"), MARK("'") },
	[LOG_FORMAT_JSON] = { MARK("\""), MARK(",\""), MARK("\":\""), MARK("\":"), MARK("\":"), MARK("\""), MARK("") },
};

/* Octets at the start of s that go as they are. */
static size_t plain_run(struct slice s, unsigned where)
{
	size_t n = 0;

	while (n < s.len && (octet_class[s.ptr[n]] & where) != 0)
		n++;
	return n;
}

static void escape_octet(uint8_t c, char out[4])
{
	static const char hex[] = "0123456789abcdef";

	out[0] = '\\';
	out[1] = 'x';
	out[2] = hex[c >> 4];
	out[3] = hex[c & 15];
}

size_t log_escape(char *dst, size_t size, struct slice s)
{
	size_t len = 0;

	if (size == 0)
		return 0;
	while (s.len > 0) {
		size_t run = plain_run(slice_take(s, size - 1 - len), IN_VALUE);

		if (run > 0) {
			memcpy(dst + len, s.ptr, run);
		} else {
			if (size - 1 - len < ((octet_class[s.ptr[0]] & IN_VALUE) != 0 ? 1 : 4))
				break;
			escape_octet(s.ptr[0], dst + len);
		}
		len += run > 0 ? run : 4;
		s = slice_skip(s, run > 0 ? run : 1);
	}
	dst[len] = '\0';
	return len;
}

/* All of text or nothing, so that what closes a line never stands half. */
static inline bool put(struct log_line *l, struct slice text, size_t room)
{
	if (l->len + room > LOG_LINE_MAX || text.len > LOG_LINE_MAX - room - l->len)
		return false;
	if (text.len > 0)	/* an empty slice may have no pointer, which memcpy must not see */
		memcpy(l->text + l->len, text.ptr, text.len);
	l->len += text.len;
	return true;
}

static bool put_cstr(struct log_line *l, const char *text)
{
	return put(l, slice_cstr(text), TAIL_ROOM);
}

/* Mostly small ones: copied in one piece, with what is behind them. */
static bool put_unsigned(struct log_line *l, uint64_t number)
{
	char digits[2 * DIGITS_MAX] = { 0 };
	size_t at = DIGITS_MAX;

	do
		digits[--at] = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	if (l->len + DIGITS_MAX + TAIL_ROOM > LOG_LINE_MAX)
		return put(l, slice_of(digits + at, DIGITS_MAX - at), TAIL_ROOM);
	memcpy(l->text + l->len, digits + at, DIGITS_MAX);
	l->len += DIGITS_MAX - at;
	return true;
}

static bool put_number(struct log_line *l, const struct log_field *field)
{
	uint64_t number = (uint64_t)field->number;

	if (field->kind == LOG_FIELD_UINT || field->number >= 0)
		return put_unsigned(l, number);
	return put_cstr(l, "-") && put_unsigned(l, 0 - number);
}

/* As much as there is room for. false: that was not all. */
static bool put_part(struct log_line *l, struct slice text)
{
	size_t taken = l->len + TAIL_ROOM;
	size_t room = taken < LOG_LINE_MAX ? LOG_LINE_MAX - taken : 0;

	return put(l, slice_take(text, room), TAIL_ROOM) && text.len <= room;
}

/* One octet that needs care. A line of JSON doubles the backslash of an escape, and of a quote keeps the quote. */
static struct slice escaped_form(const struct log_line *l, uint8_t c, unsigned where, char room[5])
{
	bool json = l->format == LOG_FORMAT_JSON;

	room[0] = '\\';
	room[1] = '"';
	if (where == IN_JSON_MESSAGE && c == '"')
		return slice_of(room, 2);
	escape_octet(c, room + json);
	return slice_of(room, 4u + json);
}

/* Eight octets that may stand anywhere, as octet_class has it? */
static bool is_plain_word(uint64_t word)
{
	return !word_has_8bit(word) && !word_has_below(word, ' ') && !word_has(word, 0x7f) && !word_has(word, '"') &&
	       !word_has(word, '\'') && !word_has(word, '\\');
}

#ifdef __SSE2__

/* The same of sixteen. As signed numbers, octets of 0x80 and more are below the space, too. */
static bool is_plain_vector(__m128i octets)
{
	__m128i found = _mm_or_si128(_mm_cmplt_epi8(octets, _mm_set1_epi8(' ')), _mm_cmpeq_epi8(octets, _mm_set1_epi8(0x7f)));

	found = _mm_or_si128(found, _mm_cmpeq_epi8(octets, _mm_set1_epi8('"')));
	found = _mm_or_si128(found, _mm_cmpeq_epi8(octets, _mm_set1_epi8('\'')));
	found = _mm_or_si128(found, _mm_cmpeq_epi8(octets, _mm_set1_epi8('\\')));
	return _mm_movemask_epi8(found) == 0;
}

/* Copies n octets, four to sixteen, if all of them are plain. The second piece overlaps the first. */
static bool copy_plain(char *to, const uint8_t *from, size_t n)
{
	__m128i both;
	uint32_t first, last;

	if (n >= WORD_OCTETS) {
		__m128i a = _mm_loadl_epi64((const void *)from), b = _mm_loadl_epi64((const void *)(from + n - WORD_OCTETS));

		if (!is_plain_vector(_mm_unpacklo_epi64(a, b)))
			return false;
		_mm_storel_epi64((void *)to, a);
		_mm_storel_epi64((void *)(to + n - WORD_OCTETS), b);
		return true;
	}
	memcpy(&first, from, sizeof(first));
	memcpy(&last, from + n - sizeof(last), sizeof(last));
	both = _mm_set_epi32((int)first, (int)last, (int)first, (int)last);
	if (!is_plain_vector(both))
		return false;
	memcpy(to, &first, sizeof(first));
	memcpy(to + n - sizeof(last), &last, sizeof(last));
	return true;
}

#endif

/* The octets at the start that go as they are, as far as there is room. */
static size_t put_plain(struct log_line *l, struct slice octets, unsigned where, size_t limit)
{
	size_t taken = l->len + TAIL_ROOM, n = 0;
	size_t most = taken < LOG_LINE_MAX ? LOG_LINE_MAX - taken : 0;
	char *to = l->text + l->len;

	most = most < limit ? most : limit;
	most = most < octets.len ? most : octets.len;
#ifdef __SSE2__
	for (; most - n >= sizeof(__m128i) && is_plain_vector(_mm_loadu_si128((const void *)(octets.ptr + n))); n += sizeof(__m128i))
		memcpy(to + n, octets.ptr + n, sizeof(__m128i));
	if (most - n >= sizeof(uint32_t) && most - n < sizeof(__m128i) && copy_plain(to + n, octets.ptr + n, most - n))
		n = most;
#endif
	for (; most - n >= WORD_OCTETS && is_plain_word(word_load(octets.ptr + n)); n += WORD_OCTETS)
		memcpy(to + n, octets.ptr + n, WORD_OCTETS);
	for (; n < most && (octet_class[octets.ptr[n]] & where) != 0; n++)
		to[n] = (char)octets.ptr[n];
	l->len += n;
	return n;
}

/* At most limit octets in escaped form (the doubling in JSON not counted), "..." instead of the
 * rest. false: the line is full. */
static __attribute__((noinline)) bool put_escaped(struct log_line *l, struct slice octets, unsigned where, size_t limit)
{
	while (octets.len > 0) {
		size_t n = plain_run(octets, where), width = n;
		struct slice escaped = { NULL, 0 };
		char room[5];

		if (n == 0) {
			escaped = escaped_form(l, octets.ptr[0], where, room);
			width = escaped.len - (l->format == LOG_FORMAT_JSON);
		}
		if (width > limit)
			return put_part(l, slice_take(octets, n > 0 ? limit : 0)) && put_cstr(l, "...");
		if (n > 0 ? !put_part(l, slice_take(octets, n)) : !put(l, escaped, TAIL_ROOM))
			return false;
		limit -= width;
		octets = slice_skip(octets, n > 0 ? n : 1);
	}
	return true;
}

/* The same. Mostly all of them are plain. */
static bool put_octets(struct log_line *l, struct slice octets, unsigned where, size_t limit)
{
	size_t plain = put_plain(l, octets, where, limit);

	return plain == octets.len || put_escaped(l, slice_skip(octets, plain), where, limit - plain);
}

static void put_message(struct log_line *l, struct slice message)
{
	put_octets(l, message, l->format == LOG_FORMAT_JSON ? IN_JSON_MESSAGE : IN_MESSAGE, LOG_LINE_MAX);
}

static void put_value(struct log_line *l, struct slice value)
{
	put_octets(l, value, IN_VALUE, LOG_VALUE_MAX);
}

/* "Jan  2 03:04:05 ", or "2026-01-02T03:04:05." in JSON; made anew once a second. */
static const char *stamp(struct log_line *l, int64_t wall_s)
{
	static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t t = (time_t)wall_s;
	struct tm tm;

	if (wall_s == l->stamp_s)
		return l->stamp;
	if (l->format == LOG_FORMAT_JSON && gmtime_r(&t, &tm) != NULL)
		snprintf(l->stamp, sizeof(l->stamp), "%04d-%02d-%02dT%02d:%02d:%02d.", tm.tm_year + 1900,
			 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	else if (l->format == LOG_FORMAT_TEXT && localtime_r(&t, &tm) != NULL)
		snprintf(l->stamp, sizeof(l->stamp), "%s %2d %02d:%02d:%02d ", months[tm.tm_mon],
			 tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
	l->stamp_s = wall_s;
	return l->stamp;
}

static void begin_text(struct log_line *l, struct slice tag, int level, struct slice session)
{
	put_cstr(l, stamp(l, clock_system.wall_ms(&clock_system) / 1000));
	put_value(l, tag);
	put(l, SLICE("("), TAIL_ROOM);
	put_unsigned(l, (unsigned)level);
	put(l, SLICE("): ("), TAIL_ROOM);
	put_value(l, session.len > 0 ? session : SLICE("nosession"));
	put(l, SLICE("): "), TAIL_ROOM);
}

static void begin_json(struct log_line *l, struct slice tag, int level, struct slice session)
{
	int64_t wall_ms = clock_system.wall_ms(&clock_system);
	unsigned ms = (unsigned)(wall_ms % 1000);
	char fraction[] = { (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z', '\0' };

	put_cstr(l, "{\"time\":\"");
	put_cstr(l, stamp(l, wall_ms / 1000));
	put_cstr(l, fraction);
	put_cstr(l, "\",\"tag\":\"");
	put_value(l, tag);
	put_cstr(l, "\",\"level\":");
	put_unsigned(l, (unsigned)level);
	put_cstr(l, ",\"session\":\"");
	put_value(l, session.len > 0 ? session : SLICE("nosession"));
	put_cstr(l, "\",\"message\":\"");
}

/* One row, or nothing of it: false. */
static bool put_row(struct log_line *l, const struct log_list *list, const struct log_row *row, bool first)
{
	bool json = l->format == LOG_FORMAT_JSON;
	size_t before = l->len;
	bool fine = put_cstr(l, first ? json ? "{" : "" : json ? ",{" : "; ");

	for (size_t i = 0; i < LOG_COLUMNS && fine; i++) {
		if (json)
			fine = put_cstr(l, i > 0 ? ",\"" : "\"") && put_cstr(l, list->columns[i]) && put_cstr(l, "\":\"");
		else
			fine = put_cstr(l, i > 0 ? " " : "");
		fine = fine && put_octets(l, row->cells[i], IN_VALUE, LOG_CELL_MAX) && put_cstr(l, json ? "\"" : "");
	}
	fine = fine && put_cstr(l, json ? "}" : "") && l->len + LIST_ROOM <= LOG_LINE_MAX;
	if (!fine)
		l->len = before;
	return fine;
}

static bool put_list(struct log_line *l, struct slice key, const struct log_list *list)
{
	bool json = l->format == LOG_FORMAT_JSON;
	size_t n = 0;
	uint64_t more;

	put_cstr(l, json ? "[" : "'");
	while (n < list->n_rows && l->len + LIST_ROOM <= LOG_LINE_MAX && put_row(l, list, &list->rows[n], n == 0))
		n++;
	more = list->more + (list->n_rows - n);
	put_cstr(l, json ? "]" : "");
	if (more > 0) {
		put_cstr(l, json ? ",\"" : n > 0 ? "; and " : "");
		put(l, json ? key : SLICE(""), TAIL_ROOM);
		put_cstr(l, json ? "_more\":" : "");
		put_unsigned(l, more);
		put_cstr(l, json ? "" : " more");
	}
	return put(l, json ? SLICE("") : SLICE("'"), TAIL_ROOM - 1);
}

/* There must be room for four octets. */
static void put_mark(struct log_line *l, const struct mark *mark)
{
	memcpy(l->text + l->len, mark->text, sizeof(mark->text));
	l->len += mark->len;
}

/*
 * One field. false: the line is full. The room for a value's closing quote is never used by
 * the value itself (TAIL_ROOM), so a field that was begun always ends.
 */
static bool put_field(struct log_line *l, const struct field_style *style, const struct log_field *field, bool first)
{
	struct slice key = field->key;
	bool octets = field->kind == LOG_FIELD_OCTETS, list = field->kind == LOG_FIELD_LIST, whole;

	/* A number must fit with its head, or JSON would have a key without a value; a list too, with its end. */
	if (key.len + FIELD_ROOM + (list ? LIST_ROOM : 0) + TAIL_ROOM > LOG_LINE_MAX - l->len)
		return false;
	put_mark(l, first ? &style->first : &style->next);
	memcpy(l->text + l->len, key.ptr, key.len);
	l->len += key.len;
	put_mark(l, list ? &style->to_list : octets ? &style->to_octets : &style->to_number);
	if (list)
		return put_list(l, key, field->list);
	whole = octets ? put_octets(l, field->octets, IN_VALUE, LOG_VALUE_MAX) : put_number(l, field);
	put_mark(l, octets ? &style->octets_end : &style->number_end);
	return whole;
}

static void put_fields(struct log_line *l, const struct log_field *fields, size_t n)
{
	const struct field_style *style = &field_styles[l->format];
	bool json = l->format == LOG_FORMAT_JSON;

	if (json)
		put(l, SLICE("\",\"fields\":{"), 2);
	for (size_t i = 0; i < n; i++)
		if (!put_field(l, style, &fields[i], i == 0))
			break;
	if (json)
		put(l, SLICE("}}"), 1);
	put(l, SLICE("\n"), 0);
}

void log_line_compose(struct log_line *l, struct slice tag, int level, struct slice session, struct slice message,
		      const struct log_field *fields, size_t n_fields)
{
	l->len = 0;
	if (l->format == LOG_FORMAT_JSON)
		begin_json(l, tag, level, session);
	else
		begin_text(l, tag, level, session);
	put_message(l, message);
	put_fields(l, fields, n_fields);
}
