/* SPDX-License-Identifier: Apache-2.0 */
/* The options of an end as OpenSSL takes them; what it does not take is a problem of the policy. */
#include "tls/tls_priv.h"
#include "base/log.h"
#include "tls/keys_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>

/* Without finite fields: a peer could make us compute with 8192 bits as often as it likes. */
#define GROUPS "X25519:P-256:X448:P-384:P-521"
#define CIPHERS "HIGH:!aNULL:@STRENGTH"
#define OCSP_OCTETS_MAX 65536u

/* What we sign with. The keeper refuses everything else (key_talk.c), so none of it may be agreed upon. */
#define SIGNATURES "ecdsa_secp256r1_sha256:ecdsa_secp384r1_sha384:ecdsa_secp521r1_sha512:ed25519:ed448:" \
		   "rsa_pss_pss_sha256:rsa_pss_pss_sha384:rsa_pss_pss_sha512:rsa_pss_rsae_sha256:rsa_pss_rsae_sha384:" \
		   "rsa_pss_rsae_sha512:rsa_pkcs1_sha256:rsa_pkcs1_sha384:rsa_pkcs1_sha512"
#define OLD_SIGNATURES SIGNATURES ":ECDSA+SHA1:RSA+SHA1"

static const char *reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_error());

	return text != NULL ? text : "not understood";
}

static const char *end_name(const struct tls_context *c)
{
	return c->end == TLS_CLIENT ? "client" : "server";
}

static int complain(struct tls_context *c, struct policy_problems *problems, const char *hint, const char *what,
		    const char *value)
{
	problems_add(problems, PROBLEM_ERROR, c->encryption->place, hint, "encryption %s, %s side: %s \"%s\": %s",
		     c->encryption->name, end_name(c), what, value, reason());
	ERR_clear_error();
	return -EINVAL;
}

static int set_versions(struct tls_context *c, struct policy_problems *problems)
{
	const struct tls_options *o = &c->side->options;

	if (o->version_min <= o->version_max && SSL_CTX_set_min_proto_version(c->ctx, o->version_min) == 1 &&
	    SSL_CTX_set_max_proto_version(c->ctx, o->version_max) == 1)
		return 0;
	problems_add(problems, PROBLEM_ERROR, c->encryption->place, "leave at least one version on",
		     "encryption %s, %s side: no version of TLS is left", c->encryption->name, end_name(c));
	ERR_clear_error();
	return -EINVAL;
}

/*
 * TLS before 1.2 signs with SHA-1, which the library lets nobody do but at its lowest level, where keys of 512 bits
 * are good as well. Who asks for the old versions gets them and their signatures, and nothing else of that level.
 */
typedef int (*level_fn)(const SSL *ssl, const SSL_CTX *ctx, int what, int bits, int nid, void *other, void *arg);

#define SHA1_MD5_BITS 64	/* of security that the library gives the digest of these versions */

static int permit_old(const SSL *ssl, const SSL_CTX *ctx, int what, int bits, int nid, void *other, void *usual)
{
	switch (what) {
	case SSL_SECOP_VERSION:
		return 1;		/* between the policy's lowest and highest */
	case SSL_SECOP_SIGALG_SUPPORTED:
	case SSL_SECOP_SIGALG_SHARED:
	case SSL_SECOP_SIGALG_CHECK:
	case SSL_SECOP_SIGALG_MASK:
		return bits >= SHA1_MD5_BITS;
	default:
		return ((level_fn)usual)(ssl, ctx, what, bits, nid, other, NULL);
	}
}

static void set_level(struct tls_context *c)
{
	level_fn usual = SSL_CTX_get_security_callback(c->ctx);

	if (c->side->options.version_min >= TLS1_2_VERSION)
		return;
	SSL_CTX_set_security_callback(c->ctx, permit_old);
	SSL_CTX_set0_security_ex_data(c->ctx, (void *)usual);
}

/*
 * Without a certificate there is nothing to verify: whoever must show one could choose to show none. RSA key exchange
 * has no forward secrecy, is a mine of padding oracles, and needs decryption with the key, which a key process does not do.
 */
static int set_safe_ciphers(const struct tls_context *c, const char *ciphers)
{
	char *text;
	int set;

	if (asprintf(&text, "%s:!aNULL%s", ciphers, c->end == TLS_CLIENT ? ":!kRSA:!kRSAPSK" : "") < 0)
		return -ENOMEM;
	set = SSL_CTX_set_cipher_list(c->ctx, text);
	free(text);
	return set;
}

static int set_ciphers(struct tls_context *c, struct policy_problems *problems)
{
	const struct tls_options *o = &c->side->options;
	const char *ciphers = o->ciphers != NULL && o->ciphers[0] != '\0' ? o->ciphers : CIPHERS;
	int err = 0, set = SSL_CTX_set_cipher_list(c->ctx, ciphers);

	if (set == 1)
		set = set_safe_ciphers(c, ciphers);
	if (set == -ENOMEM)
		return set;
	if (set != 1)
		err = complain(c, problems, "ciphers as `openssl ciphers` takes them, for example HIGH:!aNULL", "ciphers", ciphers);
	if (o->ciphersuites != NULL && SSL_CTX_set_ciphersuites(c->ctx, o->ciphersuites) != 1)
		err = complain(c, problems, "names of TLS 1.3, for example TLS_AES_256_GCM_SHA384:TLS_AES_128_GCM_SHA256",
			       "ciphersuites", o->ciphersuites);
	if (SSL_CTX_set1_groups_list(c->ctx, o->groups != NULL ? o->groups : GROUPS) != 1)
		err = complain(c, problems, "names of groups, for example X25519:P-256", "groups", o->groups);
	return err;
}

/* Of servers all is accepted that the library accepts: what is named here is what our certificate signs there. */
static int set_signatures(struct tls_context *c)
{
	const char *names = c->side->options.version_min < TLS1_2_VERSION ? OLD_SIGNATURES : SIGNATURES;
	long set = c->end == TLS_CLIENT ? SSL_CTX_set1_sigalgs_list(c->ctx, names) : SSL_CTX_set1_client_sigalgs_list(c->ctx, names);

	return set == 1 ? 0 : -ENOMEM;
}

static int set_dh(struct tls_context *c, struct policy_problems *problems)
{
	const char *pem = c->side->options.dh_pem;
	BIO *bio;
	EVP_PKEY *dh;

	if (pem == NULL || c->end == TLS_SERVER)
		return 0;
	bio = BIO_new_mem_buf(pem, -1);
	dh = bio == NULL ? NULL : PEM_read_bio_Parameters(bio, NULL);
	BIO_free(bio);
	if (dh != NULL && SSL_CTX_set0_tmp_dh_pkey(c->ctx, dh) == 1)
		return 0;
	EVP_PKEY_free(dh);
	return complain(c, problems, "what `openssl dhparam 2048` prints", "DH parameters", "dh_params");
}

static int set_alpn(struct tls_context *c, struct policy_problems *problems)
{
	const struct tls_options *o = &c->side->options;
	size_t n = 0;

	for (size_t i = 0; i < o->n_alpn; i++) {
		size_t len = strlen(o->alpn[i]);

		if (len == 0 || len > 255)
			return complain(c, problems, "a name of 1 to 255 octets", "ALPN name", o->alpn[i]);
		n += 1 + len;
	}
	if (n == 0)
		return 0;
	c->alpn = malloc(n);
	if (c->alpn == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < o->n_alpn; i++) {
		size_t len = strlen(o->alpn[i]);

		c->alpn[c->alpn_octets] = (uint8_t)len;
		memcpy(c->alpn + c->alpn_octets + 1, o->alpn[i], len);
		c->alpn_octets += (unsigned)len + 1;
	}
	return c->end == TLS_SERVER && SSL_CTX_set_alpn_protos(c->ctx, c->alpn, c->alpn_octets) != 0 ? -ENOMEM : 0;
}

/* The client's list, by our preference. None in common: the client is told (RFC 7301, 3.2). */
static int select_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_octets, const unsigned char *in,
		       unsigned in_octets, void *arg)
{
	const struct tls_context *c = tls_link_of(ssl)->context;
	struct slice ours = { c->alpn, c->alpn_octets }, name, theirs, other;

	if (c->alpn_octets == 0)
		return SSL_TLSEXT_ERR_NOACK;
	while (tls_alpn_next(&ours, &name)) {
		theirs = slice_of(in, in_octets);
		while (tls_alpn_next(&theirs, &other)) {
			if (!slice_equal(name, other))
				continue;
			*out = name.ptr;
			*out_octets = (unsigned char)name.len;
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* OCSP. */

int tls_ocsp_read(const struct encryption *e, struct policy_problems *problems, struct tls_staple **out)
{
	const char *file = e->sides[TLS_CLIENT].options.ocsp_file;
	struct slice octets = { NULL, 0 };
	int parsed = 0, err = tls_read_file(file, OCSP_OCTETS_MAX, &octets);

	if (err == 0)
		parsed = tls_staple_parse(octets, out);
	free((void *)octets.ptr);
	if ((err == 0 && parsed == 0) || err == -ENOMEM || parsed == -ENOMEM)
		return err != 0 ? err : parsed;
	problems_add(problems, PROBLEM_ERROR, e->place, "a successful response in DER, as `openssl ocsp -respout` writes it",
		     "encryption %s: OCSP response %s: %s", e->name, file, err < 0 ? strerror(-err) : "this is none");
	return -EINVAL;
}

static int load_ocsp(struct tls_context *c, struct policy_problems *problems)
{
	if (c->side->options.ocsp_file == NULL || c->end == TLS_SERVER)
		return 0;
	return tls_ocsp_read(c->encryption, problems, &c->staple);
}

/* Once for each response and process. Where names choose among certificates, one of them has it, and the others have not. */
static void tell_unstapled(struct tls_context *c, enum tls_staple_answer why, int64_t until)
{
	const char *file = c->side->options.ocsp_file;

	if (c->staple_told || (why == TLS_STAPLE_OTHER && c->side->own.n_named > 0))
		return;
	c->staple_told = true;
	if (why == TLS_STAPLE_OTHER)
		log_event(LOG_CORE_ERROR, 3, slice_cstr("nosession"), "The OCSP response is not stapled: it is about another certificate",
			  F_TEXT("encryption", c->encryption->name), F_TEXT("file", file));
	else
		log_event(LOG_CORE_ERROR, 2, slice_cstr("nosession"), "The OCSP response is not stapled: its time is over, or has not come",
			  F_TEXT("encryption", c->encryption->name), F_TEXT("file", file), F_INT("until", until));
}

static int staple(SSL *ssl, void *arg)
{
	struct tls_link *link = tls_link_of(ssl);
	struct tls_context *c = link->context;
	STACK_OF(X509) *chain = NULL;
	X509 *leaf = SSL_get_certificate(ssl);
	enum tls_staple_answer answer;
	int64_t until = 0;
	struct slice der;
	void *copy;

	if (c->staple == NULL || leaf == NULL || link->hand == NULL)
		return SSL_TLSEXT_ERR_NOACK;
	(void)SSL_get0_chain_certs(ssl, &chain);
	answer = tls_staple_fits(c->staple, leaf, chain, loop_wall_ms(link->hand->stream->loop) / 1000, &until);
	if (answer != TLS_STAPLE_FITS) {
		tell_unstapled(c, answer, until);
		return SSL_TLSEXT_ERR_NOACK;
	}
	der = tls_staple_der(c->staple);
	copy = OPENSSL_memdup(der.ptr, der.len);
	if (copy == NULL)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)der.len);
	return SSL_TLSEXT_ERR_OK;
}

/* The name was looked at in the hello callback; here it is only confirmed. */
static int confirm_name(SSL *ssl, int *alert, void *arg)
{
	return SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) != NULL ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_NOACK;
}

int tls_options_apply(struct tls_context *c, struct policy_problems *problems)
{
	/* The usual workarounds, but not the one that takes away a defence of CBC in TLS 1.0. */
	uint64_t options = (SSL_OP_ALL & ~SSL_OP_DONT_INSERT_EMPTY_FRAGMENTS) | SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION;
	int errs[6];

	if (c->side->options.server_preference)
		options |= SSL_OP_CIPHER_SERVER_PREFERENCE;
	SSL_CTX_clear_options(c->ctx, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_ALLOW_UNSAFE_LEGACY_RENEGOTIATION);
	SSL_CTX_set_options(c->ctx, options);
	SSL_CTX_set_mode(c->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_AUTO_RETRY |
					 SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_NO_AUTO_CHAIN);
	SSL_CTX_set_read_ahead(c->ctx, 1);
	SSL_CTX_set_max_cert_list(c->ctx, TLS_PEER_CHAIN_OCTETS);
	set_level(c);
	if (c->end == TLS_CLIENT) {
		SSL_CTX_set_alpn_select_cb(c->ctx, select_alpn, NULL);
		SSL_CTX_set_tlsext_status_cb(c->ctx, staple);
		SSL_CTX_set_tlsext_servername_callback(c->ctx, confirm_name);
	}
	errs[0] = set_versions(c, problems);
	errs[1] = set_ciphers(c, problems);
	errs[2] = set_dh(c, problems);
	errs[3] = set_alpn(c, problems);
	errs[4] = load_ocsp(c, problems);
	errs[5] = set_signatures(c);
	for (size_t i = 0; i < ARRAY_LEN(errs); i++)
		if (errs[i] < 0)
			return errs[i];
	return 0;
}
