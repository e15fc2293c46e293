/* SPDX-License-Identifier: Apache-2.0 */
/*
 * CRLs that cost a handshake nothing. OpenSSL sorts a list's entries when one is first looked for, and digests the
 * whole list each time to check its signature: with 200 000 entries that is a seventh of a second once, and ten milliseconds in each
 * handshake, before it is known that the certificate is none. Both are done here, when the list is read.
 */
#ifndef SALLYPORT_TLS_CRL_H
#define SALLYPORT_TLS_CRL_H

#include "base/attributes.h"

#include <openssl/x509.h>

/*
 * The next one, of PEM text. OpenSSL's verification uses it like any other; only a list signed with RSA-PSS or EdDSA, whose digest
 * is not independent of the key, is digested each time. 1; 0: no more; -ENOMEM.
 */
int tls_crl_read(BIO *pem, X509_CRL **out) MUST_CHECK;

#endif
