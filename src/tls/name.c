/* SPDX-License-Identifier: Apache-2.0 */
/* Is a certificate for that host (RFC 9525)? The subject's common name never counts. */
#include "tls/tls_priv.h"

#include <errno.h>
#include <idn2.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <strings.h>

#define HOST_MAX 1024	/* octets of a name in UTF-8 */
#define CHECK (X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT)

static bool fits_ip(X509 *x, const struct ip_addr *ip)
{
	return X509_check_ip(x, ip->octets, ip_bits(ip) / 8, 0) == 1;
}

static bool is_ascii(const char *text)
{
	while (*text != '\0')
		if ((unsigned char)*text++ >= 0x80)
			return false;
	return true;
}

static int copy_name(const char *name, char out[TLS_NAME_MAX + 1])
{
	size_t n = strlen(name);

	if (n > 0 && name[n - 1] == '.')
		n--;
	if (n == 0 || n > TLS_NAME_MAX)
		return -EINVAL;
	memcpy(out, name, n);
	out[n] = '\0';
	return 0;
}

int tls_name_to_ascii(struct slice host, char out[TLS_NAME_MAX + 1])
{
	char text[HOST_MAX], *ascii = NULL;
	int err = slice_to_cstr(host, text, sizeof(text)) < 0 ? -EINVAL : 0;

	if (err == 0 && !is_ascii(text) && idn2_to_ascii_8z(text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		err = -EINVAL;
	if (err == 0)
		err = copy_name(ascii != NULL ? ascii : text, out);
	idn2_free(ascii);
	return err;
}

/* U-labels are compared as A-labels (RFC 9525, 6.3). A dot at the beginning would ask the library for any name below. */
static bool fits_name(X509 *x, struct slice host)
{
	char name[TLS_NAME_MAX + 1];

	return tls_name_to_ascii(host, name) == 0 && name[0] != '.' && X509_check_host(x, name, 0, CHECK, NULL) == 1;
}

static bool is_name(const ASN1_STRING *text, const char *name)
{
	size_t n = strlen(name);

	return ASN1_STRING_length(text) == (int)n && strncasecmp((const char *)ASN1_STRING_get0_data(text), name, n) == 0;
}

static bool common_names_only(X509 *x, const char *name)
{
	const X509_NAME *subject = X509_get_subject_name(x);

	for (int i = -1; (i = X509_NAME_get_index_by_NID((X509_NAME *)subject, NID_commonName, i)) >= 0;)
		if (!is_name(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, i)), name))
			return false;
	return true;
}

static bool alternative_names_only(X509 *x, const char *name)
{
	int critical;
	GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, &critical, NULL);
	bool only = names != NULL || critical == -1;	/* else one that can't be read, or several */

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && only; i++) {
		const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, i);

		only = one->type == GEN_DNS && is_name(one->d.dNSName, name);
	}
	GENERAL_NAMES_free(names);
	return only;
}

bool tls_names_only(X509 *x, struct slice host)
{
	char name[TLS_NAME_MAX + 1];
	bool only = tls_name_to_ascii(host, name) == 0 && common_names_only(x, name) && alternative_names_only(x, name);

	ERR_clear_error();
	return only;
}

bool tls_fits_host(const struct tls_facts *facts, struct slice host)
{
	const unsigned char *der;
	struct ip_addr ip;
	X509 *x;
	bool fits;

	if (facts->n_peer == 0)
		return false;
	der = facts->peer[0].der.ptr;
	x = d2i_X509(NULL, &der, (long)facts->peer[0].der.len);
	if (x == NULL)
		return false;
	fits = ip_parse(host, &ip) == 0 ? fits_ip(x, &ip) : fits_name(x, host);
	X509_free(x);
	ERR_clear_error();
	return fits;
}
