/* SPDX-License-Identifier: Apache-2.0 */
/* Escaped text is harmless, and says exactly which octets there were, as far as it goes. */
#include "base/log.h"
#include "fuzz.h"

static unsigned hex_value(char c)
{
	FUZZ_CHECK((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

static void check_in_room_of(size_t room, struct slice s)
{
	char *text = malloc(room);
	size_t len, i = 0, n = 0;

	FUZZ_CHECK(text != NULL);
	len = log_escape(text, room, s);
	FUZZ_CHECK(len < room && text[len] == '\0' && strlen(text) == len);
	while (i < len) {
		unsigned c = (unsigned char)text[i];

		FUZZ_CHECK(c >= 0x20 && c < 0x7f && c != '\'' && c != '"');
		if (c == '\\') {
			FUZZ_CHECK(i + 4 <= len && text[i + 1] == 'x');
			c = hex_value(text[i + 2]) << 4 | hex_value(text[i + 3]);
			i += 4;
		} else {
			i++;
		}
		FUZZ_CHECK(n < s.len && s.ptr[n] == c);
		n++;
	}
	FUZZ_CHECK(n == s.len || room - len <= 4);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice s = slice_of(data, size);

	check_in_room_of(4 * size + 1, s);
	check_in_room_of(1 + size % 61, s);
	return 0;
}
