/* SPDX-License-Identifier: Apache-2.0 */
/* However few octets of a reply come at once, its end and its meaning are the same. */
#include "fuzz.h"
#include "proxy/smtp/line.h"
#include "proxy/smtp/reply.h"

static void check_lines(const struct smtp_reply *reply, const struct smtp_reply_limits *limits)
{
	struct slice text;
	unsigned n = 0;
	size_t pos = 0;
	bool last = false;

	while (smtp_reply_next_line(reply, limits, &pos, &text, &last)) {
		FUZZ_CHECK(smtp_is_line_safe(text) && !smtp_has_control(text));
		FUZZ_CHECK(text.len + 4 <= limits->line_max || text.len == 0);
		n++;
		FUZZ_CHECK(last == (n == reply->n_lines));
	}
	FUZZ_CHECK(n == reply->n_lines && n >= 1 && n <= SMTP_REPLY_LINES_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_reply_limits limits = { 60, 200, false, true };
	struct smtp_reply_parser whole = { 0 }, drops = { 0 };
	struct smtp_reply a = { 0 }, b = { 0 };
	enum smtp_reply_result result, in_drops = SMTP_REPLY_MORE;
	struct slice octets;
	size_t step;

	if (size < 2)
		return 0;
	limits.cut_long_lines = (data[0] & 1) != 0;
	limits.require_crlf = (data[0] & 2) == 0;
	step = 1 + (data[1] & 7);
	octets = slice_of(data + 2, size - 2);
	result = smtp_reply_parse(&whole, octets, &limits, &a);
	for (size_t n = 0; n < octets.len + step && in_drops == SMTP_REPLY_MORE; n += step)
		in_drops = smtp_reply_parse(&drops, slice_take(octets, n), &limits, &b);
	FUZZ_CHECK(result == in_drops);
	if (result != SMTP_REPLY_OK)
		return 0;
	FUZZ_CHECK(slice_equal(a.raw, b.raw) && a.code == b.code && a.n_lines == b.n_lines && slice_equal(a.text, b.text));
	FUZZ_CHECK(a.canonical == b.canonical && a.code >= 200 && a.code < 600 && a.raw.len <= octets.len);
	check_lines(&a, &limits);
	return 0;
}
