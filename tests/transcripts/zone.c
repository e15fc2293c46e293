/* SPDX-License-Identifier: Apache-2.0 */
/* The lookout, as a transcript has it: what it says of the server's zone and of the mail domain's policy. */
#include "pki.h"
#include "run.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

static X509 *read_certificate(const char *name)
{
	char path[256];
	X509 *x = NULL;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.pem", pki_directory(), name);
	f = fopen(path, "re");
	if (f != NULL) {
		x = PEM_read_X509(f, NULL, NULL, NULL);
		fclose(f);
	}
	return x;
}

static int put_record(const char *words, uint8_t *out, size_t size)
{
	unsigned usage, selector, matching, n = 0;
	char name[32] = "";
	uint8_t *der = NULL;
	X509 *x;
	int len;

	if (sscanf(words, "%u %u %u %31[a-z]", &usage, &selector, &matching, name) != 4)
		return -1;
	if (strcmp(name, "junk") == 0 && size >= 6) {
		memcpy(out, (uint8_t[]){ 0, 4, (uint8_t)usage, (uint8_t)selector, (uint8_t)matching, 'x' }, 6);
		return 6;
	}
	x = read_certificate(name);
	if (x == NULL)
		return -1;
	len = selector == 1 ? i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der) : i2d_X509(x, &der);
	X509_free(x);
	if (len > 0 && matching != 0 && size >= 5 + EVP_MAX_MD_SIZE)
		EVP_Digest(der, (size_t)len, out + 5, &n, matching == 2 ? EVP_sha512() : EVP_sha256(), NULL);
	if (len > 0 && matching == 0 && size >= 5 + (size_t)len) {
		memcpy(out + 5, der, (size_t)len);
		n = (unsigned)len;
	}
	OPENSSL_free(der);
	if (n == 0)
		return -1;
	out[0] = (uint8_t)((n + 3) >> 8);
	out[1] = (uint8_t)(n + 3);
	out[2] = (uint8_t)usage;
	out[3] = (uint8_t)selector;
	out[4] = (uint8_t)matching;
	return (int)n + 5;
}

static int put_records(const char *words, uint8_t *out, size_t size)
{
	size_t n = 0;

	while (words != NULL) {
		int len = put_record(words, out + n, size - n);

		if (len < 0)
			return -1;
		n += (size_t)len;
		words = strchr(words, ',');
		if (words != NULL)
			words++;
	}
	return (int)n;
}

/* A host's name, then its records. */
static int put_expanded(const char *words, uint8_t *out, size_t size)
{
	size_t len = strcspn(words, " ");
	int n = words[len] == '\0' || len + 2 > size ? -1 : put_records(words + len + 1, out + 2 + len, size - 2 - len);

	if (n < 0)
		return -1;
	out[0] = 0;
	out[1] = (uint8_t)len;
	memcpy(out + 2, words, len);
	return n + 2 + (int)len;
}

/*
 * secure RECORDS, expanded HOST RECORDS, denied, unsigned, bogus WHY, failed WHY. RECORDS: "3 1 1 good" and so on, separated by commas: usage,
 * selector, matching, and whose certificate (pki.h), or junk. The octets of the answer's body; negative: the words make no sense.
 */
static int zone_answer(const char *words, int *result, uint8_t *body, size_t size)
{
	static const char *const names[] = { "secure", "denied", "unsigned", "bogus", "failed", "expanded" };
	size_t n = strcspn(words, " ");
	const char *rest = words + n + strspn(words + n, " ");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strlen(names[i]) == n && strncmp(words, names[i], n) == 0) {
			*result = (int)i;
			if (i == LOOKOUT_TLSA_SECURE)
				return put_records(rest, body, size);
			if (i == LOOKOUT_TLSA_EXPANDED)
				return put_expanded(rest, body, size);
			return snprintf((char *)body, size, "%s", rest);
		}
	return -1;
}

/* absent, failed WHY, or a mode and a pattern of servers: enforce *.example. As zone_answer. */
static int domain_answer(const char *words, int *result, uint8_t *body, size_t size)
{
	size_t n = strcspn(words, " ");
	const char *rest = words + n + strspn(words + n, " ");

	*result = strcmp(words, "absent") == 0 ? LOOKOUT_STS_ABSENT : strncmp(words, "failed ", 7) == 0 ? LOOKOUT_STS_FAILED : LOOKOUT_STS_POLICY;
	if (*result != LOOKOUT_STS_POLICY)
		return snprintf((char *)body, size, "%s", rest);
	return snprintf((char *)body, size, "version: STSv1\nmode: %.*s\nmax_age: 86400\n%s%s", (int)n, words, *rest != '\0' ? "mx: " : "", rest);
}

typedef int (*answer_fn)(const char *words, int *result, uint8_t *body, size_t size);

static void set_answer(struct run *r, enum lookout_kind kind, const char *words, answer_fn answer)
{
	struct harness_says *says = &r->h.lookout_says[kind];
	int n = 0;

	if (prepare(r) < 0)
		return;
	says->nothing = strcmp(words, "silent") == 0;
	if (!says->nothing)
		n = answer(words, &says->result, says->body, sizeof(says->body));
	if (n < 0)
		fail(r, "what does '%s' mean?", words);
	says->octets = n < 0 ? 0 : (size_t)n;
}

/* zone ANSWER: what the server's zone says from now on; zone silent: nothing. */
void set_zone(struct run *r, const char *words)
{
	set_answer(r, LOOKOUT_TLSA, words, zone_answer);
}

/* domain ANSWER: the same of the mail domain. */
void set_domain(struct run *r, const char *words)
{
	set_answer(r, LOOKOUT_STS, words, domain_answer);
}

/* asked N NAME: so many questions so far, and the last one. */
void check_asked(struct run *r, const char *want)
{
	char have[400];

	settle(r);
	snprintf(have, sizeof(have), "%u%s%s", r->h.lookout_asked, r->h.lookout_asked > 0 ? " " : "", r->h.lookout_question);
	if (strcmp(want, have) != 0)
		fail(r, "asked %s", have);
}
