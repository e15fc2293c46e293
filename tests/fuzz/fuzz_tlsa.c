/* SPDX-License-Identifier: Apache-2.0 */
/* TLSA records: what was parsed lies within what came, and what is usable is written out to the same again. */
#include "fuzz.h"
#include "tls/tlsa.h"

#include <stdlib.h>

static void check_record(const struct tlsa *r, struct slice octets)
{
	FUZZ_CHECK(tlsa_is_usable(r));
	FUZZ_CHECK(r->data.len > 0 && r->data.ptr >= octets.ptr + 5 && r->data.ptr + r->data.len <= octets.ptr + octets.len);
	FUZZ_CHECK(r->data.ptr[-3] == r->usage && r->data.ptr[-2] == r->selector && r->data.ptr[-1] == r->matching);
}

/* The usable ones alone. */
static size_t write_set(const struct tlsa_set *set, uint8_t *out)
{
	size_t n = 0;

	for (size_t i = 0; i < set->n; i++) {
		const struct tlsa *r = &set->records[i];
		size_t len = r->data.len + 3;

		memcpy(out + n, (uint8_t[]){ (uint8_t)(len >> 8), (uint8_t)len, r->usage, r->selector, r->matching }, 5);
		memcpy(out + n + 5, r->data.ptr, r->data.len);
		n += len + 2;
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice octets = slice_of(data, size);
	struct tlsa_set set, again;
	uint8_t *written;
	size_t n;

	if (tlsa_set_parse(octets, &set) != 0)
		return 0;
	FUZZ_CHECK(set.n + set.n_unusable <= TLSA_RECORDS_MAX);
	for (size_t i = 0; i < set.n; i++)
		check_record(&set.records[i], octets);
	written = malloc(size + 1);
	FUZZ_CHECK(written != NULL);
	n = write_set(&set, written);
	FUZZ_CHECK(n <= size && (n == size) == (set.n_unusable == 0));
	FUZZ_CHECK(tlsa_set_parse(slice_of(written, n), &again) == 0 && again.n == set.n && again.n_unusable == 0);
	for (size_t i = 0; i < set.n; i++)
		FUZZ_CHECK(slice_equal(again.records[i].data, set.records[i].data));
	free(written);
	return 0;
}
