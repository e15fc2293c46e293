/* SPDX-License-Identifier: Apache-2.0 */
/* What the supervisor takes from a leader: refused, or a sound plan that renders and packs to
 * the same octets again. */
#include "fuzz.h"
#include "kernel/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *arena = arena_create(16u << 20, 0);
	struct buffer again = BUFFER_INIT(16u << 20), rules = BUFFER_INIT(64u << 20);
	struct kernel_plan plan;

	FUZZ_CHECK(arena != NULL);
	if (kernel_plan_unpack(slice_of(data, size), arena, &plan) == 0) {
		FUZZ_CHECK(kernel_plan_check(&plan) == 0);
		FUZZ_CHECK(kernel_plan_pack(&plan, &again) == 0);
		FUZZ_CHECK(slice_equal(buffer_slice(&again), slice_of(data, size)));
		FUZZ_CHECK(kernel_plan_may_become(&plan, &plan) == (plan.changing && plan.n_listens == 0));
		kernel_plan_render(&plan, 1, 65535, &rules);
		FUZZ_CHECK(!rules.broken && rules.len > 0);
	}
	buffer_release(&again);
	buffer_release(&rules);
	arena_free(&arena);
	return 0;
}
