/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over every file of the directories given, as TAP: one test a file. */
#include "fuzz.h"

#include <dirent.h>
#include <sys/stat.h>

#define INPUT_MAX (1u << 20)

/* In a room of exactly its size, so that a sanitizer sees a read behind the end. */
static bool replay_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	struct stat st;
	uint8_t *data;
	bool whole;

	if (file == NULL)
		return false;
	if (fstat(fileno(file), &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > INPUT_MAX) {
		fclose(file);
		return false;
	}
	data = malloc(st.st_size > 0 ? (size_t)st.st_size : 1);
	whole = data != NULL && fread(data, 1, (size_t)st.st_size, file) == (size_t)st.st_size;
	fclose(file);
	if (whole)
		LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
	free(data);
	return whole;
}

static int replay_directory(const char *directory, int *n)
{
	struct dirent **entries;
	int n_entries = scandir(directory, &entries, NULL, alphasort), failed = 0;

	if (n_entries < 0) {
		printf("not ok %d - %s can't be read\n", ++*n, directory);
		return 1;
	}
	for (int i = 0; i < n_entries; i++) {
		char path[1024];

		snprintf(path, sizeof(path), "%s/%s", directory, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.') {
			bool ok = replay_file(path);

			failed += ok ? 0 : 1;
			printf("%sok %d - %s\n", ok ? "" : "not ", ++*n, entries[i]->d_name);
			fflush(stdout);	/* a crash must not take the earlier ones along */
		}
		free(entries[i]);
	}
	free(entries);
	return failed;
}

int main(int argc, char **argv)
{
	int n = 0, failed = 0;

	LLVMFuzzerTestOneInput((const uint8_t *)"", 0);
	for (int i = 1; i < argc; i++)
		failed += replay_directory(argv[i], &n);
	printf("1..%d\n", n);
	return failed > 0 || n == 0;
}
