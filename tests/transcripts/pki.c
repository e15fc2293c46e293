/* SPDX-License-Identifier: Apache-2.0 */
#include "pki.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DAY (24L * 60 * 60)
#define PATH_OCTETS 128
#define PINNED "pins/10.9.9.9:25"

struct entity {
	const char *file, *name;	/* name: subject and DNS name */
	const char *issuer;		/* its file; NULL: itself */
	bool is_ca;
	long not_before, not_after;	/* seconds from now */
};

static const struct entity entities[] = {
	{ "ca", "Test CA", NULL, true, -400 * DAY, 400 * DAY },
	{ "stranger", "Stranger CA", NULL, true, -400 * DAY, 400 * DAY },
	{ "firewall", "fw.example", "ca", false, -DAY, 90 * DAY },
	{ "good", "mail.example", "ca", false, -DAY, 90 * DAY },
	{ "wrong", "other.example", "ca", false, -DAY, 90 * DAY },
	{ "expired", "mail.example", "ca", false, -90 * DAY, -DAY },
	{ "revoked", "mail.example", "ca", false, -DAY, 90 * DAY },
	{ "unknown", "mail.example", "stranger", false, -DAY, 90 * DAY },
	{ "client", "client.example", "ca", false, -DAY, 90 * DAY },
};
#define N_ENTITIES (sizeof(entities) / sizeof(entities[0]))

static struct {
	char directory[32];
	X509 *certificates[N_ENTITIES];
	EVP_PKEY *keys[N_ENTITIES];
} pki;

static void give_up(const char *what)
{
	fprintf(stderr, "pki: %s\n", what);
	exit(1);
}

static const char *path_of(char buf[PATH_OCTETS], const char *file, const char *ending)
{
	snprintf(buf, PATH_OCTETS, "%s/%s%s", pki.directory, file, ending);
	return buf;
}

static FILE *create(const char *file, const char *ending)
{
	char path[PATH_OCTETS];
	FILE *f = fopen(path_of(path, file, ending), "we");

	if (f == NULL)
		give_up("a file can't be written");
	return f;
}

static size_t index_of(const char *file)
{
	for (size_t i = 0; i < N_ENTITIES; i++)
		if (strcmp(entities[i].file, file) == 0)
			return i;
	give_up("there is no such certificate");
	return 0;
}

static void extend(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	if (extension == NULL || X509_add_ext(certificate, extension, -1) != 1)
		give_up("an extension can't be added");
	X509_EXTENSION_free(extension);
}

static X509 *certify(size_t i)
{
	const struct entity *e = &entities[i];
	size_t issuer = e->issuer != NULL ? index_of(e->issuer) : i;
	X509 *x = X509_new();
	X509_NAME *name = X509_NAME_new();
	char san[128];

	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 1000 + (long)i);
	X509_gmtime_adj(X509_getm_notBefore(x), e->not_before);
	X509_gmtime_adj(X509_getm_notAfter(x), e->not_after);
	X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)e->name, -1, -1, 0);
	X509_set_subject_name(x, name);
	X509_set_issuer_name(x, e->issuer != NULL ? X509_get_subject_name(pki.certificates[issuer]) : name);
	X509_set_pubkey(x, pki.keys[i]);
	X509_NAME_free(name);
	extend(x, x, NID_basic_constraints, e->is_ca ? "critical,CA:TRUE" : "critical,CA:FALSE");
	extend(x, x, NID_key_usage, e->is_ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature");
	extend(x, x, NID_subject_key_identifier, "hash");
	snprintf(san, sizeof(san), "DNS:%s", e->name);
	if (!e->is_ca)
		extend(x, x, NID_subject_alt_name, san);
	if (X509_sign(x, pki.keys[issuer], EVP_sha256()) == 0)
		give_up("a certificate can't be signed");
	return x;
}

static void write_entity(size_t i)
{
	FILE *f = create(entities[i].file, ".pem");

	PEM_write_X509(f, pki.certificates[i]);
	if (entities[i].issuer != NULL)
		PEM_write_X509(f, pki.certificates[index_of(entities[i].issuer)]);
	fclose(f);
	f = create(entities[i].file, ".key");
	PEM_write_PrivateKey(f, pki.keys[i], NULL, NULL, 0, NULL, NULL);
	fclose(f);
}

/* The CA's directories: only the one CA is in them. */
static void write_directories(void)
{
	X509 *ca = pki.certificates[0];
	X509_CRL *crl = X509_CRL_new();
	X509_REVOKED *revoked = X509_REVOKED_new();
	ASN1_TIME *before = X509_gmtime_adj(NULL, -DAY), *after = X509_gmtime_adj(NULL, 30 * DAY);
	char path[PATH_OCTETS], name[32];
	FILE *f;

	mkdir(path_of(path, "ca", ""), 0700);
	mkdir(path_of(path, "crl", ""), 0700);
	snprintf(name, sizeof(name), "ca/%08lx", X509_subject_name_hash(ca));
	f = create(name, ".0");
	PEM_write_X509(f, ca);
	fclose(f);
	X509_CRL_set_version(crl, X509_CRL_VERSION_2);
	X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca));
	X509_CRL_set1_lastUpdate(crl, before);
	X509_CRL_set1_nextUpdate(crl, after);
	X509_REVOKED_set_serialNumber(revoked, X509_get_serialNumber(pki.certificates[index_of("revoked")]));
	X509_REVOKED_set_revocationDate(revoked, before);
	X509_CRL_add0_revoked(crl, revoked);
	X509_CRL_sign(crl, pki.keys[0], EVP_sha256());
	snprintf(name, sizeof(name), "crl/%08lx", X509_subject_name_hash(ca));
	f = create(name, ".r0");
	PEM_write_X509_CRL(f, crl);
	fclose(f);
	X509_CRL_free(crl);
	ASN1_TIME_free(before);
	ASN1_TIME_free(after);
}

static void write_pin(void)
{
	char path[PATH_OCTETS];
	FILE *f;

	mkdir(path_of(path, "pins", ""), 0700);
	f = create(PINNED, "");
	PEM_write_X509(f, pki.certificates[index_of("unknown")]);
	fclose(f);
}

static void remove_all(void)
{
	char path[PATH_OCTETS], name[32];

	snprintf(name, sizeof(name), "ca/%08lx", X509_subject_name_hash(pki.certificates[0]));
	unlink(path_of(path, name, ".0"));
	snprintf(name, sizeof(name), "crl/%08lx", X509_subject_name_hash(pki.certificates[0]));
	unlink(path_of(path, name, ".r0"));
	for (size_t i = 0; i < N_ENTITIES; i++) {
		unlink(path_of(path, entities[i].file, ".pem"));
		unlink(path_of(path, entities[i].file, ".key"));
		X509_free(pki.certificates[i]);
		EVP_PKEY_free(pki.keys[i]);
	}
	unlink(path_of(path, PINNED, ""));
	rmdir(path_of(path, "pins", ""));
	rmdir(path_of(path, "ca", ""));
	rmdir(path_of(path, "crl", ""));
	rmdir(pki.directory);
}

const char *pki_directory(void)
{
	if (pki.directory[0] != '\0')
		return pki.directory;
	snprintf(pki.directory, sizeof(pki.directory), "/tmp/sallyport-pki-XXXXXX");
	if (mkdtemp(pki.directory) == NULL)
		return NULL;
	for (size_t i = 0; i < N_ENTITIES; i++) {
		pki.keys[i] = EVP_EC_gen("P-256");
		if (pki.keys[i] == NULL)
			give_up("a key can't be made");
		pki.certificates[i] = certify(i);
		write_entity(i);
	}
	write_directories();
	write_pin();
	atexit(remove_all);
	return pki.directory;
}
