/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/smtp/body.h"

const char *const smtp_body_reasons[SMTP_BODY_COUNT] = {
	[SMTP_BODY_MORE] = "body-cut",
	[SMTP_BODY_END] = "body-end",
	[SMTP_BODY_BARE_CR] = "body-bare-cr",
	[SMTP_BODY_BARE_LF] = "body-bare-lf",
	[SMTP_BODY_NUL] = "body-nul",
	[SMTP_BODY_AMBIGUOUS_END] = "body-ambiguous-end",
	[SMTP_BODY_LINE_TOO_LONG] = "body-line-too-long",
};

/* Octets before the first NUL; what follows it is never looked at. */
static size_t before_nul(struct slice s)
{
	return slice_index(s, '\0');
}

/*
 * The loop goes from line end to line end with memchr: the octets between are never touched one
 * by one. Each LF must follow a CR, each CR must precede an LF.
 */
static enum smtp_body scan_lines(struct smtp_body_scan *scan, struct slice octets, size_t *forward)
{
	size_t n = before_nul(octets);
	const uint8_t *start = octets.ptr, *p = start, *end;
	bool nul = n < octets.len;

	*forward = 0;
	if (n == 0)
		return nul ? SMTP_BODY_NUL : SMTP_BODY_MORE;
	end = start + n;
	while (p < end) {
		const uint8_t *cr, *lf;
		size_t left = (size_t)(end - p);

		/* Lines that start with a dot: only ".", and what may still become it, are special. */
		if (!scan->in_line && *p == '.') {
			if (left >= 3 && p[1] == '\r' && p[2] == '\n') {
				*forward = (size_t)(p - start) + 3;
				return SMTP_BODY_END;
			}
			if (!nul && (left == 1 || (left == 2 && p[1] == '\r')))
				return SMTP_BODY_MORE;
			scan->stuffed++;
		}
		lf = memchr(p, '\n', left);
		cr = memchr(p, '\r', lf != NULL ? (size_t)(lf - p) : left);
		if (cr == NULL) {
			scan->in_line = true;
			*forward = (size_t)((lf != NULL ? lf : end) - start);
			if (lf != NULL)
				return SMTP_BODY_BARE_LF;
			break;
		}
		if (cr > p)
			scan->in_line = true;
		*forward = (size_t)(cr - start);
		if (cr + 1 == end && !nul)
			return SMTP_BODY_MORE;
		if (lf != cr + 1)
			return SMTP_BODY_BARE_CR;
		p = lf + 1;
		*forward = (size_t)(p - start);
		scan->in_line = false;
	}
	return nul ? SMTP_BODY_NUL : SMTP_BODY_MORE;
}

enum smtp_body smtp_body_scan(struct smtp_body_scan *scan, struct slice octets, size_t *forward)
{
	size_t skipped = smtp_body_skip(scan, octets);
	enum smtp_body result = scan_lines(scan, slice_skip(octets, skipped), forward);

	*forward += skipped;
	return result;
}

/* One whole line without its end. MORE: an ordinary line, appended. */
static enum smtp_body normalize_line(struct smtp_body_scan *scan, struct slice line, bool lf_only, struct buffer *out)
{
	if (line.len == 1 && line.ptr[0] == '.') {
		if (lf_only != scan->lf_client || scan->last_line_lf != scan->lf_client)
			return SMTP_BODY_AMBIGUOUS_END;
		buffer_append(out, SLICE(".\r\n"));
		return SMTP_BODY_END;
	}
	/* A stuffed dot stays, so the line still starts with two; ".x" means "x" and says so. */
	if (line.len > 1 && line.ptr[0] == '.' && line.ptr[1] != '.')
		line = slice_skip(line, 1);
	scan->stuffed += line.len > 0 && line.ptr[0] == '.';
	buffer_append(out, line);
	buffer_append(out, SLICE("\r\n"));
	scan->last_line_lf = lf_only;
	return SMTP_BODY_MORE;
}

enum smtp_body smtp_body_normalize(struct smtp_body_scan *scan, struct slice octets, size_t *used, struct buffer *out)
{
	*used = 0;
	for (;;) {
		struct slice rest = slice_take(slice_skip(octets, *used), SMTP_BODY_LINE_MAX);
		size_t lf = slice_index(rest, '\n');
		struct slice line = slice_take(rest, lf);
		bool lf_only = true;
		size_t cr;
		enum smtp_body result;

		if (lf == rest.len) {
			/* Judge what will not change any more: all but a CR at the end. */
			struct slice sure = rest;

			if (sure.len > 0 && sure.ptr[sure.len - 1] == '\r')
				sure.len--;
			cr = slice_index(sure, '\r');
			if (before_nul(sure) < cr)
				return SMTP_BODY_NUL;
			if (cr < sure.len)
				return SMTP_BODY_BARE_CR;
			return rest.len == SMTP_BODY_LINE_MAX ? SMTP_BODY_LINE_TOO_LONG : SMTP_BODY_MORE;
		}
		if (line.len > 0 && line.ptr[line.len - 1] == '\r') {
			line.len--;
			lf_only = false;
		}
		cr = slice_index(line, '\r');
		if (before_nul(line) < cr)
			return SMTP_BODY_NUL;
		if (cr < line.len)
			return SMTP_BODY_BARE_CR;
		*used += lf + 1;
		result = normalize_line(scan, line, lf_only, out);
		if (result != SMTP_BODY_MORE)
			return result;
	}
}

enum smtp_body smtp_body_scan_chunk(bool *after_cr, struct slice octets)
{
	size_t n = before_nul(octets);
	const uint8_t *p = octets.ptr, *end;
	bool nul = n < octets.len;

	if (octets.len == 0)
		return SMTP_BODY_MORE;
	end = p + n;
	if (*after_cr) {
		if (*p != '\n')
			return SMTP_BODY_BARE_CR;
		p++;
	}
	*after_cr = false;
	while (p < end) {
		const uint8_t *lf = memchr(p, '\n', (size_t)(end - p));
		const uint8_t *cr = memchr(p, '\r', (size_t)((lf != NULL ? lf : end) - p));

		if (cr == NULL) {
			if (lf != NULL)
				return SMTP_BODY_BARE_LF;
			break;
		}
		if (cr + 1 == end && !nul) {
			*after_cr = true;
			break;
		}
		if (lf != cr + 1)
			return SMTP_BODY_BARE_CR;
		p = lf + 1;
	}
	return nul ? SMTP_BODY_NUL : SMTP_BODY_MORE;
}
