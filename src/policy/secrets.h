/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The secrets of a policy: private keys that it has as text, and passphrases. The document knows
 * them by number; the policy program writes them to a memory file of their own: for each its
 * length, 32 bits, most significant first, and its octets.
 */
#ifndef SALLYPORT_POLICY_SECRETS_H
#define SALLYPORT_POLICY_SECRETS_H

#include "base/arena.h"
#include "base/attributes.h"

#define SECRETS_FILE_MAX (16 << 20)	/* octets of the file */
#define SECRET_OCTETS_MAX 65536u	/* of one */

/*
 * The n secrets of a file; they stay in its octets, only the array is the arena's. 0; -EBADMSG
 * (not exactly n of them, or one that is too long or empty); -ENOMEM.
 */
int secrets_split(struct slice file, uint32_t n, struct arena *arena, const struct slice **out) MUST_CHECK;

#endif
