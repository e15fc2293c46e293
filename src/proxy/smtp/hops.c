/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/smtp/hops.h"

static const char field_name[] = "RECEIVED";

#define NAME_LEN (sizeof(field_name) - 1)

static enum smtp_hops_place behind_name_octet(struct smtp_hops *h, uint8_t c)
{
	if (ascii_upper(c) != (uint8_t)field_name[h->matched])
		return SMTP_HOPS_REST;
	return ++h->matched == NAME_LEN ? SMTP_HOPS_COLON : SMTP_HOPS_NAME;
}

static enum smtp_hops_place behind_first(struct smtp_hops *h, uint8_t c)
{
	if (c == '.' && h->stuffed && !h->behind_dot) {
		h->behind_dot = true;
		return SMTP_HOPS_LINE;
	}
	h->behind_dot = false;
	h->matched = 0;
	return c == '\r' ? SMTP_HOPS_EMPTY : behind_name_octet(h, c);
}

/* Blanks before the colon: obs-optional of RFC 5322, 4.5.8. */
static enum smtp_hops_place behind_name(struct smtp_hops *h, uint8_t c)
{
	if (c == ' ' || c == '\t')
		return SMTP_HOPS_COLON;
	h->count += c == ':';
	return SMTP_HOPS_REST;
}

/* An octet of a line, but for its LF, of which not all is known to say nothing. */
static enum smtp_hops_place behind(struct smtp_hops *h, uint8_t c)
{
	switch (h->place) {
	case SMTP_HOPS_LINE:
		return behind_first(h, c);
	case SMTP_HOPS_NAME:
		return behind_name_octet(h, c);
	case SMTP_HOPS_COLON:
		return behind_name(h, c);
	default:
		/* A CR without LF, which only a BINARYMIME message may have. */
		return SMTP_HOPS_REST;
	}
}

/* The first octet of the next line whose start could say something, or n. Most lines say all with
 * their first octet: that they are neither the field, nor empty, nor stuffed. */
static size_t skip_lines(const uint8_t *p, size_t n)
{
	const uint8_t *at = p, *end = p + n;

	while ((at = memchr(at, '\n', (size_t)(end - at))) != NULL && ++at < end)
		if (*at == '\r' || *at == '\n' || *at == '.' || ascii_upper(*at) == (uint8_t)field_name[0])
			break;
	return at == NULL ? n : (size_t)(at - p);
}

void smtp_hops_scan(struct smtp_hops *h, struct slice octets)
{
	size_t at = 0;

	while (at < octets.len && h->place != SMTP_HOPS_BODY) {
		uint8_t c;

		if (h->place == SMTP_HOPS_REST) {
			at += skip_lines(octets.ptr + at, octets.len - at);
			if (at == octets.len && octets.ptr[at - 1] != '\n')
				return;
			h->place = SMTP_HOPS_LINE;
			continue;
		}
		c = octets.ptr[at++];
		if (c != '\n')
			h->place = behind(h, c);
		else if (h->place == SMTP_HOPS_EMPTY || h->place == SMTP_HOPS_LINE)
			h->place = SMTP_HOPS_BODY;
		else
			h->place = SMTP_HOPS_LINE;
	}
}
