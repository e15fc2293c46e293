/* SPDX-License-Identifier: Apache-2.0 */
/* Is a certificate for that host (RFC 9525)? The subject's common name never counts. */
#include "tls/tls.h"

#include <idn2.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

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

/* U-labels are compared as A-labels (RFC 9525, 6.3); the dot at the end is no part of the name. One at the beginning
 * would ask the library for any name below it. */
static bool fits_name(X509 *x, const char *host)
{
	char *ascii = NULL;
	size_t n;
	bool fits;

	if (!is_ascii(host) && idn2_to_ascii_8z(host, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return false;
	if (ascii != NULL)
		host = ascii;
	n = strlen(host);
	if (n > 0 && host[n - 1] == '.')
		n--;
	fits = n > 0 && host[0] != '.' && X509_check_host(x, host, n, CHECK, NULL) == 1;
	idn2_free(ascii);
	return fits;
}

bool tls_fits_host(const struct tls_facts *facts, struct slice host)
{
	const unsigned char *der;
	struct ip_addr ip;
	char text[TLS_NAME_MAX + 2];
	X509 *x;
	bool fits;

	if (facts->n_peer == 0 || slice_to_cstr(host, text, sizeof(text)) < 0)
		return false;
	der = facts->peer[0].der.ptr;
	x = d2i_X509(NULL, &der, (long)facts->peer[0].der.len);
	if (x == NULL)
		return false;
	fits = ip_parse(host, &ip) == 0 ? fits_ip(x, &ip) : fits_name(x, text);
	X509_free(x);
	ERR_clear_error();
	return fits;
}
