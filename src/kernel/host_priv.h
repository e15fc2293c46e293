/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SALLYPORT_KERNEL_HOST_PRIV_H
#define SALLYPORT_KERNEL_HOST_PRIV_H

#include "kernel/host.h"
#include "kernel/plan.h"

#include <stdarg.h>

const char *nft_path(void);	/* NULL: not installed */
void say_why(char *why, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
int route_remove(char *why, size_t size) MUST_CHECK;

#endif
