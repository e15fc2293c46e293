/* SPDX-License-Identifier: Apache-2.0 */
/* A path that is accepted gives a mailbox that is safe on a line and means the same when it is parsed again. */
#include "fuzz.h"
#include "proxy/smtp/address.h"

static void check_mailbox(struct arena *arena, const struct smtp_path *path)
{
	char text[SMTP_PATH_MAX + 3];
	struct smtp_path again;
	size_t n = path->mailbox.len;

	FUZZ_CHECK(n <= SMTP_PATH_MAX);
	for (size_t i = 0; i < n; i++)
		FUZZ_CHECK(path->mailbox.ptr[i] >= 0x20 && path->mailbox.ptr[i] != 0x7f && (path->utf8 || path->mailbox.ptr[i] < 0x7f));
	FUZZ_CHECK(smtp_is_address_text(path->mailbox));
	FUZZ_CHECK(path->domain.len == 0 || path->utf8 || smtp_is_domain(path->domain));
	text[0] = '<';
	if (n > 0)
		memcpy(text + 1, path->mailbox.ptr, n);
	text[n + 1] = '>';
	FUZZ_CHECK(smtp_path_parse(slice_of(text, n + 2), SMTP_PATH_MAY_BE_EMPTY | SMTP_PATH_POSTMASTER |
				   (path->utf8 ? SMTP_PATH_UTF8 : 0), slice_of(NULL, 0), arena, &again) == SMTP_ADDRESS_OK);
	FUZZ_CHECK(slice_equal(again.mailbox, path->mailbox) && slice_equal(again.domain, path->domain));
	FUZZ_CHECK(slice_equal(again.local, path->local) && again.rest.len == 0 && !again.routed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice text = slice_of(data, size);
	struct arena *arena;

	if (size == 0)
		return 0;
	arena = arena_create(1 << 20, 0);
	for (unsigned flags = 0; flags < 32; flags++) {
		struct slice append = (data[0] & 1) != 0 ? SLICE("example.com") : slice_of(NULL, 0);
		struct smtp_path path;

		if (smtp_path_parse(slice_skip(text, 1), flags, append, arena, &path) == SMTP_ADDRESS_OK) {
			FUZZ_CHECK((flags & SMTP_PATH_UTF8) != 0 || !path.utf8);
			FUZZ_CHECK((flags & SMTP_PATH_NO_ROUTE) == 0 || !path.routed);
			FUZZ_CHECK(path.mailbox.len > 0 || (flags & SMTP_PATH_MAY_BE_EMPTY) != 0);
			check_mailbox(arena, &path);
		}
	}
	FUZZ_CHECK(smtp_domain_length(text) <= SMTP_DOMAIN_MAX);
	arena_free(&arena);
	return 0;
}
