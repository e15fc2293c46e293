/* SPDX-License-Identifier: Apache-2.0 */
#include "base/logspec.h"

#include <errno.h>

/* Cut the first component off *rest. */
static struct slice next_component(struct slice *rest)
{
	size_t dot = slice_index(*rest, '.');
	struct slice component = slice_take(*rest, dot);

	*rest = slice_skip(*rest, dot + 1);
	return component;
}

/* Whether all tags that the narrow pattern (or tag) stands for match the wide one. */
static bool covers(struct slice wide, struct slice narrow)
{
	while (wide.len > 0) {
		struct slice w = next_component(&wide), n;

		if (narrow.len == 0)
			return false;
		n = next_component(&narrow);
		if (!slice_is(w, "*") && !slice_equal(w, n))
			return false;
	}
	return true;
}

static bool is_pattern_octet(char c)
{
	return ascii_is_alpha((uint8_t)c) || ascii_is_digit((uint8_t)c) || c == '.' || c == '*';
}

/* Where the pattern is malformed, or NULL: empty components and words with a * in them would
 * never match anything. */
static const char *find_bad_component(const char *at, const char *end)
{
	for (;;) {
		const char *start = at;

		while (at < end && *at != '.')
			at++;
		if (at == start)
			return at;
		if (at - start > 1 && memchr(start, '*', (size_t)(at - start)) != NULL)
			return start;
		if (at == end)
			return NULL;
		at++;
	}
}

static int parse_level(const char **at)
{
	int level = 0;

	for (; ascii_is_digit((uint8_t)**at); ++*at)
		if (level <= LOGSPEC_LEVEL_MAX)
			level = 10 * level + (**at - '0');
	return level > LOGSPEC_LEVEL_MAX ? LOGSPEC_LEVEL_MAX : level;
}

int logspec_parse(const char *text, struct logspec_entry *entries, size_t max, const char **bad)
{
	const char *at = text, *end, *wrong;
	size_t n = 0;

	while (*at != '\0') {
		while (*at == ',' || *at == ' ')
			at++;
		for (end = at; is_pattern_octet(*end); end++)
			;
		if (*end != ':') {
			*bad = end;
			return -EINVAL;
		}
		wrong = find_bad_component(at, end);
		if (wrong != NULL) {
			*bad = wrong;
			return -EINVAL;
		}
		if (n == max)
			return -ENOSPC;
		entries[n].pattern = slice_of(at, (size_t)(end - at));
		at = end + 1;
		entries[n++].level = parse_level(&at);
		while (*at != '\0' && *at != ',')
			at++;
	}
	if (at > text && at[-1] == ' ') {
		*bad = at - 1;
		return -EINVAL;
	}
	return (int)n;
}

int logspec_level(const struct logspec_entry *entries, size_t n, struct slice tag, int fallback)
{
	for (size_t i = 0; i < n; i++)
		if (covers(entries[i].pattern, tag))
			return entries[i].level;
	return fallback;
}

size_t logspec_unreachable(const struct logspec_entry *entries, size_t n)
{
	for (size_t later = 1; later < n; later++)
		for (size_t earlier = 0; earlier < later; earlier++)
			if (covers(entries[earlier].pattern, entries[later].pattern))
				return later;
	return n;
}
