/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/tlsa.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509.h>

enum { SELECTOR_CERTIFICATE, SELECTOR_KEY };
enum { MATCHING_WHOLE, MATCHING_SHA256, MATCHING_SHA512, MATCHINGS };

#define HEAD 3u			/* usage, selector, matching */

int tlsa_parse(struct slice rdata, struct tlsa *out)
{
	if (rdata.len <= HEAD)
		return -EBADMSG;
	*out = (struct tlsa){ rdata.ptr[0], rdata.ptr[1], rdata.ptr[2], slice_skip(rdata, HEAD) };
	return 0;
}

static bool is_certificate(struct slice der)
{
	const unsigned char *at = der.ptr;
	X509 *x = d2i_X509(NULL, &at, (long)der.len);
	bool good = x != NULL && at == der.ptr + der.len && X509_get0_pubkey(x) != NULL;

	X509_free(x);
	ERR_clear_error();
	return good;
}

static bool is_key(struct slice der)
{
	const unsigned char *at = der.ptr;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)der.len);
	bool good = key != NULL && at == der.ptr + der.len;

	EVP_PKEY_free(key);
	ERR_clear_error();
	return good;
}

/* What stands there whole must be one: the library would not take the record otherwise. */
static bool has_right_data(const struct tlsa *r)
{
	static const size_t lengths[MATCHINGS] = { [MATCHING_SHA256] = 32, [MATCHING_SHA512] = 64 };

	if (r->matching != MATCHING_WHOLE)
		return r->data.len == lengths[r->matching];
	return r->selector == SELECTOR_KEY ? is_key(r->data) : is_certificate(r->data);
}

bool tlsa_is_usable(const struct tlsa *r)
{
	return (r->usage == TLSA_DANE_TA || r->usage == TLSA_DANE_EE) && r->selector <= SELECTOR_KEY && r->matching < MATCHINGS &&
	       has_right_data(r);
}

/* Cuts the next record's octets off *rest. */
static int next(struct slice *rest, struct slice *rdata)
{
	size_t n = rest->len < 2 ? SIZE_MAX : (size_t)rest->ptr[0] << 8 | rest->ptr[1];

	if (rest->len < 2 || n > rest->len - 2)
		return -EBADMSG;
	*rdata = slice_take(slice_skip(*rest, 2), n);
	*rest = slice_skip(*rest, 2 + n);
	return 0;
}

int tlsa_set_parse(struct slice octets, struct tlsa_set *out)
{
	struct tlsa_set set = { .octets = octets };
	struct slice rest = octets;

	while (rest.len > 0) {
		struct slice rdata;
		struct tlsa record;
		int err = next(&rest, &rdata);

		if (err < 0)
			return err;
		if (set.n + set.n_unusable == TLSA_RECORDS_MAX)
			return -E2BIG;
		if (tlsa_parse(rdata, &record) == 0 && tlsa_is_usable(&record))
			set.records[set.n++] = record;
		else
			set.n_unusable++;
	}
	*out = set;
	return 0;
}
