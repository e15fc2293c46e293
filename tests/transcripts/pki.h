/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small public key infrastructure for tests, made when it is first wanted: a CA with a list of
 * what it revoked, and certificates of every kind a peer may show. As files, since policies name files:
 *
 *	ca/HASH.0	the CA's certificate, by its subject's hash
 *	crl/HASH.r0	and its list
 *	pins/SERVER	"unknown", pinned for the server
 *	NAME.pem	a certificate, with its issuer behind it
 *	NAME.key	its key
 *
 * NAME is one of: ca, firewall (fw.example), good (mail.example), wrong (other.example), expired,
 * revoked (both mail.example), unknown (mail.example, of a CA that nobody knows), client (client.example).
 */
#ifndef SALLYPORT_TESTS_PKI_H
#define SALLYPORT_TESTS_PKI_H

/* The directory; the process's end removes it. NULL: it could not be made. */
const char *pki_directory(void);

#endif
