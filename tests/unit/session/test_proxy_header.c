/* SPDX-License-Identifier: Apache-2.0 */
/* PROXY headers: what is written reads back, what is not exactly one is refused. */
#include "session/proxy_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define LONGEST_V6 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
#define OCTETS(lit) { (const uint8_t *)("" lit), sizeof(lit) - 1 }

static struct endpoint at(const char *text)
{
	struct endpoint e;

	assert_int_equal(endpoint_parse(slice_cstr(text), &e), 0);
	return e;
}

struct pair {
	const char *src, *dst;
	struct slice v1;
	size_t v2_octets;
};

static const struct pair pairs[] = {
	{ "172.16.40.7:40000", "172.16.40.1:25", OCTETS("PROXY TCP4 172.16.40.7 172.16.40.1 40000 25\r\n"), 28 },
	{ "255.255.255.255:65535", "255.255.255.255:65535",
	  OCTETS("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"), 28 },
	{ "1.2.3.4:0", "1.2.3.4:0", OCTETS("PROXY TCP4 1.2.3.4 1.2.3.4 0 0\r\n"), 28 },
	{ "[2001:db8::7]:40000", "[::1]:25", OCTETS("PROXY TCP6 2001:db8::7 ::1 40000 25\r\n"), 52 },
	{ "[1111:2222:3333:4444:5555:6666:7777:8888]:65535", "[1111:2222:3333:4444:5555:6666:7777:8888]:65535",
	  OCTETS("PROXY TCP6 1111:2222:3333:4444:5555:6666:7777:8888 1111:2222:3333:4444:5555:6666:7777:8888 65535 65535\r\n"), 52 },
	/* two families: both as IPv6 */
	{ "172.16.40.7:40000", "[2001:db8::1]:25", OCTETS("PROXY TCP6 ::ffff:172.16.40.7 2001:db8::1 40000 25\r\n"), 52 },
	{ "[2001:db8::7]:40000", "172.16.40.1:25", OCTETS("PROXY TCP6 2001:db8::7 ::ffff:172.16.40.1 40000 25\r\n"), 52 },
};

static void written_forms(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		const struct endpoint src = at(pairs[i].src), dst = at(pairs[i].dst);
		uint8_t buf[PROXY_HEADER_WRITE_MAX];
		size_t n = proxy_header_write(1, &src, &dst, buf);

		assert_true(n <= PROXY_HEADER_V1_MAX);
		assert_true(slice_equal(slice_of(buf, n), pairs[i].v1));
		n = proxy_header_write(2, &src, &dst, buf);
		assert_int_equal(n, pairs[i].v2_octets);
		assert_memory_equal(buf, SIGNATURE "\x21", 13);
		assert_int_equal(buf[13], n == 28 ? 0x11 : 0x21);
		assert_int_equal(buf[14] << 8 | buf[15], n - 16);
	}
}

/* A client that exists: every prefix is MORE, and what follows is not touched. */
static void read_back(void **state)
{
	const struct endpoint srcs[] = { at("172.16.40.7:40000"), at("[2001:db8::7]:65535"), at("1.2.3.4:1"), at("[::7]:1") };
	const struct endpoint dsts[] = { at("172.16.40.1:25"), at("[2001:db8::1]:25"), at("[2001:db8::1]:25"), at("1.2.3.4:25") };

	for (unsigned version = 1; version <= 2; version++)
		for (size_t i = 0; i < ARRAY_LEN(srcs); i++) {
			uint8_t buf[PROXY_HEADER_WRITE_MAX + 6];
			size_t n = proxy_header_write(version, &srcs[i], &dsts[i], buf);
			struct proxy_header h;
			const char *why = NULL;

			for (size_t cut = 0; cut < n; cut++)
				assert_int_equal(proxy_header_parse(slice_of(buf, cut), &h, &why), PROXY_HEADER_MORE);
			assert_int_equal(proxy_header_parse(slice_of(buf, n), &h, &why), PROXY_HEADER_OK);
			memcpy(buf + n, "QUIT\r\n", 6);
			assert_int_equal(proxy_header_parse(slice_of(buf, n + 6), &h, &why), PROXY_HEADER_OK);
			assert_int_equal(h.octets, n);
			assert_int_equal(h.version, version);
			assert_false(h.local);
			assert_true(endpoint_equal(&h.src, &srcs[i]));
			assert_true(endpoint_equal(&h.dst, &dsts[i]));
		}
}

/* Who reads as much as is missing reads the whole header, and nothing of what follows. */
static void read_exactly(void **state)
{
	static const struct { struct slice octets; size_t length; } cases[] = {
		{ OCTETS("PROXY TCP6 ::1 ::1 1 1\r\nEHLO x\r\n"), 24 },
		{ OCTETS("PROXY TCP4 172.16.40.7 172.16.40.1 40000 25\r\n\x16\3\1"), 45 },
		{ OCTETS("PROXY TCP4 172.16.40.7 172.16.40.1 4000 25\r\n\r\n\r\n"), 44 },
		{ OCTETS(SIGNATURE "\x21\x11\0\x0c" "\x0a\0\0\1" "\x0a\0\0\2" "\x9c\x40" "\0\x19" "\x16\3\1"), 28 },
		{ OCTETS(SIGNATURE "\x20\0\0\0" "\x16\3\1"), 16 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct proxy_header h;
		const char *why = NULL;
		size_t n = 0;

		while (proxy_header_parse(slice_take(cases[i].octets, n), &h, &why) == PROXY_HEADER_MORE)
			n += proxy_header_missing(slice_take(cases[i].octets, n));
		assert_int_equal(proxy_header_parse(slice_take(cases[i].octets, n), &h, &why), PROXY_HEADER_OK);
		assert_int_equal(n, cases[i].length);
		assert_int_equal(h.octets, n);
	}
}

#define V4 "\x0a\0\0\1" "\x0a\0\0\2" "\x9c\x40" "\0\x19"
#define V6 "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7" "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1" "\x9c\x40" "\0\x19"
#define MAPPED(last) "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\0\0" last
#define TLV "\4\0\3abc"

struct row {
	struct slice octets;
	enum proxy_header_result result;
	const char *why;		/* of BAD */
	const char *src;		/* of OK; NULL: the sender speaks for itself */
};

static const struct row rows[] = {
	/* version 1 */
	{ OCTETS("PROXY TCP4 10.0.0.1 10.0.0.2 40000 25\r\n"), PROXY_HEADER_OK, NULL, "10.0.0.1:40000" },
	{ OCTETS("PROXY TCP6 2001:DB8::7 ::1 1 2\r\n"), PROXY_HEADER_OK, NULL, "[2001:db8::7]:1" },
	{ OCTETS("PROXY TCP6 ::ffff:10.0.0.1 ::ffff:10.0.0.2 1 2\r\n"), PROXY_HEADER_OK, NULL, "10.0.0.1:1" },
	{ OCTETS("PROXY TCP6 ::ffff:10.0.0.1 2001:db8::1 1 2\r\n"), PROXY_HEADER_OK, NULL, "10.0.0.1:1" },
	{ OCTETS("PROXY UNKNOWN\r\n"), PROXY_HEADER_BAD, "no-address", NULL },
	{ OCTETS("PROXY UNKNOWN " LONGEST_V6 " " LONGEST_V6 " 65535 65535\r\n"), PROXY_HEADER_BAD, "no-address", NULL },
	{ OCTETS("PROXY UDP4 10.0.0.1 10.0.0.2 1 2\r\n"), PROXY_HEADER_BAD, "unknown-protocol", NULL },
	{ OCTETS("PROXY tcp4 10.0.0.1 10.0.0.2 1 2\r\n"), PROXY_HEADER_BAD, "unknown-protocol", NULL },
	{ OCTETS("PROXY  TCP4 10.0.0.1 10.0.0.2 1 2\r\n"), PROXY_HEADER_BAD, "unknown-protocol", NULL },
	{ OCTETS("PROXY \r\n"), PROXY_HEADER_BAD, "unknown-protocol", NULL },
	{ OCTETS("PROXY TCP4\r\n"), PROXY_HEADER_BAD, "malformed-address", NULL },
	{ OCTETS("PROXY TCP4 \r\n"), PROXY_HEADER_BAD, "malformed-address", NULL },
	{ OCTETS("PROXY TCP4  10.0.0.1 10.0.0.2 1 2\r\n"), PROXY_HEADER_BAD, "malformed-address", NULL },
	{ OCTETS("PROXY TCP4 10.0.0.1  10.0.0.2 1 2\r\n"), PROXY_HEADER_BAD, "malformed-address", NULL },
	{ OCTETS("PROXY TCP4 010.0.0.1 10.0.0.2 1 2\r\n"), PROXY_HEADER_BAD, "malformed-address", NULL },
	{ OCTETS("PROXY TCP4 10.0.1 10.0.0.2 1 2\r\n"), PROXY_HEADER_BAD, "malformed-address", NULL },
	{ OCTETS("PROXY TCP4 10.0.0.256 10.0.0.2 1 2\r\n"), PROXY_HEADER_BAD, "malformed-address", NULL },
	{ OCTETS("PROXY TCP4 2001:db8::7 ::1 1 2\r\n"), PROXY_HEADER_BAD, "malformed-address", NULL },
	{ OCTETS("PROXY TCP6 10.0.0.1 10.0.0.2 1 2\r\n"), PROXY_HEADER_BAD, "malformed-address", NULL },
	{ OCTETS("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n"), PROXY_HEADER_BAD, "malformed-address", NULL },
	{ OCTETS("PROXY TCP4 10.0.0.1 10.0.0.2\r\n"), PROXY_HEADER_BAD, "malformed-port", NULL },
	{ OCTETS("PROXY TCP4 10.0.0.1 10.0.0.2 1\r\n"), PROXY_HEADER_BAD, "malformed-port", NULL },
	{ OCTETS("PROXY TCP4 10.0.0.1 10.0.0.2 1 \r\n"), PROXY_HEADER_BAD, "malformed-port", NULL },
	{ OCTETS("PROXY TCP4 10.0.0.1 10.0.0.2 1 2 \r\n"), PROXY_HEADER_BAD, "malformed-port", NULL },
	{ OCTETS("PROXY TCP4 10.0.0.1 10.0.0.2 1 2 3\r\n"), PROXY_HEADER_BAD, "malformed-port", NULL },
	{ OCTETS("PROXY TCP4 10.0.0.1 10.0.0.2 01 2\r\n"), PROXY_HEADER_BAD, "malformed-port", NULL },
	{ OCTETS("PROXY TCP4 10.0.0.1 10.0.0.2 65536 2\r\n"), PROXY_HEADER_BAD, "malformed-port", NULL },
	{ OCTETS("PROXY TCP4 10.0.0.1 10.0.0.2 1 -2\r\n"), PROXY_HEADER_BAD, "malformed-port", NULL },
	{ OCTETS("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\n"), PROXY_HEADER_BAD, "control-octet", NULL },
	{ OCTETS("PROXY TCP4 10.0.0.1 10.0.0.2 1 2\rX"), PROXY_HEADER_BAD, "bare-cr", NULL },
	{ OCTETS("PROXY TCP4 10.0.0.1\t10.0.0.2 1 2\r\n"), PROXY_HEADER_BAD, "control-octet", NULL },
	{ OCTETS("PROXY TCP4 10.0.0.1\0 10.0.0.2 1 2\r\n"), PROXY_HEADER_BAD, "control-octet", NULL },
	{ OCTETS("PROXY TCP4 10.0.0.1\x80 10.0.0.2 1 2\r\n"), PROXY_HEADER_BAD, "control-octet", NULL },
	{ OCTETS("PROXY TCP4 0.0.0.0 10.0.0.2 1 2\r\n"), PROXY_HEADER_BAD, "address-of-no-client", NULL },
	{ OCTETS("PROXY TCP4 224.0.0.1 10.0.0.2 1 2\r\n"), PROXY_HEADER_BAD, "address-of-no-client", NULL },
	{ OCTETS("PROXY TCP4 255.255.255.255 10.0.0.2 1 2\r\n"), PROXY_HEADER_BAD, "address-of-no-client", NULL },
	{ OCTETS("PROXY TCP6 :: ::1 1 2\r\n"), PROXY_HEADER_BAD, "address-of-no-client", NULL },
	{ OCTETS("PROXY TCP6 ff02::1 ::1 1 2\r\n"), PROXY_HEADER_BAD, "address-of-no-client", NULL },
	/* nothing of the kind, told at the first octet that shows it */
	{ OCTETS("E"), PROXY_HEADER_BAD, "no-header", NULL },
	{ OCTETS("PROXX"), PROXY_HEADER_BAD, "no-header", NULL },
	{ OCTETS("proxy TCP4 10.0.0.1 10.0.0.2 1 2\r\n"), PROXY_HEADER_BAD, "no-header", NULL },
	{ OCTETS("PROXY\tTCP4"), PROXY_HEADER_BAD, "no-header", NULL },
	{ OCTETS("\r\n\r\n\0\r\nQUIX"), PROXY_HEADER_BAD, "no-header", NULL },
	{ OCTETS("\x16\x03\x01"), PROXY_HEADER_BAD, "no-header", NULL },
	/* version 2 */
	{ OCTETS(SIGNATURE "\x21\x11\0\x0c" V4), PROXY_HEADER_OK, NULL, "10.0.0.1:40000" },
	{ OCTETS(SIGNATURE "\x21\x21\0\x24" V6), PROXY_HEADER_OK, NULL, "[2001:db8::7]:40000" },
	{ OCTETS(SIGNATURE "\x21\x11\0\x12" V4 TLV), PROXY_HEADER_OK, NULL, "10.0.0.1:40000" },
	{ OCTETS(SIGNATURE "\x21\x11\0\x13" V4 TLV), PROXY_HEADER_MORE, NULL, NULL },
	{ OCTETS(SIGNATURE "\x21\x21\0\x24" MAPPED("\1") MAPPED("\2") "\0\1\0\2"), PROXY_HEADER_OK, NULL, "10.0.0.1:1" },
	{ OCTETS(SIGNATURE "\x20\0\0\0"), PROXY_HEADER_OK, NULL, NULL },
	{ OCTETS(SIGNATURE "\x20\x11\0\x0c" V4), PROXY_HEADER_OK, NULL, NULL },
	{ OCTETS(SIGNATURE "\x20\xff\0\3abc"), PROXY_HEADER_OK, NULL, NULL },
	{ OCTETS(SIGNATURE "\x20\0\0\4abc"), PROXY_HEADER_MORE, NULL, NULL },
	{ OCTETS(SIGNATURE "\x11"), PROXY_HEADER_BAD, "unknown-version-or-command", NULL },
	{ OCTETS(SIGNATURE "\x22\x11\0\x0c" V4), PROXY_HEADER_BAD, "unknown-version-or-command", NULL },
	{ OCTETS(SIGNATURE "\x31\x11\0\x0c" V4), PROXY_HEADER_BAD, "unknown-version-or-command", NULL },
	{ OCTETS(SIGNATURE "\x21\x00\0\0"), PROXY_HEADER_BAD, "no-address", NULL },
	{ OCTETS(SIGNATURE "\x21\x12\0\x0c" V4), PROXY_HEADER_BAD, "no-address", NULL },	/* datagrams */
	{ OCTETS(SIGNATURE "\x21\x31"), PROXY_HEADER_BAD, "no-address", NULL },		/* UNIX */
	{ OCTETS(SIGNATURE "\x21\x11\0\0"), PROXY_HEADER_BAD, "header-too-short", NULL },
	{ OCTETS(SIGNATURE "\x21\x11\0\x0b" V4), PROXY_HEADER_BAD, "header-too-short", NULL },
	{ OCTETS(SIGNATURE "\x21\x21\0\x23" V6), PROXY_HEADER_BAD, "header-too-short", NULL },
	{ OCTETS(SIGNATURE "\x21\x11\x0f\xf0"), PROXY_HEADER_MORE, NULL, NULL },		/* exactly the most */
	{ OCTETS(SIGNATURE "\x21\x11\x0f\xf1"), PROXY_HEADER_BAD, "header-too-long", NULL },
	{ OCTETS(SIGNATURE "\x20\x00\xff\xff"), PROXY_HEADER_BAD, "header-too-long", NULL },
	{ OCTETS(SIGNATURE "\x21\x11\0\x0c" "\0\0\0\0" "\x0a\0\0\2" "\0\1\0\2"), PROXY_HEADER_BAD, "address-of-no-client", NULL },
	{ OCTETS(SIGNATURE "\x21\x21\0\x24" MAPPED("\1") "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1" "\0\1\0\2"), PROXY_HEADER_OK, NULL,
	  "10.0.0.1:1" },
};

static void check_row(const struct row *row)
{
	/* From the heap, exactly as long: reading beyond it is found by sanitizers. */
	uint8_t *copy = malloc(row->octets.len);
	struct proxy_header h = { .octets = 4711 };
	const char *why = "";
	enum proxy_header_result result;

	assert_non_null(copy);
	memcpy(copy, row->octets.ptr, row->octets.len);
	result = proxy_header_parse(slice_of(copy, row->octets.len), &h, &why);
	if (result != row->result || (row->why != NULL && strcmp(why, row->why) != 0))
		print_error("row %td: %d %s\n", row - rows, result, why);
	assert_int_equal(result, row->result);
	if (result == PROXY_HEADER_BAD)
		assert_string_equal(why, row->why);
	if (result == PROXY_HEADER_OK) {
		assert_int_equal(h.octets, row->octets.len);
		assert_int_equal(h.local, row->src == NULL);
		if (row->src != NULL) {
			const struct endpoint src = at(row->src);

			assert_true(endpoint_equal(&h.src, &src));
		}
	} else {
		assert_int_equal(h.octets, 4711);
	}
	free(copy);
}

static void read_forms(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check_row(&rows[i]);
}

/* A prefix of what is right is never refused, and never taken for the whole. */
static void cut_anywhere(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		if (rows[i].result == PROXY_HEADER_BAD)
			continue;
		for (size_t n = 0; n < rows[i].octets.len; n++) {
			struct proxy_header h;
			const char *why;

			assert_int_equal(proxy_header_parse(slice_take(rows[i].octets, n), &h, &why), PROXY_HEADER_MORE);
		}
	}
}

static void line_without_end(void **state)
{
	uint8_t line[PROXY_HEADER_V1_MAX + 1] = "PROXY TCP4 ";
	struct proxy_header h;
	const char *why;

	memset(line + 11, 'x', sizeof(line) - 11);
	for (size_t n = 0; n < PROXY_HEADER_V1_MAX; n++)
		assert_int_equal(proxy_header_parse(slice_of(line, n), &h, &why), PROXY_HEADER_MORE);
	assert_int_equal(proxy_header_parse(slice_of(line, PROXY_HEADER_V1_MAX), &h, &why), PROXY_HEADER_BAD);
	assert_string_equal(why, "line-too-long");
	/* Its end just beyond the most. */
	line[PROXY_HEADER_V1_MAX - 1] = '\r';
	line[PROXY_HEADER_V1_MAX] = '\n';
	assert_int_equal(proxy_header_parse(slice_of(line, sizeof(line)), &h, &why), PROXY_HEADER_BAD);
	assert_string_equal(why, "line-too-long");
}

static void most_of_version_2(void **state)
{
	static uint8_t header[PROXY_HEADER_V2_MAX];
	struct proxy_header h;
	const char *why;

	memcpy(header, SIGNATURE "\x21\x11\x0f\xf0" V4, 28);
	assert_int_equal(proxy_header_parse(slice_of(header, sizeof(header) - 1), &h, &why), PROXY_HEADER_MORE);
	assert_int_equal(proxy_header_parse(slice_of(header, sizeof(header)), &h, &why), PROXY_HEADER_OK);
	assert_int_equal(h.octets, sizeof(header));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(written_forms),
		cmocka_unit_test(read_exactly), cmocka_unit_test(read_back),
		cmocka_unit_test(read_forms),
		cmocka_unit_test(cut_anywhere),
		cmocka_unit_test(line_without_end),
		cmocka_unit_test(most_of_version_2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
