/* SPDX-License-Identifier: Apache-2.0 */
/* What AddressSanitizer must know around a switch; nothing in other builds. */
#ifndef SALLYPORT_IO_SWITCH_PRIV_H
#define SALLYPORT_IO_SWITCH_PRIV_H

#include "io/switch.h"

#if defined(__SANITIZE_ADDRESS__)
#define SWITCH_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SWITCH_ASAN 1
#endif
#endif

#ifdef SWITCH_ASAN
#include <sanitizer/common_interface_defs.h>

/* save is NULL when from never goes on: its fake stack is freed. */
static inline void switch_start(void **save, const struct switch_point *to)
{
	__sanitizer_start_switch_fiber(save, to->low, to->size);
}

/* The bounds of the program's own stack are learnt when first jumped away from. */
static inline void switch_finish(struct switch_point *self, struct switch_point *from)
{
	const void *low;
	size_t size;

	__sanitizer_finish_switch_fiber(self->fake_stack, &low, &size);
	if (from->low == NULL) {
		from->low = low;
		from->size = size;
	}
}
#else
static inline void switch_start(void **save, const struct switch_point *to)
{
}

static inline void switch_finish(struct switch_point *self, struct switch_point *from)
{
}
#endif

#endif
