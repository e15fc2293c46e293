/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of mimicking, field by field: what of the original the leaf takes over, and what it
 * gets from us.
 */
#include "tls/mint_priv.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <time.h>

#define DAY (24 * 3600)
#define LONGEST (MINT_DAYS_MAX * DAY - 1)	/* the last second counts */
#define BACK (30 * DAY)				/* of a long one that is capped: for clients whose clock is late */
#define RENEW (30 * DAY)			/* a capped one is made anew so long before its end */
#define SERIAL_OCTETS 16

static int read_time(const ASN1_TIME *time, int64_t *out)
{
	struct tm tm;

	if (time == NULL || ASN1_TIME_to_tm(time, &tm) != 1)
		return -EINVAL;
	*out = (int64_t)timegm(&tm);
	return 0;
}

int mint_times_of(const X509 *certificate, struct mint_times *out)
{
	struct mint_times times;

	if (read_time(X509_get0_notBefore(certificate), &times.not_before) < 0 ||
	    read_time(X509_get0_notAfter(certificate), &times.not_after) < 0)
		return -EINVAL;
	*out = times;
	return 0;
}

enum phase { EXPIRED, NOT_YET, VALID };

/* Whose end is before its beginning is never valid; that is "expired". */
static enum phase phase_of(struct mint_times times, int64_t now)
{
	if (now > times.not_after)
		return EXPIRED;
	return now < times.not_before ? NOT_YET : VALID;
}

static int64_t later(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

struct mint_times mint_times_capped(struct mint_times original, int64_t now)
{
	struct mint_times times = original;

	if (original.not_after - original.not_before <= LONGEST)
		return times;
	switch (phase_of(original, now)) {
	case EXPIRED:
		times.not_before = original.not_after - LONGEST;
		break;
	case NOT_YET:
		times.not_after = original.not_before + LONGEST;
		break;
	case VALID:
		times.not_before = later(original.not_before, now - BACK);
		times.not_after = earlier(original.not_after, times.not_before + LONGEST);
		break;
	}
	return times;
}

bool mint_times_fit(struct mint_times original, struct mint_times leaf, int64_t now)
{
	enum phase phase = phase_of(original, now);

	if (leaf.not_before < original.not_before || leaf.not_after > original.not_after ||
	    leaf.not_after - leaf.not_before > LONGEST || phase_of(leaf, now) != phase)
		return false;
	return phase != VALID || leaf.not_after == original.not_after || leaf.not_after - now >= RENEW;
}

/* Random: two processes, or two generations of the cache, never give the same one to different certificates. */
static bool set_serial(X509 *leaf)
{
	uint8_t octets[SERIAL_OCTETS];

	if (RAND_bytes(octets, sizeof(octets)) != 1)
		return false;
	octets[0] = (octets[0] & 0x7f) | 0x40;		/* positive, and always as long */
	return ASN1_STRING_set(X509_get_serialNumber(leaf), octets, sizeof(octets)) == 1;
}

static bool set_times(X509 *leaf, struct mint_times times)
{
	return ASN1_TIME_set(X509_getm_notBefore(leaf), (time_t)times.not_before) != NULL &&
	       ASN1_TIME_set(X509_getm_notAfter(leaf), (time_t)times.not_after) != NULL;
}

/* Without one of the CA there is nothing to match it with (RFC 5280, 4.2.1.1). */
static bool add_authority_key_id(X509 *leaf, const struct mint_authority *authority)
{
	const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(authority->certificate);
	AUTHORITY_KEYID *value;
	bool ok;

	if (id == NULL)
		return true;
	value = AUTHORITY_KEYID_new();
	ok = value != NULL && (value->keyid = ASN1_OCTET_STRING_dup(id)) != NULL &&
	     X509_add1_ext_i2d(leaf, NID_authority_key_identifier, value, 0, X509V3_ADD_DEFAULT) == 1;
	AUTHORITY_KEYID_free(value);
	return ok;
}

/* What comes from us. */
static bool set_own_fields(const struct mint_rules *rules, const struct mint_authority *authority, X509 *leaf)
{
	return X509_set_version(leaf, X509_VERSION_3) == 1 && set_serial(leaf) &&
	       X509_set_issuer_name(leaf, X509_get_subject_name(authority->certificate)) == 1 &&
	       X509_set_pubkey(leaf, rules->leaf_key) == 1 &&
	       X509_add1_ext_i2d(leaf, NID_subject_key_identifier, rules->leaf_key_id, 0, X509V3_ADD_DEFAULT) == 1 &&
	       add_authority_key_id(leaf, authority);
}

X509 *mint_leaf_make(const struct mint_rules *rules, const struct mint_authority *authority, X509 *original,
		     struct mint_times times, const char **why)
{
	const X509_NAME *subject = X509_get_subject_name(original);
	X509 *leaf = X509_new();

	*why = "out of memory, or of random octets";
	if (leaf == NULL || !set_own_fields(rules, authority, leaf))
		goto fail;
	*why = "its subject has a name that is none";
	if (!mint_name_is_sound(subject) || X509_set_subject_name(leaf, subject) != 1)
		goto fail;
	*why = "its validity can't be taken over";
	if (!set_times(leaf, times))
		goto fail;
	if (mint_extensions_copy(rules, original, leaf, why) < 0)
		goto fail;
	return leaf;
fail:
	X509_free(leaf);
	return NULL;
}

/*
 * A copy from the octets. Not only for the sake of honesty: OpenSSL remembers things about a
 * certificate (its digest, whether it is a CA) at the first question, and would give the answers
 * of one that was not finished then.
 */
static X509 *read_back(const X509 *certificate)
{
	unsigned char *der = NULL;
	int len = i2d_X509((X509 *)certificate, &der);
	const unsigned char *p = der;
	X509 *copy = len > 0 ? d2i_X509(NULL, &p, len) : NULL;

	OPENSSL_free(der);
	return copy;
}

co_waits X509 *mint_leaf_sign(X509 *made, const struct mint_authority *authority, const char **why)
{
	X509 *leaf;

	*why = "the CA's key could not sign";
	if (X509_sign(made, authority->key, authority->digest) <= 0)
		return NULL;
	leaf = read_back(made);
	*why = "out of memory";
	if (leaf != NULL && X509_check_ca(leaf) != 0) {
		/* Only by an extension that the policy put on the list (nsCertType, say). */
		*why = "with the policy's list of extensions the certificate would be a CA";
		X509_free(leaf);
		leaf = NULL;
	}
	return leaf;
}

static bool is_same_name(const X509_NAME *a, const X509_NAME *b)
{
	const unsigned char *a_der, *b_der;
	size_t a_len, b_len;

	return X509_NAME_get0_der(a, &a_der, &a_len) == 1 && X509_NAME_get0_der(b, &b_der, &b_len) == 1 &&
	       slice_equal(slice_of(a_der, a_len), slice_of(b_der, b_len));
}

static bool is_same_key(const X509 *a, const X509 *b)
{
	unsigned char *a_der = NULL, *b_der = NULL;
	int a_len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(a), &a_der), b_len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(b), &b_der);
	bool same = a_len > 0 && b_len > 0 && slice_equal(slice_of(a_der, (size_t)a_len), slice_of(b_der, (size_t)b_len));

	OPENSSL_free(a_der);
	OPENSSL_free(b_der);
	return same;
}

static bool is_same_extension(X509_EXTENSION *a, X509_EXTENSION *b)
{
	return OBJ_cmp(X509_EXTENSION_get_object(a), X509_EXTENSION_get_object(b)) == 0 &&
	       X509_EXTENSION_get_critical(a) == X509_EXTENSION_get_critical(b) &&
	       ASN1_OCTET_STRING_cmp(X509_EXTENSION_get_data(a), X509_EXTENSION_get_data(b)) == 0;
}

static bool has_same_extensions(const X509 *a, const X509 *b)
{
	if (X509_get_ext_count(a) != X509_get_ext_count(b))
		return false;
	for (int i = 0; i < X509_get_ext_count(a); i++)
		if (!is_same_extension(X509_get_ext(a, i), X509_get_ext(b, i)))
			return false;
	return true;
}

static bool has_digest(const X509 *certificate, const EVP_MD *digest)
{
	int nid, want = digest != NULL ? EVP_MD_get_type(digest) : NID_undef;

	return X509_get_signature_info((X509 *)certificate, &nid, NULL, NULL, NULL) == 1 && (digest == NULL || nid == want);
}

bool mint_leaf_is(X509 *certificate, X509 *made, const struct mint_authority *authority)
{
	return X509_get_version(certificate) == X509_get_version(made) &&
	       is_same_name(X509_get_subject_name(certificate), X509_get_subject_name(made)) &&
	       is_same_name(X509_get_issuer_name(certificate), X509_get_issuer_name(made)) && is_same_key(certificate, made) &&
	       has_same_extensions(certificate, made) && has_digest(certificate, authority->digest) &&
	       X509_verify(certificate, X509_get0_pubkey(authority->certificate)) == 1 && X509_check_ca(certificate) == 0;
}
