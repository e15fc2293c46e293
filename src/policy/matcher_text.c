/* SPDX-License-Identifier: Apache-2.0 */
/* A text as symbols, and the dialect of patterns over them. */
#include "policy/matcher.h"

/* Octets of the UTF-8 character at the start of s and its code point; 0: there is none. Table 3-7
 * of the Unicode standard: no surrogates, nothing longer than it need be. */
static size_t take_character(struct slice s, uint32_t *out)
{
	uint8_t lead = s.ptr[0], least = 0x80, most = 0xbf;
	size_t n = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
	uint32_t c = lead & (n == 2 ? 0x1f : n == 3 ? 0x0f : 0x07);

	if (lead < 0xc2 || lead > 0xf4 || s.len < n)
		return 0;
	if (lead == 0xe0)
		least = 0xa0;
	else if (lead == 0xed)
		most = 0x9f;
	else if (lead == 0xf0)
		least = 0x90;
	else if (lead == 0xf4)
		most = 0x8f;
	for (size_t i = 1; i < n; i++) {
		if (s.ptr[i] < least || s.ptr[i] > most)
			return 0;
		c = c << 6 | (s.ptr[i] & 0x3f);
		least = 0x80;
		most = 0xbf;
	}
	*out = c;
	return n;
}

static uint8_t symbol_of(const struct matcher_range *ranges, size_t n, uint32_t c)
{
	size_t low = 0, high = n;

	switch (c) {
	case 0x0130:
		return SYMBOL_I_DOT;
	case 0x0131:
		return SYMBOL_DOTLESS_I;
	case 0x017f:
		return SYMBOL_LONG_S;
	case 0x212a:
		return SYMBOL_KELVIN;
	}
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (c > ranges[middle].last)
			low = middle + 1;
		else if (c < ranges[middle].first)
			high = middle;
		else
			return ranges[middle].symbol;
	}
	return SYMBOL_OTHER;
}

size_t matcher_symbols(const struct matcher_range *ranges, size_t n, struct slice text, uint8_t *out)
{
	size_t made = 0;

	while (text.len > 0) {
		uint32_t c;
		size_t octets = 1;

		if (text.ptr[0] < 0x80) {
			out[made++] = text.ptr[0];
		} else {
			octets = take_character(text, &c);
			out[made++] = octets > 0 ? symbol_of(ranges, n, c) : SYMBOL_OTHER;
			octets += octets == 0;
		}
		text = slice_skip(text, octets);
	}
	return made;
}

static bool is_hex(uint8_t c)
{
	return ascii_is_digit(c) || (c >= 'a' && c <= 'f');
}

static bool is_plain(uint8_t c)
{
	return ascii_is_digit(c) || ascii_is_alpha(c) || c == '_' || c == '@';
}

static bool is_punctuation(uint8_t c)
{
	return c > 0x20 && c < 0x7f && !ascii_is_digit(c) && !ascii_is_alpha(c);
}

/* char = ALPHA / DIGIT / "_" / "@" / "\x" 2HEX / "\" punctuation. Octets of it; 0: none. */
static size_t char_at(struct slice s)
{
	if (s.len >= 1 && is_plain(s.ptr[0]))
		return 1;
	if (s.len >= 4 && s.ptr[0] == '\\' && s.ptr[1] == 'x' && is_hex(s.ptr[2]) && is_hex(s.ptr[3]))
		return 4;
	return s.len >= 2 && s.ptr[0] == '\\' && is_punctuation(s.ptr[1]) ? 2 : 0;
}

/* set = "[" ["^"] 1*(char ["-" char]) "]" */
static size_t set_at(struct slice s)
{
	size_t at = 1, n;

	if (s.len < 1 || s.ptr[0] != '[')
		return 0;
	at += s.len > 1 && s.ptr[1] == '^';
	do {
		n = char_at(slice_skip(s, at));
		at += n;
		if (n > 0 && at < s.len && s.ptr[at] == '-') {
			n = char_at(slice_skip(s, at + 1));
			at += 1 + n;
		}
		if (n == 0)
			return 0;
	} while (at < s.len && s.ptr[at] != ']');
	return at < s.len ? at + 1 : 0;
}

/* repeat = ("*" / "+" / "?" / "{" 1*5DIGIT ["," *5DIGIT] "}") ["?"] */
static size_t repeat_at(struct slice s)
{
	size_t at = 1, digits = 0;

	if (s.len < 1 || (s.ptr[0] != '*' && s.ptr[0] != '+' && s.ptr[0] != '?' && s.ptr[0] != '{'))
		return 0;
	if (s.ptr[0] == '{') {
		for (; at < s.len && ascii_is_digit(s.ptr[at]) && at <= 5; at++)
			digits++;
		if (digits > 0 && at < s.len && s.ptr[at] == ',')
			for (at++; at < s.len && ascii_is_digit(s.ptr[at]) && at <= digits + 6; at++)
				;
		if (digits == 0 || at >= s.len || s.ptr[at] != '}')
			return 0;
		at++;
	}
	return at < s.len && s.ptr[at] == '?' ? at + 1 : at;
}

/* open = "(?" (":" / "=" / "!" / "<=" / "<!"); anchor = "\A" / "\z" / "\Z" */
static size_t fixed_at(struct slice s)
{
	static const char *const texts[] = { "(?:", "(?=", "(?!", "(?<=", "(?<!", ")", "|", ".", "\\A", "\\z", "\\Z" };

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		if (slice_starts_with(s, slice_cstr(texts[i])))
			return strlen(texts[i]);
	return 0;
}

/* pattern = ["(?i)"] *((char / set / open / ")" / "|" / "." / anchor) [repeat]). What does not
 * balance, or repeats nothing, PCRE2 refuses itself. */
bool matcher_pattern_is_plain(struct slice text)
{
	if (slice_starts_with(text, SLICE("(?i)")))
		text = slice_skip(text, 4);
	while (text.len > 0) {
		size_t n = char_at(text);

		n = n > 0 ? n : set_at(text);
		n = n > 0 ? n : fixed_at(text);
		if (n == 0)
			return false;
		text = slice_skip(text, n);
		text = slice_skip(text, repeat_at(text));
	}
	return true;
}
