/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Log specifications: "pattern:level,pattern:level". A pattern is made of components (letters
 * and digits, or a lone * for any one component) joined by dots, and matches tags that begin
 * with it, component by component. The first entry that matches decides. Commas and spaces
 * before an entry are skipped; a level that is missing reads as 0; text between a level and the
 * next comma is ignored. Anything else is refused, as is a trailing comma or space.
 *
 * (What the policy language's users know, with one difference: an entry without a colon, which
 * they would lose silently, is refused.)
 */
#ifndef SALLYPORT_BASE_LOGSPEC_H
#define SALLYPORT_BASE_LOGSPEC_H

#include "base/attributes.h"
#include "base/slice.h"

#define LOGSPEC_LEVEL_MAX 10

struct logspec_entry {
	struct slice pattern;	/* in the text that was parsed */
	int level;		/* 0..LOGSPEC_LEVEL_MAX; higher ones are cut to that */
};

/*
 * Parse text into at most max entries. Returns their number; -EINVAL, and *bad is the octet
 * that is wrong (the terminating NUL, when something is missing at the end); -ENOSPC.
 */
int logspec_parse(const char *text, struct logspec_entry *entries, size_t max, const char **bad) MUST_CHECK;

/* The level of the first entry that matches, else fallback. */
int logspec_level(const struct logspec_entry *entries, size_t n, struct slice tag, int fallback);

/* The first entry that an earlier one shadows wholly; n when there is none. */
size_t logspec_unreachable(const struct logspec_entry *entries, size_t n);

#endif
