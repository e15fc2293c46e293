/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/secrets.h"

#include <errno.h>

#define LENGTH_OCTETS 4u

static uint32_t length_at(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

int secrets_split(struct slice file, uint32_t n, struct arena *arena, const struct slice **out)
{
	struct slice *items;

	if (file.len / (LENGTH_OCTETS + 1) < n)		/* before memory is asked for: none is empty */
		return -EBADMSG;
	items = arena_array(arena, n, sizeof(*items));
	if (items == NULL && n > 0)
		return -ENOMEM;
	for (uint32_t i = 0; i < n; i++) {
		uint32_t len;

		if (file.len < LENGTH_OCTETS)
			return -EBADMSG;
		len = length_at(file.ptr);
		file = slice_skip(file, LENGTH_OCTETS);
		if (len == 0 || len > SECRET_OCTETS_MAX || len > file.len)
			return -EBADMSG;
		items[i] = slice_take(file, len);
		file = slice_skip(file, len);
	}
	if (file.len > 0)
		return -EBADMSG;
	*out = items;
	return 0;
}
