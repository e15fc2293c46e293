/* SPDX-License-Identifier: Apache-2.0 */
/* What a client says by XCLIENT is said to the next server in a command that reads back the same. */
#include "fuzz.h"
#include "proxy/smtp/address.h"
#include "proxy/smtp/line.h"
#include "proxy/smtp/xclient.h"
#include "session/proxy_header.h"

#define OFFER (SMTP_XCLIENT_NAME | SMTP_XCLIENT_ADDR | SMTP_XCLIENT_PORT | SMTP_XCLIENT_DESTADDR | SMTP_XCLIENT_DESTPORT)

static void check_written(const struct smtp_xclient *x)
{
	char line[SMTP_XCLIENT_LINE_MAX], room[SMTP_XCLIENT_VALUE_MAX];
	size_t n = smtp_xclient_write(OFFER, x, line);
	struct smtp_xclient again;
	const char *why;

	FUZZ_CHECK(n <= sizeof(line) && smtp_is_line_safe(slice_of(line, n)));
	FUZZ_CHECK(smtp_xclient_parse(slice_skip(slice_of(line, n), sizeof("XCLIENT ") - 1), room, &again, &why) == 0);
	FUZZ_CHECK(endpoint_equal(&again.client, &x->client));
	FUZZ_CHECK(endpoint_equal(&again.wanted, &x->wanted));
	/* A name that has no room in quoted form is not known any more. */
	FUZZ_CHECK(again.name.len == 0 || slice_equal(again.name, x->name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char room[SMTP_XCLIENT_VALUE_MAX];
	struct smtp_xclient x = { .protocol = SLICE("ESMTP"), .helo = slice_of(data, size) };
	const char *why = NULL;
	char line[SMTP_XCLIENT_LINE_MAX];
	size_t n;

	/* Whatever the HELO, the line is one line. */
	n = smtp_xclient_write(~0u, &x, line);
	FUZZ_CHECK(n <= sizeof(line) && smtp_is_line_safe(slice_of(line, n)) && !smtp_has_control(slice_of(line, n)));
	(void)smtp_xclient_offered(slice_of(data, size));
	if (smtp_xclient_parse(slice_of(data, size), room, &x, &why) < 0) {
		FUZZ_CHECK(why != NULL);
		return 0;
	}
	FUZZ_CHECK(ip_is_client(&x.client.ip));
	FUZZ_CHECK(x.name.len == 0 || smtp_is_domain(x.name));
	check_written(&x);
	return 0;
}
