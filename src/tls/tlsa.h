/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLSA records (RFC 6698): which certificate a server shows, or whose, said by its own signed zone.
 * What of them counts for mail is RFC 7672's: records that lean on public CAs (usage 0, 1) do not.
 */
#ifndef SALLYPORT_TLS_TLSA_H
#define SALLYPORT_TLS_TLSA_H

#include "base/attributes.h"
#include "base/slice.h"

#include <stdbool.h>

#define TLSA_RECORDS_MAX 32u		/* of one server; each costs work in each handshake */

enum tlsa_usage { TLSA_PKIX_TA, TLSA_PKIX_EE, TLSA_DANE_TA, TLSA_DANE_EE };

struct tlsa {
	uint8_t usage, selector, matching;	/* as in the record: any number */
	struct slice data;			/* of the certificate or its key: whole, or its digest */
};

/* The records of one server that can be used; all slices are in octets. */
struct tlsa_set {
	struct slice octets;			/* as parsed: two sets with the same octets are the same */
	struct tlsa records[TLSA_RECORDS_MAX];
	size_t n;
	size_t n_unusable;			/* others, left out: of an unknown kind, of public CAs, of the wrong length, or no certificate or key */
};

/* One record's octets (RDATA). 0; -EBADMSG: too short to be one. */
int tlsa_parse(struct slice rdata, struct tlsa *out) MUST_CHECK;
bool tlsa_is_usable(const struct tlsa *record);

/*
 * Records, each behind its length in two octets, the higher first. Good as long as octets.
 * One that is none is unusable like any other. 0; -EBADMSG: a length does not fit; -E2BIG.
 * Certificates and keys that stand there whole are parsed by OpenSSL, which wants a deep stack.
 */
int tlsa_set_parse(struct slice octets, struct tlsa_set *out) MUST_CHECK;

#endif
