/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/keeper_file.h"

#include <errno.h>

static const uint8_t parts_of[KEEPER_KINDS] = {
	[KEEPER_KEY_PUBLIC] = 1, [KEEPER_KEY_WHOLE] = 1, [KEEPER_ERROR] = 2, [KEEPER_WARNING] = 2, [KEEPER_CHAIN] = 1,
	[KEEPER_TRUST] = 4, [KEEPER_OCSP] = 1, [KEEPER_FILE] = 2,
};

struct record_head {
	uint32_t kind, index;
	uint64_t lens[KEEPER_PARTS_MAX];
};

void keeper_record_write(struct buffer *out, const struct keeper_record *record)
{
	unsigned n = parts_of[record->kind];
	struct record_head head = { .kind = record->kind, .index = record->index };

	for (unsigned i = 0; i < n; i++)
		head.lens[i] = record->parts[i].len;
	buffer_append(out, slice_of(&head, sizeof(head)));
	for (unsigned i = 0; i < n; i++)
		buffer_append(out, record->parts[i]);
}

int keeper_record_next(struct slice *rest, struct keeper_record *out)
{
	struct keeper_record record = { .n = 0 };
	struct record_head head;
	struct slice left;

	if (rest->len == 0)
		return 0;
	if (rest->len < sizeof(head))
		return -EBADMSG;
	memcpy(&head, rest->ptr, sizeof(head));
	if (head.kind == 0 || head.kind >= KEEPER_KINDS)
		return -EBADMSG;
	record.kind = head.kind;
	record.index = head.index;
	record.n = parts_of[head.kind];
	left = slice_skip(*rest, sizeof(head));
	for (unsigned i = 0; i < record.n; i++) {
		if (head.lens[i] > left.len)
			return -EBADMSG;
		record.parts[i] = slice_take(left, head.lens[i]);
		left = slice_skip(left, head.lens[i]);
	}
	*rest = left;
	*out = record;
	return 1;
}
