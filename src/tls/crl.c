/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL lets a program say how entries are found and signatures are verified (X509_CRL_METHOD); when a list counts at
 * all (issuer, key usage, dates, scope, what is critical in it) stays its own business. The method is the process's, but a list
 * that was not read here has no digest, so it is never believed.
 */
#include "tls/crl.h"

#include "base/slice.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <pthread.h>
#include <stdlib.h>

/* What was found out when the list was read. */
struct crl_digest {
	const EVP_MD *md;		/* NULL: to be digested with each key anew */
	unsigned octets;
	uint8_t digest[EVP_MAX_MD_SIZE];
};

/* ---- entries ---- */

static int compare(const STACK_OF(X509_REVOKED) *entries, int i, const ASN1_INTEGER *serial)
{
	return ASN1_STRING_cmp(X509_REVOKED_get0_serialNumber(sk_X509_REVOKED_value(entries, i)), serial);
}

/*
 * The first of that serial number. Lists that have other CAs' entries (indirect ones) never get here; a certificate
 * issuer that stands with an entry nevertheless does not save it.
 */
static int look_up(X509_CRL *crl, X509_REVOKED **out, const ASN1_INTEGER *serial, const X509_NAME *unused)
{
	const STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
	int from = 0, n = entries != NULL ? sk_X509_REVOKED_num(entries) : 0, to = n;

	while (from < to) {
		int middle = from + (to - from) / 2;

		if (compare(entries, middle, serial) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	if (from == n || compare(entries, from, serial) != 0)
		return 0;
	*out = sk_X509_REVOKED_value(entries, from);
	return 1;
}

/* ---- signature ---- */

/* The part that is signed, as it came; empty: there is none. */
static struct slice signed_part(const unsigned char *der, int n)
{
	const unsigned char *at = der, *begin;
	int tag, class;
	long len;

	if (n <= 0 || ASN1_get_object(&at, &len, &tag, &class, n) != V_ASN1_CONSTRUCTED)
		return slice_of(NULL, 0);
	begin = at;
	if (ASN1_get_object(&at, &len, &tag, &class, n - (at - der)) != V_ASN1_CONSTRUCTED)
		return slice_of(NULL, 0);
	return slice_of(begin, (size_t)(at - begin + len));
}

/* The digest and the kind of key of these signatures; NULL: not one digest for all keys. */
static const EVP_MD *digest_of(const X509_CRL *crl, int *key_nid)
{
	int md_nid;

	if (OBJ_find_sigid_algs(X509_CRL_get_signature_nid(crl), &md_nid, key_nid) != 1 || md_nid == NID_undef ||
	    (*key_nid != NID_rsaEncryption && *key_nid != NID_X9_62_id_ecPublicKey))
		return NULL;
	return EVP_get_digestbynid(md_nid);
}

static int verify_digest(const X509_CRL *crl, EVP_PKEY *key, const struct crl_digest *d)
{
	const ASN1_BIT_STRING *signature;
	EVP_PKEY_CTX *ctx;
	int nid, good;

	X509_CRL_get0_signature(crl, &signature, NULL);
	if (digest_of(crl, &nid) == NULL || !EVP_PKEY_is_a(key, OBJ_nid2sn(nid)) || (signature->flags & 7) != 0)
		return 0;
	ctx = EVP_PKEY_CTX_new(key, NULL);
	good = ctx != NULL && EVP_PKEY_verify_init(ctx) == 1 && EVP_PKEY_CTX_set_signature_md(ctx, d->md) == 1 &&
	       EVP_PKEY_verify(ctx, signature->data, (size_t)signature->length, d->digest, d->octets) == 1;
	EVP_PKEY_CTX_free(ctx);
	return good;
}

static int verify_whole(X509_CRL *crl, EVP_PKEY *key)
{
	const ASN1_BIT_STRING *signature;
	const X509_ALGOR *algorithm;
	uint8_t *der = NULL;
	int n = i2d_X509_CRL(crl, &der);
	struct slice part = signed_part(der, n);
	const unsigned char *at = part.ptr;
	ASN1_TYPE *any = part.len > 0 ? d2i_ASN1_TYPE(NULL, &at, (long)part.len) : NULL;
	int good = 0;

	OPENSSL_free(der);
	X509_CRL_get0_signature(crl, &signature, &algorithm);
	if (any != NULL)
		good = ASN1_item_verify(ASN1_ITEM_rptr(ASN1_ANY), algorithm, signature, any, key) == 1;
	ASN1_TYPE_free(any);
	return good;
}

static int verify(X509_CRL *crl, EVP_PKEY *key)
{
	const struct crl_digest *d = X509_CRL_get_meth_data(crl);

	if (d == NULL)
		return 0;
	return d->md != NULL ? verify_digest(crl, key, d) : verify_whole(crl, key);
}

/* ---- reading ---- */

static int forget(X509_CRL *crl)
{
	free(X509_CRL_get_meth_data(crl));
	X509_CRL_set_meth_data(crl, NULL);
	return 1;
}

static void set_method(void)
{
	X509_CRL_METHOD *method = X509_CRL_METHOD_new(NULL, forget, look_up, verify);

	if (method != NULL)
		X509_CRL_set_default_method(method);
}

/* A digest that the library does not have leads to a signature that it can't verify, when it comes to that. */
static int prepare(X509_CRL *crl)
{
	struct crl_digest *d = calloc(1, sizeof(*d));
	STACK_OF(X509_REVOKED) *entries = X509_CRL_get_REVOKED(crl);
	uint8_t *der = NULL;
	struct slice part;
	int nid, n = i2d_X509_CRL(crl, &der);

	if (d == NULL || n < 0) {
		free(d);
		return -ENOMEM;
	}
	part = signed_part(der, n);
	d->md = digest_of(crl, &nid);
	if (d->md != NULL && EVP_Digest(part.ptr, part.len, d->digest, &d->octets, d->md, NULL) != 1)
		d->md = NULL;
	OPENSSL_free(der);
	X509_CRL_set_meth_data(crl, d);
	if (entries != NULL)
		sk_X509_REVOKED_sort(entries);
	return 0;
}

int tls_crl_read(BIO *pem, X509_CRL **out)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	X509_CRL *crl;
	int err;

	(void)pthread_once(&once, set_method);
	crl = PEM_read_bio_X509_CRL(pem, NULL, NULL, NULL);
	if (crl == NULL)
		return 0;
	err = prepare(crl);
	if (err < 0)
		X509_CRL_free(crl);
	else
		*out = crl;
	return err < 0 ? err : 1;
}
