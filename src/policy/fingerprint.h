/* SPDX-License-Identifier: Apache-2.0 */
/* A name for a document's content. */
#ifndef SALLYPORT_POLICY_FINGERPRINT_H
#define SALLYPORT_POLICY_FINGERPRINT_H

#include "base/arena.h"

/* SHA-256 of the octets, in hex, on the arena. NULL: no memory. */
const char *fingerprint(struct slice octets, struct arena *arena);

#endif
