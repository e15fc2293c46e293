/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot of host names, as everybody takes it from the lookout: refused, or one that packs to the same octets. */
#include "fuzz.h"
#include "policy/names.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *arena = arena_create(32u << 20, 0);
	struct buffer again = BUFFER_INIT(SNAPSHOT_OCTETS_MAX);
	struct names_snapshot s;

	FUZZ_CHECK(arena != NULL);
	if (names_unpack(slice_of(data, size), arena, &s) == 0) {
		for (size_t i = 0; i < s.n_hosts; i++) {
			FUZZ_CHECK(host_name_is_plain(s.hosts[i].name) && s.hosts[i].n_addrs <= HOST_ADDRESSES_MAX);
			FUZZ_CHECK(names_find(&s, s.hosts[i].name) == &s.hosts[i]);
		}
		names_pack(&s, &again);
		FUZZ_CHECK(slice_equal(buffer_slice(&again), slice_of(data, size)));
	}
	buffer_release(&again);
	arena_free(&arena);
	return 0;
}
