/* SPDX-License-Identifier: Apache-2.0 */
#include "base/utf8.h"

size_t utf8_decode(struct slice s, uint32_t *c)
{
	/* The smallest character of each length: what is below it has a shorter form. */
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint8_t lead = s.len > 0 ? s.ptr[0] : 0xff;
	size_t n = lead < 0x80 ? 1 : lead >= 0xc2 && lead < 0xe0 ? 2 : (lead & 0xf0) == 0xe0 ? 3 : lead >= 0xf0 && lead < 0xf5 ? 4 : 0;
	uint32_t value;

	if (n == 0 || n > s.len)
		return 0;
	value = n == 1 ? lead : lead & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((s.ptr[i] & 0xc0) != 0x80)
			return 0;
		value = value << 6 | (s.ptr[i] & 0x3f);
	}
	if (value < smallest[n] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
		return 0;
	*c = value;
	return n;
}

bool utf8_is_valid(struct slice s)
{
	while (s.len > 0) {
		uint32_t c;
		size_t n = utf8_decode(s, &c);

		if (n == 0)
			return false;
		s = slice_skip(s, n);
	}
	return true;
}
