/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8 (RFC 3629): shortest forms only, no surrogates, nothing over U+10FFFF. Two readers that
 * disagree about a malformed sequence see two different texts.
 */
#ifndef SALLYPORT_BASE_UTF8_H
#define SALLYPORT_BASE_UTF8_H

#include "base/slice.h"

/* Octets of the character at the start of s, and *c; 0: there is none, or it is malformed. */
size_t utf8_decode(struct slice s, uint32_t *c);

/* All of s. */
bool utf8_is_valid(struct slice s);

#endif
