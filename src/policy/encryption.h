/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encryption policies as declared: what each side of a session does about TLS. Data only; what
 * OpenSSL makes of it is tls/. Numbers are those of the policy language where it has numbers.
 *
 * Private keys and passphrases are not in here, nor in the policy document: a key is a file's
 * name, or the number of a secret (the policy host hands secrets over apart from the document).
 */
#ifndef SALLYPORT_POLICY_ENCRYPTION_H
#define SALLYPORT_POLICY_ENCRYPTION_H

#include "policy/attribute.h"
#include "policy/problems.h"

enum tls_end { TLS_CLIENT, TLS_SERVER, TLS_ENDS };	/* the side of the session: with its client, with its server */

enum tls_security {
	TLS_OFF,
	TLS_FORCE,			/* from the first octet */
	TLS_ACCEPT_STARTTLS,		/* client only */
	TLS_FORWARD_STARTTLS,		/* server only: as the client asks */
};

enum tls_verify {
	TLS_VERIFY_NONE,
	TLS_VERIFY_OPTIONAL_UNTRUSTED,
	TLS_VERIFY_OPTIONAL_TRUSTED,
	TLS_VERIFY_REQUIRED_UNTRUSTED,
	TLS_VERIFY_REQUIRED_TRUSTED,
};

/* Whether a server's TLSA records (DANE, RFC 7672) say which certificate is its own. */
enum tls_dane {
	TLS_DANE_OFF,
	TLS_DANE_OPPORTUNISTIC,		/* where there are signed ones; else as the rest of the verifier says */
	TLS_DANE_REQUIRED,		/* without them the server is not used */
};

#define TLS_NO_SECRET (-1)

/* A private key: from a file, or a secret (its PEM text). */
struct tls_key {
	const char *file;			/* NULL: key_secret has the text */
	int32_t secret;				/* index of the PEM text; TLS_NO_SECRET */
	int32_t passphrase;			/* index; TLS_NO_SECRET: none */
	uint32_t index;				/* in policy->tls_keys */
	struct policy_place place;
};

/* A certificate chain, leaf first, with the leaf's key. */
struct tls_certificate {
	const char *file;			/* watched for changes; NULL: only the text */
	struct slice pem;			/* as it was when the policy was loaded */
	const struct tls_key *key;
	uint32_t index;				/* in policy->tls_certificates */
	struct policy_place place;
};

struct tls_named_certificate {
	struct matcher_call name;		/* tested against the name the client asks for */
	const struct tls_certificate *certificate;
};

/* Certificates made from those of the other side (key bridging). */
struct tls_bridge {
	const struct tls_key *key;		/* of every leaf */
	const struct tls_certificate *trusted_ca, *untrusted_ca;
	const char *cache_directory;		/* NULL: memory only */
	const char *const *extensions;		/* short names that are copied */
	size_t n_extensions;
};

/* Which certificate this end shows. Kind: bridge != NULL; else n_named + fallback; none = NULL, 0. */
struct tls_own_certificate {
	const struct tls_bridge *bridge;
	const struct tls_named_certificate *named;	/* in the policy's order */
	size_t n_named;
	const struct tls_certificate *fallback;		/* a static one; NULL: none */
	struct policy_call setup_key;			/* policy code that may set another */
};

struct tls_verifier {
	enum tls_verify type;
	unsigned depth;				/* of the deepest certificate that passes */
	const char *ca_directory, *crl_directory;	/* NULL: none */
	const char *hint_directory;		/* client end: subjects sent as acceptable CAs */
	const char *pinned_directory;
	bool permit_invalid, permit_missing_crl;
	bool check_subject;			/* server end: the name must fit the host */
	enum tls_dane dane;			/* server end; the host must have a name then */
	const char *mta_sts;			/* server end: the mail domain whose policy (RFC 8461) the host, by its name, must meet;
						 * its publisher is judged by ca_directory, too; NULL: none */
	bool mta_sts_required;			/* without a policy the server is not used */
	struct policy_call verify;		/* policy code (verify_cert_ext) after the verification */
};

struct tls_options {
	uint16_t version_min, version_max;	/* 0x0301 to 0x0304 */
	const char *ciphers;			/* TLS 1.2 and below, OpenSSL's syntax */
	const char *ciphersuites;		/* TLS 1.3; NULL: the library's */
	const char *groups;			/* NULL: the library's */
	const char *dh_pem;			/* NULL: no finite-field DHE */
	bool server_preference;			/* client end: our order of ciphers counts */
	bool tickets;				/* client end: resumption by tickets */
	uint32_t session_seconds;		/* how long a session may be resumed */
	const char *const *alpn;		/* names offered or accepted, best first */
	size_t n_alpn;
	const char *ocsp_file;			/* client end: a DER response to staple; watched; NULL */
};

struct tls_side {
	enum tls_security security;
	struct tls_own_certificate own;
	struct tls_verifier verifier;
	struct tls_options options;
};

struct encryption {
	const char *name;			/* of the EncryptionPolicy, or of the class with self.ssl.* */
	uint32_t index;				/* in policy->encryptions */
	struct tls_side sides[TLS_ENDS];
	uint32_t handshake_timeout_ms;
	bool server_first;			/* the server's handshake precedes the client's */
	struct policy_place place;
};

/* Some decision of it is policy code's: a hook, or the choice of a certificate. */
bool encryption_calls_host(const struct encryption *encryption);

/* One side of it, or both, begin in plain text and wait for a STARTTLS. */
static inline bool encryption_needs_starttls(const struct encryption *e)
{
	return e->sides[TLS_CLIENT].security == TLS_ACCEPT_STARTTLS || e->sides[TLS_SERVER].security == TLS_FORWARD_STARTTLS;
}

#endif
