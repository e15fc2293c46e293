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
#include "tls/trust.h"

/*
 * Of keys, certificates and OCSP responses. keys are those that tls was built with. 0; -EBADMSG; -EKEYREJECTED: OpenSSL's
 * level, or a bridge, does not take the certificate; -ENOMEM. *why then says it in words, and nothing is changed.
 */
int tls_update(struct tls *tls, struct tls_keys *keys, struct slice records, const char **why) MUST_CHECK;

/*
 * Of CAs, CRLs and pins: what a KEEPER_TRUST record has, parsed, and its context. That takes its time: a tenth of a second for
 * each MiB of CRLs. Nothing else is touched. What can't be used is a warning. 0; -EBADMSG; -ENOMEM.
 */
int tls_update_read_trust(struct slice records, struct policy_problems *problems, uint32_t *context, struct tls_trust *out)
	MUST_CHECK;
/*
 * What that context believes from now on, and all with the same directories. Then *trust is what they believed before,
 * which takes time to clear as well. 0; -EBADMSG: no such context; -ENOMEM; then nothing is changed.
 */
int tls_update_trust(struct tls *tls, uint32_t context, struct tls_trust *trust) MUST_CHECK;

/* Is the key of the certificate that is shown among those that a keeper has loaded (its records), as keys are by now? */
bool tls_has_key(const struct tls *tls, const struct tls_keys *keys, struct slice records, uint32_t certificate);

#endif
