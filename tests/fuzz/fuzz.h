/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a fuzz target is: a file fuzz_NAME.c with this one function, a row in meson.build, and
 * seeds in seeds/NAME/. libFuzzer drives it (meson -Dfuzz=true), or replay.c, which runs all
 * seeds as a test in every build.
 */
#ifndef SALLYPORT_TESTS_FUZZ_H
#define SALLYPORT_TESTS_FUZZ_H

#include "base/slice.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that must hold for every input. Not assert, which NDEBUG would take away. */
#define FUZZ_CHECK(condition) \
	do { \
		if (!(condition)) { \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition); \
			abort(); \
		} \
	} while (0)

#endif
