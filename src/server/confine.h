/* SPDX-License-Identifier: Apache-2.0 */
/* A process that only reads and talks: what it will never do is taken from it for good (Landlock, Linux 5.13). */
#ifndef SALLYPORT_SERVER_CONFINE_H
#define SALLYPORT_SERVER_CONFINE_H

#include "base/attributes.h"

/*
 * From now on this process and its children write, create, remove and execute no file, trace no process, and, as far as the
 * kernel can (6.12), signal none and connect to no abstract socket outside. Descriptors that are open stay as they are.
 * The caller can't gain privileges any more (privileges_drop). 0; -EOPNOTSUPP: the kernel has no Landlock, or it is off; -errno.
 */
int confine_to_reading(void) MUST_CHECK;

#endif
