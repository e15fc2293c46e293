/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench/mint's inner loop: mints certificates for many originals, with all kinds of keys, and asks
 * for them again. Prints a JSON object a line: processor time (user and system) in microseconds.
 */
#include "mint_scene.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define ORIGINALS 200

static double cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double round_of(struct mint *mint, X509 *const originals[ORIGINALS])
{
	double start = cpu_us();
	const char *why;

	for (int i = 0; i < ORIGINALS; i++) {
		X509 *leaf = mint_scene_try(mint, originals[i], true, NOW, &why);

		if (leaf == NULL) {
			fprintf(stderr, "mint-loop: %s\n", why);
			exit(1);
		}
		X509_free(leaf);
	}
	return (cpu_us() - start) / ORIGINALS;
}

static void measure(const char *leaf_kind, const char *ca_kind, const char *directory)
{
	struct mint_scene s;
	struct mint_setup setup;
	struct mint *mint;
	X509 *originals[ORIGINALS];
	double fresh, stored, memory, from_directory;

	mint_scene_begin(&s, leaf_kind, ca_kind);
	for (int i = 0; i < ORIGINALS; i++) {
		struct recipe recipe = mint_scene_original(&s);
		char name[32];

		snprintf(name, sizeof(name), "host%d.example", i);
		recipe.common_name = name;
		originals[i] = recipe_make(&recipe);
	}
	setup = mint_scene_setup(&s, NULL);
	mint = mint_scene_mint(&setup);
	fresh = round_of(mint, originals);
	memory = round_of(mint, originals);
	mint_free(&mint);
	setup = mint_scene_setup(&s, directory);
	mint = mint_scene_mint(&setup);
	stored = round_of(mint, originals);
	mint_free(&mint);
	mint = mint_scene_mint(&setup);
	from_directory = round_of(mint, originals);
	mint_free(&mint);
	printf("{\"ca\":\"%s\",\"leaf\":\"%s\",\"new_us\":%.1f,\"stored_us\":%.1f,\"directory_us\":%.1f,\"memory_us\":%.1f}\n", ca_kind,
	       leaf_kind, fresh, stored, from_directory, memory);
	fflush(stdout);
	for (int i = 0; i < ORIGINALS; i++)
		X509_free(originals[i]);
	mint_scene_end(&s);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: mint-loop DIRECTORY\n");
		return 2;
	}
	measure("P-256", "P-256", argv[1]);
	measure("P-256", "RSA-2048", argv[1]);
	measure("RSA-2048", "RSA-2048", argv[1]);
	measure("RSA-2048", "RSA-4096", argv[1]);
	return 0;
}
