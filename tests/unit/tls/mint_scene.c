/* SPDX-License-Identifier: Apache-2.0 */
#include "mint_scene.h"

#include <stdio.h>
#include <stdlib.h>

const char *const scene_extensions[3] = { "keyUsage", "subjectAltName", "extendedKeyUsage" };

X509 *mint_scene_ca(EVP_PKEY *key, const char *name)
{
	const struct recipe recipe = {
		.common_name = name,
		.not_before = NOW - DAYS(3000),
		.not_after = NOW + DAYS(3000),
		.key = key,
		.extensions = { { "basicConstraints", "critical,CA:TRUE" },
				{ "keyUsage", "critical,keyCertSign,cRLSign" },
				{ "subjectKeyIdentifier", "hash" } },
	};

	return recipe_make(&recipe);
}

void mint_scene_begin(struct mint_scene *s, const char *leaf_kind, const char *ca_kind)
{
	s->site_key = recipe_key("P-256");
	s->leaf_key = recipe_key(leaf_kind != NULL ? leaf_kind : "P-256");
	s->trusted.key = recipe_key(ca_kind != NULL ? ca_kind : "P-256");
	s->untrusted.key = recipe_key(ca_kind != NULL ? ca_kind : "P-256");
	s->trusted.certificate = mint_scene_ca(s->trusted.key, "Trusted CA");
	s->untrusted.certificate = mint_scene_ca(s->untrusted.key, "Untrusted CA");
	s->trusted.chain = s->untrusted.chain = NULL;
}

void mint_scene_end(struct mint_scene *s)
{
	EVP_PKEY_free(s->site_key);
	EVP_PKEY_free(s->leaf_key);
	EVP_PKEY_free(s->trusted.key);
	EVP_PKEY_free(s->untrusted.key);
	X509_free(s->trusted.certificate);
	X509_free(s->untrusted.certificate);
}

struct recipe mint_scene_original(const struct mint_scene *s)
{
	return (struct recipe){
		.common_name = "site.example",
		.not_before = NOW - DAYS(20),
		.not_after = NOW + DAYS(70),
		.key = s->site_key,
		.extensions = { { "basicConstraints", "critical,CA:FALSE" },
				{ "keyUsage", "critical,digitalSignature" },
				{ "extendedKeyUsage", "serverAuth,clientAuth" },
				{ "subjectAltName", "DNS:site.example,DNS:*.site.example,IP:192.0.2.1,IP:2001:db8::1" },
				{ "certificatePolicies", "2.23.140.1.2.1" },
				{ "subjectKeyIdentifier", "hash" },
				{ "crlDistributionPoints", "URI:http://ca.example/crl" } },
	};
}

struct mint_setup mint_scene_setup(const struct mint_scene *s, const char *directory)
{
	return (struct mint_setup){
		.leaf_key = s->leaf_key,
		.trusted = s->trusted,
		.untrusted = s->untrusted,
		.cache_directory = directory,
		.extensions = scene_extensions,
		.n_extensions = 3,
	};
}

struct mint *mint_scene_mint(const struct mint_setup *setup)
{
	struct mint *mint;
	const char *why;

	if (mint_create(setup, &mint, &why) != 0) {
		fprintf(stderr, "mint_create: %s\n", why);
		abort();
	}
	return mint;
}

X509 *mint_scene_try(struct mint *mint, X509 *original, bool trusted, int64_t now, const char **why)
{
	unsigned char *der = NULL;
	int len = i2d_X509(original, &der);
	X509 *leaf = len > 0 ? mint_certificate(mint, slice_of(der, (size_t)len), trusted, now, why) : NULL;

	OPENSSL_free(der);
	return leaf;
}
