/* SPDX-License-Identifier: Apache-2.0 */
/* The ClientHello as octets. */
#include "hello_text.h"
#include "tls_test.h"

#include "tls/hello.h"

#include <errno.h>
#include <stdlib.h>

static const uint16_t one_cipher[] = { 0x1301 };
static struct text t;

/* The example of the fingerprint's description: a browser. */
static void browser(struct text *to)
{
	static const uint16_t ciphers[] = { 0x9a9a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8,
					    0xc013, 0xc014, 0x009c, 0x009d, 0x002f, 0x0035 };
	static const uint16_t empty[] = { 0x001b, 0x0033, 0x4469, 0x0017, 0x000a, 0x0005, 0xff01, 0x000b, 0x0012, 0x0023, 0x0015,
					  0x002d };
	size_t from;

	begin(to, ciphers, ARRAY_LEN(ciphers));
	from = begin_extensions(to);
	put_extension(to, 0x1a1a, "", 0);
	put_name(to, "mail.example", 12);
	put_extension(to, 13, "\x00\x10\x04\x03\x08\x04\x04\x01\x05\x03\x08\x05\x05\x01\x08\x06\x06\x01", 18);
	put_extension(to, 16, "\x00\x0c\x02h2\x08http/1.1", 14);
	put_extension(to, 43, "\x06\xca\xca\x03\x04\x03\x03", 7);
	for (size_t i = 0; i < ARRAY_LEN(empty); i++)
		put_extension(to, empty[i], "", 0);
	put_extension(to, 0xaaaa, "\0", 1);
	end_extensions(to, from);
}

static void ja4_of_browser(void **state)
{
	struct tls_hello h;
	char ja4[TLS_JA4_OCTETS + 1];

	browser(&t);
	assert_int_equal(tls_hello_parse(whole(&t), &h), 0);
	assert_slice(h.server_name, "mail.example");
	assert_int_equal(h.version, 0x0304);
	assert_int_equal(tls_hello_ja4(&h, ja4), 0);
	assert_string_equal(ja4, "t13d1516h2_8daaf6152771_e5627efa2ab1");
}

static void ja4_of_little(void **state)
{
	struct tls_hello h;
	char ja4[TLS_JA4_OCTETS + 1];
	size_t from;

	/* No extensions at all. */
	begin(&t, one_cipher, 0);
	assert_int_equal(tls_hello_parse(whole(&t), &h), 0);
	assert_int_equal(tls_hello_ja4(&h, ja4), 0);
	assert_string_equal(ja4, "t12i000000_000000000000_000000000000");
	/* A name of ALPN that begins with no letter; no signature algorithms. */
	begin(&t, one_cipher, 1);
	from = begin_extensions(&t);
	put_extension(&t, 16, "\x00\x03\x02\xab\xcd", 5);
	end_extensions(&t, from);
	assert_int_equal(tls_hello_parse(whole(&t), &h), 0);
	assert_int_equal(tls_hello_ja4(&h, ja4), 0);
	assert_memory_equal(ja4, "t12i0101ad_", 11);
}

static void cut_everywhere(void **state)
{
	struct tls_hello h;

	browser(&t);
	/* Without extensions it is whole already. */
	for (size_t n = 0; n < t.n; n++) {
		uint8_t *exact = malloc(n + 1);
		int err;

		memcpy(exact, t.octets, n);
		err = tls_hello_parse(slice_of(exact, n), &h);
		assert_int_equal(err, n == 2 + 32 + 1 + 2 + 32 + 2 ? 0 : -EBADMSG);
		free(exact);
	}
	t.n++;
	assert_int_equal(tls_hello_parse(whole(&t), &h), -EBADMSG);
}

static void names(void **state)
{
	static const struct {
		const char *name;
		size_t n;
		int err;
	} rows[] = {
		{ "a", 1, 0 }, { "Mail.Example.", 13, 0 }, { "", 0, -EBADMSG }, { "a b", 3, -EBADMSG }, { "a\0b", 3, -EBADMSG },
		{ "a\nb", 3, -EBADMSG }, { "b\xc3\xbc" "cher", 7, -EBADMSG }, { "a\x7f", 2, -EBADMSG },
	};
	struct tls_hello h;
	char longest[257];

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t from;

		begin(&t, one_cipher, 1);
		from = begin_extensions(&t);
		put_name(&t, rows[i].name, rows[i].n);
		end_extensions(&t, from);
		assert_int_equal(tls_hello_parse(whole(&t), &h), rows[i].err);
	}
	memset(longest, 'a', sizeof(longest));
	for (size_t n = 255; n <= 256; n++) {
		size_t from;

		begin(&t, one_cipher, 1);
		from = begin_extensions(&t);
		put_name(&t, longest, n);
		end_extensions(&t, from);
		assert_int_equal(tls_hello_parse(whole(&t), &h), n == 255 ? 0 : -EBADMSG);
	}
}

static void malformed(void **state)
{
	static const struct {
		size_t type;
		const char *octets;
		size_t n;
	} rows[] = {
		{ 0, "", 0 }, { 0, "\x00\x00", 2 }, { 0, "\x00\x04\x01\x00\x01g", 6 }, { 0, "\x00\x05\x00\x00\x01gx", 7 },
		{ 0, "\x00\x08\x00\x00\x01g\x00\x00\x01h", 10 }, { 13, "\x00\x03\x04\x01\x01", 5 }, { 13, "\x00\x04\x04\x01", 4 },
		{ 16, "\x00\x00", 2 }, { 16, "\x00\x01\x00", 3 }, { 16, "\x00\x02\x02h", 4 }, { 43, "\x03\x03\x04\x03", 4 },
		{ 43, "\x04\x03\x04", 3 },
	};
	struct tls_hello h;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t from;

		begin(&t, one_cipher, 1);
		from = begin_extensions(&t);
		put_extension(&t, rows[i].type, rows[i].octets, rows[i].n);
		end_extensions(&t, from);
		assert_int_equal(tls_hello_parse(whole(&t), &h), -EBADMSG);
	}
}

static void twice(void **state)
{
	struct tls_hello h;
	size_t from;

	begin(&t, one_cipher, 1);
	from = begin_extensions(&t);
	put_name(&t, "a.example", 9);
	put_name(&t, "b.example", 9);
	end_extensions(&t, from);
	assert_int_equal(tls_hello_parse(whole(&t), &h), -EBADMSG);
}

static void thousands(void **state)
{
	struct tls_hello h;
	char ja4[TLS_JA4_OCTETS + 1];
	size_t from;

	begin(&t, one_cipher, 1);
	from = begin_extensions(&t);
	for (unsigned i = 0; i < 16000; i++)
		put_extension(&t, 0x2000 + i, "", 0);
	end_extensions(&t, from);
	assert_int_equal(tls_hello_parse(whole(&t), &h), 0);
	assert_int_equal(tls_hello_ja4(&h, ja4), 0);
	assert_memory_equal(ja4, "t12i019900_", 11);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ja4_of_browser),
		cmocka_unit_test(ja4_of_little),
		cmocka_unit_test(cut_everywhere),
		cmocka_unit_test(names),
		cmocka_unit_test(malformed),
		cmocka_unit_test(twice),
		cmocka_unit_test(thousands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
