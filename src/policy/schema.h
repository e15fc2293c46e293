/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of the proxies, written out: for the policy classes, and for people. */
#ifndef SALLYPORT_POLICY_SCHEMA_H
#define SALLYPORT_POLICY_SCHEMA_H

#include "base/buffer.h"
#include "policy/policy.h"

/* JSON of all proxies, as docs/reference/schema.md has it. 0 or -ENOMEM. */
int schema_write(const struct proxy_registry *registry, struct buffer *out) MUST_CHECK;

/* The reference page of one proxy, in Markdown. 0 or -ENOMEM. */
int schema_write_page(const struct proxy_type *type, struct buffer *out) MUST_CHECK;

/*
 * What a proxy's tables promise each other: places inside their blocks, aliases that lead
 * somewhere, nothing writable at run time without a home. false: *why names the row. For tests
 * of proxies, and before anything is built from them.
 */
bool proxy_type_is_sound(const struct proxy_type *type, char *why, size_t why_size);

#endif
