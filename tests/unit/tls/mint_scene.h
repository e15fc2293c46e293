/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of the mint share: two CAs, keys, an original, and short ways to mint. */
#ifndef SALLYPORT_TESTS_MINT_SCENE_H
#define SALLYPORT_TESTS_MINT_SCENE_H

#include "recipe.h"
#include "tls/mint.h"

#include <stddef.h>

#define NOW ((int64_t)1800000000)	/* in 2027 */
#define DAYS(n) ((int64_t)(n) * 24 * 3600)

struct mint_scene {
	EVP_PKEY *site_key, *leaf_key;
	struct mint_ca trusted, untrusted;
};

extern const char *const scene_extensions[3];	/* the list that a policy has when it gives none */

/* Keys of these kinds (recipe.h); NULL: P-256. */
void mint_scene_begin(struct mint_scene *s, const char *leaf_kind, const char *ca_kind);
void mint_scene_end(struct mint_scene *s);

X509 *mint_scene_ca(EVP_PKEY *key, const char *name);

/* 90 days around NOW, the names "site.example" and "*.site.example", usual extensions. */
struct recipe mint_scene_original(const struct mint_scene *s);

struct mint_setup mint_scene_setup(const struct mint_scene *s, const char *directory);
struct mint *mint_scene_mint(const struct mint_setup *setup);	/* ends the process when there is none */

/* NULL: refused, *why. */
X509 *mint_scene_try(struct mint *mint, X509 *original, bool trusted, int64_t now, const char **why);

#endif
