/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/staple.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <stdlib.h>
#include <time.h>

#define AHEAD_S 300		/* that the CA's clock may be */

struct tls_staple {
	struct slice der;
	OCSP_BASICRESP *basic;
};

static OCSP_BASICRESP *parse_basic(struct slice der)
{
	const unsigned char *at = der.ptr;
	OCSP_RESPONSE *response = der.len <= LONG_MAX ? d2i_OCSP_RESPONSE(NULL, &at, (long)der.len) : NULL;
	OCSP_BASICRESP *basic = NULL;

	if (response != NULL && at == der.ptr + der.len && OCSP_response_status(response) == OCSP_RESPONSE_STATUS_SUCCESSFUL)
		basic = OCSP_response_get1_basic(response);
	OCSP_RESPONSE_free(response);
	ERR_clear_error();
	return basic;
}

int tls_staple_parse(struct slice der, struct tls_staple **out)
{
	OCSP_BASICRESP *basic = der.len > 0 ? parse_basic(der) : NULL;
	struct tls_staple *s;
	void *copy;

	if (basic == NULL || OCSP_resp_count(basic) <= 0) {
		OCSP_BASICRESP_free(basic);
		return -EINVAL;
	}
	s = calloc(1, sizeof(*s));
	copy = malloc(der.len);
	if (s == NULL || copy == NULL) {
		OCSP_BASICRESP_free(basic);
		free(copy);
		free(s);
		return -ENOMEM;
	}
	memcpy(copy, der.ptr, der.len);
	*s = (struct tls_staple){ slice_of(copy, der.len), basic };
	*out = s;
	return 0;
}

void tls_staple_free(struct tls_staple **sp)
{
	struct tls_staple *s = *sp;

	if (s == NULL)
		return;
	*sp = NULL;
	OCSP_BASICRESP_free(s->basic);
	free((void *)s->der.ptr);
	free(s);
}

struct slice tls_staple_der(const struct tls_staple *s)
{
	return s->der;
}

/* ---- whom it is about ---- */

static bool has_digest(const ASN1_OCTET_STRING *expected, const uint8_t *digest, unsigned n)
{
	return ASN1_STRING_length(expected) == (int)n && memcmp(ASN1_STRING_get0_data(expected), digest, n) == 0;
}

static X509 *issuer_of(X509 *leaf, STACK_OF(X509) *chain)
{
	for (int i = 0; i < sk_X509_num(chain); i++)
		if (X509_NAME_cmp(X509_get_issuer_name(leaf), X509_get_subject_name(sk_X509_value(chain, i))) == 0)
			return sk_X509_value(chain, i);
	return NULL;
}

static bool is_about(OCSP_SINGLERESP *single, X509 *leaf, STACK_OF(X509) *chain)
{
	ASN1_OCTET_STRING *name_hash, *key_hash;
	ASN1_INTEGER *serial;
	ASN1_OBJECT *md_name;
	X509 *issuer = issuer_of(leaf, chain);
	uint8_t digest[EVP_MAX_MD_SIZE];
	const EVP_MD *md;
	unsigned n;

	if (OCSP_id_get0_info(&name_hash, &md_name, &key_hash, &serial, (OCSP_CERTID *)OCSP_SINGLERESP_get0_id(single)) != 1 ||
	    ASN1_INTEGER_cmp(serial, X509_get0_serialNumber(leaf)) != 0)
		return false;
	md = EVP_get_digestbyobj(md_name);
	return md != NULL && X509_NAME_digest(X509_get_issuer_name(leaf), md, digest, &n) == 1 && has_digest(name_hash, digest, n) &&
	       (issuer == NULL || (X509_pubkey_digest(issuer, md, digest, &n) == 1 && has_digest(key_hash, digest, n)));
}

/* ---- when ---- */

/* RFC 6960: without nextUpdate there is newer information always; so it has no end. */
static int64_t seconds_of(const ASN1_GENERALIZEDTIME *time, int64_t missing)
{
	struct tm tm;

	if (time == NULL)
		return missing;
	return ASN1_TIME_to_tm(time, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static bool is_in_time(OCSP_SINGLERESP *single, int64_t now, int64_t *until)
{
	ASN1_GENERALIZEDTIME *from = NULL, *to = NULL;

	(void)OCSP_single_get0_status(single, NULL, NULL, &from, &to);
	*until = seconds_of(to, INT64_MAX);
	return from != NULL && seconds_of(from, 0) <= now + AHEAD_S && now < *until;
}

enum tls_staple_answer tls_staple_fits(const struct tls_staple *s, X509 *leaf, STACK_OF(X509) *chain, int64_t now, int64_t *until)
{
	enum tls_staple_answer answer = TLS_STAPLE_OTHER;

	for (int i = 0; i < OCSP_resp_count(s->basic) && answer != TLS_STAPLE_FITS; i++) {
		OCSP_SINGLERESP *single = OCSP_resp_get0(s->basic, i);

		if (is_about(single, leaf, chain))
			answer = is_in_time(single, now, until) ? TLS_STAPLE_FITS : TLS_STAPLE_LATE;
	}
	ERR_clear_error();
	return answer;
}

/* ---- what others' say ---- */

enum tls_staple_status tls_staple_judge(struct slice der, STACK_OF(X509) *chain, X509_STORE *store, int64_t now, int64_t *until)
{
	OCSP_BASICRESP *basic = parse_basic(der);
	enum tls_staple_status status = TLS_STAPLE_SAYS_NOTHING;
	X509 *leaf = sk_X509_value(chain, 0);
	bool believed = basic != NULL && OCSP_basic_verify(basic, chain, store, 0) == 1;
	int64_t end;

	for (int i = 0; believed && i < OCSP_resp_count(basic) && status != TLS_STAPLE_SAYS_REVOKED; i++) {
		OCSP_SINGLERESP *single = OCSP_resp_get0(basic, i);
		int said = OCSP_single_get0_status(single, NULL, NULL, NULL, NULL);

		if (!is_about(single, leaf, chain))
			continue;
		if (said == V_OCSP_CERTSTATUS_REVOKED) {	/* for ever, so its age does not matter */
			status = TLS_STAPLE_SAYS_REVOKED;
		} else if (said == V_OCSP_CERTSTATUS_GOOD && is_in_time(single, now, &end)) {
			status = TLS_STAPLE_SAYS_GOOD;
			*until = end;
		}
	}
	OCSP_BASICRESP_free(basic);
	ERR_clear_error();
	return status;
}
