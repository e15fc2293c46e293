/* SPDX-License-Identifier: Apache-2.0 */
#include "smtp_model_priv.h"

#include "base/utf8.h"

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
		if ((m->leg->offered & names[i].needs) == 0)
			return false;
		/* Whom an unknown client says that it speaks for is nobody's business (RFC 4954, 5). */
		if (names[i].needs == HAS_AUTH && !m->leg->authenticated)
			return slice_is(value, "<>");
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

void model_check_path(struct model *m, struct slice line, const char *start, bool rcpt)
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
	model_check_said(m, slice_skip(path, slice_index(path, '@')));
	if (!rcpt) {
		m->leg->mail_utf8 = utf8;
		return;
	}
	/* The postmaster of the server itself has no domain. */
	if (m->rules->only_domain == NULL || slice_equal_nocase(path, SLICE("postmaster")))
		return;
	FUZZ_CHECK(slice_index(path, '%') == path.len && slice_index(path, '!') == path.len);
	FUZZ_CHECK(slice_equal_nocase(slice_skip(path, slice_index(path, '@') + 1), slice_cstr(m->rules->only_domain)));
}

/* Only addresses, and only where the server can take it, may be other than ASCII; and then nothing but UTF-8. */
void model_check_octets(const struct model *m, struct slice line)
{
	bool ascii = true;

	for (size_t i = 0; i < line.len; i++) {
		FUZZ_CHECK(line.ptr[i] >= 0x20 && line.ptr[i] != 0x7f);
		ascii = ascii && line.ptr[i] < 0x80;
	}
	FUZZ_CHECK(ascii || ((m->leg->offered & HAS_SMTPUTF8) != 0 && utf8_is_valid(line)));
	if (ascii || slice_starts_with(line, SLICE("VRFY ")) || slice_starts_with(line, SLICE("EXPN ")))
		return;
	FUZZ_CHECK(slice_starts_with(line, SLICE("MAIL ")) || slice_starts_with(line, SLICE("RCPT ")));
	FUZZ_CHECK(m->leg->mail_utf8);
}
