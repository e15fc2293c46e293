/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is taken for a PROXY header writes to one that reads back the same; what follows it, and
 * how much of it is there, changes nothing.
 */
#include "fuzz.h"
#include "session/proxy_header.h"

static void check_again(const struct proxy_header *h, unsigned version)
{
	uint8_t buf[PROXY_HEADER_WRITE_MAX];
	size_t n = proxy_header_write(version, &h->src, &h->dst, buf);
	struct proxy_header again;
	const char *why;

	FUZZ_CHECK(n <= sizeof(buf));
	FUZZ_CHECK(proxy_header_parse(slice_of(buf, n), &again, &why) == PROXY_HEADER_OK);
	FUZZ_CHECK(again.octets == n && !again.local);
	FUZZ_CHECK(endpoint_equal(&again.src, &h->src) && endpoint_equal(&again.dst, &h->dst));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum proxy_header_result whole, cut = PROXY_HEADER_MORE;
	struct proxy_header h = { 0 }, part = { 0 };
	const char *why = NULL;
	size_t n;

	whole = proxy_header_parse(slice_of(data, size), &h, &why);
	/* Octet by octet the answer is the same, and once it is there it stays. */
	for (n = 0; n <= size && n <= PROXY_HEADER_V2_MAX && cut == PROXY_HEADER_MORE; n++)
		cut = proxy_header_parse(slice_of(data, n), &part, &why);
	FUZZ_CHECK(cut == whole && (whole != PROXY_HEADER_OK || h.octets == n - 1));
	/* Read as much as is missing, again and again: never more than the header. */
	for (n = 0; whole == PROXY_HEADER_OK && n < h.octets;)
		n += proxy_header_missing(slice_of(data, n));
	FUZZ_CHECK(whole != PROXY_HEADER_OK || n == h.octets);
	if (whole != PROXY_HEADER_OK)
		return 0;
	FUZZ_CHECK(part.octets == h.octets && h.octets <= PROXY_HEADER_V2_MAX);
	FUZZ_CHECK(h.version == 2 || h.octets <= PROXY_HEADER_V1_MAX);
	if (h.local)
		return 0;
	FUZZ_CHECK(ip_is_client(&h.src.ip));
	check_again(&h, 1);
	check_again(&h, 2);
	return 0;
}
