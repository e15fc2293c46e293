/* SPDX-License-Identifier: Apache-2.0 */
/* Each message is scanned at once, in two pieces at every place, and octet by octet. */
#include "proxy/smtp/hops.h"

#include "base/attributes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

struct hops_case {
	struct slice in;
	unsigned count;
	bool ended;			/* the header section */
	unsigned chunked;		/* where no dot is the transfer's: the count, if it is another */
};

static const struct hops_case cases[] = {
	{ SLICE_INIT(""), 0, false, 0 },
	{ SLICE_INIT("\r\n"), 0, true, 0 },
	{ SLICE_INIT("Received: a\r\n\r\n"), 1, true, 1 },
	{ SLICE_INIT("Received: a\r\nSubject: b\r\nReceived: c\r\n\r\n"), 2, true, 2 },
	{ SLICE_INIT("RECEIVED:a\r\nreceived:b\r\nrEcEiVeD:\r\n"), 3, false, 3 },
	/* Blanks before the colon, as it was once allowed. */
	{ SLICE_INIT("Received \t: a\r\n"), 1, false, 1 },
	{ SLICE_INIT("Received a: b\r\n"), 0, false, 0 },
	{ SLICE_INIT("Received\r\n: a\r\n"), 0, false, 0 },
	/* A fold goes on with the field before. */
	{ SLICE_INIT("Received: a\r\n Received: b\r\n\tReceived: c\r\n \r\nReceived: d\r\n"), 2, false, 2 },
	/* Other names. */
	{ SLICE_INIT("X-Received: a\r\nReceived-SPF: b\r\nReceive: c\r\nReceivedd: d\r\nReReceived: e\r\n"), 0, false, 0 },
	{ SLICE_INIT("Subject: Received: a\r\n"), 0, false, 0 },
	{ SLICE_INIT("Received\0: a\r\n"), 0, false, 0 },
	/* The body is none of the header's business. */
	{ SLICE_INIT("A: b\r\n\r\nReceived: a\r\n\r\nReceived: b\r\n"), 0, true, 0 },
	{ SLICE_INIT("\r\nReceived: a\r\n"), 0, true, 0 },
	/* It may never end, and what is no field does not end it. */
	{ SLICE_INIT("Received: a\r\nno field\r\nReceived: b\r\nRec"), 2, false, 2 },
	{ SLICE_INIT("Received: a"), 1, false, 1 },
	{ SLICE_INIT("Received:"), 1, false, 1 },
	{ SLICE_INIT("Received"), 0, false, 0 },
	/* Dots of the transfer. */
	{ SLICE_INIT(".Received: a\r\n..Received: b\r\n"), 1, false, 0 },
	{ SLICE_INIT("Received: a\r\n.\r\n"), 1, true, 1 },
	/* Bare CR and LF, which only BINARYMIME has. */
	{ SLICE_INIT("\rReceived: a\r\n\r\r\n\rx\r\nReceived: b\r\n"), 1, false, 1 },
	{ SLICE_INIT("Received: a\nReceived: b\n\nReceived: c\n"), 2, true, 2 },
	{ SLICE_INIT("a\rReceived: a\r\n"), 0, false, 0 },
};

static void feed(struct smtp_hops *hops, struct slice octets)
{
	uint8_t *exact = malloc(octets.len + 1);

	if (octets.len > 0)
		memcpy(exact, octets.ptr, octets.len);
	smtp_hops_scan(hops, slice_of(exact, octets.len));
	free(exact);
}

static void check(const struct hops_case *c, struct smtp_hops hops, size_t cut, size_t step)
{
	feed(&hops, slice_take(c->in, cut));
	for (size_t at = cut; at < c->in.len; at += step)
		feed(&hops, slice_take(slice_skip(c->in, at), step));
	if (hops.count != (hops.stuffed ? c->count : c->chunked))
		fail_msg("case %td, cut at %zu, step %zu, stuffed %d: %u", c - cases, cut, step, hops.stuffed, hops.count);
	/* A lone dot is the end of a transfer, and a line like others elsewhere. */
	if (hops.stuffed)
		assert_int_equal(hops.place == SMTP_HOPS_BODY, c->ended);
}

static void test_count(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		for (int stuffed = 0; stuffed < 2; stuffed++)
			for (size_t cut = 0; cut <= cases[i].in.len; cut++) {
				check(&cases[i], (struct smtp_hops){ .stuffed = stuffed != 0 }, cut, 1000);
				check(&cases[i], (struct smtp_hops){ .stuffed = stuffed != 0 }, cut, 1);
			}
}

/* Longer than any buffer: nothing is kept of it. */
static void test_long_line(void **state)
{
	struct smtp_hops hops = { .stuffed = true };
	uint8_t block[1024];

	memset(block, 'x', sizeof(block));
	smtp_hops_scan(&hops, SLICE("Received: "));
	for (int i = 0; i < 1000; i++)
		smtp_hops_scan(&hops, slice_of(block, sizeof(block)));
	smtp_hops_scan(&hops, SLICE("\r\nReceived: a\r\n\r\n"));
	assert_int_equal(hops.count, 2);
	assert_int_equal(hops.place, SMTP_HOPS_BODY);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_count), cmocka_unit_test(test_long_line) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
