/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ClientHello that parses stays inside its octets, has a name that logs and rules can take, and a
 * fingerprint of the right shape; cut anywhere it is none, but where it just has no extensions.
 */
#include "fuzz.h"
#include "tls/hello.h"

static bool is_within(struct slice part, const uint8_t *data, size_t size)
{
	return part.len == 0 || (part.ptr >= data && part.ptr + part.len <= data + size);
}

static void check_ja4(const struct tls_hello *h)
{
	char ja4[TLS_JA4_OCTETS + 1];

	FUZZ_CHECK(tls_hello_ja4(h, ja4) == 0);
	FUZZ_CHECK(strlen(ja4) == TLS_JA4_OCTETS && ja4[0] == 't' && ja4[10] == '_' && ja4[23] == '_');
	for (size_t i = 0; i < TLS_JA4_OCTETS; i++)
		FUZZ_CHECK(ja4[i] == '_' || ascii_is_digit((uint8_t)ja4[i]) || ascii_is_alpha((uint8_t)ja4[i]));
}

static void check_alpn(struct slice list)
{
	struct slice name;
	size_t octets = 0, all = list.len;

	while (tls_alpn_next(&list, &name)) {
		FUZZ_CHECK(name.len > 0);
		octets += 1 + name.len;
	}
	FUZZ_CHECK(octets == all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tls_hello h, cut;

	if (tls_hello_parse(slice_of(data, size), &h) < 0)
		return 0;
	FUZZ_CHECK(is_within(h.server_name, data, size) && is_within(h.alpn, data, size) && is_within(h.ciphers, data, size));
	FUZZ_CHECK(is_within(h.extensions, data, size) && is_within(h.signatures, data, size));
	FUZZ_CHECK(h.has_server_name == (h.server_name.len > 0) && h.server_name.len <= 255);
	for (size_t i = 0; i < h.server_name.len; i++)
		FUZZ_CHECK(h.server_name.ptr[i] > ' ' && h.server_name.ptr[i] <= '~');
	check_alpn(h.alpn);
	check_ja4(&h);
	for (size_t n = size < 2000 ? 0 : size - 2000; n < size; n++)
		FUZZ_CHECK(tls_hello_parse(slice_of(data, n), &cut) < 0 || cut.extensions.len == 0);
	return 0;
}
