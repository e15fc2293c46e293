/* SPDX-License-Identifier: Apache-2.0 */
#include "base/addr.h"
#include "base/attributes.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_ip_parse(void **state)
{
	static const struct {
		const char *text, *back;	/* back NULL: refused */
	} cases[] = {
		{ "1.2.3.4", "1.2.3.4" },
		{ "0.0.0.0", "0.0.0.0" },
		{ "255.255.255.255", "255.255.255.255" },
		{ "::", "::" },
		{ "::1", "::1" },
		{ "FE80::A", "fe80::a" },
		{ "2001:db8:0:0:0:0:0:1", "2001:db8::1" },
		{ "::ffff:1.2.3.4", "::ffff:1.2.3.4" },
		{ "1111:2222:3333:4444:5555:6666:7777:8888", "1111:2222:3333:4444:5555:6666:7777:8888" },
		{ "", NULL },
		{ "1.2.3", NULL },
		{ "1.2.3.256", NULL },
		{ "1.2.3.4.5", NULL },
		{ "01.2.3.4", NULL },		/* octal to some, decimal to others */
		{ "0x1.2.3.4", NULL },
		{ "16909060", NULL },
		{ " 1.2.3.4", NULL },
		{ "1.2.3.4 ", NULL },
		{ "1.2.3.4/32", NULL },
		{ "[::1]", NULL },
		{ "fe80::1%eth0", NULL },
		{ "::1::", NULL },
		{ "12345::", NULL },
		{ "1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct ip_addr ip = { .family = 77 };
		char text[IP_TEXT_MAX];

		if (cases[i].back == NULL) {
			assert_int_equal(ip_parse(slice_cstr(cases[i].text), &ip), -EINVAL);
			assert_int_equal(ip.family, 77);
		} else {
			assert_int_equal(ip_parse(slice_cstr(cases[i].text), &ip), 0);
			assert_string_equal(ip_text(&ip, text), cases[i].back);
		}
	}
	struct ip_addr ip;

	assert_int_equal(ip_parse(slice_of("1.2.3.4\0x", 9), &ip), -EINVAL);
}

static void test_prefixes(void **state)
{
	static const struct {
		const char *prefix, *ip;
		bool in;
	} cases[] = {
		{ "172.16.10.0/23", "172.16.10.0", true },
		{ "172.16.10.0/23", "172.16.11.255", true },
		{ "172.16.10.0/23", "172.16.12.0", false },
		{ "172.16.10.0/23", "172.16.9.255", false },
		{ "172.16.11.77/23", "172.16.10.1", true },	/* host bits masked */
		{ "0.0.0.0/0", "1.2.3.4", true },
		{ "0.0.0.0/0", "::1", false },
		{ "::/0", "1.2.3.4", false },
		{ "::/0", "ffff::", true },
		{ "1.2.3.4", "1.2.3.4", true },
		{ "1.2.3.4/32", "1.2.3.5", false },
		{ "128.0.0.0/1", "255.0.0.1", true },
		{ "128.0.0.0/1", "127.0.0.1", false },
		{ "2001:db8::/33", "2001:db8:7fff::1", true },
		{ "2001:db8::/33", "2001:db8:8000::1", false },
		{ "2001:db8::1", "2001:db8::1", true },
		{ "2001:db8::1/127", "2001:db8::", true },
		{ "2001:db8::1/128", "2001:db8::", false },
	};
	static const char *const refused[] = { "1.2.3.4/33", "::/129", "1.2.3.4/", "/8", "1.2.3.4/-1", "1.2.3.4/8/8",
					       "1.2.3.4/255.255.255.0", "1.2.3/8", "" };
	struct ip_prefix p = { .bits = 99 };

	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		assert_int_equal(prefix_parse(slice_cstr(refused[i]), &p), -EINVAL);
	assert_int_equal(p.bits, 99);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct ip_addr ip;

		assert_int_equal(prefix_parse(slice_cstr(cases[i].prefix), &p), 0);
		assert_int_equal(ip_parse(slice_cstr(cases[i].ip), &ip), 0);
		assert_int_equal(ip_in_prefix(&ip, &p), cases[i].in);
	}
	assert_false(ip_in_prefix(&(struct ip_addr){ 0 }, &(struct ip_prefix){ 0 }));
}

static void test_endpoints(void **state)
{
	static const struct {
		const char *text, *back, *logged;	/* back NULL: refused */
	} cases[] = {
		{ "1.2.3.4:25", "1.2.3.4:25", "AF_INET(1.2.3.4:25)" },
		{ "1.2.3.4", "1.2.3.4:0", "AF_INET(1.2.3.4:0)" },
		{ "1.2.3.4:65535", "1.2.3.4:65535", "AF_INET(1.2.3.4:65535)" },
		{ "[::1]:25", "[::1]:25", "AF_INET6(::1:25)" },
		{ "[::1]", "[::1]:0", "AF_INET6(::1:0)" },
		{ "::1", "[::1]:0", "AF_INET6(::1:0)" },
		{ "1::", "[1::]:0", "AF_INET6(1:::0)" },
		{ "[1111:2222:3333:4444:5555:6666:7777:8888]:65535", "[1111:2222:3333:4444:5555:6666:7777:8888]:65535",
		  "AF_INET6(1111:2222:3333:4444:5555:6666:7777:8888:65535)" },
		{ "", NULL, NULL },
		{ ":25", NULL, NULL },
		{ "1.2.3.4:", NULL, NULL },
		{ "1.2.3.4:65536", NULL, NULL },
		{ "1.2.3.4:+25", NULL, NULL },
		{ "1.2.3.4:25:25", NULL, NULL },
		{ "[1.2.3.4]:25", NULL, NULL },
		{ "[::1", NULL, NULL },
		{ "[::1]25", NULL, NULL },
		{ "[]:25", NULL, NULL },
		{ "[", NULL, NULL },
		{ "localhost:25", NULL, NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct endpoint e = { .port = 7 };
		char text[ENDPOINT_TEXT_MAX];

		if (cases[i].back == NULL) {
			assert_int_equal(endpoint_parse(slice_cstr(cases[i].text), &e), -EINVAL);
			assert_int_equal(e.port, 7);
			continue;
		}
		assert_int_equal(endpoint_parse(slice_cstr(cases[i].text), &e), 0);
		assert_string_equal(endpoint_text(&e, text), cases[i].back);
		assert_string_equal(endpoint_log_text(&e, text), cases[i].logged);
	}
	char text[ENDPOINT_TEXT_MAX];

	assert_string_equal(endpoint_log_text(&(struct endpoint){ 0 }, text), "None");
}

static void test_sockaddr(void **state)
{
	static const char *const texts[] = { "1.2.3.4:25", "[2001:db8::1]:65535" };
	struct sockaddr_storage sa;
	struct endpoint e, back, mapped;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		assert_int_equal(endpoint_parse(slice_cstr(texts[i]), &e), 0);
		assert_true(endpoint_to_sockaddr(&e, &sa) > 0);
		assert_int_equal(endpoint_from_sockaddr(&sa, &back), 0);
		assert_true(endpoint_equal(&e, &back));
	}
	assert_int_equal(endpoint_parse(SLICE("[::ffff:1.2.3.4]:25"), &mapped), 0);
	endpoint_to_sockaddr(&mapped, &sa);
	assert_int_equal(endpoint_from_sockaddr(&sa, &back), 0);
	assert_int_equal(endpoint_parse(SLICE("1.2.3.4:25"), &e), 0);
	assert_true(endpoint_equal(&e, &back));		/* unmapped */
	assert_false(endpoint_equal(&e, &mapped));

	assert_int_equal(endpoint_to_sockaddr(&(struct endpoint){ 0 }, &sa), 0);
	sa.ss_family = AF_UNIX;
	assert_int_equal(endpoint_from_sockaddr(&sa, &back), -EAFNOSUPPORT);
	assert_true(endpoint_equal(&e, &back));		/* left alone */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ip_parse),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_endpoints),
		cmocka_unit_test(test_sockaddr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
