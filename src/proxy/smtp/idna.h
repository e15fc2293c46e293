/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Domains in their ASCII form (RFC 5890: A-labels): what is compared when a domain decides where
 * mail may go, so that a name that is written in two ways is one name.
 */
#ifndef SALLYPORT_PROXY_SMTP_IDNA_H
#define SALLYPORT_PROXY_SMTP_IDNA_H

#include "base/arena.h"
#include "base/attributes.h"

/*
 * *out: domain itself if it is ASCII, else its ASCII form, in arena. 0; -EBADMSG: it has none, or
 * the two mappings in use (UTS 46, with IDNA2003's characters and without) do not agree on it;
 * -ENOMEM.
 */
int smtp_domain_to_ascii(struct slice domain, struct arena *arena, struct slice *out) MUST_CHECK;

#endif
