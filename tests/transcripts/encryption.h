/* SPDX-License-Identifier: Apache-2.0 */
/* An encryption for a transcript's service, in few words (README.md, "tls"). */
#ifndef SALLYPORT_TESTS_ENCRYPTION_H
#define SALLYPORT_TESTS_ENCRYPTION_H

#include <jansson.h>

/*
 * Members of a policy document with one encryption, number 0, whose files are those of pki.h. NULL:
 * *unknown is the word that means nothing.
 */
json_t *encryption_members(const char *words, const char **unknown);

#endif
