/* SPDX-License-Identifier: Apache-2.0 */
/* What parses as an address prints as text that parses to the same address. */
#include "base/addr.h"
#include "fuzz.h"

#include <sys/socket.h>

static void check_endpoint(struct slice input)
{
	struct sockaddr_storage sa;
	struct endpoint e, again;
	char text[ENDPOINT_TEXT_MAX];

	if (endpoint_parse(input, &e) < 0)
		return;
	FUZZ_CHECK(endpoint_parse(slice_cstr(endpoint_text(&e, text)), &again) == 0);
	FUZZ_CHECK(endpoint_equal(&e, &again));
	FUZZ_CHECK(endpoint_to_sockaddr(&e, &sa) > 0);
	FUZZ_CHECK(endpoint_from_sockaddr(&sa, &again) == 0);
	FUZZ_CHECK(again.port == e.port);
	FUZZ_CHECK(strlen(endpoint_log_text(&e, text)) > 0);
}

static void check_prefix(struct slice input)
{
	struct ip_prefix prefix, again;
	char ip[IP_TEXT_MAX], text[IP_TEXT_MAX + 4];

	if (prefix_parse(input, &prefix) < 0)
		return;
	FUZZ_CHECK(prefix.bits <= ip_bits(&prefix.ip));
	FUZZ_CHECK(ip_in_prefix(&prefix.ip, &prefix));
	snprintf(text, sizeof(text), "%s/%u", ip_text(&prefix.ip, ip), prefix.bits);
	FUZZ_CHECK(prefix_parse(slice_cstr(text), &again) == 0);
	FUZZ_CHECK(ip_equal(&prefix.ip, &again.ip) && prefix.bits == again.bits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_endpoint(slice_of(data, size));
	check_prefix(slice_of(data, size));
	return 0;
}
