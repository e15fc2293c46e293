/* SPDX-License-Identifier: Apache-2.0 */
/* A spec is refused at an octet of its own, or gives levels in their range. */
#include "base/attributes.h"
#include "base/logspec.h"
#include "fuzz.h"

#include <errno.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct logspec_entry entries[16];
	const char *bad = NULL;
	char *text = malloc(size + 1);
	int n, level;

	FUZZ_CHECK(text != NULL);
	if (slice_to_cstr(slice_of(data, size), text, size + 1) == 0) {
		n = logspec_parse(text, entries, ARRAY_LEN(entries), &bad);
		if (n == -EINVAL) {
			FUZZ_CHECK(bad >= text && bad <= text + size);
		} else if (n >= 0) {
			level = logspec_level(entries, (size_t)n, SLICE("core.debug"), 3);
			FUZZ_CHECK(level >= 0 && level <= LOGSPEC_LEVEL_MAX);
			for (int i = 0; i < n; i++)
				FUZZ_CHECK(entries[i].pattern.len > 0);
			FUZZ_CHECK(logspec_unreachable(entries, (size_t)n) <= (size_t)n);
		}
	}
	free(text);
	return 0;
}
