/* SPDX-License-Identifier: Apache-2.0 */
/* Each octet at each place among neighbours that could lend and borrow. */
#include "base/word.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static const uint8_t neighbours[] = { 0x00, 0x01, 0x1f, 0x20, 0x21, 0x5c, 0x7e, 0x7f, 0x80, 0x81, 0xa0, 0xff };
#define N_NEIGHBOURS sizeof(neighbours)

static void check(const uint8_t octets[WORD_OCTETS])
{
	static const uint8_t wanted[] = { 0x01, 0x20, '"', '\\', 0x7f, 0x80 };
	uint64_t word = word_load(octets);
	bool high = false;

	for (size_t i = 0; i < WORD_OCTETS; i++)
		high |= octets[i] >= 0x80;
	assert_int_equal(word_has_8bit(word), high);
	for (size_t w = 0; w < sizeof(wanted); w++) {
		bool below = false, there = false;

		for (size_t i = 0; i < WORD_OCTETS; i++) {
			below |= octets[i] < wanted[w];
			there |= octets[i] == wanted[w];
		}
		assert_int_equal(word_has_below(word, wanted[w]), below);
		assert_int_equal(word_has(word, wanted[w]), there);
	}
}

static void test_every_octet_at_every_place(void **state)
{
	uint8_t octets[WORD_OCTETS];

	for (size_t n = 0; n < N_NEIGHBOURS * N_NEIGHBOURS; n++)
		for (size_t place = 0; place < WORD_OCTETS; place++)
			for (unsigned octet = 0; octet < 256; octet++) {
				for (size_t i = 0; i < WORD_OCTETS; i++)
					octets[i] = neighbours[(i < place ? n : n / N_NEIGHBOURS) % N_NEIGHBOURS];
				octets[place] = (uint8_t)octet;
				check(octets);
			}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_every_octet_at_every_place) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
