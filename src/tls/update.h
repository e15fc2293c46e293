/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keys, certificates, CAs and OCSP responses that changed, while sessions go on: what the keeper
 * found and tested (tls/keeper_file.h) takes the place of what was there. Handshakes that are under way, and
 * sessions that run, keep what they began with.
 */
#ifndef SALLYPORT_TLS_UPDATE_H
#define SALLYPORT_TLS_UPDATE_H

#include "tls/keeper_file.h"
#include "tls/tls.h"

/*
 * keys are those that tls was built with. 0; -EBADMSG; -EKEYREJECTED: OpenSSL's level, or a bridge, does not take the
 * certificate; -ENOMEM. *why then says it in words. From the record that is wrong on, nothing is changed.
 */
int tls_update(struct tls *tls, struct tls_keys *keys, struct slice records, const char **why) MUST_CHECK;

/* Is the key of the certificate that is shown among those that a keeper has loaded (its records), as keys are by now? */
bool tls_has_key(const struct tls *tls, const struct tls_keys *keys, struct slice records, uint32_t certificate);

#endif
