/* SPDX-License-Identifier: Apache-2.0 */
/* A command that is accepted goes out as one line that is accepted again, and as the same one. */
#include "fuzz.h"
#include "proxy/smtp/command.h"
#include "proxy/smtp/extension.h"
#include "proxy/smtp/line.h"

static void check_argument(const struct smtp_syntax *syntax, const struct smtp_verb *verb, struct slice param,
			   struct arena *arena)
{
	struct smtp_argument first = { .text = { NULL, 0 } }, again = first;
	struct smtp_flaw flaw = { 0 };

	if (verb->parse == NULL)
		return;
	if (verb->parse(syntax, param, arena, &first, &flaw) < 0) {
		FUZZ_CHECK(flaw.text != NULL);
		return;
	}
	FUZZ_CHECK(smtp_is_line_safe(first.text) && !smtp_has_control(first.text));
	FUZZ_CHECK(!smtp_has_8bit(first.text) || ((syntax->active_extensions & SMTP_EXT_SMTPUTF8) != 0 && verb->utf8 &&
						   smtp_is_address_text(first.text)));
	FUZZ_CHECK(!smtp_has_8bit(first.text) || syntax->utf8 || verb != &smtp_verbs[SMTP_RCPT]);
	FUZZ_CHECK(verb->parse(syntax, first.text, arena, &again, &flaw) == 0);
	FUZZ_CHECK(slice_equal(first.text, again.text) && slice_equal(first.path.mailbox, again.path.mailbox));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_syntax syntax = { .source_routes = true };
	struct slice line, octets;
	struct smtp_command c;
	struct arena *arena;
	size_t used;

	if (size == 0)
		return 0;
	/* The ninth bit and above do not fit into the octet. */
	if ((data[0] & 0x20) != 0)
		syntax.active_extensions |= SMTP_EXT_CHUNKING | SMTP_EXT_BINARYMIME;
	octets = slice_of(data + 1, size - 1);
	/* One octet: all extensions or the old ones, and what else changes the syntax. */
	syntax.active_extensions = (data[0] & 0x20) != 0 ? SMTP_EXT_BITS : data[0] & 0x1f;
	syntax.bare_paths = (data[0] & 0x40) != 0;
	syntax.utf8 = syntax.client_authenticated = (data[0] & 0x01) != 0;
	if (smtp_line_take(octets, (data[0] & 0x80) == 0, 2048, &line, &used) != SMTP_LINE_OK)
		return 0;
	FUZZ_CHECK(used <= octets.len && line.len <= 2048 && smtp_is_line_safe(line));
	if (smtp_command_parse(line, &c) < 0)
		return 0;
	FUZZ_CHECK(c.name_length >= 1 && c.name_length <= SMTP_VERB_MAX);
	arena = arena_create(1 << 20, 0);
	check_argument(&syntax, c.verb, c.param, arena);
	arena_free(&arena);
	return 0;
}
